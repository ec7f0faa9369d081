/* core/driver: what is staged when leadership goes, members that change, a disk that
 * fails, bounds. */
#include "driver_cluster.h"

static rq_err read_strong(cluster *c, int i, uint64_t request_id) {
        return driver_read(c->nodes[i].d, (request_origin) { 1, request_id }, DRIVER_READ_STRONG, UINT64_MAX, 0, rq_bytes_text("q"));
}

static int setup(void **state) {
        *state = cluster_new(3, 3);
        return 0;
}

static int teardown(void **state) {
        cluster_free(*state);
        return 0;
}

/* Somebody else leads a higher term between the proposal and the turn. */
static void test_staged_writes_wait_when_leadership_goes(void **state) {
        cluster *c = *state;
        int leader = elect(c), other = (leader + 1) % 3;
        raft_term term = raft_term_of(driver_raft(c->nodes[leader].d));
        const driver_forward foreign = {
                .to = c->nodes[other].id, .term = term, .seed = 99, .kind = RECORD_SQL, .body = rq_bytes_text("foreign"),
        };
        assert_int_equal(propose(c, leader, 1, "staged"), RQ_OK);
        assert_int_equal(read_strong(c, leader, 2), RQ_OK);
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &foreign), RQ_OK);
        assert_true(driver_staged_bytes(c->nodes[leader].d) > 0);
        const raft_message heartbeat = {
                .type = RAFT_MSG_HEARTBEAT, .from = c->nodes[other].id, .to = c->nodes[leader].id, .term = term + 5, /* that nobody gets to by itself */
                .heartbeat = { .round = 1 },
        };
        assert_int_equal(driver_receive(c->nodes[leader].d, &heartbeat, (rq_bytes) {0}, c->now_us), RQ_OK);
        assert_int_equal(driver_staged_bytes(c->nodes[leader].d), 0);
        assert_int_equal(driver_pending_count(c->nodes[leader].d), 1);
        elapse(c, 2 * ELECTION_US);
        (void) elect(c);
        elapse(c, 2 * HEARTBEAT_US);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(applied_times(c, i, "staged"), 1);
                assert_int_equal(applied_times(c, i, "foreign"), 0); /* its node learns it by the fence */
        }
        assert_int_equal(answers_of(c, leader)->count, 0);
        assert_non_null(driver_next_read(c->nodes[leader].d));
}

static uint32_t joint_entries(const cluster *c, int i) {
        uint32_t count = 0;
        const rq_buf *all = &c->nodes[i].applied;
        for (size_t at = 0; at < all->size; at += record_peek_bytes(all->data + at)) {
                membership m;
                const uint8_t *record = all->data + at;
                rq_bytes body = rq_bytes_of(record + RECORD_HEADER_BYTES, record_peek_bytes(record) - RECORD_HEADER_BYTES);
                if (record_peek_kind(all->data + at) != RECORD_CONFIGURATION)
                        continue;
                assert_int_equal(membership_decode(body, &m), RQ_OK);
                count += m.joint;
        }
        return count;
}

static void check_members(const cluster *c, int i, const membership *expected) {
        raft_index index = 0, raft_configuration_index = 0;
        const membership *m = driver_membership(c->nodes[i].d, &index);
        const raft_configuration *in_use = raft_configuration_of(driver_raft(c->nodes[i].d), &raft_configuration_index);
        assert_non_null(m);
        assert_int_equal(m->count, expected->count);
        assert_true(index == raft_configuration_index && in_use->count == m->count && in_use->joint == m->joint);
        for (uint32_t k = 0; k < m->count; k++) {
                const member *one = membership_find(expected, membership_raft_id(&m->members[k].disk_uuid));
                assert_non_null(one);
                assert_string_equal(m->members[k].raft_addr, one->raft_addr);
                assert_string_equal(m->members[k].node_id, one->node_id);
                assert_true(m->members[k].voter == one->voter);
        }
}

static void test_members_change_with_their_names(void **state) {
        (void) state;
        cluster *c = cluster_new(5, 3);
        int leader = elect(c);
        membership five = members_upto(5), joint = members_upto(3);
        assert_int_equal(propose(c, leader, 1, "before"), RQ_OK);
        assert_int_equal(driver_configure(c->nodes[(leader + 1) % 3].d, &five), RQ_ENOTLEADER);
        joint.joint = true;
        assert_int_equal(driver_configure(c->nodes[leader].d, &joint), RQ_EINVAL);
        assert_int_equal(driver_configure(c->nodes[leader].d, &five), RQ_OK);
        assert_int_equal(driver_configure(c->nodes[leader].d, &five), RQ_EBUSY);
        assert_int_equal(propose(c, leader, 2, "behind"), RQ_OK);
        settle(c);
        elapse(c, ELECTION_US);
        for (int i = 0; i < 5; i++) {
                check_members(c, i, &five);
                assert_int_equal(applied_times(c, i, "before"), 1);
                assert_int_equal(applied_times(c, i, "behind"), 1);
                check_equal(c, i, leader);
                assert_int_equal(joint_entries(c, i), 1);
        }
        /* Too long to be joint with another one of its kind. */
        membership others = { .count = 10 };
        for (uint32_t i = 0; i < others.count; i++) {
                others.members[i] = (member) { .disk_uuid = { .bytes = { (uint8_t) (101 + 2 * i) } }, .voter = true };
                memset(others.members[i].node_id, 'n', 200);
                memset(others.members[i].raft_addr, 'a', 80);
        }
        assert_int_equal(driver_configure(c->nodes[leader].d, &others), RQ_ETOOBIG);

        membership three = { .count = 3, .members = { five.members[leader], five.members[3], five.members[4] } };
        assert_int_equal(driver_configure(c->nodes[leader].d, &three), RQ_OK);
        elapse(c, ELECTION_US);
        check_members(c, leader, &three);
        check_members(c, 4, &three);
        assert_int_equal(joint_entries(c, leader), 2);
        cluster_free(c);
}

/* A configuration that is replaced takes its names with it. */
static void test_a_replaced_membership_is_the_old_one_again(void **state) {
        (void) state;
        cluster *c = cluster_new(4, 3);
        int leader = elect(c);
        membership four = members_upto(4), three = members_upto(3);
        isolate(c, leader, true);
        assert_int_equal(driver_configure(c->nodes[leader].d, &four), RQ_OK);
        settle(c);
        check_members(c, leader, &four);
        elapse(c, 6 * ELECTION_US);
        isolate(c, leader, false);
        elapse(c, 4 * ELECTION_US);
        for (int i = 0; i < 3; i++)
                check_members(c, i, &three);
        cluster_free(c);
}

static void test_a_failed_disk_answers_everything_and_hands_over(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        driver *d = c->nodes[leader].d;
        c->nodes[leader].disk_hangs = true;
        isolate(c, leader, true);
        assert_int_equal(propose(c, leader, 1, "placed"), RQ_OK);
        assert_int_equal(read_strong(c, leader, 2), RQ_OK);
        assert_int_equal(driver_read(d, (request_origin) { 1, 3 }, DRIVER_READ_LINEARIZABLE, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        settle(c);
        assert_int_equal(propose(c, leader, 4, "staged"), RQ_OK);
        driver_storage_failed(d);
        settle(c);
        const answers *list = answers_of(c, leader);
        bool seen[5] = {0};
        assert_int_equal(list->count, 4);
        for (size_t i = 0; i < list->count; i++) {
                assert_false(seen[list->v[i].to.request_id]);
                seen[list->v[i].to.request_id] = true;
                assert_int_equal(list->v[i].outcome, list->v[i].to.request_id == 1 ? OUTCOME_UNKNOWN : OUTCOME_REFUSED);
        }
        assert_int_equal(propose(c, leader, 5, "x"), RQ_ENOTLEADER);
        isolate(c, leader, false);
        elapse(c, 6 * ELECTION_US);
        assert_true(leader_of(c) != leader);
        assert_int_equal(propose(c, follower, 6, "goes on"), RQ_OK);
        elapse(c, 2 * HEARTBEAT_US);
        assert_int_equal(applied_times(c, follower, "goes on"), 1);
        assert_int_equal(applied_times(c, leader, "goes on"), 0);
}

static void test_own_and_forwarded_writes_share_the_bounds(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        driver *d = c->nodes[leader].d;
        uint32_t taken = 0;
        rq_err r = RQ_OK;
        isolate(c, leader, true);
        for (; r >= 0; taken += r >= 0) {
                const driver_forward f = {
                        .to = c->nodes[follower].id, .term = raft_term_of(driver_raft(d)), .seed = 1000 + taken,
                        .kind = RECORD_SQL, .body = rq_bytes_text("f"),
                };
                r = taken % 2 == 0 ? propose(c, leader, taken, "o") : driver_forwarded(d, &f);
                if (taken % 4096 == 0)
                        settle(c);
        }
        assert_int_equal(r, RQ_EFULL);
        assert_int_equal(taken, DRIVER_PENDING_COUNT_MAX);
        assert_int_equal(propose(c, leader, 1, "o"), RQ_EFULL);
        settle(c);
        assert_int_equal(answers_of(c, leader)->count, 0); /* what was taken in found its place */
        isolate(c, leader, false);
        elapse(c, 2 * ELECTION_US);
        assert_int_equal(answers_of(c, leader)->count, 0);
        assert_int_equal(propose(c, leader, 1, "o"), RQ_OK);
}

static void test_what_waits_on_a_follower_is_bounded(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        char *large = malloc(30 * 1024 * 1024 + 1);
        assert_non_null(large);
        memset(large, 'l', 30 * 1024 * 1024);
        large[30 * 1024 * 1024] = '\0';
        assert_int_equal(propose(c, follower, 1, large), RQ_OK);
        assert_int_equal(propose(c, follower, 2, large), RQ_OK);
        assert_int_equal(propose(c, follower, 3, large), RQ_EFULL);
        elapse(c, ELECTION_US);
        assert_int_equal(applied_times(c, follower, large), 2);
        assert_int_equal(propose(c, follower, 4, "small"), RQ_OK);
        driver_gateway_gone(c->nodes[follower].d, 1); /* not sent yet: nobody wants it any more */
        settle(c);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 0);
        assert_int_equal(applied_times(c, follower, "small"), 0);
        free(large);
}

/* More than a queue holds is lost like on a link, and no harm is done. */
static void test_unfetched_messages_are_bounded(void **state) {
        cluster *c = *state;
        int leader = elect(c), other = (leader + 1) % 3;
        driver *d = c->nodes[other].d;
        raft_message m = {
                .type = RAFT_MSG_HEARTBEAT, .from = c->nodes[leader].id, .to = c->nodes[other].id,
                .term = raft_term_of(driver_raft(d)), .heartbeat = { .round = 1 },
        };
        uint32_t count = 0;
        for (uint64_t i = 0; i < 5000; i++)
                assert_int_equal(driver_receive(d, &m, (rq_bytes) {0}, c->now_us), RQ_OK);
        while (driver_next_message(d, &m))
                count++;
        assert_true(count >= 64 && count <= 1024);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_staged_writes_wait_when_leadership_goes, setup, teardown),
                cmocka_unit_test(test_members_change_with_their_names),
                cmocka_unit_test(test_a_replaced_membership_is_the_old_one_again),
                cmocka_unit_test_setup_teardown(test_a_failed_disk_answers_everything_and_hands_over, setup, teardown),
                cmocka_unit_test_setup_teardown(test_own_and_forwarded_writes_share_the_bounds, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_waits_on_a_follower_is_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_unfetched_messages_are_bounded, setup, teardown),
        };
        return cmocka_run_group_tests_name("driver step", tests, NULL, NULL);
}
