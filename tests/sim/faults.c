#include "faults.h"

#include <string.h>

#include "core/membership.h"
#include "world.h"

static const char *const names[FAULT_COUNT] = {
        [FAULT_KILL] = "kill", [FAULT_KILL_IN_TURN] = "kill between two effects", [FAULT_POWER_CUT] = "power cut",
        [FAULT_POWER_CUT_ALL] = "power cut of all", [FAULT_STOP] = "polite stop", [FAULT_PAUSE] = "pause",
        [FAULT_CUT_ONE_WAY] = "one-way cut", [FAULT_ISOLATE] = "isolated", [FAULT_SPLIT] = "split",
                [FAULT_BRIDGE] = "bridge",
        [FAULT_BREAK_LINK] = "connection breaks", [FAULT_SLOW_NODE] = "slow network",
                [FAULT_DISK_STALL] = "disk stalls",
        [FAULT_SYNC_FAILS] = "sync fails", [FAULT_WRITE_FAILS] = "write fails", [FAULT_DISK_FULL] = "disk full",
                [FAULT_ROT] = "bit rot",
        [FAULT_WIPE] = "wiped disk", [FAULT_STORE_KILL] = "store killed", [FAULT_GATEWAY_GONE] = "gateway gone",
        [FAULT_CLOCK_JUMP] = "wall clock jumps", [FAULT_TRANSFER] = "transfer", [FAULT_CONFIGURE] = "members change",
        [FAULT_STORE_WIPE] = "database lost",
};

/* Weight when it is in the mixture. */
static const uint32_t usual[FAULT_COUNT] = {
        [FAULT_KILL] = 20, [FAULT_KILL_IN_TURN] = 20, [FAULT_POWER_CUT] = 20, [FAULT_POWER_CUT_ALL] = 4,
                [FAULT_STOP] = 5, [FAULT_PAUSE] = 20,
        [FAULT_CUT_ONE_WAY] = 20, [FAULT_ISOLATE] = 15, [FAULT_SPLIT] = 15, [FAULT_BRIDGE] = 8, [FAULT_BREAK_LINK] = 20,
        [FAULT_SLOW_NODE] = 8, [FAULT_DISK_STALL] = 12, [FAULT_SYNC_FAILS] = 4, [FAULT_WRITE_FAILS] = 4,
                [FAULT_DISK_FULL] = 5,
        [FAULT_ROT] = 2, [FAULT_WIPE] = 1, [FAULT_STORE_KILL] = 12, [FAULT_GATEWAY_GONE] = 4, [FAULT_CLOCK_JUMP] = 4,
        [FAULT_TRANSFER] = 12, [FAULT_CONFIGURE] = 30, [FAULT_STORE_WIPE] = 5,
};

void faults_choose(world *w) {
        faults *f = &w->faults;
        *f = (faults) { .every_us = 2000 + world_random(w, 100000), .down_us = 5000 + world_random(w, 400000) };
        if (w->o.mode == WORLD_CALM)
                return;
        for (int i = 0; i < FAULT_COUNT; i++)
                if (world_chance(w, w->o.mode == WORLD_DUEL ? 60 : 450))
                        f->weights[i] = usual[i];
        /* Who changes its members needs them all: they are not lost for good. */
        if (f->weights[FAULT_CONFIGURE] > 0 || w->o.mode == WORLD_DUEL)
                f->weights[FAULT_ROT] = f->weights[FAULT_WIPE] = 0;
        /* A database that is lost counts like a disk, until it has come back by a snapshot: nothing else is lost then. */
        if (!w->tuning.snapshots || f->weights[FAULT_CONFIGURE] > 0)
                f->weights[FAULT_STORE_WIPE] = 0;
        if (f->weights[FAULT_STORE_WIPE] > 0)
                f->weights[FAULT_ROT] = f->weights[FAULT_WIPE] = 0;
        if (w->o.mode == WORLD_WILD) {
                w->net.loss = world_chance(w, 600) ? world_random(w, 100) : 0;
                w->net.duplication = world_chance(w, 600) ? world_random(w, 100) : 0;
                w->net.delay = world_chance(w, 600) ? world_random(w, 200) : 0;
                w->net.replay = world_chance(w, 600) ? world_random(w, 30) : 0;
        }
}

static void plan_fault(world *w) {
        world_plan(w, 1 + world_random(w, 2 * w->faults.every_us), (event) { .type = EVENT_FAULT,
                .node = TRACE_NOBODY });
}

void faults_start(world *w) {
        uint32_t all = 0;
        for (int i = 0; i < FAULT_COUNT; i++)
                all += w->faults.weights[i];
        if (all > 0)
                plan_fault(w);
}

bool faults_may_break(const world *w) {
        return w->o.mode == WORLD_WILD || 2 * (w->faults.broken + 1) < w->node_count;
}

void faults_broke(world *w, sim_node *n) {
        (void) n;
        w->faults.broken++;
}

static fault choose(world *w) {
        uint32_t all = 0;
        for (int i = 0; i < FAULT_COUNT; i++)
                all += w->faults.weights[i];
        uint64_t dice = world_random(w, all);
        int i = 0;
        while (dice >= w->faults.weights[i])
                dice -= w->faults.weights[i++];
        return (fault) i;
}

/* The leader, or anybody. */
static sim_node *victim(world *w) {
        if (world_chance(w, 400))
                for (unsigned i = 0; i < w->node_count; i++)
                        if (w->nodes[i]->up && w->nodes[i]->seen_role == RAFT_LEADER)
                                return w->nodes[i];
        return w->nodes[world_random(w, w->node_count)];
}

static uint64_t short_or_long(world *w, uint64_t most_us) {
        return 1 + (world_chance(w, 500) ? world_random(w, most_us / 20 + 1) : world_random(w, most_us));
}

static void plan_heal_cut(world *w, unsigned from, unsigned to) {
        world_plan(w, short_or_long(w, 1500000), (event) { .type = EVENT_HEAL_CUT, .node = (uint8_t) to,
                .peer = (uint8_t) from });
}

static void cut(world *w, unsigned from, unsigned to) {
        if (from == to || w->net.cut[from][to])
                return;
        net_set_cut(w, from, to, true);
        plan_heal_cut(w, from, to);
}

static void split(world *w, bool bridge) {
        unsigned side[WORLD_NODES_MAX];
        for (unsigned i = 0; i < w->node_count; i++)
                side[i] = (unsigned) world_random(w, 2);
        unsigned spared = bridge ? (unsigned) world_random(w, w->node_count) : w->node_count;
        for (unsigned i = 0; i < w->node_count; i++)
                for (unsigned k = 0; k < w->node_count; k++)
                        if (i != spared && k != spared && side[i] != side[k])
                                cut(w, i, k);
}

static void isolate(world *w, const sim_node *n) {
        for (unsigned i = 0; i < w->node_count; i++) {
                cut(w, n->number, i);
                cut(w, i, n->number);
        }
}

void faults_die(world *w, sim_node *n, node_death how) {
        node_die(w, n, how);
        node_start_later(w, n, w->healed ? 1000 : short_or_long(w, w->faults.down_us));
        if (how == NODE_POWER_CUT && !n->store.up)
                world_plan(w, w->healed ? 1000 : short_or_long(w, w->faults.down_us), (event) { .type = EVENT_STORE_START,
                        .node = (uint8_t) n->number });
}

static void stop_politely(world *w, sim_node *n) {
        if (!n->up || n->stopping)
                return;
        (void) driver_transfer(n->driver, 0);
        n->stopping = true;
        n->disturbed_us = w->now_us;
        driver_stop(n->driver);
        node_wake(w, n);
        world_plan(w, 1000 + world_random(w, 200000), (event) { .type = EVENT_RESTART, .node = (uint8_t) n->number,
                .tag = n->incarnation });
}

static void store_killed(world *w, sim_node *n) {
        if (!n->store.up)
                return;
        store_die(w, n, false);
        world_plan(w, short_or_long(w, w->faults.down_us), (event) { .type = EVENT_STORE_START,
                .node = (uint8_t) n->number });
}

bool faults_stores_are_whole(const world *w) {
        for (unsigned i = 0; i < w->node_count; i++)
                if (w->nodes[i]->store.checkpoint.applied < w->nodes[i]->store.told_before || w->nodes[i]->store.reopening)
                        return false;
        return true;
}

/* What every store of the others has must be enough. */
static void wipe_store(world *w, sim_node *n) {
        if (w->faults.broken > 0 || !faults_stores_are_whole(w) || n->store.checkpoint.applied == 0)
                return;
        if (n->store.up)
                store_killed(w, n);
        store_wipe(w, n);
}

static void pause_node(world *w, sim_node *n) {
        uint64_t until_us = w->now_us + short_or_long(w, 1500000);
        if (!n->up || n->paused_until_us > w->now_us)
                return;
        n->disturbed_us = until_us;
        n->paused_until_us = until_us;
}

static void disk_fault(world *w, sim_node *n, fault kind) {
        switch (kind) {
        case FAULT_DISK_STALL:
                w->faults.stall_until_us[n->number] = w->now_us + short_or_long(w, 2000000);
                break;
        case FAULT_SYNC_FAILS:
                disk_fail_next_sync(n->disk);
                break;
        case FAULT_WRITE_FAILS:
                disk_fail_next_write(n->disk);
                break;
        case FAULT_DISK_FULL:
                disk_set_full(n->disk, true);
                world_plan(w, short_or_long(w, 1000000), (event) { .type = EVENT_HEAL_DISK,
                        .node = (uint8_t) n->number });
                break;
        default:
                break;
        }
}

static void rot(world *w, sim_node *n) {
        /* Noticed at the next start, or when a peer needs it. */
        if (!faults_may_break(w) || n->broken)
                return;
        n->rotten |= disk_rot(n->disk);
        node_die(w, n, NODE_KILLED);
        node_start_later(w, n, short_or_long(w, w->faults.down_us));
}

void faults_wipe(world *w, sim_node *n) {
        if (!faults_may_break(w) || n->broken)
                return;
        node_die(w, n, NODE_POWER_CUT);
        disk_wipe(n->disk);
        n->broken = true; /* what it had acknowledged still counts: the others must bear the loss */
        faults_broke(w, n);
}

static void transfer(world *w) {
        for (unsigned i = 0; i < w->node_count; i++) {
                const sim_node *to = w->nodes[world_random(w, w->node_count)];
                if (!w->nodes[i]->up || w->nodes[i]->seen_role != RAFT_LEADER)
                        continue;
                (void) driver_transfer(w->nodes[i]->driver, world_chance(w, 300) ? 0 : to->id);
                node_wake(w, w->nodes[i]);
        }
}

static uint32_t voters_of(const membership *m) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < m->count; i++)
                count += m->members[i].voter;
        return count;
}

/* Adds, promotes, demotes or removes one. */
static void change_one(world *w, membership *m) {
        const sim_node *n = w->nodes[world_random(w, w->node_count)];
        uint32_t at = 0;
        while (at < m->count && !rq_uuid_equal(&m->members[at].disk_uuid, &n->disk_uuid))
                at++;
        if (at == m->count) {
                m->members[m->count] = node_member(n);
                m->members[m->count++].voter = world_chance(w, 400);
                return;
        }
        bool goes = world_chance(w, 500), voter = m->members[at].voter;
        if (voter && voters_of(m) <= 1 + world_random(w, 3))
                return;
        if (goes)
                m->members[at] = m->members[--m->count];
        else
                m->members[at].voter = !voter;
}

static void configure(world *w) {
        for (unsigned i = 0; i < w->node_count; i++) {
                sim_node *n = w->nodes[i];
                if (!n->up || n->seen_role != RAFT_LEADER)
                        continue;
                const membership *now = driver_membership(n->driver, NULL);
                if (now == NULL || now->joint)
                        continue;
                membership target = *now;
                for (uint64_t changes = world_chance(w, 400) ? 1 : 2 + world_random(w, 3); changes > 0; changes--)
                        change_one(w, &target);
                rq_err r = driver_configure(n->driver, &target);
                world_trace(w, (trace_record) {
                        .event = TRACE_CHANGE_CONF, .node = (uint8_t) i, .peer = TRACE_NOBODY, .count = target.count,
                        .index = voters_of(&target),
                        .note = r < 0 ? rq_err_text(r) : NULL,
                });
                node_wake(w, n);
        }
}

static void inflict(world *w, fault kind) {
        sim_node *n = victim(w);
        w->faults.count[kind]++;
        world_trace(w, (trace_record) { .event = TRACE_FAULT, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                .note = names[kind] });
        switch (kind) {
        case FAULT_KILL: faults_die(w, n, NODE_KILLED); break;
        case FAULT_KILL_IN_TURN: n->effects_left = (uint32_t) world_random(w, 12); break;
        case FAULT_POWER_CUT:
                faults_die(w, n, NODE_POWER_CUT);
                break;
        case FAULT_POWER_CUT_ALL:
                for (unsigned i = 0; i < w->node_count; i++)
                        faults_die(w, w->nodes[i], NODE_POWER_CUT);
                break;
        case FAULT_STOP: stop_politely(w, n); break;
        case FAULT_PAUSE: pause_node(w, n); break;
        case FAULT_CUT_ONE_WAY: cut(w, n->number, (unsigned) world_random(w, w->node_count)); break;
        case FAULT_ISOLATE: isolate(w, n); break;
        case FAULT_SPLIT: split(w, false); break;
        case FAULT_BRIDGE: split(w, true); break;
        case FAULT_BREAK_LINK:
                net_break(w, n->number, (unsigned) world_random(w, w->node_count),
                          (net_class) world_random(w, NET_CLASSES));
                break;
        case FAULT_SLOW_NODE: w->net.slow_us[n->number] = world_chance(w, 500) ? 0 : world_random(w, 60000); break;
        case FAULT_DISK_STALL: case FAULT_SYNC_FAILS: case FAULT_WRITE_FAILS: case FAULT_DISK_FULL: disk_fault(w, n,
                        kind); break;
        case FAULT_ROT: rot(w, n); break;
        case FAULT_WIPE: faults_wipe(w, n); break;
        case FAULT_STORE_KILL: store_killed(w, n); break;
        case FAULT_GATEWAY_GONE:
                if (n->up) {
                        driver_gateway_gone(n->driver, n->gateway);
                        clients_gateway_gone(w, n);
                }
                break;
        case FAULT_CLOCK_JUMP: n->wall_offset_us += (int64_t) world_random(w, 20000000) - 10000000; break;
        case FAULT_TRANSFER: transfer(w); break;
        case FAULT_CONFIGURE: configure(w); break;
        case FAULT_STORE_WIPE: wipe_store(w, n); break;
        case FAULT_COUNT: break;
        }
}

void faults_on_fault(world *w) {
        if (w->healed)
                return;
        inflict(w, choose(w));
        plan_fault(w);
}

void faults_on_heal_cut(world *w, const event *e) { net_set_cut(w, e->peer, e->node, false); }
void faults_on_heal_disk(world *w, const event *e) {
        disk_set_full(w->nodes[e->node]->disk, false);
        node_space_is_back(w->nodes[e->node]);
}

void faults_heal(world *w) {
        w->healed = true;
        w->faults.healed_us = w->now_us;
        world_trace(w, (trace_record) { .event = TRACE_HEAL, .node = TRACE_NOBODY, .peer = TRACE_NOBODY });
        memset(w->faults.stall_until_us, 0, sizeof w->faults.stall_until_us);
        memset(w->net.slow_us, 0, sizeof w->net.slow_us);
        for (unsigned i = 0; i < w->node_count; i++) {
                sim_node *n = w->nodes[i];
                for (unsigned k = 0; k < w->node_count; k++)
                        net_set_cut(w, i, k, false);
                disk_set_full(n->disk, false);
                node_space_is_back(n);
                n->effects_left = UINT32_MAX;
                if (!n->up)
                        node_start_later(w, n, 1000);
                if (!n->store.up)
                        world_plan(w, 1000, (event) { .type = EVENT_STORE_START, .node = (uint8_t) i });
        }
}
