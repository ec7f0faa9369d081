/* Transactions larger than the cache, of which a part is undone after pages were
 * written a second time: every frame of the WAL has its salts and checksum, a
 * checkpoint copies them, and a start finds them. Each fails with SQLite 3.40.1 alone. */
#include "entries.h"

#include <sys/stat.h>

#include "io/database_file.h"
#include "io/wal_check.h"
#include "io/wal_seal.h"
#include "io/wal_sum.h"
#include "log/log.h"

#define SERIES(count) "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT " #count ") "

static bench *bench_with_rows(void) {
        bench *b = bench_new();
        b->writer_cache_pages = 10;
        bench_open(b);
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE u(k UNIQUE)", "CREATE TABLE w(id INTEGER PRIMARY KEY, v)",
              "INSERT INTO t(v) " SERIES(100) "SELECT zeroblob(900) FROM r", "INSERT INTO u VALUES(1)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        return b;
}

static wal_report look(bench *b, uint32_t *ret_frames) {
        uint8_t header[WAL_HEADER_BYTES];
        files_stats stats;
        wal_report report;
        int fd = openat(b->dir_fd, DATABASE_WAL_NAME, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pread(fd, header, sizeof header, 0), sizeof header);
        files_stats_get(b->files, &stats);
        wal_extent extent = { .frames = (uint32_t) stats.wal_frames, .page_size = wal_get_be32(header + 8) };
        memcpy(extent.salts, header + 16, WAL_SALTS_BYTES);
        assert_int_equal(wal_check(&files_io_kernel, fd, &extent, 0, 0, &report), RQ_OK);
        (void) close(fd);
        *ret_frames = extent.frames;
        return report;
}

/* What is queued is applied; the WAL is whole, can be copied, and the next start finds it. */
static void assert_whole(bench *b) {
        uint32_t frames;
        assert_int_equal(run_queued(b, 0), RQ_OK);
        entry(b, "INSERT INTO u VALUES(1000)"); /* goes on from the checksum that SQLite holds in memory */
        assert_int_equal(run_queued(b, 0), RQ_OK);
        wal_report report = look(b, &frames);
        if (report.verdict != WAL_GOOD)
                fail_msg("frame %u of %u: %s", (unsigned) ((report.offset - WAL_HEADER_BYTES) / (WAL_FRAME_HEADER_BYTES + 4096)) + 1,
                         (unsigned) frames, wal_verdict_text(report.verdict));
        char *was = content(b);
        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), true), RQ_OK);
        uint64_t index = applier_state(b->applier)->index;
        bench_close(b);
        bench_open(b);
        assert_int_equal(applier_state(b->applier)->index, index);
        char *now = content(b);
        assert_string_equal(now, was);
        free(was);
        free(now);
        bench_free(b);
}

static void test_more_is_written_than_was_undone(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        entry(b, "BEGIN", "UPDATE t SET v = randomblob(900)", "UPDATE t SET v = randomblob(900) WHERE id BETWEEN 40 AND 80", "ROLLBACK",
              "INSERT INTO w(v) " SERIES(200) "SELECT randomblob(900) FROM r");
        assert_whole(b);
}

static void test_less_is_written_than_was_undone(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        entry(b, "BEGIN", "INSERT INTO w(v) " SERIES(200) "SELECT randomblob(900) FROM r", "UPDATE w SET v = zeroblob(900) WHERE id > 120",
              "ROLLBACK", "INSERT INTO u VALUES(2)");
        assert_whole(b);
}

static void test_nothing_is_written_after(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        entry(b, "BEGIN", "UPDATE t SET v = randomblob(900)", "UPDATE t SET v = randomblob(900) WHERE id BETWEEN 40 AND 80", "ROLLBACK");
        assert_whole(b);
}

static void test_a_savepoint_of_the_request(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        entry(b, "BEGIN", "UPDATE t SET v = randomblob(901) WHERE id < 20", "SAVEPOINT s", "UPDATE t SET v = randomblob(902) WHERE id >= 20",
              "UPDATE t SET v = randomblob(903) WHERE id BETWEEN 60 AND 90", "ROLLBACK TO s", "INSERT INTO w(v) " SERIES(20) "SELECT randomblob(900) FROM r", "COMMIT");
        assert_whole(b);
}

/* Undone by SQLite: it fails at its last row. */
static void test_a_statement_that_fails(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        entry(b, "CREATE TRIGGER twice AFTER INSERT ON w BEGIN UPDATE w SET v = randomblob(900) WHERE id = new.id - 40; INSERT INTO u VALUES(new.id - 199); END");
        entry(b, "BEGIN", "UPDATE t SET v = randomblob(901) WHERE id < 50", "INSERT INTO w(v) " SERIES(200) "SELECT randomblob(900) FROM r",
              "INSERT INTO u VALUES(3000)", "COMMIT");
        assert_whole(b);
}

static void test_entries_of_one_batch(void **state) {
        (void) state;
        bench *b = bench_with_rows();
        for (int i = 0; i < 4; i++) {
                transaction(b, "UPDATE t SET v = randomblob(900)", "UPDATE t SET v = randomblob(900) WHERE id BETWEEN 40 AND 80", "INSERT INTO u VALUES(1)");
                entry(b, "INSERT INTO w(v) " SERIES(40) "SELECT randomblob(900) FROM r");
        }
        assert_whole(b);
}

/* --- what is no WAL ------------------------------------------------------------------ */

static int fd_of(const void *bytes, size_t size) {
        char name[] = "/tmp/rq-test-seal-XXXXXX";
        int fd = mkstemp(name);
        assert_true(fd >= 0);
        (void) unlink(name);
        assert_int_equal(write(fd, bytes, size), size);
        return fd;
}

static void test_other_files_are_refused(void **state) {
        enum { PAGE = 512, FRAME = WAL_FRAME_HEADER_BYTES + PAGE };
        uint8_t file[WAL_HEADER_BYTES + FRAME] = {0}, sum[WAL_SUM_BYTES];
        const uint64_t asked = WAL_HEADER_BYTES + 16;
        wal_seal s = { .newest = WAL_HEADER_BYTES };
        (void) state;
        assert_false(wal_seal_asked(WAL_SUM_BYTES, 24)); /* of the header: SQLite's own */
        assert_false(wal_seal_asked(WAL_HEADER_BYTES, asked));
        assert_true(wal_seal_asked(WAL_SUM_BYTES, asked));
        int fd = fd_of(file, sizeof file);
        assert_int_equal(wal_seal_sum(&s, &files_io_kernel, fd, asked, sum), RQ_ECORRUPT); /* no magic */
        (void) close(fd);
        wal_put_be32(file, WAL_MAGIC);
        wal_put_be32(file + 8, UINT32_MAX);
        fd = fd_of(file, sizeof file);
        assert_int_equal(wal_seal_sum(&s, &files_io_kernel, fd, asked, sum), RQ_ECORRUPT); /* page size */
        (void) close(fd);
        wal_put_be32(file + 8, PAGE);
        memcpy(file + 16, "saltsalt", WAL_SALTS_BYTES);
        fd = fd_of(file, sizeof file);
        assert_int_equal(wal_seal_sum(&s, &files_io_kernel, fd, asked + 1, sum), RQ_ECORRUPT); /* amid a frame */
        assert_int_equal(wal_seal_sum(&(const wal_seal) { .newest = UINT64_MAX }, &files_io_kernel, fd, asked, sum), RQ_ECORRUPT);
        assert_int_equal(wal_seal_sum(&(const wal_seal) { .newest = WAL_HEADER_BYTES + FRAME }, &files_io_kernel, fd, asked + FRAME, sum), RQ_ECORRUPT); /* behind the end */
        assert_int_equal(wal_seal_sum(&s, &files_io_kernel, fd, asked, sum), RQ_OK);
        assert_int_equal(pread(fd, file, sizeof file, 0), sizeof file);
        assert_memory_equal(file + WAL_HEADER_BYTES + 8, "saltsalt", WAL_SALTS_BYTES);
        assert_memory_equal(file + WAL_HEADER_BYTES + 16, sum, sizeof sum);
        (void) close(fd);
}

int main(void) {
        rq_log_open("test_wal_seal", RQ_LOG_PLAIN, LOG_CRIT);
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_more_is_written_than_was_undone),
                cmocka_unit_test(test_less_is_written_than_was_undone),
                cmocka_unit_test(test_nothing_is_written_after),
                cmocka_unit_test(test_a_savepoint_of_the_request),
                cmocka_unit_test(test_a_statement_that_fails),
                cmocka_unit_test(test_entries_of_one_batch),
                cmocka_unit_test(test_other_files_are_refused),
        };
        return cmocka_run_group_tests_name("wal_seal", tests, NULL, NULL);
}
