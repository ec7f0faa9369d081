/* The queue of writes: order, room, when a batch is due, what goes back; and the
 * answer to a batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "core/write_queue.h"

static void start(write_queue *q, size_t count_max, size_t batch_count) {
        const write_queue_limits limits = {
                .count_max = count_max, .bytes_max = 100, .batch_bytes_max = 50, .batch_count = batch_count, .batch_wait_us = 1000,
        };
        write_queue_init(q, &limits, 100);
}

static queued_write *put(write_queue *q, const char *text, uint64_t now_us) {
        rq_buf statements = {0};
        queued_write *w;
        assert_int_equal(rq_buf_append_text(&statements, text), RQ_OK);
        assert_int_equal(write_queue_add(q, &statements, text[0] != '\0', false, now_us, &w), RQ_OK);
        assert_null(statements.data);
        return w;
}

/* The statements on their way, with a comma behind each. */
static void assert_in_flight(const write_queue *q, const char *expected) {
        char text[256] = "";
        for (rq_list *at = q->in_flight.next; at != &q->in_flight; at = at->next) {
                const queued_write *w = RQ_LIST_ENTRY(at, queued_write, node);
                size_t used = strlen(text);
                (void) snprintf(text + used, sizeof text - used, "%.*s,", (int) w->statements.size, (const char *) w->statements.data);
        }
        assert_string_equal(text, expected);
}

static void end_batch(write_queue *q) {
        for (queued_write *w; (w = write_queue_next_ended(q)) != NULL;)
                write_queue_free_write(w);
}

static void a_batch_is_due_by_time_or_count(void **state) {
        write_queue q;
        (void) state;
        start(&q, 10, 3);
        assert_int_equal(write_queue_due_us(&q), UINT64_MAX);
        assert_int_equal(put(&q, "a", 5000)->sequence, 101);
        assert_int_equal(write_queue_due_us(&q), 6000);
        (void) put(&q, "b", 5500);
        assert_int_equal(write_queue_due_us(&q), 6000);
        (void) put(&q, "c", 5600);
        assert_int_equal(write_queue_due_us(&q), 0);
        assert_int_equal(write_queue_take(&q), 3);
        assert_in_flight(&q, "a,b,c,");
        (void) put(&q, "d", 7000);
        assert_int_equal(write_queue_due_us(&q), UINT64_MAX); /* one at a time */
        end_batch(&q);
        assert_int_equal(q.done_sequence, 103);
        assert_int_equal(write_queue_due_us(&q), 8000);
        write_queue_flush(&q);
        assert_int_equal(write_queue_due_us(&q), 0);
        assert_int_equal(write_queue_take(&q), 1);
        end_batch(&q);
        assert_true(write_queue_empty(&q));
        (void) put(&q, "e", 9000); /* flushed was what was there */
        assert_int_equal(write_queue_due_us(&q), 10000);
        (void) put(&q, "", 9100);  /* a mark flushes what is before it */
        assert_int_equal(write_queue_due_us(&q), 0);
        write_queue_done(&q);
}

static void room_is_by_count_and_bytes(void **state) {
        write_queue q;
        (void) state;
        start(&q, 3, 10);
        assert_true(write_queue_has_room(&q, 5000)); /* alone, anything */
        (void) put(&q, "0123456789012345678901234567890123456789", 1);
        assert_true(write_queue_has_room(&q, 60));
        assert_false(write_queue_has_room(&q, 61));
        (void) put(&q, "b", 1);
        (void) put(&q, "c", 1);
        assert_false(write_queue_has_room(&q, 1));
        assert_int_equal(write_queue_take(&q), 3);
        assert_false(write_queue_has_room(&q, 1)); /* what is on its way counts */
        end_batch(&q);
        assert_true(write_queue_has_room(&q, 1));
        assert_int_equal(q.bytes, 0);
        write_queue_done(&q);
}

static void a_batch_has_a_size(void **state) {
        write_queue q;
        (void) state;
        start(&q, 10, 10);
        (void) put(&q, "a", 1);
        (void) put(&q, "0123456789012345678901234567890123456789012345678", 1);
        (void) put(&q, "b", 1);
        (void) put(&q, "012345678901234567890123456789012345678901234567890123456789", 1); /* too large for any */
        assert_int_equal(write_queue_take(&q), 2);
        end_batch(&q);
        assert_int_equal(write_queue_take(&q), 1);
        assert_in_flight(&q, "b,");
        end_batch(&q);
        assert_int_equal(write_queue_take(&q), 1);
        end_batch(&q);
        write_queue_done(&q);
}

static void what_goes_back_keeps_its_place(void **state) {
        write_queue q;
        (void) state;
        start(&q, 10, 2);
        (void) put(&q, "a", 1);
        (void) put(&q, "b", 1);
        (void) put(&q, "c", 1);
        assert_int_equal(write_queue_take(&q), 3);
        (void) put(&q, "d", 1);
        write_queue_put_back(&q, false);
        assert_int_equal(write_queue_take(&q), 4);
        assert_in_flight(&q, "a,b,c,d,");
        write_queue_put_back(&q, true);
        (void) put(&q, "e", 1);
        (void) put(&q, "f", 1);
        static const char *const alone[] = { "a,", "b,", "c,", "d,", "e,f," };
        for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++) {
                assert_int_equal(write_queue_due_us(&q), 0);
                (void) write_queue_take(&q);
                assert_in_flight(&q, alone[i]);
                end_batch(&q);
        }
        assert_true(write_queue_empty(&q));
        write_queue_done(&q);
}

static void results_of_a_batch(void **state) {
        (void) state;
        rq_bytes answer = rq_bytes_text("{\"results\":[{},{\"error\":\"no \\\"such\\\\\"},{},{\"error\":\"\"}]"), error;
        size_t at = 0;
        assert_true(write_queue_next_result(answer, &at, &error) && error.size == 0);
        assert_true(write_queue_next_result(answer, &at, &error));
        assert_true(rq_bytes_equal(error, rq_bytes_text("\"no \\\"such\\\\\"")));
        assert_true(write_queue_next_result(answer, &at, &error) && error.size == 0);
        assert_true(write_queue_next_result(answer, &at, &error) && rq_bytes_equal(error, rq_bytes_text("\"\"")));
        assert_false(write_queue_next_result(answer, &at, &error));
        static const char *const broken[] = {
                "", "{", "{\"results\":[", "{\"results\":[{\"error\":\"", "{\"results\":[{\"error\":\"x\\", "{\"results\":[{\"error\":\"x\"",
                "{\"results\":[{\"error\":1}]", "{\"results\":[{\"columns\":[]}]",
        };
        for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
                at = 0;
                assert_false(write_queue_next_result(rq_bytes_text(broken[i]), &at, &error));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_batch_is_due_by_time_or_count),
                cmocka_unit_test(room_is_by_count_and_bytes),
                cmocka_unit_test(a_batch_has_a_size),
                cmocka_unit_test(what_goes_back_keeps_its_place),
                cmocka_unit_test(results_of_a_batch),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
