#include "io/http_listen.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { BACKLOG = 1024, GROUP_BYTES_MAX = 16 * 1024 };

typedef struct listening {
        const http_place *place;
        http_socket *sockets;
        size_t count;
} listening;

static rq_err add(listening *l, http_socket *take) {
        if (l->count == HTTP_LISTENERS_MAX) {
                http_socket_close(take);
                return rq_log_error(RQ_ECONFIG, "More than %d sockets to listen on", HTTP_LISTENERS_MAX);
        }
        const int on = 1;
        if (!take->is_unix) /* inherited by what is accepted */
                (void) setsockopt(take->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        l->sockets[l->count++] = *take;
        return RQ_OK;
}

void http_socket_close(http_socket *s) {
        struct stat now;
        /* Another process may have put its own there since; not while we still listen on ours. */
        if (s->path[0] != '\0' && lstat(s->path, &now) == 0 && now.st_dev == s->device && now.st_ino == s->inode)
                (void) unlink(s->path);
        s->path[0] = '\0';
        rq_closep(&s->fd);
}

void http_socket_text(const http_socket *s, char text[static HTTP_ADDRESS_BYTES]) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        char host[64], port[8];
        text[0] = '\0';
        if (getsockname(s->fd, (struct sockaddr *) &address, &size) != 0)
                return;
        if (address.ss_family == AF_UNIX)
                (void) snprintf(text, HTTP_ADDRESS_BYTES, "unix:%s", ((const struct sockaddr_un *) (const void *) &address)->sun_path);
        else if (getnameinfo((struct sockaddr *) &address, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
                (void) snprintf(text, HTTP_ADDRESS_BYTES, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
}

/* --- inherited -------------------------------------------------------------- */

/* systemd names a socket after its unit unless FileDescriptorName= says else. */
static bool is_for_http(const char *name) {
        size_t size = strlen(name);
        return size == 0 || strcmp(name, "unknown") == 0 || strncmp(name, "http", 4) == 0 ||
               (size > 7 && strcmp(name + size - 7, ".socket") == 0);
}

static rq_err take_inherited(listening *l, int fd, const char *name) {
        http_socket s = { .fd = fd, .inherited = true };
        (void) fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (!is_for_http(name) || sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
                rq_log_warning("Descriptor %d (%s) that the supervisor passed is no listening stream socket for HTTP: not used", fd, name);
                (void) close(fd);
                return RQ_OK;
        }
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot use the socket %s that the supervisor passed", name);
        s.is_unix = sd_is_socket(fd, AF_UNIX, SOCK_STREAM, 1) > 0;
        return add(l, &s);
}

static rq_err take_all_inherited(listening *l) {
        char **names = NULL;
        int count = sd_listen_fds_with_names(1, &names);
        rq_err r = RQ_OK;
        for (int i = 0; i < count; i++) {
                if (r >= 0)
                        r = take_inherited(l, SD_LISTEN_FDS_START + i, names != NULL && names[i] != NULL ? names[i] : "");
                if (names != NULL)
                        free(names[i]);
        }
        free(names);
        return r;
}

/* --- unix sockets ----------------------------------------------------------- */

static rq_err group_of(const char *name, gid_t *ret_gid) {
        RQ_CLEANUP(rq_freep) char *space = malloc(GROUP_BYTES_MAX);
        struct group entry, *found = NULL;
        char *end;
        if (space == NULL)
                return RQ_ENOMEM;
        if (getgrnam_r(name, &entry, space, GROUP_BYTES_MAX, &found) == 0 && found != NULL) {
                *ret_gid = entry.gr_gid;
                return RQ_OK;
        }
        unsigned long number = strtoul(name, &end, 10);
        if (name[0] < '0' || name[0] > '9' || *end != '\0' || number > UINT32_MAX - 1) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "-http-unix-group: there is no group \"%s\"", name);
                return RQ_ECONFIG;
        }
        *ret_gid = (gid_t) number;
        return RQ_OK;
}

/* A socket file that nobody listens on any more, left by one that was killed. */
static rq_err remove_stale(const struct sockaddr_un *address) {
        struct stat st;
        if (lstat(address->sun_path, &st) != 0)
                return errno == ENOENT ? RQ_OK : rq_log_error(rq_err_from_errno(errno), "Cannot look at %s", address->sun_path);
        if (!S_ISSOCK(st.st_mode)) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "-http-addr: %s is there already, and no socket", address->sun_path);
                return RQ_ECONFIG;
        }
        RQ_CLEANUP(rq_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return rq_err_from_errno(errno);
        if (connect(fd, (const struct sockaddr *) address, sizeof *address) == 0 || errno == EAGAIN)
                return rq_log_error_event(RQ_EADDRINUSE, RQ_MSG_CANNOT_LISTEN, "Cannot listen on %s", address->sun_path);
        if (errno == ECONNREFUSED && unlink(address->sun_path) != 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot remove the old %s", address->sun_path);
        return RQ_OK;
}

/* Nobody can connect before listen(): by then the file has its mode and group. */
static rq_err bind_unix(listening *l, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        http_socket s = { .fd = -1, .is_unix = true };
        struct stat st;
        gid_t gid = (gid_t) -1;
        (void) strncpy(address.sun_path, path, sizeof address.sun_path - 1); /* its length was checked with the flags */

        rq_err r = remove_stale(&address);
        if (r >= 0 && l->place->unix_group[0] != '\0')
                r = group_of(l->place->unix_group, &gid);
        if (r < 0)
                return r;
        s.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (s.fd < 0 || bind(s.fd, (const struct sockaddr *) &address, sizeof address) != 0) {
                r = rq_err_from_errno(errno);
                rq_closep(&s.fd);
                return rq_log_error_event(r, RQ_MSG_CANNOT_LISTEN, "Cannot listen on %s", path);
        }
        if (lstat(path, &st) == 0) {
                (void) strcpy(s.path, address.sun_path);
                s.device = st.st_dev;
                s.inode = st.st_ino;
        }
        if ((gid != (gid_t) -1 && chown(path, (uid_t) -1, gid) != 0) || chmod(path, (mode_t) l->place->unix_mode) != 0 ||
            listen(s.fd, BACKLOG) != 0) {
                r = rq_err_from_errno(errno);
                http_socket_close(&s);
                return rq_log_error(r, "Cannot give %s its mode and group (-http-unix-mode, -http-unix-group)", path);
        }
        return add(l, &s);
}

/* --- TCP -------------------------------------------------------------------- */

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
static rq_err bind_resolved(listening *l, const struct addrinfo *list, bool wildcard, bool one) {
        int preferred = wildcard ? AF_INET6 : AF_INET;
        size_t before = l->count;
        rq_err first_error = RQ_OK;
        for (int pass = 0; pass < 2; pass++) {
                for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
                        http_socket s = { .fd = -1 };
                        if ((a->ai_family == preferred) != (pass == 0))
                                continue;
                        rq_err r = bind_one(a, wildcard, &s.fd);
                        if (r >= 0)
                                r = add(l, &s);
                        if (r == RQ_ECONFIG || (r >= 0 && one))
                                return r;
                        if (r == RQ_EADDRINUSE && l->count == before)
                                return r;
                        if (r < 0 && first_error == RQ_OK)
                                first_error = r;
                }
        }
        return l->count > before ? RQ_OK : first_error;
}

static rq_err bind_tcp(listening *l, const char *address) {
        const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        struct addrinfo *list = NULL;

        if (rq_address_split(address, host, port) < 0)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "-http-addr \"%s\" is not host:port", address);
        int error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &list);
        if (error != 0) {
                rq_log_event(LOG_ERR, RQ_MSG_BAD_CONFIG, "Cannot resolve -http-addr \"%s\": %s", address, gai_strerror(error));
                return RQ_ECONFIG;
        }
        bool wildcard = host[0] == '\0';
        rq_err r = bind_resolved(l, list, wildcard, wildcard || strcmp(port, "0") == 0);
        freeaddrinfo(list);
        return r < 0 ? rq_log_error_event(r, RQ_MSG_CANNOT_LISTEN, "Cannot listen on %s", address) : RQ_OK;
}

rq_err http_listen(const http_place *place, http_socket sockets[static HTTP_LISTENERS_MAX], size_t *ret_count) {
        listening l = { .place = place, .sockets = sockets };
        char address[RQ_ADDRESS_BYTES_MAX];
        const char *path;
        rq_err r = take_all_inherited(&l);
        bool inherited = l.count > 0;
        for (size_t at = 0; r >= 0 && !inherited && rq_address_next(place->addresses, &at, address);)
                r = rq_address_is_unix(address, &path) ? bind_unix(&l, path) : bind_tcp(&l, address);
        *ret_count = l.count;
        return r;
}
