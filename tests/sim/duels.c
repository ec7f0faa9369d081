#include "duels.h"

#include "core/membership.h"
#include "world.h"

static void plan_step(world *w, uint64_t after_us) {
        world_plan(w, 1 + after_us, (event) { .type = EVENT_DUEL, .node = TRACE_NOBODY });
}

/* Some hops of a message. */
static uint64_t hops(world *w, uint64_t most) {
        return world_random(w, most * (w->tuning.latency_us + w->tuning.latency_more_us + w->tuning.disk_us) + 1);
}

/* Who leads in the highest term, but not this one; node_count: nobody. */
static unsigned leader_but(const world *w, unsigned not) {
        unsigned best = w->node_count;
        for (unsigned i = 0; i < w->node_count; i++)
                if (i != not && w->nodes[i]->up && w->nodes[i]->seen_role == RAFT_LEADER &&
                    (best == w->node_count || w->nodes[i]->seen_term > w->nodes[best]->seen_term))
                        best = i;
        return best;
}

enum { DUEL_LONG_BODY = 30000 }; /* some 35 entries don't fit into one append */

static void set_incoming(world *w, unsigned node, bool cut) {
        for (unsigned i = 0; i < w->node_count; i++)
                if (i != node)
                        net_set_cut(w, i, node, cut);
}

static void set_outgoing(world *w, unsigned node, bool cut) {
        for (unsigned i = 0; i < w->node_count; i++)
                if (i != node)
                        net_set_cut(w, node, i, cut);
}

static void set_both(world *w, unsigned node, bool cut) {
        set_incoming(w, node, cut);
        set_outgoing(w, node, cut);
}

static void end_play(world *w) {
        for (unsigned i = 0; i < w->node_count; i++) {
                set_outgoing(w, i, false);
                w->net.slow_us[i] = 0;
        }
        w->duels.on = false;
        plan_step(w, world_random(w, 4 * w->tuning.election_us));
}

static void play_transfer(world *w) {
        duels *d = &w->duels;
        switch (d->step++) {
        case 0:
                (void) driver_transfer(w->nodes[d->target]->driver, w->nodes[d->rival]->id);
                node_wake(w, w->nodes[d->target]);
                plan_step(w, hops(w, 3));
                break;
        case 1:
                set_incoming(w, d->target, true);
                if (world_chance(w, 300))
                        set_outgoing(w, d->target, true);
                plan_step(w, w->tuning.election_us + world_random(w, 2 * w->tuning.election_us));
                break;
        default: end_play(w); break;
        }
}

/* Slower by and by, or it loses its role for that alone. */
static void play_slow(world *w) {
        duels *d = &w->duels;
        uint64_t election_us = w->tuning.election_us;
        if (d->step == 0) {
                d->repeats = 1 + (unsigned) world_random(w, 8);
                d->step = 1;
        }
        if (d->repeats > 0) {
                d->repeats--;
                d->slow_us += election_us / 3;
                w->net.slow_us[d->target] = d->slow_us;
                plan_step(w, election_us * 2 / 3);
        } else if (d->step == 1) {
                d->step = 2;
                set_outgoing(w, d->target, true);
                if (world_chance(w, 300))
                        set_incoming(w, d->target, true);
                plan_step(w, 2 * d->slow_us + 3 * election_us);
        } else {
                end_play(w);
        }
}

static void wait_for_leader(world *w, unsigned not, void (*then)(world *, unsigned)) {
        unsigned leader = leader_but(w, not);
        if (leader < w->node_count) {
                w->duels.step++;
                then(w, leader);
        } else if (w->now_us > w->duels.until_us) {
                end_play(w);
        } else {
                plan_step(w, w->tuning.latency_us);
        }
}

static void on_second(world *w, unsigned leader) {
        w->duels.rival = leader;
        w->duels.until_us = w->now_us + 8 * w->tuning.election_us;
        plan_step(w, hops(w, 2));
}

static void on_third(world *w, unsigned leader) {
        w->duels.target = leader;
        plan_step(w, hops(w, 6) + (world_chance(w, 500) ? world_random(w, 30000) : 0));
}

static void play_older_term(world *w) {
        duels *d = &w->duels;
        switch (d->step) {
        case 0: /* writes stay with it */
                set_both(w, d->target, true);
                d->until_us = w->now_us + 8 * w->tuning.election_us;
                d->step++;
                plan_step(w, w->tuning.election_us / 2);
                break;
        case 1: wait_for_leader(w, d->target, on_second); break;
        case 2: /* the next one has an entry of its own, and nobody hears of it */
                set_both(w, d->target, false);
                set_both(w, d->rival, true);
                d->step++;
                plan_step(w, w->tuning.latency_us);
                break;
        case 3: wait_for_leader(w, d->rival, on_third); break;
        case 4: /* it has sent the older entries: how many, chance decides */
                set_both(w, d->rival, false);
                if (world_chance(w, 500)) { /* with what it has on its way */
                        node_die(w, w->nodes[d->target], NODE_POWER_CUT);
                        node_start_later(w, w->nodes[d->target], 4 * w->tuning.election_us);
                } else {
                        set_both(w, d->target, true);
                }
                d->step++;
                plan_step(w, 4 * w->tuning.election_us);
                break;
        default: end_play(w); break;
        }
}

static void configure(world *w, unsigned by, unsigned only_voter) {
        const membership *now = driver_membership(w->nodes[by]->driver, NULL);
        if (now == NULL || now->joint)
                return;
        membership target = *now;
        for (uint32_t i = 0; i < target.count; i++)
                target.members[i].voter = only_voter == w->node_count ||
                        rq_uuid_equal(&target.members[i].disk_uuid, &w->nodes[only_voter]->disk_uuid);
        (void) driver_configure(w->nodes[by]->driver, &target);
        node_wake(w, w->nodes[by]);
}

/* It has logged that it is no voter any more, and doesn't know yet that this is committed. */
static bool has_left(const world *w, unsigned node) {
        const sim_node *n = w->nodes[node];
        const membership *now = n->up ? driver_membership(n->driver, NULL) : NULL;
        for (uint32_t i = 0; now != NULL && !now->joint && i < now->count; i++)
                if (rq_uuid_equal(&now->members[i].disk_uuid, &n->disk_uuid))
                        return !now->members[i].voter;
        return false;
}

static void play_own_removal(world *w) {
        duels *d = &w->duels;
        switch (d->step) {
        case 0:
                configure(w, d->target, d->rival);
                d->until_us = w->now_us + 2 * w->tuning.election_us;
                d->step++;
                plan_step(w, w->tuning.latency_us / 4);
                break;
        case 1:
                if (has_left(w, d->target) || w->now_us > d->until_us) {
                        set_incoming(w, d->target, true);
                        d->step++;
                        plan_step(w, w->tuning.latency_us + hops(w, 2));
                } else {
                        plan_step(w, w->tuning.latency_us / 4);
                }
                break;
        case 2:
                set_outgoing(w, d->target, true);
                node_die(w, w->nodes[d->rival], NODE_KILLED);
                node_start_later(w, w->nodes[d->rival], hops(w, 2));
                d->step++;
                plan_step(w, 3 * w->tuning.election_us);
                break;
        case 3:
                d->step++;
                set_both(w, d->target, false);
                plan_step(w, 6 * w->tuning.election_us);
                break;
        default: {
                unsigned leader = leader_but(w, w->node_count);
                if (leader < w->node_count)
                        configure(w, leader, w->node_count);
                end_play(w);
                break;
        }
        }
}

/* Who isn't of the founders comes and goes as a learner. */
static void change_learner(world *w) {
        unsigned leader = leader_but(w, w->node_count);
        if (leader == w->node_count || w->founder_count == w->node_count)
                return;
        const membership *now = driver_membership(w->nodes[leader]->driver, NULL);
        if (now == NULL || now->joint)
                return;
        membership target = *now;
        const sim_node *n = w->nodes[w->founder_count];
        uint32_t at = 0;
        while (at < target.count && !rq_uuid_equal(&target.members[at].disk_uuid, &n->disk_uuid))
                at++;
        if (at < target.count) {
                target.members[at] = target.members[--target.count];
        } else {
                target.members[target.count] = node_member(n);
                target.members[target.count++].voter = false;
        }
        (void) driver_configure(w->nodes[leader]->driver, &target);
        node_wake(w, w->nodes[leader]);
}

static void play_late_member(world *w) {
        duels *d = &w->duels;
        if (d->step == 0) {
                d->step = 1;
                d->repeats = 12 + (unsigned) world_random(w, 24);
                set_both(w, d->rival, true);
        }
        if (d->repeats == 0) {
                end_play(w);
                return;
        }
        d->repeats--;
        change_learner(w);
        plan_step(w, 3 * (w->tuning.latency_us + w->tuning.latency_more_us + w->tuning.disk_us) + hops(w, 3));
}

/* The leader's log doesn't have any more what this one needs. */
static bool is_left_behind(const world *w, unsigned leader, unsigned node) {
        const log_catalog *catalog = &w->nodes[leader]->catalog;
        return catalog->segment_count > 0 && catalog->segments[0].header.first_index > node_shadow_last(w->nodes[node]) + 1;
}

/* Whether the rest is a majority when all founders but these two are lost. */
static bool can_lose_others(const world *w, const raft_configuration *c) {
        const duels *d = &w->duels;
        uint32_t voters = 0, lost = 0;
        for (uint32_t i = 0; c != NULL && i < c->count; i++)
                voters += c->members[i].voter;
        for (unsigned i = 0; c != NULL && i < w->founder_count; i++)
                for (uint32_t k = 0; i != d->target && i != d->rival && k < c->count; k++)
                        lost += c->members[k].id == w->nodes[i]->id && c->members[k].voter;
        return c != NULL && !c->joint && 2 * (voters - lost) > voters;
}

/* Who was away is needed for a majority: others are lost for good, and who has led starts anew. */
static void play_needed(world *w) {
        duels *d = &w->duels;
        unsigned leader = leader_but(w, d->rival);
        switch (d->step) {
        case 0:
                set_both(w, d->rival, true);
                d->repeats = 300;
                d->step++;
                plan_step(w, w->tuning.election_us);
                break;
        case 1:
                if (leader < w->node_count && is_left_behind(w, leader, d->rival)) {
                        d->target = leader;
                        d->repeats = 1 + (unsigned) world_random(w, 3);
                        d->step++;
                } else if (--d->repeats == 0) {
                        d->step = 4;
                }
                plan_step(w, 5000);
                break;
        case 2: /* perhaps the members change behind the last checkpoint */
                if (d->repeats-- > 0)
                        change_learner(w);
                else
                        d->step++;
                plan_step(w, hops(w, 20) + world_random(w, 100000));
                break;
        case 3:
                if (leader == d->target && faults_stores_are_whole(w) && can_lose_others(w, checks_configuration(w)) &&
                    can_lose_others(w, raft_configuration_of(driver_raft(w->nodes[leader]->driver), NULL)))
                        for (unsigned i = 0; i < w->node_count; i++) {
                                if (i != d->rival && i != d->target && i < w->founder_count)
                                        faults_wipe(w, w->nodes[i]);
                                if (i != d->rival && !w->nodes[i]->broken)
                                        faults_die(w, w->nodes[i], NODE_POWER_CUT);
                        }
                set_both(w, d->rival, false);
                d->step++;
                plan_step(w, 20 * w->tuning.election_us);
                break;
        default: end_play(w); break;
        }
}

static void begin(world *w) {
        static const char *const names[DUEL_PLAYS] = {
                [DUEL_TRANSFER_AND_CUT] = "duel: transfer and cut", [DUEL_SLOW_AND_CUT] = "duel: slow and cut",
                [DUEL_OLDER_TERM] = "duel: older term", [DUEL_OWN_REMOVAL] = "duel: own removal",
                [DUEL_LATE_MEMBER] = "duel: late member", [DUEL_NEEDED] = "duel: needed for a majority",
        };
        unsigned leader = leader_but(w, w->node_count);
        if (leader == w->node_count) {
                plan_step(w, w->tuning.election_us);
                return;
        }
        unsigned rival = (leader + 1 + (unsigned) world_random(w, w->founder_count - 1)) % w->founder_count;
        if (rival == leader)
                rival = (leader + 1) % w->founder_count;
        static const duel_play plays[] = { DUEL_TRANSFER_AND_CUT, DUEL_SLOW_AND_CUT, DUEL_SLOW_AND_CUT, DUEL_OLDER_TERM,
                DUEL_OWN_REMOVAL, DUEL_LATE_MEMBER };
        w->duels = (duels) { .on = true, .play = plays[world_random(w, sizeof plays / sizeof *plays)], .target = leader,
                .rival = rival };
        if (w->tuning.body_bytes >= DUEL_LONG_BODY && world_chance(w, 600))
                w->duels.play = DUEL_OLDER_TERM;
        /* Who is lost for good must not become the only voter, nor one of few. */
        if (w->tuning.snapshots && w->faults.broken == 0 && w->faults.weights[FAULT_CONFIGURE] == 0 && world_chance(w, 300))
                w->duels.play = DUEL_NEEDED;
        if (w->faults.broken > 0 && w->duels.play == DUEL_OWN_REMOVAL)
                w->duels.play = DUEL_LATE_MEMBER;
        world_trace(w, (trace_record) { .event = TRACE_FAULT, .node = (uint8_t) leader, .peer = (uint8_t) rival,
                .note = names[w->duels.play] });
}

void duels_start(world *w) { plan_step(w, 4 * w->tuning.election_us); }

void duels_on_duel(world *w) {
        if (w->healed)
                return;
        if (!w->duels.on) {
                begin(w);
                if (!w->duels.on)
                        return;
        }
        bool both_up = w->nodes[w->duels.target]->up && w->nodes[w->duels.rival]->up;
        bool kills = w->duels.play == DUEL_OWN_REMOVAL || w->duels.play == DUEL_NEEDED || w->duels.play == DUEL_OLDER_TERM;
        if (!both_up && !kills) {
                end_play(w);
                return;
        }
        switch (w->duels.play) {
        case DUEL_TRANSFER_AND_CUT: play_transfer(w); break;
        case DUEL_SLOW_AND_CUT: play_slow(w); break;
        case DUEL_OLDER_TERM: play_older_term(w); break;
        case DUEL_OWN_REMOVAL: play_own_removal(w); break;
        case DUEL_LATE_MEMBER: play_late_member(w); break;
        case DUEL_NEEDED: play_needed(w); break;
        case DUEL_PLAYS: break;
        }
}
