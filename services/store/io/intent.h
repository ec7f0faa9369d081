/* *intent*: what is about to be done to the database file, durable
 * before it begins. Two slots, so that a torn write leaves the older one: each
 * generation takes the slot that the one before didn't. Format:
 * docs/disk-format-store.md. */
#ifndef RQ_STORE_INTENT_H
#define RQ_STORE_INTENT_H

#include "base/bytes.h"
#include "base/err.h"
#include "core/store_state.h"
#include "io/database_file.h"
#include "io/files_io.h"
#include "io/wal_check.h"

#define INTENT_FILE_NAME "intent"

enum {
        INTENT_SLOTS      = 2,
        INTENT_SLOT_BYTES = 4096, /* a slot is a page of its own: writing one can't tear the other */
        INTENT_BYTES      = 128,  /* of a checkpoint's; another kind may take more of its slot */
        INTENT_SWAP_BYTES = 160,
};

typedef enum intent_kind {
        INTENT_CHECKPOINT, /* frames of the WAL go into the file */
        INTENT_SWAP,       /* another file takes its place (swap.h) */
} intent_kind;

typedef struct intent {
        intent_kind kind;
        uint64_t generation; /* 1, 2, …; slot = generation % 2 */
        rq_uuid disk_id;
        store_state position; /* of the database once the extent is in the file */
        wal_extent extent;    /* CHECKPOINT; of a SWAP only the page size */
        database_facts facts; /* SWAP: of the file that is to be there */
} intent;

/* Of a checkpoint. */
void intent_encode(const intent *in, uint8_t ret_bytes[static INTENT_BYTES]);
/* Of any kind; returns its size. */
size_t intent_encode_any(const intent *in, uint8_t ret_bytes[static INTENT_SWAP_BYTES]);

/* One of INTENT_BYTES, or more of a slot. Errors: RQ_ENOENT (never written), RQ_ECORRUPT,
 * RQ_EVERSION (version or kind). */
rq_err intent_decode(const uint8_t bytes[static INTENT_BYTES], intent *ret_intent);
rq_err intent_decode_slot(rq_bytes slot, intent *ret_intent);

/* Creates the file with empty slots, synced (its name isn't). */
rq_err intent_create(const files_io *io, int folder_fd);

/* The newest intent; generation 0: none was ever written. Errors: RQ_ENOENT (no
 * such file), RQ_ECORRUPT (more than a torn write explains), RQ_EVERSION,
 * RQ_EIO; *ret_problem gets a sentence. */
rq_err intent_read(const files_io *io, int folder_fd, int *ret_fd, intent *ret_intent, rq_buf *ret_problem);

/* Durable when it returns. Errors: RQ_ENOSPC (may be tried again), RQ_EIO (any
 * failure of the sync). */
rq_err intent_write(const files_io *io, int fd, const intent *in);

#endif
