#include "reads.h"

#include <stdio.h>
#include <stdlib.h>

#include "arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "core/wait_applied.h"
#include "log/log.h"
#include "messages.h"

enum {
        REQUESTS_MAX       = 16384,
        SPARES_MAX         = 64,
        FIRST_CREDIT_BYTES = 256 * 1024,         /* where a query says nothing */
        WAIT_US            = 10 * 1000 * 1000,   /* likewise */
        TURN_US            = 500,                /* of a turn of the loop for reads that run on it */
        ALONE_US           = 3 * 1000 * 1000,    /* without a word of consensus: level none is served anyway */
};
#define WAIT_US_MAX (UINT64_C(3600) * 1000 * 1000)

static const char stopping_text[] = "this node is stopping";

typedef struct read_request {
        request base;
        wait_item wait;
        read_job job;
        rq_arena *arena;
        uint64_t index;
        bool in_pool, behind_gate;
        struct read_request *next_spare;
} read_request;

struct reads {
        const applier *applier;
        read_pool *pool;
        rq_wake wake;
        rq_timer deadlines, tend;
        rq_task turn_end;
        uint64_t turn_us;            /* taken by reads in this turn */
        bool tending, stopping, paused;
        const char *refusal;         /* why none is served; NULL: they are */
        uint32_t threads_max, running; /* running: at the pool */

        uint64_t delivered_index;    /* applied, and its results are on their way */
        wait_applied paused_ones;    /* ready, but the files are being opened anew */
        wait_applied waiting, gated; /* gated: until the gate's index is known */
        bool gate_known, alone;
        uint64_t gate_index, alone_at_us;

        read_request *spares;
        uint32_t spare_count;
        reads_stats stats;
};

static void request_free(reads *r, read_request *q) {
        rq_assert(q->wait.in == NULL && !q->in_pool);
        request_remove(&q->base);
        r->stats.count--;
        if (r->spare_count < SPARES_MAX) {
                rq_arena_reset(q->arena);
                q->next_spare = r->spares;
                r->spares = q;
                r->spare_count++;
                return;
        }
        (void) rq_arena_free(q->arena);
        free(q);
}

static read_request *request_new(reads *r) {
        read_request *q = r->spares;
        if (q != NULL) {
                rq_arena *arena = q->arena;
                r->spares = q->next_spare;
                r->spare_count--;
                *q = (read_request) { .arena = arena };
        } else {
                q = calloc(1, sizeof *q);
                if (q != NULL && (q->arena = rq_arena_new()) == NULL) {
                        free(q);
                        q = NULL;
                }
        }
        if (q == NULL)
                return NULL;
        q->base.kind = REQUEST_READ;
        r->stats.count++;
        return q;
}

static void refuse(reads *r, gateway *gw, uint64_t id, Rq__RequestFailed__Reason reason, const char *text) {
        r->stats.refused++;
        send_failed(gw->link, id, RQ__REQUEST_FAILED__OUTCOME__REFUSED, reason, 0, text);
}

static void refuse_and_free(reads *r, read_request *q, Rq__RequestFailed__Reason reason, const char *text) {
        refuse(r, q->base.gateway, q->base.id, reason, text);
        request_free(r, q);
}

/* --- waiting and running ------------------------------------------------------- */

static void send_piece(reads *r, const read_request *q, uint64_t index, bool last, rq_bytes json) {
        const result_piece piece = { .request_id = q->base.id, .index = index, .last = last };
        r->stats.sent_bytes += json.size;
        send_result(q->base.gateway->link, &piece, json);
}

typedef struct here { reads *reads; const read_request *request; } here;

static void on_answer(void *arg, uint64_t index, rq_bytes json) {
        const here *h = arg;
        send_piece(h->reads, h->request, index, true, json);
}

static void on_turn_end(void *arg) {
        reads *r = arg;
        r->turn_us = 0;
}

/* On the loop's thread: it spares two wake-ups. What is more than a little goes
 * to the threads, which may be many. */
static bool run_here(reads *r, read_request *q) {
        if (r->turn_us >= TURN_US)
                return false;
        rq_task_post(&r->turn_end);
        uint64_t start_us = rq_clock_mono_us();
        bool done = read_pool_try(r->pool, &q->job, on_answer, &(here) { r, q });
        r->turn_us += rq_clock_mono_us() - start_us;
        return done;
}

static read_request *of_wait(wait_item *item) { return RQ_LIST_ENTRY(item, read_request, wait); }

static void run_now(reads *r, read_request *q) {
        bool waits;
        if (run_here(r, q)) {
                r->stats.started++;
                request_free(r, q);
                return;
        }
        if (read_pool_submit(r->pool, &q->job, &waits) < 0) {
                refuse_and_free(r, q, RQ__REQUEST_FAILED__REASON__OVERLOADED, "too many reads are waiting");
                return;
        }
        q->in_pool = true;
        r->running++;
        r->stats.started++;
        if (waits && !r->tending) {
                r->tending = true;
                rq_timer_set(&r->tend, READ_TEND_US);
        }
}

static void set_deadlines(reads *r) {
        uint64_t next_us = wait_applied_next_deadline(&r->waiting), gated_us = wait_applied_next_deadline(&r->gated);
        uint64_t paused_us = wait_applied_next_deadline(&r->paused_ones);
        if (paused_us < next_us)
                next_us = paused_us;
        if (gated_us < next_us)
                next_us = gated_us;
        if (!r->gate_known && !r->alone && r->alone_at_us < next_us && r->gated.count > 0)
                next_us = r->alone_at_us;
        if (next_us == UINT64_MAX) {
                rq_timer_cancel(&r->deadlines);
                return;
        }
        uint64_t now_us = rq_clock_mono_us();
        rq_timer_set(&r->deadlines, next_us > now_us ? next_us - now_us : 0);
}

/* Where q stands now: behind the gate, behind its index, or at the pool. True:
 * it waits. */
static bool advance(reads *r, read_request *q, uint64_t deadline_us) {
        if (q->behind_gate && r->gate_known && q->index < r->gate_index)
                q->index = r->gate_index;
        if (q->behind_gate && !r->gate_known && !r->alone) {
                wait_applied_add(&r->gated, &q->wait, 0, deadline_us);
                return true;
        }
        if (r->delivered_index < q->index) {
                wait_applied_add(&r->waiting, &q->wait, q->index, deadline_us);
                return true;
        }
        if (r->paused) {
                wait_applied_add(&r->paused_ones, &q->wait, 0, deadline_us);
                return true;
        }
        run_now(r, q);
        return false;
}

static void open_gate(reads *r) {
        wait_item *item;
        while ((item = wait_applied_ready(&r->gated, UINT64_MAX)) != NULL)
                (void) advance(r, of_wait(item), item->deadline_us);
        set_deadlines(r);
}

static void on_deadlines(void *arg) {
        reads *r = arg;
        uint64_t now_us = rq_clock_mono_us();
        wait_item *item;
        if (!r->gate_known && !r->alone && now_us >= r->alone_at_us) {
                r->alone = true;
                rq_log_notice("No word from rq-consensus: serving reads of level none from what is here");
                open_gate(r);
        }
        while ((item = wait_applied_expired(&r->waiting, now_us)) != NULL)
                refuse_and_free(r, of_wait(item), RQ__REQUEST_FAILED__REASON__TIMEOUT,
                                "timed out waiting until this node has applied what the read asks for");
        while ((item = wait_applied_expired(&r->paused_ones, now_us)) != NULL)
                refuse_and_free(r, of_wait(item), RQ__REQUEST_FAILED__REASON__TIMEOUT,
                                "timed out waiting until this node's database is replaced");
        while ((item = wait_applied_expired(&r->gated, now_us)) != NULL)
                refuse_and_free(r, of_wait(item), RQ__REQUEST_FAILED__REASON__TIMEOUT,
                                "timed out waiting until this node knows what is committed");
        set_deadlines(r);
}

static void on_tend(void *arg) {
        reads *r = arg;
        r->tending = read_pool_tend(r->pool);
        if (r->tending)
                rq_timer_set(&r->tend, READ_TEND_US);
}

rq_err reads_start(reads *r, gateway *gw, const read_ask *ask) {
        if (request_find(gw, ask->request_id) != NULL)
                return RQ_OK;
        if (r->stopping) {
                refuse(r, gw, ask->request_id, RQ__REQUEST_FAILED__REASON__STOPPING, stopping_text);
                return RQ_OK;
        }
        if (r->refusal != NULL) {
                refuse(r, gw, ask->request_id, RQ__REQUEST_FAILED__REASON__STORE_FAILED, r->refusal);
                return RQ_OK;
        }
        read_request *q = r->stats.count < REQUESTS_MAX ? request_new(r) : NULL;
        if (q == NULL) {
                refuse(r, gw, ask->request_id, RQ__REQUEST_FAILED__REASON__OVERLOADED, "too many reads are under way");
                return RQ_OK;
        }
        const Rq__Query *query = rq__query__unpack(rq_arena_allocator(q->arena), ask->query.size, ask->query.data);
        if (query == NULL) {
                request_free(r, q);
                return RQ_EPROTO;
        }
        if (request_add(&q->base, gw, ask->request_id) < 0) {
                refuse(r, gw, ask->request_id, RQ__REQUEST_FAILED__REASON__OVERLOADED, "out of memory");
                request_free(r, q);
                return RQ_OK;
        }

        uint64_t timeout_us = ask->timeout_us > 0 ? ask->timeout_us : query->timeout_us;
        if (timeout_us == 0)
                timeout_us = WAIT_US;
        q->job.query = query;
        q->job.credit = query->credit_bytes > 0 ? query->credit_bytes : FIRST_CREDIT_BYTES;
        q->index = ask->index > query->min_index ? ask->index : query->min_index;
        q->behind_gate = !ask->ordered || r->gate_known;
        if (advance(r, q, rq_clock_mono_us() + (timeout_us > WAIT_US_MAX ? WAIT_US_MAX : timeout_us)))
                set_deadlines(r);
        return RQ_OK;
}

void reads_applied(reads *r, uint64_t index) {
        wait_item *item;
        r->delivered_index = index;
        if (r->waiting.count == 0)
                return;
        while ((item = wait_applied_ready(&r->waiting, index)) != NULL)
                (void) advance(r, of_wait(item), item->deadline_us);
        set_deadlines(r);
}

void reads_commit_known(reads *r, uint64_t commit_index) {
        if (r->gate_known)
                return;
        r->gate_known = true;
        r->gate_index = commit_index;
        open_gate(r);
}

void reads_credit(reads *r, request *req, uint64_t bytes) {
        read_request *q = RQ_LIST_ENTRY(req, read_request, base);
        if (q->in_pool)
                read_pool_credit(r->pool, &q->job, bytes);
        else if (__builtin_add_overflow(q->job.credit, bytes, &q->job.credit))
                q->job.credit = UINT64_MAX;
}

void reads_cancel(reads *r, request *req) {
        read_request *q = RQ_LIST_ENTRY(req, read_request, base);
        r->stats.cancelled++;
        request_remove(&q->base);
        wait_applied_remove(&r->waiting, &q->wait);
        wait_applied_remove(&r->gated, &q->wait);
        wait_applied_remove(&r->paused_ones, &q->wait);
        if (q->in_pool && !read_pool_cancel(r->pool, &q->job))
                return; /* its last event frees it */
        r->running -= q->in_pool;
        q->in_pool = false;
        request_free(r, q);
}

/* --- what the pool says ----------------------------------------------------------- */

static void answer(reads *r, read_request *q, const read_event *e) {
        gateway *gw = q->base.gateway;
        switch (e->kind) {
        case READ_PIECE:
        case READ_LAST:
                send_piece(r, q, e->index, e->kind == READ_LAST, rq_bytes_of(e->bytes, e->size));
                break;
        case READ_NEEDS_LOG:
                refuse(r, gw, q->base.id, RQ__REQUEST_FAILED__REASON__NEEDS_LOG, "the request holds a write");
                break;
        case READ_STARVED:
                r->stats.starved++;
                refuse(r, gw, q->base.id, RQ__REQUEST_FAILED__REASON__TIMEOUT,
                       e->job->crowded ? "the client takes its answer too slowly, and other reads wait" : "the client is too slow");
                break;
        case READ_STOPPED:
                refuse(r, gw, q->base.id, RQ__REQUEST_FAILED__REASON__STOPPING, stopping_text);
                break;
        case READ_FAILED: {
                char text[256];
                (void) snprintf(text, sizeof text, "%.*s", (int) e->size, (const char *) e->bytes);
                r->stats.failed++;
                refuse(r, gw, q->base.id, RQ__REQUEST_FAILED__REASON__STORE_FAILED, text);
                break;
        }
        }
}

static void on_events(void *arg) {
        reads *r = arg;
        for (read_event *e = read_pool_take(r->pool), *next; e != NULL; e = next) {
                next = e->next;
                read_request *q = RQ_LIST_ENTRY(e->job, read_request, job);
                if (q->base.gateway != NULL)
                        answer(r, q, e);
                if (e->kind != READ_PIECE) {
                        q->in_pool = false;
                        r->running--;
                        request_free(r, q);
                }
                free(e);
        }
}

/* --- life --------------------------------------------------------------------------- */

rq_err reads_new(rq_loop *loop, files *f, const applier *a, uint32_t threads_max, reads **ret_reads) {
        reads *r = calloc(1, sizeof *r);
        if (r == NULL)
                return RQ_ENOMEM;
        *r = (reads) { .applier = a, .wake.fd = -1, .alone_at_us = rq_clock_mono_us() + ALONE_US };
        wait_applied_init(&r->waiting);
        wait_applied_init(&r->gated);
        wait_applied_init(&r->paused_ones);
        r->threads_max = threads_max;
        r->delivered_index = applier_lo(a);
        rq_err e = rq_wake_init(&r->wake, loop, on_events, r);
        if (e >= 0)
                e = rq_timer_init(&r->deadlines, loop, on_deadlines, r);
        if (e >= 0)
                e = rq_timer_init(&r->tend, loop, on_tend, r);
        if (e >= 0)
                e = rq_task_init(&r->turn_end, loop, on_turn_end, r);
        if (e >= 0)
                e = read_pool_new(f, a, threads_max, &r->wake, &r->pool);
        if (e < 0)
                return reads_free(r), e;
        *ret_reads = r;
        return RQ_OK;
}

void reads_tick(reads *r) {
        if (!r->tending && r->pool != NULL)
                (void) read_pool_tend(r->pool);
}

static void refuse_waiting(reads *r, Rq__RequestFailed__Reason reason, const char *text) {
        wait_applied *lists[] = { &r->waiting, &r->gated, &r->paused_ones };
        wait_item *item;
        for (size_t i = 0; i < 3; i++)
                while ((item = wait_applied_ready(lists[i], UINT64_MAX)) != NULL)
                        refuse_and_free(r, of_wait(item), reason, text);
}

void reads_stop(reads *r) {
        r->stopping = true;
        refuse_waiting(r, RQ__REQUEST_FAILED__REASON__STOPPING, stopping_text);
}

void reads_refuse(reads *r, const char *why) {
        r->refusal = why;
        if (why != NULL)
                refuse_waiting(r, RQ__REQUEST_FAILED__REASON__STORE_FAILED, why);
}

void reads_interrupt(reads *r) {
        if (r->pool != NULL)
                read_pool_interrupt(r->pool);
}

void reads_never_alone(reads *r) { r->alone_at_us = UINT64_MAX; }
void reads_pause(reads *r) { r->paused = true; }
uint32_t reads_running(const reads *r) { return r->running; }

/* What still runs is ended with an answer. */
static void end_pool(reads *r) {
        if (r->pool == NULL)
                return;
        read_pool_interrupt(r->pool);
        while (r->running > 0 && read_pool_settle(r->pool))
                on_events(r);
        r->pool = read_pool_free(r->pool);
}

void reads_close(reads *r) {
        end_pool(r);
        r->tending = false;
        rq_timer_cancel(&r->tend);
}

/* The new database may be behind what was delivered, in no case of a healthy
 * cluster; what waits for an index goes on waiting for it. */
rq_err reads_open(reads *r, files *f, const applier *a) {
        wait_item *item;
        rq_err e = read_pool_new(f, a, r->threads_max, &r->wake, &r->pool);
        if (e < 0)
                return e;
        r->applier = a;
        r->delivered_index = applier_lo(a);
        r->paused = false;
        while ((item = wait_applied_ready(&r->paused_ones, UINT64_MAX)) != NULL)
                (void) advance(r, of_wait(item), item->deadline_us);
        set_deadlines(r);
        return RQ_OK;
}

uint32_t reads_count(const reads *r) { return r->stats.count; }

reads *reads_free(reads *r) {
        if (r == NULL)
                return NULL;
        /* Events that nobody took are lost with the pool: what they would have
         * freed was freed by whoever removed the gateways, or is done here. */
        end_pool(r);
        while (r->spares != NULL) {
                read_request *q = r->spares;
                r->spares = q->next_spare;
                (void) rq_arena_free(q->arena);
                free(q);
        }
        rq_timer_done(&r->deadlines);
        rq_timer_done(&r->tend);
        rq_task_done(&r->turn_end);
        if (r->wake.fd >= 0)
                rq_wake_done(&r->wake);
        free(r);
        return NULL;
}

void reads_stats_get(reads *r, reads_stats *ret_stats) {
        *ret_stats = r->stats;
        ret_stats->waiting = r->waiting.count + r->gated.count + r->paused_ones.count;
        if (r->pool != NULL)
                read_pool_stats_get(r->pool, &ret_stats->pool);
}
