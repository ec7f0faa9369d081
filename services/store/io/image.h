/* The database file as it is at *state.index*, as a stream that others read at
 * their pace: snapshots for other nodes, backups. The file changes in a
 * checkpoint only; before one overwrites or cuts off a page that an open image
 * still needs, the old page is saved to the image's side file (unlinked, within
 * a budget), so that neither holds the other up (hazard 20). The bytes are a
 * whole SQLite database in rollback mode, without a WAL. Reading takes no
 * descriptor of its own of the database file (hazard 15).
 *
 * To have all that is applied in it, ask for a checkpoint first
 * (apply_thread_checkpoint) and open the image when files_checkpoint_index() has
 * reached the index.
 *
 * Threads: image_open, image_close: any. One image is read by one thread at a
 * time; the checkpoint's thread meets it under the image's own mutex. Images
 * must be closed before the files are freed. */
#ifndef RQ_STORE_IMAGE_H
#define RQ_STORE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"
#include "core/store_state.h"
#include "io/files_io.h"
#include "io/state_file.h"

/* All images of one database file: owned by its files. */
typedef struct image_set image_set;
typedef struct image image;

/* Two images with the same id have the same bytes: one may be resumed with the
 * other at any offset. */
typedef struct image_id {
        rq_uuid disk_id;      /* of the store's folder it comes from */
        uint64_t index, term; /* where it stands in the log */
        uint64_t digest;      /* of the state that goes with it, and the file's facts */
} image_id;

typedef struct image_facts {
        image_id id;
        uint64_t bytes;            /* of the database file */
        uint32_t page_size;
        store_state position;      /* replicated part of *state* */
        store_settings settings;
        database_facts database;   /* what the file looks like, to compare a copy with */
} image_facts;

enum { IMAGES_MAX = 16, IMAGES_SEEN_MAX = 8 /* of them: some places are left to other nodes */ };
#define IMAGE_SIDE_BYTES_DEFAULT (UINT64_C(1024) * 1024 * 1024)

/* Opens what is there now. side_bytes_max: budget of the side file. Errors:
 * RQ_EAGAIN (a checkpoint is changing the file; try again in some ms), RQ_EFULL
 * (IMAGES_MAX are open), RQ_ENOMEM, RQ_EIO, RQ_ENOSPC. */
rq_err image_open(image_set *set, uint64_t side_bytes_max, image **ret_image);
image *image_close(image *i); /* NULL is fine */

/* The database as a read transaction sees it that is open meanwhile: the file, and
 * over it what the caller puts with image_put(): the newest version within that
 * transaction of each page of which the file may have an older one. A checkpoint
 * may be at work: it moves nothing that is newer than the transaction. Then
 * image_settle(), and from there on the transaction isn't needed any more. Of the
 * facts, bytes, page_size and id.index are set. The side file never grows beyond
 * the size of the database, and has no other budget. Errors: RQ_EFULL
 * (IMAGES_SEEN_MAX are open), RQ_ENOMEM, RQ_EIO, RQ_ENOSPC; image_put also RQ_EINVAL
 * (page, from 1, isn't in the database). */
rq_err image_open_seen(image_set *set, uint64_t index, uint64_t bytes, uint32_t page_size, image **ret_image);
rq_err image_put(image *i, uint32_t page, const void *data);
rq_err image_settle(image *i);

const image_facts *image_facts_of(const image *i);

/* Bytes from offset on; *ret_size is less than size at the end only. Errors:
 * RQ_ECANCELED (given up: the side file's budget or the disk is full; the image
 * is worth nothing any more, image_problem() says why), RQ_EINVAL (below what was
 * released), RQ_EIO. */
rq_err image_read(image *i, uint64_t offset, void *data, size_t size, size_t *ret_size);

/* What is below offset will not be read again: it need not be saved. Without it
 * everything can be read until the end. */
void image_release(image *i, uint64_t offset);

/* Why it was given up; NULL: it wasn't. Static text. */
const char *image_problem(image *i);

/* --- for files and the checkpoint ------------------------------------------------ */

/* Descriptors are borrowed; folder_fd is where side files are made. */
rq_err image_set_new(const files_io *io, int folder_fd, int database_fd, const state_file *state, image_set **ret_set);
image_set *image_set_free(image_set *set); /* no image may be open */
uint32_t image_set_count(image_set *set);

/* The checkpoint's thread. begin: the file is about to change; no image can be
 * opened until end() says what it is then. save: page (from 1) is about to be
 * overwritten; cut: the file is about to be cut to so many bytes. NULL set: nothing.
 * What can't be saved gives up the image, never the checkpoint. */
void image_set_begin(image_set *set);
void image_set_save(image_set *set, uint32_t page, uint32_t page_size);
void image_set_cut(image_set *set, uint64_t bytes);
void image_set_end(image_set *set, const state_file *state);

#endif
