/* The life of a supervised service: the table of states, told as stories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/child.h"

static const child_limits limits = {
        .start_us = 9000, .watchdog_us = 1000, .abort_us = 200, .stop_us = 700,
        .backoff_us_min = 10, .backoff_us_max = 50, .health_us = 5000,
};

static void expect(child *c, uint64_t now_us, child_event event, child_state state, child_action action, uint64_t deadline_us) {
        child_action got = child_step(c, event, now_us, &limits);
        if (c->state != state || got != action || c->deadline_us != deadline_us)
                fail_msg("at %d, event %d: state %s not %s, action %d not %d, deadline %d not %d", (int) now_us, event,
                         child_state_name(c->state), child_state_name(state), got, action, (int) c->deadline_us, (int) deadline_us);
}

static child up_at(uint64_t now_us) {
        child c = child_new();
        (void) child_step(&c, CHILD_START, now_us, &limits);
        (void) child_step(&c, CHILD_READY, now_us, &limits);
        return c;
}

static void test_a_good_life(void **state) {
        child c = child_new();
        (void) state;
        assert_false(child_is_running(&c));
        expect(&c, 100, CHILD_START, CHILD_STARTING, CHILD_SPAWN, 9100);
        expect(&c, 200, CHILD_ALIVE, CHILD_STARTING, CHILD_NOTHING, 9100);
        expect(&c, 300, CHILD_READY, CHILD_UP, CHILD_NOTHING, 1300);
        expect(&c, 800, CHILD_ALIVE, CHILD_UP, CHILD_NOTHING, 1800);
        expect(&c, 900, CHILD_READY, CHILD_UP, CHILD_NOTHING, 1800); /* once is enough */
        expect(&c, 1000, CHILD_STOP, CHILD_STOPPING, CHILD_TERMINATE, 1700);
        expect(&c, 1050, CHILD_STOP, CHILD_STOPPING, CHILD_NOTHING, 1700);
        assert_true(child_is_running(&c));
        expect(&c, 1100, CHILD_EXITED, CHILD_STOPPED, CHILD_NOTHING, 0);
        assert_false(child_is_running(&c));
        assert_int_equal(c.restarts, 0);
}

static void test_pauses_between_restarts_double_and_are_forgotten(void **state) {
        static const uint64_t pauses_us[] = { 0, 10, 20, 40, 50, 50, 50 };
        child c = child_new();
        uint64_t now_us = 100;
        (void) state;
        (void) child_step(&c, CHILD_START, now_us, &limits);
        for (size_t i = 0; i < sizeof pauses_us / sizeof pauses_us[0]; i++) {
                if (i % 2 == 0) /* ready, but not for long: no health */
                        (void) child_step(&c, CHILD_READY, now_us, &limits);
                now_us += 100;
                expect(&c, now_us, CHILD_EXITED, CHILD_WAITING, CHILD_NOTHING, now_us + pauses_us[i]);
                now_us = c.deadline_us;
                expect(&c, now_us, CHILD_TIMEOUT, CHILD_STARTING, CHILD_SPAWN, now_us + 9000);
                assert_int_equal(c.restarts, i + 1);
        }
        (void) child_step(&c, CHILD_READY, now_us, &limits);
        now_us += 5000;
        expect(&c, now_us, CHILD_EXITED, CHILD_WAITING, CHILD_NOTHING, now_us);

        c.failures = 1000000; /* a shift by that would be undefined */
        (void) child_step(&c, CHILD_TIMEOUT, now_us, &limits);
        expect(&c, now_us, CHILD_EXITED, CHILD_WAITING, CHILD_NOTHING, now_us + 50);
}

static void test_silence_is_aborted_then_killed(void **state) {
        child c = up_at(100);
        (void) state;
        expect(&c, 1100, CHILD_TIMEOUT, CHILD_ABORTING, CHILD_ABORT, 1300);
        expect(&c, 1200, CHILD_ALIVE, CHILD_ABORTING, CHILD_NOTHING, 1300); /* too late */
        expect(&c, 1300, CHILD_TIMEOUT, CHILD_KILLING, CHILD_KILL, 0);
        expect(&c, 9999, CHILD_EXITED, CHILD_WAITING, CHILD_NOTHING, 9999);

        c = child_new(); /* never ready */
        (void) child_step(&c, CHILD_START, 100, &limits);
        expect(&c, 9100, CHILD_TIMEOUT, CHILD_ABORTING, CHILD_ABORT, 9300);
        expect(&c, 9200, CHILD_EXITED, CHILD_WAITING, CHILD_NOTHING, 9200);
}

static void test_without_watchdog_silence_is_fine(void **state) {
        child_limits off = limits;
        child c = child_new();
        (void) state;
        off.watchdog_us = 0;
        (void) child_step(&c, CHILD_START, 100, &off);
        (void) child_step(&c, CHILD_READY, 100, &off);
        assert_int_equal(c.state, CHILD_UP);
        assert_int_equal(c.deadline_us, 0);
}

static void test_more_time_on_request(void **state) {
        child c = child_new();
        (void) state;
        (void) child_step(&c, CHILD_START, 100, &limits);
        child_extend(&c, 200, 20000);
        assert_int_equal(c.deadline_us, 20200);
        child_extend(&c, 300, 1); /* never less */
        assert_int_equal(c.deadline_us, 20200);
        child_extend(&c, 300, UINT64_MAX);
        assert_true(c.deadline_us == UINT64_MAX);
        (void) child_step(&c, CHILD_READY, 400, &limits);
        child_extend(&c, 500, 20000); /* a service that is up has the watchdog */
        assert_int_equal(c.deadline_us, 1400);
        (void) child_step(&c, CHILD_STOP, 500, &limits);
        child_extend(&c, 600, 20000);
        assert_int_equal(c.deadline_us, 20600);
}

/* Wherever a service is, a stop, a force and a death end in STOPPED, without a restart. */
static void test_every_state_ends(void **state) {
        (void) state;
        for (child_state from = CHILD_IDLE; from < CHILD_STATES; from++)
                for (int force = 0; force < 2; force++) {
                        child c = { .state = from };
                        child_action action = child_step(&c, CHILD_STOP, 100, &limits);
                        assert_int_not_equal(action, CHILD_SPAWN);
                        if (force)
                                (void) child_step(&c, CHILD_FORCE, 100, &limits);
                        if (child_is_running(&c)) {
                                assert_true(c.state == CHILD_STOPPING || c.state == CHILD_ENDING);
                                assert_true(!force || c.state == CHILD_ENDING);
                                /* without force, time does the same */
                                (void) child_step(&c, CHILD_TIMEOUT, 1000, &limits);
                                assert_int_equal(c.state, CHILD_ENDING);
                                (void) child_step(&c, CHILD_EXITED, 2000, &limits);
                        }
                        assert_int_equal(c.state, CHILD_STOPPED);
                        for (child_event event = CHILD_START; event < CHILD_EVENTS; event++) {
                                assert_int_equal(child_step(&c, event, 3000, &limits), CHILD_NOTHING);
                                assert_int_equal(c.state, CHILD_STOPPED);
                        }
                }
        for (child_state from = CHILD_STARTING; from < CHILD_STATES; from++) {
                child c = { .state = from };
                (void) child_step(&c, CHILD_HOPELESS, 100, &limits);
                assert_int_equal(c.state, CHILD_STOPPED);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_good_life),
                cmocka_unit_test(test_pauses_between_restarts_double_and_are_forgotten),
                cmocka_unit_test(test_silence_is_aborted_then_killed),
                cmocka_unit_test(test_without_watchdog_silence_is_fine),
                cmocka_unit_test(test_more_time_on_request),
                cmocka_unit_test(test_every_state_ends),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
