/* Small pieces of JSON going out. Rows are written by the store; this is for
 * what the gateway itself says. */
#ifndef RQ_GATEWAY_JSON_TEXT_H
#define RQ_GATEWAY_JSON_TEXT_H

#include <stdint.h>

#include "base/bytes.h"

/* A string with quotes, escaped as Go's encoder does (also < > & U+2028/9;
 * invalid UTF-8 becomes \ufffd). Errors: RQ_ENOMEM. */
rq_err json_put_string(rq_buf *out, rq_bytes text);

enum { JSON_SECONDS_BYTES = 32 };

/* Nanoseconds as seconds in a JSON number: 0.00103786, 9.11e-7, 1.5. Returns
 * the length. */
size_t json_seconds(uint64_t ns, char text[static JSON_SECONDS_BYTES]);

#endif
