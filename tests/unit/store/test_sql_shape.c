/* store: what of a statement may be logged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/sql_shape.h"

static void check(const char *sql, const char *wanted) {
        char got[SQL_SHAPE_BYTES_MAX];
        sql_shape(rq_bytes_text(sql), got);
        if (strcmp(got, wanted) != 0)
                fail_msg("%s\ngot    %s\nwanted %s", sql, got, wanted);
}

static void literals_are_hidden(void **state) {
        (void) state;
        check("SELECT * FROM t WHERE name = 'it''s secret' AND n > 12.5e-3", "SELECT * FROM t WHERE name = ? AND n > ?");
        check("INSERT INTO t VALUES(1, -2, .5, 0xFF, 1_000, x'00ff', X'aa', NULL)", "INSERT INTO t VALUES(?, -?, ?, ?, ?, ?, ?, NULL)");
        check("INSERT INTO t(\"name\") VALUES(\"secret\"),(\"more\")", "INSERT INTO t(\"name\") VALUES(?),(?)");
        check("UPDATE t SET a = \"secret\" WHERE \"t\".\"b\" = \"secret\"", "UPDATE t SET a = ? WHERE \"t\".\"b\" = ?");
        check("INSERT INTO t VALUES('never closed", "INSERT INTO t VALUES(?");
        check("INSERT INTO t VALUES(\"never closed", "INSERT INTO t VALUES(?");
        check("PRAGMA x='secret'", "PRAGMA x=?");
}

static void names_stay(void **state) {
        (void) state;
        check("SELECT \"id\", [a b], `c` FROM \"t1\" AS x2", "SELECT \"id\", [a b], `c` FROM \"t1\" AS x2");
        check("SELECT e1, x FROM t ORDER BY 1e5", "SELECT e1, x FROM t ORDER BY ?");
        check("SELECT ?1, ?, :name, @at, $dollar", "SELECT ?, ?, :name, @at, $dollar");
        check("SELECT \xc3\xa4 FROM t", "SELECT \xc3\xa4 FROM t");
        check("SELECT a FROM t WHERE b IN (SELECT \"b\" FROM u)", "SELECT a FROM t WHERE b IN (SELECT \"b\" FROM u)");
}

static void blanks_and_comments_go(void **state) {
        (void) state;
        check("  SELECT\n\t1 -- secret\n + /* secret */ 2 ", "SELECT ? + ?");
        check("/* secret */", "");
        check("", "");
        check("SELECT 1 /* never closed", "SELECT ?");
}

static void long_texts_are_cut(void **state) {
        static char sql[20000], got[SQL_SHAPE_BYTES_MAX];
        (void) state;
        for (size_t size = 950; size < 1100; size++) {
                memset(sql, 'a', size);
                (void) snprintf(sql + size, sizeof sql - size, " 'secret' bbbbbbbbbbbbbbbbb");
                sql_shape(rq_bytes_text(sql), got);
                assert_true(strlen(got) < SQL_SHAPE_BYTES_MAX);
                assert_null(strstr(got, "secret"));
                if (size > 990)
                        assert_string_equal(got + strlen(got) - 3, "...");
        }
        for (size_t i = 0; i + 3 < sizeof sql; i += 3)
                memcpy(sql + i, "(1,", 4);
        sql_shape(rq_bytes_text(sql), got);
        assert_int_equal(strlen(got), SQL_SHAPE_BYTES_MAX - 1);
        assert_memory_equal(got, "(?,(?,", 6);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(literals_are_hidden), cmocka_unit_test(names_stay),
                cmocka_unit_test(blanks_and_comments_go), cmocka_unit_test(long_texts_are_cut),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
