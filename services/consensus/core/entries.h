/* Records in memory: what is being appended, and the recent past for the live
 * stream. A body is copied once, to where it stays: the log writer and the
 * stream read it there. Bounded, but never less than what isn't durable yet. */
#ifndef RQ_CONSENSUS_CORE_ENTRIES_H
#define RQ_CONSENSUS_CORE_ENTRIES_H

#include "base/bytes.h"
#include "record.h"

enum {
        ENTRIES_COUNT_MAX = 1 << 16,          /* held at a time */
        ENTRIES_BYTES     = 8 * 1024 * 1024, /* kept when durable */
};

typedef struct entries entries;

entries *entries_new(uint64_t last_index); /* the log's end; NULL: out of memory */
entries *entries_free(entries *e);

/* Copies a body behind the staged ones. Errors: RQ_ENOMEM, RQ_EFULL. */
rq_err entries_stage(entries *e, rq_bytes body);
uint32_t entries_staged(const entries *e);
const uint32_t *entries_staged_bytes(const entries *e); /* of each, with its header */

/* The oldest staged one becomes the entry after the last; fills in and writes
 * its header, whose index must be that. */
void entries_accept(entries *e, record_header *header);

/* Forgets what is still staged. */
void entries_unstage(entries *e);

/* Entries from index on are replaced. They must not be with the writer. */
void entries_truncate(entries *e, uint64_t index);

/* Lets go of old entries, up to durable_index, above the limits. */
void entries_trim(entries *e, uint64_t durable_index);

uint64_t entries_first(const entries *e); /* the first one held; last + 1 if none */
uint64_t entries_last(const entries *e);
uint64_t entries_bytes(const entries *e);

/* The longest piece of records that lie behind each other, from first_index (held)
 * on, up to last_index and, but for the first, to bytes_max. Borrowed until
 * entries_trim(). */
rq_bytes entries_piece(const entries *e, uint64_t first_index, uint64_t last_index, size_t bytes_max,
                       uint64_t *ret_last_index);

#endif
