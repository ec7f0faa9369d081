/* The only place that reads the kernel's clocks. */
#ifndef RQ_BASE_CLOCK_H
#define RQ_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic (CLOCK_MONOTONIC), for deadlines and durations. */
uint64_t rq_clock_mono_us(void);
uint64_t rq_clock_mono_ns(void);

/* Wall clock (CLOCK_REALTIME): microseconds since 1970-01-01 UTC. */
uint64_t rq_clock_wall_us(void);

#endif
