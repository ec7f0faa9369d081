/* Leadership transfer (thesis 3.10): stop taking proposals, let the target catch
 * up, tell it to campaign at once. The target's term ends our leadership; if
 * nothing comes of it within an election timeout, we go on. */
#include "raft/raft_members.h"
#include "raft/raft_state.h"

static bool may_succeed(const raft *r, const raft_peer *p) {
        const raft_configuration *c = raft_configuration_in_use(r);
        const raft_member *m = p->id == 0 ? NULL : raft_members_find(c, p->id);
        return m != NULL && m->voter;
}

raft_id raft_best_successor(const raft *r) {
        const raft_peer *best = NULL;
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                const raft_peer *p = &r->peers[i];
                if (!may_succeed(r, p) || p->contact_us == 0 || r->now_us - p->contact_us >= r->o.election_us)
                        continue;
                bool newer = best != NULL && p->match == best->match && p->contact_us > best->contact_us;
                if (best == NULL || p->match > best->match || newer)
                        best = p;
        }
        return best == NULL ? 0 : best->id;
}

rq_err raft_transfer_ask(raft *r, raft_id to) {
        if (r->role == RAFT_LEADER)
                return raft_transfer(r, to);
        if (r->leader == 0)
                return RQ_ENOTLEADER;
        raft_send(r, RAFT_MSG_TRANSFER, r->leader)->transfer.target = to;
        return RQ_OK;
}

rq_err raft_transfer(raft *r, raft_id to) {
        if (r->role != RAFT_LEADER || r->transfer_to != 0)
                return RQ_ENOTLEADER;
        if (to == 0)
                to = raft_best_successor(r);
        const raft_peer *p = raft_peer_of(r, to);
        if (p == NULL || !may_succeed(r, p))
                return RQ_EINVAL;
        r->transfer_to = to;
        r->transfer_sent = false;
        r->transfer_deadline_us = r->now_us + r->o.election_us;
        r->out->state_changed = true;
        raft_transfer_continue(r, false);
        return RQ_OK;
}

void raft_transfer_continue(raft *r, bool again) {
        const raft_peer *p = raft_peer_of(r, r->transfer_to);
        if (p == NULL) {
                raft_transfer_expire(r); /* it is no member any more */
                return;
        }
        if (p->match < r->trail.last || (r->transfer_sent && !again))
                return;
        (void) raft_send(r, RAFT_MSG_TIMEOUT_NOW, p->id);
        r->transfer_sent = true;
        /* The message may act at any later time of this term, and those who are
         * asked for votes then don't protect us. */
        r->lease_void = true;
}

void raft_transfer_expire(raft *r) {
        r->transfer_to = 0;
        r->transfer_sent = false;
        r->out->state_changed = true;
        const raft_configuration *c = raft_configuration_in_use(r);
        if (!raft_members_has_voter(c, r->o.id) && r->history[r->history_count - 1].index <= r->commit)
                raft_follow(r, r->term, 0);
}
