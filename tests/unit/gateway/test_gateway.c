/* The whole gateway in front of a fake node: ways, answers, failures, links that
 * break, streams, and the documents. */
#include "harness.h"

#include <fcntl.h>

#define SELECTED "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]}]}"

static harness *h;

static void job_copy_fake(harness *t, const void *arg) { memcpy((void *) (uintptr_t) arg, &t->fake, sizeof t->fake); }

static fake_node fake_now(void) {
        static fake_node copy;
        harness_do(h, job_copy_fake, &copy);
        return copy;
}

static void job_metrics(harness *t, const void *arg) { *(metrics *) (uintptr_t) arg = t->gw->metrics; }

static metrics metrics_now(void) {
        metrics m = {0};
        harness_do(h, job_metrics, &m);
        return m;
}

static void wait_in_flight(uint64_t count) {
        for (int i = 0; i < 20000 && metrics_now().gateway.requests_in_flight != count; i++)
                (void) usleep(1000);
        assert_int_equal(metrics_now().gateway.requests_in_flight, count);
}

static void job_set_leader(harness *t, const void *arg) {
        t->fake.no_leader = !*(const bool *) arg;
        fake_send_node_state(&t->fake);
}

static void set_leader(bool there) {
        harness_do(h, job_set_leader, &there);
        harness_wait(h, job_state_is_here);
}

static void job_set_mute(harness *t, const void *arg) { t->fake.mute = *(const bool *) arg; }
static void set_mute(bool mute) { harness_do(h, job_set_mute, &mute); }

/* --- ways ------------------------------------------------------------------- */

static void writes_are_proposed(void **state) {
        (void) state;
        fake_node before = fake_now();
        expect_part(h, "POST", "/db/execute", "[[\"INSERT INTO x VALUES(?,?)\",1,\"a\"],\"INSERT INTO y\"]", 200, "\"rows_affected\":1}]}");
        fake_node f = fake_now();
        assert_int_equal(f.proposes, before.proposes + 1);
        assert_int_equal(f.last_budget, 1234567);
        assert_int_equal(f.last_statement_count, 2);
        assert_int_equal(f.last_parameter_count, 2);
        assert_in_range(f.last_timeout_us, 29000000, 30000000);
        expect_part(h, "POST", "/db/execute?timeout=5s", "[\"SELECT 1\"]", 200, "last_insert_id");
        assert_in_range(fake_now().last_timeout_us, 4000000, 5000000);
}

static void levels_choose_the_way(void **state) {
        static const struct { const char *target; bool query; unsigned level; } ways[] = {
                { "/db/query?q=SELECT", false, 1 }, { "/db/query?q=SELECT&level=NONE", true, 0 }, { "/db/query?q=SELECT&level=weak", false, 1 },
                { "/db/query?q=SELECT&level=linearizable", false, 2 }, { "/db/query?q=SELECT&level=strong", false, 3 },
                { "/db/query?q=SELECT&level=auto", false, 1 }, { "/db/query?q=SELECT&level=bogus", false, 1 },
                { "/db/query?q=SELECT&level=none&freshness=1s", false, 2 }, /* consensus knows how old it is */
                { "/db/query?q=SELECT&level=none&freshness=0", true, 0 },
        };
        (void) state;
        for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
                fake_node before = fake_now();
                expect_answer(h, "GET", ways[i].target, NULL, 200, SELECTED);
                fake_node f = fake_now();
                assert_int_equal(f.queries - before.queries, ways[i].query);
                assert_int_equal(f.reads - before.reads, !ways[i].query);
                if (!ways[i].query)
                        assert_int_equal(f.last_level, ways[i].level);
        }
}

static void requests_go_by_first_words(void **state) {
        (void) state;
        fake_node before = fake_now();
        expect_answer(h, "POST", "/db/request", "[\"SELECT 1\"]", 200, SELECTED);
        expect_part(h, "POST", "/db/request", "[\"SELECT 1\",\"INSERT\"]", 200, "last_insert_id");
        fake_node f = fake_now();
        assert_int_equal(f.reads - before.reads, 1);
        assert_int_equal(f.proposes - before.proposes, 1);
        /* A write in a read's clothes: the store says so, and it is proposed. */
        before = f;
        expect_part(h, "POST", "/db/request", "[\"WITH x AS (SELECT 1) INSERT INTO y SELECT * FROM x\"]", 200, "last_insert_id");
        expect_part(h, "POST", "/db/request?level=none", "[\"PRAGMA writes\"]", 200, "last_insert_id");
        f = fake_now();
        assert_int_equal(f.reads - before.reads, 1);
        assert_int_equal(f.queries - before.queries, 1);
        assert_int_equal(f.proposes - before.proposes, 2);
}

static void min_index_is_passed_on(void **state) {
        (void) state;
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&min_index=4711&timeout=2s", NULL, 200, SELECTED);
        fake_node f = fake_now();
        assert_int_equal(f.last_min_index, 4711);
        assert_in_range(f.last_timeout_us, 1000000, 2000000);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=linearizable&linearizable_timeout=1500ms", NULL, 200, SELECTED);
        assert_int_equal(fake_now().last_timeout_us, 1500000);
}

/* Hazards 33: an index of before a forced recovery is no index of now. */
static void tokens_are_of_an_epoch(void **state) {
        (void) state;
        reply r = ask(h, "POST", "/db/execute?token", "[\"INSERT\"]");
        const char *tail = strstr(reply_text(&r), "}],\"token\":\"0000000000030201.");
        assert_non_null(tail);
        assert_true(strtoull(strchr(tail, '.') + 1, NULL, 10) > 0);
        reply_done(&r);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&min_index=0000000000030201.4711", NULL, 200, SELECTED);
        assert_int_equal(fake_now().last_min_index, 4711);
        const uint64_t asked = fake_now().queries + fake_now().reads;
        r = ask(h, "GET", "/db/query?q=SELECT&level=none&min_index=0000000000030202.4711", NULL);
        assert_non_null(strstr(r.head, "HTTP/1.1 409 Conflict\r\n"));
        reply_done(&r);
        expect_part(h, "GET", "/db/query?q=SELECT&level=none&min_index=0000000000030202.4711", NULL, 409, "another epoch");
        expect_part(h, "GET", "/db/query?q=SELECT&level=linearizable&min_index=0000000000000000.4711", NULL, 409, "another epoch");
        expect_part(h, "POST", "/db/request?min_index=0000000000000000.1", "[\"SELECT\"]", 409, "another epoch");
        assert_int_equal(fake_now().queries + fake_now().reads, asked); /* at once: nobody was asked */
}

static void bounds_on_staleness_are_passed_on(void **state) {
        (void) state;
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&freshness=1ns", NULL, 200, SELECTED);
        fake_node f = fake_now();
        assert_int_equal(f.last_freshness_us, 1);
        assert_false(f.last_freshness_strict);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&freshness=2s&freshness_strict", NULL, 200, SELECTED);
        f = fake_now();
        assert_int_equal(f.last_freshness_us, 2000000);
        assert_true(f.last_freshness_strict);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=linearizable&freshness=2s", NULL, 200, SELECTED); /* asked for more */
        assert_int_equal(fake_now().last_freshness_us, 0);
}

/* Consensus knows what became of a request, so it is to give up first. */
static void consensus_has_the_first_word(void **state) {
        (void) state;
        expect_part(h, "POST", "/db/execute?timeout=2s", "[\"INSERT\"]", 200, "last_insert_id");
        assert_in_range(fake_now().last_timeout_us, 1500000, 1950000);
        expect_answer(h, "GET", "/db/query?q=SELECT&timeout=80ms", NULL, 200, SELECTED);
        assert_in_range(fake_now().last_timeout_us, 1, 70000);
}

/* What the store is asked for, also where all of it is the default. */
static void backups_name_format_and_tables(void **state) {
        static const struct { const char *target; int format; const char *tables; } rows[] = {
                { "/db/backup", 0, "" }, { "/db/backup?fmt=delete", 1, "" }, { "/db/backup?vacuum", 2, "" }, { "/db/backup?fmt=sql", 3, "" },
                { "/db/backup?fmt=sql&tables=a,%20b%20,,c%2Cd", 3, "a,b,c,d," }, { "/db/backup?fmt=bogus&tables=", 0, "" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                reply r = ask(h, "GET", rows[i].target, NULL);
                assert_int_equal(r.status, 200);
                reply_done(&r);
                fake_node f = fake_now();
                assert_int_equal(f.last_backup, rows[i].format);
                assert_string_equal(f.last_tables, rows[i].tables);
        }
        expect_answer(h, "GET", "/db/query?q=SELECT", NULL, 200, SELECTED);
        assert_int_equal(fake_now().last_backup, -1);
}

/* --- answers ---------------------------------------------------------------- */

static void tails(void **state) {
        (void) state;
        reply r = ask(h, "POST", "/db/execute?raft_index&timings", "[\"INSERT\"]");
        double seconds = 0;
        unsigned long long index = 0;
        const char *tail = strstr(reply_text(&r), "}],");
        assert_non_null(tail);
        assert_int_equal(sscanf(tail, "}],\"time\":%lf,\"raft_index\":%llu}", &seconds, &index), 2);
        assert_true(seconds > 0 && seconds < 10 && index > 0);
        reply_done(&r);
        r = ask(h, "GET", "/db/query?q=SELECT&raft_index", NULL); /* not through the log */
        assert_string_equal(reply_text(&r), SELECTED);
        reply_done(&r);
        r = ask(h, "POST", "/db/execute?raft_index&pretty", "[\"INSERT\"]");
        assert_non_null(strstr(reply_text(&r), "}],\n    \"raft_index\": "));
        assert_string_equal(reply_text(&r) + r.body.size - 2, "\n}");
        reply_done(&r);
}

static void bodies_are_checked(void **state) {
        (void) state;
        expect_answer(h, "POST", "/db/execute", "", 400, "invalid JSON body\n");
        expect_answer(h, "POST", "/db/query?q=SELECT%201", NULL, 400, "invalid JSON body\n");
        expect_answer(h, "POST", "/db/request", "[]", 400, "no statements\n");
        expect_answer(h, "POST", "/db/query", "{}", 400, "invalid request\n");
        expect_answer(h, "POST", "/db/query", "[[\"SELECT ?\",[256]]]", 400, "unsupported type 256\n");
        expect_answer(h, "POST", "/db/execute", "[\"PRAGMA journal_mode=WAL\"]", 200, "{\"results\":[],\"error\":\"disallowed pragma\"}");
        expect_answer(h, "POST", "/db/execute?pretty", "[\"INSERT\",\"PRAGMA synchronous=OFF\"]", 200,
                      "{\n    \"results\": [],\n    \"error\": \"disallowed pragma\"\n}");
}

static void text_bodies(void **state) {
        static const struct { const char *path, *type; int status; } requests[] = {
                { "/db/query", "text/plain", 200 }, { "/db/query", "text/plain; charset=utf-8", 200 }, { "/db/request", "TEXT/plain", 200 },
                { "/db/query", "application/json", 400 }, { "/db/query", "xtext/plain", 400 },
        };
        (void) state;
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
                char header[128];
                client *c = client_new(h);
                (void) snprintf(header, sizeof header, "Content-Type: %s\r\n", requests[i].type);
                client_request(c, "POST", requests[i].path, header, "SELECT 1");
                reply r = client_reply(c);
                assert_int_equal(r.status, requests[i].status);
                reply_done(&r);
                client_free(c);
        }
}

static void sql_preview(void **state) {
        (void) state;
        expect_answer(h, "GET", "/db/sql?q=SELECT%20random()", NULL, 200,
                      "{\"results\":[{\"original\":\"SELECT random()\",\"rewritten\":\"SELECT random()\"}]}");
        expect_answer(h, "POST", "/db/sql?pretty", "[\"A <b>\",[\"C\",1]]", 200,
                      "{\n    \"results\": [\n        {\n            \"original\": \"A \\u003cb\\u003e\",\n"
                      "            \"rewritten\": \"A \\u003cb\\u003e\"\n        },\n        {\n            \"original\": \"C\",\n"
                      "            \"rewritten\": \"C\"\n        }\n    ]\n}");
        expect_answer(h, "GET", "/db/sql", NULL, 400, "query not specified\n");
        expect_answer(h, "POST", "/db/sql", "[]", 400, "no statements\n");
        expect_part(h, "GET", "/db/sql?timings&q=A", NULL, 200, ",\"time\":");
}

static void checks_come_in_order(void **state) {
        (void) state;
        expect_answer(h, "GET", "/nothing?timeout=x", NULL, 400, "timeout is not a valid duration\n");
        expect_answer(h, "GET", "/readyz?q=", NULL, 400, "query parameter not set\n");
        expect_answer(h, "GET", "/nothing", NULL, 404, "");
        expect_answer(h, "PUT", "/nothing", NULL, 404, "");
        expect_answer(h, "GET", "/db/execute", NULL, 405, "");
        expect_answer(h, "POST", "/db/execute?retries=x", "garbage", 400, "retries is not a valid integer\n");
}

static void pages_and_paths(void **state) {
        (void) state;
        expect_part(h, "GET", "/console/", NULL, 200, "<h1>rq ");
        expect_answer(h, "GET", "/console/nothing", NULL, 404, "404 page not found\n");
        expect_answer(h, "GET", "/consolefoo", NULL, 404, "404 page not found\n");
        expect_answer(h, "GET", "/boot", NULL, 405, "");
}

/* --- failures --------------------------------------------------------------- */

static void failures_by_outcome(void **state) {
        (void) state;
        expect_answer(h, "POST", "/db/execute", "[\"FAIL 0 1 x\"]", 503, "leader not found\n");
        expect_answer(h, "GET", "/db/query?q=FAIL%200%206%20x&level=none", NULL, 200, "{\"results\":[],\"error\":\"stale read\"}");
        expect_part(h, "POST", "/db/execute", "[\"FAIL 2 4 x\"]", 504, "outcome is unknown");
        expect_part(h, "POST", "/db/execute", "[\"FAIL 3 0 x\"]", 500, "committed at index 77");
        expect_part(h, "POST", "/db/execute", "[\"FAIL 1 0 x\"]", 503, "nothing was done");
        expect_part(h, "POST", "/db/execute", "[\"FAIL 0 9 too large\"]", 400, "too large");
        reply r = ask(h, "POST", "/db/execute", "[\"FAIL 0 3 full\"]");
        assert_int_equal(r.status, 503);
        assert_string_equal(reply_header(&r, "Retry-After"), "1");
        reply_done(&r);
}

static void nothing_hangs(void **state) {
        (void) state;
        uint64_t start = rq_clock_mono_us();
        expect_part(h, "POST", "/db/execute?timeout=300ms", "[\"HANG\"]", 504, "outcome is unknown");
        expect_part(h, "GET", "/db/query?q=HANG&timeout=300ms", NULL, 504, "not finished");
        expect_part(h, "POST", "/db/execute?timeout=1ns", "[\"INSERT\"]", 503, "before anything was done");
        expect_part(h, "POST", "/db/execute?db_timeout=1ns", "[\"INSERT\"]", 503, "before anything was done");
        assert_true(rq_clock_mono_us() - start < 3000000);
        assert_true(fake_now().cancels >= 2);
        client *c = client_new(h);
        client_request(c, "GET", "/db/query?q=HALF&timeout=300ms&level=none", "", NULL);
        reply r = client_reply(c); /* an answer that can't be completed is cut, visibly */
        assert_int_equal(r.status, 200);
        assert_true(r.cut);
        reply_done(&r);
        client_free(c);
}

static void without_a_leader(void **state) {
        (void) state;
        set_leader(false);
        expect_answer(h, "POST", "/db/execute", "[\"INSERT\"]", 503, "leader not found\n");
        expect_answer(h, "GET", "/db/query?q=SELECT", NULL, 503, "leader not found\n");
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none", NULL, 200, SELECTED);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&freshness=1ns", NULL, 200, "{\"results\":[],\"error\":\"stale read\"}");
        expect_answer(h, "POST", "/db/execute?redirect", "[\"INSERT\"]", 500, "leader not found\n");
        expect_answer(h, "GET", "/leader", NULL, 503, "leader not found\n");
        expect_answer(h, "POST", "/leader?wait", NULL, 503, "leader not found\n");
        expect_answer(h, "GET", "/readyz", NULL, 503, "[+]node ok\n[+]leader does not exist");
        expect_answer(h, "GET", "/readyz?noleader", NULL, 200, "[+]node ok");
        set_leader(true);
        expect_answer(h, "GET", "/readyz", NULL, 200, "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok");
}

static void too_many_requests(void **state) {
        (void) state;
        enum { COUNT = 40 };
        client *all[COUNT];
        for (int i = 0; i < COUNT; i++) {
                all[i] = client_new(h);
                client_request(all[i], "POST", "/db/execute?timeout=2s", "", "[\"HANG\"]");
        }
        wait_in_flight(COUNT);
        reply r = ask(h, "POST", "/db/execute", "[\"INSERT\"]");
        assert_int_equal(r.status, 503);
        assert_string_equal(reply_header(&r, "Retry-After"), "1");
        reply_done(&r);
        for (int i = 0; i < COUNT; i++)
                client_free(all[i]);
        wait_in_flight(0); /* a write is waited for also when its client is gone */
        expect_part(h, "POST", "/db/execute", "[\"INSERT\"]", 200, "last_insert_id");
        assert_int_equal(metrics_now().gateway.requests_in_flight, 0);
}

/* Bodies that never end keep nobody out for long. */
static void bodies_that_drip_make_room(void **state) {
        (void) state;
        enum { COUNT = 40 };
        client *all[COUNT];
        for (int i = 0; i < COUNT; i++) {
                all[i] = client_new(h);
                client_send(all[i], "POST /db/execute HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[\"INS");
        }
        wait_in_flight(COUNT);
        (void) usleep(ARRIVING_MS * 1000 + 300000);
        for (int i = 0; i < 3; i++)
                expect_part(h, "POST", "/db/execute", "[\"INSERT\"]", 200, "last_insert_id");
        expect_answer(h, "GET", "/db/query?q=SELECT", NULL, 200, SELECTED);
        reply r = client_reply(all[0]);
        assert_int_equal(r.status, 503);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        assert_non_null(strstr(reply_text(&r), "nothing was done"));
        reply_done(&r);
        for (int i = 0; i < COUNT; i++)
                client_free(all[i]);
        wait_in_flight(0);
}

/* Headers that never end keep no new connection out. */
static void headers_that_drip_make_room(void **state) {
        (void) state;
        enum { COUNT = 500 };
        static client *all[COUNT];
        for (int i = 0; i < COUNT; i++) {
                all[i] = client_new(h);
                client_send(all[i], "GET /db/query?q=SELECT HTTP/1.1\r\nHost: x\r\nX: ");
        }
        for (int i = 0; i < 3; i++)
                expect_answer(h, "GET", "/db/query?q=SELECT", NULL, 200, SELECTED);
        client_send(all[COUNT - 1], "y\r\n\r\n"); /* one that ends in time is answered */
        reply r = client_reply(all[COUNT - 1]);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        for (int i = 0; i < COUNT; i++)
                client_free(all[i]);
}

/* --- streams ---------------------------------------------------------------- */

static void a_large_result_flows(void **state) {
        (void) state;
        enum { PIECES = 500 };
        client *c = client_new(h);
        client_request(c, "POST", "/db/query?level=none", "", "[\"BIG 500\"]");
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        assert_false(r.cut);
        assert_int_equal(r.body.size, PIECES * FAKE_PIECE_BYTES + 1);
        assert_string_equal(reply_text(&r) + r.body.size - 4, "\"}]}");
        reply_done(&r);
        client_request(c, "GET", "/readyz?noleader", "", NULL);
        r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
}

static void job_queued(harness *t, const void *arg) {
        size_t total = 0;
        exchange *ex;
        for (uint32_t cursor = 0; (ex = exchange_next(&t->gw->exchanges, &cursor)) != NULL;)
                total += http_conn_queued(ex->conn);
        *(size_t *) (uintptr_t) arg = total;
}

/* A client that doesn't read holds its own result back, and little memory. */
static void a_slow_reader_is_bounded_and_cancelled(void **state) {
        (void) state;
        fake_node before = fake_now();
        client *c = client_new(h);
        const int small_size = 4096;
        (void) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small_size, sizeof small_size);
        client_request(c, "POST", "/db/query?level=none", "", "[\"BIG 20000\"]");
        (void) usleep(500000);
        size_t queued = 0;
        harness_do(h, job_queued, &queued);
        assert_in_range(queued, 1, 600 * 1024);
        uint64_t sent = fake_now().sent_bytes - before.sent_bytes;
        assert_true(sent < 40 * 1024 * 1024); /* with what the kernel holds */
        (void) usleep(200000);
        assert_int_equal(fake_now().sent_bytes - before.sent_bytes, sent);
        client_free(c);
        wait_in_flight(0);
        fake_node f = fake_now();
        assert_int_equal(f.cancels, before.cancels + 1);
}

static void a_client_that_hangs_up_cancels_its_read(void **state) {
        (void) state;
        fake_node before = fake_now();
        client *c = client_new(h);
        client_request(c, "GET", "/db/query?q=HANG", "", NULL);
        wait_in_flight(1);
        client_free(c);
        wait_in_flight(0);
        (void) usleep(200000); /* not twice */
        assert_int_equal(fake_now().cancels, before.cancels + 1);
}

/* --- links ------------------------------------------------------------------ */

static void job_drop_links(harness *t, const void *arg) {
        (void) arg;
        t->fake.dropped = false;
}

static void reads_are_sent_again(void **state) {
        (void) state;
        harness_do(h, job_drop_links, NULL);
        expect_part(h, "GET", "/db/query?q=DROP_STORE&level=none", NULL, 200, "last_insert_id");
        harness_wait_linked(h);
        harness_do(h, job_drop_links, NULL);
        expect_part(h, "GET", "/db/query?q=DROP_CONSENSUS", NULL, 200, "last_insert_id");
        harness_wait_linked(h);
        assert_true(metrics_now().gateway.reads_sent_again >= 2);
}

/* It may be what kills the service. */
static void a_read_that_breaks_links_is_not_sent_for_ever(void **state) {
        (void) state;
        uint64_t before = fake_now().queries;
        expect_part(h, "GET", "/db/query?q=DROPS&level=none&timeout=10s", NULL, 503, "broke twice");
        harness_wait_linked(h);
        assert_int_equal(fake_now().queries, before + 2);
        expect_part(h, "GET", "/db/query?q=SELECT%201&level=none", NULL, 200, "[[1]]");
}

static void writes_are_never_sent_again(void **state) {
        (void) state;
        fake_node before = fake_now();
        harness_do(h, job_drop_links, NULL);
        /* The barrier behind it was answered and it wasn't: it never was in the log. */
        expect_part(h, "POST", "/db/execute?timeout=5s", "[\"DROP_CONSENSUS\"]", 503, "nothing was done: rq-consensus was restarted");
        harness_wait_linked(h);
        assert_int_equal(fake_now().proposes, before.proposes + 1);
}

/* As if it were not running: nobody finds its socket. */
static void job_close_consensus(harness *t, const void *arg) {
        (void) arg;
        (void) renameat(t->dir_fd, IPC_SOCKET_CONSENSUS, t->dir_fd, "away");
        ipc_link_close(t->fake.consensus_link);
}

static void job_open_consensus(harness *t, const void *arg) {
        (void) arg;
        (void) renameat(t->dir_fd, "away", t->dir_fd, IPC_SOCKET_CONSENSUS);
}

static void a_restarting_consensus_is_waited_for(void **state) {
        (void) state;
        harness_do(h, job_close_consensus, NULL);
        (void) usleep(50000);
        expect_part(h, "POST", "/db/execute?timeout=400ms", "[\"INSERT\"]", 503, "rq-consensus does not answer");
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none", NULL, 200, SELECTED);
        expect_part(h, "GET", "/readyz", NULL, 503, "leader does not exist");
        client *c = client_new(h);
        client_request(c, "POST", "/db/execute", "", "[\"INSERT\"]");
        (void) usleep(300000);
        harness_do(h, job_open_consensus, NULL);
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
        harness_wait_linked(h);
}

/* --- documents -------------------------------------------------------------- */

static void status_document(void **state) {
        (void) state;
        reply r = ask(h, "GET", "/status", NULL);
        assert_int_equal(r.status, 200);
        static const char *const parts[] = {
                "\"leader\":{\"addr\":\"127.0.0.1:4002\",\"node_id\":\"n1\"}", "\"ready\":true", "\"open\":{}", "\"db_applied_index\":7", "\"fsm_index\":7", "\"fsm_term\":2",
                "\"nodes\":[{\"addr\":\"127.0.0.1:4002\",\"id\":\"n1\",\"suffrage\":\"voter\"}]", "\"commit_index\":9007199254740993",
                "\"auth\":\"disabled\"", "\"https\":\"false\"", "\"uptime\":", "\"pid\":",
        };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
                assert_non_null(strstr(reply_text(&r), parts[i]));
        reply_done(&r);
        expect_answer(h, "GET", "/status?key=store.raft.term", NULL, 200, "9223372036854775807");
        expect_answer(h, "GET", "/status?key=store.raft.state.foo", NULL, 200, "\"Leader\"");
        expect_answer(h, "GET", "/status?key=nothing.here&pretty", NULL, 200, "{}");
        expect_part(h, "GET", "/status?pretty", NULL, 200, "\n    \"store\": {\n        \"addr\"");
}

static void status_without_answers(void **state) {
        (void) state;
        uint64_t start = rq_clock_mono_us();
        set_mute(true);
        expect_part(h, "GET", "/status", NULL, 200, "\"no answer from the service\"");
        expect_answer(h, "GET", "/status?key=store.leader.node_id", NULL, 200, "\"n1\"");
        set_mute(false);
        assert_true(rq_clock_mono_us() - start < 4000000);
}

static void services_of_the_launcher(void **state) {
        static const char text[] = "{\"children\":{\"rq-store\":{\"pid\":5,\"restarts\":2}}}";
        (void) state;
        int fd = openat(h->dir_fd, "launcher.json", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
        (void) close(fd);
        expect_answer(h, "GET", "/status?key=services.children.rq-store.restarts", NULL, 200, "2");
}

static void nodes_and_leader(void **state) {
        (void) state;
        static const char element[] = "{\"id\":\"n1\",\"api_addr\":\"http://127.0.0.1:4001\",\"addr\":\"127.0.0.1:4002\",\"version\":\"10\","
                                      "\"voter\":true,\"reachable\":true,\"leader\":true,\"time\":0.";
        char text[512];
        (void) snprintf(text, sizeof text, "{\"n1\":%s", element);
        expect_part(h, "GET", "/nodes", NULL, 200, text);
        expect_part(h, "GET", "/nodes?ver=3&nonvoters", NULL, 200, text);
        (void) snprintf(text, sizeof text, "{\"nodes\":[%s", element);
        expect_part(h, "GET", "/nodes?ver=2", NULL, 200, text);
        expect_part(h, "GET", "/leader", NULL, 200, element);
        expect_answer(h, "POST", "/leader", NULL, 200, "");
        expect_answer(h, "POST", "/leader?wait", NULL, 500, "stepdown: cannot find peer\n");
}

static void job_set_follows(harness *t, const void *arg) {
        t->fake.follows = *(const bool *) arg;
        fake_send_node_state(&t->fake);
}

static void set_follows(bool follows) {
        harness_do(h, job_set_follows, &follows);
        harness_wait(h, job_state_is_here);
}

static reply ask_for_leader(const char *target, const char *body) {
        client *c = client_new(h);
        client_request(c, "POST", target, "Content-Type: application/json\r\n", body);
        reply r = client_reply(c);
        client_free(c);
        return r;
}

static void leadership_is_handed_over(void **state) {
        static const struct { const char *body; int status; const char *text; } bodies[] = {
                { "{\"id\":\"n1\"}", 500, "stepdown: cannot step down to the current Leader\n" },
                { "{\"id\":\"zz\"}", 500, "stepdown: node not found in cluster\n" },
                { "{\"id\":\"n3\"}", 200, "" },
                { "{\"id\":\"n4\"}", 500, "stepdown: the node is not a voter\n" },
                { "{\"id\":\"no\"}", 500, "stepdown: the log is stuck\n" },
                { "{\"id\":\"nobody leads\"}", 503, "leader not found\n" },
                { "{\"id\":\"not me\"}", 503, "stepdown: not leader, nothing was done, ask http://127.0.0.1:4001\n" },
                { "{\"id\":\"slow\"}", 504, "stepdown: timed out, the leader is the same\n" },
                { "{\"id\":\"stop\"}", 503, "the node is stopping, nothing was done, try again\n" },
                { "{b", 400, "invalid JSON: " }, { "{\"id\":5}", 400, "invalid JSON: " }, { "{}", 200, "" }, { "{\"id\":null}", 200, "" },
        };
        (void) state;
        for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
                reply r = ask_for_leader("/leader", bodies[i].body);
                if (r.status != bodies[i].status)
                        print_error("%s: %d %s\n", bodies[i].body, r.status, reply_text(&r));
                assert_int_equal(r.status, bodies[i].status);
                assert_int_equal(strncmp(reply_text(&r), bodies[i].text, strlen(bodies[i].text)), 0);
                assert_int_equal(reply_header(&r, "X-Rqlite-Served-By") != NULL, r.status == 200);
                reply_done(&r);
        }
        expect_answer(h, "POST", "/leader", "{\"id\":\"zz\"}", 200, ""); /* no content type: not read */
        assert_false(fake_now().last_wait);
        reply r = ask_for_leader("/leader?wait", "{\"id\":\"n3\"}");
        assert_int_equal(r.status, 200);
        assert_true(fake_now().last_wait);
        reply_done(&r);
}

static void handing_over_ends_in_any_case(void **state) {
        (void) state;
        uint64_t start = rq_clock_mono_us();
        reply r = ask_for_leader("/leader?wait&timeout=300ms", "{\"id\":\"hang\"}");
        assert_int_equal(r.status, 504);
        reply_done(&r);
        assert_true(rq_clock_mono_us() - start < 2000000);
        r = ask_for_leader("/leader?wait", "{\"id\":\"gone\"}");
        assert_int_equal(r.status, 503);
        assert_string_equal(reply_text(&r), "stepdown: rq-consensus was restarted\n");
        reply_done(&r);
        harness_wait_linked(h);
        assert_int_equal(metrics_now().gateway.requests_in_flight, 0);
}

/* --- another node leads ----------------------------------------------------- */

static void a_follower_serves(void **state) {
        (void) state;
        set_follows(true);
        expect_part(h, "POST", "/db/execute", "[\"INSERT\"]", 200, "last_insert_id");
        expect_answer(h, "GET", "/db/query?q=SELECT", NULL, 200, SELECTED);
        expect_answer(h, "GET", "/readyz?sync", NULL, 200, "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok");
        expect_answer(h, "GET", "/status?key=store.leader.node_id", NULL, 200, "\"n2\"");
        expect_answer(h, "GET", "/status?key=store.raft.state", NULL, 200, "\"Follower\"");
        expect_answer(h, "POST", "/leader?wait", NULL, 200, ""); /* passed on by consensus */
        reply r = ask(h, "POST", "/leader?redirect&wait", "");
        assert_int_equal(r.status, 301);
        assert_string_equal(reply_header(&r, "Location"), "http://127.0.0.1:4101/leader?redirect&wait");
        reply_done(&r);
        set_follows(false);
}

static void nodes_of_a_cluster(void **state) {
        static const char leader[] = "{\"id\":\"n2\",\"api_addr\":\"http://127.0.0.1:4101\",\"addr\":\"127.0.0.1:4102\",\"version\":\"10\","
                                     "\"voter\":true,\"reachable\":true,\"leader\":true,\"time\":0.0015,\"time_s\":\"1.5ms\"}";
        static const char lost[] = "\"n3\":{\"id\":\"n3\",\"addr\":\"127.0.0.1:4202\",\"version\":\"\",\"voter\":true,\"reachable\":false,"
                                   "\"leader\":false,\"error\":\"connection refused\"}";
        static const char self[] = "{\"n1\":{\"id\":\"n1\",\"api_addr\":\"http://127.0.0.1:4001\",\"addr\":\"127.0.0.1:4002\",\"version\":\"10\","
                                   "\"voter\":true,\"reachable\":true,\"leader\":false,\"time\":";
        (void) state;
        set_follows(true);
        expect_part(h, "GET", "/nodes", NULL, 200, leader);
        expect_part(h, "GET", "/nodes", NULL, 200, lost);
        expect_part(h, "GET", "/nodes", NULL, 200, self);
        reply r = ask(h, "GET", "/nodes", NULL);
        assert_null(strstr(reply_text(&r), "n4"));
        reply_done(&r);
        expect_part(h, "GET", "/nodes?nonvoters&ver=2", NULL, 200,
                    "{\"id\":\"n4\",\"api_addr\":\"http://127.0.0.1:4301\",\"addr\":\"127.0.0.1:4302\",\"version\":\"10\",\"voter\":false,");
        expect_answer(h, "GET", "/leader", NULL, 200, leader);
        set_mute(true); /* consensus hangs: who leads is known all the same */
        uint64_t start = rq_clock_mono_us();
        expect_part(h, "GET", "/leader?timeout=200ms", NULL, 200, "{\"id\":\"n2\",\"api_addr\":\"http://127.0.0.1:4101\"");
        assert_true(rq_clock_mono_us() - start < 700000);
        set_mute(false);
        set_follows(false);
}

static void job_set_reads_fail(harness *t, const void *arg) { t->fake.reads_fail = *(const bool *) arg; }

/* It is known, but nobody hears it. */
static void a_lost_leader_is_told_by_readyz(void **state) {
        static const char text[] = "[+]node ok\n[+]leader not contactable: leader not found";
        const bool fail = true, work = false;
        (void) state;
        set_follows(true);
        harness_do(h, job_set_reads_fail, &fail);
        expect_answer(h, "GET", "/readyz", NULL, 503, text);
        expect_answer(h, "GET", "/readyz?sync", NULL, 503, text);
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none&freshness=1s", NULL, 200, "{\"results\":[],\"error\":\"stale read\"}");
        expect_answer(h, "GET", "/db/query?q=SELECT&level=none", NULL, 200, SELECTED);
        harness_do(h, job_set_reads_fail, &work);
        set_follows(false);
}

static void vars_document(void **state) {
        (void) state;
        expect_part(h, "GET", "/debug/vars", NULL, 200, "{\n\"cmdline\": [\"rq-gateway\"],\n\"http\": {");
        expect_part(h, "GET", "/debug/vars", NULL, 200, "\"db\": {\"executions\": 3}");
        expect_part(h, "GET", "/debug/vars?key=http", NULL, 200, "\"leader_not_found\": ");
        expect_answer(h, "GET", "/debug/vars?key=x", NULL, 200, "{\n\n}\n");
        expect_part(h, "GET", "/licenses", NULL, 200, "SQLite");
        expect_answer(h, "GET", "/", NULL, 302, "<a href=\"/console/\">Found</a>.\n\n");
        expect_answer(h, "POST", "/", "", 302, "");
}

static void job_not_ready(harness *t, const void *arg) {
        t->fake.not_ready = *(const bool *) arg;
        fake_send_node_state(&t->fake);
}

static void job_catching_up(harness *t, const void *arg) {
        t->fake.catching_up = *(const bool *) arg;
        fake_send_node_state(&t->fake);
}

static void readiness(void **state) {
        (void) state;
        bool not_ready = true, ready = false;
        expect_answer(h, "GET", "/readyz", NULL, 200, "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok");
        expect_answer(h, "GET", "/readyz?sync", NULL, 200, "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok");
        harness_do(h, job_not_ready, &not_ready);
        harness_wait(h, job_state_is_here);
        expect_answer(h, "GET", "/readyz?timeout=200ms", NULL, 503, "[+]node ok\n[+]leader ok\n[+]store not ready");
        /* Leader known, about to be ready: answered when it is. */
        client *c = client_new(h);
        client_request(c, "GET", "/readyz", "", NULL);
        (void) usleep(100000);
        harness_do(h, job_not_ready, &ready);
        reply r = client_reply(c);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        client_free(c);
        /* To be a voter, and none yet. */
        harness_do(h, job_catching_up, &not_ready);
        harness_wait(h, job_state_is_here);
        expect_answer(h, "GET", "/readyz?timeout=200ms", NULL, 503, "[+]node ok\n[+]leader ok\n[+]store not ready");
        harness_do(h, job_catching_up, &ready);
        harness_wait(h, job_state_is_here);
        expect_part(h, "GET", "/readyz", NULL, 200, "[+]db ok");
}

static void job_follow(harness *t, const void *arg) {
        node_view *view = &t->gw->node;
        view->role = *(const bool *) arg ? ROLE_FOLLOWER : ROLE_LEADER;
        (void) strcpy(view->leader_api_addr, "10.1.2.3:4001");
}

static void redirections(void **state) {
        (void) state;
        bool follower = true, leader = false;
        expect_part(h, "POST", "/db/execute?redirect", "[\"INSERT\"]", 200, "last_insert_id"); /* the leader serves itself */
        harness_do(h, job_follow, &follower);
        reply r = ask(h, "POST", "/db/execute?redirect&pretty&x=%41%2B", "[\"INSERT\"]");
        assert_int_equal(r.status, 301);
        assert_string_equal(reply_header(&r, "Location"), "http://10.1.2.3:4001/db/execute?redirect&pretty&x=%41%2B");
        reply_done(&r);
        r = ask(h, "GET", "/db/query?q=SELECT&redirect&level=none", NULL);
        assert_int_equal(r.status, 200);
        reply_done(&r);
        harness_do(h, job_follow, &leader);
}

/* --- the end ---------------------------------------------------------------- */

static void job_on_stopped(void *arg) { ((harness *) arg)->stopped = true; }

static void job_stop(harness *t, const void *arg) {
        (void) arg;
        gateway_stop(t->gw, job_on_stopped, t);
}

static void job_copy_stopped(harness *t, const void *arg) { *(bool *) (uintptr_t) arg = t->stopped; }

/* Last: what is in work is finished, idle connections end. */
static void stopping(void **state) {
        (void) state;
        bool stopped = true;
        client *idle = client_new(h), *busy = client_new(h), *working = client_new(h);
        client_request(idle, "GET", "/readyz?noleader", "", NULL);
        reply r = client_reply(idle);
        reply_done(&r);
        client_request(working, "GET", "/readyz?noleader", "", NULL);
        r = client_reply(working);
        reply_done(&r);
        client_request(busy, "GET", "/db/query?q=HANG&timeout=2s", "", NULL);
        wait_in_flight(1);
        harness_do(h, job_stop, NULL);
        client_request(working, "GET", "/readyz?noleader", "", NULL); /* on its way when we stopped */
        r = client_reply(working);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        assert_false(client_fill(working));
        assert_false(client_fill(idle));
        harness_do(h, job_copy_stopped, &stopped);
        assert_false(stopped);
        r = client_reply(busy);
        assert_int_equal(r.status, 504);
        assert_string_equal(reply_header(&r, "Connection"), "close");
        reply_done(&r);
        assert_false(client_fill(busy));
        harness_wait(h, job_copy_stopped);
        client_free(idle);
        client_free(busy);
        client_free(working);
}

static void tune(harness *t) { t->config.max_inflight = 40; }

static int open_harness(void **state) {
        (void) state;
        rq_log_open("test_gateway", RQ_LOG_PLAIN, LOG_ERR);
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
                cmocka_unit_test(writes_are_proposed), cmocka_unit_test(levels_choose_the_way), cmocka_unit_test(requests_go_by_first_words),
                cmocka_unit_test(min_index_is_passed_on), cmocka_unit_test(tokens_are_of_an_epoch), cmocka_unit_test(bounds_on_staleness_are_passed_on), cmocka_unit_test(consensus_has_the_first_word), cmocka_unit_test(backups_name_format_and_tables), cmocka_unit_test(tails), cmocka_unit_test(bodies_are_checked),
                cmocka_unit_test(text_bodies), cmocka_unit_test(sql_preview), cmocka_unit_test(checks_come_in_order),
                cmocka_unit_test(pages_and_paths), cmocka_unit_test(failures_by_outcome), cmocka_unit_test(nothing_hangs),
                cmocka_unit_test(without_a_leader), cmocka_unit_test(too_many_requests), cmocka_unit_test(bodies_that_drip_make_room), cmocka_unit_test(headers_that_drip_make_room), cmocka_unit_test(a_large_result_flows),
                cmocka_unit_test(a_slow_reader_is_bounded_and_cancelled), cmocka_unit_test(a_client_that_hangs_up_cancels_its_read),
                cmocka_unit_test(reads_are_sent_again), cmocka_unit_test(a_read_that_breaks_links_is_not_sent_for_ever), cmocka_unit_test(writes_are_never_sent_again),
                cmocka_unit_test(a_restarting_consensus_is_waited_for), cmocka_unit_test(status_document),
                cmocka_unit_test(status_without_answers), cmocka_unit_test(services_of_the_launcher), cmocka_unit_test(nodes_and_leader),
                cmocka_unit_test(leadership_is_handed_over), cmocka_unit_test(handing_over_ends_in_any_case), cmocka_unit_test(a_follower_serves),
                cmocka_unit_test(nodes_of_a_cluster), cmocka_unit_test(a_lost_leader_is_told_by_readyz),
                cmocka_unit_test(vars_document), cmocka_unit_test(readiness), cmocka_unit_test(redirections), cmocka_unit_test(stopping),
        };
        return cmocka_run_group_tests(tests, open_harness, close_harness);
}
