/* store: statements as rows of JSON (http-api.md 4.4, 4.5), with SQLite in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <string.h>

#include "io/stmt_rows.h"

static sqlite3 *db;

static int open_db(void **state) {
        (void) state;
        return sqlite3_open(":memory:", &db) == SQLITE_OK ? 0 : -1;
}

static int close_db(void **state) {
        (void) state;
        return sqlite3_close(db) == SQLITE_OK ? 0 : -1;
}

static void execute(const char *sql) {
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* "types" and "values" of a query. */
static void check_rows(const char *sql, bool qualify, const char *wanted) {
        json_writer *w = json_writer_new();
        sqlite3_stmt *stmt;
        bool begun = false;
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
        json_begin(w, &(json_options) {0});
        assert_int_equal(stmt_rows_run(stmt, w, qualify, NULL, NULL, &begun), SQLITE_DONE);
        assert_true(begun);
        sqlite3_finalize(stmt);
        rq_bytes got = json_bytes(w);
        const char *part = qualify ? "\"columns\":" : "\"types\":";
        const uint8_t *at = memmem(got.data, got.size, part, strlen(part));
        assert_non_null(at);
        at += strlen(part);
        size_t size = (size_t) (got.data + got.size - at);
        if (size != strlen(wanted) || memcmp(at, wanted, size) != 0)
                fail_msg("%s\ngot    %.*s\nwanted %s", sql, (int) size, (const char *) at, wanted);
        json_writer_free(w);
}

static void types(void **state) {
        (void) state;
        execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v VARCHAR(10), d DECIMAL(10,2), f Foo_Type, j JSONB, u)");
        check_rows("SELECT * FROM t", false,
                   "[\"integer\",\"varchar(10)\",\"decimal(10,2)\",\"foo_type\",\"jsonb\",\"\"]}");
        execute("INSERT INTO t VALUES(1,'a',2,3,4,5),(2,NULL,NULL,NULL,NULL,x'00')");
        check_rows("SELECT u, f FROM (SELECT * FROM t)", false,
                   "[\"integer\",\"foo_type\"],\"values\":[[5,3],[\"AA==\",null]]}");
        check_rows("SELECT v FROM t WHERE id=1 UNION ALL SELECT 5", false,
                   "[\"varchar(10)\"],\"values\":[[\"a\"],[5]]}");
        check_rows("SELECT NULL AS a UNION ALL SELECT 1", false, "[\"\"],\"values\":[[null],[1]]}");
        check_rows("SELECT 1, 2.5, 'x', NULL", false,
                   "[\"integer\",\"real\",\"text\",\"\"],\"values\":[[1,2.5,\"x\",null]]}");
        check_rows("SELECT x'4142FF'", false, "[\"blob\"],\"values\":[[\"QUL/\"]]}"); /* rqlite: text, mangled */
        check_rows("SELECT 1 UNION ALL SELECT x'ff'", false, "[\"integer\"],\"values\":[[1],[\"/w==\"]]}");
        check_rows("SELECT x''", false, "[\"blob\"],\"values\":[[\"\"]]}");
        check_rows("PRAGMA user_version", false, "[\"integer\"],\"values\":[[0]]}");
        check_rows("INSERT INTO t(v) VALUES('r') RETURNING id, v", false,
                   "[\"integer\",\"varchar(10)\"],\"values\":[[3,\"r\"]]}");
}

static void cells(void **state) {
        (void) state;
        execute("CREATE TABLE c(b BOOLEAN, d DATE, dt DATETIME, ts TIMESTAMP, t TIME, r REAL, x TEXT, bl BLOB)");
        execute("INSERT INTO c VALUES(1,'2024-01-02',-5,1704164645000,5,1.0,x'41ff',x'ff00')");
        execute("INSERT INTO c VALUES(-5,'03:04:05','2024-01-02T03:04:05+02:00',1000000000000,'03:04',9e999,"
                "'a'||char(0)||'b','plain')");
        execute("INSERT INTO c VALUES(NULL,2460000.5,x'41','','',-9e999,'',x'')");
        check_rows("SELECT * FROM c", false,
                   "[\"boolean\",\"date\",\"datetime\",\"timestamp\",\"time\",\"real\",\"text\",\"blob\"],"
                   "\"values\":[[true,\"2024-01-02T00:00:00Z\",\"1969-12-31T23:59:55Z\",\"2024-01-02T03:04:05Z\",5,"
                   "1,\"A\\ufffd\",\"/wA=\"],"
                   "[false,\"03:04:05\",\"2024-01-02T03:04:05+02:00\",1000000000000,\"03:04\",null,\"a\\u0000b\","
                   "\"plain\"],[null,2460000.5,\"QQ==\",\"\",\"\",null,\"\",\"\"]]}");
        /* Only real columns convert. */
        check_rows("SELECT max(dt) FROM c WHERE typeof(dt)='integer'", false, "[\"integer\"],\"values\":[[-5]]}");
}

static void qualified(void **state) {
        (void) state;
        execute("CREATE TABLE m(a INTEGER, b TEXT); INSERT INTO m VALUES(1,'x')");
        check_rows("SELECT k.a, b AS al, a+1 FROM m k", true,
                   "[\"m.a\",\"m.al\",\"a+1\"],\"types\":[\"integer\",\"text\",\"integer\"],"
                   "\"values\":[[1,\"x\",2]]}");
        check_rows("INSERT INTO m VALUES(2,'y') RETURNING a", true,
                   "[\"a\"],\"types\":[\"integer\"],\"values\":[[2]]}");
}

static int flushes;

static bool stop_at_third(void *arg, json_writer *w) {
        assert_ptr_equal(arg, &flushes);
        json_reset_bytes(w);
        return ++flushes < 3;
}

static void ways_to_end(void **state) {
        (void) state;
        json_writer *w = json_writer_new();
        sqlite3_stmt *stmt;
        bool begun = true;
        json_begin(w, &(json_options) {0});

        /* no columns */
        assert_int_equal(sqlite3_prepare_v2(db, "CREATE TABLE e(a)", -1, &stmt, NULL), SQLITE_OK);
        size_t before = json_bytes(w).size;
        assert_int_equal(stmt_rows_run(stmt, w, false, NULL, NULL, &begun), SQLITE_DONE);
        assert_false(begun);
        assert_int_equal(json_bytes(w).size, before);
        sqlite3_finalize(stmt);

        /* an error before the first row, and one behind it */
        begun = true;
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT abs(-9223372036854775807-1)", -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(stmt_rows_run(stmt, w, false, NULL, NULL, &begun) & 0xff, SQLITE_ERROR);
        assert_false(begun);
        sqlite3_finalize(stmt);
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT 1 AS a UNION ALL SELECT abs(-9223372036854775807-1)",
                                            -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(stmt_rows_run(stmt, w, false, NULL, NULL, &begun) & 0xff, SQLITE_ERROR);
        assert_true(begun);
        json_rows_failed(w, sqlite3_errmsg(db));
        sqlite3_finalize(stmt);
        rq_bytes got = json_bytes(w);
        static const char wanted[] = "{\"results\":[{\"columns\":[\"a\"],\"types\":[\"integer\"],\"values\":[[1]],\""
                                     "error\":\"integer overflow\"}";
        assert_int_equal(got.size, sizeof wanted - 1);
        assert_memory_equal(got.data, wanted, got.size);

        /* the client is gone */
        flushes = 0;
        assert_int_equal(sqlite3_prepare_v2(db, "VALUES (1),(2),(3),(4),(5)", -1, &stmt, NULL), SQLITE_OK);
        json_begin(w, &(json_options) {0});
        assert_int_equal(stmt_rows_run(stmt, w, false, stop_at_third, &flushes, &begun), SQLITE_ABORT);
        assert_int_equal(flushes, 3);
        sqlite3_finalize(stmt);
        json_writer_free(w);
}

/* The schema changes between prepare and the first step: the columns are those of the statement that runs. */
static void prepared_anew(void **state) {
        (void) state;
        execute("CREATE TABLE s(a INTEGER); INSERT INTO s VALUES(1)");
        json_writer *w = json_writer_new();
        sqlite3_stmt *stmt;
        bool begun;
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT * FROM s", -1, &stmt, NULL), SQLITE_OK);
        execute("ALTER TABLE s ADD COLUMN b TEXT DEFAULT 'new'");
        json_begin(w, &(json_options) {0});
        assert_int_equal(stmt_rows_run(stmt, w, false, NULL, NULL, &begun), SQLITE_DONE);
        sqlite3_finalize(stmt);
        rq_bytes got = json_bytes(w);
        static const char wanted[] = "{\"results\":[{\"columns\":[\"a\",\"b\"],\"types\":[\"integer\",\"text\"],\""
                                     "values\":[[1,\"new\"]]}";
        assert_int_equal(got.size, sizeof wanted - 1);
        assert_memory_equal(got.data, wanted, got.size);
        json_writer_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(types), cmocka_unit_test(cells), cmocka_unit_test(qualified),
                        cmocka_unit_test(ways_to_end),
                cmocka_unit_test(prepared_anew),
        };
        return cmocka_run_group_tests(tests, open_db, close_db);
}
