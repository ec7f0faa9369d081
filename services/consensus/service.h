/* The object: sockets, timers, core and disk, and how they are joined. Its parts
 * are shared by the files of this folder; others see consensus_new() and what
 * follows it. */
#ifndef RQ_CONSENSUS_SERVICE_H
#define RQ_CONSENSUS_SERVICE_H

#include "base/keyed_hash.h"
#include "config.h"
#include "core/catch_up.h"
#include "core/driver.h"
#include "core/membership.h"
#include "forming.h"
#include "joining.h"
#include "io/identity.h"
#include "leaderless.h"
#include "io/base_file.h"
#include "io/log_catalog.h"
#include "io/log_configurations.h"
#include "io/log_writer.h"
#include "ipc/ipc_endpoint.h"
#include "log/log.h"
#include "peer/peers.h"
#include "starts.h"
#include "tls/tls_watch.h"
#include "arena.h"

enum { CONSENSUS_GATEWAYS_MAX = 64, CONSENSUS_TRANSFERS_MAX = 16, CONSENSUS_REMOVALS_MAX = 16 };

typedef struct consensus_gateway {
        ipc_link *link;     /* NULL: free */
        uint32_t number;    /* never used twice */
} consensus_gateway;

/* Handed to the log writer and not yet durable. */
typedef struct consensus_write {
        uint64_t sequence, bytes;
        bool acknowledges;  /* the core waits for it */
        raft_persisted when_durable;
} consensus_write;

/* Somebody wants to know which members can be reached; see probes.h. */
enum { CONSENSUS_PROBES_MAX = 16 };
typedef struct consensus_probed {
        raft_id id;
        uint32_t rtt_us;
        bool over, answered;
} consensus_probed;
typedef struct consensus_probe {
        uint32_t gateway;
        uint64_t request_id, number, begin_us, deadline_us;
        uint32_t count, open_count; /* of those that were asked; that have not answered yet */
        consensus_probed asked[MEMBERSHIP_COUNT_MAX];
        bool pending;
} consensus_probe;

/* May they join? What this node's gateway, which has the users, was asked lately; see admission.h. */
enum { ADMISSION_PLACES = 8 };
typedef struct consensus_admission {
        struct admission_place {
                uint64_t number;    /* of the question; 0: free */
                rq_hash128 what;    /* who wants to join, as what, and shows what */
                uint64_t until_us;  /* monotonic; then it is asked anew */
                bool answered, granted;
        } places[ADMISSION_PLACES];
        uint64_t last_number;
        rq_hash_key key;
        rq_buf credentials;         /* what this node shows, by its gateway's word */
        bool has_credentials;
        rq_log_limit limit;
} consensus_admission;

/* The members' feature levels; see feature_level.h. */
typedef struct consensus_levels {
        uint32_t lowest;                      /* this node's own included */
        char oldest[MEMBERSHIP_NODE_MAX + 1]; /* whose it is */
} consensus_levels;

/* What a leader has seen of nodes that join, for /debug/vars. */
typedef struct consensus_joins {
        uint64_t asked;             /* nodes that were taken in, and members that came with -join */
        uint64_t taken_in, at_home, moved; /* new ones; members that came from where they were, and from elsewhere */
        struct { raft_id id; uint64_t nonce; } runs[MEMBERSHIP_COUNT_MAX]; /* that came last, by their starts: each is counted once */
        size_t next;
} consensus_joins;

typedef struct consensus_options {
        rq_loop *loop;
        const log_io *io;
        int dir_fd, run_dir_fd;
        const char *dir_path;
        rq_uuid incarnation;
        consensus_config config;
        void (*on_stopped)(void *arg);  /* after consensus_stop() */
        void (*on_failed)(void *arg);   /* the disk failed and all were answered, or the folder could not be opened again: start anew; may be NULL */
        void *arg;
} consensus_options;

/* Somebody waits for leadership to be handed over. */
typedef struct consensus_transfer {
        uint32_t gateway;
        uint64_t request_id, deadline_us;
        raft_id leader;     /* it is to be another one than this */
        bool pending;
} consensus_transfer;

/* Somebody here wants a member removed; see removals.h. */
typedef struct consensus_removal {
        uint32_t gateway;   /* 0: this node leaves */
        uint64_t request_id, number, deadline_us, ask_us;
        char node_id[MEMBERSHIP_NODE_MAX + 1];
        bool pending;
} consensus_removal;

/* What a leader remembers between two looks at the membership; see steering.h. */
typedef struct consensus_steering {
        raft_term term;
        uint64_t next_us;
        uint32_t silent_count;      /* members that don't answer, and since when by this leader's own watch */
        struct { raft_id id; uint64_t since_us; } silent[MEMBERSHIP_COUNT_MAX];
        catch_up catch_up;
        rq_log_limit limit;
} consensus_steering;

typedef struct consensus {
        consensus_options o;
        identity identity;
        rq_uuid cluster_id;         /* what members tell each other: the database id, until a recovery */
        raft_index members_known;   /* see driver_options */
        bool joined;                /* its log doesn't begin with its own founding */
        bool removed;               /* a member has said that this node isn't one any more */
        bool was_led;               /* in this run it has had a leader */
        bool leaving;               /* stopping, and asking to be removed */
        joining *joining;           /* NULL: nobody is looked for */
        consensus_admission admission;
        consensus_joins joins;
        consensus_steering steering;
        consensus_removal removals[CONSENSUS_REMOVALS_MAX];
        uint64_t removal_number;
        consensus_probe probes[CONSENSUS_PROBES_MAX];
        uint64_t probe_number;
        raft_id raft_id;
        bool not_a_voter;           /* by the hard state */
        stream_fetch last_fetch;    /* of the store, as long as its link stands; from 0: none */
        starts starts;              /* this folder's, and those of the other members */
        consensus_levels levels;
        bool unformed;              /* in no cluster yet: no writer, a driver that never does anything */
        forming *forming;           /* NULL: it is over */
        rq_buf founding_record;     /* for members that don't know it; empty: not known any more */
        rq_buf adopting;            /* a founding to go over to */
        rq_task adopt, turn;
        rq_tls *tls;                /* between nodes; NULL: none */
        rq_tls_watch *tls_watch;
        peers *peers;
        struct snapshot_sends *sends;      /* snapshot_out.h */
        struct snapshot_receipt *receipt;  /* snapshot_in.h */
        struct divergence *divergence;     /* divergence.h */
        base_file base;             /* rebase.h: written, and not decided yet; empty: none */
        driver *driver;
        log_writer *writer;
        log_catalog catalog;
        log_configurations found;   /* in the log when it was opened; those up to members_known are: */
        rq_buf found_members;       /* see cluster_file.h; empty: none */
        raft_index found_until;     /* where the store was when it came first: up to here that can't change any more */
        bool store_came;
        log_report report;
        rq_wake wake;
        rq_timer timer;
        rq_timer failure;           /* until on_failed() */
        uint64_t timer_due_us;      /* UINT64_MAX: not set */
        ipc_listener *listener;
        ipc_connector *store;
        consensus_gateway gateways[CONSENSUS_GATEWAYS_MAX];
        uint32_t gateway_number;
        rq_arena *arena;
        rq_buf records, body;       /* scratch */
        rq_buf writes;              /* consensus_write, oldest first */
        uint64_t write_bytes;       /* of all of them */
        uint64_t fed_at_us, feed_due_us; /* the store; 0: not put off */
        uint64_t hint, hint_at_us;  /* commit hint on its way to disk, and since when */
        bool hint_wanted, stopping, storage_failed, feed_failed, disk_full;
        bool store_full;            /* the store can't apply for lack of space */
        bool full_handled;          /* leadership was offered to others because of it */
        uint64_t full_handled_us;
        bool state_dirty;           /* gateways are to be told */
        bool handing_over;          /* stopping, and still the leader */
        leaderless leaderless;
        uint64_t contact_us;        /* monotonic: when a leader was heard last, or by a leader a majority, in any term; 0: never */
        raft_id said_leader;        /* in the journal ... */
        raft_term said_term;        /* ... for this term */
        consensus_transfer transfers[CONSENSUS_TRANSFERS_MAX];
        uint64_t stop_deadline_us, hand_over_deadline_us;
        uint64_t proposals_taken, reads_taken, requests_refused, proposals_forwarded_in;
        rq_log_limit limit_full, limit_store, limit_starts;
} consensus;

/* Errors (logged): RQ_ECONFIG, RQ_ECORRUPT and the like. */
rq_err consensus_new(const consensus_options *options, consensus **ret_consensus);
consensus *consensus_free(consensus *c);

/* Takes nothing new, writes what it has taken, then on_stopped(). */
void consensus_stop(consensus *c);

/* Reads files anew that may have changed: certificates. */
void consensus_reload(consensus *c);

/* For the files of this folder. */

/* Nothing more is acknowledged, who waits is answered, and the service starts anew. Logged by the caller. */
void consensus_start_anew(consensus *c);
/* Something came in: everything is worked through at the end of the loop's turn. */
void consensus_wake(consensus *c);
consensus_gateway *consensus_gateway_of(consensus *c, uint32_t number); /* NULL: gone */
uint64_t consensus_commit_hint(const consensus *c);

#endif
