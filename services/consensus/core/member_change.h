/* Which membership follows from a wish: to join, to leave, to become a voter, to
 * have another address. Pure. A change that would leave too few voters that answer is
 * refused with the reason: it could never be undone without recovery.
 *
 * A node that joins is a learner first, and becomes a voter when it has the log (thesis 4.2.1). A wiped disk under
 * an old node id is another member: it replaces the old one only when it is a voter, in one (joint)
 * change, and nothing of the old one counts for it (hazard 25). */
#ifndef RQ_CONSENSUS_CORE_MEMBER_CHANGE_H
#define RQ_CONSENSUS_CORE_MEMBER_CHANGE_H

#include "core/membership.h"

enum { MEMBER_CHANGE_TEXT_MAX = 1024 };

typedef enum member_change_verdict {
        MEMBER_CHANGE_NONE,    /* it is so already */
        MEMBER_CHANGE_WANTED,  /* for driver_configure() */
        MEMBER_CHANGE_REFUSED, /* for good, or as long as the same members answer; text says why */
} member_change_verdict;

typedef struct member_change {
        member_change_verdict verdict;
        membership wanted;                 /* with WANTED */
        char text[MEMBER_CHANGE_TEXT_MAX]; /* with REFUSED */
} member_change;

/* now: not joint. alive: who answers, place by place of now; the leader itself does. */

/* who: its disk, node id and address; stays: not to become a voter. */
void member_change_join(const membership *now, const bool *alive, const member *who, member_change *ret_change);
/* Everybody of this node id. */
void member_change_remove(const membership *now, const bool *alive, const char *node_id, member_change *ret_change);
/* This one only. */
void member_change_drop(const membership *now, const bool *alive, raft_id id, member_change *ret_change);
/* A learner that has caught up; voters with its node id leave. */
void member_change_promote(const membership *now, const bool *alive, raft_id id, member_change *ret_change);
void member_change_move(const membership *now, raft_id id, const char *raft_addr, member_change *ret_change);

#endif
