/* Who agrees with whom: the marks of each member's running hash of outcomes, and
 * what follows from them. Pure; docs/decisions/0014 says why it is so. A member
 * can only spoil its own marks, and what is said of a node needs a strict majority of
 * all voters that have said the same. */
#ifndef RQ_CONSENSUS_OUTCOMES_H
#define RQ_CONSENSUS_OUTCOMES_H

#include "core/membership.h"
#include "outcome_marks.h"

enum { OUTCOMES_VERSION_MAX = 31 };

/* Of one member, in its own words. */
typedef struct outcomes_member {
        raft_id id;                  /* 0: free */
        bool voter;
        uint64_t profile;            /* what its outcomes depend on; 0: not said */
        uint32_t extensions;         /* checksum; 0: none */
        char sqlite_version[OUTCOMES_VERSION_MAX + 1];
        uint64_t generation;         /* of its marks: others are of a database that it has no more */
        outcome_marks marks;
} outcomes_member;

/* {0} is empty. */
typedef struct outcomes_table {
        outcomes_member members[MEMBERSHIP_COUNT_MAX];
} outcomes_table;

/* Who is a member, and a voter by what is decided (of a joint membership: by the new one). Who isn't any more is forgotten. */
void outcomes_set_members(outcomes_table *o, const membership *m);

outcomes_member *outcomes_find(outcomes_table *o, raft_id id); /* NULL: no member */

/* Adds its marks; those of another generation are forgotten. */
void outcomes_take(outcomes_member *m, uint64_t generation, const outcome_mark *marks, size_t count);

typedef enum outcomes_verdict {
        OUTCOMES_UNKNOWN,            /* nothing to compare with yet */
        OUTCOMES_EQUAL,              /* as a strict majority of the voters has it */
        OUTCOMES_DIFFERENT,          /* a strict majority has another one */
        OUTCOMES_UNDECIDED,          /* there are different ones, and none has a majority */
} outcomes_verdict;

typedef struct outcomes_judgement {
        outcomes_verdict verdict;
        uint64_t index;              /* the newest at which something can be said */
        uint64_t own, majority;      /* hashes there; majority: with EQUAL and DIFFERENT */
        uint32_t alike;              /* with DIFFERENT: voters of that majority whose profile is the member's */
        uint32_t voters;             /* of all */
} outcomes_judgement;
outcomes_judgement outcomes_judge(const outcomes_table *o, raft_id id);

/* Hazard 28: a strict majority, of nodes that compute as it does, has another outcome. */
bool outcomes_is_refuted(const outcomes_judgement *j);

/* Whether what the leader says of this node is so by all that others have said, too: then its database is to be kept aside.
 * own, majority: the hashes at index, as the leader says. */
bool outcomes_confirms(const outcomes_table *o, raft_id self, raft_id leader, uint64_t index, uint64_t own, uint64_t majority);

/* Whether this member has marked this at index. */
bool outcomes_has(const outcomes_table *o, raft_id id, uint64_t index, uint64_t hash);

#endif
