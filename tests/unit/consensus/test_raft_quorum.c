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

static void test_votes(void **state) {
        const bool two_of_five[] = { true, false, true, false, false }, three_of_five[] = { true, false, true, false, true };
        const bool two_of_four[] = { true, true, false, false };
        (void) state;
        assert_false(raft_quorum_votes(two_of_five, 5));
        assert_true(raft_quorum_votes(three_of_five, 5));
        assert_false(raft_quorum_votes(two_of_four, 4));
        assert_true(raft_quorum_votes(two_of_five, 1));
        assert_int_equal(raft_quorum_size(1), 1);
        assert_int_equal(raft_quorum_size(2), 2);
        assert_int_equal(raft_quorum_size(15), 8);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_reached_is_what_a_majority_has), cmocka_unit_test(test_votes) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
