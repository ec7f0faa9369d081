/* May this request? Users and permissions (common/users) for HTTP: what was found good is
 * remembered, hashes are checked on a thread, wrong passwords are slowed down and logged, and the
 * file is read again when it changes. */
#ifndef RQ_GATEWAY_ACCESS_H
#define RQ_GATEWAY_ACCESS_H

#include <stdint.h>

#include "core/metrics.h"
#include "core/route.h"
#include "io/http_conn.h"
#include "loop/loop.h"

typedef struct access_control access_control;

typedef enum access_verdict {
        ACCESS_GRANTED,
        ACCESS_DENIED,           /* no, wrong or insufficient credentials */
        ACCESS_LATER,            /* on_checked() will tell */
        ACCESS_SLOWED,           /* too many wrong passwords lately: not looked at */
        ACCESS_BUSY,             /* too many passwords wait to be checked */
} access_verdict;

typedef struct access_answer {
        access_verdict verdict;
        uint64_t check;          /* ACCESS_LATER: what on_checked() will name */
        uint32_t wait_s;         /* ACCESS_SLOWED */
} access_answer;

/* file: "": everybody may do everything. on_checked: may is what the requests that wait for
 * check are allowed now. Errors: RQ_ECONFIG (the file; logged), RQ_ENOMEM. */
rq_err access_new(rq_loop *loop, const char *file, metrics *counters, void (*on_checked)(void *arg, uint64_t check, rq_permissions may),
                  void *arg, access_control **ret_access);
access_control *access_free(access_control *a); /* accepts NULL, returns it */

/* For the request at hand of conn. */
access_answer access_check(access_control *a, http_conn *conn, const route *r);

/* For a node that wants to join as a voter, or a read replica: credentials "user:password", a stranger's, empty: none;
 * address: numeric host:port, whose wrong passwords it counts with. */
access_answer access_check_join(access_control *a, rq_bytes credentials, const char *address, bool read_replica);
bool access_may_join(rq_permissions may, bool read_replica);

/* "user:password" of the user as whom this node joins; wipe it. Errors: rq_users_credentials(). Only if access_is_on(). */
rq_err access_credentials_of(const access_control *a, const char *user, rq_buf *ret_credentials, rq_buf *problem);

/* on_changed: other users were read. */
void access_watch(access_control *a, void (*on_changed)(void *arg));

/* Reads the file again. One that is no good is told of, and the users stay as they are. */
void access_reload(access_control *a);

bool access_is_on(const access_control *a);

#endif
