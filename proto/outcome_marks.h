/* Where nodes compare what their entries came to. Each keeps a running hash over
 * the outcomes of all entries; at some entries, the same on every node, it is
 * noted. Which ones follows from the log alone, so that they are the same whatever
 * the borders of batches, restarts and snapshots (docs/decisions/0014). Pure. */
#ifndef RQ_PROTO_OUTCOME_MARKS_H
#define RQ_PROTO_OUTCOME_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        OUTCOME_MARK_ENTRIES  = 1024,            /* each multiple of it is marked, */
        OUTCOME_MARK_CLOCK_US = 5 * 1000 * 1000, /* and the first entry of each such span of the entry clock */
        OUTCOME_MARKS_MAX     = 256,
};

typedef struct outcome_mark {
        uint64_t index;
        uint64_t hash; /* running, this entry included */
} outcome_mark;

/* The newest ones, by rising index. {0} is empty. */
typedef struct outcome_marks {
        size_t count;
        outcome_mark v[OUTCOME_MARKS_MAX];
} outcome_marks;

/* previous_clock_us: entry clock of the entry before; 0: there is none. */
bool outcome_mark_is_due(uint64_t index, uint64_t clock_us, uint64_t previous_clock_us);

/* What was known from mark.index on is forgotten: the node has gone back. When
 * full, the oldest makes room. */
void outcome_marks_add(outcome_marks *marks, outcome_mark mark);
bool outcome_marks_find(const outcome_marks *marks, uint64_t index, uint64_t *ret_hash);
void outcome_marks_drop_first(outcome_marks *marks, size_t count);

#endif
