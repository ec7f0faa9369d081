#include "core/membership_history.h"

#include <stdlib.h>

#include "base/assert.h"

void membership_history_done(membership_history *h) {
        for (size_t i = 0; i < h->count; i++)
                free(h->v[i].value);
        free(h->v);
        *h = (membership_history) {0};
}

rq_err membership_history_reserve(membership_history *h, size_t more) {
        if (h->capacity - h->count >= more)
                return RQ_OK;
        size_t capacity = h->count + more + 4;
        membership_entry *v = reallocarray(h->v, capacity, sizeof *v);
        if (v == NULL)
                return RQ_ENOMEM;
        h->v = v;
        h->capacity = capacity;
        return RQ_OK;
}

void membership_history_add(membership_history *h, raft_index index, membership *take_value) {
        rq_assert(h->count < h->capacity && (h->count == 0 || h->v[h->count - 1].index < index));
        h->v[h->count++] = (membership_entry) { .index = index, .value = take_value };
}

void membership_history_truncate(membership_history *h, raft_index index) {
        while (h->count > 0 && h->v[h->count - 1].index >= index)
                free(h->v[--h->count].value);
}

void membership_history_commit(membership_history *h, raft_index index) {
        size_t gone = 0;
        while (gone + 1 < h->count && h->v[gone + 1].index <= index)
                free(h->v[gone++].value);
        if (gone == 0)
                return;
        h->count -= gone;
        memmove(h->v, h->v + gone, h->count * sizeof *h->v);
}

const membership *membership_history_latest(const membership_history *h, raft_index *ret_index) {
        if (h->count == 0)
                return NULL;
        if (ret_index != NULL)
                *ret_index = h->v[h->count - 1].index;
        return h->v[h->count - 1].value;
}

const membership *membership_history_at(const membership_history *h, raft_index index, raft_index *ret_index) {
        size_t place = h->count;
        while (place > 0 && h->v[place - 1].index > index)
                place--;
        *ret_index = place > 0 ? h->v[place - 1].index : h->count > 0 ? h->v[0].index : 0;
        return place > 0 ? h->v[place - 1].value : NULL;
}
