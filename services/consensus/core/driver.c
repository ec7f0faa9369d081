#include "core/driver.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/driver_state.h"

enum { RUNS_AT_FIRST = 64 };

_Static_assert((int) PROPOSALS_MAX >= (int) DRIVER_PENDING_COUNT_MAX, "what is taken in fits the table");
_Static_assert((int) ENTRIES_COUNT_MAX / 2 >= (int) DRIVER_TAIL_ENTRIES_MAX, "what isn't durable fits the memory");
_Static_assert((int) READ_WEAK == (int) DRIVER_READ_WEAK && (int) READ_LINEARIZABLE == (int) DRIVER_READ_LINEARIZABLE &&
               (int) READ_STRONG == (int) DRIVER_READ_STRONG, "levels are those of the reads");

/* --- life ------------------------------------------------------------------- */

static rq_err add_membership(driver *d, raft_index index, rq_bytes body, raft_configuration *ret_configuration) {
        membership *value = malloc(sizeof *value);
        rq_err r = value == NULL ? RQ_ENOMEM : membership_decode(body, value);
        if (r >= 0)
                r = membership_history_reserve(&d->members, 1);
        if (r < 0) {
                free(value);
                return r;
        }
        membership_to_configuration(value, ret_configuration);
        membership_history_add(&d->members, index, value);
        return RQ_OK;
}

static rq_err build_raft(driver *d, const driver_options *options) {
        const raft_options raft_o = {
                .id = options->id, .learner = options->learner, .term = options->term, .vote = options->vote,
                .commit = options->commit, .base_index = options->base_index, .base_term = options->base_term,
                /* A little more than is admitted here, for what the core appends itself. */
                .uncommitted_bytes_max = DRIVER_PENDING_BYTES_MAX + DRIVER_APPEND_BYTES_MAX,
                .tail_entries_max = DRIVER_TAIL_ENTRIES_MAX,
                .now_us = options->now_us, .random_seed = rq_rng_next(&d->rng),
                .read_round_first = (rq_rng_next(&d->rng) >> 1) | 1,
                .heartbeat_us = options->heartbeat_us, .election_us = options->election_us, .lease_us = options->lease_us,
                .disk_stall_us = options->disk_stall_us, .window_messages = DRIVER_WINDOW_MESSAGES,
                .window_bytes = DRIVER_WINDOW_BYTES, .append_bytes = DRIVER_APPEND_BYTES_MAX,
        };
        raft_configuration configuration;
        bool has_members = options->base_membership.size > 0;
        rq_err r = RQ_OK;
        if (has_members)
                r = add_membership(d, options->base_membership_index, options->base_membership, &configuration);
        if (r < 0)
                return r;
        d->raft_memory = malloc(raft_bytes(&raft_o));
        d->runs = calloc(RUNS_AT_FIRST, sizeof *d->runs);
        if (d->raft_memory == NULL || d->runs == NULL)
                return RQ_ENOMEM;
        return raft_init(d->raft_memory, &raft_o, has_members ? &configuration : NULL, options->base_membership_index,
                         d->runs, RUNS_AT_FIRST, &d->raft);
}

static rq_err build(driver *d, const driver_options *options) {
        d->entries = entries_new(options->last_index);
        d->proposals = proposals_new();
        if (d->entries == NULL || d->proposals == NULL)
                return RQ_ENOMEM;
        d->id = options->id;
        d->database_id = options->database_id;
        d->clock_us = options->clock_us;
        d->rng = rq_rng_seeded(options->random_seed);
        d->now_us = d->turn_us = d->no_leader_since_us = options->now_us;
        d->heartbeat_us = options->heartbeat_us;
        d->election_us = options->election_us;
        d->wait_us = options->election_us * DRIVER_WAIT_ELECTIONS;
        d->recovered_last = options->last_index;
        d->members_known = options->members_known;
        return build_raft(d, options);
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
        membership_history_done(&d->members);
        rq_buf_done(&d->body);
        d->entries = entries_free(d->entries);
        d->proposals = proposals_free(d->proposals);
        free(d->spare);
        free(d->runs);
        free(d->raft_memory);
        free(d);
        return NULL;
}

rq_err driver_restore(driver *d, raft_term term, raft_index last, uint64_t uncommitted_bytes) {
        rq_err r = driver_make_room_for_runs(d, RAFT_RUNS_PER_STEP);
        return r < 0 ? r : raft_restore(d->raft, term, last, uncommitted_bytes);
}

rq_err driver_restore_membership(driver *d, raft_index index, rq_bytes body) {
        raft_configuration configuration;
        if (index <= d->members_known)
                return RQ_OK;
        rq_err r = add_membership(d, index, body, &configuration);
        if (r < 0)
                return r;
        r = raft_restore_configuration(d->raft, index, &configuration);
        if (r < 0)
                membership_history_truncate(&d->members, index);
        return r;
}

rq_err driver_restored(driver *d) { return raft_restored(d->raft); }

/* --- notes ------------------------------------------------------------------ */

static rq_err check_admission(const driver *d) {
        if (d->stopping)
                return RQ_ECANCELED;
        /* What this node's disk doesn't take, its store will never answer. */
        if (d->has_failed || raft_storage_failed(d->raft))
                return RQ_ENOTLEADER;
        if (!d->has_leader && d->now_us - d->no_leader_since_us >= d->wait_us)
                return RQ_ENOTLEADER;
        return RQ_OK;
}

static rq_err add_proposal(driver *d, const proposal *what, proposal **ret_proposal) {
        rq_err r;
        while ((r = proposals_add(d->proposals, what, driver_new_seed(d), ret_proposal)) == RQ_EEXIST)
                ;
        return r;
}

/* To the log of this turn if it can go there, else it waits for a leader. */
static rq_err put_proposal(driver *d, proposal *own, rq_bytes body) {
        if (!driver_can_append(d))
                return proposals_wait(d->proposals, own, body);
        const staged s = { .own = own, .seed = own->seed, .kind = own->kind, .step_budget = own->step_budget };
        return driver_stage(d, &s, body);
}

rq_err driver_propose(driver *d, const driver_proposal *proposed, rq_bytes body) {
        rq_err r = check_admission(d);
        if (r < 0)
                return r;
        if (body.size > RECORD_BODY_BYTES_MAX)
                return RQ_ETOOBIG;
        uint64_t kept = proposals_bytes(d->proposals);
        if (proposals_count(d->proposals) >= DRIVER_PENDING_COUNT_MAX || !driver_has_room(d, body.size) ||
            (kept > 0 && kept + body.size > DRIVER_PENDING_BYTES_MAX))
                return RQ_EFULL;
        const proposal what = {
                .from = proposed->from, .deadline_us = proposed->deadline_us, .kind = proposed->kind,
                .step_budget = proposed->step_budget,
        };
        proposal *own;
        r = add_proposal(d, &what, &own);
        if (r < 0)
                return r;
        r = put_proposal(d, own, body);
        if (r < 0)
                proposals_cancel(d->proposals, own);
        return r;
}

rq_err driver_read(driver *d, request_origin from, driver_read_level level, uint64_t deadline_us, raft_index min_index,
                   rq_bytes query) {
        rq_err r = check_admission(d);
        if (r < 0)
                return r;
        if (d->reads.count >= DRIVER_PENDING_COUNT_MAX ||
            (d->reads.bytes > 0 && d->reads.bytes + query.size > DRIVER_PENDING_BYTES_MAX))
                return RQ_EFULL;
        r = reads_add(&d->reads, from, (read_level) level, deadline_us, min_index, query);
        if (r >= 0 && level == DRIVER_READ_LOCAL)
                reads_make_ready(&d->reads, READ_LOCAL, 0);
        return r;
}

void driver_persisted(driver *d, const raft_persisted *persisted) {
        d->has_persisted = true;
        d->persisted = *persisted; /* the newest covers all before it */
        entries_confirmed(d->entries, persisted->accepted_term);
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

void driver_compacted(driver *d, raft_index index) {
        if (index > d->compacted)
                d->compacted = index;
}

/* --- the turn --------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void step_events(driver *d) {
        rq_err r = RQ_OK;
        if (d->has_failed && !raft_storage_failed(d->raft))
                (void) driver_step(d, &(raft_event) { .type = RAFT_EV_FAILED }, 0);
        else if (d->has_persisted)
                r = driver_step(d, &(raft_event) { .type = RAFT_EV_PERSISTED, .persisted = d->persisted }, 0);
        if (r != RQ_ENOMEM)
                d->has_persisted = false;
        if (d->compacted != 0 &&
            driver_step(d, &(raft_event) { .type = RAFT_EV_COMPACTED, .compacted_index = d->compacted }, 0) != RQ_ENOMEM)
                d->compacted = 0;
        /* One that is stopping doesn't campaign, but goes on leading until it has handed over. */
        if (raft_deadline_us(d->raft) <= d->now_us && (!d->stopping || raft_role_of(d->raft) == RAFT_LEADER))
                (void) driver_step(d, &(raft_event) { .type = RAFT_EV_TICK }, 0);
}

/* Leading now: what has waited for a leader goes to the own log. */
static void stage_waiting(driver *d) {
        proposal *own;
        while (driver_can_append(d) && (own = proposals_next_waiting(d->proposals)) != NULL &&
               driver_has_room(d, own->body_bytes)) {
                const staged s = { .own = own, .seed = own->seed, .kind = own->kind, .step_budget = own->step_budget };
                if (driver_stage(d, &s, rq_bytes_of(own->body, own->body_bytes)) < 0)
                        return;
                proposals_stage(d->proposals, own);
        }
}

/* One barrier for all strong reads of the turn: an entry here, or one that is sent to the leader. */
static void ask_for_barrier(driver *d) {
        if (d->reads.fresh_count[READ_STRONG] == 0 || !d->has_leader)
                return;
        const proposal what = { .kind = RECORD_BARRIER, .barrier = true, .deadline_us = d->now_us + d->wait_us };
        proposal *own;
        rq_err r = add_proposal(d, &what, &own);
        if (r < 0)
                return; /* tried again */
        r = put_proposal(d, own, (rq_bytes) {0});
        if (r >= 0)
                reads_assign(&d->reads, READ_STRONG, own->seed);
        else
                proposals_cancel(d->proposals, own);
}

/* When nothing has come back from the leader for so long that what was sent may be lost with its
 * connection. UINT64_MAX: nothing is on its way, or something will be sent anyway. */
static uint64_t doubt_us(const driver *d) {
        const raft_id leader = raft_leader_of(d->raft);
        if (leader == 0 || leader == d->id || proposals_next_waiting(d->proposals) != NULL)
                return UINT64_MAX;
        const uint64_t sent_us = proposals_last_sent_us(d->proposals, raft_term_of(d->raft));
        return sent_us == UINT64_MAX ? UINT64_MAX : later(sent_us, d->doubted_us) + d->election_us;
}

/* A barrier behind what was sent: when it is in the log, what isn't there before it was lost. */
static void ask_for_lost(driver *d) {
        const proposal what = { .kind = RECORD_BARRIER, .barrier = true, .deadline_us = d->now_us + d->wait_us };
        proposal *own;
        if (doubt_us(d) > d->now_us || add_proposal(d, &what, &own) < 0)
                return;
        d->doubted_us = d->now_us;
        (void) proposals_wait(d->proposals, own, (rq_bytes) {0}); /* without a body nothing can fail */
}

static void step_reads(driver *d, read_level level) {
        bool too_soon = d->now_us < d->read_after_us && raft_term_of(d->raft) == d->read_term;
        if (d->reads.fresh_count[level] == 0 || too_soon)
                return;
        if (driver_step(d, &(raft_event) { .type = RAFT_EV_READ, .read = { .weak = level == READ_WEAK } }, 0) < 0)
                return; /* no leader: they wait for one */
        d->read_term = raft_term_of(d->raft);
        if (d->out.read_round == 0)
                reads_make_ready(&d->reads, level, d->out.read_index);
        else
                reads_assign(&d->reads, level, d->out.read_round);
}

/* Rounds of before. One that failed (the core says so also when a question may be
 * lost) is asked for again: of another leader at once, of the same after a while. */
static void settle_rounds(driver *d) {
        if (d->out.reads_ready_round != 0)
                reads_round_ready(&d->reads, d->out.reads_ready_round, d->out.reads_ready_index);
        if (d->out.reads_failed_round != 0 && reads_retry_rounds(&d->reads, d->out.reads_failed_round))
                d->read_after_us = d->now_us + d->heartbeat_us;
}

static void settle_barriers(driver *d) {
        proposal *ended;
        while ((ended = proposals_next_ended(d->proposals)) != NULL) {
                if (ended->index != 0)
                        reads_barrier_ready(&d->reads, ended->seed, ended->index);
                else if (ended->refused)
                        reads_refuse_barrier(&d->reads, ended->seed, &d->answers, ended->reason, ended->text);
                else
                        reads_retry_barrier(&d->reads, ended->seed);
                proposals_cancel(d->proposals, ended);
        }
}

static void give_up(driver *d) {
        static const char failed[] = "the disk of the log has failed";
        proposals_give_up(d->proposals, &d->answers, "the disk of the log has failed; the write may or may not survive");
        proposals_refuse_waiting(d->proposals, &d->answers, REASON_NO_LEADER, failed);
        reads_refuse_all(&d->reads, false, &d->answers, REASON_NO_LEADER, failed);
}

void driver_abandon(driver *d, const char *text) {
        proposals_give_up(d->proposals, &d->answers, text);
        proposals_refuse_waiting(d->proposals, &d->answers, REASON_NO_LEADER, "this node is being brought up to date");
        reads_refuse_all(&d->reads, false, &d->answers, REASON_NO_LEADER, "this node is being brought up to date");
}

/* shared/design/raft.md, rule 12: only what is committed and durable here counts,
 * for the store and for whoever waits. */
static bool work_through_commit(driver *d) {
        raft_index appliable = raft_appliable_of(d->raft);
        if (appliable <= d->appliable)
                return false;
        d->appliable = appliable;
        proposals_commit(d->proposals, appliable, raft_trail_term_at(raft_trail_of(d->raft), appliable), &d->answers);
        membership_history_commit(&d->members, appliable);
        return true;
}

static void work_through_time(driver *d) {
        if (raft_storage_failed(d->raft))
                give_up(d);
        proposals_limit_waiting(d->proposals, d->now_us + d->wait_us);
        proposals_expire(d->proposals, d->now_us, &d->answers);
        settle_barriers(d);
        if (!d->has_leader && d->now_us - d->no_leader_since_us >= d->wait_us)
                reads_refuse_all(&d->reads, true, &d->answers, REASON_NO_LEADER, "there is no leader");
        reads_expire(&d->reads, d->now_us, &d->answers);
}

void driver_turn(driver *d, uint64_t now_us, uint64_t wall_us, driver_plan *ret_plan) {
        driver_set_now(d, now_us);
        d->turn_us = d->now_us;
        d->wall_us = wall_us;
        step_events(d);
        settle_rounds(d);
        stage_waiting(d);
        ask_for_barrier(d);
        ask_for_lost(d);
        driver_append_staged(d);
        step_reads(d, READ_WEAK);
        step_reads(d, READ_LINEARIZABLE);
        settle_rounds(d); /* a lone voter's are ready at once */
        bool appliable = work_through_commit(d);
        work_through_time(d);
        entries_trim(d->entries, raft_durable_of(d->raft));

        const raft_trail *trail = raft_trail_of(d->raft);
        *ret_plan = (driver_plan) {
                .persist = d->out.persist.wanted, .hard = d->out.persist.hard,
                .term = d->out.persist.term, .vote = d->out.persist.vote,
                .first = d->out.persist.first, .last = d->out.persist.last,
                .previous_term = d->out.persist.first > 0 ? raft_trail_term_at(trail, d->out.persist.first - 1) : 0,
                .when_durable = d->out.persist.when_durable,
                .committed = d->out.commit != 0 || appliable, .state_changed = d->out.state_changed,
                .membership_changed = d->out.configuration_changed,
        };
        raft_output_reset(&d->out);
}

uint64_t driver_deadline_us(const driver *d) {
        uint64_t due_us = d->stopping && raft_role_of(d->raft) != RAFT_LEADER ? UINT64_MAX : raft_deadline_us(d->raft);
        due_us = sooner(due_us, proposals_deadline_us(d->proposals));
        due_us = sooner(due_us, d->reads.deadline_us);
        if (reads_fresh_count(&d->reads) > 0)
                due_us = sooner(due_us, d->has_leader ? later(d->read_after_us, d->turn_us + DRIVER_RETRY_US)
                                                      : d->no_leader_since_us + d->wait_us);
        if (proposals_next_waiting(d->proposals) != NULL && d->forward_after_us > d->turn_us)
                due_us = sooner(due_us, d->forward_after_us);
        return sooner(due_us, later(doubt_us(d), d->turn_us + DRIVER_RETRY_US));
}

/* --- what is to be sent, and questions -------------------------------------- */

answers *driver_answers(driver *d) { return &d->answers; }
read_request *driver_next_read(const driver *d) { return reads_next_ready(&d->reads); }
void driver_read_passed_on(driver *d, read_request *read) { reads_remove(&d->reads, read); }

bool driver_next_batch(const driver *d, driver_batch *ret_batch) {
        driver_batch batch = { .stream_id = d->stream.id, .commit = raft_appliable_of(d->raft) };
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
const membership *driver_membership(const driver *d, raft_index *ret_index) { return membership_history_latest(&d->members, ret_index); }
const membership *driver_membership_at(const driver *d, raft_index index, raft_index *ret_index) {
        return membership_history_at(&d->members, index, ret_index);
}
const stream *driver_stream(const driver *d) { return &d->stream; }
uint64_t driver_clock_us(const driver *d) { return d->clock_us; }
uint32_t driver_pending_count(const driver *d) { return proposals_count(d->proposals); }
uint32_t driver_read_count(const driver *d) { return d->reads.count; }
uint64_t driver_staged_bytes(const driver *d) { return d->staged_bytes; }
uint64_t driver_memory_bytes(const driver *d) { return entries_bytes(d->entries) + entries_replaced_bytes(d->entries); }
