/* Who the cluster's members are: the body of a RECORD_CONFIGURATION entry, which
 * segment headers carry on. The store passes it by. Knows no addresses' meaning.
 *
 *   0  u16 members    2  u16 flags (bit 0: joint, thesis 4.3)
 *   each: 16 bytes disk uuid, u8 flags (bit 0: voter; bit 1: outgoing, a voter of
 *         the old majority, only while joint; bit 2: a learner that stays one), u8 bytes
 *         of the node id, u16 bytes of the raft address, node id, raft address
 * All little-endian; nothing behind the last member. */
#ifndef RQ_CONSENSUS_CORE_MEMBERSHIP_H
#define RQ_CONSENSUS_CORE_MEMBERSHIP_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"
#include "raft/raft_types.h"

enum {
        MEMBERSHIP_COUNT_MAX   = RAFT_MEMBERS_MAX,
        MEMBERSHIP_NODE_MAX    = 255,  /* bytes */
        MEMBERSHIP_ADDRESS_MAX = 255,
        MEMBERSHIP_BYTES_MAX   = 3072, /* encoded: it must fit a segment's header */
};

typedef struct member {
        rq_uuid disk_uuid;
        bool voter;     /* neither: a learner */
        bool outgoing;
        bool stays;     /* a learner that isn't to become a voter (-raft-non-voter) */
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        char raft_addr[MEMBERSHIP_ADDRESS_MAX + 1];
} member;

typedef struct membership {
        uint32_t count;
        bool joint;
        member members[MEMBERSHIP_COUNT_MAX];
} membership;

/* Members are told apart by their disks: a wiped one is another member. Never 0. */
raft_id membership_raft_id(const rq_uuid *disk_uuid);

/* Appends. Errors: RQ_ETOOBIG (more than MEMBERSHIP_BYTES_MAX), RQ_EINVAL (no
 * member, an empty node id, outgoing members of one that isn't joint, a voter that stays a learner), RQ_ENOMEM;
 * nothing is appended. */
rq_err membership_encode(const membership *m, rq_buf *out);

/* Errors: RQ_ECORRUPT; RQ_EVERSION (flags that this build doesn't know). */
rq_err membership_decode(rq_bytes body, membership *ret_membership);

/* Of the new majority. */
uint32_t membership_voter_count(const membership *m);

/* The member of this id; NULL: none. */
const member *membership_find(const membership *m, raft_id id);

/* What the Raft core needs to know of it. Whether that makes sense (voters, no
 * member twice) is the core's to say. */
void membership_to_configuration(const membership *m, raft_configuration *ret_configuration);

/* The members of a configuration, with the names and addresses that known or, for
 * those it doesn't have, also_known (may be NULL) has. Errors: RQ_ENOENT. */
rq_err membership_of_configuration(const raft_configuration *configuration, const membership *known,
                                   const membership *also_known, membership *ret_membership);

#endif
