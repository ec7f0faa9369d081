/* Empty segments, made ahead of time: allocated and filled with zeros, since an
 * fdatasync that changes no metadata is cheaper, and a full disk is noticed
 * here, not by the log. Dropped segments are used again. Made by a thread of its
 * own, or by hand where there are no threads (the simulator). */
#ifndef RQ_CONSENSUS_IO_LOG_SPARE_H
#define RQ_CONSENSUS_IO_LOG_SPARE_H

#include "io/log_io.h"

enum { SPARE_NAME_BYTES = 24 };

typedef struct log_spare log_spare;

/* Adopts spares that are there, removes half-made ones. segment_bytes: of each.
 * Errors: RQ_ENOMEM, RQ_EIO and the like. */
rq_err log_spare_new(const log_io *io, int dir_fd, uint64_t segment_bytes, log_spare **ret_spare);
log_spare *log_spare_free(log_spare *spare); /* accepts NULL; ends the thread */

/* From now on a thread sees to it that there is one. Errors: RQ_ENOMEM. */
rq_err log_spare_start(log_spare *spare);

/* Without the thread: makes one if there is none. Errors: RQ_ENOSPC, RQ_EIO and the like. */
rq_err log_spare_make(log_spare *spare);

/* Name of a ready one, which is the caller's now; waits for the thread at most wait_ms.
 * Errors: RQ_ENOSPC (the disk is full), RQ_EAGAIN (still being made), RQ_EIO. */
rq_err log_spare_take(log_spare *spare, uint32_t wait_ms, char ret_name[static SPARE_NAME_BYTES]);

/* The file is not needed any more: becomes a spare or is deleted; durable on
 * return. Errors: RQ_EIO and the like. */
rq_err log_spare_recycle(log_spare *spare, const char *name, uint64_t file_bytes);

/* Any thread. */
bool log_spare_is_full(log_spare *spare);     /* the last one could not be made: no space */
uint32_t log_spare_ready(log_spare *spare);

#endif
