/* Bodies of the frames by which members compare their outcomes: fixed fields,
 * little-endian, strictly decoded; docs/wire.md. Pure. */
#ifndef RQ_CONSENSUS_PEER_OUTCOMES_H
#define RQ_CONSENSUS_PEER_OUTCOMES_H

#include "base/bytes.h"
#include "base/err.h"
#include "outcomes.h"

enum {
        PEER_PROFILE_BYTES       = 32,
        PEER_OUTCOMES_BYTES      = 32,
        PEER_OUTCOMES_MARK_BYTES = 16,
        PEER_OUTCOMES_MARKS_MAX  = 64, /* in one frame */
        PEER_REFUTED_BYTES       = 48,
};

typedef struct peer_profile {
        raft_id from, to;
        uint64_t digest;
        uint32_t extensions;
        char sqlite_version[OUTCOMES_VERSION_MAX + 1]; /* printable ASCII */
} peer_profile;
void peer_profile_encode(const peer_profile *profile, uint8_t out[static PEER_PROFILE_BYTES]); /* sqlite_version is the payload */
/* Errors of all of them: RQ_EPROTO. */
rq_err peer_profile_decode(rq_bytes body, rq_bytes payload, peer_profile *ret_profile);

typedef struct peer_outcomes {
        raft_id from, to;
        uint64_t generation;
        uint32_t count;            /* 1 to PEER_OUTCOMES_MARKS_MAX */
        outcome_mark marks[PEER_OUTCOMES_MARKS_MAX]; /* by rising index */
} peer_outcomes;
/* Returns the size of the payload. */
size_t peer_outcomes_encode(const peer_outcomes *outcomes, uint8_t out[static PEER_OUTCOMES_BYTES],
                            uint8_t payload[static PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES]);
rq_err peer_outcomes_decode(rq_bytes body, rq_bytes payload, peer_outcomes *ret_outcomes);

typedef struct peer_refuted {
        raft_id from, to;
        raft_term term;
        uint64_t index, own, majority; /* hashes at index: the receiver's, and what a majority has */
} peer_refuted;
void peer_refuted_encode(const peer_refuted *refuted, uint8_t out[static PEER_REFUTED_BYTES]);
rq_err peer_refuted_decode(rq_bytes body, peer_refuted *ret_refuted);

#endif
