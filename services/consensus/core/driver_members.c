/* What comes from the other members and goes to them. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "core/driver_state.h"

/* --- appends of a leader ---------------------------------------------------- */

/* A configuration entry among those received. */
typedef struct arrival {
        uint32_t place;               /* among them */
        membership *value;
        raft_configuration configuration;
} arrival;

typedef struct append {
        rq_bytes records;
        uint32_t term_count, configuration_count;
        arrival *arrivals;
} append;

static void append_done(append *a) {
        for (uint32_t i = 0; i < a->configuration_count && a->arrivals != NULL; i++)
                free(a->arrivals[i].value);
        free(a->arrivals);
}

/* Everything that a record says by itself and by its neighbours. Newer formats
 * can't come: a leader uses only what all members understand. */
static rq_err check_record(const driver *d, const record_header *h, const raft_message *m, uint32_t place, raft_term previous_term) {
        if (h->index != m->append.previous_index + 1 + place || h->term < previous_term || h->term == 0 || h->term > m->term ||
            !rq_uuid_equal(&h->database_id, &d->database_id))
                return RQ_EPROTO;
        return RQ_OK;
}

/* Fills d->events, without configurations. */
static rq_err check_records(driver *d, const raft_message *m, append *a) {
        raft_term term = m->append.previous_term;
        size_t at = 0;
        if (m->append.count > DRIVER_APPEND_ENTRIES_MAX)
                return RQ_EPROTO;
        for (uint32_t i = 0; i < m->append.count; i++) {
                record_header header;
                rq_bytes body;
                rq_err r = record_decode(rq_bytes_of(a->records.data + at, a->records.size - at), &header, &body);
                if (r >= 0)
                        r = check_record(d, &header, m, i, term);
                if (r < 0)
                        return r == RQ_ECORRUPT ? r : RQ_EPROTO;
                a->term_count += header.term != term;
                term = header.term;
                a->configuration_count += header.kind == RECORD_CONFIGURATION && header.index > d->members_known;
                d->events[i] = (raft_entry) { .term = term, .bytes = (uint32_t) (RECORD_HEADER_BYTES + body.size) };
                at += RECORD_HEADER_BYTES + body.size;
        }
        return at == a->records.size ? RQ_OK : RQ_EPROTO;
}

static rq_err read_configurations(driver *d, const raft_message *m, append *a) {
        size_t at = 0;
        if (a->configuration_count == 0)
                return RQ_OK;
        a->arrivals = calloc(a->configuration_count, sizeof *a->arrivals);
        if (a->arrivals == NULL)
                return RQ_ENOMEM;
        for (uint32_t i = 0, found = 0; i < m->append.count; at += record_peek_bytes(a->records.data + at), i++) {
                const uint8_t *record = a->records.data + at;
                if (record_peek_kind(record) != RECORD_CONFIGURATION || m->append.previous_index + 1 + i <= d->members_known)
                        continue;
                arrival *one = &a->arrivals[found++];
                one->place = i;
                one->value = malloc(sizeof *one->value);
                if (one->value == NULL)
                        return RQ_ENOMEM;
                rq_bytes body = rq_bytes_of(record + RECORD_HEADER_BYTES, record_peek_bytes(record) - RECORD_HEADER_BYTES);
                if (membership_decode(body, one->value) < 0)
                        return RQ_EPROTO;
                membership_to_configuration(one->value, &one->configuration);
                d->events[i].configuration = &one->configuration;
        }
        return RQ_OK;
}

/* The core has taken entries from d->out.accepted_first on: so do we. Nothing here fails. */
static void take_accepted(driver *d, const raft_message *m, append *a) {
        raft_index first = d->out.accepted_first;
        uint32_t skip = d->out.accepted_skip;
        size_t at = 0;
        for (uint32_t i = 0; i < skip; i++)
                at += record_peek_bytes(a->records.data + at);
        rq_assert(first == m->append.previous_index + 1 + skip && entries_staged(d->entries) == 0);
        if (first <= entries_last(d->entries)) {
                entries_truncate(d->entries, first, m->term);
                proposals_truncate(d->proposals, first);
                membership_history_truncate(&d->members, first);
        }
        entries_take(d->entries, first, rq_bytes_of(a->records.data + at, a->records.size - at));
        bool seeks = proposals_count(d->proposals) > 0;
        for (raft_index index = first; at < a->records.size; index++) {
                const uint8_t *record = a->records.data + at;
                if (seeks)
                        proposals_place(d->proposals, record_peek_seed(record), index, record_peek_term(record));
                if (record_peek_clock_us(record) > d->clock_us)
                        d->clock_us = record_peek_clock_us(record);
                at += record_peek_bytes(record);
        }
        for (uint32_t i = 0; i < a->configuration_count; i++)
                if (a->arrivals[i].place >= skip)
                        membership_history_add(&d->members, m->append.previous_index + 1 + a->arrivals[i].place,
                                               RQ_TAKE(a->arrivals[i].value, NULL));
}

static rq_err receive_append(driver *d, const raft_message *m, rq_bytes records) {
        RQ_CLEANUP(append_done) append a = { .records = records };
        rq_err r = check_records(d, m, &a);
        if (r >= 0)
                r = read_configurations(d, m, &a);
        if (r < 0)
                return r;
        /* What a disk that lags behind makes us hold has a limit, too. */
        if (m->append.count > 0 && entries_bytes(d->entries) + entries_replaced_bytes(d->entries) > DRIVER_PENDING_BYTES_MAX)
                return RQ_EFULL;
        r = entries_reserve(d->entries, m->append.count, records.size + RECORD_HEADER_BYTES + MEMBERSHIP_BYTES_MAX);
        if (r >= 0)
                r = membership_history_reserve(&d->members, a.configuration_count + 1);
        if (r >= 0)
                r = driver_step(d, &(raft_event) { .type = RAFT_EV_MESSAGE, .message = { .message = m, .entries = d->events } },
                                a.term_count);
        if (r >= 0 && d->out.accepted_first != 0)
                take_accepted(d, m, &a);
        d->out.accepted_first = 0;
        return r;
}

rq_err driver_receive(driver *d, const raft_message *message, rq_bytes records, uint64_t now_us) {
        driver_set_now(d, now_us);
        if (message->type == RAFT_MSG_APPEND)
                return receive_append(d, message, records);
        if (records.size > 0)
                return RQ_EPROTO;
        return driver_step(d, &(raft_event) { .type = RAFT_EV_MESSAGE, .message = { .message = message } }, 0);
}

void driver_peer_down(driver *d, raft_id id, bool refused) {
        (void) driver_step(d, &(raft_event) { .type = RAFT_EV_PEER_DOWN, .peer = { .id = id, .refused = refused } }, 0);
}

void driver_snapshot_done(driver *d, raft_id to, raft_index index) {
        (void) driver_step(d, &(raft_event) { .type = RAFT_EV_SNAPSHOT_DONE, .peer = { .id = to, .index = index } }, 0);
}

/* --- to the members --------------------------------------------------------- */

bool driver_next_message(driver *d, raft_message *ret_message) {
        if (d->message_head == d->message_tail)
                return false;
        *ret_message = d->messages[d->message_head++ % DRIVER_MESSAGES_MAX];
        return true;
}

bool driver_next_append(const driver *d, raft_id to, driver_append *ret_append) {
        driver_append a = {0};
        uint32_t count = 0;
        if (!raft_next_append(d->raft, to, &a.message, &count, &a.bytes_max))
                return false;
        if (count > DRIVER_APPEND_ENTRIES_MAX)
                count = DRIVER_APPEND_ENTRIES_MAX;
        if (a.bytes_max > DRIVER_APPEND_BYTES_MAX)
                a.bytes_max = DRIVER_APPEND_BYTES_MAX;
        raft_index held = entries_first(d->entries);
        a.first = a.message.append.previous_index + 1;
        a.last = a.first + count - 1;
        a.in_memory = a.first >= held;
        if (!a.in_memory && a.last >= held)
                a.last = held - 1; /* the disk may not have more */
        *ret_append = a;
        return true;
}

void driver_append_sent(driver *d, raft_id to, uint32_t count, uint64_t bytes, uint64_t now_us) {
        driver_set_now(d, now_us);
        raft_append_sent(d->raft, to, count, bytes, d->now_us);
}

/* --- proposals on their way to the leader ----------------------------------- */

bool driver_next_forward(driver *d, driver_forward *ret_forward) {
        raft_id leader = raft_leader_of(d->raft);
        raft_term term = raft_term_of(d->raft);
        const proposal *own = proposals_next_waiting(d->proposals);
        if (own == NULL || leader == 0 || leader == d->id || (term == d->forward_term && d->now_us < d->forward_after_us))
                return false;
        *ret_forward = (driver_forward) {
                .to = leader, .term = term, .seed = own->seed, .kind = own->kind, .step_budget = own->step_budget,
                .body = rq_bytes_of(own->body, own->body_bytes),
        };
        return true;
}

void driver_forward_sent(driver *d, const driver_forward *forward) {
        proposals_sent(d->proposals, forward->seed, forward->term, d->now_us);
}

rq_err driver_forwarded(driver *d, const driver_forward *forward) {
        /* Hazard 23: one that slept in a buffer must not be appended in another term. */
        if (d->stopping || !driver_can_append(d) || forward->term != raft_term_of(d->raft))
                return RQ_ENOTLEADER;
        if (!driver_takes(forward->kind) && forward->kind != RECORD_BARRIER)
                return RQ_EINVAL;
        if (forward->body.size > RECORD_BODY_BYTES_MAX)
                return RQ_ETOOBIG;
        if (!driver_has_room(d, forward->body.size))
                return RQ_EFULL;
        const staged s = { .from = forward->to, .seed = forward->seed, .kind = forward->kind, .step_budget = forward->step_budget };
        return driver_stage(d, &s, forward->body);
}

typedef struct refusal { rq_err err; answer_reason reason; const char *text; } refusal;

void driver_forward_refused(driver *d, raft_id from, raft_term term, uint64_t seed, rq_err err) {
        static const refusal refusals[] = {
                { RQ_EFULL, REASON_OVERLOADED, "too many requests are waiting for the leader's log" },
                { RQ_ENOMEM, REASON_OVERLOADED, "the leader is out of memory" },
                { RQ_ENOSPC, REASON_DISK_FULL, "the disk of the leader's log is full" },
                { RQ_ETOOBIG, REASON_INVALID, "the request is larger than a log entry may be" },
                { RQ_EINVAL, REASON_INVALID, "a request of a kind that the leader doesn't know" },
                { RQ_EIO, REASON_NO_LEADER, "the disk of the leader's log has failed" },
        };
        if (err == RQ_ENOTLEADER || err == RQ_ECANCELED) {
                proposals_refused(d->proposals, seed, term);
                if (from == raft_leader_of(d->raft) && term == raft_term_of(d->raft)) {
                        d->forward_term = term; /* it is handing over, perhaps */
                        d->forward_after_us = d->now_us + d->heartbeat_us;
                }
                return;
        }
        refusal is = { .reason = REASON_OTHER, .text = "the leader has refused it" };
        for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
                if (refusals[i].err == err)
                        is = refusals[i];
        proposals_refuse(d->proposals, seed, term, is.reason, is.text, &d->answers);
}

/* --- leadership and members ------------------------------------------------- */

rq_err driver_transfer(driver *d, raft_id to) {
        driver_append_staged(d); /* while they still can */
        return driver_step(d, &(raft_event) { .type = RAFT_EV_TRANSFER, .peer = { .id = to } }, 0);
}

/* Old and new together must fit a record: that is what is joint. */
static rq_err measure(const membership *wanted, const membership *latest) {
        RQ_CLEANUP(rq_freep) membership *all = malloc(sizeof *all);
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        if (all == NULL)
                return RQ_ENOMEM;
        *all = *wanted;
        for (uint32_t i = 0; latest != NULL && i < latest->count; i++) {
                if (membership_find(wanted, membership_raft_id(&latest->members[i].disk_uuid)) != NULL)
                        continue;
                if (all->count == MEMBERSHIP_COUNT_MAX)
                        return RQ_EINVAL;
                all->members[all->count] = latest->members[i];
                all->members[all->count++].outgoing = false;
        }
        return membership_encode(all, &body);
}

rq_err driver_configure(driver *d, const membership *members) {
        raft_index ignored;
        raft_configuration configuration;
        if (members->joint)
                return RQ_EINVAL;
        rq_err r = measure(members, membership_history_latest(&d->members, &ignored));
        if (r < 0)
                return r;
        driver_append_staged(d);
        membership_to_configuration(members, &configuration);
        d->proposed = members;
        r = driver_step(d, &(raft_event) { .type = RAFT_EV_CONFIGURE, .configure = &configuration }, 0);
        d->proposed = NULL;
        return r;
}
