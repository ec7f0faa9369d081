#include "snapshot_in.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "dispatch.h"
#include "folder.h"
#include "log/log_fields.h"
#include "members.h"
#include "rebase.h"
#include "snapshot_verdict.h"

enum {
        ASK_US       = 1000 * 1000,      /* between two questions for a snapshot */
        PATIENCE_US  = 90 * 1000 * 1000, /* without a chunk: another sender may begin */
        BODY_BYTES   = 256,
};

typedef enum receipt_phase {
        RECEIPT_NONE,
        RECEIPT_STAGING,
        RECEIPT_COMMITTING, /* the store makes it the database */
} receipt_phase;

struct snapshot_receipt {
        consensus *c;
        receipt_phase phase;
        peer_snapshot_offer offer;
        rq_buf membership, state;
        uint64_t session;        /* ours, with the store */
        uint64_t offset, heard_us, asked_us;
        rq_task rebase;
        bool rebase_wanted;
};

/* --- to the store ----------------------------------------------------------- */

static bool is_misfit(const snapshot_receipt *s) { return driver_stream(s->c->driver)->state == STREAM_MISFIT; }
static ipc_link *store_of(const snapshot_receipt *s) { return s->c->store != NULL ? ipc_connector_link(s->c->store) : NULL; }

static void send_begin(snapshot_receipt *s) {
        uint8_t packed[BODY_BYTES];
        Rq__InstallBegin body = RQ__INSTALL_BEGIN__INIT;
        Rq__ImageId id = RQ__IMAGE_ID__INIT;
        if (store_of(s) == NULL)
                return; /* when it is back */
        id.disk_id = (ProtobufCBinaryData) { .data = s->offer.disk_id.bytes, .len = RQ_UUID_BYTES };
        id.index = s->offer.index;
        id.term = s->offer.index_term;
        id.digest = s->offer.digest;
        body.session = s->session;
        body.id = &id;
        body.bytes = s->offer.bytes;
        body.forward_only = !is_misfit(s);
        size_t size = rq__install_begin__pack(&body, packed);
        (void) ipc_link_send(store_of(s), IPC_INSTALL_BEGIN, 0, rq_bytes_of(packed, size), rq_buf_bytes(&s->state));
}

static void send_commit(snapshot_receipt *s) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotSession body = RQ__SNAPSHOT_SESSION__INIT;
        body.session = s->session;
        size_t size = rq__snapshot_session__pack(&body, packed);
        if (store_of(s) != NULL)
                (void) ipc_link_send(store_of(s), IPC_INSTALL_COMMIT, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

/* --- to the sender ---------------------------------------------------------- */

static void reply(snapshot_receipt *s, const peer_snapshot_offer *offer, peer_snapshot_phase phase, uint64_t offset, uint64_t next) {
        const peer_snapshot_reply r = {
                .from = s->c->raft_id, .to = offer->from, .term = raft_term_of(driver_raft(s->c->driver)), .session = offer->session,
                .phase = phase, .offset = offset, .next = next, .index = phase == PEER_SNAPSHOT_DONE ? offer->index : 0,
        };
        (void) peers_send_snapshot_reply(s->c->peers, &r);
}

static void ask_for_one(snapshot_receipt *s, raft_id leader) {
        const raft *r = driver_raft(s->c->driver);
        const peer_snapshot_wanted wanted = {
                .from = s->c->raft_id, .to = leader, .term = raft_term_of(r), .min_index = raft_trail_of(r)->base_index,
        };
        (void) peers_send_snapshot_wanted(s->c->peers, &wanted);
}

/* --- an offer --------------------------------------------------------------- */

static void forget(snapshot_receipt *s) {
        rq_buf_done(&s->membership);
        rq_buf_done(&s->state);
        s->phase = RECEIPT_NONE;
}

/* The log has its last entry, and what it needs for the store. */
static bool log_has(const snapshot_receipt *s, raft_index index, raft_term term) {
        const raft_trail *trail = raft_trail_of(driver_raft(s->c->driver));
        return index >= trail->base_index && index <= trail->last && raft_trail_term_at(trail, index) == term;
}

static snapshot_verdict judge(const snapshot_receipt *s, const peer_snapshot_offer *offer, snapshot_stage stage) {
        const stream *store = driver_stream(s->c->driver);
        const snapshot_facts facts = {
                .index = offer->index, .commit = raft_commit_of(driver_raft(s->c->driver)), .has = log_has(s, offer->index, offer->index_term),
                .misfit = store->state == STREAM_MISFIT, .open = store->state == STREAM_OPEN,
        };
        return snapshot_judge(&facts, stage);
}

rq_err snapshot_receipt_on_offer(snapshot_receipt *s, const peer_snapshot_offer *offer, rq_bytes payload) {
        membership members;
        consensus *c = s->c;
        const rq_bytes encoded = rq_bytes_of(payload.data, offer->membership_bytes);
        if (membership_decode(encoded, &members) < 0)
                return RQ_EPROTO;
        if (c->unformed || c->stopping || c->storage_failed || s->phase == RECEIPT_COMMITTING || s->rebase_wanted ||
            offer->term < raft_term_of(driver_raft(c->driver)) || raft_role_of(driver_raft(c->driver)) == RAFT_LEADER)
                return RQ_OK; /* as if it was lost: it is offered again */
        const snapshot_verdict verdict = judge(s, offer, SNAPSHOT_OFFERED);
        if (verdict != SNAPSHOT_WELCOME) {
                reply(s, offer, verdict == SNAPSHOT_NOT_NEEDED ? PEER_SNAPSHOT_DONE : PEER_SNAPSHOT_FAILED, 0, 0);
                return RQ_OK;
        }
        forget(s);
        rq_err r = rq_buf_append_bytes(&s->membership, encoded);
        if (r >= 0)
                r = rq_buf_append(&s->state, payload.data + encoded.size, payload.size - encoded.size);
        if (r < 0)
                return RQ_OK;
        s->offer = *offer;
        s->phase = RECEIPT_STAGING;
        s->session++;
        s->offset = 0;
        s->heard_us = rq_clock_mono_us();
        rq_log_notice("Receiving a snapshot: index %" PRIu64 ", %" PRIu64 " bytes", offer->index, offer->bytes);
        send_begin(s);
        return RQ_OK;
}

void snapshot_receipt_on_chunk(snapshot_receipt *s, const peer_snapshot_chunk *chunk, rq_bytes data) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotChunk body = RQ__SNAPSHOT_CHUNK__INIT;
        if (s->phase != RECEIPT_STAGING || chunk->from != s->offer.from || chunk->session != s->offer.session || store_of(s) == NULL)
                return;
        s->heard_us = rq_clock_mono_us();
        body.session = s->session;
        body.offset = chunk->offset;
        body.raw_bytes = chunk->raw_bytes;
        body.crc = chunk->crc;
        body.packed = chunk->packed;
        size_t size = rq__snapshot_chunk__pack(&body, packed);
        (void) ipc_link_send(store_of(s), IPC_INSTALL_CHUNK, 0, rq_bytes_of(packed, size), data);
}

/* --- what the store says ---------------------------------------------------- */

/* Before the store gives its database up, it is on disk where the log would go on. */
static rq_err write_base(snapshot_receipt *s) {
        consensus *c = s->c;
        base_file base = {
                .index = s->offer.index, .term = s->offer.index_term, .clock_us = s->offer.clock_us,
                .database_id = c->identity.database_id, .configuration_index = s->offer.configuration_index,
        };
        rq_err r = rq_buf_append_bytes(&base.configuration, rq_buf_bytes(&s->membership));
        if (r >= 0)
                r = base_file_store(c->o.io, c->o.dir_fd, &base);
        if (r < 0) {
                base_file_done(&base);
                return rq_log_error(r, "Cannot write %s/" BASE_FILE_NAME, c->o.dir_path);
        }
        base_file_done(&c->base);
        c->base = base;
        return RQ_OK;
}

static void on_staged(snapshot_receipt *s) {
        /* It took its time: this node may have got ahead of it, by another leader's appends. */
        const snapshot_verdict verdict = judge(s, &s->offer, SNAPSHOT_STAGED);
        if (verdict != SNAPSHOT_WELCOME) {
                rq_log_notice("The snapshot at index %" PRIu64 " isn't installed: this node has got as far by itself", s->offer.index);
                reply(s, &s->offer, verdict == SNAPSHOT_NOT_NEEDED ? PEER_SNAPSHOT_DONE : PEER_SNAPSHOT_FAILED, 0, 0);
                forget(s);
                return;
        }
        if (write_base(s) < 0) {
                reply(s, &s->offer, PEER_SNAPSHOT_FAILED, 0, 0);
                forget(s);
                return;
        }
        s->phase = RECEIPT_COMMITTING;
        send_commit(s);
}

static void log_seeded(const snapshot_receipt *s) {
        char index[64], peer[MEMBERSHIP_ADDRESS_MAX + 32];
        const member *m = members_find(s->c, s->offer.from);
        const char *fields[] = {
                RQ_MSG_SEEDED, rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, s->offer.index),
                rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, m != NULL ? m->raft_addr : ""), NULL,
        };
        rq_log_write(LOG_NOTICE, fields, "Seeded with the database of node \"%s\", at index %" PRIu64, m != NULL ? m->node_id : "?", s->offer.index);
}

/* The store is durable at the snapshot. What the log has goes on behind it, if it
 * fits; else it begins anew, but for what is committed in it by now. */
static void on_done(snapshot_receipt *s) {
        log_seeded(s);
        switch (judge(s, &s->offer, SNAPSHOT_INSTALLED)) {
        case SNAPSHOT_NOT_NEEDED:
                reply(s, &s->offer, PEER_SNAPSHOT_DONE, 0, 0);
                forget(s);
                break;
        case SNAPSHOT_OF_NO_USE:
                rq_log_warning("The log is ahead of the snapshot at index %" PRIu64 " and stays as it is: the store needs a newer one", s->offer.index);
                reply(s, &s->offer, PEER_SNAPSHOT_FAILED, 0, 0);
                forget(s);
                break;
        case SNAPSHOT_WELCOME:
                s->rebase_wanted = true;
                rq_task_post(&s->rebase);
                break;
        }
}

rq_err snapshot_receipt_on_state(snapshot_receipt *s, const ipc_frame *frame) {
        Rq__InstallState *m = rq__install_state__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        const bool ours = s->phase != RECEIPT_NONE && m->session == s->session;
        if (ours && m->phase == RQ__INSTALL_STATE__PHASE__STAGING && s->phase == RECEIPT_STAGING) {
                s->offset = m->offset;
                reply(s, &s->offer, PEER_SNAPSHOT_STAGING, m->offset, m->next);
        } else if (ours && m->phase == RQ__INSTALL_STATE__PHASE__STAGED && s->phase == RECEIPT_STAGING) {
                s->offset = m->offset;
                on_staged(s);
        } else if (ours && m->phase == RQ__INSTALL_STATE__PHASE__FAILED) {
                rq_log_event(LOG_WARNING, RQ_MSG_SEED_FAILED, "The snapshot cannot be installed: %s", m->text);
                reply(s, &s->offer, PEER_SNAPSHOT_FAILED, 0, 0);
                forget(s);
        } else if (ours && m->phase == RQ__INSTALL_STATE__PHASE__DONE && s->phase == RECEIPT_COMMITTING) {
                on_done(s);
        }
        rq__install_state__free_unpacked(m, NULL);
        return RQ_OK;
}

/* What it has staged is gone with it, or is its database: its next FETCH tells. */
void snapshot_receipt_store_gone(snapshot_receipt *s) {
        if (s->phase == RECEIPT_NONE || s->rebase_wanted)
                return;
        reply(s, &s->offer, PEER_SNAPSHOT_FAILED, 0, 0);
        forget(s);
}

/* --- the log follows -------------------------------------------------------- */

bool snapshot_receipt_on_fetch(snapshot_receipt *s, raft_index applied, raft_term term) {
        const base_file *base = &s->c->base;
        if (s->rebase_wanted)
                return true;
        if (s->phase == RECEIPT_STAGING)
                send_begin(s); /* it wasn't there, or has lost it */
        if (!s->c->store_came && log_has(s, applied, term))
                s->c->found_until = applied;
        s->c->store_came = true;
        if (base->configuration.size == 0 || base->index != applied || base->term != term || log_has(s, applied, term) ||
            applied <= raft_commit_of(driver_raft(s->c->driver)))
                return false;
        s->rebase_wanted = true;
        rq_task_post(&s->rebase);
        return true;
}

/* Everything of the folder is opened anew, as at a start; who waits for an answer
 * gets one first, since what the log had is unknown now. */
static void on_rebase(void *arg) {
        snapshot_receipt *s = arg;
        consensus *c = s->c;
        const bool told = s->phase == RECEIPT_COMMITTING;
        const peer_snapshot_offer offer = s->offer;
        s->rebase_wanted = false;
        forget(s);
        driver_abandon(c->driver, "this node was brought up to date by a snapshot; the write may or may not have happened");
        dispatch_send_answers(c);
        folder_close(c);
        rq_err r = rebase_now(c->o.io, c->o.dir_fd, c->o.dir_path, &c->identity.disk_uuid, &c->base, c->o.config.segment_bytes);
        base_file_done(&c->base);
        folder_reopen(c); /* after a failure it says what is wrong */
        if (r >= 0 && told && c->driver != NULL)
                reply(s, &offer, PEER_SNAPSHOT_DONE, 0, 0);
}

/* --- the turn --------------------------------------------------------------- */

/* A log that began anew (its folder was set aside, and the node has joined again) has got as far as the store is by now: nothing has
 * to be sent for it. */
static void fit_again(snapshot_receipt *s) {
        consensus *c = s->c;
        const stream_fetch *fetch = &c->last_fetch;
        if (!is_misfit(s) || s->phase != RECEIPT_NONE || s->rebase_wanted || fetch->from < 2 || fetch->from - 1 > raft_commit_of(driver_raft(c->driver)) ||
            !log_has(s, fetch->from - 1, fetch->applied_term))
                return;
        const rq_uuid stream_id = rq_uuid_random();
        if (driver_fetch(c->driver, fetch, &stream_id) < 0)
                return;
        rq_log_notice("The log has got as far as the store: entry %" PRIu64 " is in both", fetch->from - 1);
        c->state_dirty = true;
        consensus_wake(c);
}

void snapshot_receipt_turn(snapshot_receipt *s) {
        consensus *c = s->c;
        fit_again(s);
        const raft *r = driver_raft(c->driver);
        const uint64_t now_us = rq_clock_mono_us();
        if (s->phase == RECEIPT_STAGING && now_us - s->heard_us > PATIENCE_US)
                forget(s);
        if (c->unformed || c->stopping || !is_misfit(s) || driver_stream(c->driver)->foreign || s->phase != RECEIPT_NONE ||
            s->rebase_wanted || now_us - s->asked_us < ASK_US)
                return;
        s->asked_us = now_us;
        if (raft_role_of(r) == RAFT_LEADER)
                (void) driver_transfer(c->driver, 0); /* another one's store fits */
        else if (raft_leader_of(r) != 0)
                ask_for_one(s, raft_leader_of(r));
}

uint64_t snapshot_receipt_deadline_us(const snapshot_receipt *s) {
        if (is_misfit(s) && !s->c->unformed)
                return s->asked_us + ASK_US;
        return s->phase != RECEIPT_NONE ? s->heard_us + PATIENCE_US : UINT64_MAX;
}

const char *snapshot_receipt_view(const snapshot_receipt *s, uint64_t *ret_offset, uint64_t *ret_bytes) {
        static const char *const texts[] = { "", "receiving", "installing" };
        *ret_offset = s->offset;
        *ret_bytes = s->offer.bytes;
        return texts[s->phase];
}

rq_err snapshot_receipt_new(consensus *c, snapshot_receipt **ret_receipt) {
        snapshot_receipt *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        s->c = c;
        rq_err r = rq_task_init(&s->rebase, c->o.loop, on_rebase, s);
        if (r < 0) {
                free(s);
                return r;
        }
        *ret_receipt = s;
        return RQ_OK;
}

snapshot_receipt *snapshot_receipt_free(snapshot_receipt *s) {
        if (s == NULL)
                return NULL;
        rq_task_done(&s->rebase);
        rq_buf_done(&s->membership);
        rq_buf_done(&s->state);
        free(s);
        return NULL;
}
