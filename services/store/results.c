#include "results.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/result_queue.h"
#include "log/log.h"
#include "messages.h"

enum {
        PIECE_BYTES_MAX    = 64 * 1024,
        FIRST_CREDIT_BYTES = 256 * 1024,       /* proto/README.md */
        FLOWS_MAX          = 256,              /* each may hold a file */
        FLOW_BYTES_MAX     = 64 * 1024 * 1024, /* of those in memory, together */
        STARVED_US         = 30 * 1000 * 1000,
};

/* A result larger than its first credit. */
typedef struct flow {
        request base;
        rq_list node;
        int spill_fd;  /* -1: in json */
        size_t size, at;
        uint64_t index, credit, moved_us;
        uint8_t json[];
} flow;

struct results {
        gateways *gateways;
        result_queue kept;
        rq_list flows;
        results_stats stats;
};

rq_err results_new(gateways *g, results **ret_results) {
        results *r = calloc(1, sizeof *r);
        if (r == NULL)
                return RQ_ENOMEM;
        r->gateways = g;
        result_queue_init(&r->kept);
        rq_list_init(&r->flows);
        *ret_results = r;
        return RQ_OK;
}

static void flow_free(results *r, flow *f) {
        request_remove(&f->base);
        rq_list_remove(&f->node);
        r->stats.flow_count--;
        r->stats.flow_bytes -= f->spill_fd < 0 ? f->size : 0;
        rq_closep(&f->spill_fd);
        free(f);
}

results *results_free(results *r) {
        if (r == NULL)
                return NULL;
        while (!rq_list_empty(&r->flows))
                flow_free(r, RQ_LIST_ENTRY(r->flows.next, flow, node));
        result_queue_done(&r->kept);
        free(r);
        return NULL;
}

/* The write is done, and its client learns that much. */
static void say_lost(results *r, gateway *gw, uint64_t request_id, uint64_t index,
                     Rq__RequestFailed__Reason reason, const char *why) {
        char text[128];
        (void) snprintf(text, sizeof text, "the write is done, but its result is lost: %s", why);
        r->stats.refused++;
        send_failed(gw->link, request_id, RQ__REQUEST_FAILED__OUTCOME__COMMITTED, reason, index, text);
}

/* False: the spill file can't be read. */
static bool send_flow_piece(flow *f, const result_piece *piece, size_t size) {
        ipc_link *link = f->base.gateway->link;
        if (f->spill_fd < 0) {
                send_result(link, piece, rq_bytes_of(f->json + f->at, size));
                return true;
        }
        result_space space;
        if (!send_result_space(link, piece, size, &space))
                return true; /* the link is going, and the flow with it */
        for (size_t got = 0; got < size;) {
                ssize_t n = pread(f->spill_fd, space.json + got, size - got, (off_t) (f->at + got));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false; /* nothing was committed to the link */
                got += (size_t) n;
        }
        send_result_written(link, piece, &space, size);
        return true;
}

/* Sends what the credit allows; frees the flow at its end. */
static void pump(results *r, flow *f) {
        bool last = false;
        while (!last && f->credit > 0 && ipc_link_is_up(f->base.gateway->link)) {
                size_t size = f->size - f->at;
                if (size > PIECE_BYTES_MAX)
                        size = PIECE_BYTES_MAX;
                if (size > f->credit)
                        size = (size_t) f->credit;
                last = f->at + size == f->size;
                const result_piece piece = {
                        .request_id = f->base.id, .index = f->index, .last = last, .via_log = true,
                };
                if (!send_flow_piece(f, &piece, size)) {
                        (void) rq_log_error(RQ_EIO, "Cannot read back a result of %zu bytes", f->size);
                        say_lost(r, f->base.gateway, f->base.id, f->index,
                                 RQ__REQUEST_FAILED__REASON__STORE_FAILED, "it can't be read back");
                        last = true;
                }
                f->at += size;
                f->credit -= size;
                f->moved_us = rq_clock_mono_us();
                r->stats.sent_bytes += size;
        }
        if (last)
                flow_free(r, f);
}

static void start_flow(results *r, gateway *gw, uint64_t request_id, uint64_t index,
                       rq_bytes json, int take_spill_fd, size_t size) {
        RQ_CLEANUP(rq_closep) int fd = take_spill_fd;
        size_t held = fd < 0 ? size : 0;
        flow *f = NULL;
        if (r->stats.flow_count < FLOWS_MAX && r->stats.flow_bytes + held <= FLOW_BYTES_MAX)
                f = malloc(sizeof *f + held);
        if (f == NULL) {
                say_lost(r, gw, request_id, index, RQ__REQUEST_FAILED__REASON__OVERLOADED,
                         "too many large results are under way");
                return;
        }
        *f = (flow) {
                .base.kind = REQUEST_RESULT, .spill_fd = RQ_TAKE(fd, -1), .size = size, .index = index,
                .credit = FIRST_CREDIT_BYTES, .moved_us = rq_clock_mono_us(),
        };
        if (held > 0)
                memcpy(f->json, json.data, held);
        rq_list_append(&r->flows, &f->node);
        r->stats.flow_count++;
        r->stats.flow_bytes += held;
        if (request_add(&f->base, gw, request_id) < 0) {
                say_lost(r, gw, request_id, index, RQ__REQUEST_FAILED__REASON__OTHER, "its number is in use");
                flow_free(r, f);
                return;
        }
        pump(r, f);
}

static void send_now(results *r, gateway *gw, uint64_t request_id, uint64_t index,
                     rq_bytes json, int take_spill_fd, size_t size) {
        r->stats.sent++;
        if (take_spill_fd >= 0 || size > FIRST_CREDIT_BYTES) {
                start_flow(r, gw, request_id, index, json, take_spill_fd, size);
                return;
        }
        result_piece piece = { .request_id = request_id, .index = index, .via_log = true };
        r->stats.sent_bytes += json.size;
        do {
                size_t n = json.size > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : json.size;
                piece.last = n == json.size;
                send_result(gw->link, &piece, rq_bytes_of(json.data, n));
                json = rq_bytes_of(json.data + n, json.size - n);
        } while (!piece.last);
}

void results_deliver(results *r, apply_output *out) {
        for (size_t i = 0; i < out->count; i++) {
                apply_result *result = &out->results[i];
                int fd = RQ_TAKE(result->spill_fd, -1);
                rq_bytes json = fd >= 0 ? (rq_bytes) {0} : rq_bytes_of(out->json.data + result->offset, result->size);
                gateway *gw = gateways_find(r->gateways, &result->gateway);
                if (gw != NULL)
                        send_now(r, gw, result->request_id, result->index, json, fd, result->size);
                else
                        (void) result_queue_keep(&r->kept, &result->gateway, result->request_id, result->index,
                                                 json, fd, result->size, rq_clock_mono_us());
        }
}

void results_gateway_up(results *r, gateway *gw) {
        kept_result *k;
        result_queue_expire(&r->kept, rq_clock_mono_us());
        while ((k = result_queue_take(&r->kept, &gw->incarnation)) != NULL) {
                rq_bytes json = k->spill_fd >= 0 ? (rq_bytes) {0} : rq_bytes_of(k->json, k->size);
                send_now(r, gw, k->request_id, k->index, json, RQ_TAKE(k->spill_fd, -1), k->size);
                (void) kept_result_free(k);
        }
}

void results_credit(results *r, request *req, uint64_t bytes) {
        flow *f = RQ_LIST_ENTRY(req, flow, base);
        if (__builtin_add_overflow(f->credit, bytes, &f->credit))
                f->credit = UINT64_MAX;
        pump(r, f);
}

void results_cancel(results *r, request *req) { flow_free(r, RQ_LIST_ENTRY(req, flow, base)); }

void results_tick(results *r) {
        uint64_t now_us = rq_clock_mono_us();
        result_queue_expire(&r->kept, now_us);
        for (rq_list *at = r->flows.next, *next; at != &r->flows; at = next) {
                next = at->next;
                flow *f = RQ_LIST_ENTRY(at, flow, node);
                if (f->moved_us + STARVED_US > now_us)
                        continue;
                r->stats.starved++;
                say_lost(r, f->base.gateway, f->base.id, f->index, RQ__REQUEST_FAILED__REASON__TIMEOUT,
                         "the client takes it too slowly");
                flow_free(r, f);
        }
}

void results_stats_get(const results *r, results_stats *ret_stats) {
        *ret_stats = r->stats;
        ret_stats->kept_count = r->kept.count;
        ret_stats->kept_bytes = r->kept.bytes;
        ret_stats->kept_dropped = r->kept.dropped;
}
