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

rq_err raft_trail_append(raft_trail *t, raft_term term, uint32_t bytes, raft_index committed) {
        raft_index accounted = committed > t->lump_last ? committed : t->lump_last;
        assert(accounted <= t->last);
        /* The place of `accounted` itself must stay: it is subtracted from. */
        if (t->last + 1 - accounted >= t->tail_capacity)
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
