/* The clock counts the time that a machine sleeps, and waits don't mind. Seen in a time namespace, where it is
 * a day ahead of CLOCK_MONOTONIC, as after a night's sleep. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { DAY_S = 86400, WAIT_US = 20000, LONG_S = 600, NO_NAMESPACE = 77 };

/* How many us a wait for WAIT_US took by CLOCK_MONOTONIC; 0: it hasn't waited. */
static uint64_t waited_us(void) {
        pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
        pthread_condattr_t attributes;
        pthread_cond_t never;
        if (pthread_condattr_init(&attributes) != 0 || pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) != 0 || pthread_cond_init(&never, &attributes) != 0)
                return 0;
        const struct timespec began = rq_clock_wait_time(0), until = rq_clock_wait_time(rq_clock_mono_us() + WAIT_US);
        (void) pthread_mutex_lock(&mutex);
        int e;
        do
                e = pthread_cond_timedwait(&never, &mutex, &until);
        while (e == 0);
        (void) pthread_mutex_unlock(&mutex);
        const struct timespec ended = rq_clock_wait_time(0);
        return e == ETIMEDOUT ? (uint64_t) ((ended.tv_sec - began.tv_sec) * 1000000 + (ended.tv_nsec - began.tv_nsec) / 1000) : 0;
}

static void test_a_wait_takes_its_time(void **state) {
        (void) state;
        const uint64_t begin_us = rq_clock_mono_us();
        assert_in_range(waited_us(), WAIT_US - 1000, LONG_S * 1000000ULL);
        assert_true(rq_clock_mono_us() - begin_us >= WAIT_US - 1000);
}

static int sleeper(void) {
        const struct timespec now = rq_clock_wait_time(0);
        const uint64_t ahead_us = rq_clock_mono_us() - ((uint64_t) now.tv_sec * 1000000u + (uint64_t) now.tv_nsec / 1000u);
        if (ahead_us < (DAY_S - 60) * 1000000ULL)
                return 1;
        (void) alarm(LONG_S); /* a wait that lasted the day, too */
        const uint64_t us = waited_us();
        return us >= WAIT_US - 1000 ? 0 : 2;
}

static int in_a_namespace(void) {
        char offset[64];
        if (unshare(CLONE_NEWTIME) != 0)
                return NO_NAMESPACE;
        const int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
        const int size = snprintf(offset, sizeof offset, "boottime %d 0\n", DAY_S);
        if (fd < 0 || write(fd, offset, (size_t) size) != size)
                return NO_NAMESPACE;
        (void) close(fd);
        const pid_t pid = fork(); /* children live in it */
        int status = 0;
        if (pid == 0)
                _exit(sleeper());
        return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void test_time_asleep_counts_and_waits_dont_mind(void **state) {
        (void) state;
        int status = 0;
        (void) fflush(NULL);
        const pid_t pid = fork();
        if (pid == 0)
                _exit(in_a_namespace());
        assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        if (WEXITSTATUS(status) == NO_NAMESPACE)
                skip(); /* not root, or the kernel has none */
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_wait_takes_its_time),
                cmocka_unit_test(test_time_asleep_counts_and_waits_dont_mind),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
