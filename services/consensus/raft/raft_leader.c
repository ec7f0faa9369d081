/* The leader: its first entry, proposals, commitment. */
#include <assert.h>
#include <string.h>

#include "raft/raft_quorum.h"
#include "raft/raft_state.h"

rq_err raft_become_leader(raft *r) {
        rq_err e = raft_trail_append(&r->trail, r->term, 0, r->commit);
        if (e < 0)
                return e;

        r->role = RAFT_LEADER;
        r->leader = r->id;
        r->accepted_term = r->term;
        r->term_first = r->trail.last;
        memset(r->match, 0, sizeof r->match);
        memset(r->round_confirmed, 0, sizeof r->round_confirmed);
        r->match[raft_own_place(r)] = r->durable;

        /* Thesis 6.4 and 3.6.2: without an entry of its own term a leader knows
         * neither what is committed nor may it commit what it found. */
        r->out->noop_index = r->term_first;
        r->out->noop_term = r->term;
        r->out->state_changed = true;
        raft_persist_entries(r, r->term_first);
        return RQ_OK;
}

rq_err raft_append_proposals(raft *r, const uint32_t *entry_bytes, uint32_t count) {
        if (r->role != RAFT_LEADER)
                return RQ_ENOTLEADER;

        raft_index first = r->trail.last + 1;
        uint32_t taken = 0;
        for (; taken < count; taken++) {
                /* The first of an empty tail is always taken: it may be larger
                 * than the limit alone. */
                uint64_t waiting = raft_trail_bytes_behind(&r->trail, r->commit);
                if (waiting > 0 && waiting + entry_bytes[taken] > r->uncommitted_bytes_max)
                        break;
                if (raft_trail_append(&r->trail, r->term, entry_bytes[taken], r->commit) < 0)
                        break;
        }
        if (taken == 0)
                return count == 0 ? RQ_OK : RQ_EFULL;

        r->out->proposed_first = first;
        r->out->proposed_count = taken;
        raft_persist_entries(r, first);
        return RQ_OK;
}

void raft_advance_commit(raft *r) {
        assert(r->role == RAFT_LEADER);
        r->match[raft_own_place(r)] = r->durable;
        raft_index reached = raft_quorum_reached(r->match, r->voter_count);

        /* Thesis 3.6.2: a leader counts replicas only for entries of its own
         * term. An older entry on a majority can still be overwritten (figure
         * 3.7); it becomes committed through the first entry of this term. */
        if (reached <= r->commit || raft_trail_term_at(&r->trail, reached) != r->term)
                return;
        r->out->state_changed |= r->commit < r->term_first;
        r->commit = reached;
        r->commit_known = true;
        r->out->commit = reached;
        raft_read_answer(r);
}
