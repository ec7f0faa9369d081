/* The query string: parsed and checked as a whole before anything else of a
 * request is looked at, the same for every path (docs/http-api.md, Query
 * parameters). Keys are case-sensitive, the first of several counts, a flag is
 * set by its presence whatever its value, unknown keys are ignored. */
#ifndef RQ_GATEWAY_PARAMS_H
#define RQ_GATEWAY_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef struct params {
        bool pretty, timings, transaction, associative, blob_array, qualify_columns, raft_index, token;
        bool freshness_strict, noleader, queue, wait, redirect, sync, nonvoters, vacuum, compress;
        bool has_q, has_key, has_freshness, has_timeout, has_linearizable_timeout;
        rq_bytes q, level, key, ver, fmt, tables; /* decoded, inside the parsed text; empty if absent */
        int64_t timeout_ns, freshness_ns, db_timeout_ns, linearizable_timeout_ns;
        int64_t retries, trailing_logs;
        uint64_t min_index, min_epoch;
        bool has_min_epoch;                  /* min_index=EPOCH.INDEX, as token tells it */
} params;

enum { PARAMS_PROBLEM_BYTES = 96 };

/* query: what follows '?', decoded in place; *ret_params points into it.
 * Errors: RQ_EINVAL, and problem is the text of the 400. */
rq_err params_parse(char *query, size_t size, params *ret_params, char problem[static PARAMS_PROBLEM_BYTES]);

#endif
