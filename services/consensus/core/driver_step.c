/* Steps of the core, and the way of what is staged into the log. */
#include <stdlib.h>

#include "base/assert.h"
#include "core/driver_state.h"
#include "load_chunk.h"
#include "raft/raft_check.h"

bool driver_takes(uint8_t kind) { return kind == RECORD_SQL || kind == RECORD_LOAD_CHUNK || kind == RECORD_ABORT_GROUP; }

void driver_set_now(driver *d, uint64_t now_us) {
        if (now_us > d->now_us)
                d->now_us = now_us;
}

/* The core doesn't allocate: room for what a step may need is made before. */
rq_err driver_make_room_for_runs(driver *d, uint32_t runs) {
        if (raft_run_room(d->raft) >= runs)
                return RQ_OK;
        uint32_t capacity = (raft_trail_of(d->raft)->run_count + runs) * 2;
        raft_run *more = calloc(capacity, sizeof *more);
        if (more == NULL)
                return RQ_ENOMEM;
        free(raft_give_runs(d->raft, more, capacity));
        d->runs = more;
        return RQ_OK;
}

static rq_err make_room(driver *d, uint32_t runs) {
        if (d->spare == NULL)
                d->spare = malloc(sizeof *d->spare);
        if (d->spare == NULL)
                return RQ_ENOMEM;
        d->body.size = 0;
        rq_err r = rq_buf_reserve(&d->body, MEMBERSHIP_BYTES_MAX);
        if (r >= 0)
                r = membership_history_reserve(&d->members, 1);
        if (r >= 0)
                r = entries_reserve(d->entries, 0, RECORD_HEADER_BYTES + MEMBERSHIP_BYTES_MAX);
        return r < 0 ? r : driver_make_room_for_runs(d, runs + RAFT_RUNS_PER_STEP);
}

/* Hazard 12: strictly rising, also if the wall clock is set back. */
static uint64_t next_clock_us(driver *d) {
        uint64_t wall_us = d->wall_us + (d->now_us - d->turn_us);
        d->clock_us = wall_us > d->clock_us ? wall_us : d->clock_us + 1;
        return d->clock_us;
}

static record_header header_of(driver *d, uint8_t kind, raft_index index, raft_term term, uint64_t seed) {
        return (record_header) {
                .kind = kind, .flags = driver_takes(kind) ? RECORD_CRITICAL : 0, .feature_level = record_kind_level(kind),
                .index = index, .term = term, .clock_us = next_clock_us(d), .seed = seed, .database_id = d->database_id,
        };
}

static void take_messages(driver *d) {
        for (uint32_t i = 0; i < d->out.message_count; i++)
                if (d->message_tail - d->message_head < DRIVER_MESSAGES_MAX)
                        d->messages[d->message_tail++ % DRIVER_MESSAGES_MAX] = d->out.messages[i];
        d->out.message_count = 0;
}

/* The core has appended the first entry of its term, or a configuration. */
static void take_appended(driver *d) {
        raft_index index = d->out.appended_index, ignored;
        const raft_configuration *configuration = d->out.appended_configuration;
        if (index == 0)
                return;
        record_header header = header_of(d, configuration != NULL ? RECORD_CONFIGURATION : RECORD_NOOP, index,
                                         d->out.appended_term, driver_new_seed(d));
        if (configuration != NULL) {
                const membership *latest = membership_history_latest(&d->members, &ignored);
                const membership *known = d->proposed != NULL ? d->proposed : latest;
                /* Its members are those in use, and those proposed, which were measured. */
                rq_err r = membership_of_configuration(configuration, known, latest, d->spare);
                rq_assert(r >= 0);
                r = membership_encode(d->spare, &d->body);
                rq_assert(r >= 0);
                membership_history_add(&d->members, index, d->spare);
                d->spare = NULL;
        }
        entries_append(d->entries, &header, rq_buf_bytes(&d->body));
        d->out.appended_index = 0;
}

/* Not leading any more, in a step of its own: no term begins in the same one. Own ones wait for the next
 * leader. A member learns of its own by the entries that are committed instead. */
static void return_staged(driver *d) {
        uint32_t count = entries_staged(d->entries);
        for (uint32_t i = 0; i < count; i++) {
                proposal *own = d->staged[i].own;
                if (own == NULL)
                        continue;
                if (own->barrier) {
                        reads_retry_barrier(&d->reads, own->seed);
                        proposals_cancel(d->proposals, own);
                } else if (own->silent) {
                        proposals_cancel(d->proposals, own);
                } else if (proposals_wait(d->proposals, own, entries_staged_body(d->entries, i)) < 0) {
                        answers_add(&d->answers, own->from, OUTCOME_REFUSED, REASON_OVERLOADED, 0, rq_err_text(RQ_ENOMEM));
                        proposals_cancel(d->proposals, own);
                }
        }
        entries_unstage(d->entries);
        d->staged_bytes = 0;
}

static void note_leader(driver *d) {
        bool has_leader = raft_leader_of(d->raft) != 0;
        if (d->has_leader && !has_leader)
                d->no_leader_since_us = d->now_us;
        d->has_leader = has_leader;
        if (entries_staged(d->entries) > 0 && raft_role_of(d->raft) != RAFT_LEADER)
                return_staged(d);
}

rq_err driver_step(driver *d, const raft_event *event, uint32_t runs) {
        rq_err r = make_room(d, runs);
        if (r < 0)
                return r;
        raft_event now = *event;
        now.now_us = d->now_us;
        r = raft_step(d->raft, &now, &d->out);
        rq_assert(raft_check(d->raft) == NULL);
        note_leader(d);
        if (r < 0)
                return r;
        take_messages(d);
        if (event->type != RAFT_EV_PROPOSE)
                take_appended(d);
        return RQ_OK;
}

bool driver_can_append(const driver *d) {
        return raft_role_of(d->raft) == RAFT_LEADER && !raft_transfer_is_under_way(d->raft) && !d->has_failed;
}

bool driver_has_room(const driver *d, size_t body_bytes) {
        const raft_trail *trail = raft_trail_of(d->raft);
        raft_index commit = raft_commit_of(d->raft);
        uint64_t bytes = raft_trail_bytes_behind(trail, commit) + d->staged_bytes;
        /* What was recovered counts only by its bytes: how much of it was committed isn't known at first. */
        raft_index counted = commit > d->recovered_last ? commit : d->recovered_last;
        uint64_t count = (trail->last > counted ? trail->last - counted : 0) + entries_staged(d->entries);
        return count < DRIVER_PENDING_COUNT_MAX && (bytes == 0 || bytes + RECORD_HEADER_BYTES + body_bytes <= DRIVER_PENDING_BYTES_MAX);
}

uint64_t driver_new_seed(driver *d) {
        uint64_t seed;
        while ((seed = rq_rng_next(&d->rng)) == 0)
                ; /* 0 is no number of a barrier */
        return seed;
}

rq_err driver_stage(driver *d, const staged *what, rq_bytes body) {
        uint32_t place = entries_staged(d->entries);
        if (place == DRIVER_STAGED_MAX)
                return RQ_EFULL;
        rq_err r = entries_stage(d->entries, body);
        if (r < 0)
                return r;
        d->staged[place] = *what;
        d->staged_bytes += RECORD_HEADER_BYTES + body.size;
        return RQ_OK;
}

/* Hazard 30: readable without knowing the body. One that can't be read is for the store to refuse. */
static void take_chunk(record_header *header, rq_bytes body) {
        load_chunk chunk;
        rq_bytes data;
        if (load_chunk_decode(body, &chunk, &data) < 0)
                return;
        header->chunk_group = chunk.group;
        header->chunk_number = chunk.number;
        header->chunk_last = chunk.last;
        header->chunk_hash = chunk.hash;
}

static void accept_staged(driver *d, const staged *s, raft_index index, raft_term term) {
        record_header header = header_of(d, s->kind, index, term, s->seed);
        header.step_budget = s->step_budget;
        if (s->kind == RECORD_LOAD_CHUNK || s->kind == RECORD_ABORT_GROUP)
                take_chunk(&header, entries_staged_body(d->entries, 0));
        entries_accept(d->entries, &header);
        if (s->own != NULL)
                proposals_append(d->proposals, s->own, index, term);
}

static void refuse_staged(driver *d, uint32_t from, uint32_t to) {
        static const char text[] = "too many writes are waiting to be committed";
        for (uint32_t i = from; i < to; i++) {
                proposal *own = d->staged[i].own;
                if (own == NULL)
                        continue;
                if (own->barrier)
                        reads_refuse_barrier(&d->reads, own->seed, &d->answers, REASON_OVERLOADED, "the log took no entry for this read");
                else if (!own->silent)
                        answers_add(&d->answers, own->from, OUTCOME_REFUSED, REASON_OVERLOADED, 0, text);
                proposals_cancel(d->proposals, own);
        }
        entries_unstage(d->entries);
}

typedef struct wanted { raft_id by; raft_index index; } wanted;

static uint32_t note_wanted(wanted *list, uint32_t count, raft_id by, raft_index index) {
        for (uint32_t i = 0; i < count; i++)
                if (list[i].by == by) {
                        list[i].index = index;
                        return count;
                }
        if (count < RAFT_MEMBERS_MAX)
                list[count++] = (wanted) { .by = by, .index = index };
        return count;
}

void driver_append_staged(driver *d) {
        uint32_t count = entries_staged(d->entries), place = 0, wanted_count = 0;
        wanted wanted_by[RAFT_MEMBERS_MAX];
        if (count == 0)
                return;
        for (uint32_t i = 0; i < count; i++)
                d->events[i] = (raft_entry) { .bytes = (uint32_t) (RECORD_HEADER_BYTES + entries_staged_body(d->entries, i).size) };
        rq_err r = driver_step(d, &(raft_event) { .type = RAFT_EV_PROPOSE, .propose = { .entries = d->events, .count = count } }, 0);
        if (r == RQ_ENOMEM)
                return; /* they stay staged, for the next turn */
        if (r == RQ_ENOTLEADER) {
                return_staged(d);
                return;
        }
        for (; r >= 0 && place < d->out.proposed_count; place++) {
                raft_index index = d->out.proposed_first + place;
                accept_staged(d, &d->staged[place], index, raft_term_of(d->raft));
                if (d->staged[place].own == NULL)
                        wanted_count = note_wanted(wanted_by, wanted_count, d->staged[place].from, index);
        }
        d->staged_bytes = 0;
        if (r >= 0)
                take_appended(d);
        refuse_staged(d, place, count);
        /* Who has sent it waits for the commit. */
        for (uint32_t i = 0; i < wanted_count; i++)
                (void) driver_step(d, &(raft_event) {
                        .type = RAFT_EV_COMMIT_WANTED, .peer = { .id = wanted_by[i].by, .index = wanted_by[i].index },
                }, 0);
}
