/* Bodies of the frames between members: fixed fields, little-endian, strictly
 * decoded. docs/wire.md lists them byte by byte. Pure. */
#ifndef RQ_CONSENSUS_PEER_MESSAGE_H
#define RQ_CONSENSUS_PEER_MESSAGE_H

#include <stdbool.h>

#include "base/rng.h"
#include "core/driver.h"
#include "core/membership.h"
#include "peer/peer_frame.h"

enum {
        PEER_API_ADDRESS_MAX  = 255,
        PEER_HELLO_FIXED_BYTES = 52,
        PEER_HELLO_BYTES_MAX  = 1024, /* also of a newer build's, whose rest is ignored */
        PEER_FOUND_BYTES      = 8,
        PEER_RAFT_BYTES_MAX   = 64,
        PEER_FORWARD_BYTES    = 48,
        PEER_REFUSED_BYTES    = 40,
        PEER_JOIN_BYTES       = 8,
        PEER_JOIN_CREDENTIALS_MAX = 768, /* what the gateway's users may have, and some */
        PEER_JOIN_REPLY_BYTES = 48,
        PEER_REMOVE_BYTES     = 24,
        PEER_REMOVE_REPLY_BYTES = 32,
        PEER_REMOVED_BYTES    = 8,
        PEER_PING_BYTES       = 24,
        PEER_OLD_COPY_BYTES   = 24,
        PEER_START_EARLIER    = 8,
        PEER_TEXT_MAX         = 1024, /* of a reason */
};

/* Votes must not wait behind a megabyte of records. */
typedef enum peer_class {
        PEER_CONTROL, /* votes, heartbeats, replies, reads */
        PEER_BULK,    /* appends, forwards */
        PEER_SNAPSHOT, /* only while one is sent */
        PEER_CLASSES,
} peer_class;

/* Which run of its node this is, and what its folder held when it began (io/starts_file.h, starts.h). */
typedef struct peer_start {
        uint64_t number, nonce;    /* number 0: a build that doesn't count, or a disk that couldn't be written */
        raft_term term;            /* of the hard state */
        raft_index index;          /* the last one of the log */
        uint32_t earlier[PEER_START_EARLIER]; /* lowest halves of the nonces of the starts before, the latest first */
} peer_start;

/* Who is at the other end, in its own words. */
typedef struct peer_hello {
        rq_uuid cluster_id;        /* the database id; zero: in no cluster yet */
        rq_uuid disk_uuid;
        peer_class class;          /* of this connection */
        bool virgin;               /* founded, and has promised nothing yet (founding.h) */
        bool visitor;              /* this connection is for looking and joining, not for a member's messages */
        uint16_t expect;           /* -bootstrap-expect, as long as it is in no cluster */
        uint16_t protocol_minor;
        uint32_t feature_level;
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        char raft_addr[MEMBERSHIP_ADDRESS_MAX + 1];
        char api_addr[PEER_API_ADDRESS_MAX + 1];
        raft_index configuration;  /* index of the entry that says who the members are, as far as its node knows; 0: none */
        peer_start start;          /* since minor 3 */
} peer_hello;

/* Largest body and payload that this type may have. False: unknown, to be skipped. */
bool peer_type_limits(uint16_t type, uint32_t *ret_body_bytes_max, uint32_t *ret_payload_bytes_max);

/* All encoders append a body. Errors: RQ_ENOMEM; nothing is appended. */
rq_err peer_hello_encode(const peer_hello *hello, rq_buf *out);
/* Errors: RQ_EPROTO. */
rq_err peer_hello_decode(rq_bytes body, peer_hello *ret_hello);

/* Writes the body of a message; returns its size. */
size_t peer_raft_encode(const raft_message *message, uint8_t out[static PEER_RAFT_BYTES_MAX]);
uint16_t peer_raft_type(raft_message_type type);
/* The highest term that it speaks of. */
raft_term peer_raft_highest_term(const raft_message *message);
/* Errors: RQ_EPROTO (size, unknown flags, not a type of Raft's). */
rq_err peer_raft_decode(uint16_t type, rq_bytes body, raft_message *ret_message);

/* from, to: members. body stays the payload's. */
void peer_forward_encode(raft_id from, const driver_forward *forward, uint8_t out[static PEER_FORWARD_BYTES]);
/* ret_forward->to: from whom (as driver_forwarded() wants it); body is empty. */
rq_err peer_forward_decode(rq_bytes body, raft_id *ret_to, driver_forward *ret_forward);

typedef struct peer_refusal {
        raft_id from, to;
        raft_term term;
        uint64_t seed;
        rq_err err;                /* one that means: nothing has happened */
} peer_refusal;
void peer_refusal_encode(const peer_refusal *refusal, uint8_t out[static PEER_REFUSED_BYTES]);
rq_err peer_refusal_decode(rq_bytes body, peer_refusal *ret_refusal);

/* FOUND: the record is the payload. */
void peer_found_encode(bool virgin, uint8_t out[static PEER_FOUND_BYTES]);
rq_err peer_found_decode(rq_bytes body, bool *ret_virgin);

/* JOIN. stays: as a learner (-raft-non-voter). Who it is, HELLO has said. Since minor 3 with -join-as the payload is
 * "user:password"; else there is none. */
void peer_join_encode(bool stays, uint8_t out[static PEER_JOIN_BYTES]);
rq_err peer_join_decode(rq_bytes body, bool *ret_stays);

typedef enum peer_join_result {
        PEER_JOIN_ACCEPTED = 1,    /* it is a member; payload: all of them (core/membership.h) */
        PEER_JOIN_NOT_LEADER = 2,  /* payload: the leader's address; empty: none is known */
        PEER_JOIN_WAIT = 3,        /* ask again; payload: what is waited for */
        PEER_JOIN_REFUSED = 4,     /* payload: why */
} peer_join_result;
typedef struct peer_join_reply {
        peer_join_result result;
        rq_uuid database_id, cluster_id; /* with ACCEPTED, like ... */
        raft_index configuration;        /* ... the index of the entry that says who the members are */
} peer_join_reply;
void peer_join_reply_encode(const peer_join_reply *reply, uint8_t out[static PEER_JOIN_REPLY_BYTES]);
/* payload: checked, too: text is text. */
rq_err peer_join_reply_decode(rq_bytes body, rq_bytes payload, peer_join_reply *ret_reply);

/* REMOVE; payload: the node id. number: the asking node's, comes back with the reply. */
typedef struct peer_remove { raft_id from, to; uint64_t number; } peer_remove;
void peer_remove_encode(const peer_remove *remove, uint8_t out[static PEER_REMOVE_BYTES]);
rq_err peer_remove_decode(rq_bytes body, rq_bytes payload, peer_remove *ret_remove);

typedef enum peer_remove_result {
        PEER_REMOVE_DONE = 1,      /* no such member any more */
        PEER_REMOVE_WAIT = 2,      /* under way: ask again */
        PEER_REMOVE_REFUSED = 3,   /* payload: why */
        PEER_REMOVE_NOT_LEADER = 4,
} peer_remove_result;
typedef struct peer_remove_reply { peer_remove is; peer_remove_result result; } peer_remove_reply;
void peer_remove_reply_encode(const peer_remove_reply *reply, uint8_t out[static PEER_REMOVE_REPLY_BYTES]);
rq_err peer_remove_reply_decode(rq_bytes body, rq_bytes payload, peer_remove_reply *ret_reply);

/* OLD_COPY: what the sender knows of the receiver's disk. */
typedef struct peer_old_copy {
        uint64_t number, nonce;    /* of the start that counts; number UINT64_MAX: none ever will */
        bool led;                  /* there is a leader: the receiver can come back as a new node */
} peer_old_copy;
void peer_old_copy_encode(const peer_old_copy *old, uint8_t out[static PEER_OLD_COPY_BYTES]);
rq_err peer_old_copy_decode(rq_bytes body, peer_old_copy *ret_old);

/* REMOVED. configuration: index of the entry by which the other node isn't a member. */
void peer_removed_encode(raft_index configuration, uint8_t out[static PEER_REMOVED_BYTES]);
rq_err peer_removed_decode(rq_bytes body, raft_index *ret_configuration);

/* PING, and PONG with the same bytes. number: the asking node's. */
typedef struct peer_ping { raft_id from, to; uint64_t number; } peer_ping;
void peer_ping_encode(const peer_ping *ping, uint8_t out[static PEER_PING_BYTES]);
rq_err peer_ping_decode(rq_bytes body, peer_ping *ret_ping);

#endif
