/* What members' cores tell each other. Plain values: the peer link encodes them
 * (peer/peer_message.h), the records of an append travel beside them. A message
 * may be lost, doubled, late by any time and out of order: each says enough to be
 * judged alone. */
#ifndef RQ_CONSENSUS_RAFT_MESSAGE_H
#define RQ_CONSENSUS_RAFT_MESSAGE_H

#include "raft/raft_types.h"

/* On the wire: numbers are never reused. */
typedef enum raft_message_type {
        RAFT_MSG_VOTE            = 1,
        RAFT_MSG_VOTE_REPLY      = 2,
        RAFT_MSG_APPEND          = 3,
        RAFT_MSG_APPEND_REPLY    = 4,
        RAFT_MSG_HEARTBEAT       = 5,
        RAFT_MSG_HEARTBEAT_REPLY = 6,
        RAFT_MSG_TIMEOUT_NOW     = 7, /* leadership transfer: campaign at once (thesis 3.10) */
        RAFT_MSG_READ            = 8, /* follower asks the leader for an index to read at */
        RAFT_MSG_READ_REPLY      = 9,
        RAFT_MSG_TRANSFER        = 10, /* follower asks the leader to hand leadership over */
} raft_message_type;

typedef struct raft_message {
        raft_message_type type;
        raft_id from, to;
        raft_term term;                /* the sender's */
        union {
                struct {
                        bool pre;              /* asks only whether it would get the vote (thesis 9.6) */
                        bool transfer;         /* the leader wants this: don't protect it */
                        raft_term campaign_term; /* the term to vote in: with pre, the sender's + 1 */
                        raft_index last_index;
                        raft_term last_term;
                } vote;
                struct {
                        bool pre, granted;
                        raft_term campaign_term; /* of the question */
                } vote_reply;
                struct {
                        raft_index previous_index;
                        raft_term previous_term;
                        uint32_t count;        /* entries behind previous_index; 0: only the commit index */
                        raft_index commit;     /* the leader's, likewise */
                } append;
                struct {
                        bool rejected;
                        raft_index index;      /* match: durable and equal to the leader's up to here; rejected: the
                                                * previous_index that didn't fit */
                        raft_index hint_index; /* rejected: the highest index that could still fit, ... */
                        raft_term hint_term;   /* ... and its term (fast back-up, thesis 5.3 end) */
                } append_reply;
                struct {
                        raft_index commit;     /* the leader's; the receiver takes no more of it than is proven to match */
                        uint64_t round;        /* ReadIndex and check-quorum */
                } heartbeat;
                struct {
                        uint64_t round;
                        raft_index index;      /* match, as in append_reply; 0: nothing proven in this term */
                } heartbeat_reply;
                struct {
                        bool weak;             /* a lease of the leader is enough */
                        uint64_t round;        /* the asker's own number, unique over its restarts */
                } read;
                struct {
                        raft_id target;        /* 0: to the best follower */
                } transfer;
                struct {
                        bool refused;          /* not the leader of this term: ask again */
                        uint64_t round;        /* of the question */
                        raft_index index;
                } read_reply;
        };
} raft_message;

#endif
