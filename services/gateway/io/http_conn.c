#include "io/http_conn.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "core/encoding.h"
#include "core/route.h"
#include "io/http_encoding.h"
#include "io/http_state.h"

const http_request *http_conn_request(const http_conn *conn) { return &conn->request; }
void http_conn_set_data(http_conn *conn, void *data) { conn->data = data; }
void *http_conn_data(const http_conn *conn) { return conn->data; }
size_t http_conn_queued(const http_conn *conn) { return transport_queued(&conn->transport); }
void http_conn_keep_on_eof(http_conn *conn) { conn->keep_on_eof = true; }

void http_conn_take_any_size(http_conn *conn) {
        conn->any_size = true;
        conn->is_gzip = false;
}

void http_conn_throttle(http_conn *conn, bool throttled) {
        if (throttled == conn->throttled || conn->state == CONN_DEAD)
                return;
        conn->throttled = throttled;
        if (throttled) {
                transport_want_read(&conn->transport, false);
                wheel_cancel(&conn->server->deadlines, &conn->deadline);
        } else if (conn->state == CONN_BODY && !conn->eof) {
                transport_want_read(&conn->transport, true);
                conn->progress_bytes = conn->body_bytes > 0 ? conn->body_bytes : 1;
                server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
        }
}

void http_conn_peer(const http_conn *conn, http_peer *ret_peer) {
        *ret_peer = (http_peer) {0};
        transport_peer(&conn->transport, ret_peer->key, ret_peer->text);
}

void http_peer_of(const char *address, http_peer *ret_peer) {
        *ret_peer = (http_peer) {0};
        transport_peer_of(address, ret_peer->key, ret_peer->text);
}

/* --- states ----------------------------------------------------------------- */

static void set_idle(http_conn *conn, bool idle) {
        if (idle == conn->is_idle)
                return;
        conn->is_idle = idle;
        if (idle)
                rq_list_append(&conn->server->idle, &conn->idle_node);
        else
                rq_list_remove(&conn->idle_node);
}

/* Whoever answers is told once that there is nobody to answer to. */
static void tell_gone(http_conn *conn) {
        if (!conn->told || conn->answer == ANSWER_DONE)
                return;
        conn->told = false;
        conn->server->metrics->gateway.clients_gone++;
        conn->server->handlers.on_gone(conn->server->handlers.arg, conn);
        conn->data = NULL;
}

void conn_lost(http_conn *conn) {
        if (conn->state == CONN_DEAD)
                return;
        tell_gone(conn);
        conn->state = CONN_DEAD;
        set_idle(conn, false);
        transport_want_read(&conn->transport, false);
        server_dirty(conn->server, conn);
}

static void become_idle(http_conn *conn) {
        conn->state = CONN_IDLE;
        conn->answer = ANSWER_NONE;
        conn->told = false;
        conn->data = NULL;
        conn->refusal = 0;
        if (conn->authorization.size > 0)
                explicit_bzero(conn->authorization.data, conn->authorization.size);
        conn->authorization.size = 0;
        if (conn->target.capacity > HTTP_KEEP_BYTES_MAX)
                rq_buf_done(&conn->target);
        set_idle(conn, true);
        server_set_deadline(conn->server, conn, conn->server->stopping ? HTTP_STOP_GRACE_US : conn->server->limits.idle_timeout_us);
        /* More may wait in pending, or the end of the stream was seen. */
        if (conn->pending.size > conn->pending_at || conn->eof)
                server_dirty(conn->server, conn);
        else if (!conn->transport.reading)
                transport_want_read(&conn->transport, true);
}

/* Must the connection end because of a body that nobody wants? A client that
 * waits for "100 Continue" may send it or not: the next request could not be
 * told from it. And what is long is not waited for. */
void conn_before_answer(http_conn *conn) {
        const http_request *request = &conn->request;
        http_conn_throttle(conn, false);
        bool rest_comes = conn->state == CONN_BODY && request->has_body;
        if (rest_comes && (conn->expects_continue || (request->has_length && request->content_length - conn->body_bytes > HTTP_DISCARD_BYTES_MAX)))
                conn->close_after = true;
        if (rest_comes && conn->close_after)
                conn->linger_after = true;
        conn->expects_continue = false;
}

/* The answer is complete, as far as we are concerned. */
void conn_answered(http_conn *conn) {
        rq_assert(conn->answer != ANSWER_DONE);
        conn->answer = ANSWER_DONE;
        conn->told = false;
        conn->data = NULL;
        bool was_held = conn->inflating;
        encoding_done(conn);
        if (was_held) /* nobody wants what is left of the body */
                http_conn_release(conn);
        server_dirty(conn->server, conn);
        if (!conn->close_after && conn->state == CONN_WAIT)
                become_idle(conn);
}

/* --- parser ----------------------------------------------------------------- */

static http_conn *conn_of(http_parser *parser) { return parser->data; }

static int on_message_begin(http_parser *parser) {
        http_conn *conn = conn_of(parser);
        conn->state = CONN_HEADERS; /* idle still: a header that drips is to make room, too */
        conn->request = (http_request) {0};
        conn->target.size = 0;
        conn->content_type_size = conn->content_encoding_size = conn->accept_encoding_size = 0;
        conn->transfer_encoding_size = 0;
        conn->hosts = conn->transfer_encodings = 0;
        conn->complaint = NULL;
        conn->is_gzip = conn->gzip_wanted = false;
        conn->authorization.size = 0;
        conn->field_size = 0;
        conn->field_open = false;
        conn->header_bytes = 0;
        conn->body_bytes = conn->progress_bytes = 0;
        conn->is_chunked = conn->header_lf_due = false;
        conn->expects_continue = conn->keep_on_eof = conn->any_size = conn->throttled = false;
        return 0;
}

static int refuse(http_conn *conn, unsigned status) {
        conn->refusal = status;
        return 1;
}

static int on_url(http_parser *parser, const char *at, size_t size) {
        http_conn *conn = conn_of(parser);
        if (conn->target.size + size > HTTP_TARGET_BYTES_MAX || rq_buf_append(&conn->target, at, size) < 0)
                return refuse(conn, 431);
        return 0;
}

static int count_header(http_conn *conn, size_t size) {
        conn->header_bytes += (uint32_t) size;
        return conn->header_bytes > HTTP_HEADER_BYTES_MAX ? refuse(conn, 431) : 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t size) {
        http_conn *conn = conn_of(parser);
        if (conn->state != CONN_HEADERS) /* trailers are not looked at */
                return 0;
        size_t around = 0;
        if (!conn->field_open) {
                conn->field_open = true;
                conn->field_size = 0;
                around = 4; /* ": " and the end of the line */
        }
        /* "Content-Length : 5": the parser lets it pass, a proxy before us may have taken it for another field. */
        if (memchr(at, ' ', size) != NULL) {
                conn->complaint = "400 Bad Request: a blank in the name of a header field";
                return refuse(conn, 400);
        }
        for (size_t i = 0; i < size && conn->field_size < sizeof conn->field; i++) {
                char c = at[i];
                conn->field[conn->field_size++] = c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
        }
        return count_header(conn, size + around);
}

static bool field_is(const http_conn *conn, const char *name) {
        return conn->field_size == strlen(name) && memcmp(conn->field, name, conn->field_size) == 0;
}

/* The first one of several; one that is too long is none. */
static int take_credentials(http_conn *conn, const char *at, size_t size, bool begins) {
        if (begins && conn->authorization.size > 0)
                conn->field_size = 0;
        else if (conn->authorization.size + size > HTTP_CREDENTIALS_MAX)
                conn->authorization.size = conn->field_size = 0;
        else if (rq_buf_append(&conn->authorization, at, size) < 0)
                return refuse(conn, 431);
        return count_header(conn, size);
}

/* The last one of several, as far as there is room. */
static void keep_value(char *value, size_t room, uint8_t *value_size, const char *at, size_t size, bool begins) {
        if (begins)
                *value_size = 0;
        size_t left = room - *value_size, taken = size < left ? size : left;
        memcpy(value + *value_size, at, taken);
        *value_size = (uint8_t) (*value_size + taken);
}

static int on_header_value(http_parser *parser, const char *at, size_t size) {
        http_conn *conn = conn_of(parser);
        if (conn->state != CONN_HEADERS)
                return 0;
        bool begins = conn->field_open;
        conn->field_open = false;
        if (conn->server->limits.credentials && field_is(conn, "authorization"))
                return take_credentials(conn, at, size, begins);
        if (field_is(conn, "content-type")) {
                keep_value(conn->content_type, sizeof conn->content_type, &conn->content_type_size, at, size, begins);
        } else if (field_is(conn, "content-encoding")) {
                keep_value(conn->content_encoding, sizeof conn->content_encoding, &conn->content_encoding_size, at, size, begins);
        } else if (field_is(conn, "accept-encoding")) {
                keep_value(conn->accept_encoding, sizeof conn->accept_encoding, &conn->accept_encoding_size, at, size, begins);
        } else if (field_is(conn, "host")) {
                if (begins && conn->hosts < 2)
                        conn->hosts++;
        } else if (field_is(conn, "transfer-encoding")) {
                if (begins && conn->transfer_encodings < 2)
                        conn->transfer_encodings++;
                keep_value(conn->transfer_encoding, sizeof conn->transfer_encoding, &conn->transfer_encoding_size, at, size, begins);
        } else if (field_is(conn, "expect") && size == 12 && strncasecmp(at, "100-continue", 12) == 0) {
                /* Split over two reads it is not seen, and the client's own patience ends the wait. */
                conn->expects_continue = true;
        }
        return count_header(conn, size);
}

static unsigned method_of(const http_parser *parser) {
        switch (parser->method) {
        case HTTP_GET: return METHOD_GET;
        case HTTP_HEAD: return METHOD_HEAD;
        case HTTP_POST: return METHOD_POST;
        case HTTP_DELETE: return METHOD_DELETE;
        case HTTP_OPTIONS: return METHOD_OPTIONS;
        default: return METHOD_OTHER;
        }
}

/* A client may wait for our word before it sends a body. */
static void ask_for_body(http_conn *conn) {
        if (conn->answer == ANSWER_NONE && conn->expects_continue && conn->state == CONN_BODY) {
                (void) rq_buf_append_text(transport_out(&conn->transport), "HTTP/1.1 100 Continue\r\n\r\n");
                server_dirty(conn->server, conn);
        }
        conn->expects_continue = false;
}

/* What a proxy before us could read in another way than we do (RFC 9112, 3.2 and 6.1). 0: nothing. A coding that doesn't end
 * with "chunked" the parser refuses itself. */
static unsigned ambiguity_of(http_conn *conn, const http_parser *parser) {
        bool is_1_0 = parser->http_minor == 0;
        if (conn->hosts > 1)
                conn->complaint = "400 Bad Request: more than one Host";
        else if (conn->hosts == 0 && !is_1_0)
                conn->complaint = "400 Bad Request: missing required Host header";
        else if (conn->transfer_encodings > 0 && is_1_0)
                conn->complaint = "400 Bad Request: HTTP/1.0 has no Transfer-Encoding";
        if (conn->complaint != NULL)
                return 400;
        if ((parser->flags & F_CHUNKED) == 0)
                return 0;
        size_t size = conn->transfer_encoding_size;
        while (size > 0 && (conn->transfer_encoding[size - 1] == ' ' || conn->transfer_encoding[size - 1] == '\t'))
                size--;
        bool is_plain = conn->transfer_encodings == 1 && size == 7 && strncasecmp(conn->transfer_encoding, "chunked", 7) == 0;
        return is_plain ? 0 : 501;
}

static int on_headers_complete(http_parser *parser) {
        http_conn *conn = conn_of(parser);
        bool has_length = (parser->flags & F_CONTENTLENGTH) != 0;

        set_idle(conn, false);
        if (parser->http_major != 1)
                return -1;
        unsigned ambiguity = ambiguity_of(conn, parser);
        if (ambiguity != 0) {
                conn->refusal = ambiguity;
                return -1;
        }
        parser->upgrade = 0; /* offers of another protocol are ignored */
        conn->keep_alive = http_should_keep_alive(parser) != 0 && !conn->server->stopping;
        conn->chunked = parser->http_minor >= 1;
        conn->no_body = parser->method == HTTP_HEAD;
        conn->close_after = !conn->keep_alive;
        conn->linger_after = false;
        conn->request = (http_request) {
                .method = method_of(parser),
                .target = (char *) conn->target.data,
                .target_size = conn->target.size,
                .content_type = rq_bytes_of(conn->content_type, conn->content_type_size),
                .authorization = rq_buf_bytes(&conn->authorization),
                .has_length = has_length,
                .content_length = has_length ? parser->content_length : 0,
                .has_body = (has_length && parser->content_length > 0) || (parser->flags & F_CHUNKED) != 0,
                .started_ns = conn->server->now_ns,
        };
        conn->is_chunked = (parser->flags & F_CHUNKED) != 0;
        conn->chunks = (chunk_check) {0};
        conn->chunks_ahead = 0;
        conn->header_lf_due = true;
        http_parser_pause(parser, 1); /* before the last byte of the header */
        if (!conn->chunked || !conn->request.has_body)
                conn->expects_continue = false; /* HTTP/1.0 doesn't know it */
        conn->state = CONN_BODY;
        conn->gzip_wanted = conn->accept_encoding_size > 0 && accepts_gzip(rq_bytes_of(conn->accept_encoding, conn->accept_encoding_size));
        body_encoding encoding = body_encoding_of(rq_bytes_of(conn->content_encoding, conn->content_encoding_size));
        conn->is_gzip = encoding == BODY_GZIP;
        if (conn->request.has_body && encoding == BODY_UNKNOWN) {
                conn->refusal = 415;
                return -1;
        }
        if (conn->transport.met_plain) {
                conn->server->metrics->gateway.bad_requests++;
                conn->close_after = conn->linger_after = true;
                http_answer_text(conn, 400, "Client sent an HTTP request to an HTTPS server.");
                return 0;
        }
        conn->told = true;
        conn->server->metrics->gateway.requests_received++;
        conn->server->handlers.on_headers(conn->server->handlers.arg, conn);
        if (conn->held)
                http_parser_pause(parser, 1);
        else
                ask_for_body(conn);
        return 0;
}

void http_conn_hold(http_conn *conn) { conn->held = true; }

void http_conn_release(http_conn *conn) {
        if (!conn->held)
                return;
        conn->held = false;
        conn->released = true;
        ask_for_body(conn);
        if (conn->state != CONN_DEAD)
                server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
        server_dirty(conn->server, conn);
}

/* All was said, and nothing more is listened to. */
static bool is_lingering(const http_conn *conn) { return conn->linger_after && conn->answer == ANSWER_DONE; }

static int on_body(http_parser *parser, const char *at, size_t size) {
        http_conn *conn = conn_of(parser);
        conn->body_bytes += size;
        conn->server->metrics->gateway.body_bytes_received += size;
        if (conn->answer == ANSWER_NONE && conn->state == CONN_BODY && conn->is_gzip) {
                unsigned status = encoding_take(conn, rq_bytes_of(at, size));
                if (status != 0)
                        return refuse(conn, status);
                if (conn->held)
                        http_parser_pause(parser, 1);
        } else if (conn->answer == ANSWER_NONE && conn->state == CONN_BODY) {
                conn->server->handlers.on_body(conn->server->handlers.arg, conn, rq_bytes_of(at, size));
        } else if (conn->answer == ANSWER_DONE && conn->body_bytes > HTTP_DISCARD_BYTES_MAX) {
                conn->close_after = conn->linger_after = true;
                server_dirty(conn->server, conn); /* the answer may have left already */
        }
        /* A body that nobody wants to read has a limit, too. */
        if (conn->answer == ANSWER_NONE && conn->state == CONN_BODY && !conn->any_size &&
            conn->body_bytes > conn->server->limits.body_bytes_max)
                return refuse(conn, 413);
        return conn->state == CONN_DEAD || is_lingering(conn);
}

static int on_message_complete(http_parser *parser) {
        http_conn *conn = conn_of(parser);
        http_parser_pause(parser, 1); /* what follows is the next request: not before this one is answered */
        if (conn->state == CONN_DEAD || is_lingering(conn))
                return 0;
        if (conn->is_gzip && conn->request.has_body && conn->answer == ANSWER_NONE) {
                unsigned status = encoding_end(conn);
                if (status != 0)
                        return refuse(conn, status);
        }
        conn->state = CONN_WAIT;
        if (conn->answer == ANSWER_DONE) {
                if (!conn->close_after)
                        become_idle(conn);
        } else if (conn->answer == ANSWER_NONE) {
                conn->server->handlers.on_complete(conn->server->handlers.arg, conn);
        }
        return 0;
}

static const http_parser_settings settings = {
        .on_message_begin = on_message_begin,
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

static void answer_refused(http_conn *conn, unsigned status) {
        static const struct { unsigned status; const char *text; } texts[] = {
                { 400, "400 Bad Request: malformed HTTP" }, { 405, "" }, { 413, "413 Payload Too Large" },
                { 415, "415 Unsupported Media Type: of Content-Encoding, only gzip is understood" },
                { 503, "503 Service Unavailable: out of memory" },
                { 501, "501 Not Implemented: of Transfer-Encoding, only chunked is understood" },
                { 431, "431 Request Header Fields Too Large" },
        };
        size_t i = 0;
        while (i + 1 < sizeof texts / sizeof texts[0] && texts[i].status != status)
                i++;
        bool is_damaged = conn->refusal == 400 && conn->is_gzip; /* the header is over, and nothing else refuses with it */
        conn->keep_alive = conn->no_body = false;
        conn->close_after = conn->linger_after = true;
        if (conn->complaint != NULL)
                http_answer_text(conn, texts[i].status, conn->complaint);
        else
                http_answer_text(conn, texts[i].status, is_damaged ? "400 Bad Request: the body is no gzip, or damaged" : texts[i].text);
}

static void refuse_malformed(http_conn *conn, enum http_errno error) {
        metrics *m = conn->server->metrics;
        unsigned status = conn->refusal != 0 ? conn->refusal : error == HPE_HEADER_OVERFLOW ? 431 : error == HPE_INVALID_METHOD ? 405 : 400;
        if (status == 431)
                m->gateway.header_limit++;
        else if (status == 413)
                m->gateway.body_limit++;
        else
                m->gateway.bad_requests++;

        if (conn->answer == ANSWER_NONE) {
                tell_gone(conn);
                answer_refused(conn, status);
        } else if (conn->answer == ANSWER_STREAMING) { /* the body went wrong behind the answer */
                m->gateway.answers_cut++;
                conn_lost(conn);
        } else {
                conn->close_after = conn->linger_after = true;
                server_dirty(conn->server, conn);
        }
}

static bool wants_input(const http_conn *conn) {
        return !conn->held && (conn->state == CONN_IDLE || conn->state == CONN_HEADERS || conn->state == CONN_BODY);
}

/* Behind the carriage return that ends the header the parser takes any byte for the line feed (RFC 9112, 2.2: a lone one
 * ends nothing): whoever is before us may have seen a field there, and another request behind it. */
static bool check_header_end(http_conn *conn, uint8_t next) {
        const bool good = !conn->header_lf_due || next == '\n';
        conn->header_lf_due = false;
        return good;
}

/* So much as a header may be given to the parser: up to a carriage return that no line feed follows, with it. The parser
 * takes whatever comes behind one after a field's colon for its line feed, too. */
static size_t up_to_lone_cr(const uint8_t *data, size_t size) {
        const uint8_t *at = data, *end = data + size;
        while (at < end && (at = memchr(at, '\r', (size_t) (end - at))) != NULL && ++at < end)
                if (*at != '\n')
                        return (size_t) (at - data);
        return size;
}

/* The parser is given what is right of a chunked body; what is wrong, nobody sees. */
static bool check_chunks(http_conn *conn, const uint8_t *data, size_t size) {
        if (conn->state != CONN_BODY || !conn->is_chunked)
                return true;
        if (conn->chunks_ahead < size)
                conn->chunks_ahead += chunk_check_take(&conn->chunks, rq_bytes_of(data + conn->chunks_ahead, size - conn->chunks_ahead));
        return conn->chunks.state != CHUNK_BAD;
}

/* Parses until a request is in work. Returns how many bytes were used. */
static size_t parse(http_conn *conn, const uint8_t *data, size_t size) {
        size_t used = 0;
        while (used < size && wants_input(conn) && !is_lingering(conn)) {
                const bool in_header = conn->state == CONN_IDLE || conn->state == CONN_HEADERS;
                if (!check_header_end(conn, data[used]) || (in_header && conn->lf_due && data[used] != '\n')) {
                        refuse_malformed(conn, HPE_LF_EXPECTED);
                        return size;
                }
                if (!check_chunks(conn, data + used, size - used)) {
                        refuse_malformed(conn, HPE_INVALID_CHUNK_SIZE);
                        return size;
                }
                const size_t given = in_header ? up_to_lone_cr(data + used, size - used) : size - used;
                const size_t n = http_parser_execute(&conn->parser, &settings, (const char *) data + used, given);
                conn->chunks_ahead -= n < conn->chunks_ahead ? n : conn->chunks_ahead;
                used += n;
                enum http_errno error = HTTP_PARSER_ERRNO(&conn->parser);
                conn->lf_due = in_header && !conn->header_lf_due && n > 0 && data[used - 1] == '\r';
                if (error == HPE_PAUSED) {
                        http_parser_pause(&conn->parser, 0);
                } else if (error != HPE_OK) {
                        if (conn->state != CONN_DEAD && !is_lingering(conn))
                                refuse_malformed(conn, error);
                        return size;
                }
        }
        return used;
}

/* --- reading ---------------------------------------------------------------- */

/* A slow client: headers have one time limit, a body must go on. */
static void watch_progress(http_conn *conn) {
        if (conn->state == CONN_BODY && !conn->throttled) {
                if (conn->deadline.set && conn->body_bytes - conn->progress_bytes < HTTP_PROGRESS_BYTES && conn->progress_bytes > 0)
                        return;
                conn->progress_bytes = conn->body_bytes > 0 ? conn->body_bytes : 1;
                server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
        }
}

static void receive(http_conn *conn, const uint8_t *data, size_t size) {
        size_t used = 0;
        conn_state before = conn->state;
        if (conn->pending.size == conn->pending_at)
                used = parse(conn, data, size);
        if (conn->state == CONN_DEAD || conn->state == CONN_LINGER)
                return;
        if (used < size) {
                if (rq_buf_append(&conn->pending, data + used, size - used) < 0) {
                        conn_lost(conn);
                        return;
                }
                if (conn->pending.size - conn->pending_at >= HTTP_PENDING_BYTES_MAX)
                        transport_want_read(&conn->transport, false);
        }
        if (conn->state == CONN_HEADERS && before != CONN_HEADERS)
                server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
        else if (conn->state == CONN_WAIT || conn->held)
                wheel_cancel(&conn->server->deadlines, &conn->deadline);
        else
                watch_progress(conn);
}

/* The client has ended its side. Requests that it sent before are answered. */
static void on_eof(http_conn *conn) {
        conn->eof = true;
        transport_want_read(&conn->transport, false);
        if (conn->held)
                return; /* what it sent before counts, once it is looked at */
        if (conn->state == CONN_IDLE)
                server_dirty(conn->server, conn); /* answers may still be on their way out */
        else if (conn->state != CONN_WAIT)
                conn_lost(conn);
        else if (!conn->keep_on_eof && !conn->deadline.set)
                server_set_deadline(conn->server, conn, HTTP_EOF_GRACE_MS * 1000);
}

/* The next turn's share of a compressed body. */
void conn_go_on_inflating(void *arg) {
        http_conn *conn = arg;
        if (conn->state == CONN_DEAD)
                return;
        conn->server->now_ns = rq_clock_mono_ns();
        unsigned status = encoding_go_on(conn);
        if (status == 0)
                return;
        conn->refusal = status;
        refuse_malformed(conn, HPE_CB_body);
}

static void on_readable(void *arg) {
        http_conn *conn = arg;
        http_server *server = conn->server;
        size_t size;
        rq_err r = transport_read(&conn->transport, server->buffer, sizeof server->buffer, &size);
        if (conn->state == CONN_DEAD)
                return;
        if (!conn->opened && transport_is_open(&conn->transport)) {
                conn->opened = true;
                server->metrics->gateway.tls_handshakes += !conn->transport.met_plain;
                server->now_ns = rq_clock_mono_ns();
                server_set_deadline(server, conn, server->limits.idle_timeout_us);
        }
        if (r == RQ_EAGAIN)
                return;
        server->now_ns = rq_clock_mono_ns();
        if (r < 0)
                conn_lost(conn);
        else if (size == 0)
                on_eof(conn);
        else if (conn->state != CONN_LINGER)
                receive(conn, server->buffer, size);
}

static void on_writable(void *arg) {
        http_conn *conn = arg;
        server_dirty(conn->server, conn);
}

/* --- end of a turn ---------------------------------------------------------- */

static void parse_pending(http_conn *conn) {
        while (wants_input(conn) && !is_lingering(conn) && conn->pending.size > conn->pending_at) {
                conn->server->now_ns = rq_clock_mono_ns();
                conn->pending_at += parse(conn, conn->pending.data + conn->pending_at, conn->pending.size - conn->pending_at);
                if (conn->state == CONN_HEADERS || conn->state == CONN_BODY)
                        server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
                else if (conn->state == CONN_WAIT)
                        wheel_cancel(&conn->server->deadlines, &conn->deadline);
                if (conn->held)
                        wheel_cancel(&conn->server->deadlines, &conn->deadline);
        }
        if (conn->pending_at >= conn->pending.size) {
                conn->pending.size = conn->pending_at = 0;
                if (conn->pending.capacity > HTTP_KEEP_BYTES_MAX)
                        rq_buf_done(&conn->pending);
        } else if (conn->pending_at > HTTP_PENDING_BYTES_MAX / 2) {
                rq_buf_consume(&conn->pending, conn->pending_at);
                conn->pending_at = 0;
        }
        if (conn->state != CONN_DEAD && !conn->eof && !conn->held && !conn->throttled && conn->pending.size - conn->pending_at < HTTP_PENDING_BYTES_MAX)
                transport_want_read(&conn->transport, true);
}

static bool send_queued(http_conn *conn) {
        size_t sent;
        if (transport_queued(&conn->transport) == 0)
                return true;
        if (transport_flush(&conn->transport, &sent) < 0) {
                conn_lost(conn);
                return false;
        }
        conn->server->metrics->gateway.result_bytes_sent += sent;
        if (transport_queued(&conn->transport) > 0) {
                if (sent > 0 || !conn->deadline.set)
                        server_set_deadline(conn->server, conn, conn->server->limits.idle_timeout_us);
        } else if (conn->state == CONN_WAIT && !conn->close_after) {
                wheel_cancel(&conn->server->deadlines, &conn->deadline);
                if (conn->eof && !conn->keep_on_eof)
                        server_set_deadline(conn->server, conn, HTTP_EOF_GRACE_MS * 1000);
        }
        return true;
}

static void close_answered(http_conn *conn) {
        if (!conn->linger_after || conn->eof) {
                conn_lost(conn);
                return;
        }
        /* Closing with unread input would reset the connection and take the
         * answer back from the client's buffer. */
        conn->state = CONN_LINGER;
        rq_buf_done(&conn->pending);
        conn->pending_at = 0;
        transport_shutdown(&conn->transport);
        transport_want_read(&conn->transport, true);
        server_set_deadline(conn->server, conn, HTTP_LINGER_MS * 1000);
}

void conn_service(http_conn *conn) {
        if (conn->state == CONN_DEAD) {
                conn_free(conn);
                return;
        }
        if (conn->state == CONN_LINGER)
                return;
        if (conn->pending.size > conn->pending_at && wants_input(conn))
                parse_pending(conn);
        if (conn->released && !conn->held) {
                conn->released = false;
                if (conn->eof && conn->state != CONN_DEAD)
                        on_eof(conn);
                else if (wants_input(conn)) /* what had come is used up: on with what comes */
                        transport_want_read(&conn->transport, true);
        }
        if (conn->state == CONN_DEAD || !send_queued(conn))
                return;

        size_t queued = transport_queued(&conn->transport);
        if (conn->answer == ANSWER_STREAMING && queued < HTTP_QUEUE_LOW_BYTES && conn->told)
                conn->server->handlers.on_drained(conn->server->handlers.arg, conn);
        if (queued > 0)
                return;
        if (conn->answer == ANSWER_DONE && conn->close_after)
                close_answered(conn);
        else if (conn->state == CONN_IDLE && conn->eof && conn->pending.size == conn->pending_at)
                conn_lost(conn);
}

/* Not at once: a client that is at work may have sent its next request already. That is
 * answered, and the answer says that the connection ends. */
void conn_close_when_idle(http_conn *conn) {
        if (conn->state == CONN_IDLE)
                server_set_deadline(conn->server, conn, HTTP_STOP_GRACE_US);
}

void conn_expired(http_conn *conn) {
        bool slow = conn->state == CONN_HEADERS || conn->state == CONN_BODY;
        if (slow && conn->answer == ANSWER_NONE) {
                conn->server->metrics->gateway.slow_clients++;
                tell_gone(conn);
                conn->close_after = conn->linger_after = true;
                http_answer_text(conn, 408, "408 Request Timeout: the request did not arrive in time");
                return;
        }
        if (transport_queued(&conn->transport) > 0)
                conn->server->metrics->gateway.slow_clients++;
        conn_lost(conn);
}

/* --- life ------------------------------------------------------------------- */

rq_err conn_new(http_server *server, int take_fd, bool is_unix) {
        transport_tls *tls = server->limits.tls != NULL && !is_unix ? &server->tls : NULL;
        http_conn *conn = calloc(1, sizeof *conn);
        if (conn == NULL) {
                (void) close(take_fd);
                return RQ_ENOMEM;
        }
        conn->server = server;
        rq_err r = transport_init(&conn->transport, server->loop, take_fd, tls, on_readable, on_writable, conn);
        if (r < 0) {
                free(conn);
                return r;
        }
        http_parser_init(&conn->parser, HTTP_REQUEST);
        conn->parser.data = conn;
        rq_list_init(&conn->dirty_node);
        rq_list_init(&conn->idle_node);
        rq_list_append(&server->conns, &conn->node);
        server->conn_count++;
        server->metrics->gateway.connections_accepted++;
        server->metrics->gateway.connections_open++;
        become_idle(conn);
        conn->opened = tls == NULL;
        if (!conn->opened)
                server_set_deadline(server, conn, HTTP_HANDSHAKE_MS * 1000);
        return RQ_OK;
}

void conn_free(http_conn *conn) {
        http_server *server = conn->server;
        tell_gone(conn);
        set_idle(conn, false);
        wheel_cancel(&server->deadlines, &conn->deadline);
        rq_list_remove(&conn->node);
        if (conn->is_dirty)
                rq_list_remove(&conn->dirty_node);
        transport_done(&conn->transport);
        rq_buf_done(&conn->target);
        encoding_done(conn);
        if (conn->authorization.data != NULL)
                explicit_bzero(conn->authorization.data, conn->authorization.capacity);
        rq_buf_done(&conn->authorization);
        rq_buf_done(&conn->pending);
        server->conn_count--;
        server->metrics->gateway.connections_open--;
        free(conn);
        server_conn_gone(server);
}
