/* Arithmetic of majorities over arrays of any size up to RAFT_VOTERS_MAX.
 * Knows no roles and no terms. */
#ifndef RQ_CONSENSUS_RAFT_QUORUM_H
#define RQ_CONSENSUS_RAFT_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/raft_types.h"

/* How many of voter_count make a majority. voter_count >= 1. */
uint32_t raft_quorum_size(uint32_t voter_count);

/* Whether a majority says yes. */
bool raft_quorum_votes(const bool *granted, uint32_t voter_count);

/* The highest value that a majority has reached: values[i] is how far voter i
 * is (match index, acknowledged round). */
uint64_t raft_quorum_reached(const uint64_t *values, uint32_t voter_count);

#endif
