/* Arithmetic of majorities over arrays of any size up to RAFT_VOTERS_MAX, and
 * over configurations. Knows no roles and no terms. */
#ifndef RQ_CONSENSUS_RAFT_QUORUM_H
#define RQ_CONSENSUS_RAFT_QUORUM_H

#include <stdbool.h>
#include <stdint.h>

#include "raft/raft_types.h"

/* How many of voter_count make a majority. voter_count >= 1. */
uint32_t raft_quorum_size(uint32_t voter_count);

/* The highest value that a majority has reached: values[i] is how far voter i
 * is (match index, acknowledged round, 1 for a vote). */
uint64_t raft_quorum_reached(const uint64_t *values, uint32_t voter_count);

/* Likewise for a configuration; values[i] belongs to members[i]. Joint: what a
 * majority of each has reached (thesis 4.3). Learners don't count. */
uint64_t raft_quorum_reached_in(const raft_configuration *c, const uint64_t *values);

#endif
