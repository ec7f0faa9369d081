/* Carries the bytes of one link over a connected socket: plain, or TLS. Knows
 * nothing of frames. Belongs to the loop's thread.
 *
 * Who accepts tells TLS from plain by the first byte, and says nothing before; who dials knows
 * what it wants. Handshakes of all links together get a quarter of the loop's time, so
 * that a flood of them delays other handshakes, and nothing else. Those with addresses that are
 * known come first, and of others only some are under way at a time. */
#ifndef RQ_CONSENSUS_PEER_TRANSPORT_H
#define RQ_CONSENSUS_PEER_TRANSPORT_H

#include <event2/buffer.h>

#include "loop/loop.h"
#include "tls/tls.h"

typedef struct peer_transport peer_transport;

/* What all links of a node share. */
typedef struct peer_security {
        rq_tls *tls;                /* NULL: nothing but plain; borrowed */
        bool transition;            /* with tls: plain is let in, too, and tried where the other side has no TLS */
        uint64_t handshake_from_us; /* monotonic: when the next step of a handshake may be made */
        uint32_t known_waiting;     /* handshakes of known addresses that wait for that: theirs is the next step */
        uint32_t strange_count;     /* handshakes under way that others have begun from addresses that aren't known */
} peer_security;

enum { PEER_STRANGE_HANDSHAKES_MAX = 16 };

typedef struct peer_transport_options {
        peer_security *security;
        const char *host;           /* that was dialled; NULL: accepted. Borrowed until the call returns */
        bool known;                 /* accepted, from an address where members are: its handshake comes before those of others */
        bool plain;                 /* dialled: without TLS nevertheless (transition) */
} peer_transport_options;

typedef struct peer_transport_handlers {
        void (*on_open)(void *owner);     /* once: bytes may be sent. Not from within peer_transport_new() */
        void (*on_readable)(void *owner); /* as many as were asked for are in the input */
        void (*on_drained)(void *owner);  /* at most drained_bytes are queued */
        /* RQ_OK: the other side has closed; RQ_EPIPE: the connection broke; RQ_EPROTO, RQ_ETLS: see peer_transport_problem(). May
         * come more than once. */
        void (*on_end)(void *owner, rq_err reason);
} peer_transport_handlers;

/* Takes the fd, also on failure. options NULL: plain. A plain one that needn't listen first is open at once, without on_open.
 * Errors: RQ_ENOMEM, RQ_EINVAL (no host that a certificate can be for). */
rq_err peer_transport_new(rq_loop *loop, int take_fd, const peer_transport_options *options, const peer_transport_handlers *handlers,
                          void *owner, size_t drained_bytes, peer_transport **ret_transport);
peer_transport *peer_transport_free(peer_transport *t); /* not from a handler; accepts NULL, returns it */

bool peer_transport_is_open(const peer_transport *t);
bool peer_transport_is_tls(const peer_transport *t);
/* A dialled TLS connection met a node that speaks plain. */
bool peer_transport_met_plain(const peer_transport *t);

/* The bytes that have come; whoever handles them drains them. */
struct evbuffer *peer_transport_input(peer_transport *t);
/* on_readable comes from so many on, and no more than ahead (or wanted, if that is more) are taken in. */
void peer_transport_want(peer_transport *t, size_t wanted, size_t ahead);
void peer_transport_stop_reading(peer_transport *t); /* for good */

/* What the socket doesn't take at once is queued, copied. Only when open. Errors: RQ_ENOMEM, RQ_ETLS. */
rq_err peer_transport_send(peer_transport *t, rq_bytes bytes);
size_t peer_transport_queued_bytes(const peer_transport *t);

int peer_transport_fd(const peer_transport *t);
/* Why it failed, as words about the other side; "": nothing is known. */
const char *peer_transport_problem(const peer_transport *t);

#endif
