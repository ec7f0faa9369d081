/* The Authorization header: "Basic" and base64 of "user:password" (RFC 7617).
 * Anything else, also another scheme, is nobody in particular. */
#ifndef RQ_GATEWAY_BASIC_AUTH_H
#define RQ_GATEWAY_BASIC_AUTH_H

#include <stdbool.h>

#include "base/bytes.h"

enum { BASIC_AUTH_BYTES_MAX = 768 }; /* of decoded text: two of 255 bytes and some; more is of nobody */

typedef struct basic_auth {
        rq_bytes user, password; /* inside text */
        uint8_t text[BASIC_AUTH_BYTES_MAX];
} basic_auth;

/* false: no credentials, or none that can be understood. Wipe *ret_auth after use. */
bool basic_auth_parse(rq_bytes header, basic_auth *ret_auth);

#endif
