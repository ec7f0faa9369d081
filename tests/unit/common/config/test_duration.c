/* Durations: Go's syntax, Go's limits, Go's formatting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

static void test_values_that_go_reads(void **state) {
        static const struct { const char *text; int64_t ns; } rows[] = {
                { "0", 0 }, { "+0", 0 }, { "-0", 0 }, { "0s", 0 }, { "5s", 5 * SECOND }, { "30s", 30 * SECOND },
                { "1478s", 1478 * SECOND }, { "-5s", -5 * SECOND }, { "+5s", 5 * SECOND }, { "5.0s", 5 * SECOND },
                { "5.6s", 5600 * MS }, { "5.s", 5 * SECOND }, { ".5s", 500 * MS }, { "1.004s", 1004 * MS },
                { "1.00400s", 1004 * MS }, { "100.00100s", 100001 * MS }, { "10ns", 10 }, { "11us", 11000 },
                { "12\u00b5s", 12000 }, { "12\u03bcs", 12000 }, { "13ms", 13 * MS }, { "15m", 900 * SECOND },
                { "16h", 57600 * SECOND }, { "3h30m", 12600 * SECOND }, { "10.5s4m", 250500 * MS },
                { "-2m3.4s", -123400 * MS }, { "1h2m3s4ms5us6ns", INT64_C(3723004005006) },
                { "39h9m14.425s", 140954425 * MS }, { "52763797000ns", INT64_C(52763797000) },
                { "0.3333333333333333333h", 1200 * SECOND }, { "9007199254740993ns", INT64_C(9007199254740993) },
                { "9223372036854775807ns", INT64_MAX }, { "9223372036854775.807us", INT64_MAX },
                { "9223372036s854ms775us807ns", INT64_MAX }, { "-9223372036854775808ns", INT64_MIN },
                { "-2562047h47m16.854775808s", INT64_MIN }, { "0.100000000000000000000h", 360 * SECOND },
                { "0.830103483285477580700h", INT64_C(2988372539827) },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                int64_t ns = -77;
                if (rq_duration_parse(rq_bytes_text(rows[i].text), &ns) != RQ_OK)
                        fail_msg("%s is not read", rows[i].text);
                if (ns != rows[i].ns)
                        fail_msg("%s is %lld, not %lld", rows[i].text, (long long) ns, (long long) rows[i].ns);
        }
}

static void test_texts_that_go_refuses(void **state) {
        static const char *const rows[] = {
                "", "3", "-", "+", "s", ".", "-.", ".s", "+.s", "1d", "\x85\x85", "hello \xffxyz world", " 1s", "1s ", "1 s", "--1s", "1s-1s",
                "1x", "1.2.3s", "00", "1e3s", "1S",
                "9223372036854775810ns", "9223372036854775808ns", "-9223372036854775809ns", "9223372036854776us",
                "3000000h", "9223372036854775.808us", "9223372036854ms775us808ns", "99999999999999999999s", "2562048h",
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                int64_t ns = -77;
                if (rq_duration_parse(rq_bytes_text(rows[i]), &ns) != RQ_EINVAL)
                        fail_msg("%s is taken", rows[i]);
                assert_int_equal(ns, -77);
        }
}

static void test_formatting(void **state) {
        static const struct { int64_t ns; const char *text; } rows[] = {
                { 0, "0s" }, { 1, "1ns" }, { 1100, "1.1\u00b5s" }, { 2200000, "2.2ms" }, { 3300 * MS, "3.3s" },
                { 300 * MS, "300ms" }, { 90 * SECOND, "1m30s" }, { 245 * SECOND, "4m5s" }, { 245001 * MS, "4m5.001s" },
                { 18367001 * MS, "5h6m7.001s" }, { 480 * SECOND + 1, "8m0.000000001s" }, { 24 * 3600 * SECOND, "24h0m0s" },
                { -1, "-1ns" }, { INT64_MAX, "2562047h47m16.854775807s" }, { INT64_MIN, "-2562047h47m16.854775808s" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                char text[32];
                int64_t ns;
                assert_string_equal(rq_duration_text(rows[i].ns, text, sizeof text), rows[i].text);
                assert_int_equal(rq_duration_parse(rq_bytes_text(text), &ns), RQ_OK);
                assert_true(ns == rows[i].ns);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values_that_go_reads),
                cmocka_unit_test(test_texts_that_go_refuses),
                cmocka_unit_test(test_formatting),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
