/* rq_assert: for what only we can break. Always on, also in a release build:
 * a service that goes on with broken state is worse than one that restarts.
 * Never for input from a socket, a file or a peer. */
#ifndef RQ_BASE_ASSERT_H
#define RQ_BASE_ASSERT_H

_Noreturn void rq_assert_failed(const char *expression, const char *file, int line);

#define rq_assert(e) \
        (__builtin_expect(!!(e), 1) ? (void) 0 : rq_assert_failed(#e, __FILE__, __LINE__))

#endif
