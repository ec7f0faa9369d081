/* Names to addresses. Literal addresses and "localhost" need nobody; other names
 * are asked with getaddrinfo() on a thread, because it blocks, and because the
 * machine's own rules (hosts file, nsswitch) hold for it. */
#ifndef RQ_CONSENSUS_PEER_RESOLVE_H
#define RQ_CONSENSUS_PEER_RESOLVE_H

#include <sys/socket.h>

#include "loop/loop.h"

enum { PEER_ADDRESSES_MAX = 8 };

typedef struct peer_addresses {
        size_t count;
        struct sockaddr_storage v[PEER_ADDRESSES_MAX];
        socklen_t sizes[PEER_ADDRESSES_MAX];
} peer_addresses;

/* False: it is a name. Asks nobody. */
bool peer_resolve_literal(const char *host, const char *port, peer_addresses *ret_addresses);

typedef struct peer_resolver peer_resolver;
typedef struct peer_lookup peer_lookup;

rq_err peer_resolver_new(rq_loop *loop, peer_resolver **ret_resolver);
/* Doesn't wait for lookups that are under way; they must have been cancelled.
 * Accepts NULL, returns it. */
peer_resolver *peer_resolver_free(peer_resolver *resolver);

/* on_answer is called once, on the loop; addresses are borrowed until return. RQ_ENOENT: no
 * such name, or nobody could say. Errors: RQ_ENOMEM. */
rq_err peer_resolver_ask(peer_resolver *resolver, const char *host, const char *port,
                         void (*on_answer)(void *arg, rq_err err, const peer_addresses *addresses), void *arg,
                         peer_lookup **ret_lookup);
/* No answer will come. Not after the answer. Accepts NULL, returns it. */
peer_lookup *peer_lookup_cancel(peer_lookup *lookup);

#endif
