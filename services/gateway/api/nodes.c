/* /nodes and /leader. */
#include <jansson.h>
#include <stdio.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/json_text.h"
#include "io/json_writer.h"

enum { LEADER_BODY_BYTES_MAX = 4096 };

typedef struct node_element {
        const char *id, *addr, *api_addr, *version, *error;
        bool voter, reachable, leader;
} node_element;

static void put_element(json_writer *w, const char *key, const node_element *e, uint64_t took_ns) {
        char url[GATEWAY_URL_BYTES], seconds[JSON_SECONDS_BYTES], duration[32];
        writer_open(w, key, '{');
        writer_text(w, "id", e->id);
        if (e->api_addr[0] != '\0')
                writer_text(w, "api_addr", gateway_url(e->api_addr, url));
        writer_text(w, "addr", e->addr);
        writer_text(w, "version", e->version);
        writer_bool(w, "voter", e->voter);
        writer_bool(w, "reachable", e->reachable);
        writer_bool(w, "leader", e->leader);
        if (e->reachable) {
                (void) json_seconds(took_ns, seconds);
                writer_raw(w, "time", seconds);
                writer_text(w, "time_s", rq_duration_text((int64_t) took_ns, duration, sizeof duration));
        }
        if (e->error[0] != '\0')
                writer_text(w, "error", e->error);
        writer_close(w, '}');
}

static const char *text_of(json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));
        return text != NULL ? text : "";
}

/* One of consensus' list: {id, addr, suffrage, and of others api_addr, version,
 * reachable, error}. Of ourselves we know it better. */
static node_element element_of(const gateway *gw, json_t *node) {
        const node_view *view = &gw->node;
        json_t *reachable = json_object_get(node, "reachable");
        node_element e = {
                .id = text_of(node, "id"), .addr = text_of(node, "addr"), .api_addr = text_of(node, "api_addr"),
                .version = text_of(node, "version"), .error = text_of(node, "error"),
        };
        bool self = strcmp(e.id, view->node_id) == 0, is_leader = view->leader_id[0] != '\0' && strcmp(e.id, view->leader_id) == 0;
        e.voter = strcmp(text_of(node, "suffrage"), "voter") == 0;
        e.reachable = self || json_is_true(reachable) || (is_leader && !json_is_false(reachable));
        e.leader = is_leader && e.reachable;
        if (self)
                e.api_addr = gw->config->http_adv_addr;
        else if (is_leader && e.api_addr[0] == '\0')
                e.api_addr = view->leader_api_addr;
        if (e.reachable && e.version[0] == '\0')
                e.version = "10";
        if (!e.reachable) {
                e.api_addr = "";
                if (e.error[0] == '\0')
                        e.error = "not reachable";
        }
        return e;
}

static void put_nodes(json_writer *w, const exchange *ex, bool list) {
        json_t *nodes = json_object_get(ex->documents[DOCUMENT_CONSENSUS], "nodes"), *node;
        uint64_t took_ns = rq_clock_mono_ns() - ex->started_ns;
        size_t i;
        json_array_foreach(nodes, i, node) {
                node_element e = element_of(ex->gw, node);
                if (e.voter || ex->params.nonvoters)
                        put_element(w, list ? NULL : e.id, &e, took_ns);
        }
}

void nodes_complete(exchange *ex) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        json_writer w = json_writer_of(&document, ex->params.pretty);
        bool list = rq_bytes_equal(ex->params.ver, rq_bytes_text("2"));

        writer_open(&w, NULL, '{');
        if (list)
                writer_open(&w, "nodes", '[');
        put_nodes(&w, ex, list);
        if (list)
                writer_close(&w, ']');
        writer_close(&w, '}');
        if (w.err < 0)
                api_answer_text(ex, 503, rq_err_text(w.err));
        else
                api_answer_json(ex, &document);
}

/* --- /leader ---------------------------------------------------------------- */

static void answer_leader(exchange *ex) {
        const node_view *view = &ex->gw->node;
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        json_writer w = json_writer_of(&document, ex->params.pretty);
        bool self = view->role == ROLE_LEADER;
        const node_element e = {
                .id = view->leader_id, .addr = view->leader_raft_addr, .version = "10", .error = "",
                .api_addr = self ? ex->gw->config->http_adv_addr : view->leader_api_addr,
                .voter = true, .reachable = true, .leader = true,
        };
        put_element(&w, NULL, &e, rq_clock_mono_ns() - ex->started_ns);
        if (w.err < 0)
                api_answer_text(ex, 503, rq_err_text(w.err));
        else
                api_answer_json(ex, &document);
}

void leader_body(exchange *ex, rq_bytes piece) {
        if (ex->text.size + piece.size > LEADER_BODY_BYTES_MAX || rq_buf_append_bytes(&ex->text, piece) < 0)
                api_answer_text(ex, 413, "request body too large");
}

static void answer_stepped_down(exchange *ex) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = 200, .content_type = API_JSON, .served_by = true };
        exchange_free(ex);
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
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
        if (good) {
                (void) snprintf(target, NODE_TEXT_BYTES, "%s", json_is_string(id) ? json_string_value(id) : "");
        } else {
                (void) snprintf(text, sizeof text, "invalid JSON: %s", body == NULL ? error.text : "want an object with \"id\" as a string");
                api_answer_text(ex, 400, text);
        }
        json_decref(body);
        return good;
}

/* Handing leadership over needs a second node, which a node can't have yet.
 * Without wait the answer is 200 all the same, as in rqlite: clients rely on it. */
static void step_down(exchange *ex) {
        const node_view *view = &ex->gw->node;
        char target[NODE_TEXT_BYTES];
        if (!read_target(ex, target))
                return;
        if (!view->known || view->leader_id[0] == '\0')
                api_answer_text(ex, 503, "leader not found");
        else if (view->role != ROLE_LEADER)
                api_answer_text(ex, 501, "step down through a follower: not available yet in this version");
        else if (target[0] != '\0' && strcmp(target, view->node_id) == 0)
                api_answer_text(ex, 500, "stepdown: cannot step down to the current Leader");
        else if (target[0] != '\0')
                api_answer_text(ex, 500, "stepdown: node not found in cluster");
        else if (ex->params.wait)
                api_answer_text(ex, 500, "stepdown: cannot find peer");
        else
                answer_stepped_down(ex);
}

void leader_complete(exchange *ex) {
        const node_view *view = &ex->gw->node;
        if (http_conn_request(ex->conn)->method == METHOD_POST) {
                step_down(ex);
        } else if (!view->known || view->leader_id[0] == '\0') {
                ex->gw->metrics.http.leader_not_found++;
                api_answer_text(ex, 503, "leader not found");
        } else {
                answer_leader(ex);
        }
}
