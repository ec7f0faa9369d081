/* Private to io/http_*.c: bodies that come, and answers that leave, as gzip. */
#ifndef RQ_GATEWAY_HTTP_ENCODING_H
#define RQ_GATEWAY_HTTP_ENCODING_H

#include "io/http_state.h"

/* A piece of a body that is gzip: what is in it goes to the handlers, at most HTTP_INFLATE_BYTES in a turn
 * of the loop; what is left then is kept, the connection is held, and goes on in the next turn. Returns the status of
 * a refusal; 0: none. */
unsigned encoding_take(http_conn *conn, rq_bytes piece);
/* The rest of it, if it is held for that. */
unsigned encoding_go_on(http_conn *conn);
/* The body is complete. Returns the status of a refusal; 0: so is the gzip. */
unsigned encoding_end(http_conn *conn);

/* Is an answer with this head, of at least size bytes, to be compressed? */
bool encoding_wanted(const http_conn *conn, const http_head *head, size_t size);
/* Begins to compress. false: not now, send it as it is. */
bool encoding_begin(http_conn *conn);
/* Both parts, compressed as far as it goes; last: nothing follows. What comes of it is valid until the next call for
 * any connection. Errors: RQ_ENOMEM. */
rq_err encoding_put(http_conn *conn, rq_bytes first, rq_bytes second, bool last, rq_bytes *ret_piece);
void encoding_done(http_conn *conn);

#endif
