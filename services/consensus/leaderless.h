/* Warns when no leader has been known for long. A change of leader takes some
 * 100 ms and is a notice; a majority that is away doesn't pass by itself, and
 * nothing else in this process would say so again. */
#ifndef RQ_CONSENSUS_LEADERLESS_H
#define RQ_CONSENSUS_LEADERLESS_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"

typedef struct leaderless {
        rq_timer timer;
        uint64_t since_us; /* 0: a leader is known */
} leaderless;

/* Embedded in the owner; silent until leaderless_set(). Errors: RQ_ENOMEM. */
rq_err leaderless_init(leaderless *l, rq_loop *loop);
void leaderless_done(leaderless *l);

/* Whenever it may have changed. */
void leaderless_set(leaderless *l, bool known);

#endif
