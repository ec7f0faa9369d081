/* Nobody leads for a moment: who must know the leader waits for the next one, as long as one can be expected. */
#include "harness.h"

static harness *h;

typedef struct change { bool no_leader, follows; } change;

static void job_change(harness *t, const void *arg) {
        const change *to = arg;
        t->fake.no_leader = to->no_leader;
        t->fake.follows = to->follows;
        fake_send_node_state(&t->fake);
}

static void now_is(change to) {
        harness_do(h, job_change, &to);
        harness_wait(h, job_state_is_here);
}

static void nobody_leads(void) { now_is((change) { .no_leader = true }); }
static void another_leads(void) { now_is((change) { .follows = true }); }
static void it_leads(void) { now_is((change) {0}); }

static unsigned wanted_in_work;

static void job_in_work(harness *t, const void *ret_there) { *(bool *) (uintptr_t) ret_there = t->gw->exchanges.used_count == wanted_in_work; }

static void wait_for_in_work(unsigned count) {
        wanted_in_work = count;
        harness_wait(h, job_in_work);
}

static void job_refuse_removes(harness *t, const void *arg) { t->fake.removes_refused = *(const unsigned *) arg; }
static void job_removes(harness *t, const void *arg) { *(uint64_t *) (uintptr_t) arg = t->fake.removes; }
static void job_loaded(harness *t, const void *arg) { *(uint64_t *) (uintptr_t) arg = t->fake.loaded_bytes; }

static uint64_t number_of(void (*job)(harness *t, const void *arg)) {
        uint64_t number = 0;
        harness_do(h, job, &number);
        return number;
}

static client *send_one(const char *method, const char *target, const char *body) {
        client *c = client_new(h);
        client_request(c, method, target, "", body);
        return c;
}

static void expect_reply(client *c, int status, const char *location, const char *text) {
        reply r = client_reply(c);
        if (r.status != status)
                print_error("%d, not %d: %.300s\n", r.status, status, reply_text(&r));
        assert_int_equal(r.status, status);
        if (location != NULL)
                assert_string_equal(reply_header(&r, "Location"), location);
        if (text != NULL)
                assert_string_equal(reply_text(&r), text);
        reply_done(&r);
        client_free(c);
}

static void they_wait_for_the_next_leader(void **state) {
        static const struct { const char *method, *target, *body; } asked[] = {
                { "POST", "/db/execute?redirect", "[\"INSERT\"]" }, { "POST", "/db/query?redirect&level=strong", "[\"SELECT\"]" },
                { "GET", "/db/query?q=SELECT&redirect", NULL },     { "POST", "/db/request?redirect", "[\"INSERT\"]" },
                { "GET", "/db/backup?redirect", NULL },             { "POST", "/db/load?redirect", "some SQL" },
                { "POST", "/leader?redirect", "" },                 { "DELETE", "/remove?redirect", "{\"id\":\"n3\"}" },
        };
        enum { COUNT = sizeof asked / sizeof asked[0] };
        client *all[COUNT];
        char location[128];
        (void) state;
        nobody_leads();
        for (size_t i = 0; i < COUNT; i++)
                all[i] = send_one(asked[i].method, asked[i].target, asked[i].body);
        client *removal = send_one("DELETE", "/remove", "{\"id\":\"n3\"}");
        wait_for_in_work(COUNT + 1);
        expect_answer(h, "GET", "/leader", NULL, 503, "leader not found\n"); /* what is so now is told at once */
        another_leads();
        for (size_t i = 0; i < COUNT; i++) {
                (void) snprintf(location, sizeof location, "http://127.0.0.1:4101%s", asked[i].target);
                expect_reply(all[i], 301, location, "");
        }
        expect_reply(removal, 200, NULL, "");
        wait_for_in_work(0);
        it_leads();
}

static void it_may_be_itself(void **state) {
        (void) state;
        nobody_leads();
        client *write = send_one("POST", "/db/execute?redirect", "[\"INSERT\"]"), *backup = send_one("GET", "/db/backup?redirect", NULL);
        wait_for_in_work(2);
        it_leads();
        expect_reply(write, 200, NULL, NULL);
        expect_reply(backup, 200, NULL, NULL);
        wait_for_in_work(0);
}

/* What came of a body before the leader was known isn't lost, and neither what comes after it. */
static void a_load_that_waited_is_whole(void **state) {
        (void) state;
        const uint64_t before = number_of(job_loaded);
        nobody_leads();
        client *c = client_new(h);
        client_send(c, "POST /db/load?redirect HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n0123456789");
        wait_for_in_work(1);
        client_send(c, "0123456789");
        it_leads();
        client_send(c, "0123456789");
        expect_reply(c, 200, NULL, "{\"results\":[]}");
        assert_int_equal(number_of(job_loaded) - before, 30);
        wait_for_in_work(0);
}

/* Who would have to send a body first is told before it does. */
static void a_load_waits_before_its_body(void **state) {
        (void) state;
        nobody_leads();
        client *c = client_new(h);
        client_send(c, "POST /db/load?redirect HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n");
        wait_for_in_work(1);
        another_leads();
        expect_reply(c, 301, "http://127.0.0.1:4101/db/load?redirect", "");
        nobody_leads();
        c = client_new(h);
        client_send(c, "POST /db/load?redirect HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        wait_for_in_work(1);
        it_leads();
        reply r = client_reply(c);
        assert_int_equal(r.status, 100);
        reply_done(&r);
        client_send(c, "01234");
        expect_reply(c, 200, NULL, "{\"results\":[]}");
}

static void not_for_ever(void **state) {
        (void) state;
        nobody_leads();
        const uint64_t begin_us = rq_clock_mono_us();
        expect_answer(h, "POST", "/db/execute?redirect&timeout=100ms", "[\"INSERT\"]", 500, "leader not found\n");
        expect_answer(h, "DELETE", "/remove?timeout=100ms", "{\"id\":\"n3\"}", 503, "leader not found\n");
        assert_true(rq_clock_mono_us() - begin_us < 2000000);
        /* Without a limit of the client's: as long as one can be expected. */
        client *removal = send_one("DELETE", "/remove", "{\"id\":\"n3\"}"), *upload = send_one("POST", "/db/load?redirect", "some SQL");
        expect_reply(removal, 503, NULL, "leader not found\n");
        expect_reply(upload, 500, NULL, "leader not found\n");
        const uint64_t took_us = rq_clock_mono_us() - begin_us;
        assert_true(took_us >= LINK_WAIT_MS * UINT64_C(900) && took_us < 15000000);
        /* From then on nobody waits. */
        const uint64_t again_us = rq_clock_mono_us();
        expect_answer(h, "POST", "/db/execute?redirect", "[\"INSERT\"]", 500, "leader not found\n");
        expect_answer(h, "DELETE", "/remove", "{\"id\":\"n3\"}", 503, "leader not found\n");
        assert_true(rq_clock_mono_us() - again_us < 2000000);
        it_leads();
}

/* The gateway knows a leader, and consensus does so no longer. */
static void consensus_has_lost_it(void **state) {
        (void) state;
        const unsigned once = 1;
        const uint64_t before = number_of(job_removes);
        harness_do(h, job_refuse_removes, &once);
        client *removal = send_one("DELETE", "/remove", "{\"id\":\"n3\"}");
        for (int i = 0; i < 5000 && number_of(job_removes) == before; i++)
                (void) usleep(1000);
        assert_int_equal(number_of(job_removes) - before, 1);
        wait_for_in_work(1);
        nobody_leads();
        another_leads();
        expect_reply(removal, 200, NULL, "");
        assert_int_equal(number_of(job_removes) - before, 2);
        it_leads();
        /* For good: asked once more when the time is over, and no more. */
        const unsigned always = 1000;
        harness_do(h, job_refuse_removes, &always);
        expect_answer(h, "DELETE", "/remove?timeout=200ms", "{\"id\":\"n3\"}", 503, "leader not found\n");
        assert_true(number_of(job_removes) - before <= 4);
        const unsigned never = 0;
        harness_do(h, job_refuse_removes, &never);
}

static void clients_may_go(void **state) {
        (void) state;
        nobody_leads();
        client *removal = send_one("DELETE", "/remove", "{\"id\":\"n3\"}"), *write = send_one("POST", "/db/execute?redirect", "[\"INSERT\"]");
        wait_for_in_work(2);
        client_free(removal);
        client_free(write);
        wait_for_in_work(0); /* before anybody leads */
        it_leads();
        expect_part(h, "POST", "/db/execute", "[\"INSERT\"]", 200, "last_insert_id");
}

static int open_harness(void **state) {
        (void) state;
        rq_log_open("test_leader_wait", RQ_LOG_PLAIN, LOG_ERR);
        h = harness_new(NULL);
        return 0;
}

static int close_harness(void **state) {
        (void) state;
        harness_free(h);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(they_wait_for_the_next_leader), cmocka_unit_test(it_may_be_itself), cmocka_unit_test(a_load_that_waited_is_whole),
                cmocka_unit_test(a_load_waits_before_its_body), cmocka_unit_test(not_for_ever), cmocka_unit_test(consensus_has_lost_it),
                cmocka_unit_test(clients_may_go),
        };
        return cmocka_run_group_tests(tests, open_harness, close_harness);
}
