/* Bytes of a client against io/http_*.c: nothing crashes, every request is
 * answered or given up exactly once, and nothing stays behind.
 *
 * First byte: seed of where the bytes are cut and of how requests are answered. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/rng.h"
#include "core/params.h"
#include "core/route.h"
#include "io/http_conn.h"
#include "io/http_state.h"

static rq_loop *loop;
static http_server *server;
static metrics counters;
static rq_rng rng;
static http_conn *waiting;   /* headers seen, not answered */
static bool complete, streaming, held;

static void answer(http_conn *conn) {
        const http_head head = { .status = 200, .content_type = "text/plain", .served_by = true };
        rq_assert(conn == waiting);
        waiting = NULL;
        http_conn_set_data(conn, NULL);
        switch (rq_rng_below(&rng, 3)) {
        case 0:
                http_answer_text(conn, 400, "no");
                return;
        case 1:
                http_answer(conn, &head, rq_bytes_text("a"), rq_bytes_text("b"));
                return;
        default:
                waiting = conn;
                streaming = true;
                http_conn_set_data(conn, conn);
                http_answer_begin(conn, &head);
                http_answer_piece(conn, rq_bytes_text("piece"));
        }
}

static void on_headers(void *arg, http_conn *conn) {
        (void) arg;
        rq_assert(waiting == NULL && http_conn_data(conn) == NULL);
        http_request request = *http_conn_request(conn);
        char problem[PARAMS_PROBLEM_BYTES];
        params p;
        char *query = memchr(request.target, '?', request.target_size);
        size_t path_size = query != NULL ? (size_t) (query - request.target) : request.target_size;
        size_t query_size = query != NULL ? request.target_size - path_size - 1 : 0;
        if (route_decode_path(request.target, &path_size) == RQ_OK)
                (void) route_find(rq_bytes_of(request.target, path_size));
        (void) params_parse(query != NULL ? query + 1 : request.target, query_size, &p, problem);
        waiting = conn;
        complete = streaming = false;
        http_conn_set_data(conn, conn);
        if (rq_rng_below(&rng, 4) == 0) {
                answer(conn);
        } else if (rq_rng_below(&rng, 4) == 0) {
                held = true;
                http_conn_hold(conn);
        }
}

static void on_body(void *arg, http_conn *conn, rq_bytes piece) {
        (void) arg;
        rq_assert(conn == waiting && piece.size > 0 && !streaming && !held);
        if (rq_rng_below(&rng, 8) == 0)
                answer(conn);
}

static void on_complete(void *arg, http_conn *conn) {
        (void) arg;
        rq_assert(conn == waiting && !complete);
        complete = true;
        if (rq_rng_below(&rng, 2) == 0)
                answer(conn);
}

static void on_drained(void *arg, http_conn *conn) {
        (void) arg;
        rq_assert(conn == waiting && streaming);
}

static void on_gone(void *arg, http_conn *conn) {
        (void) arg;
        rq_assert(conn == waiting && http_conn_data(conn) != NULL);
        waiting = NULL;
        held = false;
}

static void open_server(void) {
        static const http_limits limits = { .idle_timeout_us = 1000000, .body_bytes_max = 1 << 20, .credentials = true, .connection_count_max = 10 };
        static const http_handlers handlers = { .on_headers = on_headers, .on_body = on_body, .on_complete = on_complete,
                                                .on_drained = on_drained, .on_gone = on_gone };
        rq_assert(rq_loop_new(&loop) == RQ_OK);
        rq_assert(http_server_new(loop, &limits, &handlers, "", "h:1", &counters, &server) == RQ_OK);
}

static void turn(int client) {
        char ignored[65536];
        for (int i = 0; i < 4; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
        while (recv(client, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
                ;
        if (waiting != NULL && held) { /* its password was checked */
                http_conn *conn = waiting;
                held = false;
                if (rq_rng_below(&rng, 2) == 0)
                        answer(conn);
                http_conn_release(conn);
        }
        if (waiting != NULL && streaming && rq_rng_below(&rng, 2) == 0) {
                http_conn *conn = waiting;
                waiting = NULL;
                http_conn_set_data(conn, NULL);
                if (rq_rng_below(&rng, 4) == 0)
                        http_answer_cut(conn);
                else
                        http_answer_end(conn, rq_bytes_text("last"), (rq_bytes) {0});
        } else if (waiting != NULL && complete && !streaming) {
                answer(waiting);
        }
        for (int i = 0; i < 2; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        int pair[2];
        if (size < 1)
                return 0;
        if (server == NULL)
                open_server();
        rng = rq_rng_seeded(data[0]);
        waiting = NULL;
        held = false;
        rq_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        rq_assert(conn_new(server, pair[0], true) == RQ_OK);
        for (size_t at = 1; at < size;) {
                size_t n = 1 + (size_t) rq_rng_below(&rng, rq_rng_below(&rng, 2) == 0 ? 4096 : 16);
                n = n < size - at ? n : size - at;
                if (send(pair[1], data + at, n, MSG_NOSIGNAL) <= 0)
                        break;
                at += n;
                turn(pair[1]);
        }
        for (int i = 0; i < 8; i++)
                turn(pair[1]);
        (void) close(pair[1]);
        for (int i = 0; i < 8 && server->conn_count > 0; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
        /* A streamed answer that nobody ends waits for its grace time: give up. */
        while (!rq_list_empty(&server->conns))
                conn_free(RQ_LIST_ENTRY(server->conns.next, http_conn, node));
        rq_assert(waiting == NULL && server->conn_count == 0);
        return 0;
}
