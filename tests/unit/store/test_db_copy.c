/* Whole databases out of a store and into it: content and rowids stay, readers see all
 * or nothing, what can't be leaves what was there. */
#include "store_test.h"

#include <string.h>

#include "io/database_file.h"
#include "io/db_copy.h"

#define SERIES(count) "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT " #count ") "

static place *place_with_rows(void) {
        place *p = place_new();
        place_open(p);
        entry(p, "CREATE TABLE t(v); INSERT INTO t " SERIES(500) "SELECT 'value ' || n FROM r; DELETE FROM t WHERE rowid % 3 = 0; CREATE INDEX i ON t(v)");
        return p;
}

/* The file behind fd, which has no name, through SQLite alone. */
static sqlite3 *open_fd(int fd) {
        char path[] = "/tmp/rq-test-copy-XXXXXX";
        uint8_t piece[4096];
        ssize_t size;
        sqlite3 *db;
        int to = mkostemp(path, O_CLOEXEC);
        assert_true(to >= 0);
        for (off_t at = 0; (size = pread(fd, piece, sizeof piece, at)) > 0; at += size)
                assert_int_equal(pwrite(to, piece, (size_t) size, at), size);
        assert_int_equal(size, 0);
        (void) close(to);
        assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
        (void) number(db, "SELECT count(*) FROM sqlite_schema"); /* it is open; its name isn't needed any more */
        (void) unlink(path);
        return db;
}

/* Copies are without a name, or gone. */
static void assert_nothing_stays(const place *p) {
        DIR *dir = opendir(p->folder);
        assert_non_null(dir);
        for (const struct dirent *e; (e = readdir(dir)) != NULL;)
                assert_null(strstr(e->d_name, ".copy-"));
        (void) closedir(dir);
}

static void close_reader(sqlite3 *db) { assert_int_equal(sqlite3_close(db), SQLITE_OK); }

static void test_out_of_it(void **state) {
        (void) state;
        for (int vacuumed = 0; vacuumed < 2; vacuumed++) {
                place *p = place_with_rows();
                sqlite3 *reader, *copy;
                uint8_t versions[2];
                int fd;
                assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
                sql(reader, "BEGIN; SELECT 1 FROM t");
                entry(p, "DELETE FROM t; DROP INDEX i"); /* behind what it sees */
                assert_int_equal(db_copy_out(reader, vacuumed == 1, NULL, &fd), RQ_OK);
                copy = open_fd(fd);
                assert_int_equal(number(copy, "SELECT count(*) FROM t"), 334);
                assert_int_equal(number(copy, "SELECT sum(rowid) FROM t"), number(reader, "SELECT sum(rowid) FROM t"));
                assert_int_equal(number(copy, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
                assert_true(vacuumed == 0 || number(copy, "PRAGMA freelist_count") == 0);
                assert_int_equal(pread(fd, versions, 2, DB_VERSIONS_AT), 2);
                assert_true(versions[0] == DB_ROLLBACK && versions[1] == DB_ROLLBACK);
                close_reader(copy);
                close_reader(reader);
                (void) close(fd);
                assert_nothing_stays(p);
                place_free(p);
        }
}

static void test_out_of_it_until_it_is_stopped(void **state) {
        atomic_bool stop = true;
        place *p = place_with_rows();
        sqlite3 *reader;
        int fd = -1;
        (void) state;
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        assert_int_equal(db_copy_out(reader, false, &stop, &fd), RQ_ECANCELED);
        assert_int_equal(db_copy_out(reader, true, &stop, &fd), RQ_ECANCELED);
        assert_int_equal(fd, -1);
        assert_nothing_stays(p);
        close_reader(reader);
        place_free(p);
}

typedef struct sink { rq_buf bytes; size_t pieces_max, pieces; } sink;

static bool take(void *arg, rq_bytes piece) {
        sink *s = arg;
        assert_int_equal(rq_buf_append_bytes(&s->bytes, piece), RQ_OK);
        return ++s->pieces != s->pieces_max;
}

static void test_sent_with_another_mark(void **state) {
        place *p = place_with_rows();
        sqlite3 *reader;
        sink all = {0}, cut = { .pieces_max = 1 };
        struct stat st;
        int fd;
        (void) state;
        entry(p, "INSERT INTO t " SERIES(500) "SELECT hex(zeroblob(200)) FROM r");
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        assert_int_equal(db_copy_out(reader, false, NULL, &fd), RQ_OK);
        assert_int_equal(db_copy_send_file(fd, DB_WAL, take, &all), RQ_OK);
        assert_int_equal(fstat(fd, &st), 0);
        assert_true(all.pieces > 1 && all.bytes.size == (size_t) st.st_size);
        assert_true(all.bytes.data[DB_VERSIONS_AT] == DB_WAL && all.bytes.data[DB_VERSIONS_AT + 1] == DB_WAL);
        assert_int_equal(db_copy_send_file(fd, DB_WAL, take, &cut), RQ_ECANCELED);
        assert_int_equal(cut.pieces, 1);
        rq_buf_done(&all.bytes);
        rq_buf_done(&cut.bytes);
        (void) close(fd);
        close_reader(reader);
        place_free(p);
}

/* A database of its own, beside. */
static void make(char *ret_path, size_t size, const char *text) {
        sqlite3 *db;
        (void) snprintf(ret_path, size, "/tmp/rq-test-copy-XXXXXX");
        int fd = mkostemp(ret_path, O_CLOEXEC);
        assert_true(fd >= 0);
        (void) close(fd);
        assert_int_equal(sqlite3_open(ret_path, &db), SQLITE_OK);
        sql(db, text);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void test_into_it(void **state) {
        static const char *const texts[] = {
                "CREATE TABLE n(x); INSERT INTO n(rowid, x) VALUES(7, 'seven')",
                "PRAGMA page_size=512; CREATE TABLE n(x); INSERT INTO n(rowid, x) VALUES(7, 'seven')",
                "PRAGMA page_size=65536; CREATE TABLE n(x); INSERT INTO n(rowid, x) VALUES(7, 'seven')",
        };
        (void) state;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
                char path[64], problem[DB_COPY_PROBLEM_BYTES];
                place *p = place_with_rows();
                sqlite3 *before, *after;
                make(path, sizeof path, texts[i]);
                assert_int_equal(files_open_reader(p->files, &before), RQ_OK);
                sql(before, "BEGIN; SELECT 1 FROM t");
                assert_int_equal(db_copy_in(p->writer, path, problem), RQ_OK);
                assert_string_equal(problem, "");
                assert_int_equal(number(before, "SELECT count(*) FROM t"), 334); /* as it was */
                sql(before, "COMMIT");
                assert_int_equal(files_open_reader(p->files, &after), RQ_OK);
                assert_int_equal(number(after, "SELECT rowid FROM n"), 7);
                assert_int_equal(number(after, "SELECT count(*) FROM sqlite_schema"), 1);
                assert_int_equal(number(after, "PRAGMA page_size"), 4096);
                assert_int_equal(number(after, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
                close_reader(after);
                close_reader(before);
                entry(p, "INSERT INTO n VALUES('eight')"); /* and it goes on */
                assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
                place_close(p);
                place_open(p);
                assert_int_equal(number(p->writer, "SELECT max(rowid) FROM n"), 8);
                (void) unlink(path);
                place_free(p);
        }
}

/* Of another page size it is vacuumed first, and then what is damaged shows. */
static void test_what_can_not_be_taken(void **state) {
        char path[64], problem[DB_COPY_PROBLEM_BYTES];
        uint8_t page[1024];
        place *p = place_with_rows();
        (void) state;
        make(path, sizeof path, "PRAGMA page_size=1024; CREATE TABLE n(x); INSERT INTO n " SERIES(200) "SELECT hex(zeroblob(50)) FROM r");
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        memset(page, 0xa5, sizeof page);
        assert_int_equal(pwrite(fd, page, sizeof page, 4 * 1024), sizeof page);
        (void) close(fd);
        assert_int_equal(db_copy_in(p->writer, path, problem), RQ_OK);
        assert_non_null(strstr(problem, "damaged"));
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 334);
        (void) unlink(path);
        assert_true(db_copy_in(p->writer, "/nonexistent/file", problem) < 0);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 334);
        assert_true(sqlite3_get_autocommit(p->writer));
        assert_nothing_stays(p);
        place_free(p);
}

static void test_vacuum(void **state) {
        char problem[DB_COPY_PROBLEM_BYTES];
        place *p = place_with_rows();
        (void) state;
        int64_t sum = number(p->writer, "SELECT sum(rowid) FROM t");
        entry(p, "CREATE TABLE big AS " SERIES(500) "SELECT zeroblob(2000) AS v FROM r; DROP TABLE big");
        assert_true(number(p->writer, "PRAGMA freelist_count") > 100);
        assert_int_equal(db_copy_vacuum(p->writer, problem), RQ_OK);
        assert_string_equal(problem, "");
        assert_int_equal(number(p->writer, "PRAGMA freelist_count"), 0);
        assert_int_equal(number(p->writer, "SELECT sum(rowid) FROM t"), sum);
        place_free(p);
}

static void test_what_a_killed_process_left(void **state) {
        static const char *const names[] = { DATABASE_FILE_NAME ".copy-a1b2c3", DATABASE_FILE_NAME ".copies", "other.copy-a1b2c3" };
        char path[128];
        place *p = place_new();
        (void) state;
        for (size_t i = 0; i < 3; i++) {
                int fd = openat(p->folder_fd, names[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                assert_true(fd >= 0);
                (void) close(fd);
        }
        (void) snprintf(path, sizeof path, "%s/" DATABASE_FILE_NAME, p->folder);
        db_copy_clean(path);
        assert_int_equal(faccessat(p->folder_fd, names[0], F_OK, 0), -1);
        assert_int_equal(faccessat(p->folder_fd, names[1], F_OK, 0), 0); /* not ours */
        assert_int_equal(faccessat(p->folder_fd, names[2], F_OK, 0), 0);
        db_copy_clean("no folder");
        db_copy_clean("/nonexistent/" DATABASE_FILE_NAME);
        place_open(p);
        place_free(p);
}

int main(void) {
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_out_of_it),
                cmocka_unit_test(test_out_of_it_until_it_is_stopped),
                cmocka_unit_test(test_sent_with_another_mark),
                cmocka_unit_test(test_into_it),
                cmocka_unit_test(test_what_can_not_be_taken),
                cmocka_unit_test(test_vacuum),
                cmocka_unit_test(test_what_a_killed_process_left),
        };
        return cmocka_run_group_tests_name("db_copy", tests, NULL, NULL);
}
