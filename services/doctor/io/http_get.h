/* One GET, with limits on time and size: what a node answers to a document. */
#ifndef RQ_DOCTOR_IO_HTTP_GET_H
#define RQ_DOCTOR_IO_HTTP_GET_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

enum { HTTP_GET_MS = 3000, HTTP_GET_BYTES_MAX = 8 * 1024 * 1024, HTTP_GET_PROBLEM_BYTES = 256, HTTP_WAY_BYTES = 4096 };

/* As whom to ask; {0}: nobody. Then certificates are verified, since a password
 * is sent: by ca_file, or by what the system trusts if it is "". */
typedef struct http_user {
        char name_password[512]; /* "name:password"; never printed */
        const char *ca_file;
        const char *cert_file, *key_file; /* shown to who wants a certificate; NULL: none */
} http_user;

typedef struct http_got {
        long status;  /* 200 ... */
        bool by_rq;   /* says so in its header */
        rq_buf body;  /* the caller's: rq_buf_done() */
} http_got;

/* way: where to connect, whatever the URL says: "HOST:PORT", "unix:/PATH"; "": where the URL says.
 * Without a user (name_password "") certificates are not verified: nothing is
 * sent that must stay secret, and their check is another one.
 * Errors: RQ_EPIPE (no answer), RQ_EACCES (it wants a certificate, or another one), RQ_ETOOBIG, RQ_ENOMEM; problem says why. */
rq_err http_get(const char *url, const char *way, const http_user *user, http_got *ret_got, char problem[static HTTP_GET_PROBLEM_BYTES]);

#endif
