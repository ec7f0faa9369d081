/* A dump made anew is the same database: values of each kind, names that need
 * quotes, the order of things, choices of tables; and what ends a dump. */
#include "store_test.h"

#include <string.h>

#include "io/db_dump.h"

typedef struct sink {
        rq_buf text;
        size_t pieces, pieces_max; /* then no more; 0: any number */
        sqlite3 *interrupts;       /* at the first piece; NULL: none */
} sink;

static bool take(void *arg, rq_bytes piece) {
        sink *s = arg;
        assert_true(piece.size > 0);
        assert_int_equal(rq_buf_append_bytes(&s->text, piece), RQ_OK);
        if (s->interrupts != NULL)
                sqlite3_interrupt(s->interrupts);
        return ++s->pieces != s->pieces_max;
}

static sqlite3 *database(const char *text) {
        sqlite3 *db;
        assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
        sql(db, text);
        return db;
}

static char *dump(sqlite3 *db, const char *table) {
        sink s = {0};
        rq_bytes name = rq_bytes_text(table != NULL ? table : "");
        const db_dump_ask ask = { .tables = &name, .table_count = table != NULL, .send = take, .arg = &s };
        assert_int_equal(db_dump(db, &ask), RQ_OK);
        assert_int_equal(rq_buf_append(&s.text, "", 1), RQ_OK);
        return (char *) s.text.data;
}

#define BEGINNING "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"

static void assert_dump(const char *made_of, const char *table, const char *expected) {
        sqlite3 *db = database(made_of);
        char *text = dump(db, table), whole[2048];
        (void) snprintf(whole, sizeof whole, BEGINNING "%sCOMMIT;\n", expected);
        assert_string_equal(text, whole);
        free(text);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The text of its text is the same text. */
static void assert_comes_back(const char *made_of) {
        sqlite3 *db = database(made_of), *again;
        char *text = dump(db, NULL), *text_again;
        assert_int_equal(sqlite3_open(":memory:", &again), SQLITE_OK);
        (void) sqlite3_db_config(again, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
        sql(again, text);
        text_again = dump(again, NULL);
        assert_string_equal(text_again, text);
        assert_int_equal(number(again, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
        free(text);
        free(text_again);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_int_equal(sqlite3_close(again), SQLITE_OK);
}

static void test_values(void **state) {
        (void) state;
        assert_dump("CREATE TABLE t(v); INSERT INTO t VALUES(NULL), (0), (-9223372036854775808), (9223372036854775807), ('it''s'), (''), (X''), (X'00ff')", NULL,
                    "CREATE TABLE t(v);\nINSERT INTO \"t\" VALUES(NULL);\nINSERT INTO \"t\" VALUES(0);\nINSERT INTO \"t\" VALUES(-9223372036854775808);\n"
                    "INSERT INTO \"t\" VALUES(9223372036854775807);\nINSERT INTO \"t\" VALUES('it''s');\nINSERT INTO \"t\" VALUES('');\n"
                    "INSERT INTO \"t\" VALUES(X'');\nINSERT INTO \"t\" VALUES(X'00FF');\n");
        assert_dump("CREATE TABLE t(v REAL); INSERT INTO t VALUES(1), (0.1), (1e300), (9e999), (-9e999), (0.30000000000000004)", NULL,
                    "CREATE TABLE t(v REAL);\nINSERT INTO \"t\" VALUES(1.0);\nINSERT INTO \"t\" VALUES(0.1);\n"
                    "INSERT INTO \"t\" VALUES(1.0e+300);\nINSERT INTO \"t\" VALUES(1e999);\nINSERT INTO \"t\" VALUES(-1e999);\n"
                    "INSERT INTO \"t\" VALUES(0.30000000000000004);\n");
        /* What would end the text for its reader. */
        assert_dump("CREATE TABLE t(v); INSERT INTO t VALUES(CAST(X'610062' AS TEXT))", NULL,
                    "CREATE TABLE t(v);\nINSERT INTO \"t\" VALUES(CAST(X'610062' AS TEXT));\n");
}

static void test_names(void **state) {
        (void) state;
        assert_dump("CREATE TABLE \"a \"\"b\"(\"c d\", \"e\"\"\", 'f'); INSERT INTO \"a \"\"b\" VALUES(1, 2, 3)", NULL,
                    "CREATE TABLE \"a \"\"b\"(\"c d\", \"e\"\"\", 'f');\nINSERT INTO \"a \"\"b\" VALUES(1,2,3);\n");
}

static void test_generated_columns_are_left_out(void **state) {
        (void) state;
        assert_dump("CREATE TABLE t(a, b AS (a * 2), c, d AS (a + c) STORED); INSERT INTO t VALUES(1, 5)", NULL,
                    "CREATE TABLE t(a, b AS (a * 2), c, d AS (a + c) STORED);\nINSERT INTO \"t\" VALUES(1,5);\n");
}

static void test_what_belongs_to_a_choice(void **state) {
        static const char two[] = "CREATE TABLE b(x); CREATE TABLE a(x); CREATE INDEX ib ON b(x); CREATE INDEX ia ON a(x); CREATE VIEW v AS SELECT 1;"
                                  "CREATE TRIGGER gb AFTER INSERT ON b BEGIN SELECT 1; END; INSERT INTO a VALUES(1); INSERT INTO b VALUES(2)";
        (void) state;
        assert_dump(two, "B", "CREATE TABLE b(x);\nINSERT INTO \"b\" VALUES(2);\nCREATE INDEX ib ON b(x);\nCREATE VIEW v AS SELECT 1;\n"
                              "CREATE TRIGGER gb AFTER INSERT ON b BEGIN SELECT 1; END;\n");
        assert_dump(two, "nobody", "CREATE VIEW v AS SELECT 1;\n");
        assert_dump(two, "", "CREATE VIEW v AS SELECT 1;\n");
}

static void test_it_comes_back(void **state) {
        static const char *const texts[] = {
                "SELECT 1",
                "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO a(x) VALUES(1), (2); DELETE FROM a",
                "CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES('b', 1), ('a', 2)",
                "CREATE TABLE t(x, y); CREATE INDEX i ON t(x); INSERT INTO t VALUES(1, 2), (3, 4); ANALYZE",
                "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('some words'), ('other words'); DELETE FROM f WHERE rowid = 1",
                "CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 2, 3), (7, 8, 9)",
                "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id)); INSERT INTO c VALUES(5)",
                "CREATE VIEW v AS SELECT * FROM t; CREATE TABLE t(x); CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN INSERT INTO t VALUES(new.x); END; INSERT INTO t VALUES(1)",
        };
        (void) state;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
                assert_comes_back(texts[i]);
}

static const char large[] = "CREATE TABLE t(v); INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 300)"
                            " SELECT zeroblob(1000 * (n % 3)) FROM r";

static void test_pieces(void **state) {
        sqlite3 *db = database(large);
        sink s = {0};
        const db_dump_ask ask = { .send = take, .arg = &s };
        (void) state;
        assert_int_equal(db_dump(db, &ask), RQ_OK);
        assert_true(s.pieces > 4);
        assert_int_equal(rq_buf_append(&s.text, "", 1), RQ_OK);
        sqlite3 *again = database((const char *) s.text.data);
        assert_int_equal(number(again, "SELECT sum(length(v)) FROM t"), number(db, "SELECT sum(length(v)) FROM t"));
        rq_buf_done(&s.text);
        assert_int_equal(sqlite3_close(again), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_what_ends_it(void **state) {
        sqlite3 *db = database(large);
        (void) state;
        sink refuses = { .pieces_max = 2 };
        assert_int_equal(db_dump(db, &(const db_dump_ask) { .send = take, .arg = &refuses }), RQ_ECANCELED);
        assert_int_equal(refuses.pieces, 2); /* nothing after it */
        rq_buf_done(&refuses.text);
        sink interrupts = { .interrupts = db };
        assert_int_equal(db_dump(db, &(const db_dump_ask) { .send = take, .arg = &interrupts }), RQ_ECANCELED);
        assert_int_equal(interrupts.pieces, 1);
        rq_buf_done(&interrupts.text);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A damaged database's dump doesn't end as a whole one does. */
static void test_damage(void **state) {
        char path[] = "/tmp/rq-test-dump-XXXXXX";
        uint8_t page[4096];
        sqlite3 *db;
        sink s = {0};
        (void) state;
        int fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        sql(db, large);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        memset(page, 0xa5, sizeof page);
        assert_int_equal(pwrite(fd, page, sizeof page, 4096 * 5), sizeof page);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        assert_int_equal(db_dump(db, &(const db_dump_ask) { .send = take, .arg = &s }), RQ_ECORRUPT);
        assert_true(s.text.size < 8 || memcmp(s.text.data + s.text.size - 8, "COMMIT;\n", 8) != 0);
        rq_buf_done(&s.text);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        (void) close(fd);
        (void) unlink(path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_generated_columns_are_left_out),
                cmocka_unit_test(test_what_belongs_to_a_choice),
                cmocka_unit_test(test_it_comes_back),
                cmocka_unit_test(test_pieces),
                cmocka_unit_test(test_what_ends_it),
                cmocka_unit_test(test_damage),
        };
        return cmocka_run_group_tests_name("db_dump", tests, NULL, NULL);
}
