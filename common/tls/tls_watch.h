/* Keeps a port's TLS up to date: looks at its files once a second, and at once when
 * asked (SIGHUP); logs what is in use, what was refused and why, and when a
 * certificate is about to end. Belongs to the loop's thread. */
#ifndef RQ_TLS_TLS_WATCH_H
#define RQ_TLS_TLS_WATCH_H

#include "loop/loop.h"
#include "tls/tls.h"

typedef struct rq_tls_watch rq_tls_watch;

/* Borrows tls, which outlives it. what: "Between nodes", "HTTPS": begins the log lines; static. on_change (may be NULL): new
 * files are in use. Errors: RQ_ENOMEM. */
rq_err rq_tls_watch_new(rq_loop *loop, rq_tls *tls, const char *what, void (*on_change)(void *arg), void *arg, rq_tls_watch **ret_watch);
rq_tls_watch *rq_tls_watch_free(rq_tls_watch *watch); /* accepts NULL, returns it */

/* Reads the files, whether they have changed or not. */
void rq_tls_watch_now(rq_tls_watch *watch);

#endif
