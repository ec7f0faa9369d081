/* core/driver with other members: replication, the write of a follower, fence and
 * drop rule, replaced entries, reads, bounds. */
#include "driver_cluster.h"

static int setup(void **state) {
        *state = cluster_new(3, 3);
        return 0;
}

static int teardown(void **state) {
        cluster_free(*state);
        return 0;
}

static void test_all_apply_what_the_leader_takes(void **state) {
        cluster *c = *state;
        int leader = elect(c);
        assert_int_equal(propose(c, leader, 1, "one"), RQ_OK);
        assert_int_equal(propose(c, leader, 2, "two"), RQ_OK);
        settle(c);
        elapse(c, 2 * HEARTBEAT_US); /* the others learn the commit index */
        for (int i = 0; i < 3; i++) {
                assert_int_equal(applied_times(c, i, "one"), 1);
                assert_int_equal(applied_times(c, i, "two"), 1);
                check_equal(c, i, leader);
        }
        assert_int_equal(driver_pending_count(c->nodes[leader].d), 0);
        assert_int_equal(answers_of(c, leader)->count, 0);
}

static void test_a_followers_write_comes_back_at_once(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        assert_int_equal(propose(c, follower, 1, "mine"), RQ_OK);
        uint64_t before_us = c->now_us;
        settle(c);
        assert_true(c->now_us - before_us < HEARTBEAT_US); /* it didn't wait for a heartbeat to learn the commit */
        assert_int_equal(applied_times(c, follower, "mine"), 1);
        assert_int_equal(c->forward_count, 1);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 0);
        assert_int_equal(answers_of(c, follower)->count, 0);

        const rq_buf *entry = &c->nodes[leader].disk[c->nodes[leader].disk_last];
        record_header header;
        rq_bytes body;
        assert_int_equal(record_decode(rq_buf_bytes(entry), &header, &body), RQ_OK);
        assert_true(header.seed == c->last_forward.seed && header.step_budget == 7);
}

static void test_a_forwarded_one_is_good_for_its_term_only(void **state) {
        cluster *c = *state;
        int leader = elect(c), other = (leader + 1) % 3;
        raft_term term = raft_term_of(driver_raft(c->nodes[leader].d));
        driver_forward f = { .to = c->nodes[other].id, .term = term, .seed = 99, .kind = RECORD_SQL, .body = rq_bytes_text("x") };
        assert_int_equal(driver_forwarded(c->nodes[other].d, &f), RQ_ENOTLEADER);
        f.term = term - 1;
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &f), RQ_ENOTLEADER);
        f.term = term + 1;
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &f), RQ_ENOTLEADER);
        f.term = term;
        f.kind = RECORD_CONFIGURATION;
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &f), RQ_EINVAL);
        f.kind = RECORD_SQL;
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &f), RQ_OK);
        settle(c);
        assert_int_equal(applied_times(c, leader, "x"), 1);
        driver_stop(c->nodes[leader].d);
        assert_int_equal(driver_forwarded(c->nodes[leader].d, &f), RQ_ENOTLEADER);
}

/* The leader takes it and is cut off with it: only a commit of a later term proves that it
 * didn't happen, and then the next leader gets it. */
static void test_sent_again_when_a_later_term_is_committed_and_not_before(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3, third = (leader + 2) % 3;
        c->cut[leader][follower] = c->cut[leader][third] = true; /* it still hears */
        assert_int_equal(propose(c, follower, 5, "lost"), RQ_OK);
        settle(c);
        assert_int_equal(c->forward_count, 1);
        isolate(c, leader, true);
        assert_int_equal(answers_of(c, follower)->count, 0);
        c->appends_lost = true; /* a new leader, but nothing of it is committed */
        elapse(c, 6 * ELECTION_US);
        int next = leader_of(c);
        assert_true(next >= 0 && next != leader);
        assert_int_equal(answers_of(c, follower)->count, 0);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 1);
        assert_int_equal(c->forward_count, 1);
        c->appends_lost = false;
        elapse(c, 2 * ELECTION_US);
        assert_int_equal(answers_of(c, follower)->count, 0);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 0);
        isolate(c, leader, false);
        elapse(c, 4 * ELECTION_US);
        for (int i = 0; i < 3; i++)
                assert_int_equal(applied_times(c, i, "lost"), 1);
        assert_int_equal(answers_of(c, follower)->count, 0);
}

/* The connection takes it along, and the leader stays: what is sent behind it shows that it was lost. */
static void test_a_lost_forward_is_sent_again_in_the_same_term(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        const raft_term term = raft_term_of(driver_raft(c->nodes[leader].d));
        c->cut[follower][leader] = true;
        assert_int_equal(propose(c, follower, 1, "lost"), RQ_OK);
        assert_int_equal(propose(c, follower, 2, "too"), RQ_OK);
        settle(c);
        c->cut[follower][leader] = false;
        assert_int_equal(c->forward_count, 2);
        assert_int_equal(propose(c, follower, 3, "behind"), RQ_OK);
        settle(c);
        for (int i = 0; i < 2; i++)
                assert_int_equal(applied_times(c, follower, i == 0 ? "lost" : "too"), 1);
        assert_int_equal(applied_times(c, follower, "behind"), 1);
        assert_int_equal(c->forward_count, 5);

        /* Nothing comes behind it: the follower asks by itself, once, not sooner than an election takes. */
        c->cut[follower][leader] = true;
        assert_int_equal(propose(c, follower, 4, "alone"), RQ_OK);
        settle(c);
        c->cut[follower][leader] = false;
        elapse(c, ELECTION_US / 2);
        assert_int_equal(c->forward_count, 6);
        assert_int_equal(c->barrier_count, 0);
        elapse(c, ELECTION_US);
        assert_int_equal(c->barrier_count, 1);
        assert_int_equal(c->forward_count, 7);
        assert_int_equal(applied_times(c, follower, "alone"), 1);
        elapse(c, 10 * ELECTION_US);
        assert_int_equal(c->barrier_count, 1);
        assert_int_equal(c->forward_count, 7);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 0);
        assert_int_equal(answers_of(c, follower)->count, 0);
        assert_int_equal(raft_term_of(driver_raft(c->nodes[leader].d)), term);
        for (int i = 0; i < 3; i++)
                check_equal(c, i, leader);
}

/* The leader's own one was in its log, and is dropped. */
static void test_a_deposed_leaders_own_is_dropped(void **state) {
        cluster *c = *state;
        int leader = elect(c);
        isolate(c, leader, true);
        assert_int_equal(propose(c, leader, 6, "own"), RQ_OK);
        settle(c);
        elapse(c, 6 * ELECTION_US);
        assert_int_equal(answers_of(c, leader)->count, 0);
        isolate(c, leader, false);
        elapse(c, 4 * ELECTION_US);
        assert_int_equal(answers_of(c, leader)->count, 1);
        assert_int_equal(answers_of(c, leader)->v[0].outcome, OUTCOME_DROPPED);
        for (int i = 0; i < 3; i++)
                assert_int_equal(applied_times(c, i, "own"), 0);
}

/* Figure 3.7 of the thesis: A's entry reaches B alone; C leads and replaces it on A;
 * B leads and brings it back. */
static void test_a_replaced_entry_may_come_back(void **state) {
        (void) state;
        cluster *c = cluster_new(5, 5);
        int a = elect(c), b = (a + 1) % 5, rest[3] = { (a + 2) % 5, (a + 3) % 5, (a + 4) % 5 };
        elapse(c, 2 * HEARTBEAT_US);
        cut_all(c, true);
        c->cut[a][b] = false; /* and the answer is lost */
        assert_int_equal(propose(c, a, 9, "back"), RQ_OK);
        settle(c);
        raft_index place = raft_trail_of(driver_raft(c->nodes[b].d))->last;
        assert_true(place == raft_trail_of(driver_raft(c->nodes[a].d))->last);
        raft_term first_term = raft_trail_term_at(raft_trail_of(driver_raft(c->nodes[a].d)), place);

        cut_all(c, true);
        for (int i = 0; i < 3; i++)
                for (int k = 0; k < 3; k++)
                        c->cut[rest[i]][rest[k]] = false;
        c->appends_lost = true;
        int leader = a;
        for (int tries = 0; tries < 300 && (leader == a || leader < 0); tries++) {
                elapse(c, HEARTBEAT_US);
                leader = leader_of(c);
        }
        assert_true(leader != a && leader != b);
        cut_all(c, true);
        join(c, leader, a);
        c->appends_lost = false;
        elapse(c, 4 * HEARTBEAT_US);
        assert_true(raft_trail_term_at(raft_trail_of(driver_raft(c->nodes[a].d)), place) > first_term); /* replaced */
        assert_int_equal(answers_of(c, a)->count, 0);
        assert_int_equal(driver_pending_count(c->nodes[a].d), 1);

        cut_all(c, true);
        for (int i = 0; i < 5; i++)
                for (int k = 0; k < 5; k++)
                        if (i != leader && k != leader && i != a && k != a)
                                c->cut[i][k] = false;
        for (int tries = 0; tries < 300 && leader_of(c) != b; tries++)
                elapse(c, HEARTBEAT_US);
        assert_int_equal(leader_of(c), b);
        join(c, a, b);
        elapse(c, ELECTION_US);
        assert_int_equal(applied_times(c, a, "back"), 1);
        assert_int_equal(applied_times(c, b, "back"), 1);
        assert_int_equal(driver_pending_count(c->nodes[a].d), 0);
        assert_int_equal(answers_of(c, a)->count, 0);
        cluster_free(c);
}

static void test_writes_wait_for_the_next_leader(void **state) {
        cluster *c = *state;
        int leader = elect(c), one = (leader + 1) % 3, two = (leader + 2) % 3;
        isolate(c, leader, true);
        for (int i = 0; i < 300 && raft_leader_of(driver_raft(c->nodes[one].d)) != 0; i++)
                elapse(c, HEARTBEAT_US / 4);
        /* Now one of the two has no leader. */
        assert_int_equal(propose(c, one, 1, "waits"), RQ_OK);
        assert_int_equal(propose(c, two, 2, "too"), RQ_OK);
        elapse(c, 5 * ELECTION_US);
        assert_int_equal(applied_times(c, one, "waits"), 1);
        assert_int_equal(answers_of(c, one)->count, 0);
        check_equal(c, one, two);
}

static void test_without_a_leader_writes_and_reads_are_refused_in_time(void **state) {
        cluster *c = *state;
        int leader = elect(c), node = (leader + 1) % 3;
        const request_origin reader = { .gateway = 1, .request_id = 8 };
        cut_all(c, true);
        for (int i = 0; i < 300 && raft_leader_of(driver_raft(c->nodes[node].d)) != 0; i++)
                elapse(c, HEARTBEAT_US / 4);
        assert_int_equal(propose(c, node, 1, "x"), RQ_OK);
        assert_int_equal(propose_until(c, node, 2, "y", c->now_us + ELECTION_US), RQ_OK);
        assert_int_equal(driver_read(c->nodes[node].d, reader, DRIVER_READ_LINEARIZABLE, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        assert_int_equal(driver_read(c->nodes[node].d, reader, DRIVER_READ_STRONG, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        elapse(c, 2 * ELECTION_US);
        assert_int_equal(answers_of(c, node)->count, 1); /* its own deadline */
        assert_int_equal(answers_of(c, node)->v[0].outcome, OUTCOME_REFUSED);
        assert_int_equal(answers_of(c, node)->v[0].reason, REASON_TIMEOUT);
        elapse(c, 3 * ELECTION_US);
        assert_int_equal(answers_of(c, node)->count, 4);
        for (size_t i = 1; i < 4; i++) {
                assert_int_equal(answers_of(c, node)->v[i].outcome, OUTCOME_REFUSED);
                assert_int_equal(answers_of(c, node)->v[i].reason, REASON_NO_LEADER);
        }
        assert_int_equal(propose(c, node, 3, "z"), RQ_ENOTLEADER);
        assert_int_equal(driver_read_count(c->nodes[node].d), 0);
        assert_int_equal(driver_pending_count(c->nodes[node].d), 0);
}

static void test_what_the_leader_refuses(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        c->refuse_forwards = RQ_EFULL;
        assert_int_equal(propose(c, follower, 1, "full"), RQ_OK);
        settle(c);
        assert_int_equal(answers_of(c, follower)->count, 1);
        assert_int_equal(answers_of(c, follower)->v[0].outcome, OUTCOME_REFUSED);
        assert_int_equal(answers_of(c, follower)->v[0].reason, REASON_OVERLOADED);

        /* Nothing has happened, so it is sent again, but not in a circle. */
        c->refuse_forwards = RQ_ENOTLEADER;
        c->forward_count = 0;
        assert_int_equal(propose(c, follower, 2, "again"), RQ_OK);
        settle(c);
        assert_int_equal(c->forward_count, 1);
        elapse(c, 4 * HEARTBEAT_US);
        assert_true(c->forward_count > 1 && c->forward_count <= 6);
        c->refuse_forwards = RQ_OK;
        elapse(c, 2 * HEARTBEAT_US);
        assert_int_equal(applied_times(c, follower, "again"), 1);
        assert_int_equal(applied_times(c, follower, "full"), 0);
        assert_int_equal(answers_of(c, follower)->count, 1);
}

static void test_a_deadline_of_what_was_sent_is_unknown(void **state) {
        cluster *c = *state;
        int leader = elect(c), follower = (leader + 1) % 3;
        c->cut[follower][leader] = true;
        assert_int_equal(propose_until(c, follower, 1, "sent", c->now_us + HEARTBEAT_US), RQ_OK);
        elapse(c, 3 * HEARTBEAT_US);
        assert_int_equal(answers_of(c, follower)->count, 1);
        assert_int_equal(answers_of(c, follower)->v[0].outcome, OUTCOME_UNKNOWN);
        assert_int_equal(driver_pending_count(c->nodes[follower].d), 0);
}

static raft_index read_at(cluster *c, int i, driver_read_level level) {
        driver *d = c->nodes[i].d;
        assert_int_equal(driver_read(d, (request_origin) { 1, 1 }, level, UINT64_MAX, 0, rq_bytes_text("q")), RQ_OK);
        settle(c);
        read_request *read = driver_next_read(d);
        assert_non_null(read);
        raft_index index = read->index;
        driver_read_passed_on(d, read);
        assert_null(driver_next_read(d));
        return index;
}

static void test_reads_on_every_node_see_what_was_acknowledged(void **state) {
        cluster *c = *state;
        int leader = elect(c);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(propose(c, leader, 1, "w"), RQ_OK);
                settle(c);
                raft_index commit = raft_commit_of(driver_raft(c->nodes[leader].d)), last = c->nodes[leader].disk_last;
                assert_true(commit == last);
                assert_true(read_at(c, i, DRIVER_READ_WEAK) >= commit);
                assert_true(read_at(c, i, DRIVER_READ_LINEARIZABLE) >= commit);
                assert_true(c->nodes[leader].disk_last == last);
                assert_true(read_at(c, i, DRIVER_READ_STRONG) == last + 1); /* an entry of its own */
                assert_true(c->nodes[leader].disk_last == last + 1);
                assert_int_equal(driver_pending_count(c->nodes[i].d), 0);
        }
}

static void test_reads_are_asked_again_of_the_next_leader(void **state) {
        cluster *c = *state;
        int leader = elect(c), node = (leader + 1) % 3;
        isolate(c, leader, true);
        for (int level = DRIVER_READ_WEAK; level <= DRIVER_READ_STRONG; level++)
                assert_int_equal(driver_read(c->nodes[node].d, (request_origin) { 1, 1 }, (driver_read_level) level, UINT64_MAX, 0,
                                             rq_bytes_text("q")), RQ_OK);
        settle(c);
        assert_null(driver_next_read(c->nodes[node].d)); /* the questions are lost */
        elapse(c, 8 * ELECTION_US);
        int ready = 0;
        for (read_request *read; (read = driver_next_read(c->nodes[node].d)) != NULL; ready++)
                driver_read_passed_on(c->nodes[node].d, read);
        assert_int_equal(ready, 3);
        assert_int_equal(answers_of(c, node)->count, 0);
        assert_int_equal(driver_read_count(c->nodes[node].d), 0);
}

/* Majority without the leader's own disk: its store waits for the disk, all the same. */
static void test_the_store_gets_only_what_is_durable_here(void **state) {
        cluster *c = *state;
        int leader = elect(c);
        c->nodes[leader].disk_hangs = true;
        assert_int_equal(propose(c, leader, 1, "early"), RQ_OK);
        assert_int_equal(propose_until(c, leader, 2, "impatient", c->now_us + HEARTBEAT_US), RQ_OK);
        settle(c);
        elapse(c, 2 * HEARTBEAT_US);
        assert_int_equal(applied_times(c, (leader + 1) % 3, "early"), 1);
        assert_int_equal(applied_times(c, leader, "early"), 0);
        assert_int_equal(driver_pending_count(c->nodes[leader].d), 1);
        assert_int_equal(answers_of(c, leader)->count, 1);
        assert_int_equal(answers_of(c, leader)->v[0].outcome, OUTCOME_UNKNOWN);
        c->nodes[leader].disk_hangs = false;
        settle(c);
        assert_int_equal(applied_times(c, leader, "early"), 1);
        assert_int_equal(driver_pending_count(c->nodes[leader].d), 0);
}

/* Its disk hangs while what it was handed is replaced; the pieces stay readable. */
static void test_replaced_entries_stay_while_the_writer_has_them(void **state) {
        cluster *c = *state;
        int leader = elect(c);
        isolate(c, leader, true);
        c->nodes[leader].disk_hangs = true;
        char *large = calloc(1, 700001);
        assert_non_null(large);
        memset(large, 'l', 700000);
        for (uint64_t i = 0; i < 8; i++) {
                assert_int_equal(propose(c, leader, i, large), RQ_OK);
                settle(c);
        }
        elapse(c, 8 * ELECTION_US);
        int next = leader_of(c);
        assert_true(next != leader);
        for (uint64_t i = 0; i < 8; i++)
                assert_int_equal(propose(c, next, 100 + i, "after"), RQ_OK);
        elapse(c, HEARTBEAT_US);
        isolate(c, leader, false);
        elapse(c, 4 * ELECTION_US); /* replaced in memory */
        assert_true(raft_trail_last_term(raft_trail_of(driver_raft(c->nodes[leader].d))) == raft_term_of(driver_raft(c->nodes[leader].d)));
        c->nodes[leader].disk_hangs = false;
        settle(c); /* reads every piece that was handed over, also of what was replaced */
        elapse(c, 2 * HEARTBEAT_US);
        check_equal(c, leader, next);
        assert_int_equal(applied_times(c, leader, "after"), 8);
        assert_true(driver_memory_bytes(c->nodes[leader].d) < 1024 * 1024);
        free(large);
}

static void test_a_member_that_was_away_is_served_from_disk(void **state) {
        cluster *c = *state;
        int leader = elect(c), away = (leader + 1) % 3;
        isolate(c, away, true);
        char body[1001];
        memset(body, 'b', sizeof body - 1);
        body[sizeof body - 1] = '\0';
        for (uint64_t k = 0; k < 100; k++) {
                for (uint64_t i = 0; i < 200; i++)
                        assert_int_equal(propose(c, leader, i, body), RQ_OK);
                settle(c);
        }
        assert_true(driver_memory_bytes(c->nodes[leader].d) <= 9 * 1024 * 1024);
        isolate(c, away, false);
        for (int k = 0; k < 400; k++) { /* it catches up while writes go on */
                assert_int_equal(propose(c, leader, 1, "more"), RQ_OK);
                elapse(c, HEARTBEAT_US / 4);
                if (leader_of(c) != leader)
                        break;
        }
        elapse(c, 4 * ELECTION_US);
        leader = leader_of(c);
        elapse(c, 2 * HEARTBEAT_US);
        assert_true(c->disk_read_count > 0);
        assert_int_equal(applied_times(c, away, body), 20000);
        check_equal(c, away, leader);
        assert_true(driver_memory_bytes(c->nodes[away].d) <= 9 * 1024 * 1024);
}

static void put_record(rq_buf *out, raft_index index, raft_term term, const rq_uuid *database) {
        record_header h = { .kind = RECORD_SQL, .flags = RECORD_CRITICAL, .feature_level = 1, .index = index, .term = term, .database_id = *database };
        assert_int_equal(rq_buf_reserve(out, RECORD_HEADER_BYTES), RQ_OK);
        record_header_encode(out->data + out->size, &h, (rq_bytes) {0});
        out->size += RECORD_HEADER_BYTES;
}

static void test_no_damaged_or_foreign_record_is_taken(void **state) {
        cluster *c = *state;
        int leader = elect(c), i = (leader + 1) % 3;
        driver *d = c->nodes[i].d;
        elapse(c, 2 * HEARTBEAT_US);
        const raft_trail *trail = raft_trail_of(driver_raft(d));
        raft_index last = trail->last;
        raft_term term = raft_term_of(driver_raft(d));
        const rq_uuid foreign = { .bytes = "another one" };
        const struct { raft_index index; raft_term term; const rq_uuid *database; rq_err err; } cases[] = {
                { last + 2, term, &cluster_database, RQ_EPROTO }, { last + 1, term + 1, &cluster_database, RQ_EPROTO },
                { last + 1, term - 1, &cluster_database, RQ_EPROTO }, { last + 1, term, &foreign, RQ_EPROTO },
                { last + 1, 0, &cluster_database, RQ_EPROTO }, { last + 1, term, &cluster_database, RQ_OK },
        };
        raft_message m = {
                .type = RAFT_MSG_APPEND, .from = c->nodes[leader].id, .to = c->nodes[i].id, .term = term,
                .append = { .previous_index = last, .previous_term = raft_trail_term_at(trail, last), .count = 1 },
        };
        rq_buf records = {0};
        for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
                records.size = 0;
                put_record(&records, cases[k].index, cases[k].term, cases[k].database);
                if (cases[k].err == RQ_OK)
                        break;
                assert_int_equal(driver_receive(d, &m, rq_buf_bytes(&records), c->now_us), cases[k].err);
        }
        for (size_t size = 0; size < records.size; size++)
                assert_int_equal(driver_receive(d, &m, rq_bytes_of(records.data, size), c->now_us), RQ_EPROTO);
        records.data[20] ^= 1;
        assert_int_equal(driver_receive(d, &m, rq_buf_bytes(&records), c->now_us), RQ_ECORRUPT);
        records.data[20] ^= 1;
        m.append.count = DRIVER_APPEND_ENTRIES_MAX + 1;
        assert_int_equal(driver_receive(d, &m, rq_buf_bytes(&records), c->now_us), RQ_EPROTO);
        m.append.count = 0;
        assert_int_equal(driver_receive(d, &m, rq_buf_bytes(&records), c->now_us), RQ_EPROTO);
        assert_true(raft_trail_of(driver_raft(d))->last == last);
        m.append.count = 1;
        assert_int_equal(driver_receive(d, &m, rq_buf_bytes(&records), c->now_us), RQ_OK);
        assert_true(raft_trail_of(driver_raft(d))->last == last + 1);
        rq_buf_done(&records);
}

static void test_transfer_loses_no_write(void **state) {
        cluster *c = *state;
        int leader = elect(c), to = (leader + 1) % 3;
        assert_int_equal(propose(c, leader, 1, "before"), RQ_OK);
        assert_int_equal(driver_transfer(c->nodes[leader].d, c->nodes[to].id), RQ_OK);
        assert_int_equal(propose(c, leader, 2, "while"), RQ_OK);
        elapse(c, ELECTION_US);
        assert_int_equal(leader_of(c), to);
        check_clocks(c, leader);
        assert_int_equal(applied_times(c, leader, "before"), 1);
        assert_int_equal(applied_times(c, leader, "while"), 1);
        assert_int_equal(answers_of(c, leader)->count, 0);
        assert_int_equal(driver_pending_count(c->nodes[leader].d), 0);
}

/* --- random faults ---------------------------------------------------------- */

enum { RANDOM_WRITES_MAX = 4000 };

typedef struct fate {
        int node;
        bool answered;
        answer_outcome outcome;
} fate;

static void collect_answers(cluster *c, fate *fates) {
        for (int i = 0; i < c->count; i++) {
                answers *list = answers_of(c, i);
                for (size_t k = 0; k < list->count; k++) {
                        fate *f = &fates[list->v[k].to.request_id];
                        assert_true(f->node == i && !f->answered);
                        f->answered = true;
                        f->outcome = list->v[k].outcome;
                }
                list->count = 0;
        }
}

static void random_fault(cluster *c, rq_rng *rng) {
        int i = (int) rq_rng_below(rng, (uint64_t) c->count);
        switch (rq_rng_below(rng, 8)) {
        case 0:
                isolate(c, i, true);
                return;
        case 1:
                c->cut[i][rq_rng_below(rng, (uint64_t) c->count)] = true;
                return;
        case 2:
                c->nodes[i].disk_hangs = true;
                return;
        case 3:
                c->appends_lost = !c->appends_lost;
                return;
        case 4:
                c->nodes[i].disk_hangs = false;
                return;
        case 5:
                (void) driver_transfer(c->nodes[i].d, 0);
                return;
        case 6:
                for (int k = 0; k < c->count; k++)
                        if (k != i && !c->cut[k][i])
                                driver_peer_down(c->nodes[k].d, c->nodes[i].id, rq_rng_below(rng, 4) == 0);
                return;
        default:
                cut_all(c, false);
                c->appends_lost = false;
                return;
        }
}

static void random_run(uint64_t seed) {
        cluster *c = cluster_new(5, 5);
        fate *fates = calloc(RANDOM_WRITES_MAX, sizeof *fates);
        rq_rng rng = rq_rng_seeded(seed);
        uint64_t writes = 0;
        char text[32];
        assert_non_null(fates);
        for (int round = 0; round < 250; round++) {
                if (rq_rng_below(&rng, 3) == 0)
                        random_fault(c, &rng);
                for (uint64_t k = rq_rng_below(&rng, 8); k > 0 && writes < RANDOM_WRITES_MAX; k--) {
                        int i = (int) rq_rng_below(&rng, 5);
                        uint64_t deadline_us = rq_rng_below(&rng, 4) == 0 ? c->now_us + rq_rng_below(&rng, 3 * ELECTION_US) : UINT64_MAX / 2;
                        (void) snprintf(text, sizeof text, "w%u", (unsigned) writes);
                        if (propose_until(c, i, writes, text, deadline_us) == RQ_OK)
                                fates[writes++].node = i;
                }
                int turns = (int) rq_rng_below(&rng, 4); /* also without coming to rest */
                for (int k = 0; k < turns; k++) {
                        c->now_us += 10;
                        for (int i = 0; i < 5; i++)
                                (void) turn_node(c, i);
                        deliver_all(c);
                }
                elapse(c, rq_rng_below(&rng, ELECTION_US));
                collect_answers(c, fates);
        }
        cut_all(c, false);
        c->appends_lost = false;
        for (int i = 0; i < 5; i++)
                c->nodes[i].disk_hangs = false;
        elapse(c, 10 * ELECTION_US);
        /* One that was lost on its way to a leader who goes on leading has only its deadline. */
        for (int i = 0; i < 5; i++) {
                driver_plan plan;
                check_equal(c, i, 0);
                check_clocks(c, i);
                driver_turn(c->nodes[i].d, UINT64_MAX / 2, UINT64_MAX / 2, &plan);
        }
        collect_answers(c, fates);
        uint32_t done = 0;
        for (int i = 0; i < 5; i++) {
                assert_int_equal(driver_pending_count(c->nodes[i].d), 0);
        }
        for (uint64_t id = 0; id < writes; id++) {
                (void) snprintf(text, sizeof text, "w%u", (unsigned) id);
                int times = applied_times(c, 0, text);
                done += times == 1;
                assert_true(times <= 1);
                if (!fates[id].answered)
                        assert_int_equal(times, 1); /* a result from the store */
                else if (fates[id].outcome != OUTCOME_UNKNOWN)
                        assert_int_equal(times, 0);
        }
        assert_true(done > 0);
        free(fates);
        cluster_free(c);
}

/* Each write is applied once or answered once, and what is said not to have happened
 * never happens. */
static void test_each_write_has_one_fate_whatever_breaks(void **state) {
        (void) state;
        for (uint64_t seed = 1; seed <= 6; seed++)
                random_run(seed);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_all_apply_what_the_leader_takes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_followers_write_comes_back_at_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_forwarded_one_is_good_for_its_term_only, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_lost_forward_is_sent_again_in_the_same_term, setup, teardown),
                cmocka_unit_test_setup_teardown(test_sent_again_when_a_later_term_is_committed_and_not_before, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_deposed_leaders_own_is_dropped, setup, teardown),
                cmocka_unit_test(test_a_replaced_entry_may_come_back),
                cmocka_unit_test_setup_teardown(test_writes_wait_for_the_next_leader, setup, teardown),
                cmocka_unit_test_setup_teardown(test_without_a_leader_writes_and_reads_are_refused_in_time, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_the_leader_refuses, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_deadline_of_what_was_sent_is_unknown, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reads_on_every_node_see_what_was_acknowledged, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reads_are_asked_again_of_the_next_leader, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_store_gets_only_what_is_durable_here, setup, teardown),
                cmocka_unit_test_setup_teardown(test_replaced_entries_stay_while_the_writer_has_them, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_member_that_was_away_is_served_from_disk, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_damaged_or_foreign_record_is_taken, setup, teardown),
                cmocka_unit_test_setup_teardown(test_transfer_loses_no_write, setup, teardown),
                cmocka_unit_test(test_each_write_has_one_fate_whatever_breaks),
        };
        return cmocka_run_group_tests_name("driver members", tests, NULL, NULL);
}
