/* Cores in a world that loses, doubles, delays and reorders messages, stops and
 * restarts nodes, changes members and compacts; then heals. raft_network.h checks
 * each step. The simulator does this with the whole driver; here a seed takes
 * milliseconds and fails close to its cause. */
#include "raft_network.h"

static uint64_t random_state;

static uint32_t draw(uint32_t below) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return (uint32_t) ((random_state >> 11) % below);
}

static raft_id any_node(network *w) { return 1 + draw(w->count); }

static void random_members(network *w, raft_id id) {
        raft_configuration c = {0};
        for (raft_id m = 1; m <= w->count; m++)
                if (draw(4) != 0)
                        c.members[c.count++] = (raft_member) { .id = m, .voter = draw(4) != 0 };
        (void) configure(w, id, c);
}

static void crash_and_restart(network *w, raft_id id) {
        if (node_of(w, id)->up) {
                raft_id other = any_node(w);
                crash(w, id);
                if (draw(2) == 0 && other != id && node_of(w, other)->up)
                        peer_down(w, other, id, true);
        } else {
                start(w, id);
        }
}

static void move_message(network *w) {
        if (w->wire_count == 0)
                return;
        uint32_t at = draw(3) == 0 ? draw(w->wire_count) : 0, luck = draw(100);
        if (luck < 3) {
                letter copy = w->wire[at]; /* doubled: once now, once again later */
                (void) deliver_letter(w, &copy);
                return;
        }
        letter l = take_letter(w, at);
        if (luck >= 6)
                assert_int_equal(deliver_letter(w, &l), RQ_OK);
}

static void leader_action(network *w, raft_id id, bool churn) {
        switch (draw(60)) {
        case 0:
                if (churn)
                        random_members(w, id);
                break;
        case 1:
                if (churn)
                        (void) transfer(w, id, draw(2) == 0 ? 0 : any_node(w));
                break;
        case 2:
                (void) compact(w, id, raft_commit_of(node_of(w, id)->raft));
                break;
        case 3:
        case 4:
        case 5:
        case 6:
                for (raft_id to = 1; to <= w->count; to++) {
                        raft_progress_view v;
                        if (node_of(w, to)->up && raft_progress_of(node_of(w, id)->raft, to, &v) && v.state == RAFT_SNAPSHOT)
                                ship_snapshot(w, id, to);
                }
                break;
        default:
                (void) propose(w, id, 1 + draw(4), draw(300));
        }
}

/* Crashes, cuts, broken links: rarer with a higher `fault`; what is broken is soon
 * mended. */
static void break_or_mend(network *w, raft_id id, uint32_t fault) {
        if (!node_of(w, id)->up || draw(10 * fault) == 0)
                crash_and_restart(w, id);
        else if (draw(8 * fault) == 0)
                w->cut[id][any_node(w)] = true;
        else if (draw(8 * fault) == 0)
                isolate(w, id, true);
        else if (draw(10) == 0)
                memset(w->cut, 0, sizeof w->cut);
        else if (draw(4 * fault) == 0)
                peer_down(w, id, any_node(w), draw(4) == 0);
}

static void pass_time(network *w, raft_id id) {
        w->now_us += draw(200) == 0 ? draw(3 * ELECTION) : draw(HEARTBEAT / 4);
        tick(w, id);
}

static void act(network *w, bool churn, uint32_t fault) {
        raft_id id = any_node(w);
        uint32_t what = draw(100);
        node *n = node_of(w, id);
        if (what < 40)
                move_message(w);
        else if (what < 56)
                (void) write_one(w, id);
        else if (what < 70)
                (void) (n->up && fetch_appends(w, id));
        else if (what < 80 && leader_of(w) != 0)
                leader_action(w, leader_of(w), churn);
        else if (what < 85 && n->up)
                (void) read_at(w, id, false);
        else if (what < 98)
                pass_time(w, id);
        else
                break_or_mend(w, id, fault);
}

static void heal(network *w) {
        memset(w->cut, 0, sizeof w->cut);
        for (raft_id id = 1; id <= w->count; id++)
                if (!node_of(w, id)->up)
                        start(w, id);
        /* Ends of links: what was on its way is lost. */
        w->wire_count = 0;
        for (raft_id a = 1; a <= w->count; a++)
                for (raft_id b = 1; b <= w->count; b++)
                        if (a != b)
                                peer_down(w, a, b, false);
        for (int round = 0; round < 40; round++) {
                elapse(w, ELECTION);
                raft_id leader = leader_of(w);
                if (leader == 0)
                        continue;
                raft_index before = raft_commit_of(node_of(w, leader)->raft);
                (void) compact(w, leader, before); /* needs a snapshot, then, who lags */
                for (raft_id to = 1; to <= w->count; to++) {
                        raft_progress_view v;
                        if (raft_progress_of(node_of(w, leader)->raft, to, &v) && v.state == RAFT_SNAPSHOT)
                                ship_snapshot(w, leader, to);
                }
                if (propose(w, leader, 1, 10) < 0)
                        continue;
                elapse(w, 2 * HEARTBEAT);
                const raft_configuration *c = raft_configuration_of(node_of(w, leader)->raft, NULL);
                bool all = raft_commit_of(node_of(w, leader)->raft) > before && !c->joint;
                for (uint32_t i = 0; i < c->count; i++)
                        all = all && raft_commit_of(node_of(w, c->members[i].id)->raft) == raft_commit_of(node_of(w, leader)->raft);
                if (all)
                        return;
        }
        fail_msg("no progress after everything was healed");
}

static void run(uint64_t seed, uint32_t count, bool churn, uint32_t steps) {
        random_state = seed * 0x9e3779b97f4a7c15u + 1;
        raft_configuration c = members(count == 3 ? "123" : churn ? "123" : "12345", count == 5 && churn ? "4" : "");
        network *w = network_started(count, &c);
        w->lease_us = draw(2) == 0 ? 0 : ELECTION / 2;
        w->window_messages = 1 + draw(6);
        uint32_t fault = 1 + draw(12);
        for (uint32_t i = 0; i < steps && w->committed_last < LOG_MAX - 600; i++)
                act(w, churn, fault);
        heal(w);
        network_free(w);
}

static uint32_t seeds(void) {
        const char *text = getenv("RQ_RAFT_SEEDS");
        return text == NULL ? 25 : (uint32_t) atoi(text);
}

static void test_three(void **state) {
        (void) state;
        for (uint64_t seed = 1; seed <= seeds(); seed++)
                run(seed, 3, false, 20000);
}

static void test_five(void **state) {
        (void) state;
        for (uint64_t seed = 1; seed <= seeds(); seed++)
                run(seed, 5, false, 20000);
}

static void test_members_come_and_go(void **state) {
        (void) state;
        for (uint64_t seed = 1; seed <= seeds(); seed++)
                run(seed, 5, true, 30000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_three),
                cmocka_unit_test(test_five),
                cmocka_unit_test(test_members_come_and_go),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
