/* Production's snapshot_in.c, snapshot_out.c, snapshot_verdict.c and rebase.c in a
 * node of the simulator: they see a `consensus` of which only what they use is
 * filled in, and the functions of peers, of the link to the store, of the folder
 * and of the clock that they call are the simulator's (shell.c), by the same names.
 * None of their code is replaced. */
#ifndef RQ_SIM_SHELL_H
#define RQ_SIM_SHELL_H

#include "events.h"
#include "net.h"
#include "service.h"
#include "snapshot_in.h"
#include "snapshot_out.h"

typedef struct world world;
typedef struct sim_node sim_node;

typedef struct shell {
        consensus c;             /* first: production's functions get a pointer to it */
        world *w;
        sim_node *n;
        rq_task *rebase;         /* posted */
        bool linked;             /* with the store */
        uint64_t link_number;    /* frames of an earlier link are lost */
        uint64_t to_store_us, from_store_us; /* when the last frame arrives: order */
        bool reopen_failed;
} shell;

/* Of one link between store and consensus. */
typedef struct store_frame {
        ipc_type type;
        size_t body_bytes, payload_bytes;
        uint8_t data[];
} store_frame;

/* A process begins: its driver and its log are open. */
void shell_start(world *w, sim_node *n);
void shell_end(sim_node *n);
/* The node's driver is another one. */
void shell_take_driver(sim_node *n);

void shell_turn(sim_node *n);
uint64_t shell_after_us(const sim_node *n);   /* virtual time until its next turn is due; UINT64_MAX: none */
raft_index shell_held(const sim_node *n);
void shell_receive(sim_node *n, const packet *p);
void shell_on_link(sim_node *n, raft_id to, bool up);
void shell_on_rebase(world *w, sim_node *n);

/* The link with the store. */
void shell_store_up(sim_node *n);
void shell_store_down(sim_node *n);
bool shell_on_fetch(sim_node *n, const stream_fetch *fetch);
void shell_say(sim_node *n, ipc_type type, rq_bytes body, rq_bytes payload); /* the store */
void shell_on_said(sim_node *n, const event *e);

#endif
