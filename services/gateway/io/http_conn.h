/* One client connection: requests in, answers out, in order. Knows HTTP/1.x
 * (through http-parser, which only this file's source uses), limits and
 * timeouts; nothing of paths and bodies. One request of a connection is in
 * work at a time; those pipelined behind it wait in a bounded buffer.
 *
 * The answer may be given from any callback or later, before or after the body
 * is complete, until on_gone. */
#ifndef RQ_GATEWAY_HTTP_CONN_H
#define RQ_GATEWAY_HTTP_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "io/http_server.h"

typedef struct http_request {
        unsigned method;           /* METHOD_ of core/route.h */
        char *target;              /* request target as sent; may be changed in place */
        size_t target_size;
        rq_bytes content_type;     /* empty: none */
        rq_bytes authorization;    /* if http_limits.credentials; empty: none, or too long to be one */
        bool has_body;
        bool has_length;
        uint64_t content_length;   /* if has_length */
        uint64_t started_ns;       /* monotonic: headers complete */
} http_request;

/* Head of an answer. Texts are borrowed for the call. */
typedef struct http_head {
        unsigned status;
        const char *content_type;  /* NULL: none */
        bool nosniff;
        bool served_by;            /* X-Rqlite-Served-By: this node */
        unsigned retry_after_s;    /* 0: none */
        const char *location;      /* NULL: none */
        const char *allow;         /* NULL: none */
        uint64_t index;            /* X-Rq-Index: of the state that the body is; 0: none */
        bool authenticate;         /* ask for user and password */
        bool close;                /* end the connection after this answer */
} http_head;

/* Of the request in work; valid until its answer is complete. */
const http_request *http_conn_request(const http_conn *conn);

/* A place for whoever answers; NULL at first and after an answer. */
void http_conn_set_data(http_conn *conn, void *data);
void *http_conn_data(const http_conn *conn);

/* Who is at the other end. key: what counts as one client, an IPv6 network of 64 bits, too. */
enum { HTTP_PEER_BYTES = 64, HTTP_PEER_KEY_BYTES = 9 };
typedef struct http_peer { uint8_t key[HTTP_PEER_KEY_BYTES]; char text[HTTP_PEER_BYTES]; } http_peer;
void http_conn_peer(const http_conn *conn, http_peer *ret_peer);
/* The same of a numeric host:port; of anything else, as of a unix socket. */
void http_peer_of(const char *address, http_peer *ret_peer);

/* Nothing more of the request is read until it is released; the client is not slow meanwhile. From on_headers
 * only. Released also after an answer. */
void http_conn_hold(http_conn *conn);
void http_conn_release(http_conn *conn);

/* The answer of the request in work is wanted also when the client has ended
 * its side: by default such a client is given up soon, and a read cancelled. */
void http_conn_keep_on_eof(http_conn *conn);

/* Its body may be of any size, and comes as it was sent, also if it is gzip; whoever takes it says when there is room for
 * more: while throttled, no more of it is read (what was read already still comes, at most
 * HTTP_READ_BYTES), and the client's time doesn't run. */
void http_conn_take_any_size(http_conn *conn);
void http_conn_throttle(http_conn *conn, bool throttled);

/* A whole answer, in two parts (either may be empty). */
void http_answer(http_conn *conn, const http_head *head, rq_bytes first, rq_bytes second);
/* text + '\n' as text/plain, or an empty answer for "". */
void http_answer_text(http_conn *conn, unsigned status, const char *text);

/* An answer in pieces, of a length not known beforehand. */
void http_answer_begin(http_conn *conn, const http_head *head);
void http_answer_piece(http_conn *conn, rq_bytes piece);
void http_answer_end(http_conn *conn, rq_bytes first, rq_bytes second);
/* It can't be completed: the connection is cut, so that the client sees it. */
void http_answer_cut(http_conn *conn);

/* Bytes that the client hasn't taken yet. */
size_t http_conn_queued(const http_conn *conn);

#endif
