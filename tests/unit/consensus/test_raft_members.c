/* Members come and go, leadership is handed over. Rows: of docs/raft.md. */
#include "raft_network.h"

static const raft_configuration *in_use(network *w, raft_id id, raft_index *ret_index) {
        return raft_configuration_of(node_of(w, id)->raft, ret_index);
}

static void expect_members(network *w, raft_id id, const char *voters, const char *outgoing, const char *learners) {
        const raft_configuration *c = in_use(w, id, NULL);
        uint32_t count = (uint32_t) (strlen(voters) + strlen(learners));
        assert_non_null(c);
        for (raft_id m = 1; m <= NODES; m++) {
                const raft_member *member = raft_members_find(c, m);
                char digit = (char) ('0' + m);
                bool voter = strchr(voters, digit) != NULL, out = strchr(outgoing, digit) != NULL;
                assert_int_equal(member != NULL && member->voter, voter);
                assert_int_equal(member != NULL && member->outgoing, out);
                assert_int_equal(member != NULL, voter || out || strchr(learners, digit) != NULL);
                count += out && !voter ? 1 : 0;
        }
        assert_int_equal(c->count, count);
        assert_int_equal(c->joint, outgoing[0] != '\0');
}

static network *led(uint32_t nodes, const char *voters, const char *learners) {
        raft_configuration c = members(voters, learners);
        network *w = network_started(nodes, &c);
        elect(w, 1);
        return w;
}

/* Thesis 4.1: one voter more or less, without a joint configuration; used at once. */
static void test_a_single_change_is_direct(void **state) {
        (void) state;
        network *w = led(4, "123", "4");
        assert_int_equal(configure(w, 1, members("1234", "")), RQ_OK);
        expect_members(w, 1, "1234", "", "");
        expect_members(w, 2, "123", "", "4");
        assert_int_equal(configure(w, 1, members("123", "")), RQ_EBUSY);
        settle(w);
        expect_members(w, 2, "1234", "", "");
        assert_int_equal(configure(w, 1, members("23", "14")), RQ_EINVAL); /* voters that would stay as learners: one by one */
        assert_int_equal(configure(w, 1, members("123", "4")), RQ_OK);
        settle(w);
        expect_members(w, 3, "123", "", "4");
        network_free(w);
}

/* Found by the simulator: who joins late, or starts late with an old commit index, gets more changes than are kept,
 * and of none of them anybody knows yet that it is committed. */
static void test_more_changes_than_are_kept_come(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        settle(w);
        raft *r = node_of(w, 2)->raft;
        raft_index last = raft_trail_of(r)->last;
        raft_configuration c = members("123", "");
        raft_entry entries[40];
        for (int i = 0; i < 40; i++)
                entries[i] = (raft_entry) { .term = raft_term_of(r), .bytes = 10, .configuration = &c };
        raft_message m = { .type = RAFT_MSG_APPEND, .from = 1, .to = 2, .term = raft_term_of(r), .append = {
                .previous_index = last, .previous_term = raft_trail_last_term(raft_trail_of(r)), .count = 40, .commit = last,
        } };
        raft_event event = { .type = RAFT_EV_MESSAGE, .now_us = w->now_us, .message = { .message = &m, .entries = entries } };
        raft_output *out = &node_of(w, 2)->out;
        raft_output_reset(out);
        assert_int_equal(raft_step(r, &event, out), RQ_OK);
        assert_null(raft_check(r));
        assert_int_equal(out->accepted_first, last + 1);
        m.append.previous_index = last + 40;
        m.append.previous_term = raft_term_of(r);
        raft_output_reset(out);
        assert_int_equal(raft_step(r, &event, out), RQ_OK);
        assert_null(raft_check(r));
        assert_int_equal(out->accepted_first, last + 41);
        assert_int_equal(raft_commit_of(r), last);
        raft_index index;
        assert_non_null(raft_configuration_of(r, &index));
        assert_int_equal(index, last + 80);
        network_free(w);
}

/* Found by the simulator: a start finds more changes than can be rolled back, since the hint of what is committed is old. */
static void test_a_start_takes_any_number_of_changes(void **state) {
        (void) state;
        static uint64_t memory[1 << 16];
        raft_run runs[8];
        raft *r;
        raft_configuration c = members("123", "");
        network *w = led(3, "123", "");
        raft_options options = options_of(w, 2);
        options.term = 2;
        assert_true(raft_bytes(&options) <= sizeof memory);
        assert_int_equal(raft_init(memory, &options, NULL, 0, runs, 8, &r), RQ_OK);
        assert_int_equal(raft_restore(r, 2, 40, 400), RQ_OK);
        for (raft_index i = 1; i <= 40; i++)
                assert_int_equal(raft_restore_configuration(r, i, &c), RQ_OK);
        assert_int_equal(raft_restored(r), RQ_OK);
        raft_index index;
        assert_non_null(raft_configuration_of(r, &index));
        assert_int_equal(index, 40);
        network_free(w);
}

/* Thesis 4.3: several at once, through a joint configuration that ends by itself. */
static void test_several_changes_are_joint(void **state) {
        (void) state;
        network *w = led(5, "123", "45");
        assert_int_equal(configure(w, 1, members("145", "")), RQ_OK);
        expect_members(w, 1, "145", "123", "");
        settle(w);
        expect_members(w, 1, "145", "", "");
        expect_members(w, 4, "145", "", "");
        assert_int_equal(raft_commit_of(node_of(w, 1)->raft), raft_trail_of(node_of(w, 1)->raft)->last);
        network_free(w);
}

/* Both majorities are needed while it is joint, for entries and for votes. */
static void test_a_joint_configuration_needs_both(void **state) {
        (void) state;
        network *w = led(5, "123", "45");
        elapse(w, HEARTBEAT);
        raft_index before = w->committed_last;
        isolate(w, 2, true);
        isolate(w, 3, true); /* the new majority 1 4 5 is there, the old one isn't */
        assert_int_equal(configure(w, 1, members("145", "")), RQ_OK);
        elapse(w, 2 * HEARTBEAT);
        assert_int_equal(w->committed_last, before);
        elapse(w, 10 * ELECTION);
        assert_int_equal(leader_of(w), 0);
        isolate(w, 2, false);
        elapse(w, 10 * ELECTION);
        assert_int_not_equal(leader_of(w), 0);
        expect_members(w, leader_of(w), "145", "", "");
        network_free(w);
}

/* Row 17: no change before an entry of the own term is committed. */
static void test_no_change_before_the_own_term(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        elapse(w, HEARTBEAT);
        assert_int_equal(raft_commit_of(node_of(w, 2)->raft), w->committed_last); /* the configuration, too */
        stand(w, 2);
        while (raft_role_of(node_of(w, 2)->raft) != RAFT_LEADER) {
                for (raft_id id = 1; id <= 3; id++)
                        while (write_one(w, id))
                                ;
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
        }
        assert_int_equal(configure(w, 2, members("12", "")), RQ_EBUSY);
        assert_int_equal(configure(w, 3, members("12", "")), RQ_ENOTLEADER);
        settle(w);
        raft_configuration bad = members("12", "");
        bad.joint = true;
        assert_int_equal(configure(w, 2, bad), RQ_EINVAL);
        assert_int_equal(configure(w, 2, members("", "12")), RQ_EINVAL);
        assert_int_equal(configure(w, 2, members("12", "")), RQ_OK);
        network_free(w);
}

/* Rows 18, 19 and 21: what is truncated takes its configurations back, however many;
 * a restart finds all of them, and the commit index is not known then. */
static void test_truncation_rolls_back_several(void **state) {
        (void) state;
        raft_configuration c = members("123", ""), joint;
        raft_configuration a = members("124", ""), b = members("12", "");
        network *w = network_new(4, &c);
        assert_true(raft_members_join(&c, &a, &joint));
        node *n = node_of(w, 2);
        n->disk[2] = (held) { .term = 2, .configuration = pooled(w, &joint) };
        n->disk[3] = (held) { .term = 2, .configuration = pooled(w, &a) };
        n->disk[4] = (held) { .term = 2, .configuration = pooled(w, &b) };
        n->disk_last = 4;
        n->disk_term = 2;
        start(w, 2);
        expect_members(w, 2, "12", "", "");
        letter l = { .message = { .type = RAFT_MSG_APPEND, .from = 1, .to = 2, .term = 3,
                .append = { .previous_index = 2, .previous_term = 2, .count = 1, .commit = 0 } } };
        l.entries[0] = (held) { .term = 3 };
        (void) deliver_letter(w, &l);
        expect_members(w, 2, "124", "123", "");
        crash(w, 2);
        start(w, 2); /* the write was lost */
        l.message.append.previous_index = l.message.append.previous_term = 1;
        (void) deliver_letter(w, &l);
        expect_members(w, 2, "123", "", "");
        raft_index index = 0;
        (void) in_use(w, 2, &index);
        assert_int_equal(index, 1);
        network_free(w);
}

/* Row 21: a leader that finds a joint configuration leaves it. */
static void test_a_new_leader_leaves_the_joint_configuration(void **state) {
        (void) state;
        network *w = led(5, "123", "45");
        assert_int_equal(configure(w, 1, members("145", "")), RQ_OK);
        while (fetch_appends(w, 1) || w->wire_count > 0) { /* all have it, and nobody knows that */
                letter l = take_letter(w, 0);
                if (l.message.to != 1)
                        (void) deliver_letter(w, &l);
        }
        for (raft_id id = 1; id <= 5; id++)
                while (write_one(w, id))
                        ;
        w->wire_count = 0;
        crash(w, 1);
        for (raft_id id = 2; id <= 5; id++) {
                crash(w, id);
                start(w, id);
                expect_members(w, id, "145", "123", "");
        }
        elapse(w, 10 * ELECTION);
        assert_int_not_equal(leader_of(w), 0);
        expect_members(w, leader_of(w), "145", "", "");
        network_free(w);
}

/* Row 20: a snapshot over a log that differs discards its configurations, too. */
static void test_a_snapshot_replaces_the_configurations(void **state) {
        (void) state;
        raft_configuration c = members("123", ""), phantom = members("1", ""), later = members("1234", "");
        network *w = network_new(4, &c);
        node *n = node_of(w, 2);
        n->disk[2] = (held) { .term = 2, .bytes = 1 };
        n->disk[9] = (held) { .term = 2, .configuration = pooled(w, &phantom) };
        for (raft_index i = 3; i < 9; i++)
                n->disk[i] = n->disk[2];
        n->disk_last = 9;
        n->disk_term = 3;
        start(w, 2);
        expect_members(w, 2, "1", "", "");
        raft_event event = { .type = RAFT_EV_INSTALLED, .now_us = w->now_us,
                .installed = { .index = 5, .term = 3, .configuration = &later, .configuration_index = 4 } };
        assert_int_equal(raft_step(n->raft, &event, &n->out), RQ_OK);
        assert_true(n->out.configuration_changed);
        assert_null(raft_check(n->raft));
        expect_members(w, 2, "1234", "", "");
        network_free(w);
}

/* Row 45, thesis 4.2.2: a leader that is removed commits that without itself, and
 * then somebody else leads. */
static void test_a_removed_leader_hands_over(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        elapse(w, HEARTBEAT);
        raft_index before = w->committed_last;
        w->cut[3][1] = true;
        assert_int_equal(configure(w, 1, members("23", "")), RQ_OK);
        settle(w);
        assert_int_equal(w->committed_last, before); /* 1 and 2 have it: that is one of two */
        w->cut[3][1] = false;
        elapse(w, ELECTION);
        assert_true(leader_of(w) == 2 || leader_of(w) == 3);
        expect_members(w, leader_of(w), "23", "", "");
        assert_int_equal(raft_role_of(node_of(w, 1)->raft), RAFT_FOLLOWER);
        elapse(w, 5 * ELECTION);
        assert_int_equal(raft_role_of(node_of(w, 1)->raft), RAFT_FOLLOWER); /* nor does it disturb */
        network_free(w);
}

/* Thesis 4.2.2: it alone has the entry that removes it, and the longest log. */
static void test_who_is_removed_may_still_be_needed(void **state) {
        (void) state;
        raft_configuration c = members("12", ""), without = members("2", "");
        network *w = network_new(2, &c);
        node_of(w, 1)->disk[2] = (held) { .term = 1, .configuration = pooled(w, &without) };
        node_of(w, 1)->disk_last = 2;
        start(w, 1);
        start(w, 2);
        elapse(w, 20 * ELECTION);
        assert_int_equal(leader_of(w), 2);
        expect_members(w, 2, "2", "", "");
        network_free(w);
}

/* Row 46: the promoted learner, or new voter, doesn't know it yet; its vote is needed. */
static void test_a_learner_votes_when_asked(void **state) {
        (void) state;
        raft_configuration c = members("12", "3"), promoted = members("123", "");
        network *w = network_new(4, &c);
        node_of(w, 1)->disk[2] = (held) { .term = 1, .configuration = pooled(w, &promoted) };
        node_of(w, 1)->disk_last = 2;
        start(w, 1);
        start(w, 3); /* 2 is down */
        elapse(w, 10 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        network_free(w);

        promoted = members("124", "");
        w = network_new(4, &c);
        node_of(w, 1)->disk[2] = (held) { .term = 1, .configuration = pooled(w, &promoted) };
        node_of(w, 1)->disk_last = 2;
        start(w, 1);
        start(w, 4); /* has nothing at all, not even a configuration */
        elapse(w, 10 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        expect_members(w, 4, "124", "", "");
        network_free(w);
}

/* A learner gets everything and counts for nothing. */
static void test_a_learner_doesnt_count(void **state) {
        (void) state;
        network *w = led(4, "12", "34");
        elapse(w, HEARTBEAT);
        raft_index before = w->committed_last;
        isolate(w, 2, true);
        (void) propose(w, 1, 1, 10);
        settle(w);
        assert_int_equal(progress(w, 1, 3).match, before + 1);
        assert_int_equal(w->committed_last, before);
        elapse(w, 5 * ELECTION);
        assert_int_equal(leader_of(w), 0);
        assert_int_equal(raft_role_of(node_of(w, 3)->raft), RAFT_FOLLOWER);
        assert_int_equal(raft_leader_of(node_of(w, 3)->raft), 0);
        network_free(w);
}

/* Row 48: removed and added again while away, its log dropped: it gets a snapshot. */
static void test_who_needs_a_snapshot_gets_one(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        crash(w, 3);
        assert_int_equal(configure(w, 1, members("12", "")), RQ_OK);
        settle(w);
        assert_int_equal(configure(w, 1, members("12", "3")), RQ_OK);
        (void) propose(w, 1, 5, 10);
        settle(w);
        assert_int_equal(compact(w, 1, w->committed_last), RQ_OK);
        start(w, 3);
        elapse(w, 5 * HEARTBEAT);
        assert_int_equal(progress(w, 1, 3).state, RAFT_SNAPSHOT);
        (void) step(w, 1, (raft_event) { .type = RAFT_EV_SNAPSHOT_DONE, .peer = { .id = 3, .index = 0 } });
        assert_int_equal(progress(w, 1, 3).state, RAFT_SNAPSHOT);
        (void) propose(w, 1, 5, 10);
        settle(w);
        ship_snapshot(w, 1, 3);
        elapse(w, 2 * HEARTBEAT);
        assert_int_equal(progress(w, 1, 3).state, RAFT_STREAM);
        assert_int_equal(progress(w, 1, 3).match, w->committed_last);
        expect_members(w, 3, "12", "", "3");
        network_free(w);
}

/* Thesis 3.10. */
static void test_leadership_is_handed_over(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        elapse(w, HEARTBEAT / 2);
        w->cut[1][3] = true; /* not the best */
        (void) propose(w, 1, 1, 10);
        settle(w);
        w->cut[1][3] = false;
        w->tracing = true;
        assert_int_equal(transfer(w, 1, 0), RQ_OK);
        assert_int_equal(propose(w, 1, 1, 10), RQ_ENOTLEADER);
        assert_int_equal(transfer(w, 1, 2), RQ_ENOTLEADER);
        letter l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        assert_true(write_one(w, 2));
        w->cut[1][3] = w->cut[3][1] = w->cut[3][2] = w->cut[2][3] = true;
        l = take_letter(w, 0);
        (void) deliver_letter(w, &l); /* protected, and yet: the leader wants it */
        expect(w,
               "1 is leader of term 2, ready\n"
               "1>2 timeout-now t2\n"
               "2 is candidate of term 3\n"
               "2>1 vote! t3 log 3^2\n"
               "1 is follower of term 3\n");
        settle(w);
        assert_int_equal(leader_of(w), 2);
        network_free(w);
}

/* The target gets what it lacks first: a vote would be refused to it. */
static void test_the_target_catches_up_first(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        elapse(w, HEARTBEAT);
        (void) propose(w, 1, 1, 10);
        assert_int_equal(transfer(w, 1, 2), RQ_OK);
        assert_int_equal(w->wire_count, 0);
        settle(w);
        assert_int_equal(leader_of(w), 2);
        network_free(w);
}

/* Row 41: the flag survives neither failure nor a step-down. */
static void test_a_transfer_that_fails_is_forgotten(void **state) {
        (void) state;
        network *w = led(3, "123", "");
        elapse(w, HEARTBEAT);
        crash(w, 3);
        (void) propose(w, 1, 1, 10);
        settle(w);
        assert_int_equal(transfer(w, 1, 1), RQ_EINVAL);
        assert_int_equal(transfer(w, 1, 4), RQ_EINVAL);
        assert_int_equal(transfer(w, 1, 3), RQ_OK);
        assert_true(raft_transfer_is_under_way(node_of(w, 1)->raft));
        elapse(w, ELECTION + HEARTBEAT);
        assert_false(raft_transfer_is_under_way(node_of(w, 1)->raft));
        assert_int_equal(propose(w, 1, 1, 10), RQ_OK);

        assert_int_equal(transfer(w, 1, 3), RQ_OK);
        isolate(w, 2, true);
        elapse(w, 3 * ELECTION);
        assert_int_not_equal(raft_role_of(node_of(w, 1)->raft), RAFT_LEADER);
        isolate(w, 2, false);
        elect(w, 1);
        assert_int_equal(propose(w, 1, 1, 10), RQ_OK);
        network_free(w);
}

/* The arithmetic alone: from any voters to any others, through the joint one. */
static void test_joining_and_leaving(void **state) {
        (void) state;
        for (uint32_t old = 1; old < 32; old++)
                for (uint32_t new = 1; new < 32; new++) {
                        raft_configuration from = {0}, to = {0}, joint, final;
                        for (uint32_t i = 0; i < 5; i++) {
                                if (old >> i & 1)
                                        from.members[from.count++] = (raft_member) { .id = i + 1, .voter = true };
                                if (new >> i & 1)
                                        to.members[to.count++] = (raft_member) { .id = i + 1, .voter = true };
                        }
                        assert_int_equal(raft_members_difference(&from, &to), (uint32_t) __builtin_popcount(old ^ new));
                        assert_true(raft_members_join(&from, &to, &joint));
                        assert_true(raft_members_are_valid(&joint));
                        for (uint32_t i = 0; i < 5; i++)
                                assert_int_equal(raft_members_has_voter(&joint, i + 1), (old | new) >> i & 1);
                        raft_members_leave(&joint, &final);
                        assert_memory_equal(&final, &to, sizeof to);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_single_change_is_direct),
                cmocka_unit_test(test_a_start_takes_any_number_of_changes),
                cmocka_unit_test(test_more_changes_than_are_kept_come),
                cmocka_unit_test(test_several_changes_are_joint),
                cmocka_unit_test(test_a_joint_configuration_needs_both),
                cmocka_unit_test(test_no_change_before_the_own_term),
                cmocka_unit_test(test_truncation_rolls_back_several),
                cmocka_unit_test(test_a_new_leader_leaves_the_joint_configuration),
                cmocka_unit_test(test_a_snapshot_replaces_the_configurations),
                cmocka_unit_test(test_a_removed_leader_hands_over),
                cmocka_unit_test(test_who_is_removed_may_still_be_needed),
                cmocka_unit_test(test_a_learner_votes_when_asked),
                cmocka_unit_test(test_a_learner_doesnt_count),
                cmocka_unit_test(test_who_needs_a_snapshot_gets_one),
                cmocka_unit_test(test_leadership_is_handed_over),
                cmocka_unit_test(test_the_target_catches_up_first),
                cmocka_unit_test(test_a_transfer_that_fails_is_forgotten),
                cmocka_unit_test(test_joining_and_leaving),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
