/* The follower: what it takes from a leader, and what it acknowledges (thesis 3.5,
 * 3.6). */
#include <assert.h>

#include "raft/raft_members.h"
#include "raft/raft_state.h"

static bool entries_are_valid(const raft_message *m, const raft_entry *entries) {
        raft_term term = m->append.previous_term;
        for (uint32_t i = 0; i < m->append.count; i++) {
                if (entries[i].term == 0 || entries[i].term < term || entries[i].term > m->term)
                        return false;
                if (entries[i].configuration != NULL && !raft_members_are_valid(entries[i].configuration))
                        return false;
                term = entries[i].term;
        }
        return m->append.previous_term <= m->term && (m->append.previous_index != 0 || m->append.previous_term == 0)
            && m->append.previous_index <= UINT64_MAX - m->append.count;
}

/* What a leader of this term proves by this message; nothing is changed.
 * Errors: RQ_EPROTO: no correct leader can say so, it contradicts what is committed
 * or what it has proven before. */
rq_err raft_judge_append(const raft *r, const raft_message *m, const raft_entry *entries,
                         raft_append_verdict *ret_verdict) {
        const raft_trail *t = &r->trail;
        raft_index previous = m->append.previous_index, settled = r->commit;
        if (!entries_are_valid(m, entries))
                return RQ_EPROTO;
        if (m->term == r->term)
                settled = raft_max(settled, r->verified);

        raft_append_verdict v = { .fits = true };
        bool known = previous >= t->base_index && previous <= t->last;
        if (previous > t->last || (known && raft_trail_term_at(t, previous) != m->append.previous_term)) {
                if (previous <= settled)
                        return RQ_EPROTO;
                *ret_verdict = (raft_append_verdict) {0};
                return RQ_OK;
        }
        /* What was dropped from the log is committed: it isn't appended again. */
        if (previous < t->base_index)
                v.skip = (uint32_t) raft_min(t->base_index - previous, m->append.count);
        while (v.skip < m->append.count && raft_trail_term_at(t, previous + 1 + v.skip) == entries[v.skip].term)
                v.skip++;
        if (v.skip < m->append.count) {
                v.first = previous + 1 + v.skip;
                /* Only here, at a proven conflict, is anything truncated. */
                if (v.first <= settled)
                        return RQ_EPROTO;
        }
        *ret_verdict = v;
        return RQ_OK;
}

static void hear_leader(raft *r, const raft_message *m) {
        if (r->role != RAFT_FOLLOWER || m->term > r->term || r->leader != m->from)
                raft_follow(r, m->term, m->from);
        r->leader_contact_us = r->now_us;
        r->promised_to = m->from;
        r->promised_term = m->term;
        r->lateness_forgiven = false;
        r->election_deadline_us = r->now_us + r->election_timeout_us;
}

/* The leader's commit index says nothing about a suffix that isn't proven to be
 * the leader's. */
static void learn_commit(raft *r, raft_index commit) {
        raft_index reached = raft_min(commit, r->verified);
        if (reached > r->commit) {
                r->commit = reached;
                r->out->commit = reached;
                raft_history_committed(r);
        }
        if (!r->commit_known && r->commit >= commit && raft_trail_term_at(&r->trail, commit) == r->term) {
                r->commit_known = true;
                r->out->state_changed = true;
        }
}

static bool is_there_room(const raft *r, const raft_message *m, const raft_entry *entries,
                          const raft_append_verdict *v) {
        raft_trail after = r->trail; /* borrows the arrays, which truncation only shortens */
        raft_index commit = raft_max(r->commit, raft_min(m->append.commit, m->append.previous_index + m->append.count));
        if (v->first <= after.last)
                raft_trail_truncate(&after, v->first - 1);
        uint32_t runs = 0;
        raft_term term = raft_trail_last_term(&after);
        for (uint32_t i = v->skip; i < m->append.count; i++) {
                runs += entries[i].term > term || (i == v->skip && after.run_count == 0) ? 1 : 0;
                term = entries[i].term;
        }
        return raft_trail_has_room(&after, commit, m->append.count - v->skip, runs);
}

static void take(raft *r, const raft_message *m, const raft_entry *entries, const raft_append_verdict *v) {
        if (v->first <= r->trail.last) {
                raft_trail_truncate(&r->trail, v->first - 1);
                r->durable = raft_min(r->durable, v->first - 1);
                raft_history_truncate(r, v->first - 1);
        }
        r->verified = raft_max(r->verified, v->first - 1);
        learn_commit(r, m->append.commit);
        for (uint32_t i = v->skip; i < m->append.count; i++) {
                raft_index committed = raft_max(r->commit, raft_min(m->append.commit, r->trail.last));
                rq_err e = raft_trail_append(&r->trail, entries[i].term, entries[i].bytes, committed);
                assert(e == RQ_OK);
                (void) e;
                if (entries[i].configuration != NULL)
                        raft_history_add(r, r->trail.last, entries[i].configuration);
        }
        r->accepted_term = r->term;
        r->out->accepted_first = v->first;
        r->out->accepted_skip = v->skip;
        raft_persist_entries(r, v->first);
}

static void reject(raft *r, const raft_message *m) {
        raft_message *reply = raft_send(r, RAFT_MSG_APPEND_REPLY, m->from);
        raft_index previous = m->append.previous_index;
        reply->append_reply.rejected = true;
        reply->append_reply.index = previous;
        if (previous > 0) {
                reply->append_reply.hint_index = raft_trail_fit(&r->trail, previous - 1, m->append.previous_term);
                reply->append_reply.hint_term = raft_trail_term_at(&r->trail, reply->append_reply.hint_index);
        }
}

void raft_on_append(raft *r, const raft_message *m, const raft_entry *entries, const raft_append_verdict *v) {
        if (m->term < r->term) {
                reject(r, m); /* it learns our term */
                return;
        }
        hear_leader(r, m);
        if (!v->fits) {
                reject(r, m);
                return;
        }
        if (v->first != 0) {
                if (!is_there_room(r, m, entries, v))
                        return; /* as if it was lost */
                take(r, m, entries, v);
        }
        raft_index proven = m->append.previous_index + m->append.count;
        r->verified = raft_max(r->verified, proven);
        learn_commit(r, m->append.commit);
        r->ack_due = true;
        r->ack_index = raft_max(r->ack_index, proven);
        raft_acknowledge(r);
}

/* Never our own last index: only what is proven to be the leader's, and is durable
 * in a term that is. */
static raft_index acknowledgeable(const raft *r) {
        return r->durable_term == r->term ? raft_min(r->durable, r->verified) : 0;
}

void raft_acknowledge(raft *r) {
        if (!r->ack_due || r->role != RAFT_FOLLOWER || r->leader == 0 || r->durable_term != r->term)
                return;
        raft_index index = acknowledgeable(r);
        if (index < r->ack_index && index <= r->acknowledged)
                return;
        raft_send(r, RAFT_MSG_APPEND_REPLY, r->leader)->append_reply.index = index;
        r->acknowledged = index;
        r->ack_due = index < r->ack_index;
}

void raft_on_heartbeat(raft *r, const raft_message *m) {
        if (m->term >= r->term) {
                hear_leader(r, m);
                learn_commit(r, m->heartbeat.commit);
        }
        raft_message *reply = raft_send(r, RAFT_MSG_HEARTBEAT_REPLY, m->from);
        reply->heartbeat_reply.round = m->heartbeat.round;
        reply->heartbeat_reply.index = m->term >= r->term ? acknowledgeable(r) : 0;
}

/* Thesis 5.3: a log that has the snapshot's last entry keeps what follows, any other
 * is discarded, with its configurations. */
rq_err raft_install(raft *r, const raft_event *event) {
        raft_index index = event->installed.index;
        raft_term term = event->installed.term;
        const raft_configuration *c = event->installed.configuration;
        if (r->role == RAFT_LEADER || term == 0 || (c != NULL && !raft_members_are_valid(c)))
                return RQ_EINVAL;
        if (event->installed.configuration_index > index)
                return RQ_EINVAL;
        if (index <= r->trail.base_index)
                return RQ_OK;
        bool fits = raft_trail_term_at(&r->trail, index) == term;
        if (!fits && index <= r->commit)
                return RQ_EINVAL;
        if (fits) {
                raft_trail_compact(&r->trail, index);
                r->durable = raft_max(r->durable, index);
        } else {
                raft_trail_reset(&r->trail, index, term);
                r->durable = index;
                r->verified = raft_min(r->verified, index);
                r->ack_index = raft_min(r->ack_index, index);
                r->accepted_term = raft_max(r->term, term);
                raft_history_truncate(r, 0);
        }
        if (term > r->term)
                raft_follow(r, term, 0);
        if (index > r->commit) {
                r->commit = index;
                r->out->commit = index;
        }
        raft_history_installed(r, event->installed.configuration_index, c);
        raft_history_committed(r);
        return RQ_OK;
}
