/* Where the database stands in the log: what *state*, intents and the runtime
 * record say, and what travels with a snapshot. */
#ifndef RQ_STORE_STATE_H
#define RQ_STORE_STATE_H

#include <stdint.h>

#include "base/rng.h"

typedef struct store_state {
        uint64_t index;         /* last applied entry; 0: none */
        uint64_t term;          /* its term */
        uint64_t clock_us;      /* its entry clock */
        uint64_t outcome_hash;  /* running hash over every entry's outcome */
        uint32_t feature_level; /* replicated */
        rq_uuid database_id;    /* zero: fresh, taken from the first record */
} store_state;

#endif
