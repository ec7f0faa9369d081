/* How the node itself is asked: past the address that it tells others, which needn't lead here from here
 * (NAT, a balancer, a name that only clients know), and by a unix socket where there is one. */
#ifndef RQ_DOCTOR_IO_OWN_NODE_H
#define RQ_DOCTOR_IO_OWN_NODE_H

#include <stdbool.h>

#include "config/config.h"
#include "io/http_get.h"

enum { OWN_NODE_URL_BYTES = RQ_ADDRESS_BYTES_MAX + 64 };

typedef struct own_node {
        bool running;                /* an rq answers where -http-addr says */
        bool wants_certificate;      /* ... but only those with a certificate, which the user has not */
        char way[HTTP_WAY_BYTES];    /* for http_get() */
} own_node;

own_node own_node_find(const rq_config *config, const http_user *user);

/* path: "/status". Its host is the one that the node tells others: certificates are for that. */
void own_node_url(const rq_config *config, const own_node *own, const char *path, char ret_url[static OWN_NODE_URL_BYTES]);

#endif
