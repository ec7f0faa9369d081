/* One GET, with limits on time and size: what a node answers to a document. */
#ifndef RQ_DOCTOR_IO_HTTP_GET_H
#define RQ_DOCTOR_IO_HTTP_GET_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

enum { HTTP_GET_MS = 3000, HTTP_GET_BYTES_MAX = 8 * 1024 * 1024, HTTP_GET_PROBLEM_BYTES = 256 };

typedef struct http_got {
        long status;  /* 200 ... */
        bool by_rq;   /* says so in its header */
        rq_buf body;  /* the caller's: rq_buf_done() */
} http_got;

/* Certificates are not verified:
 * nothing is sent that must stay secret, and their check is another one.
 * Errors: RQ_EPIPE (no answer), RQ_ETOOBIG, RQ_ENOMEM; problem says why. */
rq_err http_get(const char *url, http_got *ret_got, char problem[static HTTP_GET_PROBLEM_BYTES]);

#endif
