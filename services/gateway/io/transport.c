#include "io/transport.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUT_IDLE_BYTES_MAX = 16 * 1024 }; /* kept by a connection with nothing to send */

static void on_read_event(evutil_socket_t fd, short what, void *arg) {
        transport *t = arg;
        (void) fd;
        (void) what;
        t->on_readable(t->arg);
}

static void on_write_event(evutil_socket_t fd, short what, void *arg) {
        transport *t = arg;
        (void) fd;
        (void) what;
        t->on_writable(t->arg);
}

rq_err transport_init(transport *t, rq_loop *loop, int take_fd, void (*on_readable)(void *arg),
                      void (*on_writable)(void *arg), void *arg) {
        *t = (transport) { .fd = take_fd, .on_readable = on_readable, .on_writable = on_writable, .arg = arg };
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
        if (t->fd >= 0)
                (void) close(t->fd);
        rq_buf_done(&t->out);
        *t = (transport) { .fd = -1 };
}

rq_err transport_read(transport *t, void *data, size_t size, size_t *ret_size) {
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
}

void transport_peer(const transport *t, uint8_t key[static 9], char text[static 64]) {
        union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; struct sockaddr_storage room; } a = {0};
        socklen_t size = sizeof a;
        char host[48] = "?";
        memset(key, 0, 9);
        if (getpeername(t->fd, &a.any, &size) != 0 || (a.any.sa_family != AF_INET && a.any.sa_family != AF_INET6)) {
                (void) strcpy(text, "a unix socket");
                return;
        }
        bool mapped = a.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a.v6.sin6_addr);
        key[0] = a.any.sa_family == AF_INET || mapped ? 4 : 6;
        if (a.any.sa_family == AF_INET)
                memcpy(key + 1, &a.v4.sin_addr, 4);
        else /* who has one address of a network has all of its /64 */
                memcpy(key + 1, a.v6.sin6_addr.s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
        (void) inet_ntop(a.any.sa_family, a.any.sa_family == AF_INET ? (void *) &a.v4.sin_addr : (void *) &a.v6.sin6_addr, host, sizeof host);
        (void) snprintf(text, 64, a.any.sa_family == AF_INET ? "%s:%u" : "[%s]:%u", host,
                        ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port));
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

rq_err transport_flush(transport *t, size_t *ret_sent) {
        size_t before = t->out_sent;
        *ret_sent = 0;
        while (t->out_sent < t->out.size) {
                ssize_t n = send(t->fd, t->out.data + t->out_sent, t->out.size - t->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        break;
                if (n < 0)
                        return RQ_EPIPE;
                t->out_sent += (size_t) n;
        }
        *ret_sent = t->out_sent - before;
        if (t->out_sent == t->out.size) {
                t->out.size = t->out_sent = 0;
                if (t->out.capacity > OUT_IDLE_BYTES_MAX)
                        rq_buf_done(&t->out);
        }
        want_write(t, t->out.size > 0);
        return RQ_OK;
}

void transport_shutdown(transport *t) { (void) shutdown(t->fd, SHUT_WR); }
