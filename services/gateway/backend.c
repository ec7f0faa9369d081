#include "backend.h"
#include "api/api.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "gateway.h"
#include "io/gzip.h"
#include "io/json_text.h"
#include "io/statement.h"

static const http_head result_head = { .status = 200, .content_type = "application/json; charset=utf-8", .served_by = true };

enum { COLLECTED_BYTES_MAX = 16 * 1024 * 1024, TAIL_BYTES_MAX = 192, ANSWER_MARGIN_US = 50 * 1000 };

static bool is_write(const exchange *ex) { return ex->way == WAY_PROPOSE; }

static uint64_t now_us(void) { return rq_clock_mono_us(); }

/* --- the end of an exchange ------------------------------------------------- */

static void finish_failed(exchange *ex, const failure_answer *answer) {
        gateway *gw = ex->gw;
        http_conn *conn = ex->conn;
        if (answer->server_error)
                gateway_log_request(ex, answer->text);
        if (answer->status == 504 && is_write(ex))
                gw->metrics.gateway.answers_unknown++;

        if (ex->done != NULL) {
                ex->done(ex, answer->status, rq_bytes_text(answer->text));
                return;
        }
        if (ex->state == EX_STREAMING) {
                exchange_free(ex);
                http_answer_cut(conn);
                return;
        }
        http_head head = { .status = answer->status, .retry_after_s = answer->retry_after_s };
        head.content_type = answer->json ? "application/json; charset=utf-8" : "text/plain; charset=utf-8";
        head.nosniff = !answer->json;
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text(answer->text), rq_bytes_text(answer->json ? "" : "\n"));
}

static void finish_with(exchange *ex, failure_outcome outcome, failure_reason reason, const char *text) {
        failure_answer answer;
        ex->failed_for = reason;
        ex->failed_how = outcome;
        failure f = { .outcome = outcome, .reason = reason, .text = rq_bytes_text(text), .write = is_write(ex) };
        failure_answer_of(&f, &answer);
        finish_failed(ex, &answer);
}

/* --- sending ---------------------------------------------------------------- */

static ipc_link *link_of(const exchange *ex) {
        if (ex->params.has_min_epoch && !ex->gw->node.known)
                return NULL; /* whose epoch it is isn't known yet */
        if (ex->way == WAY_QUERY)
                return ipc_connector_link(ex->gw->store);
        /* The store answers: a read that reaches it before our link does finds nobody
         * to answer, and is dropped. A result of a write is kept for us. */
        if (ex->way == WAY_READ && ipc_connector_link(ex->gw->store) == NULL)
                return NULL;
        return ex->gw->node.known ? ipc_connector_link(ex->gw->consensus) : NULL;
}

/* Which of them it waits for. */
static const char *service_of(const exchange *ex) {
        bool store = ex->way == WAY_QUERY || (ex->way == WAY_READ && ipc_connector_link(ex->gw->store) == NULL);
        return store ? "rq-store" : "rq-consensus";
}

static message_render render_of(const params *p) {
        return (message_render) {
                .associative = p->associative, .timings = p->timings, .pretty = p->pretty, .blob_array = p->blob_array,
                .qualify_columns = p->qualify_columns, .raft_index = p->raft_index,
        };
}

/* Consensus knows what became of a request; we don't. So it gives up first. */
static uint64_t before_ours_us(uint64_t left_us) {
        return left_us - (left_us / 8 < ANSWER_MARGIN_US ? left_us / 8 : ANSWER_MARGIN_US);
}

static rq_err send_write(exchange *ex, ipc_link *link, uint64_t left_us) {
        const gateway *gw = ex->gw;
        if (ex->load != NULL)
                return load_send(ex, link, before_ours_us(left_us));
        message_entry entry = {
                .incarnation = gw->incarnation,
                .request_id = ex->id,
                .node = rq_bytes_text(gw->node.node_id),
                .disk_uuid = rq_bytes_of(gw->node.disk_uuid, gw->node.disk_uuid_size),
                .timeout_us = before_ours_us(left_us),
                .step_budget = gw->config->write_step_budget,
                .statements = rq_buf_bytes(&ex->statements),
                .transaction = ex->params.transaction,
                .request_mode = ex->route->op == OP_REQUEST,
                .render = render_of(&ex->params),
                .groups = rq_buf_bytes(&ex->groups),
        };
        return message_send_propose(link, &entry);
}

static uint64_t positive_us(int64_t ns) { return ns > 0 ? ((uint64_t) ns + 999) / 1000 : 0; }

/* Level none with a bound: core/consistency.h. */
static bool may_be_stale(const exchange *ex) {
        return ex->params.has_freshness && ex->params.freshness_ns > 0 && ex->level == READ_LINEARIZABLE &&
               read_level_of(ex->params.level) != READ_LINEARIZABLE;
}

static rq_err send_read(exchange *ex, ipc_link *link, uint64_t left_us) {
        const params *p = &ex->params;
        message_query query = {
                .statements = rq_buf_bytes(&ex->statements),
                .transaction = p->transaction,
                .request_mode = ex->route->op == OP_REQUEST,
                .render = render_of(p),
                .db_timeout_us = positive_us(p->db_timeout_ns),
                .min_index = p->min_index,
                .credit_bytes = ex->is_file ? FILE_CREDIT_BYTES : RESULT_CREDIT_BYTES,
                .max_rows = ex->done != NULL ? 0 : ex->gw->config->max_answer_rows,
                .max_bytes = ex->done != NULL ? 0 : ex->gw->config->max_answer_bytes,
                .timeout_us = left_us,
                .is_backup = ex->is_file,
                .backup = ex->is_file ? rq_buf_bytes(&ex->text) : (rq_bytes) {0},
        };
        if (ex->way == WAY_QUERY)
                return message_send_query(link, ex->id, &query);
        query.timeout_us = before_ours_us(left_us);
        if (may_be_stale(ex)) {
                query.freshness_us = positive_us(p->freshness_ns);
                query.freshness_strict = p->freshness_strict;
        }
        if (ex->level == READ_LINEARIZABLE && p->has_linearizable_timeout && p->linearizable_timeout_ns > 0) {
                uint64_t limit_us = positive_us(p->linearizable_timeout_ns);
                query.timeout_us = limit_us < query.timeout_us ? limit_us : query.timeout_us;
        }
        return message_send_read(link, ex->id, (unsigned) ex->level, &query);
}

/* db_timeout of a write is a limit on what may happen before it is sent; its
 * outcome must not depend on any node's clock (hazards 3). */
static bool write_is_too_late(const exchange *ex, uint64_t now) {
        uint64_t limit_us = positive_us(ex->params.db_timeout_ns);
        return is_write(ex) && limit_us > 0 && now > ex->started_ns / 1000 + limit_us;
}

/* Hazards 33: what the index meant may have been lost, and mean something else now. */
static void refuse_foreign_epoch(exchange *ex) {
        static const failure_answer answer = { .status = 409, .text = "min_index is of another epoch: the cluster was recovered by force since, and may have lost it" };
        finish_failed(ex, &answer);
}

static void wait_for_link(exchange *ex, uint64_t left_us) {
        if (ex->state != EX_WAITING) {
                ex->state = EX_WAITING;
                uint64_t limit_us = LINK_WAIT_MS * 1000;
                gateway_set_deadline(ex->gw, ex, left_us < limit_us ? left_us : limit_us);
        }
        rq_list_remove(&ex->waiting);
        rq_list_append(&ex->gw->waiting, &ex->waiting);
}

static void try_send(exchange *ex) {
        uint64_t now = now_us();
        if (now >= ex->deadline_us || write_is_too_late(ex, now)) {
                finish_with(ex, FAILED_REFUSED, FAILED_TIMEOUT, "");
                return;
        }
        uint64_t left_us = ex->deadline_us - now;
        ipc_link *link = link_of(ex);
        if (link == NULL) {
                wait_for_link(ex, left_us);
                return;
        }
        if (ex->params.has_min_epoch && ex->params.min_epoch != ex->gw->node.epoch) {
                refuse_foreign_epoch(ex);
                return;
        }

        rq_err r = is_write(ex) ? send_write(ex, link, left_us) : send_read(ex, link, left_us);
        if (r == RQ_EPIPE) {
                wait_for_link(ex, left_us);
        } else if (r == RQ_ETOOBIG) {
                ex->failed_for = FAILED_INVALID;
                finish_failed(ex, &(failure_answer) { .status = 413, .text = STATEMENTS_TOO_LARGE });
        } else if (r < 0) {
                finish_with(ex, FAILED_REFUSED, FAILED_OVERLOADED, "");
        } else {
                bool was_waiting = ex->state == EX_WAITING;
                ex->state = EX_SENT;
                ex->proposed_here = is_write(ex) && ex->gw->node.role == ROLE_LEADER;
                ex->store_lost = false;
                if (was_waiting || !ex->deadline.set)
                        gateway_set_deadline(ex->gw, ex, left_us);
        }
}

void backend_start(exchange *ex) {
        if (is_write(ex))
                http_conn_keep_on_eof(ex->conn); /* what was begun is told to the end */
        try_send(ex);
}

void backend_start_internal(exchange *ex, exchange_way way, read_level level, const char *sql, exchange_done *done) {
        ex->way = way;
        ex->level = level;
        ex->done = done;
        ex->statements.size = 0;
        ex->text.size = 0;
        if (statement_put(&ex->statements, rq_bytes_text(sql)) < 0) {
                finish_with(ex, FAILED_REFUSED, FAILED_OVERLOADED, "");
                return;
        }
        try_send(ex);
}

void backend_start_batch(exchange *ex, exchange_done *done) {
        ex->way = WAY_PROPOSE;
        ex->done = done;
        ex->text.size = 0;
        try_send(ex);
}

/* Under a new id, so that pieces of the first attempt find nobody. Not for ever:
 * a service that dies of a read must not get it again and again. */
static void send_read_again(exchange *ex) {
        if (++ex->links_lost >= LINKS_LOST_MAX) {
                finish_with(ex, FAILED_REFUSED, FAILED_STORE_FAILED, "the connection to rq-consensus or rq-store broke twice");
                return;
        }
        ex->gw->metrics.gateway.reads_sent_again++;
        exchange_renew_id(ex);
        try_send(ex);
}

/* --- results ---------------------------------------------------------------- */

/* What follows "results" and "error": proto/README.md. */
static size_t write_tail(const exchange *ex, const message_result *result, char tail[static TAIL_BYTES_MAX]) {
        const char *before = ex->params.pretty ? ",\n    " : ",";
        const char *colon = ex->params.pretty ? ": " : ":";
        size_t n = 0;
        if (ex->params.timings) {
                char seconds[JSON_SECONDS_BYTES];
                (void) json_seconds(rq_clock_mono_ns() - ex->started_ns, seconds);
                n += (size_t) snprintf(tail + n, TAIL_BYTES_MAX - n, "%s\"time\"%s%s", before, colon, seconds);
        }
        bool via_log = result->via_log || (ex->way == WAY_READ && ex->level == READ_STRONG);
        if (ex->params.raft_index && via_log && result->index > 0)
                n += (size_t) snprintf(tail + n, TAIL_BYTES_MAX - n, "%s\"raft_index\"%s%llu", before, colon,
                                       (unsigned long long) result->index);
        if (ex->params.token && result->index > 0)
                n += (size_t) snprintf(tail + n, TAIL_BYTES_MAX - n, "%s\"token\"%s\"%016llx.%llu\"", before, colon,
                                       (unsigned long long) ex->gw->node.epoch, (unsigned long long) result->index);
        if (ex->params.pretty)
                tail[n++] = '\n';
        tail[n++] = '}';
        return n;
}

static void collect(exchange *ex, const message_result *result, rq_bytes piece) {
        /* Nothing behind a hole: what is there is the begin of the result. */
        if (ex->text.size + piece.size > COLLECTED_BYTES_MAX || ex->result_cut || rq_buf_append_bytes(&ex->text, piece) < 0)
                ex->result_cut = true;
        ex->done_index = result->index;
        ipc_link *store = ipc_connector_link(ex->gw->store);
        if (!result->last && store != NULL)
                (void) message_send_credit(store, ex->id, piece.size);
        if (result->last)
                ex->done(ex, 200, rq_buf_bytes(&ex->text));
}

static void begin_streaming(exchange *ex, const http_head *head) {
        if (ex->state == EX_STREAMING)
                return;
        ex->state = EX_STREAMING;
        http_answer_begin(ex->conn, head);
}

/* What was passed on is given back to the store when the client has taken it. */
static void pass_on(exchange *ex, size_t result_bytes, rq_bytes piece) {
        ex->credit_due += result_bytes;
        /* From here on the time limit is for the next piece. */
        gateway_set_deadline(ex->gw, ex, ex->deadline_us - ex->started_ns / 1000);
        http_answer_piece(ex->conn, piece);
}

/* Of a file: what the pieces are is nobody's business here. */
static void on_file_result(exchange *ex, const message_result *result, rq_bytes piece) {
        const http_head head = { .status = 200, .content_type = ex->file_type, .served_by = true, .index = result->index };
        RQ_CLEANUP(rq_buf_done) rq_buf packed = {0};
        size_t size = piece.size;
        bool packed_all = ex->gzip == NULL;
        if (!packed_all) {
                if (gzip_run(ex->gzip, &piece, result->last, &packed, SIZE_MAX, &packed_all) < 0) {
                        finish_with(ex, FAILED_REFUSED, FAILED_OVERLOADED, "");
                        return;
                }
                piece = rq_buf_bytes(&packed);
        }
        begin_streaming(ex, &head);
        if (!result->last) {
                pass_on(ex, size, piece);
                return;
        }
        http_conn *conn = ex->conn;
        ex->gw->last_backup_wall_us = rq_clock_wall_us();
        exchange_free(ex);
        http_answer_end(conn, piece, (rq_bytes) {0});
}

void backend_on_result(exchange *ex, const message_result *result, rq_bytes piece) {
        if (ex->done != NULL) {
                collect(ex, result, piece);
                return;
        }
        if (ex->is_file) {
                on_file_result(ex, result, piece);
                return;
        }
        http_conn *conn = ex->conn;
        if (result->last) {
                char tail[TAIL_BYTES_MAX];
                size_t tail_size = write_tail(ex, result, tail);
                bool streaming = ex->state == EX_STREAMING;
                exchange_free(ex);
                if (streaming)
                        http_answer_end(conn, piece, rq_bytes_of(tail, tail_size));
                else
                        http_answer(conn, &result_head, piece, rq_bytes_of(tail, tail_size));
                return;
        }
        begin_streaming(ex, &result_head);
        pass_on(ex, piece.size, piece);
}

void backend_on_drained(exchange *ex) {
        ipc_link *store = ipc_connector_link(ex->gw->store);
        if (ex->state != EX_STREAMING || ex->credit_due < CREDIT_BYTES_MIN || store == NULL)
                return;
        if (message_send_credit(store, ex->id, ex->credit_due) >= 0)
                ex->credit_due = 0;
}

/* The store has seen that the request, which its first words made a read, holds
 * a write. Nothing was run. */
static void move_to_log(exchange *ex) {
        ex->gw->metrics.gateway.reads_moved_to_log++;
        ex->tried_log = true;
        ex->way = WAY_PROPOSE;
        exchange_renew_id(ex);
        backend_start(ex);
}

/* Refused only because a service is being restarted: nothing happened, and the next process
 * takes it. It waits for that one's link, as if it had come a moment later. */
static bool can_wait_for_restart(const exchange *ex, const failure *f) {
        return f->outcome == FAILED_REFUSED && f->reason == FAILED_STOPPING && ex->done == NULL && ex->state == EX_SENT && !ex->gw->stopping;
}

static void wait_for_restart(exchange *ex) {
        uint64_t now = now_us();
        exchange_renew_id(ex);
        wait_for_link(ex, ex->deadline_us > now ? ex->deadline_us - now : 0);
}

void backend_on_failed(exchange *ex, const failure *f) {
        if (can_wait_for_restart(ex, f)) {
                wait_for_restart(ex);
                return;
        }
        if (f->reason == FAILED_NEEDS_LOG && ex->done == NULL && ex->route->op == OP_REQUEST && !is_write(ex) && !ex->tried_log &&
            ex->state == EX_SENT) {
                move_to_log(ex);
                return;
        }
        failure whole = *f;
        whole.write = is_write(ex);
        /* A bound on staleness that can't be met for lack of a leader. */
        if (!whole.write && may_be_stale(ex) && (f->reason == FAILED_NO_LEADER || f->reason == FAILED_NOT_LEADER))
                whole.reason = FAILED_STALE;
        if (f->reason == FAILED_NO_LEADER || f->reason == FAILED_NOT_LEADER)
                ex->gw->metrics.http.leader_not_found++;

        failure_answer answer;
        ex->failed_for = whole.reason;
        ex->failed_how = whole.outcome;
        ex->done_index = whole.index;
        failure_answer_of(&whole, &answer);
        finish_failed(ex, &answer);
}

/* --- links ------------------------------------------------------------------ */

static void send_waiting(gateway *gw) {
        rq_list again;
        rq_list_init(&again);
        while (!rq_list_empty(&gw->waiting)) {
                rq_list *node = gw->waiting.next;
                rq_list_remove(node);
                rq_list_append(&again, node);
        }
        while (!rq_list_empty(&again)) {
                exchange *ex = RQ_LIST_ENTRY(again.next, exchange, waiting);
                rq_list_remove(&ex->waiting);
                try_send(ex);
        }
}

/* --- writes whose link to consensus broke (docs/decisions/0007) ---------------- */

/* A strong read's answer has come: those from before its break have theirs, or
 * never were in the log. */
static void on_barrier_passed(exchange *barrier, unsigned status, rq_bytes result) {
        gateway *gw = barrier->gw;
        uint64_t breaks = barrier->lost_at;
        exchange *ex;
        (void) result;
        exchange_free(barrier);
        if (status != 200)
                return; /* they wait on, for the next one or their deadline */
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                if (ex->state != EX_SENT || !ex->link_lost || ex->lost_at > breaks || !ex->proposed_here)
                        continue;
                if (ex->store_lost)
                        finish_with(ex, FAILED_UNKNOWN, FAILED_OTHER, "rq-consensus and rq-store were restarted");
                else
                        finish_with(ex, FAILED_REFUSED, FAILED_OTHER, "rq-consensus was restarted before the request was logged, try again");
        }
}

static void send_barrier(gateway *gw) {
        static const route own = { .path = "", .op = OP_QUERY, .methods = METHOD_GET };
        exchange *ex, *barrier;
        bool wanted = false;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;)
                wanted |= ex->state == EX_SENT && ex->link_lost && ex->proposed_here && ex->lost_at > gw->barriers;
        if (!wanted || gw->node.role != ROLE_LEADER || exchange_new(gw, NULL, &barrier) < 0)
                return;
        barrier->route = &own;
        gw->barriers = barrier->lost_at = gw->breaks;
        barrier->started_ns = rq_clock_mono_ns();
        barrier->deadline_us = now_us() + LOST_LINK_WAIT_MS * 1000;
        backend_start_internal(barrier, WAY_READ, READ_STRONG, "SELECT 1", on_barrier_passed);
}

void backend_consensus_ready(gateway *gw) {
        send_barrier(gw);
        send_waiting(gw);
}
void backend_store_up(gateway *gw) { send_waiting(gw); }

void backend_consensus_down(gateway *gw) {
        uint64_t now = now_us();
        exchange *ex;
        gw->breaks++;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                if (ex->state != EX_SENT)
                        continue;
                if (ex->way == WAY_READ) {
                        send_read_again(ex);
                } else if (is_write(ex) && !ex->link_lost) {
                        /* It may have been logged: the result may still come from the store. */
                        uint64_t left_us = ex->deadline_us > now ? ex->deadline_us - now : 0, limit_us = LOST_LINK_WAIT_MS * 1000;
                        ex->link_lost = true;
                        ex->lost_at = gw->breaks;
                        gateway_set_deadline(gw, ex, left_us < limit_us ? left_us : limit_us);
                }
        }
}

/* Results of writes are kept by the store, or consensus tells that they are
 * lost: writes wait on. */
void backend_store_down(gateway *gw) {
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                if (ex->state == EX_STREAMING)
                        finish_with(ex, FAILED_REFUSED, FAILED_STORE_FAILED, "rq-store is gone, an answer was cut");
                else if (ex->state == EX_SENT && !is_write(ex))
                        send_read_again(ex);
                else if (ex->state == EX_SENT)
                        ex->store_lost = true;
        }
}

/* --- nobody waits, or not any longer ---------------------------------------- */

void backend_cancel(gateway *gw, uint64_t request_id) {
        ipc_link *store = ipc_connector_link(gw->store);
        if (store != NULL)
                (void) ipc_link_send(store, IPC_CANCEL, request_id, (rq_bytes) {0}, (rq_bytes) {0});
}

void backend_on_gone(exchange *ex) {
        gateway *gw = ex->gw;
        if (ex->load != NULL) {
                load_on_gone(ex);
                return;
        }
        if (ex->state == EX_SENT || ex->state == EX_STREAMING) {
                gw->metrics.gateway.reads_cancelled += !is_write(ex);
                backend_cancel(gw, ex->id);
        }
        exchange_free(ex);
}

void backend_on_deadline(exchange *ex) {
        gateway *gw = ex->gw;
        char text[96];
        if (ex->state == EX_STREAMING && http_conn_queued(ex->conn) > 0) {
                /* The client is what is slow: its connection has a limit of its own. */
                gateway_set_deadline(gw, ex, TIMEOUT_DEFAULT_S * UINT64_C(1000000));
                return;
        }
        gw->metrics.gateway.deadlines_passed++;
        switch (ex->state) {
        case EX_WAITING:
                (void) snprintf(text, sizeof text, "%s does not answer", service_of(ex));
                finish_with(ex, FAILED_REFUSED, FAILED_STORE_FAILED, text);
                return;
        case EX_SENT:
                backend_cancel(gw, ex->id);
                finish_with(ex, FAILED_UNKNOWN, FAILED_TIMEOUT, ex->link_lost ? "rq-consensus was restarted" : "timed out");
                return;
        case EX_STREAMING:
                backend_cancel(gw, ex->id);
                finish_with(ex, FAILED_REFUSED, FAILED_TIMEOUT, "");
                return;
        case EX_ACCESS:
        case EX_RECEIVING:
        case EX_STATUS:
        case EX_READINESS:
        case EX_TRANSFER:
        case EX_SNAPSHOT:
        case EX_PARKED:
        case EX_QUEUED:
        case EX_REMOVE:
        case EX_LEADER:
                break;
        }
}
