/* Query requests from arrival to the last piece: waiting for their index,
 * running on the pool, credits, cancelling. */
#ifndef RQ_STORE_READS_H
#define RQ_STORE_READS_H

#include "gateways.h"
#include "io/applier.h"
#include "io/files.h"
#include "io/read_pool.h"
#include "loop/loop.h"

typedef struct reads reads;

/* Errors: those of read_pool_new. */
rq_err reads_new(rq_loop *loop, files *f, const applier *a, uint32_t threads_max, reads **ret_reads);
reads *reads_free(reads *r); /* before the files are closed */

typedef struct read_ask {
        uint64_t request_id;
        rq_bytes query;        /* copied */
        uint64_t index;        /* to be applied first, beside the query's own min_index */
        uint64_t timeout_us;   /* for that; 0: the query's own */
        bool ordered;          /* index comes from consensus: no need to wait for its first word */
} read_ask;

/* Answers by itself, also a refusal. A second one under the same id is dropped.
 * Errors: RQ_EPROTO (the query can't be decoded). */
rq_err reads_start(reads *r, gateway *gw, const read_ask *ask);
void reads_credit(reads *r, request *req, uint64_t bytes);
void reads_cancel(reads *r, request *req);

/* The applier went on. */
/* Everything up to index is applied and its results were handed to the links:
 * reads that wait for it run. Not sooner, so that on the link to a gateway a
 * read's answer stands behind those of all writes it has seen (decision 0007). */
void reads_applied(reads *r, uint64_t index);

/* What was committed when consensus first spoke in this run: until it is
 * applied no read runs (hazard 19). */
void reads_commit_known(reads *r, uint64_t commit_index);

/* What is here isn't served without a word of consensus, however long that takes. */
void reads_never_alone(reads *r);

/* What is here isn't of this node's log: reads that wait and that come are refused with
 * why (static), until NULL. What runs goes on. */
void reads_refuse(reads *r, const char *why);

/* Reads wait, also new ones, and what runs goes on: the files are about to be
 * opened anew. reads_close() when reads_running() is 0, at the latest after
 * reads_interrupt() and some patience; then reads_open() with the new files, and
 * they go on. Errors of reads_open: those of read_pool_new. */
void reads_pause(reads *r);
uint32_t reads_running(const reads *r);
void reads_close(reads *r);
rq_err reads_open(reads *r, files *f, const applier *a);

/* About each second: takes care of threads that have ended. */
void reads_tick(reads *r);

/* Refuses what waits and what comes from now on; what runs goes on. */
void reads_stop(reads *r);
/* Interrupts what runs. */
void reads_interrupt(reads *r);
uint32_t reads_count(const reads *r); /* not yet answered */

typedef struct reads_stats {
        read_pool_stats pool;
        uint64_t started, refused, cancelled, failed, starved, sent_bytes;
        uint32_t count, waiting;
} reads_stats;
void reads_stats_get(reads *r, reads_stats *ret_stats);

#endif
