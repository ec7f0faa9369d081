/* Strings as JSON text: Go's escaping with HTML escaping, and base64. Knows
 * nothing of documents. */
#ifndef RQ_STORE_JSON_TEXT_H
#define RQ_STORE_JSON_TEXT_H

#include "base/bytes.h"

/* Appends text in quotes. < > & and U+2028, U+2029 are escaped as \u00XX, \u20XX,
 * every byte that is no part of valid UTF-8 becomes \ufffd. Any bytes are
 * allowed, NUL too. Errors: RQ_ENOMEM (size unchanged). */
rq_err json_text_append(rq_buf *buf, rq_bytes text);

/* What json_text_append() takes of a buffer, about: a little less only where
 * bytes are no UTF-8. */
size_t json_text_room(rq_bytes text);

/* Appends bytes as padded standard base64 in quotes. Errors: RQ_ENOMEM (size unchanged). */
rq_err json_base64_append(rq_buf *buf, rq_bytes bytes);

#endif
