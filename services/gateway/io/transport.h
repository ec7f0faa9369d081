/* The bytes of one client connection, both ways, and nothing of what they
 * mean. The one file that knows what carries them: a non-blocking TCP socket
 * now (TLS would change this file only). Output is gathered and leaves with
 * transport_flush(). */
#ifndef RQ_GATEWAY_TRANSPORT_H
#define RQ_GATEWAY_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "loop/loop.h"

typedef struct transport {
        int fd;
        struct event *readable, *writable;
        rq_buf out;
        size_t out_sent;      /* bytes of out that the kernel has */
        bool reading, writing;
        void (*on_readable)(void *arg);
        void (*on_writable)(void *arg); /* room again: call transport_flush() */
        void *arg;
} transport;

/* Takes the connected, non-blocking fd, also on failure. Reading is on.
 * Errors: RQ_ENOMEM. */
rq_err transport_init(transport *t, rq_loop *loop, int take_fd, void (*on_readable)(void *arg),
                      void (*on_writable)(void *arg), void *arg);
void transport_done(transport *t);

/* Errors: RQ_EAGAIN (nothing there), RQ_EPIPE (connection lost). *ret_size 0:
 * the client has ended its side. */
rq_err transport_read(transport *t, void *data, size_t size, size_t *ret_size);
void transport_want_read(transport *t, bool wanted);

/* The other side's address: 9 bytes that all addresses of one client share, and "address:port", at
 * most 63 bytes. */
void transport_peer(const transport *t, uint8_t key[static 9], char text[static 64]);

/* Where the next output goes; written by the caller. */
rq_buf *transport_out(transport *t);
size_t transport_queued(const transport *t);

/* Sends what can be sent; waits for room by itself if some is left. *ret_sent:
 * bytes taken by the kernel now. Errors: RQ_EPIPE. */
rq_err transport_flush(transport *t, size_t *ret_sent);

/* No more output; the client sees the end when all has left. */
void transport_shutdown(transport *t);

#endif
