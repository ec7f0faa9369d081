/* The gateway's parts and how they are joined: links, HTTP port, clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "backend.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway.h"
#include "log/log_fields.h"

/* --- deadlines of exchanges ------------------------------------------------- */

static void set_tick(gateway *gw) {
        if (gw->tick_set || gw->deadlines.count == 0)
                return;
        gw->tick_set = true;
        rq_timer_set(&gw->tick, DEADLINE_TICK_MS * 1000);
}

void gateway_set_deadline(gateway *gw, exchange *ex, uint64_t after_us) {
        wheel_set(&gw->deadlines, &ex->deadline, rq_clock_mono_us() + after_us);
        set_tick(gw);
}

static void on_deadline(exchange *ex) {
        if (ex->state == EX_ACCESS)
                gateway_on_access_deadline(ex);
        else if (ex->state == EX_STATUS)
                documents_on_deadline(ex);
        else if (ex->state == EX_READINESS)
                readiness_on_deadline(ex);
        else if (ex->state == EX_TRANSFER)
                stepdown_on_deadline(ex);
        else if (ex->state == EX_SNAPSHOT)
                snapshot_on_deadline(ex);
        else if (ex->state == EX_PARKED || ex->state == EX_QUEUED)
                queue_on_deadline(ex);
        else if (ex->state == EX_LEADER)
                leader_wait_on_deadline(ex);
        else if (ex->state == EX_REMOVE)
                remove_on_deadline(ex);
        else
                backend_on_deadline(ex);
}

static void on_tick(void *arg) {
        gateway *gw = arg;
        uint64_t now_us = rq_clock_mono_us();
        wheel_entry *entry;
        gw->tick_set = false;
        while ((entry = wheel_expired(&gw->deadlines, now_us)) != NULL)
                on_deadline(RQ_LIST_ENTRY(entry, exchange, deadline));
        set_tick(gw);
}

void gateway_watch_node(gateway *gw, void (*on_node)(void *arg), void *arg) {
        gw->on_node = on_node;
        gw->on_node_arg = arg;
}

void gateway_node_changed(gateway *gw) {
        const bool leader_found = leader_note(gw);
        readiness_on_node_state(gw);
        queue_on_node_state(gw, leader_found);
        leader_wait_on_node_state(gw);
        if (gw->on_node != NULL)
                gw->on_node(gw->on_node_arg);
}

const char *gateway_url(const char *address, char url[static GATEWAY_URL_BYTES]) {
        (void) snprintf(url, GATEWAY_URL_BYTES, "%s%s", strstr(address, "://") == NULL ? "http://" : "", address);
        return url;
}

static void log_error(gateway *gw, const char *const *fields, const char *text) {
        uint32_t suppressed;
        if (!rq_log_allowed(&gw->error_log, &suppressed))
                return;
        if (suppressed > 0)
                rq_log_write(LOG_WARNING, fields, "%s (%u more errors not shown)", text, suppressed);
        else
                rq_log_write(LOG_WARNING, fields, "%s", text);
}

void gateway_log_error(gateway *gw, const char *text) { log_error(gw, NULL, text); }

void gateway_log_request(const exchange *ex, const char *text) {
        char request[48];
        const char *fields[] = { rq_log_field_u64(request, sizeof request, RQ_FIELD_REQUEST, ex->id), NULL };
        log_error(ex->gw, fields, text);
}

/* --- life ------------------------------------------------------------------- */

static rq_err open_tls(gateway *gw) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        char text[1024];
        if (gw->config->tls.cert_file[0] == '\0')
                return RQ_OK;
        rq_err r = rq_tls_new(&gw->config->tls, &gw->tls, &problem);
        if (r == RQ_ECONFIG)
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "%.*s", (int) problem.size, (const char *) problem.data);
        if (r >= 0)
                r = rq_tls_watch_new(gw->loop, gw->tls, "HTTPS", NULL, NULL, &gw->tls_watch);
        if (r >= 0)
                rq_log_info("HTTPS: %s", rq_tls_describe(gw->tls, text, sizeof text));
        return r;
}

static rq_err check_join_as(const gateway *gw) {
        RQ_CLEANUP(rq_buf_done) rq_buf credentials = {0}, problem = {0};
        if (gw->config->join_as[0] == '\0' || !access_is_on(gw->access))
                return RQ_OK;
        rq_err r = access_credentials_of(gw->access, gw->config->join_as, &credentials, &problem);
        if (r == RQ_ECONFIG)
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "%.*s", (int) problem.size, (const char *) problem.data);
        if (credentials.data != NULL)
                explicit_bzero(credentials.data, credentials.capacity);
        return r;
}

static void on_users_changed(void *arg) { join_users_tell(arg); }

static rq_err open_http(gateway *gw) {
        http_handlers handlers = gateway_http_handlers;
        handlers.arg = gw;
        const http_limits limits = {
                .idle_timeout_us = gw->config->http_idle_timeout_us,
                .body_bytes_max = gw->config->max_body_bytes,
                .connection_count_max = gw->config->max_connections,
                .tls = gw->tls,
                .credentials = gw->config->auth_file[0] != '\0',
        };
        rq_err r = access_new(gw->loop, gw->config->auth_file, &gw->metrics, gateway_on_access, gw, &gw->access);
        if (r < 0)
                return r;
        r = check_join_as(gw);
        if (r < 0)
                return r;
        access_watch(gw->access, on_users_changed);
        r = http_server_new(gw->loop, &limits, &handlers, gw->config->http_allow_origin, gw->config->http_adv_addr,
                                   &gw->metrics, &gw->http);
        return r < 0 ? r : http_server_listen(gw->http, &gw->config->http_place);
}

static rq_err open_links(gateway *gw) {
        const ipc_identity self = { .role = IPC_GATEWAY, .incarnation = gw->incarnation };
        ipc_handlers consensus = gateway_consensus_handlers, store = gateway_store_handlers;
        consensus.arg = store.arg = gw;
        rq_err r = ipc_connect(gw->loop, gw->run_dir_fd, IPC_SOCKET_STORE, &self, &store, &gw->store);
        if (r >= 0)
                r = ipc_connect(gw->loop, gw->run_dir_fd, IPC_SOCKET_CONSENSUS, &self, &consensus, &gw->consensus);
        return r;
}

static void on_stop_timeout(void *arg) {
        gateway *gw = arg;
        if (!gw->gave_up) {
                gw->gave_up = true;
                if (queue_give_up(gw)) {
                        rq_timer_set(&gw->stop_timer, STOP_LAST_WORDS_MS * 1000);
                        return;
                }
        }
        rq_log_warning("Stopping with %u requests unanswered", gw->exchanges.used_count);
        gw->on_stopped(gw->on_stopped_arg);
}

rq_err gateway_new(rq_loop *loop, const gateway_config *config, int run_dir_fd, const rq_uuid *incarnation, gateway **ret_gateway) {
        gateway *gw = calloc(1, sizeof *gw);
        if (gw == NULL)
                return RQ_ENOMEM;
        gw->loop = loop;
        gw->config = config;
        gw->run_dir_fd = run_dir_fd;
        gw->incarnation = *incarnation;
        gw->started_mono_us = rq_clock_mono_us();
        gw->started_wall_us = rq_clock_wall_us();
        gw->error_log = (rq_log_limit) { .interval_ms = 10000, .burst = 5 };
        rq_list_init(&gw->waiting);
        rq_list_init(&gw->arriving);
        rq_list_init(&gw->readiness);
        rq_list_init(&gw->leader_waits);
        gw->leaderless_since_us = gw->started_mono_us;
        wheel_init(&gw->deadlines, DEADLINE_TICK_MS * 1000, gw->started_mono_us);

        rq_err r = queue_init(gw);
        if (r >= 0)
                r = rq_timer_init(&gw->tick, loop, on_tick, gw);
        if (r >= 0)
                r = rq_timer_init(&gw->stop_timer, loop, on_stop_timeout, gw);
        if (r >= 0)
                r = open_tls(gw);
        if (r >= 0)
                r = open_http(gw);
        if (r >= 0)
                r = open_links(gw);
        if (r < 0) {
                (void) gateway_free(gw);
                return r;
        }
        *ret_gateway = gw;
        return RQ_OK;
}

gateway *gateway_free(gateway *gw) {
        if (gw == NULL)
                return NULL;
        gw->stopping = true;
        (void) http_server_free(gw->http); /* gives up every exchange of a client */
        (void) access_free(gw->access);
        queue_done(gw);
        (void) rq_tls_watch_free(gw->tls_watch);
        (void) rq_tls_free(gw->tls);
        (void) ipc_connector_free(gw->consensus);
        (void) ipc_connector_free(gw->store);
        exchange_pool_done(&gw->exchanges);
        while (gw->body_count > 0)
                (void) json_body_free(gw->bodies[--gw->body_count]);
        rq_timer_done(&gw->tick);
        rq_timer_done(&gw->stop_timer);
        free(gw);
        return NULL;
}

void gateway_reload(gateway *gw) {
        access_reload(gw->access);
        if (gw->tls_watch != NULL)
                rq_tls_watch_now(gw->tls_watch);
}

/* Nobody is left to answer, and what was answered before it was made has been made. */
void gateway_look_stopped(gateway *gw) {
        if (!gw->stopping || gw->stopped || !gw->http_stopped || !write_queue_empty(&gw->queue.writes))
                return;
        gw->stopped = true;
        gw->on_stopped(gw->on_stopped_arg);
}

static void on_http_stopped(void *arg) {
        gateway *gw = arg;
        gw->http_stopped = true;
        gateway_look_stopped(gw);
}

void gateway_stop(gateway *gw, void (*on_stopped)(void *arg), void *arg) {
        gw->stopping = true;
        gw->on_stopped = on_stopped;
        gw->on_stopped_arg = arg;
        rq_timer_set(&gw->stop_timer, STOP_WAIT_MS * 1000);
        http_server_stop(gw->http, on_http_stopped, gw);
        queue_stop(gw);
}
