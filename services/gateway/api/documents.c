/* The STATUS documents of consensus and store, asked for at the same time and
 * waited for a limited time; what did not come is told as missing. */
#include <jansson.h>

#include "api/api.h"
#include "consensus.pb-c.h"

static void complete(exchange *ex) {
        switch (ex->route->op) {
        case OP_VARS:
                vars_complete(ex);
                return;
        case OP_NODES:
                nodes_complete(ex);
                return;
        case OP_SNAPSHOT:
                snapshot_on_documents(ex);
                return;
        case OP_LEADER:
                leader_on_documents(ex);
                return;
        default:
                status_complete(ex);
        }
}

static bool is_waiting(const exchange *ex) { return ex->document_asked[DOCUMENT_CONSENSUS] || ex->document_asked[DOCUMENT_STORE]; }

void documents_ask(exchange *ex, bool of_store_too) {
        gateway *gw = ex->gw;
        ipc_link *links[2] = { ipc_connector_link(gw->consensus), of_store_too ? ipc_connector_link(gw->store) : NULL };
        Rq__StatusGet get = RQ__STATUS_GET__INIT;
        uint8_t packed[8];
        get.probe = ex->route->op == OP_NODES || ex->route->op == OP_LEADER;
        const size_t packed_size = rq__status_get__pack(&get, packed);
        uint64_t limit_us = STATUS_WAIT_MS * 1000, patience_us = ex->deadline_us - ex->started_ns / 1000;
        ex->state = EX_STATUS;
        for (int i = 0; i < 2; i++) {
                const rq_bytes body = i == DOCUMENT_CONSENSUS ? rq_bytes_of(packed, packed_size) : (rq_bytes) {0};
                ex->document_asked[i] = links[i] != NULL && ipc_link_send(links[i], IPC_STATUS_GET, ex->id, body, (rq_bytes) {0}) >= 0;
        }
        if (is_waiting(ex))
                gateway_set_deadline(gw, ex, patience_us < limit_us ? patience_us : limit_us);
        else
                complete(ex);
}

void documents_on_status(exchange *ex, int which, rq_bytes json) {
        if (ex->state != EX_STATUS || !ex->document_asked[which])
                return;
        ex->document_asked[which] = false;
        json_t *document = json_loadb((const char *) json.data, json.size, JSON_ALLOW_NUL, NULL);
        if (!json_is_object(document)) {
                json_decref(document);
                document = json_pack("{s:s}", "error", "the service sent no valid status");
        }
        ex->documents[which] = document;
        if (!is_waiting(ex))
                complete(ex);
}

void documents_on_link_down(gateway *gw, int which) {
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;) {
                if (ex->state != EX_STATUS || !ex->document_asked[which])
                        continue;
                ex->document_asked[which] = false;
                if (!is_waiting(ex))
                        complete(ex);
        }
}

void documents_on_deadline(exchange *ex) { complete(ex); }
