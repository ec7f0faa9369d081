/* The leader: its first entry, proposals, commitment, configurations. */
#include <assert.h>
#include <string.h>

#include "raft/raft_members.h"
#include "raft/raft_state.h"

/* Room in the tail that proposals leave to the no-ops of later leaders: a full tail
 * that nobody may add to could never be committed. */
static uint32_t reserve(const raft *r) { return r->o.tail_entries_max / 16; }

static rq_err append_own(raft *r, const raft_configuration *c) {
        rq_err e = raft_trail_append(&r->trail, r->term, 0, r->commit);
        if (e < 0)
                return e;
        r->accepted_term = r->term;
        r->out->appended_index = r->trail.last;
        r->out->appended_term = r->term;
        if (c != NULL)
                raft_history_add(r, r->trail.last, c);
        r->out->appended_configuration = c == NULL ? NULL : raft_configuration_in_use(r);
        raft_persist_entries(r, r->trail.last);
        return RQ_OK;
}

rq_err raft_become_leader(raft *r) {
        /* Thesis 6.4 and 3.6.2: without an entry of its own term a leader knows
         * neither what is committed nor may it commit what it found. */
        rq_err e = append_own(r, NULL);
        if (e < 0)
                return e;

        r->role = RAFT_LEADER;
        r->leader = r->o.id;
        r->term_first = r->trail.last;
        r->grace_us = r->now_us;
        r->transfer_to = 0;
        r->transfer_sent = false;
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                raft_peer *p = &r->peers[i];
                if (p->id == 0)
                        continue;
                raft_progress_begin(r, p);
                p->next = r->term_first;
                raft_progress_check_base(r, p);
        }
        r->out->state_changed = true;
        raft_round_begin(r, true);
        return RQ_OK;
}

rq_err raft_append_proposals(raft *r, const raft_entry *entries, uint32_t count) {
        if (r->role != RAFT_LEADER || r->transfer_to != 0)
                return RQ_ENOTLEADER;

        raft_index first = r->trail.last + 1;
        uint32_t taken = 0;
        for (; taken < count; taken++) {
                /* The first of an empty tail is always taken: it may be larger
                 * than the limit alone. */
                uint64_t waiting = raft_trail_bytes_behind(&r->trail, r->commit);
                if (waiting > 0 && waiting + entries[taken].bytes > r->o.uncommitted_bytes_max)
                        break;
                if (!raft_trail_has_room(&r->trail, r->commit, 1 + reserve(r), 0))
                        break;
                if (raft_trail_append(&r->trail, r->term, entries[taken].bytes, r->commit) < 0)
                        break;
        }
        if (taken == 0)
                return count == 0 ? RQ_OK : RQ_EFULL;

        r->accepted_term = r->term;
        r->out->proposed_first = first;
        r->out->proposed_count = taken;
        raft_persist_entries(r, first);
        return RQ_OK;
}

static void advance_commit(raft *r) {
        raft_index reached = raft_majority(r, RAFT_MEASURE_MATCH, r->durable);

        /* Thesis 3.6.2: a leader counts replicas only for entries of its own
         * term. An older entry on a majority can still be overwritten (figure
         * 3.7); it becomes committed through the first entry of this term. */
        if (reached <= r->commit || raft_trail_term_at(&r->trail, reached) != r->term)
                return;
        r->out->state_changed |= r->commit < r->term_first;
        r->commit = reached;
        r->commit_known = true;
        r->out->commit = reached;
        raft_history_committed(r);
}

/* --- configurations (thesis 4.1 to 4.3) ------------------------------------- */

static raft_index configuration_index(const raft *r) {
        return r->history_count == 0 ? 0 : r->history[r->history_count - 1].index;
}

rq_err raft_configure(raft *r, const raft_configuration *target) {
        raft_configuration joint;
        const raft_configuration *now = raft_configuration_in_use(r);
        if (r->role != RAFT_LEADER || r->transfer_to != 0)
                return RQ_ENOTLEADER;
        if (target->joint || !raft_members_are_valid(target))
                return RQ_EINVAL;
        /* One at a time, and none before an entry of this term is committed: two
         * leaders in turn could else make majorities that don't meet (erratum to
         * the thesis of 2015). */
        if (now->joint || configuration_index(r) > r->commit || !raft_commit_is_current(r))
                return RQ_EBUSY;
        if (raft_members_difference(now, target) > 1) {
                if (!raft_members_join(now, target, &joint))
                        return RQ_EINVAL;
                target = &joint;
        }
        return append_own(r, target);
}

/* The joint configuration is committed: leave it. We are not in the committed one:
 * we have led to here without counting ourselves, and now somebody else leads. */
static void follow_up_configuration(raft *r) {
        const raft_configuration *now = raft_configuration_in_use(r);
        if (configuration_index(r) > r->commit || !raft_commit_is_current(r))
                return;
        if (now->joint) {
                raft_configuration final;
                raft_members_leave(now, &final);
                if (r->out->appended_index == 0)
                        (void) append_own(r, &final); /* no room: at the next step */
        } else if (!raft_is_voter(r) && r->transfer_to == 0 && raft_transfer(r, 0) < 0) {
                raft_follow(r, r->term, 0);
        }
}

void raft_settle(raft *r) {
        if (r->role == RAFT_LEADER)
                advance_commit(r);
        if (r->role == RAFT_LEADER)
                follow_up_configuration(r);
        if (r->role == RAFT_LEADER && r->transfer_to != 0 && !r->transfer_sent)
                raft_transfer_continue(r, false);
        if (r->role == RAFT_LEADER)
                raft_read_answer(r);
}

/* --- what members answer ---------------------------------------------------- */

void raft_on_append_reply(raft *r, const raft_message *m) {
        raft_peer *p = raft_peer_of(r, m->from);
        if (r->role != RAFT_LEADER || m->term < r->term || p == NULL)
                return;
        p->contact_us = r->now_us;
        if (m->append_reply.rejected)
                raft_progress_rejected(r, p, m);
        else
                raft_progress_acknowledged(r, p, m->append_reply.index);
}

void raft_on_heartbeat_reply(raft *r, const raft_message *m) {
        raft_peer *p = raft_peer_of(r, m->from);
        if (r->role != RAFT_LEADER || m->term < r->term || p == NULL)
                return;
        uint64_t round = m->heartbeat_reply.round;
        p->contact_us = r->now_us;
        raft_progress_heard(r, p, m->heartbeat_reply.index);
        /* A round that isn't ours yet: an answer to a heartbeat of an earlier run of ours, given by
         * who has reached this term meanwhile. */
        if (round <= p->round_confirmed || round > r->round)
                return;
        p->round_confirmed = round;
        /* Of a round so old that its time is forgotten, the lease gets nothing. */
        if (r->round - round < RAFT_ROUNDS_KEPT)
                p->round_sent_us = r->round_sent_us[round % RAFT_ROUNDS_KEPT];
}
