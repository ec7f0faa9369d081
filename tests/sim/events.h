/* What is going to happen, by virtual time; at the same time in the order in which it was planned. */
#ifndef RQ_SIM_EVENTS_H
#define RQ_SIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum event_type {
        EVENT_TURN,        /* a node's loop: end of a wake-up */
        EVENT_TIMER,       /* a node's timer */
        EVENT_DISK,        /* a node's log writer has done its batch, or tries it again */
        EVENT_START,       /* a node's process */
        EVENT_RESTART,     /* likewise, after its storage failed */
        EVENT_PACKET,      /* arrives */
        EVENT_LINK,        /* a connection is noticed to be broken, or tried again */
        EVENT_STORE_START, EVENT_STORE_BATCH, EVENT_STORE_FRAME, EVENT_STORE_PUMP, EVENT_STORE_SWAP, EVENT_STORE_REOPENED, EVENT_STORE_READ,
        EVENT_STORE_APPLIED, EVENT_STORE_SAYS, EVENT_REBASE,
        EVENT_RESULT,      /* reaches a gateway */
        EVENT_CLIENT,      /* does the next thing */
        EVENT_OVERDUE,     /* a request should have been answered */
        EVENT_FAULT, EVENT_HEAL_CUT, EVENT_HEAL_DISK, EVENT_RESUME,
        EVENT_DUEL,        /* the next step of an aimed fault */
} event_type;

typedef struct event {
        uint64_t at_us, order;
        event_type type;
        uint8_t node, peer, class_;
        uint64_t tag;      /* incarnation, epoch or the like: an event of another one is void */
        uint64_t number;
        void *data;        /* of malloc(): freed by who handles it */
} event;

typedef struct events {
        event *heap;
        size_t count, capacity;
        uint64_t next_order;
} events;

void events_done(events *e); /* frees the data, too */
void events_add(events *e, event new);
bool events_next(events *e, event *ret_event);

#endif
