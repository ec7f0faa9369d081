/* POST /leader: leadership is to go to another node. Consensus does it, and knows
 * who leads; any node may be asked. */
#include <jansson.h>
#include <stdio.h>

#include "api/api.h"
#include "base/clock.h"
#include "consensus.pb-c.h"

enum { STEPDOWN_BODY_BYTES_MAX = 4096, TRANSFER_MINOR = 2, PACKED_BYTES_MAX = NODE_TEXT_BYTES + 32 };

void stepdown_body(exchange *ex, rq_bytes piece) {
        if (ex->text.size + piece.size > STEPDOWN_BODY_BYTES_MAX || rq_buf_append_bytes(&ex->text, piece) < 0)
                api_answer_text(ex, 413, "request body too large");
}

/* Who is to lead, if the body names somebody. false: answered. The body counts
 * only with exactly this type and a length: rqlite's rule. */
static bool read_target(exchange *ex, char target[static NODE_TEXT_BYTES]) {
        const http_request *request = http_conn_request(ex->conn);
        json_error_t error;
        char text[256];

        target[0] = '\0';
        if (!rq_bytes_equal(request->content_type, rq_bytes_text("application/json")) || !request->has_length || request->content_length == 0)
                return true;
        json_t *body = json_loadb((const char *) ex->text.data, ex->text.size, JSON_DISABLE_EOF_CHECK, &error);
        json_t *id = json_object_get(body, "id");
        bool good = json_is_object(body) && (id == NULL || json_is_string(id) || json_is_null(id));
        bool fits = json_string_length(id) < NODE_TEXT_BYTES;
        if (good && fits) {
                (void) snprintf(target, NODE_TEXT_BYTES, "%s", json_is_string(id) ? json_string_value(id) : "");
        } else if (good) { /* no node has such a name */
                api_answer_text(ex, 500, "stepdown: node not found in cluster");
        } else {
                (void) snprintf(text, sizeof text, "invalid JSON: %s", body == NULL ? error.text : "want an object with \"id\" as a string");
                api_answer_text(ex, 400, text);
        }
        json_decref(body);
        return good && fits;
}

static void answer_refused(exchange *ex, const failure *f) {
        failure_answer answer;
        failure_answer_of(f, &answer);
        http_conn *conn = ex->conn;
        const http_head head = { .status = answer.status, .content_type = API_TEXT, .nosniff = true, .retry_after_s = answer.retry_after_s };
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text(answer.text), rq_bytes_text("\n"));
}

static void send_transfer(exchange *ex, ipc_link *link, const char *target) {
        uint64_t now_us = rq_clock_mono_us(), left_us = ex->deadline_us > now_us ? ex->deadline_us - now_us : 0;
        Rq__Transfer transfer = RQ__TRANSFER__INIT;
        uint8_t packed[PACKED_BYTES_MAX];
        transfer.node_id = (char *) (uintptr_t) target;
        transfer.wait = ex->params.wait;
        transfer.timeout_us = left_us - left_us / 8; /* it knows what came of it: it answers first */
        size_t size = rq__transfer__pack(&transfer, packed);
        if (ipc_link_send(link, IPC_TRANSFER, ex->id, rq_bytes_of(packed, size), (rq_bytes) {0}) < 0) {
                const failure overloaded = { .outcome = FAILED_REFUSED, .reason = FAILED_OVERLOADED, .write = true };
                answer_refused(ex, &overloaded);
                return;
        }
        ex->state = EX_TRANSFER;
        gateway_set_deadline(ex->gw, ex, left_us);
}

static void begin(exchange *ex, bool flushed) {
        ipc_link *link = ex->gw->node.known ? ipc_connector_link(ex->gw->consensus) : NULL;
        char target[NODE_TEXT_BYTES];
        if (!read_target(ex, target) || api_redirect(ex, stepdown_complete))
                return;
        if (link == NULL || ex->gw->node.leader_id[0] == '\0') {
                ex->gw->metrics.http.leader_not_found++;
                api_answer_text(ex, 503, "leader not found");
        } else if (ipc_link_protocol_minor(link) < TRANSFER_MINOR) {
                api_answer_text(ex, 501, "stepdown: rq-consensus is of an older version, which can't");
        } else {
                uint64_t now_us = rq_clock_mono_us(), left_us = ex->deadline_us > now_us ? ex->deadline_us - now_us : 0;
                if (flushed || !queue_flush_before(ex, left_us / 2))
                        send_transfer(ex, link, target);
        }
}

/* What is queued goes to the leader that is known, first. */
void stepdown_complete(exchange *ex) { begin(ex, false); }
void stepdown_on_flushed(exchange *ex) { begin(ex, true); }

static void answer_done(exchange *ex) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = 200, .content_type = API_JSON, .served_by = true };
        exchange_free(ex);
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
}

/* A follower whose consensus can't pass the wish on: says where to go. */
static void answer_not_leader(exchange *ex) {
        const char *address = ex->gw->node.leader_api_addr;
        char text[GATEWAY_URL_BYTES + 64], url[GATEWAY_URL_BYTES];
        (void) snprintf(text, sizeof text, "stepdown: not leader, nothing was done%s%s", address[0] != '\0' ? ", ask " : "",
                        address[0] != '\0' ? gateway_url(address, url) : "");
        api_answer_text(ex, 503, text);
}

void stepdown_on_done(exchange *ex, unsigned outcome, const char *text) {
        char words[256];
        switch (outcome) {
        case RQ__TRANSFER_DONE__OUTCOME__DONE:
                answer_done(ex);
                return;
        case RQ__TRANSFER_DONE__OUTCOME__NO_LEADER:
                ex->gw->metrics.http.leader_not_found++;
                api_answer_text(ex, 503, "leader not found");
                return;
        case RQ__TRANSFER_DONE__OUTCOME__NOT_LEADER:
                answer_not_leader(ex);
                return;
        case RQ__TRANSFER_DONE__OUTCOME__NOT_FOUND:
                api_answer_text(ex, 500, "stepdown: node not found in cluster");
                return;
        case RQ__TRANSFER_DONE__OUTCOME__ALREADY_LEADER:
                api_answer_text(ex, 500, "stepdown: cannot step down to the current Leader");
                return;
        case RQ__TRANSFER_DONE__OUTCOME__NO_PEER:
                /* Without wait 200 only says that the wish was taken: clients of rqlite rely on it. */
                if (ex->params.wait)
                        api_answer_text(ex, 500, "stepdown: cannot find peer");
                else
                        answer_done(ex);
                return;
        case RQ__TRANSFER_DONE__OUTCOME__NOT_A_VOTER:
                api_answer_text(ex, 500, "stepdown: the node is not a voter");
                return;
        case RQ__TRANSFER_DONE__OUTCOME__TIMEOUT:
                api_answer_text(ex, 504, "stepdown: timed out, the leader is the same");
                return;
        default: /* FAILED, and what a newer version may say */
                (void) snprintf(words, sizeof words, "stepdown: %s", text[0] != '\0' ? text : "failed");
                api_answer_text(ex, 500, words);
        }
}

void stepdown_on_failed(exchange *ex, const failure *f) {
        failure whole = *f;
        whole.write = true;
        answer_refused(ex, &whole);
}

void stepdown_on_link_down(gateway *gw) {
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&gw->exchanges, &cursor)) != NULL;)
                if (ex->state == EX_TRANSFER)
                        api_answer_text(ex, 503, "stepdown: rq-consensus was restarted");
}

void stepdown_on_deadline(exchange *ex) { api_answer_text(ex, 504, "stepdown: timed out, see /leader for what came of it"); }
