/* A bound on records of one kind, whatever its place in the code says: a fault
 * that repeats itself must not fill the journal, nor push out of it what tells
 * the cause. What was suppressed is counted and told. Pure: no clock, no lock. */
#ifndef RQ_LOG_FLOOD_H
#define RQ_LOG_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

enum {
        LOG_FLOOD_KINDS     = 128,      /* followed at a time; what is beyond them isn't bounded */
        LOG_FLOOD_BURST     = 30,       /* records of one kind ... */
        LOG_FLOOD_WINDOW_US = 10000000, /* ... in so long */
};

typedef struct log_flood {
        struct log_flood_kind {
                const char *format; /* the kind: a literal, compared by address */
                uint64_t window_us; /* began then */
                uint32_t used, suppressed;
                int priority;
        } kinds[LOG_FLOOD_KINDS];
} log_flood;

/* May a record of this format be written now? Then *ret_suppressed is how many
 * before it were not. */
bool log_flood_allows(log_flood *f, const char *format, int priority, uint64_t now_us, uint32_t *ret_suppressed);

/* A kind that was quiet since its window ended, and of which records are
 * missing: its format, how many and how urgent; each time once. NULL: none. */
const char *log_flood_owed(log_flood *f, uint64_t now_us, int *ret_priority, uint32_t *ret_suppressed);

#endif
