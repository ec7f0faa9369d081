/* core/membership: who the members are, as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/membership.h"

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
        raft_id voters[MEMBERSHIP_COUNT_MAX];
        (void) state;
        assert_int_equal(membership_encode(&in, &body), RQ_OK);
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_OK);
        assert_memory_equal(&in, &out, sizeof in);
        assert_int_equal(membership_voters(&out, voters), 2);
        assert_true(voters[0] == membership_raft_id(&in.members[0].disk_uuid) && voters[1] == membership_raft_id(&in.members[2].disk_uuid));
        assert_true(voters[0] != voters[1]);
        rq_buf_done(&body);
}

static void test_every_cut_and_unknown_flags_are_refused(void **state) {
        membership in = sample(), out;
        rq_buf body = {0};
        (void) state;
        assert_int_equal(membership_encode(&in, &body), RQ_OK);
        for (size_t size = 0; size < body.size; size++)
                assert_int_equal(membership_decode(rq_bytes_of(body.data, size), &out), RQ_ECORRUPT);
        body.data[4 + 16] |= 2;
        assert_int_equal(membership_decode(rq_buf_bytes(&body), &out), RQ_EVERSION);
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
                memset(m.members[i].node_id, 'n', 100);
                memset(m.members[i].raft_addr, 'a', 84);
        }
        assert_int_equal(membership_encode(&m, &body), RQ_OK);
        memset(m.members[0].raft_addr, 'a', 255);
        assert_int_equal(membership_encode(&m, &body), RQ_ETOOBIG);
        m.count = 0;
        assert_int_equal(membership_encode(&m, &body), RQ_EINVAL);
        rq_buf_done(&body);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_every_cut_and_unknown_flags_are_refused),
                cmocka_unit_test(test_limits),
        };
        return cmocka_run_group_tests_name("membership", tests, NULL, NULL);
}
