/* The bound on records of one kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <syslog.h>
#include <cmocka.h>

#include "log/log_flood.h"

static const char one[] = "one", other[] = "other";

static void burst_then_silence_then_the_count(void **state) {
        static log_flood f;
        uint32_t suppressed = 99;
        (void) state;
        for (int i = 0; i < LOG_FLOOD_BURST; i++)
                assert_true(log_flood_allows(&f, one, LOG_INFO, 1000 + (uint64_t) i, &suppressed));
        assert_int_equal(suppressed, 0);
        for (int i = 0; i < 7; i++)
                assert_false(log_flood_allows(&f, one, LOG_INFO, 2000, &suppressed));
        assert_true(log_flood_allows(&f, other, LOG_INFO, 2000, &suppressed)); /* another kind */
        assert_int_equal(suppressed, 0);
        assert_true(log_flood_allows(&f, one, LOG_INFO, 1000 + LOG_FLOOD_WINDOW_US, &suppressed));
        assert_int_equal(suppressed, 7);
        assert_true(log_flood_allows(&f, one, LOG_INFO, 1001 + LOG_FLOOD_WINDOW_US, &suppressed));
        assert_int_equal(suppressed, 0);
}

static void what_nobody_follows_is_owed_once(void **state) {
        static log_flood f;
        uint32_t suppressed = 0;
        int priority = 0;
        (void) state;
        for (int i = 0; i < LOG_FLOOD_BURST + 3; i++)
                (void) log_flood_allows(&f, one, LOG_WARNING, 5, &suppressed);
        assert_null(log_flood_owed(&f, 6, &priority, &suppressed)); /* may still be followed */
        assert_ptr_equal(log_flood_owed(&f, 5 + LOG_FLOOD_WINDOW_US, &priority, &suppressed), one);
        assert_int_equal(priority, LOG_WARNING);
        assert_int_equal(suppressed, 3);
        assert_null(log_flood_owed(&f, 5 + LOG_FLOOD_WINDOW_US, &priority, &suppressed));
}

/* More kinds than places: those beyond are let through, and places are used again. */
static void many_kinds(void **state) {
        static log_flood f;
        static char formats[4 * LOG_FLOOD_KINDS][32];
        uint32_t suppressed;
        (void) state;
        for (int round = 0; round < 3; round++)
                for (size_t i = 0; i < 4 * LOG_FLOOD_KINDS; i++)
                        assert_true(log_flood_allows(&f, formats[i], LOG_INFO, 10, &suppressed));
        uint64_t later_us = 10 + LOG_FLOOD_WINDOW_US;
        for (int i = 0; i < LOG_FLOOD_BURST; i++)
                assert_true(log_flood_allows(&f, one, LOG_INFO, later_us, &suppressed));
        assert_false(log_flood_allows(&f, one, LOG_INFO, later_us, &suppressed));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(burst_then_silence_then_the_count), cmocka_unit_test(what_nobody_follows_is_owed_once),
                cmocka_unit_test(many_kinds),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
