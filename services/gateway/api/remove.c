/* DELETE /remove: a node is to leave the cluster. Consensus does it; any node may be asked. */
#include <jansson.h>
#include <stdio.h>

#include "api/api.h"
#include "base/clock.h"
#include "consensus.pb-c.h"

enum { REMOVE_BODY_BYTES_MAX = 4096, REMOVE_MINOR = 3, PACKED_BYTES_MAX = NODE_TEXT_BYTES + 32 };

void remove_body(exchange *ex, rq_bytes piece) {
        if (ex->text.size + piece.size > REMOVE_BODY_BYTES_MAX || rq_buf_append_bytes(&ex->text, piece) < 0)
                api_answer_text(ex, 413, "request body too large");
}

static void answer_empty(exchange *ex, unsigned status) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = status, .served_by = status == 200 };
        exchange_free(ex);
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
}

/* Exactly {"id": "..."}, else rqlite's 400 without a word. */
static bool read_id(exchange *ex, char id[static NODE_TEXT_BYTES]) {
        json_t *body = json_loadb((const char *) ex->text.data, ex->text.size, JSON_DISABLE_EOF_CHECK, NULL);
        json_t *value = json_object_get(body, "id");
        const bool good = json_is_string(value) && json_object_size(body) == 1;
        const bool fits = json_string_length(value) > 0 && json_string_length(value) < NODE_TEXT_BYTES;
        if (good && fits)
                (void) snprintf(id, NODE_TEXT_BYTES, "%s", json_string_value(value));
        json_decref(body);
        if (!good)
                answer_empty(ex, 400);
        else if (!fits) /* no node has such a name, and to remove who isn't there is no error */
                answer_empty(ex, 200);
        return good && fits;
}

static void send_remove(exchange *ex, ipc_link *link, const char *id) {
        const uint64_t now_us = rq_clock_mono_us(), left_us = ex->deadline_us > now_us ? ex->deadline_us - now_us : 0;
        Rq__Remove remove = RQ__REMOVE__INIT;
        uint8_t packed[PACKED_BYTES_MAX];
        remove.node_id = (char *) (uintptr_t) id;
        remove.timeout_us = left_us - left_us / 8; /* it knows what came of it: it answers first */
        const size_t size = rq__remove__pack(&remove, packed);
        if (ipc_link_send(link, IPC_REMOVE, ex->id, rq_bytes_of(packed, size), (rq_bytes) {0}) < 0) {
                api_answer_text(ex, 503, "remove: rq-consensus is busy");
                return;
        }
        ex->state = EX_REMOVE;
        gateway_set_deadline(ex->gw, ex, left_us);
}

/* Nothing was done: the next leader can do it as well. */
static void answer_no_leader(exchange *ex) {
        if (leader_wait(ex, remove_complete))
                return;
        ex->gw->metrics.http.leader_not_found++;
        api_answer_text(ex, 503, "leader not found");
}

void remove_complete(exchange *ex) {
        ipc_link *link = ex->gw->node.known ? ipc_connector_link(ex->gw->consensus) : NULL;
        char id[NODE_TEXT_BYTES];
        if (!read_id(ex, id) || api_redirect(ex, remove_complete))
                return;
        if (link == NULL || !leader_is_known(ex->gw)) {
                answer_no_leader(ex);
        } else if (ipc_link_protocol_minor(link) < REMOVE_MINOR) {
                api_answer_text(ex, 501, "remove: rq-consensus is of an older version, which can't");
        } else {
                send_remove(ex, link, id);
        }
}

void remove_on_done(exchange *ex, unsigned outcome, const char *text) {
        char words[1280];
        switch (outcome) {
        case RQ__REMOVE_DONE__OUTCOME__DONE:
                answer_empty(ex, 200);
                return;
        case RQ__REMOVE_DONE__OUTCOME__NO_LEADER:
                answer_no_leader(ex);
                return;
        case RQ__REMOVE_DONE__OUTCOME__TIMEOUT:
                remove_on_deadline(ex);
                return;
        default: /* REFUSED, and what a newer version may say */
                (void) snprintf(words, sizeof words, "remove: %s", text[0] != '\0' ? text : "failed");
                api_answer_text(ex, 500, words);
        }
}

void remove_on_link_down(gateway *gw) {
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;)
                if (ex->state == EX_REMOVE)
                        api_answer_text(ex, 503, "remove: rq-consensus was restarted");
}

void remove_on_deadline(exchange *ex) { api_answer_text(ex, 504, "remove: timed out, see /nodes for what came of it"); }
