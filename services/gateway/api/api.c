#include "api/api.h"

#include <stdio.h>

#include "base/cleanup.h"

void api_answer_json(exchange *ex, rq_buf *take_document) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = RQ_TAKE(*take_document, (rq_buf) {0});
        http_conn *conn = ex->conn;
        const http_head head = { .status = 200, .content_type = API_JSON };
        exchange_free(ex);
        http_answer(conn, &head, rq_buf_bytes(&document), (rq_bytes) {0});
}

void api_answer_text(exchange *ex, unsigned status, const char *text) {
        http_conn *conn = ex->conn;
        exchange_free(ex);
        http_answer_text(conn, status, text);
}

bool api_redirect(exchange *ex, void (*again)(exchange *ex)) {
        const node_view *node = &ex->gw->node;
        if (!ex->params.redirect || node->role == ROLE_LEADER)
                return false;
        if (node->leader_api_addr[0] == '\0') {
                if (leader_wait(ex, again))
                        return true;
                ex->gw->metrics.http.leader_not_found++;
                api_answer_text(ex, 500, "leader not found");
                return true;
        }
        RQ_CLEANUP(rq_buf_done) rq_buf location = {0};
        char url[GATEWAY_URL_BYTES];
        rq_err r = rq_buf_append_text(&location, gateway_url(node->leader_api_addr, url));
        if (r >= 0)
                r = rq_buf_append_bytes(&location, rq_buf_bytes(&ex->location));
        if (r >= 0)
                r = rq_buf_append(&location, "", 1);
        if (r < 0) {
                api_answer_text(ex, 503, rq_err_text(r));
                return true;
        }
        http_conn *conn = ex->conn;
        const http_head head = { .status = 301, .content_type = API_JSON, .location = (const char *) location.data };
        exchange_free(ex);
        http_answer(conn, &head, (rq_bytes) {0}, (rq_bytes) {0});
        return true;
}

/* --- answered at once ------------------------------------------------------- */

static void answer_moved(http_conn *conn, unsigned status, const char *words) {
        bool reads = (http_conn_request(conn)->method & (METHOD_GET | METHOD_HEAD)) != 0;
        http_head head = { .status = status, .location = "/console/", .content_type = reads ? "text/html; charset=utf-8" : NULL };
        char page[96];
        (void) snprintf(page, sizeof page, "<a href=\"/console/\">%s</a>.\n\n", words);
        http_answer(conn, &head, rq_bytes_text(reads ? page : ""), (rq_bytes) {0});
}

bool api_answer_plain(gateway *gw, http_conn *conn, const route *r, rq_bytes path) {
        const http_head nothing_reaped = { .status = 200, .content_type = API_JSON };
        const http_head licenses = { .status = 200, .content_type = API_TEXT };
        switch (r->op) {
        case OP_ROOT:
                answer_moved(conn, 302, "Found");
                return true;
        case OP_CONSOLE_BARE:
                answer_moved(conn, 301, "Moved Permanently");
                return true;
        case OP_CONSOLE:
                gw->metrics.http.ui++;
                console_answer(conn, path);
                return true;
        case OP_LICENSES:
                http_answer(conn, &licenses, rq_bytes_text(licenses_text), (rq_bytes) {0});
                return true;
        case OP_REAP:
                /* The live file is the only snapshot: there is never one too many. */
                gw->metrics.http.user_reaps++;
                http_answer(conn, &nothing_reaped, rq_bytes_text("{\"snapshots_reaped\":0,\"wals_checkpointed\":0}\n"), (rq_bytes) {0});
                return true;
        case OP_EXECUTE:
        case OP_BACKUP:
        case OP_LOAD:
        case OP_BOOT:
        case OP_QUERY:
        case OP_REQUEST:
        case OP_SQL:
        case OP_STATUS:
        case OP_NODES:
        case OP_READYZ:
        case OP_LEADER:
        case OP_REMOVE:
        case OP_VARS:
        case OP_SNAPSHOT:
                return false;
        }
        return false;
}

/* --- with an exchange ------------------------------------------------------- */

void api_begin(exchange *ex) {
        switch (ex->route->op) {
        case OP_EXECUTE:
        case OP_QUERY:
        case OP_REQUEST:
        case OP_SQL:
                data_begin(ex);
                return;
        case OP_LOAD:
        case OP_BOOT:
                load_begin(ex);
                return;
        default:
                ex->wants_body = ex->route->op == OP_REMOVE || (ex->route->op == OP_LEADER && http_conn_request(ex->conn)->method == METHOD_POST);
                return;
        }
}

void api_body(exchange *ex, rq_bytes piece) {
        if (!ex->wants_body)
                return;
        if (ex->route->op == OP_LEADER)
                stepdown_body(ex, piece);
        else if (ex->load != NULL)
                load_body(ex, piece);
        else if (ex->route->op == OP_REMOVE)
                remove_body(ex, piece);
        else
                data_body(ex, piece);
}

void api_complete(exchange *ex) {
        gateway *gw = ex->gw;
        switch (ex->route->op) {
        case OP_EXECUTE:
        case OP_QUERY:
        case OP_REQUEST:
        case OP_SQL:
                data_complete(ex);
                return;
        case OP_BACKUP:
                backup_complete(ex);
                return;
        case OP_LOAD:
        case OP_BOOT:
                load_complete(ex);
                return;
        case OP_STATUS:
                gw->metrics.http.num_status++;
                documents_ask(ex, true);
                return;
        case OP_NODES:
                documents_ask(ex, false);
                return;
        case OP_VARS:
                documents_ask(ex, true);
                return;
        case OP_SNAPSHOT:
                gw->metrics.http.user_snapshots++;
                snapshot_begin(ex);
                return;
        case OP_LEADER:
                if (http_conn_request(ex->conn)->method == METHOD_POST)
                        stepdown_complete(ex);
                else
                        leader_complete(ex);
                return;
        case OP_REMOVE:
                remove_complete(ex);
                return;
        case OP_READYZ:
                gw->metrics.http.num_readyz++;
                readiness_begin(ex);
                return;
        default: /* answered by api_answer_plain() */
                api_answer_text(ex, 501, "not available yet in this version");
        }
}
