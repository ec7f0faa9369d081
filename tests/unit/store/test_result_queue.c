/* core/result_queue: what is kept for a gateway that is away, and how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "core/result_queue.h"

static const rq_uuid gateway_a = { { 1 } }, gateway_b = { { 2 } };

static void keep(result_queue *q, const rq_uuid *gateway, uint64_t id, const char *text, uint64_t now_us) {
        rq_bytes json = rq_bytes_text(text);
        assert_int_equal(result_queue_keep(q, gateway, id, id + 100, json, -1, json.size, now_us), RQ_OK);
}

static void test_each_gateway_gets_its_own_in_order(void **state) {
        result_queue q;
        (void) state;
        result_queue_init(&q);
        keep(&q, &gateway_a, 1, "one", 0);
        keep(&q, &gateway_b, 2, "two", 0);
        keep(&q, &gateway_a, 3, "three", 0);
        kept_result *k = result_queue_take(&q, &gateway_a);
        assert_int_equal(k->request_id, 1);
        assert_int_equal(k->index, 101);
        assert_int_equal(k->size, 3);
        assert_memory_equal(k->json, "one", 3);
        (void) kept_result_free(k);
        k = result_queue_take(&q, &gateway_a);
        assert_int_equal(k->request_id, 3);
        (void) kept_result_free(k);
        assert_null(result_queue_take(&q, &gateway_a));
        assert_int_equal(q.count, 1);
        result_queue_done(&q);
        assert_int_equal(q.bytes, 0);
}

static void test_old_ones_are_dropped(void **state) {
        result_queue q;
        (void) state;
        result_queue_init(&q);
        keep(&q, &gateway_a, 1, "x", 1000);
        keep(&q, &gateway_a, 2, "x", 2000);
        result_queue_expire(&q, 999 + RESULT_QUEUE_AGE_US_MAX);
        assert_int_equal(q.count, 2);
        result_queue_expire(&q, 1000 + RESULT_QUEUE_AGE_US_MAX);
        assert_int_equal(q.count, 1);
        assert_int_equal(q.dropped, 1);
        kept_result *k = result_queue_take(&q, &gateway_a);
        assert_int_equal(k->request_id, 2);
        (void) kept_result_free(k);
        result_queue_done(&q);
}

static void test_room_is_made_by_dropping_the_oldest(void **state) {
        enum { SIZE = 1024 * 1024 };
        result_queue q;
        uint8_t *bytes = calloc(1, RESULT_QUEUE_BYTES_MAX);
        (void) state;
        result_queue_init(&q);
        for (uint64_t i = 1; i <= 5; i++)
                assert_int_equal(result_queue_keep(&q, &gateway_a, i, i, rq_bytes_of(bytes, SIZE), -1, SIZE, i), RQ_OK);
        assert_true(q.bytes <= RESULT_QUEUE_BYTES_MAX);
        assert_int_equal(q.count, 3);
        assert_int_equal(q.dropped, 2);
        assert_int_equal(result_queue_keep(&q, &gateway_a, 9, 9, rq_bytes_of(bytes, RESULT_QUEUE_BYTES_MAX), -1, RESULT_QUEUE_BYTES_MAX, 9),
                         RQ_ETOOBIG);
        assert_int_equal(q.count, 3); /* for nothing, nothing is dropped */
        kept_result *k = result_queue_take(&q, &gateway_a);
        assert_int_equal(k->request_id, 3);
        (void) kept_result_free(k);
        result_queue_done(&q);
        free(bytes);
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static void test_spill_files_are_closed_with_what_is_dropped(void **state) {
        result_queue q;
        (void) state;
        result_queue_init(&q);
        int dropped = open("/dev/null", O_RDONLY | O_CLOEXEC), taken = open("/dev/null", O_RDONLY | O_CLOEXEC);
        int too_big = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_int_equal(result_queue_keep(&q, &gateway_a, 1, 1, (rq_bytes) {0}, dropped, 5000, 0), RQ_OK);
        assert_int_equal(result_queue_keep(&q, &gateway_a, 2, 2, (rq_bytes) {0}, taken, 5000, 10), RQ_OK);
        assert_int_equal(result_queue_keep(&q, &gateway_a, 3, 3, (rq_bytes) {0}, too_big, RESULT_QUEUE_BYTES_MAX, 10), RQ_ETOOBIG);
        assert_false(is_open(too_big));
        result_queue_expire(&q, RESULT_QUEUE_AGE_US_MAX);
        assert_false(is_open(dropped));
        assert_true(is_open(taken));
        kept_result *k = result_queue_take(&q, &gateway_a);
        assert_int_equal(k->spill_fd, taken);
        assert_int_equal(k->size, 5000);
        (void) kept_result_free(k);
        assert_false(is_open(taken));
        result_queue_done(&q);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_gateway_gets_its_own_in_order),
                cmocka_unit_test(test_old_ones_are_dropped),
                cmocka_unit_test(test_room_is_made_by_dropping_the_oldest),
                cmocka_unit_test(test_spill_files_are_closed_with_what_is_dropped),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
