#include "core/attempts.h"

#include <stddef.h>

/* A bucket is told by when it will be full again (GCRA): one attempt puts that off by
 * an interval, and it may lie at most burst intervals ahead. */
static struct attempts_entry *find(attempts *a, uint64_t key, uint64_t now_us) {
        struct attempts_entry *set = a->entries[key % ATTEMPTS_SETS], *oldest = &set[0];
        for (int i = 0; i < ATTEMPTS_WAYS; i++) {
                if (set[i].key == key)
                        return &set[i];
                if (set[i].full_at_us < oldest->full_at_us)
                        oldest = &set[i];
        }
        *oldest = (struct attempts_entry) { .key = key, .full_at_us = now_us };
        return oldest;
}

uint32_t attempts_take(attempts *a, uint64_t key, attempts_rate rate, uint64_t now_us) {
        struct attempts_entry *e = find(a, key, now_us);
        uint64_t interval_us = (uint64_t) rate.interval_ms * 1000, room_us = interval_us * rate.burst;
        if (e->full_at_us < now_us)
                e->full_at_us = now_us;
        uint64_t full_at_us = e->full_at_us + interval_us;
        if (full_at_us > now_us + room_us)
                return (uint32_t) ((full_at_us - now_us - room_us + 999) / 1000);
        e->full_at_us = full_at_us;
        return 0;
}

void attempts_give_back(attempts *a, uint64_t key, attempts_rate rate) {
        struct attempts_entry *set = a->entries[key % ATTEMPTS_SETS];
        uint64_t interval_us = (uint64_t) rate.interval_ms * 1000;
        for (int i = 0; i < ATTEMPTS_WAYS; i++)
                if (set[i].key == key && set[i].full_at_us > interval_us)
                        set[i].full_at_us -= interval_us;
}
