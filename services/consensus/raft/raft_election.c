/* Elections: becoming a candidate, counting votes, stepping down. */
#include <assert.h>
#include <string.h>

#include "raft/raft_quorum.h"
#include "raft/raft_state.h"

void raft_campaign(raft *r) {
        assert(r->role != RAFT_LEADER && !r->storage_failed && !r->learner);
        r->role = RAFT_CANDIDATE;
        r->term++;
        r->vote = r->id;
        r->leader = 0;
        memset(r->granted, 0, sizeof r->granted);
        r->out->state_changed = true;
        /* Our own vote is a promise like any other: it counts when it is on
         * disk, else a restart could vote again in this term. */
        r->out->persist.hard = true;
        raft_persist(r);
}

void raft_count_votes(raft *r) {
        assert(r->role == RAFT_CANDIDATE);
        if (r->durable_term == r->term && r->durable_vote == r->id)
                r->granted[raft_own_place(r)] = true;
        if (raft_is_elected(r))
                (void) raft_become_leader(r); /* without room for the no-op: a tick is due at once */
}

bool raft_is_elected(const raft *r) {
        return r->role == RAFT_CANDIDATE && raft_quorum_votes(r->granted, r->voter_count);
}

void raft_step_down(raft *r) {
        r->role = RAFT_FOLLOWER;
        r->leader = 0;
        r->out->state_changed = true;
        raft_read_fail(r);
}
