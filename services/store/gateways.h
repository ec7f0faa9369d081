/* The gateways that are connected, and what each of them waits for. A gateway
 * is known by its incarnation; requests by (gateway, request id). */
#ifndef RQ_STORE_GATEWAYS_H
#define RQ_STORE_GATEWAYS_H

#include "base/list.h"
#include "base/rng.h"
#include "base/table.h"
#include "ipc/ipc_link.h"

typedef struct gateway {
        rq_list node;
        ipc_link *link;
        rq_uuid incarnation;
        rq_table requests; /* of struct request, by id */
} gateway;

/* First member of what a gateway waits for. */
typedef struct request {
        enum request_kind { REQUEST_READ, REQUEST_RESULT } kind;
        gateway *gateway; /* NULL: nobody waits any more */
        uint64_t id;
} request;

typedef struct gateways { rq_list all; } gateways; /* newest link first */

void gateways_init(gateways *g);
void gateways_done(gateways *g);

/* Errors: RQ_ENOMEM. */
rq_err gateways_add(gateways *g, ipc_link *link, gateway **ret_gateway);
/* The caller has taken its requests out. */
void gateways_remove(gateway *gw);

/* NULL: not connected. */
gateway *gateways_find(const gateways *g, const rq_uuid *incarnation);
gateway *gateways_of_link(const ipc_link *link);

/* Errors: RQ_EEXIST, RQ_ENOMEM. */
rq_err request_add(request *r, gateway *gw, uint64_t id);
/* Nobody waits for it any more. */
void request_remove(request *r);
request *request_find(const gateway *gw, uint64_t id);
/* Any one of them; NULL: none. */
request *request_any(const gateway *gw);

#endif
