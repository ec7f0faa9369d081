#include "events.h"

#include <stdlib.h>

#include "base/assert.h"

static bool before(const event *a, const event *b) {
        return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void events_done(events *e) {
        for (size_t i = 0; i < e->count; i++)
                free(e->heap[i].data);
        free(e->heap);
        *e = (events) {0};
}

void events_add(events *e, event new) {
        if (e->count == e->capacity) {
                e->capacity = e->capacity == 0 ? 256 : 2 * e->capacity;
                e->heap = reallocarray(e->heap, e->capacity, sizeof *e->heap);
                rq_assert(e->heap != NULL);
        }
        new.order = e->next_order++;
        size_t at = e->count++;
        for (; at > 0 && before(&new, &e->heap[(at - 1) / 2]); at = (at - 1) / 2)
                e->heap[at] = e->heap[(at - 1) / 2];
        e->heap[at] = new;
}

bool events_next(events *e, event *ret_event) {
        if (e->count == 0)
                return false;
        *ret_event = e->heap[0];
        event last = e->heap[--e->count];
        size_t at = 0;
        for (;;) {
                size_t child = 2 * at + 1;
                if (child >= e->count)
                        break;
                if (child + 1 < e->count && before(&e->heap[child + 1], &e->heap[child]))
                        child++;
                if (!before(&e->heap[child], &last))
                        break;
                e->heap[at] = e->heap[child];
                at = child;
        }
        e->heap[at] = last;
        return true;
}
