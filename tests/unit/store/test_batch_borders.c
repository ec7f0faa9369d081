/* Hazards 1: an outcome may not depend on where batches begin and end, nor on
 * restarts between entries. Random logs from a seed, applied with batches of 1,
 * of 7, of all, and with restarts: content, answers and running hash must be
 * the same. RQ_SEED and RQ_WORLDS choose others. */
#include "entries.h"

#include <inttypes.h>

#include "base/cleanup.h"

#include "base/rng.h"
#include "log/log.h"

enum { ENTRIES = 60, STATEMENTS_MAX = 5 };

static const char *const schema[] = {
        "CREATE TABLE t(id INTEGER PRIMARY KEY, k UNIQUE, v DEFAULT (random()), at DEFAULT CURRENT_TIMESTAMP)",
        "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, k UNIQUE ON CONFLICT ROLLBACK, v)",
        "CREATE TABLE p(id INTEGER PRIMARY KEY)",
        "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE VIRTUAL TABLE f USING fts5(body)",
        "CREATE TABLE log(n, ch, li)",
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.id, changes(), last_insert_rowid()); END",
        "CREATE TRIGGER h BEFORE DELETE ON t WHEN old.k % 7 = 3 BEGIN SELECT RAISE(ROLLBACK, 'seven'); END",
};

/* %d: a small random number. */
static const char *const shapes[] = {
        "INSERT INTO t(k) VALUES(%d)",
        "INSERT OR ROLLBACK INTO t(k) VALUES(%d)",
        "INSERT OR FAIL INTO t(k) SELECT value FROM json_each('[%d, 1, 2, 3]')",
        "INSERT OR REPLACE INTO t(k) VALUES(%d) RETURNING id, v",
        "INSERT INTO t(k, v) VALUES(%d, 'u') ON CONFLICT DO UPDATE SET v = v || 'x'",
        "INSERT INTO a(k, v) VALUES(%d, randomblob(5))",
        "UPDATE t SET v = random(), k = k + 1 WHERE id %% 3 = %d %% 3",
        "UPDATE OR ROLLBACK t SET k = %d",
        "DELETE FROM t WHERE k = %d",
        "DELETE FROM t WHERE id > %d",
        "INSERT INTO c(p) VALUES(%d)",
        "INSERT OR IGNORE INTO p VALUES(%d)",
        "DELETE FROM p WHERE id = %d",
        "INSERT INTO f VALUES('word%d common text')",
        "UPDATE f SET body = body || ' more' WHERE rowid = %d",
        "DELETE FROM f WHERE f MATCH 'word%d'",
        "INSERT INTO log SELECT count(*), changes(), total_changes() + %d FROM t",
        "INSERT INTO log WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < %d * 4000) SELECT n, 0, 0 FROM r WHERE n %% 50000 = 0",
        "CREATE TABLE IF NOT EXISTS x%d(v)",
        "DROP TABLE IF EXISTS x%d",
        "INSERT INTO x%d VALUES(datetime('now'))",
        "CREATE INDEX IF NOT EXISTS i%d ON t(v, at)",
        "ANALYZE",
        "SELECT nope%d FROM t",
        "SELECT id, k, v FROM t ORDER BY id LIMIT %d",
        "INSERT INTO t(id, k) VALUES(9223372036854775807, %d)",
        "INSERT INTO t(k) SELECT k + 1000 FROM t ORDER BY random() LIMIT %d; INSERT INTO p VALUES(%d)",
        "BEGIN",
        "BEGIN",
        "COMMIT",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "SAVEPOINT a; INSERT INTO t(k) VALUES(%d)",
        "ROLLBACK TO a",
        "RELEASE a",
        "ANALYZE; INSERT INTO nope VALUES(%d)",
        "UPDATE f_data SET block = x'00' WHERE rowid = %d",
        "INSERT INTO log SELECT rowid, %d, 0 FROM t WHERE k > 3 AND v > 0 LIMIT 4",
        "ALTER TABLE log ADD COLUMN c%d",
};

static void make_log(bench *b, uint64_t seed) {
        rq_rng rng = rq_rng_seeded(seed);
        char texts[STATEMENTS_MAX][256];
        b->step_budget = 150000;
        for (size_t i = 0; i < sizeof schema / sizeof schema[0]; i++)
                entry(b, schema[i]);
        for (int i = 0; i < ENTRIES; i++) {
                request q = { .transaction = rq_rng_below(&rng, 3) == 0, .request_mode = rq_rng_below(&rng, 2) == 0 };
                uint64_t count = 1 + rq_rng_below(&rng, STATEMENTS_MAX);
                for (uint64_t k = 0; k < count; k++) {
                        int number = (int) rq_rng_below(&rng, 25);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                        (void) snprintf(texts[k], sizeof texts[k], shapes[rq_rng_below(&rng, sizeof shapes / sizeof shapes[0])], number, number);
#pragma GCC diagnostic pop
                        q.sql[k] = texts[k];
                }
                /* Now and then several clients' requests in one entry. */
                for (uint32_t left = rq_rng_below(&rng, 4) == 0 ? (uint32_t) count : 0, g = 0; left > 0; g++) {
                        uint32_t some = g == 3 ? left : 1 + (uint32_t) rq_rng_below(&rng, left);
                        q.groups[g].statements = some;
                        q.groups[g].transaction = rq_rng_below(&rng, 2) == 0;
                        left -= some;
                }
                if (rq_rng_below(&rng, 5) == 0) /* so that more entries are marked than the first */
                        b->clock_us += 3 * 1000 * 1000;
                entry_of(b, &q);
        }
}

typedef struct end { char *content, *answers; uint64_t hash; outcome_marks marks; } end;

/* restarts: close (cleanly) and open again between batches, now and then. */
static end apply_log(uint64_t seed, size_t batch, bool restarts, bool foreign_keys) {
        bench *b = bench_new();
        b->foreign_keys = foreign_keys;
        bench_open(b);
        make_log(b, seed);

        rq_rng rng = rq_rng_seeded(seed ^ 0xabcdef);
        rq_buf text = {0};
        outcome_marks marks = {0};
        rq_buf all = RQ_TAKE(b->records, (rq_buf) {0});
        for (size_t at = 0; at < all.size;) {
                /* `batch` entries, or all of them */
                size_t to = at;
                for (size_t n = 0; to < all.size && (batch == 0 || n < batch); n++) {
                        record_header header;
                        assert_int_equal(record_header_decode(all.data + to, &header), RQ_OK);
                        to += RECORD_HEADER_BYTES + header.body_bytes;
                }
                assert_int_equal(rq_buf_append(&b->records, all.data + at, to - at), RQ_OK);
                assert_int_equal(run_queued(b, 0), RQ_OK);
                for (size_t i = 0; i < b->out.marks.count; i++)
                        outcome_marks_add(&marks, b->out.marks.v[i]);
                char *got = answers(b);
                assert_int_equal(rq_buf_append_text(&text, got), RQ_OK);
                free(got);
                at = to;
                if (restarts && rq_rng_below(&rng, 4) == 0) {
                        bench_close(b);
                        bench_open(b);
                }
        }
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        end e = { content(b), (char *) text.data, applier_state(b->applier)->outcome_hash, marks };
        rq_buf_done(&all);
        bench_free(b);
        return e;
}

static void first_difference(const char *what, const char *got, const char *expected) {
        size_t i = 0, line = 0;
        for (; got[i] == expected[i] && got[i] != '\0'; i++)
                if (got[i] == '\n')
                        line = i + 1;
        if (got[i] != expected[i])
                print_error("%s: %.400s\n expected: %.400s\n", what, got + line, expected + line);
}

static void test_outcomes_do_not_depend_on_batches_or_restarts(void **state) {
        (void) state;
        uint64_t first = getenv("RQ_SEED") != NULL ? strtoull(getenv("RQ_SEED"), NULL, 10) : 1;
        uint64_t worlds = getenv("RQ_WORLDS") != NULL ? strtoull(getenv("RQ_WORLDS"), NULL, 10) : 12;
        static const struct { size_t batch; bool restarts; const char *name; } ways[] = {
                { 0, false, "all at once" }, { 1, false, "one by one" }, { 7, false, "seven at a time" },
                { 1, true, "one by one with restarts" }, { 7, true, "seven with restarts" },
        };
        for (uint64_t seed = first; seed < first + worlds; seed++) {
                end expected = {0};
                for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
                        end got = apply_log(seed, ways[i].batch, ways[i].restarts, seed % 2 == 0);
                        if (i == 0) {
                                expected = got;
                                assert_true(got.marks.count > 3);
                                continue;
                        }
                        if (strcmp(got.content, expected.content) != 0 || strcmp(got.answers, expected.answers) != 0 ||
                            got.hash != expected.hash || got.marks.count != expected.marks.count ||
                            memcmp(got.marks.v, expected.marks.v, got.marks.count * sizeof got.marks.v[0]) != 0) {
                                first_difference("content", got.content, expected.content);
                                first_difference("answers", got.answers, expected.answers);
                                fail_msg("seed %" PRIu64 ": %s differs from all at once", seed, ways[i].name);
                        }
                        free(got.content);
                        free(got.answers);
                }
                free(expected.content);
                free(expected.answers);
        }
}

int main(void) {
        (void) setenv("TZ", "UTC", 1);
        rq_log_open("test_batch_borders", RQ_LOG_PLAIN, LOG_ERR);
        files_prepare_process();
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_outcomes_do_not_depend_on_batches_or_restarts) };
        return cmocka_run_group_tests_name("batch borders", tests, NULL, NULL);
}
