/* Images of the database beside checkpoints, and the swap of the database for a
 * staged file, killed before each of its steps. */
#include "store_test.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "io/db_copy.h"
#include "io/image.h"
#include "io/image_pump.h"
#include "io/install.h"
#include "io/swap.h"
#include "io/wal_index.h"

static int setup(void **state) {
        *state = place_new();
        return 0;
}

static int teardown(void **state) {
        place_free(*state);
        return 0;
}

static void checkpoint_now(place *p) { assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK); }

static void fill(place *p) {
        place_open(p);
        entry(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, b BLOB)");
        entry(p, "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i < 400) INSERT INTO t SELECT i, i, zeroblob(2000) FROM c");
        checkpoint_now(p);
}

static image *open_image(place *p, uint64_t budget) {
        image *i;
        assert_int_equal(image_open(files_images(p->files), budget, &i), RQ_OK);
        return i;
}

/* The rest of an image behind offset, to a file. */
static void copy_rest(image *i, int fd, uint64_t offset) {
        uint8_t data[10000];
        size_t size = 1;
        while (size > 0) {
                assert_int_equal(image_read(i, offset, data, sizeof data, &size), RQ_OK);
                assert_int_equal(pwrite(fd, data, size, (off_t) offset), size);
                offset += size;
        }
        assert_int_equal(offset, image_facts_of(i)->bytes);
}

static int64_t ask_file(const place *p, const char *name, const char *text) {
        char path[128];
        sqlite3 *db;
        (void) snprintf(path, sizeof path, "%s/%s", p->folder, name);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        int64_t n = number(db, text);
        assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
        (void) sqlite3_close(db);
        return n;
}

static void test_image_stays_what_it_was(void **state) {
        place *p = *state;
        uint8_t first[4096];
        size_t size;
        fill(p);
        image *i = open_image(p, 1 << 30);
        assert_int_equal(image_facts_of(i)->id.index, 2);
        assert_int_equal(image_read(i, 0, first, sizeof first, &size), RQ_OK);
        int fd = openat(p->folder_fd, "copy", O_CREAT | O_RDWR, 0600);
        assert_int_equal(pwrite(fd, first, size, 0), size);
        entry(p, "UPDATE t SET n = n + 1000");
        checkpoint_now(p);
        entry(p, "DELETE FROM t WHERE id > 50");
        checkpoint_now(p);
        entry(p, "PRAGMA incremental_vacuum");
        entry(p, "INSERT INTO t SELECT id + 1000, 7, zeroblob(9000) FROM t");
        checkpoint_now(p);
        copy_rest(i, fd, sizeof first);
        (void) close(fd);
        assert_null(image_problem(i));
        (void) image_close(i);
        assert_int_equal(ask_file(p, "copy", "SELECT count(*) FROM t"), 400);
        assert_int_equal(ask_file(p, "copy", "SELECT max(n) FROM t"), 400);
        /* A new one is what the file is now. */
        i = open_image(p, 1 << 30);
        assert_int_equal(image_facts_of(i)->id.index, p->at.index);
        (void) image_close(i);
}

/* What the receiver has isn't kept for it. */
static void test_image_releases(void **state) {
        place *p = *state;
        uint8_t data[100];
        size_t size;
        fill(p);
        image *i = open_image(p, 4096);
        image_release(i, image_facts_of(i)->bytes);
        entry(p, "UPDATE t SET n = n + 1000");
        checkpoint_now(p);
        assert_null(image_problem(i));
        assert_int_equal(image_read(i, 0, data, sizeof data, &size), RQ_EINVAL);
        (void) image_close(i);
}

static void test_image_budget(void **state) {
        place *p = *state;
        uint8_t data[100];
        size_t size;
        fill(p);
        image *i = open_image(p, 3 * 4096);
        entry(p, "UPDATE t SET n = n + 1000");
        checkpoint_now(p);
        assert_non_null(image_problem(i));
        assert_int_equal(image_read(i, 0, data, sizeof data, &size), RQ_ECANCELED);
        (void) image_close(i);
        assert_int_equal(image_set_count(files_images(p->files)), 0);
}

static void test_images_are_bounded(void **state) {
        place *p = *state;
        image *all[IMAGES_MAX], *more;
        fill(p);
        for (size_t i = 0; i < IMAGES_MAX; i++)
                all[i] = open_image(p, 4096);
        assert_int_equal(image_open(files_images(p->files), 4096, &more), RQ_EFULL);
        for (size_t i = 0; i < IMAGES_MAX; i++)
                (void) image_close(all[i]);
}

/* --- what a transaction sees -------------------------------------------------- */

static void close_db(sqlite3 **db) { (void) sqlite3_close(*db); }

/* As of now, and where the WAL stands. */
static wal_position begin_reading(place *p, sqlite3 *reader) {
        sql(reader, "BEGIN; SELECT count(*) FROM sqlite_schema");
        return files_wal_position(p->files);
}

/* The file becomes smaller, and other pages hold what they held. */
static void vacuum(place *p) {
        char problem[DB_COPY_PROBLEM_BYTES];
        assert_int_equal(db_copy_vacuum(p->writer, problem), RQ_OK);
        assert_string_equal(problem, "");
        p->at.index++;
        files_committed(p->files, &p->at);
}

static image *see(place *p, sqlite3 *reader, const wal_position *seen) {
        image *i;
        assert_int_equal(files_image_seen(p->files, reader, seen, p->at.index, &i), RQ_OK);
        return i;
}

static void copy_to(const place *p, image *i, const char *name) {
        int fd = openat(p->folder_fd, name, O_CREAT | O_TRUNC | O_RDWR, 0600);
        assert_true(fd >= 0);
        copy_rest(i, fd, 0);
        (void) close(fd);
}

/* The newest commit, of which the file has nothing yet; it stays although all of it moves on. */
static void test_image_of_a_transaction(void **state) {
        place *p = *state;
        RQ_CLEANUP(close_db) sqlite3 *reader = NULL;
        fill(p);
        entry(p, "UPDATE t SET n = n + 1000 WHERE id <= 100");
        entry(p, "INSERT INTO t SELECT id + 1000, 7, zeroblob(9000) FROM t");
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        wal_position seen = begin_reading(p, reader);
        assert_true(seen.frames > seen.copied);
        entry(p, "DELETE FROM t WHERE id < 50"); /* behind it */
        image *i = see(p, reader, &seen);
        sql(reader, "COMMIT");
        checkpoint_now(p);
        entry(p, "UPDATE t SET n = 5");
        checkpoint_now(p);
        entry(p, "DELETE FROM t");
        vacuum(p);
        checkpoint_now(p);
        copy_to(p, i, "copy");
        (void) image_close(i);
        assert_int_equal(ask_file(p, "copy", "SELECT count(*) FROM t"), 800);
        assert_int_equal(ask_file(p, "copy", "SELECT sum(n) FROM t"), 400 * 401 / 2 + 100 * 1000 + 400 * 7);
}

/* Whatever the file and the WAL hold of it, and whatever comes behind it. */
static void test_images_of_transactions_at_random(void **state) {
        static const char *const changes[] = {
                "UPDATE t SET n = n + 1 WHERE id % 7 = 3", "INSERT INTO t(n, b) SELECT n, randomblob(n % 5000) FROM t ORDER BY id LIMIT 30",
                "DELETE FROM t WHERE id % 3 = 1", NULL /* VACUUM */, "INSERT INTO t(n, b) VALUES(1, zeroblob(100000))", "CREATE TABLE IF NOT EXISTS u AS SELECT * FROM t",
                "DROP TABLE IF EXISTS u", "CREATE INDEX IF NOT EXISTS x ON t(n)",
                /* pages that are counted, and in no frame */
                "BEGIN; INSERT INTO t(n, b) VALUES(1, zeroblob(300000)); DELETE FROM t WHERE length(b) = 300000; COMMIT",
        };
        static const char sum[] = "SELECT count(*) * 1000003 + total(n) + total(length(b)) + total(id * 31) FROM t";
        place *p = *state;
        RQ_CLEANUP(close_db) sqlite3 *reader = NULL;
        uint32_t random = 12345, with_wal = 0;
        fill(p);
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        for (int round = 0; round < 60; round++) {
                image *i = NULL;
                int64_t wanted = 0;
                for (int step = 0; step < 8; step++) {
                        random = random * 1664525 + 1013904223;
                        if (step == 3) {
                                wal_position seen = begin_reading(p, reader);
                                wanted = number(reader, sum);
                                with_wal += seen.frames > seen.copied;
                                if (random >> 31 != 0)
                                        entry(p, changes[random >> 16 & 1]);
                                i = see(p, reader, &seen);
                                sql(reader, "COMMIT");
                        } else if ((random >> 20) % 4 == 0) {
                                checkpoint_now(p);
                        } else {
                                const char *change = changes[(random >> 16) % (sizeof changes / sizeof changes[0])];
                                if (change != NULL)
                                        entry(p, change);
                                else
                                        vacuum(p);
                        }
                }
                copy_to(p, i, "copy");
                (void) image_close(i);
                assert_int_equal(ask_file(p, "copy", sum), wanted);
        }
        assert_true(with_wal > 10 && with_wal < 60);
}

/* What is counted, but in no frame and behind the file's end, is zeros, also for a checkpoint that gets there first. */
static void test_pages_behind_the_end(void **state) {
        place *p = *state;
        uint8_t given[4096], found[4 * 4096];
        image *i;
        size_t size;
        struct stat st;
        fill(p);
        assert_int_equal(fstatat(p->folder_fd, "db.sqlite", &st, 0), 0);
        const uint32_t pages = (uint32_t) (st.st_size / 4096);
        memset(given, 0xa5, sizeof given);
        assert_int_equal(image_open_seen(files_images(p->files), 2, (uint64_t) st.st_size + 3 * 4096, 4096, &i), RQ_OK);
        image_set_save(files_images(p->files), pages + 1, 4096);
        image_set_save(files_images(p->files), pages + 2, 4096);
        assert_int_equal(image_put(i, pages + 1, given), RQ_OK);
        assert_int_equal(image_put(i, 0, given), RQ_EINVAL);
        assert_int_equal(image_put(i, pages + 4, given), RQ_EINVAL);
        assert_int_equal(image_settle(i), RQ_OK);
        assert_null(image_problem(i));
        assert_int_equal(image_read(i, (uint64_t) st.st_size - 4096, found, sizeof found, &size), RQ_OK);
        assert_int_equal(size, sizeof found);
        assert_memory_equal(found + 4096, given, 4096);
        memset(given, 0, sizeof given);
        assert_memory_equal(found + 2 * 4096, given, 4096);
        assert_memory_equal(found + 3 * 4096, given, 4096);
        (void) image_close(i);
}

/* The WAL has begun anew since: nothing of it may be taken for what the transaction saw. */
static void test_image_of_a_wal_that_began_anew(void **state) {
        place *p = *state;
        RQ_CLEANUP(close_db) sqlite3 *reader = NULL;
        image *i;
        fill(p);
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        sql(reader, "BEGIN; SELECT count(*) FROM t"); /* of the file alone */
        wal_position seen = files_wal_position(p->files);
        entry(p, "UPDATE t SET n = n + 1000");
        seen.copied = 0; /* as half-read */
        assert_int_not_equal(files_image_seen(p->files, reader, &seen, p->at.index, &i), RQ_OK);
        assert_int_equal(image_set_count(files_images(p->files)), 0);
}

static void test_seen_images_leave_places_to_others(void **state) {
        place *p = *state;
        RQ_CLEANUP(close_db) sqlite3 *reader = NULL;
        image *all[IMAGES_SEEN_MAX], *more;
        fill(p);
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        wal_position seen = begin_reading(p, reader);
        for (size_t i = 0; i < IMAGES_SEEN_MAX; i++)
                all[i] = see(p, reader, &seen);
        assert_int_equal(files_image_seen(p->files, reader, &seen, p->at.index, &more), RQ_EFULL);
        assert_int_equal(image_open(files_images(p->files), 4096, &more), RQ_OK);
        (void) image_close(more);
        for (size_t i = 0; i < IMAGES_SEEN_MAX; i++)
                (void) image_close(all[i]);
}

/* --- when the side file's disk fails ------------------------------------------ */

typedef struct side_faults {
        files_io io;
        bool is_side[1024];
        int write_errno, truncate_errno, read_errno; /* 0: none */
} side_faults;

static int side_open(void *context, int folder_fd, const char *name, int flags) {
        side_faults *f = context;
        int fd = files_io_kernel.open(NULL, folder_fd, name, flags);
        assert_true(fd < 1024);
        if (fd >= 0)
                f->is_side[fd] = strcmp(name, ".") == 0;
        return fd;
}

static int failed(const side_faults *f, int fd, int with) {
        errno = with;
        return f->is_side[fd] && with != 0 ? -1 : 0;
}

static ssize_t side_pread(void *context, int fd, void *data, size_t size, off_t offset) {
        const side_faults *f = context;
        return failed(f, fd, f->read_errno) < 0 ? -1 : files_io_kernel.pread(NULL, fd, data, size, offset);
}

static ssize_t side_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        const side_faults *f = context;
        return failed(f, fd, f->write_errno) < 0 ? -1 : files_io_kernel.pwrite(NULL, fd, data, size, offset);
}

static int side_truncate(void *context, int fd, off_t size) {
        const side_faults *f = context;
        return failed(f, fd, f->truncate_errno) < 0 ? -1 : files_io_kernel.truncate(NULL, fd, size);
}

/* The image is given up, and says why; the checkpoint goes on, and so do later images. */
static void test_a_side_file_that_fails_ends_its_image_only(void **state) {
        static const struct { int error; const char *problem; } rows[] = {
                { ENOSPC, "the disk is full" }, { EIO, "its side file cannot be written" },
        };
        place *p = *state;
        RQ_CLEANUP(close_db) sqlite3 *reader = NULL;
        side_faults f = { .io = files_io_kernel };
        uint8_t data[16 * 4096]; /* some pages that change */
        size_t size;
        image *i;
        f.io.context = &f;
        f.io.open = side_open;
        f.io.pread = side_pread;
        f.io.pwrite = side_pwrite;
        f.io.truncate = side_truncate;
        p->options.io = &f.io;
        fill(p);
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
                i = open_image(p, IMAGE_SIDE_BYTES_DEFAULT);
                entry(p, "UPDATE t SET n = n + 1");
                f.write_errno = rows[k].error;
                checkpoint_now(p);
                f.write_errno = 0;
                assert_string_equal(image_problem(i), rows[k].problem);
                assert_int_equal(image_read(i, 0, data, sizeof data, &size), RQ_ECANCELED);
                (void) image_close(i);

                /* Of a transaction: the caller copies it in another way. */
                entry(p, "UPDATE t SET n = n + 1");
                wal_position seen = begin_reading(p, reader);
                assert_true(seen.frames > seen.copied);
                const rq_err expected = rows[k].error == ENOSPC ? RQ_ENOSPC : RQ_EIO;
                f.write_errno = rows[k].error;
                assert_int_equal(files_image_seen(p->files, reader, &seen, p->at.index, &i), expected);
                f.write_errno = 0;
                f.truncate_errno = rows[k].error;
                assert_int_equal(files_image_seen(p->files, reader, &seen, p->at.index, &i), expected);
                f.truncate_errno = 0;
                sql(reader, "COMMIT");
                assert_int_equal(image_set_count(files_images(p->files)), 0);
        }
        i = open_image(p, IMAGE_SIDE_BYTES_DEFAULT);
        entry(p, "UPDATE t SET n = n + 1");
        checkpoint_now(p);
        f.read_errno = EIO; /* what was saved can't be read: never what the file has instead */
        assert_int_equal(image_read(i, 0, data, sizeof data, &size), RQ_EIO);
        f.read_errno = 0;
        assert_int_equal(image_read(i, 0, data, sizeof data, &size), RQ_OK);
        (void) image_close(i);
        assert_int_equal(number(p->writer, "SELECT sum(n) FROM t"), 400 * 401 / 2 + 5 * 400);
}

/* --- from pump to install --------------------------------------------------- */

static void nothing(void *arg) { (void) arg; }

typedef struct way {
        rq_loop *loop;
        rq_wake wake;
        image_pump *pump;
        install *install;
        state_file state;
        image_id id;
} way;

static void way_begin(place *p, way *w) {
        image *i = open_image(p, 1 << 30);
        const image_facts *facts = image_facts_of(i);
        w->state = (state_file) { .position = facts->position, .settings = facts->settings, .database = facts->database };
        w->id = facts->id;
        assert_int_equal(rq_loop_new(&w->loop), RQ_OK);
        assert_int_equal(rq_wake_init(&w->wake, w->loop, nothing, NULL), RQ_OK);
        assert_int_equal(image_pump_new(i, &w->wake, &w->pump), RQ_OK);
        assert_int_equal(install_new(&files_io_kernel, p->folder_fd, &w->id, &w->state, &w->wake, &w->install), RQ_OK);
}

static void way_end(way *w) {
        w->install = install_free(w->install);
        w->pump = image_pump_free(w->pump);
        rq_wake_done(&w->wake);
        (void) rq_loop_free(w->loop);
}

/* Chunks until phase or the end of time; loses one now and then. */
static install_phase way_run(way *w, bool lossy) {
        uint64_t offset = 0;
        const char *problem;
        install_phase phase;
        for (uint32_t round = 0; (phase = install_phase_of(w->install, &offset, &problem)) == INSTALL_STAGING && round < 200000; round++) {
                image_pump_read(w->pump, install_next(w->install), offset + SNAPSHOT_WINDOW_BYTES, offset);
                snapshot_chunk *c = image_pump_take(w->pump);
                if (c == NULL) {
                        (void) usleep(100);
                        continue;
                }
                if (lossy && round % 3 == 0)
                        free(c);
                else
                        (void) install_put(w->install, c);
        }
        return phase;
}

static void test_chunks_bring_it_over(void **state) {
        place *p = *state;
        way w = {0};
        fill(p);
        way_begin(p, &w);
        assert_int_equal(way_run(&w, true), INSTALL_STAGED);
        assert_int_equal(ask_file(p, SWAP_FILE_NAME, "SELECT count(*) FROM t"), 400);
        way_end(&w);
}

static void test_damaged_chunks_are_refused(void **state) {
        place *p = *state;
        way w = {0};
        uint64_t offset;
        const char *problem;
        snapshot_chunk *c;
        fill(p);
        way_begin(p, &w);
        image_pump_read(w.pump, 0, 1, 0);
        while ((c = image_pump_take(w.pump)) == NULL)
                (void) usleep(100);
        c->crc ^= 1;
        assert_int_equal(install_put(w.install, c), RQ_OK);
        while (install_phase_of(w.install, &offset, &problem) == INSTALL_STAGING)
                (void) usleep(100);
        assert_int_equal(install_phase_of(w.install, &offset, &problem), INSTALL_FAILED);
        assert_non_null(problem);
        way_end(&w);
}

static void test_chunks_must_follow(void **state) {
        place *p = *state;
        way w = {0};
        fill(p);
        way_begin(p, &w);
        const struct { uint64_t offset; uint32_t raw; size_t size; bool packed; } bad[] = {
                { 1, 100, 100, false }, { 0, 0, 0, false }, { 0, SNAPSHOT_CHUNK_BYTES + 1, 100, true }, { 0, 100, 99, false },
                { 0, 100, 100, true },
        };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
                snapshot_chunk *c = calloc(1, sizeof *c + 200);
                *c = (snapshot_chunk) { .offset = bad[i].offset, .raw_bytes = bad[i].raw, .size = bad[i].size, .packed = bad[i].packed };
                assert_int_equal(install_put(w.install, c), RQ_EPROTO);
        }
        way_end(&w);
}

/* --- the swap --------------------------------------------------------------- */

static void stage(place *p, const char *statements) {
        char path[128];
        sqlite3 *db;
        (void) snprintf(path, sizeof path, "%s/" SWAP_FILE_NAME, p->folder);
        (void) unlink(path);
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        sql(db, "PRAGMA journal_mode = OFF; PRAGMA page_size = 8192");
        sql(db, statements);
        (void) sqlite3_close(db);
}

static void test_swap(void **state) {
        place *p = *state;
        rq_buf problem = {0};
        sqlite3 *reader;
        fill(p);
        entry(p, "INSERT INTO t VALUES(5000, 1, NULL)"); /* in the WAL alone */
        stage(p, "CREATE TABLE u(a); INSERT INTO u VALUES(42)");
        store_state to = p->at;
        to.index = 77;
        to.term = 5;
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        assert_int_equal(files_swap(p->files, &to, FILES_SWAP_ANY, &problem), RQ_OK);
        assert_int_equal(number(reader, "SELECT count(*) FROM t"), 401); /* the old one is still read */
        (void) sqlite3_close(reader);
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK); /* does nothing */
        place_close(p);
        place_open(p);
        assert_int_equal(p->at.index, 77);
        assert_int_equal(p->at.term, 5);
        assert_int_equal(number(p->writer, "SELECT a FROM u"), 42);
        entry(p, "INSERT INTO u VALUES(43)");
        place_close(p);
        place_open(p);
        assert_int_equal(p->at.index, 78);
        assert_int_equal(number(p->writer, "SELECT sum(a) FROM u"), 85);
        rq_buf_done(&problem);
}

static void test_swap_refuses_what_is_no_database(void **state) {
        place *p = *state;
        rq_buf problem = {0};
        fill(p);
        assert_int_equal(files_swap(p->files, &p->at, FILES_SWAP_ANY, &problem), RQ_ENOENT);
        stage(p, "CREATE TABLE u(a)");
        int fd = openat(p->folder_fd, SWAP_FILE_NAME, O_RDWR);
        assert_int_equal(ftruncate(fd, 8192), 0);
        rq_buf_done(&problem);
        assert_int_equal(files_swap(p->files, &p->at, FILES_SWAP_ANY, &problem), RQ_ECORRUPT);
        assert_true(problem.size > 0);
        assert_int_equal(pwrite(fd, "not SQLite", 10, 0), 10);
        rq_buf_done(&problem);
        assert_int_equal(files_swap(p->files, &p->at, FILES_SWAP_ANY, &problem), RQ_ECORRUPT);
        (void) close(fd);
        rq_buf_done(&problem);
        /* Nothing has changed, and a start takes it away. */
        entry(p, "INSERT INTO t VALUES(5000, 1, NULL)");
        place_close(p);
        place_open(p);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 401);
        assert_int_equal(faccessat(p->folder_fd, SWAP_FILE_NAME, F_OK, 0), -1);
}

/* What was applied is given up for nothing that is older, or the same. */
static void test_swap_never_goes_back(void **state) {
        place *p = *state;
        rq_buf problem = {0};
        fill(p);
        stage(p, "CREATE TABLE u(a); INSERT INTO u VALUES(42)");
        store_state to = p->at;
        for (uint64_t behind = 0; behind < 3; behind++) {
                to.index = p->at.index - behind;
                rq_buf_done(&problem);
                assert_int_equal(files_swap(p->files, &to, p->at.index, &problem), RQ_EEXIST);
                assert_true(problem.size > 0);
        }
        /* A checkpoint that is further than what the caller says counts, too. */
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        to.index = p->at.index - 1;
        rq_buf_done(&problem);
        assert_int_equal(files_swap(p->files, &to, 0, &problem), RQ_EEXIST);
        assert_false(files_swapped(p->files));
        entry(p, "INSERT INTO t VALUES(5000, 1, NULL)");
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 401);
        to.index = p->at.index + 1;
        rq_buf_done(&problem);
        assert_int_equal(files_swap(p->files, &to, p->at.index, &problem), RQ_OK);
        place_close(p);
        place_open(p);
        assert_int_equal(p->at.index, to.index);
        assert_int_equal(number(p->writer, "SELECT a FROM u"), 42);
        rq_buf_done(&problem);
}

/* --- killed before each step ------------------------------------------------ */

typedef struct killer { int left; } killer;

static void count_down(void *context) {
        killer *k = context;
        if (k->left-- == 0)
                _exit(9);
}

static int k_open(void *c, int folder, const char *name, int flags) { return files_io_kernel.open(c, folder, name, flags); }
static ssize_t k_pread(void *c, int fd, void *data, size_t size, off_t at) { return files_io_kernel.pread(c, fd, data, size, at); }
static ssize_t k_pwrite(void *c, int fd, const void *data, size_t size, off_t at) {
        count_down(c);
        return files_io_kernel.pwrite(NULL, fd, data, size, at);
}
static int k_truncate(void *c, int fd, off_t size) {
        count_down(c);
        return files_io_kernel.truncate(NULL, fd, size);
}
static int k_sync(void *c, int fd) {
        count_down(c);
        return files_io_kernel.sync(NULL, fd);
}
static int k_sync_folder(void *c, int fd) {
        count_down(c);
        return files_io_kernel.sync_folder(NULL, fd);
}
static int k_rename(void *c, int folder, const char *from, const char *to) {
        count_down(c);
        return files_io_kernel.rename(NULL, folder, from, to);
}

/* Exit code: 0 if it got to the end. */
static int swap_in_child(place *p, int steps) {
        pid_t pid = fork();
        if (pid == 0) {
                killer k = { .left = 1 << 30 };
                const files_io io = { .context = &k, .open = k_open, .pread = k_pread, .pwrite = k_pwrite, .truncate = k_truncate,
                                      .sync = k_sync, .sync_folder = k_sync_folder, .rename = k_rename };
                rq_buf problem = {0};
                p->options.io = &io;
                if (place_try_open(p) != RQ_OK)
                        _exit(3);
                sql(p->writer, "INSERT INTO t VALUES(NULL, 1, NULL)");
                p->at.index++;
                files_committed(p->files, &p->at);
                store_state to = p->at;
                to.index = 1000;
                stage(p, "CREATE TABLE u(a); INSERT INTO u VALUES(42)"); /* a start before would have deleted it */
                k.left = steps;
                if (files_swap(p->files, &to, FILES_SWAP_ANY, &problem) != RQ_OK)
                        _exit(4);
                p->files = files_free(p->files);
                if (place_try_open(p) != RQ_OK || p->at.index != 1000)
                        _exit(5);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_swap_killed_before_each_step(void **state) {
        place *p = *state;
        int code = 9, old = 0, new = 0;
        fill(p);
        place_close(p);
        for (int steps = 0; code != 0; steps++) {
                code = swap_in_child(p, steps);
                assert_true(code == 0 || code == 9);
                place_open(p);
                if (p->at.index == 1000) {
                        assert_int_equal(number(p->writer, "SELECT a FROM u"), 42);
                        new++;
                        /* Back to where the next round begins. */
                        rq_buf problem = {0};
                        stage(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, b BLOB)");
                        store_state to = p->at;
                        to.index = 10;
                        assert_int_equal(files_swap(p->files, &to, FILES_SWAP_ANY, &problem), RQ_OK);
                        place_close(p);
                        place_open(p);
                        assert_int_equal(p->at.index, 10);
                } else {
                        assert_true(number(p->writer, "SELECT count(*) FROM t") > 0);
                        old++;
                }
                assert_int_equal(faccessat(p->folder_fd, SWAP_FILE_NAME, F_OK, 0), -1);
                place_close(p);
        }
        assert_true(old >= 2 && new >= 5);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_image_stays_what_it_was, setup, teardown),
                cmocka_unit_test_setup_teardown(test_image_releases, setup, teardown),
                cmocka_unit_test_setup_teardown(test_image_budget, setup, teardown),
                cmocka_unit_test_setup_teardown(test_images_are_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_image_of_a_transaction, setup, teardown),
                cmocka_unit_test_setup_teardown(test_images_of_transactions_at_random, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pages_behind_the_end, setup, teardown),
                cmocka_unit_test_setup_teardown(test_image_of_a_wal_that_began_anew, setup, teardown),
                cmocka_unit_test_setup_teardown(test_seen_images_leave_places_to_others, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_side_file_that_fails_ends_its_image_only, setup, teardown),
                cmocka_unit_test_setup_teardown(test_chunks_bring_it_over, setup, teardown),
                cmocka_unit_test_setup_teardown(test_damaged_chunks_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_chunks_must_follow, setup, teardown),
                cmocka_unit_test_setup_teardown(test_swap, setup, teardown),
                cmocka_unit_test_setup_teardown(test_swap_never_goes_back, setup, teardown),
                cmocka_unit_test_setup_teardown(test_swap_refuses_what_is_no_database, setup, teardown),
                cmocka_unit_test_setup_teardown(test_swap_killed_before_each_step, setup, teardown),
        };
        files_prepare_process();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
