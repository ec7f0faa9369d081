/* Arithmetic of configurations: which are valid, and how one becomes another
 * (thesis 4.1, 4.3). Knows no log and no roles. */
#ifndef RQ_CONSENSUS_RAFT_MEMBERS_H
#define RQ_CONSENSUS_RAFT_MEMBERS_H

#include <stdbool.h>

#include "raft/raft_types.h"

/* Ids that are there and differ, at least one voter, not too many; outgoing only
 * if joint, and then at least one. */
bool raft_members_are_valid(const raft_configuration *c);

const raft_member *raft_members_find(const raft_configuration *c, raft_id id); /* NULL: not one */

/* Of any majority. c may be NULL. */
bool raft_members_has_voter(const raft_configuration *c, raft_id id);

/* How many voters one has and the other hasn't; neither is joint. */
uint32_t raft_members_difference(const raft_configuration *a, const raft_configuration *b);

/* The joint one between two that aren't. False: too many members; or a voter of
 * `from` would stay as a learner, which a joint configuration can't express: that
 * is a change of its own. */
bool raft_members_join(const raft_configuration *from, const raft_configuration *to, raft_configuration *ret_joint);

/* What a joint one leads to: those who are only outgoing have left. */
void raft_members_leave(const raft_configuration *joint, raft_configuration *ret_final);

#endif
