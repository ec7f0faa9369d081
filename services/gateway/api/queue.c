/* /db/execute?queue: the answer comes before the write. What is accepted is
 * made in order, several requests in one entry of the log, each of which stands
 * for itself there (SqlGroup). Never twice: a batch is sent again only if it
 * certainly did not happen; one whose outcome nobody knows is given up, loudly. */
#include <stdio.h>

#include "api/api.h"
#include "backend.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/json_text.h"
#include "io/json_writer.h"
#include "io/message.h"

static void run(gateway *gw);
static void on_timer(void *arg) {
        gateway *gw = arg;
        gw->queue.timer_set = false;
        run(gw);
}

rq_err queue_init(gateway *gw) {
        const gateway_config *config = gw->config;
        const write_queue_limits limits = {
                .count_max = config->queue_capacity, .bytes_max = QUEUE_BYTES_MAX, .batch_bytes_max = QUEUE_BATCH_BYTES_MAX,
                .batch_count = config->queue_batch_size, .batch_wait_us = config->queue_timeout_us,
        };
        write_queue_init(&gw->queue.writes, &limits, gw->started_wall_us * 1000);
        rq_list_init(&gw->queue.parked);
        return rq_timer_init(&gw->queue.timer, gw->loop, on_timer, gw);
}

void queue_done(gateway *gw) {
        size_t left = gw->queue.writes.count;
        if (left > 0)
                rq_log_error(RQ_ECANCELED, "Stopped with %zu queued writes that were not made: they are lost", left);
        if (gw->queue.batch != NULL)
                exchange_free(gw->queue.batch);
        gw->queue.batch = NULL;
        write_queue_done(&gw->queue.writes);
        rq_timer_done(&gw->queue.timer);
}

/* --- answers ---------------------------------------------------------------- */

/* error: the JSON string of the first statement that failed; empty: none did, or
 * nobody has waited to know. */
static void answer_queued(exchange *ex, uint64_t sequence, rq_bytes error) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0}, text = {0};
        char number[32];
        json_writer w = json_writer_of(&document, ex->params.pretty);
        writer_open(&w, NULL, '{');
        writer_open(&w, "results", '[');
        if (error.size > 0) {
                rq_err r = rq_buf_append_bytes(&text, error);
                if (r >= 0)
                        r = rq_buf_append(&text, "", 1);
                writer_open(&w, NULL, '{');
                writer_raw(&w, "error", r >= 0 ? (const char *) text.data : "\"out of memory\"");
                writer_close(&w, '}');
        }
        writer_close(&w, ']');
        if (ex->params.timings && ex->params.wait) {
                char seconds[JSON_SECONDS_BYTES];
                (void) json_seconds(rq_clock_mono_ns() - ex->started_ns, seconds);
                writer_raw(&w, "time", seconds);
        }
        (void) snprintf(number, sizeof number, "%llu", (unsigned long long) sequence);
        writer_raw(&w, "sequence_number", number);
        writer_close(&w, '}');
        if (w.err < 0)
                api_answer_text(ex, 503, rq_err_text(w.err));
        else
                api_answer_json(ex, &document);
}

static void answer_no_room(exchange *ex) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = 503, .content_type = API_TEXT, .nosniff = true, .retry_after_s = 1 };
        ex->gw->metrics.queue.refused++;
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text("the queue of writes is full (-write-queue-capacity), nothing was done, try again\n"), (rq_bytes) {0});
}

/* The write is made all the same. */
static void answer_late(exchange *ex) {
        ex->gw->metrics.http.queued_executions_wait_timeout++;
        api_answer_text(ex, 408, "queue wait timeout");
}

/* --- batches ---------------------------------------------------------------- */

typedef enum batch_end_kind {
        BATCH_DONE,              /* answer: of the store, a result for each write */
        BATCH_LOST,              /* in the log at index, and no result will come */
        BATCH_REFUSED,           /* not made, for why, and never will be; one write */
        BATCH_UNKNOWN,
} batch_end_kind;

typedef struct batch_end {
        batch_end_kind kind;
        rq_bytes answer;
        uint64_t index;
        unsigned status;         /* BATCH_REFUSED, */
        char why[FAILURE_TEXT_BYTES];
} batch_end;

/* A waiter's write has ended. error: of a statement; empty: none failed. */
static void tell_waiter(exchange *ex, uint64_t sequence, const batch_end *end, rq_bytes error) {
        ex->queued = NULL;
        if (ex->route->op == OP_LEADER) {
                stepdown_on_flushed(ex);
                return;
        }
        switch (end->kind) {
        case BATCH_DONE:
                answer_queued(ex, sequence, error);
                return;
        case BATCH_LOST:
                backend_on_failed(ex, &(failure) { .outcome = FAILED_COMMITTED, .index = end->index });
                return;
        case BATCH_REFUSED:
                api_answer_text(ex, end->status, end->why);
                return;
        case BATCH_UNKNOWN:
                api_answer_text(ex, 504, "the outcome is unknown: the queued write may or may not be carried out");
                return;
        }
}

static void log_failure(gateway *gw, uint64_t sequence, rq_bytes error) {
        char text[256];
        gw->metrics.http.queued_executions_failed++;
        (void) snprintf(text, sizeof text, "Queued write %llu failed: %.*s", (unsigned long long) sequence,
                        error.size > 160 ? 160 : (int) error.size, (const char *) error.data);
        gateway_log_error(gw, text);
}

static void log_lost_results(gateway *gw, uint64_t from_sequence, size_t count, uint64_t index) {
        char text[192];
        (void) snprintf(text, sizeof text, "The results of %zu queued writes from %llu on are lost: they were made, at index %llu; whether a statement failed is unknown",
                        count, (unsigned long long) from_sequence, (unsigned long long) index);
        gateway_log_error(gw, text);
}

static void count_end(gateway *gw, const queued_write *w, batch_end_kind kind, rq_bytes error) {
        if (kind == BATCH_DONE || kind == BATCH_LOST) {
                gw->metrics.queue.objects_tx++;
                gw->metrics.http.queued_executions_num_stmts_tx += w->statement_count;
        }
        if (kind == BATCH_LOST || kind == BATCH_UNKNOWN)
                gw->metrics.http.queued_executions_unknown_error++;
        else if (kind == BATCH_REFUSED)
                gw->metrics.http.queued_executions_failed++;
        else if (error.size > 0)
                log_failure(gw, w->sequence, error);
        else
                gw->metrics.http.queued_executions_ok++;
}

/* Their batch has ended. Behind a result that can't be read, none can: those are lost. */
static void end_writes(gateway *gw, const batch_end *how) {
        write_queue *q = &gw->queue.writes;
        const batch_end done = { .kind = BATCH_DONE };
        batch_end end = *how;
        size_t at = 0, lost_count = 0;
        uint64_t lost_from = 0;
        for (queued_write *w; (w = write_queue_next_ended(q)) != NULL;) {
                rq_bytes error = {0};
                exchange *waiter = w->waiter;
                bool mark = w->statement_count == 0;
                if (!mark) {
                        if (end.kind == BATCH_DONE && !write_queue_next_result(end.answer, &at, &error))
                                end.kind = BATCH_LOST;
                        if (end.kind == BATCH_LOST && lost_count++ == 0)
                                lost_from = w->sequence;
                        count_end(gw, w, end.kind, error);
                }
                if (waiter != NULL)
                        tell_waiter(waiter, w->sequence, mark ? &done : &end, error);
                write_queue_free_write(w);
        }
        if (lost_count > 0)
                log_lost_results(gw, lost_from, lost_count, end.index);
}

static void give_up(gateway *gw) {
        char text[192];
        (void) snprintf(text, sizeof text, "The outcome of %zu queued writes from %llu on is unknown: they are not sent again",
                        gw->queue.writes.in_flight_count, (unsigned long long) gw->queue.writes.done_sequence + 1);
        gateway_log_error(gw, text);
        end_writes(gw, &(batch_end) { .kind = BATCH_UNKNOWN });
}

static void try_again(gateway *gw, bool alone) {
        gw->metrics.http.queued_executions_retried += gw->queue.writes.in_flight_count;
        write_queue_put_back(&gw->queue.writes, alone);
        gw->queue.not_before_us = alone ? 0 : rq_clock_mono_us() + QUEUE_PAUSE_MS * 1000;
}

/* One that is refused alone: no other node, and no later time, would take it. */
static void drop_refused(gateway *gw, unsigned status, rq_bytes why) {
        char text[256];
        batch_end end = { .kind = BATCH_REFUSED, .status = status };
        (void) snprintf(text, sizeof text, "Queued write %llu is refused: %.*s", (unsigned long long) gw->queue.writes.done_sequence + 1,
                        why.size > 160 ? 160 : (int) why.size, (const char *) why.data);
        gateway_log_error(gw, text);
        (void) snprintf(end.why, sizeof end.why, "%.*s", why.size < sizeof end.why ? (int) why.size : (int) sizeof end.why - 1, (const char *) why.data);
        end_writes(gw, &end);
}

static void on_batch_done(exchange *ex, unsigned status, rq_bytes result) {
        gateway *gw = ex->gw;
        bool single = gw->queue.writes.in_flight_count == 1;
        gw->queue.batch = NULL;
        if (status == 200)
                end_writes(gw, &(batch_end) { .kind = BATCH_DONE, .answer = result, .index = ex->done_index });
        else if (ex->failed_how == FAILED_COMMITTED)
                end_writes(gw, &(batch_end) { .kind = BATCH_LOST, .index = ex->done_index });
        else if (ex->failed_how == FAILED_UNKNOWN)
                give_up(gw);
        else if (ex->failed_for == FAILED_INVALID && single)
                drop_refused(gw, status, result);
        else
                try_again(gw, ex->failed_for == FAILED_INVALID);
        exchange_free(ex);
        run(gw);
        gateway_look_stopped(gw);
}

static rq_err fill_batch(exchange *ex) {
        rq_err r = RQ_OK;
        const rq_list *list = &ex->gw->queue.writes.in_flight;
        for (rq_list *at = list->next; at != list && r >= 0; at = at->next) {
                const queued_write *w = RQ_LIST_ENTRY(at, queued_write, node);
                if (w->statement_count == 0)
                        continue;
                r = message_put_group(&ex->groups, w->statement_count, w->transaction);
                if (r >= 0)
                        r = rq_buf_append_bytes(&ex->statements, rq_buf_bytes(&w->statements));
        }
        return r;
}

static void send_batch(gateway *gw) {
        static const route own = { .path = "", .op = OP_EXECUTE, .methods = METHOD_POST };
        exchange *ex;
        (void) write_queue_take(&gw->queue.writes);
        rq_err r = exchange_new(gw, NULL, &ex);
        if (r < 0) {
                try_again(gw, false);
                return;
        }
        r = fill_batch(ex);
        if (r < 0 || ex->groups.size == 0) { /* only marks: all before them has ended */
                exchange_free(ex);
                if (r < 0)
                        try_again(gw, false);
                else
                        end_writes(gw, &(batch_end) { .kind = BATCH_DONE });
                return;
        }
        gw->queue.batch = ex;
        gw->metrics.queue.batches++;
        ex->route = &own;
        ex->started_ns = rq_clock_mono_ns();
        ex->deadline_us = rq_clock_mono_us() + QUEUE_BATCH_WAIT_S * UINT64_C(1000000);
        backend_start_batch(ex, on_batch_done);
}

/* --- into the queue ----------------------------------------------------------- */

static rq_err admit(exchange *ex) {
        gateway *gw = ex->gw;
        queued_write *w;
        bool transaction = ex->params.transaction || gw->config->queue_tx;
        rq_err r = write_queue_add(&gw->queue.writes, &ex->statements, ex->statement_count, transaction, rq_clock_mono_us(), &w);
        if (r < 0)
                return r;
        gw->metrics.queue.objects_rx += ex->statement_count > 0; /* a mark is none */
        gw->metrics.http.queued_executions_num_stmts_rx += ex->statement_count;
        if (!ex->params.wait) {
                answer_queued(ex, w->sequence, (rq_bytes) {0});
                return RQ_OK;
        }
        uint64_t now_us = rq_clock_mono_us();
        if (now_us >= ex->deadline_us) {
                answer_late(ex);
                return RQ_OK;
        }
        w->waiter = ex;
        ex->queued = w;
        ex->state = EX_QUEUED;
        gateway_set_deadline(gw, ex, ex->deadline_us - now_us);
        return RQ_OK;
}

static void answer_no_leader(exchange *ex) {
        ex->gw->metrics.http.leader_not_found++;
        ex->gw->metrics.http.queued_executions_no_leader++;
        api_answer_text(ex, 503, "leader not found");
}

static void park(exchange *ex, uint64_t until_us) {
        gateway *gw = ex->gw;
        const uint64_t now_us = rq_clock_mono_us();
        if (until_us > ex->deadline_us)
                until_us = ex->deadline_us;
        gw->metrics.queue.parked++;
        ex->state = EX_PARKED;
        rq_list_append(&gw->queue.parked, &ex->waiting);
        gateway_set_deadline(gw, ex, until_us > now_us ? until_us - now_us : 0);
}

static bool has_room_for(const exchange *ex) {
        return ex->statement_count == 0 || write_queue_has_room(&ex->gw->queue.writes, ex->statements.size);
}

static void admit_parked(gateway *gw) {
        while (!rq_list_empty(&gw->queue.parked)) {
                exchange *ex = RQ_LIST_ENTRY(gw->queue.parked.next, exchange, waiting);
                if (!has_room_for(ex) || (!ex->params.noleader && !leader_is_known(gw)))
                        return;
                rq_list_remove(&ex->waiting);
                if (admit(ex) < 0)
                        answer_no_room(ex);
        }
}

/* Does what there is to do, and sets the timer for the next time. */
static void run(gateway *gw) {
        write_queue *q = &gw->queue.writes;
        for (;;) {
                admit_parked(gw);
                uint64_t due_us = write_queue_due_us(q), now_us = rq_clock_mono_us();
                if (due_us == UINT64_MAX)
                        return;
                if (due_us < gw->queue.not_before_us)
                        due_us = gw->queue.not_before_us;
                if (due_us > now_us) {
                        if (!gw->queue.timer_set)
                                rq_timer_set(&gw->queue.timer, due_us - now_us);
                        gw->queue.timer_set = true;
                        return;
                }
                if (q->flushing || q->flush_to > q->done_sequence)
                        gw->metrics.queue.num_flush++;
                else
                        gw->metrics.queue.num_timeout += due_us != 0;
                send_batch(gw);
        }
}

void queue_accept(exchange *ex) {
        gateway *gw = ex->gw;
        gw->metrics.http.queued_executions++;
        gw->metrics.http.queued_executions_wait += ex->params.wait;
        if (!ex->params.noleader && !leader_is_known(gw)) {
                if (rq_clock_mono_us() >= leader_expected_until_us(gw))
                        answer_no_leader(ex);
                else
                        park(ex, leader_expected_until_us(gw));
                return;
        }
        /* Who may do without a leader doesn't stand behind those who wait for one. */
        if (has_room_for(ex) && (rq_list_empty(&gw->queue.parked) || !leader_is_known(gw))) {
                if (admit(ex) < 0)
                        answer_no_room(ex);
        } else {
                park(ex, ex->deadline_us);
        }
        run(gw);
}

void queue_on_deadline(exchange *ex) {
        if (ex->state == EX_PARKED && !ex->params.noleader && !leader_is_known(ex->gw)) {
                answer_no_leader(ex);
        } else if (ex->state == EX_PARKED) {
                answer_no_room(ex);
        } else if (ex->route->op == OP_LEADER) {
                ex->queued->waiter = NULL;
                ex->queued = NULL;
                stepdown_on_flushed(ex);
        } else {
                answer_late(ex);
        }
}

/* --- before something ends ------------------------------------------------------ */

bool queue_flush_before(exchange *ex, uint64_t patience_us) {
        gateway *gw = ex->gw;
        queued_write *w;
        rq_buf nothing = {0};
        if (write_queue_empty(&gw->queue.writes) || write_queue_add(&gw->queue.writes, &nothing, 0, false, rq_clock_mono_us(), &w) < 0)
                return false;
        w->waiter = ex;
        ex->queued = w;
        ex->state = EX_QUEUED;
        gateway_set_deadline(gw, ex, patience_us);
        run(gw);
        return true;
}

/* Those that wait for a leader have until then what they had left of their own time. */
static void give_parked_time(gateway *gw) {
        const uint64_t now_us = rq_clock_mono_us();
        for (rq_list *at = gw->queue.parked.next; at != &gw->queue.parked; at = at->next) {
                exchange *ex = RQ_LIST_ENTRY(at, exchange, waiting);
                gateway_set_deadline(gw, ex, ex->deadline_us > now_us ? ex->deadline_us - now_us : 0);
        }
}

void queue_on_node_state(gateway *gw, bool leader_found) {
        if (!leader_is_known(gw))
                return;
        if (leader_found) {
                give_parked_time(gw);
                if (gw->queue.not_before_us == 0) {
                        run(gw);
                        return;
                }
        }
        if (gw->queue.not_before_us == 0)
                return;
        gw->queue.not_before_us = 0;
        rq_timer_cancel(&gw->queue.timer);
        gw->queue.timer_set = false;
        run(gw);
}

void queue_stop(gateway *gw) {
        gw->queue.writes.flushing = true;
        rq_timer_cancel(&gw->queue.timer);
        gw->queue.timer_set = false;
        run(gw);
        gateway_look_stopped(gw);
}

/* Those that are on their way may still be made; a later process knows of none of them. */
bool queue_give_up(gateway *gw) {
        const write_queue *q = &gw->queue.writes;
        const failure stopping = { .outcome = FAILED_REFUSED, .reason = FAILED_STOPPING };
        bool told = false;
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                if (ex->conn == NULL || (ex->state != EX_PARKED && ex->state != EX_QUEUED) || ex->route->op == OP_LEADER)
                        continue;
                told = true;
                if (ex->state == EX_PARKED)
                        backend_on_failed(ex, &stopping);
                else if (ex->queued->statement_count == 0)
                        api_answer_text(ex, 503, "the node is stopping: queued writes that were accepted before were not made, and are lost");
                else if (write_queue_is_in_flight(q, ex->queued))
                        api_answer_text(ex, 504, "the outcome is unknown: the node is stopping, the queued write may or may not be carried out");
                else
                        backend_on_failed(ex, &stopping);
        }
        return told;
}

/* --- for /status ------------------------------------------------------------------ */

void queue_status(const gateway *gw, json_t *queue) {
        char text[32];
        (void) json_object_set_new(queue, "batch_size", json_integer(gw->config->queue_batch_size));
        (void) json_object_set_new(queue, "max_size", json_integer(gw->config->queue_capacity));
        (void) json_object_set_new(queue, "sequence_number", json_integer((json_int_t) gw->queue.writes.done_sequence));
        (void) json_object_set_new(queue, "timeout",
                                   json_string(rq_duration_text((int64_t) gw->config->queue_timeout_us * 1000, text, sizeof text)));
        (void) json_object_set_new(queue, "length", json_integer((json_int_t) gw->queue.writes.count));
        (void) json_object_set_new(queue, "bytes", json_integer((json_int_t) gw->queue.writes.bytes));
        (void) json_object_set_new(queue, "transaction", json_boolean(gw->config->queue_tx));
}
