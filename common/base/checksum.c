#include "base/checksum.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t size) {
        uint64_t wide = crc;
        for (; size >= 8; p += 8, size -= 8) {
                uint64_t word;
                memcpy(&word, p, 8);
                wide = _mm_crc32_u64(wide, word);
        }
        crc = (uint32_t) wide;
        for (; size > 0; p++, size--)
                crc = _mm_crc32_u8(crc, *p);
        return crc;
}
#endif

/* Reflected polynomial 0x1EDC6F41, one nibble a step: small, and only used
 * where the machine has no instruction for it. */
static uint32_t crc32c_portable(uint32_t crc, const uint8_t *p, size_t size) {
        static const uint32_t table[16] = {
                0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
        };
        for (; size > 0; p++, size--) {
                crc ^= *p;
                crc = crc >> 4 ^ table[crc & 15];
                crc = crc >> 4 ^ table[crc & 15];
        }
        return crc;
}

uint32_t rq_crc32c(uint32_t seed, const void *data, size_t size) {
#if defined(__x86_64__)
        if (__builtin_cpu_supports("sse4.2"))
                return ~crc32c_sse42(~seed, data, size);
#endif
        return ~crc32c_portable(~seed, data, size);
}

uint64_t rq_hash_mix(uint64_t hash, uint64_t value) {
        uint64_t z = hash + 0x9e3779b97f4a7c15u + value;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        return z ^ z >> 31;
}
