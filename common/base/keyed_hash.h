/* SipHash-2-4 with 128 bits of result (Aumasson, Bernstein: "SipHash: a fast
 * short-input PRF", 2012): a hash that nobody can predict or collide without the
 * key. For tables that strangers fill, and for naming a secret without keeping it. */
#ifndef RQ_BASE_KEYED_HASH_H
#define RQ_BASE_KEYED_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef struct rq_hash_key { uint64_t low, high; } rq_hash_key; /* from rq_random_bytes() */
typedef struct rq_hash128 { uint64_t low, high; } rq_hash128;

rq_hash128 rq_keyed_hash(const rq_hash_key *key, rq_bytes bytes);

static inline bool rq_hash128_equal(rq_hash128 a, rq_hash128 b) { return ((a.low ^ b.low) | (a.high ^ b.high)) == 0; }

#endif
