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
        entries_truncate(e, 12, 2);
        assert_int_equal(entries_last(e), 11);
        assert_int_equal(entries_stage(e, rq_bytes_text("wxyz")), RQ_OK);
        accept(e);
        (void) entries_piece(e, 12, 12, SIZE_MAX, &last);
        entries_truncate(e, 5, 3);
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

static void put(rq_buf *out, uint64_t index, uint64_t term, const char *text) {
        record_header h = { .kind = RECORD_SQL, .index = index, .term = term };
        size_t size = RECORD_HEADER_BYTES + strlen(text);
        assert_int_equal(rq_buf_reserve(out, size), RQ_OK);
        record_header_encode(out->data + out->size, &h, rq_bytes_text(text));
        memcpy(out->data + out->size + RECORD_HEADER_BYTES, text, strlen(text));
        out->size += size;
}

static void test_received_records_and_own_ones_lie_side_by_side(void **state) {
        entries *e = entries_new(0);
        rq_buf records = {0};
        uint64_t last;
        (void) state;
        put(&records, 1, 1, "a");
        put(&records, 2, 1, "bb");
        assert_int_equal(entries_reserve(e, 2, records.size), RQ_OK);
        entries_take(e, 1, rq_buf_bytes(&records));
        rq_bytes both = entries_piece(e, 1, 2, SIZE_MAX, &last);
        assert_int_equal(last, 2);
        assert_int_equal(both.size, records.size);
        assert_memory_equal(both.data, records.data, records.size);

        /* An entry of the core's own goes before what is staged. */
        assert_int_equal(entries_stage(e, rq_bytes_text("s1")), RQ_OK);
        assert_int_equal(entries_stage(e, rq_bytes_text("s2")), RQ_OK);
        assert_int_equal(entries_reserve(e, 0, RECORD_HEADER_BYTES + 3), RQ_OK);
        record_header own = { .kind = RECORD_CONFIGURATION, .index = 3, .term = 1 };
        entries_append(e, &own, rq_bytes_text("own"));
        assert_int_equal(entries_staged(e), 2);
        assert_true(rq_bytes_equal(entries_staged_body(e, 1), rq_bytes_text("s2")));
        accept(e);
        accept(e);
        const char *const bodies[] = { "a", "bb", "own", "s1", "s2" };
        for (uint64_t i = 1; i <= 5; i++) {
                record_header header;
                rq_bytes body;
                assert_int_equal(record_decode(entries_piece(e, i, i, SIZE_MAX, &last), &header, &body), RQ_OK);
                assert_true(header.index == i && rq_bytes_equal(body, rq_bytes_text(bodies[i - 1])));
        }
        rq_buf_done(&records);
        e = entries_free(e);
}

/* Under a sanitizer: what the writer still has may be read, and goes afterwards. */
static void test_replaced_entries_wait_for_the_writer(void **state) {
        entries *e = entries_new(0);
        uint8_t *big = calloc(1, 1024 * 1024);
        rq_bytes with_writer[4];
        uint64_t last, sum = 0;
        (void) state;
        assert_non_null(big);
        assert_int_equal(entries_stage(e, rq_bytes_text("old")), RQ_OK);
        accept(e);
        for (uint64_t i = 0; i < 4; i++) {
                assert_int_equal(entries_stage(e, rq_bytes_of(big, 1024 * 1024)), RQ_OK);
                accept(e);
                with_writer[i] = entries_piece(e, i + 2, i + 2, SIZE_MAX, &last);
        }
        entries_truncate(e, 2, 5);
        assert_true(entries_replaced_bytes(e) >= 4 * 1024 * 1024);
        assert_int_equal(entries_last(e), 1);
        for (int i = 0; i < 10; i++) {
                assert_int_equal(entries_stage(e, rq_bytes_text("new")), RQ_OK);
                accept(e);
        }
        entries_confirmed(e, 4); /* of before */
        entries_trim(e, 1);
        for (int i = 0; i < 4; i++)
                sum += with_writer[i].data[with_writer[i].size - 1];
        assert_int_equal(sum, 0);
        assert_true(entries_replaced_bytes(e) >= 4 * 1024 * 1024);
        entries_confirmed(e, 5);
        entries_trim(e, 1);
        assert_int_equal(entries_replaced_bytes(e), 0);
        assert_int_equal(entries_first(e), 1); /* the old one in front of the gap stays */
        rq_bytes piece = entries_piece(e, 1, 1, SIZE_MAX, &last);
        assert_memory_equal(piece.data + RECORD_HEADER_BYTES, "old", 3);
        free(big);
        e = entries_free(e);
}

static const answer *only(const answers *list) {
        assert_int_equal(list->count, 1);
        return &list->v[0];
}

static request_origin from(uint64_t id) { return (request_origin) { .gateway = 1, .request_id = id }; }

static proposal *new_proposal(proposals *p, uint64_t seed, uint64_t deadline_us) {
        const proposal what = { .from = from(seed), .deadline_us = deadline_us, .kind = RECORD_SQL };
        proposal *which;
        assert_int_equal(proposals_add(p, &what, seed, &which), RQ_OK);
        return which;
}

static void append_at(proposals *p, uint64_t seed, uint64_t deadline_us, raft_index index, raft_term term) {
        proposals_append(p, new_proposal(p, seed, deadline_us), index, term);
}

static void check_ended(answers *out, uint64_t request_id, answer_outcome outcome) {
        assert_int_equal(only(out)->to.request_id, request_id);
        assert_int_equal(only(out)->outcome, outcome);
        out->count = 0;
}

static void test_proposals_of_a_leader_end_in_one_way_each(void **state) {
        answers out = {0};
        proposals *p = proposals_new();
        (void) state;
        append_at(p, 2, UINT64_MAX, 2, 1);
        append_at(p, 4, 1000, 4, 1);
        append_at(p, 6, UINT64_MAX, 6, 1);
        append_at(p, 8, 2000, 8, 1);
        append_at(p, 9, 3000, 9, 1);
        assert_int_equal(proposals_deadline_us(p), 1000);
        proposals_commit(p, 5, 1, &out);
        assert_int_equal(out.count, 0);
        proposals_expire(p, 2500, &out); /* 4 is committed: its result is the store's */
        assert_int_equal(only(&out)->reason, REASON_TIMEOUT);
        check_ended(&out, 8, OUTCOME_UNKNOWN);
        assert_int_equal(proposals_deadline_us(p), 3000);

        proposals_truncate(p, 6); /* 6 and 9 may come back */
        assert_int_equal(out.count, 0);
        proposals_place(p, 9, 6, 3); /* another's entry with this number */
        proposals_place(p, 9, 7, 1);
        proposals_commit(p, 8, 1, &out);
        assert_int_equal(out.count, 0);
        proposals_commit(p, 10, 3, &out);
        check_ended(&out, 6, OUTCOME_DROPPED);

        assert_int_equal(proposals_count(p), 3);
        proposals_applied(p, 2);
        assert_int_equal(proposals_count(p), 2);
        proposals_results_lost(p, 5, &out);
        assert_int_equal(only(&out)->index, 4);
        check_ended(&out, 4, OUTCOME_COMMITTED);
        proposals_results_lost(p, 7, &out);
        assert_int_equal(only(&out)->index, 7);
        check_ended(&out, 9, OUTCOME_COMMITTED);
        assert_int_equal(proposals_count(p), 0);

        append_at(p, 20, UINT64_MAX, 20, 3);
        proposals_give_up(p, &out, "gone");
        check_ended(&out, 20, OUTCOME_UNKNOWN);
        append_at(p, 21, 5, 21, 3);
        proposals_gateway_gone(p, 1);
        proposals_expire(p, 10000, &out);
        assert_int_equal(out.count + proposals_count(p), 0);
        answers_done(&out);
        p = proposals_free(p);
}

static void wait_for_leader(proposals *p, uint64_t seed, uint64_t deadline_us) {
        assert_int_equal(proposals_wait(p, new_proposal(p, seed, deadline_us), rq_bytes_text("body")), RQ_OK);
}

static void test_proposals_on_their_way_to_a_leader(void **state) {
        answers out = {0};
        proposals *p = proposals_new();
        (void) state;
        wait_for_leader(p, 1, UINT64_MAX);
        wait_for_leader(p, 2, 700);
        assert_int_equal(proposals_bytes(p), 8);
        proposals_limit_waiting(p, 500);
        assert_int_equal(proposals_next_waiting(p)->seed, 1);
        proposals_sent(p, 1, 4, 0);
        proposals_sent(p, 2, 4, 0);
        assert_null(proposals_next_waiting(p));
        proposals_expire(p, 600, &out); /* the limit was for waiting */
        assert_int_equal(out.count, 0);

        proposals_refused(p, 1, 3); /* of another try */
        assert_null(proposals_next_waiting(p));
        proposals_refused(p, 1, 4);
        assert_int_equal(proposals_next_waiting(p)->seed, 1);
        assert_int_equal(proposals_next_waiting(p)->body_bytes, 4);
        proposals_limit_waiting(p, 650);
        proposals_expire(p, 650, &out);
        assert_int_equal(only(&out)->reason, REASON_NO_LEADER);
        check_ended(&out, 1, OUTCOME_REFUSED);
        proposals_expire(p, 700, &out);
        check_ended(&out, 2, OUTCOME_UNKNOWN); /* it was sent */
        assert_int_equal(proposals_bytes(p), 0);

        /* Fence 5: an entry of term 5 says nothing, one of term 6 that it won't come: the next leader gets it. */
        wait_for_leader(p, 3, UINT64_MAX);
        proposals_sent(p, 3, 5, 0);
        proposals_commit(p, 30, 5, &out);
        assert_null(proposals_next_waiting(p));
        proposals_commit(p, 31, 6, &out);
        assert_int_equal(out.count, 0);
        assert_int_equal(proposals_next_waiting(p)->seed, 3);
        assert_int_equal(proposals_next_waiting(p)->body_bytes, 4);
        proposals_refuse_waiting(p, &out, REASON_NO_LEADER, "x");
        check_ended(&out, 3, OUTCOME_REFUSED);

        /* Placed, so not refused any more, and not sent again when its place is lost. */
        wait_for_leader(p, 4, UINT64_MAX);
        proposals_sent(p, 4, 6, 0);
        proposals_place(p, 4, 32, 6);
        proposals_truncate(p, 32);
        proposals_refused(p, 4, 6);
        proposals_refuse(p, 4, 6, REASON_OVERLOADED, "x", &out);
        assert_null(proposals_next_waiting(p));
        assert_int_equal(out.count, 0);
        proposals_commit(p, 32, 7, &out);
        check_ended(&out, 4, OUTCOME_DROPPED);

        wait_for_leader(p, 5, UINT64_MAX);
        proposals_refuse_waiting(p, &out, REASON_NO_LEADER, "x");
        check_ended(&out, 5, OUTCOME_REFUSED);
        assert_int_equal(proposals_count(p), 0);
        answers_done(&out);
        p = proposals_free(p);
}

/* What was sent before one that is in the log, and isn't, never comes. */
static void test_an_overtaken_proposal_is_sent_again(void **state) {
        const proposal barrier = { .kind = RECORD_BARRIER, .barrier = true, .deadline_us = UINT64_MAX };
        answers out = {0};
        proposals *p = proposals_new();
        proposal *b;
        (void) state;
        assert_int_equal(proposals_last_sent_us(p, 4), UINT64_MAX);
        for (uint64_t seed = 1; seed <= 5; seed++) {
                wait_for_leader(p, seed, UINT64_MAX);
                proposals_sent(p, seed, seed == 1 ? 3 : 4, 10 * seed);
        }
        assert_int_equal(proposals_add(p, &barrier, 6, &b), RQ_OK);
        assert_int_equal(proposals_wait(p, b, (rq_bytes) {0}), RQ_OK);
        proposals_sent(p, 6, 4, 60);
        wait_for_leader(p, 7, UINT64_MAX);
        proposals_sent(p, 7, 4, 70);
        assert_int_equal(proposals_last_sent_us(p, 4), 70);
        assert_int_equal(proposals_last_sent_us(p, 3), UINT64_MAX);
        assert_int_equal(proposals_last_sent_us(p, 5), UINT64_MAX);

        proposals_place(p, 2, 20, 4); /* nothing was sent to this leader before it */
        assert_null(proposals_next_waiting(p));
        proposals_place(p, 5, 21, 4);
        for (uint64_t was = 3; was <= 4; was++) {
                proposal *again = proposals_next_waiting(p);
                assert_non_null(again);
                assert_int_equal(again->from.request_id, was); /* in the order in which they came */
                assert_true(again->seed != was && again->seed != 0 && again->body_bytes == 4);
                const uint64_t seed = again->seed;
                proposals_sent(p, seed, 4, 80);
                proposals_refused(p, was, 4); /* about the first time it was sent */
                proposals_refuse(p, was, 4, REASON_OVERLOADED, "x", &out);
                proposals_place(p, was, 30 + was, 4);
                assert_int_equal(again->state, PROPOSAL_FLYING);
        }
        assert_null(proposals_next_waiting(p));
        assert_int_equal(out.count, 0);

        /* Of a barrier one hears that it came to nothing. Those behind it fly on, and those of another term. */
        proposals_place(p, 7, 22, 4);
        b = proposals_next_ended(p);
        assert_true(b != NULL && b->seed == 6 && b->index == 0 && !b->refused);
        proposals_cancel(p, b);
        assert_null(proposals_next_ended(p));
        assert_null(proposals_next_waiting(p));
        assert_int_equal(proposals_last_sent_us(p, 4), 80);

        /* Its place was taken, and it comes back: that says nothing of the others. */
        proposals_truncate(p, 22);
        proposals_place(p, 7, 22, 4);
        assert_null(proposals_next_waiting(p));

        proposals_commit(p, 22, 4, &out);
        assert_int_equal(out.count, 0);
        assert_int_equal(proposals_next_waiting(p)->seed, 1); /* of term 3 */
        proposals_commit(p, 23, 5, &out);
        assert_int_equal(out.count, 0);
        assert_int_equal(proposals_count(p), 6);
        proposals_refuse_waiting(p, &out, REASON_NO_LEADER, "x");
        assert_int_equal(out.count, 3);
        answers_done(&out);
        p = proposals_free(p);
}

static void test_barriers_have_an_end_and_no_answer(void **state) {
        const proposal what = { .kind = RECORD_BARRIER, .barrier = true, .deadline_us = 100 };
        answers out = {0};
        proposals *p = proposals_new();
        proposal *b;
        (void) state;
        for (uint64_t seed = 1; seed <= 3; seed++) {
                assert_int_equal(proposals_add(p, &what, seed, &b), RQ_OK);
                assert_int_equal(proposals_add(p, &what, seed, &b), RQ_EEXIST);
                assert_int_equal(proposals_wait(p, b, (rq_bytes) {0}), RQ_OK);
                proposals_sent(p, seed, 2, 0);
        }
        proposals_place(p, 1, 10, 2);
        proposals_refuse(p, 2, 2, REASON_DISK_FULL, "full", &out);
        assert_true(proposals_next_ended(p)->seed == 2 && proposals_next_ended(p)->refused);
        proposals_cancel(p, proposals_next_ended(p));
        proposals_commit(p, 10, 2, &out);
        assert_true(proposals_next_ended(p)->seed == 1 && proposals_next_ended(p)->index == 10);
        proposals_cancel(p, proposals_next_ended(p));
        proposals_expire(p, 100, &out);
        assert_true(proposals_next_ended(p)->seed == 3 && proposals_next_ended(p)->index == 0 && !proposals_next_ended(p)->refused);
        proposals_cancel(p, proposals_next_ended(p));
        assert_null(proposals_next_ended(p));
        assert_int_equal(out.count + proposals_count(p), 0);
        p = proposals_free(p);
}

static void test_a_table_of_proposals_has_an_end(void **state) {
        proposals *p = proposals_new();
        const proposal what = { .kind = RECORD_SQL, .deadline_us = UINT64_MAX };
        proposal *which = NULL;
        (void) state;
        for (uint64_t round = 0; round < 2; round++) { /* places are used again */
                for (uint64_t i = 1; i <= PROPOSALS_MAX; i++) {
                        assert_int_equal(proposals_add(p, &what, i, &which), RQ_OK);
                        proposals_append(p, which, round * PROPOSALS_MAX + i, 1);
                }
                assert_int_equal(proposals_add(p, &what, 1u << 20, &which), RQ_EFULL);
                answers none = {0};
                proposals_commit(p, (round + 1) * PROPOSALS_MAX, 1, &none);
                proposals_applied(p, (round + 1) * PROPOSALS_MAX);
                assert_int_equal(proposals_count(p), 0);
        }
        p = proposals_free(p);
}

static void test_reads_wait_for_round_or_barrier(void **state) {
        reads r;
        answers out = {0};
        (void) state;
        reads_init(&r);
        assert_int_equal(reads_add(&r, from(1), READ_LINEARIZABLE, 500, 0, rq_bytes_text("q1")), RQ_OK);
        assert_int_equal(reads_add(&r, from(2), READ_STRONG, UINT64_MAX, 0, rq_bytes_text("q2")), RQ_OK);
        assert_int_equal(reads_add(&r, from(3), READ_LINEARIZABLE, UINT64_MAX, 90, rq_bytes_text("q3")), RQ_OK);
        assert_int_equal(reads_add(&r, from(4), READ_WEAK, UINT64_MAX, 0, rq_bytes_text("q4")), RQ_OK);
        assert_int_equal(r.fresh_count[READ_LINEARIZABLE], 2);
        assert_int_equal(reads_fresh_count(&r), 4);
        reads_make_ready(&r, READ_WEAK, 33);
        assert_int_equal(reads_next_ready(&r)->from.request_id, 4);
        assert_int_equal(reads_next_ready(&r)->index, 33);
        reads_remove(&r, reads_next_ready(&r));
        reads_assign(&r, READ_LINEARIZABLE, 7);
        reads_assign(&r, READ_STRONG, 4242);
        assert_int_equal(reads_fresh_count(&r), 0);
        reads_round_ready(&r, 6, 50);
        assert_null(reads_next_ready(&r));
        reads_round_ready(&r, 7, 50);
        assert_int_equal(reads_next_ready(&r)->from.request_id, 1);
        assert_int_equal(reads_next_ready(&r)->index, 50);
        reads_remove(&r, reads_next_ready(&r));
        assert_int_equal(reads_next_ready(&r)->index, 90); /* min_index */
        reads_remove(&r, reads_next_ready(&r));
        reads_barrier_ready(&r, 41, 42);
        assert_null(reads_next_ready(&r));
        reads_barrier_ready(&r, 4242, 42);
        assert_int_equal(reads_next_ready(&r)->index, 42);
        reads_remove(&r, reads_next_ready(&r));
        assert_int_equal(r.count + reads_fresh_count(&r), 0);
        assert_int_equal(r.bytes, 0);

        assert_int_equal(reads_add(&r, from(4), READ_WEAK, 600, 0, rq_bytes_text("q")), RQ_OK);
        reads_expire(&r, 599, &out);
        assert_int_equal(out.count, 0);
        reads_expire(&r, 600, &out);
        assert_int_equal(only(&out)->reason, REASON_TIMEOUT);
        check_ended(&out, 4, OUTCOME_REFUSED);
        assert_int_equal(reads_fresh_count(&r), 0);
        reads_done(&r);
        answers_done(&out);
}

static void test_reads_are_asked_again(void **state) {
        reads r;
        answers out = {0};
        (void) state;
        reads_init(&r);
        for (uint64_t round = 1; round <= 3; round++) {
                assert_int_equal(reads_add(&r, from(round), READ_WEAK, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
                reads_assign(&r, READ_WEAK, round);
        }
        assert_true(reads_retry_rounds(&r, 2));
        assert_false(reads_retry_rounds(&r, 2));
        assert_int_equal(r.fresh_count[READ_WEAK], 2);
        reads_assign(&r, READ_WEAK, 4);
        reads_round_ready(&r, 3, 9);
        assert_int_equal(reads_next_ready(&r)->from.request_id, 3);
        reads_remove(&r, reads_next_ready(&r));
        assert_null(reads_next_ready(&r));
        reads_refuse_all(&r, true, &out, REASON_NO_LEADER, "x");
        assert_int_equal(out.count, 0);
        reads_refuse_all(&r, false, &out, REASON_NO_LEADER, "x");
        assert_int_equal(out.count, 2);
        out.count = 0;

        assert_int_equal(reads_add(&r, from(5), READ_STRONG, 900, 0, rq_bytes_text("q")), RQ_OK);
        reads_assign(&r, READ_STRONG, 77);
        reads_retry_barrier(&r, 77);
        assert_int_equal(r.fresh_count[READ_STRONG], 1);
        reads_assign(&r, READ_STRONG, 78);
        reads_refuse_barrier(&r, 77, &out, REASON_OVERLOADED, "x");
        assert_int_equal(out.count, 0);
        reads_refuse_barrier(&r, 78, &out, REASON_OVERLOADED, "x");
        check_ended(&out, 5, OUTCOME_REFUSED);
        assert_int_equal(reads_add(&r, from(6), READ_STRONG, 900, 0, rq_bytes_text("q")), RQ_OK);
        reads_gateway_gone(&r, 1);
        assert_int_equal(r.count + reads_fresh_count(&r), 0);
        assert_int_equal(reads_add(&r, from(6), READ_STRONG, 900, 0, rq_bytes_text("q")), RQ_OK);
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
                cmocka_unit_test(test_received_records_and_own_ones_lie_side_by_side),
                cmocka_unit_test(test_replaced_entries_wait_for_the_writer),
                cmocka_unit_test(test_proposals_of_a_leader_end_in_one_way_each),
                cmocka_unit_test(test_proposals_on_their_way_to_a_leader),
                cmocka_unit_test(test_an_overtaken_proposal_is_sent_again),
                cmocka_unit_test(test_barriers_have_an_end_and_no_answer),
                cmocka_unit_test(test_a_table_of_proposals_has_an_end),
                cmocka_unit_test(test_reads_wait_for_round_or_barrier),
                cmocka_unit_test(test_reads_are_asked_again),
                cmocka_unit_test(test_stream_keeps_its_window),
                cmocka_unit_test(test_compaction_keeps_what_is_needed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
