#include "core/child.h"

#include "base/assert.h"

const child_limits child_limits_usual = {
        .start_us       = 90 * 1000000ull, /* systemd's DefaultTimeoutStartSec */
        .watchdog_us    = 10 * 1000000ull,
        .abort_us       = 2 * 1000000ull,
        .stop_us        = 10 * 1000000ull,
        .backoff_us_min = 100 * 1000ull,
        .backoff_us_max = 5 * 1000000ull,
        .health_us      = 10 * 1000000ull,
};

/* next 0: the event is ignored. */
typedef struct child_move {
        child_state next;
        child_action action;
} child_move;

static const child_move moves[CHILD_STATES][CHILD_EVENTS] = {
        [CHILD_IDLE] = {
                [CHILD_START]    = { CHILD_STARTING, CHILD_SPAWN },
                [CHILD_STOP]     = { CHILD_STOPPED, CHILD_NOTHING },
                [CHILD_FORCE]    = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_STARTING] = {
                [CHILD_READY]    = { CHILD_UP, CHILD_NOTHING },
                [CHILD_TIMEOUT]  = { CHILD_ABORTING, CHILD_ABORT },
                [CHILD_EXITED]   = { CHILD_WAITING, CHILD_NOTHING },
                [CHILD_STOP]     = { CHILD_STOPPING, CHILD_TERMINATE },
                [CHILD_FORCE]    = { CHILD_ENDING, CHILD_KILL },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_UP] = {
                [CHILD_ALIVE]    = { CHILD_UP, CHILD_NOTHING },
                [CHILD_TIMEOUT]  = { CHILD_ABORTING, CHILD_ABORT },
                [CHILD_EXITED]   = { CHILD_WAITING, CHILD_NOTHING },
                [CHILD_STOP]     = { CHILD_STOPPING, CHILD_TERMINATE },
                [CHILD_FORCE]    = { CHILD_ENDING, CHILD_KILL },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_ABORTING] = { /* a stopped process takes no SIGABRT: only the kill reaches it */
                [CHILD_TIMEOUT]  = { CHILD_KILLING, CHILD_KILL },
                [CHILD_EXITED]   = { CHILD_WAITING, CHILD_NOTHING },
                [CHILD_STOP]     = { CHILD_ENDING, CHILD_KILL },
                [CHILD_FORCE]    = { CHILD_ENDING, CHILD_KILL },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_KILLING] = {
                [CHILD_EXITED]   = { CHILD_WAITING, CHILD_NOTHING },
                [CHILD_STOP]     = { CHILD_ENDING, CHILD_NOTHING },
                [CHILD_FORCE]    = { CHILD_ENDING, CHILD_NOTHING },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_WAITING] = {
                [CHILD_TIMEOUT]  = { CHILD_STARTING, CHILD_SPAWN },
                [CHILD_STOP]     = { CHILD_STOPPED, CHILD_NOTHING },
                [CHILD_FORCE]    = { CHILD_STOPPED, CHILD_NOTHING },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_STOPPING] = {
                [CHILD_TIMEOUT]  = { CHILD_ENDING, CHILD_KILL },
                [CHILD_EXITED]   = { CHILD_STOPPED, CHILD_NOTHING },
                [CHILD_FORCE]    = { CHILD_ENDING, CHILD_KILL },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
        [CHILD_ENDING] = {
                [CHILD_EXITED]   = { CHILD_STOPPED, CHILD_NOTHING },
                [CHILD_HOPELESS] = { CHILD_STOPPED, CHILD_NOTHING },
        },
};

/* The first restart at once: most deaths are accidents. Then doubling pauses:
 * a service that cannot live must not eat the machine. */
static uint64_t restart_pause_us(const child *c, const child_limits *limits) {
        if (c->failures <= 1)
                return 0;
        uint32_t doublings = c->failures - 2;
        uint64_t pause_us = doublings < 16 ? limits->backoff_us_min << doublings : limits->backoff_us_max;
        return pause_us < limits->backoff_us_max ? pause_us : limits->backoff_us_max;
}

static void enter_waiting(child *c, uint64_t now_us, const child_limits *limits) {
        if (c->ready_us != 0 && now_us - c->ready_us >= limits->health_us)
                c->failures = 0;
        c->failures++;
        c->ready_us = 0;
        c->deadline_us = now_us + restart_pause_us(c, limits);
}

child_action child_step(child *c, child_event event, uint64_t now_us, const child_limits *limits) {
        rq_assert(c->state < CHILD_STATES && event < CHILD_EVENTS);
        const child_move move = moves[c->state][event];
        child_state before = c->state;
        if (move.next == 0)
                return CHILD_NOTHING;

        c->state = move.next;
        c->deadline_us = 0;
        switch (c->state) {
        case CHILD_STARTING:
                c->restarts += before == CHILD_WAITING;
                c->deadline_us = now_us + limits->start_us;
                break;
        case CHILD_UP:
                if (before != CHILD_UP)
                        c->ready_us = now_us;
                if (limits->watchdog_us != 0)
                        c->deadline_us = now_us + limits->watchdog_us;
                break;
        case CHILD_ABORTING: c->deadline_us = now_us + limits->abort_us; break;
        case CHILD_WAITING: enter_waiting(c, now_us, limits); break;
        case CHILD_STOPPING: c->deadline_us = now_us + limits->stop_us; break;
        case CHILD_IDLE:
        case CHILD_KILLING: /* nothing is stronger: only its death goes on */
        case CHILD_ENDING:
        case CHILD_STOPPED:
        case CHILD_STATES: break;
        }
        return move.action;
}

void child_extend(child *c, uint64_t now_us, uint64_t extend_us) {
        if (c->state != CHILD_STARTING && c->state != CHILD_STOPPING)
                return;
        if (extend_us > UINT64_MAX - now_us)
                extend_us = UINT64_MAX - now_us;
        if (c->deadline_us < now_us + extend_us)
                c->deadline_us = now_us + extend_us;
}

bool child_is_running(const child *c) {
        return c->state != CHILD_IDLE && c->state != CHILD_WAITING && c->state != CHILD_STOPPED;
}

const char *child_state_name(child_state state) {
        static const char *const names[CHILD_STATES] = {
                [CHILD_IDLE]     = "idle",
                [CHILD_STARTING] = "starting",
                [CHILD_UP]       = "running",
                [CHILD_ABORTING] = "hung",
                [CHILD_KILLING]  = "hung",
                [CHILD_WAITING]  = "waiting to restart",
                [CHILD_STOPPING] = "stopping",
                [CHILD_ENDING]   = "stopping",
                [CHILD_STOPPED]  = "stopped",
        };
        rq_assert(state > 0 && state < CHILD_STATES);
        return names[state];
}
