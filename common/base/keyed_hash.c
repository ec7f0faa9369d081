#include "base/keyed_hash.h"

typedef struct sip { uint64_t v0, v1, v2, v3; } sip;

static inline uint64_t rotate(uint64_t v, int by) { return v << by | v >> (64 - by); }

static inline void mix(sip *s, int rounds) {
        for (int i = 0; i < rounds; i++) {
                s->v0 += s->v1;
                s->v2 += s->v3;
                s->v1 = rotate(s->v1, 13) ^ s->v0;
                s->v3 = rotate(s->v3, 16) ^ s->v2;
                s->v0 = rotate(s->v0, 32);
                s->v2 += s->v1;
                s->v0 += s->v3;
                s->v1 = rotate(s->v1, 17) ^ s->v2;
                s->v3 = rotate(s->v3, 21) ^ s->v0;
                s->v2 = rotate(s->v2, 32);
        }
}

static inline void absorb(sip *s, uint64_t word) {
        s->v3 ^= word;
        mix(s, 2);
        s->v0 ^= word;
}

rq_hash128 rq_keyed_hash(const rq_hash_key *key, rq_bytes bytes) {
        /* The initial words are "somepseudorandomlygeneratedbytes"; 0xee marks the long result. */
        sip s = {
                .v0 = key->low ^ UINT64_C(0x736f6d6570736575), .v1 = key->high ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
                .v2 = key->low ^ UINT64_C(0x6c7967656e657261), .v3 = key->high ^ UINT64_C(0x7465646279746573),
        };
        uint8_t tail[8] = {0};
        rq_hash128 hash;
        size_t at = 0;
        for (; at + 8 <= bytes.size; at += 8)
                absorb(&s, rq_get_u64(bytes.data + at));
        if (bytes.size > at)
                memcpy(tail, bytes.data + at, bytes.size - at);
        tail[7] = (uint8_t) bytes.size;
        absorb(&s, rq_get_u64(tail));

        s.v2 ^= 0xee;
        mix(&s, 4);
        hash.low = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
        s.v1 ^= 0xdd;
        mix(&s, 4);
        hash.high = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
        return hash;
}
