/* A JSON string, from behind its opening quote to its closing one, decoded as it
 * comes, each byte looked at once. The parser behind would start anew with every
 * piece: a large string in small pieces would cost the square of its size. It
 * would also make '?' of some lone surrogates and join others with any escape
 * that follows; here a surrogate without its partner is U+FFFD, as Go reads it. */
#ifndef RQ_GATEWAY_JSON_QUOTED_H
#define RQ_GATEWAY_JSON_QUOTED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef struct json_quoted {
        rq_bytes direct;         /* the whole string, if it came in one piece and has no escapes */
        rq_buf text;             /* else what was decoded */
        uint8_t escape;          /* 0: none; 1: behind the backslash; 2..5: hex digits to come, less 1 */
        uint16_t unit;           /* hex digits so far */
        uint16_t high;           /* a high surrogate that waits for its partner */
        bool in_text;            /* text is used */
} json_quoted;

typedef enum json_quoted_state { JSON_QUOTED_OPEN, JSON_QUOTED_CLOSED, JSON_QUOTED_BAD } json_quoted_state;

void json_quoted_begin(json_quoted *s);

/* *ret_used: bytes that belong to the string; the closing quote is not one of
 * them. BAD: a control character or no valid escape. Errors: RQ_ENOMEM. */
rq_err json_quoted_feed(json_quoted *s, rq_bytes piece, size_t *ret_used, json_quoted_state *ret_state);

/* After CLOSED; may hold invalid UTF-8. Borrowed: until the piece or the next
 * string. */
rq_bytes json_quoted_value(const json_quoted *s);

void json_quoted_done(json_quoted *s);

#endif
