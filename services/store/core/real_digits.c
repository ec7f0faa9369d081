#include "core/real_digits.h"

#include <string.h>

__extension__ typedef unsigned __int128 wide;

enum { FRACTION_BITS = 52, EXPONENT_BIAS = 1075 /* of the fraction as a whole number */ };

static const uint64_t powers_of_ten[] = {
        UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000), UINT64_C(10000000),
        UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000), UINT64_C(1000000000000),
        UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000), UINT64_C(10000000000000000),
        UINT64_C(100000000000000000), UINT64_C(1000000000000000000), UINT64_C(10000000000000000000),
};

static wide power_of_ten(int k) { return k <= 19 ? (wide) powers_of_ten[k] : (wide) powers_of_ten[19] * powers_of_ten[k - 19]; }

bool real_digits_possible(double value) { return value >= 1e-4 && value < 1e15; }

/* Of the first digit; one too many where the double is a little less than a power of ten. */
static int guess_exponent(double value) {
        static const double below_one[] = { 1e-1, 1e-2, 1e-3, 1e-4 };
        int exponent = 0;
        if (value < 1) {
                while (value < below_one[exponent] && exponent < 3)
                        exponent++;
                return -exponent - 1;
        }
        while (exponent < 15 && (uint64_t) value >= powers_of_ten[exponent + 1])
                exponent++;
        return exponent;
}

/* value = m / 2^s, m < 2^53, s from 3 to 66; m * 10^k has at most 53 + 70 bits. */
bool real_digits_round(double value, int count, real_digits *ret_digits) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        const uint64_t m = (bits & ((UINT64_C(1) << FRACTION_BITS) - 1)) | UINT64_C(1) << FRACTION_BITS;
        const int s = EXPONENT_BIAS - (int) (bits >> FRACTION_BITS);
        int exponent = guess_exponent(value);

        wide ten = power_of_ten(count - 1 - exponent), scaled = ten * m;
        uint64_t digits = (uint64_t) (scaled >> s);
        if (digits < powers_of_ten[count - 1]) {
                exponent--;
                ten *= 10;
                scaled *= 10;
                digits = (uint64_t) (scaled >> s);
        }
        wide rest = scaled - ((wide) digits << s), half = (wide) 1 << (s - 1);
        digits += rest > half || (rest == half && (digits & 1) != 0);

        /* Numbers up to half the way to the next double read as this one, those half way if it is even;
         * below a power of two the doubles lie twice as close. */
        const wide at = (wide) digits << s;
        const bool under = at < scaled, close = under && m == UINT64_C(1) << FRACTION_BITS;
        const wide off = (under ? scaled - at : at - scaled) * (close ? 4 : 2);
        const bool reads_back = off < ten || (off == ten && (m & 1) == 0);

        if (digits == powers_of_ten[count]) {
                digits = powers_of_ten[count - 1];
                exponent++;
        }
        *ret_digits = (real_digits) { .digits = digits, .count = count, .exponent = exponent };
        return reads_back;
}

uint8_t *real_digits_put(uint8_t *p, const real_digits *d, bool always_point) {
        uint8_t text[20];
        uint64_t rest = d->digits;
        int count = d->count;
        while (count > 1 && rest % 10 == 0) {
                rest /= 10;
                count--;
        }
        for (int i = count; i-- > 0; rest /= 10)
                text[i] = (uint8_t) ('0' + rest % 10);

        if (d->exponent < 0) {
                *p++ = '0';
                *p++ = '.';
                for (int i = -1; i > d->exponent; i--)
                        *p++ = '0';
                memcpy(p, text, (size_t) count);
                return p + count;
        }
        const int whole = d->exponent + 1;
        for (int i = 0; i < whole; i++)
                *p++ = i < count ? text[i] : '0';
        if (count > whole) {
                *p++ = '.';
                memcpy(p, text + whole, (size_t) (count - whole));
                return p + (count - whole);
        }
        if (always_point) {
                *p++ = '.';
                *p++ = '0';
        }
        return p;
}
