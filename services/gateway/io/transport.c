#include "io/transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"

enum {
        OUT_IDLE_BYTES_MAX = 16 * 1024, /* kept by a connection with nothing to send */
        READS_A_TURN       = 64,        /* records of one connection, however short they are */
        KEY_UPDATES_MAX    = 32,        /* without a byte of data between them: OpenSSL would take them without end */
        HANDSHAKE_STEPS    = 4,         /* in a turn of the loop: a flood of them delays handshakes, and hardly anything else */
        TLS_HANDSHAKE_BYTE = 22,        /* of the first record (RFC 8446, 5.1); no method of HTTP begins so */
};

/* --- TLS -------------------------------------------------------------------- */

static void on_turn_end(void *arg) { ((transport_tls *) arg)->steps = HANDSHAKE_STEPS; }

rq_err transport_tls_init(transport_tls *shared, rq_loop *loop, rq_tls *tls) {
        *shared = (transport_tls) { .tls = tls, .steps = HANDSHAKE_STEPS };
        return rq_task_init(&shared->turn_end, loop, on_turn_end, shared);
}

void transport_tls_done(transport_tls *shared) { rq_task_done(&shared->turn_end); }

static void tell_failure(transport *t) {
        uint8_t key[9];
        char peer[64], problem[256];
        (void) rq_tls_failure(t->ssl, problem, sizeof problem);
        t->broken = true;
        if (t->state != TRANSPORT_HANDSHAKE || t->shared->on_failed == NULL)
                return;
        transport_peer(t, key, peer);
        t->shared->on_failed(t->shared->arg, peer, problem);
}

static void want_write(transport *t, bool wanted);

/* What an earlier call left would be taken for this one's. Looking costs less than clearing
 * what is empty, which it nearly always is. */
static void forget_errors(void) {
        if (ERR_peek_error() != 0)
                ERR_clear_error();
}

/* After a call of OpenSSL that gave n <= 0. */
static rq_err explain(transport *t, int n) {
        switch (SSL_get_error(t->ssl, n)) {
        case SSL_ERROR_WANT_READ:
                return RQ_EAGAIN;
        case SSL_ERROR_WANT_WRITE:
                want_write(t, true);
                return RQ_EAGAIN;
        case SSL_ERROR_ZERO_RETURN:
                return RQ_OK;
        default:
                tell_failure(t);
                return RQ_EPIPE;
        }
}

/* TLS 1.3: a client may change keys as it likes, and SSL_read() goes on with that for as long as
 * more comes. Who does nothing else has ended its side, as far as we are concerned. */
static void on_tls_message(int is_written, int version, int type, const void *data, size_t size, SSL *ssl, void *arg) {
        transport *t = arg;
        (void) version;
        if (is_written || type != SSL3_RT_HANDSHAKE || size == 0 || *(const uint8_t *) data != SSL3_MT_KEY_UPDATE)
                return;
        if (++t->key_updates > KEY_UPDATES_MAX)
                SSL_set_shutdown(ssl, SSL_RECEIVED_SHUTDOWN);
}

static rq_err begin_tls(transport *t) {
        rq_err r = rq_tls_accept(t->shared->tls, &t->ssl);
        if (r < 0)
                return RQ_EPIPE;
        /* An idle connection keeps no buffers, and output may move between two tries. */
        (void) SSL_set_mode(t->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_set_read_ahead(t->ssl, 1); /* a record, often a request, with one system call */
        SSL_set_msg_callback(t->ssl, on_tls_message);
        SSL_set_msg_callback_arg(t->ssl, t);
        if (SSL_set_fd(t->ssl, t->fd) != 1)
                return RQ_EPIPE;
        t->state = TRANSPORT_HANDSHAKE;
        return RQ_OK;
}

/* TLS or not? Nothing is taken out of the socket. */
static rq_err detect(transport *t) {
        uint8_t first;
        ssize_t n = recv(t->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? RQ_EAGAIN : RQ_EPIPE;
        if (n == 1 && first == TLS_HANDSHAKE_BYTE)
                return begin_tls(t);
        t->met_plain = n == 1;
        t->state = TRANSPORT_OPEN;
        return RQ_OK;
}

static rq_err shake_hands(transport *t) {
        if (t->shared->steps == 0)
                return RQ_EAGAIN; /* the socket is still readable in the next turn */
        t->shared->steps--;
        rq_task_post(&t->shared->turn_end);
        forget_errors();
        int n = SSL_do_handshake(t->ssl);
        if (n != 1) {
                rq_err r = explain(t, n);
                return r == RQ_OK ? RQ_EPIPE : r;
        }
        t->state = TRANSPORT_OPEN;
        want_write(t, t->out.size > 0);
        return RQ_OK;
}

static rq_err read_tls(transport *t, uint8_t *data, size_t size, size_t *ret_size) {
        size_t have = 0;
        int reads = 0;
        bool more = true;
        forget_errors();
        for (; more && have < size && reads < READS_A_TURN; reads++) {
                size_t room = size - have;
                int n = SSL_read(t->ssl, data + have, room > INT_MAX ? INT_MAX : (int) room);
                if (n <= 0) {
                        rq_err r = explain(t, n);
                        if (have > 0)
                                break; /* what it was comes again with the next call */
                        *ret_size = 0;
                        return r;
                }
                have += (size_t) n;
                t->key_updates = 0;
                more = SSL_has_pending(t->ssl) != 0;
        }
        /* What OpenSSL holds already makes no socket readable. */
        if (more && (have == size || reads == READS_A_TURN) && t->reading)
                event_active(t->readable, EV_READ, 0);
        *ret_size = have;
        return RQ_OK;
}

static rq_err write_tls(transport *t, const uint8_t *data, size_t size, size_t *ret_sent) {
        forget_errors();
        int n = SSL_write(t->ssl, data, size > INT_MAX ? INT_MAX : (int) size);
        if (n > 0) {
                *ret_sent = (size_t) n;
                return RQ_OK;
        }
        rq_err r = explain(t, n);
        t->flush_wants_read = r == RQ_EAGAIN && SSL_want_read(t->ssl);
        return r == RQ_OK ? RQ_EPIPE : r;
}

/* --- events ----------------------------------------------------------------- */

static void on_read_event(evutil_socket_t fd, short what, void *arg) {
        transport *t = arg;
        (void) fd;
        (void) what;
        if (RQ_TAKE(t->flush_wants_read, false))
                t->on_writable(t->arg);
        t->on_readable(t->arg);
}

static void on_write_event(evutil_socket_t fd, short what, void *arg) {
        transport *t = arg;
        (void) fd;
        (void) what;
        if (t->state == TRANSPORT_HANDSHAKE) {
                want_write(t, false);
                t->on_readable(t->arg); /* goes on with it */
        } else {
                t->on_writable(t->arg);
        }
}

rq_err transport_init(transport *t, rq_loop *loop, int take_fd, transport_tls *shared, void (*on_readable)(void *arg),
                      void (*on_writable)(void *arg), void *arg) {
        *t = (transport) { .fd = take_fd, .state = shared != NULL ? TRANSPORT_DETECT : TRANSPORT_OPEN, .shared = shared, .on_readable = on_readable, .on_writable = on_writable, .arg = arg };
        t->readable = event_new(rq_loop_base(loop), take_fd, EV_READ | EV_PERSIST, on_read_event, t);
        t->writable = event_new(rq_loop_base(loop), take_fd, EV_WRITE | EV_PERSIST, on_write_event, t);
        if (t->readable == NULL || t->writable == NULL || event_priority_set(t->readable, 0) != 0 ||
            event_priority_set(t->writable, 0) != 0 || event_add(t->readable, NULL) != 0) {
                transport_done(t);
                return RQ_ENOMEM;
        }
        t->reading = true;
        return RQ_OK;
}

void transport_done(transport *t) {
        if (t->readable != NULL)
                event_free(t->readable);
        if (t->writable != NULL)
                event_free(t->writable);
        if (t->ssl != NULL) {
                if (t->state == TRANSPORT_OPEN && !t->broken)
                        (void) SSL_shutdown(t->ssl); /* our word that nothing was cut off */
                forget_errors();
                SSL_free(t->ssl);
        }
        if (t->fd >= 0)
                (void) close(t->fd);
        rq_buf_done(&t->out);
        *t = (transport) { .fd = -1 };
}

rq_err transport_read(transport *t, void *data, size_t size, size_t *ret_size) {
        rq_err r = RQ_OK;
        if (t->state == TRANSPORT_DETECT)
                r = detect(t);
        if (r >= 0 && t->state == TRANSPORT_HANDSHAKE)
                r = shake_hands(t);
        if (r < 0)
                return r;
        if (t->ssl != NULL)
                return read_tls(t, data, size, ret_size);
        for (;;) {
                ssize_t n = recv(t->fd, data, size, MSG_DONTWAIT);
                if (n >= 0) {
                        *ret_size = (size_t) n;
                        return RQ_OK;
                }
                if (errno == EAGAIN || errno == EWOULDBLOCK)
                        return RQ_EAGAIN;
                if (errno != EINTR)
                        return RQ_EPIPE;
        }
}

void transport_want_read(transport *t, bool wanted) {
        if (wanted == t->reading)
                return;
        t->reading = wanted;
        (void) (wanted ? event_add(t->readable, NULL) : event_del(t->readable));
        if (wanted && t->ssl != NULL && SSL_has_pending(t->ssl))
                event_active(t->readable, EV_READ, 0);
}

typedef union socket_address { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; struct sockaddr_storage room; } socket_address;

static void tell_peer(const socket_address *a, uint8_t key[static 9], char text[static 64]) {
        char host[48] = "?";
        memset(key, 0, 9);
        if (a->any.sa_family != AF_INET && a->any.sa_family != AF_INET6) {
                (void) strcpy(text, "a unix socket");
                return;
        }
        bool mapped = a->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->v6.sin6_addr);
        key[0] = a->any.sa_family == AF_INET || mapped ? 4 : 6;
        if (a->any.sa_family == AF_INET)
                memcpy(key + 1, &a->v4.sin_addr, 4);
        else /* who has one address of a network has all of its /64 */
                memcpy(key + 1, a->v6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
        (void) inet_ntop(a->any.sa_family, a->any.sa_family == AF_INET ? (const void *) &a->v4.sin_addr : (const void *) &a->v6.sin6_addr, host, sizeof host);
        (void) snprintf(text, 64, a->any.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", host,
                        ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port));
}

void transport_peer(const transport *t, uint8_t key[static 9], char text[static 64]) {
        socket_address a = {0};
        socklen_t size = sizeof a;
        if (getpeername(t->fd, &a.any, &size) != 0)
                a = (socket_address) {0};
        tell_peer(&a, key, text);
}

void transport_peer_of(const char *address, uint8_t key[static 9], char text[static 64]) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        socket_address a = {0};
        if (rq_address_split(address, host, port) >= 0) {
                host[strcspn(host, "%")] = '\0'; /* the interface of a link-local one */
                if (inet_pton(AF_INET, host, &a.v4.sin_addr) == 1)
                        a.any.sa_family = AF_INET;
                else if (inet_pton(AF_INET6, host, &a.v6.sin6_addr) == 1)
                        a.any.sa_family = AF_INET6;
                const uint16_t number = htons((uint16_t) strtoul(port, NULL, 10));
                if (a.any.sa_family == AF_INET)
                        a.v4.sin_port = number;
                else if (a.any.sa_family == AF_INET6)
                        a.v6.sin6_port = number;
        }
        tell_peer(&a, key, text);
}

rq_buf *transport_out(transport *t) {
        /* Reclaimed before it grows, so that a stream doesn't. */
        if (t->out_sent > 0 && t->out_sent >= t->out.size / 2) {
                rq_buf_consume(&t->out, t->out_sent);
                t->out_sent = 0;
        }
        return &t->out;
}

size_t transport_queued(const transport *t) { return t->out.size - t->out_sent; }

static void want_write(transport *t, bool wanted) {
        if (wanted == t->writing)
                return;
        t->writing = wanted;
        (void) (wanted ? event_add(t->writable, NULL) : event_del(t->writable));
}

static rq_err write_plain(transport *t, const uint8_t *data, size_t size, size_t *ret_sent) {
        ssize_t n;
        do
                n = send(t->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return errno == EAGAIN || errno == EWOULDBLOCK ? RQ_EAGAIN : RQ_EPIPE;
        *ret_sent = (size_t) n;
        return RQ_OK;
}

rq_err transport_flush(transport *t, size_t *ret_sent) {
        size_t before = t->out_sent;
        *ret_sent = 0;
        while (t->out_sent < t->out.size) {
                size_t sent = 0;
                rq_err r = t->ssl != NULL ? write_tls(t, t->out.data + t->out_sent, t->out.size - t->out_sent, &sent)
                                          : write_plain(t, t->out.data + t->out_sent, t->out.size - t->out_sent, &sent);
                if (r == RQ_EAGAIN)
                        break;
                if (r < 0)
                        return r;
                t->out_sent += sent;
        }
        *ret_sent = t->out_sent - before;
        if (t->out_sent == t->out.size) {
                t->out.size = t->out_sent = 0;
                if (t->out.capacity > OUT_IDLE_BYTES_MAX)
                        rq_buf_done(&t->out);
        }
        want_write(t, t->out.size > 0 && !t->flush_wants_read);
        return RQ_OK;
}

void transport_shutdown(transport *t) {
        if (t->ssl != NULL && !t->broken)
                (void) SSL_shutdown(t->ssl);
        (void) shutdown(t->fd, SHUT_WR);
}
