/* The small parts of core/: records in memory, proposals, reads, stream,
 * compaction. */
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "core/compaction.h"
#include "core/entries.h"
#include "core/proposals.h"
#include "core/reads.h"
#include "core/stream.h"

static void accept(entries *e) {
        record_header h = { .kind = RECORD_SQL, .index = entries_last(e) + 1, .term = 1 };
        entries_accept(e, &h);
}

static void test_entries_lie_behind_each_other(void **state) {
        entries *e = entries_new(10);
        raft_index last;
        (void) state;
        for (int i = 0; i < 5; i++)
                assert_int_equal(entries_stage(e, rq_bytes_text("abc")), RQ_OK);
        assert_int_equal(entries_staged(e), 5);
        accept(e);
        accept(e);
        accept(e);
        entries_unstage(e);
        assert_int_equal(entries_last(e), 13);
        rq_bytes all = entries_piece(e, 11, 13, SIZE_MAX, &last);
        assert_int_equal(last, 13);
        assert_int_equal(all.size, 3 * (RECORD_HEADER_BYTES + 3));
        rq_bytes some = entries_piece(e, 12, 13, RECORD_HEADER_BYTES + 5, &last);
        assert_int_equal(last, 12);
        record_header header;
        rq_bytes body;
        assert_int_equal(record_decode(some, &header, &body), RQ_OK);
        assert_int_equal(header.index, 12);
        assert_memory_equal(body.data, "abc", 3);

        /* A new suffix from 12 on. */
        entries_truncate(e, 12);
        assert_int_equal(entries_last(e), 11);
        assert_int_equal(entries_stage(e, rq_bytes_text("wxyz")), RQ_OK);
        accept(e);
        (void) entries_piece(e, 12, 12, SIZE_MAX, &last);
        entries_truncate(e, 5);
        assert_int_equal(entries_last(e), 4);
        assert_int_equal(entries_first(e), 5);
        assert_int_equal(entries_bytes(e), 0);
        e = entries_free(e);
}

static void test_entries_are_bounded_but_keep_what_is_not_durable(void **state) {
        entries *e = entries_new(0);
        uint8_t *big = calloc(1, 1024 * 1024);
        (void) state;
        for (uint64_t i = 1; i <= 64; i++) {
                assert_int_equal(entries_stage(e, rq_bytes_of(big, 1024 * 1024)), RQ_OK);
                accept(e);
                entries_trim(e, 0);
        }
        assert_int_equal(entries_first(e), 1);
        entries_trim(e, 10);
        assert_int_equal(entries_first(e), 11);
        entries_trim(e, 64);
        assert_true(entries_bytes(e) <= ENTRIES_BYTES && entries_bytes(e) > ENTRIES_BYTES / 2);
        for (uint64_t i = 65; i < 200000; i++) { /* many small ones: the count is bounded, too */
                assert_int_equal(entries_stage(e, rq_bytes_text("x")), RQ_OK);
                accept(e);
                entries_trim(e, i);
        }
        assert_true(entries_last(e) - entries_first(e) <= ENTRIES_COUNT_MAX / 2);
        rq_err r = RQ_OK;
        uint32_t staged = 0;
        for (; r >= 0; staged++)
                r = entries_stage(e, rq_bytes_text("x"));
        assert_int_equal(r, RQ_EFULL);
        entries_unstage(e);
        assert_int_equal(entries_staged(e), 0);
        free(big);
        e = entries_free(e);
}

static const answer *only(const answers *list) {
        assert_int_equal(list->count, 1);
        return &list->v[0];
}

static request_origin from(uint64_t id) { return (request_origin) { .gateway = 1, .request_id = id }; }

static void test_proposals_end_in_one_way_each(void **state) {
        raft_trail trail;
        raft_run runs[8];
        uint64_t tail[64];
        answers out = {0};
        proposals *p = proposals_new();
        (void) state;
        raft_trail_init(&trail, 0, 0, tail, 64);
        (void) raft_trail_give_runs(&trail, runs, 8);
        for (int i = 0; i < 5; i++)
                assert_int_equal(raft_trail_append(&trail, 1, 1, 0), RQ_OK);
        for (int i = 0; i < 5; i++)
                assert_int_equal(raft_trail_append(&trail, 3, 1, 0), RQ_OK);

        proposals_add(p, 2, 1, from(2), UINT64_MAX);
        proposals_add(p, 4, 1, from(4), 1000);
        proposals_add(p, 6, 1, from(6), UINT64_MAX); /* has term 3 in the log: overwritten */
        proposals_add(p, 8, 3, from(8), 2000);
        proposals_add(p, 9, 3, from(9), 3000);
        assert_int_equal(proposals_deadline_us(p), 1000);

        proposals_committed(p, 5, &trail, &out);
        assert_int_equal(out.count, 0);
        proposals_committed(p, 7, &trail, &out);
        assert_int_equal(only(&out)->outcome, OUTCOME_DROPPED);
        assert_int_equal(only(&out)->to.request_id, 6);
        out.count = 0;

        proposals_expire(p, 2500, &out); /* 4 is committed: its result is the store's */
        assert_int_equal(only(&out)->outcome, OUTCOME_UNKNOWN);
        assert_int_equal(only(&out)->reason, REASON_TIMEOUT);
        assert_int_equal(only(&out)->to.request_id, 8);
        out.count = 0;
        assert_int_equal(proposals_deadline_us(p), 3000);

        proposals_applied(p, 2);
        assert_int_equal(proposals_count(p), 4);
        proposals_results_lost(p, 5, &out);
        assert_int_equal(only(&out)->outcome, OUTCOME_COMMITTED);
        assert_int_equal(only(&out)->to.request_id, 4);
        assert_int_equal(only(&out)->index, 4);
        out.count = 0;

        proposals_give_up(p, &out, "gone");
        assert_int_equal(only(&out)->to.request_id, 9);
        assert_int_equal(only(&out)->outcome, OUTCOME_UNKNOWN);
        out.count = 0;
        proposals_give_up(p, &out, "gone");
        assert_int_equal(out.count, 0);

        proposals_add(p, 10, 3, from(10), 5);
        proposals_gateway_gone(p, 1);
        proposals_expire(p, 10000, &out);
        assert_int_equal(out.count, 0);
        answers_done(&out);
        p = proposals_free(p);
}

static void test_reads_wait_for_round_or_barrier(void **state) {
        reads r;
        answers out = {0};
        (void) state;
        reads_init(&r);
        assert_int_equal(reads_add(&r, from(1), false, 500, 0, rq_bytes_text("q1")), RQ_OK);
        assert_int_equal(reads_add(&r, from(2), true, UINT64_MAX, 0, rq_bytes_text("q2")), RQ_OK);
        assert_int_equal(reads_add(&r, from(3), false, UINT64_MAX, 90, rq_bytes_text("q3")), RQ_OK);
        assert_int_equal(r.fresh_weak_count, 2);
        assert_int_equal(r.fresh_strong_count, 1);
        reads_assign(&r, false, 7);
        reads_assign(&r, true, 42);
        assert_int_equal(r.fresh_weak_count + r.fresh_strong_count, 0);
        reads_round_ready(&r, 6, 50);
        assert_null(reads_next_ready(&r));
        reads_round_ready(&r, 7, 50);
        assert_int_equal(reads_next_ready(&r)->from.request_id, 1);
        assert_int_equal(reads_next_ready(&r)->index, 50);
        reads_remove(&r, reads_next_ready(&r));
        assert_int_equal(reads_next_ready(&r)->index, 90); /* min_index */
        reads_remove(&r, reads_next_ready(&r));
        reads_committed(&r, 41);
        assert_null(reads_next_ready(&r));
        reads_committed(&r, 43);
        assert_int_equal(reads_next_ready(&r)->index, 42);
        reads_remove(&r, reads_next_ready(&r));
        assert_int_equal(r.count, 0);
        assert_int_equal(r.bytes, 0);

        assert_int_equal(reads_add(&r, from(4), false, 600, 0, rq_bytes_text("q")), RQ_OK);
        reads_expire(&r, 599, &out);
        assert_int_equal(out.count, 0);
        reads_expire(&r, 600, &out);
        assert_int_equal(only(&out)->outcome, OUTCOME_REFUSED);
        assert_int_equal(only(&out)->reason, REASON_TIMEOUT);
        assert_int_equal(r.fresh_weak_count, 0);
        out.count = 0;
        assert_int_equal(reads_add(&r, from(5), true, 900, 0, rq_bytes_text("q")), RQ_OK);
        reads_refuse_fresh(&r, true, &out, REASON_OVERLOADED, "x");
        assert_int_equal(only(&out)->to.request_id, 5);
        assert_int_equal(reads_add(&r, from(6), true, 900, 0, rq_bytes_text("q")), RQ_OK);
        reads_gateway_gone(&r, 1);
        assert_int_equal(r.count, 0);
        assert_int_equal(reads_add(&r, from(6), true, 900, 0, rq_bytes_text("q")), RQ_OK);
        reads_done(&r);
        answers_done(&out);
}

static void test_stream_keeps_its_window(void **state) {
        static stream s;
        raft_trail trail;
        raft_run runs[8];
        uint64_t tail[64], bytes;
        raft_index first, last;
        const rq_uuid id = { .bytes = "stream" }, cluster = { .bytes = "cluster" }, other = { .bytes = "other" };
        (void) state;
        raft_trail_init(&trail, 10, 1, tail, 64);
        (void) raft_trail_give_runs(&trail, runs, 8);
        assert_int_equal(raft_trail_restore(&trail, 2, 100000, 0), RQ_OK);

        stream_fetch f = { .from = 21, .applied_term = 1, .checkpoint = 15 };
        assert_int_equal(stream_open(&s, &f, &id, &trail, &cluster), RQ_EDIVERGED); /* 20 has term 2 */
        f = (stream_fetch) { .from = 5, .applied_term = 1 };
        assert_int_equal(stream_open(&s, &f, &id, &trail, &cluster), RQ_EDIVERGED); /* below the base */
        f = (stream_fetch) { .from = 100002, .applied_term = 2 };
        assert_int_equal(stream_open(&s, &f, &id, &trail, &cluster), RQ_EDIVERGED); /* ahead of the log */
        f = (stream_fetch) { .from = 11, .applied_term = 1, .database_id = other };
        assert_int_equal(stream_open(&s, &f, &id, &trail, &cluster), RQ_EDIVERGED);
        assert_false(stream_wants(&s, 100, true, &first, &last, &bytes));
        f = (stream_fetch) { .from = 11, .applied_term = 1, .database_id = cluster };
        assert_int_equal(stream_open(&s, &f, &id, &trail, &cluster), RQ_OK);

        assert_false(stream_wants(&s, 100, false, &first, &last, &bytes)); /* no commit index is known */
        assert_true(stream_wants(&s, 10, true, &first, &last, &bytes));    /* nothing but the commit index */
        assert_true(first == 11 && last == 10);
        stream_sent(&s, 0, 0);
        assert_false(stream_wants(&s, 10, true, &first, &last, &bytes));
        assert_true(stream_wants(&s, 30, true, &first, &last, &bytes));
        assert_true(first == 11 && last == 30 && bytes == STREAM_BATCH_BYTES);
        for (int i = 0; i < 16; i++) {
                assert_true(stream_wants(&s, 90000, true, &first, &last, &bytes));
                assert_true(stream_fits(&s, STREAM_BATCH_BYTES));
                stream_sent(&s, 10, STREAM_BATCH_BYTES);
        }
        assert_false(stream_wants(&s, 90000, true, &first, &last, &bytes)); /* the window is full */
        assert_int_equal(stream_acknowledged(&s, 25, 0), RQ_OK);            /* half a batch more than one */
        assert_true(stream_wants(&s, 90000, true, &first, &last, &bytes));
        assert_int_equal(bytes, STREAM_BATCH_BYTES);
        assert_false(stream_fits(&s, 2 * STREAM_BATCH_BYTES)); /* a large record waits for room */
        assert_false(stream_wants(&s, 90000, true, &first, &last, &bytes));
        assert_int_equal(stream_acknowledged(&s, 30, 25), RQ_OK);
        assert_true(stream_wants(&s, 90000, true, &first, &last, &bytes));
        assert_int_equal(s.checkpoint, 25);
        assert_int_equal(stream_acknowledged(&s, 29, 25), RQ_EPROTO);    /* back */
        assert_int_equal(stream_acknowledged(&s, 171, 25), RQ_EPROTO);   /* never sent */
        assert_int_equal(stream_acknowledged(&s, 170, 171), RQ_EPROTO);
        assert_int_equal(stream_acknowledged(&s, 170, 100), RQ_OK);
        assert_int_equal(s.in_flight_bytes, 0);
        assert_true(stream_fits(&s, UINT64_C(64) << 20)); /* alone, any record goes */
        for (int i = 0; i < 3 * STREAM_BATCHES_MAX; i++)
                stream_sent(&s, 1, 1);
        assert_int_equal(stream_acknowledged(&s, s.next - 1, 100), RQ_OK);
        assert_int_equal(s.in_flight_bytes, 0);
        stream_close(&s);
        assert_int_equal(stream_acknowledged(&s, 99999, 0), RQ_OK); /* of a stream that is over */
}

static void test_compaction_keeps_what_is_needed(void **state) {
        const uint64_t lasts[] = { 10, 20, 30, 40, 50 };
        (void) state;
        assert_int_equal(compaction_count(lasts, 5, 0), 0);
        assert_int_equal(compaction_count(lasts, 5, 29), 0);
        assert_int_equal(compaction_count(lasts, 5, 30), 1);
        assert_int_equal(compaction_count(lasts, 5, 39), 1);
        assert_int_equal(compaction_count(lasts, 5, 1000), 2);
        assert_int_equal(compaction_count(lasts, 1, 1000), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_entries_lie_behind_each_other),
                cmocka_unit_test(test_entries_are_bounded_but_keep_what_is_not_durable),
                cmocka_unit_test(test_proposals_end_in_one_way_each),
                cmocka_unit_test(test_reads_wait_for_round_or_barrier),
                cmocka_unit_test(test_stream_keeps_its_window),
                cmocka_unit_test(test_compaction_keeps_what_is_needed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
