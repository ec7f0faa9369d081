#include "io/gzip.h"

#include <stdlib.h>
#include <zlib.h>

enum {
        WINDOW_BITS   = 15 + 16, /* with the header and trailer of gzip */
        MEMORY_LEVEL  = 8,
        LEVEL         = 1,       /* a backup leaves about as fast as it is read */
        OUTPUT_BYTES  = 16 * 1024, /* reserved at a time */
        INPUT_BYTES_MAX = 1 << 30,
};

struct gzip {
        gzip_way way;
        bool ended; /* a whole file was inflated; another one may follow */
        z_stream z;
};

rq_err gzip_new(gzip_way way, gzip **ret_gzip) {
        gzip *g = calloc(1, sizeof *g);
        if (g == NULL)
                return RQ_ENOMEM;
        g->way = way;
        int code = way == GZIP_DEFLATE ? deflateInit2(&g->z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY)
                                       : inflateInit2(&g->z, WINDOW_BITS);
        if (code != Z_OK) {
                free(g);
                return RQ_ENOMEM;
        }
        *ret_gzip = g;
        return RQ_OK;
}

gzip *gzip_free(gzip *g) {
        if (g == NULL)
                return NULL;
        if (g->way == GZIP_DEFLATE)
                (void) deflateEnd(&g->z);
        else
                (void) inflateEnd(&g->z);
        free(g);
        return NULL;
}

/* One call of zlib. *ret_stuck: it can do no more with what it has. */
static rq_err step(gzip *g, bool last, bool *ret_stuck) {
        uInt in = g->z.avail_in, out = g->z.avail_out;
        if (g->way == GZIP_INFLATE && g->ended) {
                if (in == 0) {
                        *ret_stuck = true;
                        return RQ_OK;
                }
                if (inflateReset(&g->z) != Z_OK)
                        return RQ_ECORRUPT;
                g->ended = false;
        }
        int code = g->way == GZIP_DEFLATE ? deflate(&g->z, last ? Z_FINISH : Z_NO_FLUSH) : inflate(&g->z, Z_NO_FLUSH);
        *ret_stuck = g->z.avail_in == in && g->z.avail_out == out;
        switch (code) {
        case Z_STREAM_END:
                g->ended = true;
                *ret_stuck = g->way == GZIP_DEFLATE;
                return RQ_OK;
        case Z_OK:
        case Z_BUF_ERROR: /* nothing to do it with */
                return RQ_OK;
        case Z_MEM_ERROR:
                return RQ_ENOMEM;
        default:
                return RQ_ECORRUPT;
        }
}

rq_err gzip_run(gzip *g, rq_bytes *in, bool last, rq_buf *out, size_t out_max, bool *ret_done) {
        bool stuck = false;
        while (!stuck && out->size < out_max) {
                size_t room = out_max - out->size < OUTPUT_BYTES ? out_max - out->size : OUTPUT_BYTES;
                rq_err r = rq_buf_reserve(out, room);
                if (r < 0)
                        return r;
                g->z.next_in = (Bytef *) (uintptr_t) in->data;
                g->z.avail_in = in->size < INPUT_BYTES_MAX ? (uInt) in->size : INPUT_BYTES_MAX;
                g->z.next_out = out->data + out->size;
                g->z.avail_out = (uInt) room;
                size_t given = g->z.avail_in;
                r = step(g, last, &stuck);
                if (r < 0)
                        return r;
                size_t used = given - g->z.avail_in;
                *in = rq_bytes_of(in->data + used, in->size - used);
                out->size += room - g->z.avail_out;
        }
        *ret_done = in->size == 0 && g->ended;
        return RQ_OK;
}
