/* ReadIndex (thesis 6.4): rounds are numbered by the core, never by a client's
 * id, so that an acknowledgement can't be counted for a later attempt. All reads
 * that wait share a round. */
#include <assert.h>

#include "raft/raft_quorum.h"
#include "raft/raft_state.h"

void raft_read_begin(raft *r) {
        r->round++;
        r->out->read_round = r->round;
        r->round_confirmed[raft_own_place(r)] = r->round;
        raft_read_answer(r);
}

void raft_read_answer(raft *r) {
        /* A new leader doesn't know what its predecessor has committed until an
         * entry of its own term is: the read waits, it is not dropped. */
        if (r->round_answered == r->round || !raft_commit_is_current(r))
                return;
        uint64_t confirmed = raft_quorum_reached(r->round_confirmed, r->voter_count);
        if (confirmed <= r->round_answered)
                return;
        r->round_answered = confirmed;
        r->out->reads_ready_round = confirmed;
        r->out->reads_ready_index = r->commit;
}

void raft_read_fail(raft *r) {
        if (r->round_answered == r->round)
                return;
        r->round_answered = r->round;
        r->out->reads_failed_round = r->round;
}
