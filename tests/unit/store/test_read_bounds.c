/* What a read may not do: hold up the loop's thread (db_reader_try), take the
 * memory that the writer needs (sqlite_memory), keep threads that others wait
 * for (read_pool). */
#include "entries.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "core/allowed.h"
#include "io/db_read.h"
#include "io/files_io.h"
#include "io/read_pool.h"
#include "io/sqlite_memory.h"
#include "loop/loop.h"

#define MIB (UINT64_C(1024) * 1024)

/* --- queries --------------------------------------------------------------------- */

/* One text with one parameter. */
typedef struct question {
        Rq__Query query;
        Rq__Render render;
        Rq__Statement statement, *statements[1];
        Rq__Parameter parameter, *parameters[1];
        Rq__Value value;
} question;

static Rq__Query *question_init(question *q, const char *sql, int64_t argument) {
        rq__query__init(&q->query);
        rq__render__init(&q->render);
        rq__statement__init(&q->statement);
        rq__parameter__init(&q->parameter);
        rq__value__init(&q->value);
        q->value.kind_case = RQ__VALUE__KIND_INTEGER;
        q->value.integer = argument;
        q->parameter.value = &q->value;
        q->parameters[0] = &q->parameter;
        q->statement.sql = (ProtobufCBinaryData) { strlen(sql), (uint8_t *) (uintptr_t) sql };
        q->statement.parameters = q->parameters;
        q->statement.n_parameters = 1;
        q->statements[0] = &q->statement;
        q->query.statements = q->statements;
        q->query.n_statements = 1;
        q->query.render = &q->render;
        return &q->query;
}

static bool send_all(void *arg, uint64_t index, rq_bytes json) {
        (void) arg;
        (void) index;
        (void) json;
        return true;
}

static const char *json_of(const db_reader *r) {
        static char text[4096];
        rq_bytes json = db_reader_json(r);
        (void) snprintf(text, sizeof text, "%.*s", (int) json.size, (const char *) json.data);
        return text;
}

static void run(db_reader *r, const char *sql, int64_t argument) {
        static const atomic_bool stop = false;
        question q;
        uint64_t index;
        assert_int_equal(db_reader_run(r, question_init(&q, sql, argument), &stop, send_all, NULL, &index), DB_READ_DONE);
}

static bool try(db_reader *r, const char *sql, int64_t argument) {
        question q;
        uint64_t index = 0;
        return db_reader_try(r, question_init(&q, sql, argument), 64 * 1024, &index);
}

/* A busy machine may make any run slow, and a slow one isn't trusted. */
static bool becomes_trusted(db_reader *r, const char *sql, int64_t argument) {
        for (int i = 0; i < 20000; i++) {
                run(r, sql, argument);
                if (try(r, sql, argument))
                        return true;
        }
        return false;
}

/* --- a database whose file is in the kernel's memory or isn't, as a test says -------- */

static bool is_cold;

static ssize_t pread_cached(void *context, int fd, void *data, size_t size, off_t offset) {
        (void) context;
        if (!is_cold)
                return pread(fd, data, size, offset);
        errno = EAGAIN;
        return -1;
}

static files_io io;

static int setup(void **state) {
        (void) sqlite_memory_prepare();
        bench *b = bench_new();
        io = files_io_kernel;
        io.pread_cached = pread_cached;
        is_cold = false;
        b->io = &io;
        bench_open(b);
        entry(b, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
        entry(b, "INSERT INTO t VALUES (1, 'one'), (2, 'two')");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        sqlite_memory_reads_max(INT64_MAX, INT64_MAX);
        bench_free(*state);
        return 0;
}

static void apply(bench *b, const char *sql) {
        entry(b, sql);
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
}

static db_reader *reader_of(bench *b) {
        db_reader *r;
        assert_int_equal(db_reader_new(b->files, b->applier, &r), RQ_OK);
        return r;
}

/* --- without waiting -------------------------------------------------------------- */

#define POINT "SELECT v FROM t WHERE id = ?"
#define LENGTH "SELECT length(v) FROM t WHERE id = ?"
#define POINT_TWO "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"two\"]]}]"
#define COUNT_TO "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT max(x) FROM c"

static void test_what_was_quick_is_tried(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        assert_false(try(r, POINT, 2)); /* not prepared */
        assert_true(becomes_trusted(r, POINT, 1));
        question q;
        uint64_t index = 0;
        for (int i = 0; index == 0 && i < 20000; i++) {
                run(r, POINT, 1);
                (void) db_reader_try(r, question_init(&q, POINT, 2), 64 * 1024, &index);
        }
        assert_string_equal(json_of(r), POINT_TWO);
        assert_int_equal(index, 2);
        (void) db_reader_free(r);
}

static void test_a_try_sees_the_latest_commit(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        assert_true(becomes_trusted(r, POINT, 2));
        apply(b, "UPDATE t SET v = 'deux' WHERE id = 2");
        assert_true(becomes_trusted(r, POINT, 2));
        assert_non_null(strstr(json_of(r), "deux"));
        (void) db_reader_free(r);
}

static void test_a_changed_schema_is_not_read_in_a_try(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        assert_true(becomes_trusted(r, POINT, 2));
        apply(b, "CREATE TABLE u (a)");
        for (int i = 0; i < 10; i++)
                assert_false(try(r, POINT, 2));
        assert_true(becomes_trusted(r, POINT, 2));
        (void) db_reader_free(r);
}

/* The same text, with another parameter, would take minutes. */
static void test_a_long_statement_does_not_hold_the_thread(void **state) {
        db_reader *r = reader_of(*state);
        uint64_t best_us = UINT64_MAX;
        for (int i = 0; i < 3; i++) {
                assert_true(becomes_trusted(r, COUNT_TO, 1));
                uint64_t start_us = rq_clock_mono_us();
                assert_false(try(r, COUNT_TO, 10000000000));
                uint64_t took_us = rq_clock_mono_us() - start_us;
                best_us = took_us < best_us ? took_us : best_us;
                /* And it has to be quick several times before it is tried again. */
                run(r, COUNT_TO, 1);
                assert_false(try(r, COUNT_TO, 1));
        }
        assert_in_range(best_us, 0, 20 * DB_TRY_US);
        run(r, COUNT_TO, 3);
        assert_non_null(strstr(json_of(r), "[[3]]"));
        (void) db_reader_free(r);
}

static void test_a_try_waits_for_no_disk(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        assert_true(becomes_trusted(r, POINT, 2));
        apply(b, "UPDATE t SET v = v || '!'"); /* what the connection has cached is of no use */
        is_cold = true;
        for (int i = 0; i < 3; i++)
                assert_false(try(r, POINT, 2));
        is_cold = false;
        run(r, POINT, 2);
        assert_non_null(strstr(json_of(r), "two!"));
        (void) db_reader_free(r);
}

static void test_lengthy_functions_are_not_tried(void **state) {
        static const char *const texts[] = {
                "SELECT 'a' LIKE ?", "SELECT 'a' GLOB ?", "SELECT hex(?)", "SELECT printf('%d', ?)", "SELECT json_array(?)",
        };
        db_reader *r = reader_of(*state);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
                for (int k = 0; k < 20; k++) {
                        run(r, texts[i], 1);
                        assert_false(try(r, texts[i], 1));
                }
        static const char *const brief[] = { "abs", "ABS", "count", "datetime", "upper" };
        static const char *const lengthy[] = { "like", "randomblob", "group_concat", "instr", "replace", "zeroblob", "" };
        for (size_t i = 0; i < sizeof brief / sizeof brief[0]; i++)
                assert_true(allowed_brief_function(brief[i]));
        for (size_t i = 0; i < sizeof lengthy / sizeof lengthy[0]; i++)
                assert_false(allowed_brief_function(lengthy[i]));
        (void) db_reader_free(r);
}

static void test_large_answers_and_values_are_not_tried(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        apply(b, "INSERT INTO t VALUES (3, printf('%.*c', 100000, 'x')), (4, printf('%.*c', 20000, 'x')), (5, printf('%.*c', 3000000, 'x'))");
        assert_true(becomes_trusted(r, POINT, 2));
        assert_false(try(r, POINT, 3));
        assert_true(becomes_trusted(r, POINT, 2));
        assert_false(try(r, POINT, 5));
        assert_true(becomes_trusted(r, POINT, 2));
        /* Its pages are in the connection's cache, and its answer is short. */
        apply(b, "INSERT INTO t VALUES (6, printf('%.*c', 1000000, 'x'))");
        run(r, LENGTH, 6);
        assert_true(becomes_trusted(r, LENGTH, 2));
        assert_false(try(r, LENGTH, 6));
        question q;
        uint64_t index;
        assert_true(becomes_trusted(r, POINT, 2));
        assert_false(db_reader_try(r, question_init(&q, POINT, 4), 10000, &index)); /* above the credit */
        run(r, POINT, 4);
        assert_int_equal(db_reader_json(r).size, 20000 + strlen(POINT_TWO) - 3);
        (void) db_reader_free(r);
}

/* --- memory ------------------------------------------------------------------------ */

#define SORTED "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) " \
               "SELECT x FROM c ORDER BY printf('%.*c', 1000, 'x') || -x"
#define ONE_MET "half of -max-read-memory"
#define TOGETHER_MET "the reads under way need more memory"

static void test_one_read_has_its_limit(void **state) {
        static const char *const greedy[] = {
                SORTED, "SELECT hex(zeroblob(1000 * ?))", "SELECT randomblob(1000 * ?)", "SELECT length(randomblob(1000 * ?))",
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT group_concat(hex(zeroblob(1000))) FROM c",
                "WITH RECURSIVE c(x) AS (SELECT zeroblob(1000) UNION ALL SELECT zeroblob(1000) FROM c LIMIT ?) SELECT count(*) FROM (SELECT DISTINCT hex(x) || random() FROM c)",
                /* 3 MB for SQLite, and many times that as JSON. */
                "SELECT x, x, x, x, x, x, x, x FROM (SELECT hex(zeroblob(50 * ?)) AS x)",
        };
        bench *b = *state;
        db_reader *r = reader_of(b);
        sqlite_memory_reads_max(64 * MIB, 16 * MIB);
        for (size_t i = 0; i < sizeof greedy / sizeof greedy[0]; i++) {
                run(r, greedy[i], 30000);
                assert_non_null(strstr(json_of(r), ONE_MET));
                assert_int_equal(sqlite_memory_reads_held(), 0);
                run(r, POINT, 2); /* the connection is as good as before */
                assert_string_equal(json_of(r), POINT_TWO);
                run(r, greedy[i], 3);
                assert_null(strstr(json_of(r), "error"));
        }
        /* At once, not when it is at its end. */
        uint64_t start_us = rq_clock_mono_us();
        run(r, greedy[4], 1000000000);
        assert_non_null(strstr(json_of(r), ONE_MET));
        assert_in_range(rq_clock_mono_us() - start_us, 0, 20000000);
        /* The writer has no such limit. */
        apply(b, "INSERT INTO t VALUES (9, hex(zeroblob(20000000)))");
        run(r, "SELECT length(v) + ? FROM t WHERE id = 9", 0);
        assert_non_null(strstr(json_of(r), ONE_MET));
        sqlite_memory_reads_max(INT64_MAX, INT64_MAX);
        run(r, "SELECT length(v) + ? FROM t WHERE id = 9", 0);
        assert_non_null(strstr(json_of(r), "[[40000000]]"));
        (void) db_reader_free(r);
}

/* --- the pool ------------------------------------------------------------------------ */

typedef struct pooled {
        rq_loop *loop;
        rq_wake wake;
        read_pool *pool;
        uint32_t ended, starved, crowded;
        char last[512];
} pooled;

static void on_events(void *arg) {
        pooled *p = arg;
        for (read_event *e = read_pool_take(p->pool), *next; e != NULL; e = next) {
                next = e->next;
                if (e->kind != READ_PIECE)
                        p->ended++;
                if (e->kind == READ_LAST)
                        (void) snprintf(p->last, sizeof p->last, "%.*s", (int) e->size, (const char *) e->bytes);
                p->starved += e->kind == READ_STARVED;
                p->crowded += e->kind == READ_STARVED && e->job->crowded;
                free(e);
        }
}

static void pooled_open(pooled *p, bench *b, uint32_t threads_max) {
        *p = (pooled) {0};
        assert_int_equal(rq_loop_new(&p->loop), RQ_OK);
        assert_int_equal(rq_wake_init(&p->wake, p->loop, on_events, p), RQ_OK);
        assert_int_equal(read_pool_new(b->files, b->applier, threads_max, &p->wake, &p->pool), RQ_OK);
}

static void pooled_close(pooled *p) {
        p->pool = read_pool_free(p->pool);
        rq_wake_done(&p->wake);
        p->loop = rq_loop_free(p->loop);
}

static void turn(pooled *p) {
        (void) event_base_loop(rq_loop_base(p->loop), EVLOOP_NONBLOCK);
        (void) read_pool_tend(p->pool);
        (void) usleep(1000);
}

#define TURN_UNTIL(p, condition)                                        \
        do {                                                            \
                for (int i_ = 0; i_ < 20000 && !(condition); i_++)      \
                        turn(p);                                        \
                assert_true(condition);                                 \
        } while (0)

static void on_answer(void *arg, uint64_t index, rq_bytes json) {
        pooled *p = arg;
        (void) index;
        (void) snprintf(p->last, sizeof p->last, "%.*s", (int) json.size, (const char *) json.data);
}

static void test_the_pool_lends_an_idle_connection(void **state) {
        pooled p;
        question q;
        read_job job = { .query = question_init(&q, POINT, 2), .credit = 1000 };
        pooled_open(&p, *state, 1);
        bool done = false;
        for (uint32_t i = 0; i < 5000 && !done; i++) {
                assert_int_equal(read_pool_submit(p.pool, &job, NULL), RQ_OK);
                TURN_UNTIL(&p, p.ended == i + 1);
                p.last[0] = '\0';
                done = read_pool_try(p.pool, &job, on_answer, &p);
        }
        assert_true(done);
        assert_string_equal(p.last, POINT_TWO);
        read_pool_stats stats;
        read_pool_stats_get(p.pool, &stats);
        assert_int_equal(stats.here, 1);

        /* While its thread works there is nothing to lend. */
        question rows;
        read_job long_job = { .query = question_init(&rows, COUNT_TO, 10000000000), .credit = 1000 };
        assert_int_equal(read_pool_submit(p.pool, &long_job, NULL), RQ_OK);
        for (int i = 0; i < 10; i++)
                assert_false(read_pool_try(p.pool, &job, on_answer, &p));
        pooled_close(&p);
}

#define MANY_ROWS "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ?) SELECT x FROM c"

static void test_who_takes_no_rows_makes_room_for_others(void **state) {
        enum { HELD = 3 };
        pooled p;
        question many[HELD], one;
        read_job held[HELD], quick = { .query = question_init(&one, POINT, 2), .credit = 1000 };
        pooled_open(&p, *state, HELD);
        for (int i = 0; i < HELD; i++) {
                held[i] = (read_job) { .query = question_init(&many[i], MANY_ROWS, 1000000), .credit = 1 };
                assert_int_equal(read_pool_submit(p.pool, &held[i], NULL), RQ_OK);
        }
        /* As long as nobody else wants a thread they stay. */
        uint64_t start_us = rq_clock_mono_us();
        while (rq_clock_mono_us() - start_us < 2 * READ_PATIENCE_US_MAX)
                turn(&p);
        assert_int_equal(p.ended, 0);
        start_us = rq_clock_mono_us();
        assert_int_equal(read_pool_submit(p.pool, &quick, NULL), RQ_OK);
        TURN_UNTIL(&p, p.last[0] == '{');
        assert_in_range(rq_clock_mono_us() - start_us, 0, READ_PATIENCE_US_MAX);
        assert_string_equal(p.last, POINT_TWO);
        assert_int_equal(p.ended, 2); /* one, to make room for one */
        assert_int_equal(p.starved, 1);
        assert_int_equal(p.crowded, 1);
        pooled_close(&p);
}

/* What waits for its client keeps its memory; the writer, and small reads, have theirs. */
static void test_all_reads_together_have_their_limit(void **state) {
        bench *b = *state;
        pooled p;
        question large, larger;
        read_job held = { .query = question_init(&large, "SELECT hex(zeroblob(1000 * ?))", 3000), .credit = 1 };
        read_job refused = { .query = question_init(&larger, SORTED, 20000), .credit = 1000000 };
        sqlite_memory_reads_max(32 * MIB, 31 * MIB);
        pooled_open(&p, b, 3);
        assert_int_equal(read_pool_submit(p.pool, &held, NULL), RQ_OK);
        TURN_UNTIL(&p, sqlite_memory_reads_held() > 15 * MIB); /* 6 MB, and room for it as JSON */
        assert_int_equal(p.ended, 0);
        assert_int_equal(read_pool_submit(p.pool, &refused, NULL), RQ_OK);
        TURN_UNTIL(&p, p.ended == 1);
        assert_non_null(strstr(p.last, TOGETHER_MET));
        question q;
        read_job small = { .query = question_init(&q, POINT, 2), .credit = 1000 };
        assert_int_equal(read_pool_submit(p.pool, &small, NULL), RQ_OK);
        TURN_UNTIL(&p, p.ended == 2);
        assert_string_equal(p.last, POINT_TWO);
        apply(b, "INSERT INTO t VALUES (9, hex(zeroblob(20000000)))");
        read_pool_credit(p.pool, &held, UINT64_MAX);
        TURN_UNTIL(&p, p.ended == 3);
        assert_int_equal(sqlite_memory_reads_held(), 0);
        refused.credit = UINT64_MAX;
        larger.value.integer = 10000;
        assert_int_equal(read_pool_submit(p.pool, &refused, NULL), RQ_OK);
        TURN_UNTIL(&p, p.ended == 4);
        assert_null(strstr(p.last, "error"));
        pooled_close(&p);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_was_quick_is_tried, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_try_sees_the_latest_commit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_changed_schema_is_not_read_in_a_try, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_long_statement_does_not_hold_the_thread, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_try_waits_for_no_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_lengthy_functions_are_not_tried, setup, teardown),
                cmocka_unit_test_setup_teardown(test_large_answers_and_values_are_not_tried, setup, teardown),
                cmocka_unit_test_setup_teardown(test_one_read_has_its_limit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_pool_lends_an_idle_connection, setup, teardown),
                cmocka_unit_test_setup_teardown(test_who_takes_no_rows_makes_room_for_others, setup, teardown),
                cmocka_unit_test_setup_teardown(test_all_reads_together_have_their_limit, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
