/* Private: the state that the files of this folder share. */
#ifndef RQ_CONSENSUS_RAFT_STATE_H
#define RQ_CONSENSUS_RAFT_STATE_H

#include "raft/raft.h"

enum {
        RAFT_HISTORY_MAX = 16,  /* configurations: the newest may have to be rolled back, and some are kept for whom asks */
        RAFT_ROUNDS_KEPT = 16,  /* power of two: rounds whose send time is remembered */
        RAFT_WINDOW_MAX = 4096, /* messages */
};

/* An append on its way to a member that streams. */
typedef struct raft_flight {
        raft_index last;
        uint64_t bytes;
} raft_flight;

/* Another member: its vote, its progress (leader), its question. */
typedef struct raft_peer {
        raft_id id;                    /* 0: a free place */
        bool answered, granted;        /* of the current campaign */

        raft_progress_state state;
        raft_index match, next;
        bool probe_sent;
        raft_index probe_last;         /* of its entries */
        uint64_t probe_bytes;
        uint64_t progress_us;          /* PROBE: when it was sent; STREAM: last acknowledgement or first append */
        raft_flight *flights;          /* ring */
        uint32_t flight_first, flight_count;
        uint64_t flight_bytes;
        raft_index commit_sent, commit_wanted;

        uint64_t since_us;             /* member, under this leader */
        uint64_t contact_us;
        uint64_t round_confirmed;
        uint64_t round_sent_us;        /* of the confirmed one */
        uint64_t read_round, read_ticket; /* a question that waits for our round read_ticket; 0: none */
} raft_peer;

typedef struct raft_held_configuration {
        raft_index index;
        raft_configuration configuration;
} raft_held_configuration;

struct raft {
        raft_options o;
        uint64_t now_us;
        uint64_t random;
        raft_output *out;              /* only during a step */

        raft_role role;
        raft_term term;
        raft_id vote, leader;
        raft_trail trail;
        raft_index commit;
        raft_index durable;            /* own entries up to it are on disk */
        raft_term accepted_term;       /* in which the log was last changed */
        raft_term durable_term;        /* hard state on disk */
        raft_id durable_vote;
        bool storage_failed, commit_known;

        bool unconfirmed;              /* a persist is on its way, ... */
        uint64_t unconfirmed_us;       /* ... and the disk has confirmed nothing since */
        raft_persisted persist_last;   /* what the latest one will confirm */

        raft_held_configuration history[RAFT_HISTORY_MAX]; /* ascending; the last one is in use */
        uint32_t history_count;
        raft_peer peers[RAFT_MEMBERS_MAX];

        uint64_t election_timeout_us;  /* as drawn */
        uint64_t election_deadline_us;
        uint64_t guard_until_us;       /* no votes until then: an earlier run may have answered a lease */
        uint64_t leader_contact_us;    /* follower */
        raft_id promised_to;           /* who was heard then, as leader of ... */
        raft_term promised_term;       /* ... this term, and may have a lease from it; 0: it leads no more */
        uint64_t resend_us;            /* (pre-)candidate: ask again */
        bool lateness_forgiven;
        bool campaign_transfer, votes_requested;
        bool vote_due;                 /* the answer waits until the vote is durable */

        raft_index verified;           /* follower: equal to the leader's log up to here, proven in this term */
        bool ack_due;
        raft_index ack_index, acknowledged;

        raft_index term_first;         /* leader: the no-op of its term */
        uint64_t heartbeat_deadline_us;
        uint64_t grace_us;             /* leader: silence counts from here on */
        raft_id transfer_to;
        bool transfer_sent;
        uint64_t transfer_deadline_us;
        bool lease_void;               /* somebody may campaign in spite of us, for the rest of the term */

        uint64_t round;                /* the last one begun */
        uint64_t ticket;               /* the last one given, here or to a member: up to round + 1 */
        uint64_t own_ticket;           /* the last one given here */
        uint64_t answered;             /* of those here, up to it they are ready or failed */
        uint64_t read_round;           /* leader: the last round that reads wait for */
        uint64_t round_sent_us[RAFT_ROUNDS_KEPT];
        uint64_t asked_round;          /* follower: the question on its way to the leader; 0: none */
        uint64_t asked_us;
        bool next_weak;                /* follower: all reads that wait for the next question are weak */
};

static inline raft_index raft_min(raft_index a, raft_index b) { return a < b ? a : b; }
static inline raft_index raft_max(raft_index a, raft_index b) { return a > b ? a : b; }

/* raft.c: ask for durability of the state and the log as they are now; send. */
void raft_persist(raft *r);
void raft_persist_hard(raft *r);
void raft_persist_entries(raft *r, raft_index first);
raft_message *raft_send(raft *r, raft_message_type type, raft_id to); /* the caller fills in the rest */

/* raft_history.c: configurations in the log, and the peers that follow from them. */
const raft_configuration *raft_configuration_in_use(const raft *r); /* NULL: none */
void raft_history_add(raft *r, raft_index index, const raft_configuration *c);
void raft_history_truncate(raft *r, raft_index last);
void raft_history_committed(raft *r);
void raft_history_installed(raft *r, raft_index index, const raft_configuration *c);
raft_peer *raft_peer_of(raft *r, raft_id id); /* NULL: not a member, or ourselves */
bool raft_is_alone(const raft *r);            /* we decide without anybody */

/* What a majority (joint: each) has reached; own: our own value, if we count. */
typedef enum raft_measure {
        RAFT_MEASURE_GRANTED, RAFT_MEASURE_NOT_REFUSED, RAFT_MEASURE_MATCH,
        RAFT_MEASURE_ROUND, RAFT_MEASURE_ROUND_SENT, RAFT_MEASURE_CONTACT,
} raft_measure;
uint64_t raft_majority(const raft *r, raft_measure measure, uint64_t own);

/* raft_election.c */
void raft_follow(raft *r, raft_term term, raft_id leader);
void raft_campaign(raft *r);
void raft_campaign_in_next_term(raft *r, bool transfer);
void raft_campaign_continue(raft *r); /* count, and ask those that have not granted */
void raft_count_votes(raft *r);
bool raft_is_elected(const raft *r); /* a majority's votes are durable */
bool raft_may_campaign(const raft *r);
void raft_draw_election_timeout(raft *r);
uint64_t raft_random_between(raft *r, uint64_t low, uint64_t high);
void raft_on_vote(raft *r, const raft_message *m);
void raft_on_vote_reply(raft *r, const raft_message *m);
void raft_answer_vote(raft *r); /* if it is due and durable */
void raft_on_timeout_now(raft *r, const raft_message *m);

/* raft_time.c */
void raft_tick(raft *r);
bool raft_disk_is_stalled(const raft *r);
uint64_t raft_quorum_contact_us(const raft *r);

/* raft_follower.c */
typedef struct raft_append_verdict {
        bool fits;
        raft_index first; /* to be taken from here on; 0: nothing new */
        uint32_t skip;
} raft_append_verdict;
rq_err raft_judge_append(const raft *r, const raft_message *m, const raft_entry *entries,
                         raft_append_verdict *ret_verdict);
void raft_on_append(raft *r, const raft_message *m, const raft_entry *entries, const raft_append_verdict *verdict);
void raft_on_heartbeat(raft *r, const raft_message *m);
void raft_acknowledge(raft *r);
rq_err raft_install(raft *r, const raft_event *event);

/* raft_leader.c */
rq_err raft_become_leader(raft *r);
rq_err raft_append_proposals(raft *r, const raft_entry *entries, uint32_t count);
rq_err raft_configure(raft *r, const raft_configuration *target);
void raft_on_append_reply(raft *r, const raft_message *m);
void raft_on_heartbeat_reply(raft *r, const raft_message *m);
void raft_settle(raft *r); /* the end of a leader's step: what follows from it */

/* raft_transfer.c */
rq_err raft_transfer_ask(raft *r, raft_id to); /* on any node */
rq_err raft_transfer(raft *r, raft_id to);
void raft_transfer_continue(raft *r, bool again);
void raft_transfer_expire(raft *r);
raft_id raft_best_successor(const raft *r); /* 0: none */

/* raft_progress.c */
void raft_progress_begin(raft *r, raft_peer *p);
void raft_progress_link_lost(raft *r, raft_peer *p);
void raft_progress_acknowledged(raft *r, raft_peer *p, raft_index index);
void raft_progress_rejected(raft *r, raft_peer *p, const raft_message *m);
void raft_progress_heard(raft *r, raft_peer *p, raft_index index); /* by a heartbeat's reply */
void raft_progress_check_base(raft *r, raft_peer *p);
void raft_progress_snapshot_done(raft *r, raft_peer *p, raft_index index);

/* raft_read.c */
void raft_round_begin(raft *r, bool learners_too);
bool raft_lease_holds(const raft *r);
rq_err raft_read(raft *r, bool weak);
void raft_read_answer(raft *r);
void raft_read_fail(raft *r);
void raft_on_read(raft *r, const raft_message *m);
void raft_on_read_reply(raft *r, const raft_message *m);

#endif
