/* UTF-8 as Go reads it: every byte that is no part of a valid sequence counts
 * as U+FFFD. */
#ifndef RQ_GATEWAY_UTF8_H
#define RQ_GATEWAY_UTF8_H

#include <stdbool.h>

#include "base/bytes.h"

#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

/* Length of the valid sequence at p, which has n > 0 bytes; 0: none. */
size_t utf8_sequence(const uint8_t *p, size_t n);

/* How many bytes at the start are valid. */
size_t utf8_valid_prefix(rq_bytes text);

/* Appends text, bytes that are not valid replaced. Errors: RQ_ENOMEM. */
rq_err utf8_append_clean(rq_buf *out, rq_bytes text);

#endif
