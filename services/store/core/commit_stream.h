/* The stream of committed records from consensus: which batches belong to it
 * and fit what was taken so far (proto/README.md). Decides; sends nothing. */
#ifndef RQ_STORE_COMMIT_STREAM_H
#define RQ_STORE_COMMIT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

typedef enum commit_stream_phase {
        STREAM_NONE,    /* nothing was asked for */
        STREAM_ASKED,   /* FETCH is on its way, or consensus knows no commit index yet */
        STREAM_RUNNING,
} commit_stream_phase;

/* {0}: no stream. */
typedef struct commit_stream {
        commit_stream_phase phase;
        rq_uuid id;            /* of the stream at hand, or before it was asked for anew */
        uint64_t index, term;  /* of the last record that was taken */
} commit_stream;

typedef struct committed_batch {
        rq_uuid stream_id;
        uint64_t first_index, previous_index, previous_term;
        uint32_t count;
} committed_batch;

typedef enum commit_stream_verdict {
        STREAM_IGNORE,    /* of another stream */
        STREAM_TAKE,
        STREAM_ASK_AGAIN, /* doesn't follow what was taken: send FETCH */
} commit_stream_verdict;

/* The link is new or gone: nothing of before counts. */
void commit_stream_reset(commit_stream *s);

/* FETCH was sent for what follows index. */
void commit_stream_asked(commit_stream *s, uint64_t index, uint64_t term);

/* Adopts the stream's id from the first batch after FETCH. */
commit_stream_verdict commit_stream_judge(commit_stream *s, const committed_batch *batch);

/* Walks a batch's records: whole, in index order, as many as announced. Bodies
 * are not looked at. Errors: RQ_EPROTO, and those of record_header_decode. */
rq_err commit_stream_check(const committed_batch *batch, rq_bytes records,
                           uint64_t *ret_last_term, uint64_t *ret_newest_clock_us);

/* The batch was taken. */
void commit_stream_taken(commit_stream *s, uint64_t last_index, uint64_t last_term);

#endif
