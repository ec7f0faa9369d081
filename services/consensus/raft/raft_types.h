/* Words of the Raft core: index, term, id, role, configuration. */
#ifndef RQ_CONSENSUS_RAFT_TYPES_H
#define RQ_CONSENSUS_RAFT_TYPES_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t raft_index; /* 1-based place in the log; 0: before the first entry */
typedef uint64_t raft_term;  /* 0: before the first election */
typedef uint64_t raft_id;    /* of a member: its disk, see core/membership.h; 0: none */

enum {
        RAFT_VOTERS_MAX  = 15, /* of one majority */
        RAFT_MEMBERS_MAX = 31, /* voters of both majorities and learners */
};

typedef enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER } raft_role;

/* One member in a configuration. Neither: a learner, which gets the log and
 * doesn't count. */
typedef struct raft_member {
        raft_id id;
        bool voter;     /* of the (new) majority */
        bool outgoing;  /* joint: of the old majority */
} raft_member;

/* Who counts (thesis 4.3). joint: decisions take a majority of `outgoing` and one
 * of `voter`. At least one voter; if joint, at least one outgoing. */
typedef struct raft_configuration {
        uint32_t count;
        bool joint;
        raft_member members[RAFT_MEMBERS_MAX];
} raft_configuration;

#endif
