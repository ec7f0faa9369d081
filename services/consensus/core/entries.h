/* Records in memory: what is being appended, and the recent past for the live
 * stream and the members. A body is copied once, to where it stays: the log
 * writer, the stream and the links read it there. Bounded, but never less than
 * what isn't durable yet.
 *
 * Entries that are replaced may still be in the writer's hands. So memory is never
 * written twice, and what a replaced entry lay in stays until the writer has
 * confirmed something that was handed over later. Later is told by the term under
 * which the log was last accepted (raft_persisted.accepted_term): it only rises,
 * under one term entries are never replaced, and the writer keeps the order; so a
 * persist of the replacing term covers every hand-over of what it replaced. */
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
rq_bytes entries_staged_body(const entries *e, uint32_t place); /* 0: the oldest. Borrowed until entries_trim() */

/* The oldest staged one becomes the entry after the last; fills in and writes
 * its header, whose index must be that. */
void entries_accept(entries *e, record_header *header);

/* Forgets what is still staged. */
void entries_unstage(entries *e);

/* Room for so many entries of so many bytes in all, headers counted: the next
 * entries_append() and entries_take() can't fail. count 0: for entries_append(),
 * which has a few places of its own. Errors: RQ_ENOMEM, RQ_EFULL. */
rq_err entries_reserve(entries *e, uint32_t count, size_t bytes);

/* A whole entry behind the last one and before what is staged. Room must have
 * been reserved. */
void entries_append(entries *e, record_header *header, rq_bytes body);

/* Encoded and checked records of the entries from index on, which is the next
 * one. Nothing may be staged. Room must have been reserved. */
void entries_take(entries *e, uint64_t index, rq_bytes records);

/* Entries from index on are replaced, by a log accepted under this term; pieces of
 * them stay readable until entries_confirmed(). Nothing may be staged. */
void entries_truncate(entries *e, uint64_t index, uint64_t accepted_term);

/* The writer is done with everything it was given before the log was last
 * accepted under this term. */
void entries_confirmed(entries *e, uint64_t accepted_term);

/* Lets go of old entries, up to durable_index, above the limits. */
void entries_trim(entries *e, uint64_t durable_index);

uint64_t entries_first(const entries *e); /* the first one held; last + 1 if none */
uint64_t entries_last(const entries *e);
uint64_t entries_bytes(const entries *e);         /* of records held or staged */
uint64_t entries_replaced_bytes(const entries *e); /* of memory that waits for entries_confirmed() */

/* The longest piece of records that lie behind each other, from first_index (held)
 * on, up to last_index and, but for the first, to bytes_max. Borrowed until
 * entries_trim(), or longer as said above. */
rq_bytes entries_piece(const entries *e, uint64_t first_index, uint64_t last_index, size_t bytes_max,
                       uint64_t *ret_last_index);

#endif
