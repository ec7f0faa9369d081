#include "snapshots.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "consensus.pb-c.h"
#include "io/image_pump.h"
#include "io/install.h"
#include "io/swap.h"
#include "log/log.h"
#include "log/log_fields.h"

enum {
        RETRY_US          = 5 * 1000,             /* an image can't be opened amid a checkpoint */
        OPEN_WAIT_US      = 60 * 1000 * 1000,     /* until the wanted index is in the file */
        LINK_BYTES_MAX    = 16 * 1024 * 1024,     /* queued to consensus: then chunks wait in the pump */
        SMALL_BODY_BYTES  = 512,
        SMALL_TEXT_BYTES  = 256,
};

/* One that is sent. */
typedef struct outgoing {
        uint64_t session;      /* 0: free */
        uint64_t min_index;    /* wanted; while pump is NULL */
        uint64_t give_up_us;
        image_pump *pump;
} outgoing;

struct snapshots {
        store *store;
        rq_wake wake;
        rq_timer retry;
        outgoing out[SNAPSHOTS_OUT_MAX];
        install *install;      /* NULL: none */
        uint64_t install_session;
        bool install_forward_only; /* what the database has is not given up for it */
        install_phase told_phase;
        uint64_t told_offset;
        bool committing;       /* the writer's thread is to swap, or has */
        snapshots_stats stats;
};

/* --- frames to consensus ---------------------------------------------------- */

static void send_failed(snapshots *n, uint64_t session, const char *text) {
        uint8_t packed[SMALL_BODY_BYTES];
        char shown[SMALL_TEXT_BYTES];
        Rq__SnapshotFailed body = RQ__SNAPSHOT_FAILED__INIT;
        if (n->store->consensus == NULL)
                return;
        (void) snprintf(shown, sizeof shown, "%s", text);
        body.session = session;
        body.text = shown;
        size_t size = rq__snapshot_failed__pack(&body, packed);
        (void) ipc_link_send(n->store->consensus, IPC_SNAPSHOT_FAILED, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static void send_install(snapshots *n, Rq__InstallState__Phase phase, uint64_t offset, const char *text) {
        uint8_t packed[SMALL_BODY_BYTES];
        char shown[SMALL_TEXT_BYTES];
        Rq__InstallState body = RQ__INSTALL_STATE__INIT;
        if (n->store->consensus == NULL)
                return;
        (void) snprintf(shown, sizeof shown, "%s", text);
        body.session = n->install_session;
        body.phase = phase;
        body.offset = offset;
        body.text = shown;
        body.next = n->install != NULL ? install_next(n->install) : 0;
        if (phase == RQ__INSTALL_STATE__PHASE__DONE) {
                body.index = n->store->state.index;
                body.term = n->store->state.term;
        }
        size_t size = rq__install_state__pack(&body, packed);
        (void) ipc_link_send(n->store->consensus, IPC_INSTALL_STATE, 0, rq_bytes_of(packed, size), (rq_bytes) {0});
}

static void describe_id(const image_id *id, Rq__ImageId *ret_id, rq_uuid *disk_id) {
        *disk_id = id->disk_id;
        rq__image_id__init(ret_id);
        ret_id->disk_id = (ProtobufCBinaryData) { .data = disk_id->bytes, .len = RQ_UUID_BYTES };
        ret_id->index = id->index;
        ret_id->term = id->term;
        ret_id->digest = id->digest;
}

/* What goes with the image: *state*, without what belongs to this folder, but with
 * the facts that the file must have. */
static rq_err encode_state(const state_file *state, rq_buf *ret_bytes) {
        state_file shared = *state;
        shared.disk_id = (rq_uuid) {0};
        shared.generation = 0;
        return state_file_encode(&shared, ret_bytes);
}

static rq_err send_head(snapshots *n, const outgoing *o) {
        RQ_CLEANUP(rq_buf_done) rq_buf state = {0};
        const image_facts *facts = image_pump_facts(o->pump);
        uint8_t packed[SMALL_BODY_BYTES];
        Rq__SnapshotHead body = RQ__SNAPSHOT_HEAD__INIT;
        Rq__ImageId id;
        rq_uuid disk_id;
        const state_file shared = { .position = facts->position, .settings = facts->settings, .database = facts->database };
        rq_err r = encode_state(&shared, &state);
        if (r < 0)
                return r;
        describe_id(&facts->id, &id, &disk_id);
        body.session = o->session;
        body.id = &id;
        body.bytes = facts->bytes;
        body.clock_us = facts->position.clock_us;
        size_t size = rq__snapshot_head__pack(&body, packed);
        return ipc_link_send(n->store->consensus, IPC_SNAPSHOT_HEAD, 0, rq_bytes_of(packed, size), rq_buf_bytes(&state));
}

static rq_err send_chunk(snapshots *n, const outgoing *o, const snapshot_chunk *c) {
        uint8_t packed[SMALL_BODY_BYTES];
        Rq__SnapshotChunk body = RQ__SNAPSHOT_CHUNK__INIT;
        body.session = o->session;
        body.offset = c->offset;
        body.raw_bytes = c->raw_bytes;
        body.crc = c->crc;
        body.packed = c->packed;
        size_t size = rq__snapshot_chunk__pack(&body, packed);
        n->stats.sent_bytes += c->raw_bytes;
        return ipc_link_send(n->store->consensus, IPC_SNAPSHOT_CHUNK, 0, rq_bytes_of(packed, size), rq_bytes_of(c->data, c->size));
}

/* --- out -------------------------------------------------------------------- */

static void end_outgoing(outgoing *o) {
        o->pump = image_pump_free(o->pump);
        *o = (outgoing) {0};
}

static outgoing *find_outgoing(snapshots *n, uint64_t session) {
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++)
                if (n->out[i].session == session)
                        return &n->out[i];
        return NULL;
}

static void fail_outgoing(snapshots *n, outgoing *o, const char *text) {
        rq_log_notice("A snapshot for another node was given up: %s", text);
        send_failed(n, o->session, text);
        end_outgoing(o);
}

/* RQ_EAGAIN: not yet. */
static rq_err try_open(snapshots *n, outgoing *o) {
        store *s = n->store;
        image *opened;
        if (s->reopening)
                return RQ_EAGAIN;
        if (files_checkpoint_index(s->files) < o->min_index) {
                apply_thread_checkpoint(s->writer);
                return RQ_EAGAIN;
        }
        rq_err r = image_open(files_images(s->files), IMAGE_SIDE_BYTES_DEFAULT, &opened);
        if (r == RQ_OK)
                r = image_pump_new(opened, &n->wake, &o->pump);
        if (r < 0)
                return r;
        const image_facts *facts = image_pump_facts(o->pump);
        if (facts->id.index < o->min_index) { /* of before a replacement */
                o->pump = image_pump_free(o->pump);
                return RQ_EAGAIN;
        }
        rq_log_info("A snapshot for another node begins: index %" PRIu64 ", %" PRIu64 " bytes", facts->id.index, facts->bytes);
        return send_head(n, o);
}

static void open_waiting(snapshots *n) {
        bool again = false;
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++) {
                outgoing *o = &n->out[i];
                if (o->session == 0 || o->pump != NULL)
                        continue;
                rq_err r = try_open(n, o);
                if (r == RQ_EAGAIN && rq_clock_mono_us() < o->give_up_us)
                        again = true;
                else if (r < 0)
                        fail_outgoing(n, o, r == RQ_EAGAIN ? "the database didn't get as far as is wanted in time" : rq_err_text(r));
        }
        if (again)
                rq_timer_set(&n->retry, RETRY_US);
}

static void on_retry(void *arg) { open_waiting(arg); }

rq_err snapshots_on_open(snapshots *n, const ipc_frame *frame) {
        Rq__SnapshotOpen *m = rq__snapshot_open__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        const uint64_t session = m->session, min_index = m->min_index;
        rq__snapshot_open__free_unpacked(m, NULL);
        if (session == 0 || find_outgoing(n, session) != NULL)
                return RQ_EPROTO;
        outgoing *o = find_outgoing(n, 0);
        if (o == NULL) {
                send_failed(n, session, "too many snapshots at a time");
                return RQ_OK;
        }
        *o = (outgoing) { .session = session, .min_index = min_index, .give_up_us = rq_clock_mono_us() + OPEN_WAIT_US };
        open_waiting(n);
        return RQ_OK;
}

static void send_chunks(snapshots *n, outgoing *o) {
        ipc_link *link = n->store->consensus;
        while (link != NULL && ipc_link_queued_bytes(link) < LINK_BYTES_MAX) {
                snapshot_chunk *c = image_pump_take(o->pump);
                if (c == NULL)
                        break;
                rq_err r = send_chunk(n, o, c);
                free(c);
                if (r < 0) {
                        fail_outgoing(n, o, rq_err_text(r));
                        return;
                }
        }
        const char *problem = image_pump_problem(o->pump);
        if (problem != NULL)
                fail_outgoing(n, o, problem);
}

rq_err snapshots_on_read(snapshots *n, const ipc_frame *frame) {
        Rq__SnapshotRead *m = rq__snapshot_read__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        outgoing *o = m->session != 0 ? find_outgoing(n, m->session) : NULL;
        if (o != NULL && o->pump != NULL) {
                image_pump_read(o->pump, m->from, m->until, m->released);
                send_chunks(n, o); /* what waited for the link */
        }
        rq__snapshot_read__free_unpacked(m, NULL);
        return RQ_OK; /* none: it has failed, and that is on its way */
}

rq_err snapshots_on_close(snapshots *n, const ipc_frame *frame) {
        Rq__SnapshotSession *m = rq__snapshot_session__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        outgoing *o = m->session != 0 ? find_outgoing(n, m->session) : NULL;
        rq__snapshot_session__free_unpacked(m, NULL);
        if (o != NULL)
                end_outgoing(o);
        return RQ_OK;
}

/* --- in --------------------------------------------------------------------- */

static void end_install(snapshots *n) {
        if (n->install == NULL)
                return;
        n->install = install_free(n->install);
        n->committing = false;
        swap_discard(&files_io_kernel, rq_service_folder_fd(n->store->service));
}

static bool id_equal(const image_id *a, const image_id *b) {
        return rq_uuid_equal(&a->disk_id, &b->disk_id) && a->index == b->index && a->term == b->term && a->digest == b->digest;
}

static bool read_id(const Rq__ImageId *from, image_id *ret_id) {
        if (from == NULL || from->disk_id.len != RQ_UUID_BYTES)
                return false;
        *ret_id = (image_id) { .index = from->index, .term = from->term, .digest = from->digest };
        memcpy(ret_id->disk_id.bytes, from->disk_id.data, RQ_UUID_BYTES);
        return true;
}

/* NULL: it may become this store's database. */
static const char *objection(const store *s, const image_id *id, uint64_t bytes, const state_file *state) {
        const store_state *position = &state->position;
        if (position->index != id->index || position->term != id->term || state->database.bytes != bytes || bytes == 0 ||
            rq_uuid_is_zero(&position->database_id))
                return "what is said of the snapshot doesn't fit together";
        if (!rq_uuid_is_zero(&s->state.database_id) && !rq_uuid_equal(&s->state.database_id, &position->database_id))
                return "it is the snapshot of another cluster";
        if (state->settings.foreign_keys != files_foreign_keys(s->files))
                return state->settings.foreign_keys ? "the cluster was created with -fk=true, this node with -fk=false"
                                                    : "the cluster was created with -fk=false, this node with -fk=true";
        return NULL;
}

static const char GONE_BEYOND[] = "the database has got as far by itself meanwhile";

static bool is_beyond(const snapshots *n, const store_state *position) {
        return n->install_forward_only && n->store->state.index >= position->index;
}

static rq_err begin_install(snapshots *n, uint64_t session, const image_id *id, uint64_t bytes, rq_bytes state_bytes) {
        state_file state;
        size_t offset;
        if (state_file_decode(state_bytes, &state, &offset) < 0)
                return RQ_EPROTO;
        if (n->install != NULL && id_equal(install_id(n->install), id)) {
                n->install_session = session; /* the same bytes: on from where it is */
                return RQ_OK;
        }
        n->install_session = session;
        end_install(n);
        const char *text = objection(n->store, id, bytes, &state);
        if (text == NULL && is_beyond(n, &state.position))
                text = GONE_BEYOND;
        if (text != NULL) {
                rq_log_event(LOG_WARNING, RQ_MSG_SEED_FAILED, "A snapshot from another node was refused: %s", text);
                send_install(n, RQ__INSTALL_STATE__PHASE__FAILED, 0, text);
                return RQ_OK;
        }
        rq_err r = install_new(&files_io_kernel, rq_service_folder_fd(n->store->service), id, &state, &n->wake, &n->install);
        if (r == RQ_OK)
                rq_log_info("A snapshot from another node begins: index %" PRIu64 ", %" PRIu64 " bytes", id->index, bytes);
        return r;
}

static void tell_install(snapshots *n, bool always) {
        uint64_t offset;
        const char *problem;
        if (n->install == NULL || n->committing)
                return;
        install_phase phase = install_phase_of(n->install, &offset, &problem);
        if (!always && phase == n->told_phase && offset == n->told_offset)
                return;
        n->told_phase = phase;
        n->told_offset = offset;
        n->stats.staged_bytes = offset;
        if (phase == INSTALL_FAILED) {
                rq_log_event(LOG_WARNING, RQ_MSG_SEED_FAILED, "A snapshot from another node was given up at %" PRIu64 " bytes: %s", offset, problem);
                send_install(n, RQ__INSTALL_STATE__PHASE__FAILED, offset, problem);
                end_install(n);
                return;
        }
        send_install(n, phase == INSTALL_STAGED ? RQ__INSTALL_STATE__PHASE__STAGED : RQ__INSTALL_STATE__PHASE__STAGING, offset, "");
}

rq_err snapshots_on_begin(snapshots *n, const ipc_frame *frame) {
        Rq__InstallBegin *m = rq__install_begin__unpack(NULL, frame->body.size, frame->body.data);
        image_id id;
        if (m == NULL || !read_id(m->id, &id)) {
                rq__install_begin__free_unpacked(m, NULL);
                return RQ_EPROTO;
        }
        const uint64_t session = m->session, bytes = m->bytes;
        const bool forward_only = m->forward_only;
        rq__install_begin__free_unpacked(m, NULL);
        if (n->committing || n->store->reopening)
                return RQ_OK; /* asked again, if it is still wanted then */
        n->install_forward_only = forward_only;
        rq_err r = begin_install(n, session, &id, bytes, frame->payload);
        if (r == RQ_OK)
                tell_install(n, true);
        return r;
}

rq_err snapshots_on_chunk(snapshots *n, const ipc_frame *frame) {
        Rq__SnapshotChunk *m = rq__snapshot_chunk__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        snapshot_chunk *c = NULL;
        if (n->install != NULL && m->session == n->install_session && !n->committing) {
                c = malloc(sizeof *c + frame->payload.size);
                if (c != NULL) {
                        *c = (snapshot_chunk) { .offset = m->offset, .raw_bytes = m->raw_bytes, .crc = m->crc, .packed = m->packed != 0,
                                                .size = frame->payload.size };
                        memcpy(c->data, frame->payload.data, frame->payload.size);
                }
        }
        rq__snapshot_chunk__free_unpacked(m, NULL);
        /* One that doesn't follow is of before a loss: the sender is told where to go on. */
        if (c != NULL && install_put(n->install, c) < 0)
                tell_install(n, true);
        return RQ_OK;
}

rq_err snapshots_on_commit(snapshots *n, const ipc_frame *frame) {
        Rq__SnapshotSession *m = rq__snapshot_session__unpack(NULL, frame->body.size, frame->body.data);
        if (m == NULL)
                return RQ_EPROTO;
        const uint64_t session = m->session;
        uint64_t offset;
        const char *problem;
        rq__snapshot_session__free_unpacked(m, NULL);
        if (n->install == NULL || session != n->install_session || n->committing || n->store->reopening ||
            install_phase_of(n->install, &offset, &problem) != INSTALL_STAGED)
                return RQ_OK;
        n->committing = true;
        apply_thread_swap(n->store->writer, &install_state(n->install)->position, n->install_forward_only);
        return RQ_OK;
}

/* The log brought what the snapshot was for: it must not be installed any more, and its file takes space. */
static void give_up_if_beyond(snapshots *n) {
        if (n->install == NULL || n->committing || !is_beyond(n, &install_state(n->install)->position))
                return;
        rq_log_notice("A snapshot from another node was given up: %s", GONE_BEYOND);
        send_install(n, RQ__INSTALL_STATE__PHASE__FAILED, 0, GONE_BEYOND);
        end_install(n);
}

void snapshots_applied(snapshots *n) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        rq_err r;
        if (apply_thread_swap_result(n->store->writer, &r, &text) && r < 0 && n->install != NULL) {
                char shown[SMALL_TEXT_BYTES];
                (void) snprintf(shown, sizeof shown, "%.*s", (int) text.size, text.size > 0 ? (const char *) text.data : "");
                (void) rq_log_error_event(r, RQ_MSG_SEED_FAILED, "The snapshot from another node cannot become the database: %s", shown);
                send_install(n, RQ__INSTALL_STATE__PHASE__FAILED, 0, shown);
                end_install(n);
        }
        give_up_if_beyond(n);
        open_waiting(n);
}

/* --- life ------------------------------------------------------------------- */

static void on_wake(void *arg) {
        snapshots *n = arg;
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++)
                if (n->out[i].pump != NULL)
                        send_chunks(n, &n->out[i]);
        tell_install(n, false);
}

void snapshots_consensus_down(snapshots *n) {
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++)
                end_outgoing(&n->out[i]);
}

void snapshots_files_close(snapshots *n) {
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++)
                if (n->out[i].session != 0)
                        fail_outgoing(n, &n->out[i], "the database was replaced");
}

void snapshots_files_open(snapshots *n) {
        if (n->install == NULL || !n->committing)
                return;
        char index[48];
        const char *fields[] = { RQ_MSG_SEEDED, rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, n->store->state.index), NULL };
        rq_log_write(LOG_NOTICE, fields, "The database is the snapshot of another node now, at index %" PRIu64, n->store->state.index);
        n->stats.installed_count++;
        send_install(n, RQ__INSTALL_STATE__PHASE__DONE, n->told_offset, "");
        n->install = install_free(n->install);
        n->committing = false;
}

rq_err snapshots_new(store *s, snapshots **ret_snapshots) {
        snapshots *n = calloc(1, sizeof *n);
        if (n == NULL)
                return RQ_ENOMEM;
        n->store = s;
        n->wake.fd = -1;
        rq_err r = rq_wake_init(&n->wake, rq_service_loop(s->service), on_wake, n);
        if (r >= 0)
                r = rq_timer_init(&n->retry, rq_service_loop(s->service), on_retry, n);
        if (r < 0) {
                (void) snapshots_free(n);
                return r;
        }
        *ret_snapshots = n;
        return RQ_OK;
}

snapshots *snapshots_free(snapshots *n) {
        if (n == NULL)
                return NULL;
        snapshots_consensus_down(n);
        n->install = install_free(n->install); /* what it staged: the next start deletes it, or finishes the swap */
        if (n->retry.event != NULL)
                rq_timer_done(&n->retry);
        if (n->wake.event != NULL)
                rq_wake_done(&n->wake);
        free(n);
        return NULL;
}

void snapshots_stats_get(snapshots *n, snapshots_stats *ret_stats) {
        *ret_stats = n->stats;
        for (size_t i = 0; i < SNAPSHOTS_OUT_MAX; i++)
                ret_stats->sending += n->out[i].pump != NULL;
        ret_stats->staging = n->install != NULL;
        ret_stats->staging_bytes = n->install != NULL ? install_state(n->install)->database.bytes : 0;
}
