/* Where the database stands in the log, and what it was made with: what *state*,
 * intents and the runtime record say, and what travels with a snapshot. */
#ifndef RQ_STORE_STATE_H
#define RQ_STORE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

typedef struct store_state {
        uint64_t index;         /* last applied entry; 0: none */
        uint64_t term;          /* its term */
        uint64_t clock_us;      /* its entry clock */
        uint64_t outcome_hash;  /* running hash over every entry's outcome */
        uint32_t feature_level; /* replicated */
        rq_uuid database_id;    /* zero: fresh, taken from the first record */
        uint64_t epoch;         /* kept for hazard 33; 0 now */
} store_state;

/* Outcomes depend on these: chosen when the folder is created, the same ever
 * after and on all nodes. */
typedef struct store_settings {
        bool foreign_keys; /* -fk */
} store_settings;

#endif
