/* store: numbers as JSON text: exact digits, limits of plain notation, shortest round trip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/json_number.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return random_state;
}

static double double_of(uint64_t bits) {
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
}

static void real_text(double value, char text[static JSON_REAL_ROOM + 1]) {
        uint8_t *end = json_real_put((uint8_t *) text, value);
        assert_true(end - (uint8_t *) text <= JSON_REAL_ROOM);
        *end = '\0';
}

static void integers(void **state) {
        (void) state;
        static const int64_t limits[] = { 0, 9, 10, 99, 100, INT64_MAX, INT64_MIN, -1, -10, INT32_MAX, INT32_MIN };
        char wanted[32], got[JSON_INTEGER_ROOM + 1];
        for (int i = 0; i < 200000; i++) {
                int64_t v = (int64_t) (next_random() >> (next_random() % 64));
                if ((size_t) i < sizeof limits / sizeof limits[0])
                        v = limits[i];
                else if (i % 3 == 0)
                        v = -v;
                *json_integer_put((uint8_t *) got, v) = '\0';
                (void) snprintf(wanted, sizeof wanted, "%lld", (long long) v);
                assert_string_equal(got, wanted);
        }
        /* Each power of ten and its neighbours: the count of digits changes there. */
        for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10)
                for (int64_t v = power - 1; v <= power + 1; v++) {
                        *json_integer_put((uint8_t *) got, v) = '\0';
                        (void) snprintf(wanted, sizeof wanted, "%lld", (long long) v);
                        assert_string_equal(got, wanted);
                }
}

static void real_corners(void **state) {
        (void) state;
        static const struct { double value; const char *text; } cases[] = {
                { 0.0, "0" }, { -0.0, "-0" }, { 1.0, "1" }, { -1.0, "-1" }, { 0.1, "0.1" }, { 0.3, "0.3" },
                { 0.1 + 0.2, "0.30000000000000004" }, { 1.5, "1.5" }, { 100.25, "100.25" }, { 1e-6, "0.000001" },
                { 0.00000123, "0.00000123" }, { 9.999999999999997e-7, "9.999999999999997e-7" }, { 1e-7, "1e-7" },
                { 6.31e-7, "6.31e-7" }, { 0.0514, "0.0514" }, { 1e15, "1000000000000000" },
                { 1e20, "100000000000000000000" }, { 999999999999999900000.0, "999999999999999900000" },
                { 1e21, "1e+21" }, { -1e21, "-1e+21" }, { 1.5e22, "1.5e+22" }, { 1e300, "1e+300" },
                { 1.7976931348623157e308, "1.7976931348623157e+308" },
                { 2.2250738585072014e-308, "2.2250738585072014e-308" },
                { 5e-324, "5e-324" }, { 1e-323, "1e-323" }, { 2.2250738585072011e-308, "2.225073858507201e-308" },
                { 9007199254740991.0, "9007199254740991" }, { 9007199254740992.0, "9007199254740992" },
                { 9007199254740994.0, "9007199254740994" }, { 2251799813685248.5, "2251799813685248.5" },
                { 123456789012345680.0, "123456789012345680" }, { 2460000.5, "2460000.5" }, { 8.41, "8.41" },
                { 9.999999999999998, "9.999999999999998" }, { 0.99999999999999989, "0.9999999999999999" },
                { 9.5367431640625e-7, "9.5367431640625e-7" }, { 99999999.99999999, "99999999.99999999" },
                { 1234567.12345678, "1234567.12345678" }, { 3.14159265358979, "3.14159265358979" },
                /* powers of two whose shortest digits lie on the wide side */
                { 0x1p-44, "5.684341886080802e-14" }, { 0x1p-24, "5.960464477539063e-8" },
                { 0x1p89, "6.189700196426902e+26" },
                { INFINITY, "null" }, { -INFINITY, "null" }, { NAN, "null" },
        };
        char text[JSON_REAL_ROOM + 1];
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                real_text(cases[i].value, text);
                assert_string_equal(text, cases[i].text);
        }
}

static int significant_digits(const char *text) {
        int count = 0, zeros = 0;
        for (; *text != '\0' && *text != 'e'; text++) {
                if (*text < '0' || *text > '9' || (count == 0 && *text == '0'))
                        continue;
                zeros = *text == '0' ? zeros + 1 : 0;
                count++;
        }
        return count - zeros;
}

/* Adds delta (-1, 1) to the last digit of d.ddde+xx. false: it would carry to another length. */
static bool nudge(char *text, int digits, int delta) {
        int last = digits == 1 ? 0 : digits;
        int i = last;
        for (;;) {
                if (text[i] == '.')
                        i--;
                char limit = delta > 0 ? '9' : '0';
                if (text[i] != limit)
                        break;
                if (i == 0)
                        return false;
                text[i--] = delta > 0 ? '0' : '9';
        }
        text[i] = (char) (text[i] + delta);
        return true;
}

static void check_real(double value) {
        char text[JSON_REAL_ROOM + 1], shorter[40];
        real_text(value, text);

        double back = strtod(text, NULL);
        assert_memory_equal(&back, &value, sizeof value);
        double magnitude = fabs(value);
        bool plain = magnitude == 0 || (magnitude >= 1e-6 && magnitude < 1e21);
        assert_int_equal(strchr(text, 'e') == NULL, plain);
        if (strchr(text, '.') != NULL && plain)
                assert_int_not_equal(text[strlen(text) - 1], '0');

        int digits = significant_digits(text);
        assert_true(digits <= 17);
        if (digits <= 1)
                return;
        for (int delta = -1; delta <= 1; delta++) {
                (void) snprintf(shorter, sizeof shorter, "%.*e", digits - 2, magnitude);
                if (delta != 0 && !nudge(shorter, digits - 1, delta))
                        continue;
                if (strtod(shorter, NULL) == magnitude)
                        fail_msg("%s is shorter than %s", shorter, text);
        }
        /* Of its length none is nearer: the last digit is at most half a unit off,
                unless that one does not read back. */
        (void) snprintf(shorter, sizeof shorter, "%.*e", digits - 1, magnitude);
        if (strtod(shorter, NULL) == magnitude) {
                char want[JSON_REAL_ROOM], have[JSON_REAL_ROOM];
                size_t w = 0, h = 0;
                for (const char *p = shorter; *p != 'e'; p++)
                        if (*p != '.' && (w > 0 || *p != '0'))
                                want[w++] = *p;
                for (const char *p = text; *p != '\0' && *p != 'e'; p++)
                        if (*p >= '0' && *p <= '9' && (h > 0 || *p != '0'))
                                have[h++] = *p;
                assert_true(h >= w);
                assert_memory_equal(want, have, w);
        }
}

static void reals_random_bits(void **state) {
        (void) state;
        for (int i = 0; i < 1000000; i++) {
                double value = double_of(next_random());
                if (isfinite(value))
                        check_real(value);
        }
}

static void reals_as_stored(void **state) {
        (void) state;
        for (int i = 0; i < 300000; i++) {
                double unit = (double) (next_random() >> 11) * 0x1p-53;
                check_real(unit);
                check_real((double) (next_random() % 100000000000u) / pow(10, (double) (next_random() % 12)));
                check_real(1.0 / (double) (i + 1));
                check_real(unit * 1e22);
                check_real(unit * 1e-5);
                check_real(double_of(next_random() & ((1ULL << 52) - 1))); /* subnormal */
                check_real((double) (int64_t) next_random());
        }
}

static void reals_at_boundaries(void **state) {
        (void) state;
        for (int exponent = -1074; exponent <= 1023; exponent++) {
                double power = ldexp(1, exponent);
                check_real(power);
                check_real(nextafter(power, 0));
                check_real(nextafter(power, INFINITY) == INFINITY ? power : nextafter(power, INFINITY));
                check_real(-power);
        }
        for (int exponent = -323; exponent <= 308; exponent++) {
                char text[16];
                (void) snprintf(text, sizeof text, "1e%d", exponent);
                double power = strtod(text, NULL);
                check_real(power);
                check_real(nextafter(power, 0));
                check_real(nextafter(power, INFINITY));
        }
        for (double value = 0; value < 1e-320; value = nextafter(value, 1))
                check_real(value);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(integers),          cmocka_unit_test(real_corners),
                        cmocka_unit_test(reals_random_bits),
                cmocka_unit_test(reals_as_stored),   cmocka_unit_test(reals_at_boundaries),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
