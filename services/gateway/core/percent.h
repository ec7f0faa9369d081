/* Percent-decoding in place: paths and query strings (RFC 3986 2.1). */
#ifndef RQ_GATEWAY_PERCENT_H
#define RQ_GATEWAY_PERCENT_H

#include <stdbool.h>
#include <stddef.h>

/* plus_is_blank: form encoding, as in query strings. On false nothing was
 * changed and *ret_bad (may be NULL) is where the bad escape begins. */
bool percent_decode(char *text, size_t *size, bool plus_is_blank, size_t *ret_bad);

#endif
