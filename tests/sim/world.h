/* A room of machines in one process, all of it decided by one seed: several
 * nodes' real core, driver and log files; a network, disks, stores and clients
 * that are models; faults; and checkers that watch from outside. Time is virtual,
 * in microseconds. docs/simulator.md says how to use it. */
#ifndef RQ_SIM_WORLD_H
#define RQ_SIM_WORLD_H

#include "checks.h"
#include "clients.h"
#include "duels.h"
#include "events.h"
#include "faults.h"
#include "net.h"
#include "node.h"
#include "shell.h"
#include "trace.h"

enum { WORLD_NODES_MAX = 8 };

typedef enum world_mode {
        WORLD_CALM,    /* no faults: counts leader changes and messages */
        /* connections break, machines die; what can be repaired is, so progress is required at the end */
        WORLD_FAULTS,
        WORLD_WILD,    /* also single messages get lost, doubled, late by any time; disks rot without a limit */
        WORLD_DUEL,    /* few faults by chance, many that are aimed at who leads: duels.h */
} world_mode;

typedef struct world_options {
        uint64_t seed;
        uint64_t steps;        /* events until everything is healed */
        unsigned nodes;        /* 0: by the seed */
        world_mode mode;
        FILE *trace_out;       /* NULL: not printed */
} world_options;

/* Chosen by the seed for the whole run. */
typedef struct world_tuning {
        uint64_t heartbeat_us, election_us, lease_us, disk_stall_us;
        uint64_t latency_us;     /* of messages, at least; up to ... */
        uint64_t latency_more_us;
        uint64_t disk_us, disk_more_us;
        uint64_t think_us;       /* between a client's requests */
        uint64_t timeout_us;     /* of a sim_request */
        uint64_t segment_bytes;
        uint64_t link_bytes;     /* queued to a peer */
        unsigned clients, body_bytes;
        bool compaction;
        unsigned checkpoints;    /* of the store, after a batch, in 1000 */
        bool snapshots;          /* compaction passes who is behind, who then gets a snapshot */
        uint64_t log_kept_bytes; /* then: of the log, for who is behind */
        uint64_t log_held_bytes; /* for who gets a snapshot */
        uint64_t snapshot_pace;  /* so many times faster go the intervals of sending them */
        uint64_t image_chunks, chunk_us; /* of a snapshot, at most; between two */
        unsigned refusals;       /* of forwards that a leader could take, in 1000 */
        uint64_t drift_ppm;      /* of clocks, at most */
} world_tuning;

typedef struct world {
        world_options o;
        world_tuning tuning;
        rq_rng rng;
        uint64_t now_us, steps_done;
        events events;
        trace trace;
        sim_node *nodes[WORLD_NODES_MAX];
        unsigned node_count, founder_count; /* the others may be added to the cluster later */
        rq_uuid database_id;
        net net;
        clients clients;
        faults faults;
        duels duels;
        checks checks;
        bool healed;             /* no more faults: everything gets better */
        bool failed;
        char failure[512];
} world;

typedef struct world_result {
        bool failed;
        char failure[512];
        uint64_t hash, steps, virtual_us;
        uint64_t late_leaders, leader_changes, messages, bytes, writes, reads, stale_weak_reads, committed, restarts;
        uint64_t installs, rebases; /* databases and logs that were replaced by a snapshot */
} world_result;

/* Runs one seed to its end. trace_count: last events to print to stderr if it fails. */
world_result world_run(const world_options *options, unsigned trace_count);

/* Prints the last events of the world that is running; from a signal handler. */
void world_print_last(FILE *out, unsigned count);

/* The one that runs: for functions of production that know of none. */
world *world_running(void);

uint64_t world_random(world *w, uint64_t bound);                 /* below bound; 0 for bound 0 */
bool world_chance(world *w, uint64_t per_mille);
void world_plan(world *w, uint64_t after_us, event new);          /* new.at_us is filled in */
void world_trace(world *w, trace_record record);                  /* record.at_us is filled in */
/* A checker's verdict: the run ends. Only the first one counts. */
void world_fail(world *w, const char *checker, const char *format, ...) __attribute__((format(printf, 3, 4)));
sim_node *world_node_of(const world *w, raft_id id);                  /* NULL: nobody has this id now */

#endif
