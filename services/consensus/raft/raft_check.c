#include "raft/raft_check.h"

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

static const char *check_leader(const raft *r) {
        if (r->leader != r->id)
                return "a leader follows somebody else";
        if (r->vote != r->id || r->durable_term != r->term || r->durable_vote != r->id)
                return "a leader without its own durable vote";
        if (raft_trail_last_term(&r->trail) != r->term || r->accepted_term != r->term)
                return "a leader whose log doesn't end in its term";
        if (r->term_first <= r->trail.base_index ? r->commit < r->term_first
                                                 : raft_trail_term_at(&r->trail, r->term_first) != r->term)
                return "a leader has lost the first entry of its term";
        for (uint32_t i = 0; i < r->voter_count; i++)
                if (r->match[i] > r->trail.last)
                        return "a voter has more than the leader";
        return NULL;
}

const char *raft_check(const raft *r) {
        const char *broken = check_trail(&r->trail);
        if (broken != NULL)
                return broken;
        if (r->commit < r->trail.base_index || r->commit > r->trail.last)
                return "the commit index is outside of the log";
        if (r->durable > r->trail.last)
                return "more is durable than there is";
        if (r->durable_term > r->term)
                return "the term on disk is above the current one";
        if (raft_trail_last_term(&r->trail) > r->term)
                return "the log has a term that was never reached";
        if (r->round_answered > r->round)
                return "a read round was answered before it began";
        if (r->role == RAFT_CANDIDATE && r->vote != r->id)
                return "a candidate that didn't vote for itself";
        if (r->learner && r->role != RAFT_FOLLOWER)
                return "a learner that stands for election";
        if (r->storage_failed && r->role != RAFT_FOLLOWER)
                return "storage has failed and the node has not stepped down";
        return r->role == RAFT_LEADER ? check_leader(r) : NULL;
}
