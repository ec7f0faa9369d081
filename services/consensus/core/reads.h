/* Reads that wait for an index, or for the store. Bounded by whoever adds. */
#ifndef RQ_CONSENSUS_CORE_READS_H
#define RQ_CONSENSUS_CORE_READS_H

#include "base/bytes.h"
#include "base/list.h"
#include "core/answers.h"
#include "raft/raft_types.h"

typedef struct read_request {
        rq_list node;
        request_origin from;
        uint64_t deadline_us;  /* UINT64_MAX: none */
        bool strong;           /* waits for an entry of its own, else for a round */
        uint64_t round;        /* ReadIndex round it waits for */
        raft_index barrier;    /* entry it waits for */
        raft_index index;      /* what the store must have applied: known when ready */
        raft_index min_index;
        size_t query_bytes;
        uint8_t query[];
} read_request;

typedef struct reads {
        rq_list fresh;     /* came in this turn: round or barrier not known yet */
        rq_list waiting, ready;
        uint32_t count, fresh_weak_count, fresh_strong_count;
        uint64_t bytes;
        uint64_t deadline_us; /* not above that of any */
} reads;

void reads_init(reads *r);
void reads_done(reads *r);

/* Copies the query; fresh. Errors: RQ_ENOMEM. */
rq_err reads_add(reads *r, request_origin from, bool strong, uint64_t deadline_us, raft_index min_index, rq_bytes query);
void reads_remove(reads *r, read_request *read); /* frees it */

/* The fresh ones get what they wait for: the weak ones a round, the strong ones
 * a barrier. */
void reads_assign(reads *r, bool strong, uint64_t round_or_barrier);

/* Moves to ready: rounds up to round, at index; barriers up to commit. */
void reads_round_ready(reads *r, uint64_t round, raft_index index);
void reads_committed(reads *r, raft_index commit);

/* Refuses all fresh ones of a kind, or all that wait for a round up to round. */
void reads_refuse_fresh(reads *r, bool strong, answers *out, answer_reason reason, const char *text);
void reads_refuse_rounds(reads *r, uint64_t round, answers *out, answer_reason reason, const char *text);

/* A barrier that is in the log may be committed or not: nothing depends on it. */
void reads_refuse_barriers(reads *r, answers *out, answer_reason reason, const char *text);

void reads_expire(reads *r, uint64_t now_us, answers *out);
void reads_gateway_gone(reads *r, uint32_t gateway);

/* The next one to pass on; NULL: none. */
read_request *reads_next_ready(const reads *r);

#endif
