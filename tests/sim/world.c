#include "world.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "core/membership.h"

enum { QUIET_US = 40000000 /* virtual time that progress may need */, STEPS_TO_PROGRESS = 400000 };

static world *running; /* for a report from a signal handler */

world *world_running(void) { return running; }

void world_print_last(FILE *out, unsigned count) {
        if (running != NULL)
                trace_print_last(&running->trace, out, count);
}

uint64_t world_random(world *w, uint64_t bound) { return bound == 0 ? 0 : rq_rng_below(&w->rng, bound); }
bool world_chance(world *w, uint64_t per_mille) { return rq_rng_below(&w->rng, 1000) < per_mille; }

void world_plan(world *w, uint64_t after_us, event new) {
        new.at_us = w->now_us + after_us;
        events_add(&w->events, new);
}

void world_trace(world *w, trace_record record) {
        record.at_us = w->now_us;
        trace_add(&w->trace, &record);
}

void world_fail(world *w, const char *checker, const char *format, ...) {
        if (w->failed)
                return;
        w->failed = true;
        int used = snprintf(w->failure, sizeof w->failure, "%s: ", checker);
        va_list args;
        va_start(args, format);
        (void) vsnprintf(w->failure + used, sizeof w->failure - (size_t) used, format, args);
        va_end(args);
}

sim_node *world_node_of(const world *w, raft_id id) {
        for (unsigned i = 0; i < w->node_count; i++)
                if (w->nodes[i]->id == id)
                        return w->nodes[i];
        return NULL;
}

static uint64_t one_of(world *w, const uint64_t *values, size_t count) { return values[world_random(w, count)]; }

static void tune(world *w) {
        static const uint64_t heartbeats[] = { 5000, 10000, 20000, 50000 }, disks[] = { 20, 200, 1000, 6000 },
                latencies[] = { 30, 200, 1000 },
                thinks[] = { 500, 3000, 15000 }, segments[] = { 16384, 32768, 131072 },
                        links[] = { 4096, 65536, 1048576 };
        world_tuning *t = &w->tuning;
        bool calm = w->o.mode == WORLD_CALM;
        t->heartbeat_us = one_of(w, heartbeats, 4);
        t->election_us = t->heartbeat_us * (6 + world_random(w, 6));
        t->drift_ppm = calm ? 0 : one_of(w, (const uint64_t[]) { 0, 200, 50000 }, 3);
        t->lease_us = world_chance(w, 500) ? t->election_us * 3 / 4 : 0;
        t->disk_stall_us = t->election_us * (2 + world_random(w, 6));
        t->latency_us = one_of(w, latencies, 3);
        t->latency_more_us = t->latency_us * (1 + world_random(w, 3));
        t->disk_us = one_of(w, disks, calm ? 2 : 4);
        t->disk_more_us = t->disk_us * (1 + world_random(w, 3));
        t->think_us = one_of(w, thinks, 3);
        t->timeout_us = calm ? 2000000 : 50000 + world_random(w, 2000000);
        t->segment_bytes = one_of(w, segments, 3);
        t->link_bytes = one_of(w, links, 3);
        t->clients = 1 + (unsigned) world_random(w, 12);
        t->body_bytes = (unsigned) one_of(w, (const uint64_t[]) { 1, 1, 200, 200, 3000, 30000 }, 6);
        t->compaction = world_chance(w, 500);
        t->snapshot_pace = one_of(w, (const uint64_t[]) { 4, 10, 50 }, 3);
        t->image_chunks = one_of(w, (const uint64_t[]) { 1, 8, 40 }, 3);
        t->chunk_us = one_of(w, (const uint64_t[]) { 20, 500, 5000 }, 3);
        t->log_kept_bytes = 16384 * (1 + world_random(w, 5));
        t->log_held_bytes = 4 * t->log_kept_bytes;
        t->checkpoints = 100;
        t->snapshots = t->compaction && world_chance(w, 600);
        if (t->snapshots) { /* many segments in a short time */
                t->clients += 3;
                t->checkpoints = (unsigned) one_of(w, (const uint64_t[]) { 40, 100, 300 }, 3);
                t->think_us = thinks[world_random(w, 2)];
                t->segment_bytes = segments[0];
                t->body_bytes = (unsigned) one_of(w, (const uint64_t[]) { 200, 3000, 3000, 8000 }, 4);
        }
        t->refusals = calm ? 0 : (unsigned) one_of(w, (const uint64_t[]) { 0, 0, 10, 200 }, 4);
        if (w->o.mode != WORLD_DUEL)
                return;
        t->heartbeat_us = one_of(w, heartbeats, 2);
        t->election_us = t->heartbeat_us * (6 + world_random(w, 6));
        t->lease_us = t->election_us * 3 / 4;
        t->latency_us = one_of(w, latencies, 2);
        t->latency_more_us = t->latency_us;
        t->disk_us = one_of(w, disks, 2);
        t->disk_stall_us = t->election_us * 6;
        t->think_us = thinks[0];
        t->drift_ppm = one_of(w, (const uint64_t[]) { 0, 200 }, 2);
        if (world_chance(w, 300)) { /* what one leader has for itself takes several appends */
                t->clients = 40 + (unsigned) world_random(w, 60);
                t->body_bytes = 30000;
                t->timeout_us = 100000 + world_random(w, 200000);
                t->segment_bytes = 1048576;
        }
}

static void found_cluster(world *w) {
        membership members = { .count = w->founder_count };
        for (unsigned i = 0; i < w->founder_count; i++) {
                members.members[i] = node_member(w->nodes[i]);
                members.members[i].voter = true;
        }
        rq_buf record = {0}, body = {0};
        rq_assert(membership_encode(&members, &body) >= 0 && rq_buf_reserve(&record,
                        RECORD_HEADER_BYTES + body.size) >= 0);
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = record_kind_level(RECORD_CONFIGURATION), .index = 1,
                .term = 1,
                .clock_us = 1700000000000000, .database_id = w->database_id,
        };
        record_header_encode(record.data, &header, rq_buf_bytes(&body));
        memcpy(record.data + RECORD_HEADER_BYTES, body.data, body.size);
        record.size = RECORD_HEADER_BYTES + body.size;
        for (unsigned i = 0; i < w->node_count; i++)
                if (i < w->founder_count)
                        node_found(w, w->nodes[i], rq_buf_bytes(&record));
                else
                        node_prepare_joining(w, w->nodes[i]);
        rq_buf_done(&record);
        rq_buf_done(&body);
}

static void build(world *w) {
        static const unsigned counts[] = { 3, 3, 5 };
        w->rng = rq_rng_seeded(w->o.seed * 0x9e3779b97f4a7c15u + (uint64_t) w->o.mode);
        w->trace.out = w->o.trace_out;
        tune(w);
        faults_choose(w);
        if (world_chance(w, 700)) /* much of what goes wrong goes wrong early */
                w->o.steps = w->o.steps / 10 + world_random(w, w->o.steps / 3 + 1);
        w->founder_count = w->o.nodes != 0 ? w->o.nodes : counts[world_random(w, 3)];
        w->node_count = w->founder_count;
        if (w->o.mode == WORLD_DUEL)
                w->node_count++;
        else if (w->faults.weights[FAULT_CONFIGURE] > 0)
                w->node_count += (unsigned) world_random(w, 3);
        rq_put_u64(w->database_id.bytes, rq_rng_next(&w->rng) | 1);
        for (unsigned i = 0; i < w->node_count; i++)
                w->nodes[i] = node_new(w, i);
        found_cluster(w);
        for (unsigned i = 0; i < w->node_count; i++) {
                store_start(w, w->nodes[i]);
                node_start_later(w, w->nodes[i], world_random(w, 20000));
        }
        clients_start(w);
        faults_start(w);
        if (w->o.mode == WORLD_DUEL)
                duels_start(w);
}

static void tear_down(world *w) {
        for (unsigned i = 0; i < w->node_count; i++)
                w->nodes[i] = node_free(w->nodes[i]);
        net_done(&w->net);
        events_done(&w->events);
        clients_done(&w->clients);
        checks_done(&w->checks);
}

/* Of a process that isn't there any more. */
static bool is_void(const event *e, const sim_node *n) { return !n->up || e->tag != n->incarnation; }

static void handle_node(world *w, const event *e, sim_node *n) {
        switch (e->type) {
        case EVENT_TURN:
                if (!is_void(e, n))
                        node_on_turn(w, n);
                break;
        case EVENT_TIMER:
                if (!is_void(e, n))
                        node_on_timer(w, n, e->number);
                break;
        case EVENT_DISK:
                if (!is_void(e, n))
                        node_on_disk(w, n);
                break;
        case EVENT_START:
                if (e->tag == n->incarnation)
                        node_start(w, n);
                break;
        case EVENT_RESTART:
                if (is_void(e, n))
                        break;
                world_trace(w, (trace_record) { .event = TRACE_RESTART, .node = (uint8_t) n->number,
                        .peer = TRACE_NOBODY });
                node_die(w, n, NODE_KILLED);
                node_start_later(w, n, 1000 + world_random(w, 20000));
                break;
        case EVENT_PACKET: net_on_packet(w, e); break;
        case EVENT_LINK: net_on_link(w, e); break;
        case EVENT_STORE_START:
                if (!n->store.up)
                        store_start(w, n);
                break;
        case EVENT_STORE_BATCH: store_on_batch(w, n, e); break;
        case EVENT_STORE_READ: store_on_read(w, n, e); break;
        case EVENT_STORE_APPLIED: store_on_applied(w, n, e); break;
        case EVENT_STORE_FRAME: store_on_frame(w, n, e); break;
        case EVENT_STORE_PUMP: store_on_pump(w, n, e); break;
        case EVENT_STORE_SWAP: store_on_swap(w, n, e); break;
        case EVENT_STORE_REOPENED: store_on_reopened(w, n, e); break;
        case EVENT_STORE_SAYS: shell_on_said(n, e); break;
        case EVENT_REBASE:
                if (!is_void(e, n))
                        shell_on_rebase(w, n);
                break;
        default: break;
        }
}

static void handle(world *w, const event *e) {
        switch (e->type) {
        case EVENT_RESULT: clients_on_result(w, w->nodes[e->node], e); break;
        case EVENT_CLIENT: clients_on_client(w, e); break;
        case EVENT_OVERDUE: clients_on_overdue(w, e); break;
        case EVENT_FAULT: faults_on_fault(w); break;
        case EVENT_DUEL: duels_on_duel(w); break;
        case EVENT_HEAL_CUT: faults_on_heal_cut(w, e); break;
        case EVENT_HEAL_DISK: faults_on_heal_disk(w, e); break;
        default: {
                sim_node *n = w->nodes[e->node];
                bool of_others = e->type == EVENT_LINK || (e->type >= EVENT_STORE_START && e->type <= EVENT_STORE_READ);
                if (n->paused_until_us > e->at_us && !of_others) { /* waits for it, in order */
                        event later = *e;
                        world_plan(w, n->paused_until_us - w->now_us, later);
                        break;
                }
                handle_node(w, e, n);
                break;
        }
        }
}

static bool step(world *w) {
        event e;
        if (!events_next(&w->events, &e))
                return false;
        rq_assert(e.at_us >= w->now_us);
        w->now_us = e.at_us;
        w->steps_done++;
        handle(w, &e);
        return !w->failed;
}

static world_result result_of(const world *w) {
        world_result r = {
                .failed = w->failed, .hash = w->trace.hash, .steps = w->steps_done, .virtual_us = w->now_us,
                .late_leaders = w->checks.late_leaders, .leader_changes = w->checks.leader_changes,
                .messages = w->net.messages, .bytes = w->net.bytes,
                .writes = w->clients.writes, .reads = w->clients.reads, .stale_weak_reads = w->clients.stale_weak_reads,
                .committed = checks_commit(w), .installs = w->checks.installs, .rebases = w->checks.rebases,
        };
        memcpy(r.failure, w->failure, sizeof r.failure);
        for (unsigned i = 0; i < w->node_count; i++)
                r.restarts += w->nodes[i]->incarnation;
        return r;
}

static void require_progress(world *w) {
        faults_heal(w);
        uint64_t until_us = w->now_us + QUIET_US, until_step = w->steps_done + STEPS_TO_PROGRESS;
        while (!w->failed && !check_progress(w)) {
                if (w->now_us > until_us || w->steps_done > until_step) {
                        world_fail(w, "progress", "no progress within %lu s after everything was healed",
                                   (unsigned long) (QUIET_US / 1000000));
                        break;
                }
                bool goes_on = true;
                for (int i = 0; i < 20 && goes_on; i++)
                        goes_on = step(w);
                /* The last event may have been what it waited for. */
                if (!goes_on && !w->failed && !check_progress(w))
                        world_fail(w, "progress", "nothing happens any more");
        }
}

world_result world_run(const world_options *options, unsigned trace_count) {
        world *w = calloc(1, sizeof *w);
        rq_assert(w != NULL);
        w->o = *options;
        running = w;
        build(w);
        while (!w->failed && w->steps_done < w->o.steps && step(w))
                ;
        if (!w->failed)
                require_progress(w);
        if (w->failed)
                trace_print_last(&w->trace, stderr, trace_count);
        world_result result = result_of(w);
        tear_down(w);
        running = NULL;
        free(w);
        return result;
}
