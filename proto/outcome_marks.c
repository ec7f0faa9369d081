#include "outcome_marks.h"

#include <string.h>

bool outcome_mark_is_due(uint64_t index, uint64_t clock_us, uint64_t previous_clock_us) {
        return index % OUTCOME_MARK_ENTRIES == 0 || clock_us / OUTCOME_MARK_CLOCK_US != previous_clock_us / OUTCOME_MARK_CLOCK_US;
}

/* The first place whose index is not below. */
static size_t place_of(const outcome_marks *marks, uint64_t index) {
        size_t from = 0, until = marks->count;
        while (from < until) {
                const size_t middle = from + (until - from) / 2;
                if (marks->v[middle].index < index)
                        from = middle + 1;
                else
                        until = middle;
        }
        return from;
}

void outcome_marks_drop_first(outcome_marks *marks, size_t count) {
        if (count > marks->count)
                count = marks->count;
        marks->count -= count;
        memmove(marks->v, marks->v + count, marks->count * sizeof marks->v[0]);
}

void outcome_marks_add(outcome_marks *marks, outcome_mark mark) {
        marks->count = place_of(marks, mark.index);
        if (marks->count == OUTCOME_MARKS_MAX)
                outcome_marks_drop_first(marks, 1);
        marks->v[marks->count++] = mark;
}

bool outcome_marks_find(const outcome_marks *marks, uint64_t index, uint64_t *ret_hash) {
        const size_t place = place_of(marks, index);
        if (place == marks->count || marks->v[place].index != index)
                return false;
        *ret_hash = marks->v[place].hash;
        return true;
}
