/* A model of rq-store: applies committed batches in order as proto/README.md
 * says, checkpoints, falls back to what survives, serves reads at an index. */
#ifndef RQ_SIM_STORE_H
#define RQ_SIM_STORE_H

#include "core/driver.h"
#include "events.h"

typedef struct world world;
typedef struct sim_node sim_node;

enum { STORE_REGISTERS = 4, STORE_OUT_MAX = 4 };

typedef struct store_state {
        raft_index applied;
        raft_term term;
        uint64_t digest;         /* chain of all applied entries */
        uint64_t clock_us;
        uint64_t registers[STORE_REGISTERS]; /* request that wrote it last, 0: none */
} store_state;

/* An image that is sent. */
typedef struct store_out {
        uint64_t session;        /* 0: free */
        raft_index min_index;
        bool open, pumping;
        store_state image;
        uint64_t bytes, next, until;
} store_out;

/* One that comes in. */
typedef struct store_in {
        bool on, staged, committing, forward_only;
        uint64_t session, bytes, offset, sum;
        rq_uuid disk_id;
        store_state image;
} store_in;

typedef struct store {
        store_state now;         /* also survives the process: the runtime folder */
        store_state checkpoint;  /* survives the machine */
        bool up;
        uint64_t incarnation;
        rq_uuid stream_id;
        bool asked;              /* FETCH is out */
        raft_index told;         /* APPLIED is out */
        uint64_t busy_until_us;
        rq_buf reads;            /* store_read: wait for their index */
        store_out out[STORE_OUT_MAX];
        store_in in;
        raft_index told_before;  /* as far as it was when the database was lost, if it was: results up to it were told */
        bool reopening;          /* it has another database since just now */
        bool may_misfit;         /* it was replaced, or lost: its log may not fit it for a while */
} store;

void store_done(store *s);
void store_start(world *w, sim_node *n);
void store_die(world *w, sim_node *n, bool machine);
/* The link to consensus is there (again). */
void store_linked(world *w, sim_node *n);

/* From consensus; records are copied. */
void store_send_batch(world *w, sim_node *n, const driver_batch *batch, uint32_t count, const rq_bytes *pieces,
                      size_t piece_count);
void store_send_read(world *w, sim_node *n, uint64_t request, raft_index index);

/* Snapshots (store_snapshots.c). */
void store_on_frame(world *w, sim_node *n, const event *e);
void store_on_pump(world *w, sim_node *n, const event *e);
void store_on_swap(world *w, sim_node *n, const event *e);
void store_on_reopened(world *w, sim_node *n, const event *e);
void store_give_up_if_beyond(sim_node *n);
void store_consensus_down(sim_node *n);
void store_fetch_again(world *w, sim_node *n); /* after it was replaced */
/* All of its files are gone, and its process has ended. */
void store_wipe(world *w, sim_node *n);

void store_on_batch(world *w, sim_node *n, const event *e);
void store_on_read(world *w, sim_node *n, const event *e);
void store_on_applied(world *w, sim_node *n, const event *e);

/* The body of a record, and a query. */
enum { REQUEST_BYTES = 24 };
typedef struct request_body { uint64_t number; uint32_t node, gateway,
        place; } request_body; /* gateway: who waits for the result */
void request_encode(uint8_t out[static REQUEST_BYTES], const request_body *body);
bool request_decode(rq_bytes bytes, request_body *ret_body);
uint64_t record_chain(uint64_t chain, const uint8_t *record);

#endif
