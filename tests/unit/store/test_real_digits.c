/* store: digits of doubles by integer arithmetic, held against the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/real_digits.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t next_random(void) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return random_state;
}

static void check_value(double value) {
        for (int count = 15; count <= 17; count++) {
                real_digits got;
                char text[40], digits[24], plain[REAL_DIGITS_ROOM + 1];
                bool reads_back = real_digits_round(value, count, &got);
                (void) snprintf(text, sizeof text, "%.*e", count - 1, value);
                (void) snprintf(digits, sizeof digits, "%llu", (unsigned long long) got.digits);
                assert_int_equal(got.count, count);
                assert_int_equal(strlen(digits), count);
                assert_true(text[0] == digits[0] && memcmp(text + 2, digits + 1, (size_t) count - 1) == 0);
                assert_int_equal(atoi(strchr(text, 'e') + 1), got.exponent);
                assert_int_equal(reads_back, strtod(text, NULL) == value);

                uint8_t *end = real_digits_put((uint8_t *) plain, &got, true);
                assert_true(end - (uint8_t *) plain <= REAL_DIGITS_ROOM);
                *end = '\0';
                assert_true(strtod(plain, NULL) == strtod(text, NULL));
                assert_null(strchr(plain, 'e'));
                assert_non_null(strchr(plain, '.'));
                assert_true(end[-1] != '0' || end[-2] == '.');
        }
}

static void digits_of_random_values(void **state) {
        (void) state;
        for (int i = 0; i < 200000; i++) {
                double unit = (double) (next_random() >> 11) * 0x1p-53;
                double values[] = { unit * 1000, unit * pow(10, (double) (next_random() % 19) - 3.9),
                                    (double) (next_random() % 100000000000u) / pow(10, (double) (next_random() % 12)),
                                    (double) (next_random() % 1000000000000000u), ldexp(1, (int) (next_random() % 62) - 13) };
                for (size_t k = 0; k < sizeof values / sizeof values[0]; k++)
                        if (real_digits_possible(values[k]))
                                check_value(values[k]);
        }
}

static void digits_at_powers_of_ten_and_two(void **state) {
        (void) state;
        for (int exponent = -4; exponent <= 15; exponent++) {
                char text[16];
                (void) snprintf(text, sizeof text, "1e%d", exponent);
                double power = strtod(text, NULL), around[] = { nextafter(power, 0), power, nextafter(power, 1e300), power / 2, power * 1.5 };
                for (size_t k = 0; k < sizeof around / sizeof around[0]; k++)
                        if (real_digits_possible(around[k]))
                                check_value(around[k]);
        }
        for (int exponent = -13; exponent < 50; exponent++) {
                double power = ldexp(1, exponent), around[] = { nextafter(power, 0), power, nextafter(power, 1e300) };
                for (size_t k = 0; k < sizeof around / sizeof around[0]; k++)
                        if (real_digits_possible(around[k]))
                                check_value(around[k]);
        }
}

static void notation(void **state) {
        static const struct { double value; bool point; const char *text; } cases[] = {
                { 1, true, "1.0" }, { 1, false, "1" }, { 0.1, true, "0.1" }, { 100, true, "100.0" }, { 0.0001, true, "0.0001" },
                { 123456789012345, true, "123456789012345.0" }, { 999999999999999, false, "999999999999999" },
                { 1234.5, true, "1234.5" }, { 0.00025, true, "0.00025" }, { 2460000.5, false, "2460000.5" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                real_digits d;
                char text[REAL_DIGITS_ROOM + 1];
                assert_true(real_digits_possible(cases[i].value));
                assert_true(real_digits_round(cases[i].value, 15, &d));
                *real_digits_put((uint8_t *) text, &d, cases[i].point) = '\0';
                assert_string_equal(text, cases[i].text);
        }
        assert_false(real_digits_possible(0));
        assert_false(real_digits_possible(-1));
        assert_false(real_digits_possible(9.9e-5));
        assert_false(real_digits_possible(1e15));
        assert_false(real_digits_possible(NAN));
        assert_false(real_digits_possible(INFINITY));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(digits_of_random_values),
                cmocka_unit_test(digits_at_powers_of_ten_and_two),
                cmocka_unit_test(notation),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
