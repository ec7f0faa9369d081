/* doctor: what counts as bad, and what of it is the exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/findings.h"
#include "core/judge.h"

static findings f;

static void the_worst_counts(void **state) {
        (void) state;
        f = (findings) {0};
        assert_int_equal(findings_worst(&f), FINDING_OK);
        assert_null(findings_first_worst(&f));
        (void) findings_add(&f, "a", FINDING_OK, "fine");
        (void) findings_add(&f, "b", FINDING_UNKNOWN, "who knows");
        assert_int_equal(findings_worst(&f), FINDING_UNKNOWN);
        (void) findings_add(&f, "c", FINDING_WARNING, "hm");
        assert_int_equal(findings_worst(&f), FINDING_WARNING);
        (void) findings_add(&f, "d", FINDING_CRITICAL, "one");
        (void) findings_add(&f, "e", FINDING_CRITICAL, "two");
        assert_int_equal(findings_worst(&f), FINDING_CRITICAL);
        assert_string_equal(findings_first_worst(&f)->name, "d");
        assert_int_equal(findings_of_state(&f, FINDING_CRITICAL), 2);
        assert_int_equal(findings_of_state(&f, FINDING_UNKNOWN), 1);
        assert_string_equal(finding_state_name(FINDING_WARNING), "WARNING");
}

static void texts_of_others_are_harmless(void **state) {
        (void) state;
        f = (findings) {0};
        finding *one = findings_add(&f, "nodes", FINDING_OK, "%s", "a\x1b[2J\nb\x7f");
        finding_remedy(one, "%s", "x\ry");
        assert_string_equal(one->text, "a?[2J?b?");
        assert_string_equal(one->remedy, "x?y");
        for (int i = 0; i < 20; i++)
                finding_value(one, "n", i);
        assert_int_equal(one->value_count, FINDING_VALUES_MAX);
        for (int i = 0; i < 2 * FINDINGS_MAX; i++)
                (void) findings_add(&f, "many", FINDING_CRITICAL, "%d", i);
        assert_int_equal(f.count, FINDINGS_MAX);
        assert_string_equal(f.list[FINDINGS_MAX - 1].text, "383");
}

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
        const uint64_t gib = UINT64_C(1) << 30;
        assert_int_equal(judge_space(100 * gib, 4000 * gib), FINDING_OK);
        assert_int_equal(judge_space(6 * gib, 4000 * gib), FINDING_WARNING);
        assert_int_equal(judge_space(2 * gib, 20 * gib), FINDING_OK);
        assert_int_equal(judge_space(gib / 4, gib / 2), FINDING_WARNING);
        assert_int_equal(judge_space(gib / 64, 20 * gib), FINDING_CRITICAL);
        assert_int_equal(judge_inodes(0, 0), FINDING_OK);
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
}

static void clocks_and_limits(void **state) {
        (void) state;
        assert_int_equal(judge_clock_difference(2000000), FINDING_OK);
        assert_int_equal(judge_clock_difference(-3000000), FINDING_WARNING);
        assert_int_equal(judge_clock_difference(-6000000), FINDING_CRITICAL);
        assert_int_equal(judge_open_files(512), FINDING_CRITICAL);
        assert_int_equal(judge_open_files(4096), FINDING_WARNING);
        assert_int_equal(judge_open_files(1048576), FINDING_OK);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_worst_counts), cmocka_unit_test(texts_of_others_are_harmless), cmocka_unit_test(percentiles),
                cmocka_unit_test(disks), cmocka_unit_test(certificates), cmocka_unit_test(clocks_and_limits),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
