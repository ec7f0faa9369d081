/* The life of one supervised service as a table of states and events, after
 * s6. Decides what to do next and until when; knows no process, signal or
 * clock: supervise.c performs. */
#ifndef LAUNCH_CHILD_H
#define LAUNCH_CHILD_H

#include <stdbool.h>
#include <stdint.h>

typedef enum child_state {
        CHILD_IDLE = 1, /* not started yet */
        CHILD_STARTING, /* runs, READY not heard */
        CHILD_UP,
        CHILD_ABORTING, /* was silent: SIGABRT sent, for a core dump */
        CHILD_KILLING,  /* SIGKILL sent */
        CHILD_WAITING,  /* dead; restarts at the deadline */
        CHILD_STOPPING, /* SIGTERM sent */
        CHILD_ENDING,   /* SIGKILL sent while stopping */
        CHILD_STOPPED,  /* for good */
        CHILD_STATES,
} child_state;

typedef enum child_event {
        CHILD_START,
        CHILD_READY,    /* READY=1 */
        CHILD_ALIVE,    /* WATCHDOG=1 */
        CHILD_TIMEOUT,  /* the deadline passed */
        CHILD_EXITED,   /* is dead and reaped, or could not be forked */
        CHILD_STOP,
        CHILD_FORCE,    /* stop at once */
        CHILD_HOPELESS, /* is dead, and must not come back */
        CHILD_EVENTS,
} child_event;

typedef enum child_action { CHILD_NOTHING, CHILD_SPAWN, CHILD_TERMINATE, CHILD_ABORT, CHILD_KILL } child_action;

typedef struct child_limits {
        uint64_t start_us;    /* STARTING at most */
        uint64_t watchdog_us; /* UP without ALIVE at most; 0: for ever */
        uint64_t abort_us;    /* from SIGABRT to SIGKILL */
        uint64_t stop_us;     /* from SIGTERM to SIGKILL */
        uint64_t backoff_us_min, backoff_us_max; /* before the second, ... restart */
        uint64_t health_us;   /* UP for so long: failures are forgotten */
} child_limits;

typedef struct child {
        child_state state;
        uint64_t deadline_us; /* when CHILD_TIMEOUT is due; 0: never */
        uint64_t ready_us;    /* since when UP; 0: not */
        uint32_t failures;    /* in a row */
        uint32_t restarts;    /* ever */
} child;

extern const child_limits child_limits_usual;

static inline child child_new(void) { return (child) { .state = CHILD_IDLE }; }

/* Moves the child on and says what to do to its process. An event that means
 * nothing in a state is ignored. */
child_action child_step(child *c, child_event event, uint64_t now_us, const child_limits *limits);

/* EXTEND_TIMEOUT_USEC: a long start or stop gets more time. */
void child_extend(child *c, uint64_t now_us, uint64_t extend_us);

/* Has a process (that a signal may reach). */
bool child_is_running(const child *c);

/* A word for operators and /status. */
const char *child_state_name(child_state state);

#endif
