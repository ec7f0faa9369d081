/* The framing of a chunked body (RFC 9112, 7.1), to the letter: the parser behind it takes any two bytes
 * for the end of a chunk and a bare line feed in an extension, which a proxy in front may read in
 * another way, and then see other requests than we do. Looks at bytes before the parser gets them. */
#ifndef RQ_GATEWAY_CHUNK_CHECK_H
#define RQ_GATEWAY_CHUNK_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef enum chunk_check_state {
        CHUNK_HEADER_LF,     /* the last byte of the header: the parser leaves it to the body */
        CHUNK_SIZE, CHUNK_SIZE_MORE, CHUNK_EXTENSION, CHUNK_SIZE_LF,
        CHUNK_DATA, CHUNK_DATA_CR, CHUNK_DATA_LF,
        CHUNK_LINE, CHUNK_TRAILER, CHUNK_TRAILER_LF, CHUNK_LAST_LF,
        CHUNK_ENDED, CHUNK_BAD,
} chunk_check_state;

typedef struct chunk_check {
        chunk_check_state state;
        uint64_t left;       /* of the chunk; of its size, while that comes */
} chunk_check; /* all zero: the body begins */

/* How many bytes belong to the body, and are right: all, but for what follows its end and for one
 * that is wrong (state is CHUNK_BAD then, for good). */
size_t chunk_check_take(chunk_check *c, rq_bytes bytes);

#endif
