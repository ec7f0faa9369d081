/* What all members must know before it may be in the log (hazards 30): an older build stops at an entry that it
 * doesn't know, or worse, takes it for less than it is. Each node says its feature level in HELLO; until all members
 * have said that they know what an entry needs, it is refused, by the node that is asked and by the leader. What a member
 * said last is on disk (starts.h) and counts until it says something else, or isn't a member any more.
 *
 * A member that this node has never met is taken for new: else one that is down would be enough to refuse
 * what all others know. It stops at such an entry when it comes back, and says so.
 *
 * Level 1: SQL. Level 2: loads, several clients' writes in one entry, transactions of a request's own (BEGIN,
 * SAVEPOINT). Entries carry the level of their kind as ever, so that what is in logs stays readable. */
#ifndef RQ_CONSENSUS_FEATURE_LEVEL_H
#define RQ_CONSENSUS_FEATURE_LEVEL_H

#include "service.h"

enum { FEATURE_LEVEL_BASE = 1, FEATURE_LEVEL_LOADS_AND_GROUPS = 2 };

/* That an entry of this kind (record_kind) with this body needs. May say more than is needed of SQL that only
 * mentions BEGIN, as a trigger does. Allocates from arena, which is the caller's to reset. */
uint32_t feature_level_needed(uint8_t kind, rq_bytes body, rq_arena *arena);

/* Looks anew for the lowest level that a member has said, this node's own included: c->levels. When the members are others
 * than before, or one of them has said another level. */
void feature_level_update(consensus *c);

/* Whether this may be proposed now. Errors: RQ_EVERSION. */
rq_err feature_level_admit(const consensus *c, uint8_t kind, rq_bytes body);

/* For an answer: who is in the way. */
void feature_level_say_why(const consensus *c, char *text, size_t size);

#endif
