/* *state*: what the database file is without the log, written atomically after
 * each checkpoint. Format: docs/disk-format-store.md. A container of tagged
 * sections, so that later versions can add some (hazard 18). */
#ifndef RQ_STORE_STATE_FILE_H
#define RQ_STORE_STATE_FILE_H

#include "base/bytes.h"
#include "base/err.h"
#include "core/store_state.h"
#include "io/database_file.h"
#include "io/files_io.h"

#define STATE_FILE_NAME     "state"
#define STATE_FILE_NEW_NAME "state.new"

enum { STATE_FILE_BYTES_MAX = 1024 * 1024 };

typedef struct state_file {
        /* Replicated: the same on all nodes at that index. */
        store_state position;
        store_settings settings;
        /* Of this folder alone. */
        rq_uuid disk_id;         /* random at its creation */
        uint64_t generation;     /* of the last intent that was finished */
        database_facts database; /* what an outsider's write would change (hazard 16) */
} state_file;

/* Errors: RQ_ENOMEM, RQ_ETOOBIG (more than STATE_FILE_BYTES_MAX). */
rq_err state_file_encode(const state_file *state, rq_buf *ret_bytes);

/* Errors: RQ_ECORRUPT, RQ_EVERSION (a version, a critical section or a setting
 * that this program doesn't know); *ret_offset: where. */
rq_err state_file_decode(rq_bytes bytes, state_file *ret_state, size_t *ret_offset);

/* Errors: RQ_ENOENT, RQ_EIO, RQ_ENOMEM, and those of decoding, with a sentence. */
rq_err state_file_read(const files_io *io, int folder_fd, state_file *ret_state, rq_buf *ret_problem);

/* Errors: those of files_io_replace. */
rq_err state_file_write(const files_io *io, int folder_fd, const state_file *state);

#endif
