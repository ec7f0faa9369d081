/* In front of the JSON parser: an escape of a surrogate without its partner
 * (\ud800 alone, \udc00 alone) becomes \ufffd, as Go reads it. The parser
 * behind would make '?' of some and join others with any escape that follows.
 * Holds back at most 11 bytes between two pieces. */
#ifndef RQ_GATEWAY_JSON_FILTER_H
#define RQ_GATEWAY_JSON_FILTER_H

#include <stdbool.h>

#include "base/bytes.h"

typedef struct json_filter {
        bool (*emit)(void *arg, rq_bytes piece); /* false: enough, stop */
        void *arg;
        uint8_t held[16]; /* an escape that has begun */
        size_t held_size;
} json_filter;

void json_filter_init(json_filter *filter, bool (*emit)(void *arg, rq_bytes piece), void *arg);
bool json_filter_feed(json_filter *filter, rq_bytes piece); /* false: emit said so */
bool json_filter_end(json_filter *filter);                  /* what is still held */

#endif
