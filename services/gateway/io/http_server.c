#include "io/http_server.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/http_state.h"
#include "log/log.h"

enum { ACCEPTS_A_TURN = 64 };

/* --- turns and time --------------------------------------------------------- */

void server_dirty(http_server *server, http_conn *conn) {
        if (conn->is_dirty)
                return;
        conn->is_dirty = true;
        rq_list_append(&server->dirty, &conn->dirty_node);
        rq_task_post(&server->turn_end);
}

/* All that was gathered during the turn: one write for each connection. */
static void on_turn_end(void *arg) {
        http_server *server = arg;
        while (!rq_list_empty(&server->dirty)) {
                http_conn *conn = RQ_LIST_ENTRY(server->dirty.next, http_conn, dirty_node);
                rq_list_remove(&conn->dirty_node);
                conn->is_dirty = false;
                conn_service(conn);
        }
}

static void set_tick(http_server *server) {
        if (server->tick_set || server->deadlines.count == 0)
                return;
        server->tick_set = true;
        rq_timer_set(&server->tick, HTTP_TICK_MS * 1000);
}

static void on_tick(void *arg) {
        http_server *server = arg;
        wheel_entry *entry;
        server->tick_set = false;
        server->now_ns = rq_clock_mono_ns();
        while ((entry = wheel_expired(&server->deadlines, server->now_ns / 1000)) != NULL)
                conn_expired(RQ_LIST_ENTRY(entry, http_conn, deadline));
        set_tick(server);
}

void server_set_deadline(http_server *server, http_conn *conn, uint64_t after_us) {
        wheel_set(&server->deadlines, &conn->deadline, server->now_ns / 1000 + after_us);
        set_tick(server);
}

const char *server_date(http_server *server) {
        uint64_t now_s = rq_clock_wall_us() / 1000000;
        if (now_s != server->date_s) {
                time_t t = (time_t) now_s;
                struct tm tm;
                (void) gmtime_r(&t, &tm);
                (void) strftime(server->date, sizeof server->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
                server->date_s = now_s;
        }
        return server->date;
}

/* --- accepting -------------------------------------------------------------- */

static void set_accepting(http_server *server, bool accepting) {
        if (accepting == server->accepting)
                return;
        server->accepting = accepting;
        for (size_t i = 0; i < server->listener_count; i++)
                (void) (accepting ? event_add(server->listeners[i].acceptable, NULL) : event_del(server->listeners[i].acceptable));
}

/* At the limit the connection that is idle longest makes room; if all work, new
 * ones wait in the kernel's queue. */
static bool make_room(http_server *server) {
        if (server->conn_count < server->limits.connection_count_max)
                return true;
        if (!rq_list_empty(&server->idle)) {
                server->metrics->gateway.connections_evicted++;
                conn_lost(RQ_LIST_ENTRY(server->idle.next, http_conn, idle_node));
        }
        set_accepting(server, false);
        return false;
}

void server_conn_gone(http_server *server) {
        if (server->conn_count == 0 && server->stopping && server->on_empty != NULL) {
                void (*on_empty)(void *) = RQ_TAKE(server->on_empty, NULL);
                on_empty(server->on_empty_arg);
        }
        if (!server->stopping)
                set_accepting(server, true);
}

static void on_accept_again(void *arg) {
        http_server *server = arg;
        if (!server->stopping)
                set_accepting(server, true);
}

/* The connection stays in the kernel's queue, and the socket readable: asked again at once, it would
 * cost all the time there is. */
static void accept_later(http_server *server, int error) {
        uint32_t more;
        if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
                return;
        set_accepting(server, false);
        rq_timer_set(&server->accept_again, HTTP_ACCEPT_AGAIN_MS * 1000);
        if (rq_log_allowed(&server->accept_log, &more))
                rq_log_warning("Cannot accept a connection for now: %s (%" PRIu32 " more)", rq_err_text(rq_err_from_errno(error)), more);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
        struct http_listener *l = arg;
        http_server *server = l->server;
        (void) what;
        server->now_ns = rq_clock_mono_ns();
        for (int i = 0; i < ACCEPTS_A_TURN && make_room(server); i++) {
                int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (conn < 0) {
                        accept_later(server, errno);
                        return;
                }
                (void) conn_new(server, conn, l->socket.is_unix);
        }
}

static rq_err watch(http_server *server, struct http_listener *l) {
        l->server = server;
        l->acceptable = event_new(rq_loop_base(server->loop), l->socket.fd, EV_READ | EV_PERSIST, on_acceptable, l);
        if (l->acceptable == NULL || event_priority_set(l->acceptable, 0) != 0 || event_add(l->acceptable, NULL) != 0)
                return RQ_ENOMEM;
        return RQ_OK;
}

rq_err http_server_listen(http_server *server, const http_place *place) {
        http_socket sockets[HTTP_LISTENERS_MAX];
        size_t count = 0;
        rq_err r = http_listen(place, sockets, &count);
        for (size_t i = 0; i < count; i++)
                server->listeners[i].socket = sockets[i];
        server->listener_count = count;
        for (size_t i = 0; i < count && r >= 0; i++)
                r = watch(server, &server->listeners[i]);
        if (r < 0)
                return r;
        server->accepting = true;
        http_socket_text(&sockets[0], server->address);
        return RQ_OK;
}

const char *http_server_address(const http_server *server) { return server->address; }

/* --- life ------------------------------------------------------------------- */

static rq_err build_lines(http_server *server, const char *allow_origin, const char *served_by) {
        rq_err r = rq_buf_append_text(&server->common, server->limits.credentials
                                      ? "Access-Control-Allow-Credentials: true\r\n"
                                        "Access-Control-Allow-Headers: Content-Type, Authorization\r\n"
                                      : "Access-Control-Allow-Headers: Content-Type\r\n");
        if (r >= 0)
                r = rq_buf_append_text(&server->common,
                                       "Access-Control-Allow-Methods: OPTIONS, GET, POST\r\n"
                                       "X-Rqlite-Version: 10\r\n");
        if (r >= 0 && allow_origin[0] != '\0')
                r = rq_buf_printf(&server->common, "Access-Control-Allow-Origin: %s\r\n", allow_origin);
        if (r >= 0)
                r = rq_buf_printf(&server->served_by, "X-Rqlite-Served-By: %s\r\n", served_by);
        return r;
}

/* A scan, or a client with the wrong CA: one line, however often it tries. */
static void on_tls_failed(void *arg, const char *peer, const char *problem) {
        http_server *server = arg;
        uint32_t suppressed;
        server->metrics->gateway.tls_failed++;
        if (rq_log_allowed(&server->tls_log, &suppressed))
                rq_log_notice("HTTPS: refused the connection from %s: %s (%u more not shown)", peer, problem, suppressed);
}

rq_err http_server_new(rq_loop *loop, const http_limits *limits, const http_handlers *handlers, const char *allow_origin,
                       const char *served_by, metrics *counters, http_server **ret_server) {
        http_server *server = calloc(1, sizeof *server);
        if (server == NULL)
                return RQ_ENOMEM;
        server->loop = loop;
        server->limits = *limits;
        server->handlers = *handlers;
        server->metrics = counters;
        server->now_ns = rq_clock_mono_ns();
        server->tls_log = server->accept_log = (rq_log_limit) { .interval_ms = 10000, .burst = 3 };
        rq_list_init(&server->conns);
        rq_list_init(&server->dirty);
        rq_list_init(&server->idle);
        wheel_init(&server->deadlines, HTTP_TICK_MS * 1000, server->now_ns / 1000);
        http_parser_set_max_header_size(HTTP_TARGET_BYTES_MAX + HTTP_HEADER_BYTES_MAX);

        rq_err r = build_lines(server, allow_origin, served_by);
        if (r >= 0)
                r = rq_task_init(&server->turn_end, loop, on_turn_end, server);
        if (r >= 0)
                r = rq_timer_init(&server->tick, loop, on_tick, server);
        if (r >= 0)
                r = rq_timer_init(&server->accept_again, loop, on_accept_again, server);
        if (r >= 0 && limits->tls != NULL)
                r = transport_tls_init(&server->tls, loop, limits->tls);
        server->tls.on_failed = on_tls_failed;
        server->tls.arg = server;
        if (r < 0) {
                (void) http_server_free(server);
                return r;
        }
        *ret_server = server;
        return RQ_OK;
}

static void close_listeners(http_server *server) {
        for (size_t i = 0; i < server->listener_count; i++) {
                if (server->listeners[i].acceptable != NULL)
                        event_free(server->listeners[i].acceptable);
                http_socket_close(&server->listeners[i].socket);
        }
        server->listener_count = 0;
        server->accepting = false;
}

http_server *http_server_free(http_server *server) {
        if (server == NULL)
                return NULL;
        server->stopping = true;
        server->on_empty = NULL;
        close_listeners(server);
        while (!rq_list_empty(&server->conns))
                conn_free(RQ_LIST_ENTRY(server->conns.next, http_conn, node));
        rq_task_done(&server->turn_end);
        rq_timer_done(&server->tick);
        rq_timer_done(&server->accept_again);
        transport_tls_done(&server->tls);
        rq_buf_done(&server->common);
        rq_buf_done(&server->served_by);
        rq_buf_done(&server->scratch);
        free(server);
        return NULL;
}

void http_server_stop(http_server *server, void (*on_empty)(void *arg), void *arg) {
        server->stopping = true;
        server->on_empty = on_empty;
        server->on_empty_arg = arg;
        close_listeners(server);
        for (rq_list *node = server->conns.next; node != &server->conns; node = node->next)
                conn_close_when_idle(RQ_LIST_ENTRY(node, http_conn, node));
        if (server->conn_count == 0)
                server_conn_gone(server);
}
