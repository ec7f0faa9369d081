/* One open-addressing map from a u64 to a pointer: request correlation.
 * Linear probing, deletion by back-shift; grows, never shrinks. */
#ifndef RQ_BASE_TABLE_H
#define RQ_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct rq_table_slot { uint64_t key; void *value; } rq_table_slot;

/* {0} is an empty table. */
typedef struct rq_table {
        rq_table_slot *slots;
        size_t capacity; /* power of two, or 0 */
        size_t count;
} rq_table;

void rq_table_done(rq_table *table);

/* value must not be NULL; an existing key is replaced. Errors: RQ_ENOMEM. */
rq_err rq_table_put(rq_table *table, uint64_t key, void *value);

/* NULL if absent. */
void *rq_table_get(const rq_table *table, uint64_t key);
void *rq_table_remove(rq_table *table, uint64_t key);

/* Walk: start with *cursor = 0; NULL at the end. The table must not change
 * during a walk. */
void *rq_table_next(const rq_table *table, size_t *cursor, uint64_t *ret_key);

#endif
