/* Applies committed records to the database, in order, with outcomes that are a
 * function of the record and the database alone (hazards 1-12). Synchronous;
 * io/apply_thread runs it on the writer's thread, tests run it directly. */
#ifndef RQ_STORE_APPLIER_H
#define RQ_STORE_APPLIER_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"
#include "core/store_state.h"
#include "io/files.h"
#include "outcome_marks.h"

typedef struct applier applier;

struct files_io;

typedef struct applier_options {
        const struct files_io *io; /* for spill files; NULL: files_io_kernel */
        size_t spill_bytes;        /* a result above it goes to an unlinked file; 0: default 1 MiB */
        int spill_dir_fd;          /* folder for such files */
        uint64_t slow_us;          /* a statement that takes longer is logged; 0: none */
        uint64_t skip_index;       /* a write that isn't done, by the operator's word; 0: none */
} applier_options;

/* One entry's answer: bytes of json (offset, size) or, if spill_fd >= 0, a
 * file with size bytes, owned by whoever holds the result. */
typedef struct apply_result {
        rq_uuid gateway;
        uint64_t request_id, index;
        size_t offset, size;
        int spill_fd;
} apply_result;

/* What a batch did. {0} is empty; reusable. */
typedef struct apply_output {
        struct apply_output *next; /* for queues */
        rq_buf json;
        apply_result *results;
        size_t count, capacity;
        store_state state;         /* after the batch */
        uint64_t checkpoint_index; /* files_checkpoint_index() then */
        outcome_marks marks;       /* of its entries */
} apply_output;
void apply_output_done(apply_output *out);

/* Takes the writer connection of f (files_open_writer). */
rq_err applier_new(files *f, const store_state *state, const applier_options *options, applier **ret);
applier *applier_free(applier *a);

/* Which origins get their results encoded; called by the owner's thread before
 * applier_run. wanted == NULL: all. */
typedef bool (*applier_wanted)(void *arg, const rq_uuid *gateway);

/* Applies records (record.h, consecutive, from state.index + 1 on) and commits.
 * On success *ret_applied records are durable in the database's sense (COMMIT
 * done, files_committed told) and out has their results; it may be fewer than
 * given (time or size), never 0 of many. Errors, with nothing applied beyond
 * *ret_applied: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM (environment: try again later),
 * RQ_EPROTO, RQ_ECORRUPT (records broken), RQ_EVERSION (a critical kind or
 * feature level this build doesn't know: stop), RQ_EDIVERGED (database id). With
 * files_broken(f) trying again is no use: the folder must be opened anew first. */
rq_err applier_run(applier *a, rq_bytes records, applier_wanted wanted, void *wanted_arg,
                   apply_output *out, size_t *ret_applied, size_t *ret_bytes);

const store_state *applier_state(const applier *a);
uint64_t applier_running_index(const applier *a); /* of the write that runs now; 0: none. Any thread */
uint64_t applier_slow_us(const applier *a); /* as the options say, for reads too */

/* Published for readers (hazards 21): hi before COMMIT, lo after. Any thread. */
uint64_t applier_hi(const applier *a);
uint64_t applier_lo(const applier *a);
/* The last entry of this run that changed the schema, or tried to; before its
 * COMMIT. Any thread. */
uint64_t applier_schema_index(const applier *a);

typedef struct applier_stats {
        uint64_t entries, statements, errors, batches, batches_redone, transactions;
} applier_stats;
void applier_stats_get(const applier *a, applier_stats *ret_stats); /* any thread */

#endif
