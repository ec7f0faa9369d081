/* Against a plain array of terms and sizes, with random steps. */
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "raft/raft_trail.h"

enum { MOST = 4000, TAIL = 64, RUNS = 32 };

static void check(const raft_trail *t, const raft_term *terms, const uint32_t *sizes, raft_index commit) {
        for (raft_index i = 0; i <= t->last + 2; i++) {
                raft_term want = i < t->base_index || i > t->last ? 0 : terms[i];
                assert_int_equal(raft_trail_term_at(t, i), want);
        }
        uint64_t bytes = 0;
        for (raft_index i = commit + 1; i <= t->last; i++)
                bytes += sizes[i];
        if (commit >= t->lump_last)
                assert_int_equal(raft_trail_bytes_behind(t, commit), bytes);
        assert_int_equal(raft_trail_bytes_behind(t, t->last), 0);
}

static void test_against_an_array(void **state) {
        (void) state;
        for (uint64_t seed = 1; seed <= 20; seed++) {
                rq_rng rng = rq_rng_seeded(seed);
                static raft_term terms[MOST + 8];
                static uint32_t sizes[MOST + 8];
                uint64_t tail[TAIL];
                raft_run runs[RUNS], other[RUNS];
                raft_trail t;
                raft_term term = 1;
                raft_index commit = 0;
                memset(terms, 0, sizeof terms);
                raft_trail_init(&t, 0, 0, tail, TAIL);
                (void) raft_trail_give_runs(&t, runs, RUNS);
                for (int n = 0; n < 6000 && t.last < MOST; n++) {
                        uint64_t what = rq_rng_below(&rng, 20);
                        if (what < 12) {
                                uint32_t size = (uint32_t) rq_rng_below(&rng, 1000);
                                rq_err r = raft_trail_append(&t, term, size, commit);
                                if (r < 0) {
                                        assert_true(t.last - commit >= TAIL - 1 || t.run_count == RUNS);
                                        continue;
                                }
                                terms[t.last] = term;
                                sizes[t.last] = size;
                        } else if (what < 16) {
                                commit += rq_rng_below(&rng, t.last - commit + 1);
                        } else if (what == 16) {
                                term += rq_rng_below(&rng, 3);
                        } else if (what == 17 && commit > t.base_index) {
                                raft_index to = t.base_index + 1 + rq_rng_below(&rng, commit - t.base_index);
                                raft_trail_compact(&t, to);
                        } else if (what == 19 && t.last > commit) {
                                raft_trail_truncate(&t, commit + rq_rng_below(&rng, t.last - commit + 1));
                        } else if (what == 18) {
                                (void) raft_trail_give_runs(&t, t.runs == runs ? other : runs, RUNS);
                        }
                        if (n % 50 == 0)
                                check(&t, terms, sizes, commit);
                }
                check(&t, terms, sizes, commit);
        }
}

static void test_recovered_entries_are_one_lump(void **state) {
        uint64_t tail[4];
        raft_run runs[4];
        raft_trail t;
        (void) state;
        raft_trail_init(&t, 10, 2, tail, 4);
        (void) raft_trail_give_runs(&t, runs, 4);
        assert_int_equal(raft_trail_restore(&t, 1, 11, 5), RQ_EINVAL); /* the term falls */
        assert_int_equal(raft_trail_restore(&t, 2, 10, 5), RQ_EINVAL); /* no entry */
        assert_int_equal(raft_trail_restore(&t, 2, 500, 5), RQ_OK);
        assert_int_equal(raft_trail_restore(&t, 5, 600, 70), RQ_OK);
        assert_int_equal(raft_trail_term_at(&t, 10), 2);
        assert_int_equal(raft_trail_term_at(&t, 500), 2);
        assert_int_equal(raft_trail_term_at(&t, 501), 5);
        assert_int_equal(raft_trail_append(&t, 6, 100, 10), RQ_OK);
        assert_int_equal(raft_trail_bytes_behind(&t, 10), 175);
        assert_int_equal(raft_trail_bytes_behind(&t, 599), 175);
        assert_int_equal(raft_trail_bytes_behind(&t, 600), 100);
        assert_int_equal(raft_trail_bytes_behind(&t, 601), 0);
        raft_trail_compact(&t, 500);
        assert_int_equal(t.runs[0].first, 501);
        assert_int_equal(t.base_term, 2);
}

static void test_a_lump_that_is_cut_stays_accounted(void **state) {
        uint64_t tail[4];
        raft_run runs[4];
        raft_trail t;
        (void) state;
        raft_trail_init(&t, 0, 0, tail, 4);
        (void) raft_trail_give_runs(&t, runs, 4);
        assert_int_equal(raft_trail_restore(&t, 1, 10, 50), RQ_OK);
        assert_int_equal(raft_trail_append(&t, 2, 7, 3), RQ_OK);
        raft_trail_truncate(&t, 8);
        assert_int_equal(raft_trail_last_term(&t), 1);
        assert_int_equal(raft_trail_append(&t, 3, 9, 3), RQ_OK);
        assert_int_equal(raft_trail_bytes_behind(&t, 3), 59);
        assert_int_equal(raft_trail_bytes_behind(&t, 8), 9);
        raft_trail_truncate(&t, 0);
        assert_int_equal(t.run_count, 0);
        raft_trail_reset(&t, 20, 3);
        assert_int_equal(raft_trail_append(&t, 3, 9, 20), RQ_OK);
        assert_int_equal(raft_trail_bytes_behind(&t, 20), 9);
        assert_int_equal(raft_trail_term_at(&t, 20), 3);
}

/* Figure 3.6 of the thesis, its leader's log: where others can still be equal. */
static void test_where_logs_can_meet(void **state) {
        uint64_t tail[4];
        raft_run runs[8];
        raft_trail t;
        (void) state;
        raft_trail_init(&t, 0, 0, tail, 4);
        (void) raft_trail_give_runs(&t, runs, 8);
        assert_int_equal(raft_trail_restore(&t, 1, 3, 0), RQ_OK);
        assert_int_equal(raft_trail_restore(&t, 4, 5, 0), RQ_OK);
        assert_int_equal(raft_trail_restore(&t, 5, 7, 0), RQ_OK);
        assert_int_equal(raft_trail_restore(&t, 6, 10, 0), RQ_OK);
        assert_int_equal(raft_trail_fit(&t, 10, 6), 10);
        assert_int_equal(raft_trail_fit(&t, 30, 7), 10);
        assert_int_equal(raft_trail_fit(&t, 10, 4), 5);
        assert_int_equal(raft_trail_fit(&t, 10, 3), 3);
        assert_int_equal(raft_trail_fit(&t, 6, 6), 6);
        assert_int_equal(raft_trail_fit(&t, 10, 0), 0);
        raft_trail_compact(&t, 4);
        assert_int_equal(raft_trail_fit(&t, 10, 4), 5);
        assert_int_equal(raft_trail_fit(&t, 10, 3), 3); /* below what is known */
        assert_int_equal(raft_trail_fit(&t, 2, 4), 2);
        assert_true(raft_trail_has_room(&t, 10, 3, 4));
        assert_false(raft_trail_has_room(&t, 10, 4, 4));
        assert_false(raft_trail_has_room(&t, 10, 3, 6));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_against_an_array),
                cmocka_unit_test(test_recovered_entries_are_one_lump),
                cmocka_unit_test(test_a_lump_that_is_cut_stays_accounted),
                cmocka_unit_test(test_where_logs_can_meet),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
