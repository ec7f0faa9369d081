/* Makes connections to one address: resolves, connects, and tries again with
 * back-off until there is one; then waits to be told when the next one is
 * needed. Belongs to the loop's thread. */
#ifndef RQ_CONSENSUS_PEER_DIAL_H
#define RQ_CONSENSUS_PEER_DIAL_H

#include "loop/loop.h"
#include "peer/peer_resolve.h"

enum {
        PEER_DIAL_FIRST_US = 50000,   /* back-off, doubled each time, ± 25 % */
        PEER_DIAL_LAST_US  = 1000000,
        PEER_DIAL_SLOW_US  = 3000000, /* what won't change by itself */
        PEER_DIAL_WAIT_US  = 2000000, /* for an answer of one address */
};

typedef struct peer_dial peer_dial;

typedef struct peer_dial_handlers {
        void (*on_connected)(void *owner, int fd);             /* takes the fd; the dial rests */
        /* It goes on by itself. problem: static text. refused: the machine is there, nobody listens. */
        void (*on_failed)(void *owner, const char *problem, bool refused);
} peer_dial_handlers;

/* address: host:port, copied. Rests. Errors: RQ_EINVAL (address), RQ_ENOMEM. */
rq_err peer_dial_new(rq_loop *loop, peer_resolver *resolver, const char *address, const peer_dial_handlers *handlers,
                     void *owner, peer_dial **ret_dial);
/* Also from its handlers. Accepts NULL, returns it. */
peer_dial *peer_dial_free(peer_dial *dial);

/* With the next turn of the loop, if it rests or waits. */
void peer_dial_at_once(peer_dial *dial);
/* After the back-off, or slowly. If it rests. */
void peer_dial_later(peer_dial *dial, bool slow);
const char *peer_dial_host(const peer_dial *dial); /* without port and brackets; as long as the dial lives */

/* The connection was good: back-off begins anew. */
void peer_dial_reset(peer_dial *dial);

#endif
