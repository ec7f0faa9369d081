#include "base/rng.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"

uint64_t rq_rng_next(rq_rng *rng) {
        uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}

uint64_t rq_rng_below(rq_rng *rng, uint64_t bound) {
        rq_assert(bound > 0);
        __extension__ typedef unsigned __int128 wide;
        return (uint64_t) ((wide) rq_rng_next(rng) * bound >> 64);
}

void rq_random_bytes(void *data, size_t size) {
        uint8_t *p = data;
        while (size > 0) {
                ssize_t n = getrandom(p, size, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                rq_assert(n > 0);
                p += n;
                size -= (size_t) n;
        }
}

rq_uuid rq_uuid_random(void) {
        rq_uuid uuid;
        rq_random_bytes(uuid.bytes, sizeof uuid.bytes);
        uuid.bytes[6] = (uint8_t) ((uuid.bytes[6] & 0x0f) | 0x40); /* RFC 9562 version 4 */
        uuid.bytes[8] = (uint8_t) ((uuid.bytes[8] & 0x3f) | 0x80);
        return uuid;
}

int rq_uuid_equal(const rq_uuid *a, const rq_uuid *b) {
        return memcmp(a->bytes, b->bytes, RQ_UUID_BYTES) == 0;
}

int rq_uuid_is_zero(const rq_uuid *uuid) {
        static const rq_uuid zero;
        return rq_uuid_equal(uuid, &zero);
}

char *rq_uuid_text(const rq_uuid *uuid, char text[static RQ_UUID_TEXT_BYTES]) {
        const uint8_t *b = uuid->bytes;
        (void) snprintf(text, RQ_UUID_TEXT_BYTES,
                        "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                        b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
        return text;
}
