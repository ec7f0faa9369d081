#include "io/http_server.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/http_state.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { ACCEPTS_A_TURN = 64, BACKLOG = 1024 };

/* --- turns and time --------------------------------------------------------- */

void server_dirty(http_server *server, http_conn *conn) {
        if (conn->is_dirty)
                return;
        conn->is_dirty = true;
        rq_list_append(&server->dirty, &conn->dirty_node);
        rq_task_post(&server->turn_end);
}

/* All that was gathered during the turn: one write for each connection. */
static void on_turn_end(void *arg) {
        http_server *server = arg;
        while (!rq_list_empty(&server->dirty)) {
                http_conn *conn = RQ_LIST_ENTRY(server->dirty.next, http_conn, dirty_node);
                rq_list_remove(&conn->dirty_node);
                conn->is_dirty = false;
                conn_service(conn);
        }
}

static void set_tick(http_server *server) {
        if (server->tick_set || server->deadlines.count == 0)
                return;
        server->tick_set = true;
        rq_timer_set(&server->tick, HTTP_TICK_MS * 1000);
}

static void on_tick(void *arg) {
        http_server *server = arg;
        wheel_entry *entry;
        server->tick_set = false;
        server->now_ns = rq_clock_mono_ns();
        while ((entry = wheel_expired(&server->deadlines, server->now_ns / 1000)) != NULL)
                conn_expired(RQ_LIST_ENTRY(entry, http_conn, deadline));
        set_tick(server);
}

void server_set_deadline(http_server *server, http_conn *conn, uint64_t after_us) {
        wheel_set(&server->deadlines, &conn->deadline, server->now_ns / 1000 + after_us);
        set_tick(server);
}

const char *server_date(http_server *server) {
        uint64_t now_s = rq_clock_wall_us() / 1000000;
        if (now_s != server->date_s) {
                time_t t = (time_t) now_s;
                struct tm tm;
                (void) gmtime_r(&t, &tm);
                (void) strftime(server->date, sizeof server->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
                server->date_s = now_s;
        }
        return server->date;
}

/* --- accepting -------------------------------------------------------------- */

static void set_accepting(http_server *server, bool accepting) {
        if (accepting == server->accepting)
                return;
        server->accepting = accepting;
        for (size_t i = 0; i < server->listener_count; i++)
                (void) (accepting ? event_add(server->listeners[i].acceptable, NULL) : event_del(server->listeners[i].acceptable));
}

/* At the limit the connection that is idle longest makes room; if all work, new
 * ones wait in the kernel's queue. */
static bool make_room(http_server *server) {
        if (server->conn_count < server->limits.connection_count_max)
                return true;
        if (!rq_list_empty(&server->idle)) {
                server->metrics->gateway.connections_evicted++;
                conn_lost(RQ_LIST_ENTRY(server->idle.next, http_conn, idle_node));
        }
        set_accepting(server, false);
        return false;
}

void server_conn_gone(http_server *server) {
        if (server->conn_count == 0 && server->stopping && server->on_empty != NULL) {
                void (*on_empty)(void *) = RQ_TAKE(server->on_empty, NULL);
                on_empty(server->on_empty_arg);
        }
        if (!server->stopping)
                set_accepting(server, true);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg) {
        http_server *server = ((struct http_listener *) arg)->server;
        (void) what;
        server->now_ns = rq_clock_mono_ns();
        for (int i = 0; i < ACCEPTS_A_TURN && make_room(server); i++) {
                int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (conn < 0) {
                        if (server->conn_count > 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM))
                                set_accepting(server, false); /* until one closes */
                        return;
                }
                (void) conn_new(server, conn);
        }
}

static rq_err add_listener(http_server *server, int take_fd) {
        RQ_CLEANUP(rq_closep) int fd = take_fd;
        struct http_listener *l = &server->listeners[server->listener_count];
        const int on = 1;
        /* Inherited by what is accepted. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        l->acceptable = event_new(rq_loop_base(server->loop), fd, EV_READ | EV_PERSIST, on_acceptable, l);
        if (l->acceptable == NULL || event_priority_set(l->acceptable, 0) != 0 || event_add(l->acceptable, NULL) != 0) {
                if (l->acceptable != NULL)
                        event_free(l->acceptable);
                l->acceptable = NULL;
                return RQ_ENOMEM;
        }
        l->server = server;
        l->fd = RQ_TAKE(fd, -1);
        server->listener_count++;
        server->accepting = true;
        return RQ_OK;
}

static void remember_address(http_server *server) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        char host[64], port[8];
        if (getsockname(server->listeners[0].fd, (struct sockaddr *) &address, &size) == 0 &&
            getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
                (void) snprintf(server->address, sizeof server->address, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

/* Sockets that systemd, or rqd in the same way, bound and keeps open while we
 * restart: clients wait instead of being refused. */
static rq_err take_inherited(http_server *server, int *ret_count) {
        int count = sd_listen_fds(1);
        *ret_count = 0;
        for (int i = 0; i < count && server->listener_count < HTTP_LISTENERS_MAX; i++) {
                int fd = SD_LISTEN_FDS_START + i;
                if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
                        continue;
                if (evutil_make_socket_nonblocking(fd) != 0)
                        continue;
                rq_err r = add_listener(server, fd);
                if (r < 0)
                        return r;
                ++*ret_count;
        }
        return RQ_OK;
}

/* "host:port", "[v6]:port", ":port". */
static bool split_address(const char *address, char host[static 256], const char **ret_port) {
        const char *colon = strrchr(address, ':');
        if (colon == NULL || colon[1] == '\0')
                return false;
        size_t size = (size_t) (colon - address);
        if (size >= 2 && address[0] == '[' && colon[-1] == ']') {
                address++;
                size -= 2;
        }
        if (size >= 256)
                return false;
        memcpy(host, address, size);
        host[size] = '\0';
        *ret_port = colon + 1;
        return true;
}

static rq_err bind_one(const struct addrinfo *a, bool alone, int *ret_fd) {
        const int on = 1, off = 0;
        RQ_CLEANUP(rq_closep) int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return rq_err_from_errno(errno);
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (a->ai_family == AF_INET6) /* the wildcard alone serves both families */
                (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, alone ? &off : &on, sizeof on);
        if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
                return rq_err_from_errno(errno);
        *ret_fd = RQ_TAKE(fd, -1);
        return RQ_OK;
}

/* A host name may have several addresses (localhost: IPv4 and IPv6); IPv4 first,
 * as clients of rqlite know it, the wildcard as IPv6 for both families. A port
 * that another process has is an error on the first, not on further ones. */
static rq_err bind_addresses(http_server *server, const struct addrinfo *list, bool wildcard, bool one) {
        int preferred = wildcard ? AF_INET6 : AF_INET;
        rq_err first_error = RQ_OK;
        for (int pass = 0; pass < 2; pass++) {
                for (const struct addrinfo *a = list; a != NULL && server->listener_count < HTTP_LISTENERS_MAX; a = a->ai_next) {
                        int fd = -1;
                        if ((a->ai_family == preferred) != (pass == 0))
                                continue;
                        rq_err r = bind_one(a, wildcard, &fd);
                        if (r >= 0)
                                r = add_listener(server, fd);
                        if (r >= 0 && one)
                                return RQ_OK;
                        if (r == RQ_EADDRINUSE && server->listener_count == 0)
                                return r;
                        if (r < 0 && first_error == RQ_OK)
                                first_error = r;
                }
        }
        return server->listener_count > 0 ? RQ_OK : first_error;
}

static rq_err bind_all(http_server *server, const char *address) {
        const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
        char host[256];
        const char *port;
        struct addrinfo *list = NULL;

        if (!split_address(address, host, &port))
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "-http-addr \"%s\" is not host:port", address);
        int error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &list);
        if (error != 0) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "Cannot resolve -http-addr \"%s\": %s", address, gai_strerror(error));
                return RQ_ECONFIG;
        }
        bool wildcard = host[0] == '\0';
        rq_err r = bind_addresses(server, list, wildcard, wildcard || strcmp(port, "0") == 0);
        freeaddrinfo(list);
        return r < 0 ? rq_log_error_event(r, RQ_MSG_CANNOT_LISTEN, "Cannot listen on %s", address) : RQ_OK;
}

rq_err http_server_listen(http_server *server, const char *address) {
        int inherited;
        rq_err r = take_inherited(server, &inherited);
        if (r >= 0 && inherited == 0)
                r = bind_all(server, address);
        if (r >= 0)
                remember_address(server);
        return r;
}

const char *http_server_address(const http_server *server) { return server->address; }

/* --- life ------------------------------------------------------------------- */

static rq_err build_lines(http_server *server, const char *allow_origin, const char *served_by) {
        rq_err r = rq_buf_append_text(&server->common,
                                      "Access-Control-Allow-Headers: Content-Type\r\n"
                                      "Access-Control-Allow-Methods: OPTIONS, GET, POST\r\n"
                                      "X-Rqlite-Version: 10\r\n");
        if (r >= 0 && allow_origin[0] != '\0')
                r = rq_buf_printf(&server->common, "Access-Control-Allow-Origin: %s\r\n", allow_origin);
        if (r >= 0)
                r = rq_buf_printf(&server->served_by, "X-Rqlite-Served-By: %s\r\n", served_by);
        return r;
}

rq_err http_server_new(rq_loop *loop, const http_limits *limits, const http_handlers *handlers, const char *allow_origin,
                       const char *served_by, metrics *counters, http_server **ret_server) {
        http_server *server = calloc(1, sizeof *server);
        if (server == NULL)
                return RQ_ENOMEM;
        server->loop = loop;
        server->limits = *limits;
        server->handlers = *handlers;
        server->metrics = counters;
        server->now_ns = rq_clock_mono_ns();
        rq_list_init(&server->conns);
        rq_list_init(&server->dirty);
        rq_list_init(&server->idle);
        wheel_init(&server->deadlines, HTTP_TICK_MS * 1000, server->now_ns / 1000);
        http_parser_set_max_header_size(HTTP_TARGET_BYTES_MAX + HTTP_HEADER_BYTES_MAX);

        rq_err r = build_lines(server, allow_origin, served_by);
        if (r >= 0)
                r = rq_task_init(&server->turn_end, loop, on_turn_end, server);
        if (r >= 0)
                r = rq_timer_init(&server->tick, loop, on_tick, server);
        if (r < 0) {
                (void) http_server_free(server);
                return r;
        }
        *ret_server = server;
        return RQ_OK;
}

static void close_listeners(http_server *server) {
        for (size_t i = 0; i < server->listener_count; i++) {
                event_free(server->listeners[i].acceptable);
                (void) close(server->listeners[i].fd);
        }
        server->listener_count = 0;
        server->accepting = false;
}

http_server *http_server_free(http_server *server) {
        if (server == NULL)
                return NULL;
        server->stopping = true;
        server->on_empty = NULL;
        close_listeners(server);
        while (!rq_list_empty(&server->conns))
                conn_free(RQ_LIST_ENTRY(server->conns.next, http_conn, node));
        rq_task_done(&server->turn_end);
        rq_timer_done(&server->tick);
        rq_buf_done(&server->common);
        rq_buf_done(&server->served_by);
        free(server);
        return NULL;
}

void http_server_stop(http_server *server, void (*on_empty)(void *arg), void *arg) {
        server->stopping = true;
        server->on_empty = on_empty;
        server->on_empty_arg = arg;
        close_listeners(server);
        for (rq_list *node = server->conns.next; node != &server->conns; node = node->next)
                conn_close_if_idle(RQ_LIST_ENTRY(node, http_conn, node));
        if (server->conn_count == 0)
                server_conn_gone(server);
}
