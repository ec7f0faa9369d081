#include "core/result_queue.h"

#include <stdlib.h>

#include "base/cleanup.h"

static size_t cost(const kept_result *k) { return k->size + RESULT_QUEUE_ITEM_BYTES; }

static kept_result *oldest(const result_queue *q) { return RQ_LIST_ENTRY(q->items.next, kept_result, node); }

static void take_out(result_queue *q, kept_result *k) {
        rq_list_remove(&k->node);
        q->bytes -= cost(k);
        q->count--;
}

static void drop_oldest(result_queue *q) {
        kept_result *k = oldest(q);
        take_out(q, k);
        (void) kept_result_free(k);
        q->dropped++;
}

void result_queue_init(result_queue *q) {
        *q = (result_queue) {0};
        rq_list_init(&q->items);
}

void result_queue_done(result_queue *q) {
        if (q->items.next == NULL)
                return;
        while (!rq_list_empty(&q->items))
                drop_oldest(q);
}

rq_err result_queue_keep(result_queue *q, const rq_uuid *gateway, uint64_t request_id, uint64_t index,
                         rq_bytes json, int take_spill_fd, size_t size, uint64_t now_us) {
        RQ_CLEANUP(rq_closep) int fd = take_spill_fd;
        if (size > RESULT_QUEUE_BYTES_MAX - RESULT_QUEUE_ITEM_BYTES) {
                q->dropped++;
                return RQ_ETOOBIG;
        }
        kept_result *k = malloc(sizeof *k + json.size);
        if (k == NULL) {
                q->dropped++;
                return RQ_ENOMEM;
        }
        *k = (kept_result) {
                .gateway = *gateway, .request_id = request_id, .index = index, .kept_us = now_us,
                .size = size, .spill_fd = RQ_TAKE(fd, -1),
        };
        if (json.size > 0)
                memcpy(k->json, json.data, json.size);
        while (q->bytes + cost(k) > RESULT_QUEUE_BYTES_MAX)
                drop_oldest(q);
        rq_list_append(&q->items, &k->node);
        q->bytes += cost(k);
        q->count++;
        return RQ_OK;
}

kept_result *result_queue_take(result_queue *q, const rq_uuid *gateway) {
        for (rq_list *at = q->items.next; at != &q->items; at = at->next) {
                kept_result *k = RQ_LIST_ENTRY(at, kept_result, node);
                if (rq_uuid_equal(&k->gateway, gateway)) {
                        take_out(q, k);
                        return k;
                }
        }
        return NULL;
}

kept_result *kept_result_free(kept_result *k) {
        if (k == NULL)
                return NULL;
        rq_closep(&k->spill_fd);
        free(k);
        return NULL;
}

void result_queue_expire(result_queue *q, uint64_t now_us) {
        while (!rq_list_empty(&q->items) && oldest(q)->kept_us + RESULT_QUEUE_AGE_US_MAX <= now_us)
                drop_oldest(q);
}
