/* Private to io/http_*.c: what a connection and its server are made of. */
#ifndef RQ_GATEWAY_HTTP_STATE_H
#define RQ_GATEWAY_HTTP_STATE_H

#include <http_parser.h>

#include "base/list.h"
#include "core/chunk_check.h"
#include "core/wheel.h"
#include "io/gzip.h"
#include "io/http_conn.h"
#include "io/http_server.h"
#include "io/transport.h"
#include "log/log.h"

enum {
        HTTP_READ_BYTES        = 64 * 1024,   /* asked of the kernel at a time */
        HTTP_TARGET_BYTES_MAX  = 1024 * 1024, /* GET with long SQL */
        HTTP_HEADER_BYTES_MAX  = 64 * 1024,   /* all fields together */
        HTTP_PENDING_BYTES_MAX = 64 * 1024,   /* pipelined behind the request in work */
        HTTP_QUEUE_LOW_BYTES   = 64 * 1024,   /* on_drained below this */
        HTTP_KEEP_BYTES_MAX    = 16 * 1024,   /* of buffers of an idle connection */
        HTTP_CREDENTIALS_MAX   = 1100,        /* of an Authorization header */
        HTTP_PROGRESS_BYTES    = 4096,        /* of a body, to count as progress */
        HTTP_DISCARD_BYTES_MAX = 256 * 1024,  /* of a body behind an early answer */
        HTTP_LINGER_MS         = 3000,        /* for a client that still sends when all is said */
        HTTP_EOF_GRACE_MS      = 1000,        /* a client that only ended its side gets its answer for so long */
        HTTP_HANDSHAKE_MS      = 10000,       /* of TLS */
        HTTP_INFLATE_BYTES     = 512 * 1024,  /* of one compressed body in one turn of the loop */
        HTTP_GZIP_BYTES_MIN    = 2048,        /* smaller answers are not worth it */
        HTTP_DEFLATERS_MAX     = 64,          /* answers that are compressed at a time, 270 KiB each */
        HTTP_TICK_MS           = 100,
        HTTP_ACCEPT_AGAIN_MS   = 100, /* when the system has no room for a connection */
        HTTP_STOP_GRACE_US     = 100000, /* an idle connection outlives the stop by */
};

typedef enum conn_state {
        CONN_IDLE,     /* between requests */
        CONN_HEADERS,  /* the first byte of a request was seen */
        CONN_BODY,     /* headers complete, body comes */
        CONN_WAIT,     /* request complete, answer not */
        CONN_LINGER,   /* answered for the last time; what comes is thrown away */
        CONN_DEAD,     /* freed at the end of the turn */
} conn_state;

typedef enum answer_state { ANSWER_NONE, ANSWER_STREAMING, ANSWER_DONE } answer_state;

struct http_conn {
        http_server *server;
        transport transport;
        http_parser parser;
        rq_list node;            /* of all connections */
        rq_list dirty_node;      /* of those with something to do at the end of the turn */
        rq_list idle_node;       /* of those without a whole header, the longest first */
        wheel_entry deadline;
        conn_state state;
        answer_state answer;

        http_request request;
        rq_buf target;
        rq_buf authorization;
        char content_type[128], content_encoding[32], accept_encoding[128], transfer_encoding[32];
        char field[24];          /* name of the header at hand, lower case, if it can be one that we look at */
        uint8_t field_size, content_type_size, content_encoding_size, accept_encoding_size, transfer_encoding_size;
        uint8_t hosts, transfer_encodings; /* header fields of that name, 2 and more: 2 */
        uint32_t header_bytes;
        uint64_t body_bytes, progress_bytes;
        void *data;

        gzip *inflater;          /* of a compressed body; NULL: none came yet */
        rq_buf deflated;         /* what is left of it for the next turn, */
        rq_timer next_turn;      /* which this begins */
        gzip *deflater;          /* of an answer; NULL: it isn't compressed */

        rq_buf pending;          /* read, not yet parsed: pipelined requests */
        size_t pending_at;

        chunk_check chunks;      /* of a chunked body, ahead of the parser */
        size_t chunks_ahead;     /* by so many bytes */

        const char *complaint;   /* that says it better than the status; NULL: none */
        unsigned refusal;        /* status for a request that ends in a parser error; 0: 400 */
        bool is_dirty, is_idle;
        bool field_open;         /* in a name (else in a value) */
        bool expects_continue;   /* and hasn't been told yet */
        bool told;               /* handlers know of the request */
        bool keep_alive, close_after, linger_after, chunked, no_body;
        bool eof, keep_on_eof;
        bool any_size, throttled; /* of the body: no limit; not read for now */
        bool is_gzip, inflating, more_to_inflate, inflated_whole; /* the body; inflating: held until deflated is used up */
        bool gzip_wanted;        /* by the client, for the answer */
        bool opened;             /* no handshake before it can speak, or none any more */
        bool is_chunked;         /* the body */
        bool header_lf_due;      /* the last byte of the header comes next */
        bool lf_due;             /* amid the header: the last byte was a carriage return */
        bool held, released;     /* released: since then nothing was parsed */
};

struct http_server {
        rq_loop *loop;
        http_limits limits;
        http_handlers handlers;
        metrics *metrics;
        rq_buf common, served_by; /* lines of every answer */
        char date[40];
        uint64_t date_s;
        uint64_t now_ns;          /* of the wake-up being handled */

        rq_buf scratch;          /* for as long as a call */
        size_t deflater_count;
        rq_list conns, dirty, idle;
        size_t conn_count;
        rq_task turn_end;
        wheel deadlines;
        rq_timer tick;
        bool tick_set;

        struct http_listener { http_socket socket; struct event *acceptable; http_server *server; } listeners[HTTP_LISTENERS_MAX];
        size_t listener_count;
        transport_tls tls;       /* used if limits.tls is there */
        rq_log_limit tls_log, accept_log;
        rq_timer accept_again;   /* the system had no room for a connection */
        bool accepting, stopping;
        void (*on_empty)(void *arg);
        void *on_empty_arg;
        char address[HTTP_ADDRESS_BYTES];
        uint8_t buffer[HTTP_READ_BYTES];
};

/* http_conn.c */
void conn_go_on_inflating(void *conn);
rq_err conn_new(http_server *server, int take_fd, bool is_unix);
void conn_free(http_conn *conn);
void conn_lost(http_conn *conn);                    /* no more of it; freed at the end of the turn */
void conn_service(http_conn *conn);                 /* end of a turn: parse what waits, send, close */
void conn_expired(http_conn *conn);
void conn_close_when_idle(http_conn *conn);

/* http_answer.c: state is advanced by http_conn.c */
void conn_before_answer(http_conn *conn);
void conn_answered(http_conn *conn);

/* http_server.c */
void server_dirty(http_server *server, http_conn *conn);
void server_set_deadline(http_server *server, http_conn *conn, uint64_t after_us);
void server_conn_gone(http_server *server);
const char *server_date(http_server *server);

#endif
