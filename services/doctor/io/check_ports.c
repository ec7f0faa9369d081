#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/checks.h"

/* Can a service listen there? RQ_EBUSY: somebody does; else why not. */
static rq_err try_listen(const char *address, char *problem, size_t problem_size) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
        struct addrinfo *list = NULL;
        if (rq_address_split(address, host, port) < 0) {
                (void) snprintf(problem, problem_size, "not host:port");
                return RQ_EINVAL;
        }
        int error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &list);
        if (error != 0) {
                (void) snprintf(problem, problem_size, "%s", gai_strerror(error));
                return RQ_EINVAL;
        }
        rq_err r = RQ_EINVAL;
        for (const struct addrinfo *a = list; a != NULL && r != RQ_EBUSY; a = a->ai_next) {
                const int on = 1;
                RQ_CLEANUP(rq_closep) int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
                if (fd < 0)
                        continue;
                (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on); /* else TIME_WAIT looks like somebody */
                if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0) {
                        r = RQ_OK;
                        continue;
                }
                if (errno == EADDRINUSE)
                        r = RQ_EBUSY;
                (void) snprintf(problem, problem_size, "%s", strerror(errno));
        }
        freeaddrinfo(list);
        return r;
}

static void check_sockets(findings *f, const rq_config *config, bool running) {
        static const char *const names[] = { "consensus.sock", "store.sock" };
        static const char check[] = "sockets";
        char path[4096];
        struct stat st;
        size_t fine = 0;
        for (size_t i = 0; i < 2; i++) {
                (void) snprintf(path, sizeof path, "%s/%s", rq_config_run_dir(config), names[i]);
                if (stat(path, &st) < 0) {
                        if (running)
                                (void) findings_add(f, check, errno == EACCES ? FINDING_UNKNOWN : FINDING_CRITICAL, "%s: %s", path, strerror(errno));
                } else if ((st.st_mode & 007) != 0) {
                        finding *found = findings_add(f, check, FINDING_WARNING, "%s has mode %04o: every user can connect", path, st.st_mode & 07777u);
                        finding_remedy(found, "chmod o= %s", path);
                } else {
                        fine++;
                }
        }
        if (fine > 0)
                (void) findings_add(f, check, FINDING_OK, "the services' sockets are in %s", rq_config_run_dir(config));
}

/* A socket of this machine: its file may be left over from a process that was killed. */
static void check_unix(findings *f, const char *path, bool running) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof address.sun_path) {
                (void) findings_add(f, "ports", FINDING_CRITICAL, "unix:%s is longer than %zu bytes", path, sizeof address.sun_path - 1);
                return;
        }
        (void) strcpy(address.sun_path, path);
        RQ_CLEANUP(rq_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (const struct sockaddr *) &address, sizeof address) == 0)
                (void) findings_add(f, "ports", FINDING_OK, "unix:%s is listened on", path);
        else if (errno == EACCES)
                (void) findings_add(f, "ports", FINDING_UNKNOWN, "unix:%s isn't open to this user", path);
        else if (running)
                (void) findings_add(f, "ports", FINDING_CRITICAL, "the gateway runs, but nobody listens on unix:%s", path);
        else
                (void) findings_add(f, "ports", FINDING_OK, "unix:%s is free", path);
}

static void check_port(findings *f, const char *flag, const char *address, bool running) {
        static const char check[] = "ports";
        const bool is_http = strcmp(flag, "http-addr") == 0;
        char problem[256] = "it can't be opened";
        rq_err r = try_listen(address, problem, sizeof problem);
        if (r == RQ_OK && !running) {
                (void) findings_add(f, check, FINDING_OK, "-%s %s is free", flag, address);
        } else if (r == RQ_OK) {
                (void) findings_add(f, check, FINDING_CRITICAL, "the gateway runs, but nobody listens on -%s %s", flag, address);
        } else if (r != RQ_EBUSY) {
                finding *found = findings_add(f, check, FINDING_CRITICAL, "-%s %s: %s", flag, address, problem);
                finding_remedy(found, "take an address of this machine (ip address), and -%s-adv-addr for what others see", is_http ? "http" : "raft");
        } else if (running) {
                (void) findings_add(f, check, FINDING_OK, "-%s %s is this node's", flag, address);
        } else {
                finding *found = findings_add(f, check, FINDING_CRITICAL, "-%s %s is taken, and not by a node that answers", flag, address);
                finding_remedy(found, "find by whom (ss -ltnp), stop it, or take another port");
        }
}

void check_ports(findings *f, const rq_config *config, const own_node *own) {
        char address[RQ_ADDRESS_BYTES_MAX];
        const char *http = rq_config_string(config, "http-addr");
        for (size_t at = 0; rq_address_next(http, &at, address);)
                if (strncmp(address, "unix:", 5) != 0)
                        check_port(f, "http-addr", address, own->running);
        for (size_t at = 0; rq_address_next(http, &at, address);)
                if (strncmp(address, "unix:", 5) == 0)
                        check_unix(f, address + 5, own->running);
        check_port(f, "raft-addr", rq_config_string(config, "raft-addr"), own->running);
        check_sockets(f, config, own->running);
}
