/* The envelope of everything between members, over TCP. docs/wire.md has the
 * types and their bodies.
 *
 *   0 u32 magic "rqP1"    4 u16 version    6 u16 type
 *   8 u32 flags, 0       12 u32 body_bytes  16 u32 payload_bytes
 *  20 u32 CRC-32C of the body               24 u32 CRC-32C of bytes 0..23
 *  28 body, then payload: opaque here; records carry their own checksums
 * All little-endian.
 *
 * The wire is hostile (architecture rule 5): what a frame may cost follows from
 * its header alone, which is checked before any memory is taken for it. */
#ifndef RQ_CONSENSUS_PEER_FRAME_H
#define RQ_CONSENSUS_PEER_FRAME_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
        PEER_MAGIC             = 0x31507172, /* "rqP1" */
        PEER_VERSION           = 1,
        PEER_PROTOCOL_MINOR    = 3, /* what is new can be ignored by who doesn't know it */
        PEER_FEATURE_LEVEL     = 2, /* what all members must know before it is used: feature_level.h */
        PEER_HEADER_BYTES      = 28,
        PEER_BODY_BYTES_MAX    = 1024 * 1024,      /* of any type, also of one to come */
        PEER_PAYLOAD_BYTES_MAX = 80 * 1024 * 1024, /* one log entry of 64 MiB fits, with its frame */
};

/* Numbers are never reused. Reserved: 80-95 snapshots, 102-111 changes of
 * membership. */
typedef enum peer_type {
        PEER_HELLO           = 1,  /* first, from both sides */
        PEER_FOUND           = 2,  /* to a member that isn't in the cluster yet */
        PEER_RAFT_FIRST      = 32, /* + raft_message_type */
        PEER_RAFT_LAST       = 63,
        PEER_FORWARD         = 64, /* to the leader; payload: body of the record to be */
        PEER_FORWARD_REFUSED = 65,
        PEER_SNAPSHOT_OFFER  = 80, /* on a connection of their own */
        PEER_SNAPSHOT_CHUNK  = 81, /* likewise */
        PEER_SNAPSHOT_REPLY  = 82, /* on the control connection */
        PEER_SNAPSHOT_WANTED = 83, /* likewise */
        PEER_JOIN            = 96, /* a node that wants to be a member; answered on the same connection (minor 2) */
        PEER_JOIN_REPLY      = 97,
        PEER_REMOVE          = 98, /* to the leader: this node is to leave the cluster (minor 2) */
        PEER_REMOVE_REPLY    = 99,
        PEER_OLD_COPY        = 101, /* to who comes with an older copy of its folder, on the connection that it has made (minor 3) */
        PEER_REMOVED         = 100, /* to who isn't a member any more, on the connection that it has made (minor 2) */
        PEER_PING            = 120, /* of a member; answered on the same connection (minor 3) */
        PEER_PONG            = 121,
        PEER_PROFILE         = 112, /* what the sender's outcomes depend on (minor 3, like the next two) */
        PEER_OUTCOMES        = 113, /* the sender's marks of its running hash of outcomes */
        PEER_REFUTED         = 114, /* leader -> a member whose outcomes are not a majority's: begin anew */
} peer_type;

typedef struct peer_header {
        uint16_t type;
        uint32_t body_bytes, payload_bytes;
        uint32_t body_crc;
} peer_header;

/* Fills body_bytes and body_crc from body. */
void peer_header_encode(uint8_t out[static PEER_HEADER_BYTES], peer_header *header, rq_bytes body);

/* Errors: RQ_EPROTO (magic: something else talks here; checksum), RQ_EVERSION
 * (version, or flags that this build doesn't know), RQ_ETOOBIG (above the
 * envelope's own limits). */
rq_err peer_header_decode(const uint8_t in[static PEER_HEADER_BYTES], peer_header *ret_header);

#endif
