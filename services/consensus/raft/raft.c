/* raft_step: routes an event to whom it concerns; and queries. */
#include "raft/raft.h"

#include <assert.h>
#include <string.h>

#include "raft/raft_check.h"
#include "raft/raft_state.h"

static size_t aligned(size_t size) { return (size + 15) & ~(size_t) 15; }

size_t raft_bytes(const raft_options *options) {
        return aligned(sizeof(raft)) + options->tail_entries_max * sizeof(uint64_t);
}

rq_err raft_init(void *memory, const raft_options *options, raft_run *runs, uint32_t run_capacity, raft **ret_raft) {
        if (options->voter_count != 1 || options->id == 0 || options->voters[0] != options->id)
                return RQ_EINVAL;
        if (options->tail_entries_max < 2 || (options->tail_entries_max & (options->tail_entries_max - 1)) != 0)
                return RQ_EINVAL;
        if (options->base_term > options->term)
                return RQ_EINVAL;

        raft *r = memory;
        *r = (raft) {
                .id = options->id, .voter_count = options->voter_count, .learner = options->learner,
                .role = RAFT_FOLLOWER, .term = options->term, .vote = options->vote,
                .durable_term = options->term, .durable_vote = options->vote,
                .uncommitted_bytes_max = options->uncommitted_bytes_max,
        };
        memcpy(r->voters, options->voters, options->voter_count * sizeof *options->voters);
        raft_trail_init(&r->trail, options->base_index, options->base_term,
                        (uint64_t *) (void *) ((char *) memory + aligned(sizeof *r)), options->tail_entries_max);
        (void) raft_trail_give_runs(&r->trail, runs, run_capacity);
        /* A log is compacted only below its commit index. */
        r->commit = options->commit > options->base_index ? options->commit : options->base_index;
        r->durable = options->base_index;
        *ret_raft = r;
        return RQ_OK;
}

rq_err raft_restore(raft *r, raft_term term, raft_index last, uint64_t uncommitted_bytes) {
        /* The term was durable before the first entry of it was written. */
        if (term > r->term)
                return RQ_ECORRUPT;
        rq_err e = raft_trail_restore(&r->trail, term, last, uncommitted_bytes);
        if (e < 0)
                return e;
        r->durable = last;
        r->accepted_term = term;
        return RQ_OK;
}

rq_err raft_restored(raft *r) {
        if (r->commit > r->trail.last)
                return RQ_ECORRUPT;
        assert(raft_check(r) == NULL);
        return RQ_OK;
}

void raft_output_reset(raft_output *out) {
        *out = (raft_output) {0};
}

uint32_t raft_own_place(const raft *r) {
        uint32_t i = 0;
        while (r->voters[i] != r->id)
                i++;
        assert(i < r->voter_count);
        return i;
}

void raft_persist(raft *r) {
        r->out->persist.wanted = true;
        r->out->persist.term = r->term;
        r->out->persist.vote = r->vote;
        r->out->persist.when_durable = (raft_persisted) {
                .accepted_term = r->accepted_term, .index = r->trail.last,
                .hard_term = r->term, .hard_vote = r->vote,
        };
}

void raft_persist_entries(raft *r, raft_index first) {
        if (r->out->persist.first == 0)
                r->out->persist.first = first;
        r->out->persist.last = r->trail.last;
        raft_persist(r);
}

static void step_tick(raft *r) {
        /* A lone voter has nobody to wait for. */
        if (r->role == RAFT_FOLLOWER && !r->storage_failed && !r->learner)
                raft_campaign(r);
        else if (r->role == RAFT_CANDIDATE)
                raft_count_votes(r);
}

static void step_persisted(raft *r, const raft_persisted *p) {
        if (r->storage_failed)
                return;
        if (p->hard_term == r->term) {
                r->durable_term = p->hard_term;
                r->durable_vote = p->hard_vote;
        }
        if (p->accepted_term == r->accepted_term && p->index > r->durable) {
                assert(p->index <= r->trail.last);
                r->durable = p->index;
        }
        if (r->role == RAFT_CANDIDATE)
                raft_count_votes(r);
        if (r->role == RAFT_LEADER)
                raft_advance_commit(r);
}

/* An fsync that failed is never tried again: what the kernel held may be gone
 * although the next one says success. The node acknowledges nothing any more. */
static void step_failed(raft *r) {
        if (r->storage_failed)
                return;
        r->storage_failed = true;
        raft_step_down(r);
}

static rq_err step_compacted(raft *r, raft_index index) {
        if (index > r->commit || index > r->durable)
                return RQ_EINVAL;
        if (index > r->trail.base_index)
                raft_trail_compact(&r->trail, index);
        return RQ_OK;
}

rq_err raft_step(raft *r, const raft_event *event, raft_output *out) {
        rq_err e = RQ_OK;
        r->now_us = event->now_us; /* the core's only clock */
        r->out = out;              /* the core's only effect */
        switch (event->type) {
        case RAFT_EV_TICK:
                step_tick(r);
                break;
        case RAFT_EV_PROPOSE:
                e = raft_append_proposals(r, event->propose.entry_bytes, event->propose.count);
                break;
        case RAFT_EV_PERSISTED:
                step_persisted(r, &event->persisted);
                break;
        case RAFT_EV_FAILED:
                step_failed(r);
                break;
        case RAFT_EV_READ:
                if (r->role == RAFT_LEADER)
                        raft_read_begin(r);
                else
                        e = RQ_ENOTLEADER;
                break;
        case RAFT_EV_COMPACTED:
                e = step_compacted(r, event->compacted_index);
                break;
        }
        r->out = NULL;
        assert(raft_check(r) == NULL);
        return e;
}

uint64_t raft_deadline_us(const raft *r) {
        if (r->storage_failed || r->learner || r->role == RAFT_LEADER)
                return UINT64_MAX;
        /* A candidate waits for its vote to be durable; one that is elected and had
         * no room for its no-op tries again. */
        return r->role == RAFT_FOLLOWER || raft_is_elected(r) ? 0 : UINT64_MAX;
}

uint32_t raft_run_room(const raft *r) { return r->trail.run_capacity - r->trail.run_count; }

raft_run *raft_give_runs(raft *r, raft_run *memory, uint32_t capacity) {
        return raft_trail_give_runs(&r->trail, memory, capacity);
}

raft_role raft_role_of(const raft *r) { return r->role; }
raft_term raft_term_of(const raft *r) { return r->term; }
raft_id raft_vote_of(const raft *r) { return r->vote; }
raft_id raft_leader_of(const raft *r) { return r->leader; }
raft_index raft_commit_of(const raft *r) { return r->commit; }
raft_index raft_durable_of(const raft *r) { return r->durable; }
const raft_trail *raft_trail_of(const raft *r) { return &r->trail; }
uint32_t raft_voter_count(const raft *r) { return r->voter_count; }
bool raft_commit_is_current(const raft *r) { return r->role == RAFT_LEADER && r->commit >= r->term_first; }
bool raft_commit_is_known(const raft *r) { return r->commit_known; }
bool raft_storage_failed(const raft *r) { return r->storage_failed; }
