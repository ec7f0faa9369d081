/* Moves frames from the WAL into the database file at a known index (safety
 * rule 2), on a thread of its own beside the writer, one at a time:
 *
 *   sync WAL -> write and sync intent -> wait until nobody reads an older state
 *   -> copy the intent's frames -> sync database -> write *state* durably
 *
 * Only then, between two batches, is SQLite told that these frames are in the
 * file: until it knows, it doesn't begin the WAL anew (hazards 13, 14). A
 * closing checkpoint is one that the writer waits for, so that nothing is left
 * in the WAL and the next commit begins it anew. */
#ifndef RQ_STORE_CHECKPOINT_H
#define RQ_STORE_CHECKPOINT_H

#include <stdbool.h>

#include "base/err.h"
#include "core/store_state.h"
#include "io/files_io.h"
#include "io/intent.h"
#include "io/runtime_record.h"
#include "io/state_file.h"
#include "io/wal_index.h"

typedef struct checkpoint checkpoint;

typedef struct checkpoint_limits {
        uint64_t wal_bytes;       /* not yet in the file: start one */
        uint64_t entries;         /* or so many entries since the last one */
        uint64_t interval_us;     /* or after that time, if there is anything */
        uint64_t wal_bytes_max;   /* the WAL is that large: a closing one */
        uint64_t closing_wait_us; /* readers may hold a closing one up that long */
} checkpoint_limits;

/* Everything is borrowed until checkpoint_free; record may be NULL. */
typedef struct checkpoint_setup {
        checkpoint_limits limits;
        const files_io *io;
        int folder_fd, database_fd, wal_fd, intent_fd;
        const char *database_path; /* for messages */
        wal_index *index;
        runtime_record *record;
        struct image_set *images; /* NULL: none */
        state_file state;    /* as on disk */
        uint64_t generation; /* newest on disk */
} checkpoint_setup;

/* Starts the thread. Errors: RQ_ENOMEM. */
rq_err checkpoint_new(const checkpoint_setup *setup, checkpoint **ret_checkpoint);

/* Waits for what the thread is at, but not for readers. */
checkpoint *checkpoint_free(checkpoint *c);

/* As files_checkpoint. The runtime record must already say what state says.
 * Writer. Errors: RQ_EAGAIN (force only: readers hold it up), RQ_ENOSPC, RQ_EIO,
 * RQ_ENOMEM. */
rq_err checkpoint_step(checkpoint *c, const store_state *state, bool force);

/* When to call checkpoint_step again at the latest, if state doesn't change;
 * UINT32_MAX: no need to. Writer. */
uint32_t checkpoint_wait_ms(const checkpoint *c, const store_state *state);

/* Begin one at the next step, if there is anything that isn't in the file. Any
 * thread. */
void checkpoint_soon(checkpoint *c);

/* The file that has these facts is to replace the database, at this position: a
 * durable intent says so when it returns. Waits for a checkpoint under way; none
 * begins after it. Writer. Errors: RQ_EAGAIN (readers hold that one up), RQ_ENOSPC, RQ_EIO. */
rq_err checkpoint_swap(checkpoint *c, const store_state *position, const database_facts *facts);

/* *state* on disk. Writer. */
const state_file *checkpoint_state(const checkpoint *c);

/* The rest: any thread. */

/* A sync failed: what the disk has is unknown until the folder is opened anew. */
bool checkpoint_broken(const checkpoint *c);

uint64_t checkpoint_index(const checkpoint *c);

typedef struct checkpoint_counts {
        uint64_t count, us_last, us_max; /* us: from its beginning to *state* */
} checkpoint_counts;
checkpoint_counts checkpoint_counts_get(const checkpoint *c);

#endif
