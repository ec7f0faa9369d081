/* Loads through the applier: files and SQL in pieces, what breaks them, restarts
 * in their middle; VACUUM by a copy. */
#include "entries.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/checksum.h"
#include "io/files_io.h"
#include "load_chunk.h"

/* --- files ----------------------------------------------------------------------- */

static void exec(sqlite3 *db, const char *sql) {
        char *error = NULL;
        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
                fail_msg("%s: %s", sql, error);
}

/* The bytes of a database that this SQL makes; the buffer is the caller's. */
static rq_buf database_of(const char *sql) {
        char path[] = "/tmp/rq-test-load-XXXXXX";
        sqlite3 *db;
        struct stat st;
        rq_buf bytes = {0};
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        exec(db, sql);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(rq_buf_reserve(&bytes, (size_t) st.st_size), RQ_OK);
        assert_int_equal(pread(fd, bytes.data, (size_t) st.st_size, 0), st.st_size);
        bytes.size = (size_t) st.st_size;
        (void) close(fd);
        (void) unlink(path);
        return bytes;
}

static const char some_rows[] =
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); CREATE INDEX i ON t(v);"
        "INSERT INTO t(v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT 'value ' || i FROM n;";

/* --- records --------------------------------------------------------------------- */

static void queue_chunk(bench *b, const load_chunk *chunk, rq_bytes data) {
        rq_buf body = {0};
        uint8_t header[LOAD_CHUNK_HEADER_BYTES];
        load_chunk_encode(header, chunk);
        assert_int_equal(rq_buf_append(&body, header, sizeof header), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(&body, data), RQ_OK);
        queue_kind(b, RECORD_LOAD_CHUNK, RECORD_CRITICAL, rq_buf_bytes(&body));
        rq_buf_done(&body);
}

/* From piece number `from` on, up to and not including `to`, of so many bytes each. */
static void queue_pieces(bench *b, uint64_t group, bool text, rq_bytes all, size_t piece, uint32_t from, uint32_t to) {
        uint32_t count = (uint32_t) ((all.size + piece - 1) / piece);
        for (uint32_t i = from; i < count && i < to; i++) {
                size_t at = i * piece, size = all.size - at < piece ? all.size - at : piece;
                load_chunk chunk = { .group = group, .number = i, .last = i + 1 == count, .text = text, .incarnation = { { 9 } }, .request_id = i };
                if (chunk.last) {
                        chunk.hash = rq_crc32c(0, all.data, all.size);
                        chunk.bytes = all.size;
                }
                queue_chunk(b, &chunk, rq_bytes_of(all.data + at, size));
        }
}

static void queue_all(bench *b, uint64_t group, bool text, rq_bytes all, size_t piece) { queue_pieces(b, group, text, all, piece, 0, UINT32_MAX); }

/* The last answer's beginning. */
static void expect_last(bench *b, const char *expected) {
        assert_int_equal(run_queued(b, 0), RQ_OK);
        assert_true(b->out.count > 0);
        const apply_result *last = &b->out.results[b->out.count - 1];
        char text[400];
        (void) snprintf(text, sizeof text, "%.*s", (int) last->size, (const char *) b->out.json.data + last->offset);
        text[strlen(expected) < sizeof text ? strlen(expected) : 0] = '\0';
        assert_string_equal(text, expected);
        apply_output_done(&b->out);
}

static int64_t number_of(bench *b, const char *sql) {
        sqlite3 *db;
        sqlite3_stmt *stmt;
        assert_int_equal(files_open_reader(b->files, &db), RQ_OK);
        int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
        int64_t n = code == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : -1;
        (void) sqlite3_finalize(stmt);
        (void) sqlite3_close(db);
        return n;
}

static int set_up(void **state) {
        bench *b = bench_new();
        bench_open(b);
        entry(b, "CREATE TABLE old(x)", "INSERT INTO old VALUES(1), (2)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        *state = b;
        return 0;
}

static int tear_down(void **state) {
        bench_free(*state);
        return 0;
}

/* --- tests ------------------------------------------------------------------------ */

static void test_a_file_becomes_the_database(void **state) {
        static const char *const sizes[] = { "PRAGMA page_size=512;", "PRAGMA page_size=4096;", "PRAGMA page_size=65536;",
                                             "PRAGMA journal_mode=WAL;", "PRAGMA auto_vacuum=FULL;" };
        bench *b = *state;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                char sql[512];
                (void) snprintf(sql, sizeof sql, "%s %s INSERT INTO t(id) VALUES(%zu)", sizes[i], some_rows, 1000 + i);
                rq_buf file = database_of(sql);
                queue_all(b, 100 + i, false, rq_buf_bytes(&file), 7000);
                expect_last(b, "");
                assert_int_equal(number_of(b, "SELECT max(id) FROM t"), 1000 + i);
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), -1);
                assert_int_equal(number_of(b, "SELECT 1 FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
                entry(b, "INSERT INTO t(v) VALUES('after')");
                assert_int_equal(run_queued(b, 0), RQ_OK);
                bench_close(b);
                bench_open(b);
                assert_int_equal(number_of(b, "SELECT max(id) FROM t"), 1001 + i);
                rq_buf_done(&file);
        }
}

/* Piece by piece and one entry at a time, or all in one batch with others around. */
static void test_borders_of_batches_do_not_matter(void **state) {
        rq_buf file = database_of(some_rows);
        uint64_t hash[3];
        (void) state;
        for (size_t i = 0; i < 3; i++) {
                static const size_t batches[] = { 1, 3, 0 };
                bench *b = bench_new();
                bench_open(b);
                entry(b, "CREATE TABLE old(x)");
                queue_pieces(b, 1, false, rq_buf_bytes(&file), 9000, 0, 2);
                entry(b, "INSERT INTO old VALUES(1)");
                queue_pieces(b, 1, false, rq_buf_bytes(&file), 9000, 2, UINT32_MAX);
                entry(b, "INSERT INTO t(v) VALUES('x')", "INSERT INTO old VALUES(2)");
                entry(b, "VACUUM");
                assert_int_equal(run_queued(b, batches[i]), RQ_OK);
                assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 501);
                hash[i] = applier_state(b->applier)->outcome_hash;
                bench_free(b);
        }
        assert_true(hash[0] == hash[1] && hash[1] == hash[2]);
        rq_buf_done(&file);
}

static void test_a_broken_file_changes_nothing(void **state) {
        bench *b = *state;
        rq_buf file = database_of(some_rows);
        uint64_t group = 1;
        for (size_t cut = 0; cut < file.size; cut += cut < 200 ? 13 : 1999) {
                queue_all(b, group++, false, rq_bytes_of(file.data, file.size - cut > 1 ? file.size - 1 - cut : 1), 5000);
                expect_last(b, "B");
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 2);
        }
        /* Bytes changed anywhere: refused, or a database that is sound. */
        for (size_t at = 0; at < file.size; at += at < 108 ? 1 : 331) {
                uint8_t was = file.data[at];
                file.data[at] ^= 0xff;
                queue_all(b, group++, false, rq_buf_bytes(&file), 100000);
                assert_int_equal(run_queued(b, 0), RQ_OK);
                apply_output_done(&b->out);
                assert_int_equal(number_of(b, "SELECT 1 FROM pragma_quick_check WHERE quick_check = 'ok'"), 1);
                file.data[at] = was;
        }
        rq_buf_done(&file);
        file = database_of("CREATE TABLE r(x); INSERT INTO r(rowid, x) VALUES(9223372036854775807, 1)");
        queue_all(b, group++, false, rq_buf_bytes(&file), 5000);
        expect_last(b, "Btable r has the rowid");
        rq_buf_done(&file);
        file = database_of("PRAGMA encoding='UTF-16'; CREATE TABLE r(x)");
        queue_all(b, group++, false, rq_buf_bytes(&file), 5000);
        expect_last(b, "Bits text is UTF-16");
        rq_buf_done(&file);
}

static void test_pieces_that_do_not_fit(void **state) {
        bench *b = *state;
        rq_buf file = database_of(some_rows);
        rq_bytes all = rq_buf_bytes(&file);
        queue_pieces(b, 1, false, all, 5000, 0, 2);
        queue_pieces(b, 1, false, all, 5000, 3, 4); /* one is lost */
        expect_last(b, "Ra part of the load was lost");
        queue_pieces(b, 1, false, all, 5000, 4, UINT32_MAX);
        expect_last(b, "Rthe load was given up");

        queue_pieces(b, 2, false, all, 5000, 0, 2);
        queue_pieces(b, 3, false, all, 5000, 0, 1);
        expect_last(b, "Ranother load is under way");
        queue_pieces(b, 2, false, all, 5000, 2, UINT32_MAX); /* and goes on */
        expect_last(b, "");
        assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);

        queue_pieces(b, 6, false, all, 5000, 0, 2);
        b->clock_us += 16u * 1000 * 1000;
        queue_pieces(b, 7, false, all, 5000, 0, 1); /* another one takes over */
        expect_last(b, "");
        queue_pieces(b, 6, false, all, 5000, 2, 3);
        expect_last(b, "Rthe load was given up");
        queue_pieces(b, 7, false, all, 5000, 1, UINT32_MAX);
        expect_last(b, "");

        queue_pieces(b, 4, false, all, 5000, 0, 2);
        b->clock_us += 601u * 1000 * 1000; /* nobody sends any more of it */
        entry(b, "INSERT INTO t(v) VALUES('x')");
        queue_pieces(b, 5, false, all, 5000, 0, 1);
        expect_last(b, "");
        queue_chunk(b, &(load_chunk) { .group = 5, .number = 1, .last = true, .bytes = 5000, .hash = 1 }, (rq_bytes) {0});
        expect_last(b, "Rthe load arrived damaged");
        assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 501);
        rq_buf_done(&file);
}

static void test_a_restart_goes_back_to_before_the_load(void **state) {
        bench *b = *state;
        rq_buf file = database_of(some_rows);
        uint64_t begin = b->next_index;
        queue_pieces(b, 1, false, rq_buf_bytes(&file), 5000, 0, 3);
        entry(b, "INSERT INTO old VALUES(3)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 3);
        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), true), RQ_OK);
        bench_close(b);
        bench_open(b);
        assert_int_equal(b->next_index, begin);
        assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 2);

        queue_pieces(b, 1, false, rq_buf_bytes(&file), 5000, 0, 3);
        entry(b, "INSERT INTO old VALUES(3)");
        queue_pieces(b, 1, false, rq_buf_bytes(&file), 5000, 3, UINT32_MAX);
        expect_last(b, "");
        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), true), RQ_OK);
        uint64_t after = b->next_index;
        bench_close(b);
        bench_open(b);
        assert_int_equal(b->next_index, after);
        assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);
        rq_buf_done(&file);
}

static void test_sql_is_all_or_nothing(void **state) {
        bench *b = *state;
        static const char dump[] =
                "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE s(a INTEGER PRIMARY KEY AUTOINCREMENT, b);\n"
                "INSERT INTO s VALUES(1,'x;y');\nCREATE VIRTUAL TABLE f USING fts5(w);\n"
                "DELETE FROM \"sqlite_sequence\";\nINSERT INTO \"sqlite_sequence\" VALUES('s',41);\nANALYZE \"sqlite_master\";\n"
                "INSERT INTO sqlite_stat1 VALUES('s',NULL,'1');\n"
                "CREATE TRIGGER g AFTER INSERT ON s BEGIN INSERT INTO f VALUES('word;'); END;\nINSERT INTO s(b) VALUES(random());\nCOMMIT;\n";
        for (size_t piece = 1; piece < sizeof dump; piece = piece * 6 + 1) {
                queue_all(b, piece, true, rq_bytes_text(dump), piece);
                expect_last(b, "J{\"results\":[{\"last_insert_id\":42,\"rows_affected\":1}]");
                assert_int_equal(number_of(b, "SELECT count(*) FROM f WHERE f MATCH 'word'"), 1);
                queue_all(b, piece + 1000, true, rq_bytes_text("INSERT INTO old VALUES(8); INSERT INTO nope VALUES(1);"), piece);
                expect_last(b, "J{\"results\":[{\"error\":\"no such table: nope\"}]");
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 2);
                static const char with_nul[] = "INSERT INTO old VALUES(9);\0\0INSERT INTO old VALUES(10);";
                queue_all(b, piece + 3000, true, rq_bytes_of(with_nul, sizeof with_nul - 1), piece);
                expect_last(b, "J{\"results\":[{\"error\":\"the text has a NUL byte");
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 2);
                queue_all(b, piece + 2000, true, rq_bytes_text("INSERT INTO old VALUES(9); ROLLBACK;"), piece);
                expect_last(b, "J{\"results\":[{\"error\":\"ROLLBACK, SAVEPOINT and RELEASE are not available");
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 2);
                entry(b, "DROP TABLE s", "DROP TABLE f", "DELETE FROM sqlite_stat1");
                assert_int_equal(run_queued(b, 0), RQ_OK);
                apply_output_done(&b->out);
        }
        /* What was allowed for the load is refused again. */
        entry(b, "DELETE FROM sqlite_stat1");
        expect_last(b, "{\"results\":[{\"error\":\"statistics can't be written");
}

static void test_sql_with_foreign_keys(void **state) {
        (void) state;
        bench *b = bench_new();
        b->foreign_keys = true;
        bench_open(b);
        static const char good[] = "CREATE TABLE c(p REFERENCES p(id)); INSERT INTO c VALUES(1); CREATE TABLE p(id INTEGER PRIMARY KEY); INSERT INTO p VALUES(1);";
        queue_all(b, 1, true, rq_bytes_text(good), 1000);
        expect_last(b, "J{\"results\":[{\"last_insert_id\":1");
        queue_all(b, 2, true, rq_bytes_text("PRAGMA foreign_keys=OFF; INSERT INTO c VALUES(7);"), 1000);
        expect_last(b, "J{\"results\":[{\"error\":\"FOREIGN KEY constraint failed");
        assert_int_equal(number_of(b, "SELECT count(*) FROM c"), 1);
        bench_free(b);
}

static void test_vacuum_keeps_rowids(void **state) {
        bench *b = *state;
        entry(b, "INSERT INTO old WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT 'a longer text ' || i FROM n",
              "DELETE FROM old WHERE rowid % 3 > 0");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        int64_t sum = number_of(b, "SELECT sum(rowid) FROM old"), pages = number_of(b, "PRAGMA page_count");
        entry(b, "VACUUM");
        expect_last(b, "{\"results\":[{}]");
        assert_int_equal(number_of(b, "SELECT sum(rowid) FROM old"), sum);
        assert_true(number_of(b, "PRAGMA page_count") < pages / 2);
        transaction(b, "VACUUM");
        expect_last(b, "{\"results\":[{\"error\":\"cannot VACUUM from within a transaction");
        entry(b, "INSERT INTO old VALUES('x')");
        expect_last(b, "{\"results\":[{\"last_insert_id\":5002,");
}

/* What never ends may be a load, too. */
static void test_a_skipped_load_is_not_done(void **state) {
        uint64_t hash[2];
        (void) state;
        for (int i = 0; i < 2; i++) { /* wherever the borders are: the same */
                rq_buf file = database_of(some_rows);
                bench *b = bench_new();
                b->skip_index = 4;
                bench_open(b);
                entry(b, "CREATE TABLE old(x)");
                queue_all(b, 1, true, rq_bytes_text("INSERT INTO old VALUES(1); INSERT INTO old VALUES(2)"), 20);
                assert_int_equal(b->next_index, b->skip_index + 1); /* it is the last piece */
                assert_int_equal(run_queued(b, i == 0 ? 1 : 0), RQ_OK);
                assert_true(b->out.count > 0);
                const apply_result *last = &b->out.results[b->out.count - 1];
                static const char answer[] = "Rnot done: the operator has skipped this write";
                assert_true(last->size > sizeof answer && memcmp(b->out.json.data + last->offset, answer, sizeof answer - 1) == 0);
                apply_output_done(&b->out);
                assert_int_equal(number_of(b, "SELECT count(*) FROM old"), 0);
                assert_int_equal(applier_state(b->applier)->index, b->skip_index);
                queue_all(b, 2, false, rq_buf_bytes(&file), 5000); /* and the next one is */
                expect_last(b, "");
                assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);
                hash[i] = applier_state(b->applier)->outcome_hash;
                rq_buf_done(&file);
                bench_free(b);
        }
        assert_true(hash[0] == hash[1]);
}

/* --- what readers are told ------------------------------------------------------------ */

/* Looks at what readers see of the applier in the middle of its work. */
typedef struct watch {
        files_io io;
        bench *b;
        int wal_fd;
        size_t looks, commits;
} watch;

static int watched_open(void *context, int folder_fd, const char *name, int flags) {
        watch *w = context;
        int fd = files_io_kernel.open(NULL, folder_fd, name, flags);
        if (strcmp(name, "db.sqlite-rqwal") == 0)
                w->wal_fd = fd;
        return fd;
}

/* SQL is read from the staged file: nothing of it is committed yet. */
static ssize_t watched_pread(void *context, int fd, void *data, size_t size, off_t offset) {
        struct stat st, staged;
        watch *w = context;
        if (w->b->applier != NULL && fstatat(w->b->dir_fd, "db.sqlite.load", &staged, 0) == 0 && fstat(fd, &st) == 0 && st.st_ino == staged.st_ino) {
                assert_true(applier_hi(w->b->applier) == applier_lo(w->b->applier));
                w->looks++;
        }
        return files_io_kernel.pread(NULL, fd, data, size, offset);
}

/* The header of a frame that is a commit (https://sqlite.org/fileformat2.html, 4.1). */
static ssize_t watched_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        static const uint8_t none[4];
        watch *w = context;
        if (fd == w->wal_fd && size == 24 && memcmp((const uint8_t *) data + 4, none, sizeof none) != 0) {
                assert_true(applier_hi(w->b->applier) == applier_lo(w->b->applier) + 1);
                w->commits++;
        }
        return files_io_kernel.pwrite(NULL, fd, data, size, offset);
}

/* Not before something of it can be seen, since reads are answered with this index, and backups wait for
 * a moment without; and never later. */
static void test_readers_are_told_just_before_a_commit(void **state) {
        watch w = { .io = files_io_kernel, .wal_fd = -1, .b = bench_new() };
        bench *b = w.b;
        rq_buf file = database_of(some_rows), text = {0};
        (void) state;
        w.io.context = &w;
        w.io.open = watched_open;
        w.io.pread = watched_pread;
        w.io.pwrite = watched_pwrite;
        b->io = &w.io;
        bench_open(b);
        entry(b, "CREATE TABLE old(x UNIQUE)", "INSERT INTO old VALUES(1)");
        entry(b, "INSERT INTO old VALUES(2)", "INSERT OR ROLLBACK INTO old VALUES(1)", "INSERT INTO old VALUES(3)");
        entry(b, "BEGIN", "INSERT INTO old VALUES(4)", "COMMIT", "INSERT INTO old VALUES(5)");
        assert_int_equal(run_queued(b, 1), RQ_OK);
        assert_true(w.commits >= 4);
        for (int i = 0; i < 20000; i++)
                assert_int_equal(rq_buf_printf(&text, "INSERT INTO old VALUES('text %d');\n", i), RQ_OK);
        const size_t before_text = w.commits;
        queue_all(b, 1, true, rq_buf_bytes(&text), 100000);
        assert_int_equal(run_queued(b, 1), RQ_OK);
        assert_true(w.looks > 3 && w.commits > before_text);
        const size_t before_file = w.commits;
        queue_all(b, 2, false, rq_buf_bytes(&file), 5000);
        entry(b, "VACUUM");
        assert_int_equal(run_queued(b, 1), RQ_OK);
        assert_true(w.commits >= before_file + 2);
        assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);
        apply_output_done(&b->out);
        rq_buf_done(&text);
        rq_buf_done(&file);
        bench_free(b);
}

/* --- trouble of this machine alone --------------------------------------------------- */

static void expect_waits(bench *b) {
        const uint64_t index = applier_state(b->applier)->index;
        size_t applied = 0, bytes;
        for (int i = 0; i < 2; i++)
                assert_int_equal(applier_run(b->applier, rq_buf_bytes(&b->records), NULL, NULL, &b->out, &applied, &bytes), RQ_EIO);
        assert_int_equal(applier_state(b->applier)->index, index);
        assert_false(files_broken(b->files));
}

/* Whatever the reason is that no file can be made there now: it isn't one to stop for good. */
static void test_a_folder_that_is_away_is_waited_for(void **state) {
        bench *b = *state;
        char away[80];
        rq_buf file = database_of(some_rows);
        (void) snprintf(away, sizeof away, "%s.away", b->dir);
        for (int i = 0; i < 2; i++) {
                if (i == 0)
                        queue_all(b, 1, false, rq_buf_bytes(&file), 7000);
                else
                        entry(b, "VACUUM");
                char log[4096] = "";
                int fd = memfd_create("log", MFD_CLOEXEC), before = dup(STDERR_FILENO);
                assert_true(fd >= 0 && before >= 0 && dup2(fd, STDERR_FILENO) >= 0);
                assert_int_equal(rename(b->dir, away), 0);
                expect_waits(b);
                assert_int_equal(rename(away, b->dir), 0);
                assert_true(dup2(before, STDERR_FILENO) >= 0);
                (void) close(before);
                (void) !pread(fd, log, sizeof log - 1, 0);
                (void) close(fd);
                assert_true(i > 0 || strstr(log, "/db.sqlite.load: No such file or directory") != NULL); /* which, and why */
                expect_last(b, i == 0 ? "" : "{\"results\":[{}]");
                assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);
        }
        rq_buf_done(&file);
}

/* SQLite's lock bytes, until it is killed. */
static pid_t lock_in_another_process(const char *path) {
        int ready[2];
        char byte;
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that failed doesn't wait for it */
                const struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000000, .l_len = 512 };
                int fd = open(path, O_RDWR);
                if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0 || write(ready[1], "x", 1) != 1)
                        _exit(1);
                for (;;)
                        (void) pause();
        }
        (void) close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        (void) close(ready[0]);
        return pid;
}

static void test_a_file_that_another_program_holds_is_waited_for(void **state) {
        bench *b = *state;
        char path[96];
        rq_buf file = database_of(some_rows);
        (void) snprintf(path, sizeof path, "%s/db.sqlite.load", b->dir);
        queue_pieces(b, 1, false, rq_buf_bytes(&file), 7000, 0, 1);
        expect_last(b, "");
        pid_t pid = lock_in_another_process(path);
        queue_pieces(b, 1, false, rq_buf_bytes(&file), 7000, 1, UINT32_MAX);
        const size_t all = b->records.size;
        size_t applied = 0, bytes;
        rq_err r = RQ_OK;
        while (r >= 0) { /* those before the last one */
                r = applier_run(b->applier, rq_buf_bytes(&b->records), NULL, NULL, &b->out, &applied, &bytes);
                if (r >= 0)
                        rq_buf_consume(&b->records, bytes);
        }
        assert_true(r == RQ_EIO && b->records.size > 0 && b->records.size < all);
        expect_waits(b);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        apply_output_done(&b->out);
        expect_last(b, "");
        assert_int_equal(number_of(b, "SELECT count(*) FROM t"), 500);
        rq_buf_done(&file);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_a_file_becomes_the_database), TEST(test_borders_of_batches_do_not_matter), TEST(test_a_broken_file_changes_nothing),
                TEST(test_pieces_that_do_not_fit), TEST(test_a_restart_goes_back_to_before_the_load), TEST(test_sql_is_all_or_nothing),
                TEST(test_sql_with_foreign_keys), TEST(test_vacuum_keeps_rowids),
                TEST(test_a_skipped_load_is_not_done), TEST(test_readers_are_told_just_before_a_commit), TEST(test_a_folder_that_is_away_is_waited_for), TEST(test_a_file_that_another_program_holds_is_waited_for),
        };
#undef TEST
        return cmocka_run_group_tests(tests, NULL, NULL);
}
