/* POST /snapshot: the store is to make a checkpoint of what it has applied; the
 * log below it isn't needed any more, and consensus drops it as it does after
 * any checkpoint. The store tells in its status how far it is: it is asked until
 * the checkpoint has come. (trailing_logs is checked, and has nothing to say
 * here: what peers still need is kept.) */
#include <jansson.h>

#include "api/api.h"
#include "base/clock.h"

enum { LOOK_AGAIN_US = 20 * 1000, CHECKPOINT_MINOR = 4 };

static void answer_empty(exchange *ex, unsigned status) {
        http_conn *conn = ex->conn;
        exchange_free(ex);
        http_answer(conn, &(http_head) { .status = status }, (rq_bytes) {0}, (rq_bytes) {0});
}

void snapshot_begin(exchange *ex) {
        ex->snapshot_index = 0;
        documents_ask(ex, true);
}

static void ask_again(exchange *ex) {
        for (int i = 0; i < 2; i++) {
                json_decref(ex->documents[i]);
                ex->documents[i] = NULL;
        }
        documents_ask(ex, true);
}

static void wish(exchange *ex) {
        ipc_link *store = ipc_connector_link(ex->gw->store);
        if (store != NULL && ipc_link_protocol_minor(store) < CHECKPOINT_MINOR) {
                api_answer_text(ex, 501, "snapshot: rq-store is of an older version, which can't");
                return;
        }
        if (store == NULL || ipc_link_send(store, IPC_CHECKPOINT, ex->id, (rq_bytes) {0}, (rq_bytes) {0}) < 0) {
                api_answer_text(ex, 503, "snapshot: rq-store does not answer");
                return;
        }
        ex->state = EX_SNAPSHOT;
        gateway_set_deadline(ex->gw, ex, LOOK_AGAIN_US);
}

void snapshot_on_documents(exchange *ex) {
        json_t *document = ex->documents[DOCUMENT_STORE];
        json_t *applied = json_object_get(document, "applied_index"), *made = json_object_get(document, "checkpoint_index");
        if (!json_is_integer(applied) || !json_is_integer(made)) {
                api_answer_text(ex, 503, "snapshot: rq-store does not answer");
                return;
        }
        bool first = ex->snapshot_index == 0;
        if (first)
                ex->snapshot_index = (uint64_t) json_integer_value(applied);
        if ((uint64_t) json_integer_value(made) >= ex->snapshot_index)
                answer_empty(ex, first ? 204 : 200);
        else if (rq_clock_mono_us() >= ex->deadline_us)
                api_answer_text(ex, 504, "snapshot: timed out, it may still be made");
        else
                wish(ex);
}

void snapshot_on_deadline(exchange *ex) { ask_again(ex); }
