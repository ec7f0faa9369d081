/* ReadIndex (thesis 6.4): rounds are numbered by the core, never by a client's
 * id, so that an acknowledgement can't be counted for a later attempt. A reader
 * gets a ticket: the number of a round that begins after it came. At most one
 * round for reads is on its way; who comes meanwhile shares the next one. A
 * follower does likewise with its questions to the leader. */
#include <assert.h>

#include "raft/raft_members.h"
#include "raft/raft_state.h"

static uint64_t confirmed_round(const raft *r) { return raft_majority(r, RAFT_MEASURE_ROUND, r->round); }

void raft_round_begin(raft *r, bool learners_too) {
        const raft_configuration *c = raft_configuration_in_use(r);
        r->round++;
        r->round_sent_us[r->round % RAFT_ROUNDS_KEPT] = r->now_us;
        for (uint32_t i = 0; c != NULL && i < c->count; i++) {
                const raft_member *member = &c->members[i];
                if (member->id == r->o.id || !(learners_too || member->voter || member->outgoing))
                        continue;
                raft_message *m = raft_send(r, RAFT_MSG_HEARTBEAT, member->id);
                m->heartbeat.commit = r->commit;
                m->heartbeat.round = r->round;
        }
        if (learners_too)
                r->heartbeat_deadline_us = r->now_us + r->o.heartbeat_us;
        if (r->ticket >= r->round)
                r->read_round = r->round;
}

/* Followers refuse votes for election_us after they have heard us, and lease_us is
 * shorter by what clocks may differ. Counted from when the round was sent, never
 * from when the answers came (thesis 6.4.1). */
bool raft_lease_holds(const raft *r) {
        if (r->o.lease_us == 0 || r->lease_void || r->transfer_to != 0 || !raft_commit_is_current(r))
                return false;
        /* Who leads its own removal is confirmed by voters alone: one that is the last of them and has
         * restarted asks nobody for a vote, and waits for nothing. */
        if (!raft_is_voter(r))
                return false;
        uint64_t sent_us = raft_majority(r, RAFT_MEASURE_ROUND_SENT, r->now_us);
        return sent_us != 0 && r->now_us < sent_us + r->o.lease_us;
}

/* The end of the step begins the round, unless another one is on its way. */
static uint64_t take_ticket(raft *r) {
        r->ticket = r->round + 1;
        return r->ticket;
}

static void ask_leader(raft *r, bool weak) {
        raft_message *m = raft_send(r, RAFT_MSG_READ, r->leader);
        r->asked_round = ++r->round;
        r->asked_us = r->now_us;
        r->ticket = raft_max(r->ticket, r->round);
        m->read.weak = weak;
        m->read.round = r->asked_round;
}

static void give_ticket(raft *r, uint64_t ticket) {
        if (r->answered == r->own_ticket)
                r->answered = ticket - 1; /* nobody here waits for an earlier one */
        r->own_ticket = ticket;
        r->out->read_round = ticket;
}

rq_err raft_read(raft *r, bool weak) {
        if (r->storage_failed || r->leader == 0)
                return RQ_ENOTLEADER;
        if (r->role == RAFT_LEADER) {
                if (weak && raft_lease_holds(r))
                        r->out->read_index = r->commit;
                else
                        give_ticket(r, take_ticket(r));
                return RQ_OK;
        }
        if (r->asked_round == 0) {
                ask_leader(r, weak);
        } else {
                r->next_weak = weak && (r->ticket <= r->round || r->next_weak);
                r->ticket = r->round + 1;
        }
        give_ticket(r, r->ticket);
        return RQ_OK;
}

static void answer_members(raft *r, uint64_t confirmed) {
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                raft_peer *p = &r->peers[i];
                if (p->id == 0 || p->read_ticket == 0 || p->read_ticket > confirmed)
                        continue;
                raft_message *m = raft_send(r, RAFT_MSG_READ_REPLY, p->id);
                m->read_reply.round = p->read_round;
                m->read_reply.index = r->commit;
                p->read_ticket = 0;
        }
}

static void ready(raft *r, uint64_t up_to, raft_index index) {
        if (up_to <= r->answered)
                return;
        r->answered = up_to;
        r->out->reads_ready_round = up_to;
        r->out->reads_ready_index = index;
}

void raft_read_answer(raft *r) {
        uint64_t confirmed = confirmed_round(r);
        if (confirmed >= r->read_round && r->ticket > r->round) {
                raft_round_begin(r, false);
                confirmed = confirmed_round(r);
        }
        /* A new leader doesn't know what its predecessor has committed until an
         * entry of its own term is: the read waits, it is not dropped. */
        if (!raft_commit_is_current(r))
                return;
        answer_members(r, confirmed);
        ready(r, raft_min(confirmed, r->own_ticket), r->commit);
}

static void refuse(raft *r, raft_id to, uint64_t round) {
        raft_message *m = raft_send(r, RAFT_MSG_READ_REPLY, to);
        m->read_reply.refused = true;
        m->read_reply.round = round;
}

void raft_read_fail(raft *r) {
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                raft_peer *p = &r->peers[i];
                if (p->id != 0 && p->read_ticket != 0)
                        refuse(r, p->id, p->read_round);
                p->read_ticket = 0;
        }
        r->asked_round = 0;
        r->round = raft_max(r->round, r->ticket); /* no number twice */
        if (r->own_ticket > r->answered) {
                r->answered = r->own_ticket;
                r->out->reads_failed_round = r->own_ticket;
        }
}

void raft_on_read(raft *r, const raft_message *m) {
        raft_peer *p = raft_peer_of(r, m->from);
        if (r->role != RAFT_LEADER || p == NULL) {
                refuse(r, m->from, m->read.round);
                return;
        }
        if (m->read.weak && raft_lease_holds(r)) {
                raft_message *reply = raft_send(r, RAFT_MSG_READ_REPLY, m->from);
                reply->read_reply.round = m->read.round;
                reply->read_reply.index = r->commit;
                return;
        }
        /* A member has one question at a time, so a new one takes the old one's
         * place. A doubled one keeps its ticket. */
        if (p->read_ticket == 0 || p->read_round != m->read.round) {
                p->read_round = m->read.round;
                p->read_ticket = take_ticket(r);
        }
}

void raft_on_read_reply(raft *r, const raft_message *m) {
        if (m->term != r->term || m->from != r->leader || r->asked_round == 0 || m->read_reply.round != r->asked_round)
                return;
        if (m->read_reply.refused) {
                raft_read_fail(r);
                return;
        }
        ready(r, r->asked_round, m->read_reply.index);
        r->asked_round = 0;
        if (r->ticket > r->round)
                ask_leader(r, r->next_weak);
}
