#include "io/http_encoding.h"

#include <strings.h>

#include "base/cleanup.h"

enum { SLICE_BYTES = 64 * 1024, SCRATCH_KEPT_BYTES = 256 * 1024 };

/* --- bodies ----------------------------------------------------------------- */

static unsigned hold_rest(http_conn *conn, rq_bytes rest) {
        rq_buf kept = {0};
        if (rq_buf_append_bytes(&kept, rest) < 0) /* rest may be a part of what is kept already */
                return 503;
        rq_buf_done(&conn->deflated);
        conn->deflated = kept;
        if (!conn->inflating) {
                if (conn->next_turn.event == NULL && rq_timer_init(&conn->next_turn, conn->server->loop, conn_go_on_inflating, conn) < 0)
                        return 503;
                conn->inflating = true;
                http_conn_hold(conn);
                transport_want_read(&conn->transport, false);
        }
        conn->more_to_inflate = true;
        rq_timer_set(&conn->next_turn, 0); /* a timer, so that the loop looks at all sockets first */
        return 0;
}

static unsigned inflate_some(http_conn *conn, rq_bytes piece) {
        http_server *server = conn->server;
        size_t budget = HTTP_INFLATE_BYTES;
        for (;;) {
                server->scratch.size = 0;
                rq_err r = gzip_run(conn->inflater, &piece, false, &server->scratch, SLICE_BYTES, &conn->inflated_whole);
                if (r < 0)
                        return r == RQ_ECORRUPT ? 400 : 503;
                size_t size = server->scratch.size;
                if (conn->answer != ANSWER_NONE || conn->state != CONN_BODY)
                        return 0; /* it was answered meanwhile */
                if (size > 0)
                        server->handlers.on_body(server->handlers.arg, conn, rq_buf_bytes(&server->scratch));
                if (conn->answer != ANSWER_NONE || conn->state != CONN_BODY)
                        return 0;
                /* Less than there was room for: it waits for more of its input. */
                if (size < SLICE_BYTES)
                        return piece.size == 0 ? 0 : 400;
                if (budget <= size)
                        return hold_rest(conn, piece);
                budget -= size;
        }
}

unsigned encoding_take(http_conn *conn, rq_bytes piece) {
        if (conn->inflater == NULL && gzip_new(GZIP_INFLATE, &conn->inflater) < 0)
                return 503;
        return inflate_some(conn, piece);
}

unsigned encoding_go_on(http_conn *conn) {
        rq_buf rest = RQ_TAKE(conn->deflated, (rq_buf) {0});
        conn->more_to_inflate = false;
        unsigned status = inflate_some(conn, rest.size > 0 ? rq_buf_bytes(&rest) : rq_bytes_of("", 0));
        rq_buf_done(&rest);
        if (!conn->more_to_inflate) {
                conn->inflating = false;
                http_conn_release(conn);
        }
        return status;
}

unsigned encoding_end(http_conn *conn) {
        bool whole = conn->inflated_whole;
        encoding_done(conn);
        return whole ? 0 : 400;
}

/* --- answers ---------------------------------------------------------------- */

static bool is_text(const char *type) { return type != NULL && (strncasecmp(type, "text/", 5) == 0 || strncasecmp(type, "application/json", 16) == 0); }

bool encoding_wanted(const http_conn *conn, const http_head *head, size_t size) {
        return conn->gzip_wanted && head->status == 200 && size >= HTTP_GZIP_BYTES_MIN && !conn->no_body && is_text(head->content_type);
}

bool encoding_begin(http_conn *conn) {
        if (conn->server->deflater_count == HTTP_DEFLATERS_MAX || gzip_new(GZIP_DEFLATE, &conn->deflater) < 0)
                return false;
        conn->server->deflater_count++;
        return true;
}

rq_err encoding_put(http_conn *conn, rq_bytes first, rq_bytes second, bool last, rq_bytes *ret_piece) {
        rq_buf *out = &conn->server->scratch;
        bool done = false;
        out->size = 0;
        if (second.size == 0) /* it may have no place at all */
                second = rq_bytes_of("", 0);
        rq_err r = first.size > 0 ? gzip_run(conn->deflater, &first, false, out, SIZE_MAX, &done) : RQ_OK;
        if (r >= 0)
                r = gzip_run(conn->deflater, &second, last, out, SIZE_MAX, &done);
        *ret_piece = rq_buf_bytes(out);
        return r;
}

void encoding_done(http_conn *conn) {
        conn->inflater = gzip_free(conn->inflater);
        conn->inflated_whole = conn->inflating = conn->more_to_inflate = false;
        rq_timer_done(&conn->next_turn);
        rq_buf_done(&conn->deflated);
        if (conn->deflater != NULL) {
                if (conn->server->scratch.capacity > SCRATCH_KEPT_BYTES)
                        rq_buf_done(&conn->server->scratch);
                conn->deflater = gzip_free(conn->deflater);
                conn->server->deflater_count--;
        }
}
