/* Nodes that compute other outcomes are noticed, and the one that is wrong begins
 * anew (safety rule 4, hazard 28, docs/decisions/0014). Each member tells all
 * others the marks of its running hash, and each judges by itself. The leader
 * says which one begins anew, one at a time; that one does so if it sees the
 * same: a strict majority of the voters, with its own SQLite, machine and
 * extensions, has another outcome. Without such a majority it is only told. */
#ifndef RQ_CONSENSUS_DIVERGENCE_H
#define RQ_CONSENSUS_DIVERGENCE_H

#include "outcomes.h"
#include "service.h"

typedef struct divergence divergence;

rq_err divergence_new(consensus *c, divergence **ret_divergence); /* RQ_ENOMEM */
divergence *divergence_free(divergence *d);                       /* accepts NULL, returns it */

/* The callbacks of c->peers. */
peers_outcomes divergence_peers(consensus *c);

/* From the store: it goes on behind index. profile: digest 0: it is of an older build. What was known of its marks is
 * forgotten; it tells them again. */
void divergence_on_fetch(divergence *d, raft_index index, const peer_profile *profile);
void divergence_on_marks(divergence *d, const outcome_mark *marks, size_t count);

void divergence_turn(divergence *d);
uint64_t divergence_deadline_us(const divergence *d); /* UINT64_MAX: none */

/* For status. False: no member. */
typedef struct divergence_view {
        outcomes_judgement judgement;
        uint64_t profile;           /* 0: not known */
        uint32_t extensions;
        const char *sqlite_version; /* ""; borrowed */
} divergence_view;
bool divergence_view_of(const divergence *d, raft_id id, divergence_view *ret_view);
const char *divergence_verdict_text(outcomes_verdict verdict);

#endif
