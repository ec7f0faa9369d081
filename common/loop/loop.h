/* The event loop of a service: libevent's event_base plus what every service
 * needs of it. One thread owns the loop; only rq_wake_signal() may be called
 * from another. */
#ifndef RQ_LOOP_LOOP_H
#define RQ_LOOP_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct rq_loop rq_loop;

rq_err rq_loop_new(rq_loop **ret_loop);
rq_loop *rq_loop_free(rq_loop *loop); /* accepts NULL, returns NULL */
struct event_base *rq_loop_base(rq_loop *loop);

/* Runs until rq_loop_stop(). */
void rq_loop_run(rq_loop *loop);
void rq_loop_stop(rq_loop *loop);

/* Calls on_readable(fd, EV_READ, arg) whenever the descriptor is readable. The
 * event is the caller's: event_free(). Errors: RQ_ENOMEM. */
rq_err rq_loop_watch_fd(rq_loop *loop, int fd, event_callback_fn on_readable, void *arg, struct event **ret_event);

/* A task that runs once, at the end of the current turn of the loop, after
 * what is ready now was handled: where output gathered in a turn is sent.
 * Embedded in the owner; posting one that is pending does nothing. */
typedef struct rq_task rq_task;
struct rq_task {
        rq_loop *loop;
        struct event *event;
        void (*run)(void *arg);
        void *arg;
        bool pending;
};
rq_err rq_task_init(rq_task *task, rq_loop *loop, void (*run)(void *arg), void *arg);
void rq_task_done(rq_task *task);
void rq_task_post(rq_task *task);

/* Wake-up from another thread (eventfd): on_wake runs on the loop's thread
 * once for any number of signals before it. */
typedef struct rq_wake {
        int fd;
        struct event *event;
        void (*on_wake)(void *arg);
        void *arg;
} rq_wake;
rq_err rq_wake_init(rq_wake *wake, rq_loop *loop, void (*on_wake)(void *arg), void *arg);
void rq_wake_done(rq_wake *wake);
void rq_wake_signal(rq_wake *wake); /* any thread */

/* One-shot timer with a deadline. Embedded in the owner. */
typedef struct rq_timer {
        struct event *event;
        void (*fire)(void *arg);
        void *arg;
} rq_timer;
rq_err rq_timer_init(rq_timer *timer, rq_loop *loop, void (*fire)(void *arg), void *arg);
void rq_timer_done(rq_timer *timer);
void rq_timer_set(rq_timer *timer, uint64_t after_us); /* replaces an earlier setting */
void rq_timer_cancel(rq_timer *timer);

#endif
