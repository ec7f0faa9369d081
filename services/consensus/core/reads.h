/* Reads that wait for an index, or for the store. Bounded by whoever adds. A read
 * may be asked for again at any time: nothing depends on it. */
#ifndef RQ_CONSENSUS_CORE_READS_H
#define RQ_CONSENSUS_CORE_READS_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/list.h"
#include "core/answers.h"
#include "raft/raft_types.h"

/* What gives a read its index: the leader's lease or a round, a round, an entry, or
 * nothing but its min_index. */
typedef enum read_level { READ_WEAK, READ_LINEARIZABLE, READ_STRONG, READ_LOCAL, READ_LEVEL_COUNT } read_level;

typedef struct read_request {
        rq_list node;
        request_origin from;
        uint64_t deadline_us;  /* UINT64_MAX: none */
        read_level level;
        bool fresh;
        uint64_t round;        /* ReadIndex round it waits for */
        uint64_t barrier;      /* seed of the entry it waits for */
        raft_index index;      /* what the store must have applied: known when ready */
        raft_index min_index;
        size_t query_bytes;
        uint8_t query[];
} read_request;

typedef struct reads {
        rq_list fresh;     /* neither round nor barrier has been asked for */
        rq_list waiting, ready;
        uint32_t count, fresh_count[READ_LEVEL_COUNT];
        uint64_t bytes;
        uint64_t deadline_us; /* not above that of any */
} reads;

void reads_init(reads *r);
void reads_done(reads *r);

/* Copies the query; fresh. Errors: RQ_ENOMEM. */
rq_err reads_add(reads *r, request_origin from, read_level level, uint64_t deadline_us, raft_index min_index, rq_bytes query);
void reads_remove(reads *r, read_request *read); /* frees it */

/* The fresh ones of a level get what they wait for: a round, or strong ones a
 * barrier; or are ready at once. */
void reads_assign(reads *r, read_level level, uint64_t round_or_barrier);
void reads_make_ready(reads *r, read_level level, raft_index index);

/* Moves to ready: rounds up to round; a barrier that is committed at index. */
void reads_round_ready(reads *r, uint64_t round, raft_index index);
void reads_barrier_ready(reads *r, uint64_t barrier, raft_index index);

/* Makes fresh again: rounds up to round (returns whether there were any), a barrier
 * that won't come. */
bool reads_retry_rounds(reads *r, uint64_t round);
void reads_retry_barrier(reads *r, uint64_t barrier);

void reads_refuse_barrier(reads *r, uint64_t barrier, answers *out, answer_reason reason, const char *text);
/* All that have no index yet, or only those that are fresh. */
void reads_refuse_all(reads *r, bool only_fresh, answers *out, answer_reason reason, const char *text);

void reads_expire(reads *r, uint64_t now_us, answers *out);
void reads_gateway_gone(reads *r, uint32_t gateway);

/* The next one to pass on; NULL: none. */
read_request *reads_next_ready(const reads *r);

uint32_t reads_fresh_count(const reads *r);

#endif
