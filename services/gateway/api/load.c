/* POST /db/load and /boot: a body of any size goes to the log in pieces, one on its way at a
 * time, while the next one is gathered; then the client waits. So a load holds
 * two pieces of memory, whatever its size. What it is, its first bytes tell: a
 * SQLite file replaces the database, anything else is SQL; either may be gzip. */
#include <stdio.h>

#include "api/api.h"
#include "backend.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/gzip.h"
#include "io/json_text.h"
#include "io/message.h"

enum {
        LOADS_MAX        = 8,
        KIND_BYTES       = 13,              /* "SQLite format" */
        BOOT_BYTES_MIN   = 32,
        PIECE_PATIENCE_US = 60 * 1000 * 1000,
};
#define LAST_PATIENCE_US (UINT64_C(3600) * 1000 * 1000) /* verified, or run, and made the database, on this node */

/* What the store answers to a piece begins with one of these: proto/README.md. */
enum { ANSWER_JSON = 'J', ANSWER_REFUSED = 'R', ANSWER_BAD = 'B' };

typedef enum load_kind { LOAD_UNDECIDED, LOAD_DATABASE, LOAD_TEXT } load_kind;

struct load {
        gateway *gw;
        exchange *client;     /* NULL: gone, or answered */
        exchange *sent;       /* of the piece on its way; NULL: none */
        load_kind kind;
        bool is_boot;
        bool is_decided, is_packed; /* the body is gzip */
        bool unpacked;        /* up to the end of a gzip file */
        bool complete;        /* the body is here */
        bool last_sent, aborting;
        gzip *gzip;
        rq_buf packed;        /* not inflated yet */
        rq_buf data, flying;  /* not sent yet; sent */
        uint64_t group, bytes;
        uint32_t number, crc;
};

static void pump(load *l);

/* --- the end --------------------------------------------------------------------- */

static void load_free(load *l) {
        l->gw->load_count--;
        (void) gzip_free(l->gzip);
        rq_buf_done(&l->packed);
        rq_buf_done(&l->data);
        rq_buf_done(&l->flying);
        free(l);
}

/* The client's part of it is over; the load lives on if a piece of it does. */
static http_conn *leave_client(load *l) {
        http_conn *conn = l->client->conn;
        l->client->load = NULL;
        exchange_free(l->client);
        l->client = NULL;
        return conn;
}

static rq_err send_piece(load *l, exchange_done *done, uint64_t patience_us);

static void on_aborted(exchange *ex, unsigned status, rq_bytes result) {
        load *l = ex->load;
        (void) status; /* if it is lost, the store gives the load up after a while */
        (void) result;
        ex->load = NULL;
        exchange_free(ex);
        load_free(l);
}

/* Nothing is on its way. What the store has of it is to go. */
static void give_up(load *l) {
        if (l->client != NULL)
                (void) leave_client(l);
        l->aborting = true;
        if (l->number == 0 || l->last_sent || send_piece(l, on_aborted, PIECE_PATIENCE_US) < 0)
                load_free(l);
}

static void answer_text(load *l, unsigned status, const char *text) {
        if (l->client == NULL)
                return;
        http_conn *conn = leave_client(l);
        http_head head = { .status = status, .content_type = API_TEXT, .nosniff = true, .retry_after_s = status == 503 ? 1 : 0 };
        http_answer(conn, &head, rq_bytes_text(text), rq_bytes_text("\n"));
}

static void fail(load *l, unsigned status, const char *text) {
        answer_text(l, status, text);
        if (l->sent == NULL)
                give_up(l);
}

/* "results" as the store wrote it, or none; the rest is written here. */
static void answer_results(load *l, rq_bytes results) {
        char tail[96];
        size_t n = 0;
        if (l->client->params.timings) {
                char seconds[JSON_SECONDS_BYTES];
                (void) json_seconds(rq_clock_mono_ns() - l->client->started_ns, seconds);
                n = (size_t) snprintf(tail, sizeof tail, ",\"time\":%s", seconds);
        }
        tail[n++] = '}';
        http_conn *conn = leave_client(l);
        const http_head head = { .status = 200, .content_type = API_JSON, .served_by = true };
        http_answer(conn, &head, results, rq_bytes_of(tail, n));
}

static void succeed(load *l, rq_bytes results) {
        if (l->client != NULL && l->is_boot)
                http_answer(leave_client(l), &(http_head) { .status = 200 }, (rq_bytes) {0}, (rq_bytes) {0});
        else if (l->client != NULL)
                answer_results(l, results.size > 0 ? results : rq_bytes_text("{\"results\":[]"));
        load_free(l);
}

/* --- pieces ----------------------------------------------------------------------- */

rq_err load_send(exchange *chunk, ipc_link *link, uint64_t timeout_us) {
        const load *l = chunk->load;
        message_chunk message = {
                .request_id = chunk->id, .timeout_us = timeout_us, .step_budget = l->gw->config->write_step_budget, .abort = l->aborting,
                .chunk = { .group = l->group, .number = l->number, .text = l->kind == LOAD_TEXT, .incarnation = l->gw->incarnation,
                           .request_id = chunk->id },
        };
        if (!l->aborting) {
                message.data = rq_buf_bytes(&l->flying);
                message.chunk.last = l->last_sent;
                message.chunk.hash = l->last_sent ? l->crc : 0;
                message.chunk.bytes = l->last_sent ? l->bytes : 0;
        }
        return message_send_chunk(link, &message);
}

static rq_err send_piece(load *l, exchange_done *done, uint64_t patience_us) {
        static const route own = { .path = "", .op = OP_LOAD, .methods = METHOD_POST };
        exchange *ex;
        rq_err r = exchange_new(l->gw, NULL, &ex);
        if (r < 0)
                return r;
        ex->route = &own;
        ex->load = l;
        ex->started_ns = rq_clock_mono_ns();
        ex->deadline_us = ex->started_ns / 1000 + patience_us;
        l->sent = ex;
        backend_start_batch(ex, done);
        return RQ_OK;
}

static void on_failed(load *l, unsigned status, const char *text) {
        char words[FAILURE_TEXT_BYTES + 64];
        if (l->last_sent) {
                answer_text(l, status, text);
                load_free(l);
                return;
        }
        (void) snprintf(words, sizeof words, "the load was broken off, nothing was loaded: %s", text);
        fail(l, status == 504 ? 503 : status, words);
}

static void on_answer(load *l, char kind, rq_bytes rest) {
        char text[FAILURE_TEXT_BYTES];
        switch (kind) {
        case ANSWER_JSON:
                succeed(l, rest);
                return;
        case ANSWER_REFUSED:
                (void) snprintf(text, sizeof text, "nothing was loaded: %.*s", (int) rest.size, (const char *) rest.data);
                break;
        default:
                (void) snprintf(text, sizeof text, "nothing was loaded: %.*s", (int) rest.size, (const char *) rest.data);
        }
        l->last_sent = true; /* the store has given it up by itself */
        fail(l, kind == ANSWER_REFUSED ? 503 : 400, text);
}

/* It was done; what came of it is more than is held, or memory was short. */
static void tell_without_result(load *l, uint64_t index) {
        char text[128];
        (void) snprintf(text, sizeof text, "committed at index %llu, but the result is too large to be told; do not send it again", (unsigned long long) index);
        answer_text(l, 500, text);
        load_free(l);
}

static void on_sent(exchange *ex, unsigned status, rq_bytes result) {
        load *l = ex->load;
        bool cut = status == 200 && ex->result_cut;
        uint64_t index = ex->done_index;
        RQ_CLEANUP(rq_buf_done) rq_buf answer = RQ_TAKE(ex->text, (rq_buf) {0});
        char text[FAILURE_TEXT_BYTES];
        (void) snprintf(text, sizeof text, "%.*s", (int) result.size, (const char *) result.data);
        ex->load = NULL;
        exchange_free(ex);
        l->sent = NULL;
        l->flying.size = 0;
        if (status != 200) {
                on_failed(l, status, text);
                return;
        }
        l->number++;
        if (cut && (answer.size == 0 || answer.data[0] == ANSWER_JSON))
                tell_without_result(l, index);
        else if (answer.size > 0)
                on_answer(l, (char) answer.data[0], rq_bytes_of(answer.data + 1, answer.size - 1));
        else if (l->last_sent)
                succeed(l, (rq_bytes) {0});
        else if (l->client == NULL)
                give_up(l);
        else
                pump(l);
}

/* --- the body ---------------------------------------------------------------------- */

static bool starts_with(const rq_buf *buf, const char *text) {
        size_t size = strlen(text);
        return buf->size >= size && memcmp(buf->data, text, size) == 0;
}

/* Into data, as far as there is room. False: the load has failed. */
static bool unpack(load *l) {
        if (!l->is_decided && (l->packed.size >= 2 || l->complete)) {
                l->is_decided = true;
                l->is_packed = starts_with(&l->packed, "\x1f\x8b");
                if (l->is_packed && gzip_new(GZIP_INFLATE, &l->gzip) < 0) {
                        fail(l, 503, "too many requests are under way, nothing was done, try again");
                        return false;
                }
        }
        if (!l->is_decided || l->data.size >= LOAD_CHUNK_DATA_BYTES)
                return true;
        rq_bytes in = rq_buf_bytes(&l->packed);
        rq_err r;
        if (l->is_packed) {
                r = gzip_run(l->gzip, &in, false, &l->data, LOAD_CHUNK_DATA_BYTES, &l->unpacked);
        } else {
                size_t room = LOAD_CHUNK_DATA_BYTES - l->data.size, n = in.size < room ? in.size : room;
                r = rq_buf_append(&l->data, in.data, n);
                in = rq_bytes_of(in.data + n, in.size - n);
        }
        if (r < 0) {
                fail(l, r == RQ_ECORRUPT ? 400 : 503,
                     r == RQ_ECORRUPT ? "nothing was loaded: the body begins as gzip does, but is damaged" : "out of memory, nothing was loaded");
                return false;
        }
        rq_buf_consume(&l->packed, l->packed.size - in.size);
        return true;
}

/* The checks of /boot are in rqlite's order. False: answered. */
static bool may_boot(load *l) {
        const node_view *node = &l->gw->node;
        if (l->data.size < BOOT_BYTES_MIN)
                fail(l, 503, "EOF");
        else if (l->kind != LOAD_DATABASE)
                fail(l, 400, "invalid SQLite data");
        else if (node->role != ROLE_LEADER)
                fail(l, 503, "not leader");
        else if (node->members != 1)
                fail(l, 503, "not single-node");
        else
                return true;
        return false;
}

static bool decide_kind(load *l, bool at_end) {
        size_t wanted = l->is_boot ? BOOT_BYTES_MIN : KIND_BYTES;
        if (l->kind != LOAD_UNDECIDED || (l->data.size < wanted && !at_end))
                return true;
        l->kind = starts_with(&l->data, "SQLite format") ? LOAD_DATABASE : LOAD_TEXT;
        return !l->is_boot || may_boot(l);
}

static void send_next(load *l, bool at_end) {
        rq_buf empty = RQ_TAKE(l->flying, (rq_buf) {0});
        l->flying = RQ_TAKE(l->data, empty);
        l->data.size = 0;
        l->bytes += l->flying.size;
        l->crc = rq_crc32c(l->crc, l->flying.data, l->flying.size);
        l->last_sent = at_end;
        if (send_piece(l, on_sent, at_end ? LAST_PATIENCE_US : PIECE_PATIENCE_US) < 0)
                on_failed(l, 503, "too many requests are under way");
}

/* Does what can be done now. The load may be gone behind it. */
static void pump(load *l) {
        if (!unpack(l))
                return;
        bool at_end = l->complete && l->packed.size == 0 && (!l->is_packed || l->data.size < LOAD_CHUNK_DATA_BYTES);
        if (at_end && l->is_packed && !l->unpacked) {
                fail(l, 400, "nothing was loaded: the body begins as gzip does, but its end is missing");
                return;
        }
        if (!decide_kind(l, at_end))
                return;
        http_conn_throttle(l->client->conn, l->data.size >= LOAD_CHUNK_DATA_BYTES || l->packed.size > 0);
        if (l->sent != NULL || (!at_end && l->data.size < LOAD_CHUNK_DATA_BYTES))
                return;
        if (at_end && l->bytes + l->data.size == 0)
                succeed(l, (rq_bytes) {0}); /* nothing to do */
        else
                send_next(l, at_end);
}

/* --- from the client ------------------------------------------------------------------ */

static void begin(exchange *ex) {
        gateway *gw = ex->gw;
        bool is_boot = ex->route->op == OP_BOOT;
        load *l = gw->load_count < LOADS_MAX ? calloc(1, sizeof *l) : NULL;
        if (l == NULL) {
                api_answer_text(ex, 503, "too many loads are under way, nothing was done, try again");
                return;
        }
        rq_uuid group = rq_uuid_random();
        *l = (load) { .gw = gw, .client = ex, .is_boot = is_boot, .group = rq_get_u64(group.bytes) };
        gw->load_count++;
        ex->load = l;
        ex->wants_body = true;
        http_conn_take_any_size(ex->conn);
        http_conn_keep_on_eof(ex->conn);
}

/* Who waits for a leader to be sent to has sent no body yet, or it is not looked at: most of it would be for nothing. */
static void begin_or_redirect(exchange *ex) {
        http_conn *conn = ex->conn;
        const bool was_held = ex->leader_until_us != 0;
        if (!api_redirect(ex, begin_or_redirect)) {
                begin(ex);
        } else if (http_conn_data(conn) == ex) { /* it waits */
                http_conn_hold(conn);
                return;
        }
        if (was_held)
                http_conn_release(conn);
}

void load_begin(exchange *ex) {
        if (ex->route->op == OP_BOOT) {
                ex->gw->metrics.http.boot++;
                begin(ex);
        } else {
                ex->gw->metrics.http.loads++;
                begin_or_redirect(ex);
        }
}

void load_body(exchange *ex, rq_bytes piece) {
        load *l = ex->load;
        if (rq_buf_append_bytes(&l->packed, piece) < 0)
                fail(l, 503, "out of memory, nothing was loaded");
        else
                pump(l);
}

void load_complete(exchange *ex) {
        ex->load->complete = true;
        pump(ex->load);
}

void load_on_gone(exchange *ex) {
        load *l = ex->load;
        (void) leave_client(l);
        if (l->sent == NULL)
                give_up(l);
}
