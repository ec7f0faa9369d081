/* The decimal digits of a double by exact integer arithmetic, for the numbers that
 * data is made of: from 1e-4 to below 1e15. What is outside of that range is the
 * caller's, with the C library. Knows no notation but the plain one. */
#ifndef RQ_STORE_REAL_DIGITS_H
#define RQ_STORE_REAL_DIGITS_H

#include <stdbool.h>
#include <stdint.h>

/* d.ddd... times ten to the exponent: count digits, the first isn't zero. */
typedef struct real_digits {
        uint64_t digits;
        int count, exponent;
} real_digits;

enum { REAL_DIGITS_ROOM = 24 }; /* 0.00012345678901234567 takes 22 */

/* Positive, finite, and in the range. */
bool real_digits_possible(double value);

/* Rounded correctly to that many digits, 15 to 17, a tie to the even one. True: they read back as value. */
bool real_digits_round(double value, int count, real_digits *ret_digits);

/* Plain, without zeros at the end; whole numbers with ".0" if so wanted. Writes at p
 * and returns the end; no terminator. */
uint8_t *real_digits_put(uint8_t *p, const real_digits *d, bool always_point);

#endif
