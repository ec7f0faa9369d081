#include "gateways.h"

#include <stdlib.h>

void gateways_init(gateways *g) { rq_list_init(&g->all); }

void gateways_done(gateways *g) {
        if (g->all.next == NULL)
                return;
        while (!rq_list_empty(&g->all))
                gateways_remove(RQ_LIST_ENTRY(g->all.next, gateway, node));
}

rq_err gateways_add(gateways *g, ipc_link *link, gateway **ret_gateway) {
        gateway *gw = calloc(1, sizeof *gw);
        if (gw == NULL)
                return RQ_ENOMEM;
        gw->link = link;
        gw->incarnation = *ipc_link_incarnation(link);
        rq_list_append(g->all.next, &gw->node); /* before the first */
        ipc_link_set_data(link, gw);
        *ret_gateway = gw;
        return RQ_OK;
}

void gateways_remove(gateway *gw) {
        rq_list_remove(&gw->node);
        if (gw->link != NULL)
                ipc_link_set_data(gw->link, NULL);
        rq_table_done(&gw->requests);
        free(gw);
}

gateway *gateways_find(const gateways *g, const rq_uuid *incarnation) {
        for (rq_list *at = g->all.next; at != &g->all; at = at->next) {
                gateway *gw = RQ_LIST_ENTRY(at, gateway, node);
                if (rq_uuid_equal(&gw->incarnation, incarnation) && ipc_link_is_up(gw->link))
                        return gw;
        }
        return NULL;
}

gateway *gateways_of_link(const ipc_link *link) { return ipc_link_data(link); }

rq_err request_add(request *r, gateway *gw, uint64_t id) {
        if (rq_table_get(&gw->requests, id) != NULL)
                return RQ_EEXIST;
        rq_err e = rq_table_put(&gw->requests, id, r);
        if (e < 0)
                return e;
        r->gateway = gw;
        r->id = id;
        return RQ_OK;
}

void request_remove(request *r) {
        if (r->gateway == NULL)
                return;
        (void) rq_table_remove(&r->gateway->requests, r->id);
        r->gateway = NULL;
}

request *request_find(const gateway *gw, uint64_t id) { return rq_table_get(&gw->requests, id); }

request *request_any(const gateway *gw) {
        size_t cursor = 0;
        uint64_t id;
        return rq_table_next(&gw->requests, &cursor, &id);
}
