/* io/db_read and io/read_pool: query requests on a real database. */
#include "entries.h"

#include "base/clock.h"
#include "io/db_read.h"
#include "io/read_pool.h"
#include "loop/loop.h"

typedef struct asked {
        const char *sql[8];
        bool request_mode, associative;
        uint64_t db_timeout_us;
} asked;

/* A query of these texts; freed by the caller. */
static Rq__Query *query_of(const asked *in) {
        Rq__Query *q = malloc(sizeof *q);
        Rq__Render *render = malloc(sizeof *render);
        assert_non_null(q);
        assert_non_null(render);
        rq__query__init(q);
        rq__render__init(render);
        render->associative = in->associative;
        q->render = render;
        q->request_mode = in->request_mode;
        q->db_timeout_us = in->db_timeout_us;
        q->statements = calloc(8, sizeof *q->statements);
        for (; in->sql[q->n_statements] != NULL; q->n_statements++) {
                Rq__Statement *s = malloc(sizeof *s);
                assert_non_null(s);
                rq__statement__init(s);
                s->sql = (ProtobufCBinaryData) { strlen(in->sql[q->n_statements]), (uint8_t *) (uintptr_t) in->sql[q->n_statements] };
                q->statements[q->n_statements] = s;
        }
        return q;
}

static void query_free(Rq__Query *q) {
        for (size_t i = 0; i < q->n_statements; i++)
                free(q->statements[i]);
        free(q->statements);
        free(q->render);
        free(q);
}

static bool gather(void *arg, uint64_t index, rq_bytes json) {
        (void) index;
        assert_int_equal(rq_buf_append_bytes(arg, json), RQ_OK);
        return true;
}

/* The whole answer as text; freed by the caller. */
static char *run_query(db_reader *r, const asked *in, db_read_outcome *ret_outcome, uint64_t *ret_index) {
        static const atomic_bool stop = false;
        rq_buf text = {0};
        Rq__Query *q = query_of(in);
        *ret_outcome = db_reader_run(r, q, &stop, gather, &text, ret_index);
        if (*ret_outcome == DB_READ_DONE)
                assert_int_equal(rq_buf_append_bytes(&text, db_reader_json(r)), RQ_OK);
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        query_free(q);
        return (char *) text.data;
}

#define assert_reads(r, expected, ...)                                                          \
        do {                                                                                    \
                db_read_outcome outcome_;                                                       \
                uint64_t index_ = 0;                                                            \
                char *got_ = run_query(r, &(const asked) { __VA_ARGS__ }, &outcome_, &index_);  \
                assert_int_equal(outcome_, DB_READ_DONE);                                       \
                assert_string_equal(got_, expected);                                            \
                free(got_);                                                                     \
        } while (0)

#define assert_needs_log(r, ...)                                                                \
        do {                                                                                    \
                db_read_outcome outcome_;                                                       \
                uint64_t index_ = 0;                                                            \
                free(run_query(r, &(const asked) { __VA_ARGS__, .request_mode = true }, &outcome_, &index_)); \
                assert_int_equal(outcome_, DB_READ_NEEDS_LOG);                                  \
        } while (0)

static int setup(void **state) {
        bench *b = bench_new();
        bench_open(b);
        entry(b, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
        entry(b, "INSERT INTO t VALUES (1, 'one'), (2, 'two')");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        *state = b;
        return 0;
}

static int teardown(void **state) {
        bench_free(*state);
        return 0;
}

static db_reader *reader_of(bench *b) {
        db_reader *r;
        assert_int_equal(db_reader_new(b->files, b->applier, &r), RQ_OK);
        return r;
}

static void test_rows_and_the_index_they_were_seen_at(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        db_read_outcome outcome;
        uint64_t index = 0;
        char *got = run_query(r, &(const asked) { .sql = { "SELECT * FROM t" } }, &outcome, &index);
        assert_string_equal(got, "{\"results\":[{\"columns\":[\"id\",\"v\"],\"types\":[\"integer\",\"text\"],\"values\":[[1,\"one\"],[2,\"two\"]]}]");
        assert_int_equal(index, 2);
        free(got);
        /* A later commit is seen, also by cached statements. */
        entry(b, "ALTER TABLE t ADD COLUMN w");
        entry(b, "DELETE FROM t WHERE id = 1");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        got = run_query(r, &(const asked) { .sql = { "SELECT * FROM t" } }, &outcome, &index);
        assert_string_equal(got, "{\"results\":[{\"columns\":[\"id\",\"v\",\"w\"],\"types\":[\"integer\",\"text\",\"\"],\"values\":[[2,\"two\",null]]}]");
        assert_int_equal(index, 4);
        free(got);
        (void) db_reader_free(r);
}

static void test_each_text_has_its_result_and_errors_are_its_own(void **state) {
        db_reader *r = reader_of(*state);
        assert_reads(r, "{\"results\":[]", .sql = { NULL });
        assert_reads(r, "{\"results\":[]", .sql = { "" });
        assert_reads(r, "{\"results\":[{}]", .sql = { " " });
        assert_reads(r, "{\"results\":[{}]", .sql = { "-- nothing" });
        assert_reads(r, "{\"results\":[{\"rows\":[]}]", .sql = { ";" }, .associative = true);
        assert_reads(r, "{\"results\":[{\"error\":\"no such table: nope\"},{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]},{\"error\":\"incomplete input\"}]",
                     .sql = { "SELECT * FROM nope", "SELECT 1", "SELECT" });
        assert_reads(r, "{\"results\":[{\"rows\":[],\"error\":\"no such table: nope\"}]", .sql = { "SELECT * FROM nope" }, .associative = true);
        assert_reads(r, "{\"results\":[{\"error\":\"no such table: nope\"}]", .sql = { "SELECT * FROM nope" }, .associative = true, .request_mode = true);
        (void) db_reader_free(r);
}

static void test_of_several_statements_the_last_rows_are_answered(void **state) {
        db_reader *r = reader_of(*state);
        const char *two = "{\"results\":[{\"columns\":[\"2\"],\"types\":[\"integer\"],\"values\":[[2]]}]";
        assert_reads(r, two, .sql = { "SELECT 1; SELECT 2" });
        assert_reads(r, two, .sql = { "SELECT 1; SELECT 2;" });
        assert_reads(r, two, .sql = { "; SELECT 2" });
        assert_reads(r, two, .sql = { "SELECT 1; SELECT 2; -- the end" });
        assert_reads(r, "{\"results\":[{\"error\":\"no such table: nope\"}]", .sql = { "SELECT 1; SELECT * FROM nope" });
        assert_reads(r, "{\"results\":[{\"error\":\"integer overflow\"}]", .sql = { "SELECT abs(-9223372036854775807 - 1); SELECT 2" });
        (void) db_reader_free(r);
}

/* SQLite counts the question as a write, too. */
static void test_the_journal_mode_can_be_asked(void **state) {
        db_reader *r = reader_of(*state);
        const char *wal = "{\"results\":[{\"columns\":[\"journal_mode\"],\"types\":[\"text\"],\"values\":[[\"wal\"]]}]";
        for (int i = 0; i < 2; i++) { /* and from the cache of statements */
                assert_reads(r, wal, .sql = { "PRAGMA journal_mode" });
                assert_reads(r, wal, .sql = { "PRAGMA main.journal_mode" }, .request_mode = true);
        }
        assert_reads(r, "{\"results\":[],\"error\":\"disallowed pragma\"", .sql = { "PRAGMA journal_mode = DELETE" });
        assert_reads(r, "{\"results\":[],\"error\":\"disallowed pragma\"", .sql = { "PRAGMA journal_mode(DELETE)" });
        assert_reads(r, "{\"results\":[{\"error\":\"attempt to change database via query operation\"}]", .sql = { "PRAGMA incremental_vacuum" });
        (void) db_reader_free(r);
}

/* SQLite's own would be at each of these for hours, and nothing could end it: no deadline and no client that goes away. */
static void test_functions_that_nothing_interrupts_are_linear(void **state) {
        db_reader *r = reader_of(*state);
        assert_reads(r, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[0]]}]",
                     .sql = { "SELECT instr(hex(zeroblob(8000000)), hex(zeroblob(4000000)) || '1') AS n" });
        assert_reads(r, "{\"results\":[{\"columns\":[\"n\"],\"types\":[\"integer\"],\"values\":[[16000000]]}]",
                     .sql = { "SELECT length(replace(hex(zeroblob(8000000)), hex(zeroblob(4000000)) || '1', '')) AS n" });
        (void) db_reader_free(r);
}

static void test_changes_are_refused(void **state) {
        db_reader *r = reader_of(*state);
        const char *refused = "{\"results\":[{\"error\":\"attempt to change database via query operation\"}]";
        assert_reads(r, refused, .sql = { "INSERT INTO t VALUES (3, 'x')" });
        assert_reads(r, refused, .sql = { "DELETE FROM t" });
        assert_reads(r, refused, .sql = { "INSERT INTO t VALUES (3, 'x') RETURNING id" });
        assert_reads(r, refused, .sql = { "CREATE TABLE u (a)" });
        assert_reads(r, refused, .sql = { "PRAGMA user_version = 5" });
        assert_reads(r, refused, .sql = { "DELETE FROM t; SELECT 1" });
        assert_reads(r, refused, .sql = { "VACUUM" });
        assert_reads(r, "{\"results\":[{\"columns\":[\"count(*)\"],\"types\":[\"integer\"],\"values\":[[2]]}]", .sql = { "SELECT count(*) FROM t" });
        (void) db_reader_free(r);
}

static void test_a_client_cannot_hold_or_end_the_transaction(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        db_read_outcome outcome;
        uint64_t index;
        static const struct { const char *word, *says; } cases[] = {
                { "BEGIN", "left a transaction open" }, { "SAVEPOINT a", "left a transaction open" },
                { "COMMIT", "cannot commit - no transaction is active" }, { "ROLLBACK", "cannot rollback - no transaction is active" },
                { "RELEASE a", "no such savepoint: a" }, { "ATTACH ':memory:' AS x", "ATTACH is not available" },
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                char *got = run_query(r, &(const asked) { .sql = { cases[i].word, "SELECT count(*) FROM t" } }, &outcome, &index);
                assert_int_equal(outcome, DB_READ_DONE);
                assert_non_null(strstr(got, cases[i].says));
                assert_non_null(strstr(got, "[[2]]"));
                free(got);
        }
        assert_reads(r, "{\"results\":[{},{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]},{}]",
                     .sql = { "BEGIN", "SELECT 1", "END" });
        assert_reads(r, "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]}]", .sql = { "BEGIN; SELECT 1; COMMIT" });
        entry(b, "INSERT INTO t VALUES (3, 'three')");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        assert_reads(r, "{\"results\":[{\"columns\":[\"count(*)\"],\"types\":[\"integer\"],\"values\":[[3]]}]", .sql = { "SELECT count(*) FROM t" });
        (void) db_reader_free(r);
}

static void test_a_request_that_writes_needs_the_log_and_runs_nothing(void **state) {
        db_reader *r = reader_of(*state);
        assert_needs_log(r, .sql = { "INSERT INTO t VALUES (9, 'x')" });
        assert_needs_log(r, .sql = { "SELECT 1", "UPDATE t SET v = 'x'" });
        assert_needs_log(r, .sql = { "SELECT 1; DELETE FROM t" });
        assert_needs_log(r, .sql = { "CREATE TABLE u (a)", "INSERT INTO u VALUES (1)" });
        assert_needs_log(r, .sql = { "SELECT * FROM nope", "DELETE FROM t" });
        assert_needs_log(r, .sql = { "PRAGMA user_version = 5" });
        assert_needs_log(r, .sql = { "VACUUM" });
        assert_reads(r, "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]},{\"error\":\"no such table: nope\"}]",
                     .sql = { "SELECT 1", "SELECT * FROM nope" }, .request_mode = true);
        assert_reads(r, "{\"results\":[{\"columns\":[\"count(*)\"],\"types\":[\"integer\"],\"values\":[[2]]}]",
                     .sql = { "SELECT count(*) FROM t" }, .request_mode = true);
        (void) db_reader_free(r);
}

static void test_a_disallowed_pragma_refuses_the_whole_request(void **state) {
        db_reader *r = reader_of(*state);
        const char *refused = "{\"results\":[],\"error\":\"disallowed pragma\"";
        assert_reads(r, refused, .sql = { "SELECT 1", "PRAGMA journal_mode=DELETE" });
        assert_reads(r, refused, .sql = { "PRAGMA wal_checkpoint" }, .request_mode = true);
        (void) db_reader_free(r);
}

#define FOR_EVER "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"

static void test_a_deadline_ends_the_statement_and_each_that_follows(void **state) {
        db_reader *r = reader_of(*state);
        uint64_t start_us = rq_clock_mono_us();
        assert_reads(r, "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]},{\"error\":\"query timeout\"},{\"error\":\"query timeout\"}]",
                     .sql = { "SELECT 1", FOR_EVER, "SELECT 2" }, .db_timeout_us = 50000);
        uint64_t took_us = rq_clock_mono_us() - start_us;
        assert_in_range(took_us, 50000, 5000000);
        assert_reads(r, "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]}]", .sql = { "SELECT 1" });
        (void) db_reader_free(r);
}

/* Commits between two statements of the request. */
typedef struct meddler { bench *b; bool done; } meddler;

static bool meddle(void *arg, uint64_t index, rq_bytes json) {
        meddler *m = arg;
        (void) index;
        (void) json;
        if (m->done)
                return true;
        m->done = true;
        entry(m->b, "DELETE FROM t");
        assert_int_equal(run_queued(m->b, 0), RQ_OK);
        return true;
}

static void test_a_request_sees_one_state_of_the_database(void **state) {
        bench *b = *state;
        db_reader *r = reader_of(b);
        meddler m = { .b = b };
        const atomic_bool stop = false;
        uint64_t index = 0;
        Rq__Query *q = query_of(&(const asked) { .sql = {
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10000) SELECT x FROM c", "SELECT count(*) FROM t" } });
        assert_int_equal(db_reader_run(r, q, &stop, meddle, &m, &index), DB_READ_DONE);
        assert_true(m.done);
        assert_int_equal(index, 2);
        char rest[256];
        rq_bytes json = db_reader_json(r);
        size_t n = json.size < sizeof rest - 1 ? json.size : sizeof rest - 1;
        memcpy(rest, json.data + json.size - n, n);
        rest[n] = '\0';
        assert_non_null(strstr(rest, "[[2]]"));
        query_free(q);
        assert_reads(r, "{\"results\":[{\"columns\":[\"count(*)\"],\"types\":[\"integer\"],\"values\":[[0]]}]", .sql = { "SELECT count(*) FROM t" });
        (void) db_reader_free(r);
}

/* --- the pool ------------------------------------------------------------------- */

typedef struct pooled {
        rq_loop *loop;
        rq_wake wake;
        read_pool *pool;
        uint64_t bytes, largest;
        uint32_t pieces, ended;
        read_event_kind last_kind;
} pooled;

static void on_events(void *arg) {
        pooled *p = arg;
        for (read_event *e = read_pool_take(p->pool), *next; e != NULL; e = next) {
                next = e->next;
                p->pieces += e->kind == READ_PIECE;
                if (e->kind == READ_PIECE || e->kind == READ_LAST) {
                        p->bytes += e->size;
                        if (e->size > p->largest)
                                p->largest = e->size;
                }
                if (e->kind != READ_PIECE) {
                        p->ended++;
                        p->last_kind = e->kind;
                }
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

static void turn(pooled *p, uint64_t ms) {
        uint64_t end_us = rq_clock_mono_us() + ms * 1000;
        do {
                (void) event_base_loop(rq_loop_base(p->loop), EVLOOP_NONBLOCK);
                (void) read_pool_tend(p->pool);
                (void) usleep(200);
        } while (rq_clock_mono_us() < end_us);
}

#define TURN_UNTIL(p, condition)                                \
        do {                                                    \
                for (int i_ = 0; i_ < 10000 && !(condition); i_++) \
                        turn(p, 1);                             \
                assert_true(condition);                         \
        } while (0)

#define MANY_ROWS "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 200000) SELECT x FROM c"

static void test_pieces_flow_only_with_credit(void **state) {
        pooled p;
        Rq__Query *q = query_of(&(const asked) { .sql = { MANY_ROWS } });
        read_job job = { .query = q, .credit = 100000 };
        pooled_open(&p, *state, 2);
        assert_int_equal(read_pool_submit(p.pool, &job, NULL), RQ_OK);
        TURN_UNTIL(&p, p.bytes == 100000);
        turn(&p, 50);
        assert_int_equal(p.bytes, 100000);
        read_pool_credit(p.pool, &job, 10);
        TURN_UNTIL(&p, p.bytes == 100010);
        read_pool_credit(p.pool, &job, UINT64_MAX);
        TURN_UNTIL(&p, p.ended == 1);
        assert_int_equal(p.last_kind, READ_LAST);
        assert_true(p.bytes > 1000000);
        assert_true(p.largest <= READ_PIECE_BYTES_MAX);
        pooled_close(&p);
        query_free(q);
}

static void test_one_large_value_comes_in_pieces(void **state) {
        pooled p;
        Rq__Query *q = query_of(&(const asked) { .sql = { "SELECT printf('%.*c', 1000000, 'x')" } });
        read_job job = { .query = q, .credit = UINT64_MAX };
        pooled_open(&p, *state, 1);
        assert_int_equal(read_pool_submit(p.pool, &job, NULL), RQ_OK);
        TURN_UNTIL(&p, p.ended == 1);
        assert_true(p.bytes > 1000000);
        assert_true(p.largest <= READ_PIECE_BYTES_MAX);
        pooled_close(&p);
        query_free(q);
}

static void test_cancel_ends_a_statement_and_a_wait_for_credit(void **state) {
        pooled p;
        Rq__Query *endless = query_of(&(const asked) { .sql = { FOR_EVER } });
        Rq__Query *rows = query_of(&(const asked) { .sql = { MANY_ROWS } });
        read_job jobs[] = { { .query = endless, .credit = 1 }, { .query = rows, .credit = 1 } };
        pooled_open(&p, *state, 1);
        for (uint32_t i = 0; i < 2; i++) {
                assert_int_equal(read_pool_submit(p.pool, &jobs[i], NULL), RQ_OK);
                turn(&p, 30);
                assert_int_equal(p.ended, i);
                assert_false(read_pool_cancel(p.pool, &jobs[i]));
                TURN_UNTIL(&p, p.ended == i + 1);
                assert_int_equal(p.last_kind, READ_STOPPED);
        }
        pooled_close(&p);
        query_free(endless);
        query_free(rows);
}

static bool runs(pooled *p) {
        read_pool_stats stats;
        read_pool_stats_get(p->pool, &stats);
        return stats.requests > 0;
}

static void test_a_queued_job_is_cancelled_at_once(void **state) {
        pooled p;
        Rq__Query *endless = query_of(&(const asked) { .sql = { FOR_EVER } });
        Rq__Query *one = query_of(&(const asked) { .sql = { "SELECT 1" } });
        read_job running = { .query = endless, .credit = 1 }, first = { .query = one, .credit = 1000 },
                 second = { .query = one, .credit = 1000 }, third = { .query = one, .credit = 1000 };
        pooled_open(&p, *state, 1);
        assert_int_equal(read_pool_submit(p.pool, &running, NULL), RQ_OK);
        TURN_UNTIL(&p, runs(&p)); /* a thread that has just begun takes it from the queue */
        assert_int_equal(read_pool_submit(p.pool, &first, NULL), RQ_OK);
        assert_int_equal(read_pool_submit(p.pool, &second, NULL), RQ_OK);
        assert_int_equal(read_pool_submit(p.pool, &third, NULL), RQ_OK);
        assert_true(read_pool_cancel(p.pool, &second));
        assert_true(read_pool_cancel(p.pool, &third));
        assert_false(read_pool_cancel(p.pool, &running));
        TURN_UNTIL(&p, p.ended == 2);
        turn(&p, 20);
        assert_int_equal(p.ended, 2);
        assert_int_equal(p.last_kind, READ_LAST);
        pooled_close(&p);
        query_free(endless);
        query_free(one);
}

static void test_threads_are_added_when_all_are_held(void **state) {
        enum { HELD = 4 };
        pooled p;
        Rq__Query *rows = query_of(&(const asked) { .sql = { MANY_ROWS } });
        Rq__Query *one = query_of(&(const asked) { .sql = { "SELECT 1" } });
        read_job held[HELD], quick = { .query = one, .credit = 1000 };
        read_pool_stats stats;
        pooled_open(&p, *state, HELD + 1);
        for (int i = 0; i < HELD; i++) {
                held[i] = (read_job) { .query = rows, .credit = 1 };
                assert_int_equal(read_pool_submit(p.pool, &held[i], NULL), RQ_OK);
        }
        assert_int_equal(read_pool_submit(p.pool, &quick, NULL), RQ_OK);
        TURN_UNTIL(&p, p.ended == 1);
        assert_int_equal(p.last_kind, READ_LAST);
        read_pool_stats_get(p.pool, &stats);
        assert_int_equal(stats.threads, HELD + 1);
        pooled_close(&p); /* ends those that wait for credit */
        query_free(rows);
        query_free(one);
}

/* Readers beside a writer that commits all the time: each request sees one
 * state, and at least the index that was applied when it began. */
static void test_reads_beside_commits_are_consistent(void **state) {
        bench *b = *state;
        pooled p;
        entry(b, "CREATE TABLE pair (a INTEGER, b INTEGER)");
        entry(b, "INSERT INTO pair VALUES (0, 0)");
        assert_int_equal(run_queued(b, 0), RQ_OK);
        Rq__Query *q = query_of(&(const asked) { .sql = { "SELECT a - b FROM pair", "SELECT (SELECT a FROM pair) - (SELECT b FROM pair)" } });
        pooled_open(&p, b, 3);
        for (int i = 0; i < 200; i++) {
                read_job jobs[3];
                uint32_t before = p.ended;
                uint64_t bytes = p.bytes;
                for (int k = 0; k < 3; k++) {
                        jobs[k] = (read_job) { .query = q, .credit = 100000 };
                        assert_int_equal(read_pool_submit(p.pool, &jobs[k], NULL), RQ_OK);
                }
                transaction(b, "UPDATE pair SET a = a + 1", "UPDATE pair SET b = b + 1");
                assert_int_equal(run_queued(b, 0), RQ_OK);
                apply_output_done(&b->out);
                while (p.ended < before + 3)
                        (void) event_base_loop(rq_loop_base(p.loop), EVLOOP_ONCE);
                assert_int_equal(p.last_kind, READ_LAST);
                /* Twice [[0]]: all answers are equally long. */
                assert_int_equal(p.bytes - bytes, 3 * strlen("{\"results\":[{\"columns\":[\"a - b\"],\"types\":[\"integer\"],\"values\":[[0]]},"
                                 "{\"columns\":[\"(SELECT a FROM pair) - (SELECT b FROM pair)\"],\"types\":[\"integer\"],\"values\":[[0]]}]"));
        }
        pooled_close(&p);
        query_free(q);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_rows_and_the_index_they_were_seen_at, setup, teardown),
                cmocka_unit_test_setup_teardown(test_each_text_has_its_result_and_errors_are_its_own, setup, teardown),
                cmocka_unit_test_setup_teardown(test_of_several_statements_the_last_rows_are_answered, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_journal_mode_can_be_asked, setup, teardown),
                cmocka_unit_test_setup_teardown(test_functions_that_nothing_interrupts_are_linear, setup, teardown),
                cmocka_unit_test_setup_teardown(test_changes_are_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_client_cannot_hold_or_end_the_transaction, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_request_that_writes_needs_the_log_and_runs_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_disallowed_pragma_refuses_the_whole_request, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_deadline_ends_the_statement_and_each_that_follows, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_request_sees_one_state_of_the_database, setup, teardown),
                cmocka_unit_test_setup_teardown(test_pieces_flow_only_with_credit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_one_large_value_comes_in_pieces, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cancel_ends_a_statement_and_a_wait_for_credit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_queued_job_is_cancelled_at_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_threads_are_added_when_all_are_held, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reads_beside_commits_are_consistent, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
