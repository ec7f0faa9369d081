/* How several new nodes become a cluster (-bootstrap-expect N -join ...): they
 * connect to each other, and when one sees N distinct ones that are in no cluster,
 * itself among them, and its disk uuid is the smallest, it founds: a random database id, and
 * entry 1, which lists all N as voters. It tells the others (PEER_FOUND), and
 * so does each one that knows it, until all do.
 *
 * Safe at each step: nobody who is in no cluster has promised anything, and all that are
 * in it begin with the same entry 1 (hazard 25). */
#ifndef RQ_CONSENSUS_FORMING_H
#define RQ_CONSENSUS_FORMING_H

#include "io/identity.h"
#include "peer/peers.h"

typedef struct forming forming;

typedef struct forming_options {
        rq_loop *loop;
        peers *peers;             /* outlives it; listens already, in no cluster, with the same expect in its HELLO */
        const log_io *io;
        int dir_fd;
        const char *dir_path;     /* borrowed */
        identity self;            /* of the unformed folder */
        const char *raft_addr;    /* advertised; borrowed */
        uint32_t expect;          /* above 1 */
        const char *join;         /* host:port,host:port,...; borrowed during forming_new() */
        uint64_t timeout_us;      /* 0: none */
        void (*on_formed)(void *arg); /* the folder holds a founding: free this, open it anew */
        void (*on_failed)(void *arg, rq_err err); /* logged: RQ_ETIMEOUT, or what writing the folder brought; it is to be freed */
        void *arg;
} forming_options;

/* Sets the peers' seeds. Errors, logged: RQ_ECONFIG (the list), RQ_ENOMEM. */
rq_err forming_new(const forming_options *options, forming **ret_forming);
/* Also from on_formed and on_failed. The peers have no seeds any more. Accepts NULL, returns it. */
forming *forming_free(forming *f);

/* To be called from the peers' on_hello and on_found. The latter's errors: see
 * there. */
void forming_look(forming *f);
rq_err forming_found(forming *f, const peer_hello *from, bool virgin, rq_bytes record);

/* For status: "2 of 3 nodes are there", or what is wrong. Borrowed until the loop goes on. */
const char *forming_text(const forming *f);
uint32_t forming_count(const forming *f); /* nodes there, this one among them */

#endif
