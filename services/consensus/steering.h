/* What a leader decides about the membership: who is taken in, who becomes a voter, who has moved, who
 * is removed. One change at a time; nothing is remembered but in the log: whoever wants
 * something asks again until it is so, also of the next leader. */
#ifndef RQ_CONSENSUS_STEERING_H
#define RQ_CONSENSUS_STEERING_H

#include "service.h"

/* Each turn: promotes, follows addresses, reaps. */
void steering_turn(consensus *c);

/* A node asks to become a member. payload: see peer_join_result. */
void steering_join(consensus *c, const peer_hello *from, const peers_join *join, peer_join_reply *ret_reply, rq_buf *ret_payload);

/* A member has started, and looks for the others with -join: it is counted, nothing else. */
void steering_visit(consensus *c, const peer_hello *from);

/* This node id is to leave. text: with REFUSED. */
peer_remove_result steering_remove(consensus *c, const char *node_id, char *text, size_t text_size);

/* A node of our cluster that isn't a member by what this node knows. */
peers_stranger steering_stranger(const consensus *c, const peer_hello *from);

/* Index of the configuration entry that this node knows. */
raft_index steering_configuration_index(const consensus *c);

/* Whether every other member is connected. */
bool steering_is_complete(const consensus *c);

#endif
