/* Who the cluster's members are: the body of a RECORD_CONFIGURATION entry, which
 * segment headers carry on. The store passes it by. Knows no addresses' meaning.
 *
 *   0  u16 members    2  u16 0
 *   each: 16 bytes disk uuid, u8 flags (bit 0: voter), u8 bytes of the node id,
 *         u16 bytes of the raft address, node id, raft address
 * All little-endian; nothing behind the last member. */
#ifndef RQ_CONSENSUS_CORE_MEMBERSHIP_H
#define RQ_CONSENSUS_CORE_MEMBERSHIP_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"
#include "raft/raft_types.h"

enum {
        MEMBERSHIP_COUNT_MAX   = RAFT_VOTERS_MAX,
        MEMBERSHIP_NODE_MAX    = 255,  /* bytes */
        MEMBERSHIP_ADDRESS_MAX = 255,
        MEMBERSHIP_BYTES_MAX   = 3072, /* encoded: it must fit a segment's header */
};

typedef struct member {
        rq_uuid disk_uuid;
        bool voter;
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        char raft_addr[MEMBERSHIP_ADDRESS_MAX + 1];
} member;

typedef struct membership {
        uint32_t count;
        member members[MEMBERSHIP_COUNT_MAX];
} membership;

/* Members are told apart by their disks: a wiped one is another member. Never 0. */
raft_id membership_raft_id(const rq_uuid *disk_uuid);

/* Appends. Errors: RQ_ETOOBIG (more than MEMBERSHIP_BYTES_MAX), RQ_EINVAL (no
 * member, an empty node id), RQ_ENOMEM; nothing is appended. */
rq_err membership_encode(const membership *m, rq_buf *out);

/* Errors: RQ_ECORRUPT; RQ_EVERSION (flags that this build doesn't know). */
rq_err membership_decode(rq_bytes body, membership *ret_membership);

/* Ids of the voters. Returns how many. */
uint32_t membership_voters(const membership *m, raft_id ret_ids[static MEMBERSHIP_COUNT_MAX]);

#endif
