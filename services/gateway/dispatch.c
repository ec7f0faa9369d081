/* What comes in, and who handles it: HTTP requests by path and method, frames of
 * the links by type. */
#include <strings.h>

#include "api/api.h"
#include "backend.h"
#include "base/clock.h"
#include "base/cleanup.h"
#include "consensus.pb-c.h"
#include "core/basic_auth.h"
#include "gateway.h"

/* --- HTTP ------------------------------------------------------------------- */

/* "http://host/path?query" to "/path?query"; other forms stay. */
static void strip_authority(char **target, size_t *size) {
        static const char *const schemes[] = { "http://", "https://" };
        for (size_t i = 0; i < 2; i++) {
                size_t n = strlen(schemes[i]);
                if (*size < n || strncasecmp(*target, schemes[i], n) != 0)
                        continue;
                while (n < *size && (*target)[n] != '/' && (*target)[n] != '?')
                        n++;
                *target += n;
                *size -= n;
                return;
        }
}

static void answer_method(http_conn *conn, const route *r) {
        const http_head head = { .status = 405, .content_type = r->json ? API_JSON : NULL, .allow = r->allow };
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
}

static void answer_denied(http_conn *conn, const route *r) {
        const http_head head = { .status = 401, .content_type = r->json ? API_JSON : NULL, .authenticate = true };
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
}

static void answer_try_later(http_conn *conn, unsigned status, unsigned wait_s, const char *text) {
        const http_head head = { .status = status, .content_type = API_TEXT, .nosniff = true, .retry_after_s = wait_s };
        http_answer(conn, &head, rq_bytes_text(text), (rq_bytes) {0});
}

static uint64_t patience_us(const params *p) {
        return p->has_timeout && p->timeout_ns > 0 ? ((uint64_t) p->timeout_ns + 999) / 1000 : TIMEOUT_DEFAULT_S * UINT64_C(1000000);
}

/* close: what is left of its body is not waited for. */
static void refuse_as_overloaded(gateway *gw, http_conn *conn, bool close) {
        const http_head head = { .status = 503, .content_type = API_TEXT, .nosniff = true, .retry_after_s = 1, .close = close };
        gw->metrics.gateway.requests_refused_inflight++;
        http_answer(conn, &head, rq_bytes_text("too many requests are under way, nothing was done, try again\n"), (rq_bytes) {0});
}

static void refuse_inflight(gateway *gw, http_conn *conn) { refuse_as_overloaded(gw, conn, false); }

/* Bodies that drip must not keep others out: the one that has come for longest makes room. */
static bool make_room(gateway *gw, uint64_t now_ns) {
        if (rq_list_empty(&gw->arriving))
                return false;
        exchange *ex = RQ_LIST_ENTRY(gw->arriving.next, exchange, arriving);
        if (now_ns - ex->started_ns < ARRIVING_MS * UINT64_C(1000000))
                return false;
        http_conn *conn = ex->conn;
        gw->metrics.gateway.slow_clients++;
        exchange_free(ex);
        refuse_as_overloaded(gw, conn, true);
        return true;
}

/* false: too many are there, and it was answered. */
static bool new_exchange(gateway *gw, http_conn *conn, const route *r, const params *p, rq_bytes target, exchange **ret_exchange) {
        const http_request *request = http_conn_request(conn);
        exchange *ex;
        /* Who asks how we are is answered also under too much load. */
        bool limited = r->op == OP_EXECUTE || r->op == OP_QUERY || r->op == OP_REQUEST || r->op == OP_SQL;
        bool full = limited && gw->exchanges.used_count >= gw->config->max_inflight && !make_room(gw, request->started_ns);
        if (full || exchange_new(gw, conn, &ex) < 0) {
                refuse_inflight(gw, conn);
                return false;
        }
        ex->route = r;
        ex->params = *p;
        ex->started_ns = request->started_ns;
        ex->deadline_us = request->started_ns / 1000 + patience_us(p);
        http_conn_set_data(conn, ex);
        if (target.size > 0 && rq_buf_append_bytes(&ex->location, target) < 0) {
                exchange_free(ex);
                refuse_inflight(gw, conn);
                return false;
        }
        *ret_exchange = ex;
        return true;
}

/* --- may it? ---------------------------------------------------------------- */

/* Nothing of it is done, and nothing more of it is read, until its password is checked. */
static void wait_for_access(gateway *gw, http_conn *conn, const route *r, const params *p, rq_bytes path, rq_bytes target, uint64_t check) {
        exchange *ex;
        if (!new_exchange(gw, conn, r, p, target, &ex))
                return;
        ex->state = EX_ACCESS;
        ex->access_check = check;
        ex->path = path;
        http_conn_hold(conn);
        gateway_set_deadline(gw, ex, TIMEOUT_DEFAULT_S * UINT64_C(1000000));
}

static void go_on(exchange *ex) {
        gateway *gw = ex->gw;
        http_conn *conn = ex->conn;
        const route *r = ex->route;
        rq_bytes path = ex->path;
        wheel_cancel(&gw->deadlines, &ex->deadline);
        ex->state = EX_RECEIVING;
        http_conn_set_data(conn, NULL); /* what is answered at once has no exchange */
        ex->conn = NULL;
        if ((r->methods & http_conn_request(conn)->method) == 0) {
                exchange_free(ex);
                answer_method(conn, r);
        } else if (api_answer_plain(gw, conn, r, path)) {
                exchange_free(ex);
        } else {
                http_conn_set_data(conn, ex);
                ex->conn = conn;
                api_begin(ex);
        }
}

/* A load that is to be redirected holds the connection itself. */
static bool is_held_for_leader(const http_conn *conn) {
        const exchange *ex = http_conn_data(conn);
        return ex != NULL && ex->state == EX_LEADER;
}

void gateway_on_access(void *arg, uint64_t check, rq_permissions may) {
        gateway *gw = arg;
        exchange *ex;
        join_users_on_access(gw, check, may);
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                http_conn *conn = ex->conn;
                const route *r = ex->route;
                if (ex->state != EX_ACCESS || ex->access_check != check)
                        continue;
                if (rq_permissions_cover(may, r->needs)) {
                        gw->metrics.http.auth_ok++;
                        go_on(ex);
                } else {
                        exchange_free(ex);
                        answer_denied(conn, r);
                }
                if (!is_held_for_leader(conn))
                        http_conn_release(conn);
        }
}

void gateway_on_access_deadline(exchange *ex) {
        http_conn *conn = ex->conn;
        exchange_free(ex);
        answer_try_later(conn, 503, 1, "the password could not be checked in time, nothing was done, try again\n");
        http_conn_release(conn);
}

static void admit(gateway *gw, http_conn *conn, const route *r, const params *p, rq_bytes path, rq_bytes target) {
        access_answer answer = access_check(gw->access, conn, r);
        exchange *ex;
        switch (answer.verdict) {
        case ACCESS_GRANTED:
                if ((r->methods & http_conn_request(conn)->method) == 0)
                        answer_method(conn, r);
                else if (!api_answer_plain(gw, conn, r, path) && new_exchange(gw, conn, r, p, target, &ex))
                        api_begin(ex);
                return;
        case ACCESS_DENIED:
                answer_denied(conn, r);
                return;
        case ACCESS_LATER:
                wait_for_access(gw, conn, r, p, path, target, answer.check);
                return;
        case ACCESS_SLOWED:
                answer_try_later(conn, 429, answer.wait_s, "too many wrong passwords for this user from this address, wait\n");
                return;
        case ACCESS_BUSY:
                answer_try_later(conn, 503, 1, "too many passwords are being checked, nothing was done, try again\n");
                return;
        }
}

/* The order of these checks is part of the contract: parameters before path,
 * path before permission, permission before method (docs/http-api.md). */
static void on_headers(void *arg, http_conn *conn) {
        gateway *gw = arg;
        const http_request *request = http_conn_request(conn);
        char problem[PARAMS_PROBLEM_BYTES];
        RQ_CLEANUP(rq_buf_done) rq_buf location = {0};
        params p;

        if (request->method == METHOD_OPTIONS) {
                http_answer(conn, &(http_head) { .status = 200 }, (rq_bytes) {0}, (rq_bytes) {0});
                return;
        }
        char *path = request->target;
        size_t path_size = request->target_size, query_size = 0;
        strip_authority(&path, &path_size);
        char *query = memchr(path, '?', path_size);
        if (query != NULL) {
                query_size = path_size - (size_t) (query - path) - 1;
                path_size = (size_t) (query - path);
                /* Decoding is in place; a redirection needs the original. */
                if (memmem(query, query_size + 1, "redirect", 8) != NULL &&
                    rq_buf_append(&location, path, path_size + 1 + query_size) < 0) {
                        refuse_inflight(gw, conn);
                        return;
                }
        }
        if (route_decode_path(path, &path_size) < 0) {
                http_answer_text(conn, 400, "400 Bad Request: invalid escape in the path");
                return;
        }
        if (params_parse(query != NULL ? query + 1 : path, query_size, &p, problem) < 0) {
                http_answer_text(conn, 400, problem);
                return;
        }
        const route *r = route_find(rq_bytes_of(path, path_size));
        if (r == NULL)
                http_answer(conn, &(http_head) { .status = 404 }, (rq_bytes) {0}, (rq_bytes) {0});
        else
                admit(gw, conn, r, &p, rq_bytes_of(path, path_size), rq_buf_bytes(&location));
}

static void on_body(void *arg, http_conn *conn, rq_bytes piece) {
        exchange *ex = http_conn_data(conn);
        (void) arg;
        if (ex != NULL)
                api_body(ex, piece);
}

static void on_complete(void *arg, http_conn *conn) {
        exchange *ex = http_conn_data(conn);
        (void) arg;
        if (ex == NULL)
                return;
        rq_list_remove(&ex->arriving);
        api_complete(ex);
}

static void on_drained(void *arg, http_conn *conn) {
        exchange *ex = http_conn_data(conn);
        (void) arg;
        if (ex != NULL)
                backend_on_drained(ex);
}

static void on_gone(void *arg, http_conn *conn) {
        exchange *ex = http_conn_data(conn);
        (void) arg;
        if (ex != NULL)
                backend_on_gone(ex);
}

const http_handlers gateway_http_handlers = {
        .on_headers = on_headers, .on_body = on_body, .on_complete = on_complete, .on_drained = on_drained, .on_gone = on_gone,
};

/* --- frames ----------------------------------------------------------------- */

static rq_err on_result(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        message_result result;
        (void) link;
        rq_err r = message_result_decode(frame->body, &result);
        if (r < 0)
                return r;
        exchange *ex = exchange_find(&gw->exchanges, frame->request_id);
        if (ex != NULL && (ex->state == EX_SENT || ex->state == EX_STREAMING)) {
                backend_on_result(ex, &result, frame->payload);
                return RQ_OK;
        }
        gw->metrics.gateway.results_unclaimed++;
        if (!result.last) /* the store would wait for credits */
                backend_cancel(gw, frame->request_id);
        return RQ_OK;
}

static rq_err on_request_failed(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        (void) link;
        Rq__RequestFailed *message = rq__request_failed__unpack(NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        exchange *ex = exchange_find(&gw->exchanges, frame->request_id);
        if (ex != NULL && (ex->state == EX_SENT || ex->state == EX_STREAMING || ex->state == EX_TRANSFER)) {
                const failure f = {
                        /* What a newer version may say: the careful reading. */
                        .outcome = (unsigned) message->outcome <= FAILED_COMMITTED ? (failure_outcome) message->outcome : FAILED_UNKNOWN,
                        .reason = (unsigned) message->reason <= FAILED_STORE_FAILED ? (failure_reason) message->reason : FAILED_OTHER,
                        .index = message->index,
                        .text = rq_bytes_text(message->text),
                };
                if (ex->state == EX_TRANSFER)
                        stepdown_on_failed(ex, &f);
                else
                        backend_on_failed(ex, &f);
        }
        rq__request_failed__free_unpacked(message, NULL);
        return RQ_OK;
}

static node_role role_of(Rq__NodeState__Role role) {
        switch (role) {
        case RQ__NODE_STATE__ROLE__LEADER: return ROLE_LEADER;
        case RQ__NODE_STATE__ROLE__FOLLOWER: return ROLE_FOLLOWER;
        case RQ__NODE_STATE__ROLE__CANDIDATE: return ROLE_CANDIDATE;
        case RQ__NODE_STATE__ROLE__LEARNER: return ROLE_LEARNER;
        default: return ROLE_UNKNOWN;
        }
}

static bool fits(const char *text) { return strlen(text) < NODE_TEXT_BYTES; }

static rq_err on_node_state(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        (void) link;
        Rq__NodeState *message = rq__node_state__unpack(NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        bool good = message->disk_uuid.len <= RQ_UUID_BYTES && fits(message->node_id) && fits(message->leader_id) &&
                    fits(message->leader_raft_addr) && fits(message->leader_api_addr);
        if (good) {
                node_view *view = &gw->node;
                *view = (node_view) { .known = true, .ready = message->ready, .role = role_of(message->role), .term = message->term,
                                       .members = message->members, .catching_up = message->catching_up };
                view->disk_uuid_size = message->disk_uuid.len;
                if (message->disk_uuid.len > 0)
                        memcpy(view->disk_uuid, message->disk_uuid.data, message->disk_uuid.len);
                /* The cluster's id changes with a recovery, and the database's doesn't. */
                if (message->cluster_id.len == RQ_UUID_BYTES)
                        view->epoch = rq_get_u64(message->cluster_id.data);
                (void) strcpy(view->node_id, message->node_id);
                (void) strcpy(view->leader_id, message->leader_id);
                (void) strcpy(view->leader_raft_addr, message->leader_raft_addr);
                (void) strcpy(view->leader_api_addr, message->leader_api_addr);
        }
        rq__node_state__free_unpacked(message, NULL);
        if (!good)
                return RQ_EPROTO;
        backend_consensus_ready(gw);
        gateway_node_changed(gw);
        return RQ_OK;
}

static rq_err on_status(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        exchange *ex = exchange_find(&gw->exchanges, frame->request_id);
        if (ex != NULL)
                documents_on_status(ex, ipc_link_role(link) == IPC_CONSENSUS ? DOCUMENT_CONSENSUS : DOCUMENT_STORE, frame->payload);
        return RQ_OK;
}

static rq_err on_transfer_done(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        (void) link;
        Rq__TransferDone *message = rq__transfer_done__unpack(NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        exchange *ex = exchange_find(&gw->exchanges, frame->request_id);
        if (ex != NULL && ex->state == EX_TRANSFER)
                stepdown_on_done(ex, (unsigned) message->outcome, message->text);
        rq__transfer_done__free_unpacked(message, NULL);
        return RQ_OK;
}

static rq_err on_remove_done(void *arg, ipc_link *link, const ipc_frame *frame) {
        gateway *gw = arg;
        (void) link;
        Rq__RemoveDone *message = rq__remove_done__unpack(NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        exchange *ex = exchange_find(&gw->exchanges, frame->request_id);
        if (ex != NULL && ex->state == EX_REMOVE)
                remove_on_done(ex, (unsigned) message->outcome, message->text);
        rq__remove_done__free_unpacked(message, NULL);
        return RQ_OK;
}

/* NODE_STATE follows; until then consensus counts as not there. */
static void on_consensus_up(void *arg, ipc_link *link) {
        (void) link;
        join_users_tell(arg);
}

static void on_consensus_down(void *arg, ipc_link *link) {
        gateway *gw = arg;
        (void) link;
        gw->node = (node_view) {0};
        if (!gw->stopping)
                gateway_log_error(gw, "Lost the connection to rq-consensus");
        backend_consensus_down(gw);
        stepdown_on_link_down(gw);
        remove_on_link_down(gw);
        join_users_on_link_down(gw);
        documents_on_link_down(gw, DOCUMENT_CONSENSUS);
        gateway_node_changed(gw);
}

static void on_store_up(void *arg, ipc_link *link) {
        (void) link;
        backend_store_up(arg);
}

static void on_store_down(void *arg, ipc_link *link) {
        gateway *gw = arg;
        (void) link;
        if (!gw->stopping)
                gateway_log_error(gw, "Lost the connection to rq-store");
        backend_store_down(gw);
        documents_on_link_down(gw, DOCUMENT_STORE);
}

enum { SMALL_BODY = 16 * 1024, STATUS_BYTES_MAX = 8 * 1024 * 1024 };

static const ipc_rule consensus_rules[] = {
        { IPC_REQUEST_FAILED, IPC_CONSENSUS, SMALL_BODY, 0, on_request_failed },
        { IPC_NODE_STATE, IPC_CONSENSUS, SMALL_BODY, 0, on_node_state },
        { IPC_TRANSFER_DONE, IPC_CONSENSUS, SMALL_BODY, 0, on_transfer_done },
        { IPC_REMOVE_DONE, IPC_CONSENSUS, SMALL_BODY, 0, on_remove_done },
        { IPC_STATUS, IPC_CONSENSUS, 0, STATUS_BYTES_MAX, on_status },
        { IPC_JOIN_CHECK, IPC_CONSENSUS, SMALL_BODY, BASIC_AUTH_BYTES_MAX, join_users_on_check },
};

static const ipc_rule store_rules[] = {
        { IPC_RESULT, IPC_STORE, SMALL_BODY, IPC_PAYLOAD_BYTES_MAX, on_result },
        { IPC_REQUEST_FAILED, IPC_STORE, SMALL_BODY, 0, on_request_failed },
        { IPC_STATUS, IPC_STORE, 0, STATUS_BYTES_MAX, on_status },
};

const ipc_handlers gateway_consensus_handlers = {
        .rules = consensus_rules, .rule_count = sizeof consensus_rules / sizeof consensus_rules[0],
        .on_up = on_consensus_up, .on_down = on_consensus_down,
};

const ipc_handlers gateway_store_handlers = {
        .rules = store_rules, .rule_count = sizeof store_rules / sizeof store_rules[0],
        .on_up = on_store_up, .on_down = on_store_down,
};
