/* Who this data folder is: written when the folder is first used, and again when
 * its node gets into a cluster: until then the database id is zero. A wiped folder gets another disk uuid, so that it can't
 * vote under the old one (hazard 25).
 *
 *   0 u32 magic "rqN1"   4 u16 version   6 u16 bytes of the node id
 *   8 16 bytes disk uuid   24 16 bytes database id (the cluster's; zero: in none yet)
 *  40 node id, then u32 CRC-32C of everything before */
#ifndef RQ_CONSENSUS_IO_IDENTITY_H
#define RQ_CONSENSUS_IO_IDENTITY_H

#include "base/rng.h"
#include "io/log_io.h"

#define IDENTITY_NAME "identity"

enum {
        IDENTITY_MAGIC          = 0x314e7172, /* "rqN1" */
        IDENTITY_VERSION        = 1,
        IDENTITY_NODE_BYTES_MAX = 255,
        IDENTITY_BYTES_MAX      = 44 + IDENTITY_NODE_BYTES_MAX,
};

typedef struct identity {
        rq_uuid disk_uuid, database_id;
        char node_id[IDENTITY_NODE_BYTES_MAX + 1];
} identity;

/* Errors: RQ_ENOENT, RQ_ECORRUPT, RQ_EVERSION, RQ_EIO. */
rq_err identity_load(const log_io *io, int dir_fd, identity *ret_identity);

/* Durable on return. Errors: RQ_ENOSPC, RQ_EIO and the like. */
rq_err identity_store(const log_io *io, int dir_fd, const identity *self);

rq_err identity_decode(rq_bytes content, identity *ret_identity);

#endif
