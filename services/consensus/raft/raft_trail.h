/* Where the log stands, which term each index has, and how many bytes its
 * uncommitted tail has. Keeps runs of terms, never payloads: memory grows with
 * elections and with the (limited) tail, not with writes. Knows no disk.
 *
 * Memory comes from the caller and is never allocated here. */
#ifndef RQ_CONSENSUS_RAFT_TRAIL_H
#define RQ_CONSENSUS_RAFT_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/raft_types.h"

/* Entries from first on (up to the next run) have this term. */
typedef struct raft_run {
        raft_index first;
        raft_term term;
} raft_run;

typedef struct raft_trail {
        raft_index base_index; /* the entry before the first one held */
        raft_term base_term;
        raft_index last;
        raft_run *runs;        /* ascending in both fields */
        uint32_t run_count, run_capacity;

        /* Bytes from the start of the tail up to and including an entry, for
         * the entries behind lump_last; those up to it, recovered at the start,
         * count as one lump that is given back when all of it is committed. */
        uint64_t *bytes_up_to; /* ring by index */
        uint32_t tail_capacity; /* power of two */
        raft_index lump_last;
        uint64_t lump_bytes;
        uint64_t bytes;        /* up to last */
} raft_trail;

/* An empty log behind base_index. tail_capacity: power of two. */
void raft_trail_init(raft_trail *t, raft_index base_index, raft_term base_term,
                     uint64_t *tail_memory, uint32_t tail_capacity);

/* More room for runs; what is held is copied. capacity must not be less than
 * run_count. Returns the memory used before, for its owner to free. */
raft_run *raft_trail_give_runs(raft_trail *t, raft_run *memory, uint32_t capacity);

/* Recovered entries up to and including last, all of one term, continuing the
 * log; bytes: of those among them that aren't known to be committed.
 * Errors: RQ_EFULL (no room for a run), RQ_EINVAL (term falls, or no entry). */
rq_err raft_trail_restore(raft_trail *t, raft_term term, raft_index last, uint64_t bytes);

/* One entry at last + 1. committed: what needn't be accounted any more.
 * Errors: RQ_EFULL (tail or runs; nothing changed). term must not fall. */
rq_err raft_trail_append(raft_trail *t, raft_term term, uint32_t bytes, raft_index committed);

/* Forget entries up to and including index, which must be in the log. */
void raft_trail_compact(raft_trail *t, raft_index index);

/* Forget entries behind last, which must be in the log and not below what was
 * given as committed. Of a lump that is cut, all bytes stay accounted until it is
 * committed: which entries they belong to isn't known. */
void raft_trail_truncate(raft_trail *t, raft_index last);

/* Forget everything: the log begins anew behind this entry. */
void raft_trail_reset(raft_trail *t, raft_index base_index, raft_term base_term);

/* Whether so many entries with so many new runs can be appended. */
bool raft_trail_has_room(const raft_trail *t, raft_index committed, uint64_t count, uint32_t runs);

/* The highest index, at most `index`, whose term is at most `term`: above it a log
 * that has `term` at `index` can't be equal to this one. One below the base if that
 * lies before what is known. */
raft_index raft_trail_fit(const raft_trail *t, raft_index index, raft_term term);

/* 0 if the log doesn't know it: below the base or behind the last. */
raft_term raft_trail_term_at(const raft_trail *t, raft_index index);
raft_term raft_trail_last_term(const raft_trail *t);

/* Bytes of the entries behind committed. */
uint64_t raft_trail_bytes_behind(const raft_trail *t, raft_index committed);

#endif
