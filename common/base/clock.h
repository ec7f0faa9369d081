/* The only place that reads the kernel's clocks. */
#ifndef RQ_BASE_CLOCK_H
#define RQ_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic, for deadlines and durations. It counts the time in which the machine is suspended (CLOCK_BOOTTIME):
 * a leader that slept has no lease any more, and a request no time left. */
uint64_t rq_clock_mono_us(void);
uint64_t rq_clock_mono_ns(void);

/* The same moment for pthread_cond_timedwait() with CLOCK_MONOTONIC, which is the only such clock it takes; now, if
 * until_us is past. */
struct timespec rq_clock_wait_time(uint64_t until_us);

/* Wall clock (CLOCK_REALTIME): microseconds since 1970-01-01 UTC. */
uint64_t rq_clock_wall_us(void);

#endif
