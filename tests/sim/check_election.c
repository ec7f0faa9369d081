/* Election safety: a node votes for one in a term, and who leads has the votes of a
 * majority. Leader completeness: who leads has all that was committed in earlier terms. */
#include "base/assert.h"
#include "base/checksum.h"
#include "world.h"

static void trace_role(world *w, const sim_node *n, raft_role role, raft_term term) {
        static const uint8_t names[] = {
                [RAFT_FOLLOWER] = TRACE_BECOME_FOLLOWER, [RAFT_PRE_CANDIDATE] = TRACE_BECOME_PRE_CANDIDATE,
                [RAFT_CANDIDATE] = TRACE_BECOME_CANDIDATE, [RAFT_LEADER] = TRACE_BECOME_LEADER,
        };
        world_trace(w, (trace_record) { .event = names[role], .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .term = term });
}

static uint64_t vote_key(raft_id voter, raft_term term) { return rq_hash_mix(rq_hash_mix(0, voter), term); }

void check_vote(world *w, raft_id voter, raft_term term, raft_id candidate) {
        uint64_t key = vote_key(voter, term);
        const void *before = rq_table_get(&w->checks.votes, key);
        if (before == NULL)
                rq_assert(rq_table_put(&w->checks.votes, key, (void *) (uintptr_t) candidate) >= 0);
        else if ((uintptr_t) before != candidate)
                world_fail(w, "votes", "a node votes for two candidates in term %lu", (unsigned long) term);
}

typedef struct election { const world *w; const sim_node *leader; raft_term term; } election;

static uint64_t has_voted(void *arg, raft_id id) {
        const election *e = arg;
        if (id == e->leader->id)
                return e->leader->durable_term == e->term && e->leader->durable_vote == id;
        return (uintptr_t) rq_table_get(&e->w->checks.votes, vote_key(id, e->term)) == e->leader->id;
}

static void elected(world *w, const sim_node *n, raft_term term) {
        const raft_configuration *c = raft_configuration_of(driver_raft(n->driver), NULL);
        election e = { .w = w, .leader = n, .term = term };
        if (c == NULL || !check_is_quorum(c, has_voted, &e))
                world_fail(w, "votes", "node %u leads in term %lu without the votes of a majority", n->number,
                           (unsigned long) term);
}

static void one_leader(world *w, const sim_node *n, raft_term term) {
        const leader_of_term *leaders = (const leader_of_term *) (const void *) w->checks.leaders.data;
        for (size_t i = w->checks.leaders.size / sizeof *leaders; i > 0; i--)
                if (leaders[i - 1].term == term) {
                        if (leaders[i - 1].id != n->id)
                                world_fail(w, "election", "term %lu has a second leader, node %u", (unsigned long) term,
                                           n->number);
                        return;
                }
        const leader_of_term new = { .term = term, .id = n->id };
        rq_assert(rq_buf_append(&w->checks.leaders, &new, sizeof new) >= 0);
        w->checks.leader_changes++;
        w->checks.late_leaders += w->now_us > 20 * w->tuning.election_us;
}

/* seen_term is never below the term in which an entry was committed: nothing is
 * asked of a leader that it needn't have. */
static void complete(world *w, const sim_node *n, raft_term term) {
        for (raft_index i = checks_commit(w); i > 0; i--) {
                const committed_entry *entry = checks_committed(w, i);
                if (entry->seen_term >= term)
                        continue;
                if (i > n->shadow_base && node_chain(n, i) != entry->chain)
                        world_fail(w, "leader completeness",
                                   "node %u leads in term %lu without entry %lu, committed before", n->number,
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
                world_fail(w, "election", "node %u: its term falls from %lu to %lu", n->number,
                           (unsigned long) n->seen_term, (unsigned long) term);
        if (role != RAFT_LEADER)
                return;
        one_leader(w, n, term);
        elected(w, n, term);
        complete(w, n, term);
}
