/* Beginning the log anew behind a snapshot (hazard 17). Nothing of the folder may
 * be open but its identity. Steps, each safe to be killed before and after:
 *
 *   base (decided) -> hard state: term and commit at least the base's -> the log's
 *   files deleted -> an empty segment behind the base -> base deleted
 *
 * Every start calls rebase_finish(), which goes on where it was. */
#ifndef RQ_CONSENSUS_REBASE_H
#define RQ_CONSENSUS_REBASE_H

#include "base/rng.h"
#include "io/base_file.h"

/* base: durable, or made so here, as decided. Errors, logged: RQ_EIO, RQ_ENOSPC and
 * the like; RQ_ECORRUPT (the hard state). */
rq_err rebase_now(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *disk_uuid, base_file *base,
                  uint64_t segment_bytes);

/* Finishes what was decided; *ret_base: what is left undecided (empty: nothing).
 * disk_uuid: as rebase_now(). Errors: as above. */
rq_err rebase_finish(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *disk_uuid, uint64_t segment_bytes,
                     base_file *ret_base);

#endif
