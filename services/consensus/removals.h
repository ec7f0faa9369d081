/* Members that somebody here wants removed: clients of this node's gateways, or this node itself when it
 * leaves the cluster as it stops. Asks the leader, which may be this node, until it is done, refused or too late. */
#ifndef RQ_CONSENSUS_REMOVALS_H
#define RQ_CONSENSUS_REMOVALS_H

#include "service.h"

/* From a gateway; answered with REMOVE_DONE. */
void removals_add(consensus *c, uint32_t gateway, uint64_t request_id, const char *node_id, uint64_t deadline_us);
/* This node; c->leaving until it is over. */
void removals_leave(consensus *c, uint64_t deadline_us);

void removals_turn(consensus *c);
uint64_t removals_deadline_us(const consensus *c); /* UINT64_MAX: none */

/* From the peers' callbacks. */
void removals_asked(consensus *c, const peer_remove *remove, rq_bytes node_id);
void removals_replied(consensus *c, const peer_remove_reply *reply, rq_bytes text);

#endif
