/* Slows guessing down: how many wrong passwords may come in a while, counted for each
 * key (an address, or an address and a user). A bucket of tokens for each key that
 * failed lately, in a table of fixed size; of those that share a place the one longest
 * unused is forgotten. */
#ifndef RQ_GATEWAY_ATTEMPTS_H
#define RQ_GATEWAY_ATTEMPTS_H

#include <stdint.h>

enum { ATTEMPTS_SETS = 1024, ATTEMPTS_WAYS = 4 }; /* 96 KiB */

typedef struct attempts_rate {
        uint32_t burst;          /* at once */
        uint32_t interval_ms;    /* then one in this time */
} attempts_rate;

typedef struct attempts {
        struct attempts_entry { uint64_t key, full_at_us; } entries[ATTEMPTS_SETS][ATTEMPTS_WAYS];
} attempts; /* all zero: empty */

/* key: a keyed hash, so that nobody can choose whom he shares a place with. How long
 * until the next attempt may be made, in milliseconds; 0: now, and it is counted. */
uint32_t attempts_take(attempts *a, uint64_t key, attempts_rate rate, uint64_t now_us);

/* It was no failure after all. */
void attempts_give_back(attempts *a, uint64_t key, attempts_rate rate);

#endif
