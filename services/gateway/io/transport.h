/* The bytes of one client connection, both ways, and nothing of what they
 * mean. The one file that knows what carries them: a non-blocking stream socket,
 * plain or with TLS on it (docs/decisions/0012). Output is gathered and leaves
 * with transport_flush(). */
#ifndef RQ_GATEWAY_TRANSPORT_H
#define RQ_GATEWAY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "loop/loop.h"
#include "tls/tls.h"

/* What all TLS connections of a port share. */
typedef struct transport_tls {
        rq_tls *tls;              /* borrowed */
        unsigned steps;           /* of handshakes that may be made in this turn of the loop */
        rq_task turn_end;
        void (*on_failed)(void *arg, const char *peer, const char *problem); /* a handshake; problem: words about the other side */
        void *arg;
} transport_tls;

rq_err transport_tls_init(transport_tls *shared, rq_loop *loop, rq_tls *tls);
void transport_tls_done(transport_tls *shared);

typedef enum transport_state {
        TRANSPORT_OPEN,           /* plain, or the handshake is over */
        TRANSPORT_DETECT,         /* before the first byte of a port with TLS */
        TRANSPORT_HANDSHAKE,
} transport_state;

typedef struct transport {
        int fd;
        transport_state state;
        transport_tls *shared;    /* NULL: plain without question */
        struct ssl_st *ssl;       /* NULL: plain */
        struct event *readable, *writable;
        rq_buf out;
        size_t out_sent;      /* bytes of out that the kernel has */
        bool reading, writing;
        bool met_plain;           /* the client speaks plain to a port with TLS */
        bool flush_wants_read;    /* TLS must read before it can write on */
        bool broken;              /* no word of goodbye */
        uint32_t key_updates;     /* since data came */
        void (*on_readable)(void *arg);
        void (*on_writable)(void *arg); /* room again: call transport_flush() */
        void *arg;
} transport;

/* Takes the connected, non-blocking fd, also on failure. Reading is on. shared: NULL for plain.
 * Errors: RQ_ENOMEM. */
rq_err transport_init(transport *t, rq_loop *loop, int take_fd, transport_tls *shared, void (*on_readable)(void *arg),
                      void (*on_writable)(void *arg), void *arg);
void transport_done(transport *t);

/* Errors: RQ_EAGAIN (nothing there), RQ_EPIPE (connection lost). *ret_size 0:
 * the client has ended its side. Makes the handshake, too. */
rq_err transport_read(transport *t, void *data, size_t size, size_t *ret_size);
void transport_want_read(transport *t, bool wanted);

static inline bool transport_is_open(const transport *t) { return t->state == TRANSPORT_OPEN; }

/* The other side's address: 9 bytes that all addresses of one client share, and "address:port", at
 * most 63 bytes. */
void transport_peer(const transport *t, uint8_t key[static 9], char text[static 64]);
void transport_peer_of(const char *address, uint8_t key[static 9], char text[static 64]); /* of a numeric host:port */

/* Where the next output goes; written by the caller. */
rq_buf *transport_out(transport *t);
size_t transport_queued(const transport *t);

/* Sends what can be sent; waits for room by itself if some is left. *ret_sent:
 * bytes taken by the kernel now. Errors: RQ_EPIPE. */
rq_err transport_flush(transport *t, size_t *ret_sent);

/* No more output; the client sees the end when all has left. */
void transport_shutdown(transport *t);

#endif
