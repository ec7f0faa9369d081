/* Answers of http_conn.h: what goes out. */
#include <stdio.h>

#include "base/assert.h"
#include "io/http_conn.h"
#include "io/http_encoding.h"
#include "io/http_state.h"

enum { HEAD_BYTES_MAX = 768 }; /* without the server's own lines and Location */

static const char *reason_of(unsigned status) {
        switch (status) {
        case 200: return "OK";
        case 204: return "No Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 413: return "Payload Too Large";
        case 415: return "Unsupported Media Type";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        default: return "Unknown";
        }
}

static char *put(char *p, const char *text) { return stpcpy(p, text); }

static char *put_line(char *p, const char *name, const char *value) {
        return put(put(put(put(p, name), ": "), value), "\r\n");
}

static char *put_bytes(char *p, rq_bytes bytes) {
        if (bytes.size > 0)
                memcpy(p, bytes.data, bytes.size);
        return p + bytes.size;
}

static char *put_decimal(char *p, uint64_t v) {
        char digits[20];
        size_t n = 0;
        do
                digits[n++] = (char) ('0' + v % 10);
        while ((v /= 10) > 0);
        while (n > 0)
                *p++ = digits[--n];
        return p;
}

/* Status line and fields; framing is what depends on the body. NULL: out of
 * memory, and the connection is given up. */
static char *put_head(http_conn *conn, const http_head *head, size_t body_size) {
        http_server *server = conn->server;
        rq_buf *out = transport_out(&conn->transport);
        size_t location_size = head->location != NULL ? strlen(head->location) : 0;

        if (rq_buf_reserve(out, HEAD_BYTES_MAX + location_size + server->common.size + server->served_by.size + body_size) < 0) {
                conn_lost(conn);
                return NULL;
        }
        if (head->close || server->stopping)
                conn->close_after = true;
        conn_before_answer(conn);
        if (head->status >= 500)
                server->metrics->gateway.answers_5xx++;
        else if (head->status >= 400)
                server->metrics->gateway.answers_4xx++;

        char *p = (char *) out->data + out->size;
        if (head->status == 200) {
                p = put(p, "HTTP/1.1 200 OK\r\n");
        } else {
                p = put_decimal(put(p, "HTTP/1.1 "), head->status);
                *p++ = ' ';
                p = put(put(p, reason_of(head->status)), "\r\n");
        }
        p = put_bytes(p, rq_buf_bytes(&server->common));
        if (head->content_type != NULL)
                p = put_line(p, "Content-Type", head->content_type);
        if (head->nosniff)
                p = put(p, "X-Content-Type-Options: nosniff\r\n");
        if (head->served_by)
                p = put_bytes(p, rq_buf_bytes(&server->served_by));
        if (head->retry_after_s != 0)
                p = put(put_decimal(put(p, "Retry-After: "), head->retry_after_s), "\r\n");
        if (head->index != 0)
                p = put(put_decimal(put(p, "X-Rq-Index: "), head->index), "\r\n");
        if (head->location != NULL)
                p = put_line(p, "Location", head->location);
        if (conn->deflater != NULL)
                p = put(p, "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n");
        if (head->authenticate)
                p = put(p, "Www-Authenticate: Basic realm=\"rqlite\"\r\n");
        if (head->allow != NULL)
                p = put_line(p, "Allow", head->allow);
        p = put(p, server_date(server));
        if (conn->close_after)
                p = put(p, "Connection: close\r\n");
        else if (!conn->chunked) /* an HTTP/1.0 client that asked for it */
                p = put(p, "Connection: keep-alive\r\n");
        return p;
}

static void commit(http_conn *conn, const char *end) {
        rq_buf *out = &conn->transport.out;
        size_t size = (size_t) (end - (const char *) out->data);
        rq_assert(size <= out->capacity);
        out->size = size;
        server_dirty(conn->server, conn);
}

void http_answer(http_conn *conn, const http_head *head, rq_bytes first, rq_bytes second) {
        rq_assert(conn->answer == ANSWER_NONE);
        if (encoding_wanted(conn, head, first.size + second.size) && encoding_begin(conn)) {
                if (encoding_put(conn, first, second, true, &first) < 0) {
                        conn_lost(conn);
                        return;
                }
                second = (rq_bytes) {0};
        }
        size_t size = first.size + second.size;
        char *p = put_head(conn, head, size);
        if (p == NULL)
                return;
        p = put(put_decimal(put(p, "Content-Length: "), size), "\r\n\r\n");
        if (!conn->no_body)
                p = put_bytes(put_bytes(p, first), second);
        commit(conn, p);
        conn_answered(conn);
}

void http_answer_text(http_conn *conn, unsigned status, const char *text) {
        http_head head = { .status = status };
        if (text[0] != '\0') {
                head.content_type = "text/plain; charset=utf-8";
                head.nosniff = true;
        }
        http_answer(conn, &head, rq_bytes_text(text), rq_bytes_text(text[0] != '\0' ? "\n" : ""));
}

void http_answer_begin(http_conn *conn, const http_head *head) {
        rq_assert(conn->answer == ANSWER_NONE);
        if (!conn->chunked) /* HTTP/1.0: the end of the connection is the end of the body */
                conn->close_after = true;
        if (encoding_wanted(conn, head, SIZE_MAX)) /* what comes in pieces is long */
                (void) encoding_begin(conn);
        char *p = put_head(conn, head, 0);
        if (p == NULL)
                return;
        conn->answer = ANSWER_STREAMING;
        commit(conn, put(p, conn->chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n"));
}

static char *put_chunk(http_conn *conn, char *p, rq_bytes first, rq_bytes second) {
        static const char digits[] = "0123456789abcdef";
        size_t size = first.size + second.size;
        if (size == 0)
                return p; /* a chunk of no bytes would be the end */
        if (conn->chunked) {
                int shift = 60;
                while ((size >> shift & 15) == 0)
                        shift -= 4;
                for (; shift >= 0; shift -= 4)
                        *p++ = digits[size >> shift & 15];
                p = put(p, "\r\n");
        }
        p = put_bytes(put_bytes(p, first), second);
        return conn->chunked ? put(p, "\r\n") : p;
}

static char *reserve_chunk(http_conn *conn, size_t size) {
        rq_buf *out = transport_out(&conn->transport);
        if (rq_buf_reserve(out, size + 64) < 0) {
                conn_lost(conn);
                return NULL;
        }
        return (char *) out->data + out->size;
}

void http_answer_piece(http_conn *conn, rq_bytes piece) {
        rq_assert(conn->answer == ANSWER_STREAMING);
        if (conn->no_body)
                return;
        if (conn->deflater != NULL && encoding_put(conn, piece, (rq_bytes) {0}, false, &piece) < 0) {
                conn_lost(conn);
                return;
        }
        char *p = reserve_chunk(conn, piece.size);
        if (p != NULL)
                commit(conn, put_chunk(conn, p, piece, (rq_bytes) {0}));
}

void http_answer_end(http_conn *conn, rq_bytes first, rq_bytes second) {
        rq_assert(conn->answer == ANSWER_STREAMING);
        if (conn->deflater != NULL) {
                if (encoding_put(conn, first, second, true, &first) < 0) {
                        conn_lost(conn);
                        return;
                }
                second = (rq_bytes) {0};
        }
        char *p = reserve_chunk(conn, first.size + second.size);
        if (p == NULL)
                return;
        if (!conn->no_body) {
                p = put_chunk(conn, p, first, second);
                if (conn->chunked)
                        p = put(p, "0\r\n\r\n");
        }
        commit(conn, p);
        conn_answered(conn);
}

void http_answer_cut(http_conn *conn) {
        conn->server->metrics->gateway.answers_cut++;
        conn->told = false;
        conn_lost(conn);
}
