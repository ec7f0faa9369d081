/* Numbers as JSON text, as Go's encoding/json writes them. Knows nothing of
 * documents; the caller has the room. */
#ifndef RQ_STORE_JSON_NUMBER_H
#define RQ_STORE_JSON_NUMBER_H

#include <stdint.h>

enum {
        JSON_INTEGER_ROOM = 20, /* -9223372036854775808 */
        JSON_REAL_ROOM = 32,    /* -0.0000012345678901234567 takes 25, the rest is slack */
};

/* Both write at p and return the end; no terminator. */
uint8_t *json_integer_put(uint8_t *p, int64_t value);

/* The fewest digits that read back as the same double, of those the nearest;
 * plain for 1e-6 <= |value| < 1e21, else d.ddde+21 / d.ddde-7; whole values
 * without a point; -0 for negative zero. Infinity and NaN, which JSON lacks: null. */
uint8_t *json_real_put(uint8_t *p, double value);

#endif
