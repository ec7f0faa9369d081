/* One node: the driver, its log on a disk in memory and the log writer's batches,
 * all of it production's code; around it what service.c does with threads and
 * sockets, done with events. */
#ifndef RQ_SIM_NODE_H
#define RQ_SIM_NODE_H

#include "core/driver.h"
#include "disk.h"
#include "events.h"
#include "io/log_batch.h"
#include "io/log_catalog.h"
#include "io/log_recover.h"
#include "net.h"
#include "store.h"

typedef struct world world;
typedef struct shell shell;

enum { NODE_SEGMENTS_MAX = 16384 };

/* One entry of a node's log, as the checkers know it. */
typedef struct shadow_entry {
        raft_term term;
        uint64_t chain;          /* hash of this entry and all before it */
        uint64_t request;        /* 0: none */
        uint64_t clock_us;
        uint8_t kind;
} shadow_entry;

/* Handed to the log writer and not yet reported. */
typedef struct node_write {
        uint64_t sequence, bytes;
        bool acknowledges, hard;
        raft_persisted when_durable;
        raft_term term;
        raft_id vote;
        raft_index first, last;
} node_write;

typedef struct sim_node {
        unsigned number;
        raft_id id;
        rq_uuid disk_uuid;
        disk *disk;
        bool up, machine_up, broken; /* broken: its disk can't be used again */
        bool rotten;                 /* a bit of its disk has changed by itself */
        bool stopping;               /* politely */
        uint64_t paused_until_us;
        uint64_t up_since_us, disturbed_us;
        uint64_t incarnation;
        uint32_t gateway;            /* number of the gateway's connection */

        driver *driver;
        log_batch batch;
        log_queue queue;
        rq_buf items;                /* log_queued: the batch under way */
        bool writing, stalled, storage_failed, feed_failed;
        uint64_t room_bytes;
        log_catalog catalog;
        rq_buf writes;               /* node_write */
        uint64_t write_bytes;
        uint64_t hint, hint_at_us;
        bool hint_wanted;
        rq_buf scratch;
        bool turn_planned;
        uint64_t timer_at_us;
        uint32_t effects_left;       /* of the turn: then the process dies; UINT32_MAX: it doesn't */
        bool dying;

        uint64_t clock_base_us, clock_ppm;
        int64_t wall_offset_us;

        /* What the checkers know. */
        raft_index shadow_base;      /* the entry before the first one of shadow */
        uint64_t shadow_base_chain;
        rq_buf shadow;               /* shadow_entry */
        raft_index durable;          /* entries up to it are on the disk */
        raft_term durable_term;      /* hard state on the disk */
        raft_id durable_vote;
        raft_index seen_commit;
        raft_role seen_role;
        raft_term seen_term;

        store store;
        shell *shell;                /* of its process; NULL: it has none */
        bool rebasing;               /* the log was being begun anew, behind ... */
        raft_index rebase_index;
        raft_term rebase_term;
} sim_node;

/* A machine with an empty disk, off. */
sim_node *node_new(world *w, unsigned number);
sim_node *node_free(sim_node *n);

/* Writes what founding a cluster leaves on the disk. record: entry 1. */
void node_found(world *w, sim_node *n, rq_bytes record);
/* A known cluster, but no log: it waits to be added. */
void node_prepare_joining(world *w, sim_node *n);

member node_member(const sim_node *n); /* a learner */

void node_start(world *w, sim_node *n);
typedef enum node_death { NODE_KILLED, NODE_POWER_CUT } node_death;
void node_die(world *w, sim_node *n, node_death how);
void node_start_later(world *w, sim_node *n, uint64_t after_us);

uint64_t node_now_us(const world *w, const sim_node *n);
uint64_t node_wall_us(const world *w, const sim_node *n);

/* Plans a turn. */
void node_wake(world *w, sim_node *n);
void node_wake_if_waiting(world *w, unsigned from, unsigned to); /* there is room on the connection again */

void node_on_turn(world *w, sim_node *n);
void node_on_timer(world *w, sim_node *n, uint64_t at_us);
void node_on_disk(world *w, sim_node *n);
void node_receive(world *w, sim_node *n, unsigned from, packet *p);
void node_peer_down(world *w, unsigned node_number, unsigned peer, bool refused);
/* The thread that makes spare segments looks for space again and again. */
void node_space_is_back(sim_node *n);
rq_err node_admit(sim_node *n, size_t body_bytes);

raft_index node_shadow_last(const sim_node *n);
const shadow_entry *node_shadow(const sim_node *n, raft_index index); /* NULL: not held */
uint64_t node_chain(const sim_node *n, raft_index index);             /* 0: not held */
bool node_runs(const sim_node *n);                                    /* up, and its storage hasn't failed */
const char *node_folder_problem(const sim_node *n);

#endif
