/* The HTTP port: listening sockets, the connections behind them, and what they
 * share: limits, buffers, timeouts, the lines that are in every answer. */
#ifndef RQ_GATEWAY_HTTP_SERVER_H
#define RQ_GATEWAY_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "core/metrics.h"
#include "io/http_listen.h"
#include "loop/loop.h"
#include "tls/tls.h"

typedef struct http_server http_server;
typedef struct http_conn http_conn;

/* Of one request, in this order; each but on_gone may answer. */
typedef struct http_handlers {
        void (*on_headers)(void *arg, http_conn *conn);
        void (*on_body)(void *arg, http_conn *conn, rq_bytes piece); /* not after an answer */
        void (*on_complete)(void *arg, http_conn *conn);             /* the body was received; not after an answer */
        void (*on_drained)(void *arg, http_conn *conn);              /* little of the answer is queued now */
        void (*on_gone)(void *arg, http_conn *conn);                 /* no answer can be given any more */
        void *arg;
} http_handlers;

typedef struct http_limits {
        uint64_t idle_timeout_us;
        uint64_t body_bytes_max;   /* also of a body that is read only to be ignored */
        size_t connection_count_max;
        rq_tls *tls;               /* what TCP sockets speak; borrowed; NULL: plain */
        bool credentials;          /* Authorization is looked at, and CORS allows it */
} http_limits;

/* allow_origin: "" for none. served_by: host:port. Both copied. */
rq_err http_server_new(rq_loop *loop, const http_limits *limits, const http_handlers *handlers, const char *allow_origin,
                       const char *served_by, metrics *counters, http_server **ret_server);
http_server *http_server_free(http_server *server); /* accepts NULL, returns NULL */

/* Begins to accept on all of place (io/http_listen.h). Errors were logged. */
rq_err http_server_listen(http_server *server, const http_place *place);

/* "host:port" or "unix:/path" of the first socket. */
const char *http_server_address(const http_server *server);

/* No new connections; idle ones are closed after a moment in which the next request may come, others after their answer. on_empty
 * is called when none is left. */
void http_server_stop(http_server *server, void (*on_empty)(void *arg), void *arg);

#endif
