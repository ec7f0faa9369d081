#include "peer/peer_link.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/clock.h"

enum {
        READ_AHEAD_BYTES   = 256 * 1024,
        TLS_RECORD_FIRST   = 0x14, /* to 0x17: RFC 8446, 5.1 */
        TLS_RECORD_LAST    = 0x17,
        OUT_IDLE_BYTES_MAX = 256 * 1024, /* kept for the next turn */
        UNACKNOWLEDGED_MS  = 3000,  /* then the connection is given up: after a partition a new one is faster than
                                     * the old one's back-off */
        KEEPALIVE_IDLE_S   = 3,
        KEEPALIVE_COUNT    = 5,
};

struct peer_link {
        rq_loop *loop;
        peer_transport *transport;
        const peer_link_handlers *handlers;
        void *owner;
        rq_task dispose, flush;
        rq_buf out;             /* of this turn */
        rq_timer hello_timer;
        peer_hello hello;
        bool greeted, closing, trusted, dismissed;
        rq_err reason;
        size_t queue_bytes_max;
        size_t wanted;          /* bytes that on_readable() waits for */
        size_t skip_bytes;      /* still to come of a frame of an unknown type */
        uint64_t skipped_count, greeted_at_us;
        const char *problem;    /* of what came; NULL: see the transport */
        char address[NI_MAXHOST + NI_MAXSERV + 4];
};

/* With TCP_USER_TIMEOUT one lost probe ends a connection that is idle: keep-alive is for those without. */
void peer_socket_prepare(int fd, bool accepted) {
        const int on = 1, idle = KEEPALIVE_IDLE_S, interval = 1, count = KEEPALIVE_COUNT;
        const unsigned timeout_ms = UNACKNOWLEDGED_MS;
        /* Each only improves something: a failure is none of the connection. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        /* A heartbeat lost twice must not make the third wait twice as long: links that lose packets would cost elections. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, &on, sizeof on);
        if (!accepted) {
                (void) setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
                return;
        }
        (void) setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        (void) setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void name_address(peer_link *link, int fd) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        char host[NI_MAXHOST], port[NI_MAXSERV];
        if (getpeername(fd, (struct sockaddr *) &address, &size) == 0 &&
            getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
                (void) snprintf(link->address, sizeof link->address, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
        else
                (void) snprintf(link->address, sizeof link->address, "unknown address");
}

static void destroy(peer_link *link) {
        link->transport = peer_transport_free(link->transport);
        if (link->hello_timer.event != NULL)
                rq_timer_done(&link->hello_timer);
        rq_task_done(&link->dispose);
        rq_task_done(&link->flush);
        rq_buf_done(&link->out);
        free(link);
}

static void dispose(void *arg) {
        peer_link *link = arg;
        link->handlers->on_end(link->owner, link, link->reason);
        destroy(link);
}

peer_link *peer_link_free(peer_link *link) {
        if (link != NULL)
                destroy(link);
        return NULL;
}

void peer_link_close(peer_link *link, rq_err reason) {
        if (link == NULL || link->closing)
                return;
        link->closing = true;
        link->reason = reason;
        peer_transport_stop_reading(link->transport);
        rq_task_post(&link->dispose);
}

static void on_late(void *arg) {
        peer_link *link = arg;
        peer_link_close(link, link->dismissed ? RQ_ECANCELED : RQ_ETIMEOUT);
}

void peer_link_trust(peer_link *link) {
        link->trusted = true;
        link->wanted = 0; /* what is read ahead is set anew */
}

bool peer_link_is_dismissed(const peer_link *link) { return link->dismissed; }

void peer_link_dismiss(peer_link *link) {
        if (link->dismissed || link->closing)
                return;
        link->dismissed = true;
        rq_timer_set(&link->hello_timer, PEER_DISMISS_WAIT_US);
}

/* --- input ------------------------------------------------------------------ */

/* Until so many bytes are there nobody is woken; and never is more taken in than
 * a frame that was allowed, or a little ahead. */
static void want(peer_link *link, size_t bytes) {
        if (bytes == link->wanted)
                return;
        const size_t ahead = link->trusted ? READ_AHEAD_BYTES : PEER_HEADER_BYTES + (link->greeted ? PEER_GUEST_BYTES_MAX : PEER_HELLO_BYTES_MAX);
        link->wanted = bytes;
        peer_transport_want(link->transport, bytes, ahead);
}

/* RQ_EAGAIN: the type is unknown, skip it. */
static rq_err check_header(peer_link *link, const peer_header *header) {
        uint32_t body_max, payload_max;
        if ((header->type == PEER_HELLO) == link->greeted)
                return RQ_EPROTO; /* it comes first, and once */
        if (!link->trusted && (uint64_t) header->body_bytes + header->payload_bytes > PEER_GUEST_BYTES_MAX) {
                link->problem = "it announces a frame larger than any that a node may send before it is known as a member";
                return RQ_ETOOBIG;
        }
        if (!peer_type_limits(header->type, &body_max, &payload_max))
                return RQ_EAGAIN;
        return header->body_bytes > body_max || header->payload_bytes > payload_max ? RQ_ETOOBIG : RQ_OK;
}

static rq_err greet(peer_link *link, rq_bytes body) {
        rq_err r = peer_hello_decode(body, &link->hello);
        if (r < 0)
                return r;
        link->greeted = true;
        link->greeted_at_us = rq_clock_mono_us();
        rq_timer_cancel(&link->hello_timer);
        return link->handlers->on_hello(link->owner, link, &link->hello);
}

static rq_err handle_frame(peer_link *link, const peer_header *header, const uint8_t *frame) {
        const rq_bytes body = rq_bytes_of(frame + PEER_HEADER_BYTES, header->body_bytes);
        const rq_bytes payload = rq_bytes_of(body.data + body.size, header->payload_bytes);
        if (rq_crc32c(0, body.data, body.size) != header->body_crc)
                return RQ_EPROTO;
        return header->type == PEER_HELLO ? greet(link, body) : link->handlers->on_frame(link->owner, link, header, body, payload);
}

/* What can't be a header. A node with TLS, and an HTTP port taken for a Raft port, are told from the rest of the world. */
static rq_err refuse_stranger(peer_link *link, const uint8_t head[static PEER_HEADER_BYTES]) {
        static const uint8_t http[] = { 'H', 'T', 'T', 'P', '/' };
        if (!link->greeted && head[0] >= TLS_RECORD_FIRST && head[0] <= TLS_RECORD_LAST)
                link->problem = "it speaks TLS, this node doesn't: it needs -node-cert and -node-key";
        else if (!link->greeted && memcmp(head, http, sizeof http) == 0)
                link->problem = "it answers as an HTTP server: between nodes Raft addresses (-raft-addr) are needed, not those of -http-addr";
        return RQ_EPROTO;
}

/* One frame, or a part of one that is skipped. RQ_EAGAIN: more bytes must come. */
static rq_err take_frame(peer_link *link, struct evbuffer *input) {
        const size_t there = evbuffer_get_length(input);
        uint8_t head[PEER_HEADER_BYTES] = {0};
        peer_header header = {0};
        if (link->skip_bytes > 0) {
                const size_t skip = there < link->skip_bytes ? there : link->skip_bytes;
                (void) evbuffer_drain(input, skip);
                link->skip_bytes -= skip;
                want(link, 1);
                return link->skip_bytes > 0 ? RQ_EAGAIN : RQ_OK;
        }
        if (there < PEER_HEADER_BYTES) {
                /* A stranger's few bytes are told from a header at once. */
                want(link, link->greeted ? PEER_HEADER_BYTES : there + 1);
                uint8_t magic[4];
                rq_put_u32(magic, PEER_MAGIC);
                (void) evbuffer_copyout(input, head, there);
                return memcmp(head, magic, there < 4 ? there : 4) == 0 ? RQ_EAGAIN : refuse_stranger(link, head);
        }
        (void) evbuffer_copyout(input, head, sizeof head);
        rq_err r = peer_header_decode(head, &header);
        if (r == RQ_EPROTO)
                r = refuse_stranger(link, head);
        if (r >= 0)
                r = check_header(link, &header);
        const size_t total = PEER_HEADER_BYTES + (size_t) header.body_bytes + header.payload_bytes;
        if (r == RQ_EAGAIN) {
                link->skipped_count++;
                link->skip_bytes = total;
                return RQ_OK;
        }
        if (r < 0)
                return r;
        if (there < total) {
                want(link, total);
                return RQ_EAGAIN;
        }
        const uint8_t *frame = evbuffer_pullup(input, (ev_ssize_t) total);
        r = frame == NULL ? RQ_ENOMEM : handle_frame(link, &header, frame);
        (void) evbuffer_drain(input, total);
        return r == RQ_EAGAIN ? RQ_EPROTO : r; /* a handler's */
}

static void on_readable(void *arg) {
        peer_link *link = arg;
        struct evbuffer *input = peer_transport_input(link->transport);
        rq_err r = RQ_OK;
        while (r >= 0 && !link->closing && !link->dismissed && evbuffer_get_length(input) > 0)
                r = take_frame(link, input);
        if (link->dismissed && !link->closing) {
                (void) evbuffer_drain(input, evbuffer_get_length(input));
                want(link, 1);
        } else if (r >= 0)
                want(link, link->greeted ? PEER_HEADER_BYTES : 1);
        else if (r != RQ_EAGAIN)
                peer_link_close(link, r);
}

static void on_open(void *arg) {
        peer_link *link = arg;
        rq_task_post(&link->flush);
}

static void on_drained(void *arg) {
        peer_link *link = arg;
        if (!link->closing)
                link->handlers->on_drained(link->owner, link);
}

static void on_transport_end(void *arg, rq_err reason) { peer_link_close(arg, reason); }

/* --- output ----------------------------------------------------------------- */

size_t peer_link_queued_bytes(const peer_link *link) { return peer_transport_queued_bytes(link->transport) + link->out.size; }

/* What a turn has gathered leaves with one write. */
static void flush(void *arg) {
        peer_link *link = arg;
        if (link->closing || link->out.size == 0 || !peer_transport_is_open(link->transport))
                return;
        const size_t queued = peer_link_queued_bytes(link);
        rq_err r = peer_transport_send(link->transport, rq_buf_bytes(&link->out));
        if (r < 0)
                peer_link_close(link, r); /* half a frame is on its way */
        link->out.size = 0;
        if (link->out.capacity > OUT_IDLE_BYTES_MAX)
                rq_buf_done(&link->out);
        if (!link->closing && queued > link->queue_bytes_max / 2 && peer_link_queued_bytes(link) <= link->queue_bytes_max / 2)
                link->handlers->on_drained(link->owner, link);
}

rq_err peer_link_send(peer_link *link, uint16_t type, rq_bytes body, const rq_bytes *pieces, size_t piece_count) {
        uint8_t head[PEER_HEADER_BYTES + PEER_HELLO_BYTES_MAX];
        size_t payload_bytes = 0;
        if (link->closing)
                return RQ_EPIPE;
        for (size_t i = 0; i < piece_count; i++)
                payload_bytes += pieces[i].size;
        if (body.size > PEER_HELLO_BYTES_MAX || payload_bytes > PEER_PAYLOAD_BYTES_MAX)
                return RQ_ETOOBIG;
        const size_t queued = peer_link_queued_bytes(link);
        if (queued > 0 && queued + PEER_HEADER_BYTES + body.size + payload_bytes > link->queue_bytes_max)
                return RQ_EFULL;

        peer_header header = { .type = type, .payload_bytes = (uint32_t) payload_bytes };
        rq_err r = rq_buf_reserve(&link->out, PEER_HEADER_BYTES + body.size + payload_bytes);
        if (r < 0)
                return r;
        peer_header_encode(head, &header, body);
        memcpy(head + PEER_HEADER_BYTES, body.data, body.size);
        (void) rq_buf_append(&link->out, head, PEER_HEADER_BYTES + body.size);
        for (size_t i = 0; i < piece_count; i++)
                (void) rq_buf_append_bytes(&link->out, pieces[i]);
        rq_task_post(&link->flush);
        return RQ_OK;
}

static rq_err say_hello(peer_link *link, const peer_hello *self) {
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        rq_err r = peer_hello_encode(self, &body);
        return r < 0 ? r : peer_link_send(link, PEER_HELLO, rq_buf_bytes(&body), NULL, 0);
}

static rq_err begin(peer_link *link, const peer_hello *self) {
        rq_err r = rq_task_init(&link->dispose, link->loop, dispose, link);
        if (r >= 0)
                r = rq_task_init(&link->flush, link->loop, flush, link);
        if (r >= 0)
                r = rq_timer_init(&link->hello_timer, link->loop, on_late, link);
        if (r < 0)
                return r;
        want(link, 1);
        rq_timer_set(&link->hello_timer, PEER_HELLO_WAIT_US);
        return say_hello(link, self);
}

rq_err peer_link_new(rq_loop *loop, int take_fd, const peer_transport_options *transport, const peer_hello *self, const peer_link_handlers *handlers,
                     void *owner, size_t queue_bytes_max, peer_link **ret_link) {
        static const peer_transport_handlers transport_handlers = { on_open, on_readable, on_drained, on_transport_end };
        RQ_CLEANUP(rq_closep) int fd = take_fd;
        peer_link *link = calloc(1, sizeof *link);
        if (link == NULL)
                return RQ_ENOMEM;
        link->loop = loop;
        link->handlers = handlers;
        link->owner = owner;
        link->queue_bytes_max = queue_bytes_max;
        name_address(link, fd);
        rq_err r = peer_transport_new(loop, RQ_TAKE(fd, -1), transport, &transport_handlers, link, queue_bytes_max / 2, &link->transport);
        if (r >= 0)
                r = begin(link, self);
        if (r < 0) {
                destroy(link);
                return r;
        }
        *ret_link = link;
        return RQ_OK;
}

/* --- looking at it ---------------------------------------------------------- */

const peer_hello *peer_link_hello(const peer_link *link) { return link->greeted ? &link->hello : NULL; }
bool peer_link_is_closing(const peer_link *link) { return link->closing; }
const char *peer_link_address(const peer_link *link) { return link->address; }
bool peer_link_is_tls(const peer_link *link) { return peer_transport_is_tls(link->transport); }
bool peer_link_met_plain(const peer_link *link) { return peer_transport_met_plain(link->transport); }
const char *peer_link_problem(const peer_link *link) { return link->problem != NULL ? link->problem : peer_transport_problem(link->transport); }
uint64_t peer_link_skipped_count(const peer_link *link) { return link->skipped_count; }
uint64_t peer_link_age_us(const peer_link *link) { return link->greeted ? rq_clock_mono_us() - link->greeted_at_us : 0; }

uint32_t peer_link_rtt_us(const peer_link *link) {
        struct tcp_info info;
        socklen_t size = sizeof info;
        if (getsockopt(peer_transport_fd(link->transport), IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
                return 0;
        return info.tcpi_rtt;
}
