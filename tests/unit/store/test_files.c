#include "store_test.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "io/database_file.h"
#include "io/intent.h"
#include "io/state_file.h"
#include "log/log.h"

static int setup(void **state) {
        rq_log_open("test", RQ_LOG_PLAIN, LOG_CRIT);
        *state = place_new();
        return 0;
}

static int teardown(void **state) {
        place_free(*state);
        return 0;
}

/* Ends the process amid its work as kill -9 does: a child applies and dies. */
static void die_after(place *p, void (*work)(place *)) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                if (place_try_open(p) != RQ_OK)
                        _exit(1);
                work(p);
                _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A pending intent, as a death amid the copying leaves it: the reader holds
 * the checkpoint up behind the intent. */
static void leave_intent(place *p) {
        sqlite3 *reader;
        sql(p->writer, "CREATE TABLE t(a)");
        p->at.index = 1;
        (void) files_checkpoint(p->files, &p->at, true);
        (void) files_open_reader(p->files, &reader);
        sql(reader, "BEGIN; SELECT * FROM t");
        entry(p, "INSERT INTO t VALUES(1)");
        entry(p, "INSERT INTO t VALUES(2)");
        if (files_checkpoint(p->files, &p->at, true) != RQ_EAGAIN)
                _exit(2);
        entry(p, "INSERT INTO t VALUES(3)");
}

static void leave_commits(place *p) {
        entry(p, "CREATE TABLE t(a)");
        (void) files_checkpoint(p->files, &p->at, true);
        entry(p, "INSERT INTO t VALUES(1)");
        entry(p, "INSERT INTO t VALUES(2)");
}

static void assert_problem_names(const place *p, const char *text) {
        char all[1024] = {0};
        memcpy(all, p->problem.data, p->problem.size < sizeof all ? p->problem.size : sizeof all - 1);
        if (strstr(all, text) == NULL)
                fail_msg("\"%s\" isn't in: %s", text, all);
}

static size_t file_bytes(const place *p, const char *name) {
        struct stat st;
        return fstatat(p->folder_fd, name, &st, 0) == 0 ? (size_t) st.st_size : SIZE_MAX;
}

static void patch(const place *p, const char *name, off_t offset, uint8_t value) {
        int fd = openat(p->folder_fd, name, O_RDWR);
        uint8_t byte;
        assert_int_equal(pread(fd, &byte, 1, offset), 1);
        byte ^= value;
        assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
        (void) close(fd);
}

static void test_stands_where_it_was_closed(void **state) {
        place *p = *state;
        place_open(p);
        assert_int_equal(p->at.index, 0);
        entry(p, "CREATE TABLE t(a)");
        p->at.term = 3;
        p->at.clock_us = 1234567;
        p->at.outcome_hash = 99;
        p->at.feature_level = 2;
        p->at.database_id = rq_uuid_random();
        entry(p, "INSERT INTO t VALUES(1)");
        store_state was = p->at;
        place_close(p);
        assert_int_equal(file_bytes(p, "db.sqlite-rqwal"), 0);
        p->options.boot_id = "another-boot";
        place_open(p);
        assert_memory_equal(&was, &p->at, sizeof was);
        assert_int_equal(files_checkpoint_index(p->files), 2);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 1);
}

static void test_same_boot_goes_on_with_the_wal(void **state) {
        place *p = *state;
        die_after(p, leave_commits);
        place_open(p);
        assert_int_equal(p->at.index, 3);
        assert_int_equal(files_checkpoint_index(p->files), 1);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 2);
        entry(p, "INSERT INTO t VALUES(3)");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
}

static void test_another_boot_drops_the_wal(void **state) {
        place *p = *state;
        die_after(p, leave_commits);
        p->options.boot_id = "another-boot";
        place_open(p);
        assert_int_equal(p->at.index, 1);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 0);
}

static void test_without_runtime_folder(void **state) {
        place *p = *state;
        int run_fd = p->run_fd;
        p->run_fd = -1;
        die_after(p, leave_commits);
        place_open(p);
        p->run_fd = run_fd;
        assert_int_equal(p->at.index, 1);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 0);
}

static void test_another_boot_finishes_the_intent(void **state) {
        place *p = *state;
        die_after(p, leave_intent);
        p->options.boot_id = "another-boot";
        place_open(p);
        assert_int_equal(p->at.index, 3);
        assert_int_equal(files_checkpoint_index(p->files), 3);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 2);
}

static void test_same_boot_with_intent_goes_on_with_the_wal(void **state) {
        place *p = *state;
        die_after(p, leave_intent);
        place_open(p);
        assert_int_equal(p->at.index, 4);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 3);
}

/* Whatever is refused leaves every file as it was. */
static void assert_refused(place *p, rq_err expected, const char *problem) {
        static const char *const names[] = { "db.sqlite", "db.sqlite-rqwal", "intent", "state" };
        size_t before[4];
        for (size_t i = 0; i < 4; i++)
                before[i] = file_bytes(p, names[i]);
        assert_int_equal(place_try_open(p), expected);
        assert_null(p->files);
        for (size_t i = 0; i < 4; i++)
                assert_int_equal(file_bytes(p, names[i]), before[i]);
        assert_problem_names(p, problem);
        assert_problem_names(p, p->folder);
}

static void test_intent_without_its_wal_is_refused(void **state) {
        place *p = *state;
        size_t bytes;
        int fd;
        die_after(p, leave_intent);
        p->options.boot_id = "another-boot";

        bytes = file_bytes(p, "db.sqlite-rqwal");
        fd = openat(p->folder_fd, "db.sqlite-rqwal", O_RDWR);
        patch(p, "db.sqlite-rqwal", 32 + 100, 1); /* a page of frame 1 */
        assert_refused(p, RQ_EDIVERGED, "db.sqlite-rqwal, offset 32: fails its checksum");
        patch(p, "db.sqlite-rqwal", 32 + 100, 1);
        patch(p, "db.sqlite-rqwal", 16, 1); /* a salt */
        assert_refused(p, RQ_EDIVERGED, "its salts differ");
        patch(p, "db.sqlite-rqwal", 16, 1);
        assert_int_equal(ftruncate(fd, 32 + 100), 0);
        assert_refused(p, RQ_EDIVERGED, "ends early");
        assert_int_equal(ftruncate(fd, (off_t) bytes), 0);
        assert_int_equal(unlinkat(p->folder_fd, "db.sqlite-rqwal", 0), 0);
        assert_refused(p, RQ_EDIVERGED, "db.sqlite-rqwal: missing");
        (void) close(fd);
}

static void test_what_does_not_fit_is_refused(void **state) {
        place *p = *state;
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        place_close(p);

        patch(p, "db.sqlite", 27, 1);
        assert_refused(p, RQ_EDIVERGED, "db.sqlite, offset 0: changed by another program");
        patch(p, "db.sqlite", 27, 1);
        patch(p, "state", 20, 1);
        assert_refused(p, RQ_ECORRUPT, "state, offset");
        patch(p, "state", 20, 1);
        assert_int_equal(renameat(p->folder_fd, "state", p->folder_fd, "kept"), 0);
        assert_refused(p, RQ_EDIVERGED, "state: missing");
        assert_int_equal(renameat(p->folder_fd, "kept", p->folder_fd, "state"), 0);
        assert_int_equal(renameat(p->folder_fd, "intent", p->folder_fd, "kept"), 0);
        assert_refused(p, RQ_EDIVERGED, "intent: cannot be opened");
        assert_int_equal(renameat(p->folder_fd, "kept", p->folder_fd, "intent"), 0);
        assert_int_equal(renameat(p->folder_fd, "db.sqlite", p->folder_fd, "kept"), 0);
        assert_refused(p, RQ_EDIVERGED, "db.sqlite: missing");
        assert_int_equal(renameat(p->folder_fd, "kept", p->folder_fd, "db.sqlite"), 0);
        place_open(p);
        assert_int_equal(p->at.index, 1);
}

/* A replay with other settings would come to something else than what was
 * answered. */
static void test_foreign_keys_are_those_of_the_creation(void **state) {
        place *p = *state;
        for (int i = 0; i < 2; i++) {
                p->options.foreign_keys = true;
                if (i == 0)
                        die_after(p, leave_intent); /* made, and *state* written by a checkpoint */
                else
                        p->options.boot_id = "another-boot"; /* finishes the intent */
                p->options.foreign_keys = false;
                assert_refused(p, RQ_ECONFIG, "created with -fk=true, and this start says -fk=false");
                p->options.foreign_keys = true;
                place_open(p);
                assert_true(files_foreign_keys(p->files));
                place_close(p);
        }
}

static void test_a_folder_without_foreign_keys_stays_so(void **state) {
        place *p = *state;
        place_open(p);
        assert_false(files_foreign_keys(p->files));
        place_close(p);
        p->options.foreign_keys = true;
        assert_refused(p, RQ_ECONFIG, "start with -fk=false");
        p->options.foreign_keys = false;
        place_open(p);
}

/* Outsiders */

static int shell(const place *p, const char *statement, char *ret_text, size_t size) {
        char command[512];
        FILE *out;
        size_t n;
        (void) snprintf(command, sizeof command, "sqlite3 '%s/db.sqlite' \"%s\" 2>&1", p->folder, statement);
        out = popen(command, "r");
        assert_non_null(out);
        n = fread(ret_text, 1, size - 1, out);
        ret_text[n] = '\0';
        return pclose(out);
}

static void test_outsider(void **state) {
        place *p = *state;
        char text[512];
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        entry(p, "INSERT INTO t VALUES(7)");
        if (shell(p, "SELECT 1", text, sizeof text) != 0 && strstr(text, "not found") != NULL)
                skip();
        assert_int_not_equal(shell(p, "SELECT a FROM t", text, sizeof text), 0);
        assert_non_null(strstr(text, "database is locked"));
        assert_int_not_equal(shell(p, "INSERT INTO t VALUES(8)", text, sizeof text), 0);
        assert_non_null(strstr(text, "database is locked"));
        /* A second descriptor of ours, closed, takes nothing away (hazard 15). */
        (void) close(openat(p->folder_fd, "db.sqlite", O_RDWR));
        assert_int_not_equal(shell(p, "SELECT a FROM t", text, sizeof text), 0);
        place_close(p);

        /* Stopped: reading changes nothing, also not in the same boot. */
        assert_int_equal(shell(p, "SELECT a FROM t", text, sizeof text), 0);
        assert_string_equal(text, "7\n");
        place_open(p);
        assert_int_equal(p->at.index, 2);
        entry(p, "INSERT INTO t VALUES(9)");
        place_close(p);

        assert_int_equal(shell(p, "INSERT INTO t VALUES(10)", text, sizeof text), 0);
        assert_refused(p, RQ_EDIVERGED, "changed by another program");
}

static void test_second_store_is_kept_out(void **state) {
        place *p = *state;
        files *other = NULL;
        store_state at;
        rq_buf problem = {0};
        place_open(p);
        assert_int_equal(files_open(p->folder_fd, p->folder, -1, &other, &at, &problem), RQ_EBUSY);
        assert_null(other);
        rq_buf_done(&problem);
}

/* An outsider that was killed amid a write leaves a -wal that the next
 * outsider would put into the file. */
static void test_foreign_wal_is_refused(void **state) {
        place *p = *state;
        int fd;
        place_open(p);
        place_close(p);
        fd = openat(p->folder_fd, "db.sqlite-wal", O_CREAT | O_RDWR, 0600);
        assert_int_equal(write(fd, "x", 1), 1);
        (void) close(fd);
        assert_refused(p, RQ_EDIVERGED, "db.sqlite-wal: another program was writing");
}

/* Connections */

static void test_entry_clock(void **state) {
        place *p = *state;
        sqlite3 *reader;
        place_open(p);
        files_set_entry_clock(p->files, UINT64_C(1700000000123456));
        assert_int_equal(number(p->writer, "SELECT datetime('now') = '2023-11-14 22:13:20' AND strftime('%f', 'now') = '20.123'"), 1);
        sql(p->writer, "CREATE TABLE t(a, b DEFAULT CURRENT_TIMESTAMP); INSERT INTO t(a) VALUES(1)");
        assert_int_equal(number(p->writer, "SELECT b = '2023-11-14 22:13:20' FROM t"), 1);
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        assert_true(llabs((long long) (number(reader, "SELECT strftime('%s', 'now')") - time(NULL))) < 5);
        (void) sqlite3_close(reader);
}

static void test_connections_have_our_settings(void **state) {
        place *p = *state;
        sqlite3 *reader;
        place_open(p);
        sql(p->writer, "CREATE TABLE t(a); INSERT INTO t VALUES(\"a string\")");
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        assert_int_equal(number(p->writer, "PRAGMA page_size"), 4096);
        assert_int_equal(number(p->writer, "PRAGMA synchronous"), 0);
        assert_int_equal(number(p->writer, "PRAGMA foreign_keys"), 0);
        assert_int_equal(number(p->writer, "PRAGMA cell_size_check"), 1);
        assert_int_equal(number(p->writer, "PRAGMA temp_store"), 1); /* what it sorts has no limit */
        assert_int_equal(number(reader, "PRAGMA temp_store"), 2);
        assert_int_equal(number(reader, "PRAGMA query_only"), 1);
        assert_int_equal(number(reader, "SELECT a = \"a string\" FROM t"), 1);
        assert_int_equal(sqlite3_limit(reader, SQLITE_LIMIT_VARIABLE_NUMBER, -1), 32766);
        assert_int_not_equal(sqlite3_exec(reader, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
        assert_int_not_equal(sqlite3_exec(reader, "PRAGMA query_only=OFF; INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
        assert_int_not_equal(sqlite3_wal_checkpoint_v2(reader, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL), SQLITE_OK);
        assert_int_not_equal(sqlite3_exec(reader, "ATTACH ':memory:' AS x", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(files_failure(p->files, true), RQ_OK);
        (void) sqlite3_close(reader);
}

/* SQLite itself can't change the database file, whoever asks for it. */
static void test_only_our_checkpoint_writes_the_file(void **state) {
        place *p = *state;
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        assert_int_not_equal(sqlite3_wal_checkpoint_v2(p->writer, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL), SQLITE_OK);
        assert_int_equal(files_failure(p->files, true), RQ_EIO);
        assert_int_equal(file_bytes(p, "db.sqlite"), 4096);
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        assert_int_equal(file_bytes(p, "db.sqlite"), 8192);
}

/* Hazard 2: the same code, an outcome or a failure. */
static void test_full_sequence_is_no_failure(void **state) {
        place *p = *state;
        place_open(p);
        sql(p->writer, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO t VALUES(9223372036854775807)");
        assert_int_equal(sqlite3_exec(p->writer, "INSERT INTO t DEFAULT VALUES", NULL, NULL, NULL), SQLITE_FULL);
        assert_int_equal(files_failure(p->files, true), RQ_OK);
}

/* A disk that fails on demand, and counts. */
typedef struct bad_disk {
        files_io io;
        atomic_int write_errno, sync_errno;
        atomic_uint syncs;
        _Atomic(sem_t *) hold; /* a sync of a file waits for it */
} bad_disk;

static ssize_t bad_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        bad_disk *d = context;
        errno = d->write_errno;
        return errno != 0 ? -1 : files_io_kernel.pwrite(NULL, fd, data, size, offset);
}

static int bad_sync(void *context, int fd) {
        bad_disk *d = context;
        sem_t *hold = d->hold;
        (void) fd;
        (void) atomic_fetch_add(&d->syncs, 1);
        if (hold != NULL)
                (void) sem_wait(hold);
        errno = d->sync_errno;
        return errno != 0 ? -1 : 0;
}

static void bad_disk_init(bad_disk *d, place *p) {
        memset(d, 0, sizeof *d);
        d->io = files_io_kernel;
        d->io.context = d;
        d->io.pwrite = bad_pwrite;
        d->io.sync = bad_sync;
        p->options.io = &d->io;
}

/* Once in a while, however often it is tried: which file, and why. */
static void test_a_failure_of_the_writer_is_told(void **state) {
        place *p = *state;
        bad_disk disk;
        char text[4096] = "";
        bad_disk_init(&disk, p);
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        int fd = memfd_create("log", MFD_CLOEXEC), before = dup(STDERR_FILENO);
        assert_true(fd >= 0 && before >= 0 && dup2(fd, STDERR_FILENO) >= 0);
        rq_log_open("test", RQ_LOG_PLAIN, LOG_WARNING);
        for (int i = 0; i < 3; i++) {
                disk.write_errno = i == 0 ? EIO : ENOSPC;
                (void) sqlite3_exec(p->writer, "INSERT INTO t VALUES(1)", NULL, NULL, NULL);
                (void) files_failure(p->files, true);
        }
        assert_true(dup2(before, STDERR_FILENO) >= 0);
        (void) close(before);
        assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
        (void) close(fd);
        const char *line = strstr(text, "The writer cannot write db.sqlite-rqwal: Input/output error");
        assert_non_null(line);
        assert_null(strstr(line + 1, "The writer"));
        disk.write_errno = 0;
        entry(p, "INSERT INTO t VALUES(1)");
}

static void test_full_disk_is_a_failure_and_passes(void **state) {
        place *p = *state;
        bad_disk disk;
        bad_disk_init(&disk, p);
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        disk.write_errno = ENOSPC;
        assert_int_equal(sqlite3_exec(p->writer, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_FULL);
        assert_int_equal(files_failure(p->files, false), RQ_ENOSPC);
        assert_int_equal(files_failure(p->files, true), RQ_ENOSPC);
        assert_int_equal(files_failure(p->files, true), RQ_OK);
        disk.write_errno = EIO;
        assert_int_not_equal(sqlite3_exec(p->writer, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(files_failure(p->files, true), RQ_EIO);
        disk.write_errno = 0;
        entry(p, "INSERT INTO t VALUES(1)");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        assert_false(files_broken(p->files));
        place_close(p);
}

/* Nothing is lost when there is no room for a checkpoint: it is tried again. */
static void test_checkpoint_on_a_full_disk_is_tried_again(void **state) {
        place *p = *state;
        bad_disk disk;
        bad_disk_init(&disk, p);
        p->options.checkpoint_interval_ms = 1;
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        disk.write_errno = ENOSPC;
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_ENOSPC);
        assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_ENOSPC);
        assert_int_equal(files_failure(p->files, true), RQ_OK); /* no entry had it */
        assert_false(files_broken(p->files));
        disk.write_errno = 0;
        entry(p, "INSERT INTO t VALUES(1)");
        for (int i = 0; i < 1000 && files_checkpoint_index(p->files) < 2; i++) {
                (void) usleep(files_checkpoint_wait_ms(p->files, &p->at) * 1000 % 300000);
                (void) files_checkpoint(p->files, &p->at, false);
        }
        assert_int_equal(files_checkpoint_index(p->files), 2);
        place_close(p);
        p->options.boot_id = "another-boot";
        place_open(p);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 1);
        place_close(p);
}

static void test_failed_sync_is_final(void **state) {
        place *p = *state;
        bad_disk disk;
        unsigned syncs;
        bad_disk_init(&disk, p);
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        entry(p, "INSERT INTO t VALUES(1)");
        disk.sync_errno = EIO;
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_EIO);
        assert_true(files_broken(p->files));
        disk.sync_errno = 0;
        syncs = disk.syncs;
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_EIO);
        assert_int_equal(files_checkpoint_index(p->files), 1);
        place_close(p); /* and no closing checkpoint */
        assert_int_equal(disk.syncs, syncs);
        /* The WAL that could not be synced isn't gone on with: replay. */
        place_open(p);
        assert_int_equal(p->at.index, 1);
        assert_int_equal(number(p->writer, "SELECT count(*) FROM t"), 0);
        place_close(p);
}

static void test_failed_allocation_is_a_failure(void **state) {
        place *p = *state;
        int status;
        pid_t child;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        skip();
#endif
        child = fork();
        if (child == 0) {
                struct rlimit limit = { .rlim_cur = 400 << 20, .rlim_max = 400 << 20 };
                place_open(p);
                if (setrlimit(RLIMIT_AS, &limit) < 0)
                        _exit(1);
                int r = sqlite3_exec(p->writer, "SELECT length(hex(randomblob(300000000)))", NULL, NULL, NULL);
                _exit(r == SQLITE_NOMEM && files_failure(p->files, true) == RQ_ENOMEM ? 0 : 2);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

/* Checkpoints */

static void wal_salts(const place *p, uint8_t ret_salts[8]) {
        int fd = openat(p->folder_fd, "db.sqlite-rqwal", O_RDONLY);
        assert_int_equal(pread(fd, ret_salts, 8, 16), 8);
        (void) close(fd);
}

/* Hazard 14: all frames are copied, and yet the WAL must not begin anew before
 * *state* is durable: a power cut would find neither. */
static void test_wal_begins_anew_only_after_state(void **state) {
        place *p = *state;
        bad_disk disk;
        sem_t hold;
        uint8_t before[8], now[8];
        bad_disk_init(&disk, p);
        place_open(p);
        entry(p, "CREATE TABLE t(a)");
        wal_salts(p, before);
        assert_int_equal(sem_init(&hold, 0, 0), 0);
        p->options.checkpoint_interval_ms = 1;
        disk.hold = &hold;
        unsigned syncs = disk.syncs;
        for (unsigned released = 0; released < 4; released++) {
                /* WAL, intent, database, state: amid each of them the writer commits. */
                while (disk.syncs <= syncs + released) {
                        (void) files_checkpoint(p->files, &p->at, false);
                        (void) usleep(1000);
                        if (released == 0 && disk.syncs == syncs) {
                                p->at.index++; /* nothing due yet: the interval */
                                files_committed(p->files, &p->at);
                        }
                }
                entry(p, "INSERT INTO t VALUES(1)");
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                assert_int_equal(files_checkpoint_index(p->files), 0);
                wal_salts(p, now);
                assert_memory_equal(before, now, 8);
                (void) sem_post(&hold);
        }
        disk.hold = NULL;
        for (int i = 0; i < 100; i++)
                (void) sem_post(&hold);
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        entry(p, "INSERT INTO t VALUES(1)");
        wal_salts(p, now);
        assert_memory_not_equal(before, now, 8);
        place_close(p);
        (void) sem_destroy(&hold);
}

static void count_up(place *p) {
        char text[128];
        (void) snprintf(text, sizeof text, "UPDATE t SET a = %llu; INSERT INTO t(a) VALUES(%llu)", (unsigned long long) p->at.index + 1,
                        (unsigned long long) p->at.index + 1);
        entry(p, text);
}

/* Hazard 13, and worse: SQLite's own checkpoint behind later commits would
 * leave out every page that changed again. */
static void test_file_is_of_the_intent_while_commits_go_on(void **state) {
        place *p = *state;
        sqlite3 *outside;
        char path[128];
        p->options.checkpoint_wal_bytes = 40 * 4120;
        p->options.checkpoint_interval_ms = 3600 * 1000;
        place_open(p);
        entry(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t(a) VALUES(0)");
        while (files_checkpoint_index(p->files) < 2000) {
                count_up(p);
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
        }
        /* The call that has seen one end may have begun the next, which writes. */
        while (files_checkpoint_wait_ms(p->files, &p->at) < 1000) {
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                (void) usleep(1000);
        }
        for (int i = 0; i < 3; i++)
                count_up(p);
        assert_true(files_checkpoint_index(p->files) < p->at.index);
        /* The file alone, as a power cut at this moment would have it. */
        (void) snprintf(path, sizeof path, "file:%s/db.sqlite?immutable=1", p->folder);
        assert_int_equal(sqlite3_open_v2(path, &outside, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "unix-none"), SQLITE_OK);
        assert_int_equal(number(outside, "SELECT a FROM t WHERE id = 1"), files_checkpoint_index(p->files));
        assert_int_equal(number(outside, "SELECT count(*) FROM t"), files_checkpoint_index(p->files));
        assert_int_equal(number(outside, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
        (void) sqlite3_close(outside);
}

static void until_checkpoint(place *p, uint64_t index) {
        for (int i = 0; i < 5000 && files_checkpoint_index(p->files) < index; i++) {
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                (void) usleep(1000);
        }
        assert_int_equal(files_checkpoint_index(p->files), index);
}

/* -raft-snap: so many entries, whether they changed something or not. */
static void test_entries_start_a_checkpoint(void **state) {
        place *p = *state;
        p->options = (files_options) { .checkpoint_entries = 10, .checkpoint_interval_ms = 3600 * 1000 };
        place_open(p);
        for (int i = 0; i < 9; i++)
                entry(p, i == 0 ? "CREATE TABLE t(a)" : "INSERT INTO t VALUES(1)");
        for (int i = 0; i < 20; i++) {
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                (void) usleep(1000);
        }
        assert_int_equal(files_checkpoint_index(p->files), 0);
        entry(p, "INSERT INTO t VALUES(1)");
        until_checkpoint(p, 10);
        for (int i = 0; i < 10; i++)
                entry(p, "SELECT 1");
        until_checkpoint(p, 20);
        files_stats stats;
        files_stats_get(p->files, &stats);
        assert_int_equal(stats.checkpoints, 2);
}

static void test_reader_holds_a_checkpoint_up(void **state) {
        place *p = *state;
        sqlite3 *reader;
        files_stats stats;
        p->options.closing_wait_ms = 5;
        place_open(p);
        entry(p, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
        assert_int_equal(files_open_reader(p->files, &reader), RQ_OK);
        sql(reader, "BEGIN; SELECT * FROM t");
        entry(p, "UPDATE t SET a = 2");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_EAGAIN);
        assert_int_equal(files_checkpoint_index(p->files), 0);
        assert_int_equal(number(reader, "SELECT a FROM t"), 1);
        assert_true(files_checkpoint_wait_ms(p->files, &p->at) < 100);
        sql(reader, "COMMIT");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        assert_int_equal(files_checkpoint_index(p->files), 2);
        assert_int_equal(files_checkpoint_wait_ms(p->files, &p->at), UINT32_MAX);
        files_stats_get(p->files, &stats);
        assert_int_equal(stats.checkpoints, 1);
        (void) sqlite3_close(reader);
}

/* Long and short reads beside a writer and its checkpoints: each transaction
 * sees one state, and every one of them a whole one. */
typedef struct crowd { place *p; atomic_bool stop; atomic_uint reads; uint32_t pause_us; } crowd;

static void *crowd_read(void *argument) {
        crowd *c = argument;
        sqlite3 *db;
        if (files_open_reader(c->p->files, &db) != RQ_OK)
                return NULL;
        while (!c->stop) {
                int64_t sum, again;
                sql(db, "BEGIN");
                sum = number(db, "SELECT sum(a) FROM t");
                (void) usleep(c->pause_us);
                again = number(db, "SELECT sum(a) FROM t");
                if (sum != 0 || again != 0 ||
                    number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") != 1)
                        abort();
                sql(db, "COMMIT");
                (void) atomic_fetch_add(&c->reads, 1);
        }
        (void) sqlite3_close(db);
        return NULL;
}

static void test_readers_beside_writer_and_checkpoints(void **state) {
        place *p = *state;
        crowd crowds[6] = {0};
        pthread_t threads[6];
        files_stats stats;
        unsigned reads = 0;
        p->options = (files_options) { .checkpoint_wal_bytes = 30 * 4120, .wal_bytes_max = 200 * 4120, .closing_wait_ms = 5 };
        place_open(p);
        entry(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b BLOB)");
        for (int i = 0; i < 200; i++)
                entry(p, "INSERT INTO t(a, b) VALUES(0, zeroblob(500))");
        for (unsigned i = 0; i < 6; i++) {
                crowds[i] = (crowd) { .p = p, .pause_us = i * i * 1000 };
                assert_int_equal(pthread_create(&threads[i], NULL, crowd_read, &crowds[i]), 0);
        }
        struct timespec began, now;
        (void) clock_gettime(CLOCK_MONOTONIC, &began);
        do {
                char text[256];
                unsigned a = (unsigned) (p->at.index * 7919 % 200) + 1, b = (unsigned) (p->at.index * 104729 % 200) + 1;
                (void) snprintf(text, sizeof text,
                                "BEGIN; UPDATE t SET a = a + 5 WHERE id = %u; UPDATE t SET a = a - 5 WHERE id = %u; COMMIT", a, b);
                entry(p, text);
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                (void) clock_gettime(CLOCK_MONOTONIC, &now);
                files_stats_get(p->files, &stats);
                reads = 0;
                for (unsigned i = 0; i < 6; i++)
                        reads += crowds[i].reads;
                /* For a while, and on a busy machine until there was something to see. */
        } while (now.tv_sec - began.tv_sec < 3 ||
                 ((stats.checkpoints <= 5 || reads <= 20) && now.tv_sec - began.tv_sec < 60));
        for (unsigned i = 0; i < 6; i++) {
                crowds[i].stop = true;
                (void) pthread_join(threads[i], NULL);
        }
        print_message("%llu commits, %u reads, %llu checkpoints, WAL %llu frames\n", (unsigned long long) p->at.index, reads,
                      (unsigned long long) stats.checkpoints, (unsigned long long) stats.wal_frames);
        assert_true(stats.checkpoints > 5 && reads > 20);
        assert_int_equal(files_failure(p->files, true), RQ_OK);
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
}

/* Under a writer that never rests the WAL begins anew at its limit. */
static void test_wal_stays_within_its_limit(void **state) {
        place *p = *state;
        files_stats stats;
        uint64_t most = 0;
        p->options = (files_options) { .checkpoint_wal_bytes = 50 * 4120, .wal_bytes_max = 400 * 4120 };
        place_open(p);
        entry(p, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
        for (int i = 0; i < 3000; i++) {
                entry(p, "INSERT INTO t(a) VALUES(zeroblob(1000))");
                assert_int_equal(files_checkpoint(p->files, &p->at, false), RQ_OK);
                files_stats_get(p->files, &stats);
                if (stats.wal_bytes > most)
                        most = stats.wal_bytes;
        }
        print_message("WAL at most %llu frames, writer held at most %llu us\n", (unsigned long long) most / 4120,
                      (unsigned long long) stats.writer_held_us_max);
        assert_true(most >= 300 * 4120 && most <= 1000 * 4120);
}

int main(void) {
        const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
                TEST(test_stands_where_it_was_closed),
                TEST(test_same_boot_goes_on_with_the_wal),
                TEST(test_another_boot_drops_the_wal),
                TEST(test_without_runtime_folder),
                TEST(test_another_boot_finishes_the_intent),
                TEST(test_same_boot_with_intent_goes_on_with_the_wal),
                TEST(test_intent_without_its_wal_is_refused),
                TEST(test_what_does_not_fit_is_refused),
                TEST(test_foreign_keys_are_those_of_the_creation),
                TEST(test_a_folder_without_foreign_keys_stays_so),
                TEST(test_outsider),
                TEST(test_second_store_is_kept_out),
                TEST(test_foreign_wal_is_refused),
                TEST(test_entry_clock),
                TEST(test_connections_have_our_settings),
                TEST(test_only_our_checkpoint_writes_the_file),
                TEST(test_full_sequence_is_no_failure),
                TEST(test_full_disk_is_a_failure_and_passes), TEST(test_a_failure_of_the_writer_is_told),
                TEST(test_checkpoint_on_a_full_disk_is_tried_again),
                TEST(test_failed_sync_is_final),
                TEST(test_failed_allocation_is_a_failure),
                TEST(test_wal_begins_anew_only_after_state),
                TEST(test_file_is_of_the_intent_while_commits_go_on),
                TEST(test_entries_start_a_checkpoint),
                TEST(test_reader_holds_a_checkpoint_up),
                TEST(test_readers_beside_writer_and_checkpoints),
                TEST(test_wal_stays_within_its_limit),
#undef TEST
        };
        files_prepare_process();
        return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
