#include "core/json_number.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/real_digits.h"

static const char digit_pairs[201] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354"
        "555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static const uint64_t powers_of_ten[20] = {
        1ULL,
        10ULL,
        100ULL,
        1000ULL,
        10000ULL,
        100000ULL,
        1000000ULL,
        10000000ULL,
        100000000ULL,
        1000000000ULL,
        10000000000ULL,
        100000000000ULL,
        1000000000000ULL,
        10000000000000ULL,
        100000000000000ULL,
        1000000000000000ULL,
        10000000000000000ULL,
        100000000000000000ULL,
        1000000000000000000ULL,
        10000000000000000000ULL,
};

static unsigned count_digits(uint64_t v) {
        /* 1233/4096 is log10(2): right or one too few. */
        unsigned guess = (unsigned) ((64 - __builtin_clzll(v | 1)) * 1233) >> 12;
        return guess + (v >= powers_of_ten[guess] || guess == 0);
}

/* Writes the lowest count digits of v before end. */
static void put_digits(uint8_t *end, uint64_t v, unsigned count) {
        while (count >= 2) {
                uint64_t rest = v / 100;
                end -= 2;
                memcpy(end, digit_pairs + 2 * (v - rest * 100), 2);
                v = rest;
                count -= 2;
        }
        if (count > 0)
                end[-1] = (uint8_t) ('0' + v % 10);
}

static uint8_t *put_unsigned(uint8_t *p, uint64_t v) {
        if (v < 10) {
                *p = (uint8_t) ('0' + v);
                return p + 1;
        }
        unsigned count = count_digits(v);
        put_digits(p + count, v, count);
        return p + count;
}

uint8_t *json_integer_put(uint8_t *p, int64_t value) {
        uint64_t magnitude = (uint64_t) value;
        if (value < 0) {
                *p++ = '-';
                magnitude = 0 - magnitude;
        }
        return put_unsigned(p, magnitude);
}

enum { DIGITS_MAX = 17 };

/* 0.d1d2d3... times ten to the point; no trailing zeros. */
typedef struct decimal {
        char digits[DIGITS_MAX + 1];
        int count;
        int point;
} decimal;

/* What snprintf wrote with %.*e: d.ddde[+-]xx. */
static void decimal_read(decimal *d, const char *text) {
        int count = 0;
        d->digits[count++] = *text++;
        if (*text == '.')
                for (text++; *text != 'e'; text++)
                        d->digits[count++] = *text;
        while (count > 1 && d->digits[count - 1] == '0')
                count--;
        d->count = count;
        d->point = atoi(text + 1) + 1;
}

static void decimal_round(decimal *d, char text[32], double value, int digits) {
        (void) snprintf(text, 32, "%.*e", digits - 1, value);
        decimal_read(d, text);
}

/* Rounded to so many digits, does it read back? */
static bool decimal_fits(decimal *d, double value, int digits) {
        char text[32];
        decimal_round(d, text, value, digits);
        return strtod(text, NULL) == value;
}

/* The next number up with so many digits. Below a power of two the doubles lie
 * twice as close as above, so that the rounded number may fall out of the
 * narrow side while its upper neighbour is still within the wide one. */
static bool neighbour_fits(decimal *d, double value, int digits) {
        char text[32];
        decimal_round(d, text, value, digits);

        int i = digits; /* text is d.ddd: the last digit is at [digits] */
        for (;;) {
                if (text[i] == '.')
                        i--;
                if (text[i] < '9')
                        break;
                if (i == 0)
                        return false; /* 99...9 rounds up to a shorter one, tried before */
                text[i--] = '0';
        }
        text[i]++;
        if (strtod(text, NULL) != value)
                return false;
        decimal_read(d, text);
        return true;
}

/* The general way. If a number of n digits reads back, so does the one rounded
 * to n digits, and to n + 1: the doubles on both sides are equally far, but for
 * powers of two. */
static void decimal_search(decimal *d, double value) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        uint64_t fraction = bits & ((1ULL << 52) - 1);
        bool subnormal = bits >> 52 == 0;

        if (subnormal || fraction == 0) {
                /* Subnormals have too few bits for 15 digits to mean one number. */
                for (int digits = subnormal ? 1 : 15; digits < DIGITS_MAX; digits++)
                        if (decimal_fits(d, value, digits) || (fraction == 0 && neighbour_fits(d, value, digits)))
                                return;
                (void) decimal_fits(d, value, DIGITS_MAX);
                return;
        }

        char text[32];
        if (!decimal_fits(d, value, 16)) {
                decimal_round(d, text, value, DIGITS_MAX);
                return;
        }
        /* 15 digits can only do if value is within 1.5 units of the 16th digit. */
        decimal shorter;
        char last = d->count < 16 ? '0' : d->digits[15];
        if ((last == '9' || last == '0' || last == '1') && decimal_fits(&shorter, value, 15))
                *d = shorter;
}

static uint8_t *put_bytes(uint8_t *p, const char *data, int count) {
        memcpy(p, data, (size_t) count);
        return p + count;
}

static uint8_t *put_zeros(uint8_t *p, int count) {
        memset(p, '0', (size_t) count);
        return p + count;
}

static uint8_t *put_decimal(uint8_t *p, const decimal *d, bool plain) {
        if (!plain) {
                int exponent = d->point - 1;
                *p++ = (uint8_t) d->digits[0];
                if (d->count > 1) {
                        *p++ = '.';
                        p = put_bytes(p, d->digits + 1, d->count - 1);
                }
                *p++ = 'e';
                *p++ = exponent < 0 ? '-' : '+';
                return put_unsigned(p, (uint64_t) abs(exponent));
        }
        if (d->point <= 0) {
                *p++ = '0';
                *p++ = '.';
                p = put_zeros(p, -d->point);
                return put_bytes(p, d->digits, d->count);
        }
        if (d->count <= d->point) {
                p = put_bytes(p, d->digits, d->count);
                return put_zeros(p, d->point - d->count);
        }
        p = put_bytes(p, d->digits, d->point);
        *p++ = '.';
        return put_bytes(p, d->digits + d->point, d->count - d->point);
}

/* value = m / 10^k with whole m < 10^15: m and 10^k are exact doubles and the
 * division rounds correctly, so m and the smallest k are the shortest digits.
 * Data as people store it takes this way (docs/decisions/0004). NULL: no such m. */
static uint8_t *put_scaled(uint8_t *p, double value) {
        static const double scales[] = { 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8 };
        for (unsigned i = 0; i < sizeof scales / sizeof scales[0]; i++) {
                double scaled = value * scales[i];
                if (scaled >= 1e15)
                        return NULL;
                int64_t m = (int64_t) (scaled + 0.5);
                if ((double) m / scales[i] != value)
                        continue;

                /* m / 10^k lies further from a whole number than rounding moves it. */
                uint64_t whole = (uint64_t) value;
                p = put_unsigned(p, whole);
                *p++ = '.';
                put_digits(p + i + 1, (uint64_t) m - whole * powers_of_ten[i + 1], i + 1);
                return p + i + 1;
        }
        return NULL;
}

/* As decimal_search() does it, without the C library. NULL: not of its kind. */
static uint8_t *put_exact(uint8_t *p, double value) {
        real_digits found, shorter;
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (!real_digits_possible(value) || (bits & ((1ULL << 52) - 1)) == 0)
                return NULL;
        if (!real_digits_round(value, 16, &found))
                (void) real_digits_round(value, 17, &found);
        else if (real_digits_round(value, 15, &shorter))
                found = shorter;
        return real_digits_put(p, &found, false);
}

uint8_t *json_real_put(uint8_t *p, double value) {
        if (__builtin_isnan(value) || __builtin_isinf(value))
                return put_bytes(p, "null", 4);
        if (__builtin_signbit(value)) {
                *p++ = '-';
                value = -value;
        }
        /* Up to 2^53 a whole number's digits are all needed. */
        if (value < 9007199254740992.0) {
                int64_t whole = (int64_t) value;
                if ((double) whole == value)
                        return put_unsigned(p, (uint64_t) whole);
        }
        bool plain = value >= 1e-6 && value < 1e21;
        if (plain) {
                uint8_t *end = put_scaled(p, value);
                if (end == NULL)
                        end = put_exact(p, value);
                if (end != NULL)
                        return end;
        }
        decimal d;
        decimal_search(&d, value);
        return put_decimal(p, &d, plain);
}
