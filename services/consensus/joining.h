/* Looking for a cluster at the addresses of -join. Three uses:
 * - a new node: asks to become a member until it is one, in -join-attempts rounds of -join-interval;
 * - a member that starts: at these addresses it finds members whose addresses have all changed,
 *   and, if it is told that it was removed meanwhile, asks to be taken in again;
 * - a founder (-bootstrap-expect) that finds the cluster founded without it: its data was lost.
 * It is the leader that decides (steering.h); other members name it. */
#ifndef RQ_CONSENSUS_JOINING_H
#define RQ_CONSENSUS_JOINING_H

#include "peer/peers.h"

typedef struct joining joining;

typedef struct joining_options {
        rq_loop *loop;
        peers *peers;            /* outlives it; listens already */
        const char *join;        /* host:port,host:port,...; borrowed during joining_new() */
        const char *raft_addr;   /* our own, advertised; borrowed */
        const char *node_id;     /* likewise */
        uint32_t attempts;       /* 0: no end */
        uint64_t interval_us;
        bool stays;              /* as a learner */
        bool asks;               /* from the start; else after joining_ask() */
        uint64_t patience_us;    /* asks only when a cluster was there for so long: it may tell its founding by itself */
        bool has_seeds;          /* they are set by somebody else */
        /* What to show the leader (-join-as), borrowed until the loop goes on; false: not known yet, and nobody is asked. */
        bool (*credentials)(void *arg, rq_bytes *ret_credentials);
        /* At the end of the turn, once; this may be freed. members: encoded, borrowed. */
        void (*on_accepted)(void *arg, const peer_join_reply *reply, rq_bytes members);
        void (*on_failed)(void *arg, rq_err err); /* logged */
        void *arg;
} joining_options;

/* Errors, logged: RQ_ECONFIG (the list), RQ_ENOMEM. */
rq_err joining_new(const joining_options *options, joining **ret_joining);
/* The peers have no seeds any more, unless somebody else has set them. Accepts NULL, returns it. */
joining *joining_free(joining *j);

void joining_ask(joining *j);
/* From the peers' callbacks. */
void joining_reply(joining *j, const peer_hello *from, const peer_join_reply *reply, rq_bytes payload);

/* For status: what is being waited for. Borrowed until the loop goes on. */
const char *joining_text(const joining *j);

/* The addresses of a list, but our own, as seeds of the peers. Errors, logged: RQ_ECONFIG, RQ_ENOMEM. */
rq_err joining_set_seeds(peers *p, const char *list, const char *own, size_t *ret_count);

#endif
