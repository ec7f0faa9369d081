/* gzip (RFC 1952), piece by piece, either way. Knows nothing of HTTP. One that
 * inflates takes what several gzip files behind each other hold, as gunzip does. */
#ifndef RQ_GATEWAY_GZIP_H
#define RQ_GATEWAY_GZIP_H

#include <stdbool.h>

#include "base/bytes.h"

typedef struct gzip gzip;

typedef enum gzip_way { GZIP_DEFLATE, GZIP_INFLATE } gzip_way;

rq_err gzip_new(gzip_way way, gzip **ret_gzip); /* Errors: RQ_ENOMEM */
gzip *gzip_free(gzip *g);                       /* accepts NULL, returns NULL */

/* Takes from *in what fits: its output is appended to out until that has out_max
 * bytes; *in is what is left. last (deflating): nothing follows in; call until
 * *ret_done. *ret_done: all output is out (inflating: and *in ends behind a
 * whole file). Errors: RQ_ENOMEM; RQ_ECORRUPT: no gzip, or damaged. */
rq_err gzip_run(gzip *g, rq_bytes *in, bool last, rq_buf *out, size_t out_max, bool *ret_done);

#endif
