/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of all our
 * formats. Uses SSE 4.2 where the machine has it; same result without. */
#ifndef RQ_BASE_CHECKSUM_H
#define RQ_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Continue a checksum: seed 0 starts one, an earlier result goes on. */
uint32_t rq_crc32c(uint32_t seed, const void *data, size_t size);

/* 64-bit mixing step (the finaliser of splitmix64) for running hashes. Not
 * cryptographic. hash' = rq_hash_mix(hash, value). */
uint64_t rq_hash_mix(uint64_t hash, uint64_t value);

#endif
