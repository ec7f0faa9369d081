/* store: times of DATE, DATETIME, TIMESTAMP columns. Expectations are what rqlite 10 answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "core/json_time.h"

static void check_text(const char *in, const char *wanted) {
        uint8_t out[JSON_TIME_ROOM];
        size_t size = strlen(in);
        uint8_t *exact = malloc(size > 0 ? size : 1);
        memcpy(exact, in, size);
        uint8_t *end = json_time_put_text(out, rq_bytes_of(exact, size));
        free(exact);
        if (wanted == NULL) {
                if (end != NULL)
                        fail_msg("'%s' became %.*s", in, (int) (end - out), (const char *) out);
                return;
        }
        if (end == NULL)
                fail_msg("'%s' was refused", in);
        assert_int_equal(end - out, strlen(wanted));
        assert_memory_equal(out, wanted, strlen(wanted));
}

static void texts(void **state) {
        (void) state;
        check_text("2024-01-02", "2024-01-02T00:00:00Z");
        check_text("2024-01-02Z", "2024-01-02T00:00:00Z");
        check_text("2024-01-02 03:04", "2024-01-02T03:04:00Z");
        check_text("2024-01-02T03:04", "2024-01-02T03:04:00Z");
        check_text("2024-01-02 03:04:05", "2024-01-02T03:04:05Z");
        check_text("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z");
        check_text("2024-01-02 03:04:05.123456789", "2024-01-02T03:04:05.123456789Z");
        check_text("2024-01-02 03:04:05.1200", "2024-01-02T03:04:05.12Z");
        check_text("2024-01-02 03:04:05.000", "2024-01-02T03:04:05Z");
        check_text("2024-01-02 03:04:05,5", "2024-01-02T03:04:05.5Z");
        check_text("2024-01-02 03:04:05.1234567891234", "2024-01-02T03:04:05.123456789Z");
        check_text("2024-01-02T03:04:05+02:00", "2024-01-02T03:04:05+02:00");
        check_text("2024-01-02 03:04:05.5-07:30", "2024-01-02T03:04:05.5-07:30");
        check_text("2024-01-02 03:04:05-07:00Z", "2024-01-02T03:04:05-07:00");
        check_text("2024-01-02 03:04:05+00:00", "2024-01-02T03:04:05Z");
        check_text("2024-01-02 03:04:05-00:00", "2024-01-02T03:04:05Z");
        check_text("2024-01-02 03:04:05+01:60", "2024-01-02T03:04:05+02:00");
        check_text("2024-01-02 3:04", "2024-01-02T03:04:00Z");
        check_text("2024-01-02   13:04", "2024-01-02T13:04:00Z");
        check_text("0000-01-01", "0000-01-01T00:00:00Z");
        check_text("9999-12-31 23:59:59.999999999-23:59", "9999-12-31T23:59:59.999999999-23:59");
        check_text("2024-02-29", "2024-02-29T00:00:00Z");
        check_text("2000-02-29", "2000-02-29T00:00:00Z");
}

static void not_times(void **state) {
        (void) state;
        static const char *const cases[] = {
                "", "Z", "03:04:05", "not a date", "2024-1-2", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-01",
                "2024-01-00", "2024-01-32", "2024-04-31", "2024-01-02ZZ", "2024-01-02x", "2024-01-02 ", "2024-01-02T",
                "2024-01-02 03", "2024-01-02 24:00", "2024-01-02 03:60", "2024-01-02 03:4", "2024-01-02T 3:04",
                "2024-01-02 03:04:60", "2024-01-02 03:04:5", "2024-01-02 03:04:05.", "2024-01-02 03:04:05.x",
                "2024-01-02 03:04+02:00", "2024-01-02 03:04:05 +02:00", "2024-01-02 03:04:05+0200",
                "2024-01-02 03:04:05+02", "2024-01-02 03:04:05+02:61", "2024-01-02 03:04:05+24:00",
                "2024-01-02 03:04:05+23:60", "2024-01-02 03:04:05+02:00x", "+024-01-02", "20240102", "2024-01",
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
                check_text(cases[i], NULL);
}

static void check_integer(int64_t in, const char *wanted) {
        uint8_t out[JSON_TIME_ROOM];
        uint8_t *end = json_time_put_integer(out, in);
        if (wanted == NULL) {
                assert_null(end);
                return;
        }
        assert_non_null(end);
        assert_int_equal(end - out, strlen(wanted));
        assert_memory_equal(out, wanted, strlen(wanted));
}

static void integers(void **state) {
        (void) state;
        check_integer(0, "1970-01-01T00:00:00Z");
        check_integer(-5, "1969-12-31T23:59:55Z");
        check_integer(1704164645, "2024-01-02T03:04:05Z");
        check_integer(1704164645000, "2024-01-02T03:04:05Z");
        check_integer(1704164645120, "2024-01-02T03:04:05.12Z");
        check_integer(-1704164645123, "1915-12-31T20:55:54.877Z");
        check_integer(-62167219200, "0000-01-01T00:00:00Z");
        check_integer(-62167219201, NULL);
        check_integer(253402300799, "9999-12-31T23:59:59Z");
        check_integer(253402300800, NULL);
        check_integer(1000000000000, NULL); /* still seconds */
        check_integer(1000000000001, "2001-09-09T01:46:40.001Z");
        check_integer(253402300799999, "9999-12-31T23:59:59.999Z");
        check_integer(253402300800000, NULL);
        check_integer(-62167219200000, "0000-01-01T00:00:00Z");
        check_integer(-62167219200001, NULL);
        check_integer(1704164645000123, NULL); /* microseconds */
        check_integer(INT64_MAX, NULL);
        check_integer(INT64_MIN, NULL);
}

/* Every day of the calendar, against the C library. */
static void every_day(void **state) {
        (void) state;
        for (int64_t s = -62167219200 + 3723; s < 253402300800; s += 86400) {
                time_t t = (time_t) s;
                struct tm tm;
                char wanted[64];
                assert_non_null(gmtime_r(&t, &tm));
                (void) snprintf(wanted, sizeof wanted, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                                tm.tm_mon + 1,
                                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
                check_integer(s, wanted);
                wanted[19] = '\0'; /* and the text means the same */
                char again[32];
                (void) snprintf(again, sizeof again, "%.19sZ", wanted);
                check_text(wanted, again);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(texts), cmocka_unit_test(not_times), cmocka_unit_test(integers),
                        cmocka_unit_test(every_day),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
