/* Where clients connect: the sockets that a supervisor holds open for us, or
 * those that -http-addr names, TCP and unix ones. Knows nothing of what is said
 * on them. */
#ifndef RQ_GATEWAY_HTTP_LISTEN_H
#define RQ_GATEWAY_HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { HTTP_LISTENERS_MAX = 16, HTTP_ADDRESS_BYTES = 128 };

typedef struct http_place {
        const char *addresses;   /* "host:port,unix:/path": host:port, [v6]:port, :port, unix:PATH */
        uint32_t unix_mode;      /* permissions of unix sockets */
        const char *unix_group;  /* name or number; "": as the process has it */
} http_place;

typedef struct http_socket {
        int fd;
        bool is_unix;
        bool inherited;
        dev_t device;            /* of the file of a unix socket that we bound: */
        ino_t inode;             /* only that one is removed again */
        char path[108];          /* of that file; "": none */
} http_socket;

/* Sockets by systemd's protocol (LISTEN_FDS, see sd_listen_fds(3)) stand for all
 * that addresses says, if there are any: those named "http" or after their unit,
 * or without a name. All are non-blocking, and listen. The array is the caller's,
 * also what is in it on failure. Errors were logged: RQ_ECONFIG, RQ_EADDRINUSE,
 * or what bind() says. */
rq_err http_listen(const http_place *place, http_socket sockets[static HTTP_LISTENERS_MAX], size_t *ret_count);

/* Closes, and removes the file of a unix socket that we made. */
void http_socket_close(http_socket *s);

/* "host:port" or "unix:/path" as it was bound. */
void http_socket_text(const http_socket *s, char text[static HTTP_ADDRESS_BYTES]);

#endif
