/* Snapshots on their way out of and into this store: frames of consensus, images
 * and their pumps, the one that is being staged and takes the database's place.
 * The order of frames: proto/README.md. */
#ifndef RQ_STORE_SNAPSHOTS_H
#define RQ_STORE_SNAPSHOTS_H

#include "ipc/ipc_link.h"
#include "service.h"

enum { SNAPSHOTS_OUT_MAX = 4 };

/* Errors: RQ_ENOMEM. */
rq_err snapshots_new(store *s, snapshots **ret_snapshots);
snapshots *snapshots_free(snapshots *n); /* before the files are closed; NULL is fine */

/* Frames of consensus. Errors: RQ_EPROTO, RQ_ENOMEM: close the link. */
rq_err snapshots_on_open(snapshots *n, const ipc_frame *frame);
rq_err snapshots_on_read(snapshots *n, const ipc_frame *frame);
rq_err snapshots_on_close(snapshots *n, const ipc_frame *frame);
rq_err snapshots_on_begin(snapshots *n, const ipc_frame *frame);
rq_err snapshots_on_chunk(snapshots *n, const ipc_frame *frame);
rq_err snapshots_on_commit(snapshots *n, const ipc_frame *frame);
void snapshots_consensus_down(snapshots *n);

/* The writer's thread has news. */
void snapshots_applied(snapshots *n);

/* The files are about to be closed: images end. */
void snapshots_files_close(snapshots *n);
/* They are open again. */
void snapshots_files_open(snapshots *n);

typedef struct snapshots_stats {
        uint32_t sending;
        bool staging;
        uint64_t staged_bytes, staging_bytes;
        uint64_t sent_bytes, installed_count;
} snapshots_stats;
void snapshots_stats_get(snapshots *n, snapshots_stats *ret_stats);

#endif
