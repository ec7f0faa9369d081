/* HTTP itself: keep-alive, pipelining, chunked bodies, limits, slow and rude
 * clients. */
#include "harness.h"

#define INSERT      "[\"INSERT INTO x\"]"
#define INSERT_SIZE "17"
#define SELECTED    "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]}]}"

static harness *h;

static void tune(harness *t) {
        t->config.http_idle_timeout_us = 700000;
        t->config.max_connections = 60;
}

static void keep_alive_and_close(void **state) {
        (void) state;
        client *c = client_new(h);
        for (int i = 0; i < 5; i++) {
                client_request(c, "GET", "/db/query?q=SELECT%201", "", NULL);
                reply r = client_reply(c);
                assert_int_equal(r.status, 200);
                assert_string_equal(reply_text(&r), SELECTED);
                assert_null(reply_header(&r, "Connection"));
                reply_done(&r);
        }
        client_request(c, "GET", "/db/query?q=SELECT%201", "Connection: close\r\n", NULL);
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        assert_false(client_fill(c));
        client_free(c);
}

static void headers_that_are_always_there(void **state) {
        static const struct { const char *method, *target; } requests[] = {
                { "GET", "/nothing" }, { "GET", "/db/execute" }, { "GET", "/db/query?timeout=x" }, { "OPTIONS", "/x" }, { "GET", "/" } };
        (void) state;
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
                reply r = ask(h, requests[i].method, requests[i].target, NULL);
                assert_string_equal(reply_header(&r, "X-Rqlite-Version"), "10");
                assert_string_equal(reply_header(&r, "Access-Control-Allow-Methods"), "OPTIONS, GET, POST");
                assert_non_null(reply_header(&r, "Date"));
                assert_null(reply_header(&r, "X-Rqlite-Served-By"));
                reply_done(&r);
        }
        reply r = ask(h, "POST", "/db/execute", INSERT);
        assert_string_equal(reply_header(&r, "X-Rqlite-Served-By"), "127.0.0.1:4001");
        assert_string_equal(reply_header(&r, "Content-Type"), "application/json; charset=utf-8");
        reply_done(&r);
}

static void pipelined_requests_are_answered_in_order(void **state) {
        (void) state;
        enum { COUNT = 300 };
        client *c = client_new(h);
        rq_buf all = {0};
        for (int i = 0; i < COUNT; i++) {
                const char *targets[] = { "/db/query?q=SELECT%201", "/nothing", "/readyz?noleader" };
                (void) rq_buf_printf(&all, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i % 3]);
        }
        client_send_bytes(c, all.data, all.size);
        for (int i = 0; i < COUNT; i++) {
                reply r = client_reply(c);
                assert_int_equal(r.status, i % 3 == 1 ? 404 : 200);
                assert_string_equal(reply_text(&r), i % 3 == 0 ? SELECTED : i % 3 == 1 ? "" : "[+]node ok");
                reply_done(&r);
        }
        rq_buf_done(&all);
        client_free(c);
}

static void a_request_in_single_bytes(void **state) {
        (void) state;
        client *c = client_new(h);
        const char *text = "POST /db/execute?x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " INSERT_SIZE "\r\n\r\n" INSERT;
        for (const char *p = text; *p != '\0'; p++) {
                client_send_bytes(c, p, 1);
                (void) usleep(200);
        }
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
}

static void chunked_bodies(void **state) {
        (void) state;
        client *c = client_new(h);
        client_send(c, "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n[\"INS\r\nb;ext=1\r\nERT INTO x\"\r\n");
        (void) usleep(20000);
        client_send(c, "1\r\n]\r\n0\r\nTrailer: y\r\n\r\nGET /readyz?noleader HTTP/1.1\r\nHost: x\r\n\r\n");
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        r = client_reply(c);
        assert_string_equal(reply_text(&r), "[+]node ok");
        reply_done(&r);
        client_free(c);
}

static void expect_100_continue(void **state) {
        (void) state;
        client *c = client_new(h);
        client_send(c, "POST /db/execute HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: " INSERT_SIZE "\r\n\r\n");
        reply r = client_reply(c);
        assert_int_equal(r.status, 100);
        reply_done(&r);
        client_send(c, INSERT);
        r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        /* What is refused by its headers is refused without the body. */
        client_send(c, "POST /db/execute?timeout=x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 17\r\n\r\n");
        r = client_reply(c);
        assert_int_equal(r.status, 400);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        client_free(c);
}

static void http_1_0(void **state) {
        (void) state;
        client *c = client_new(h);
        client_send(c, "GET /db/query?q=SELECT%201 HTTP/1.0\r\n\r\n");
        reply r = client_reply(c);
        assert_string_equal(reply_text(&r), SELECTED);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        client_free(c);

        c = client_new(h);
        client_send(c, "GET /readyz?noleader HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        r = client_reply(c);
        assert_string_equal(reply_header(&r, "Connection"), "keep-alive");
        reply_done(&r);
        client_send(c, "POST /db/query HTTP/1.0\r\nContent-Length: 9\r\n\r\n[\"BIG 3\"]");
        r = client_reply(c); /* streamed: the end of the connection is the end */
        assert_int_equal(r.status, 200);
        assert_null(reply_header(&r, "Transfer-Encoding"));
        assert_int_equal(r.body.size, 3 * FAKE_PIECE_BYTES + 1);
        reply_done(&r);
        client_free(c);
}

static void absolute_form_and_methods(void **state) {
        (void) state;
        expect_answer(h, "GET", "http://elsewhere:1/db%2Fquery?q=SELECT+1", NULL, 200, SELECTED);
        expect_answer(h, "OPTIONS", "*", NULL, 200, "");
        expect_answer(h, "OPTIONS", "/x?timeout=x", NULL, 200, "");
        expect_answer(h, "PUT", "/db/query", NULL, 405, "");
        expect_answer(h, "FOO", "/db/query", NULL, 405, "");
        expect_answer(h, "HEAD", "/db/query", NULL, 405, "");
        expect_answer(h, "HEAD", "/debug/vars", NULL, 200, "");
        expect_answer(h, "HEAD", "/", NULL, 302, "");
        expect_answer(h, "GET", "/a%zz", NULL, 400, "400 Bad Request: invalid escape in the path\n");
        reply r = ask(h, "GET", "/db/execute", NULL);
        assert_string_equal(reply_header(&r, "Content-Type"), "application/json; charset=utf-8");
        assert_string_equal(reply_header(&r, "Allow"), "POST");
        reply_done(&r);
}

static void an_offer_to_upgrade_is_ignored(void **state) {
        (void) state;
        client *c = client_new(h);
        client_request(c, "GET", "/readyz?noleader", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", NULL);
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_request(c, "POST", "/db/execute", "Connection: Upgrade\r\nUpgrade: h2c\r\n", INSERT);
        r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
}

static void expect_raw(const char *text, size_t size, int status) {
        client *c = client_new(h);
        client_send_bytes(c, text, size);
        reply r = client_reply(c);
        if (r.status != status)
                print_error("%.60s: %d\n", text, r.status);
        assert_int_equal(r.status, status);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        client_free(c);
}

static void malformed_requests(void **state) {
        static const char *const requests[] = {
                "GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/2.0\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/1.1 x\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                /* Two readers could tell other requests from these. */
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n[\"INSERT INTO x\"]XX0\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11;a\n\r\n[\"INSERT INTO x\"]\r\n0\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n11\rX[\"INSERT INTO x\"]\r\n0\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n11\r\n" INSERT "\r\n0\r\n\r\n",
                "GET /readyz HTTP/1.1\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "GET /readyz HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length : " INSERT_SIZE "\r\n\r\n" INSERT,
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: " INSERT_SIZE "\r\n\r\n" INSERT,
                "GET /readyz HTTP/1.1\r\n Host: x\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
                "POST /db/execute HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n" INSERT "\r\n0\r\n\r\n",
                /* A carriage return alone doesn't end the header. */
                "GET /readyz HTTP/1.1\r\nHost: x\r\n\rX", "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: " INSERT_SIZE "\r\n\rX" INSERT,
                "GET /readyz HTTP/1.1\r\nHost: x\r\n\rGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
                /* ... nor a field. */
                "GET /readyz HTTP/1.1\r\nHost: x\r\nA:\rX\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: x\r\nA:\rX\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST /db/execute HTTP/1.1\r\nHost: x\r\nA: \rXContent-Length: " INSERT_SIZE "\r\n\r\n" INSERT,
                "GET /readyz HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "GET /readyz HTTP/1.1\r\nHost: x\r\r\n\r\n", "GET /readyz HTTP/1.1\rX\nHost: x\r\n\r\n",
        };
        (void) state;
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
                expect_raw(requests[i], strlen(requests[i]), requests[i][0] == '\x16' ? 405 : 400);
}

/* What was wrapped in another coding is not the JSON that it would be taken for. */
static void transfer_codings_that_are_not_known(void **state) {
        static const char *const codings[] = { "gzip, chunked", "chunked\r\nTransfer-Encoding: chunked",
                                               "gzip\r\nTransfer-Encoding: chunked", "identity, chunked" };
        (void) state;
        for (size_t i = 0; i < sizeof codings / sizeof codings[0]; i++) {
                char text[256];
                int size = snprintf(text, sizeof text, "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: %s\r\n\r\n11\r\n" INSERT "\r\n0\r\n\r\n", codings[i]);
                expect_raw(text, (size_t) size, 501);
        }
        client *c = client_new(h);
        client_send(c, "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n11\r\n" INSERT "\r\n0\r\n\r\n");
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
}

static void what_is_wrong_is_said(void **state) {
        static const struct { const char *request, *text; } rows[] = {
                { "GET / HTTP/1.1\r\n\r\n", "400 Bad Request: missing required Host header\n" },
                { "GET / HTTP/1.1\r\nHost: x\r\nhOST: x\r\n\r\n", "400 Bad Request: more than one Host\n" },
                { "GET / HTTP/1.1\r\nHost : x\r\n\r\n", "400 Bad Request: a blank in the name of a header field\n" },
                { "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Bad Request: HTTP/1.0 has no Transfer-Encoding\n" },
                { "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: a, chunked\r\n\r\n", "501 Not Implemented: of Transfer-Encoding, only chunked is understood\n" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                client *c = client_new(h);
                client_send(c, rows[i].request);
                reply r = client_reply(c);
                assert_string_equal(reply_text(&r), rows[i].text);
                reply_done(&r);
                client_free(c);
        }
}

static void header_limits(void **state) {
        (void) state;
        rq_buf text = {0};
        char *filler = malloc(2 * 1024 * 1024);
        memset(filler, 'a', 2 * 1024 * 1024);
        (void) rq_buf_printf(&text, "GET / HTTP/1.1\r\nHost: x\r\nX: %.*s\r\n\r\n", 66000, filler);
        expect_raw((const char *) text.data, text.size, 431);
        text.size = 0;
        (void) rq_buf_printf(&text, "GET /db/query?q=%.*s HTTP/1.1\r\nHost: x\r\n\r\n", 1100000, filler);
        expect_raw((const char *) text.data, text.size, 431);
        /* Long SQL in a GET is fine. */
        text.size = 0;
        (void) rq_buf_printf(&text, "GET /db/query?q=SELECT%%20%.*s HTTP/1.1\r\nHost: x\r\nX: %.*s\r\n\r\n", 900000, filler, 60000, filler);
        client *c = client_new(h);
        client_send_bytes(c, text.data, text.size);
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
        rq_buf_done(&text);
        free(filler);
}

static void body_limit(void **state) {
        (void) state;
        reply r;
        client *c = client_new(h);
        client_send(c, "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n[\"INSERT");
        r = client_reply(c);
        assert_int_equal(r.status, 413);
        assert_non_null(strstr(reply_text(&r), "/db/load"));
        reply_done(&r);
        client_free(c);

        c = client_new(h); /* not announced */
        client_send(c, "POST /db/execute HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        char *chunk = malloc(1024 * 1024 + 16);
        memset(chunk, ' ', 1024 * 1024 + 16);
        size_t at = (size_t) sprintf(chunk, "100000\r\n");
        chunk[at] = ' ';
        memcpy(chunk + at + 1024 * 1024, "\r\n", 2);
        for (int i = 0; i < 5; i++)
                client_send_bytes(c, chunk, at + 1024 * 1024 + 2);
        r = client_reply(c);
        assert_int_equal(r.status, 413);
        reply_done(&r);
        free(chunk);
        client_free(c);
}

static void an_early_answer_keeps_the_connection(void **state) {
        (void) state;
        client *c = client_new(h);
        client_request(c, "POST", "/nothing", "", "a body that nobody reads");
        reply r = client_reply(c);
        assert_int_equal(r.status, 404);
        reply_done(&r);
        client_request(c, "POST", "/db/execute", "", INSERT);
        r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
}

static void slow_clients(void **state) {
        (void) state;
        client *idle = client_new(h), *header = client_new(h), *body = client_new(h);
        client_send(header, "GET / HTTP/1.1\r\nHo");
        client_send(body, "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n[");
        uint64_t start = rq_clock_mono_us();
        for (int i = 0; i < 12; i++) { /* a byte now and then is no progress */
                client_send(header, "X");
                client_send(body, " ");
                (void) usleep(100000);
        }
        reply r = client_reply(header);
        assert_int_equal(r.status, 408);
        reply_done(&r);
        r = client_reply(body);
        assert_int_equal(r.status, 408);
        reply_done(&r);
        assert_false(client_fill(idle));
        assert_true(rq_clock_mono_us() - start < 5000000);
        client_free(idle);
        client_free(header);
        client_free(body);
}

static void a_half_closed_client_gets_its_answer(void **state) {
        (void) state;
        client *c = client_new(h);
        client_send(c, "GET /db/query?q=SELECT%201 HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz?noleader HTTP/1.1\r\nHost: x\r\n\r\n");
        (void) shutdown(c->fd, SHUT_WR);
        reply r = client_reply(c);
        assert_string_equal(reply_text(&r), SELECTED);
        reply_done(&r);
        r = client_reply(c);
        assert_string_equal(reply_text(&r), "[+]node ok");
        reply_done(&r);
        assert_false(client_fill(c));
        client_free(c);
}

/* More connections than there may be: idle ones make room. */
static void idle_connections_make_room(void **state) {
        (void) state;
        enum { COUNT = 100 };
        client *all[COUNT];
        for (int i = 0; i < COUNT; i++) {
                all[i] = client_new(h);
                client_request(all[i], "GET", "/readyz?noleader", "", NULL);
                reply r = client_reply(all[i]);
                assert_int_equal(r.status, 200);
                reply_done(&r);
        }
        for (int i = 0; i < COUNT; i++)
                client_free(all[i]);
}

static int open_harness(void **state) {
        (void) state;
        h = harness_new(tune);
        return 0;
}

static int close_harness(void **state) {
        (void) state;
        harness_free(h);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keep_alive_and_close), cmocka_unit_test(headers_that_are_always_there),
                cmocka_unit_test(pipelined_requests_are_answered_in_order), cmocka_unit_test(a_request_in_single_bytes),
                cmocka_unit_test(chunked_bodies), cmocka_unit_test(expect_100_continue), cmocka_unit_test(http_1_0),
                cmocka_unit_test(absolute_form_and_methods), cmocka_unit_test(an_offer_to_upgrade_is_ignored),
                cmocka_unit_test(malformed_requests),
                cmocka_unit_test(transfer_codings_that_are_not_known), cmocka_unit_test(what_is_wrong_is_said), cmocka_unit_test(header_limits), cmocka_unit_test(body_limit),
                cmocka_unit_test(an_early_answer_keeps_the_connection), cmocka_unit_test(slow_clients),
                cmocka_unit_test(a_half_closed_client_gets_its_answer), cmocka_unit_test(idle_connections_make_room),
        };
        return cmocka_run_group_tests(tests, open_harness, close_harness);
}
