/* Own proposals in the log: which request each index is, and what to tell it
 * when its result doesn't come from the store. In index order. */
#ifndef RQ_CONSENSUS_CORE_PROPOSALS_H
#define RQ_CONSENSUS_CORE_PROPOSALS_H

#include "core/answers.h"
#include "raft/raft_trail.h"

enum { PROPOSALS_MAX = 1 << 15 };

typedef struct proposals proposals;

proposals *proposals_new(void);
proposals *proposals_free(proposals *p);

uint32_t proposals_count(const proposals *p); /* in the log and not yet applied */

/* Room for so many more? */
bool proposals_have_room(const proposals *p, uint32_t count);

/* index above all before. deadline_us: UINT64_MAX for none. */
void proposals_add(proposals *p, raft_index index, raft_term term, request_origin from, uint64_t deadline_us);

/* The log is committed so far. A proposal whose place has another term was
 * overwritten: dropped. Hazard 23: only here, where every entry up to the
 * committed one is known, can that be said. */
void proposals_committed(proposals *p, raft_index commit, const raft_trail *trail, answers *out);

/* The store has applied, and answers, everything up to index. */
void proposals_applied(proposals *p, raft_index index);

/* A new stream shows that the store had applied up to index without having said
 * so: results of those are lost. */
void proposals_results_lost(proposals *p, raft_index index, answers *out);

/* Uncommitted ones whose time is over become unknown. */
void proposals_expire(proposals *p, uint64_t now_us, answers *out);
uint64_t proposals_deadline_us(const proposals *p); /* a lower bound; UINT64_MAX: none */

/* What isn't committed will perhaps never be known to be. */
void proposals_give_up(proposals *p, answers *out, const char *text);

/* Nobody waits at this gateway any more. */
void proposals_gateway_gone(proposals *p, uint32_t gateway);

#endif
