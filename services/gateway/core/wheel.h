/* A wheel of deadlines: thousands of requests and connections with one each,
 * put in and taken out in constant time. Knows no clock: the caller says what
 * time it is. Fires up to one tick late, never early. */
#ifndef RQ_GATEWAY_WHEEL_H
#define RQ_GATEWAY_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

enum { WHEEL_SLOTS = 1024 };

/* Embedded in what has a deadline; {0} is not in a wheel. */
typedef struct wheel_entry {
        rq_list node;
        uint64_t deadline_us;
        bool set;
} wheel_entry;

typedef struct wheel {
        uint64_t tick_us, done_tick; /* all ticks up to done_tick were looked at */
        uint32_t count;
        rq_list slots[WHEEL_SLOTS];
} wheel;

void wheel_init(wheel *w, uint64_t tick_us, uint64_t now_us);
void wheel_set(wheel *w, wheel_entry *entry, uint64_t deadline_us); /* replaces an earlier one */
void wheel_cancel(wheel *w, wheel_entry *entry);

/* An entry whose deadline has passed, taken out; NULL: no more. */
wheel_entry *wheel_expired(wheel *w, uint64_t now_us);

#endif
