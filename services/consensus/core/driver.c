#include "core/driver.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/entries.h"
#include "core/proposals.h"
#include "raft/raft_check.h"

enum { RUNS_AT_FIRST = 64 };

_Static_assert((int) PROPOSALS_MAX >= (int) DRIVER_PENDING_COUNT_MAX, "what is taken in fits the table");
_Static_assert((int) ENTRIES_COUNT_MAX / 2 >= (int) DRIVER_TAIL_ENTRIES_MAX, "what isn't durable fits the memory");

typedef struct staged {
        driver_proposal proposal;
        bool answers; /* somebody waits: not a barrier of our own */
} staged;

struct driver {
        raft *raft;                /* in raft_memory */
        void *raft_memory;
        raft_run *runs;
        raft_output out;
        entries *entries;
        proposals *proposals;
        reads reads;
        stream stream;
        answers answers;
        rq_uuid database_id;
        uint64_t clock_us;
        rq_rng rng;
        bool stopping;
        /* Notes of this turn. */
        bool has_persisted, has_failed;
        raft_persisted persisted;
        raft_index compacted;
        uint64_t staged_bytes;
        staged staged[DRIVER_PENDING_COUNT_MAX + 2];
};

static rq_err build(driver *d, const driver_options *options) {
        const raft_options raft_o = {
                .id = options->id, .voters = options->voters, .voter_count = options->voter_count, .learner = options->learner,
                .term = options->term, .vote = options->vote, .commit = options->commit,
                .base_index = options->base_index, .base_term = options->base_term,
                .uncommitted_bytes_max = DRIVER_PENDING_BYTES_MAX, .tail_entries_max = DRIVER_TAIL_ENTRIES_MAX,
        };
        d->raft_memory = malloc(raft_bytes(&raft_o));
        d->runs = calloc(RUNS_AT_FIRST, sizeof *d->runs);
        d->entries = entries_new(options->last_index);
        d->proposals = proposals_new();
        if (d->raft_memory == NULL || d->runs == NULL || d->entries == NULL || d->proposals == NULL)
                return RQ_ENOMEM;
        d->database_id = options->database_id;
        d->clock_us = options->clock_us;
        d->rng = rq_rng_seeded(options->random_seed);
        return raft_init(d->raft_memory, &raft_o, d->runs, RUNS_AT_FIRST, &d->raft);
}

rq_err driver_new(const driver_options *options, driver **ret_driver) {
        driver *d = calloc(1, sizeof *d);
        if (d == NULL)
                return RQ_ENOMEM;
        reads_init(&d->reads);
        rq_err r = build(d, options);
        if (r < 0) {
                (void) driver_free(d);
                return r;
        }
        *ret_driver = d;
        return RQ_OK;
}

driver *driver_free(driver *d) {
        if (d == NULL)
                return NULL;
        reads_done(&d->reads);
        answers_done(&d->answers);
        d->entries = entries_free(d->entries);
        d->proposals = proposals_free(d->proposals);
        free(d->runs);
        free(d->raft_memory);
        free(d);
        return NULL;
}

/* The core doesn't allocate: room for what a step may need is made before. */
static rq_err make_room_for_runs(driver *d) {
        if (raft_run_room(d->raft) >= RAFT_RUNS_PER_STEP)
                return RQ_OK;
        uint32_t capacity = (raft_trail_of(d->raft)->run_count + RAFT_RUNS_PER_STEP) * 2;
        raft_run *more = calloc(capacity, sizeof *more);
        if (more == NULL)
                return RQ_ENOMEM;
        free(raft_give_runs(d->raft, more, capacity));
        d->runs = more;
        return RQ_OK;
}

rq_err driver_restore(driver *d, raft_term term, raft_index last, uint64_t uncommitted_bytes) {
        rq_err r = make_room_for_runs(d);
        return r < 0 ? r : raft_restore(d->raft, term, last, uncommitted_bytes);
}

rq_err driver_restored(driver *d) { return raft_restored(d->raft); }

static uint64_t uncommitted_bytes(const driver *d) {
        return raft_trail_bytes_behind(raft_trail_of(d->raft), raft_commit_of(d->raft)) + d->staged_bytes;
}

static rq_err check_admission(const driver *d) {
        if (d->stopping)
                return RQ_ECANCELED;
        if (raft_role_of(d->raft) != RAFT_LEADER || d->has_failed)
                return RQ_ENOTLEADER;
        return RQ_OK;
}

rq_err driver_propose(driver *d, const driver_proposal *proposal, rq_bytes body) {
        rq_err r = check_admission(d);
        if (r < 0)
                return r;
        if (body.size > RECORD_BODY_BYTES_MAX)
                return RQ_ETOOBIG;
        uint32_t count = entries_staged(d->entries);
        uint64_t waiting = uncommitted_bytes(d);
        if (proposals_count(d->proposals) + count >= DRIVER_PENDING_COUNT_MAX ||
            (waiting > 0 && waiting + body.size > DRIVER_PENDING_BYTES_MAX))
                return RQ_EFULL;
        r = entries_stage(d->entries, body);
        if (r < 0)
                return r;
        d->staged[count] = (staged) { .proposal = *proposal, .answers = true };
        d->staged_bytes += RECORD_HEADER_BYTES + body.size;
        return RQ_OK;
}

rq_err driver_read(driver *d, request_origin from, bool strong, uint64_t deadline_us, raft_index min_index, rq_bytes query) {
        rq_err r = check_admission(d);
        if (r < 0)
                return r;
        if (d->reads.count >= DRIVER_PENDING_COUNT_MAX ||
            (d->reads.bytes > 0 && d->reads.bytes + query.size > DRIVER_PENDING_BYTES_MAX))
                return RQ_EFULL;
        return reads_add(&d->reads, from, strong, deadline_us, min_index, query);
}

void driver_persisted(driver *d, const raft_persisted *persisted) {
        d->has_persisted = true;
        d->persisted = *persisted; /* the newest covers all before it */
}

void driver_storage_failed(driver *d) { d->has_failed = true; }
void driver_stop(driver *d) { d->stopping = true; }

void driver_gateway_gone(driver *d, uint32_t gateway) {
        proposals_gateway_gone(d->proposals, gateway);
        reads_gateway_gone(&d->reads, gateway);
}

rq_err driver_fetch(driver *d, const stream_fetch *fetch, const rq_uuid *stream_id) {
        rq_err r = stream_open(&d->stream, fetch, stream_id, raft_trail_of(d->raft), &d->database_id);
        if (r < 0)
                return r;
        proposals_results_lost(d->proposals, fetch->from - 1, &d->answers);
        if (fetch->clock_us > d->clock_us)
                d->clock_us = fetch->clock_us;
        return RQ_OK;
}

rq_err driver_applied(driver *d, raft_index applied, raft_index checkpoint) {
        rq_err r = stream_acknowledged(&d->stream, applied, checkpoint);
        if (r >= 0 && d->stream.state == STREAM_OPEN)
                proposals_applied(d->proposals, applied);
        return r;
}

void driver_store_gone(driver *d) { stream_close(&d->stream); }
void driver_compacted(driver *d, raft_index index) { d->compacted = index; }

static rq_err step(driver *d, const raft_event *event) {
        rq_err r = raft_step(d->raft, event, &d->out);
        rq_assert(raft_check(d->raft) == NULL);
        return r;
}

static void accept_staged(driver *d, const driver_proposal *proposal, raft_index index, raft_term term, uint64_t wall_us) {
        /* Hazard 12: strictly rising, also if the wall clock is set back. */
        d->clock_us = wall_us > d->clock_us ? wall_us : d->clock_us + 1;
        record_header header = {
                .kind = proposal->kind, .flags = proposal->kind == RECORD_SQL ? RECORD_CRITICAL : 0,
                .feature_level = record_kind_level(proposal->kind), .index = index, .term = term, .clock_us = d->clock_us,
                .seed = rq_rng_next(&d->rng), .step_budget = proposal->step_budget, .database_id = d->database_id,
        };
        entries_accept(d->entries, &header);
}

static void refuse_staged(driver *d, uint32_t from, answer_reason reason, const char *text) {
        uint32_t end = from + entries_staged(d->entries);
        for (uint32_t i = from; i < end; i++)
                if (d->staged[i].answers)
                        answers_add(&d->answers, d->staged[i].proposal.from, OUTCOME_REFUSED, reason, 0, text);
        entries_unstage(d->entries);
}

static void step_events(driver *d, uint64_t now_us, uint64_t wall_us) {
        if (d->has_failed)
                (void) step(d, &(raft_event) { .type = RAFT_EV_FAILED, .now_us = now_us });
        else if (d->has_persisted)
                (void) step(d, &(raft_event) { .type = RAFT_EV_PERSISTED, .now_us = now_us, .persisted = d->persisted });
        if (d->compacted != 0)
                (void) step(d, &(raft_event) { .type = RAFT_EV_COMPACTED, .now_us = now_us, .compacted_index = d->compacted });
        if (raft_deadline_us(d->raft) <= now_us && !d->stopping)
                (void) step(d, &(raft_event) { .type = RAFT_EV_TICK, .now_us = now_us });
        d->has_persisted = false;
        d->compacted = 0;

        if (d->out.noop_index != 0) {
                /* Taken in only while leading, so nothing is staged before it. */
                rq_assert(entries_staged(d->entries) == 0);
                rq_err r = entries_stage(d->entries, (rq_bytes) {0});
                rq_assert(r >= 0); /* an entry that is counted and isn't there */
                accept_staged(d, &(driver_proposal) { .kind = RECORD_NOOP }, d->out.noop_index, d->out.noop_term, wall_us);
        }
}

/* All proposals of the turn, and one barrier for all its strong reads. */
static void step_proposals(driver *d, uint64_t now_us, uint64_t wall_us) {
        bool barrier = d->reads.fresh_strong_count > 0 && entries_stage(d->entries, (rq_bytes) {0}) >= 0;
        uint32_t count = entries_staged(d->entries), place = 0;
        if (barrier)
                d->staged[count - 1] = (staged) { .proposal = { .kind = RECORD_BARRIER } };
        if (count > 0) {
                rq_err r = step(d, &(raft_event) {
                        .type = RAFT_EV_PROPOSE, .now_us = now_us,
                        .propose = { .entry_bytes = entries_staged_bytes(d->entries), .count = count },
                });
                for (; r >= 0 && place < d->out.proposed_count; place++) {
                        raft_index index = d->out.proposed_first + place;
                        raft_term term = raft_term_of(d->raft);
                        const staged *s = &d->staged[place];
                        accept_staged(d, &s->proposal, index, term, wall_us);
                        if (s->answers)
                                proposals_add(d->proposals, index, term, s->proposal.from, s->proposal.deadline_us);
                        else
                                reads_assign(&d->reads, true, index);
                }
                if (r == RQ_ENOTLEADER)
                        refuse_staged(d, place, REASON_NO_LEADER, "this node has stopped leading");
                else if (place < count)
                        refuse_staged(d, place, REASON_OVERLOADED, "too many writes are waiting to be committed");
        }
        d->staged_bytes = 0;
        if (d->reads.fresh_strong_count > 0)
                reads_refuse_fresh(&d->reads, true, &d->answers, REASON_OVERLOADED, "the log took no entry for this read");
}

static void step_reads(driver *d, uint64_t now_us) {
        if (d->reads.fresh_weak_count == 0)
                return;
        if (step(d, &(raft_event) { .type = RAFT_EV_READ, .now_us = now_us }) < 0)
                reads_refuse_fresh(&d->reads, false, &d->answers, REASON_NO_LEADER, "this node has stopped leading");
        else
                reads_assign(&d->reads, false, d->out.read_round);
}

static void work_through_output(driver *d, uint64_t now_us) {
        static const char failed[] = "the disk of the log has failed; the write may or may not survive";
        if (d->out.commit != 0) {
                proposals_committed(d->proposals, d->out.commit, raft_trail_of(d->raft), &d->answers);
                reads_committed(&d->reads, d->out.commit);
        }
        if (d->out.reads_ready_round != 0)
                reads_round_ready(&d->reads, d->out.reads_ready_round, d->out.reads_ready_index);
        if (d->out.reads_failed_round != 0)
                reads_refuse_rounds(&d->reads, d->out.reads_failed_round, &d->answers, REASON_NO_LEADER, "this node has stopped leading");
        if (raft_storage_failed(d->raft)) {
                proposals_give_up(d->proposals, &d->answers, failed);
                reads_refuse_barriers(&d->reads, &d->answers, REASON_NO_LEADER, "the disk of the log has failed");
        }
        proposals_expire(d->proposals, now_us, &d->answers);
        reads_expire(&d->reads, now_us, &d->answers);
        entries_trim(d->entries, raft_durable_of(d->raft));
}

void driver_turn(driver *d, uint64_t now_us, uint64_t wall_us, driver_plan *ret_plan) {
        raft_output_reset(&d->out);
        /* Without memory for a run no new term can begin: the next turn tries again. */
        if (make_room_for_runs(d) >= 0) {
                step_events(d, now_us, wall_us);
                step_proposals(d, now_us, wall_us);
                step_reads(d, now_us);
        }
        work_through_output(d, now_us);

        const raft_trail *trail = raft_trail_of(d->raft);
        *ret_plan = (driver_plan) {
                .persist = d->out.persist.wanted, .hard = d->out.persist.hard,
                .term = d->out.persist.term, .vote = d->out.persist.vote,
                .first = d->out.persist.first, .last = d->out.persist.last,
                .previous_term = d->out.persist.first > 0 ? raft_trail_term_at(trail, d->out.persist.first - 1) : 0,
                .when_durable = d->out.persist.when_durable,
                .committed = d->out.commit != 0, .state_changed = d->out.state_changed,
        };
}

uint64_t driver_deadline_us(const driver *d) {
        uint64_t deadline = d->stopping ? UINT64_MAX : raft_deadline_us(d->raft);
        uint64_t proposals_deadline = proposals_deadline_us(d->proposals);
        if (proposals_deadline < deadline)
                deadline = proposals_deadline;
        return d->reads.deadline_us < deadline ? d->reads.deadline_us : deadline;
}

answers *driver_answers(driver *d) { return &d->answers; }
read_request *driver_next_read(const driver *d) { return reads_next_ready(&d->reads); }
void driver_read_passed_on(driver *d, read_request *read) { reads_remove(&d->reads, read); }

bool driver_next_batch(const driver *d, driver_batch *ret_batch) {
        driver_batch batch = { .stream_id = d->stream.id, .commit = raft_commit_of(d->raft) };
        if (!stream_wants(&d->stream, batch.commit, raft_commit_is_known(d->raft), &batch.first, &batch.last, &batch.bytes_max))
                return false;
        batch.previous = batch.first - 1;
        batch.previous_term = raft_trail_term_at(raft_trail_of(d->raft), batch.previous);
        batch.in_memory = batch.first >= entries_first(d->entries);
        *ret_batch = batch;
        return true;
}

bool driver_batch_fits(driver *d, uint64_t bytes) { return stream_fits(&d->stream, bytes); }
void driver_batch_sent(driver *d, uint32_t count, uint64_t bytes) { stream_sent(&d->stream, count, bytes); }

rq_bytes driver_entry_piece(const driver *d, raft_index first, raft_index last, size_t bytes_max, raft_index *ret_last) {
        return entries_piece(d->entries, first, last, bytes_max, ret_last);
}

const raft *driver_raft(const driver *d) { return d->raft; }
const stream *driver_stream(const driver *d) { return &d->stream; }
uint64_t driver_clock_us(const driver *d) { return d->clock_us; }
uint32_t driver_pending_count(const driver *d) { return proposals_count(d->proposals); }
uint32_t driver_read_count(const driver *d) { return d->reads.count; }
uint64_t driver_staged_bytes(const driver *d) { return d->staged_bytes; }
uint64_t driver_memory_bytes(const driver *d) { return entries_bytes(d->entries); }
