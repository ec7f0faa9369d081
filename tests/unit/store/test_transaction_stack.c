/* BEGIN, COMMIT, SAVEPOINT... as a request says them: what each comes to, and
 * what is open then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/transaction_stack.h"

/* Says it, expects that it may be done, and does it. */
static transaction_move does(transaction_stack *s, control_kind kind, const char *name) {
        char problem[MOVE_PROBLEM_BYTES];
        transaction_move move = transaction_stack_move(s, kind, name, problem);
        assert_string_equal(problem, "");
        assert_int_equal(move.kind, kind);
        transaction_stack_moved(s, &move, name);
        return move;
}

static void refuses(const transaction_stack *s, control_kind kind, const char *name, const char *expected) {
        char problem[MOVE_PROBLEM_BYTES];
        transaction_stack was = *s;
        (void) transaction_stack_move(s, kind, name, problem);
        assert_string_equal(problem, expected);
        assert_memory_equal(s, &was, sizeof was);
}

static void test_begin_and_its_ends(void **state) {
        static const control_kind ends[] = { CONTROL_COMMIT, CONTROL_ROLLBACK };
        transaction_stack s = {0};
        (void) state;
        for (size_t i = 0; i < 2; i++) {
                transaction_stack_begin(&s, false);
                transaction_move move = does(&s, CONTROL_BEGIN, "");
                assert_true(move.opens && !move.closes && !move.undoes);
                assert_int_equal(move.savepoint, 0);
                assert_true(s.open && s.begun);
                refuses(&s, CONTROL_BEGIN, "", "cannot start a transaction within a transaction");
                move = does(&s, ends[i], "");
                assert_true(move.closes && !move.opens);
                assert_true(move.undoes == (ends[i] == CONTROL_ROLLBACK));
                assert_false(s.open);
        }
        refuses(&s, CONTROL_COMMIT, "", "cannot commit - no transaction is active");
        refuses(&s, CONTROL_ROLLBACK, "", "cannot rollback - no transaction is active");
}

/* A first savepoint is a transaction, which its release ends; within BEGIN it isn't. */
static void test_savepoints_open_and_close(void **state) {
        transaction_stack s = {0};
        (void) state;
        transaction_stack_begin(&s, false);
        assert_true(does(&s, CONTROL_SAVEPOINT, "a").opens);
        assert_true(s.open && !s.begun);
        assert_false(does(&s, CONTROL_SAVEPOINT, "b").opens);
        assert_false(does(&s, CONTROL_RELEASE, "b").closes);
        assert_true(s.open);
        assert_int_equal(s.depth, 1);
        transaction_move move = does(&s, CONTROL_ROLLBACK_TO, "a");
        assert_true(move.undoes && !move.closes);
        assert_int_equal(move.savepoint, 1);
        assert_true(does(&s, CONTROL_RELEASE, "a").closes);
        assert_false(s.open);
        assert_int_equal(s.depth, 0);

        (void) does(&s, CONTROL_BEGIN, "");
        assert_false(does(&s, CONTROL_SAVEPOINT, "a").opens);
        assert_false(does(&s, CONTROL_RELEASE, "a").closes);
        assert_true(s.open);
        (void) does(&s, CONTROL_COMMIT, "");
}

static void test_names(void **state) {
        transaction_stack s = {0};
        (void) state;
        transaction_stack_begin(&s, false);
        refuses(&s, CONTROL_RELEASE, "a", "no such savepoint: a");
        (void) does(&s, CONTROL_SAVEPOINT, "a");
        (void) does(&s, CONTROL_SAVEPOINT, "b");
        (void) does(&s, CONTROL_SAVEPOINT, "A"); /* hides the first */
        (void) does(&s, CONTROL_SAVEPOINT, "c");
        assert_int_equal(does(&s, CONTROL_ROLLBACK_TO, "a").savepoint, 3);
        assert_int_equal(s.depth, 3); /* it stays, what came after is gone */
        refuses(&s, CONTROL_ROLLBACK_TO, "c", "no such savepoint: c");
        assert_int_equal(does(&s, CONTROL_RELEASE, "a").savepoint, 3);
        assert_int_equal(does(&s, CONTROL_RELEASE, "a").savepoint, 1); /* with b */
        assert_false(s.open);
        refuses(&s, CONTROL_RELEASE, "b", "no such savepoint: b");
}

static void test_limits(void **state) {
        transaction_stack s = {0};
        char name[SAVEPOINT_NAME_MAX + 2], expected[MOVE_PROBLEM_BYTES];
        (void) state;
        transaction_stack_begin(&s, false);
        memset(name, 'n', sizeof name);
        name[SAVEPOINT_NAME_MAX + 1] = '\0';
        refuses(&s, CONTROL_SAVEPOINT, name, "the name of a savepoint is too long");
        (void) snprintf(expected, sizeof expected, "no such savepoint: %.*s", SAVEPOINT_NAME_MAX, name);
        refuses(&s, CONTROL_RELEASE, name, expected); /* cut, not overrun */
        name[SAVEPOINT_NAME_MAX] = '\0';
        for (int i = 0; i < SAVEPOINTS_MAX; i++)
                assert_int_equal(does(&s, CONTROL_SAVEPOINT, name).savepoint, i + 1);
        refuses(&s, CONTROL_SAVEPOINT, "one", "too many savepoints are open");
        assert_int_equal(does(&s, CONTROL_ROLLBACK_TO, name).savepoint, SAVEPOINTS_MAX);
        (void) does(&s, CONTROL_RELEASE, name);
        assert_int_equal(does(&s, CONTROL_SAVEPOINT, "one").savepoint, SAVEPOINTS_MAX);
}

/* The request's parameter `transaction` holds it all: nothing within begins or ends it. */
static void test_by_parameter(void **state) {
        transaction_stack s = {0};
        (void) state;
        transaction_stack_begin(&s, true);
        refuses(&s, CONTROL_BEGIN, "", "cannot start a transaction within a transaction");
        refuses(&s, CONTROL_COMMIT, "", "cannot commit - the request's parameter 'transaction' ends the transaction");
        refuses(&s, CONTROL_ROLLBACK, "", "cannot rollback - the request's parameter 'transaction' ends the transaction");
        assert_false(does(&s, CONTROL_SAVEPOINT, "a").opens);
        assert_false(does(&s, CONTROL_RELEASE, "a").closes);
        assert_false(s.open);
}

static void test_the_next_request_begins_with_nothing(void **state) {
        transaction_stack s = {0};
        (void) state;
        transaction_stack_begin(&s, false);
        (void) does(&s, CONTROL_BEGIN, "");
        (void) does(&s, CONTROL_SAVEPOINT, "a");
        transaction_stack_begin(&s, false);
        assert_false(s.open || s.begun);
        refuses(&s, CONTROL_ROLLBACK_TO, "a", "no such savepoint: a");
        (void) does(&s, CONTROL_SAVEPOINT, "b");
        transaction_stack_ended(&s); /* OR ROLLBACK */
        refuses(&s, CONTROL_COMMIT, "", "cannot commit - no transaction is active");
        assert_true(does(&s, CONTROL_SAVEPOINT, "c").opens);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_begin_and_its_ends),
                cmocka_unit_test(test_savepoints_open_and_close),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_by_parameter),
                cmocka_unit_test(test_the_next_request_begins_with_nothing),
        };
        return cmocka_run_group_tests_name("transaction_stack", tests, NULL, NULL);
}
