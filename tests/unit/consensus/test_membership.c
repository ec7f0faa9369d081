/* core/membership: who the members are, as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/membership.h"
#include "core/membership_history.h"

static membership sample(void) {
        return (membership) {
                .count = 3,
                .members = {
                        { .disk_uuid = { .bytes = "disk uuid 012345" }, .voter = true, .node_id = "n1", .raft_addr = "localhost:4002" },
                        { .disk_uuid = { .bytes = "other disk 01234" }, .voter = false, .node_id = "node \xc3\xa4", .raft_addr = "" },
                        { .disk_uuid = { .bytes = "third disk 01234" }, .voter = true, .node_id = "3", .raft_addr = "[::1]:4002" },
                },
        };
}

static void test_there_and_back(void **state) {
        membership in = sample(), out;
        rq_buf body = {0};
        raft_configuration c;
        (void) state;
        assert_int_equal(membership_encode(&in, &body), RQ_OK);
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_OK);
        assert_memory_equal(&in, &out, sizeof in);
        membership_to_configuration(&out, &c);
        assert_true(c.count == 3 && !c.joint);
        assert_true(c.members[0].voter && !c.members[1].voter && c.members[2].voter);
        for (uint32_t i = 0; i < 3; i++) {
                assert_true(c.members[i].id == membership_raft_id(&in.members[i].disk_uuid));
                assert_ptr_equal(membership_find(&out, c.members[i].id), &out.members[i]);
        }
        assert_null(membership_find(&out, 12345));
        rq_buf_done(&body);
}

static void test_every_cut_and_unknown_flags_are_refused(void **state) {
        membership in = sample(), out;
        rq_buf body = {0};
        (void) state;
        assert_int_equal(membership_encode(&in, &body), RQ_OK);
        for (size_t size = 0; size < body.size; size++)
                assert_int_equal(membership_decode(rq_bytes_of(body.data, size), &out), RQ_ECORRUPT);
        body.data[4 + 16] = 4; /* a learner that stays one */
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_OK);
        assert_true(out.members[0].stays && !out.members[0].voter);
        body.data[4 + 16] = 1 | 4; /* a voter can't be that */
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_ECORRUPT);
        body.data[4 + 16] = 1 | 8;
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_EVERSION);
        body.data[4 + 16] = 1 | 2; /* outgoing, and not joint */
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_ECORRUPT);
        body.data[2] = 1;
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_OK);
        assert_true(out.joint && out.members[0].voter && out.members[0].outgoing && !out.members[1].outgoing);
        body.data[2] = 2;
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_EVERSION);
        body.data[2] = 0;
        body.data[4 + 16] = 1;
        body.data[0] = MEMBERSHIP_COUNT_MAX + 1;
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_ECORRUPT);
        body.data[0] = 3;
        assert_int_equal(rq_buf_append(&body, "x", 1), RQ_OK);
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_ECORRUPT);
        rq_buf_done(&body);
}

static void test_limits(void **state) {
        membership m = { .count = MEMBERSHIP_COUNT_MAX };
        rq_buf body = {0};
        (void) state;
        assert_int_equal(membership_encode(&m, &body), RQ_EINVAL);
        for (uint32_t i = 0; i < m.count; i++) {
                memset(m.members[i].node_id, 'n', 39);
                memset(m.members[i].raft_addr, 'a', 39);
        }
        assert_int_equal(membership_encode(&m, &body), RQ_OK);
        memset(m.members[0].raft_addr, 'a', 255);
        assert_int_equal(membership_encode(&m, &body), RQ_ETOOBIG);
        m.count = 0;
        assert_int_equal(membership_encode(&m, &body), RQ_EINVAL);
        m = sample();
        m.members[1].outgoing = true;
        assert_int_equal(membership_encode(&m, &body), RQ_EINVAL);
        rq_buf_done(&body);
}

static void test_names_for_a_configuration(void **state) {
        membership known = sample(), more = sample(), out;
        raft_configuration c = { .count = 2, .joint = true };
        (void) state;
        known.count = 2;
        c.members[0] = (raft_member) { .id = membership_raft_id(&known.members[1].disk_uuid), .voter = true };
        c.members[1] = (raft_member) { .id = membership_raft_id(&more.members[2].disk_uuid), .outgoing = true };
        assert_int_equal(membership_of_configuration(&c, &known, NULL, &out), RQ_ENOENT);
        assert_int_equal(membership_of_configuration(&c, &known, &more, &out), RQ_OK);
        assert_true(out.count == 2 && out.joint);
        assert_string_equal(out.members[0].node_id, known.members[1].node_id);
        assert_true(out.members[0].voter && !out.members[0].outgoing);
        assert_string_equal(out.members[1].raft_addr, more.members[2].raft_addr);
        assert_true(!out.members[1].voter && out.members[1].outgoing);
}

static void add(membership_history *h, raft_index index, uint32_t count) {
        membership *value = calloc(1, sizeof *value);
        assert_non_null(value);
        value->count = count;
        assert_int_equal(membership_history_reserve(h, 1), RQ_OK);
        membership_history_add(h, index, value);
}

static void test_history_rolls_back_as_far_as_it_can(void **state) {
        membership_history h = {0};
        raft_index index = 0;
        (void) state;
        assert_null(membership_history_latest(&h, &index));
        for (uint32_t i = 1; i <= 20; i++)
                add(&h, i * 10, i);
        membership_history_truncate(&h, 151); /* five at once */
        assert_int_equal(membership_history_latest(&h, &index)->count, 15);
        assert_int_equal(index, 150);
        membership_history_commit(&h, 129);
        assert_int_equal(h.count, 4); /* 120, and what can still go */
        membership_history_truncate(&h, 130);
        assert_int_equal(membership_history_latest(&h, &index)->count, 12);
        membership_history_commit(&h, 1000);
        assert_int_equal(h.count, 1);
        membership_history_done(&h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_every_cut_and_unknown_flags_are_refused),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_names_for_a_configuration),
                cmocka_unit_test(test_history_rolls_back_as_far_as_it_can),
        };
        return cmocka_run_group_tests_name("membership", tests, NULL, NULL);
}
