/* Replication: what a follower takes, cuts and acknowledges; what a leader sends
 * and commits. Rows: of docs/raft.md. */
#include "raft_network.h"

static network *three(void) {
        raft_configuration c = members("123", "");
        return network_started(3, &c);
}

/* Terms of entries 2, 3, ... as digits, behind the founding entry. */
static void write_log(network *w, raft_id id, const char *terms) {
        node *n = node_of(w, id);
        for (; *terms != '\0'; terms++) {
                n->disk[++n->disk_last] = (held) { .term = (raft_term) (*terms - '0'), .bytes = 10 };
                if (n->disk_term < n->disk[n->disk_last].term)
                        n->disk_term = n->disk[n->disk_last].term;
        }
}

static void expect_log(network *w, raft_id id, const char *terms) {
        node *n = node_of(w, id);
        char text[64] = "";
        for (raft_index i = 2; i <= n->last; i++)
                text[i - 2] = (char) ('0' + n->log[i].term);
        assert_string_equal(text, terms);
}

static raft_index commit(network *w, raft_id id) { return raft_commit_of(node_of(w, id)->raft); }

/* An append of term t behind previous, with these terms. */
static rq_err append(network *w, raft_id from, raft_id to, raft_term t, raft_index previous, raft_term previous_term, const char *terms, raft_index committed) {
        letter l = { .message = { .type = RAFT_MSG_APPEND, .from = from, .to = to, .term = t,
                .append = { .previous_index = previous, .previous_term = previous_term, .commit = committed } } };
        for (; terms[l.message.append.count] != '\0'; l.message.append.count++)
                l.entries[l.message.append.count] = (held) { .term = (raft_term) (terms[l.message.append.count] - '0'), .bytes = 10 };
        return deliver_letter(w, &l);
}

/* Figure 3.6 of the thesis: all the ways in which a follower's log can differ. */
static void test_followers_of_figure_3_6(void **state) {
        static const char *const logs[] = { "11445566", "1144", "1144556666", "114455667", "1144444", "11222333333" };
        (void) state;
        for (uint32_t i = 0; i < 6; i++) {
                raft_configuration c = members("123", "");
                network *w = network_new(3, &c);
                write_log(w, 1, "114455666");
                write_log(w, 2, logs[i]);
                write_log(w, 3, "1144");
                node_of(w, 1)->disk_term = 7;
                for (raft_id id = 1; id <= 3; id++)
                        start(w, id);
                isolate(w, 2, true);
                elect(w, 1);
                isolate(w, 2, false);
                elapse(w, 3 * HEARTBEAT);
                char want[16];
                (void) snprintf(want, sizeof want, "114455666%d", (int) raft_term_of(node_of(w, 1)->raft));
                assert_int_equal(leader_of(w), 1);
                expect_log(w, 1, want);
                expect_log(w, 2, want);
                expect_log(w, 3, want);
                assert_int_equal(commit(w, 2), 11);
                network_free(w);
        }
}

/* Row 1, figure 3.7: an entry of an old term on a majority isn't committed by that. */
static void test_an_old_term_isnt_committed_by_counting(void **state) {
        (void) state;
        raft_configuration c = members("12345", "");
        network *w = network_new(5, &c);
        write_log(w, 1, "2");
        write_log(w, 2, "2");
        write_log(w, 5, "3");
        for (raft_id id = 1; id <= 4; id++) {
                node_of(w, id)->disk_term = 3;
                start(w, id);
        }
        isolate(w, 4, true);
        elect(w, 1);
        network_free(w);

        /* (c) by hand: entry 2^2 is on three of five, the no-op of term 4 only here. */
        w = network_new(5, &c);
        write_log(w, 1, "2");
        write_log(w, 2, "2");
        write_log(w, 3, "2");
        for (raft_id id = 1; id <= 3; id++) {
                node_of(w, id)->disk_term = 3;
                start(w, id);
        }
        stand(w, 1);
        for (int i = 0; i < 40 && raft_role_of(node_of(w, 1)->raft) != RAFT_LEADER; i++) { /* nothing but votes */
                for (raft_id id = 1; id <= 3; id++)
                        while (write_one(w, id))
                                ;
                while (w->wire_count > 0 && raft_role_of(node_of(w, 1)->raft) != RAFT_LEADER) {
                        letter l = take_letter(w, 0);
                        (void) deliver_letter(w, &l);
                }
        }
        assert_int_equal(raft_role_of(node_of(w, 1)->raft), RAFT_LEADER);
        w->wire_count = 0;
        raft_term t = raft_term_of(node_of(w, 1)->raft);
        assert_true(write_one(w, 1));
        for (raft_id from = 2; from <= 3; from++) {
                letter l = { .message = { .type = RAFT_MSG_APPEND_REPLY, .from = from, .to = 1, .term = t, .append_reply = { .index = 2 } } };
                (void) deliver_letter(w, &l);
        }
        assert_int_equal(progress(w, 1, 3).match, 2);
        assert_int_equal(commit(w, 1), 0);
        for (raft_id from = 2; from <= 3; from++) {
                letter l = { .message = { .type = RAFT_MSG_APPEND_REPLY, .from = from, .to = 1, .term = t, .append_reply = { .index = 3 } } };
                (void) deliver_letter(w, &l);
        }
        assert_int_equal(commit(w, 1), 3);
        network_free(w);
}

/* Row 7: a doubled or shorter append cuts nothing. */
static void test_what_is_there_isnt_cut(void **state) {
        (void) state;
        network *w = three();
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "2222", 0), RQ_OK);
        uint32_t writes = node_of(w, 2)->write_count;
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "2", 0), RQ_OK);
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "", 0), RQ_OK);
        assert_int_equal(append(w, 1, 2, 2, 2, 2, "22", 0), RQ_OK);
        expect_log(w, 2, "2222");
        assert_int_equal(node_of(w, 2)->write_count, writes);
        network_free(w);
}

/* Row 8: nothing at or below the commit index is ever cut, or proven before. */
static void test_what_is_committed_or_proven_isnt_cut(void **state) {
        (void) state;
        network *w = three();
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "222", 3), RQ_OK);
        assert_int_equal(commit(w, 2), 3);
        assert_int_equal(append(w, 3, 2, 5, 1, 1, "4", 0), RQ_EPROTO); /* committed: 2 */
        assert_int_equal(append(w, 3, 2, 5, 3, 4, "4", 0), RQ_EPROTO);
        assert_int_equal(append(w, 1, 2, 2, 4, 1, "2", 0), RQ_EPROTO); /* proven in this term: 4 */
        assert_int_equal(raft_term_of(node_of(w, 2)->raft), 2);
        expect_log(w, 2, "222");
        assert_int_equal(append(w, 3, 2, 5, 3, 2, "4", 0), RQ_OK); /* 4 isn't committed, and the term is new */
        expect_log(w, 2, "224");
        assert_int_equal(append(w, 3, 2, 5, 3, 2, "44", 0), RQ_OK);
        assert_int_equal(append(w, 3, 2, 5, 3, 2, "32", 0), RQ_EPROTO); /* terms that fall */
        assert_int_equal(append(w, 3, 2, 5, 3, 2, "6", 0), RQ_EPROTO);  /* of a term above the leader's */
        network_free(w);
}

/* Rows 9 and 10: own entries that the leader hasn't proven are neither acknowledged
 * nor committed. */
static void test_only_what_is_proven_counts(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        write_log(w, 2, "1111");
        start(w, 2);
        w->tracing = true;
        letter heartbeat = { .message = { .type = RAFT_MSG_HEARTBEAT, .from = 1, .to = 2, .term = 3, .heartbeat = { .commit = 5, .round = 1 } } };
        (void) deliver_letter(w, &heartbeat);
        assert_true(write_one(w, 2));
        assert_int_equal(append(w, 1, 2, 3, 2, 1, "", 5), RQ_OK);
        (void) deliver_letter(w, &heartbeat);
        start(w, 1);
        while (w->wire_count > 0) {
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
        }
        expect(w,
               "1>2 heartbeat t3 commit 5\n"
               "2 is follower of term 3\n"
               "1>2 append t3 behind 2^1 +0 commit 5\n"
               "2 commits 2\n"
               "1>2 heartbeat t3 commit 5\n"
               "2>1 heartbeat t3 match 0\n"
               "1 is follower of term 3\n"
               "2>1 append t3 match 2\n"
               "2>1 heartbeat t3 match 2\n");
        network_free(w);
}

/* Row 13: entries are acknowledged when durable, a repeated append again. */
static void test_acknowledgements_wait_for_the_disk(void **state) {
        (void) state;
        network *w = three();
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "22", 0), RQ_OK);
        assert_int_equal(append(w, 1, 2, 2, 3, 2, "2", 0), RQ_OK);
        assert_int_equal(w->wire_count, 0);
        assert_true(write_one(w, 2)); /* and the term */
        assert_int_equal(w->wire_count, 1);
        assert_int_equal(w->wire[0].message.append_reply.index, 3);
        assert_true(write_one(w, 2));
        assert_int_equal(w->wire[1].message.append_reply.index, 4);
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "22", 0), RQ_OK);
        assert_int_equal(w->wire_count, 3);
        assert_int_equal(w->wire[2].message.append_reply.index, 4);
        network_free(w);
}

/* Row 14: an old write can't vouch for what has replaced its entries. */
static void test_an_old_write_doesnt_vouch_for_a_new_suffix(void **state) {
        (void) state;
        network *w = three();
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "222", 0), RQ_OK);
        assert_int_equal(append(w, 3, 2, 3, 1, 1, "333", 0), RQ_OK);
        raft_persisted old = node_of(w, 2)->writes[0].when_durable;
        assert_int_equal(old.index, 4);
        (void) step(w, 2, (raft_event) { .type = RAFT_EV_PERSISTED, .persisted = old });
        assert_int_equal(raft_durable_of(node_of(w, 2)->raft), 1);
        while (write_one(w, 2))
                ;
        assert_int_equal(raft_durable_of(node_of(w, 2)->raft), 4);
        network_free(w);
}

/* Row 15, figure 10.2 of the thesis: the leader counts itself only when durable, and
 * doesn't need to. */
static void test_the_leader_counts_itself_when_durable(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        raft_index before = commit(w, 1);
        (void) propose(w, 1, 1, 10);
        isolate(w, 3, true);
        while (fetch_appends(w, 1) || w->wire_count > 0) {
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
                while (write_one(w, 2))
                        ;
        }
        assert_int_equal(progress(w, 1, 2).match, before + 1);
        assert_int_equal(commit(w, 1), before);
        assert_true(write_one(w, 1));
        assert_int_equal(commit(w, 1), before + 1);

        isolate(w, 3, false);
        (void) propose(w, 1, 1, 10);
        while (fetch_appends(w, 1) || w->wire_count > 0) {
                letter l = take_letter(w, 0);
                (void) deliver_letter(w, &l);
                while (write_one(w, 2) || write_one(w, 3))
                        ;
        }
        assert_int_equal(commit(w, 1), before + 2); /* two others have it */
        assert_int_equal(raft_appliable_of(node_of(w, 1)->raft), before + 1);
        network_free(w);
}

/* Row 23: the first append again, after its entries were dropped from the log. */
static void test_what_was_compacted_isnt_appended_again(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_started(3, &c);
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "2222", 4), RQ_OK);
        while (write_one(w, 2))
                ;
        assert_int_equal(compact(w, 2, 4), RQ_OK);
        assert_int_equal(append(w, 1, 2, 2, 0, 0, "12", 4), RQ_OK);
        assert_int_equal(append(w, 1, 2, 2, 1, 1, "22222", 4), RQ_OK);
        assert_int_equal(raft_trail_of(node_of(w, 2)->raft)->base_index, 4);
        assert_int_equal(raft_trail_of(node_of(w, 2)->raft)->last, 6);
        network_free(w);
}

/* Rows 8 and 44: a rejection is believed once, of the last probe, above match. */
static void test_late_rejections_are_not_believed(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        (void) propose(w, 1, 5, 10);
        settle(w);
        raft_progress_view before = progress(w, 1, 2);
        raft_term t = raft_term_of(node_of(w, 1)->raft);
        letter late = { .message = { .type = RAFT_MSG_APPEND_REPLY, .from = 2, .to = 1, .term = t,
                .append_reply = { .rejected = true, .index = before.match, .hint_index = 1, .hint_term = 1 } } };
        (void) deliver_letter(w, &late);
        assert_int_equal(progress(w, 1, 2).state, RAFT_STREAM);
        peer_down(w, 1, 2, false);
        assert_int_equal(progress(w, 1, 2).state, RAFT_PROBE);
        assert_true(fetch_appends(w, 1));
        (void) deliver_letter(w, &late);
        late.message.append_reply.index = before.match - 2;
        (void) deliver_letter(w, &late);
        assert_int_equal(progress(w, 1, 2).next, before.match + 1);
        assert_int_equal(progress(w, 1, 2).in_flight_messages, 1);
        network_free(w);
}

/* Row 44: above match, but of a probe before the last one. */
static void test_a_doubled_rejection_is_believed_once(void **state) {
        (void) state;
        raft_configuration c = members("123", "");
        network *w = network_new(3, &c);
        write_log(w, 1, "1122222222");
        write_log(w, 2, "11");
        write_log(w, 3, "1122222222");
        for (raft_id id = 1; id <= 3; id++)
                start(w, id);
        isolate(w, 2, true);
        elect(w, 1);
        isolate(w, 2, false);
        raft_index sent = progress(w, 1, 2).next - 1;
        letter rejection = { .message = { .type = RAFT_MSG_APPEND_REPLY, .from = 2, .to = 1, .append_reply = { .rejected = true } } };
        rejection.message.term = raft_term_of(node_of(w, 1)->raft);
        rejection.message.append_reply.index = sent;
        rejection.message.append_reply.hint_index = sent - 2;
        rejection.message.append_reply.hint_term = 2;
        (void) deliver_letter(w, &rejection);
        assert_int_equal(progress(w, 1, 2).next, sent - 1);
        rejection.message.append_reply.index = sent - 3; /* below the probe that is on its way */
        rejection.message.append_reply.hint_index = 1;
        (void) fetch_appends(w, 1);
        (void) deliver_letter(w, &rejection);
        assert_int_equal(progress(w, 1, 2).next, sent - 1);
        network_free(w);
}

/* Row 43: what is lost in a stream is found by a heartbeat's answer. */
static void test_a_stalled_pipeline_recovers(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        settle(w);
        for (int i = 0; i < 4; i++) {
                (void) propose(w, 1, 2, 10);
                (void) fetch_appends(w, 1);
        }
        w->wire_count = 0; /* and nobody says so */
        assert_int_equal(progress(w, 1, 2).in_flight_messages, 4);
        assert_false(fetch_appends(w, 1));
        elapse(w, ELECTION);
        assert_int_equal(commit(w, 1), raft_trail_of(node_of(w, 1)->raft)->last);
        assert_int_equal(progress(w, 1, 2).match, commit(w, 1));
        assert_int_equal(progress(w, 1, 2).in_flight_messages, 0);
        network_free(w);
}

/* A single append that is lost is noticed by the next one. */
static void test_a_gap_in_the_stream_is_rejected(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        (void) propose(w, 1, 1, 10);
        (void) fetch_appends(w, 1);
        w->wire_count = 0;
        (void) propose(w, 1, 1, 10);
        settle(w);
        assert_int_equal(commit(w, 1), raft_trail_of(node_of(w, 1)->raft)->last);
        network_free(w);
}

static void test_the_window_is_kept(void **state) {
        (void) state;
        network *w = three();
        w->window_messages = 3;
        for (raft_id id = 1; id <= 3; id++) {
                crash(w, id);
                start(w, id);
        }
        elect(w, 1);
        (void) propose(w, 1, 20, 190); /* 400 bytes an append, 1000 on the way */
        raft_message m;
        uint32_t count_max;
        uint64_t bytes_max;
        raft *r = node_of(w, 1)->raft;
        assert_true(raft_next_append(r, 2, &m, &count_max, &bytes_max));
        assert_int_equal(count_max, 20);
        assert_int_equal(bytes_max, 400);
        raft_append_sent(r, 2, 2, 380, w->now_us);
        assert_true(raft_next_append(r, 2, &m, &count_max, &bytes_max));
        assert_int_equal(m.append.previous_index, 4);
        raft_append_sent(r, 2, 2, 380, w->now_us);
        assert_true(raft_next_append(r, 2, &m, &count_max, &bytes_max));
        assert_int_equal(bytes_max, 240);
        raft_append_sent(r, 2, 1, 190, w->now_us);
        assert_false(raft_next_append(r, 2, &m, &count_max, &bytes_max)); /* three messages */
        assert_int_equal(progress(w, 1, 2).in_flight_bytes, 950);
        letter ack = { .message = { .type = RAFT_MSG_APPEND_REPLY, .from = 2, .to = 1, .term = raft_term_of(r), .append_reply = { .index = 4 } } };
        (void) deliver_letter(w, &ack);
        assert_int_equal(progress(w, 1, 2).in_flight_bytes, 570);
        assert_true(raft_next_append(r, 2, &m, &count_max, &bytes_max));
        network_free(w);
}

/* Who waits for a write to be committed is told at once, not by the next heartbeat. */
static void test_a_wanted_commit_is_pushed(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        elapse(w, HEARTBEAT);
        (void) propose(w, 1, 1, 10);
        raft_index index = raft_trail_of(node_of(w, 1)->raft)->last;
        (void) step(w, 1, (raft_event) { .type = RAFT_EV_COMMIT_WANTED, .peer = { .id = 3, .index = index } });
        settle(w);
        assert_int_equal(commit(w, 1), index);
        assert_int_equal(commit(w, 3), index);
        assert_int_equal(commit(w, 2), index - 1);
        network_free(w);
}

/* Found by the simulator: nothing to say as long as the entry itself hasn't been sent, and so no append without
 * entries after the other without end. */
static void test_a_wanted_commit_waits_for_its_entry(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        settle(w);
        isolate(w, 3, true);
        raft *r = node_of(w, 1)->raft;
        for (int i = 0; i < 6; i++) { /* more than the window to 3 holds */
                (void) propose(w, 1, 1, 10);
                settle(w);
        }
        assert_int_equal(progress(w, 1, 3).in_flight_messages, 4);
        (void) step(w, 1, (raft_event) { .type = RAFT_EV_COMMIT_WANTED, .peer = { .id = 3, .index = raft_trail_of(r)->last } });
        assert_int_equal(commit(w, 1), raft_trail_of(r)->last);
        raft_message m;
        uint32_t count_max;
        uint64_t bytes_max;
        assert_false(raft_next_append(r, 3, &m, &count_max, &bytes_max));
        network_free(w);
}

/* Row 16: an entry of a leader that has stepped down can still be replaced; the
 * acknowledgement of its write says nothing then. */
static void test_a_late_write_of_a_former_leader_commits_nothing(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        isolate(w, 1, true);
        (void) propose(w, 1, 1, 10);
        raft_index index = raft_trail_of(node_of(w, 1)->raft)->last;
        raft_persisted late = node_of(w, 1)->writes[0].when_durable;
        isolate(w, 1, false);
        w->cut[1][2] = w->cut[1][3] = true;
        raft_term t = raft_term_of(node_of(w, 1)->raft);
        assert_int_equal(append(w, 2, 1, t + 1, index - 1, t, (char []) { (char) ('0' + t + 1), '\0' }, 0), RQ_OK);
        (void) step(w, 1, (raft_event) { .type = RAFT_EV_PERSISTED, .persisted = late });
        assert_true(commit(w, 1) < index);
        assert_int_equal(raft_trail_term_at(raft_trail_of(node_of(w, 1)->raft), index), t + 1);
        network_free(w);
}

/* Row 51: without a majority the tail is bounded, also over terms. */
static void test_the_uncommitted_tail_is_bounded(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        isolate(w, 2, true);
        isolate(w, 3, true);
        uint32_t taken = 0;
        while (propose(w, 1, 1, 100) == RQ_OK)
                taken++;
        assert_int_equal(taken, 100); /* 10000 bytes */
        isolate(w, 2, false);
        elapse(w, 2 * HEARTBEAT);
        assert_int_equal(propose(w, 1, 1, 100), RQ_OK);
        network_free(w);

        /* What a new leader finds counts, too. */
        w = three();
        elect(w, 1);
        isolate(w, 3, true);
        w->cut[2][1] = true;
        while (propose(w, 1, 1, 100) == RQ_OK)
                settle(w);
        w->cut[2][1] = false;
        crash(w, 1);
        raft_message vote = { .type = RAFT_MSG_VOTE_REPLY, .from = 3, .to = 2, .vote_reply = { .pre = true, .granted = true } };
        stand(w, 2);
        vote.vote_reply.campaign_term = raft_term_of(node_of(w, 2)->raft) + 1;
        vote.term = raft_term_of(node_of(w, 2)->raft);
        (void) deliver_letter(w, &(letter) { .message = vote });
        while (write_one(w, 2))
                ;
        vote.vote_reply.pre = false;
        vote.term++;
        (void) deliver_letter(w, &(letter) { .message = vote });
        assert_int_equal(raft_role_of(node_of(w, 2)->raft), RAFT_LEADER);
        uint64_t waiting = raft_trail_bytes_behind(raft_trail_of(node_of(w, 2)->raft), commit(w, 2));
        assert_true(waiting > 0);
        while (propose(w, 2, 1, 100) == RQ_OK)
                waiting += 100;
        assert_true(waiting <= 10000);
        network_free(w);
}

/* Row 53: a member that has less than it has acknowledged breaks nobody. */
static void test_a_member_that_forgot_breaks_nobody(void **state) {
        (void) state;
        network *w = three();
        elect(w, 1);
        (void) propose(w, 1, 5, 10);
        settle(w);
        crash(w, 3);
        node_of(w, 3)->disk_last = 1; /* a wiped disk under the same id */
        start(w, 3);
        peer_down(w, 1, 3, false);
        (void) propose(w, 1, 1, 10);
        elapse(w, 2 * ELECTION);
        assert_int_equal(leader_of(w), 1);
        assert_int_equal(commit(w, 1), raft_trail_of(node_of(w, 1)->raft)->last);
        network_free(w);
}

/* Row 22: a snapshot over a log that doesn't have its last entry discards that log;
 * over one that has, it keeps what follows. */
static void test_a_snapshot_replaces_a_log_that_differs(void **state) {
        (void) state;
        for (int fits = 0; fits <= 1; fits++) {
                raft_configuration c = members("123", "");
                network *w = network_new(3, &c);
                write_log(w, 3, fits ? "2222" : "1111");
                start(w, 3);
                raft_event event = { .type = RAFT_EV_INSTALLED, .installed = { .index = 4, .term = 2, .configuration = &c, .configuration_index = 1 } };
                node *n = node_of(w, 3);
                event.now_us = w->now_us;
                assert_int_equal(raft_step(n->raft, &event, &n->out), RQ_OK);
                assert_null(raft_check(n->raft));
                assert_int_equal(raft_trail_of(n->raft)->base_index, 4);
                assert_int_equal(raft_trail_of(n->raft)->last, fits ? 5 : 4);
                assert_int_equal(raft_commit_of(n->raft), 4);
                assert_int_equal(raft_durable_of(n->raft), fits ? 5 : 4);
                network_free(w);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_followers_of_figure_3_6),
                cmocka_unit_test(test_an_old_term_isnt_committed_by_counting),
                cmocka_unit_test(test_what_is_there_isnt_cut),
                cmocka_unit_test(test_what_is_committed_or_proven_isnt_cut),
                cmocka_unit_test(test_only_what_is_proven_counts),
                cmocka_unit_test(test_acknowledgements_wait_for_the_disk),
                cmocka_unit_test(test_an_old_write_doesnt_vouch_for_a_new_suffix),
                cmocka_unit_test(test_the_leader_counts_itself_when_durable),
                cmocka_unit_test(test_what_was_compacted_isnt_appended_again),
                cmocka_unit_test(test_late_rejections_are_not_believed),
                cmocka_unit_test(test_a_doubled_rejection_is_believed_once),
                cmocka_unit_test(test_a_stalled_pipeline_recovers),
                cmocka_unit_test(test_a_gap_in_the_stream_is_rejected),
                cmocka_unit_test(test_the_window_is_kept),
                cmocka_unit_test(test_a_wanted_commit_is_pushed),
                cmocka_unit_test(test_a_wanted_commit_waits_for_its_entry),
                cmocka_unit_test(test_a_late_write_of_a_former_leader_commits_nothing),
                cmocka_unit_test(test_the_uncommitted_tail_is_bounded),
                cmocka_unit_test(test_a_member_that_forgot_breaks_nobody),
                cmocka_unit_test(test_a_snapshot_replaces_a_log_that_differs),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
