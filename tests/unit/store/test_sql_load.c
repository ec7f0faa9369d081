/* SQL of any size, as a whole or not at all: what is done, what is refused, what a
 * failure of the machine is, and that nothing of a load's rights outlives it. */
#include "store_test.h"

#include <errno.h>
#include <string.h>

#include "io/database_file.h"
#include "io/sql_load.h"

typedef struct bed {
        place *p;
        files_io io;
        int wal_fd;
        bool disk_full;
        entry_context context;
        char problem[SQL_LOAD_PROBLEM_BYTES];
        uint64_t hash, step_budget;
} bed;

static int bed_open_file(void *context, int folder_fd, const char *name, int flags) {
        bed *b = context;
        int fd = files_io_kernel.open(NULL, folder_fd, name, flags);
        if (strcmp(name, DATABASE_WAL_NAME) == 0)
                b->wal_fd = fd;
        return fd;
}

static ssize_t bed_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        const bed *b = context;
        if (b->disk_full && fd == b->wal_fd) {
                errno = ENOSPC;
                return -1;
        }
        return files_io_kernel.pwrite(NULL, fd, data, size, offset);
}

static void bed_open(bed *b) {
        *b = (bed) { .io = files_io_kernel, .wal_fd = -1 };
        b->io.context = b;
        b->io.open = bed_open_file;
        b->io.pwrite = bed_pwrite;
        b->p = place_new();
        b->p->options.foreign_keys = true;
        b->p->options.io = &b->io;
        place_open(b->p);
        sql(b->p->writer, "PRAGMA foreign_keys=ON");
        const applier_options options = { .spill_dir_fd = b->p->folder_fd };
        assert_int_equal(entry_context_init(&b->context, b->p->writer, b->p->files, &options), RQ_OK);
}

static void bed_close(bed *b) {
        entry_context_done(&b->context);
        place_free(b->p);
}

static int fd_of(const char *text, size_t size) {
        char path[] = "/tmp/rq-test-sql-load-XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC);
        assert_true(fd >= 0);
        (void) unlink(path);
        assert_int_equal(write(fd, text, size), size);
        return fd;
}

static rq_err load_bytes(bed *b, const char *text, size_t size) {
        const record_header header = { .index = 1, .clock_us = 1767225600000000u, .seed = 5, .step_budget = b->step_budget };
        int fd = fd_of(text, size);
        rq_err r = sql_load_run(&b->context, &header, fd, b->context.json, b->problem, &b->hash);
        (void) close(fd);
        assert_true(sqlite3_get_autocommit(b->p->writer));
        return r;
}

static void takes(bed *b, const char *text) {
        assert_int_equal(load_bytes(b, text, strlen(text)), RQ_OK);
        assert_string_equal(b->problem, "");
}

static void refuses(bed *b, const char *text, const char *expected) {
        assert_int_equal(load_bytes(b, text, strlen(text)), RQ_OK);
        assert_string_equal(b->problem, expected);
}

static int64_t tables(bed *b) { return number(b->p->writer, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"); }

static void test_all_of_it(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v DEFAULT (random()));\nINSERT INTO t(id) VALUES(1),(2); -- ;\n"
                  "/* ; */ INSERT INTO t(v) VALUES('a;b'); UPDATE t SET v = 'x' WHERE id < 3");
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t"), 3);
        rq_bytes json = json_bytes(b.context.json);
        assert_non_null(memmem(json.data, json.size, "\"rows_affected\":2", 17));
        bed_close(&b);
}

/* The same text, record and database come to the same. */
static void test_it_is_a_function_of_the_record(void **state) {
        static const char text[] = "CREATE TABLE t(a, b, c); INSERT INTO t SELECT random(), randomblob(9), CURRENT_TIMESTAMP; INSERT INTO t SELECT changes(), total_changes(), last_insert_rowid()";
        int64_t sums[2];
        uint64_t hashes[2];
        (void) state;
        for (int i = 0; i < 2; i++) {
                bed b;
                bed_open(&b);
                takes(&b, text);
                sums[i] = number(b.p->writer, "SELECT sum(a % 1000000) + sum(length(hex(b))) FROM t WHERE rowid > 0 AND c IS NOT NULL");
                hashes[i] = b.hash;
                assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t WHERE c = '2026-01-01 00:00:00'"), 1);
                bed_close(&b);
        }
        assert_true(sums[0] == sums[1] && hashes[0] == hashes[1]);
}

/* However the pieces fall in which the text is read. */
static void test_a_statement_of_64_mib(void **state) {
        static const char head[] = "CREATE TABLE t(x);INSERT INTO t VALUES('", tail[] = "');";
        (void) state;
        bed b;
        bed_open(&b);
        /* From the first table on: what is before a statement's end belongs to it. */
        const size_t insert = sizeof head - 1 - strlen("CREATE TABLE t(x);") + sizeof tail - 1;
        for (size_t more = 0; more < 2; more++) {
                const size_t letters = SQL_LOAD_STATEMENT_BYTES_MAX - insert + more, size = sizeof head - 1 + letters + sizeof tail - 1;
                char *text = malloc(size);
                assert_non_null(text);
                memcpy(text, head, sizeof head - 1);
                memset(text + sizeof head - 1, 'a', letters);
                memcpy(text + sizeof head - 1 + letters, tail, sizeof tail - 1);
                assert_int_equal(load_bytes(&b, text, size), RQ_OK);
                assert_string_equal(b.problem, more > 0 ? "a statement of the load is larger than the limit of 64 MiB" : "");
                free(text);
                if (more == 0)
                        takes(&b, "DROP TABLE t");
        }
        assert_int_equal(tables(&b), 0);
        bed_close(&b);
}

static void test_or_nothing(void **state) {
        static const char control[] = "ROLLBACK, SAVEPOINT and RELEASE are not available in a load: it is done as a whole or not at all";
        bed b;
        (void) state;
        bed_open(&b);
        refuses(&b, "CREATE TABLE t(x UNIQUE); INSERT INTO t VALUES(1); INSERT INTO t VALUES(1); CREATE TABLE u(x)", "UNIQUE constraint failed: t.x");
        refuses(&b, "CREATE TABLE t(x); SELECT nobody", "no such column: nobody");
        refuses(&b, "CREATE TABLE t(x); nonsense", "near \"nonsense\": syntax error");
        refuses(&b, "CREATE TABLE t(x); ROLLBACK", control);
        refuses(&b, "CREATE TABLE t(x); SAVEPOINT a", control);
        refuses(&b, "CREATE TABLE t(x); RELEASE a", control);
        refuses(&b, "CREATE TABLE t(x); VACUUM; CREATE TABLE u(x)", "VACUUM is not available in a load, which is done as a whole: send it to /db/execute afterwards");
        refuses(&b, "CREATE TABLE t(x); VACUUM INTO 'f'", "VACUUM INTO is not available: a client has no files, use /db/backup?vacuum");
        refuses(&b, "CREATE TABLE t(x UNIQUE); INSERT INTO t VALUES(1); INSERT OR ROLLBACK INTO t VALUES(1)", "UNIQUE constraint failed: t.x");
        refuses(&b, "CREATE TABLE t(x); INSERT INTO t(rowid) VALUES(9223372036854775807)",
                "rowid 9223372036854775807 needs a table with AUTOINCREMENT: ids after it would be random");
        static const char with_nul[] = "CREATE TABLE t(x);\0CREATE TABLE u(x);";
        assert_int_equal(load_bytes(&b, with_nul, sizeof with_nul - 1), RQ_OK);
        assert_string_equal(b.problem, "the text has a NUL byte");
        assert_int_equal(tables(&b), 0);
        takes(&b, "CREATE TABLE t(x)"); /* and nothing is left that would be in the way */
        bed_close(&b);
}

static void test_what_dumps_begin_and_end_with(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE c(p REFERENCES p(id));\nINSERT INTO c VALUES(1);\n"
                  "CREATE TABLE p(id INTEGER PRIMARY KEY);\nINSERT INTO p VALUES(1);\nCOMMIT;\n");
        assert_int_equal(tables(&b), 2);
        assert_int_equal(number(b.p->writer, "PRAGMA foreign_keys"), 1); /* enforced again */
        refuses(&b, "INSERT INTO c VALUES(2)", "FOREIGN KEY constraint failed");
        refuses(&b, "DELETE FROM p; COMMIT", "FOREIGN KEY constraint failed");
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM c JOIN p ON p = id"), 1);
        bed_close(&b);
}

/* The tables of a full-text table can be written by the load, and by nobody after it. */
static void test_its_rights_end_with_it(void **state) {
        static const char *const endings[] = { "", "; INSERT INTO nowhere VALUES(1)" };
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, "CREATE TABLE t(x); INSERT INTO t VALUES(1); CREATE INDEX i ON t(x); ANALYZE; CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('word')");
        for (size_t i = 0; i < 2; i++) {
                char text[160];
                (void) snprintf(text, sizeof text, "DELETE FROM f_content; INSERT INTO f_content VALUES(1, 'word'); DELETE FROM sqlite_stat1%s", endings[i]);
                assert_int_equal(load_bytes(&b, text, strlen(text)), RQ_OK);
                assert_true((b.problem[0] == '\0') == (i == 0));
                assert_int_not_equal(sqlite3_exec(b.p->writer, "DELETE FROM f_content", NULL, NULL, NULL), SQLITE_OK);
        }
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM f_content"), 1);
        bed_close(&b);
}

static void test_the_budget_is_each_statements(void **state) {
        static const char rows[] = "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 3000) SELECT n FROM r;";
        char text[sizeof rows * 4 + 32] = "CREATE TABLE t(x);";
        bed b;
        (void) state;
        bed_open(&b);
        for (int i = 0; i < 4; i++)
                (void) strcat(text, rows);
        b.step_budget = 100000;
        takes(&b, text);
        refuses(&b, "INSERT INTO t WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
                "statement exceeded the step budget of a write (-write-step-budget)");
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t"), 12000);
        bed_close(&b);
}

/* Longer than what is read at a time, with quotes and ends of statements across the borders. */
static void test_long_statements(void **state) {
        enum { ROWS = 300, TEXT = 1000 };
        rq_buf text = {0};
        bed b;
        (void) state;
        bed_open(&b);
        assert_int_equal(rq_buf_append_text(&text, "CREATE TABLE t(v);\n"), RQ_OK);
        for (int i = 0; i < ROWS; i++) {
                assert_int_equal(rq_buf_append_text(&text, i % 50 == 0 ? ";\nINSERT INTO t VALUES('" : ",\n('"), RQ_OK);
                for (int k = 0; k < TEXT / 2; k++)
                        assert_int_equal(rq_buf_append_text(&text, k % 100 == i % 100 ? "''" : k % 7 == 0 ? ";\n" : "ab"), RQ_OK);
                assert_int_equal(rq_buf_append_text(&text, "')"), RQ_OK);
        }
        assert_int_equal(load_bytes(&b, (const char *) text.data, text.size), RQ_OK);
        assert_string_equal(b.problem, "");
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t"), ROWS);
        assert_int_equal(number(b.p->writer, "SELECT sum(length(v)) FROM t"), ROWS * (TEXT - 5)); /* a doubled quote is one */
        rq_buf_done(&text);
        bed_close(&b);
}

/* No outcome: nothing is done, and the same again does it. */
static void test_the_machines_trouble(void **state) {
        static const char text[] = "CREATE TABLE t(v); INSERT INTO t VALUES(1);";
        const record_header header = { .index = 1 };
        bed b;
        (void) state;
        bed_open(&b);
        b.disk_full = true;
        assert_int_equal(load_bytes(&b, text, strlen(text)), RQ_ENOSPC);
        b.disk_full = false;
        (void) files_failure(b.p->files, true); /* as the applier does */
        assert_int_equal(tables(&b), 0);
        assert_int_equal(sql_load_run(&b.context, &header, -1, NULL, b.problem, &b.hash), RQ_EIO); /* it can't be read */
        assert_true(sqlite3_get_autocommit(b.p->writer));
        takes(&b, text);
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t"), 1);
        bed_close(&b);
}

static void append_rows(rq_buf *text, int count, int size) {
        uint64_t random = 1;
        for (int i = 0; i < count; i++) {
                assert_int_equal(rq_buf_append_text(text, "INSERT INTO t VALUES('"), RQ_OK);
                for (int k = 0; k < size; k += 16, random = random * 6364136223846793005u + 1442695040888963407u)
                        assert_int_equal(rq_buf_printf(text, "%016llx", (unsigned long long) random), RQ_OK);
                assert_int_equal(rq_buf_append_text(text, "');\n"), RQ_OK);
        }
}

/* More to sort than it may hold, behind rows that fill the cache. */
static void test_memory(void **state) {
        enum { MIB = 1024 * 1024 };
        rq_buf text = {0};
        bed b;
        (void) state;
        bed_open(&b);
        assert_int_equal(rq_buf_append_text(&text, "CREATE TABLE t(v);\n"), RQ_OK);
        append_rows(&text, 3000, 8192);
        assert_int_equal(rq_buf_append_text(&text, "CREATE INDEX i ON t(v); REINDEX i; CREATE TABLE u AS SELECT v FROM t ORDER BY v DESC;"), RQ_OK);
        int64_t before = sqlite3_memory_used();
        (void) sqlite3_memory_highwater(1);
        assert_int_equal(load_bytes(&b, (const char *) text.data, text.size), RQ_OK);
        assert_string_equal(b.problem, "");
        assert_in_range(sqlite3_memory_highwater(0), 0, before + 16 * MIB); /* cache, or cache and sort; twice of it at their usual size */
        assert_in_range(sqlite3_memory_used(), 0, before + MIB);            /* given back */
        assert_int_equal(number(b.p->writer, "PRAGMA cache_size"), -16384); /* for those who come after it */
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t INDEXED BY i WHERE v > ''"), 3000);
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM u"), 3000);
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
        rq_buf_done(&text);
        bed_close(&b);
}

/* The pages that make room for the sort meet a full disk. */
static void test_no_space_for_what_makes_room(void **state) {
        rq_buf text = {0};
        bed b;
        (void) state;
        bed_open(&b);
        assert_int_equal(rq_buf_append_text(&text, "CREATE TABLE t(v);\n"), RQ_OK);
        append_rows(&text, 1000, 8192); /* the cache holds them: nothing is written before the index is made */
        assert_int_equal(rq_buf_append_text(&text, "CREATE INDEX i ON t(v);"), RQ_OK);
        b.disk_full = true;
        assert_int_equal(load_bytes(&b, (const char *) text.data, text.size), RQ_ENOSPC);
        b.disk_full = false;
        (void) files_failure(b.p->files, true);
        assert_int_equal(tables(&b), 0);
        assert_int_equal(number(b.p->writer, "PRAGMA cache_size"), -16384);
        assert_int_equal(load_bytes(&b, (const char *) text.data, text.size), RQ_OK);
        assert_string_equal(b.problem, "");
        assert_int_equal(number(b.p->writer, "SELECT count(*) FROM t"), 1000);
        rq_buf_done(&text);
        bed_close(&b);
}

int main(void) {
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_of_it),
                cmocka_unit_test(test_it_is_a_function_of_the_record),
                cmocka_unit_test(test_a_statement_of_64_mib),
                cmocka_unit_test(test_or_nothing),
                cmocka_unit_test(test_what_dumps_begin_and_end_with),
                cmocka_unit_test(test_its_rights_end_with_it),
                cmocka_unit_test(test_the_budget_is_each_statements),
                cmocka_unit_test(test_long_statements),
                cmocka_unit_test(test_the_machines_trouble),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_no_space_for_what_makes_room),
        };
        return cmocka_run_group_tests_name("sql_load", tests, NULL, NULL);
}
