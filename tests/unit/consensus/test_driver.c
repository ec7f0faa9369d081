/* core/driver and core/answers: a cluster of one, turn by turn. The test plays
 * the log writer, the store and the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/answers.h"
#include "core/driver.h"

enum { START_US = 1000000, ELECTION_US = 200000 };

typedef struct node {
        driver *d;
        driver_plan plan;
        uint64_t now_us;
} node;

static void turn(node *n) {
        n->now_us += 10;
        driver_turn(n->d, n->now_us, 1767225600000000u + n->now_us, &n->plan);
}

/* The disk keeps its promise at once, until nothing is left to write. */
static void settle(node *n) {
        do {
                turn(n);
                if (n->plan.persist)
                        driver_persisted(n->d, &n->plan.when_durable);
        } while (n->plan.persist);
}

static int setup(void **state) {
        node *n = calloc(1, sizeof *n);
        const membership alone = { .count = 1, .members = { { .disk_uuid = { { 1 } }, .voter = true, .node_id = "n1", .raft_addr = "host:4002" } } };
        rq_buf body = {0};
        if (n == NULL || membership_encode(&alone, &body) < 0)
                return -1;
        const driver_options options = {
                .id = membership_raft_id(&alone.members[0].disk_uuid), .database_id = { { 7 } }, .clock_us = 5, .random_seed = 42,
                .base_membership = rq_buf_bytes(&body), .now_us = START_US, .heartbeat_us = 20000, .election_us = ELECTION_US,
                .disk_stall_us = 60000000,
        };
        rq_err r = driver_new(&options, &n->d);
        rq_buf_done(&body);
        if (r < 0 || driver_restored(n->d) < 0)
                return -1;
        n->now_us = START_US;
        *state = n;
        return 0;
}

static int setup_leader(void **state) {
        if (setup(state) != 0)
                return -1;
        settle(*state);
        return 0;
}

static int teardown(void **state) {
        node *n = *state;
        n->d = driver_free(n->d);
        free(n);
        return 0;
}

static rq_err propose(node *n, uint64_t request_id, uint64_t deadline_us) {
        const driver_proposal p = {
                .from = { .gateway = 3, .request_id = request_id }, .deadline_us = deadline_us, .kind = RECORD_SQL,
        };
        return driver_propose(n->d, &p, rq_bytes_text("statement"));
}

static const answer *only_answer(node *n) {
        answers *list = driver_answers(n->d);
        assert_int_equal(list->count, 1);
        list->count = 0;
        return &list->v[0];
}

static void test_leads_only_after_its_vote_is_durable(void **state) {
        node *n = *state;
        turn(n);
        assert_true(n->plan.persist && n->plan.hard);
        assert_int_equal(n->plan.term, 1);
        assert_int_equal(n->plan.vote, 1);
        assert_int_equal(n->plan.first, 0);
        driver_plan vote = n->plan;
        turn(n); /* the disk takes its time */
        assert_false(n->plan.persist);
        assert_true(raft_role_of(driver_raft(n->d)) != RAFT_LEADER);

        driver_persisted(n->d, &vote.when_durable);
        turn(n);
        assert_true(n->plan.persist && n->plan.state_changed);
        assert_int_equal(n->plan.first, 1); /* the first entry of its term */
        assert_int_equal(n->plan.last, 1);
        assert_false(n->plan.committed);
        driver_persisted(n->d, &n->plan.when_durable);
        turn(n);
        assert_true(n->plan.committed);
        assert_int_equal(raft_commit_of(driver_raft(n->d)), 1);
}

static void test_what_comes_before_leadership_goes_in_the_same_turn(void **state) {
        node *n = *state;
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_OK);
        assert_int_equal(propose(n, 2, UINT64_MAX), RQ_OK);
        turn(n);
        assert_int_equal(n->plan.first, 0);
        driver_persisted(n->d, &n->plan.when_durable);
        turn(n);
        assert_int_equal(n->plan.first, 1);
        assert_int_equal(n->plan.last, 3);
        driver_persisted(n->d, &n->plan.when_durable);
        turn(n);
        assert_int_equal(raft_commit_of(driver_raft(n->d)), 3);
        assert_int_equal(driver_answers(n->d)->count, 0);
}

/* Its vote never becomes durable. */
static void test_a_leader_is_waited_for_only_for_a_time(void **state) {
        node *n = *state;
        turn(n);
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_OK);
        assert_int_equal(driver_read(n->d, (request_origin) { 3, 2 }, DRIVER_READ_WEAK, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        turn(n);
        uint64_t due_us = driver_deadline_us(n->d);
        assert_true(due_us > n->now_us && due_us <= START_US + 3 * ELECTION_US);
        n->now_us = due_us;
        turn(n); /* the read: there has been no leader since the start */
        const answer *a = only_answer(n);
        assert_int_equal(a->to.request_id, 2);
        assert_int_equal(a->reason, REASON_NO_LEADER);
        assert_int_equal(propose(n, 4, UINT64_MAX), RQ_ENOTLEADER);
        n->now_us += ELECTION_US;
        turn(n);
        a = only_answer(n);
        assert_int_equal(a->to.request_id, 1);
        assert_int_equal(a->outcome, OUTCOME_REFUSED);
        assert_int_equal(a->reason, REASON_NO_LEADER);
}

static void test_reads_of_a_lone_voter_are_ready_in_their_turn(void **state) {
        node *n = *state;
        for (int level = DRIVER_READ_WEAK; level <= DRIVER_READ_LINEARIZABLE; level++) {
                assert_int_equal(driver_read(n->d, (request_origin) { 3, 2 }, (driver_read_level) level, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
                turn(n);
                assert_non_null(driver_next_read(n->d));
                assert_int_equal(driver_next_read(n->d)->index, 1);
                driver_read_passed_on(n->d, driver_next_read(n->d));
        }
        assert_int_equal(driver_read(n->d, (request_origin) { 3, 2 }, DRIVER_READ_STRONG, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        assert_int_equal(driver_read(n->d, (request_origin) { 3, 3 }, DRIVER_READ_STRONG, UINT64_MAX, 7, rq_bytes_text("q")), RQ_OK);
        turn(n);
        assert_int_equal(n->plan.last, 2); /* one barrier for both */
        assert_null(driver_next_read(n->d));
        driver_persisted(n->d, &n->plan.when_durable);
        turn(n);
        assert_int_equal(driver_next_read(n->d)->index, 2);
        driver_read_passed_on(n->d, driver_next_read(n->d));
        assert_int_equal(driver_next_read(n->d)->index, 7);
        assert_int_equal(driver_pending_count(n->d), 0);
}

static void test_a_turn_makes_one_write_of_all_proposals(void **state) {
        node *n = *state;
        for (uint64_t id = 1; id <= 50; id++)
                assert_int_equal(propose(n, id, UINT64_MAX), RQ_OK);
        turn(n);
        assert_true(n->plan.persist);
        assert_int_equal(n->plan.first, 2);
        assert_int_equal(n->plan.last, 51);
        assert_int_equal(raft_commit_of(driver_raft(n->d)), 1); /* not before it is durable */
        driver_persisted(n->d, &n->plan.when_durable);
        turn(n);
        assert_true(n->plan.committed);
        assert_int_equal(raft_commit_of(driver_raft(n->d)), 51);
        assert_int_equal(driver_answers(n->d)->count, 0); /* results come from the store */
}

static void test_entry_clocks_rise_though_the_wall_clock_stands(void **state) {
        node *n = *state;
        uint64_t before = driver_clock_us(n->d);
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_OK);
        assert_int_equal(propose(n, 2, UINT64_MAX), RQ_OK);
        driver_turn(n->d, n->now_us, 0, &n->plan); /* the wall clock fell back to 1970 */
        assert_true(driver_clock_us(n->d) == before + 2);
}

static void test_a_deadline_answers_unknown_once(void **state) {
        node *n = *state;
        assert_int_equal(propose(n, 9, n->now_us + 1000), RQ_OK);
        turn(n); /* in the log writer's hands, which doesn't come back */
        assert_int_equal(driver_answers(n->d)->count, 0);
        n->now_us += 2000;
        turn(n);
        const answer *a = only_answer(n);
        assert_int_equal(a->outcome, OUTCOME_UNKNOWN);
        assert_int_equal(a->to.request_id, 9);
        n->now_us += 2000;
        turn(n);
        assert_int_equal(driver_answers(n->d)->count, 0);
}

static void test_failed_storage_refuses_what_comes_and_knows_not_what_was(void **state) {
        node *n = *state;
        assert_int_equal(propose(n, 4, UINT64_MAX), RQ_OK);
        turn(n);
        driver_storage_failed(n->d);
        turn(n);
        assert_int_equal(only_answer(n)->outcome, OUTCOME_UNKNOWN);
        assert_true(propose(n, 5, UINT64_MAX) < 0);
        assert_int_equal(raft_commit_of(driver_raft(n->d)), 1);
}

static void test_the_store_gets_the_log_from_where_it_stands(void **state) {
        node *n = *state;
        const rq_uuid stream_id = { { 1, 2, 3 } };
        driver_batch batch;
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_OK);
        assert_int_equal(propose(n, 2, UINT64_MAX), RQ_OK);
        settle(n);
        assert_false(driver_next_batch(n->d, &batch)); /* no store */
        stream_fetch fetch = { .from = 1 };
        assert_int_equal(driver_fetch(n->d, &fetch, &stream_id), RQ_OK);
        turn(n);
        assert_true(driver_next_batch(n->d, &batch));
        assert_int_equal(batch.first, 1);
        assert_int_equal(batch.last, 3);
        assert_int_equal(batch.previous, 0);
        assert_int_equal(batch.commit, 3);
        driver_batch_sent(n->d, 3, 100);
        assert_int_equal(driver_applied(n->d, 4, 0), RQ_EPROTO); /* more than it was sent */
        assert_int_equal(driver_applied(n->d, 3, 0), RQ_OK);
}

/* Its store died after applying and before telling: the result is lost. */
static void test_applied_without_a_result_is_committed(void **state) {
        node *n = *state;
        const rq_uuid first = { { 1 } }, second = { { 2 } };
        driver_batch batch;
        stream_fetch fetch = { .from = 1 };
        assert_int_equal(driver_fetch(n->d, &fetch, &first), RQ_OK);
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_OK);
        settle(n);
        assert_true(driver_next_batch(n->d, &batch));
        driver_batch_sent(n->d, 2, 100);
        driver_store_gone(n->d);
        fetch = (stream_fetch) { .from = 3, .applied_term = 1, .database_id = { { 7 } } };
        assert_int_equal(driver_fetch(n->d, &fetch, &second), RQ_OK);
        turn(n);
        const answer *a = only_answer(n);
        assert_int_equal(a->outcome, OUTCOME_COMMITTED);
        assert_int_equal(a->index, 2);
}

static void test_after_stop_nothing_is_taken(void **state) {
        node *n = *state;
        driver_stop(n->d);
        assert_int_equal(propose(n, 1, UINT64_MAX), RQ_ECANCELED);
}

static void test_answers_keep_their_order(void **state) {
        (void) state;
        answers list = {0};
        for (uint64_t i = 0; i < 1000; i++)
                answers_add(&list, (request_origin) { 1, i }, OUTCOME_REFUSED, REASON_OVERLOADED, 0, "full");
        assert_int_equal(list.count, 1000);
        for (uint64_t i = 0; i < 1000; i++)
                assert_true(list.v[i].to.request_id == i);
        answers_done(&list);
        assert_int_equal(list.count, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_leads_only_after_its_vote_is_durable, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_comes_before_leadership_goes_in_the_same_turn, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_leader_is_waited_for_only_for_a_time, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reads_of_a_lone_voter_are_ready_in_their_turn, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_a_turn_makes_one_write_of_all_proposals, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_entry_clocks_rise_though_the_wall_clock_stands, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_a_deadline_answers_unknown_once, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_failed_storage_refuses_what_comes_and_knows_not_what_was, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_the_store_gets_the_log_from_where_it_stands, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_applied_without_a_result_is_committed, setup_leader, teardown),
                cmocka_unit_test_setup_teardown(test_after_stop_nothing_is_taken, setup_leader, teardown),
                cmocka_unit_test(test_answers_keep_their_order),
        };
        return cmocka_run_group_tests_name("driver", tests, NULL, NULL);
}
