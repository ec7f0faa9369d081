/* /console/: a plain page until there is a console: what node this is, and where
 * to look. No script, nothing from elsewhere. */
#include "api/api.h"

static const char page[] =
        "<!DOCTYPE html>\n"
        "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>rq</title></head><body>\n"
        "<h1>rq " RQ_VERSION "</h1>\n"
        "<p>This is a node of rq. It has no web console yet. What it says of itself:</p>\n"
        "<ul>\n"
        "<li><a href=\"/status?pretty\">/status</a></li>\n"
        "<li><a href=\"/nodes?pretty&amp;nonvoters\">/nodes</a></li>\n"
        "<li><a href=\"/leader?pretty\">/leader</a></li>\n"
        "<li><a href=\"/readyz\">/readyz</a></li>\n"
        "<li><a href=\"/debug/vars\">/debug/vars</a></li>\n"
        "<li><a href=\"/licenses\">/licenses</a></li>\n"
        "</ul>\n"
        "<p>SQL goes to /db/execute, /db/query and /db/request: "
        "<code>curl -XPOST 'http://HOST:PORT/db/query?pretty' -d '[\"SELECT 1\"]'</code></p>\n"
        "</body></html>\n";

void console_answer(http_conn *conn, rq_bytes path) {
        const http_head moved = { .status = 301, .location = "./" };
        const http_head found = { .status = 200, .content_type = "text/html; charset=utf-8", .nosniff = true };
        if (rq_bytes_equal(path, rq_bytes_text("/console/")))
                http_answer(conn, &found, rq_bytes_text(page), (rq_bytes) {0});
        else if (rq_bytes_equal(path, rq_bytes_text("/console/index.html")))
                http_answer(conn, &moved, (rq_bytes) {0}, (rq_bytes) {0});
        else
                http_answer_text(conn, 404, "404 page not found");
}
