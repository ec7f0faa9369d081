/* One established TCP connection between two nodes: HELLO from both sides, then
 * frames, checked against the limits of their types. Output of a turn leaves with one
 * write. Belongs to the loop's thread.
 *
 * Who doesn't say a valid HELLO in time, breaks the format or goes beyond a limit is
 * closed; frames of unknown types are skipped and counted. */
#ifndef RQ_CONSENSUS_PEER_LINK_H
#define RQ_CONSENSUS_PEER_LINK_H

#include "loop/loop.h"
#include "peer/peer_message.h"
#include "peer/peer_transport.h"

typedef struct peer_link peer_link;

enum {
        PEER_HELLO_WAIT_US    = 5000000, /* with the TLS handshake */
        PEER_DISMISS_WAIT_US  = 2000000,
        PEER_GUEST_BYTES_MAX  = 8192,    /* of a frame, until the other side is trusted: all that a newcomer sends is smaller */
};

typedef struct peer_link_handlers {
        /* Once, before any other; an error closes. */
        rq_err (*on_hello)(void *owner, peer_link *link, const peer_hello *hello);
        /* body and payload are borrowed until return; an error closes. */
        rq_err (*on_frame)(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload);
        void (*on_drained)(void *owner, peer_link *link); /* after output, at most half a window is queued */
        /* The link ends, once, at the end of a turn; freed after return. RQ_OK: the other side
         * has closed; RQ_EPIPE: the connection broke; RQ_ETLS; RQ_ETIMEOUT: no HELLO; or what the call or a handler said. */
        void (*on_end)(void *owner, peer_link *link, rq_err reason);
} peer_link_handlers;

/* Takes the connected, non-blocking fd. Sends self as HELLO, with TLS after the handshake. transport: see
 * there; NULL: plain. handlers outlive it. queue_bytes_max: what may be queued, or one frame. Errors: RQ_ENOMEM, RQ_EINVAL (the host). */
rq_err peer_link_new(rq_loop *loop, int take_fd, const peer_transport_options *transport, const peer_hello *self, const peer_link_handlers *handlers,
                     void *owner, size_t queue_bytes_max, peer_link **ret_link);

/* Ends it: on_end at the end of the turn. Nothing more is handled. Accepts NULL. */
void peer_link_close(peer_link *link, rq_err reason);

/* The other side is a member: its frames may be as large as their types allow. Before, one
 * that announces more than PEER_GUEST_BYTES_MAX ends the link, and no memory is taken for it. */
void peer_link_trust(peer_link *link);

/* It was told why it isn't wanted: nothing more is handled, what comes is thrown away, so that the words arrive; it is
 * expected to close, and is closed (RQ_ECANCELED) if it doesn't within PEER_DISMISS_WAIT_US. */
void peer_link_dismiss(peer_link *link);
bool peer_link_is_dismissed(const peer_link *link);

/* At once and without on_end; not from a handler of this link. Accepts NULL, returns it. */
peer_link *peer_link_free(peer_link *link);

/* Copies. Errors: RQ_EFULL, RQ_EPIPE (closing), RQ_ETOOBIG, RQ_ENOMEM (the link closes). */
rq_err peer_link_send(peer_link *link, uint16_t type, rq_bytes body, const rq_bytes *pieces, size_t piece_count);

size_t peer_link_queued_bytes(const peer_link *link);
const peer_hello *peer_link_hello(const peer_link *link); /* the other side's; NULL: not yet */
bool peer_link_is_closing(const peer_link *link);
uint32_t peer_link_rtt_us(const peer_link *link);         /* the kernel's smoothed one; 0: not known */
const char *peer_link_address(const peer_link *link);     /* of the other side, for log lines */
bool peer_link_is_tls(const peer_link *link);
bool peer_link_met_plain(const peer_link *link);          /* see peer_transport.h */
const char *peer_link_problem(const peer_link *link);     /* why it ends, if there is more to say than the error does; else "" */
uint64_t peer_link_skipped_count(const peer_link *link);
uint64_t peer_link_age_us(const peer_link *link);         /* since HELLO; 0: not yet */

/* Options of every socket between members, before it is connected or when it was accepted; so that
 * a dead machine is noticed: by who sends while something is on its way, by who has accepted
 * (and only reads) from silence. */
void peer_socket_prepare(int fd, bool accepted);

#endif
