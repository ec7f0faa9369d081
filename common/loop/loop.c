#include "loop/loop.h"

#include <event2/thread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"

struct rq_loop {
        struct event_base *base;
};

rq_err rq_loop_new(rq_loop **ret_loop) {
        rq_loop *loop = calloc(1, sizeof *loop);
        if (loop == NULL)
                return RQ_ENOMEM;

        /* No locks inside libevent: only the loop's own thread touches it. */
        struct event_config *config = event_config_new();
        if (config != NULL) {
                (void) event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
                loop->base = event_base_new_with_config(config);
                event_config_free(config);
        }
        if (loop->base == NULL) {
                (void) rq_loop_free(loop);
                return RQ_ENOMEM;
        }
        *ret_loop = loop;
        return RQ_OK;
}

rq_loop *rq_loop_free(rq_loop *loop) {
        if (loop == NULL)
                return NULL;
        if (loop->base != NULL)
                event_base_free(loop->base);
        free(loop);
        return NULL;
}

struct event_base *rq_loop_base(rq_loop *loop) { return loop->base; }
void rq_loop_run(rq_loop *loop) { (void) event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY); }
void rq_loop_stop(rq_loop *loop) { (void) event_base_loopbreak(loop->base); }

rq_err rq_loop_watch_fd(rq_loop *loop, int fd, event_callback_fn on_readable, void *arg, struct event **ret_event) {
        struct event *event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_readable, arg);
        if (event == NULL)
                return RQ_ENOMEM;
        if (event_add(event, NULL) != 0) {
                event_free(event);
                return RQ_ENOMEM;
        }
        *ret_event = event;
        return RQ_OK;
}

static void on_task(evutil_socket_t fd, short what, void *arg) {
        rq_task *task = arg;
        (void) fd;
        (void) what;
        task->pending = false;
        task->run(task->arg);
}

rq_err rq_task_init(rq_task *task, rq_loop *loop, void (*run)(void *arg), void *arg) {
        *task = (rq_task) { .loop = loop, .run = run, .arg = arg };
        task->event = event_new(loop->base, -1, 0, on_task, task);
        if (task->event == NULL)
                return RQ_ENOMEM;
        return RQ_OK;
}

void rq_task_done(rq_task *task) {
        if (task->event != NULL)
                event_free(task->event);
        *task = (rq_task) {0};
}

void rq_task_post(rq_task *task) {
        if (task->pending)
                return;
        task->pending = true;
        /* Behind everything that this turn found ready: libevent works through
         * one queue in order, and what is activated meanwhile goes to its end.
         * (A lower priority would starve it while sockets stay busy.) */
        event_active(task->event, EV_TIMEOUT, 0);
}

static void on_wake_readable(evutil_socket_t fd, short what, void *arg) {
        rq_wake *wake = arg;
        uint64_t count;
        (void) what;
        /* Emptied before the handler looks at its queue: a signal that comes
         * while it looks wakes it again. */
        (void) !read(fd, &count, sizeof count);
        wake->on_wake(wake->arg);
}

rq_err rq_wake_init(rq_wake *wake, rq_loop *loop, void (*on_wake)(void *arg), void *arg) {
        *wake = (rq_wake) { .fd = -1, .on_wake = on_wake, .arg = arg };
        wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (wake->fd < 0)
                return rq_err_from_errno(errno);
        wake->event = event_new(loop->base, wake->fd, EV_READ | EV_PERSIST, on_wake_readable, wake);
        if (wake->event == NULL || event_add(wake->event, NULL) != 0) {
                rq_wake_done(wake);
                return RQ_ENOMEM;
        }
        return RQ_OK;
}

void rq_wake_done(rq_wake *wake) {
        if (wake->event != NULL)
                event_free(wake->event);
        if (wake->fd >= 0)
                (void) close(wake->fd);
        wake->event = NULL;
        wake->fd = -1;
}

void rq_wake_signal(rq_wake *wake) {
        const uint64_t one = 1;
        (void) !write(wake->fd, &one, sizeof one); /* EAGAIN: it is signalled already */
}

static void on_timer(evutil_socket_t fd, short what, void *arg) {
        rq_timer *timer = arg;
        (void) fd;
        (void) what;
        timer->fire(timer->arg);
}

rq_err rq_timer_init(rq_timer *timer, rq_loop *loop, void (*fire)(void *arg), void *arg) {
        *timer = (rq_timer) { .fire = fire, .arg = arg };
        timer->event = event_new(loop->base, -1, 0, on_timer, timer);
        if (timer->event == NULL)
                return RQ_ENOMEM;
        return RQ_OK;
}

void rq_timer_done(rq_timer *timer) {
        if (timer->event != NULL)
                event_free(timer->event);
        *timer = (rq_timer) {0};
}

void rq_timer_set(rq_timer *timer, uint64_t after_us) {
        struct timeval tv = { .tv_sec = (time_t) (after_us / 1000000), .tv_usec = (suseconds_t) (after_us % 1000000) };
        int r = event_add(timer->event, &tv);
        rq_assert(r == 0); /* fails only for lack of memory at the first timers */
}

void rq_timer_cancel(rq_timer *timer) {
        (void) event_del(timer->event);
}
