#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>

#include "raft/raft_quorum.h"

/* Every assignment of 0..2 to up to five voters, against counting. */
static void test_reached_is_what_a_majority_has(void **state) {
        (void) state;
        for (uint32_t n = 1; n <= 5; n++) {
                uint32_t all = 1;
                for (uint32_t i = 0; i < n; i++)
                        all *= 3;
                for (uint32_t code = 0; code < all; code++) {
                        uint64_t values[5];
                        for (uint32_t i = 0, rest = code; i < n; i++, rest /= 3)
                                values[i] = rest % 3;
                        uint64_t reached = raft_quorum_reached(values, n);
                        uint32_t at_least = 0, more = 0;
                        for (uint32_t i = 0; i < n; i++) {
                                at_least += values[i] >= reached;
                                more += values[i] > reached;
                        }
                        assert_true(at_least >= n / 2 + 1 && more < n / 2 + 1);
                }
        }
}

static void test_sizes(void **state) {
        (void) state;
        assert_int_equal(raft_quorum_size(1), 1);
        assert_int_equal(raft_quorum_size(2), 2);
        assert_int_equal(raft_quorum_size(3), 2);
        assert_int_equal(raft_quorum_size(4), 3);
        assert_int_equal(raft_quorum_size(15), 8);
}

/* Whether those of `yes` are a majority of those of `voters`, both as bits. */
static bool is_majority(uint32_t yes, uint32_t voters) {
        return 2 * __builtin_popcount(yes & voters) > __builtin_popcount(voters);
}

/* Every pair of old and new voters among five members, every assignment of two
 * values: both majorities count, and learners never do. */
static void test_joint_majorities(void **state) {
        (void) state;
        for (uint32_t old = 0; old < 32; old++)
                for (uint32_t new = 1; new < 32; new++) {
                        raft_configuration c = { .count = 5, .joint = old != 0 };
                        for (uint32_t i = 0; i < 5; i++)
                                c.members[i] = (raft_member) { .id = i + 1, .voter = new >> i & 1, .outgoing = old >> i & 1 };
                        for (uint32_t yes = 0; yes < 32; yes++) {
                                uint64_t values[5];
                                for (uint32_t i = 0; i < 5; i++)
                                        values[i] = yes >> i & 1 ? 7 : 3;
                                bool both = is_majority(yes, new) && (old == 0 || is_majority(yes, old));
                                assert_int_equal(raft_quorum_reached_in(&c, values), both ? 7 : 3);
                        }
                }
}

/* Thesis 4.1: with one voter more or less, any two majorities have a member in
 * common. That is why such a change needs no joint configuration, and two do. */
static void test_majorities_of_a_single_change_meet(void **state) {
        (void) state;
        bool disjoint = false;
        for (uint32_t old = 1; old < 32; old++)
                for (uint32_t new = 1; new < 32; new++)
                        for (uint32_t a = 0; a < 32; a++)
                                for (uint32_t b = 0; b < 32; b++) {
                                        if (!is_majority(a, old) || !is_majority(b, new) || (a & old & b & new) != 0)
                                                continue;
                                        disjoint = true;
                                        assert_true(__builtin_popcount(old ^ new) > 1);
                                }
        assert_true(disjoint);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reached_is_what_a_majority_has),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_joint_majorities),
                cmocka_unit_test(test_majorities_of_a_single_change_meet),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
