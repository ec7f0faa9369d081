/* What a folder's node knows of its cluster beyond identity and log. Missing: nothing.
 *
 *   0 u32 magic "rqC1"   4 u16 version   6 u16 m, bytes of the members
 *   8 16 bytes cluster id     24 16 bytes the cluster id before (zero: none)
 *  40 u64 the members are those of the log up to this index; 0: of a log without any entry
 *  48 m bytes members (core/membership.h), then u32 CRC-32C of everything before
 *
 * The cluster id is what members tell each other to be of one cluster. It is the
 * database id, and this file says nothing of it, until a recovery makes another one:
 * the members that were left behind are strangers from then on.
 *
 * Members are there for a node that has joined, as those to hear from as long as its
 * log says nothing itself; and after a recovery, in place of what the log says up to that index. */
#ifndef RQ_CONSENSUS_IO_CLUSTER_FILE_H
#define RQ_CONSENSUS_IO_CLUSTER_FILE_H

#include "base/rng.h"
#include "io/log_io.h"

#define CLUSTER_FILE_NAME "cluster"

enum {
        CLUSTER_FILE_MAGIC       = 0x31437172, /* "rqC1" */
        CLUSTER_FILE_VERSION     = 1,
        CLUSTER_FILE_MEMBERS_MAX = 3072,
        CLUSTER_FILE_BYTES_MAX   = 52 + CLUSTER_FILE_MEMBERS_MAX,
};

typedef struct cluster_file {
        rq_uuid cluster_id, previous_id;
        uint64_t index;
        rq_buf members;      /* empty: none */
} cluster_file;

void cluster_file_done(cluster_file *file);

/* Errors: RQ_ENOENT, RQ_ECORRUPT, RQ_EVERSION, RQ_ENOMEM, RQ_EIO and the like. */
rq_err cluster_file_load(const log_io *io, int dir_fd, cluster_file *ret_file);
rq_err cluster_file_decode(rq_bytes content, cluster_file *ret_file);

/* Durable on return. Errors: RQ_ETOOBIG (the members), RQ_ENOSPC, RQ_EIO and the like. */
rq_err cluster_file_store(const log_io *io, int dir_fd, const cluster_file *file);
/* Durable on return; also if there is none. Errors: as above. */
rq_err cluster_file_remove(const log_io *io, int dir_fd);

#endif
