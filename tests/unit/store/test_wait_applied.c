/* core/wait_applied: who may go, and whose time is up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rng.h"
#include "core/wait_applied.h"

static void test_lowest_index_goes_first_and_only_what_is_applied(void **state) {
        wait_applied w;
        wait_item a = {0}, b = {0}, c = {0};
        (void) state;
        wait_applied_init(&w);
        wait_applied_add(&w, &a, 30, 1000);
        wait_applied_add(&w, &b, 10, 3000);
        wait_applied_add(&w, &c, 20, 2000);
        assert_int_equal(w.count, 3);
        assert_null(wait_applied_ready(&w, 9));
        assert_ptr_equal(wait_applied_ready(&w, 20), &b);
        assert_ptr_equal(wait_applied_ready(&w, 20), &c);
        assert_null(wait_applied_ready(&w, 29));
        assert_ptr_equal(wait_applied_ready(&w, UINT64_MAX), &a);
        assert_int_equal(w.count, 0);
        assert_true(wait_applied_next_deadline(&w) == UINT64_MAX);
}

static void test_deadlines_take_out_of_both_orders(void **state) {
        wait_applied w;
        wait_item a = {0}, b = {0}, c = {0};
        (void) state;
        wait_applied_init(&w);
        wait_applied_add(&w, &a, 1, 300);
        wait_applied_add(&w, &b, 2, 100);
        wait_applied_add(&w, &c, 3, 200);
        assert_int_equal(wait_applied_next_deadline(&w), 100);
        assert_null(wait_applied_expired(&w, 99));
        assert_ptr_equal(wait_applied_expired(&w, 100), &b);
        assert_null(b.in);
        assert_ptr_equal(wait_applied_ready(&w, 2), &a);
        assert_null(wait_applied_ready(&w, 2)); /* b isn't there any more */
        wait_applied_remove(&w, &c);
        wait_applied_remove(&w, &c);
        assert_int_equal(w.count, 0);
}

static void test_equal_ones_keep_their_order(void **state) {
        wait_applied w;
        wait_item items[8] = {0};
        (void) state;
        wait_applied_init(&w);
        for (int i = 0; i < 8; i++)
                wait_applied_add(&w, &items[i], 5, 50);
        for (int i = 0; i < 8; i += 2)
                assert_ptr_equal(wait_applied_ready(&w, 5), &items[i / 2]);
        for (int i = 4; i < 8; i++)
                assert_ptr_equal(wait_applied_expired(&w, 50), &items[i]);
}

static void test_random_orders_come_out_sorted(void **state) {
        enum { COUNT = 500 };
        wait_applied w;
        wait_item items[COUNT] = {0};
        rq_rng rng = rq_rng_seeded(7);
        (void) state;
        wait_applied_init(&w);
        for (int i = 0; i < COUNT; i++)
                wait_applied_add(&w, &items[i], rq_rng_below(&rng, 100), rq_rng_below(&rng, 100));
        uint64_t before = 0;
        for (int i = 0; i < COUNT / 2; i++) {
                wait_item *item = wait_applied_ready(&w, UINT64_MAX);
                assert_true(item->index >= before);
                before = item->index;
        }
        before = 0;
        for (int i = COUNT / 2; i < COUNT; i++) {
                assert_true(wait_applied_next_deadline(&w) >= before);
                wait_item *item = wait_applied_expired(&w, UINT64_MAX);
                before = item->deadline_us;
        }
        assert_null(wait_applied_ready(&w, UINT64_MAX));
}

/* An owner of two lists may not know which of them an item is in. */
static void test_removing_from_another_list_changes_nothing(void **state) {
        wait_applied one, two;
        wait_item a = {0};
        (void) state;
        wait_applied_init(&one);
        wait_applied_init(&two);
        wait_applied_add(&two, &a, 5, 10);
        wait_applied_remove(&one, &a);
        assert_int_equal(one.count, 0);
        assert_int_equal(two.count, 1);
        wait_applied_remove(&two, &a);
        wait_applied_remove(&one, &a);
        assert_int_equal(one.count, 0);
        assert_int_equal(two.count, 0);
        assert_null(a.in);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lowest_index_goes_first_and_only_what_is_applied),
                cmocka_unit_test(test_deadlines_take_out_of_both_orders),
                cmocka_unit_test(test_equal_ones_keep_their_order),
                cmocka_unit_test(test_random_orders_come_out_sorted),
                cmocka_unit_test(test_removing_from_another_list_changes_nothing),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
