/* Election safety: one leader a term. Leader completeness: who leads has all that
 * was committed in earlier terms. */
#include "base/assert.h"
#include "world.h"

static void trace_role(world *w, const sim_node *n, raft_role role, raft_term term) {
        static const uint8_t names[] = {
                [RAFT_FOLLOWER] = TRACE_BECOME_FOLLOWER, [RAFT_PRE_CANDIDATE] = TRACE_BECOME_PRE_CANDIDATE,
                [RAFT_CANDIDATE] = TRACE_BECOME_CANDIDATE, [RAFT_LEADER] = TRACE_BECOME_LEADER,
        };
        world_trace(w, (trace_record) { .event = names[role], .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .term = term });
}

static void one_leader(world *w, const sim_node *n, raft_term term) {
        const leader_of_term *leaders = (const leader_of_term *) (const void *) w->checks.leaders.data;
        for (size_t i = w->checks.leaders.size / sizeof *leaders; i > 0; i--)
                if (leaders[i - 1].term == term) {
                        if (leaders[i - 1].id != n->id)
                                world_fail(w, "election", "term %lu has a second leader, node %u", (unsigned long) term, n->number);
                        return;
                }
        const leader_of_term new = { .term = term, .id = n->id };
        rq_assert(rq_buf_append(&w->checks.leaders, &new, sizeof new) >= 0);
        w->checks.leader_changes++;
}

/* seen_term is never below the term in which an entry was committed: nothing is
 * asked of a leader that it needn't have. */
static void complete(world *w, const sim_node *n, raft_term term) {
        for (raft_index i = checks_commit(w); i > 0; i--) {
                const committed_entry *entry = checks_committed(w, i);
                if (entry->seen_term >= term)
                        continue;
                if (i > n->shadow_base && node_chain(n, i) != entry->chain)
                        world_fail(w, "leader completeness", "node %u leads in term %lu without entry %lu, committed before", n->number,
                                   (unsigned long) term, (unsigned long) i);
                return; /* its chain covers all before it */
        }
}

void check_state(world *w, const sim_node *n) {
        const raft *r = driver_raft(n->driver);
        raft_role role = raft_role_of(r);
        raft_term term = raft_term_of(r);
        if (role == n->seen_role && term == n->seen_term)
                return;
        trace_role(w, n, role, term);
        if (term < n->seen_term)
                world_fail(w, "election", "node %u: its term falls from %lu to %lu", n->number, (unsigned long) n->seen_term, (unsigned long) term);
        if (role != RAFT_LEADER)
                return;
        one_leader(w, n, term);
        complete(w, n, term);
}
