/* A snapshot is judged when it is offered, when it is staged, and when it is installed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdint.h>

#include "snapshot_verdict.h"

static snapshot_verdict at(raft_index index, raft_index commit, bool has, bool misfit, bool open, snapshot_stage stage) {
        const snapshot_facts facts = { .index = index, .commit = commit, .has = has, .misfit = misfit, .open = open };
        return snapshot_judge(&facts, stage);
}

/* Behind, with a store that is fed: the way a node comes back that was away for long. */
static void who_is_behind_takes_it(void **state) {
        (void) state;
        for (snapshot_stage stage = SNAPSHOT_OFFERED; stage <= SNAPSHOT_INSTALLED; stage++) {
                assert_int_equal(at(100, 50, false, false, true, stage), SNAPSHOT_WELCOME);
                assert_int_equal(at(100, 0, false, false, false, stage), SNAPSHOT_WELCOME);
                assert_int_equal(at(100, 99, false, true, false, stage), SNAPSHOT_WELCOME);
        }
}

/* It was behind when the snapshot was offered; then another leader's appends came. */
static void who_got_ahead_does_not_go_back(void **state) {
        (void) state;
        assert_int_equal(at(100, 50, false, false, true, SNAPSHOT_OFFERED), SNAPSHOT_WELCOME);
        assert_int_equal(at(100, 120, true, false, true, SNAPSHOT_STAGED), SNAPSHOT_NOT_NEEDED);
        assert_int_equal(at(100, 120, true, false, true, SNAPSHOT_INSTALLED), SNAPSHOT_NOT_NEEDED);
        /* The log has dropped that entry already: to begin it anew there would lose what follows. */
        for (snapshot_stage stage = SNAPSHOT_OFFERED; stage <= SNAPSHOT_INSTALLED; stage++)
                for (int store = 0; store < 3; store++) {
                        assert_int_equal(at(100, 120, false, store == 1, store == 2, stage), SNAPSHOT_OF_NO_USE);
                        assert_int_equal(at(100, 100, false, store == 1, store == 2, stage), SNAPSHOT_OF_NO_USE);
                }
}

/* The store was lost, the log wasn't: the log stays. */
static void a_lost_store_is_seeded_below_the_log(void **state) {
        (void) state;
        assert_int_equal(at(100, 120, true, true, false, SNAPSHOT_OFFERED), SNAPSHOT_WELCOME);
        assert_int_equal(at(100, 120, true, true, false, SNAPSHOT_STAGED), SNAPSHOT_WELCOME);
        assert_int_equal(at(100, 120, true, true, false, SNAPSHOT_INSTALLED), SNAPSHOT_NOT_NEEDED);
        assert_int_equal(at(100, 120, true, false, false, SNAPSHOT_OFFERED), SNAPSHOT_OF_NO_USE); /* it hasn't said where it is */
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(who_is_behind_takes_it),
                cmocka_unit_test(who_got_ahead_does_not_go_back),
                cmocka_unit_test(a_lost_store_is_seeded_below_the_log),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
