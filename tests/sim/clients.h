/* Gateways and who is behind them: clients that write unique values to registers
 * and read them on any node, with timeouts, and remember everything. A client asks
 * one thing at a time; what was refused it asks again as a new request. */
#ifndef RQ_SIM_CLIENTS_H
#define RQ_SIM_CLIENTS_H

#include "core/driver.h"
#include "events.h"

typedef struct world world;
typedef struct sim_node sim_node;

typedef enum request_state {
        REQUEST_PENDING,
        REQUEST_DONE,        /* result: a write is at index, a read saw value at index */
        REQUEST_REFUSED,     /* nothing happened: never in the log */
        REQUEST_DROPPED,     /* likewise */
        REQUEST_COMMITTED,   /* done, result lost */
        REQUEST_UNKNOWN,
        REQUEST_LOST,        /* whom it was asked is gone: nobody answers */
} request_state;

typedef struct sim_request {
        bool write;
        driver_read_level level;   /* of a read */
        uint8_t node, place;       /* register */
        uint32_t client;           /* CLIENT_NONE: asked by the world */
        request_state state;
        uint64_t invoked_us, returned_us, deadline_us; /* virtual time */
        raft_index floor;          /* every answer that came before it was asked saw at most this */
        raft_index index;          /* of the answer */
        uint64_t value;
        bool passed_on;            /* a read: the store has it */
        raft_index committed;      /* where it is in the committed log; 0: nowhere yet */
} sim_request;

enum { CLIENT_NONE = UINT32_MAX };

typedef struct clients {
        rq_buf requests;           /* request; number 1 is the first */
        rq_buf busy;               /* per client: u64 request that it waits for, 0: none */
        raft_index seen;           /* highest index of an answer */
        uint64_t writes, reads, stale_weak_reads;
        uint64_t pending;
} clients;

void clients_done(clients *c);
void clients_start(world *w);
sim_request *clients_request(world *w, uint64_t number);
unsigned clients_place(world *w, uint64_t number);

/* Asks now. Returns its number; its state says whether it was taken. */
uint64_t clients_ask(world *w, unsigned node, bool write, driver_read_level level, uint32_t client);

void clients_on_client(world *w, const event *e);
void clients_on_result(world *w, sim_node *n, const event *e);
void clients_on_overdue(world *w, const event *e);
void clients_answer(world *w, sim_node *n, const answer *a);
/* The gateway's connection is gone: nobody answers what it has asked. */
void clients_gateway_gone(world *w, sim_node *n);

#endif
