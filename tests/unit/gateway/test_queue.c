/* Queued writes in front of a fake node: who waits learns what became of his write, and
 * "done" only if it was. */
#include "harness.h"

static harness *h;

static void job_length(harness *t, const void *arg) { *(size_t *) (uintptr_t) arg = t->gw->queue.writes.count; }

static void wait_for_length(size_t wanted) {
        size_t length = SIZE_MAX;
        for (int i = 0; i < 2000 && length != wanted; i++) {
                harness_do(h, job_length, &length);
                (void) usleep(5000);
        }
        assert_int_equal(length, wanted);
}

static void job_metrics(harness *t, const void *arg) { *(metrics *) (uintptr_t) arg = t->gw->metrics; }

static metrics metrics_now(void) {
        metrics m = {0};
        harness_do(h, job_metrics, &m);
        return m;
}

static void expect_reply(client *c, int status, const char *part) {
        reply r = client_reply(c);
        if (r.status != status || strstr(reply_text(&r), part) == NULL)
                print_error("%d %.300s\n", r.status, reply_text(&r));
        assert_int_equal(r.status, status);
        assert_non_null(strstr(reply_text(&r), part));
        reply_done(&r);
        client_free(c);
}

static client *send_queued(const char *target, const char *body) {
        client *c = client_new(h);
        client_request(c, "POST", target, "", body);
        return c;
}

/* Two writes in one batch; the fake node's answer is by the first. */
static void expect_pair(const char *first, int status, const char *part, int second_status, const char *second_part) {
        client *a = send_queued("/db/execute?queue&wait", first);
        wait_for_length(1);
        client *b = send_queued("/db/execute?queue&wait", "[\"INSERT INTO t VALUES(2)\"]");
        expect_reply(a, status, part);
        expect_reply(b, second_status, second_part);
        wait_for_length(0);
}

#define LOST "but the result is lost; do not send it again"

static void each_has_its_own_result(void **state) {
        (void) state;
        expect_pair("[\"RAW {\\\"results\\\":[{},{\\\"error\\\":\\\"UNIQUE\\\"}]\"]", 200, "{\"results\":[],\"sequence_number\":", 200,
                    "{\"results\":[{\"error\":\"UNIQUE\"}],");
}

static void a_lost_result_is_no_success(void **state) {
        (void) state;
        metrics before = metrics_now();
        expect_pair("[\"FAIL 3 0 gone\"]", 500, "committed at index 77, " LOST, 500, "committed at index 77, " LOST);
        metrics after = metrics_now();
        assert_int_equal(after.http.queued_executions_ok, before.http.queued_executions_ok);
        assert_int_equal(after.http.queued_executions_unknown_error, before.http.queued_executions_unknown_error + 2);
}

static void a_result_that_cannot_be_read_is_no_success(void **state) {
        (void) state;
        expect_pair("[\"RAW {\\\"results\\\":[{\\\"rows\\\":1},{}]\"]", 500, LOST, 500, LOST);
        expect_pair("[\"RAW {\\\"results\\\":[{}]\"]", 200, "{\"results\":[],", 500, LOST);
        expect_pair("[\"RAW \"]", 500, LOST, 500, LOST);
}

/* Of the answer to a batch only so much is held. */
static void a_result_that_is_too_long_is_no_success(void **state) {
        (void) state;
        expect_pair("[\"GROUPS 3\"]", 200, "{\"results\":[],", 200, "{\"results\":[{\"error\":\"xxxx");
        expect_pair("[\"GROUPS 600\"]", 200, "{\"results\":[],", 500, LOST);
}

static void an_unknown_outcome_is_told(void **state) {
        (void) state;
        expect_pair("[\"FAIL 2 0 nobody knows\"]", 504, "the outcome is unknown", 504, "the outcome is unknown");
}

/* Refused as a batch, then alone: one is at fault, the other is made. */
static void who_is_refused_is_told_why(void **state) {
        (void) state;
        expect_pair("[\"FAIL 0 9 no such thing\"]", 400, "no such thing", 500, LOST);
}

static void a_mark_waits_for_all_before(void **state) {
        (void) state;
        expect_reply(send_queued("/db/execute?queue", "[\"RAW {\\\"results\\\":[{}]\"]"), 200, "sequence_number");
        expect_reply(send_queued("/db/execute?queue&wait", "[]"), 200, "{\"results\":[],");
        wait_for_length(0);
}

/* --- the end ---------------------------------------------------------------- */

static void job_on_stopped(void *arg) { ((harness *) arg)->stopped = true; }

static void job_stop_without_leader(harness *t, const void *arg) {
        (void) arg;
        gateway_stop(t->gw, job_on_stopped, t);
}

static void job_copy_stopped(harness *t, const void *arg) { *(bool *) (uintptr_t) arg = t->stopped; }

static void job_no_leader(harness *t, const void *arg) {
        (void) arg;
        t->fake.no_leader = true;
        fake_send_node_state(&t->fake);
}

/* No leader for as long as a stop waits: who waits is told that nothing was done. Last. */
static void a_stop_tells_who_waits(void **state) {
        (void) state;
        harness_do(h, job_no_leader, NULL);
        client *a = send_queued("/db/execute?queue&wait&noleader", "[\"INSERT\"]");
        client *mark = send_queued("/db/execute?queue&wait&noleader", "[]");
        wait_for_length(2);
        harness_do(h, job_stop_without_leader, NULL);
        reply r = client_reply(a);
        bool known = r.status == 503 && strstr(reply_text(&r), "the node is stopping, nothing was done") != NULL;
        bool on_its_way = r.status == 504 && strstr(reply_text(&r), "unknown") != NULL; /* it was just being tried again */
        assert_true(known || on_its_way);
        reply_done(&r);
        client_free(a);
        expect_reply(mark, 503, "were not made, and are lost");
        harness_wait(h, job_copy_stopped);
}

static void tune(harness *t) {
        t->config.queue_capacity = 100;
        t->config.queue_batch_size = 2;
        t->config.queue_timeout_us = 100000000; /* what is due, is so by count */
}

static int open_harness(void **state) {
        (void) state;
        rq_log_open("test_queue", RQ_LOG_PLAIN, LOG_ERR);
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
                cmocka_unit_test(each_has_its_own_result), cmocka_unit_test(a_lost_result_is_no_success),
                cmocka_unit_test(a_result_that_cannot_be_read_is_no_success), cmocka_unit_test(a_result_that_is_too_long_is_no_success),
                cmocka_unit_test(an_unknown_outcome_is_told), cmocka_unit_test(who_is_refused_is_told_why),
                cmocka_unit_test(a_mark_waits_for_all_before), cmocka_unit_test(a_stop_tells_who_waits),
        };
        return cmocka_run_group_tests(tests, open_harness, close_harness);
}
