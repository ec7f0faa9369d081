/* BEGIN, COMMIT, SAVEPOINT of a request's own, and several clients' requests in
 * one entry. */
#include "entries.h"

#include "core/transaction_stack.h"

static int setup(void **state) {
        bench *b = bench_new();
        b->foreign_keys = true;
        bench_open(b);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        bench_free(*state);
        return 0;
}

#define LEFT_OPEN "\"error\":\"the request left a transaction open, and it was rolled back: end it in the same request, or use the parameter 'transaction'\""
#define VALUES(x) "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[" x "]]}]\n"
#define INSERTED(n) "{\"last_insert_id\":" #n ",\"rows_affected\":1}"

static void assert_values(bench *b, const char *expected) {
        request(b, "SELECT group_concat(v) AS v FROM t");
        assert_answers(b, expected);
}

static void ignore_answers(bench *b) {
        assert_int_equal(run_queued(b, 0), RQ_OK);
        free(answers(b));
}

static void test_one_request_begins_and_ends(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)");
        entry(b, "BEGIN", "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(2)", "COMMIT");
        entry(b, "BEGIN IMMEDIATE; INSERT INTO t VALUES(3); INSERT INTO t VALUES(4); END TRANSACTION;");
        entry(b, "BEGIN", "INSERT INTO t VALUES(5)", "ROLLBACK", "INSERT INTO t VALUES(6)");
        request(b, "begin; INSERT INTO t VALUES(7) RETURNING v; /* and */ commit");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{}," INSERTED(1) "," INSERTED(2) ",{}]\n"
                "{\"results\":[{}]\n"
                "{\"results\":[{}," INSERTED(5) ",{}," INSERTED(5) "]\n"
                "{\"results\":[{}]\n");
        assert_values(b, VALUES("\"1,2,3,4,6,7\""));
}

/* An error in it is one statement's, as SQLite has it; what is left open is undone. */
static void test_what_is_left_open_is_rolled_back(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v UNIQUE)");
        entry(b, "BEGIN", "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(2)", "COMMIT");
        entry(b, "BEGIN", "INSERT INTO t VALUES(3)");
        entry(b, "INSERT INTO t VALUES(4)"); /* nobody else's transaction */
        entry(b, "BEGIN; INSERT INTO t VALUES(5); INSERT INTO nope VALUES(1); COMMIT");
        entry(b, "SAVEPOINT a; INSERT INTO t VALUES(6)");
        entry(b, "COMMIT", "INSERT INTO t VALUES(7)");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{}," INSERTED(1) ",{\"error\":\"UNIQUE constraint failed: t.v\"}," INSERTED(2) ",{}]\n"
                "{\"results\":[{}," INSERTED(3) "]," LEFT_OPEN "\n"
                "{\"results\":[" INSERTED(3) "]\n"
                "{\"results\":[{\"error\":\"no such table: nope\"}]," LEFT_OPEN "\n"
                "{\"results\":[" INSERTED(4) "]," LEFT_OPEN "\n"
                "{\"results\":[{\"error\":\"cannot commit - no transaction is active\"}," INSERTED(4) "]\n");
        assert_values(b, VALUES("\"1,2,4,7\""));
}

static void test_savepoints(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)");
        entry(b, "SAVEPOINT a", "INSERT INTO t VALUES(1)", "SAVEPOINT A", "INSERT INTO t VALUES(2)", "ROLLBACK TO a",
              "INSERT INTO t VALUES(3)", "RELEASE a", "RELEASE a");
        entry(b, "BEGIN", "SAVEPOINT \"unit\"", "INSERT INTO t VALUES(4)", "RELEASE unit", "ROLLBACK");
        entry(b, "BEGIN; SAVEPOINT x; INSERT INTO t VALUES(5); SAVEPOINT y; INSERT INTO t VALUES(6); ROLLBACK TO x; RELEASE x; COMMIT");
        entry(b, "BEGIN", "BEGIN", "ROLLBACK TO nope", "COMMIT");
        transaction(b, "SAVEPOINT a", "INSERT INTO t VALUES(7)", "ROLLBACK TO a", "INSERT INTO t VALUES(8)");
        transaction(b, "INSERT INTO t VALUES(9)", "COMMIT");
        ignore_answers(b);
        entry(b, "BEGIN", "BEGIN", "ROLLBACK TO nope", "COMMIT");
        transaction(b, "INSERT INTO t VALUES(9)", "COMMIT");
        transaction(b, "BEGIN", "INSERT INTO t VALUES(9)");
        assert_answers(b,
                "{\"results\":[{},{\"error\":\"cannot start a transaction within a transaction\"},{\"error\":\"no such savepoint: nope\"},{}]\n"
                "{\"results\":[" INSERTED(4) ",{\"error\":\"cannot commit - the request's parameter 'transaction' ends the transaction\"}]\n"
                "{\"results\":[{\"error\":\"cannot start a transaction within a transaction\"}]\n");
        assert_values(b, VALUES("\"1,3,8\""));
}

/* It ends the whole transaction; what follows stands for itself. Neighbours in
 * the batch lose nothing (hazard 1). */
static void test_or_rollback_ends_it(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v UNIQUE)");
        entry(b, "INSERT INTO t VALUES(1)");
        entry(b, "BEGIN", "INSERT INTO t VALUES(2)", "INSERT OR ROLLBACK INTO t VALUES(1)", "INSERT INTO t VALUES(3)", "COMMIT");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[" INSERTED(1) "]\n"
                "{\"results\":[{}," INSERTED(2) ",{\"error\":\"UNIQUE constraint failed: t.v\"}," INSERTED(2)
                ",{\"error\":\"cannot commit - no transaction is active\"}]\n");
        assert_values(b, VALUES("\"1,3\""));
}

static void test_deferred_keys_hold_at_commit(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE p(id INTEGER PRIMARY KEY)", "CREATE TABLE t(v REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)");
        entry(b, "BEGIN", "INSERT INTO t VALUES(1)", "INSERT INTO p VALUES(1)", "COMMIT");
        entry(b, "BEGIN", "INSERT INTO t VALUES(2)", "COMMIT");
        entry(b, "INSERT INTO p VALUES(2)"); /* can't heal the one before */
        assert_answers(b,
                "{\"results\":[{},{}]\n"
                "{\"results\":[{}," INSERTED(1) "," INSERTED(1) ",{}]\n"
                "{\"results\":[{}," INSERTED(2) ",{\"error\":\"FOREIGN KEY constraint failed\"}]," LEFT_OPEN "\n"
                "{\"results\":[" INSERTED(2) "]\n");
        assert_values(b, VALUES("\"1\""));
}

/* Hazard 8, also where nothing else would undo it. */
static void test_the_largest_rowid_is_undone_in_it(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
        entry(b, "BEGIN", "INSERT INTO t VALUES(9223372036854775807, 1)", "INSERT INTO t VALUES(1, 2)", "COMMIT");
        ignore_answers(b);
        assert_values(b, VALUES("\"2\""));
}

static void test_schema_and_statistics_in_it(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)", "CREATE INDEX i ON t(v)", "INSERT INTO t VALUES(1)");
        entry(b, "BEGIN", "ALTER TABLE t ADD COLUMN w", "ANALYZE", "UPDATE t SET w = 1", "ROLLBACK", "UPDATE t SET w = 1");
        entry(b, "SELECT * FROM sqlite_stat1");
        assert_answers(b,
                "{\"results\":[{},{}," INSERTED(1) "]\n"
                "{\"results\":[{},{},{},{\"rows_affected\":1},{},{\"error\":\"no such column: w\"}]\n"
                "{\"results\":[{\"error\":\"no such table: sqlite_stat1\"}]\n");
}

/* --- groups ------------------------------------------------------------------- */

static void test_each_group_stands_for_itself(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v UNIQUE)");
        const request mixed = {
                .sql = { "INSERT INTO t VALUES(1)", "INSERT INTO nope VALUES(1)", "INSERT INTO t VALUES(2)",
                         "INSERT INTO t VALUES(3)", "INSERT INTO t VALUES(1)",
                         "BEGIN", "INSERT INTO t VALUES(4)",
                         "INSERT INTO t VALUES(5) RETURNING v" },
                .groups = { { 3, false }, { 2, true }, { 2, false }, { 1, true } },
        };
        entry_of(b, &mixed);
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"error\":\"no such table: nope\"},{\"error\":\"UNIQUE constraint failed: t.v\"},"
                "{" LEFT_OPEN "},{}]\n");
        assert_values(b, VALUES("\"1,2,5\""));
}

static void test_a_pragma_refuses_its_own_group_only(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)");
        const request mixed = {
                .sql = { "INSERT INTO t VALUES(1)", "SELECT 1; PRAGMA journal_mode(DELETE)", "INSERT INTO t VALUES(2)", "INSERT INTO t VALUES(3)" },
                .groups = { { 1, false }, { 2, false }, { 1, false } },
        };
        entry_of(b, &mixed);
        assert_answers(b, "{\"results\":[{}]\n{\"results\":[{},{\"error\":\"disallowed pragma\"},{}]\n");
        assert_values(b, VALUES("\"1,3\""));
}

/* One client's endless statement is nothing to the others. */
static void test_each_group_has_a_budget(void **state) {
        bench *b = *state;
        b->step_budget = 20000;
        entry(b, "CREATE TABLE t(v)");
        const request mixed = {
                .sql = { "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r", "INSERT INTO t VALUES(2)" },
                .groups = { { 1, false }, { 1, true } },
        };
        entry_of(b, &mixed);
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"error\":\"statement exceeded the step budget of a write (-write-step-budget)\"},{}]\n");
        assert_values(b, VALUES("\"2\""));
}

static void test_groups_that_do_not_fit_are_nothing(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)");
        const request bad = { .sql = { "INSERT INTO t VALUES(1)" }, .groups = { { 2, false } } };
        entry_of(b, &bad);
        ignore_answers(b);
        request(b, "SELECT count(*) AS n FROM t");
        assert_answers(b, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[0]]}]\n");
}

/* --- the stack alone ------------------------------------------------------------ */

static void test_limits_of_the_stack(void **state) {
        (void) state;
        static transaction_stack s;
        char problem[MOVE_PROBLEM_BYTES], name[SAVEPOINT_NAME_MAX + 2];
        transaction_stack_begin(&s, false);
        for (int i = 0; i < SAVEPOINTS_MAX; i++) {
                transaction_move move = transaction_stack_move(&s, CONTROL_SAVEPOINT, "a", problem);
                assert_string_equal(problem, "");
                assert_int_equal(move.opens, i == 0);
                transaction_stack_moved(&s, &move, "a");
        }
        (void) transaction_stack_move(&s, CONTROL_SAVEPOINT, "a", problem);
        assert_string_equal(problem, "too many savepoints are open");
        (void) transaction_stack_move(&s, CONTROL_RELEASE, "b", problem);
        assert_string_equal(problem, "no such savepoint: b");
        for (int i = SAVEPOINTS_MAX; i > 0; i--) {
                transaction_move move = transaction_stack_move(&s, CONTROL_RELEASE, "A", problem);
                assert_int_equal(move.savepoint, i);
                assert_int_equal(move.closes, i == 1);
                transaction_stack_moved(&s, &move, "A");
        }
        assert_false(s.open);
        memset(name, 'x', sizeof name);
        name[sizeof name - 1] = '\0';
        (void) transaction_stack_move(&s, CONTROL_SAVEPOINT, name, problem);
        assert_string_equal(problem, "the name of a savepoint is too long");
}

int main(void) {
#define APPLIED(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                APPLIED(test_one_request_begins_and_ends),
                APPLIED(test_what_is_left_open_is_rolled_back),
                APPLIED(test_savepoints),
                APPLIED(test_or_rollback_ends_it),
                APPLIED(test_deferred_keys_hold_at_commit),
                APPLIED(test_the_largest_rowid_is_undone_in_it),
                APPLIED(test_schema_and_statistics_in_it),
                APPLIED(test_each_group_stands_for_itself),
                APPLIED(test_a_pragma_refuses_its_own_group_only),
                APPLIED(test_each_group_has_a_budget),
                APPLIED(test_groups_that_do_not_fit_are_nothing),
                cmocka_unit_test(test_limits_of_the_stack),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
