/* Content-Encoding and Accept-Encoding (RFC 9110, 8.4 and 12.5.3), as far as gzip goes. */
#ifndef RQ_GATEWAY_ENCODING_H
#define RQ_GATEWAY_ENCODING_H

#include <stdbool.h>

#include "base/bytes.h"

typedef enum body_encoding { BODY_AS_IT_IS, BODY_GZIP, BODY_UNKNOWN } body_encoding;

/* Value of Content-Encoding; empty: there is none. */
body_encoding body_encoding_of(rq_bytes value);

/* Value of Accept-Encoding: does it name gzip, or "*", and not with a weight of 0? */
bool accepts_gzip(rq_bytes value);

#endif
