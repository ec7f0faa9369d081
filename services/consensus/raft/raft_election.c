/* Elections: standing, voting, stepping down (thesis 3.4, 3.6.1; pre-vote and the
 * protection of a live leader 4.2.3, 9.6; transfer 3.10). */
#include <assert.h>
#include <string.h>

#include "raft/raft_members.h"
#include "raft/raft_state.h"

/* splitmix64: good enough to keep candidates apart, and the same on each run. */
static uint64_t next_random(raft *r) {
        uint64_t x = r->random += 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        return x ^ (x >> 31);
}

uint64_t raft_random_between(raft *r, uint64_t low, uint64_t high) {
        return low + next_random(r) % (high - low);
}

/* Anew for each campaign: two that were drawn alike tie only once. */
void raft_draw_election_timeout(raft *r) {
        r->election_timeout_us = raft_random_between(r, r->o.election_us, 2 * r->o.election_us);
        r->election_deadline_us = r->now_us + r->election_timeout_us;
}

static void enter_term(raft *r, raft_term term) {
        assert(term > r->term);
        r->term = term;
        r->vote = 0; /* only because the term has risen: a vote is for a whole term */
        r->vote_due = false;
        r->verified = r->acknowledged = r->ack_index = 0;
        r->ack_due = false;
        r->lease_void = false;
        raft_persist_hard(r);
}

void raft_follow(raft *r, raft_term term, raft_id leader) {
        if (r->role == RAFT_FOLLOWER && term == r->term && leader == r->leader)
                return;
        raft_read_fail(r);
        if (r->role == RAFT_LEADER)
                raft_draw_election_timeout(r);
        if (term > r->term)
                enter_term(r, term);
        r->role = RAFT_FOLLOWER;
        r->leader = leader;
        r->transfer_to = 0;
        r->transfer_sent = false;
        r->out->state_changed = true;
}

/* Of the configuration in use, or of one before it that may still be in force: who
 * has appended its own removal and nobody else has, may be the only one with a log
 * that is long enough (thesis 4.2.2). */
static bool may_be_voter(const raft *r) {
        for (uint32_t i = 0; i < r->history_count; i++)
                if (raft_members_has_voter(&r->history[i].configuration, r->o.id))
                        return true;
        return false;
}

bool raft_may_campaign(const raft *r) {
        return !r->o.learner && !r->storage_failed && may_be_voter(r) && !raft_disk_is_stalled(r);
}

static void stand(raft *r, raft_role role) {
        raft_read_fail(r);
        r->role = role;
        r->leader = r->promised_to = 0; /* one that we want to replace protects nobody any more */
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
                r->peers[i].answered = r->peers[i].granted = false;
        raft_draw_election_timeout(r);
        r->resend_us = UINT64_MAX;
        r->out->state_changed = true;
}

static void request_votes(raft *r) {
        const raft_configuration *c = raft_configuration_in_use(r);
        bool pre = r->role == RAFT_PRE_CANDIDATE;
        for (uint32_t i = 0; c != NULL && i < c->count; i++) {
                const raft_member *member = &c->members[i];
                if (member->id == r->o.id || (!member->voter && !member->outgoing))
                        continue;
                if (raft_peer_of(r, member->id)->granted)
                        continue;
                raft_message *m = raft_send(r, RAFT_MSG_VOTE, member->id);
                m->vote.pre = pre;
                m->vote.transfer = r->campaign_transfer && !pre;
                m->vote.campaign_term = pre ? r->term + 1 : r->term;
                m->vote.last_index = r->trail.last;
                m->vote.last_term = raft_trail_last_term(&r->trail);
        }
        r->resend_us = r->now_us + r->o.heartbeat_us;
}

void raft_campaign(raft *r) {
        assert(r->role != RAFT_LEADER && raft_may_campaign(r));
        if (raft_is_alone(r)) {
                raft_campaign_in_next_term(r, false);
                return;
        }
        stand(r, RAFT_PRE_CANDIDATE);
        request_votes(r); /* no promise in it: nothing to wait for */
}

void raft_campaign_in_next_term(raft *r, bool transfer) {
        stand(r, RAFT_CANDIDATE);
        enter_term(r, r->term + 1);
        /* Our own vote is a promise like any other: it counts when it is on
         * disk, else a restart could vote again in this term. */
        r->vote = r->o.id;
        raft_persist_hard(r);
        r->campaign_transfer = transfer;
        r->votes_requested = false;
}

static bool own_vote_is_durable(const raft *r) {
        return r->durable_term == r->term && r->durable_vote == r->o.id;
}

bool raft_is_elected(const raft *r) {
        return r->role == RAFT_CANDIDATE && raft_majority(r, RAFT_MEASURE_GRANTED, own_vote_is_durable(r) ? 1 : 0) == 1;
}

void raft_count_votes(raft *r) {
        if (r->role == RAFT_PRE_CANDIDATE) {
                if (raft_majority(r, RAFT_MEASURE_GRANTED, 1) == 1)
                        raft_campaign_in_next_term(r, false);
                return;
        }
        assert(r->role == RAFT_CANDIDATE);
        /* Votes are asked for with our log as it is durable, and in a term that is:
         * a restart could else stand in this term again with a shorter log, and an
         * answer to the first request would count for the second. */
        if (!r->votes_requested && own_vote_is_durable(r)) {
                r->votes_requested = true;
                request_votes(r);
        }
        if (raft_is_elected(r)) {
                /* Without room for a run the driver gives more and a tick is due at
                 * once; without room in the tail somebody else has to lead. */
                if (raft_become_leader(r) < 0 && !raft_trail_has_room(&r->trail, r->commit, 1, 0))
                        raft_follow(r, r->term, 0);
        } else if (raft_majority(r, RAFT_MEASURE_NOT_REFUSED, 1) == 0) {
                /* Lost, the vote was split: no need to wait out the whole timeout. */
                uint64_t soon = r->now_us + raft_random_between(r, r->o.heartbeat_us / 4, r->o.heartbeat_us);
                if (soon < r->election_deadline_us)
                        r->election_deadline_us = soon;
        }
}

void raft_campaign_continue(raft *r) {
        raft_count_votes(r);
        bool standing = r->role == RAFT_PRE_CANDIDATE || (r->role == RAFT_CANDIDATE && r->votes_requested);
        if (standing && r->now_us >= r->resend_us)
                request_votes(r);
}

static bool log_is_up_to_date(const raft *r, const raft_message *m) {
        raft_term last_term = raft_trail_last_term(&r->trail);
        return m->vote.last_term > last_term || (m->vote.last_term == last_term && m->vote.last_index >= r->trail.last);
}

/* Whether there is a leader that works, as far as we know. One that stands for
 * election in its own term or a later one has stopped leading. That we have learned
 * of a later term by somebody else ends nothing: the leader may not know of it, and
 * has a lease from our answer. */
static bool leader_is_protected(const raft *r, raft_id from) {
        if (r->role == RAFT_LEADER)
                return r->now_us < raft_quorum_contact_us(r) + r->o.election_us;
        if (r->now_us < r->guard_until_us)
                return true;
        return r->promised_to != 0 && r->promised_to != from && r->now_us < r->leader_contact_us + r->o.election_us;
}

static void answer_vote(raft *r, const raft_message *m, bool granted) {
        raft_message *reply = raft_send(r, RAFT_MSG_VOTE_REPLY, m->from);
        reply->vote_reply.pre = m->vote.pre;
        reply->vote_reply.granted = granted;
        reply->vote_reply.campaign_term = m->vote.campaign_term;
}

/* Refusals carry our term: a node with the longest log and an old term learns it.
 * Who is asked doesn't ask whether it counts: a learner that was promoted, or a new
 * voter that has no configuration at all, may not know it yet, and its vote may be
 * the one that is needed (thesis 4.2.2). */
void raft_on_vote(raft *r, const raft_message *m) {
        if (m->vote.campaign_term < r->term || (leader_is_protected(r, m->from) && !m->vote.transfer)) {
                answer_vote(r, m, false);
                return;
        }
        if (m->term > r->term)
                raft_follow(r, m->term, 0);

        bool free_to_vote = r->vote == 0 || r->vote == m->from || m->vote.campaign_term > r->term;
        if (r->o.learner || !free_to_vote || !log_is_up_to_date(r, m)) {
                answer_vote(r, m, false);
        } else if (m->vote.pre) {
                answer_vote(r, m, true);
        } else {
                if (r->vote != m->from) {
                        r->vote = m->from;
                        raft_persist_hard(r);
                }
                r->election_deadline_us = r->now_us + r->election_timeout_us;
                r->vote_due = true;
                raft_answer_vote(r);
        }
}

void raft_answer_vote(raft *r) {
        if (!r->vote_due || r->durable_term != r->term || r->durable_vote != r->vote)
                return;
        r->vote_due = false;
        raft_message *reply = raft_send(r, RAFT_MSG_VOTE_REPLY, r->vote);
        reply->vote_reply.granted = true;
        reply->vote_reply.campaign_term = r->term;
}

void raft_on_vote_reply(raft *r, const raft_message *m) {
        bool pre = m->vote_reply.pre;
        raft_role asking = pre ? RAFT_PRE_CANDIDATE : RAFT_CANDIDATE;
        bool current = r->role == asking && m->vote_reply.campaign_term == (pre ? r->term + 1 : r->term);
        /* Who would vote for us may already be in the term that we aim at. */
        if (m->term > r->term && !(current && pre && m->vote_reply.granted)) {
                raft_follow(r, m->term, 0);
                return;
        }
        raft_peer *p = raft_peer_of(r, m->from);
        if (!current || p == NULL)
                return;
        p->answered = true;
        p->granted |= m->vote_reply.granted;
        raft_count_votes(r);
}

void raft_on_timeout_now(raft *r, const raft_message *m) {
        if (m->term == r->term && r->role == RAFT_FOLLOWER && raft_may_campaign(r))
                raft_campaign_in_next_term(r, true);
}
