/* Words of the Raft core: index, term, id, role. */
#ifndef RQ_CONSENSUS_RAFT_TYPES_H
#define RQ_CONSENSUS_RAFT_TYPES_H

#include <stdint.h>

typedef uint64_t raft_index; /* 1-based place in the log; 0: before the first entry */
typedef uint64_t raft_term;  /* 0: before the first election */
typedef uint64_t raft_id;    /* of a member; 0: none */

enum { RAFT_VOTERS_MAX = 15 };

typedef enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER } raft_role;

#endif
