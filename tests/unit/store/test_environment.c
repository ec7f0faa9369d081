/* Safety rule 7: a full disk, an I/O error, a lack of memory or of room for an
 * answer is never an outcome. A log is applied once undisturbed; then again for
 * each of its writes, which fails once: the batch is rolled back, applied later,
 * and content, answers and running hash are the same. Then with many failures
 * at random, and other borders of batches: RQ_SEED (printed) and RQ_WORLDS
 * choose which and how many. */
#include "entries.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/rng.h"
#include "io/database_file.h"
#include "io/files_io.h"
#include "log/log.h"

enum { ENTRIES_A_BATCH = 6, ROUNDS = 8, SPILL_BYTES = 20000 };

/* --- what fails -------------------------------------------------------------------- */

/* SQLite's allocator, for the whole process: of the thread's allocations, one fails. */
static sqlite3_mem_methods memory;
static _Thread_local uint64_t allocations, allocation_fails_at; /* 0: none */

static bool refused(void) { return ++allocations == allocation_fails_at; }
static void *scarce_malloc(int size) { return refused() ? NULL : memory.xMalloc(size); }
static void *scarce_realloc(void *at, int size) { return refused() ? NULL : memory.xRealloc(at, size); }

/* Before the store counts what the allocator refuses. */
static void make_memory_scarce(void) {
        sqlite3_mem_methods scarce;
        assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory), SQLITE_OK);
        scarce = memory;
        scarce.xMalloc = scarce_malloc;
        scarce.xRealloc = scarce_realloc;
        assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce), SQLITE_OK);
}

/* Kernel calls, of which one write to the WAL or to a spill file fails; or many do. */
typedef struct faults {
        files_io io;
        bool of_spill; /* which of the two; opening a spill file counts, too */
        int error;
        uint64_t fails_at, count; /* fails_at 0: none */
        int wal_fd;
        int spill_fds[64];
        size_t spill_count;
        rq_rng *rng;        /* NULL: one failure, and batches of ENTRIES_A_BATCH */
        uint64_t apart;     /* with rng: writes between two failures, at most */
        uint64_t apart_allocations;
        uint32_t more;      /* failures to come after the next one */
} faults;

/* The next failure: which, and when. */
static void plan(faults *f) {
        static const int errors[] = { ENOSPC, EIO, ENOMEM };
        f->fails_at = allocation_fails_at = 0;
        if (f->more == 0)
                return;
        f->more--;
        f->error = errors[rq_rng_below(f->rng, 3)];
        if (f->error == ENOMEM)
                allocation_fails_at = allocations + 1 + rq_rng_below(f->rng, f->apart_allocations);
        else
                f->fails_at = f->count + 1 + rq_rng_below(f->rng, f->apart);
}

static bool is_spill(const faults *f, int fd) {
        for (size_t i = 0; i < f->spill_count; i++)
                if (f->spill_fds[i] == fd)
                        return true;
        return false;
}

static bool fails_now(faults *f) {
        if (++f->count != f->fails_at)
                return false;
        errno = f->error;
        return true;
}

static int faulty_open(void *context, int folder_fd, const char *name, int flags) {
        faults *f = context;
        bool spill = strcmp(name, ".") == 0;
        if (spill && f->of_spill && fails_now(f))
                return -1;
        int fd = files_io_kernel.open(NULL, folder_fd, name, flags);
        if (spill && !is_spill(f, fd)) {
                assert_true(f->spill_count < 64);
                f->spill_fds[f->spill_count++] = fd;
        } else if (strcmp(name, DATABASE_WAL_NAME) == 0) {
                f->wal_fd = fd;
        }
        return fd;
}

static ssize_t faulty_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        faults *f = context;
        bool counts = f->of_spill ? is_spill(f, fd) : fd == f->wal_fd;
        if (counts && fails_now(f))
                return -1;
        return files_io_kernel.pwrite(NULL, fd, data, size, offset);
}

static void faults_init(faults *f, bool of_spill, int error, uint64_t fails_at) {
        *f = (faults) { .io = files_io_kernel, .of_spill = of_spill, .error = error, .fails_at = fails_at, .wal_fd = -1 };
        f->io.context = f;
        f->io.open = faulty_open;
        f->io.pwrite = faulty_pwrite;
}

#define SERIES(count) "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT " #count ") "

/* Entries that a statement ends the transaction of: they run alone, in several
 * transactions, and must not be half done. */
static void make_log_of_rollbacks(bench *b) {
        entry(b, "CREATE TABLE t(k UNIQUE, v)", "INSERT INTO t VALUES(1, 'a')");
        for (int i = 0; i < 4; i++)
                entry(b, "INSERT INTO t(v) VALUES('before')", "INSERT OR ROLLBACK INTO t VALUES(1, 'b')", "INSERT INTO t(v) VALUES('behind')",
                      "UPDATE t SET v = v || 'x'", "INSERT OR ROLLBACK INTO t VALUES(1, 'b')", "INSERT INTO t(v) VALUES(random()) RETURNING v");
}

/* Behind a statement that fills the cache, a full-text table reads its counts: to
 * make room for the page, another one is written. When that fails, SQLite rolls back
 * at once; the table hears of it before it has marked the counts as read. Not in
 * the batch that makes the table: its rollback forgets the table as a whole. */
static void make_log_of_full_text(bench *b) {
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
        entry(b, "CREATE VIRTUAL TABLE f USING fts5(body)");
        entry(b, "INSERT INTO t(v) " SERIES(44) "SELECT zeroblob(900) FROM r");
        while (b->queued < ENTRIES_A_BATCH)
                entry(b, "INSERT INTO f VALUES('one two'), ('two three'), ('three four')");
        for (int i = 0; i < 3; i++)
                transaction(b, "UPDATE t SET v = randomblob(900)", i % 2 == 0 ? "INSERT INTO f VALUES('four five six')" : "DELETE FROM f WHERE rowid % 5 = 2");
}

static void make_log_of_all_kinds(bench *b) {
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, k UNIQUE, body, n DEFAULT 0)",
              "CREATE VIRTUAL TABLE own USING fts5(body, prefix='2')",
              "CREATE VIRTUAL TABLE of_t USING fts5(body, content='t', content_rowid='id')", "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1)",
              "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
              "CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)",
              "CREATE TRIGGER after_insert AFTER INSERT ON t BEGIN INSERT INTO of_t(rowid, body) VALUES(new.id, new.body); "
              "INSERT INTO box VALUES(new.id, new.id, new.id + 5, -new.id, new.id); END",
              "CREATE TRIGGER after_delete AFTER DELETE ON t BEGIN INSERT INTO of_t(of_t, rowid, body) VALUES('delete', old.id, old.body); "
              "DELETE FROM box WHERE id = old.id; END");
        for (int i = 0; i < ROUNDS; i++) {
                char upsert[160], children[96], removed[96];
                (void) snprintf(upsert, sizeof upsert, "INSERT INTO t(k, body) VALUES(%d, 'some words'), (%d, 'other words') "
                                "ON CONFLICT(k) DO UPDATE SET n = n + 1 RETURNING id, k, n", i % 3, i);
                (void) snprintf(children, sizeof children, "INSERT INTO child(p) VALUES(%d), (%d)", i, i + 1);
                (void) snprintf(removed, sizeof removed, "DELETE FROM t WHERE id %% 4 = %d", i % 4);
                entry(b, upsert, "INSERT INTO own SELECT body FROM t", "UPDATE own SET body = body || ' more' WHERE rowid % 3 = 1");
                transaction(b, children, "INSERT INTO parent " SERIES(10) "SELECT n - 1 FROM r WHERE true ON CONFLICT DO NOTHING",
                            "UPDATE t SET n = n + 1 RETURNING n");
                transaction(b, "INSERT INTO t(body) " SERIES(30) "SELECT hex(randomblob(300)) FROM r", i % 2 == 0 ? "INSERT INTO child(p) VALUES(99)" : "DELETE FROM parent WHERE id = 3");
                entry(b, removed, "DELETE FROM own WHERE own MATCH 'wo*' AND rowid % 5 = 2", "INSERT OR ROLLBACK INTO t(k) VALUES(0)");
                entry(b, "BEGIN", "DELETE FROM t WHERE id > 100", "SAVEPOINT s", "INSERT INTO own VALUES('undone')", "ROLLBACK TO s", "COMMIT");
                request(b, "SELECT count(*) FROM of_t WHERE of_t MATCH 'words'", "SELECT id FROM box WHERE x0 < 20 ORDER BY id", "INSERT INTO own(own) VALUES('optimize')");
                if (i % 4 == 3)
                        entry(b, "INSERT INTO own VALUES('before')", "VACUUM", "INSERT INTO own VALUES('behind')"); /* several transactions */
        }
}

static void make_log(bench *b) {
        entry(b, "CREATE TABLE t(id INTEGER PRIMARY KEY, k UNIQUE, v DEFAULT (random()), at DEFAULT CURRENT_TIMESTAMP)");
        entry(b, "CREATE VIRTUAL TABLE f USING fts5(body)", "CREATE TABLE p(id INTEGER PRIMARY KEY)", "CREATE TABLE c(p REFERENCES p(id))");
        for (int i = 0; i < ROUNDS; i++) {
                char insert[96], name[64];
                (void) snprintf(insert, sizeof insert, "INSERT OR REPLACE INTO t(k) VALUES(%d) RETURNING id, v", i * 3);
                (void) snprintf(name, sizeof name, "CREATE TABLE x%d(v)", i);
                entry(b, insert, "INSERT INTO f VALUES('some common words')", "INSERT INTO t(k) VALUES(0)");
                transaction(b, "INSERT INTO t(k, v) " SERIES(40) "SELECT NULL, randomblob(700) FROM r", "UPDATE t SET v = v || 'x'",
                            i % 2 == 0 ? "INSERT INTO c VALUES(99)" : "INSERT INTO p VALUES(NULL)");
                entry(b, name, "INSERT OR ROLLBACK INTO t(k) VALUES(0)", "SELECT nope");
                request(b, SERIES(3000) "SELECT n, random() FROM r", "DELETE FROM t WHERE id % 5 = 1 RETURNING id");
                entry(b, "INSERT INTO t(k) SELECT hex(randomblob(20)) FROM t", "DELETE FROM f WHERE rowid = 2");
                entry(b, "DELETE FROM t WHERE id > 300");
        }
}

typedef struct end {
        char *content, *answers;
        uint64_t hash, failures, reopened, writes, allocations;
} end;

static void end_free(end *e) {
        free(e->content);
        free(e->answers);
}

/* The answers so far, those in spill files as well. */
static void take_answers(bench *b, rq_buf *text) {
        for (size_t i = 0; i < b->out.count; i++) {
                const apply_result *result = &b->out.results[i];
                assert_int_equal(rq_buf_reserve(text, result->size + 1), RQ_OK);
                if (result->spill_fd >= 0)
                        assert_int_equal(pread(result->spill_fd, text->data + text->size, result->size, 0), result->size);
                else
                        memcpy(text->data + text->size, b->out.json.data + result->offset, result->size);
                text->size += result->size;
                assert_int_equal(rq_buf_append_text(text, "\n"), RQ_OK);
        }
        apply_output_done(&b->out);
}

/* What failed has left nothing behind, for nobody to see. */
static void assert_rolled_back(bench *b, const store_state *was, const char *content_was, size_t results) {
        assert_memory_equal(applier_state(b->applier), was, sizeof *was);
        assert_int_equal(applier_lo(b->applier), was->index);
        assert_int_equal(applier_hi(b->applier), was->index);
        assert_int_equal(b->out.count, results);
        char *now = content(b);
        if (strcmp(now, content_was) != 0) {
                print_message("at %llu\n", (unsigned long long) was->index);
                fail_msg("not rolled back");
        }
        free(now);
}

static bool is_failure(const faults *f, rq_err r) {
        return r == RQ_ENOMEM || (f->rng != NULL && (r == RQ_EIO || r == RQ_ENOSPC)) || r == (f->error == EIO ? RQ_EIO : RQ_ENOSPC);
}

static end apply_log(faults *f, void (*make)(bench *)) {
        end e = {0};
        bench *b = bench_new();
        b->foreign_keys = true;
        b->io = &f->io;
        b->spill_bytes = SPILL_BYTES;
        b->writer_cache_pages = 10; /* so that statements write, and not only COMMIT */
        bench_open(b);
        make(b);
        rq_buf text = {0};
        allocations = 0;
        if (f->rng != NULL)
                plan(f);
        for (size_t at = 0; at < b->records.size;) {
                size_t to = at, applied, bytes, batch = f->rng != NULL ? 1 + rq_rng_below(f->rng, ENTRIES_A_BATCH) : ENTRIES_A_BATCH;
                for (size_t n = 0; to < b->records.size && n < batch; n++) {
                        record_header header;
                        assert_int_equal(record_header_decode(b->records.data + to, &header), RQ_OK);
                        to += RECORD_HEADER_BYTES + header.body_bytes;
                }
                store_state was = *applier_state(b->applier);
                char *content_was = f->rng == NULL && f->fails_at > f->count ? content(b) : NULL;
                rq_err r = applier_run(b->applier, rq_bytes_of(b->records.data + at, to - at), NULL, NULL, &b->out, &applied, &bytes);
                if (r < 0) {
                        if (!is_failure(f, r))
                                fail_msg("index %" PRIu64 ": %s", was.index + 1, rq_err_text(r));
                        e.failures++;
                        if (files_broken(b->files)) { /* half of an entry is committed: the process would restart */
                                uint64_t next_index = b->next_index;
                                assert_int_equal(files_checkpoint(b->files, &was, false), RQ_EIO);
                                bench_close(b);
                                bench_open(b);
                                b->next_index = next_index;
                                e.reopened++;
                        }
                        if (f->rng != NULL)
                                plan(f);
                        else
                                assert_rolled_back(b, &was, content_was, 0);
                } else {
                        take_answers(b, &text);
                        at += bytes;
                }
                free(content_was);
        }
        f->fails_at = allocation_fails_at = 0;
        e.allocations = allocations;
        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), true), RQ_OK); /* the WAL is whole */
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        e.content = content(b);
        e.answers = (char *) text.data;
        e.hash = applier_state(b->applier)->outcome_hash;
        e.writes = f->count;
        bench_free(b);
        return e;
}

/* The first line that differs: the whole content is more than a failure may print. */
static void assert_same_lines(const char *got, const char *expected) {
        while (*got != '\0' || *expected != '\0') {
                size_t got_size = strcspn(got, "\n"), expected_size = strcspn(expected, "\n");
                if (got_size != expected_size || memcmp(got, expected, got_size) != 0)
                        fail_msg("got \"%.*s\", expected \"%.*s\"", (int) got_size, got, (int) expected_size, expected);
                got += got_size + (got[got_size] == '\n');
                expected += expected_size + (expected[expected_size] == '\n');
        }
}

/* Every n-th of all writes, so that a test takes a few seconds. */
static void each_failure(void (*make)(bench *), bool of_spill, uint64_t runs_max, bool must_reopen) {
        static const int errors[] = { ENOSPC, EIO };
        faults f;
        faults_init(&f, of_spill, 0, 0);
        end expected = apply_log(&f, make);
        assert_int_equal(expected.failures, 0);
        assert_true(expected.writes >= ROUNDS);
        uint64_t reopened = 0, runs = 0, failed = 0;
        uint64_t stride = runs_max < expected.writes ? expected.writes / runs_max + 1 : 1;
        for (uint64_t n = 1; n <= expected.writes; n += stride) {
                faults_init(&f, of_spill, errors[n / stride % 2], n);
                end got = apply_log(&f, make);
                /* A batch ends early by the clock, and then other entries are
                 * undone and written again: the last writes may not come. */
                assert_true(got.failures <= 1);
                failed += got.failures;
                runs++;
                reopened += got.reopened;
                assert_same_lines(got.content, expected.content);
                assert_same_lines(got.answers, expected.answers);
                assert_true(got.hash == expected.hash);
                end_free(&got);
        }
        assert_true(failed > runs / 2);
        assert_true(reopened > 0 || !must_reopen);
        print_message("%llu writes, each %llu-th failed once; %llu times opened anew\n", (unsigned long long) expected.writes,
                      (unsigned long long) stride, (unsigned long long) reopened);
        end_free(&expected);
}

static void test_a_failed_write_of_the_wal_is_no_outcome(void **state) {
        (void) state;
        each_failure(make_log, false, 60, false);
}

static void test_a_full_text_table_forgets_what_it_did_not_read(void **state) {
        (void) state;
        each_failure(make_log_of_full_text, false, UINT64_MAX, false);
}

static uint64_t chosen(const char *name, uint64_t otherwise) {
        const char *text = getenv(name);
        return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_many_failures_at_random(void **state) {
        enum { WORLDS_MIN = 6, WORLDS_MAX = 60, FAILURES = 12, TIME_US = 10 * 1000 * 1000 };
        static void (*const logs[])(bench *) = { make_log_of_all_kinds, make_log_of_full_text, make_log_of_all_kinds, make_log };
        enum { LOGS = sizeof logs / sizeof logs[0] };
        (void) state;
        uint64_t seed = chosen("RQ_SEED", rq_clock_wall_us()), worlds = chosen("RQ_WORLDS", 0), began_us = rq_clock_mono_us(), failures = 0, n = 0;
        end expected[LOGS];
        faults f;
        for (size_t i = 0; i < LOGS; i++) {
                faults_init(&f, false, 0, 0);
                expected[i] = apply_log(&f, logs[i]);
                assert_int_equal(expected[i].failures, 0);
        }
        print_message("RQ_SEED=%" PRIu64 "\n", seed);
        for (; worlds > 0 ? n < worlds : n < WORLDS_MIN || (n < WORLDS_MAX && rq_clock_mono_us() - began_us < TIME_US); n++) {
                const end *e = &expected[(seed + n) % LOGS];
                rq_rng rng = rq_rng_seeded(seed + n);
                faults_init(&f, false, 0, 0);
                f.rng = &rng;
                f.more = FAILURES;
                f.apart = e->writes / (FAILURES / 2) + 1;
                f.apart_allocations = e->allocations / (FAILURES / 2) + 1;
                end got = apply_log(&f, logs[(seed + n) % LOGS]);
                failures += got.failures;
                if (strcmp(got.content, e->content) != 0 || strcmp(got.answers, e->answers) != 0 || got.hash != e->hash)
                        print_message("with RQ_WORLDS=1 RQ_SEED=%" PRIu64 ":\n", seed + n);
                assert_same_lines(got.content, e->content);
                assert_same_lines(got.answers, e->answers);
                assert_true(got.hash == e->hash);
                end_free(&got);
        }
        print_message("%" PRIu64 " worlds, %" PRIu64 " failures\n", n, failures);
        assert_true(failures >= n * FAILURES / 4);
        for (size_t i = 0; i < LOGS; i++)
                end_free(&expected[i]);
}

static void test_a_failed_spill_file_is_no_outcome(void **state) {
        (void) state;
        each_failure(make_log, true, 40, false);
}

static void test_an_entry_of_several_transactions_is_never_half_done(void **state) {
        (void) state;
        each_failure(make_log_of_rollbacks, false, 200, true);
}

/* One entry, no cache pressure: nothing is written before COMMIT, which fails. */
static void test_a_failed_commit_is_no_outcome(void **state) {
        static const int errors[] = { ENOSPC, EIO };
        (void) state;
        for (int i = 0; i < 2; i++) {
                faults f;
                size_t applied, bytes;
                bench *b = bench_new();
                faults_init(&f, false, errors[i], 0);
                b->io = &f.io;
                bench_open(b);
                entry(b, "CREATE TABLE t(v)");
                assert_int_equal(run_queued(b, 0), RQ_OK);
                apply_output_done(&b->out);
                store_state was = *applier_state(b->applier);
                char *content_was = content(b);
                entry(b, "INSERT INTO t VALUES(1) RETURNING v");
                for (int k = 1; k <= 3; k++) { /* the disk stays full for a while */
                        f.fails_at = f.count + 1;
                        assert_int_equal(applier_run(b->applier, rq_buf_bytes(&b->records), NULL, NULL, &b->out, &applied, &bytes),
                                         errors[i] == EIO ? RQ_EIO : RQ_ENOSPC);
                        assert_rolled_back(b, &was, content_was, 0);
                }
                assert_answers(b, "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"integer\"],\"values\":[[1]]}]\n");
                request(b, "SELECT count(*) AS n FROM t");
                assert_answers(b, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[1]]}]\n");
                free(content_was);
                bench_free(b);
        }
}

int main(void) {
        (void) setenv("TZ", "UTC", 1);
        rq_log_open("test_environment", RQ_LOG_PLAIN, LOG_CRIT);
        cmocka_set_test_filter(getenv("RQ_TEST")); /* NULL: all */
        make_memory_scarce();
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_failed_write_of_the_wal_is_no_outcome),
                cmocka_unit_test(test_a_full_text_table_forgets_what_it_did_not_read),
                cmocka_unit_test(test_many_failures_at_random),
                cmocka_unit_test(test_a_failed_spill_file_is_no_outcome),
                cmocka_unit_test(test_an_entry_of_several_transactions_is_never_half_done),
                cmocka_unit_test(test_a_failed_commit_is_no_outcome),
        };
        return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
