/* Rounds of a learner: when it has caught up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/catch_up.h"

enum { MAX_US = 50 };

static void a_quick_round_is_enough(void **state) {
        catch_up c = {0};
        (void) state;
        assert_false(catch_up_look(&c, 1, 10, 10, 100, MAX_US)); /* the first look begins a round, whatever it has */
        assert_int_equal(catch_up_rounds(&c, 1), 1);
        assert_true(catch_up_look(&c, 1, 10, 5000, 149, MAX_US)); /* up to what the log had at its begin */
        assert_true(catch_up_look(&c, 1, 11, 5000, 149, MAX_US)); /* and it stays so until it is made a voter */
        assert_int_equal(catch_up_rounds(&c, 1), 1);
}

static void a_round_may_take_less_than_the_limit(void **state) {
        catch_up c = {0};
        (void) state;
        assert_false(catch_up_look(&c, 1, 0, 10, 100, MAX_US));
        assert_false(catch_up_look(&c, 1, 10, 20, 150, MAX_US)); /* exactly as long is too long: the next one */
        assert_int_equal(catch_up_rounds(&c, 1), 2);
        assert_false(catch_up_look(&c, 1, 19, 20, 160, MAX_US)); /* not there yet: the same round */
        assert_int_equal(catch_up_rounds(&c, 1), 2);
        assert_true(catch_up_look(&c, 1, 20, 30, 199, MAX_US)); /* counted from the begin of this one */
}

static void learners_have_rounds_of_their_own(void **state) {
        catch_up c = {0};
        (void) state;
        assert_false(catch_up_look(&c, 1, 0, 10, 100, MAX_US));
        assert_false(catch_up_look(&c, 2, 0, 20, 140, MAX_US));
        assert_true(catch_up_look(&c, 1, 10, 20, 149, MAX_US));
        assert_false(catch_up_look(&c, 2, 10, 20, 149, MAX_US));
        assert_true(catch_up_look(&c, 2, 20, 20, 189, MAX_US));
        assert_int_equal(catch_up_rounds(&c, 3), 0);
}

/* Those that have left keep their places until all are taken. */
static void a_full_table_begins_anew(void **state) {
        catch_up c = {0};
        (void) state;
        for (raft_id id = 1; id <= RAFT_MEMBERS_MAX; id++)
                assert_false(catch_up_look(&c, id, 10, 10, 100, MAX_US));
        assert_true(catch_up_look(&c, 1, 10, 10, 110, MAX_US));
        assert_false(catch_up_look(&c, RAFT_MEMBERS_MAX + 1, 10, 10, 110, MAX_US));
        assert_int_equal(catch_up_rounds(&c, 1), 0);
        assert_false(catch_up_look(&c, 1, 10, 10, 120, MAX_US));
        assert_true(catch_up_look(&c, 1, 10, 10, 130, MAX_US));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_quick_round_is_enough), cmocka_unit_test(a_round_may_take_less_than_the_limit),
                cmocka_unit_test(learners_have_rounds_of_their_own), cmocka_unit_test(a_full_table_begins_anew),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
