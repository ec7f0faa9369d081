/* /nodes, and who leads. What is known of other nodes is consensus' STATUS
 * document (proto/README.md). */
#include <jansson.h>
#include <stdio.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/json_text.h"
#include "io/json_writer.h"

typedef struct node_element {
        const char *id, *addr, *api_addr, *version, *error;
        bool voter, reachable, leader;
        uint64_t took_ns;    /* to reach it */
        json_t *lag;         /* entries that the leader has and it hasn't; NULL: not known. Borrowed */
} node_element;

static void put_integer(json_writer *w, const char *key, json_int_t value) {
        char text[32];
        (void) snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, value);
        writer_raw(w, key, text);
}

static void put_element(json_writer *w, const char *key, const node_element *e) {
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
                (void) json_seconds(e->took_ns, seconds);
                writer_raw(w, "time", seconds);
                writer_text(w, "time_s", rq_duration_text((int64_t) e->took_ns, duration, sizeof duration));
        }
        if (e->lag != NULL)
                put_integer(w, "lag", json_integer_value(e->lag));
        if (e->error[0] != '\0')
                writer_text(w, "error", e->error);
        writer_close(w, '}');
}

static const char *text_of(json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));
        return text != NULL ? text : "";
}

static uint64_t since_start_ns(const exchange *ex) { return rq_clock_mono_ns() - ex->started_ns; }

/* One of consensus' list. Of ourselves we know it better. */
static node_element element_of(const exchange *ex, json_t *node) {
        const node_view *view = &ex->gw->node;
        json_t *reachable = json_object_get(node, "reachable"), *time_us = json_object_get(node, "time_us");
        node_element e = {
                .id = text_of(node, "id"), .addr = text_of(node, "addr"), .api_addr = text_of(node, "api_addr"),
                .version = text_of(node, "version"), .error = text_of(node, "error"), .took_ns = since_start_ns(ex),
                .lag = json_is_integer(json_object_get(node, "lag")) ? json_object_get(node, "lag") : NULL,
        };
        bool self = strcmp(e.id, view->node_id) == 0, is_leader = view->leader_id[0] != '\0' && strcmp(e.id, view->leader_id) == 0;
        e.voter = strcmp(text_of(node, "suffrage"), "voter") == 0;
        e.reachable = self || json_is_true(reachable) || (is_leader && !json_is_false(reachable));
        e.leader = is_leader && e.reachable;
        if (json_is_integer(time_us) && json_integer_value(time_us) >= 0 && !self)
                e.took_ns = (uint64_t) json_integer_value(time_us) * 1000;
        if (self)
                e.api_addr = ex->gw->config->api_addr;
        else if (is_leader && e.api_addr[0] == '\0')
                e.api_addr = view->leader_api_addr;
        if (e.reachable && e.version[0] == '\0')
                e.version = "10";
        if (e.reachable) {
                e.error = "";
        } else {
                e.api_addr = "";
                e.version = "";
                if (e.error[0] == '\0')
                        e.error = "not reachable";
        }
        return e;
}

static void put_nodes(json_writer *w, const exchange *ex, bool list) {
        json_t *nodes = json_object_get(ex->documents[DOCUMENT_CONSENSUS], "nodes"), *node;
        size_t i;
        json_array_foreach(nodes, i, node) {
                node_element e = element_of(ex, node);
                if (e.voter || ex->params.nonvoters)
                        put_element(w, list ? NULL : e.id, &e);
        }
}

static void answer_written(exchange *ex, const json_writer *w, rq_buf *document) {
        if (w->err < 0)
                api_answer_text(ex, 503, rq_err_text(w->err));
        else
                api_answer_json(ex, document);
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
        answer_written(ex, &w, &document);
}

/* --- GET /leader ------------------------------------------------------------ */

static void answer_no_leader(exchange *ex) {
        ex->gw->metrics.http.leader_not_found++;
        api_answer_text(ex, 503, "leader not found");
}

static void answer_leader(exchange *ex, const node_element *e) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        json_writer w = json_writer_of(&document, ex->params.pretty);
        put_element(&w, NULL, e);
        answer_written(ex, &w, &document);
}

/* What NODE_STATE says of the leader. */
static node_element leader_of(const exchange *ex) {
        const node_view *view = &ex->gw->node;
        return (node_element) {
                .id = view->leader_id, .addr = view->leader_raft_addr, .version = "10", .error = "",
                .api_addr = view->role == ROLE_LEADER ? ex->gw->config->api_addr : view->leader_api_addr,
                .voter = true, .reachable = true, .leader = true, .took_ns = since_start_ns(ex),
        };
}

void leader_complete(exchange *ex) {
        const node_view *view = &ex->gw->node;
        if (!view->known || view->leader_id[0] == '\0') {
                answer_no_leader(ex);
        } else if (view->role == ROLE_LEADER) {
                const node_element self = leader_of(ex);
                answer_leader(ex, &self);
        } else {
                documents_ask(ex, false);
        }
}

/* Another node leads: whether it can be reached, consensus knows. */
void leader_on_documents(exchange *ex) {
        const node_view *view = &ex->gw->node;
        json_t *nodes = json_object_get(ex->documents[DOCUMENT_CONSENSUS], "nodes"), *node;
        size_t i;
        if (!view->known || view->leader_id[0] == '\0') { /* meanwhile */
                answer_no_leader(ex);
                return;
        }
        node_element e = leader_of(ex);
        json_array_foreach(nodes, i, node) {
                if (strcmp(text_of(node, "id"), view->leader_id) == 0)
                        e = element_of(ex, node);
        }
        answer_leader(ex, &e);
}
