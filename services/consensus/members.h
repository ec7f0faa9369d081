/* To and from the other members: what their links bring goes to the driver, what
 * the driver has for them goes out, appends as far as each link has room. */
#ifndef RQ_CONSENSUS_MEMBERS_H
#define RQ_CONSENSUS_MEMBERS_H

#include "service.h"

/* The callbacks of c->peers. */
peers_callbacks members_callbacks(consensus *c);
peers_snapshots members_snapshots(consensus *c);
/* Likewise, for who comes from outside. */
peers_changes members_changes(consensus *c);

/* After a turn: what is known of this node's own place among the members. */
void members_look(consensus *c);

/* Sends what a turn has brought. */
void members_send(consensus *c);

/* The peers' list follows the membership in use. */
void members_update(consensus *c);

/* NULL: not a member. Borrowed until the next turn. */
const member *members_find(const consensus *c, raft_id id);

#endif
