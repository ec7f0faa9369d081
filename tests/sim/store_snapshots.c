/* Snapshots at the store: images of the last checkpoint on their way out, and one that
 * comes in, is staged, and takes the database's place. The frames are those of
 * proto/README.md; the database is a model: bytes that follow from the image's id. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "consensus.pb-c.h"
#include "world.h"

enum {
        CHUNK_BYTES    = 1024,
        RETRY_US       = 3000,  /* until an image of the wanted index may be there */
        CHECKPOINT_US  = 200,
        SWAP_US        = 500,   /* to make what is staged the database */
        REOPEN_US      = 3000,
        BODY_BYTES     = 256,
};

static void fill_chunk(uint8_t out[static CHUNK_BYTES], uint64_t digest, uint64_t offset) {
        for (size_t i = 0; i < CHUNK_BYTES; i += 8)
                rq_put_u64(out + i, rq_hash_mix(digest, offset + i));
}

static uint64_t chunk_sum(uint64_t sum, const uint8_t *data, size_t size) { return rq_hash_mix(sum, rq_crc32c(0, data, size)); }

static uint64_t image_sum(uint64_t digest, uint64_t bytes) {
        uint8_t data[CHUNK_BYTES];
        uint64_t sum = 0;
        for (uint64_t at = 0; at < bytes; at += CHUNK_BYTES) {
                fill_chunk(data, digest, at);
                sum = chunk_sum(sum, data, sizeof data);
        }
        return sum;
}

static uint64_t image_bytes(const world *w, uint64_t digest) { return CHUNK_BYTES * (1 + digest % w->tuning.image_chunks); }

/* --- out ------------------------------------------------------------------------------ */

static void say_failed(sim_node *n, uint64_t session, const char *text) {
        uint8_t packed[BODY_BYTES];
        Rq__SnapshotFailed body = RQ__SNAPSHOT_FAILED__INIT;
        char shown[100];
        (void) snprintf(shown, sizeof shown, "%s", text);
        body.session = session;
        body.text = shown;
        shell_say(n, IPC_SNAPSHOT_FAILED, rq_bytes_of(packed, rq__snapshot_failed__pack(&body, packed)), (rq_bytes) {0});
}

static store_out *find_out(store *s, uint64_t session) {
        for (size_t i = 0; i < STORE_OUT_MAX; i++)
                if (s->out[i].session == session)
                        return &s->out[i];
        return NULL;
}

static void plan_pump(world *w, sim_node *n, store_out *o, uint64_t after_us) {
        if (o->pumping)
                return;
        o->pumping = true;
        world_plan(w, after_us, (event) { .type = EVENT_STORE_PUMP, .node = (uint8_t) n->number, .tag = n->store.incarnation,
                .number = o->session });
}

static void say_head(world *w, sim_node *n, store_out *o) {
        uint8_t packed[BODY_BYTES], state[sizeof(store_state)];
        Rq__SnapshotHead body = RQ__SNAPSHOT_HEAD__INIT;
        Rq__ImageId id = RQ__IMAGE_ID__INIT;
        rq_uuid disk_id = n->disk_uuid;
        id.disk_id = (ProtobufCBinaryData) { .data = disk_id.bytes, .len = RQ_UUID_BYTES };
        id.index = o->image.applied;
        id.term = o->image.term;
        id.digest = o->image.digest;
        o->bytes = image_bytes(w, o->image.digest);
        body.session = o->session;
        body.id = &id;
        body.bytes = o->bytes;
        body.clock_us = o->image.clock_us;
        memcpy(state, &o->image, sizeof state);
        shell_say(n, IPC_SNAPSHOT_HEAD, rq_bytes_of(packed, rq__snapshot_head__pack(&body, packed)), rq_bytes_of(state, sizeof state));
}

static void try_open(world *w, sim_node *n, store_out *o) {
        store *s = &n->store;
        if (s->checkpoint.applied < o->min_index || s->checkpoint.applied == 0) {
                if (s->now.applied >= o->min_index && s->now.applied > 0 && !s->reopening)
                        s->checkpoint = s->now;
                plan_pump(w, n, o, s->checkpoint.applied >= o->min_index && s->checkpoint.applied > 0 ? CHECKPOINT_US : RETRY_US);
                return;
        }
        if (s->reopening) {
                plan_pump(w, n, o, RETRY_US);
                return;
        }
        o->image = s->checkpoint;
        o->open = true;
        say_head(w, n, o);
}

static void send_chunk(sim_node *n, store_out *o) {
        uint8_t packed[BODY_BYTES], data[CHUNK_BYTES];
        Rq__SnapshotChunk body = RQ__SNAPSHOT_CHUNK__INIT;
        fill_chunk(data, o->image.digest, o->next);
        body.session = o->session;
        body.offset = o->next;
        body.raw_bytes = CHUNK_BYTES;
        body.crc = rq_crc32c(0, data, sizeof data);
        o->next += CHUNK_BYTES;
        shell_say(n, IPC_SNAPSHOT_CHUNK, rq_bytes_of(packed, rq__snapshot_chunk__pack(&body, packed)), rq_bytes_of(data, sizeof data));
}

void store_on_pump(world *w, sim_node *n, const event *e) {
        store *s = &n->store;
        store_out *o = e->number != 0 ? find_out(s, e->number) : NULL;
        if (!s->up || e->tag != s->incarnation || o == NULL || !o->pumping)
                return;
        o->pumping = false;
        if (!o->open) {
                try_open(w, n, o);
                return;
        }
        if (o->next >= o->until || o->next >= o->bytes)
                return;
        send_chunk(n, o);
        plan_pump(w, n, o, world_random(w, w->tuning.chunk_us) + 1);
}

static void on_open(world *w, sim_node *n, const Rq__SnapshotOpen *m) {
        store_out *o = find_out(&n->store, 0);
        if (o == NULL) {
                say_failed(n, m->session, "too many snapshots at a time");
                return;
        }
        *o = (store_out) { .session = m->session, .min_index = m->min_index };
        try_open(w, n, o);
}

static void on_read(world *w, sim_node *n, const Rq__SnapshotRead *m) {
        store_out *o = find_out(&n->store, m->session);
        if (o == NULL || !o->open)
                return;
        if (m->from != UINT64_MAX)
                o->next = m->from;
        o->until = m->until;
        plan_pump(w, n, o, world_random(w, w->tuning.chunk_us) + 1);
}

/* --- in ------------------------------------------------------------------------------- */

static void say_install(sim_node *n, Rq__InstallState__Phase phase, const char *text) {
        uint8_t packed[BODY_BYTES];
        char shown[100];
        Rq__InstallState body = RQ__INSTALL_STATE__INIT;
        (void) snprintf(shown, sizeof shown, "%s", text);
        body.session = n->store.in.session;
        body.phase = phase;
        body.offset = body.next = n->store.in.offset;
        body.text = shown;
        if (phase == RQ__INSTALL_STATE__PHASE__DONE) {
                body.index = n->store.now.applied;
                body.term = n->store.now.term;
        }
        shell_say(n, IPC_INSTALL_STATE, rq_bytes_of(packed, rq__install_state__pack(&body, packed)), (rq_bytes) {0});
}

static bool is_beyond(const store *s) { return s->in.forward_only && s->now.applied >= s->in.image.applied; }

static void fail_install(sim_node *n, const char *text) {
        say_install(n, RQ__INSTALL_STATE__PHASE__FAILED, text);
        n->store.in = (store_in) {0};
}

static void tell(sim_node *n) {
        if (n->store.in.on && !n->store.in.committing)
                say_install(n, n->store.in.staged ? RQ__INSTALL_STATE__PHASE__STAGED : RQ__INSTALL_STATE__PHASE__STAGING, "");
}

static void on_begin(world *w, sim_node *n, const Rq__InstallBegin *m, rq_bytes state) {
        store *s = &n->store;
        store_state image;
        rq_assert(state.size == sizeof image && m->id != NULL);
        memcpy(&image, state.data, sizeof image);
        if (s->in.committing || s->reopening)
                return;
        s->in.forward_only = m->forward_only;
        if (s->in.on && memcmp(s->in.disk_id.bytes, m->id->disk_id.data, RQ_UUID_BYTES) == 0 && s->in.image.applied == m->id->index &&
            s->in.image.term == m->id->term && s->in.image.digest == m->id->digest) {
                s->in.session = m->session; /* on from where it is */
                tell(n);
                return;
        }
        s->in = (store_in) { .on = true, .session = m->session, .forward_only = m->forward_only, .image = image, .bytes = m->bytes };
        memcpy(s->in.disk_id.bytes, m->id->disk_id.data, RQ_UUID_BYTES);
        if (image.applied != m->id->index || image.term != m->id->term || image.digest != m->id->digest)
                world_fail(w, "install", "node %u: what is said of a snapshot doesn't fit together", n->number);
        if (is_beyond(s))
                fail_install(n, "the database has got as far by itself meanwhile");
        else
                tell(n);
}

static void on_chunk(world *w, sim_node *n, const Rq__SnapshotChunk *m, rq_bytes data) {
        store_in *in = &n->store.in;
        if (!in->on || m->session != in->session || in->committing || in->staged)
                return;
        if (m->offset != in->offset || rq_crc32c(0, data.data, data.size) != m->crc) {
                tell(n);
                return;
        }
        in->sum = chunk_sum(in->sum, data.data, data.size);
        in->offset += data.size;
        if (in->offset < in->bytes) {
                tell(n);
        } else if (in->sum != image_sum(in->image.digest, in->bytes)) {
                world_fail(w, "install", "node %u: a snapshot of index %lu is complete, and not the one that was offered", n->number,
                           (unsigned long) in->image.applied);
        } else {
                in->staged = true;
                tell(n);
        }
}

static void on_commit(world *w, sim_node *n, uint64_t session) {
        store *s = &n->store;
        if (!s->in.on || !s->in.staged || session != s->in.session || s->in.committing || s->reopening)
                return;
        s->in.committing = true;
        uint64_t applied_us = s->busy_until_us > w->now_us ? s->busy_until_us - w->now_us : 0;
        world_plan(w, applied_us + world_random(w, SWAP_US), (event) { .type = EVENT_STORE_SWAP, .node = (uint8_t) n->number,
                .tag = s->incarnation });
}

/* The intent is durable: a start from here on has the image. */
void store_on_swap(world *w, sim_node *n, const event *e) {
        store *s = &n->store;
        if (!s->up || e->tag != s->incarnation || !s->in.committing)
                return;
        if (is_beyond(s)) {
                fail_install(n, "the database has got as far by itself meanwhile");
                return;
        }
        check_snapshot_installed(w, n, &s->in.image);
        s->now = s->checkpoint = s->in.image;
        s->reopening = true;
        s->asked = false;
        s->may_misfit = true;
        s->stream_id = (rq_uuid) {0};
        for (size_t i = 0; i < STORE_OUT_MAX; i++)
                if (s->out[i].session != 0) {
                        say_failed(n, s->out[i].session, "the database was replaced");
                        s->out[i] = (store_out) {0};
                }
        world_trace(w, (trace_record) { .event = TRACE_SNAPSHOT_INSTALLED, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .index = s->now.applied, .term = s->now.term });
        world_plan(w, world_random(w, REOPEN_US), (event) { .type = EVENT_STORE_REOPENED, .node = (uint8_t) n->number, .tag = s->incarnation });
}

void store_on_reopened(world *w, sim_node *n, const event *e) {
        store *s = &n->store;
        (void) w;
        if (!s->up || e->tag != s->incarnation || !s->reopening)
                return;
        s->reopening = false;
        say_install(n, RQ__INSTALL_STATE__PHASE__DONE, "");
        s->in = (store_in) {0};
        shell_say(n, IPC_FETCH, (rq_bytes) {0}, (rq_bytes) {0});
}

/* The log brought what the snapshot was for. */
void store_give_up_if_beyond(sim_node *n) {
        if (n->store.in.on && !n->store.in.committing && is_beyond(&n->store))
                fail_install(n, "the database has got as far by itself meanwhile");
}

/* --- frames, and the link ---------------------------------------------------------------- */

void store_on_frame(world *w, sim_node *n, const event *e) {
        store_frame *f = e->data;
        const rq_bytes body = rq_bytes_of(f->data, f->body_bytes), payload = rq_bytes_of(f->data + f->body_bytes, f->payload_bytes);
        bool lost = !n->store.up || e->tag != n->store.incarnation || n->shell == NULL || e->number != n->shell->link_number;
        if (lost) {
                free(f);
                return;
        }
        switch (f->type) {
        case IPC_SNAPSHOT_OPEN: {
                Rq__SnapshotOpen *m = rq__snapshot_open__unpack(NULL, body.size, body.data);
                rq_assert(m != NULL);
                on_open(w, n, m);
                rq__snapshot_open__free_unpacked(m, NULL);
                break;
        }
        case IPC_SNAPSHOT_READ: {
                Rq__SnapshotRead *m = rq__snapshot_read__unpack(NULL, body.size, body.data);
                rq_assert(m != NULL);
                on_read(w, n, m);
                rq__snapshot_read__free_unpacked(m, NULL);
                break;
        }
        case IPC_INSTALL_BEGIN: {
                Rq__InstallBegin *m = rq__install_begin__unpack(NULL, body.size, body.data);
                rq_assert(m != NULL);
                on_begin(w, n, m, payload);
                rq__install_begin__free_unpacked(m, NULL);
                break;
        }
        case IPC_INSTALL_CHUNK: {
                Rq__SnapshotChunk *m = rq__snapshot_chunk__unpack(NULL, body.size, body.data);
                rq_assert(m != NULL);
                on_chunk(w, n, m, payload);
                rq__snapshot_chunk__free_unpacked(m, NULL);
                break;
        }
        case IPC_SNAPSHOT_CLOSE:
        case IPC_INSTALL_COMMIT: {
                Rq__SnapshotSession *m = rq__snapshot_session__unpack(NULL, body.size, body.data);
                rq_assert(m != NULL);
                store_out *o = find_out(&n->store, m->session);
                if (f->type == IPC_INSTALL_COMMIT)
                        on_commit(w, n, m->session);
                else if (o != NULL)
                        *o = (store_out) {0};
                rq__snapshot_session__free_unpacked(m, NULL);
                break;
        }
        default:
                rq_assert(false);
        }
        free(f);
}

void store_consensus_down(sim_node *n) { memset(n->store.out, 0, sizeof n->store.out); }

void store_wipe(world *w, sim_node *n) {
        store *s = &n->store;
        if (s->now.applied > s->told_before)
                s->told_before = s->now.applied;
        s->now = s->checkpoint = (store_state) {0};
        s->may_misfit = true;
        world_trace(w, (trace_record) { .event = TRACE_FAULT, .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .note = "database lost" });
}
