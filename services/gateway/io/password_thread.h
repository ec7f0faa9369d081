/* Checks hashed passwords on a thread of its own: one takes up to some 100 ms. At most
 * PASSWORD_JOBS_MAX wait or are worked on. All functions are the loop's. */
#ifndef RQ_GATEWAY_PASSWORD_THREAD_H
#define RQ_GATEWAY_PASSWORD_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "loop/loop.h"

enum { PASSWORD_JOBS_MAX = 64 };

typedef struct password_thread password_thread;

/* on_checked: once for each job. Errors: RQ_ENOMEM, or what
 * the kernel says. */
rq_err password_thread_new(rq_loop *loop, void (*on_checked)(void *arg, uint64_t job, bool fits), void *arg, password_thread **ret_thread);

/* Accepts NULL, returns it. Jobs that are not done are given up; the one at hand is waited for. */
password_thread *password_thread_free(password_thread *thread);

/* first: before those that are not. Both texts are copied, and wiped when it is done. Errors: RQ_EFULL, RQ_ENOMEM. */
rq_err password_thread_check(password_thread *thread, uint64_t job, const char *hash, rq_bytes password, bool first);

#endif
