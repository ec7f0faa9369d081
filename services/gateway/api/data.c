/* /db/execute, /db/query, /db/request, /db/sql: the body becomes statements,
 * and they go the way that endpoint, level and first words say. */
#include <stdio.h>
#include <strings.h>

#include "api/api.h"
#include "backend.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/sql_hint.h"
#include "io/json_text.h"
#include "io/json_writer.h"
#include "io/statement.h"

static bool is_text_type(rq_bytes type) { return type.size >= 10 && strncasecmp((const char *) type.data, "text/plain", 10) == 0; }

static void refuse_overloaded(exchange *ex) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = 503, .content_type = API_TEXT, .nosniff = true, .retry_after_s = 1 };
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text("too many requests are under way, nothing was done, try again\n"), (rq_bytes) {0});
}

/* While the body comes: what is left of it is not waited for. */
static void refuse_too_large(exchange *ex, const char *text) {
        http_conn *conn = ex->conn;
        const http_head head = { .status = 413, .content_type = API_TEXT, .nosniff = true, .close = true };
        ex->gw->metrics.gateway.body_limit++;
        exchange_free(ex);
        http_answer(conn, &head, rq_bytes_text(text), rq_bytes_text("\n"));
}

static void refuse_body(exchange *ex) {
        char text[160];
        (void) snprintf(text, sizeof text, "request body larger than the limit of %llu bytes (-max-body-size); use /db/load for bulk data",
                        (unsigned long long) ex->gw->config->max_body_bytes);
        refuse_too_large(ex, text);
}

static rq_err take_parser(gateway *gw, json_body **ret_body) {
        if (gw->body_count == 0)
                return json_body_new(ret_body);
        *ret_body = gw->bodies[--gw->body_count];
        return RQ_OK;
}

void data_begin(exchange *ex) {
        const http_request *request = http_conn_request(ex->conn);
        if (request->method != METHOD_POST)
                return;
        if (request->has_length && request->content_length > ex->gw->config->max_body_bytes) {
                refuse_body(ex);
                return;
        }
        ex->wants_body = true;
        if (request->has_body)
                rq_list_append(&ex->gw->arriving, &ex->arriving);
        ex->is_text = ex->route->op != OP_SQL && is_text_type(request->content_type);
        if (ex->is_text)
                return;
        rq_err r = take_parser(ex->gw, &ex->body);
        if (r >= 0)
                r = json_body_begin(ex->body, &ex->statements);
        if (r < 0)
                refuse_overloaded(ex);
}

/* A body counts with what came of it, or with what was made of it, if that is more. */
static void charge(exchange *ex) {
        gateway *gw = ex->gw;
        uint64_t bytes = ex->statements.size > ex->body_bytes ? ex->statements.size : ex->body_bytes;
        if (bytes > ex->charged_bytes) {
                gw->body_bytes += bytes - ex->charged_bytes;
                ex->charged_bytes = bytes;
        }
}

void data_body(exchange *ex, rq_bytes piece) {
        gateway *gw = ex->gw;
        ex->body_bytes += piece.size;
        if (ex->body_bytes > gw->config->max_body_bytes) {
                refuse_body(ex);
                return;
        }
        charge(ex);
        if (gw->body_bytes > BODY_BYTES_MAX && ex->charged_bytes > BODY_BYTES_SMALL) {
                refuse_overloaded(ex);
                return;
        }
        rq_err r = ex->is_text ? rq_buf_append_bytes(&ex->text, piece) : json_body_feed(ex->body, piece);
        if (r == RQ_ETOOBIG)
                refuse_too_large(ex, STATEMENTS_TOO_LARGE);
        else if (r < 0)
                refuse_overloaded(ex);
        else
                charge(ex);
}

/* --- statements ------------------------------------------------------------- */

static rq_err take_sql(exchange *ex, rq_bytes sql, json_body_result *ret_result) {
        *ret_result = (json_body_result) {
                .statement_count = 1, .all_may_be_read = sql_may_be_read(sql), .refused_pragma = sql_is_refused_pragma(sql),
        };
        return statement_put(&ex->statements, sql);
}

static bool is_queued(const exchange *ex) { return ex->route->op == OP_EXECUTE && ex->params.queue; }

/* false: answered. */
static bool take_statements(exchange *ex) {
        json_body_result result = { .all_may_be_read = true };
        rq_err r = RQ_OK;
        if (ex->body != NULL)
                r = json_body_end(ex->body, &result);
        else if (ex->wants_body)
                r = take_sql(ex, rq_buf_bytes(&ex->text), &result);
        else if (ex->params.has_q)
                r = take_sql(ex, ex->params.q, &result);

        if (r == RQ_ETOOBIG) {
                refuse_too_large(ex, STATEMENTS_TOO_LARGE);
                return false;
        }
        if (r < 0) {
                refuse_overloaded(ex);
                return false;
        }
        bool is_mark = is_queued(ex) && ex->params.wait && strcmp(result.problem, JSON_BODY_NO_STATEMENTS) == 0;
        if (result.problem[0] != '\0' && !is_mark) {
                api_answer_text(ex, 400, result.problem);
                return false;
        }
        ex->statement_count = result.statement_count;
        ex->all_may_be_read = result.all_may_be_read;
        if (result.refused_pragma && ex->route->op != OP_SQL) {
                static const char plain[] = "{\"results\":[],\"error\":\"disallowed pragma\"}";
                static const char pretty[] = "{\n    \"results\": [],\n    \"error\": \"disallowed pragma\"\n}";
                http_conn *conn = ex->conn;
                const http_head head = { .status = 200, .content_type = API_JSON };
                bool is_pretty = ex->params.pretty;
                exchange_free(ex);
                http_answer(conn, &head, rq_bytes_text(is_pretty ? pretty : plain), (rq_bytes) {0});
                return false;
        }
        return true;
}

/* --- ways ------------------------------------------------------------------- */

static void choose_way(exchange *ex) {
        bool fresh = ex->params.has_freshness && ex->params.freshness_ns > 0;
        ex->level = read_level_resolve(read_level_of(ex->params.level), fresh, ex->gw->node.role);
        /* A request whose first words are all reads is one until the store
         * says otherwise; else it goes to the log at once. */
        if (ex->route->op == OP_EXECUTE || (ex->route->op == OP_REQUEST && !ex->all_may_be_read))
                ex->way = WAY_PROPOSE;
        else
                ex->way = ex->level == READ_NONE ? WAY_QUERY : WAY_READ;
}

/* /db/sql: SQL is not rewritten here (the clock and random() are the log's), so
 * what runs is what was sent. */
static void answer_sql(exchange *ex) {
        RQ_CLEANUP(rq_buf_done) rq_buf document = {0};
        json_writer w = json_writer_of(&document, ex->params.pretty);
        rq_bytes run = rq_buf_bytes(&ex->statements), sql;

        writer_open(&w, NULL, '{');
        writer_open(&w, "results", '[');
        for (size_t at = 0; statements_next(run, &at, &sql);) {
                writer_open(&w, NULL, '{');
                writer_string(&w, "original", sql);
                writer_string(&w, "rewritten", sql);
                writer_close(&w, '}');
        }
        writer_close(&w, ']');
        if (ex->params.timings) {
                char seconds[JSON_SECONDS_BYTES];
                (void) json_seconds(rq_clock_mono_ns() - ex->started_ns, seconds);
                writer_raw(&w, "time", seconds);
        }
        writer_close(&w, '}');
        if (w.err < 0)
                refuse_overloaded(ex);
        else
                api_answer_json(ex, &document);
}

static void serve(exchange *ex) {
        if (ex->way == WAY_QUERY || !api_redirect(ex, serve)) /* level none is served anywhere */
                backend_start(ex);
}

void data_complete(exchange *ex) {
        gateway *gw = ex->gw;
        if (ex->route->op == OP_SQL && !ex->wants_body && !ex->params.has_q) {
                api_answer_text(ex, 400, "query not specified");
                return;
        }
        if (!take_statements(ex))
                return;
        switch (ex->route->op) {
        case OP_SQL:
                gw->metrics.http.sql_analyze++;
                answer_sql(ex);
                return;
        case OP_EXECUTE:
                if (is_queued(ex)) {
                        queue_accept(ex);
                        return;
                }
                gw->metrics.http.executions++;
                gw->metrics.http.execute_stmts_rx += ex->statement_count;
                break;
        case OP_REQUEST:
                gw->metrics.http.requests++;
                gw->metrics.http.request_stmts_rx += ex->statement_count;
                break;
        default:
                gw->metrics.http.queries++;
                gw->metrics.http.query_stmts_rx += ex->statement_count;
        }
        choose_way(ex);
        serve(ex);
}
