#include "raft/raft_trail.h"

#include <assert.h>
#include <string.h>

void raft_trail_init(raft_trail *t, raft_index base_index, raft_term base_term,
                     uint64_t *tail_memory, uint32_t tail_capacity) {
        assert((tail_capacity & (tail_capacity - 1)) == 0 && tail_capacity > 0);
        *t = (raft_trail) {
                .base_index = base_index, .base_term = base_term, .last = base_index,
                .bytes_up_to = tail_memory, .tail_capacity = tail_capacity, .lump_last = base_index,
        };
}

raft_run *raft_trail_give_runs(raft_trail *t, raft_run *memory, uint32_t capacity) {
        raft_run *before = t->runs;
        assert(capacity >= t->run_count);
        if (t->run_count > 0)
                memcpy(memory, before, t->run_count * sizeof *before);
        t->runs = memory;
        t->run_capacity = capacity;
        return before;
}

/* Whether an entry of this term can be recorded behind the last one. */
static rq_err check_term(const raft_trail *t, raft_term term) {
        raft_term last_term = raft_trail_last_term(t);
        if (term == 0 || term < last_term)
                return RQ_EINVAL;
        bool new_run = t->run_count == 0 || term > t->runs[t->run_count - 1].term;
        return new_run && t->run_count == t->run_capacity ? RQ_EFULL : RQ_OK;
}

static void record(raft_trail *t, raft_term term, raft_index last) {
        if (t->run_count == 0 || term > t->runs[t->run_count - 1].term)
                t->runs[t->run_count++] = (raft_run) { .first = t->last + 1, .term = term };
        t->last = last;
}

rq_err raft_trail_restore(raft_trail *t, raft_term term, raft_index last, uint64_t bytes) {
        assert(t->lump_last == t->last); /* before anything is appended */
        if (last <= t->last)
                return RQ_EINVAL;
        rq_err r = check_term(t, term);
        if (r < 0)
                return r;
        record(t, term, last);
        t->lump_last = last;
        t->lump_bytes += bytes;
        t->bytes = t->lump_bytes;
        return RQ_OK;
}

bool raft_trail_has_room(const raft_trail *t, raft_index committed, uint64_t count, uint32_t runs) {
        raft_index accounted = committed > t->lump_last ? committed : t->lump_last;
        /* The place of `accounted` itself must stay: it is subtracted from. */
        return t->last + count < t->tail_capacity + accounted && t->run_capacity - t->run_count >= runs;
}

rq_err raft_trail_append(raft_trail *t, raft_term term, uint32_t bytes, raft_index committed) {
        assert(committed <= t->last);
        if (!raft_trail_has_room(t, committed, 1, 0))
                return RQ_EFULL;
        rq_err r = check_term(t, term);
        assert(r != RQ_EINVAL);
        if (r < 0)
                return r;
        record(t, term, t->last + 1);
        t->bytes += bytes;
        t->bytes_up_to[t->last & (t->tail_capacity - 1)] = t->bytes;
        return RQ_OK;
}

void raft_trail_compact(raft_trail *t, raft_index index) {
        raft_term term = raft_trail_term_at(t, index);
        assert(index >= t->base_index && index <= t->last);

        uint32_t gone = 0;
        while (gone + 1 < t->run_count && t->runs[gone + 1].first <= index + 1)
                gone++;
        if (index == t->last)
                gone = t->run_count; /* nothing is left, not even of the last run */
        memmove(t->runs, t->runs + gone, (t->run_count - gone) * sizeof *t->runs);
        t->run_count -= gone;
        if (t->run_count > 0 && t->runs[0].first <= index)
                t->runs[0].first = index + 1;
        t->base_index = index;
        t->base_term = term;
}

void raft_trail_truncate(raft_trail *t, raft_index last) {
        assert(last >= t->base_index && last <= t->last);
        while (t->run_count > 0 && t->runs[t->run_count - 1].first > last)
                t->run_count--;
        t->last = last;
        if (last > t->lump_last) {
                t->bytes = t->bytes_up_to[last & (t->tail_capacity - 1)];
        } else {
                t->lump_last = last;
                t->bytes = t->lump_bytes;
        }
}

void raft_trail_reset(raft_trail *t, raft_index base_index, raft_term base_term) {
        t->base_index = t->last = t->lump_last = base_index;
        t->base_term = base_term;
        t->run_count = 0;
        t->lump_bytes = t->bytes = 0;
}

raft_index raft_trail_fit(const raft_trail *t, raft_index index, raft_term term) {
        if (index < t->base_index)
                return index;
        raft_index at = index < t->last ? index : t->last;
        for (uint32_t i = t->run_count; i-- > 0; ) {
                if (at < t->runs[i].first)
                        continue;
                if (t->runs[i].term <= term)
                        return at;
                at = t->runs[i].first - 1;
        }
        return t->base_term <= term || t->base_index == 0 ? t->base_index : t->base_index - 1;
}

raft_term raft_trail_term_at(const raft_trail *t, raft_index index) {
        if (index == t->base_index)
                return t->base_term;
        if (index < t->base_index || index > t->last)
                return 0;

        uint32_t low = 0, high = t->run_count; /* runs[low].first <= index < runs[high].first */
        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;
                if (t->runs[middle].first <= index)
                        low = middle;
                else
                        high = middle;
        }
        return t->runs[low].term;
}

raft_term raft_trail_last_term(const raft_trail *t) {
        return t->run_count > 0 ? t->runs[t->run_count - 1].term : t->base_term;
}

uint64_t raft_trail_bytes_behind(const raft_trail *t, raft_index committed) {
        if (committed >= t->last)
                return 0;
        if (committed < t->lump_last)
                return t->bytes;
        return t->bytes - (committed == t->lump_last ? t->lump_bytes
                                                     : t->bytes_up_to[committed & (t->tail_capacity - 1)]);
}
