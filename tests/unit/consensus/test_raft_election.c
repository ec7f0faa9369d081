/* Elections among several. Rows: of docs/raft.md. */
#include "raft_network.h"

static network *three(void) {
        raft_configuration c = members("123", "");
        return network_started(3, &c);
}

static network *five(void) {
        raft_configuration c = members("12345", "");
        return network_started(5, &c);
}

static raft_role role(network *w, raft_id id) { return raft_role_of(node_of(w, id)->raft); }
static raft_term term(network *w, raft_id id) { return raft_term_of(node_of(w, id)->raft); }

/* Thesis 3.4 with 9.6: pre-vote, vote when durable, first entry, commit. */
static void test_an_election(void **state) {
        (void) state;
        network *w = three();
        w->cut[1][3] = w->cut[3][1] = true;
        w->tracing = true;
        elect(w, 1);
        expect(w,
               "1 is pre-candidate of term 1\n"
               "1>2 pre-vote t2 log 1^1\n"
               "2>1 pre-vote t2 granted\n"
               "1 is candidate of term 2\n"
               "1>2 vote t2 log 1^1\n"
               "2 is follower of term 2\n"
               "2>1 vote t2 granted\n"
               "1 is leader of term 2\n"
               "1>2 heartbeat t2 commit 0\n"
               "2 is follower of term 2\n"
               "1>2 append t2 behind 1^1 +1 commit 0\n"
               "2>1 heartbeat t2 match 0\n"
               "2>1 append t2 match 1\n" /* the logs meet: no need to wait for the disk to say so */
               "2>1 append t2 match 2\n"
               "1 is leader of term 2, ready\n"
               "1 commits 2\n");
        network_free(w);
}

/* Row 13: neither the candidate's own vote nor another's counts before it is durable. */
static void test_votes_wait_for_the_disk(void **state) {
        (void) state;
        network *w = three();
        w->tracing = true;
        isolate(w, 3, true);
        stand(w, 1);
        while (w->wire_count > 0) {
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
        }
        expect(w,
               "1 is pre-candidate of term 1\n"
               "1>2 pre-vote t2 log 1^1\n"
               "2>1 pre-vote t2 granted\n"
               "1 is candidate of term 2\n"); /* and asks nobody */
        assert_true(write_one(w, 1));
        letter l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        assert_int_equal(w->wire_count, 0); /* granted, and not said */
        (void) deliver_letter(w, &l);
        assert_int_equal(w->wire_count, 0);
        assert_true(write_one(w, 2));
        assert_int_equal(w->wire_count, 1);
        (void) deliver_letter(w, &l); /* repeated: answered at once now */
        assert_int_equal(w->wire_count, 2);
        expect(w,
               "1>2 vote t2 log 1^1\n"
               "2 is follower of term 2\n"
               "1>2 vote t2 log 1^1\n"
               "1>2 vote t2 log 1^1\n");
        network_free(w);
}

/* Thesis 4.2.3: a node that nobody could reach doesn't disturb when it is back. */
static void test_a_live_leader_is_protected(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        isolate(w, 3, true);
        elapse(w, 5 * ELECTION);
        assert_int_equal(role(w, 3), RAFT_PRE_CANDIDATE);
        assert_int_equal(term(w, 3), 2); /* pre-vote: it has not risen */
        isolate(w, 3, false);
        elapse(w, 5 * ELECTION);
        assert_int_equal(role(w, 1), RAFT_LEADER);
        assert_int_equal(term(w, 1), 2);
        network_free(w);
}

/* Even a real candidate of a higher term is refused; by its term, which it must have
 * got without us, the leader then gives way, and there is a leader again. */
static void test_a_higher_term_is_refused_and_then_learned(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        raft_message vote = { .type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .vote = { .campaign_term = 9, .last_index = 50, .last_term = 2 } };
        w->tracing = true;
        post(w, &vote, NULL);
        letter l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        assert_int_equal(term(w, 2), 2);
        l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        expect(w, "3>2 vote t9 log 50^2\n2>3 vote t9 refused\n");
        network_free(w);

        w = three();
        node_of(w, 3)->disk_term = 9;
        crash(w, 3);
        start(w, 3);
        isolate(w, 3, true);
        elect(w, 1);
        isolate(w, 3, false);
        elapse(w, 10 * ELECTION);
        assert_true(leader_of(w) != 0 && term(w, leader_of(w)) > 9);
        network_free(w);
}

/* Row 11: one vote in a term, whatever comes between. */
static void test_a_vote_is_for_the_whole_term(void **state) {
        (void) state;
        network *w = five();
        const raft_message from_1 = { .type = RAFT_MSG_VOTE, .from = 1, .to = 3, .term = 2, .vote = { .campaign_term = 2, .last_index = 1, .last_term = 1 } };
        raft_message from_2 = from_1, heartbeat = { .type = RAFT_MSG_HEARTBEAT, .from = 4, .to = 3, .term = 2, .heartbeat = { .round = 1 } };
        from_2.from = 2;
        w->tracing = true;
        post(w, &from_1, NULL);
        settle(w);
        post(w, &heartbeat, NULL); /* somebody else has won the term */
        settle(w);
        post(w, &from_2, NULL);
        settle(w);
        assert_int_equal(raft_vote_of(node_of(w, 3)->raft), 1);
        crash(w, 3);
        start(w, 3);
        post(w, &from_2, NULL);
        settle(w);
        assert_int_equal(raft_vote_of(node_of(w, 3)->raft), 1);
        expect(w,
               "1>3 vote t2 log 1^1\n"
               "3 is follower of term 2\n"
               "3>1 vote t2 granted\n"
               "1 is follower of term 2\n"
               "4>3 heartbeat t2 commit 0\n"
               "3 is follower of term 2\n"
               "3>4 heartbeat t2 match 0\n"
               "4 is follower of term 2\n"
               "2>3 vote t2 log 1^1\n"
               "3>2 vote t2 refused\n"
               "2 is follower of term 2\n"
               "2>3 vote t2 log 1^1\n"
               "3>2 vote t2 refused\n");
        network_free(w);
}

/* Row 12: an answer to an earlier campaign counts for nothing. */
static void test_late_votes_dont_count(void **state) {
        (void) state;
        network *w = five();
        for (raft_id other = 2; other <= 5; other++)
                w->cut[1][other] = true;
        stand(w, 1);
        for (raft_id from = 2; from <= 3; from++) {
                raft_message late = { .type = RAFT_MSG_VOTE_REPLY, .from = from, .to = 1, .term = 1, .vote_reply = { .pre = true, .granted = true, .campaign_term = 1 } };
                post(w, &late, NULL);
                late.vote_reply.pre = false;
                post(w, &late, NULL);
        }
        settle(w);
        assert_int_equal(role(w, 1), RAFT_PRE_CANDIDATE);
        for (raft_id from = 2; from <= 3; from++) {
                raft_message now = { .type = RAFT_MSG_VOTE_REPLY, .from = from, .to = 1, .term = 1, .vote_reply = { .pre = true, .granted = true, .campaign_term = 2 } };
                post(w, &now, NULL);
                post(w, &now, NULL); /* doubled: one vote */
                settle(w);
        }
        assert_int_equal(role(w, 1), RAFT_CANDIDATE);
        network_free(w);
}

/* Row 34: who wants to replace a leader doesn't protect it any more. */
static void test_a_pre_candidate_protects_nobody(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        crash(w, 1);
        elapse(w, 4 * ELECTION);
        assert_int_not_equal(leader_of(w), 0);
        network_free(w);
}

/* Row 35: a node with an old term grants, and its grant counts. */
static void test_the_grant_of_an_old_term_counts(void **state) {
        (void) state;
        network *w = three();
        isolate(w, 3, true);
        elect(w, 1);
        elect(w, 2); /* terms rise without node 3 */
        raft_term old = term(w, 3);
        crash(w, 2);
        isolate(w, 3, false);
        assert_true(old < term(w, 1));
        elapse(w, 6 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        network_free(w);
}

/* Row 35, the other way: who grants is already in the term that is aimed at, and has
 * not voted in it. */
static void test_the_grant_of_the_next_term_counts(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        node_of(w, 2)->disk_term = 2;
        start(w, 1);
        start(w, 2);
        stand(w, 1);
        settle(w);
        assert_int_equal(role(w, 1), RAFT_LEADER);
        assert_int_equal(term(w, 1), 2);
        network_free(w);
}

/* Row 36: the longest log has a lower term; it learns the term from refusals. */
static void test_a_refusal_carries_the_term(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        node_of(w, 1)->disk[2] = (held) { .term = 2 }; /* the longest log */
        node_of(w, 1)->disk_last = 2;
        node_of(w, 1)->disk_term = 2;
        node_of(w, 2)->disk_term = node_of(w, 3)->disk_term = 5; /* who have only voted */
        node_of(w, 2)->disk_vote = 2;
        node_of(w, 3)->disk_vote = 3;
        for (raft_id id = 1; id <= 2; id++)
                start(w, id);
        elapse(w, 20 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        assert_true(term(w, 1) > 5);
        network_free(w);
}

/* Row 37: without a log that can win, nobody loses its leadership or its timer. */
static void test_a_hopeless_candidate_disturbs_nobody(void **state) {
        (void) state;
        network *w = five();
        elect(w, 1);
        isolate(w, 5, true);
        for (int i = 0; i < 5; i++)
                (void) propose(w, 1, 2, 10);
        elapse(w, 3 * ELECTION);
        crash(w, 1);
        for (raft_id id = 2; id <= 4; id++) /* they have just heard of it ... */
                peer_down(w, id, 1, true);  /* ... and know that it is gone */
        isolate(w, 5, false);
        elapse(w, 4 * ELECTION);
        raft_id leader = leader_of(w);
        assert_true(leader >= 2 && leader <= 4);
        assert_true(term(w, leader) <= 4);
        network_free(w);
}

/* Row 40: equal seeds, equal clocks: somebody wins. */
static void test_ties_end(void **state) {
        (void) state;
        for (uint32_t round = 0; round < 20; round++) {
                network *w = five();
                elapse(w, 8 * ELECTION);
                assert_int_not_equal(leader_of(w), 0);
                network_free(w);
        }
}

/* A split vote isn't waited out. */
static void test_a_split_vote_is_repeated_soon(void **state) {
        (void) state;
        raft_configuration c = members("12", "");
        network *w = network_started(2, &c);
        stand(w, 1);
        stand(w, 2);
        letter to_2 = take_letter(w, 0), to_1 = take_letter(w, 0); /* pre-votes cross, then votes */
        (void) deliver_letter(w, &to_2);
        (void) deliver_letter(w, &to_1);
        to_1 = take_letter(w, 0);
        to_2 = take_letter(w, 0);
        (void) deliver_letter(w, &to_1);
        (void) deliver_letter(w, &to_2);
        settle(w);
        assert_int_equal(role(w, 1), RAFT_CANDIDATE);
        assert_int_equal(role(w, 2), RAFT_CANDIDATE);
        elapse(w, 3 * HEARTBEAT);
        assert_int_not_equal(leader_of(w), 0);
        network_free(w);
}

/* kill -9 of a leader: its port refuses, and nobody waits for its silence. */
static void test_a_leader_whose_process_is_gone_is_replaced_at_once(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        elapse(w, HEARTBEAT / 2);
        crash(w, 1);
        peer_down(w, 2, 1, false); /* the link alone proves nothing */
        assert_int_equal(raft_leader_of(node_of(w, 2)->raft), 1);
        peer_down(w, 2, 1, true);
        peer_down(w, 3, 1, true);
        assert_int_equal(raft_leader_of(node_of(w, 2)->raft), 0);
        elapse(w, 2 * HEARTBEAT);
        assert_true(leader_of(w) == 2 || leader_of(w) == 3);
        network_free(w);
}

/* Check-quorum, thesis 6.2: who reaches no majority leads no more. */
static void test_a_leader_without_a_majority_steps_down(void **state) {
        (void) state;
        network *w = five();
        elect(w, 1);
        for (raft_id id = 3; id <= 5; id++)
                isolate(w, id, true);
        elapse(w, ELECTION - HEARTBEAT);
        assert_int_equal(role(w, 1), RAFT_LEADER);
        elapse(w, 3 * HEARTBEAT);
        assert_int_not_equal(role(w, 1), RAFT_LEADER);
        network_free(w);
}

/* Row 38: heard by one, hearing nobody: the one it reaches is not kept from voting. */
static void test_a_leader_that_only_speaks_steps_down(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        isolate(w, 1, true);
        w->cut[1][2] = false; /* one way */
        elapse(w, 5 * ELECTION);
        assert_true(leader_of(w) == 2 || leader_of(w) == 3);
        network_free(w);
}

/* Row 42: heartbeats don't need the disk, leadership does. */
static void test_a_leader_whose_disk_hangs_steps_down(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        (void) propose(w, 1, 1, 10);
        uint64_t end = w->now_us + STALL;
        while (w->now_us < end) { /* all but one disk work */
                w->now_us += HEARTBEAT;
                for (raft_id id = 1; id <= 3; id++)
                        tick(w, id);
                while (w->wire_count > 0) {
                        letter l = take_letter(w, 0);
                        (void) deliver_letter(w, &l);
                        (void) (write_one(w, 2) || write_one(w, 3));
                }
        }
        assert_int_equal(role(w, 1), RAFT_FOLLOWER);
        w->now_us += 5 * ELECTION;
        tick(w, 1);
        tick(w, 1);
        assert_int_equal(role(w, 1), RAFT_FOLLOWER); /* nor does it stand for election */
        network_free(w);
}

/* We slept: who would have spoken has, and it is still to be read. */
static void test_our_own_sleep_is_nobodys_silence(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        raft_term before = term(w, 1);
        w->now_us += 30 * ELECTION; /* the whole machine */
        for (raft_id id = 1; id <= 3; id++)
                tick(w, id);
        elapse(w, 4 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        assert_int_equal(term(w, 1), before);
        crash(w, 1);
        w->now_us += 3 * ELECTION;
        tick(w, 2); /* forgiven once ... */
        assert_int_equal(role(w, 2), RAFT_FOLLOWER);
        w->now_us += 3 * ELECTION;
        tick(w, 2); /* ... and not again */
        assert_int_equal(role(w, 2), RAFT_PRE_CANDIDATE);
        network_free(w);
}

/* Architecture rule 8. */
static void test_who_may_have_forgotten_promises_doesnt_vote(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        node_of(w, 3)->learner = true;
        for (raft_id id = 1; id <= 3; id++)
                start(w, id);
        isolate(w, 2, true);
        elapse(w, 10 * ELECTION);
        assert_int_equal(leader_of(w), 0);
        isolate(w, 2, false);
        elapse(w, 5 * ELECTION);
        assert_int_not_equal(leader_of(w), 0);
        (void) propose(w, leader_of(w), 1, 1);
        elapse(w, HEARTBEAT);
        assert_int_equal(progress(w, leader_of(w), 3).match, w->committed_last);
        network_free(w);
}

/* A restart forgets whom it has heard, a lease that was counted from it doesn't. */
static void test_a_restart_keeps_what_a_lease_was_counted_from(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        w->lease_us = ELECTION / 2;
        for (raft_id id = 1; id <= 3; id++)
                start(w, id);
        raft_message vote = { .type = RAFT_MSG_VOTE, .from = 1, .to = 2, .term = 2, .vote = { .campaign_term = 2, .last_index = 1, .last_term = 1 } };
        w->tracing = true;
        post(w, &vote, NULL);
        letter l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        expect(w, "1>2 vote t2 log 1^1\n2>1 vote t2 refused\n");
        network_free(w);
}

static rq_err send(network *w, raft_message m) {
        letter l = { .message = m };
        return deliver_letter(w, &l);
}

static void test_what_no_correct_member_sends_is_refused(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        raft_term t = term(w, 1);
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_HEARTBEAT, .from = 3, .to = 2, .term = t }), RQ_EPROTO); /* a second leader */
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_APPEND, .from = 3, .to = 1, .term = t }), RQ_EPROTO);
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_APPEND_REPLY, .from = 3, .to = 1, .term = t, .append_reply = { .index = 99 } }), RQ_EPROTO);
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_HEARTBEAT_REPLY, .from = 3, .to = 1, .term = t, .heartbeat_reply = { .index = 99 } }), RQ_EPROTO);
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_VOTE, .from = 3, .to = 1, .term = t, .vote = { .campaign_term = t + 1 } }), RQ_EPROTO);
        assert_int_equal(send(w, (raft_message) { .type = RAFT_MSG_VOTE, .from = 1, .to = 1, .term = t, .vote = { .campaign_term = t } }), RQ_EPROTO);
        assert_int_equal(send(w, (raft_message) { .type = (raft_message_type) 77, .from = 2, .to = 1, .term = t }), RQ_EPROTO);
        assert_int_equal(role(w, 1), RAFT_LEADER);
        network_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_an_election),
                cmocka_unit_test(test_votes_wait_for_the_disk),
                cmocka_unit_test(test_a_live_leader_is_protected),
                cmocka_unit_test(test_a_higher_term_is_refused_and_then_learned),
                cmocka_unit_test(test_a_vote_is_for_the_whole_term),
                cmocka_unit_test(test_late_votes_dont_count),
                cmocka_unit_test(test_a_pre_candidate_protects_nobody),
                cmocka_unit_test(test_the_grant_of_an_old_term_counts),
                cmocka_unit_test(test_the_grant_of_the_next_term_counts),
                cmocka_unit_test(test_a_refusal_carries_the_term),
                cmocka_unit_test(test_a_hopeless_candidate_disturbs_nobody),
                cmocka_unit_test(test_ties_end),
                cmocka_unit_test(test_a_split_vote_is_repeated_soon),
                cmocka_unit_test(test_a_leader_whose_process_is_gone_is_replaced_at_once),
                cmocka_unit_test(test_a_leader_without_a_majority_steps_down),
                cmocka_unit_test(test_a_leader_that_only_speaks_steps_down),
                cmocka_unit_test(test_a_leader_whose_disk_hangs_steps_down),
                cmocka_unit_test(test_our_own_sleep_is_nobodys_silence),
                cmocka_unit_test(test_who_may_have_forgotten_promises_doesnt_vote),
                cmocka_unit_test(test_a_restart_keeps_what_a_lease_was_counted_from),
                cmocka_unit_test(test_what_no_correct_member_sends_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
