/* Own proposals: which request each is, where it is in the log, and what to tell
 * it when its result doesn't come from the store. Known by a random seed that is
 * the record's (record.h), so that a node knows its entry again when a leader
 * replicates it.
 *
 *   waiting ──► staged ──► placed ──► committed ──► (applied: gone)
 *      ▲  │                ▲  ▲ │
 *      │  └───► flying ────┘  │ │   flying: sent to a leader
 *      └── refused, ┘         │ ▼
 *          overtaken       replaced    its place was taken; it may be in other members' logs
 *
 * The fence of a flying or replaced one is the only term whose leader can append it
 * (hazard 23). So it is certain not to have happened when an entry of a higher term
 * is committed and it isn't in the log up to there: entries of its term can't come
 * behind one of a higher term, and what is committed stays.
 *
 * A leader appends in the order in which a member has sent: one connection carries
 * forwards in order, and a new one ends the one before it (peer/peers_in.c) before
 * anything is taken from it. So a flying one is also certain not to have happened, and
 * never to happen, when one that was sent behind it to the leader of the same term is
 * in the log, and it isn't in front of that: it was lost with a connection, or a
 * refusal is on its way. Logs that have the same entry have the same ones before it.
 *
 * Only what is certain not to have happened is sent again, by going back to waiting, and
 * in the same term with another seed: a refusal of the first may still come. One that was
 * placed once has given its body away and is dropped. */
#ifndef RQ_CONSENSUS_CORE_PROPOSALS_H
#define RQ_CONSENSUS_CORE_PROPOSALS_H

#include "base/bytes.h"
#include "base/list.h"
#include "core/answers.h"
#include "raft/raft_types.h"

enum { PROPOSALS_MAX = 1 << 15 };

typedef enum proposal_state {
        PROPOSAL_WAITING,   /* for a leader; has a body */
        PROPOSAL_STAGED,    /* for this node's log, in this turn */
        PROPOSAL_FLYING,    /* to a leader; has a body. In the order sent, so terms rise */
        PROPOSAL_REPLACED,  /* was placed, so it can't be refused any more */
        PROPOSAL_PLACED,
        PROPOSAL_COMMITTED,
        PROPOSAL_ENDED,     /* barriers: to be asked for with proposals_next_ended() */
        PROPOSAL_STATE_COUNT,
} proposal_state;

typedef struct proposal {
        rq_list node;
        proposal_state state;
        uint64_t seed;
        request_origin from;
        uint64_t deadline_us;   /* UINT64_MAX: none */
        uint64_t wait_until_us; /* waiting: 0: not known yet */
        uint64_t step_budget;
        uint8_t kind;
        bool barrier;           /* for reads of this node: gets no answers, but an end */
        bool silent;            /* staged: nobody waits any more */
        raft_term fence;        /* flying, replaced, placed */
        uint64_t sent_us;       /* flying: when */
        raft_index index;       /* placed, committed; ended: 0: not in the log */
        bool refused;           /* ended: another one would be refused like it */
        answer_reason reason;
        const char *text;
        uint8_t *body;
        size_t body_bytes;
} proposal;

typedef struct proposals proposals;

proposals *proposals_new(void);
proposals *proposals_free(proposals *p);

uint32_t proposals_count(const proposals *p); /* all but the ended */
uint64_t proposals_bytes(const proposals *p); /* of bodies kept here */

/* A staged one. what: from, deadline_us, step_budget, kind, barrier. seed: random.
 * Borrowed until it is placed or answered.
 * Errors: RQ_EFULL, RQ_ENOMEM, RQ_EEXIST (the seed is taken). */
rq_err proposals_add(proposals *p, const proposal *what, uint64_t seed, proposal **ret_proposal);

/* Not to be, after all: nothing has happened, and the caller says so itself. */
void proposals_cancel(proposals *p, proposal *which);

/* A staged one waits for a leader; the body is copied. Errors: RQ_ENOMEM. */
rq_err proposals_wait(proposals *p, proposal *which, rq_bytes body);

/* The first that waits; NULL: none. */
proposal *proposals_next_waiting(const proposals *p);
void proposals_stage(proposals *p, proposal *which);
void proposals_sent(proposals *p, uint64_t seed, raft_term term, uint64_t now_us);

/* When the last one was sent to the leader of term that hasn't come back in the log; UINT64_MAX: all have. */
uint64_t proposals_last_sent_us(const proposals *p, raft_term term);

/* A staged one was appended here, behind all that are placed. */
void proposals_append(proposals *p, proposal *which, raft_index index, raft_term term);

/* An entry with this seed was taken into the log behind all that are placed. Those that
 * were sent before it and haven't come wait again; barriers among them have ended. */
void proposals_place(proposals *p, uint64_t seed, raft_index index, raft_term term);

/* Entries from index on are replaced. */
void proposals_truncate(proposals *p, raft_index index);

/* The log is committed and durable up to an entry, which has this term. */
void proposals_commit(proposals *p, raft_index index, raft_term term, answers *out);

/* The store has applied, and answers, everything up to index. */
void proposals_applied(proposals *p, raft_index index);

/* A new stream shows that the store had applied up to index without having said
 * so: results of those are lost. */
void proposals_results_lost(proposals *p, raft_index index, answers *out);

/* The leader of term has refused it: nothing has happened. It waits again. */
void proposals_refused(proposals *p, uint64_t seed, raft_term term);
/* Likewise, and the next leader would refuse it, too. */
void proposals_refuse(proposals *p, uint64_t seed, raft_term term, answer_reason reason, const char *text, answers *out);

/* Those that wait since the last call may do so until this time. */
void proposals_limit_waiting(proposals *p, uint64_t until_us);

/* Whose time is over before they are committed: refused if nothing can have
 * happened, else unknown. */
void proposals_expire(proposals *p, uint64_t now_us, answers *out);
uint64_t proposals_deadline_us(const proposals *p); /* a lower bound; UINT64_MAX: none */

/* Nothing will be committed here any more, as far as anybody can know. */
void proposals_give_up(proposals *p, answers *out, const char *text);

/* There is no leader to wait for. */
void proposals_refuse_waiting(proposals *p, answers *out, answer_reason reason, const char *text);

/* Nobody waits at this gateway any more. */
void proposals_gateway_gone(proposals *p, uint32_t gateway);

/* A barrier that has come to its end; to be given back by proposals_cancel(). */
proposal *proposals_next_ended(const proposals *p);

#endif
