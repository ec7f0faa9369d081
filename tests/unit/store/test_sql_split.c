/* core/sql_split: the same ends, however the text comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/sql_split.h"

/* Statements end at the '|'s, which aren't part of the text. */
static const char *const texts[] = {
        "SELECT 1;|",
        "SELECT 1;| SELECT 2;|",
        "INSERT INTO t VALUES('a;b''c;');|",
        "SELECT \"a;b\", `c;d`, [e;f];| -- g;h\n/* i;j */ SELECT 2;|",
        ";|;|",
        "SELECT 1 -- no end;\n|",
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END;| SELECT 3;|",
        "create /* c */ temp trigger x delete on t begin delete from t; end ;|",
        "EXPLAIN QUERY PLAN CREATE TEMPORARY TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; END;|",
        "CREATE TABLE trigger_like(a);|INSERT INTO trigger_like VALUES('END;');|",
        "CREATE TABLE t(\"trigger\");|",
        "SELECT 'open; literal|",
        "SELECT 1 /* open; comment|",
        "SELECT 'x'';y', '';|SELECT 4|",
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO log VALUES('; END;'); END;|-- last\n|",
        "END;|END;|",
};

/* Given in pieces of `step` bytes. */
static void split_all(const char *marked, size_t step) {
        char text[512], found[600];
        size_t size = 0, from = 0, given = 0, used = 0;
        for (const char *p = marked; *p != '\0'; p++)
                if (*p != '|')
                        text[size++] = *p;
        sql_split s = {0};
        while (from < size) {
                size_t end;
                bool whole = given == size;
                if (sql_split_next(&s, rq_bytes_of(text + from, given - from), whole, &end)) {
                        memcpy(found + used, text + from, end);
                        used += end;
                        found[used++] = '|';
                        from += end;
                } else {
                        assert_false(whole);
                        given = given + step < size ? given + step : size;
                }
        }
        found[used] = '\0';
        assert_string_equal(found, marked);
}

static void test_ends(void **state) {
        (void) state;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
                for (size_t step = 1; step < 70; step = step * 2 + 1)
                        split_all(texts[i], step);
}

static void test_nothing(void **state) {
        (void) state;
        sql_split s = {0};
        size_t end;
        assert_false(sql_split_next(&s, rq_bytes_text(""), true, &end));
        assert_false(sql_split_next(&s, rq_bytes_text("SELECT 1"), false, &end));
        assert_true(sql_split_next(&s, rq_bytes_text("SELECT 1"), true, &end));
        assert_int_equal(end, 8);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_ends), cmocka_unit_test(test_nothing) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
