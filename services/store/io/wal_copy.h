/* Moves frames of a WAL into the database file, without SQLite: SQLite's own
 * checkpoint takes only the newest version of a page in the whole WAL, so that
 * with commits behind the wanted frame it leaves out every page that changed
 * again, says success, and the file is of no index at all. */
#ifndef RQ_STORE_WAL_COPY_H
#define RQ_STORE_WAL_COPY_H

#include "base/err.h"
#include "io/files_io.h"
#include "io/wal_check.h"

/* The file becomes what it is as of the extent's last frame, a commit: the last
 * version of each page among the frames behind from (those up to it are in
 * the file already), and the size. Nothing is synced. May be repeated.
 * Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, RQ_ECORRUPT (these frames aren't there). */
rq_err wal_copy(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from);

/* The same; images (NULL: none) are told of each page before it is overwritten,
 * and of the size before the file is cut. */
struct image_set;
rq_err wal_copy_beside(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from,
                       struct image_set *images);

/* Those versions of pages to an image of what a transaction sees as of that frame, with
 * image_put(). Nothing else changes. Errors: also image_put()'s. */
struct image;
rq_err wal_copy_to_image(const files_io *io, int wal_fd, const wal_extent *extent, uint32_t from, struct image *to_image);

#endif
