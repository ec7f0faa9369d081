/* Ends the store before any of its effects on the disk, by death or power cut,
 * again and again, and compares what comes back with a plain in-memory
 * database that applied the same entries. RQ_CRASH_CASES and RQ_CRASH_SEED
 * in the environment choose more, or others; RQ_CRASH_TRACE tells each round. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/checksum.h"
#include "crash_disk.h"
#include "io/files.h"
#include "io/runtime_record.h"
#include "log/log.h"

enum {
        ENTRIES       = 48,
        CASES         = 400,
        ROUNDS_MAX    = 4,
        EXIT_DIVERGED = 7,
        EXIT_REFUSED  = 8,
};

/* What a child tells before it dies. */
typedef struct progress {
        uint64_t committed;  /* files_committed has returned */
        uint64_t checkpoint; /* durable index that was seen */
        uint64_t opened;     /* index after files_open; UINT64_MAX: not yet */
        char problem[512];
} progress;

static progress *shared;
static uint32_t digests[ENTRIES + 1];

/* The model */

static void run_sql(sqlite3 *db, const char *format, ...) {
        va_list args;
        char *sql, *error = NULL;
        va_start(args, format);
        sql = sqlite3_vmprintf(format, args);
        va_end(args);
        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
                (void) fprintf(stderr, "%s: %s\n", sql, error);
                abort();
        }
        sqlite3_free(sql);
}

static void apply_entry(sqlite3 *db, uint64_t index) {
        rq_rng rng = rq_rng_seeded(index * 7919);
        uint64_t kind = index == 1 ? 100 : rq_rng_below(&rng, 12);
        int a = (int) rq_rng_below(&rng, 1000), rows = (int) rq_rng_below(&rng, 8) + 1;
        int bytes = (int) rq_rng_below(&rng, 10) == 0 ? 9000 : 50 + a;

        if (kind == 100) {
                run_sql(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, b BLOB); CREATE INDEX t_n ON t(n)");
        } else if (kind <= 5) {
                for (int i = 0; i < rows; i++)
                        run_sql(db, "INSERT INTO t(n, b) VALUES(%d, printf('%%.*c', %d, 'x'))", a + i, bytes);
        } else if (kind <= 7) {
                run_sql(db, "UPDATE t SET n = n + %d, b = b || 'y' WHERE id %% 5 = %d", a, a % 5);
        } else if (kind == 8) {
                run_sql(db, "DELETE FROM t WHERE id %% 7 = %d", a % 7);
        } else if (kind == 9) {
                run_sql(db, "CREATE TABLE x%d(a); INSERT INTO x%d VALUES(%d)", (int) index, (int) index, a);
        } else if (kind == 10) {
                for (int i = 0; i < 30; i++)
                        run_sql(db, "INSERT INTO t(n, b) VALUES(%d, printf('%%.*c', %d, 'z'))", i, 900);
        } /* 11: a barrier: nothing but the index moves */
}

static int digest_row(void *context, int count, char **values, char **names) {
        uint32_t *crc = context;
        (void) names;
        for (int i = 0; i < count; i++)
                *crc = rq_crc32c(*crc, values[i], strlen(values[i]) + 1);
        return 0;
}

static uint32_t digest(sqlite3 *db) {
        static const char *const queries[] = {
                "SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name",
                "SELECT quote(id), quote(n), quote(b) FROM t ORDER BY id",
                "SELECT quote(n) FROM t INDEXED BY t_n ORDER BY n, id",
        };
        uint32_t crc = 1, before = crc;
        for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
                if (sqlite3_exec(db, queries[i], digest_row, &crc, NULL) != SQLITE_OK)
                        return 0;
                if (i == 0 && crc == before)
                        return crc; /* no table yet */
        }
        return crc;
}

static int setup_model(void **state) {
        sqlite3 *db;
        (void) state;
        files_prepare_process();
        if (sqlite3_open(":memory:", &db) != SQLITE_OK)
                return -1;
        digests[0] = digest(db);
        for (uint64_t i = 1; i <= ENTRIES; i++) {
                apply_entry(db, i);
                digests[i] = digest(db);
        }
        (void) sqlite3_close(db);
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return shared == MAP_FAILED ? -1 : 0;
}

/* The child */

typedef struct scene {
        char folder[64], image[64], run[64];
        char boot_id[BOOT_ID_TEXT_BYTES];
        uint64_t seed, crash_at;
        bool power, spill, readers, shrinking;
} scene;

static void fail_child(int code, const char *text) {
        (void) snprintf(shared->problem, sizeof shared->problem, "%s", text);
        _exit(code);
}

static void check_content(sqlite3 *db, uint64_t index) {
        char text[256];
        uint32_t found = digest(db);
        sqlite3_stmt *s;
        if (found != digests[index]) {
                (void) snprintf(text, sizeof text, "content isn't that of index %" PRIu64, index);
                for (uint64_t i = 0; i <= ENTRIES; i++)
                        if (digests[i] == found)
                                (void) snprintf(text, sizeof text, "content is that of index %" PRIu64 " instead of %" PRIu64, i, index);
                fail_child(EXIT_DIVERGED, text);
        }
        if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL) != SQLITE_OK || sqlite3_step(s) != SQLITE_ROW ||
            strcmp((const char *) sqlite3_column_text(s, 0), "ok") != 0)
                fail_child(EXIT_DIVERGED, "integrity_check failed");
        (void) sqlite3_finalize(s);
}

static void run_entries(files *f, store_state *at, rq_rng *rng, bool readers) {
        sqlite3 *writer, *reader;
        assert(files_open_writer(f, &writer) == RQ_OK && files_open_reader(f, &reader) == RQ_OK);
        while (at->index < ENTRIES) {
                uint64_t batch = 1 + rq_rng_below(rng, 3);
                run_sql(writer, "BEGIN IMMEDIATE");
                for (uint64_t i = 0; i < batch && at->index < ENTRIES; i++) {
                        apply_entry(writer, ++at->index);
                        at->term = 1 + at->index / 10;
                        at->outcome_hash = rq_hash_mix(at->outcome_hash, at->index);
                }
                run_sql(writer, "COMMIT");
                files_committed(f, at);
                shared->committed = at->index;
                if (readers && rq_rng_below(rng, 3) == 0)
                        run_sql(reader, sqlite3_get_autocommit(reader) ? "BEGIN; SELECT count(*) FROM sqlite_schema" : "COMMIT");
                (void) files_checkpoint(f, at, rq_rng_below(rng, 12) == 0);
                if (rq_rng_below(rng, 3) == 0)
                        (void) usleep((useconds_t) rq_rng_below(rng, 600));
                (void) files_checkpoint(f, at, false);
                if (shared->checkpoint < files_checkpoint_index(f))
                        shared->checkpoint = files_checkpoint_index(f);
        }
        (void) sqlite3_close(reader);
}

/* From now on each commit gives free pages at the file's end back. */
static void make_shrinking(files *f, sqlite3 *writer, const store_state *at) {
        (void) sqlite3_limit(writer, SQLITE_LIMIT_ATTACHED, 1); /* VACUUM attaches */
        run_sql(writer, "PRAGMA auto_vacuum=FULL; VACUUM");
        files_committed(f, at);
}

static void run_child(const scene *s) {
        int folder_fd = open(s->folder, O_RDONLY | O_DIRECTORY), run_fd = open(s->run, O_RDONLY | O_DIRECTORY);
        int image_fd = open(s->image, O_RDONLY | O_DIRECTORY);
        crash_disk *disk = malloc(sizeof *disk);
        files_options options = {
                .checkpoint_wal_bytes = 12 * 4120, .checkpoint_interval_ms = 3, .wal_bytes_max = 40 * 4120, .closing_wait_ms = 1,
                .io = &disk->io, .boot_id = s->boot_id
        };
        rq_rng rng = rq_rng_seeded(s->seed ^ s->crash_at);
        rq_buf problem = {0};
        store_state at;
        sqlite3 *writer;
        files *f;
        rq_err r;

        rq_log_open("crash", RQ_LOG_PLAIN, getenv("RQ_CRASH_TRACE") != NULL ? LOG_DEBUG : LOG_ERR);
        disk_init(disk, s->seed, s->crash_at, s->power, folder_fd, image_fd);
        r = files_open_with(&options, folder_fd, s->folder, run_fd, &f, &at, &problem);
        if (r < 0) {
                (void) rq_buf_append(&problem, "", 1);
                fail_child(EXIT_REFUSED, (const char *) problem.data);
        }
        assert(files_open_writer(f, &writer) == RQ_OK);
        check_content(writer, at.index);
        shared->opened = shared->committed = at.index;
        if (s->spill)
                run_sql(writer, "PRAGMA cache_size=5");
        if (s->shrinking && at.index == 0)
                make_shrinking(f, writer, &at);
        run_entries(f, &at, &rng, s->readers);
        files_free(f);
        disk_write_image(disk, false);
        _exit(0);
}

/* The parent */

static void make_folder(char *ret_path, size_t size) {
        const char *base = getenv("TMPDIR");
        (void) snprintf(ret_path, size, "%s/rq-crash-XXXXXX", base != NULL ? base : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(ret_path));
}

static void remove_folder(const char *path) {
        static const char *const names[] = {
                "db.sqlite", "db.sqlite.new", "db.sqlite-rqwal", "intent", "state", "state.new", "store.runtime"
        };
        int fd = open(path, O_RDONLY | O_DIRECTORY);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                (void) unlinkat(fd, names[i], 0);
        (void) close(fd);
        assert_int_equal(rmdir(path), 0);
}

static void copy_folder(const char *from, const char *to) {
        assert_int_equal(mkdir(to, 0700), 0);
        for (const char *const *name = disk_known_names; *name != NULL; name++) {
                char from_path[128], to_path[128];
                uint8_t bytes[1 << 16];
                ssize_t n;
                int in, out;
                (void) snprintf(from_path, sizeof from_path, "%s/%s", from, *name);
                (void) snprintf(to_path, sizeof to_path, "%s/%s", to, *name);
                in = open(from_path, O_RDONLY);
                if (in < 0)
                        continue;
                out = open(to_path, O_WRONLY | O_CREAT | O_EXCL, 0600);
                while ((n = read(in, bytes, sizeof bytes)) > 0)
                        assert_int_equal(write(out, bytes, (size_t) n), n);
                (void) close(in);
                (void) close(out);
        }
}

static int fork_child(const scene *s) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
                run_child(s);
        assert_int_equal(waitpid(child, &status, 0), child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void new_boot(scene *s, rq_rng *rng) {
        (void) snprintf(s->boot_id, sizeof s->boot_id, "%08x-0000-4000-8000-%012" PRIx64, (unsigned) rq_rng_below(rng, 1u << 31),
                        rq_rng_below(rng, UINT64_C(1) << 48));
}

static void scene_init(scene *s, rq_rng *rng) {
        memset(s, 0, sizeof *s);
        make_folder(s->folder, sizeof s->folder);
        make_folder(s->image, sizeof s->image);
        make_folder(s->run, sizeof s->run);
        s->spill = rq_rng_below(rng, 3) == 0;
        s->readers = rq_rng_below(rng, 2) == 0;
        s->shrinking = rq_rng_below(rng, 3) == 0;
        new_boot(s, rng);
        memset(shared, 0, sizeof *shared);
}

static void scene_done(scene *s) {
        remove_folder(s->folder);
        remove_folder(s->image);
        remove_folder(s->run);
}

/* After a death nothing that was told is gone; after a power cut nothing that
 * was checkpointed. An index that changed nothing may be forgotten. */
static void check_progress(uint64_t number, uint64_t seed, int round, bool power, uint64_t least) {
        if (shared->opened >= least || digests[shared->opened] == digests[least])
                return;
        fail_msg("case %" PRIu64 " seed %" PRIu64 " round %d: after a %s came back at index %" PRIu64 ", below %" PRIu64, number, seed,
                 round, power ? "power cut" : "death", shared->opened, least);
}

/* One world: some crashes, then a run to the end. Returns how many crashes. */
static unsigned run_case(uint64_t number, uint64_t seed, uint64_t first_crash_at) {
        rq_rng rng = rq_rng_seeded(seed);
        unsigned crashes = 0;
        bool after_power = false;
        scene s;

        scene_init(&s, &rng);
        for (int round = 0; round < ROUNDS_MAX; round++) {
                uint64_t least = after_power ? shared->checkpoint : shared->committed;
                int code;
                s.seed = rq_rng_next(&rng);
                s.power = rq_rng_below(&rng, 2) == 0;
                s.crash_at = round == ROUNDS_MAX - 1 ? 0 : 1 + rq_rng_below(&rng, rq_rng_below(&rng, 2) == 0 ? 30 : 700);
                if (round == 0 && first_crash_at > 0)
                        s.crash_at = first_crash_at;
                shared->opened = UINT64_MAX;
                code = fork_child(&s);
                if (getenv("RQ_CRASH_TRACE") != NULL)
                        print_message("round %d: %s before effect %" PRIu64 ": exit %d, opened %" PRIu64 " committed %" PRIu64
                                      " checkpoint %" PRIu64 " %s\n", round, s.power ? "power cut" : "death", s.crash_at, code,
                                      shared->opened, shared->committed, shared->checkpoint, s.folder);
                if (code != 0 && code != CRASH_EXIT)
                        fail_msg("case %" PRIu64 " seed %" PRIu64 " round %d (%s before effect %" PRIu64 "): exit %d: %s", number, seed,
                                 round, s.power ? "power cut" : "death", s.crash_at, code, shared->problem);
                if (shared->opened != UINT64_MAX)
                        check_progress(number, seed, round, after_power, least);
                if (code == 0) {
                        after_power = false;
                        continue; /* it lived: started again on what it left */
                }
                crashes++;
                if (s.power) {
                        char swap[sizeof s.folder];
                        remove_folder(s.folder);
                        memcpy(swap, s.folder, sizeof swap);
                        memcpy(s.folder, s.image, sizeof swap);
                        memcpy(s.image, swap, sizeof swap);
                        copy_folder(s.folder, s.image); /* all that is left is durable */
                        new_boot(&s, &rng);
                        shared->committed = shared->checkpoint;
                        after_power = true;
                } else if (shared->opened != UINT64_MAX) {
                        after_power = false;
                }
        }
        assert_int_equal(shared->committed, ENTRIES);
        scene_done(&s);
        return crashes;
}

static uint64_t from_environment(const char *name, uint64_t fallback) {
        const char *text = getenv(name);
        return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

static void test_random_crashes(void **state) {
        uint64_t cases = from_environment("RQ_CRASH_CASES", CASES), seed = from_environment("RQ_CRASH_SEED", 1);
        unsigned crashes = 0;
        (void) state;
        for (uint64_t i = 0; i < cases; i++)
                crashes += run_case(i, seed + i, 0);
        print_message("%" PRIu64 " worlds, %u crashes\n", cases, crashes);
        assert_true(cases < 10 || crashes > cases);
}

/* The first effects are the folder's creation: every one of them, both ways. */
static void test_every_effect_of_the_creation(void **state) {
        (void) state;
        for (uint64_t at = 1; at <= 25; at++)
                for (uint64_t seed = 0; seed < 4; seed++)
                        (void) run_case(at, 100000 + at * 16 + seed, at);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_effect_of_the_creation),
                cmocka_unit_test(test_random_crashes),
        };
        return cmocka_run_group_tests_name("files_crash", tests, setup_model, NULL);
}
