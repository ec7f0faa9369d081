/* Deadlines, and how old what a node knows is. test_raft_election.c has silence and sleep. */
#include "raft_network.h"

static const raft *core(network *w, raft_id id) { return node_of(w, id)->raft; }

static void deadlines_by_role(void **state) {
        const raft_configuration c = members("12", "3");
        network *w = network_started(3, &c);
        (void) state;
        for (raft_id id = 1; id <= 2; id++) /* no leader was heard in this run: there is none to wait for */
                assert_true(raft_deadline_us(core(w, id)) <= w->now_us + ELECTION / 2);
        assert_true(raft_deadline_us(core(w, 3)) == UINT64_MAX); /* a learner waits for whoever leads */
        elect(w, 1);
        settle(w);
        assert_true(raft_deadline_us(core(w, 1)) <= w->now_us + HEARTBEAT);
        assert_true(raft_deadline_us(core(w, 2)) >= w->now_us + ELECTION && raft_deadline_us(core(w, 2)) < w->now_us + 2 * ELECTION);
        assert_true(raft_deadline_us(core(w, 3)) >= w->now_us + ELECTION); /* now it looks whether its leader goes away */
        assert_true(raft_deadline_us(core(w, 3)) != UINT64_MAX);
        network_free(w);
}

static void a_lone_voter_waits_for_nobody(void **state) {
        const raft_configuration c = members("1", "");
        network *w = network_started(1, &c);
        (void) state;
        assert_int_equal(raft_deadline_us(core(w, 1)), 0);
        tick(w, 1);
        settle(w);
        assert_int_equal(raft_role_of(core(w, 1)), RAFT_LEADER);
        assert_true(raft_deadline_us(core(w, 1)) == UINT64_MAX); /* and has nobody to keep */
        network_free(w);
}

static void without_a_disk_nothing_is_due(void **state) {
        const raft_configuration c = members("123", "");
        network *w = network_started(3, &c);
        (void) state;
        elect(w, 1);
        settle(w);
        assert_int_equal(step(w, 1, (raft_event) { .type = RAFT_EV_FAILED }), RQ_OK);
        assert_true(raft_deadline_us(core(w, 1)) == UINT64_MAX);
        w->now_us += 10 * ELECTION;
        tick(w, 1);
        assert_int_equal(raft_role_of(core(w, 1)), RAFT_FOLLOWER);
        network_free(w);
}

static void how_old_it_is(void **state) {
        const raft_configuration c = members("123", "");
        network *w = network_started(3, &c);
        (void) state;
        assert_int_equal(raft_contact_us(core(w, 2)), 0); /* never in this term */
        elect(w, 1);
        elapse(w, 2 * HEARTBEAT);
        const uint64_t heard = raft_contact_us(core(w, 2));
        assert_true(heard != 0 && w->now_us - heard <= HEARTBEAT);
        assert_true(w->now_us - raft_contact_us(core(w, 1)) <= HEARTBEAT);
        isolate(w, 1, true);
        elapse(w, 3 * HEARTBEAT); /* nobody has noticed yet, but it grows old on both sides */
        assert_int_equal(raft_contact_us(core(w, 2)), heard);
        assert_true(w->now_us - raft_contact_us(core(w, 1)) >= 3 * HEARTBEAT);
        network_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(deadlines_by_role), cmocka_unit_test(a_lone_voter_waits_for_nobody),
                cmocka_unit_test(without_a_disk_nothing_is_due), cmocka_unit_test(how_old_it_is),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
