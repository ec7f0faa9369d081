/* Results of writes whose gateway isn't connected at the moment: kept for some
 * seconds, bounded, until it comes back under the same incarnation. Reads no
 * clock. */
#ifndef RQ_STORE_RESULT_QUEUE_H
#define RQ_STORE_RESULT_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/rng.h"

enum {
        RESULT_QUEUE_BYTES_MAX = 4 * 1024 * 1024,
        RESULT_QUEUE_AGE_US_MAX = 10 * 1000 * 1000,
        RESULT_QUEUE_ITEM_BYTES = 256, /* what an item counts beside its JSON */
};

typedef struct kept_result {
        rq_list node;
        rq_uuid gateway;
        uint64_t request_id, index, kept_us;
        size_t size;
        int spill_fd;   /* >= 0: the JSON is in this file, not in json */
        uint8_t json[];
} kept_result;

typedef struct result_queue {
        rq_list items; /* oldest first */
        size_t bytes, count;
        uint64_t dropped; /* too old, or no room */
} result_queue;

void result_queue_init(result_queue *q);
void result_queue_done(result_queue *q);

/* json: copied; empty with a spill file. Takes spill_fd, also on failure. Makes
 * room by dropping the oldest. Errors: RQ_ETOOBIG, RQ_ENOMEM (dropped). */
rq_err result_queue_keep(result_queue *q, const rq_uuid *gateway, uint64_t request_id, uint64_t index,
                         rq_bytes json, int take_spill_fd, size_t size, uint64_t now_us);

/* Takes out the oldest of a gateway; NULL: none. The caller frees it. */
kept_result *result_queue_take(result_queue *q, const rq_uuid *gateway);
kept_result *kept_result_free(kept_result *k); /* closes the spill file */

/* Drops what is too old. */
void result_queue_expire(result_queue *q, uint64_t now_us);

#endif
