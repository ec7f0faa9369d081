/* The Raft core: a pure state machine. An event goes in, effects come out as
 * data; the clock is a field of the event. No I/O, no threads, no callbacks, no
 * allocation, no payloads: it knows terms, indexes and byte counts.
 *
 * Order of effects (thesis 3.8, architecture.md rule 1): a promise leaves after
 * the persist that covers it. The core waits itself: votes granted and entries
 * accepted are answered in the step of the RAFT_EV_PERSISTED that confirms them,
 * so every message of an output may be sent at once.
 *
 * Sources: Ongaro's thesis (sections in the files), etcd's raft for pre-vote with
 * check-quorum and for progress, shared/design/raft.md section 3 for what must not
 * happen. docs/raft.md says what is implemented and what deliberately isn't. */
#ifndef RQ_CONSENSUS_RAFT_H
#define RQ_CONSENSUS_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/raft_message.h"
#include "raft/raft_trail.h"
#include "raft/raft_types.h"

typedef struct raft raft;

typedef struct raft_options {
        raft_id id;
        bool learner;                /* architecture rule 8: never campaigns, never votes, whatever the configuration says */
        raft_term term;              /* hard state: term, vote, what was known to be committed */
        raft_id vote;
        raft_index commit;
        raft_index base_index;       /* the entry before the first one in the log */
        raft_term base_term;
        uint64_t uncommitted_bytes_max;
        uint32_t tail_entries_max;   /* power of two; uncommitted entries stay below it */

        uint64_t now_us;             /* monotonic, as in events */
        uint64_t random_seed;
        uint64_t read_round_first;   /* random, above 0: rounds of this run are told apart from those of earlier ones */
        uint64_t heartbeat_us;       /* between two heartbeats of a leader */
        uint64_t election_us;        /* silence that makes a follower campaign: drawn from [election_us, 2 election_us) for each
                                      * campaign; also check-quorum, and how long a vote is refused after hearing a leader */
        uint64_t lease_us;           /* 0: no lease reads; else below election_us by the clocks' drift */
        uint64_t disk_stall_us;      /* a persist that takes longer costs leadership and forbids campaigns, unless we are alone */
        uint32_t window_messages;    /* appends in flight to one member */
        uint64_t window_bytes;       /* likewise, or one append */
        uint64_t append_bytes;       /* of one append, or one entry */
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

/* An entry of an append, or one to propose. */
typedef struct raft_entry {
        raft_term term;                          /* RAFT_EV_PROPOSE: ignored */
        uint32_t bytes;
        const raft_configuration *configuration; /* NULL unless it is one; copied */
} raft_entry;

typedef enum raft_event_type {
        RAFT_EV_TICK,           /* time has passed */
        RAFT_EV_MESSAGE,        /* from a member; its entries beside it */
        RAFT_EV_PROPOSE,        /* entries to append */
        RAFT_EV_PERSISTED,      /* everything asked for up to this persist is durable */
        RAFT_EV_FAILED,         /* storage failed: it will never be durable */
        RAFT_EV_READ,           /* reads want an index */
        RAFT_EV_COMPACTED,      /* entries up to index were dropped from the log */
        RAFT_EV_PEER_DOWN,      /* its link broke: what was on its way is lost */
        RAFT_EV_COMMIT_WANTED,  /* the peer waits for index to be committed: tell it at once */
        RAFT_EV_TRANSFER,       /* hand leadership over to peer; 0: to the best follower. A follower asks its leader to */
        RAFT_EV_CONFIGURE,      /* propose a configuration; goes through a joint one if more than one voter differs */
        RAFT_EV_SNAPSHOT_DONE,  /* the snapshot sent to peer is installed up to index; 0: it failed */
        RAFT_EV_INSTALLED,      /* our own state is durable at a snapshot's index: the log begins behind it */
} raft_event_type;

typedef struct raft_event {
        raft_event_type type;
        uint64_t now_us;
        union {
                struct { const raft_message *message; const raft_entry *entries; } message; /* append.count entries */
                struct { const raft_entry *entries; uint32_t count; } propose;
                struct { bool weak; } read;
                raft_persisted persisted;
                raft_index compacted_index;
                struct { raft_id id; raft_index index; bool refused; } peer; /* PEER_DOWN (refused: nobody listens there any
                                                                              * more: its process is gone), COMMIT_WANTED, TRANSFER,
                                                                              * SNAPSHOT_DONE */
                const raft_configuration *configure;
                struct {
                        raft_index index; raft_term term;
                        const raft_configuration *configuration; raft_index configuration_index;
                } installed;
        };
} raft_event;

enum { RAFT_STEP_MESSAGES_MAX = 2 * RAFT_MEMBERS_MAX + 2 };

/* Effects of one or several steps. Messages and entries are those of the last
 * step only: take them before the next; raft_step() clears them. The others
 * accumulate until raft_output_reset(). */
typedef struct raft_output {
        raft_message messages[RAFT_STEP_MESSAGES_MAX];
        uint32_t message_count;
        raft_index accepted_first;             /* MESSAGE: entries from here on were taken, replacing what was there; 0: none; */
        uint32_t accepted_skip;                /* they begin behind so many of the event's entries, and reach to the last one */
        raft_index appended_index;             /* 0, or an entry that the core itself has appended, of ... */
        raft_term appended_term;
        const raft_configuration *appended_configuration; /* NULL: the no-op of a term; else a configuration. Borrowed until the next step */
        raft_index proposed_first;             /* PROPOSE: place of the entries that were taken, */
        uint32_t proposed_count;               /* which are the first so many of the event */
        uint64_t read_round;                   /* READ: the round to wait for; 0: ready at once, at ... */
        raft_index read_index;                 /* ... this index (a lease holds) */

        struct {
                bool wanted;
                bool hard;                     /* write term and vote */
                raft_term term;
                raft_id vote;
                raft_index first, last;        /* entries to write, replacing what is there from first on; first 0: none. last below
                                                * first: only cut */
                raft_persisted when_durable;   /* what to say in RAFT_EV_PERSISTED */
        } persist;
        raft_index commit;                     /* 0, or how far the log is committed now */
        uint64_t reads_ready_round;            /* rounds up to it may read at ... */
        raft_index reads_ready_index;          /* ... this index */
        uint64_t reads_failed_round;           /* rounds up to it are refused: another leader, or none */
        bool state_changed;                    /* role, term, leader, readiness */
        bool configuration_changed;
} raft_output;

/* Bytes that raft_init() needs for these options. */
size_t raft_bytes(const raft_options *options);

/* memory: raft_bytes(), aligned as for malloc. runs: see raft_trail.h; it stays
 * the caller's and must outlive the raft. configuration: that holds at
 * base_index, of the entry configuration_index (NULL, 0: none yet, the node waits
 * for one). Recovered entries follow by raft_restore(), then steps.
 * Errors: RQ_EINVAL (sizes, times, a configuration that isn't one, a commit
 * index or term that can't be). */
rq_err raft_init(void *memory, const raft_options *options, const raft_configuration *configuration,
                 raft_index configuration_index, raft_run *runs, uint32_t run_capacity, raft **ret_raft);

/* The recovered log, run by run; then its configurations, in order.
 * Errors: those of raft_trail_restore(); RQ_ECORRUPT: entries of a term that
 * the hard state has never reached. */
rq_err raft_restore(raft *r, raft_term term, raft_index last, uint64_t uncommitted_bytes);
rq_err raft_restore_configuration(raft *r, raft_index index, const raft_configuration *configuration);

/* Must be called when recovery is complete. Errors: RQ_ECORRUPT: the log ends
 * below what was known to be committed. */
rq_err raft_restored(raft *r);

/* On an error nothing has changed but the clock.
 * Errors: RQ_ENOTLEADER (PROPOSE, TRANSFER, CONFIGURE: not the leader, or handing
 * over; READ: no leader known), RQ_EFULL (PROPOSE: not even the first entry fits
 * the limits; CONFIGURE), RQ_EBUSY (CONFIGURE: a change is under way, or no entry
 * of this term is committed yet), RQ_EINVAL (COMPACTED above commit; a
 * configuration that isn't one, or a voter that would become a learner together with
 * other changes; TRANSFER to who can't lead; INSTALLED that contradicts what is
 * committed), RQ_EPROTO (MESSAGE: what no correct member sends; it is ignored).
 * An append for which there is no room (tail, runs, configurations) is RQ_OK and as
 * if it was lost: accepted_first stays 0. */
rq_err raft_step(raft *r, const raft_event *event, raft_output *out);
void raft_output_reset(raft_output *out);

/* When the next TICK is due: 0 at once, UINT64_MAX never. */
uint64_t raft_deadline_us(const raft *r);

/* Appends are fetched, so that what is sent follows the links' room. Whether
 * there is one for this member now: message is complete but for append.count,
 * which may be up to *ret_count_max (0: only the commit index or a probe).
 * bytes_max: of its entries, one may be larger. Stays until raft_append_sent(). */
bool raft_next_append(const raft *r, raft_id to, raft_message *ret_message, uint32_t *ret_count_max, uint64_t *ret_bytes_max);
/* It is on its way with so many entries. */
void raft_append_sent(raft *r, raft_id to, uint32_t count, uint64_t bytes, uint64_t now_us);

/* Room for runs that one step may need; below it the driver gives more. An append
 * needs one for each term that begins in it, beside these. */
enum { RAFT_RUNS_PER_STEP = 2 };
uint32_t raft_run_room(const raft *r);
raft_run *raft_give_runs(raft *r, raft_run *memory, uint32_t capacity);

raft_role raft_role_of(const raft *r);
raft_term raft_term_of(const raft *r);
raft_id raft_vote_of(const raft *r);
raft_id raft_leader_of(const raft *r);      /* 0: none known */
raft_index raft_commit_of(const raft *r);
raft_index raft_durable_of(const raft *r);
raft_index raft_appliable_of(const raft *r); /* min(commit, durable): what the state machine may see */
const raft_trail *raft_trail_of(const raft *r); /* borrowed until the next step */

/* The one in use: the latest in the log, committed or not. */
const raft_configuration *raft_configuration_of(const raft *r, raft_index *ret_index); /* NULL: none */
bool raft_is_voter(const raft *r);

/* Leader's view of a member, for status and for who sends snapshots. */
typedef enum raft_progress_state { RAFT_PROBE, RAFT_STREAM, RAFT_SNAPSHOT } raft_progress_state;
typedef struct raft_progress_view {
        raft_progress_state state;
        raft_index match, next;
        uint64_t contact_us;       /* when it was last heard in this term; 0: never */
        uint32_t in_flight_messages;
        uint64_t in_flight_bytes;
} raft_progress_view;
bool raft_progress_of(const raft *r, raft_id id, raft_progress_view *ret_view); /* false: not leading, or no such member */

/* Whether the commit index is known to be current since the start: an entry of
 * the leader's own term is committed (thesis 6.4). */
bool raft_commit_is_current(const raft *r);
/* Whether it was at some time since the start, here or at the leader that told
 * us: what is committed stays so. */
bool raft_commit_is_known(const raft *r);
/* How old the commit index may be: a leader: since the sending of the last round that
 * a majority has confirmed; a follower: since it was told by its leader. 0: never in this term. */
uint64_t raft_contact_us(const raft *r);
bool raft_storage_failed(const raft *r);
bool raft_transfer_is_under_way(const raft *r);

#endif
