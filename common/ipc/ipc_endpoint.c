#include "ipc/ipc_endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "log/log.h"

enum {
        LINKS_MAX          = 64,
        BACKLOG            = 64,
        RETRY_US_MIN       = 5000,
        RETRY_US_MAX       = 100000, /* a restart is to be noticed soon; a try costs little */
        SOCKET_BUFFER_BYTES = 1024 * 1024,
        ACCEPT_AGAIN_US     = 100000,
};

struct ipc_listener {
        int fd;
        rq_loop *loop;
        struct event *acceptable;
        ipc_identity self;
        ipc_handlers handlers;
        ipc_link *links[LINKS_MAX];
        rq_log_limit refusals;
        rq_timer again;          /* the system had no room for a connection */
};

struct ipc_connector {
        int dir_fd;
        char name[32];
        rq_loop *loop;
        rq_timer retry;
        uint64_t retry_us;
        ipc_identity self;
        ipc_handlers handlers;
        ipc_link *link;          /* connected, HELLO exchanged or not */
        bool freed;
};

static void address_of(int dir_fd, const char *name, struct sockaddr_un *ret_address) {
        *ret_address = (struct sockaddr_un) { .sun_family = AF_UNIX };
        int n = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "/proc/self/fd/%d/%s", dir_fd, name);
        rq_assert(n > 0 && (size_t) n < sizeof ret_address->sun_path);
}

static void widen_buffers(int fd) {
        const int size = SOCKET_BUFFER_BYTES;
        (void) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static bool may_connect(int fd) {
        struct ucred peer;
        socklen_t size = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
                return false;
        return peer.uid == geteuid() || peer.uid == 0 || peer.gid == getegid();
}

static void on_link_closed(void *owner, ipc_link *link) {
        ipc_listener *listener = owner;
        for (int i = 0; i < LINKS_MAX; i++)
                if (listener->links[i] == link)
                        listener->links[i] = NULL;
}

static void on_again(void *arg) {
        ipc_listener *listener = arg;
        (void) event_add(listener->acceptable, NULL);
}

/* It stays in the kernel's queue, and the socket readable: asked again at once, it would cost all the time there is. */
static void accept_later(ipc_listener *listener, int error) {
        uint32_t suppressed;
        if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM)
                return;
        (void) event_del(listener->acceptable);
        rq_timer_set(&listener->again, ACCEPT_AGAIN_US);
        if (rq_log_allowed(&listener->refusals, &suppressed))
                rq_log_warning("Cannot accept a local connection for now: %s (%u more not shown)", rq_err_text(rq_err_from_errno(error)), suppressed);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
        ipc_listener *listener = arg;
        (void) what;
        for (;;) {
                RQ_CLEANUP(rq_closep) int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                uint32_t suppressed;
                if (conn < 0) {
                        accept_later(listener, errno);
                        return;
                }

                int place = 0;
                while (place < LINKS_MAX && listener->links[place] != NULL)
                        place++;
                if (place == LINKS_MAX || !may_connect(conn)) {
                        if (rq_log_allowed(&listener->refusals, &suppressed))
                                rq_log_warning("Refused a local connection: %s (%u more not shown)",
                                               place == LINKS_MAX ? "too many" : "foreign user", suppressed);
                        continue;
                }
                widen_buffers(conn);
                ipc_link *link;
                rq_err r = ipc_link_new(listener->loop, RQ_TAKE(conn, -1), IPC_ACCEPTS, &listener->self, &listener->handlers,
                                        on_link_closed, listener, &link);
                if (r >= 0)
                        listener->links[place] = link;
        }
}

rq_err ipc_listen(rq_loop *loop, int run_dir_fd, const char *socket_name, const ipc_identity *self,
                  const ipc_handlers *handlers, ipc_listener **ret_listener) {
        RQ_CLEANUP(rq_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return rq_err_from_errno(errno);

        struct sockaddr_un address;
        address_of(run_dir_fd, socket_name, &address);
        (void) unlinkat(run_dir_fd, socket_name, 0);
        if (bind(fd, (struct sockaddr *) &address, sizeof address) != 0 ||
            fchmodat(run_dir_fd, socket_name, 0660, 0) != 0 || listen(fd, BACKLOG) != 0)
                return rq_err_from_errno(errno);

        ipc_listener *listener = calloc(1, sizeof *listener);
        if (listener == NULL)
                return RQ_ENOMEM;
        *listener = (ipc_listener) {
                .fd = fd, .loop = loop, .self = *self, .handlers = *handlers,
                .refusals = { .interval_ms = 10000, .burst = 3 },
        };
        listener->acceptable = event_new(rq_loop_base(loop), fd, EV_READ | EV_PERSIST, on_acceptable, listener);
        if (rq_timer_init(&listener->again, loop, on_again, listener) < 0 || listener->acceptable == NULL || event_add(listener->acceptable, NULL) != 0) {
                if (listener->acceptable != NULL)
                        event_free(listener->acceptable);
                rq_timer_done(&listener->again);
                free(listener);
                return RQ_ENOMEM;
        }
        (void) RQ_TAKE(fd, -1);
        *ret_listener = listener;
        return RQ_OK;
}

ipc_listener *ipc_listener_free(ipc_listener *listener) {
        if (listener == NULL)
                return NULL;
        event_free(listener->acceptable);
        rq_timer_done(&listener->again);
        (void) close(listener->fd);
        for (int i = 0; i < LINKS_MAX; i++)
                (void) ipc_link_free(listener->links[i]);
        free(listener);
        return NULL;
}

static void connector_retry(ipc_connector *connector) {
        rq_timer_set(&connector->retry, connector->retry_us);
        connector->retry_us = connector->retry_us * 2 > RETRY_US_MAX ? RETRY_US_MAX : connector->retry_us * 2;
}

static void on_connector_closed(void *owner, ipc_link *link) {
        ipc_connector *connector = owner;
        rq_assert(connector->link == link);
        connector->link = NULL;
        if (connector->freed)
                return;
        if (ipc_link_was_up(link))
                connector->retry_us = RETRY_US_MIN;
        connector_retry(connector);
}

static void try_connect(void *arg) {
        ipc_connector *connector = arg;
        RQ_CLEANUP(rq_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address;
        address_of(connector->dir_fd, connector->name, &address);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof address) != 0) {
                connector_retry(connector); /* not there yet, or its backlog is full */
                return;
        }
        widen_buffers(fd);
        rq_err r = ipc_link_new(connector->loop, RQ_TAKE(fd, -1), IPC_CONNECTS, &connector->self, &connector->handlers,
                                on_connector_closed, connector, &connector->link);
        if (r < 0 && connector->link == NULL)
                connector_retry(connector);
}

rq_err ipc_connect(rq_loop *loop, int run_dir_fd, const char *socket_name, const ipc_identity *self,
                   const ipc_handlers *handlers, ipc_connector **ret_connector) {
        ipc_connector *connector = calloc(1, sizeof *connector);
        if (connector == NULL)
                return RQ_ENOMEM;
        *connector = (ipc_connector) {
                .dir_fd = run_dir_fd, .loop = loop, .self = *self, .handlers = *handlers, .retry_us = RETRY_US_MIN,
        };
        int n = snprintf(connector->name, sizeof connector->name, "%s", socket_name);
        rq_assert(n > 0 && (size_t) n < sizeof connector->name);
        rq_err r = rq_timer_init(&connector->retry, loop, try_connect, connector);
        if (r < 0) {
                free(connector);
                return r;
        }
        *ret_connector = connector;
        try_connect(connector);
        return RQ_OK;
}

ipc_connector *ipc_connector_free(ipc_connector *connector) {
        if (connector == NULL)
                return NULL;
        connector->freed = true;
        rq_timer_done(&connector->retry);
        (void) ipc_link_free(connector->link);
        free(connector);
        return NULL;
}

ipc_link *ipc_connector_link(const ipc_connector *connector) {
        return connector->link != NULL && ipc_link_is_up(connector->link) ? connector->link : NULL;
}
