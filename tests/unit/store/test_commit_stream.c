/* core/commit_stream: only what follows, of the stream that was asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/commit_stream.h"
#include "record.h"

static const rq_uuid first_id = { { 1 } }, second_id = { { 2 } };

static committed_batch batch_of(const rq_uuid *id, uint64_t previous, uint32_t count) {
        return (committed_batch) {
                .stream_id = *id, .first_index = previous + 1, .previous_index = previous, .previous_term = 1, .count = count,
        };
}

static commit_stream_verdict judge(commit_stream *s, const rq_uuid *id, uint64_t previous, uint32_t count) {
        const committed_batch batch = batch_of(id, previous, count);
        return commit_stream_judge(s, &batch);
}

static void test_nothing_counts_before_fetch(void **state) {
        commit_stream s = {0};
        (void) state;
        assert_int_equal(judge(&s, &first_id, 0, 1), STREAM_IGNORE);
}

static void test_first_batch_names_the_stream(void **state) {
        commit_stream s = {0};
        (void) state;
        commit_stream_asked(&s, 5, 1);
        assert_int_equal(judge(&s, &first_id, 5, 0), STREAM_TAKE);
        assert_int_equal(judge(&s, &second_id, 5, 2), STREAM_IGNORE);
        assert_int_equal(judge(&s, &first_id, 5, 2), STREAM_TAKE);
        commit_stream_taken(&s, 7, 1);
        assert_int_equal(judge(&s, &first_id, 7, 1), STREAM_TAKE);
}

static void test_a_gap_a_repetition_and_another_term_ask_again(void **state) {
        commit_stream s = {0};
        (void) state;
        commit_stream_asked(&s, 5, 1);
        assert_int_equal(judge(&s, &first_id, 6, 1), STREAM_ASK_AGAIN);
        assert_int_equal(judge(&s, &first_id, 4, 1), STREAM_ASK_AGAIN);
        committed_batch batch = batch_of(&first_id, 5, 1);
        batch.previous_term = 2;
        assert_int_equal(commit_stream_judge(&s, &batch), STREAM_ASK_AGAIN);
        batch = batch_of(&first_id, 5, 1);
        batch.first_index = 7;
        assert_int_equal(commit_stream_judge(&s, &batch), STREAM_ASK_AGAIN);
}

static void test_what_was_on_its_way_when_we_asked_anew_is_ignored(void **state) {
        commit_stream s = {0};
        (void) state;
        commit_stream_asked(&s, 5, 1);
        assert_int_equal(judge(&s, &first_id, 9, 1), STREAM_ASK_AGAIN);
        commit_stream_asked(&s, 5, 1);
        assert_int_equal(judge(&s, &first_id, 5, 1), STREAM_IGNORE);
        assert_int_equal(judge(&s, &second_id, 5, 1), STREAM_TAKE);
}

static size_t put_record(uint8_t *at, uint64_t index, uint64_t term, uint64_t clock_us, const char *text) {
        record_header header = { .kind = RECORD_NOOP, .index = index, .term = term, .clock_us = clock_us };
        rq_bytes body = rq_bytes_text(text);
        record_header_encode(at, &header, body);
        memcpy(at + RECORD_HEADER_BYTES, body.data, body.size);
        return RECORD_HEADER_BYTES + body.size;
}

static void test_records_must_be_whole_in_order_and_as_many_as_said(void **state) {
        uint8_t bytes[1024];
        uint64_t term = 99, clock_us = 99;
        (void) state;
        size_t size = put_record(bytes, 6, 1, 1000, "abc");
        size += put_record(bytes + size, 7, 2, 2000, "");
        committed_batch batch = batch_of(&first_id, 5, 2);
        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size), &term, &clock_us), RQ_OK);
        assert_int_equal(term, 2);
        assert_int_equal(clock_us, 2000);

        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size - 1), &term, &clock_us), RQ_EPROTO);
        batch.count = 1;
        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size), &term, &clock_us), RQ_EPROTO);
        batch.count = 3;
        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size), &term, &clock_us), RQ_EPROTO);
        batch = batch_of(&first_id, 6, 2);
        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size), &term, &clock_us), RQ_EPROTO);
        batch = batch_of(&first_id, 5, 2);
        bytes[20] ^= 1;
        assert_int_equal(commit_stream_check(&batch, rq_bytes_of(bytes, size), &term, &clock_us), RQ_ECORRUPT);

        batch = batch_of(&first_id, 5, 0);
        assert_int_equal(commit_stream_check(&batch, (rq_bytes) {0}, &term, &clock_us), RQ_OK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_counts_before_fetch),
                cmocka_unit_test(test_first_batch_names_the_stream),
                cmocka_unit_test(test_a_gap_a_repetition_and_another_term_ask_again),
                cmocka_unit_test(test_what_was_on_its_way_when_we_asked_anew_is_ignored),
                cmocka_unit_test(test_records_must_be_whole_in_order_and_as_many_as_said),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
