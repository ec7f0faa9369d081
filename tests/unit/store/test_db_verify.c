/* Files that are to become the database: sound ones, and each kind of damage. */
#include "store_test.h"

#include <string.h>

#include "io/db_verify.h"

typedef struct bed {
        char path[64], problem[DB_VERIFY_PROBLEM_BYTES];
        int fd;
} bed;

static void bed_open(bed *b, const char *text) {
        sqlite3 *db;
        (void) snprintf(b->path, sizeof b->path, "/tmp/rq-test-verify-XXXXXX");
        b->fd = mkostemp(b->path, O_CLOEXEC);
        assert_true(b->fd >= 0);
        assert_int_equal(sqlite3_open(b->path, &db), SQLITE_OK);
        sql(db, text);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void bed_close(bed *b) {
        (void) close(b->fd);
        (void) unlink(b->path);
}

static const char *judge(bed *b) {
        assert_int_equal(db_verify(b->fd, b->path, b->problem), RQ_OK);
        return b->problem;
}

static void assert_begins(const char *text, const char *expected) {
        if (strncmp(text, expected, strlen(expected)) != 0)
                fail_msg("\"%s\" doesn't begin with \"%s\"", text, expected);
}

static void overwrite(const bed *b, off_t at, const void *bytes, size_t size) { assert_int_equal(pwrite(b->fd, bytes, size, at), size); }

static const char some_rows[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t(v);"
        "INSERT INTO t(v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT 'value ' || i FROM n;";

static void test_sound_ones(void **state) {
        static const char *const texts[] = {
                some_rows, "CREATE TABLE t(x) ", "PRAGMA page_size=512; CREATE TABLE t(x)", "PRAGMA page_size=65536; CREATE TABLE t(x)",
                "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES(9223372036854775807)",
                "CREATE TABLE w(k PRIMARY KEY) WITHOUT ROWID; INSERT INTO w VALUES(9223372036854775807)",
                "CREATE TABLE h(rowid, _rowid_, oid); INSERT INTO h VALUES(9223372036854775807, 9223372036854775807, 3)",
                "CREATE TABLE h(_ROWID_, rowID); INSERT INTO h VALUES(9223372036854775807, 9223372036854775807)",
                "CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('some words')",
        };
        (void) state;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
                bed b;
                bed_open(&b, texts[i]);
                assert_string_equal(judge(&b), "");
                bed_close(&b);
        }
}

/* A file of WAL mode without its WAL gets the mark of rollback mode, or SQLite would look for one. */
static void test_wal_mode(void **state) {
        uint8_t versions[2];
        bed b;
        (void) state;
        bed_open(&b, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
        assert_int_equal(pread(b.fd, versions, 2, 18), 2);
        assert_int_equal(versions[0], 2);
        assert_string_equal(judge(&b), "");
        assert_int_equal(pread(b.fd, versions, 2, 18), 2);
        assert_true(versions[0] == 1 && versions[1] == 1);
        bed_close(&b);
}

static void test_what_is_no_database(void **state) {
        bed b;
        (void) state;
        bed_open(&b, "");
        assert_begins(judge(&b), "not a SQLite database file"); /* empty */
        overwrite(&b, 0, "BEGIN TRANSACTION; CREATE TABLE t(x);", 37);
        assert_begins(judge(&b), "not a SQLite database file");
        bed_close(&b);
        bed_open(&b, "PRAGMA encoding='UTF-16'; CREATE TABLE t(x)");
        assert_begins(judge(&b), "its text is UTF-16");
        bed_close(&b);
        bed_open(&b, some_rows);
        assert_int_equal(ftruncate(b.fd, 3 * 4096), 0);
        assert_begins(judge(&b), "cut off: it has 12288 bytes");
        bed_close(&b);
}

/* Damage behind the header: of the schema, of a table's pages, of an index alone. */
static void test_damage(void **state) {
        uint8_t page[4096];
        sqlite3 *db;
        bed b;
        (void) state;
        bed_open(&b, some_rows);
        overwrite(&b, 100, "\xff\xff\xff\xff", 4); /* the schema's root */
        assert_begins(judge(&b), "damaged");
        bed_close(&b);
        bed_open(&b, some_rows);
        memset(page, 0xa5, sizeof page);
        overwrite(&b, 4096 * 4, page, sizeof page);
        assert_begins(judge(&b), "damaged");
        bed_close(&b);
        bed_open(&b, some_rows);
        assert_int_equal(sqlite3_open(b.path, &db), SQLITE_OK);
        sql(db, "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(v DESC)' WHERE name = 'i'");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_begins(judge(&b), "damaged"); /* entries in another order than it says */
        bed_close(&b);
        bed_open(&b, some_rows);
        assert_int_equal(sqlite3_open(b.path, &db), SQLITE_OK);
        sql(db, "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE t(nonsense' WHERE name = 't'");
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_begins(judge(&b), "damaged");
        bed_close(&b);
}

/* Any one bit: it is told, or the file reads as well as before. Never a crash. */
static void test_single_bits(void **state) {
        bed b;
        (void) state;
        bed_open(&b, "PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 'abc'), (2, zeroblob(900))");
        for (off_t at = 0; at < 512; at += 3) {
                uint8_t was, now;
                assert_int_equal(pread(b.fd, &was, 1, at), 1);
                now = was ^ (uint8_t) (1u << (at % 8));
                overwrite(&b, at, &now, 1);
                (void) judge(&b);
                overwrite(&b, at, &was, 1);
        }
        assert_string_equal(judge(&b), "");
        bed_close(&b);
}

/* Hazard 8. */
static void test_the_highest_rowid(void **state) {
        bed b;
        (void) state;
        bed_open(&b, "CREATE TABLE \"a \"\"name\"(x); INSERT INTO \"a \"\"name\"(rowid, x) VALUES(9223372036854775807, 1)");
        assert_string_equal(judge(&b), "table a \"name has the rowid 9223372036854775807 without AUTOINCREMENT: ids after it would be random");
        bed_close(&b);
        bed_open(&b, "CREATE TABLE h(rowid, oid); INSERT INTO h(_rowid_, oid) VALUES(9223372036854775807, 3)");
        assert_begins(judge(&b), "table h has the rowid 9223372036854775807");
        bed_close(&b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sound_ones),
                cmocka_unit_test(test_wal_mode),
                cmocka_unit_test(test_what_is_no_database),
                cmocka_unit_test(test_damage),
                cmocka_unit_test(test_single_bits),
                cmocka_unit_test(test_the_highest_rowid),
        };
        return cmocka_run_group_tests_name("db_verify", tests, NULL, NULL);
}
