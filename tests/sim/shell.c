#include "shell.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dispatch.h"
#include "folder.h"
#include "log/log_fields.h"
#include "members.h"
#include "node_parts.h"
#include "world.h"

enum { LINK_US = 30, TASK_US = 40 };

/* --- what production's functions call ------------------------------------------ */

/* Opaque there, and a shell here. */
static shell *shell_of_peers(peers *p) { return (shell *) (void *) p; }
static shell *shell_of_consensus(const consensus *c) { return (shell *) (void *) (uintptr_t) c; }

uint64_t __wrap_rq_clock_mono_us(void);
void __wrap_rq_random_bytes(void *data, size_t size);
rq_uuid __wrap_rq_uuid_random(void);

/* Faster than the rest, so that intervals of seconds end within a run. */
uint64_t __wrap_rq_clock_mono_us(void) {
        const world *w = world_running();
        return 1000000000 + w->now_us * w->tuning.snapshot_pace;
}

void __wrap_rq_random_bytes(void *data, size_t size) {
        world *w = world_running();
        for (size_t i = 0; i < size; i++)
                ((uint8_t *) data)[i] = (uint8_t) rq_rng_next(&w->rng);
}

rq_uuid __wrap_rq_uuid_random(void) {
        rq_uuid uuid;
        __wrap_rq_random_bytes(uuid.bytes, sizeof uuid.bytes);
        return uuid;
}

rq_err rq_task_init(rq_task *task, rq_loop *loop, void (*run)(void *arg), void *arg) {
        *task = (rq_task) { .loop = loop, .run = run, .arg = arg };
        return RQ_OK;
}

void rq_task_done(rq_task *task) { task->pending = false; }

/* Only a receipt has one. */
void rq_task_post(rq_task *task) {
        world *w = world_running();
        for (unsigned i = 0; i < w->node_count; i++) {
                shell *s = w->nodes[i]->shell;
                if (task->pending || s == NULL || task->arg != (void *) s->c.receipt)
                        continue;
                task->pending = true;
                s->rebase = task;
                world_plan(w, world_random(w, TASK_US), (event) { .type = EVENT_REBASE, .node = (uint8_t) i,
                        .tag = w->nodes[i]->incarnation });
        }
}

void rq_log_write(int priority, const char *const *fields, const char *format, ...) {
        (void) priority;
        (void) fields;
        world *w = world_running();
        world_trace(w, (trace_record) { .event = TRACE_SAYS, .node = TRACE_NOBODY, .peer = TRACE_NOBODY, .note = format });
        if (w->o.trace_out == NULL)
                return;
        va_list args;
        va_start(args, format);
        (void) fprintf(w->o.trace_out, "# ");
        (void) vfprintf(w->o.trace_out, format, args);
        (void) fprintf(w->o.trace_out, "\n");
        va_end(args);
}

rq_err rq_log_error_(rq_err err, const char *const *fields, const char *format, ...) {
        (void) fields;
        world_trace(world_running(), (trace_record) { .event = TRACE_SAYS, .node = TRACE_NOBODY, .peer = TRACE_NOBODY, .note = format });
        return err;
}

char *rq_log_field_u64(char *buf, size_t size, const char *name, uint64_t value) {
        (void) snprintf(buf, size, "%s=%lu", name, (unsigned long) value);
        return buf;
}

char *rq_log_field_text(char *buf, size_t size, const char *name, const char *value) {
        (void) snprintf(buf, size, "%s=%s", name, value);
        return buf;
}

void consensus_wake(consensus *c) {
        shell *s = shell_of_consensus(c);
        node_wake(s->w, s->n);
}

const member *members_find(const consensus *c, raft_id id) {
        const membership *m = driver_membership(c->driver, NULL);
        return m != NULL ? membership_find(m, id) : NULL;
}

void dispatch_send_answers(consensus *c) {
        shell *s = shell_of_consensus(c);
        node_send_answers(s->w, s->n);
}

void folder_close(consensus *c) {
        shell *s = shell_of_consensus(c);
        shell_store_down(s->n);
        node_close_folder(s->w, s->n);
        c->driver = NULL;
}

void folder_reopen(consensus *c) {
        shell *s = shell_of_consensus(c);
        s->reopen_failed = node_open_folder(s->w, s->n) < 0;
        c->driver = s->n->driver;
}

/* --- peers ---------------------------------------------------------------------- */

bool peers_is_up(const peers *p, raft_id id) {
        const shell *s = shell_of_peers((peers *) (uintptr_t) p);
        const sim_node *to = world_node_of(s->w, id);
        return to != NULL && s->w->net.connections[s->n->number][to->number][NET_CONTROL].up;
}

rq_err peers_snapshot_connect(peers *p, raft_id to) {
        const shell *s = shell_of_peers(p);
        const sim_node *node = world_node_of(s->w, to);
        if (node == NULL)
                return RQ_ENOENT;
        net_connect(s->w, s->n->number, node->number);
        return RQ_OK;
}

void peers_snapshot_disconnect(peers *p, raft_id to) {
        const shell *s = shell_of_peers(p);
        const sim_node *node = world_node_of(s->w, to);
        if (node != NULL)
                net_disconnect(s->w, s->n->number, node->number);
}

static rq_err send_packet(shell *s, raft_id id, net_class class, packet_kind kind, rq_bytes body, const rq_bytes *pieces,
                          size_t piece_count) {
        const sim_node *to = world_node_of(s->w, id);
        size_t size = body.size, at = body.size;
        if (to == NULL || !s->w->net.connections[s->n->number][to->number][class].up)
                return RQ_EPIPE;
        if (!node_effect(s->n))
                return RQ_OK;
        for (size_t i = 0; i < piece_count; i++)
                size += pieces[i].size;
        packet *p = packet_new(kind, size);
        p->from_id = s->n->id;
        p->to_id = id;
        memcpy(p->data, body.data, body.size);
        for (size_t i = 0; i < piece_count; at += pieces[i++].size)
                if (pieces[i].size > 0)
                        memcpy(p->data + at, pieces[i].data, pieces[i].size);
        net_send(s->w, s->n->number, to->number, class, p);
        return RQ_OK;
}

static void trace_snapshot(shell *s, trace_event what, raft_id peer, uint64_t index, uint64_t count, bool flag, raft_term term) {
        const sim_node *other = world_node_of(s->w, peer);
        world_trace(s->w, (trace_record) { .event = (uint8_t) what, .node = (uint8_t) s->n->number,
                .peer = (uint8_t) (other != NULL ? other->number : TRACE_NOBODY), .index = index, .count = count, .flag = flag, .term = term });
}

rq_err peers_send_snapshot_offer(peers *p, const peer_snapshot_offer *offer, const rq_bytes pieces[static 2]) {
        uint8_t body[PEER_SNAPSHOT_OFFER_BYTES];
        peer_snapshot_offer_encode(offer, body);
        trace_snapshot(shell_of_peers(p), TRACE_SNAPSHOT_OFFER, offer->to, offer->index, offer->session, false, offer->term);
        return send_packet(shell_of_peers(p), offer->to, NET_SNAPSHOT, PACKET_SNAPSHOT_OFFER, rq_bytes_of(body, sizeof body), pieces, 2);
}

rq_err peers_send_snapshot_chunk(peers *p, const peer_snapshot_chunk *chunk, rq_bytes data) {
        uint8_t body[PEER_SNAPSHOT_CHUNK_BYTES];
        peer_snapshot_chunk_encode(chunk, body);
        return send_packet(shell_of_peers(p), chunk->to, NET_SNAPSHOT, PACKET_SNAPSHOT_CHUNK, rq_bytes_of(body, sizeof body), &data, 1);
}

rq_err peers_send_snapshot_reply(peers *p, const peer_snapshot_reply *reply) {
        shell *s = shell_of_peers(p);
        uint8_t body[PEER_SNAPSHOT_REPLY_BYTES];
        peer_snapshot_reply_encode(reply, body);
        if (reply->phase != PEER_SNAPSHOT_STAGING)
                trace_snapshot(s, TRACE_SNAPSHOT_REPLY, reply->to, reply->index, reply->session, reply->phase == PEER_SNAPSHOT_DONE, reply->term);
        if (reply->phase == PEER_SNAPSHOT_DONE)
                check_snapshot_done(s->w, s->n, reply->index);
        return send_packet(s, reply->to, NET_CONTROL, PACKET_SNAPSHOT_REPLY, rq_bytes_of(body, sizeof body), NULL, 0);
}

rq_err peers_send_snapshot_wanted(peers *p, const peer_snapshot_wanted *wanted) {
        uint8_t body[PEER_SNAPSHOT_WANTED_BYTES];
        peer_snapshot_wanted_encode(wanted, body);
        trace_snapshot(shell_of_peers(p), TRACE_SNAPSHOT_WANTED, wanted->to, wanted->min_index, 0, false, wanted->term);
        return send_packet(shell_of_peers(p), wanted->to, NET_CONTROL, PACKET_SNAPSHOT_WANTED, rq_bytes_of(body, sizeof body), NULL, 0);
}

/* --- the link with the store ------------------------------------------------------ */

static store_frame *frame_new(ipc_type type, rq_bytes body, rq_bytes payload) {
        store_frame *f = malloc(sizeof *f + body.size + payload.size);
        rq_assert(f != NULL);
        *f = (store_frame) { .type = type, .body_bytes = body.size, .payload_bytes = payload.size };
        if (body.size > 0)
                memcpy(f->data, body.data, body.size);
        if (payload.size > 0)
                memcpy(f->data + body.size, payload.data, payload.size);
        return f;
}

/* When a frame that is sent now arrives; never before the one before it. */
static uint64_t arrival_us(world *w, uint64_t *last_us) {
        uint64_t at_us = w->now_us + LINK_US + world_random(w, LINK_US);
        *last_us = at_us > *last_us ? at_us : *last_us;
        return *last_us - w->now_us;
}

ipc_link *ipc_connector_link(const ipc_connector *connector) {
        const shell *s = (const shell *) (const void *) connector;
        return s->linked ? (ipc_link *) (void *) (uintptr_t) s : NULL;
}

rq_err ipc_link_send(ipc_link *link, ipc_type type, uint64_t request_id, rq_bytes body, rq_bytes payload) {
        shell *s = (shell *) (void *) link;
        (void) request_id;
        if (!node_effect(s->n))
                return RQ_OK;
        world_plan(s->w, arrival_us(s->w, &s->to_store_us), (event) {
                .type = EVENT_STORE_FRAME, .node = (uint8_t) s->n->number, .tag = s->n->store.incarnation, .number = s->link_number,
                .data = frame_new(type, body, payload),
        });
        return RQ_OK;
}

void shell_say(sim_node *n, ipc_type type, rq_bytes body, rq_bytes payload) {
        shell *s = n->shell;
        if (s == NULL || !s->linked)
                return;
        world_plan(s->w, arrival_us(s->w, &s->from_store_us), (event) {
                .type = EVENT_STORE_SAYS, .node = (uint8_t) n->number, .tag = n->incarnation, .number = s->link_number,
                .data = frame_new(type, body, payload),
        });
}

/* In a turn that may be its last: between any two effects on the disk. */
static bool may_die(shell *s, uint32_t effects) {
        world *w = s->w;
        bool dies = !w->healed && w->faults.weights[FAULT_KILL_IN_TURN] > 0 && world_chance(w, 250);
        if (dies)
                disk_die_after(s->n->disk, (uint32_t) world_random(w, effects));
        return dies;
}

static void die_if_dead(world *w, sim_node *n) {
        bool dead = disk_is_dead(n->disk);
        disk_revive(n->disk);
        if (!dead)
                return;
        node_death how = w->faults.weights[FAULT_POWER_CUT] > 0 && world_chance(w, 500) ? NODE_POWER_CUT : NODE_KILLED;
        world_trace(w, (trace_record) { .event = TRACE_FAULT, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .note = how == NODE_KILLED ? "kill amid an install" : "power cut amid an install" });
        faults_die(w, n, how);
}

void shell_on_said(sim_node *n, const event *e) {
        enum { BASE_EFFECTS = 8 };
        shell *s = n->shell;
        store_frame *f = e->data;
        if (n->up && e->tag == n->incarnation && s->linked && e->number == s->link_number) {
                const ipc_frame frame = {
                        .type = f->type, .body = rq_bytes_of(f->data, f->body_bytes), .payload = rq_bytes_of(f->data + f->body_bytes, f->payload_bytes),
                };
                bool dies = false;
                rq_err r = RQ_OK;
                switch (f->type) {
                case IPC_SNAPSHOT_HEAD: r = snapshot_sends_on_head(s->c.sends, &frame); break;
                case IPC_SNAPSHOT_CHUNK: r = snapshot_sends_on_chunk(s->c.sends, &frame); break;
                case IPC_SNAPSHOT_FAILED: r = snapshot_sends_on_failed(s->c.sends, &frame); break;
                case IPC_INSTALL_STATE:
                        dies = may_die(s, BASE_EFFECTS);
                        r = snapshot_receipt_on_state(s->c.receipt, &frame);
                        break;
                case IPC_FETCH: store_fetch_again(s->w, n); break;
                default: rq_assert(false);
                }
                if (r < 0)
                        world_fail(s->w, "protocol", "node %u: a frame of its store is refused: %s", n->number, rq_err_text(r));
                node_wake(s->w, n);
                if (dies)
                        die_if_dead(s->w, n);
        }
        free(f);
}

void shell_store_up(sim_node *n) {
        if (n->shell->linked)
                shell_store_down(n);
        n->shell->linked = true;
        n->shell->link_number++;
}

/* As on_store_down() of dispatch.c. */
void shell_store_down(sim_node *n) {
        shell *s = n->shell;
        if (s == NULL || !s->linked)
                return;
        s->linked = false;
        s->link_number++;
        if (n->driver != NULL)
                driver_store_gone(n->driver);
        s->c.last_fetch = (stream_fetch) {0};
        store_consensus_down(n);
        snapshot_sends_store_gone(s->c.sends);
        snapshot_receipt_store_gone(s->c.receipt);
}

/* As on_fetch(). */
bool shell_on_fetch(sim_node *n, const stream_fetch *fetch) {
        if (snapshot_receipt_on_fetch(n->shell->c.receipt, fetch->from - 1, fetch->applied_term))
                return true;
        n->shell->c.last_fetch = *fetch;
        return false;
}

/* --- the node's side --------------------------------------------------------------- */

void shell_take_driver(sim_node *n) { n->shell->c.driver = n->driver; }

void shell_start(world *w, sim_node *n) {
        shell *s = calloc(1, sizeof *s);
        rq_assert(s != NULL);
        n->shell = s;
        s->w = w;
        s->n = n;
        s->c.o = (consensus_options) {
                .io = disk_io(n->disk), .dir_path = "its folder", .config.segment_bytes = w->tuning.segment_bytes,
                .config.log_kept_bytes = w->tuning.log_kept_bytes,
        };
        s->c.identity = (identity) { .disk_uuid = n->disk_uuid, .database_id = w->database_id };
        s->c.raft_id = n->id;
        s->c.peers = (peers *) (void *) s;
        s->c.store = (ipc_connector *) (void *) s;
        rq_assert(snapshot_sends_new(&s->c, &s->c.sends) >= 0 && snapshot_receipt_new(&s->c, &s->c.receipt) >= 0);
}

void shell_end(sim_node *n) {
        shell *s = n->shell;
        if (s == NULL)
                return;
        n->shell = NULL;
        s->c.sends = snapshot_sends_free(s->c.sends);
        s->c.receipt = snapshot_receipt_free(s->c.receipt);
        base_file_done(&s->c.base);
        free(s);
}

void shell_turn(sim_node *n) {
        shell *s = n->shell;
        s->c.stopping = n->stopping;
        s->c.storage_failed = n->storage_failed;
        /* While faults go on, a snapshot may be too old when it has come; in the end they have to be enough. */
        s->c.o.config.log_held_bytes = s->w->healed ? UINT64_MAX : s->w->tuning.log_held_bytes;
        snapshot_sends_turn(s->c.sends);
        snapshot_receipt_turn(s->c.receipt);
}

uint64_t shell_after_us(const sim_node *n) {
        uint64_t due_us = snapshot_sends_deadline_us(n->shell->c.sends), receipt_us = snapshot_receipt_deadline_us(n->shell->c.receipt);
        uint64_t now_us = __wrap_rq_clock_mono_us();
        if (receipt_us < due_us)
                due_us = receipt_us;
        if (due_us == UINT64_MAX)
                return UINT64_MAX;
        return due_us > now_us ? (due_us - now_us) / n->shell->w->tuning.snapshot_pace + 1 : 0;
}

raft_index shell_held(const sim_node *n) { return snapshot_sends_held(n->shell->c.sends, log_catalog_bytes(&n->catalog)); }

/* As members.c. */
static rq_err on_offer(shell *s, const peer_snapshot_offer *offer, rq_bytes payload) {
        if (members_find(&s->c, offer->from) == NULL && raft_leader_of(driver_raft(s->c.driver)) != offer->from)
                return RQ_OK;
        return snapshot_receipt_on_offer(s->c.receipt, offer, payload);
}

void shell_receive(sim_node *n, const packet *p) {
        shell *s = n->shell;
        static const size_t bodies[] = {
                [PACKET_SNAPSHOT_OFFER] = PEER_SNAPSHOT_OFFER_BYTES, [PACKET_SNAPSHOT_CHUNK] = PEER_SNAPSHOT_CHUNK_BYTES,
                [PACKET_SNAPSHOT_REPLY] = PEER_SNAPSHOT_REPLY_BYTES, [PACKET_SNAPSHOT_WANTED] = PEER_SNAPSHOT_WANTED_BYTES,
        };
        const size_t size = bodies[p->kind];
        const rq_bytes body = rq_bytes_of(p->data, size), payload = rq_bytes_of(p->data + size, p->size - size);
        peer_snapshot_offer offer;
        peer_snapshot_chunk chunk;
        peer_snapshot_reply reply;
        peer_snapshot_wanted wanted;
        rq_err r = RQ_OK;
        s->c.stopping = n->stopping;
        s->c.storage_failed = n->storage_failed;
        switch (p->kind) {
        case PACKET_SNAPSHOT_OFFER:
                r = peer_snapshot_offer_decode(body, payload, &offer);
                if (r >= 0)
                        r = on_offer(s, &offer, payload);
                break;
        case PACKET_SNAPSHOT_CHUNK:
                r = peer_snapshot_chunk_decode(body, payload, &chunk);
                if (r >= 0)
                        snapshot_receipt_on_chunk(s->c.receipt, &chunk, payload);
                break;
        case PACKET_SNAPSHOT_REPLY:
                r = peer_snapshot_reply_decode(body, &reply);
                if (r >= 0)
                        snapshot_sends_on_reply(s->c.sends, &reply);
                break;
        case PACKET_SNAPSHOT_WANTED:
                r = peer_snapshot_wanted_decode(body, &wanted);
                if (r >= 0)
                        snapshot_sends_on_wanted(s->c.sends, &wanted);
                break;
        default:
                break;
        }
        if (r < 0)
                world_fail(s->w, "protocol", "node %u refuses a message about a snapshot: %s", n->number, rq_err_text(r));
}

void shell_on_link(sim_node *n, raft_id to, bool up) {
        if (n->shell != NULL)
                snapshot_sends_on_link(n->shell->c.sends, to, up);
}

void shell_on_rebase(world *w, sim_node *n) {
        enum { REBASE_EFFECTS = 40 };
        shell *s = n->shell;
        rq_task *task = s->rebase;
        s->rebase = NULL;
        if (task == NULL || !task->pending)
                return;
        task->pending = false;
        const bool ends = n->storage_failed || n->stopping;
        const bool dies = may_die(s, REBASE_EFFECTS);
        s->reopen_failed = false;
        task->run(task->arg);
        if (dies && disk_is_dead(n->disk)) {
                die_if_dead(w, n);
                return;
        }
        disk_revive(n->disk);
        if (s->reopen_failed || ends)
                faults_die(w, n, NODE_KILLED);
}
