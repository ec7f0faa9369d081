#include "snapshot_out.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "log/log_fields.h"
#include "members.h"

enum {
        RETRY_US     = 2 * 1000 * 1000,
        PATIENCE_US  = 60 * 1000 * 1000, /* without a word of the member, or of the store */
        LOOK_US      = 500 * 1000,
        OFFER_US     = 1000 * 1000,      /* without an answer to an offer: a word was lost, ours or its */
        SILENCE_US   = 5 * 1000 * 1000,  /* likewise while it runs: then it is offered again, and goes on */
        BODY_BYTES   = 256,
};

typedef enum send_phase {
        SEND_FREE,
        SEND_OPENING,    /* the store makes the image */
        SEND_CONNECTING, /* to the member */
        SEND_OFFERED,    /* it is to say where to begin */
        SEND_RUNNING,
} send_phase;

typedef struct outgoing {
        send_phase phase;
        raft_id to;
        uint64_t session;
        raft_index min_index;
        uint64_t heard_us, offered_us;
        peer_snapshot_offer offer;
        rq_buf membership, state;
        uint64_t offset;       /* written over there */
} outgoing;

/* Who has asked, or has failed of late. */
typedef struct wish {
        raft_id id;
        bool wanted;
        raft_index min_index;
        uint64_t after_us;     /* not before */
        uint64_t held_bytes;   /* it has got one, and catches up with what came since: so long may the log get; 0: it needs nothing held */
        raft_index match;      /* then: when it last moved */
        uint64_t moved_us;
} wish;

struct snapshot_sends {
        consensus *c;
        uint64_t session;
        outgoing sends[SNAPSHOT_SENDS_MAX];
        wish wishes[MEMBERSHIP_COUNT_MAX];
};

/* --- to the store ----------------------------------------------------------- */

static ipc_link *store_of(const snapshot_sends *s) { return s->c->store != NULL ? ipc_connector_link(s->c->store) : NULL; }

static rq_err ask_open(snapshot_sends *s, const outgoing *x) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotOpen body = RQ__SNAPSHOT_OPEN__INIT;
        body.session = x->session;
        body.min_index = x->min_index;
        size_t size = rq__snapshot_open__pack(&body, packed);
        return ipc_link_send(store_of(s), IPC_SNAPSHOT_OPEN, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

/* from UINT64_MAX: on from where it is. */
static void ask_read(snapshot_sends *s, const outgoing *x, uint64_t from) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotRead body = RQ__SNAPSHOT_READ__INIT;
        ipc_link *store = store_of(s);
        if (store == NULL)
                return;
        body.session = x->session;
        body.from = from;
        body.until = x->offset + PEER_SNAPSHOT_WINDOW_BYTES;
        body.released = x->offset;
        size_t size = rq__snapshot_read__pack(&body, packed);
        (void) ipc_link_send(store, IPC_SNAPSHOT_READ, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static void ask_close(snapshot_sends *s, const outgoing *x) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotSession body = RQ__SNAPSHOT_SESSION__INIT;
        ipc_link *store = store_of(s);
        if (store == NULL)
                return; /* it has ended it by itself */
        body.session = x->session;
        size_t size = rq__snapshot_session__pack(&body, packed);
        (void) ipc_link_send(store, IPC_SNAPSHOT_CLOSE, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

/* --- the list --------------------------------------------------------------- */

static outgoing *send_to(snapshot_sends *s, raft_id id) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                if (s->sends[i].phase != SEND_FREE && s->sends[i].to == id)
                        return &s->sends[i];
        return NULL;
}

static outgoing *send_of(snapshot_sends *s, uint64_t session) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                if (s->sends[i].phase != SEND_FREE && s->sends[i].session == session)
                        return &s->sends[i];
        return NULL;
}

static wish *wish_of(snapshot_sends *s, raft_id id) {
        wish *spare = &s->wishes[0];
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                if (s->wishes[i].id == id)
                        return &s->wishes[i];
                if (s->wishes[i].id == 0 || (spare->id != 0 && s->wishes[i].after_us < spare->after_us))
                        spare = &s->wishes[i];
        }
        *spare = (wish) { .id = id };
        return spare;
}

static const char *name_of(const snapshot_sends *s, raft_id id) {
        const member *m = members_find(s->c, id);
        return m != NULL ? m->node_id : "?";
}

/* retry: it is still needed, but not at once. */
static void end(snapshot_sends *s, outgoing *x, bool retry) {
        wish *w = wish_of(s, x->to);
        w->wanted = w->wanted && retry;
        w->after_us = retry ? rq_clock_mono_us() + RETRY_US : 0;
        peers_snapshot_disconnect(s->c->peers, x->to);
        ask_close(s, x);
        rq_buf_done(&x->membership);
        rq_buf_done(&x->state);
        *x = (outgoing) {0};
}

static void give_up(snapshot_sends *s, outgoing *x, const char *why) {
        rq_log_event(LOG_WARNING, RQ_MSG_SEED_FAILED, "The snapshot for node \"%s\" was given up at %" PRIu64 " of %" PRIu64 " bytes: %s", name_of(s, x->to), x->offset,
                       x->offer.bytes, why);
        end(s, x, true);
}

/* What follows the snapshot is kept until it weighs more than another snapshot would. */
static uint64_t held_bytes(const snapshot_sends *s, const outgoing *x) {
        const consensus_config *config = &s->c->o.config;
        const uint64_t with_bytes = config->log_kept_bytes + x->offer.bytes;
        return with_bytes > config->log_held_bytes ? with_bytes : config->log_held_bytes;
}

static void begin(snapshot_sends *s, raft_id to, raft_index min_index) {
        outgoing *x = NULL;
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX && x == NULL; i++)
                if (s->sends[i].phase == SEND_FREE)
                        x = &s->sends[i];
        if (x == NULL)
                return; /* when another one is done */
        wish_of(s, to)->held_bytes = 0;
        *x = (outgoing) { .phase = SEND_OPENING, .to = to, .session = ++s->session, .min_index = min_index, .heard_us = rq_clock_mono_us() };
        if (ask_open(s, x) < 0)
                *x = (outgoing) {0};
}

/* --- the turn --------------------------------------------------------------- */

static bool needs_one(snapshot_sends *s, const wish *w, raft_id id) {
        raft_progress_view p;
        return raft_progress_of(driver_raft(s->c->driver), id, &p) && (p.state == RAFT_SNAPSHOT || w->wanted);
}

static void send_offer(snapshot_sends *s, outgoing *x) {
        const rq_bytes pieces[] = { rq_buf_bytes(&x->membership), rq_buf_bytes(&x->state) };
        x->offer.term = raft_term_of(driver_raft(s->c->driver));
        x->offered_us = rq_clock_mono_us();
        if (peers_send_snapshot_offer(s->c->peers, &x->offer, pieces) >= 0)
                x->phase = SEND_OFFERED;
}

/* Its answers come on a connection of its own, and are lost with that while this one stays. An offer that
 * is repeated is answered with where to go on, or that it is done. */
static bool is_silent(const outgoing *x, uint64_t now_us) {
        const uint64_t since_us = x->heard_us > x->offered_us ? x->heard_us : x->offered_us;
        return (x->phase == SEND_OFFERED && now_us - x->offered_us > OFFER_US) || (x->phase == SEND_RUNNING && now_us - since_us > SILENCE_US);
}

static void check_running(snapshot_sends *s, uint64_t now_us) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++) {
                outgoing *x = &s->sends[i];
                if (x->phase == SEND_FREE)
                        continue;
                if (!needs_one(s, wish_of(s, x->to), x->to))
                        end(s, x, false);
                else if (now_us - x->heard_us > PATIENCE_US)
                        give_up(s, x, x->phase == SEND_OPENING ? "the store doesn't answer" : "the node doesn't answer");
                else if (is_silent(x, now_us))
                        send_offer(s, x);
        }
}

static void end_all(snapshot_sends *s) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                if (s->sends[i].phase != SEND_FREE)
                        end(s, &s->sends[i], false);
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++)
                s->wishes[i].held_bytes = 0;
}

/* Until a member needs nothing any more that could go, or doesn't come nearer. */
static void check_catching_up(snapshot_sends *s, uint64_t now_us) {
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                wish *w = &s->wishes[i];
                raft_progress_view p;
                if (w->held_bytes == 0)
                        continue;
                if (!raft_progress_of(driver_raft(s->c->driver), w->id, &p) || p.match >= driver_stream(s->c->driver)->checkpoint) {
                        w->held_bytes = 0;
                } else if (p.match > w->match) {
                        w->match = p.match;
                        w->moved_us = now_us;
                } else if (now_us - w->moved_us > PATIENCE_US) {
                        w->held_bytes = 0;
                }
        }
}

/* Of those who aren't members any more, and times that are over: nobody needs to look again for them. */
static void forget_wishes(snapshot_sends *s, uint64_t now_us) {
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                wish *w = &s->wishes[i];
                if (w->after_us <= now_us)
                        w->after_us = 0;
                if (w->wanted && members_find(s->c, w->id) == NULL)
                        *w = (wish) {0};
        }
}

void snapshot_sends_turn(snapshot_sends *s) {
        consensus *c = s->c;
        const uint64_t now_us = rq_clock_mono_us();
        if (raft_role_of(driver_raft(c->driver)) != RAFT_LEADER) {
                end_all(s);
                return;
        }
        check_running(s, now_us);
        check_catching_up(s, now_us);
        const membership *m = driver_membership(c->driver, NULL);
        if (m != NULL)
                forget_wishes(s, now_us);
        /* Also before an entry of this term is committed: who needs one may be who is needed for that. What the store has is committed. */
        const bool able = store_of(s) != NULL && driver_stream(c->driver)->state == STREAM_OPEN;
        for (uint32_t i = 0; able && !c->stopping && m != NULL && i < m->count; i++) {
                const raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                wish *w;
                raft_progress_view p;
                if (id == c->raft_id || send_to(s, id) != NULL || !raft_progress_of(driver_raft(c->driver), id, &p))
                        continue;
                w = wish_of(s, id);
                if (needs_one(s, w, id) && now_us >= w->after_us && peers_is_up(c->peers, id))
                        begin(s, id, w->min_index);
        }
}

uint64_t snapshot_sends_deadline_us(const snapshot_sends *s) {
        bool busy = false;
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                busy |= s->sends[i].phase != SEND_FREE;
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++)
                busy |= s->wishes[i].wanted || s->wishes[i].after_us > 0 || s->wishes[i].held_bytes > 0;
        return busy && raft_role_of(driver_raft(s->c->driver)) == RAFT_LEADER ? rq_clock_mono_us() + LOOK_US : UINT64_MAX;
}

raft_index snapshot_sends_held(const snapshot_sends *s, uint64_t log_bytes) {
        raft_index held = UINT64_MAX;
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++) {
                const outgoing *x = &s->sends[i];
                if (x->phase > SEND_OPENING && x->offer.index < held && log_bytes < held_bytes(s, x))
                        held = x->offer.index;
        }
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                const wish *w = &s->wishes[i];
                raft_progress_view p;
                if (log_bytes < w->held_bytes && raft_progress_of(driver_raft(s->c->driver), w->id, &p) && p.match < held)
                        held = p.match;
        }
        return held;
}

/* --- frames of the store ---------------------------------------------------- */

/* As the log said it at the start. Until it is known what is committed by now, the store stays where it
 * was, and the driver may remember only a later change, of which the hard state knows that it is committed. */
static bool add_found_membership(const snapshot_sends *s, outgoing *x, raft_index index) {
        const consensus *c = s->c;
        log_configuration found = log_configurations_at(&c->found, index);
        if (index > c->found_until || found.index == 0)
                return false;
        if (c->found_members.size > 0 && found.index <= c->members_known)
                found.body = rq_buf_bytes(&c->found_members);
        x->offer.configuration_index = found.index;
        return rq_buf_append_bytes(&x->membership, found.body) >= 0;
}

/* Who the members were at its index: a later change comes with the log. RQ_EAGAIN: an
 * older image than what this node still remembers. */
static rq_err add_membership(snapshot_sends *s, outgoing *x, raft_index index, raft_index *ret_min_index) {
        raft_index at = 0;
        const membership *m = driver_membership_at(s->c->driver, index, &at);
        if (m == NULL && add_found_membership(s, x, index))
                return RQ_OK;
        if (m == NULL) {
                *ret_min_index = at;
                return RQ_EAGAIN;
        }
        x->offer.configuration_index = at;
        return membership_encode(m, &x->membership);
}

static rq_err take_head(snapshot_sends *s, outgoing *x, const Rq__SnapshotHead *head, rq_bytes state) {
        if (head->id == NULL || head->id->disk_id.len != RQ_UUID_BYTES)
                return RQ_EPROTO;
        x->offer = (peer_snapshot_offer) {
                .from = s->c->raft_id, .to = x->to, .session = x->session, .index = head->id->index, .index_term = head->id->term,
                .digest = head->id->digest, .bytes = head->bytes, .clock_us = head->clock_us,
        };
        memcpy(x->offer.disk_id.bytes, head->id->disk_id.data, RQ_UUID_BYTES);
        x->heard_us = rq_clock_mono_us();
        raft_index min_index = 0;
        rq_err r = add_membership(s, x, x->offer.index, &min_index);
        if (r == RQ_EAGAIN) {
                wish_of(s, x->to)->min_index = min_index;
                end(s, x, true);
                return RQ_OK;
        }
        if (r >= 0)
                r = rq_buf_append_bytes(&x->state, state);
        if (r >= 0)
                r = peers_snapshot_connect(s->c->peers, x->to);
        if (r < 0) {
                give_up(s, x, rq_err_text(r));
                return RQ_OK;
        }
        x->offer.membership_bytes = (uint32_t) x->membership.size;
        x->phase = SEND_CONNECTING;
        rq_log_notice("Sending a snapshot to node \"%s\": index %" PRIu64 ", %" PRIu64 " bytes", name_of(s, x->to), x->offer.index,
                      x->offer.bytes);
        return RQ_OK;
}

rq_err snapshot_sends_on_head(snapshot_sends *s, const ipc_frame *frame) {
        Rq__SnapshotHead *head = rq__snapshot_head__unpack(NULL, frame->body.size, frame->body.data);
        if (head == NULL)
                return RQ_EPROTO;
        outgoing *x = send_of(s, head->session);
        rq_err r = x != NULL && x->phase == SEND_OPENING ? take_head(s, x, head, frame->payload) : RQ_OK;
        rq__snapshot_head__free_unpacked(head, NULL);
        return r;
}

rq_err snapshot_sends_on_chunk(snapshot_sends *s, const ipc_frame *frame) {
        Rq__SnapshotChunk *m = rq__snapshot_chunk__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        outgoing *x = send_of(s, m->session);
        if (x != NULL && x->phase == SEND_RUNNING) {
                const peer_snapshot_chunk chunk = {
                        .from = s->c->raft_id, .to = x->to, .session = x->session, .offset = m->offset, .raw_bytes = m->raw_bytes,
                        .crc = m->crc, .packed = m->packed != 0,
                };
                /* Lost with its connection: another offer follows when there is one. */
                (void) peers_send_snapshot_chunk(s->c->peers, &chunk, frame->payload);
        }
        rq__snapshot_chunk__free_unpacked(m, NULL);
        return RQ_OK;
}

rq_err snapshot_sends_on_failed(snapshot_sends *s, const ipc_frame *frame) {
        Rq__SnapshotFailed *m = rq__snapshot_failed__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        outgoing *x = send_of(s, m->session);
        if (x != NULL)
                give_up(s, x, m->text);
        rq__snapshot_failed__free_unpacked(m, NULL);
        return RQ_OK;
}

void snapshot_sends_store_gone(snapshot_sends *s) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                if (s->sends[i].phase != SEND_FREE)
                        end(s, &s->sends[i], true);
}

/* --- frames of the members -------------------------------------------------- */

void snapshot_sends_on_link(snapshot_sends *s, raft_id id, bool up) {
        outgoing *x = send_to(s, id);
        if (x == NULL || x->phase == SEND_OPENING)
                return;
        x->phase = SEND_CONNECTING;
        if (up)
                send_offer(s, x);
}

void snapshot_sends_on_reply(snapshot_sends *s, const peer_snapshot_reply *reply) {
        outgoing *x = send_of(s, reply->session);
        if (x == NULL || x->to != reply->from || x->phase < SEND_OFFERED)
                return;
        x->heard_us = rq_clock_mono_us();
        const bool first = x->phase == SEND_OFFERED;
        switch (reply->phase) {
        case PEER_SNAPSHOT_STAGING:
                if (reply->offset < x->offset && !first)
                        return; /* an older one */
                x->phase = SEND_RUNNING;
                x->offset = reply->offset;
                ask_read(s, x, first ? reply->next : UINT64_MAX);
                break;
        case PEER_SNAPSHOT_DONE:
                rq_log_notice("Node \"%s\" has the snapshot of index %" PRIu64, name_of(s, x->to), reply->index);
                driver_snapshot_done(s->c->driver, x->to, reply->index);
                wish *w = wish_of(s, x->to);
                w->wanted = false;
                w->held_bytes = held_bytes(s, x);
                w->match = 0;
                w->moved_us = x->heard_us;
                end(s, x, false);
                break;
        case PEER_SNAPSHOT_FAILED:
                give_up(s, x, "the node could not take it, see its journal");
                break;
        }
        consensus_wake(s->c);
}

void snapshot_sends_on_wanted(snapshot_sends *s, const peer_snapshot_wanted *wanted) {
        if (send_to(s, wanted->from) != NULL || raft_role_of(driver_raft(s->c->driver)) != RAFT_LEADER)
                return;
        wish *w = wish_of(s, wanted->from);
        w->wanted = true;
        w->min_index = wanted->min_index;
        consensus_wake(s->c);
}

bool snapshot_sends_view(const snapshot_sends *s, raft_id id, uint64_t *ret_offset, uint64_t *ret_bytes) {
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++)
                if (s->sends[i].phase != SEND_FREE && s->sends[i].to == id) {
                        *ret_offset = s->sends[i].offset;
                        *ret_bytes = s->sends[i].offer.bytes;
                        return true;
                }
        return false;
}

rq_err snapshot_sends_new(consensus *c, snapshot_sends **ret_sends) {
        snapshot_sends *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        s->c = c;
        rq_random_bytes(&s->session, sizeof s->session);
        s->session >>= 16; /* another run's are others, and there is room to count */
        *ret_sends = s;
        return RQ_OK;
}

snapshot_sends *snapshot_sends_free(snapshot_sends *s) {
        if (s == NULL)
                return NULL;
        for (size_t i = 0; i < SNAPSHOT_SENDS_MAX; i++) {
                rq_buf_done(&s->sends[i].membership);
                rq_buf_done(&s->sends[i].state);
        }
        free(s);
        return NULL;
}
