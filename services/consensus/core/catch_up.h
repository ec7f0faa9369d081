/* When a learner has caught up (thesis 4.2.1): replication to it is cut into rounds, each up to
 * what the log had at the round's begin; one that took less than an election timeout
 * shows that as a voter it would not hold up the commit for longer than that. Pure; belongs to a
 * leader, and begins anew with each. */
#ifndef RQ_CONSENSUS_CORE_CATCH_UP_H
#define RQ_CONSENSUS_CORE_CATCH_UP_H

#include <stdbool.h>

#include "raft/raft_types.h"

typedef struct catch_up_round {
        raft_id id;
        raft_index target;
        uint64_t begun_us;
        uint32_t count;        /* rounds begun */
} catch_up_round;

typedef struct catch_up { /* {0} */
        uint32_t count;
        catch_up_round v[RAFT_MEMBERS_MAX];
} catch_up;

/* A learner has acknowledged up to match, the log ends at last: whether a round of less than
 * round_us_max is complete. Whoever was never looked at begins a round; with a full
 * table (members that have left) all begin anew. */
bool catch_up_look(catch_up *c, raft_id id, raft_index match, raft_index last, uint64_t now_us, uint64_t round_us_max);

/* Rounds that this learner has begun; 0: none. */
uint32_t catch_up_rounds(const catch_up *c, raft_id id);

#endif
