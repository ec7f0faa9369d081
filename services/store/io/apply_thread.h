/* The writer's thread: owns the applier, applies what the loop submits, in
 * order, and checkpoints between batches. Knows neither sockets nor messages:
 * records come in as bytes, outputs go out through a queue and an eventfd.
 *
 * All calls are the loop's, but where said otherwise. */
#ifndef RQ_STORE_APPLY_THREAD_H
#define RQ_STORE_APPLY_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "io/applier.h"
#include "io/files.h"
#include "loop/loop.h"

typedef struct apply_thread apply_thread;

typedef enum apply_condition {
        APPLY_WORKING,
        APPLY_RETRYING, /* the environment failed: disk full, I/O error, memory; goes on by itself */
        APPLY_STOPPED,  /* what came can't be applied by this program; for good */
        APPLY_ENDED,    /* after apply_thread_finish */
        APPLY_SWAPPED,  /* the database was replaced: open the files anew (io/swap.h); takes no more records */
} apply_condition;

typedef struct apply_status {
        apply_condition condition;
        rq_err error;            /* with RETRYING and STOPPED */
        uint64_t failed_index;   /* the entry that is next */
        size_t queued_bytes, queued_batches;
        uint64_t queued_records;
} apply_status;

/* wake is signalled when outputs, the checkpoint's index or the condition
 * changed. Returns once the writer is open. Errors: those of applier_new. */
rq_err apply_thread_new(files *f, const store_state *state, const applier_options *options, rq_wake *wake,
                        apply_thread **ret_thread);

/* Copies records: count of them, from the index behind what was submitted last.
 * newest_clock_us: the highest entry clock among them. Errors: RQ_ENOMEM. */
rq_err apply_thread_submit(apply_thread *t, rq_bytes records, uint32_t count, uint64_t newest_clock_us);

/* All outputs so far, oldest first, linked by next; NULL: none. Give each back
 * with recycle (its results' spill files have been taken: spill_fd is -1). */
apply_output *apply_thread_take(apply_thread *t);
void apply_thread_recycle(apply_thread *t, apply_output *out);

/* Results are encoded for connected gateways, and for any if an entry is so
 * young that its gateway may be about to come back. */
void apply_thread_gateway(apply_thread *t, const rq_uuid *incarnation, bool connected);

void apply_thread_status(apply_thread *t, apply_status *ret_status);

/* Begins a checkpoint of all that is applied by now; wake is signalled when
 * files_checkpoint_index() has moved. */
void apply_thread_checkpoint(apply_thread *t);

/* Between batches: files_swap() to the staged file at position. What is queued is
 * dropped. Then the condition is APPLY_SWAPPED; or it failed, *ret_problem of
 * apply_thread_swap_result() says why, and the thread goes on. forward_only: it fails if this thread has
 * applied as much, or more. One at a time. */
void apply_thread_swap(apply_thread *t, const store_state *position, bool forward_only);

/* True: a swap has ended, once for each. *ret_problem is the caller's. */
bool apply_thread_swap_result(apply_thread *t, rq_err *ret_result, rq_buf *ret_problem);

/* For indexes and counters; any thread. */
const applier *apply_thread_applier(const apply_thread *t);

/* Applies what is queued, but stops between batches after limit_us, makes a
 * checkpoint, and ends: the condition becomes APPLY_ENDED. Doesn't wait. */
void apply_thread_finish(apply_thread *t, uint64_t limit_us);

/* Ends after the batch at hand, without a checkpoint unless finish made one;
 * waits for the thread. */
apply_thread *apply_thread_free(apply_thread *t);

#endif
