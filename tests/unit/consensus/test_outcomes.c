/* Who agrees with whom, and what comes over the wire about it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "outcomes.h"
#include "peer/peer_outcomes.h"

enum { RIGHT = 0xa, WRONG = 0xb, OTHER = 0xc, SAME_PROFILE = 7, OTHER_PROFILE = 8 };

typedef struct world {
        outcomes_table table;
        membership members;
        raft_id ids[MEMBERSHIP_COUNT_MAX];
} world;

static world *world_of(uint32_t voters, uint32_t learners) {
        world *w = calloc(1, sizeof *w);
        assert_non_null(w);
        w->members.count = voters + learners;
        for (uint32_t i = 0; i < w->members.count; i++) {
                w->members.members[i] = (member) { .disk_uuid = { .bytes = { (uint8_t) (2 * i + 2), 9, 9 } }, .voter = i < voters };
                w->ids[i] = membership_raft_id(&w->members.members[i].disk_uuid);
        }
        outcomes_set_members(&w->table, &w->members);
        for (uint32_t i = 0; i < w->members.count; i++)
                outcomes_find(&w->table, w->ids[i])->profile = SAME_PROFILE;
        return w;
}

static void mark(world *w, size_t who, uint64_t index, uint64_t hash) {
        outcomes_take(outcomes_find(&w->table, w->ids[who]), 1, &(outcome_mark) { index, hash }, 1);
}

static void all_say(world *w, uint64_t index, uint64_t hash) {
        for (uint32_t i = 0; i < w->members.count; i++)
                mark(w, i, index, hash);
}

static outcomes_verdict verdict(const world *w, size_t who) { return outcomes_judge(&w->table, w->ids[who]).verdict; }

static bool refuted(const world *w, size_t who) {
        const outcomes_judgement j = outcomes_judge(&w->table, w->ids[who]);
        return outcomes_is_refuted(&j);
}

static void test_one_of_three_is_wrong(void **state) {
        (void) state;
        world *w = world_of(3, 0);
        assert_int_equal(verdict(w, 0), OUTCOMES_UNKNOWN);
        all_say(w, 1024, RIGHT);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(verdict(w, i), OUTCOMES_EQUAL);
        mark(w, 0, 2048, RIGHT);
        assert_int_equal(verdict(w, 0), OUTCOMES_EQUAL); /* as of 1024: nobody else has got there */
        mark(w, 1, 2048, WRONG);
        assert_int_equal(verdict(w, 0), OUTCOMES_UNDECIDED);
        assert_int_equal(verdict(w, 1), OUTCOMES_UNDECIDED);
        assert_int_equal(verdict(w, 2), OUTCOMES_EQUAL);
        assert_false(refuted(w, 0) || refuted(w, 1));
        mark(w, 2, 2048, RIGHT);
        assert_int_equal(verdict(w, 0), OUTCOMES_EQUAL);
        assert_int_equal(verdict(w, 2), OUTCOMES_EQUAL);
        const outcomes_judgement j = outcomes_judge(&w->table, w->ids[1]);
        assert_int_equal(j.verdict, OUTCOMES_DIFFERENT);
        assert_int_equal(j.index, 2048);
        assert_int_equal(j.own, WRONG);
        assert_int_equal(j.majority, RIGHT);
        assert_true(outcomes_is_refuted(&j));
        /* One of the others is down from here on: what was seen counts still. */
        mark(w, 0, 3072, RIGHT);
        mark(w, 1, 3072, WRONG);
        assert_true(refuted(w, 1));
        /* It begins anew: nothing of it is known, then it is equal. */
        outcomes_take(outcomes_find(&w->table, w->ids[1]), 2, NULL, 0);
        assert_int_equal(verdict(w, 1), OUTCOMES_UNKNOWN);
        for (size_t i = 0; i < 3; i++)
                outcomes_take(outcomes_find(&w->table, w->ids[i]), i == 1 ? 2 : 1, &(outcome_mark) { 4096, RIGHT }, 1);
        assert_int_equal(verdict(w, 1), OUTCOMES_EQUAL);
        assert_int_equal(verdict(w, 0), OUTCOMES_EQUAL);
        free(w);
}

static void test_without_a_majority_nobody_is_refuted(void **state) {
        (void) state;
        world *w = world_of(2, 0);
        mark(w, 0, 1024, RIGHT);
        mark(w, 1, 1024, WRONG);
        assert_int_equal(verdict(w, 0), OUTCOMES_UNDECIDED);
        assert_int_equal(verdict(w, 1), OUTCOMES_UNDECIDED);
        assert_false(refuted(w, 0) || refuted(w, 1));
        free(w);
        w = world_of(3, 0);
        mark(w, 0, 1024, RIGHT);
        mark(w, 1, 1024, WRONG);
        mark(w, 2, 1024, OTHER);
        for (size_t i = 0; i < 3; i++)
                assert_true(verdict(w, i) == OUTCOMES_UNDECIDED && !refuted(w, i));
        free(w);
        w = world_of(4, 0); /* two against two */
        for (size_t i = 0; i < 4; i++)
                mark(w, i, 1024, i < 2 ? RIGHT : WRONG);
        for (size_t i = 0; i < 4; i++)
                assert_true(verdict(w, i) == OUTCOMES_UNDECIDED && !refuted(w, i));
        free(w);
        w = world_of(5, 0); /* two agree, the others haven't said */
        mark(w, 0, 1024, RIGHT);
        mark(w, 1, 1024, RIGHT);
        mark(w, 2, 1024, WRONG);
        assert_int_equal(verdict(w, 2), OUTCOMES_UNDECIDED);
        mark(w, 3, 1024, RIGHT);
        assert_true(refuted(w, 2));
        free(w);
}

static void test_learners_are_compared_and_have_no_voice(void **state) {
        (void) state;
        world *w = world_of(3, 3);
        for (size_t i = 0; i < 6; i++)
                mark(w, i, 1024, i < 3 ? RIGHT : WRONG);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(verdict(w, i), OUTCOMES_EQUAL);
        for (size_t i = 3; i < 6; i++)
                assert_true(refuted(w, i));
        free(w);
}

/* Hazard 28: another SQLite may be why. */
static void test_another_profile_is_told_only(void **state) {
        (void) state;
        world *w = world_of(3, 0);
        all_say(w, 1024, RIGHT);
        mark(w, 2, 1024, WRONG);
        outcomes_find(&w->table, w->ids[2])->profile = OTHER_PROFILE;
        assert_true(verdict(w, 2) == OUTCOMES_DIFFERENT && !refuted(w, 2));
        outcomes_find(&w->table, w->ids[2])->profile = SAME_PROFILE;
        assert_true(refuted(w, 2));
        outcomes_find(&w->table, w->ids[1])->profile = OTHER_PROFILE; /* one like it isn't a majority */
        assert_true(verdict(w, 2) == OUTCOMES_DIFFERENT && !refuted(w, 2));
        outcomes_find(&w->table, w->ids[1])->profile = SAME_PROFILE;
        outcomes_find(&w->table, w->ids[2])->profile = 0; /* not said */
        assert_false(refuted(w, 2));
        free(w);
}

/* A leader alone can't make a node throw its database away, nor can any minority. */
static void test_a_leader_is_not_believed_alone(void **state) {
        (void) state;
        world *w = world_of(5, 1);
        const size_t self = 4, leader = 0, learner = 5;
        const outcomes_table *o = &w->table;
        all_say(w, 1024, RIGHT);
        mark(w, self, 2048, RIGHT);
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, WRONG)); /* the leader hasn't said so */
        mark(w, leader, 2048, WRONG);
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, WRONG)); /* it is alone */
        mark(w, 1, 2048, WRONG);
        mark(w, learner, 2048, WRONG); /* which is no voter */
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, WRONG));
        mark(w, 2, 2048, WRONG);
        assert_true(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, WRONG));
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, WRONG, RIGHT)); /* not what either has */
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, OTHER));
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, RIGHT));
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2049, RIGHT, WRONG));
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[3], 2048, RIGHT, WRONG));      /* a leader that hasn't said it */
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[self], 2048, RIGHT, WRONG));
        /* It was so before, and they have begun anew since: what counts is the newest. */
        mark(w, self, 4096, RIGHT);
        for (size_t i = 0; i < 3; i++)
                outcomes_take(outcomes_find(&w->table, w->ids[i]), 2, &(outcome_mark) { 4096, RIGHT }, 1);
        assert_false(outcomes_confirms(o, w->ids[self], w->ids[leader], 2048, RIGHT, WRONG));
        free(w);
}

static void test_members_come_and_go(void **state) {
        (void) state;
        world *w = world_of(3, 0);
        all_say(w, 1024, RIGHT);
        mark(w, 2, 1024, WRONG);
        w->members.count = 2; /* the wrong one was removed */
        outcomes_set_members(&w->table, &w->members);
        assert_null(outcomes_find(&w->table, w->ids[2]));
        assert_null(outcomes_find(&w->table, 0));
        assert_int_equal(verdict(w, 2), OUTCOMES_UNKNOWN);
        assert_int_equal(verdict(w, 0), OUTCOMES_EQUAL);
        w->members.count = 3; /* and comes back: what it said before is forgotten */
        outcomes_set_members(&w->table, &w->members);
        assert_int_equal(outcomes_find(&w->table, w->ids[2])->marks.count, 0);
        w->members.members[2].voter = false;
        outcomes_set_members(&w->table, &w->members);
        assert_false(outcomes_find(&w->table, w->ids[2])->voter);
        free(w);
}

static peer_outcomes sample(void) {
        peer_outcomes m = { .from = 3, .to = 5, .generation = 77, .count = 3 };
        for (uint32_t i = 0; i < m.count; i++)
                m.marks[i] = (outcome_mark) { 1024 * (i + 1), 0xf00d + i };
        return m;
}

static void test_marks_on_the_wire_are_strict(void **state) {
        (void) state;
        uint8_t body[PEER_OUTCOMES_BYTES], payload[PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES];
        const peer_outcomes m = sample();
        peer_outcomes got;
        const size_t size = peer_outcomes_encode(&m, body, payload);
        assert_int_equal(size, 48);
        const rq_bytes good = rq_bytes_of(body, sizeof body);
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size), &got), RQ_OK);
        assert_true(got.from == 3 && got.to == 5 && got.generation == 77 && got.count == 3);
        assert_memory_equal(got.marks, m.marks, 3 * sizeof m.marks[0]);
        assert_int_equal(peer_outcomes_decode(rq_bytes_of(body, sizeof body - 1), rq_bytes_of(payload, size), &got), RQ_EPROTO);
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size - 1), &got), RQ_EPROTO);
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size + 16), &got), RQ_EPROTO);
        rq_put_u64(payload + 16, 1024); /* not rising */
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size), &got), RQ_EPROTO);
        rq_put_u64(payload, 0); /* there is no entry 0 */
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size), &got), RQ_EPROTO);
        rq_put_u32(body + 24, 0);
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, 0), &got), RQ_EPROTO);
        rq_put_u32(body + 24, PEER_OUTCOMES_MARKS_MAX + 1);
        assert_int_equal(peer_outcomes_decode(good, rq_bytes_of(payload, size), &got), RQ_EPROTO);
}

static void test_profiles_and_refutations_are_strict(void **state) {
        (void) state;
        uint8_t body[PEER_PROFILE_BYTES], refuted_body[PEER_REFUTED_BYTES];
        const peer_profile p = { .from = 3, .to = 5, .digest = 99, .extensions = 0xabc, .sqlite_version = "3.40.1" };
        const peer_refuted r = { .from = 3, .to = 5, .term = 7, .index = 1024, .own = WRONG, .majority = RIGHT };
        peer_profile got;
        peer_refuted got_r;
        peer_profile_encode(&p, body);
        const rq_bytes good = rq_bytes_of(body, sizeof body);
        assert_int_equal(peer_profile_decode(good, rq_bytes_text("3.40.1"), &got), RQ_OK);
        assert_true(got.from == p.from && got.to == p.to && got.digest == p.digest && got.extensions == p.extensions);
        assert_string_equal(got.sqlite_version, p.sqlite_version);
        static const char *const bad[] = { "", "3.40 1", "3.40\n1", "3.4\x7f", "\xc3\xa4", "12345678901234567890123456789012" };
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                assert_int_equal(peer_profile_decode(good, rq_bytes_text(bad[i]), &got), RQ_EPROTO);
        assert_int_equal(peer_profile_decode(rq_bytes_of(body, sizeof body - 1), rq_bytes_text("3.40.1"), &got), RQ_EPROTO);
        rq_put_u64(body + 16, 0);
        assert_int_equal(peer_profile_decode(good, rq_bytes_text("3.40.1"), &got), RQ_EPROTO);
        peer_refuted_encode(&r, refuted_body);
        assert_int_equal(peer_refuted_decode(rq_bytes_of(refuted_body, sizeof refuted_body), &got_r), RQ_OK);
        assert_memory_equal(&got_r, &r, sizeof r);
        assert_int_equal(peer_refuted_decode(rq_bytes_of(refuted_body, sizeof refuted_body - 1), &got_r), RQ_EPROTO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_one_of_three_is_wrong), cmocka_unit_test(test_without_a_majority_nobody_is_refuted),
                cmocka_unit_test(test_learners_are_compared_and_have_no_voice), cmocka_unit_test(test_another_profile_is_told_only),
                cmocka_unit_test(test_a_leader_is_not_believed_alone),
                cmocka_unit_test(test_members_come_and_go), cmocka_unit_test(test_marks_on_the_wire_are_strict),
                cmocka_unit_test(test_profiles_and_refutations_are_strict),
        };
        return cmocka_run_group_tests_name("outcomes", tests, NULL, NULL);
}
