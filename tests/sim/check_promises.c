/* Nothing leaves a node that promises what its disk doesn't hold; and what a disk
 * held is there after the next start. The checker keeps its own account of the disk. */
#include "world.h"

static void check_match(world *w, const sim_node *n, raft_index index) {
        if (index > n->durable)
                world_fail(w, "promises", "node %u acknowledges index %lu, but only %lu is on its disk", n->number,
                           (unsigned long) index,
                           (unsigned long) n->durable);
}

void check_sent(world *w, const sim_node *n, const raft_message *m) {
        if (m->type == RAFT_MSG_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre)
                check_vote(w, n->id, m->vote_reply.campaign_term, m->to);
        /* Said in an earlier term, and true at that time: it might have left earlier, too. */
        if (m->term < raft_term_of(driver_raft(n->driver)))
                return;
        switch (m->type) {
        case RAFT_MSG_VOTE_REPLY:
                if (!m->vote_reply.granted || m->vote_reply.pre)
                        break;
                if (n->durable_term < m->vote_reply.campaign_term ||
                    (n->durable_term == m->vote_reply.campaign_term && n->durable_vote != m->to))
                        world_fail(w, "promises", "node %u votes in term %lu, and its disk doesn't say so", n->number,
                                   (unsigned long) m->vote_reply.campaign_term);
                break;
        case RAFT_MSG_APPEND_REPLY:
                if (!m->append_reply.rejected)
                        check_match(w, n, m->append_reply.index);
                break;
        case RAFT_MSG_HEARTBEAT_REPLY:
                check_match(w, n, m->heartbeat_reply.index);
                break;
        default:
                break;
        }
}

void check_recovered(world *w, const sim_node *n, raft_term term, raft_id vote, raft_term term_in_flight,
                     raft_id vote_in_flight, raft_index last,
                     uint64_t durable_chain, bool rebased) {
        bool as_known = term == n->durable_term && vote == n->durable_vote;
        /* A snapshot may be of a term that this node didn't know: it has no vote in that. */
        as_known |= rebased && term == n->rebase_term && term > n->durable_term && vote == 0;
        /* Several may have been in flight: any between the two is right. */
        bool lost = term == n->durable_term && n->durable_vote != 0 && vote != n->durable_vote;
        if (lost || (!as_known && (term < n->durable_term || term > term_in_flight ||
                          (term == term_in_flight && vote != vote_in_flight && vote != 0))))
                world_fail(w, "durability",
                           "node %u finds term %lu, vote %lx on its disk; %lu, %lx were there, and then %lu, %lx asked for",
                           n->number, (unsigned long) term, (unsigned long) vote, (unsigned long) n->durable_term,
                                   (unsigned long) n->durable_vote,
                           (unsigned long) term_in_flight, (unsigned long) vote_in_flight);
        if (rebased)
                return; /* check_rebased() */
        if (last < n->durable || (n->durable > n->shadow_base && durable_chain != 0 &&
                                  node_chain(n, n->durable) != durable_chain))
                world_fail(w, "durability",
                           "node %u has lost entries up to %lu, which were on its disk: its log ends at %lu", n->number,
                           (unsigned long) n->durable, (unsigned long) last);
}
