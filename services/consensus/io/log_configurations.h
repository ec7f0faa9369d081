/* The configuration entries of a log, as bytes with their indexes: the latest one
 * counts, also when it isn't committed, and an older one counts again when it is
 * replaced. Each segment's header carries the one that holds at its beginning, so
 * that it survives compaction. Doesn't know what a configuration says. */
#ifndef RQ_CONSENSUS_IO_LOG_CONFIGURATIONS_H
#define RQ_CONSENSUS_IO_LOG_CONFIGURATIONS_H

#include "base/bytes.h"
#include "base/err.h"

typedef struct log_configuration {
        uint64_t index;   /* of its entry; 0: there is none */
        rq_bytes body;
} log_configuration;

typedef struct log_configurations {
        log_configuration *v; /* ascending; bodies are its own */
        size_t count, capacity;
} log_configurations;

void log_configurations_done(log_configurations *c);

/* Copies. What stands there from index on goes. Errors: RQ_ENOMEM (nothing added). */
rq_err log_configurations_add(log_configurations *c, uint64_t index, rq_bytes body);

/* All configuration entries among records (encoded, checked). Errors: RQ_ENOMEM. */
rq_err log_configurations_add_records(log_configurations *c, rq_bytes records);
rq_err log_configurations_copy(const log_configurations *from, log_configurations *ret_copy);

/* Entries from index on are replaced. */
void log_configurations_cut(log_configurations *c, uint64_t index);

/* The log begins behind index: the one that holds there stays. */
void log_configurations_compact(log_configurations *c, uint64_t index);

/* The one that holds at index. Borrowed until the next change. */
log_configuration log_configurations_at(const log_configurations *c, uint64_t index);

#endif
