#include "service/startup.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/clock.h"

enum {
        STARTUP_LOOK_S      = 5,
        STARTUP_EXTEND_S    = 60,
        STARTUP_CPU_MS_MIN  = 10, /* between two looks: less is idling. A machine that is starved gives no more than this */
};

static uint64_t process_work(void) {
        struct rusage usage;
        struct timespec cpu = {0};
        if (getrusage(RUSAGE_SELF, &usage) != 0 || clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) != 0)
                return 0;
        uint64_t cpu_ms = (uint64_t) cpu.tv_sec * 1000 + (uint64_t) cpu.tv_nsec / 1000000;
        return cpu_ms + (uint64_t) (usage.ru_inblock + usage.ru_oublock) * STARTUP_CPU_MS_MIN;
}

static void *extend_start(void *arg) {
        rq_startup *s = arg;
        uint64_t work = process_work();
        (void) pthread_mutex_lock(&s->lock);
        while (!s->done) {
                const struct timespec until = rq_clock_wait_time(rq_clock_mono_us() + STARTUP_LOOK_S * 1000000ULL);
                if (pthread_cond_timedwait(&s->wake, &s->lock, &until) != ETIMEDOUT)
                        continue;
                uint64_t now = process_work();
                if (now >= work + STARTUP_CPU_MS_MIN)
                        (void) sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%llu\nSTATUS=starting: reading what the last run has left",
                                          STARTUP_EXTEND_S * 1000000ULL);
                work = now;
        }
        (void) pthread_mutex_unlock(&s->lock);
        return NULL;
}

/* Without the thread a start has as long as the supervisor says, no more. */
void rq_startup_begin(rq_startup *s) {
        pthread_condattr_t attr;
        *s = (rq_startup) {0};
        (void) pthread_mutex_init(&s->lock, NULL);
        (void) pthread_condattr_init(&attr);
        (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&s->wake, &attr);
        (void) pthread_condattr_destroy(&attr);
        s->running = getenv("NOTIFY_SOCKET") != NULL && pthread_create(&s->thread, NULL, extend_start, s) == 0;
}

void rq_startup_end(rq_startup *s) {
        (void) pthread_mutex_lock(&s->lock);
        s->done = true;
        (void) pthread_cond_signal(&s->wake);
        (void) pthread_mutex_unlock(&s->lock);
        if (s->running)
                (void) pthread_join(s->thread, NULL);
        (void) pthread_cond_destroy(&s->wake);
        (void) pthread_mutex_destroy(&s->lock);
}
