/* RUN/store.runtime: where the database stood at the last COMMIT, for the
 * restart after a crash of the process alone (hazard 19). A mapped file of two
 * slots, written by plain stores: whatever instruction a kill hits, one slot is
 * whole. Worth nothing after a restart of the machine; never synced. Format:
 * docs/disk-format-store.md. */
#ifndef RQ_STORE_RUNTIME_RECORD_H
#define RQ_STORE_RUNTIME_RECORD_H

#include <stdbool.h>

#include "base/err.h"
#include "core/store_state.h"
#include "io/wal_check.h"

#define RUNTIME_RECORD_NAME "store.runtime"

enum { BOOT_ID_TEXT_BYTES = 37 };

typedef struct runtime_state {
        store_state position;
        wal_extent extent;   /* 0 frames: the file alone, as *state* of this generation left it */
        uint64_t generation; /* of *state* at that time */
        rq_uuid disk_id;
} runtime_state;

typedef struct runtime_record runtime_record;

/* boot_id: NULL asks the kernel. Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, …: the
 * store can do without it. */
rq_err runtime_record_open(int run_folder_fd, const char *boot_id, runtime_record **ret_record);
runtime_record *runtime_record_free(runtime_record *record);

/* The last one written in this boot. False: none. */
bool runtime_record_get(const runtime_record *record, runtime_state *ret_state);

/* The rest does nothing when record is NULL. One thread. */
void runtime_record_put(runtime_record *record, const runtime_state *state);

/* What was written before doesn't count any more. The thread that puts. */
void runtime_record_clear(runtime_record *record);

/* Nor what will be written: the WAL in memory may differ from the one on disk
 * for good (a sync failed), so this boot must not go on with it. Any thread. */
void runtime_record_kill(runtime_record *record);

#endif
