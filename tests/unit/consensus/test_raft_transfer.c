/* Leadership transfer: who is chosen, and what a leader that hands over still does. test_raft_members.c has its course. */
#include "raft_network.h"

static network *led_by_1(const char *voters, const char *learners) {
        const raft_configuration c = members(voters, learners);
        network *w = network_started(c.count, &c);
        elect(w, 1);
        return w;
}

static raft_id told_to_campaign(const network *w) {
        for (uint32_t i = 0; i < w->wire_count; i++)
                if (w->wire[i].message.type == RAFT_MSG_TIMEOUT_NOW)
                        return w->wire[i].message.to;
        return 0;
}

static void the_one_that_has_most_is_chosen(void **state) {
        network *w = led_by_1("123", "");
        (void) state;
        isolate(w, 2, true);
        assert_int_equal(propose(w, 1, 1, 10), RQ_OK);
        settle(w);
        assert_int_equal(transfer(w, 1, 0), RQ_OK);
        assert_int_equal(told_to_campaign(w), 3);
        network_free(w);
}

static void the_silent_one_is_not_chosen(void **state) {
        network *w = led_by_1("12345", "");
        (void) state;
        isolate(w, 3, true);
        isolate(w, 4, true); /* all have the same log; 3 and 4 aren't heard any more */
        elapse(w, ELECTION + 2 * HEARTBEAT);
        assert_int_equal(transfer(w, 1, 0), RQ_OK);
        const raft_id chosen = told_to_campaign(w);
        assert_true(chosen == 2 || chosen == 5);
        network_free(w);
}

static void who_cannot_lead_is_refused(void **state) {
        network *w = led_by_1("12", "3");
        (void) state;
        assert_int_equal(transfer(w, 1, 3), RQ_EINVAL); /* a learner */
        assert_int_equal(transfer(w, 1, 1), RQ_EINVAL); /* itself */
        assert_int_equal(transfer(w, 1, 5), RQ_EINVAL); /* nobody */
        assert_false(raft_transfer_is_under_way(node_of(w, 1)->raft));
        assert_int_equal(propose(w, 1, 1, 10), RQ_OK);
        network_free(w);
        w = led_by_1("1", "23"); /* nobody is left but learners */
        settle(w);
        assert_int_equal(transfer(w, 1, 0), RQ_EINVAL);
        network_free(w);
}

static void a_leader_that_hands_over_takes_nothing(void **state) {
        network *w = led_by_1("123", "");
        (void) state;
        settle(w);
        isolate(w, 2, true);
        assert_int_equal(transfer(w, 1, 2), RQ_OK);
        assert_true(raft_transfer_is_under_way(node_of(w, 1)->raft));
        assert_int_equal(propose(w, 1, 1, 10), RQ_ENOTLEADER);
        assert_int_equal(transfer(w, 1, 3), RQ_ENOTLEADER); /* one at a time */
        const raft_term term = raft_term_of(node_of(w, 1)->raft);
        elapse(w, ELECTION + HEARTBEAT); /* nothing comes of it */
        assert_false(raft_transfer_is_under_way(node_of(w, 1)->raft));
        assert_int_equal(raft_term_of(node_of(w, 1)->raft), term);
        assert_int_equal(propose(w, 1, 1, 10), RQ_OK);
        network_free(w);
}

static void a_follower_asks_its_leader(void **state) {
        network *w = led_by_1("123", "");
        (void) state;
        settle(w);
        assert_int_equal(transfer(w, 2, 3), RQ_OK);
        settle(w);
        assert_int_equal(leader_of(w), 3);
        isolate(w, 2, true);
        elapse(w, 4 * ELECTION);
        assert_int_equal(transfer(w, 2, 3), RQ_ENOTLEADER); /* it knows of none */
        network_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_one_that_has_most_is_chosen), cmocka_unit_test(the_silent_one_is_not_chosen),
                cmocka_unit_test(who_cannot_lead_is_refused), cmocka_unit_test(a_leader_that_hands_over_takes_nothing),
                cmocka_unit_test(a_follower_asks_its_leader),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
