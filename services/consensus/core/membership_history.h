/* Which membership each configuration entry of the log brought, as far back as
 * entries can still be replaced: beside the Raft core's history of
 * configurations, with names and addresses. The latest in the log is the one in
 * use, committed or not (thesis 4.1). */
#ifndef RQ_CONSENSUS_CORE_MEMBERSHIP_HISTORY_H
#define RQ_CONSENSUS_CORE_MEMBERSHIP_HISTORY_H

#include "core/membership.h"

typedef struct membership_entry {
        raft_index index;
        membership *value;   /* owned */
} membership_entry;

typedef struct membership_history { /* {0}: no membership is known */
        membership_entry *v;        /* ascending */
        size_t count, capacity;
} membership_history;

void membership_history_done(membership_history *h);

/* Room for so many more, so that the next adds can't fail. Errors: RQ_ENOMEM. */
rq_err membership_history_reserve(membership_history *h, size_t more);

/* Takes value; index above all before. Room must have been reserved. */
void membership_history_add(membership_history *h, raft_index index, membership *take_value);

/* Entries from index on are replaced: so are their memberships. */
void membership_history_truncate(membership_history *h, raft_index index);

/* Entries up to index stay for ever: only the last membership up to it is kept. */
void membership_history_commit(membership_history *h, raft_index index);

/* NULL: none. Borrowed until the next change. */
const membership *membership_history_latest(const membership_history *h, raft_index *ret_index);

/* The one that held at index. NULL: it isn't known any more; *ret_index is from where
 * on one is (0: none is). Borrowed as above. */
const membership *membership_history_at(const membership_history *h, raft_index index, raft_index *ret_index);

#endif
