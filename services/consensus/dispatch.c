#include "dispatch.h"

#include <inttypes.h>

#include "admission.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "divergence.h"
#include "feature_level.h"
#include "feed.h"
#include "log/log_fields.h"
#include "members.h"
#include "snapshot_in.h"
#include "snapshot_out.h"
#include "probes.h"
#include "removals.h"
#include "status.h"

_Static_assert((int) OUTCOME_COMMITTED == (int) RQ__REQUEST_FAILED__OUTCOME__COMMITTED &&
               (int) OUTCOME_UNKNOWN == (int) RQ__REQUEST_FAILED__OUTCOME__UNKNOWN &&
               (int) OUTCOME_DROPPED == (int) RQ__REQUEST_FAILED__OUTCOME__DROPPED, "outcomes are those of the message");
_Static_assert((int) REASON_STORE_FAILED == (int) RQ__REQUEST_FAILED__REASON__STORE_FAILED &&
               (int) REASON_DISK_FULL == (int) RQ__REQUEST_FAILED__REASON__DISK_FULL &&
               (int) REASON_INVALID == (int) RQ__REQUEST_FAILED__REASON__INVALID, "reasons are those of the message");

enum { SMALL_BODY_BYTES = 256, SNAPSHOT_BODY_BYTES = 512, MARKS_MAX = 8 };

static uint64_t deadline_of(uint64_t timeout_us) {
        uint64_t now_us = rq_clock_mono_us();
        return timeout_us == 0 || timeout_us > UINT64_MAX - now_us ? UINT64_MAX : now_us + timeout_us;
}

static void send_failed(ipc_link *link, const answer *a) {
        uint8_t packed[512];
        Rq__RequestFailed body = RQ__REQUEST_FAILED__INIT;
        body.outcome = (Rq__RequestFailed__Outcome) a->outcome;
        body.reason = (Rq__RequestFailed__Reason) a->reason;
        body.index = a->index;
        body.text = (char *) (uintptr_t) a->text;
        rq_assert(rq__request_failed__get_packed_size(&body) <= sizeof packed);
        size_t size = rq__request_failed__pack(&body, packed);
        /* A gateway that doesn't read its answers gets none. */
        (void) ipc_link_send(link, IPC_REQUEST_FAILED, a->to.request_id, rq_bytes_of(packed, size), (rq_bytes) {0});
}

void dispatch_send_answers(consensus *c) {
        answers *list = driver_answers(c->driver);
        for (size_t i = 0; i < list->count; i++) {
                consensus_gateway *gateway = consensus_gateway_of(c, list->v[i].to.gateway);
                if (gateway != NULL)
                        send_failed(gateway->link, &list->v[i]);
        }
        list->count = 0;
}

/* Nothing has happened: says why. */
static rq_err refuse(consensus *c, ipc_link *link, uint64_t request_id, rq_err err) {
        char why[400];
        answer a = { .to = { .request_id = request_id }, .outcome = OUTCOME_REFUSED, .reason = REASON_OTHER, .text = rq_err_text(err) };
        switch (err) {
        case RQ_ENOTLEADER:
                a.reason = REASON_NO_LEADER;
                a.text = c->storage_failed ? "the disk of the log has failed"
                       : c->unformed ? "this node is in no cluster yet"
                       : c->removed ? "this node was removed from the cluster" : "there is no leader";
                break;
        case RQ_EFULL:
                a.reason = REASON_OVERLOADED;
                a.text = "too many requests are waiting for the log";
                break;
        case RQ_ENOMEM:
                a.reason = REASON_OVERLOADED;
                break;
        case RQ_ECANCELED:
                a.reason = REASON_STOPPING;
                a.text = "the node is stopping";
                break;
        case RQ_ENOSPC:
                a.reason = REASON_DISK_FULL;
                a.text = "the disk is full";
                break;
        case RQ_ETOOBIG:
                a.reason = REASON_INVALID;
                a.text = "the request is larger than a log entry may be";
                break;
        case RQ_EINVAL:
                a.reason = REASON_INVALID;
                a.text = "a request of a kind that this version doesn't know";
                break;
        case RQ_EVERSION: /* until all members know it; a gateway keeps queued writes so long */
                feature_level_say_why(c, why, sizeof why);
                a.text = why;
                break;
        case RQ_EDIVERGED:
                a.reason = REASON_STORE_FAILED;
                a.text = "this node's database does not belong to its log: see the journal of rq-consensus";
                break;
        case RQ_EIO:
                a.reason = REASON_NO_LEADER;
                a.text = "the disk of the log has failed";
                break;
        default:
                break;
        }
        c->requests_refused++;
        send_failed(link, &a);
        return RQ_OK;
}

/* What the store can never apply or answer must not be taken. */
static bool store_misfits(const consensus *c) { return driver_stream(c->driver)->state == STREAM_MISFIT; }

rq_err dispatch_admit(consensus *c, size_t body_bytes) {
        if (store_misfits(c))
                return RQ_EDIVERGED;
        /* Somebody else's log takes it. */
        if (c->writer == NULL || raft_role_of(driver_raft(c->driver)) != RAFT_LEADER)
                return RQ_OK;
        rq_err r = log_writer_admits(c->writer, RECORD_HEADER_BYTES + body_bytes, c->write_bytes + driver_staged_bytes(c->driver));
        bool full = r == RQ_ENOSPC;
        uint32_t suppressed;
        if (full && rq_log_allowed(&c->limit_full, &suppressed)) {
                const char *fields[] = { RQ_MSG_DISK_FULL, NULL };
                rq_log_write(LOG_ERR, fields, "The disk of %s is full (or a quota, or the limit on the size of files: LimitFSIZE=, ulimit -f): "
                             "writes are refused until there is space", c->o.dir_path);
        }
        if (!full && c->disk_full)
                rq_log_event(LOG_NOTICE, RQ_MSG_SPACE_BACK, "There is space in %s again: writes are accepted", c->o.dir_path);
        c->disk_full = full;
        return r;
}

static consensus_gateway *gateway_from(ipc_link *link) {
        consensus_gateway *gateway = ipc_link_data(link);
        rq_assert(gateway != NULL && gateway->link == link);
        return gateway;
}

static rq_err on_propose(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        Rq__Propose *propose = rq__propose__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (propose == NULL)
                return RQ_EPROTO;
        driver_proposal proposal = {
                .from = { .gateway = gateway_from(link)->number, .request_id = frame->request_id },
                .kind = (uint8_t) propose->kind,
                .deadline_us = deadline_of(propose->timeout_us),
                .step_budget = propose->step_budget,
        };
        rq_err r = driver_takes(proposal.kind) && propose->kind <= UINT8_MAX ? RQ_OK : RQ_EINVAL;
        rq_arena_reset(c->arena);
        /* The result is to come from this node's store: without space it would come late, or never. */
        if (r >= 0 && c->store_full)
                r = RQ_ENOSPC;
        if (r >= 0)
                r = feature_level_admit(c, proposal.kind, frame->payload);
        if (r >= 0)
                r = dispatch_admit(c, frame->payload.size);
        if (r >= 0)
                r = driver_propose(c->driver, &proposal, frame->payload);
        if (r < 0)
                return refuse(c, link, frame->request_id, r);
        c->proposals_taken++;
        return RQ_OK;
}

/* A clock that has gone back, as of a machine that slept, is no proof. */
static bool is_fresh(const consensus *c, uint64_t freshness_us) {
        const raft *r = driver_raft(c->driver);
        uint64_t at_us = raft_contact_us(r), now_us = rq_clock_mono_us();
        if (at_us == 0) /* no leader at present: as it was when there was one */
                at_us = c->contact_us;
        return at_us != 0 && raft_commit_is_known(r) && now_us >= at_us && now_us - at_us <= freshness_us;
}

static rq_err on_read(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        Rq__Read *read = rq__read__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (read == NULL)
                return RQ_EPROTO;
        Rq__ReadLevel level = read->level;
        uint64_t timeout_us = read->timeout_us, min_index = read->min_index;
        uint64_t freshness_us = level == RQ__READ_LEVEL__LEVEL_LINEARIZABLE ? read->freshness_us : 0;
        bool strict = read->freshness_strict;
        rq_arena_reset(c->arena);

        rq_err r = level == RQ__READ_LEVEL__LEVEL_WEAK || level == RQ__READ_LEVEL__LEVEL_LINEARIZABLE ||
                   level == RQ__READ_LEVEL__LEVEL_STRONG ? RQ_OK : RQ_EINVAL;
        driver_read_level wanted = level == RQ__READ_LEVEL__LEVEL_WEAK ? DRIVER_READ_WEAK
                                 : level == RQ__READ_LEVEL__LEVEL_STRONG ? DRIVER_READ_STRONG : DRIVER_READ_LINEARIZABLE;
        if (r >= 0 && store_misfits(c))
                r = RQ_EDIVERGED;
        if (freshness_us > 0 && is_fresh(c, freshness_us)) {
                wanted = DRIVER_READ_LOCAL;
                raft_index commit = strict ? raft_appliable_of(driver_raft(c->driver)) : 0;
                min_index = commit > min_index ? commit : min_index;
        }
        if (r >= 0 && wanted == DRIVER_READ_STRONG)
                r = dispatch_admit(c, 0);
        const request_origin from = { .gateway = gateway_from(link)->number, .request_id = frame->request_id };
        if (r >= 0)
                r = driver_read(c->driver, from, wanted, deadline_of(timeout_us), min_index, frame->payload);
        if (r == RQ_ENOTLEADER && wanted == DRIVER_READ_LOCAL) /* the driver refuses all for lack of a leader; what is fresh enough needs none */
                r = feed_local_read(c, from, min_index, deadline_of(timeout_us), frame->payload);
        if (r < 0)
                return refuse(c, link, frame->request_id, r);
        c->reads_taken++;
        return RQ_OK;
}

/* --- handing leadership over ------------------------------------------------ */

static void send_transfer_done(consensus *c, uint32_t gateway_number, uint64_t request_id, Rq__TransferDone__Outcome outcome, const char *text) {
        consensus_gateway *gateway = consensus_gateway_of(c, gateway_number);
        if (gateway == NULL)
                return;
        uint8_t packed[512];
        Rq__TransferDone body = RQ__TRANSFER_DONE__INIT;
        body.outcome = outcome;
        body.text = (char *) (uintptr_t) text;
        rq_assert(rq__transfer_done__get_packed_size(&body) <= sizeof packed);
        size_t size = rq__transfer_done__pack(&body, packed);
        (void) ipc_link_send(gateway->link, IPC_TRANSFER_DONE, request_id, rq_bytes_of(packed, size), (rq_bytes) {0});
}

/* Whether it can be begun; 0: to whom it may concern. */
static Rq__TransferDone__Outcome transfer_target(const consensus *c, const char *node_id, raft_id *ret_to) {
        const raft *r = driver_raft(c->driver);
        const membership *m = driver_membership(c->driver, NULL);
        *ret_to = 0;
        raft_id leader = raft_leader_of(r);
        if (leader == 0 || m == NULL)
                return RQ__TRANSFER_DONE__OUTCOME__NO_LEADER;
        uint32_t others = 0;
        for (uint32_t i = 0; i < m->count; i++) {
                raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                others += m->members[i].voter && id != leader;
                if (node_id[0] == '\0' || strcmp(m->members[i].node_id, node_id) != 0)
                        continue;
                if (id == leader)
                        return RQ__TRANSFER_DONE__OUTCOME__ALREADY_LEADER;
                if (!m->members[i].voter)
                        return RQ__TRANSFER_DONE__OUTCOME__NOT_A_VOTER;
                *ret_to = id;
        }
        if (others == 0 && node_id[0] == '\0')
                return RQ__TRANSFER_DONE__OUTCOME__NO_PEER;
        return node_id[0] == '\0' || *ret_to != 0 ? RQ__TRANSFER_DONE__OUTCOME__DONE : RQ__TRANSFER_DONE__OUTCOME__NOT_FOUND;
}

static consensus_transfer *free_transfer(consensus *c) {
        for (size_t i = 0; i < CONSENSUS_TRANSFERS_MAX; i++)
                if (!c->transfers[i].pending)
                        return &c->transfers[i];
        return NULL;
}

static rq_err on_transfer(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        Rq__Transfer *body = rq__transfer__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        raft_id to;
        Rq__TransferDone__Outcome outcome = transfer_target(c, body->node_id, &to);
        bool wait = body->wait;
        uint64_t deadline_us = deadline_of(body->timeout_us);
        rq_arena_reset(c->arena);

        uint32_t gateway = gateway_from(link)->number;
        raft_id leader = raft_leader_of(driver_raft(c->driver));
        consensus_transfer *place = free_transfer(c);
        const char *text = "";
        if (outcome == RQ__TRANSFER_DONE__OUTCOME__DONE && wait && place == NULL) {
                outcome = RQ__TRANSFER_DONE__OUTCOME__FAILED;
                text = "too many of these requests at a time";
        } else if (outcome == RQ__TRANSFER_DONE__OUTCOME__DONE && driver_transfer(c->driver, to) < 0) {
                outcome = RQ__TRANSFER_DONE__OUTCOME__FAILED;
                text = "no member is ready to take over";
        }
        if (outcome == RQ__TRANSFER_DONE__OUTCOME__DONE && wait)
                *place = (consensus_transfer) { .gateway = gateway, .request_id = frame->request_id, .deadline_us = deadline_us,
                                         .leader = leader, .pending = true };
        else
                send_transfer_done(c, gateway, frame->request_id, outcome, text);
        return RQ_OK;
}

void dispatch_send_transfers(consensus *c) {
        const raft *r = driver_raft(c->driver);
        uint64_t now_us = 0;
        for (size_t i = 0; i < CONSENSUS_TRANSFERS_MAX; i++) {
                consensus_transfer *t = &c->transfers[i];
                if (!t->pending)
                        continue;
                if (now_us == 0)
                        now_us = rq_clock_mono_us();
                bool over = raft_leader_of(r) != 0 && raft_leader_of(r) != t->leader;
                bool given_up = raft_role_of(r) == RAFT_LEADER && !raft_transfer_is_under_way(r);
                if (over)
                        send_transfer_done(c, t->gateway, t->request_id, RQ__TRANSFER_DONE__OUTCOME__DONE, "");
                else if (given_up)
                        send_transfer_done(c, t->gateway, t->request_id, RQ__TRANSFER_DONE__OUTCOME__FAILED, "the other node did not take over in time");
                else if (t->deadline_us <= now_us)
                        send_transfer_done(c, t->gateway, t->request_id, RQ__TRANSFER_DONE__OUTCOME__TIMEOUT, "");
                else
                        continue;
                t->pending = false;
        }
}

/* --- removing a member ------------------------------------------------------ */

_Static_assert((int) REMOVE_OUTCOME_DONE == (int) RQ__REMOVE_DONE__OUTCOME__DONE && (int) REMOVE_OUTCOME_TIMEOUT == (int) RQ__REMOVE_DONE__OUTCOME__TIMEOUT &&
               (int) REMOVE_OUTCOME_NO_LEADER == (int) RQ__REMOVE_DONE__OUTCOME__NO_LEADER, "outcomes are those of the message");

void dispatch_send_removed(consensus *c, uint32_t gateway_number, uint64_t request_id, rq_remove_outcome outcome, const char *text) {
        consensus_gateway *gateway = consensus_gateway_of(c, gateway_number);
        if (gateway == NULL)
                return;
        uint8_t packed[PEER_TEXT_MAX + 64];
        Rq__RemoveDone body = RQ__REMOVE_DONE__INIT;
        body.outcome = (Rq__RemoveDone__Outcome) outcome;
        body.text = (char *) (uintptr_t) text;
        rq_assert(rq__remove_done__get_packed_size(&body) <= sizeof packed);
        size_t size = rq__remove_done__pack(&body, packed);
        (void) ipc_link_send(gateway->link, IPC_REMOVE_DONE, request_id, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static rq_err on_remove(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        Rq__Remove *body = rq__remove__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        const bool fits = strlen(body->node_id) <= MEMBERSHIP_NODE_MAX && body->node_id[0] != '\0';
        (void) snprintf(node_id, sizeof node_id, "%.*s", MEMBERSHIP_NODE_MAX, body->node_id);
        const uint64_t deadline_us = deadline_of(body->timeout_us);
        rq_arena_reset(c->arena);
        if (fits)
                removals_add(c, gateway_from(link)->number, frame->request_id, node_id, deadline_us);
        else /* no node has such a name */
                dispatch_send_removed(c, gateway_from(link)->number, frame->request_id, REMOVE_OUTCOME_DONE, "");
        return RQ_OK;
}

/* --- status ----------------------------------------------------------------- */

static rq_err on_status_get(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        Rq__StatusGet *body = rq__status_get__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        const bool probe = body->probe && ipc_link_role(link) == IPC_GATEWAY;
        rq_arena_reset(c->arena);
        if (probe && !c->unformed) {
                probes_add(c, gateway_from(link)->number, frame->request_id);
                return RQ_OK;
        }
        rq_err r = status_document(c, NULL, &document);
        if (r < 0)
                return r;
        (void) ipc_link_send(link, IPC_STATUS, frame->request_id, (rq_bytes) {0}, rq_buf_bytes(&document));
        return RQ_OK;
}

static bool read_uuid(ProtobufCBinaryData bytes, rq_uuid *ret_uuid) {
        *ret_uuid = (rq_uuid) {0};
        if (bytes.len != 0 && bytes.len != RQ_UUID_BYTES)
                return false;
        if (bytes.len == RQ_UUID_BYTES)
                memcpy(ret_uuid->bytes, bytes.data, RQ_UUID_BYTES);
        return true;
}

/* Its version goes to other nodes and to the journal: what doesn't look like one is left out, with all that belongs to it. */
static peer_profile profile_of(const Rq__Fetch *body) {
        peer_profile profile = { .digest = body->profile, .extensions = body->extensions };
        const size_t size = strlen(body->sqlite_version);
        bool valid = profile.digest != 0 && size > 0 && size <= OUTCOMES_VERSION_MAX;
        for (size_t i = 0; i < size && valid; i++)
                valid = body->sqlite_version[i] > ' ' && body->sqlite_version[i] <= '~';
        if (!valid)
                return (peer_profile) {0};
        memcpy(profile.sqlite_version, body->sqlite_version, size);
        return profile;
}

/* It would go on serving level none: of another cluster, maybe. */
static void tell_misfit(consensus *c, const char *reason) {
        enum { MISFIT_MINOR = 6 };
        uint8_t packed[256];
        ipc_link *store = c->store != NULL ? ipc_connector_link(c->store) : NULL;
        Rq__Misfit body = RQ__MISFIT__INIT;
        body.reason = (char *) (uintptr_t) reason;
        const size_t size = rq__misfit__get_packed_size(&body);
        rq_assert(size <= sizeof packed); /* one of stream.c's sentences */
        (void) rq__misfit__pack(&body, packed);
        if (store != NULL && ipc_link_protocol_minor(store) >= MISFIT_MINOR)
                (void) ipc_link_send(store, IPC_MISFIT, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static void open_stream(consensus *c, const stream_fetch *fetch) {
        const rq_uuid stream_id = rq_uuid_random();
        uint32_t suppressed;
        if (driver_fetch(c->driver, fetch, &stream_id) >= 0)
                return;
        const char *reason = driver_stream(c->driver)->misfit;
        tell_misfit(c, reason);
        if (rq_log_allowed(&c->limit_store, &suppressed)) {
                char index[64];
                const char *fields[] = { RQ_MSG_STORE_MISMATCH, rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, fetch->from), NULL };
                rq_log_write(LOG_ERR, fields, "The store doesn't fit the log: %s. Nothing is sent to it, and it serves nothing", reason);
        }
}

static rq_err on_fetch(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        (void) link;
        Rq__Fetch *body = rq__fetch__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        stream_fetch fetch = {
                .from = body->from_index, .applied_term = body->applied_term,
                .clock_us = body->clock_us, .checkpoint = body->checkpoint_index,
        };
        bool valid = read_uuid(body->database_id, &fetch.database_id);
        const peer_profile profile = profile_of(body);
        rq_arena_reset(c->arena);
        if (!valid)
                return RQ_EPROTO;
        divergence_on_fetch(c->divergence, fetch.from > 0 ? fetch.from - 1 : 0, &profile);

        if (fetch.from > 0 && snapshot_receipt_on_fetch(c->receipt, fetch.from - 1, fetch.applied_term))
                return RQ_OK;
        c->last_fetch = fetch;
        c->feed_failed = false;
        open_stream(c, &fetch);
        dispatch_send_state(c, NULL); /* ready, or not any more */
        return RQ_OK;
}

static rq_err on_applied(void *arg, ipc_link *link, const ipc_frame *frame) {
        consensus *c = arg;
        (void) link;
        Rq__Applied *body = rq__applied__unpack(rq_arena_allocator(c->arena), frame->body.size, frame->body.data);
        if (body == NULL)
                return RQ_EPROTO;
        raft_index applied = body->applied_index, checkpoint = body->checkpoint_index;
        outcome_mark marks[MARKS_MAX];
        size_t mark_count = 0;
        for (; mark_count < body->n_marks && mark_count < MARKS_MAX; mark_count++)
                marks[mark_count] = (outcome_mark) { .index = body->marks[mark_count]->index, .hash = body->marks[mark_count]->hash };
        c->store_full = body->disk_full;
        rq_arena_reset(c->arena);
        divergence_on_marks(c->divergence, marks, mark_count);
        return driver_applied(c->driver, applied, checkpoint);
}

static const ipc_rule gateway_rules[] = {
        { IPC_PROPOSE,    IPC_GATEWAY, SMALL_BODY_BYTES, IPC_PAYLOAD_BYTES_MAX, on_propose },
        { IPC_READ,       IPC_GATEWAY, SMALL_BODY_BYTES, IPC_PAYLOAD_BYTES_MAX, on_read },
        { IPC_TRANSFER,   IPC_GATEWAY, MEMBERSHIP_NODE_MAX + SMALL_BODY_BYTES, 0, on_transfer },
        { IPC_REMOVE,     IPC_GATEWAY, MEMBERSHIP_NODE_MAX + SMALL_BODY_BYTES, 0, on_remove },
        { IPC_STATUS_GET, IPC_GATEWAY | IPC_BACKUP, SMALL_BODY_BYTES, 0, on_status_get },
        { IPC_JOIN_CHECKED, IPC_GATEWAY, SMALL_BODY_BYTES, 0, admission_on_checked },
        { IPC_JOIN_CREDENTIALS, IPC_GATEWAY, 0, PEER_JOIN_CREDENTIALS_MAX, admission_on_credentials },
};

static rq_err on_snapshot_head(void *arg, ipc_link *link, const ipc_frame *frame) {
        (void) link;
        return snapshot_sends_on_head(((consensus *) arg)->sends, frame);
}

static rq_err on_snapshot_chunk(void *arg, ipc_link *link, const ipc_frame *frame) {
        (void) link;
        return snapshot_sends_on_chunk(((consensus *) arg)->sends, frame);
}

static rq_err on_snapshot_failed(void *arg, ipc_link *link, const ipc_frame *frame) {
        (void) link;
        return snapshot_sends_on_failed(((consensus *) arg)->sends, frame);
}

static rq_err on_install_state(void *arg, ipc_link *link, const ipc_frame *frame) {
        (void) link;
        return snapshot_receipt_on_state(((consensus *) arg)->receipt, frame);
}

static const ipc_rule store_rules[] = {
        { IPC_SNAPSHOT_HEAD,   IPC_STORE, SNAPSHOT_BODY_BYTES, PEER_SNAPSHOT_STATE_MAX, on_snapshot_head },
        { IPC_SNAPSHOT_CHUNK,  IPC_STORE, SNAPSHOT_BODY_BYTES, PEER_SNAPSHOT_DATA_MAX, on_snapshot_chunk },
        { IPC_SNAPSHOT_FAILED, IPC_STORE, SNAPSHOT_BODY_BYTES, 0, on_snapshot_failed },
        { IPC_INSTALL_STATE,   IPC_STORE, SNAPSHOT_BODY_BYTES, 0, on_install_state },
        { IPC_FETCH,      IPC_STORE, SMALL_BODY_BYTES, 0, on_fetch },
        { IPC_APPLIED,    IPC_STORE, SMALL_BODY_BYTES, 0, on_applied },
        { IPC_STATUS_GET, IPC_STORE, SMALL_BODY_BYTES, 0, on_status_get },
};

/* What is told of the leader: ourselves by our own words, others by theirs. */
static void describe_leader(consensus *c, Rq__NodeState *body) {
        raft_id leader = raft_leader_of(driver_raft(c->driver));
        peers_view view;
        if (leader == c->raft_id && leader != 0) {
                body->leader_id = c->identity.node_id;
                body->leader_raft_addr = (char *) (uintptr_t) c->o.config.raft_addr;
                body->leader_api_addr = (char *) (uintptr_t) c->o.config.api_addr;
        } else if (leader != 0 && peers_view_of(c->peers, leader, &view)) {
                body->leader_id = (char *) (uintptr_t) view.node_id;
                body->leader_raft_addr = (char *) (uintptr_t) view.raft_addr;
                body->leader_api_addr = (char *) (uintptr_t) view.api_addr;
        }
}

/* A member that is to be a voter, and counts in no majority yet. */
static bool is_catching_up(const consensus *c) {
        const membership *m = driver_membership(c->driver, NULL);
        const member *self = m != NULL && !c->removed ? membership_find(m, c->raft_id) : NULL;
        return self != NULL && !self->stays && !self->outgoing && (!self->voter || m->joint);
}

void dispatch_send_state(consensus *c, ipc_link *link) {
        uint8_t packed[2048];
        const raft *r = driver_raft(c->driver);
        Rq__NodeState body = RQ__NODE_STATE__INIT;
        body.node_id = c->identity.node_id;
        body.disk_uuid = (ProtobufCBinaryData) { .data = c->identity.disk_uuid.bytes, .len = RQ_UUID_BYTES };
        body.cluster_id = (ProtobufCBinaryData) { .data = c->cluster_id.bytes, .len = RQ_UUID_BYTES };
        raft_role role = raft_role_of(r);
        body.role = role == RAFT_LEADER ? RQ__NODE_STATE__ROLE__LEADER
                  : c->not_a_voter || c->starts.file.is_old_copy || (!c->unformed && !raft_is_voter(r)) ? RQ__NODE_STATE__ROLE__LEARNER
                  : role == RAFT_CANDIDATE || role == RAFT_PRE_CANDIDATE ? RQ__NODE_STATE__ROLE__CANDIDATE : RQ__NODE_STATE__ROLE__FOLLOWER;
        body.term = raft_term_of(r);
        const membership *members = driver_membership(c->driver, NULL);
        body.members = members != NULL ? members->count : 0;
        describe_leader(c, &body);
        body.ready = raft_leader_of(r) != 0 && !store_misfits(c) &&
                     (role == RAFT_LEADER ? raft_commit_is_current(r) : raft_commit_is_known(r));
        body.catching_up = is_catching_up(c);
        size_t size = rq__node_state__get_packed_size(&body);
        if (size > sizeof packed)
                return; /* addresses are checked with the configuration; a gateway can do without */
        (void) rq__node_state__pack(&body, packed);
        for (int i = 0; i < CONSENSUS_GATEWAYS_MAX; i++)
                if (c->gateways[i].link != NULL && (link == NULL || c->gateways[i].link == link))
                        (void) ipc_link_send(c->gateways[i].link, IPC_NODE_STATE, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static void on_gateway_up(void *arg, ipc_link *link) {
        consensus *c = arg;
        int place = 0;
        while (place < CONSENSUS_GATEWAYS_MAX && c->gateways[place].link != NULL)
                place++;
        if (place == CONSENSUS_GATEWAYS_MAX) {
                ipc_link_close(link);
                return;
        }
        c->gateways[place] = (consensus_gateway) { .link = link, .number = ++c->gateway_number };
        ipc_link_set_data(link, &c->gateways[place]);
        dispatch_send_state(c, link);
}

static void on_gateway_down(void *arg, ipc_link *link) {
        consensus *c = arg;
        consensus_gateway *gateway = ipc_link_data(link);
        if (gateway == NULL)
                return; /* there was no place for it */
        driver_gateway_gone(c->driver, gateway->number);
        admission_gateway_gone(&c->admission);
        *gateway = (consensus_gateway) {0};
}

static void on_store_up(void *arg, ipc_link *link) {
        (void) arg;
        (void) link; /* it begins with FETCH */
}

static void on_store_down(void *arg, ipc_link *link) {
        consensus *c = arg;
        (void) link;
        c->store_full = false;
        driver_store_gone(c->driver);
        c->last_fetch = (stream_fetch) {0};
        snapshot_sends_store_gone(c->sends);
        snapshot_receipt_store_gone(c->receipt);
}

static void on_turn_end(void *arg, ipc_link *link) {
        (void) link;
        consensus_wake(arg);
}

ipc_handlers dispatch_gateway_handlers(consensus *c) {
        return (ipc_handlers) {
                .rules = gateway_rules, .rule_count = sizeof gateway_rules / sizeof gateway_rules[0],
                .on_up = on_gateway_up, .on_down = on_gateway_down, .on_turn_end = on_turn_end, .arg = c,
        };
}

ipc_handlers dispatch_store_handlers(consensus *c) {
        return (ipc_handlers) {
                .rules = store_rules, .rule_count = sizeof store_rules / sizeof store_rules[0],
                .on_up = on_store_up, .on_down = on_store_down, .on_turn_end = on_turn_end, .arg = c,
        };
}
