#include "raft/raft_check.h"

#include "raft/raft_members.h"
#include "raft/raft_state.h"

static const char *check_trail(const raft_trail *t) {
        if (t->last < t->base_index)
                return "the log ends before its base";
        if ((t->run_count == 0) != (t->last == t->base_index))
                return "entries without a run, or a run without entries";
        if (t->run_count > 0 && t->runs[0].first != t->base_index + 1)
                return "the first run doesn't begin behind the base";
        if (t->run_count > 0 && t->runs[0].term < t->base_term)
                return "the first run's term is below the base's";
        if (t->run_count > 0 && t->runs[t->run_count - 1].first > t->last)
                return "the last run begins behind the last entry";
        for (uint32_t i = 1; i < t->run_count; i++)
                if (t->runs[i].first <= t->runs[i - 1].first || t->runs[i].term <= t->runs[i - 1].term)
                        return "runs don't rise in index and term";
        return NULL;
}

static const char *check_history(const raft *r) {
        for (uint32_t i = 0; i < r->history_count; i++) {
                if (!raft_members_are_valid(&r->history[i].configuration))
                        return "a configuration that isn't one";
                if (r->history[i].index > r->trail.last)
                        return "a configuration behind the end of the log";
                if (i > 0 && r->history[i].index <= r->history[i - 1].index)
                        return "configurations don't rise in index";
                if (i > 0 && r->history[i].index <= r->commit && i + 1 < r->history_count)
                        return "a configuration is kept that can't be rolled back to";
        }
        const raft_configuration *c = raft_configuration_in_use(r);
        uint32_t others = 0, peers = 0;
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                peers += r->peers[i].id != 0 ? 1 : 0;
                others += c != NULL && i < c->count && c->members[i].id != r->o.id ? 1 : 0;
                if (r->peers[i].id != 0 && (c == NULL || raft_members_find(c, r->peers[i].id) == NULL))
                        return "a peer that is no member";
        }
        return peers == others ? NULL : "a member without a peer";
}

static const char *check_progress(const raft *r, const raft_peer *p) {
        if (p->match > r->trail.last)
                return "a member has more than the leader";
        if (p->next <= p->match)
                return "next isn't above match";
        if (p->next > r->trail.last + 1)
                return "next is behind the end of the log";
        if (p->state != RAFT_SNAPSHOT && p->next <= r->trail.base_index)
                return "what a member needs isn't in the log, and it gets no snapshot";
        if (p->flight_count > r->o.window_messages)
                return "more appends are on their way than the window allows";
        if (p->state != RAFT_STREAM && p->flight_count != 0)
                return "appends on their way to a member that doesn't stream";
        if (p->flight_count == 0 && p->flight_bytes != 0)
                return "bytes on their way without an append";
        if (p->round_confirmed > r->round)
                return "a round was confirmed before it began";
        return NULL;
}

static const char *check_leader(const raft *r) {
        if (r->leader != r->o.id)
                return "a leader follows somebody else";
        if (r->vote != r->o.id || r->durable_term != r->term || r->durable_vote != r->o.id)
                return "a leader without its own durable vote";
        if (raft_trail_last_term(&r->trail) != r->term || r->accepted_term != r->term)
                return "a leader whose log doesn't end in its term";
        if (r->term_first <= r->trail.base_index ? r->commit < r->term_first
                                                 : raft_trail_term_at(&r->trail, r->term_first) != r->term)
                return "a leader has lost the first entry of its term";
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                const char *broken = r->peers[i].id == 0 ? NULL : check_progress(r, &r->peers[i]);
                if (broken != NULL)
                        return broken;
        }
        return NULL;
}

static const char *check_role(const raft *r) {
        if (r->role == RAFT_CANDIDATE && r->vote != r->o.id)
                return "a candidate that didn't vote for itself";
        if ((r->role == RAFT_CANDIDATE || r->role == RAFT_PRE_CANDIDATE) && r->leader != 0)
                return "a candidate that follows somebody";
        if (r->role == RAFT_FOLLOWER && r->leader == r->o.id)
                return "a follower of itself";
        if (r->o.learner && r->role != RAFT_FOLLOWER)
                return "a learner that stands for election";
        if (r->storage_failed && r->role != RAFT_FOLLOWER)
                return "storage has failed and the node has not stepped down";
        if (r->role != RAFT_LEADER && r->transfer_to != 0)
                return "a transfer without leadership";
        if (r->role == RAFT_LEADER && r->asked_round != 0)
                return "a leader that asks another one";
        return NULL;
}

static const char *check_log(const raft *r) {
        if (r->commit < r->trail.base_index || r->commit > r->trail.last)
                return "the commit index is outside of the log";
        if (r->durable > r->trail.last || r->durable < r->trail.base_index)
                return "what is durable is outside of the log";
        if (r->durable_term > r->term)
                return "the term on disk is above the current one";
        if (raft_trail_last_term(&r->trail) > r->term)
                return "the log has a term that was never reached";
        if (r->verified > r->trail.last)
                return "more is proven than there is";
        return NULL;
}

const char *raft_check(const raft *r) {
        const char *broken = check_trail(&r->trail);
        if (broken == NULL)
                broken = check_log(r);
        if (broken == NULL)
                broken = check_history(r);
        if (broken == NULL)
                broken = check_role(r);
        if (broken == NULL && r->role == RAFT_LEADER)
                broken = check_leader(r);
        bool rounds_fit = r->ticket <= r->round + 1 && r->own_ticket <= r->ticket && r->answered <= r->own_ticket;
        if (broken == NULL && (!rounds_fit || r->asked_round > r->round))
                broken = "a read has a round that nobody can answer";
        return broken;
}
