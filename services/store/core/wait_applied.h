/* Reads that wait until a log index is applied, or until their deadline: two
 * orders of the same items. Decides nothing about what happens then, reads no
 * clock. Items are embedded in their owner. */
#ifndef RQ_STORE_WAIT_APPLIED_H
#define RQ_STORE_WAIT_APPLIED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

typedef struct wait_item {
        rq_list by_index, by_deadline;
        uint64_t index, deadline_us;
        struct wait_applied *in; /* NULL: it isn't waiting */
} wait_item;

typedef struct wait_applied {
        rq_list by_index, by_deadline; /* ascending */
        uint32_t count;
} wait_applied;

void wait_applied_init(wait_applied *w);

/* The item must not be waiting. Both orders are nearly those of coming, so
 * that the search from the end is short. */
void wait_applied_add(wait_applied *w, wait_item *item, uint64_t index, uint64_t deadline_us);

/* Does nothing to an item that isn't waiting in w. */
void wait_applied_remove(wait_applied *w, wait_item *item);

/* Takes out and returns the next item whose index is applied_index or below,
 * lowest first; NULL: none. */
wait_item *wait_applied_ready(wait_applied *w, uint64_t applied_index);

/* Likewise the next whose deadline is now_us or before. */
wait_item *wait_applied_expired(wait_applied *w, uint64_t now_us);

/* UINT64_MAX: nobody waits. */
uint64_t wait_applied_next_deadline(const wait_applied *w);

#endif
