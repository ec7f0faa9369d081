/* Applying entries: each test names the rule of hazards 1-11 that it would
 * catch the absence of. */
#include "entries.h"

#include "core/allowed.h"
#include "core/sql_text.h"
#include "base/rng.h"
#include "io/statements.h"
#include "io/writer_functions.h"
#include "log/log.h"

static int setup(void **state) {
        bench *b = bench_new();
        bench_open(b);
        *state = b;
        return 0;
}

static int setup_foreign_keys(void **state) {
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

static void test_changes_and_ids(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
        entry(b, "INSERT INTO t(v) VALUES('a'), ('b')");
        entry(b, "UPDATE t SET v = 'c'");
        entry(b, "DELETE FROM t WHERE id = 99");
        entry(b, "INSERT OR IGNORE INTO t(id) VALUES(1)");
        entry(b, "INSERT INTO t(id) VALUES(1) ON CONFLICT DO UPDATE SET v = 'd'");
        entry(b, "SELECT * FROM t");
        entry(b, "INSERT INTO nope VALUES(1)", "INSERT INTO t(v) VALUES(3)");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":2}]\n"
                "{\"results\":[{\"rows_affected\":2}]\n"
                "{\"results\":[{}]\n"
                "{\"results\":[{}]\n"
                "{\"results\":[{\"rows_affected\":1}]\n"
                "{\"results\":[{}]\n"
                "{\"results\":[{\"error\":\"no such table: nope\"},{\"last_insert_id\":3,\"rows_affected\":1}]\n");
}

static void test_rows_of_returning_and_of_requests(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t(v) VALUES('a') RETURNING\nid, v");
        request(b, "SELECT v FROM t", "INSERT INTO t(v) VALUES('b')", "SELECT nope FROM t");
        assert_answers(b,
                "{\"results\":[{},{\"columns\":[\"id\",\"v\"],\"types\":[\"integer\",\"text\"],\"values\":[[1,\"a\"]]}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"a\"]]},{\"last_insert_id\":2,\"rows_affected\":1},"
                "{\"error\":\"no such column: nope\"}]\n");
}

static void test_columns_are_qualified_if_asked(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)");
        const request one = { .sql = { "INSERT INTO t(v) VALUES('a') RETURNING id", "SELECT x.id, v AS w, 1 AS n FROM t AS x" },
                              .request_mode = true, .qualify = true };
        entry_of(b, &one);
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"columns\":[\"id\"],\"types\":[\"integer\"],\"values\":[[1]]},"
                "{\"columns\":[\"t.id\",\"t.w\",\"n\"],\"types\":[\"integer\",\"text\",\"integer\"],\"values\":[[1,\"a\",1]]}]\n");
}

static void test_texts_with_several_statements(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2); -- end", "", "  ", "-- only");
        entry(b, "INSERT INTO t VALUES(3) RETURNING v; INSERT INTO t VALUES(4), (5)");
        entry(b, "INSERT INTO t VALUES(6); INSERT INTO nope VALUES(1); INSERT INTO t VALUES(7)");
        request(b, "SELECT group_concat(v) AS v FROM t");
        assert_answers(b,
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":1},{},{}]\n"
                "{\"results\":[{\"last_insert_id\":5,\"rows_affected\":2}]\n"
                "{\"results\":[{\"error\":\"no such table: nope\"}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"1,2,3,4,5,6\"]]}]\n");
}

static void test_a_transaction_is_all_or_nothing(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v UNIQUE)");
        transaction(b, "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(2)");
        transaction(b, "INSERT INTO t VALUES(3)", "SELECT * FROM nope", "INSERT INTO t VALUES(4)"); /* http-api 11.2 */
        transaction(b, "INSERT INTO t VALUES(5)", "INSERT INTO t VALUES(6)");
        request(b, "SELECT group_concat(v) AS v FROM t");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1},{\"error\":\"UNIQUE constraint failed: t.v\"}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1},{\"error\":\"no such table: nope\"}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1},{\"last_insert_id\":2,\"rows_affected\":1}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"5,6\"]]}]\n");
}

/* Hazard 1: OR ROLLBACK ends the batch's transaction; neighbours must not lose. */
static void test_a_rollback_spares_its_neighbours(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v UNIQUE)");
        entry(b, "INSERT INTO t VALUES(1)");
        entry(b, "INSERT INTO t VALUES(2)", "INSERT OR ROLLBACK INTO t VALUES(1)", "INSERT INTO t VALUES(3)");
        transaction(b, "INSERT INTO t VALUES(4)", "INSERT OR ROLLBACK INTO t VALUES(1)", "INSERT INTO t VALUES(5)");
        entry(b, "CREATE TRIGGER g BEFORE INSERT ON t WHEN new.v < 0 BEGIN SELECT RAISE(ROLLBACK, 'negative'); END");
        entry(b, "INSERT INTO t VALUES(-1)", "INSERT INTO t VALUES(6)");
        entry(b, "INSERT INTO t VALUES(7)");
        request(b, "SELECT group_concat(v) AS v FROM t");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]\n"
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":1},{\"error\":\"UNIQUE constraint failed: t.v\"},"
                "{\"last_insert_id\":3,\"rows_affected\":1}]\n"
                "{\"results\":[{\"last_insert_id\":4,\"rows_affected\":1},{\"error\":\"UNIQUE constraint failed: t.v\"}]\n"
                "{\"results\":[{}]\n"
                "{\"results\":[{\"error\":\"negative\"},{\"last_insert_id\":4,\"rows_affected\":1}]\n"
                "{\"results\":[{\"last_insert_id\":5,\"rows_affected\":1}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"1,2,3,6,7\"]]}]\n");
}

/* Hazard 2: the last id of AUTOINCREMENT is an ordinary outcome, not a full disk. */
static void test_autoincrement_at_its_end_is_an_outcome(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v)");
        entry(b, "INSERT INTO t(id) VALUES(9223372036854775807)");
        entry(b, "INSERT INTO t(v) VALUES(1)");
        entry(b, "CREATE TABLE u(v)");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"last_insert_id\":9223372036854775807,\"rows_affected\":1}]\n"
                "{\"results\":[{\"error\":\"database or disk is full\"}]\n"
                "{\"results\":[{}]\n");
}

/* Hazard 8. */
static void test_the_largest_rowid_needs_autoincrement(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
        entry(b, "INSERT INTO t(id) VALUES(9223372036854775807)");
        entry(b, "INSERT INTO t(v) VALUES(1)");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"error\":\"rowid 9223372036854775807 needs a table with AUTOINCREMENT: ids after it would be random\"}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]\n");
}

/* Hazard 3: an endless statement ends by its budget, and nothing else suffers. */
static void test_the_step_budget_is_an_outcome(void **state) {
        bench *b = *state;
        b->step_budget = 200000;
        entry(b, "CREATE TABLE t(v)");
        entry(b, "INSERT INTO t VALUES(1)");
        entry(b, "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r");
        entry(b, "INSERT INTO t VALUES(2)");
        request(b, "SELECT group_concat(v) AS v FROM t");
        assert_answers(b,
                "{\"results\":[{}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]\n"
                "{\"results\":[{\"error\":\"statement exceeded the step budget of a write (-write-step-budget)\"}]\n"
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":1}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"1,2\"]]}]\n");
}

/* Hazard 5: A's deferred violation must not be healed by B, nor fall on it. */
static void test_deferred_foreign_keys_belong_to_their_unit(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE p(id INTEGER PRIMARY KEY)", "CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)");
        entry(b, "INSERT INTO c VALUES(1)", "INSERT INTO p VALUES(1)");
        entry(b, "INSERT INTO c VALUES(2)");
        entry(b, "INSERT INTO p VALUES(2)");
        transaction(b, "INSERT INTO c VALUES(3)", "INSERT INTO p VALUES(3)");
        transaction(b, "INSERT INTO c VALUES(4)");
        request(b, "SELECT count(*) AS n FROM c");
        assert_answers(b,
                "{\"results\":[{},{}]\n"
                "{\"results\":[{\"error\":\"FOREIGN KEY constraint failed\"},{\"last_insert_id\":1,\"rows_affected\":1}]\n"
                "{\"results\":[{\"error\":\"FOREIGN KEY constraint failed\"}]\n"
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":1}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1},{\"last_insert_id\":3,\"rows_affected\":1}]\n"
                "{\"results\":[{\"last_insert_id\":2,\"rows_affected\":1}],\"error\":\"FOREIGN KEY constraint failed\"\n"
                "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[1]]}]\n");
}

/* Hazard 6. */
static void test_functions_of_the_connection_are_relative_to_the_entry(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)", "INSERT INTO t VALUES(1), (2), (3)");
        request(b, "SELECT changes() AS c, total_changes() AS t, last_insert_rowid() AS r");
        request(b, "INSERT INTO t VALUES(4)", "SELECT changes() AS c, total_changes() AS t, last_insert_rowid() AS r",
                "INSERT INTO t VALUES(last_insert_rowid())", "SELECT max(rowid) AS m, v FROM t");
        assert_answers(b,
                "{\"results\":[{},{\"last_insert_id\":3,\"rows_affected\":3}]\n"
                "{\"results\":[{\"columns\":[\"c\",\"t\",\"r\"],\"types\":[\"integer\",\"integer\",\"integer\"],\"values\":[[0,0,0]]}]\n"
                "{\"results\":[{\"last_insert_id\":4,\"rows_affected\":1},"
                "{\"columns\":[\"c\",\"t\",\"r\"],\"types\":[\"integer\",\"integer\",\"integer\"],\"values\":[[1,1,4]]},"
                "{\"last_insert_id\":5,\"rows_affected\":1},"
                "{\"columns\":[\"m\",\"v\"],\"types\":[\"integer\",\"integer\"],\"values\":[[5,4]]}]\n");
}

/* Safety rule 3: time and chance come from the entry, also in defaults and triggers. */
static void test_time_and_chance_come_from_the_entry(void **state) {
        bench *one = *state, *two = bench_new();
        bench_open(two);
        bench *both[] = { one, two };
        char *got[2];
        for (int i = 0; i < 2; i++) {
                bench *b = both[i];
                if (i == 1) /* other borders, and real time passes */
                        (void) usleep(20000);
                entry(b, "CREATE TABLE t(at DEFAULT CURRENT_TIMESTAMP, r DEFAULT (random()), b DEFAULT (randomblob(8)), j)");
                entry(b, "CREATE TABLE log(r)", "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES(random()); END");
                entry(b, "INSERT INTO t(j) VALUES(julianday('now')), (strftime('%s'))", "INSERT INTO t(j) VALUES(datetime('now', 'localtime'))");
                entry(b, "INSERT INTO t(j) SELECT v FROM (SELECT 1 AS v UNION SELECT 2 UNION SELECT 3) ORDER BY random()");
                assert_int_equal(run_queued(b, i == 1 ? 1 : 0), RQ_OK);
                got[i] = content(b);
        }
        assert_string_equal(got[0], got[1]);
        assert_non_null(strstr(got[0], "3:323032362d30312d30312030303a30303a3030")); /* 2026-01-01 00:00:00 */
        assert_true(applier_state(one->applier)->outcome_hash == applier_state(two->applier)->outcome_hash);
        free(got[0]);
        free(got[1]);
        bench_free(two);
}

static void test_random_differs_by_row_statement_and_entry(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(r)");
        entry(b, "INSERT INTO t VALUES(random()), (random())", "INSERT INTO t VALUES(random())");
        entry(b, "INSERT INTO t VALUES(random())");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        free(answers(b));
        request(b, "SELECT count(DISTINCT r) AS n FROM t");
        assert_answers(b, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[4]]}]\n");
}

/* Hazards 5, 7, 9, 10, 11: refused, with a text that says what to do. */
static void test_what_is_not_the_same_everywhere_is_refused(void **state) {
        bench *b = *state;
        static const struct { const char *sql, *text; } refused[] = {
                { "ATTACH 'x' AS y", "ATTACH is not available: a node has one database" },
                { "DETACH y", "DETACH is not available: a node has one database" },
                { "CREATE TEMP TABLE x(a)", "temporary tables, views, triggers and indexes are not replicated: use ordinary ones" },
                { "CREATE TABLE temp.x(a)", "temporary tables, views, triggers and indexes are not replicated: use ordinary ones" },
                { "/* c */ VACUUM INTO 'x'", "VACUUM INTO is not available: a client has no files, use /db/backup?vacuum" },
                { "PRAGMA defer_foreign_keys = ON", "PRAGMA defer_foreign_keys is not available: declare the constraint DEFERRABLE INITIALLY DEFERRED" },
                { "EXPLAIN PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers is not available in a write: it is not replicated" },
                { "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys is fixed when a cluster is founded, and this one was without -fk: found another one with it and load the data there (/db/backup, /db/load)" },
                { "INSERT INTO t VALUES(sqlite_version())", "function sqlite_version is not available in a write: its result may differ between nodes" },
                { "INSERT INTO t SELECT file FROM pragma_database_list", "pragma_database_list is not available in a write: its content may differ between nodes" },
                { "INSERT INTO t SELECT pgno FROM dbstat", "no such table: dbstat" },
                { "INSERT INTO t VALUES(load_extension('x'))", "function load_extension is not available in a write: its result may differ between nodes" },
                { "CREATE VIRTUAL TABLE v USING dbstat", "virtual table module dbstat is not available" },
                { "DELETE FROM sqlite_stat1", "statistics can't be written: run ANALYZE" },
        };
        entry(b, "CREATE TABLE t(v)", "CREATE INDEX i ON t(v)", "INSERT INTO t VALUES(1)", "ANALYZE");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        free(answers(b));
        for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
                entry(b, refused[i].sql);
                assert_int_equal(run_queued(b, 0), RQ_OK);
                char *got = answers(b), expected[512];
                (void) snprintf(expected, sizeof expected, "{\"results\":[{\"error\":\"%s\"}]\n", refused[i].text);
                assert_string_equal(got, expected);
                free(got);
        }
        /* A default that would tell nodes apart fails where it is used. */
        entry(b, "CREATE TABLE d(a, v DEFAULT (sqlite_version()))", "INSERT INTO d(a) VALUES(1)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        char *got = answers(b);
        assert_non_null(strstr(got, "error"));
        free(got);
        request(b, "SELECT count(*) AS n FROM t");
        assert_answers(b, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[1]]}]\n");
}

static void test_allowed_things_work(void **state) {
        bench *b = *state;
        entry(b, "PRAGMA user_version = 7", "PRAGMA foreign_keys = OFF", "ANALYZE", "CREATE VIRTUAL TABLE f USING fts5(body)",
              "INSERT INTO f VALUES('quick brown fox')", "CREATE VIRTUAL TABLE r USING rtree(id, a, b)", "INSERT INTO r VALUES(1, 2, 3)");
        request(b, "SELECT rowid, snippet(f, 0, '[', ']', '', 5) AS s FROM f WHERE f MATCH 'brown'", "PRAGMA user_version",
                "SELECT json_extract('{\"a\":5}', '$.a') AS a, sin(0.0) AS s", "PRAGMA table_info(f)", "REINDEX");
        assert_answers(b,
                "{\"results\":[{},{},{},{},{\"last_insert_id\":1,\"rows_affected\":1},{},{\"last_insert_id\":1,\"rows_affected\":1}]\n"
                "{\"results\":[{\"columns\":[\"rowid\",\"s\"],\"types\":[\"integer\",\"text\"],\"values\":[[1,\"quick [brown] fox\"]]},"
                "{\"columns\":[\"user_version\"],\"types\":[\"integer\"],\"values\":[[7]]},"
                "{\"columns\":[\"a\",\"s\"],\"types\":[\"integer\",\"real\"],\"values\":[[5,0]]},"
                "{\"columns\":[\"cid\",\"name\",\"type\",\"notnull\",\"dflt_value\",\"pk\"],\"types\":[\"integer\",\"text\",\"text\",\"integer\",\"\",\"integer\"],"
                "\"values\":[[0,\"body\",\"\",0,null,0]]},{}]\n");
}

static void test_a_disallowed_pragma_refuses_the_whole_request(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)", "PRAGMA journal_mode(DELETE)");
        entry(b, "SELECT 1; /* x */ pragma main . \"synchronous\" = 1");
        entry(b, "CREATE TABLE t(v)");
        assert_answers(b,
                "{\"results\":[],\"error\":\"disallowed pragma\"\n"
                "{\"results\":[],\"error\":\"disallowed pragma\"\n"
                "{\"results\":[{}]\n");
        static const char *const disallowed[] = {
                "PRAGMA journal_mode=WAL", "pragma journal_mode = 'wal'", "PRAGMA main.journal_mode(off)", "PRAGMA wal_checkpoint",
                "PRAGMA wal_checkpoint(TRUNCATE)", " -- c\nPRAGMA synchronous=0", "EXPLAIN QUERY PLAN PRAGMA query_only=0",
                "SELECT ';'; PRAGMA [wal_autocheckpoint]=3", "/**/pragma/**/\"main\"/**/./**/query_only/**/(1)",
        };
        static const char *const allowed[] = {
                "PRAGMA journal_mode", "PRAGMA synchronous;", "SELECT 'PRAGMA journal_mode=WAL'", "SELECT 1 -- ; PRAGMA wal_checkpoint",
                "INSERT INTO t VALUES('; PRAGMA wal_checkpoint')", "CREATE TABLE pragma(wal_checkpoint)", "", "PRAGMA", "PRAGMA main.",
        };
        for (size_t i = 0; i < sizeof disallowed / sizeof disallowed[0]; i++)
                assert_true(sql_text_pragma_disallowed(rq_bytes_text(disallowed[i])));
        for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
                assert_false(sql_text_pragma_disallowed(rq_bytes_text(allowed[i])));
}

/* By the operator's word: nothing of it is done, its neighbours in the batch are, and the hash is the same however batches fall. */
static void test_a_skipped_write_is_not_done(void **state) {
        uint64_t hash[2] = {0};
        (void) state;
        for (size_t batch = 0; batch < 2; batch++) {
                bench *b = bench_new();
                b->skip_index = 2;
                bench_open(b);
                entry(b, "CREATE TABLE t(v)");
                entry(b, "INSERT INTO t VALUES(1)", "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT x FROM c");
                entry(b, "INSERT INTO t VALUES(3)");
                assert_int_equal(run_queued(b, batch), RQ_OK);
                assert_int_equal(applier_running_index(b->applier), 0);
                char *got = answers(b);
                assert_string_equal(got, "{\"results\":[{}]\n"
                                         "{\"results\":[],\"error\":\"not done: the operator has skipped this write (-skip-entry)\"\n"
                                         "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1}]\n");
                free(got);
                hash[batch] = applier_state(b->applier)->outcome_hash;
                bench_free(b);
        }
        assert_true(hash[0] == hash[1]);
        /* Queued writes: each request is told. */
        bench *b = bench_new();
        b->skip_index = 2;
        bench_open(b);
        entry(b, "CREATE TABLE t(v)");
        const request two = { .sql = { "INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(2)" }, .groups = { { .statements = 1 }, { .statements = 1 } } };
        entry_of(b, &two);
        assert_answers(b, "{\"results\":[{}]\n"
                          "{\"results\":[{\"error\":\"not done: the operator has skipped this write (-skip-entry)\"},"
                          "{\"error\":\"not done: the operator has skipped this write (-skip-entry)\"}]\n");
        bench_free(b);
}

static void test_too_few_parameters_are_an_error(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)", "INSERT INTO t VALUES(?)");
        const request one = { .sql = { "INSERT INTO t VALUES(?)", "INSERT INTO t VALUES(?1 + ?2)" }, .argument = 7, .has_argument = true };
        entry_of(b, &one);
        assert_answers(b,
                "{\"results\":[{},{\"error\":\"not enough args to execute query: want 1 got 0\"}]\n"
                "{\"results\":[{\"last_insert_id\":1,\"rows_affected\":1},{\"error\":\"not enough args to execute query: want 2 got 1\"}]\n");
}

/* Rows of a write leave by a file when they are many. */
static void test_many_rows_spill(void **state) {
        bench *b = *state;
        request(b, "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300000) SELECT n, 'padding' FROM r",
                "CREATE TABLE t(v)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        assert_int_equal(b->out.count, 1);
        const apply_result *result = &b->out.results[0];
        assert_true(result->spill_fd >= 0);
        assert_true(result->size > 4000000);
        char tail[17] = {0};
        assert_int_equal(pread(result->spill_fd, tail, 16, (off_t) result->size - 16), 16);
        assert_string_equal(tail, "\"padding\"]]},{}]");
}

static void test_records_must_fit(void **state) {
        bench *b = *state;
        size_t applied, bytes;
        entry(b, "CREATE TABLE t(v)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        b->next_index++; /* a gap */
        entry(b, "CREATE TABLE u(v)");
        assert_int_equal(run_queued(b, 0), RQ_EPROTO);
        b->next_index = 2;
        queue_kind(b, 77, RECORD_CRITICAL, rq_bytes_text("?"));
        assert_int_equal(run_queued(b, 0), RQ_EVERSION);
        b->next_index = 2;
        queue_kind(b, 77, 0, rq_bytes_text("?")); /* not critical: passed over */
        queue_kind(b, RECORD_NOOP, 0, (rq_bytes) {0});
        queue_kind(b, RECORD_BARRIER, 0, (rq_bytes) {0});
        queue_kind(b, RECORD_SQL, RECORD_CRITICAL, rq_bytes_text("\xff\xff not protobuf"));
        assert_int_equal(run_queued(b, 0), RQ_OK);
        assert_int_equal(applier_state(b->applier)->index, 5);
        entry(b, "CREATE TABLE v(v)");
        b->records.data[b->records.size - 1] ^= 1;
        assert_int_equal(applier_run(b->applier, rq_buf_bytes(&b->records), NULL, NULL, &b->out, &applied, &bytes), RQ_ECORRUPT);
}

static void test_allow_lists_are_sorted_and_known(void **state) {
        (void) state;
        assert_true(allowed_function("ABS") && allowed_function("zeroblob") && allowed_function("->>"));
        assert_false(allowed_function("load_extension") || allowed_function("sqlite_version") || allowed_function(""));
        assert_false(allowed_function("concat") || allowed_function("unhex") || allowed_function("jsonb_set") || allowed_is_newer_function("abs"));
        assert_true(allowed_is_newer_function("CONCAT") && allowed_is_newer_function("unhex") && allowed_is_newer_function("json_error_position"));
        assert_true(allowed_module("FTS5") && allowed_module("json_each"));
        assert_false(allowed_module("dbstat"));
        /* Every built-in that isn't about this very build or connection is there. */
        sqlite3 *db;
        sqlite3_stmt *stmt;
        assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT DISTINCT name FROM pragma_function_list WHERE builtin AND name NOT LIKE 'sqlite_%'"
                                                " AND name NOT IN ('load_extension', 'fts3_tokenizer', 'subtype')", -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
                const char *name = (const char *) sqlite3_column_text(stmt, 0);
                if (!allowed_function(name) && !allowed_is_newer_function(name))
                        fail_msg("%s is not on the list", name);
        }
        (void) sqlite3_finalize(stmt);
        (void) sqlite3_close(db);
}

static void test_a_nul_ends_the_text(void **state) {
        bench *b = *state;
        entry(b, "CREATE TABLE t(v)");
        Rq__Statement s = RQ__STATEMENT__INIT, *list[] = { &s };
        Rq__SqlEntry e = RQ__SQL_ENTRY__INIT;
        uint8_t body[256];
        s.sql = (ProtobufCBinaryData) { sizeof "INSERT INTO t VALUES(1);\0INSERT INTO t VALUES(2)" - 1,
                                        (uint8_t *) (uintptr_t) "INSERT INTO t VALUES(1);\0INSERT INTO t VALUES(2)" };
        e.statements = list;
        e.n_statements = 1;
        queue_kind(b, RECORD_SQL, RECORD_CRITICAL, rq_bytes_of(body, rq__sql_entry__pack(&e, body)));
        s.sql = (ProtobufCBinaryData) { 1, (uint8_t *) (uintptr_t) "\0" };
        queue_kind(b, RECORD_SQL, RECORD_CRITICAL, rq_bytes_of(body, rq__sql_entry__pack(&e, body)));
        request(b, "SELECT count(*) AS n FROM t");
        assert_answers(b, "{\"results\":[{}]\n{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[1]]}]\n");
}

/* A full-text table writes what it holds back when the unit ends: that is ours,
 * and an exhausted budget must not stop it. */
static void test_the_budget_spares_the_end_of_a_unit(void **state) {
        bench *b = *state;
        b->step_budget = 400000;
        entry(b, "CREATE VIRTUAL TABLE f USING fts5(x)", "CREATE TABLE t(v)");
        entry(b, "INSERT INTO f SELECT 'word' || value FROM json_each('[1,2,3,4,5,6,7,8,9]')",
              "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
              "INSERT INTO f VALUES('more')");
        request(b, "SELECT count(*) AS n FROM f");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        char *got = answers(b);
        assert_non_null(strstr(got, "step budget"));
        free(got);
}

/* Broken by its own statements: an outcome, and the node goes on. */
static void test_what_statements_can_break_is_an_outcome(void **state) {
        bench *b = *state;
        entry(b, "CREATE VIRTUAL TABLE f USING fts5(x)", "INSERT INTO f VALUES('one two'), ('three')", "CREATE TABLE t(v)");
        entry(b, "UPDATE f_data SET block = x'00'", "UPDATE f_config SET v = 99");
        entry(b, "INSERT INTO f VALUES('four')", "DELETE FROM f", "INSERT INTO t VALUES(1)");
        transaction(b, "INSERT INTO f VALUES('five')", "INSERT INTO t VALUES(2)");
        entry(b, "CREATE TABLE d(a)", "INSERT INTO d VALUES(1), (2)", "CREATE INDEX i ON d(a) WHERE \"foo\" = \"bar\"",
              "ALTER TABLE d ADD COLUMN foo DEFAULT 'bar'", "DELETE FROM d WHERE a = 1");
        request(b, "SELECT 1 AS n FROM t WHERE v = 1");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        char *got = answers(b);
        assert_non_null(strstr(got, "\"values\":[[1]]"));
        free(got);
}

/* Views of views: preparing must end, in time and memory, with an error. */
static void test_preparing_is_bounded(void **state) {
        bench *b = *state;
        char sql[256];
        entry(b, "CREATE TABLE e0(a)", "CREATE TABLE t(a)");
        for (int i = 1; i <= 30; i++) {
                (void) snprintf(sql, sizeof sql, "CREATE VIEW e%d AS SELECT a FROM e%d UNION ALL SELECT a FROM e%d", i, i - 1, i - 1);
                entry(b, sql);
        }
        assert_int_equal(run_queued(b, 0), RQ_OK);
        free(answers(b));
        entry(b, "INSERT INTO t SELECT a FROM e30", "INSERT INTO t SELECT a FROM e3");
        assert_answers(b, "{\"results\":[{\"error\":\"statement too complex: preparing it takes too much memory\"},{}]\n");
}

static void test_temporary_virtual_tables_are_refused(void **state) {
        bench *b = *state;
        entry(b, "CREATE VIRTUAL TABLE temp.v USING fts5(x)");
        assert_answers(b, "{\"results\":[{\"error\":\"temporary tables, views, triggers and indexes are not replicated: use ordinary ones\"}]\n");
}

/* Hazards 7: statistics that were rolled back must not stay in memory. */
static void test_a_rolled_back_analyze_leaves_no_trace(void **state) {
        bench *b = *state;
        static const char plan[] = "EXPLAIN QUERY PLAN SELECT * FROM t WHERE a = 1 AND b = 1";
        entry(b, "CREATE TABLE t(a, b)", "CREATE INDEX ia ON t(a)", "CREATE INDEX ib ON t(b)",
              "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 200) SELECT 1, n FROM r", "ANALYZE");
        request(b, plan);
        assert_int_equal(run_queued(b, 0), RQ_OK);
        char *before = answers(b);
        assert_non_null(strstr(before, "INDEX ib"));
        free(before);
        entry(b, "DELETE FROM t", "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 200) SELECT n, 1 FROM r");
        transaction(b, "ANALYZE", "INSERT INTO nope VALUES(1)");
        request(b, plan);
        assert_int_equal(run_queued(b, 0), RQ_OK);
        char *after = answers(b);
        assert_non_null(strstr(after, "INDEX ib"));
        free(after);
}

/* Ours against SQLite's, on random texts and blobs of few different bytes. */
static void test_instr_and_replace_are_sqlites(void **state) {
        bench *b = *state;
        sqlite3 *db, *own;
        sqlite3_stmt *theirs, *ours;
        static const char sql[] = "SELECT instr(?1, ?2), replace(?1, ?2, ?3), typeof(replace(?1, ?2, ?3))";
        static writer_functions functions;
        rq_rng rng = rq_rng_seeded(11);
        (void) b;
        assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
        assert_int_equal(sqlite3_open(":memory:", &own), SQLITE_OK);
        assert_int_equal(writer_functions_install(&functions, own), RQ_OK);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &theirs, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(own, sql, -1, &ours, NULL), SQLITE_OK);
        for (int round = 0; round < 100000; round++) {
                static const char bytes[] = { 'a', 'b', (char) 0xc3, (char) 0xa4, (char) 0xe2, (char) 0x82, (char) 0xac, '\0' };
                for (int i = 1; i <= 3; i++) {
                        char value[12];
                        int size = (int) rq_rng_below(&rng, i == 1 ? 12 : 4), kind = (int) rq_rng_below(&rng, 12);
                        for (int k = 0; k < size; k++)
                                value[k] = bytes[rq_rng_below(&rng, rq_rng_below(&rng, 4) == 0 ? 8 : 2)];
                        sqlite3_stmt *both[] = { theirs, ours };
                        for (int k = 0; k < 2; k++)
                                (void) (kind == 0 ? sqlite3_bind_null(both[k], i) : kind == 1 ? sqlite3_bind_int(both[k], i, size) :
                                        kind < 5 ? sqlite3_bind_blob(both[k], i, value, size, SQLITE_TRANSIENT) :
                                        sqlite3_bind_text(both[k], i, value, size, SQLITE_TRANSIENT));
                }
                assert_int_equal(sqlite3_step(theirs), SQLITE_ROW);
                assert_int_equal(sqlite3_step(ours), SQLITE_ROW);
                for (int i = 0; i < 3; i++) {
                        assert_int_equal(sqlite3_column_type(ours, i), sqlite3_column_type(theirs, i));
                        int size = sqlite3_column_bytes(theirs, i);
                        assert_int_equal(sqlite3_column_bytes(ours, i), size);
                        if (size > 0)
                                assert_memory_equal(sqlite3_column_blob(ours, i), sqlite3_column_blob(theirs, i), (size_t) size);
                }
                (void) sqlite3_reset(theirs);
                (void) sqlite3_reset(ours);
        }
        (void) sqlite3_finalize(theirs);
        (void) sqlite3_finalize(ours);
        writer_functions_done(&functions);
        (void) sqlite3_close(db);
        (void) sqlite3_close(own);
}

int main(void) {
        (void) setenv("TZ", "UTC", 1);
        rq_log_open("test_applier", RQ_LOG_PLAIN, LOG_ERR);
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_changes_and_ids, setup, teardown),
                cmocka_unit_test_setup_teardown(test_rows_of_returning_and_of_requests, setup, teardown),
                cmocka_unit_test_setup_teardown(test_columns_are_qualified_if_asked, setup, teardown),
                cmocka_unit_test_setup_teardown(test_texts_with_several_statements, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_transaction_is_all_or_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_rollback_spares_its_neighbours, setup, teardown),
                cmocka_unit_test_setup_teardown(test_autoincrement_at_its_end_is_an_outcome, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_largest_rowid_needs_autoincrement, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_step_budget_is_an_outcome, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deferred_foreign_keys_belong_to_their_unit, setup_foreign_keys, teardown),
                cmocka_unit_test_setup_teardown(test_functions_of_the_connection_are_relative_to_the_entry, setup, teardown),
                cmocka_unit_test_setup_teardown(test_time_and_chance_come_from_the_entry, setup, teardown),
                cmocka_unit_test_setup_teardown(test_random_differs_by_row_statement_and_entry, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_not_the_same_everywhere_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_allowed_things_work, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_disallowed_pragma_refuses_the_whole_request, setup, teardown),
                cmocka_unit_test(test_a_skipped_write_is_not_done),
                cmocka_unit_test_setup_teardown(test_too_few_parameters_are_an_error, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_rows_spill, setup, teardown),
                cmocka_unit_test_setup_teardown(test_records_must_fit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_nul_ends_the_text, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_budget_spares_the_end_of_a_unit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_statements_can_break_is_an_outcome, setup, teardown),
                cmocka_unit_test_setup_teardown(test_preparing_is_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_temporary_virtual_tables_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_rolled_back_analyze_leaves_no_trace, setup, teardown),
                cmocka_unit_test_setup_teardown(test_instr_and_replace_are_sqlites, setup, teardown),
                cmocka_unit_test(test_allow_lists_are_sorted_and_known),
        };
        return cmocka_run_group_tests_name("applier", tests, NULL, NULL);
}
