/* The running checksum of a WAL (https://sqlite.org/fileformat2.html, section 4.2):
 * over its header, then over each frame's first eight bytes and its page. */
#ifndef RQ_STORE_WAL_SUM_H
#define RQ_STORE_WAL_SUM_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { WAL_MAGIC = 0x377f0682 /* lowest bit: checksums of big-endian words */ };

typedef struct wal_sum { uint32_t a, b; bool big; } wal_sum;

static inline uint32_t wal_get_be32(const uint8_t *p) {
        uint32_t v;
        memcpy(&v, p, sizeof v);
        return be32toh(v);
}

static inline void wal_put_be32(uint8_t *p, uint32_t v) {
        v = htobe32(v);
        memcpy(p, &v, sizeof v);
}

/* size: a multiple of 8. */
static inline void wal_sum_add(wal_sum *sum, const uint8_t *data, size_t size) {
        uint32_t a = sum->a, b = sum->b;
        for (size_t i = 0; i < size; i += 8) {
                uint32_t x, y;
                memcpy(&x, data + i, sizeof x);
                memcpy(&y, data + i + 4, sizeof y);
                a += (sum->big ? be32toh(x) : le32toh(x)) + b;
                b += (sum->big ? be32toh(y) : le32toh(y)) + a;
        }
        sum->a = a;
        sum->b = b;
}

/* As it is stored: eight bytes. */
static inline bool wal_sum_is(const wal_sum *sum, const uint8_t *stored) {
        return sum->a == wal_get_be32(stored) && sum->b == wal_get_be32(stored + 4);
}

static inline void wal_sum_store(const wal_sum *sum, uint8_t *ret_stored) {
        wal_put_be32(ret_stored, sum->a);
        wal_put_be32(ret_stored + 4, sum->b);
}

#endif
