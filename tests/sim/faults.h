/* What goes wrong, when, and how it ends. Each seed has its own mixture: some
 * faults often, some never. */
#ifndef RQ_SIM_FAULTS_H
#define RQ_SIM_FAULTS_H

#include "events.h"
#include "node.h"

typedef struct world world;
typedef struct sim_node sim_node;

typedef enum fault {
        FAULT_KILL, FAULT_KILL_IN_TURN, FAULT_POWER_CUT, FAULT_POWER_CUT_ALL, FAULT_STOP, FAULT_PAUSE,
        FAULT_CUT_ONE_WAY, FAULT_ISOLATE, FAULT_SPLIT, FAULT_BRIDGE, FAULT_BREAK_LINK, FAULT_SLOW_NODE,
        FAULT_DISK_STALL, FAULT_SYNC_FAILS, FAULT_WRITE_FAILS, FAULT_DISK_FULL, FAULT_ROT, FAULT_WIPE,
        FAULT_STORE_KILL, FAULT_GATEWAY_GONE, FAULT_CLOCK_JUMP, FAULT_TRANSFER, FAULT_CONFIGURE,
        FAULT_STORE_WIPE,
        FAULT_COUNT,
} fault;

typedef struct faults {
        uint32_t weights[FAULT_COUNT];
        uint64_t every_us;       /* about */
        uint64_t down_us;        /* how long a node is down, at most */
        unsigned broken;         /* nodes whose disk is lost for good */
        uint64_t stall_until_us[8]; /* of a node's disk */
        uint64_t healed_us;
        bool quiet;              /* clients have stopped */
        uint64_t count[FAULT_COUNT];
} faults;

void faults_choose(world *w);    /* the mixture, by mode and seed */
void faults_start(world *w);
void faults_on_fault(world *w);
void faults_on_heal_cut(world *w, const event *e);
void faults_on_heal_disk(world *w, const event *e);
/* Everything that can be repaired is, from now on. */
void faults_heal(world *w);
/* The node dies, and starts again after a while. */
void faults_die(world *w, sim_node *n, node_death how);
/* Breaks no node more than the rest can bear. */
bool faults_may_break(const world *w);
void faults_broke(world *w, sim_node *n);
/* Its disk is lost for good; nothing if the others can't bear that. */
void faults_wipe(world *w, sim_node *n);
/* No store has lost its database and not yet got another one. */
bool faults_stores_are_whole(const world *w);

#endif
