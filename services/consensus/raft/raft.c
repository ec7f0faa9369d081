/* raft_step: judges a message, routes an event to whom it concerns; and queries. */
#include "raft/raft.h"

#include <assert.h>
#include <string.h>

#include "raft/raft_check.h"
#include "raft/raft_members.h"
#include "raft/raft_state.h"

static size_t aligned(size_t size) { return (size + 15) & ~(size_t) 15; }

size_t raft_bytes(const raft_options *options) {
        return aligned(sizeof(raft)) + aligned(options->tail_entries_max * sizeof(uint64_t))
             + (size_t) RAFT_MEMBERS_MAX * options->window_messages * sizeof(raft_flight);
}

static bool options_are_valid(const raft_options *o) {
        if (o->id == 0 || o->read_round_first == 0 || o->base_term > o->term)
                return false;
        if (o->tail_entries_max < 2 || (o->tail_entries_max & (o->tail_entries_max - 1)) != 0)
                return false;
        if (o->window_messages == 0 || o->window_messages > RAFT_WINDOW_MAX)
                return false;
        if (o->window_bytes == 0 || o->append_bytes == 0 || o->disk_stall_us == 0)
                return false;
        return o->heartbeat_us >= 4 && o->election_us >= 2 * o->heartbeat_us && o->lease_us < o->election_us;
}

rq_err raft_init(void *memory, const raft_options *options, const raft_configuration *configuration,
                 raft_index configuration_index, raft_run *runs, uint32_t run_capacity, raft **ret_raft) {
        if (!options_are_valid(options))
                return RQ_EINVAL;
        if (configuration != NULL && !raft_members_are_valid(configuration))
                return RQ_EINVAL;
        if (configuration != NULL && configuration_index > options->base_index)
                return RQ_EINVAL;

        raft *r = memory;
        char *behind = (char *) memory + aligned(sizeof *r);
        char *behind_tail = behind + aligned(options->tail_entries_max * sizeof(uint64_t));
        memset(r, 0, sizeof *r);
        r->o = *options;
        r->now_us = options->now_us;
        r->random = options->random_seed ^ options->id; /* equal seeds must not tie */
        r->role = RAFT_FOLLOWER;
        r->term = r->durable_term = options->term;
        r->vote = r->durable_vote = options->vote;
        r->round = r->ticket = r->own_ticket = r->answered = options->read_round_first - 1;
        raft_trail_init(&r->trail, options->base_index, options->base_term, (uint64_t *) (void *) behind,
                        options->tail_entries_max);
        (void) raft_trail_give_runs(&r->trail, runs, run_capacity);
        raft_flight *flights = (raft_flight *) (void *) behind_tail;
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
                r->peers[i].flights = flights + (size_t) i * options->window_messages;
        /* A log is compacted only below its commit index. */
        r->commit = raft_max(options->commit, options->base_index);
        r->durable = options->base_index;
        if (configuration != NULL)
                raft_history_add(r, configuration_index, configuration);
        raft_draw_election_timeout(r);
        /* An earlier run may have answered a leader that has counted a lease from it, by a
         * clock that is slower than ours by a tenth. */
        uint64_t guard_us = options->lease_us + options->lease_us / 9;
        r->guard_until_us = guard_us > 0 ? options->now_us + guard_us : 0;
        /* No leader was heard in this run: after a start of all nodes there is none to wait for. */
        r->election_deadline_us = options->now_us + guard_us + raft_random_between(r, 0, options->election_us / 2);
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

rq_err raft_restore_configuration(raft *r, raft_index index, const raft_configuration *configuration) {
        raft_index before = r->history_count == 0 ? 0 : r->history[r->history_count - 1].index;
        if (index <= before || index <= r->trail.base_index || index > r->trail.last)
                return RQ_EINVAL;
        if (!raft_members_are_valid(configuration))
                return RQ_EINVAL;
        raft_history_add(r, index, configuration);
        raft_history_committed(r);
        return RQ_OK;
}

rq_err raft_restored(raft *r) {
        if (r->commit > r->trail.last)
                return RQ_ECORRUPT;
        assert(raft_check(r) == NULL);
        return RQ_OK;
}

void raft_output_reset(raft_output *out) {
        memset(out, 0, sizeof *out);
}

/* --- effects ---------------------------------------------------------------- */

void raft_persist(raft *r) {
        r->out->persist.wanted = true;
        r->out->persist.term = r->term;
        r->out->persist.vote = r->vote;
        r->persist_last = (raft_persisted) {
                .accepted_term = r->accepted_term, .index = r->trail.last,
                .hard_term = r->term, .hard_vote = r->vote,
        };
        r->out->persist.when_durable = r->persist_last;
        if (!r->unconfirmed)
                r->unconfirmed_us = r->now_us;
        r->unconfirmed = true;
}

void raft_persist_hard(raft *r) {
        r->out->persist.hard = true;
        raft_persist(r);
}

void raft_persist_entries(raft *r, raft_index first) {
        if (r->out->persist.first == 0 || first < r->out->persist.first)
                r->out->persist.first = first;
        r->out->persist.last = r->trail.last;
        raft_persist(r);
}

/* A step has at most one of each kind of message for each member. */
raft_message *raft_send(raft *r, raft_message_type type, raft_id to) {
        assert(r->out->message_count < RAFT_STEP_MESSAGES_MAX);
        raft_message *m = &r->out->messages[r->out->message_count++];
        memset(m, 0, sizeof *m);
        m->type = type;
        m->from = r->o.id;
        m->to = to;
        m->term = r->term;
        return m;
}

/* --- events ----------------------------------------------------------------- */

static void step_persisted(raft *r, const raft_persisted *p) {
        const raft_persisted *last = &r->persist_last;
        if (r->storage_failed)
                return;
        if (p->accepted_term == last->accepted_term && p->index == last->index && p->hard_term == last->hard_term
            && p->hard_vote == last->hard_vote)
                r->unconfirmed = false;
        r->unconfirmed_us = r->now_us; /* what is left was waiting behind this one */

        if (p->hard_term == r->term) {
                r->durable_term = p->hard_term;
                r->durable_vote = p->hard_vote;
        }
        if (p->accepted_term == r->accepted_term && p->index > r->durable)
                r->durable = raft_min(p->index, r->trail.last);
        raft_answer_vote(r);
        raft_acknowledge(r);
        if (r->role == RAFT_CANDIDATE)
                raft_count_votes(r);
}

/* An fsync that failed is never tried again: what the kernel held may be gone
 * although the next one says success. The node acknowledges nothing any more. */
static void step_failed(raft *r) {
        if (r->storage_failed)
                return;
        raft_follow(r, r->term, 0);
        r->storage_failed = true;
        r->out->state_changed = true;
}

static rq_err step_compacted(raft *r, raft_index index) {
        if (index > r->commit || index > r->durable)
                return RQ_EINVAL;
        if (index > r->trail.base_index)
                raft_trail_compact(&r->trail, index);
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
                if (r->peers[i].id != 0)
                        raft_progress_check_base(r, &r->peers[i]);
        return RQ_OK;
}

static void step_peer_down(raft *r, raft_id id, bool refused) {
        raft_peer *p = raft_peer_of(r, id);
        if (r->role == RAFT_LEADER && p != NULL)
                raft_progress_link_lost(r, p);
        if (id != 0 && refused && id == r->promised_to)
                r->promised_to = 0;
        if (r->role != RAFT_FOLLOWER || id == 0 || id != r->leader)
                return;
        if (r->asked_round != 0)
                raft_read_fail(r); /* question or answer may be lost */
        if (!refused)
                return;
        /* Its process is gone, and with it its leadership: no need to wait for its
         * silence. Not all at the same moment. */
        raft_follow(r, r->term, 0);
        r->election_deadline_us = r->now_us + raft_random_between(r, r->o.heartbeat_us / 4, r->o.heartbeat_us);
}

static rq_err step_peer(raft *r, const raft_event *event) {
        raft_peer *p = raft_peer_of(r, event->peer.id);
        if (event->type == RAFT_EV_PEER_DOWN)
                step_peer_down(r, event->peer.id, event->peer.refused);
        else if (event->type == RAFT_EV_TRANSFER)
                return raft_transfer_ask(r, event->peer.id);
        else if (r->role == RAFT_LEADER && p != NULL && event->type == RAFT_EV_COMMIT_WANTED)
                p->commit_wanted = raft_max(p->commit_wanted, event->peer.index);
        else if (r->role == RAFT_LEADER && p != NULL && event->type == RAFT_EV_SNAPSHOT_DONE)
                raft_progress_snapshot_done(r, p, event->peer.index);
        return RQ_OK;
}

/* What no correct member sends, by what we know. */
static bool contradicts_us(const raft *r, const raft_message *m) {
        bool same_term = m->term == r->term, to_leader = same_term && r->role == RAFT_LEADER;
        raft_index last = r->trail.last;
        switch (m->type) {
        case RAFT_MSG_VOTE:
                return m->vote.campaign_term == 0 || m->vote.last_term > m->term || (m->vote.pre && m->vote.transfer)
                    || m->vote.campaign_term != m->term + (m->vote.pre ? 1 : 0);
        case RAFT_MSG_VOTE_REPLY:
        case RAFT_MSG_READ:
                return false;
        case RAFT_MSG_READ_REPLY:
        case RAFT_MSG_TRANSFER:
                return m->term == 0;
        case RAFT_MSG_APPEND:
        case RAFT_MSG_HEARTBEAT:
        case RAFT_MSG_TIMEOUT_NOW: /* there is one leader in a term */
                return m->term == 0 || (same_term && r->leader != 0 && r->leader != m->from);
        case RAFT_MSG_APPEND_REPLY:
                return m->term == 0 || (to_leader && !m->append_reply.rejected && m->append_reply.index > last);
        case RAFT_MSG_HEARTBEAT_REPLY:
                return m->term == 0 || (to_leader && m->heartbeat_reply.index > last);
        }
        return true;
}

static void route(raft *r, const raft_message *m, const raft_entry *entries, const raft_append_verdict *verdict) {
        switch (m->type) {
        case RAFT_MSG_VOTE:
                raft_on_vote(r, m);
                return;
        case RAFT_MSG_VOTE_REPLY:
                raft_on_vote_reply(r, m);
                return;
        case RAFT_MSG_APPEND:
                raft_on_append(r, m, entries, verdict);
                return;
        case RAFT_MSG_HEARTBEAT:
                raft_on_heartbeat(r, m);
                return;
        default:
                break;
        }
        if (m->term > r->term)
                raft_follow(r, m->term, 0);
        if (m->type == RAFT_MSG_APPEND_REPLY)
                raft_on_append_reply(r, m);
        else if (m->type == RAFT_MSG_HEARTBEAT_REPLY)
                raft_on_heartbeat_reply(r, m);
        else if (m->type == RAFT_MSG_TIMEOUT_NOW)
                raft_on_timeout_now(r, m);
        else if (m->type == RAFT_MSG_READ)
                raft_on_read(r, m);
        else if (m->type == RAFT_MSG_READ_REPLY)
                raft_on_read_reply(r, m);
        else if (m->term == r->term)
                (void) raft_transfer(r, m->transfer.target); /* who asks sees what comes of it */
}

static rq_err step_message(raft *r, const raft_message *m, const raft_entry *entries) {
        raft_append_verdict verdict = {0};
        if (m->to != r->o.id || m->from == 0 || m->from == r->o.id || contradicts_us(r, m))
                return RQ_EPROTO;
        if (m->type == RAFT_MSG_APPEND && m->term >= r->term) {
                rq_err e = raft_judge_append(r, m, entries, &verdict);
                if (e < 0)
                        return e;
        }
        if (m->from == r->promised_to && m->term > r->promised_term)
                r->promised_to = 0; /* it has given up that term itself */
        if (!r->storage_failed)
                route(r, m, entries, &verdict);
        else if (m->type == RAFT_MSG_READ)
                raft_on_read(r, m); /* refused; nothing else is answered any more */
        return RQ_OK;
}

static void begin_step(raft *r, const raft_event *event, raft_output *out) {
        if (event->now_us > r->now_us)
                r->now_us = event->now_us; /* the core's only clock */
        r->out = out;                      /* the core's only effect */
        out->message_count = 0;
        out->accepted_first = out->appended_index = out->proposed_first = 0;
        out->accepted_skip = out->proposed_count = 0;
        out->appended_term = 0;
        out->appended_configuration = NULL;
        out->read_round = 0;
        out->read_index = 0;
}

rq_err raft_step(raft *r, const raft_event *event, raft_output *out) {
        rq_err e = RQ_OK;
        begin_step(r, event, out);
        switch (event->type) {
        case RAFT_EV_TICK:
                raft_tick(r);
                break;
        case RAFT_EV_MESSAGE:
                e = step_message(r, event->message.message, event->message.entries);
                break;
        case RAFT_EV_PROPOSE:
                e = raft_append_proposals(r, event->propose.entries, event->propose.count);
                break;
        case RAFT_EV_PERSISTED:
                step_persisted(r, &event->persisted);
                break;
        case RAFT_EV_FAILED:
                step_failed(r);
                break;
        case RAFT_EV_READ:
                e = raft_read(r, event->read.weak);
                break;
        case RAFT_EV_COMPACTED:
                e = step_compacted(r, event->compacted_index);
                break;
        case RAFT_EV_PEER_DOWN:
        case RAFT_EV_COMMIT_WANTED:
        case RAFT_EV_TRANSFER:
        case RAFT_EV_SNAPSHOT_DONE:
                e = step_peer(r, event);
                break;
        case RAFT_EV_CONFIGURE:
                e = raft_configure(r, event->configure);
                break;
        case RAFT_EV_INSTALLED:
                e = raft_install(r, event);
                break;
        }
        if (e == RQ_OK)
                raft_settle(r);
        if (out->appended_configuration != NULL)
                out->appended_configuration = raft_configuration_in_use(r); /* it may have moved */
        r->out = NULL;
        assert(raft_check(r) == NULL);
        return e;
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
raft_index raft_appliable_of(const raft *r) { return raft_min(r->commit, r->durable); }
const raft_trail *raft_trail_of(const raft *r) { return &r->trail; }
bool raft_is_voter(const raft *r) { return raft_members_has_voter(raft_configuration_in_use(r), r->o.id); }
bool raft_commit_is_current(const raft *r) { return r->role == RAFT_LEADER && r->commit >= r->term_first; }
bool raft_commit_is_known(const raft *r) { return r->commit_known; }
bool raft_storage_failed(const raft *r) { return r->storage_failed; }
bool raft_transfer_is_under_way(const raft *r) { return r->transfer_to != 0; }

const raft_configuration *raft_configuration_of(const raft *r, raft_index *ret_index) {
        if (r->history_count > 0 && ret_index != NULL)
                *ret_index = r->history[r->history_count - 1].index;
        return raft_configuration_in_use(r);
}
