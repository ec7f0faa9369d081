/* The Raft core: a pure state machine. An event goes in, effects come out as
 * data; the clock is a field of the event. No I/O, no threads, no callbacks, no
 * allocation, no payloads: it knows terms, indexes and byte counts.
 *
 * Now: a cluster of one voter, other configurations are refused. Majorities, read
 * rounds and terms are counted as for any size; messages between members, their
 * events and the replacing of entries don't exist yet. Order of effects (thesis
 * 3.8, architecture.md rule 1): every promise, also one to ourselves, counts only
 * once RAFT_EV_PERSISTED has confirmed the persist it came with. */
#ifndef RQ_CONSENSUS_RAFT_H
#define RQ_CONSENSUS_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/raft_trail.h"
#include "raft/raft_types.h"

typedef struct raft raft;

typedef struct raft_options {
        raft_id id;
        const raft_id *voters;
        uint32_t voter_count;
        bool learner;                /* architecture rule 8: never campaigns, never votes */
        raft_term term;              /* hard state: term, vote, what was known to be committed */
        raft_id vote;
        raft_index commit;
        raft_index base_index;       /* the entry before the first one in the log */
        raft_term base_term;
        uint64_t uncommitted_bytes_max;
        uint32_t tail_entries_max;   /* power of two; uncommitted entries stay below it */
} raft_options;

/* What a persist confirms when it is durable. index counts only while the log
 * was last accepted under accepted_term: an old fsync can't vouch for another
 * suffix at the same indexes. */
typedef struct raft_persisted {
        raft_term accepted_term;
        raft_index index;
        raft_term hard_term;
        raft_id hard_vote;
} raft_persisted;

typedef enum raft_event_type {
        RAFT_EV_TICK,      /* time has passed */
        RAFT_EV_PROPOSE,   /* entries to append, by their sizes */
        RAFT_EV_PERSISTED, /* everything asked for up to this persist is durable */
        RAFT_EV_FAILED,    /* storage failed: it will never be durable */
        RAFT_EV_READ,      /* reads want an index */
        RAFT_EV_COMPACTED, /* entries up to index were dropped from the log */
} raft_event_type;

typedef struct raft_event {
        raft_event_type type;
        uint64_t now_us;
        union {
                struct { const uint32_t *entry_bytes; uint32_t count; } propose;
                raft_persisted persisted;
                raft_index compacted_index;
        };
} raft_event;

/* Effects of one or several steps; the driver performs and then resets it. */
typedef struct raft_output {
        struct {
                bool wanted;
                bool hard;                     /* write term and vote */
                raft_term term;
                raft_id vote;
                raft_index first, last;        /* entries to append; first 0: none */
                raft_persisted when_durable;   /* what to say in RAFT_EV_PERSISTED */
        } persist;
        raft_index noop_index;                 /* 0, or an entry the core itself has appended */
        raft_term noop_term;
        raft_index proposed_first;             /* place of the proposals that were taken, */
        uint32_t proposed_count;               /* which are the first so many of the event */
        raft_index commit;                     /* 0, or how far the log is committed now */
        uint64_t read_round;                   /* given to the last RAFT_EV_READ */
        uint64_t reads_ready_round;            /* rounds up to it may read at ... */
        raft_index reads_ready_index;          /* ... this index */
        uint64_t reads_failed_round;           /* rounds up to it are refused: not the leader any more */
        bool state_changed;                    /* role, term or readiness */
} raft_output;

/* Bytes that raft_init() needs for these options. */
size_t raft_bytes(const raft_options *options);

/* memory: raft_bytes(), aligned as for malloc. runs: see raft_trail.h; it stays
 * the caller's and must outlive the raft. Recovered entries follow by
 * raft_restore(), then steps.
 * Errors: RQ_EINVAL (anything but a cluster of one voter that is ourselves, or
 * a commit index below the base). */
rq_err raft_init(void *memory, const raft_options *options, raft_run *runs, uint32_t run_capacity, raft **ret_raft);

/* Errors: those of raft_trail_restore(); RQ_ECORRUPT: entries of a term that
 * the hard state has never reached. */
rq_err raft_restore(raft *r, raft_term term, raft_index last, uint64_t uncommitted_bytes);

/* Must be called when recovery is complete. Errors: RQ_ECORRUPT: the log ends
 * below what was known to be committed. */
rq_err raft_restored(raft *r);

/* out accumulates. On an error nothing has changed.
 * Errors: RQ_ENOTLEADER (PROPOSE, READ), RQ_EFULL (PROPOSE: not even the first
 * entry fits the limits), RQ_EINVAL (COMPACTED above commit). */
rq_err raft_step(raft *r, const raft_event *event, raft_output *out);
void raft_output_reset(raft_output *out);

/* When the next TICK is due: 0 at once, UINT64_MAX never. */
uint64_t raft_deadline_us(const raft *r);

/* Room for runs that one step may need; below it the driver gives more. */
enum { RAFT_RUNS_PER_STEP = 2 };
uint32_t raft_run_room(const raft *r);
raft_run *raft_give_runs(raft *r, raft_run *memory, uint32_t capacity);

raft_role raft_role_of(const raft *r);
raft_term raft_term_of(const raft *r);
raft_id raft_vote_of(const raft *r);
raft_id raft_leader_of(const raft *r);      /* 0: none known */
raft_index raft_commit_of(const raft *r);
raft_index raft_durable_of(const raft *r);
const raft_trail *raft_trail_of(const raft *r); /* borrowed until the next step */
uint32_t raft_voter_count(const raft *r);

/* Whether the commit index is known to be current since the start: an entry of
 * the leader's own term is committed (thesis 6.4). */
bool raft_commit_is_current(const raft *r);
/* Whether it was at some time since the start: what is committed stays so. */
bool raft_commit_is_known(const raft *r);
bool raft_storage_failed(const raft *r);

#endif
