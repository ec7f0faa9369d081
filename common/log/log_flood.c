#include "log/log_flood.h"

#include <stddef.h>

#include "base/cleanup.h"

static bool is_over(const struct log_flood_kind *k, uint64_t now_us) {
        return now_us - k->window_us >= LOG_FLOOD_WINDOW_US;
}

/* Its own place, else one of a kind that was quiet and owes nothing. */
static struct log_flood_kind *place_of(log_flood *f, const char *format, uint64_t now_us) {
        size_t at = ((uintptr_t) format >> 4) % LOG_FLOOD_KINDS;
        struct log_flood_kind *free_place = NULL;
        for (size_t i = 0; i < LOG_FLOOD_KINDS; i++) {
                struct log_flood_kind *k = &f->kinds[(at + i) % LOG_FLOOD_KINDS];
                if (k->format == format)
                        return k;
                if (free_place == NULL && (k->format == NULL || (is_over(k, now_us) && k->suppressed == 0)))
                        free_place = k;
                if (k->format == NULL)
                        break;
        }
        if (free_place != NULL)
                *free_place = (struct log_flood_kind) { .format = format, .window_us = now_us };
        return free_place;
}

bool log_flood_allows(log_flood *f, const char *format, int priority, uint64_t now_us, uint32_t *ret_suppressed) {
        struct log_flood_kind *k = place_of(f, format, now_us);
        *ret_suppressed = 0;
        if (k == NULL)
                return true;
        if (is_over(k, now_us)) {
                k->window_us = now_us;
                k->used = 0;
        }
        if (k->used >= LOG_FLOOD_BURST) {
                k->suppressed++;
                k->priority = priority;
                return false;
        }
        k->used++;
        *ret_suppressed = RQ_TAKE(k->suppressed, 0);
        return true;
}

const char *log_flood_owed(log_flood *f, uint64_t now_us, int *ret_priority, uint32_t *ret_suppressed) {
        for (size_t i = 0; i < LOG_FLOOD_KINDS; i++) {
                struct log_flood_kind *k = &f->kinds[i];
                if (k->suppressed == 0 || !is_over(k, now_us))
                        continue;
                *ret_priority = k->priority;
                *ret_suppressed = RQ_TAKE(k->suppressed, 0);
                return k->format;
        }
        return NULL;
}
