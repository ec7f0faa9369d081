/* Invariants of one node, to be looked at after each step. */
#ifndef RQ_CONSENSUS_RAFT_CHECK_H
#define RQ_CONSENSUS_RAFT_CHECK_H

#include "raft/raft.h"

/* NULL, or the invariant that is broken. */
const char *raft_check(const raft *r);

#endif
