/* Private: the state that the files of this folder share. */
#ifndef RQ_CONSENSUS_RAFT_STATE_H
#define RQ_CONSENSUS_RAFT_STATE_H

#include "raft/raft.h"

struct raft {
        raft_id id;
        raft_id voters[RAFT_VOTERS_MAX];
        uint32_t voter_count;
        uint64_t now_us;
        raft_output *out;          /* only during a step */

        raft_role role;
        raft_term term;
        raft_id vote, leader;
        raft_trail trail;
        raft_index commit;
        raft_index durable;        /* own entries up to it are on disk */
        raft_term accepted_term;   /* of the leader whose append was last accepted */
        raft_term durable_term;    /* hard state on disk */
        raft_id durable_vote;
        bool storage_failed, commit_known, learner;
        uint64_t uncommitted_bytes_max;

        bool granted[RAFT_VOTERS_MAX];     /* candidate */
        raft_index match[RAFT_VOTERS_MAX]; /* leader: what each voter has on disk */
        raft_index term_first;             /* leader: the no-op of its term */

        uint64_t round;                    /* the last one begun */
        uint64_t round_answered;           /* ready or failed */
        uint64_t round_confirmed[RAFT_VOTERS_MAX];
};

/* raft_election.c */
void raft_campaign(raft *r);
void raft_count_votes(raft *r);
bool raft_is_elected(const raft *r); /* a majority's votes are durable */
void raft_step_down(raft *r);

/* raft_leader.c */
rq_err raft_become_leader(raft *r);
rq_err raft_append_proposals(raft *r, const uint32_t *entry_bytes, uint32_t count);
void raft_advance_commit(raft *r);

/* raft_read.c */
void raft_read_begin(raft *r);
void raft_read_answer(raft *r);
void raft_read_fail(raft *r);

/* raft.c: ask for durability of the state and the log as they are now. */
void raft_persist(raft *r);
void raft_persist_entries(raft *r, raft_index first);
uint32_t raft_own_place(const raft *r);

#endif
