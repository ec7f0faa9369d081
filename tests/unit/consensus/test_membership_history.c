/* Which membership held at which entry; test_membership.c has what happens to a long one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/membership_history.h"

/* Told apart by their number of members. */
static void add(membership_history *h, raft_index index, uint32_t count) {
        membership *m = calloc(1, sizeof *m);
        assert_non_null(m);
        m->count = count;
        assert_int_equal(membership_history_reserve(h, 1), RQ_OK);
        membership_history_add(h, index, m);
}

static void what_held_at_an_entry(void **state) {
        membership_history h = {0};
        raft_index index = 99;
        (void) state;
        assert_null(membership_history_at(&h, 5, &index));
        assert_int_equal(index, 0);
        add(&h, 10, 1);
        add(&h, 20, 2);
        assert_null(membership_history_at(&h, 9, &index)); /* not known any more; from 10 on one is */
        assert_int_equal(index, 10);
        assert_int_equal(membership_history_at(&h, 10, &index)->count, 1);
        assert_int_equal(membership_history_at(&h, 19, &index)->count, 1);
        assert_int_equal(index, 10);
        assert_int_equal(membership_history_at(&h, 20, &index)->count, 2); /* from its own entry on */
        assert_int_equal(membership_history_at(&h, UINT64_MAX, &index)->count, 2);
        assert_int_equal(index, 20);
        assert_int_equal(membership_history_latest(&h, NULL)->count, 2);
        membership_history_done(&h);
        assert_null(membership_history_latest(&h, NULL));
}

static void what_is_replaced_is_forgotten(void **state) {
        membership_history h = {0};
        raft_index index;
        (void) state;
        add(&h, 10, 1);
        add(&h, 20, 2);
        membership_history_truncate(&h, 21);
        assert_int_equal(membership_history_latest(&h, &index)->count, 2);
        membership_history_truncate(&h, 20);
        assert_int_equal(membership_history_latest(&h, &index)->count, 1);
        add(&h, 20, 3); /* another one in its place */
        assert_int_equal(membership_history_at(&h, 20, &index)->count, 3);
        membership_history_truncate(&h, 1);
        assert_null(membership_history_latest(&h, &index));
        membership_history_done(&h);
}

static void what_is_committed_keeps_the_last_one(void **state) {
        membership_history h = {0};
        raft_index index;
        (void) state;
        add(&h, 10, 1);
        add(&h, 20, 2);
        membership_history_commit(&h, 19);
        assert_int_equal(membership_history_at(&h, 15, &index)->count, 1); /* entries up to 19 are under it still */
        membership_history_commit(&h, 20);
        assert_null(membership_history_at(&h, 15, &index));
        assert_int_equal(membership_history_at(&h, 25, &index)->count, 2);
        membership_history_commit(&h, 1000);
        assert_int_equal(membership_history_latest(&h, &index)->count, 2);
        membership_history_done(&h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_held_at_an_entry), cmocka_unit_test(what_is_replaced_is_forgotten),
                cmocka_unit_test(what_is_committed_keeps_the_last_one),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
