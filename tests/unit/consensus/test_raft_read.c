/* Reads: rounds, leases, questions of followers. Rows: of docs/raft.md. */
#include "raft_network.h"

static network *three_with_lease(uint64_t lease_us) {
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        w->lease_us = lease_us;
        for (raft_id id = 1; id <= 3; id++)
                start(w, id);
        elect(w, 1);
        return w;
}

static bool is_ready(network *w, raft_id id) {
        return node_of(w, id)->read_round != 0 && node_of(w, id)->ready_round >= node_of(w, id)->read_round;
}

static bool has_failed(network *w, raft_id id) {
        return !is_ready(w, id) && node_of(w, id)->failed_round >= node_of(w, id)->read_round;
}

static void deliver_all(network *w) {
        while (w->wire_count > 0) {
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
        }
}

/* Thesis 6.4: a majority confirms that we lead, after the read has come. */
static void test_a_read_takes_a_round(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        isolate(w, 3, true);
        settle(w);
        w->tracing = true;
        assert_int_equal(read_at(w, 1, false), RQ_OK);
        settle(w);
        expect(w, "1>2 heartbeat t2 commit 2\n2 is follower of term 2\n2 commits 2\n2>1 heartbeat t2 match 2\n1 reads at 2\n");
        isolate(w, 2, true);
        assert_int_equal(read_at(w, 1, false), RQ_OK);
        assert_int_equal(read_at(w, 1, true), RQ_OK); /* without a lease likewise */
        settle(w);
        expect(w, "");
        elapse(w, 2 * ELECTION);
        assert_true(has_failed(w, 1));
        network_free(w);
}

/* At most one round is on its way; all who come meanwhile share the next. */
static void test_reads_share_rounds(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        isolate(w, 3, true);
        settle(w);
        (void) read_at(w, 1, false);
        uint64_t first = node_of(w, 1)->read_round;
        for (int i = 0; i < 10; i++) {
                (void) read_at(w, 1, false);
                assert_int_equal(node_of(w, 1)->read_round, first + 1);
        }
        assert_int_equal(w->wire_count, 1);
        letter l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        l = take_letter(w, 0);
        (void) deliver_letter(w, &l);
        assert_int_equal(node_of(w, 1)->ready_round, first);
        assert_int_equal(w->wire_count, 1);
        deliver_all(w);
        assert_int_equal(node_of(w, 1)->ready_round, first + 1);
        network_free(w);
}

/* Row 2: not before an entry of the own term is committed. */
static void test_a_new_leader_waits_for_its_own_term(void **state) {
        (void) state;
        network *w = three_with_lease(ELECTION / 2);
        (void) propose(w, 1, 1, 10);
        settle(w);
        stand(w, 2);
        while (raft_role_of(node_of(w, 2)->raft) != RAFT_LEADER) {
                assert_true(w->wire_count > 0 || node_of(w, 2)->write_count > 0);
                for (raft_id id = 1; id <= 3; id++)
                        while (write_one(w, id))
                                ;
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
        }
        assert_int_equal(read_at(w, 2, true), RQ_OK);
        assert_int_not_equal(node_of(w, 2)->read_round, 0);
        deliver_all(w); /* rounds, and no appends */
        assert_false(is_ready(w, 2));
        settle(w);
        assert_true(is_ready(w, 2));
        assert_int_equal(node_of(w, 2)->ready_index, w->committed_last);
        network_free(w);
}

/* Row 3: what confirmed an earlier round confirms nothing later. */
static void test_late_confirmations_dont_count(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        settle(w);
        (void) read_at(w, 1, false);
        letter to_2 = take_letter(w, 0), to_3 = take_letter(w, 0);
        (void) deliver_letter(w, &to_2);
        letter late = take_letter(w, 0);
        (void) deliver_letter(w, &to_3);
        deliver_all(w);
        assert_true(is_ready(w, 1));
        (void) read_at(w, 1, false);
        w->wire_count = 0;
        (void) deliver_letter(w, &late);
        (void) deliver_letter(w, &late);
        assert_false(is_ready(w, 1));
        network_free(w);
}

/* Found by the simulator: a heartbeat of an earlier run of the leader reaches a member that is in its new term
 * already. The answer is late, no lie, and confirms nothing. */
static void test_a_round_of_an_earlier_run_confirms_nothing(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        settle(w);
        (void) read_at(w, 1, false);
        w->wire_count = 0;
        for (raft_id from = 2; from <= 3; from++) {
                letter late = { .message = {
                        .type = RAFT_MSG_HEARTBEAT_REPLY, .from = from, .to = 1, .term = raft_term_of(node_of(w, 1)->raft), .heartbeat_reply = { .round = UINT64_MAX },
                } };
                assert_int_equal(deliver_letter(w, &late), RQ_OK);
        }
        assert_false(is_ready(w, 1));
        network_free(w);
}

static void hand_over(network *w, raft_message m) {
        const letter l = { .message = m };
        assert_int_equal(deliver_letter(w, &l), RQ_OK);
        while (write_one(w, m.to))
                ;
}

static bool last_is_a_granted_vote(const network *w) {
        const raft_message *m = w->wire_count > 0 ? &w->wire[w->wire_count - 1].message : NULL;
        return m != NULL && m->type == RAFT_MSG_VOTE_REPLY && m->vote_reply.granted;
}

/* Found by the simulator: who has answered a leader learns of a later term, by a refusal that was meant for an
 * earlier campaign of its own, and doesn't forget that the leader has a lease from the answer. */
static void test_a_later_term_ends_no_lease(void **state) {
        (void) state;
        const raft_message refusal = { .type = RAFT_MSG_VOTE_REPLY, .from = 3, .to = 2, .term = 9, .vote_reply = { .pre = true, .campaign_term = 3 } };
        const raft_message vote = { .type = RAFT_MSG_VOTE, .from = 3, .to = 2, .term = 9, .vote = { .campaign_term = 9, .last_index = 50, .last_term = 2 } };
        const raft_message given_way = { .type = RAFT_MSG_VOTE_REPLY, .from = 1, .to = 2, .term = 9, .vote_reply = { .campaign_term = 9 } };
        for (int gives_way = 0; gives_way < 2; gives_way++) {
                network *w = three_with_lease(ELECTION / 2);
                settle(w);
                (void) read_at(w, 1, false);
                deliver_all(w);
                hand_over(w, refusal);
                assert_int_equal(raft_term_of(node_of(w, 2)->raft), 9);
                if (gives_way)
                        hand_over(w, given_way); /* the leader itself has gone on to that term */
                hand_over(w, vote);
                assert_int_equal(last_is_a_granted_vote(w), gives_way);
                if (!gives_way) {
                        assert_int_equal(read_at(w, 1, true), RQ_OK);
                        assert_int_equal(node_of(w, 1)->read_round, 0); /* answered by its lease */
                        w->now_us += ELECTION;
                        hand_over(w, vote);
                        assert_true(last_is_a_granted_vote(w));
                }
                network_free(w);
        }
}

/* Row 6: the lease counts from when a round was sent, not from when it was answered. */
static void test_a_lease_counts_from_the_sending(void **state) {
        (void) state;
        network *w = three_with_lease(ELECTION / 2);
        settle(w);
        (void) read_at(w, 1, false);
        letter to_2 = take_letter(w, 0), to_3 = take_letter(w, 0);
        w->now_us += ELECTION / 2 - 10; /* a slow network */
        (void) deliver_letter(w, &to_2);
        deliver_all(w);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_equal(node_of(w, 1)->read_round, 0);
        w->now_us += 10;
        (void) deliver_letter(w, &to_3); /* the same round: nothing new */
        deliver_all(w);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_not_equal(node_of(w, 1)->read_round, 0);
        network_free(w);
}

/* Found by the simulator: a leader that is about to be removed is confirmed by the one voter that is left, which
 * may restart, needs nobody's vote then, and leads at once. */
static void test_no_lease_for_who_is_being_removed(void **state) {
        (void) state;
        raft_configuration two = members("12", "");
        network *w = network_new(2, &two);
        w->lease_us = ELECTION / 2;
        start(w, 1);
        start(w, 2);
        elect(w, 1);
        settle(w);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_equal(node_of(w, 1)->read_round, 0);
        raft_configuration one = members("2", "");
        assert_int_equal(step(w, 1, (raft_event) { .type = RAFT_EV_CONFIGURE, .configure = &one }), RQ_OK);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_not_equal(node_of(w, 1)->read_round, 0);
        network_free(w);
}

/* Row 5: no lease while leadership is handed over, nor after that has failed: the
 * message may still be on its way. */
static void test_no_lease_during_a_transfer(void **state) {
        (void) state;
        network *w = three_with_lease(ELECTION / 2);
        elapse(w, HEARTBEAT);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_equal(node_of(w, 1)->read_round, 0);
        w->cut[1][2] = true;
        assert_int_equal(transfer(w, 1, 2), RQ_OK);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_not_equal(node_of(w, 1)->read_round, 0);
        elapse(w, ELECTION + HEARTBEAT);
        assert_false(raft_transfer_is_under_way(node_of(w, 1)->raft));
        assert_int_equal(raft_role_of(node_of(w, 1)->raft), RAFT_LEADER);
        assert_int_equal(read_at(w, 1, true), RQ_OK);
        assert_int_not_equal(node_of(w, 1)->read_round, 0);
        network_free(w);
}

/* Thesis 6.4, end: a follower asks for an index, and reads itself. */
static void test_a_follower_asks(void **state) {
        (void) state;
        network *w = three_with_lease(ELECTION / 2);
        isolate(w, 3, true);
        elapse(w, HEARTBEAT / 2);
        w->tracing = true;
        assert_int_equal(read_at(w, 2, false), RQ_OK);
        uint64_t first = node_of(w, 2)->read_round;
        assert_int_equal(read_at(w, 2, true), RQ_OK); /* one question at a time */
        assert_int_equal(node_of(w, 2)->read_round, first + 1);
        settle(w);
        assert_true(is_ready(w, 2));
        expect(w,
               "2>1 read\n"
               "1>2 heartbeat t2 commit 2\n"
               "2 is follower of term 2\n" /* that the commit index is known has changed */
               "2 commits 2\n"
               "2>1 heartbeat t2 match 2\n"
               "1>2 read at 2\n"
               "2 reads at 2\n"
               "2>1 weak read\n"
               "1>2 read at 2\n"
               "2 reads at 2\n");
        network_free(w);
}

/* Row 49: each question is answered, refused, or fails by itself. */
static void test_no_question_stays_without_an_answer(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        settle(w);
        w->cut[2][1] = true; /* lost */
        assert_int_equal(read_at(w, 2, false), RQ_OK);
        elapse(w, ELECTION / 2);
        assert_false(has_failed(w, 2));
        elapse(w, ELECTION / 2);
        assert_true(has_failed(w, 2));
        w->cut[2][1] = false;

        assert_int_equal(read_at(w, 2, false), RQ_OK); /* the link breaks */
        peer_down(w, 2, 1, false);
        assert_true(has_failed(w, 2));

        w->wire_count = 0;
        assert_int_equal(read_at(w, 2, false), RQ_OK); /* the leader steps down while it waits */
        w->cut[1][2] = w->cut[1][3] = true;
        deliver_all(w);
        w->cut[1][2] = false;
        w->tracing = true;
        letter higher = { .message = { .type = RAFT_MSG_HEARTBEAT, .from = 3, .to = 1, .term = 9 } };
        (void) deliver_letter(w, &higher);
        letter refusal = take_letter(w, 0);
        (void) deliver_letter(w, &refusal);
        expect(w, "3>1 heartbeat t9 commit 0\n1 is follower of term 9\n1>2 read refused\n2 reads fail\n");

        letter question = { .message = { .type = RAFT_MSG_READ, .from = 2, .to = 1, .term = 2, .read = { .round = 5 } } };
        w->wire_count = 0;
        (void) deliver_letter(w, &question); /* to who doesn't lead */
        assert_int_equal(w->wire_count, 1);
        assert_true(w->wire[0].message.read_reply.refused);
        network_free(w);

        w = three_with_lease(0);
        settle(w);
        (void) step(w, 1, (raft_event) { .type = RAFT_EV_FAILED }); /* to one whose disk has failed */
        w->wire_count = 0;
        (void) deliver_letter(w, &question);
        assert_int_equal(w->wire_count, 1);
        assert_true(w->wire[0].message.read_reply.refused);
        assert_int_equal(read_at(w, 1, false), RQ_ENOTLEADER);
        network_free(w);
}

static void test_answers_to_other_questions_dont_count(void **state) {
        (void) state;
        network *w = three_with_lease(0);
        settle(w);
        assert_int_equal(read_at(w, 2, false), RQ_OK);
        letter answer = { .message = { .type = RAFT_MSG_READ_REPLY, .from = 1, .to = 2, .term = 2, .read_reply = { .index = 1 } } };
        answer.message.read_reply.round = node_of(w, 2)->read_round - 1;
        (void) deliver_letter(w, &answer);
        answer.message.read_reply.round = node_of(w, 2)->read_round;
        answer.message.from = 3;
        (void) deliver_letter(w, &answer);
        answer.message.from = 1;
        answer.message.term = 1;
        (void) deliver_letter(w, &answer);
        assert_false(is_ready(w, 2));
        settle(w);
        assert_true(is_ready(w, 2));
        assert_int_equal(node_of(w, 2)->ready_index, 2);
        network_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_read_takes_a_round),
                cmocka_unit_test(test_reads_share_rounds),
                cmocka_unit_test(test_a_new_leader_waits_for_its_own_term),
                cmocka_unit_test(test_late_confirmations_dont_count),
                cmocka_unit_test(test_no_lease_for_who_is_being_removed),
                cmocka_unit_test(test_a_round_of_an_earlier_run_confirms_nothing),
                cmocka_unit_test(test_a_later_term_ends_no_lease),
                cmocka_unit_test(test_a_lease_counts_from_the_sending),
                cmocka_unit_test(test_no_lease_during_a_transfer),
                cmocka_unit_test(test_a_follower_asks),
                cmocka_unit_test(test_no_question_stays_without_an_answer),
                cmocka_unit_test(test_answers_to_other_questions_dont_count),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
