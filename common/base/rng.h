/* Seeded generator (splitmix64), and the only getrandom(). */
#ifndef RQ_BASE_RNG_H
#define RQ_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct rq_rng { uint64_t state; } rq_rng;

static inline rq_rng rq_rng_seeded(uint64_t seed) { return (rq_rng) { .state = seed }; }
uint64_t rq_rng_next(rq_rng *rng);

/* Uniform in [0, bound); bound > 0. */
uint64_t rq_rng_below(rq_rng *rng, uint64_t bound);

/* Bytes from the kernel; aborts if the kernel has none (it always has). */
void rq_random_bytes(void *data, size_t size);

enum { RQ_UUID_BYTES = 16, RQ_UUID_TEXT_BYTES = 37 };

/* A random 128-bit identity: incarnations, disk, cluster, stream, segment. */
typedef struct rq_uuid { uint8_t bytes[RQ_UUID_BYTES]; } rq_uuid;

rq_uuid rq_uuid_random(void);
int rq_uuid_equal(const rq_uuid *a, const rq_uuid *b); /* 1 if equal */
int rq_uuid_is_zero(const rq_uuid *uuid);
/* 8-4-4-4-12 hex digits and a NUL. Returns text. */
char *rq_uuid_text(const rq_uuid *uuid, char text[static RQ_UUID_TEXT_BYTES]);

#endif
