#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id) {
        struct timespec ts;
        (void) clock_gettime(id, &ts); /* cannot fail for these clocks */
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

uint64_t rq_clock_mono_ns(void) { return read_ns(CLOCK_BOOTTIME); }
uint64_t rq_clock_mono_us(void) { return read_ns(CLOCK_BOOTTIME) / 1000; }
uint64_t rq_clock_wall_us(void) { return read_ns(CLOCK_REALTIME) / 1000; }

struct timespec rq_clock_wait_time(uint64_t until_us) {
        const uint64_t now_ns = rq_clock_mono_ns(), until_ns = until_us * 1000;
        const uint64_t at_ns = read_ns(CLOCK_MONOTONIC) + (until_ns > now_ns ? until_ns - now_ns : 0);
        return (struct timespec) { .tv_sec = (time_t) (at_ns / 1000000000u), .tv_nsec = (long) (at_ns % 1000000000u) };
}
