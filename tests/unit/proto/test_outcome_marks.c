/* Which entries are marked, and how marks are kept. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "outcome_marks.h"

static void test_which_entries_are_marked(void **state) {
        (void) state;
        const uint64_t clock_us = UINT64_C(1700000000) * 1000000; /* on a border */
        assert_true(outcome_mark_is_due(1, clock_us + 1, 0)); /* nothing before it */
        assert_false(outcome_mark_is_due(2, clock_us + 2, clock_us + 1));
        assert_false(outcome_mark_is_due(1023, clock_us + 4999999, clock_us));
        assert_true(outcome_mark_is_due(1023, clock_us + 5000000, clock_us + 4999999));
        assert_true(outcome_mark_is_due(1024, clock_us + 2, clock_us + 1));
        assert_false(outcome_mark_is_due(1025, clock_us + 3, clock_us + 2));
        assert_true(outcome_mark_is_due(7, clock_us + 3600000000, clock_us));
}

static void test_the_newest_are_kept(void **state) {
        (void) state;
        static outcome_marks marks;
        uint64_t hash;
        for (uint64_t i = 1; i <= OUTCOME_MARKS_MAX + 10; i++)
                outcome_marks_add(&marks, (outcome_mark) { i * 1024, i });
        assert_int_equal(marks.count, OUTCOME_MARKS_MAX);
        assert_false(outcome_marks_find(&marks, 10 * 1024, &hash));
        assert_true(outcome_marks_find(&marks, 11 * 1024, &hash));
        assert_int_equal(hash, 11);
        assert_false(outcome_marks_find(&marks, 11 * 1024 + 1, &hash));
        /* It has gone back: what came after is not so any more. */
        outcome_marks_add(&marks, (outcome_mark) { 20 * 1024, 99 });
        assert_int_equal(marks.count, 10);
        assert_true(outcome_marks_find(&marks, 20 * 1024, &hash));
        assert_int_equal(hash, 99);
        assert_false(outcome_marks_find(&marks, 21 * 1024, &hash));
        outcome_marks_drop_first(&marks, 4);
        assert_int_equal(marks.count, 6);
        assert_int_equal(marks.v[0].index, 15 * 1024);
        outcome_marks_drop_first(&marks, 100);
        assert_int_equal(marks.count, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_which_entries_are_marked), cmocka_unit_test(test_the_newest_are_kept) };
        return cmocka_run_group_tests_name("outcome marks", tests, NULL, NULL);
}
