/* Bodies of the frames that carry a snapshot from one member to another; as in
 * peer_message.h. docs/wire.md has the order. Pure. */
#ifndef RQ_CONSENSUS_PEER_SNAPSHOT_H
#define RQ_CONSENSUS_PEER_SNAPSHOT_H

#include <stdbool.h>

#include "base/rng.h"
#include "core/membership.h"
#include "peer/peer_frame.h"
#include "raft/raft_types.h"

enum {
        PEER_SNAPSHOT_OFFER_BYTES  = 120,
        PEER_SNAPSHOT_CHUNK_BYTES  = 48,
        PEER_SNAPSHOT_REPLY_BYTES  = 64,
        PEER_SNAPSHOT_WANTED_BYTES = 32,
        PEER_SNAPSHOT_DATA_MAX     = 256 * 1024,   /* of a chunk, unpacked; what it carries isn't more */
        PEER_SNAPSHOT_STATE_MAX    = 1024 * 1024,  /* what goes with the database */
        PEER_SNAPSHOT_WINDOW_BYTES = 8 * 1024 * 1024, /* unpacked, sent and not yet written over there */
};

/* All begin with who sends and who is meant. */
typedef struct peer_snapshot_offer {
        raft_id from, to;
        raft_term term;                 /* the sender's */
        uint64_t session;               /* of the sender; not 0 */
        rq_uuid disk_id;                /* the image: see ImageId (proto/consensus.proto) */
        raft_index index;
        raft_term index_term;
        uint64_t digest;
        uint64_t bytes;                 /* of the database */
        uint64_t clock_us;              /* entry clock at index */
        raft_index configuration_index; /* of the entry that the membership comes from */
        uint32_t membership_bytes;      /* the payload's first part; the state follows */
} peer_snapshot_offer;

typedef struct peer_snapshot_chunk {
        raft_id from, to;
        uint64_t session;
        uint64_t offset;
        uint32_t raw_bytes, crc;
        bool packed;
} peer_snapshot_chunk;

typedef enum peer_snapshot_phase {
        PEER_SNAPSHOT_STAGING,
        PEER_SNAPSHOT_DONE,   /* installed, or not needed: the log goes on behind index */
        PEER_SNAPSHOT_FAILED,
} peer_snapshot_phase;

typedef struct peer_snapshot_reply {
        raft_id from, to;
        raft_term term;
        uint64_t session;
        peer_snapshot_phase phase;
        uint64_t offset, next;          /* what is written; where the next chunk is to begin */
        raft_index index;               /* DONE */
} peer_snapshot_reply;

/* To the leader: the sender's database isn't what its log needs. */
typedef struct peer_snapshot_wanted {
        raft_id from, to;
        raft_term term;
        raft_index min_index;           /* below it, it would be of no use */
} peer_snapshot_wanted;

void peer_snapshot_offer_encode(const peer_snapshot_offer *offer, uint8_t out[static PEER_SNAPSHOT_OFFER_BYTES]);
void peer_snapshot_chunk_encode(const peer_snapshot_chunk *chunk, uint8_t out[static PEER_SNAPSHOT_CHUNK_BYTES]);
void peer_snapshot_reply_encode(const peer_snapshot_reply *reply, uint8_t out[static PEER_SNAPSHOT_REPLY_BYTES]);
void peer_snapshot_wanted_encode(const peer_snapshot_wanted *wanted, uint8_t out[static PEER_SNAPSHOT_WANTED_BYTES]);

/* Errors of all: RQ_EPROTO (size, numbers that can't be). */
rq_err peer_snapshot_offer_decode(rq_bytes body, rq_bytes payload, peer_snapshot_offer *ret_offer);
rq_err peer_snapshot_chunk_decode(rq_bytes body, rq_bytes payload, peer_snapshot_chunk *ret_chunk);
rq_err peer_snapshot_reply_decode(rq_bytes body, peer_snapshot_reply *ret_reply);
rq_err peer_snapshot_wanted_decode(rq_bytes body, peer_snapshot_wanted *ret_wanted);

#endif
