/* doctor: what counts as bad, at its limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/judge.h"

static void percentiles(void **state) {
        uint64_t times[] = { 50, 10, 40, 20, 30 }, hundred[100];
        (void) state;
        assert_int_equal(judge_percentile(times, 5, 500), 30);
        assert_int_equal(judge_percentile(times, 5, 990), 50);
        assert_int_equal(judge_percentile(times, 5, 0), 10);
        assert_int_equal(judge_percentile(times, 1, 990), 10);
        for (uint64_t i = 0; i < 100; i++)
                hundred[i] = 100 - i;
        assert_int_equal(judge_percentile(hundred, 100, 990), 99);
}

static void disks(void **state) {
        (void) state;
        assert_int_equal(judge_sync(800, 500000), FINDING_OK);
        assert_int_equal(judge_sync(25000, 500000), FINDING_WARNING);
        assert_int_equal(judge_sync(250000, 500000), FINDING_CRITICAL);
        assert_int_equal(judge_sync(20000, 50000), FINDING_WARNING); /* short timeouts want a quick disk */
        assert_int_equal(judge_sync(24999, 500000), FINDING_OK);
        assert_int_equal(judge_sync(249999, 500000), FINDING_WARNING);
        const uint64_t gib = UINT64_C(1) << 30;
        assert_int_equal(judge_space(100 * gib, 4000 * gib), FINDING_OK);
        assert_int_equal(judge_space(6 * gib, 4000 * gib), FINDING_WARNING);
        assert_int_equal(judge_space(2 * gib, 20 * gib), FINDING_OK);
        assert_int_equal(judge_space(gib / 4, gib / 2), FINDING_WARNING);
        assert_int_equal(judge_space(gib / 64, 20 * gib), FINDING_CRITICAL);
        const uint64_t mib = UINT64_C(1) << 20;
        assert_int_equal(judge_space(64 * mib, 100 * mib), FINDING_WARNING);
        assert_int_equal(judge_space(64 * mib - 1, 100 * mib), FINDING_CRITICAL);
        assert_int_equal(judge_space(512 * mib, 600 * mib), FINDING_OK); /* a small disk that is nearly empty */
        assert_int_equal(judge_space(10 * gib, 4000 * gib), FINDING_OK); /* little of it, but much */
        assert_int_equal(judge_space(10 * gib - 1, 4000 * gib), FINDING_WARNING);
        assert_int_equal(judge_inodes(0, 0), FINDING_OK);
        assert_int_equal(judge_inodes(0, 1000), FINDING_CRITICAL);
        assert_int_equal(judge_inodes(9999, 499950), FINDING_OK); /* a fiftieth of few */
        assert_int_equal(judge_inodes(50, 1000000), FINDING_CRITICAL);
        assert_int_equal(judge_inodes(9000, 1000000), FINDING_WARNING);
        assert_int_equal(judge_inodes(900000, 1000000), FINDING_OK);
}

static void certificates(void **state) {
        const int64_t day = 86400, now = 1000 * day;
        int64_t days;
        (void) state;
        assert_int_equal(judge_certificate(now, now - 1, now + 90 * day, &days), FINDING_OK);
        assert_int_equal(days, 90);
        assert_int_equal(judge_certificate(now, now - 1, now + 30 * day - 1, &days), FINDING_WARNING);
        assert_int_equal(days, 29);
        assert_int_equal(judge_certificate(now, now - 1, now + 6 * day, &days), FINDING_CRITICAL);
        assert_int_equal(judge_certificate(now, 0, now - 1, &days), FINDING_CRITICAL);
        assert_int_equal(days, -1);
        assert_int_equal(judge_certificate(now, now + 1, now + 900 * day, &days), FINDING_CRITICAL);
        assert_int_equal(judge_certificate(now, now, now + 30 * day, &days), FINDING_OK); /* from this second on */
        assert_int_equal(judge_certificate(now, now, now + 7 * day, &days), FINDING_WARNING);
        assert_int_equal(judge_certificate(now, now, now + 7 * day - 1, &days), FINDING_CRITICAL);
        assert_int_equal(judge_certificate(now, 0, now, &days), FINDING_CRITICAL);
        assert_int_equal(days, 0); /* its last second */
        assert_int_equal(judge_certificate(now, 0, now - day - 1, &days), FINDING_CRITICAL);
        assert_int_equal(days, -2);
}

static void clocks_and_limits(void **state) {
        (void) state;
        assert_int_equal(judge_clock_difference(2000000), FINDING_OK);
        assert_int_equal(judge_clock_difference(2500000), FINDING_OK);
        assert_int_equal(judge_clock_difference(2500001), FINDING_WARNING);
        assert_int_equal(judge_clock_difference(-5000000), FINDING_WARNING);
        assert_int_equal(judge_clock_difference(-5000001), FINDING_CRITICAL);
        assert_int_equal(judge_clock_difference(-3000000), FINDING_WARNING);
        assert_int_equal(judge_clock_difference(-6000000), FINDING_CRITICAL);
        assert_int_equal(judge_open_files(1023), FINDING_CRITICAL);
        assert_int_equal(judge_open_files(1024), FINDING_WARNING);
        assert_int_equal(judge_open_files(8191), FINDING_WARNING);
        assert_int_equal(judge_open_files(8192), FINDING_OK);
        assert_int_equal(judge_open_files(512), FINDING_CRITICAL);
        assert_int_equal(judge_open_files(4096), FINDING_WARNING);
        assert_int_equal(judge_open_files(1048576), FINDING_OK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(percentiles), cmocka_unit_test(disks), cmocka_unit_test(certificates), cmocka_unit_test(clocks_and_limits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
