#include "base/clock.h"

#include <time.h>

static uint64_t read_ns(clockid_t id) {
        struct timespec ts;
        (void) clock_gettime(id, &ts); /* cannot fail for these two clocks */
        return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

uint64_t rq_clock_mono_ns(void) { return read_ns(CLOCK_MONOTONIC); }
uint64_t rq_clock_mono_us(void) { return read_ns(CLOCK_MONOTONIC) / 1000; }
uint64_t rq_clock_wall_us(void) { return read_ns(CLOCK_REALTIME) / 1000; }
