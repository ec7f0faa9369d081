#include "leaderless.h"

#include <inttypes.h>

#include "base/clock.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { FIRST_US = 10000000, AGAIN_US = 60000000 };

static void on_timer(void *arg) {
        leaderless *l = arg;
        if (l->since_us == 0)
                return;
        rq_log_event(LOG_WARNING, RQ_MSG_NO_LEADER, "No leader has been known for %" PRIu64 " s: writes and consistent reads wait. A majority of "
                     "the members is down or can't be reached", (rq_clock_mono_us() - l->since_us) / 1000000);
        rq_timer_set(&l->timer, AGAIN_US);
}

rq_err leaderless_init(leaderless *l, rq_loop *loop) { return rq_timer_init(&l->timer, loop, on_timer, l); }

void leaderless_done(leaderless *l) {
        if (l->timer.event != NULL)
                rq_timer_done(&l->timer);
}

void leaderless_set(leaderless *l, bool known) {
        if (known == (l->since_us == 0))
                return;
        l->since_us = known ? 0 : rq_clock_mono_us();
        if (known)
                rq_timer_cancel(&l->timer);
        else
                rq_timer_set(&l->timer, FIRST_US);
}
