/* Members over loopback, several in one loop; and strangers on the port. */
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "log/log.h"
#include "peer/peer_link.h"
#include "peer/peers.h"

enum { NODES = 3 };

typedef struct node {
        rq_loop *loop;
        peers *peers;
        rq_uuid disk_uuid;
        raft_id id;
        uint16_t port;
        uint32_t heartbeats, messages_at_heartbeat;
        uint32_t messages, forwards, refusals, downs, refused_downs, rooms, turns, founds, hellos;
        raft_message last;
        rq_buf records;            /* of appends, one behind the other */
        driver_forward last_forward;
        rq_buf forward_body;
        peer_refusal last_refusal;
        rq_err answer;             /* of on_message and on_found */
        bool virgin, last_virgin;
        rq_buf found_record;
        uint64_t down_us;          /* of the last refused on_down */
        raft_index configuration, removed_by;
        peers_stranger stranger;   /* what is done with those that aren't listed */
        uint32_t joins, join_replies, removes, remove_replies, strangers;
        peer_join_reply join_reply;
        bool last_stays;
        raft_term term_max;
        rq_uuid old_copy;          /* this disk isn't let in */
        rq_uuid later;             /* nor this one, for now */
        uint32_t old_copies_told;
        peer_old_copy told;
        char shown[64];
        raft_id pong_from;
        uint64_t pong;
        char words[64];            /* of the last answer, or the node id to be removed */
} node;

typedef struct world {
        rq_loop *loop;
        node n[NODES];
        membership members;
        bool says_address;         /* in HELLO: where it listens */
} world;

static const rq_uuid cluster = { .bytes = "the cluster's id" }, other_cluster = { .bytes = "another cluster!" };

static rq_err on_message(void *arg, raft_id from, const raft_message *message, rq_bytes records) {
        node *n = arg;
        n->messages++;
        if (message->type == RAFT_MSG_HEARTBEAT) {
                n->heartbeats++;
                n->messages_at_heartbeat = n->messages;
        }
        n->last = *message;
        assert_true(from == message->from && message->to == n->id);
        assert_int_equal(rq_buf_append_bytes(&n->records, records), RQ_OK);
        return n->answer;
}

static rq_err on_forward(void *arg, const driver_forward *forward) {
        node *n = arg;
        n->forwards++;
        n->last_forward = *forward;
        n->forward_body.size = 0;
        assert_int_equal(rq_buf_append_bytes(&n->forward_body, forward->body), RQ_OK);
        return RQ_OK;
}

static void on_forward_refused(void *arg, raft_id from, raft_term term, uint64_t seed, rq_err err) {
        node *n = arg;
        n->refusals++;
        n->last_refusal = (peer_refusal) { .from = from, .term = term, .seed = seed, .err = err };
}

static void on_down(void *arg, raft_id id, bool refused) {
        node *n = arg;
        assert_true(id != 0 && id != n->id);
        n->downs++;
        n->refused_downs += refused;
        if (refused)
                n->down_us = rq_clock_mono_us();
}

static void on_room(void *arg, raft_id id) {
        (void) id;
        ((node *) arg)->rooms++;
}

static void on_turn_end(void *arg) { ((node *) arg)->turns++; }
static void on_hello(void *arg) { ((node *) arg)->hellos++; }
static bool is_virgin(void *arg) { return ((node *) arg)->virgin; }

static rq_err on_found(void *arg, const peer_hello *from, bool virgin, rq_bytes record) {
        node *n = arg;
        assert_true(from != NULL);
        n->founds++;
        n->last_virgin = virgin;
        n->found_record.size = 0;
        assert_int_equal(rq_buf_append_bytes(&n->found_record, record), RQ_OK);
        return n->answer;
}

static void turn(world *w) { (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK); }

static void run_ms(world *w, uint64_t ms) {
        const uint64_t end_us = rq_clock_mono_us() + ms * 1000;
        do {
                turn(w);
                (void) usleep(200);
        } while (rq_clock_mono_us() < end_us);
}

#define RUN_UNTIL(w, condition)                                                                  \
        do {                                                                                     \
                const uint64_t end_us_ = rq_clock_mono_us() + 10000000;                          \
                while (!(condition) && rq_clock_mono_us() < end_us_)                             \
                        turn(w);                                                                 \
                assert_true(condition);                                                          \
        } while (0)

static void on_join(void *arg, const peer_hello *from, const peers_join *join, peer_join_reply *ret_reply, rq_buf *ret_payload) {
        node *n = arg;
        assert_true(from->visitor);
        n->joins++;
        n->last_stays = join->stays;
        (void) snprintf(n->shown, sizeof n->shown, "%.*s", (int) join->credentials.size, join->credentials.size > 0 ? (const char *) join->credentials.data : "");
        assert_non_null(strstr(join->address, "127.0.0.1:"));
        *ret_reply = n->join_reply;
        assert_int_equal(rq_buf_append_text(ret_payload, "an answer"), RQ_OK);
}

static void on_pong(void *arg, raft_id from, uint64_t number) {
        node *n = arg;
        n->pong_from = from;
        n->pong = number;
}

static void take_words(node *n, rq_bytes text) {
        (void) snprintf(n->words, sizeof n->words, "%.*s", (int) text.size, (const char *) text.data);
}

static void on_join_reply(void *arg, const peer_hello *from, const peer_join_reply *reply, rq_bytes payload) {
        node *n = arg;
        (void) from;
        n->join_replies++;
        n->join_reply = *reply;
        take_words(n, payload);
}

static void on_remove(void *arg, const peer_remove *remove, rq_bytes node_id) {
        node *n = arg;
        n->removes++;
        take_words(n, node_id);
        assert_int_equal(peers_send_remove_reply(n->peers, remove, PEER_REMOVE_REFUSED, "no"), RQ_OK);
}

static void on_remove_reply(void *arg, const peer_remove_reply *reply, rq_bytes text) {
        node *n = arg;
        assert_true(reply->is.number == 42 && reply->result == PEER_REMOVE_REFUSED);
        n->remove_replies++;
        take_words(n, text);
}

static peers_stranger on_stranger(void *arg, const peer_hello *from) {
        node *n = arg;
        n->strangers++;
        (void) from;
        return n->stranger;
}

static void on_removed(void *arg, const peer_hello *from, raft_index configuration) {
        (void) from;
        ((node *) arg)->removed_by = configuration;
}

static raft_index configuration(void *arg) { return ((node *) arg)->configuration; }
static peers_start on_start(void *arg, const peer_hello *from, peer_old_copy *ret_told) {
        const node *n = arg;
        *ret_told = (peer_old_copy) { 12, 34, true };
        return rq_uuid_equal(&from->disk_uuid, &n->old_copy) ? PEERS_START_OLD_COPY : rq_uuid_equal(&from->disk_uuid, &n->later) ? PEERS_START_LATER : PEERS_START_GOOD;
}

static void on_old_copy(void *arg, const peer_hello *from, const peer_old_copy *told) {
        node *n = arg;
        assert_non_null(from);
        n->old_copies_told++;
        n->told = *told;
}

static raft_term term_max(void *arg) { return ((node *) arg)->term_max; }

static void open_node(world *w, int i, const char *listen, const rq_uuid *cluster_id) {
        node *n = &w->n[i];
        n->term_max = 1000;
        peers_options options = {
                .loop = w->loop, .listen_addr = listen,
                .self = { .cluster_id = *cluster_id, .disk_uuid = n->disk_uuid },
                .callbacks = { on_message, on_forward, on_forward_refused, on_down, on_room, on_turn_end, on_hello, on_found, is_virgin, n },
        };
        options.changes = (peers_changes) { on_join, on_join_reply, on_remove, on_remove_reply, on_stranger, on_removed, on_start, on_old_copy, configuration, on_pong, term_max, NULL, n };
        (void) snprintf(options.self.node_id, sizeof options.self.node_id, "n%d", i);
        (void) snprintf(options.self.api_addr, sizeof options.self.api_addr, "localhost:%d", 4001 + i);
        if (w->says_address)
                (void) snprintf(options.self.raft_addr, sizeof options.self.raft_addr, "%s", listen);
        assert_int_equal(peers_new(&options, &n->peers), RQ_OK);
        assert_int_equal(peers_listen(n->peers), RQ_OK);
        n->port = peers_port(n->peers);
        assert_true(n->port != 0);
}

static void list_member(world *w, int i, const char *host) {
        member *m = &w->members.members[i];
        *m = (member) { .disk_uuid = w->n[i].disk_uuid, .voter = true };
        (void) snprintf(m->node_id, sizeof m->node_id, "n%d", i);
        (void) snprintf(m->raft_addr, sizeof m->raft_addr, "%s:%u", host, w->n[i].port);
}

static int set_up(void **state) {
        world *w = calloc(1, sizeof *w);
        if (w == NULL || rq_loop_new(&w->loop) < 0)
                return -1;
        rq_log_open("test", RQ_LOG_PLAIN, getenv("RQ_TEST_LOG") != NULL ? LOG_DEBUG : LOG_EMERG);
        w->members.count = NODES;
        for (int i = 0; i < NODES; i++) {
                w->n[i].disk_uuid = rq_uuid_random();
                w->n[i].id = membership_raft_id(&w->n[i].disk_uuid);
                open_node(w, i, "127.0.0.1:0", &cluster);
                list_member(w, i, i == 1 ? "localhost" : "127.0.0.1"); /* names that need no DNS work, too */
        }
        *state = w;
        return 0;
}

static int tear_down(void **state) {
        world *w = *state;
        for (int i = 0; i < NODES; i++) {
                w->n[i].peers = peers_free(w->n[i].peers);
                rq_buf_done(&w->n[i].records);
                rq_buf_done(&w->n[i].forward_body);
                rq_buf_done(&w->n[i].found_record);
        }
        w->loop = rq_loop_free(w->loop);
        free(w);
        return 0;
}

static bool up_both_ways(const world *w, int i, int k) {
        peers_view view;
        return w->n[i].peers != NULL && peers_view_of(w->n[i].peers, w->n[k].id, &view) && view.up &&
               peers_bulk_room(w->n[i].peers, w->n[k].id) > 0;
}

static bool all_up(const world *w) {
        for (int i = 0; i < NODES; i++)
                for (int k = 0; k < NODES; k++)
                        if (i != k && !up_both_ways(w, i, k))
                                return false;
        return true;
}

static void connect_all(world *w) {
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, all_up(w));
}

static raft_message heartbeat(const world *w, int from, int to) {
        return (raft_message) { .type = RAFT_MSG_HEARTBEAT, .from = w->n[from].id, .to = w->n[to].id, .term = 3, .heartbeat = { 17, 18 } };
}

static raft_message append(const world *w, int from, int to, uint32_t count) {
        return (raft_message) { .type = RAFT_MSG_APPEND, .from = w->n[from].id, .to = w->n[to].id, .term = 3, .append = { .count = count } };
}

/* --- between members -------------------------------------------------------- */

static void test_everybody_reaches_everybody(void **state) {
        world *w = *state;
        connect_all(w);
        for (int i = 0; i < NODES; i++)
                for (int k = 0; k < NODES; k++) {
                        const raft_message m = heartbeat(w, i, k);
                        const uint32_t before = w->n[k].messages;
                        if (i == k)
                                continue;
                        assert_int_equal(peers_send(w->n[i].peers, &m), RQ_OK);
                        RUN_UNTIL(w, w->n[k].messages == before + 1);
                        assert_true(w->n[k].last.from == w->n[i].id && w->n[k].last.heartbeat.round == 18);
                }
        peers_view view;
        assert_true(peers_view_of(w->n[0].peers, w->n[2].id, &view));
        assert_string_equal(view.api_addr, "localhost:4003");
        assert_string_equal(view.node_id, "n2");
        assert_string_equal(view.problem, "");
        assert_true(peers_rtt_us(w->n[0].peers, w->n[1].id) > 0 && view.since_us > 0);
        assert_false(peers_view_of(w->n[0].peers, w->n[0].id, &view));
        assert_true(peers_is_up(w->n[0].peers, w->n[1].id));
        raft_message nobody = heartbeat(w, 0, 1);
        nobody.to = 99;
        assert_int_equal(peers_send(w->n[0].peers, &nobody), RQ_EPIPE);
}

static void test_what_a_turn_sends_arrives_in_few(void **state) {
        world *w = *state;
        connect_all(w);
        const raft_message m = heartbeat(w, 0, 1);
        const uint32_t before = w->n[1].turns;
        for (int i = 0; i < 1000; i++)
                assert_int_equal(peers_send(w->n[0].peers, &m), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == 1000);
        assert_true(w->n[1].turns - before < 200);
}

static void test_appends_carry_their_records(void **state) {
        world *w = *state;
        connect_all(w);
        rq_buf big = {0};
        assert_int_equal(rq_buf_reserve(&big, 3000000), RQ_OK);
        for (big.size = 0; big.size < 3000000; big.size++)
                big.data[big.size] = (uint8_t) (big.size * 7 + (big.size >> 9));
        const rq_bytes pieces[] = { rq_bytes_of(big.data, 100), rq_bytes_of(big.data + 100, 2000000), rq_bytes_of(big.data + 2000100, 999900) };
        const raft_message m = append(w, 0, 1, 3);
        assert_int_equal(peers_send_append(w->n[0].peers, &m, pieces, 3), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == 1);
        assert_int_equal(w->n[1].records.size, big.size);
        assert_memory_equal(w->n[1].records.data, big.data, big.size);
        assert_int_equal(w->n[1].last.append.count, 3);
        rq_buf_done(&big);
}

/* Votes don't wait behind records, and the window holds. */
static void test_bulk_is_bounded_and_beside_control(void **state) {
        world *w = *state;
        connect_all(w);
        static uint8_t megabyte[1024 * 1024];
        const rq_bytes piece = rq_bytes_of(megabyte, sizeof megabyte);
        const raft_message a = append(w, 0, 1, 1), h = heartbeat(w, 0, 1);
        const uint32_t rooms = w->n[0].rooms;
        int sent = 0;
        assert_int_equal(peers_bulk_room(w->n[0].peers, w->n[1].id), PEERS_BULK_WINDOW_BYTES);
        while (peers_bulk_room(w->n[0].peers, w->n[1].id) > 0) {
                assert_int_equal(peers_send_append(w->n[0].peers, &a, &piece, 1), RQ_OK);
                sent++;
        }
        assert_int_equal(sent, 8);
        while (peers_send_append(w->n[0].peers, &a, &piece, 1) == RQ_OK)
                sent++;
        assert_true(sent <= 10);
        assert_int_equal(peers_send(w->n[0].peers, &h), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == (uint32_t) sent + 1);
        assert_int_equal(w->n[1].heartbeats, 1);
        assert_true(w->n[1].messages_at_heartbeat < (uint32_t) sent + 1);
        RUN_UNTIL(w, w->n[0].rooms > rooms);
        assert_int_equal(peers_bulk_room(w->n[0].peers, w->n[1].id), PEERS_BULK_WINDOW_BYTES);
        /* One larger than the window goes when nothing is queued. */
        rq_bytes pieces[12];
        for (int i = 0; i < 12; i++)
                pieces[i] = piece;
        w->n[1].records.size = 0;
        assert_int_equal(peers_send_append(w->n[0].peers, &a, pieces, 12), RQ_OK);
        RUN_UNTIL(w, w->n[1].records.size == 12 * sizeof megabyte);
}

static void test_forwards_and_refusals(void **state) {
        world *w = *state;
        connect_all(w);
        const driver_forward f = { .to = w->n[2].id, .term = 5, .seed = 77, .kind = RECORD_SQL, .step_budget = 9, .body = rq_bytes_text("insert") };
        assert_int_equal(peers_send_forward(w->n[0].peers, &f), RQ_OK);
        RUN_UNTIL(w, w->n[2].forwards == 1);
        assert_true(w->n[2].last_forward.to == w->n[0].id && w->n[2].last_forward.seed == 77 && w->n[2].last_forward.term == 5);
        assert_int_equal(w->n[2].forward_body.size, 6);
        assert_memory_equal(w->n[2].forward_body.data, "insert", 6);
        assert_int_equal(peers_send_forward_refused(w->n[2].peers, w->n[0].id, 5, 77, RQ_ENOSPC), RQ_OK);
        RUN_UNTIL(w, w->n[0].refusals == 1);
        assert_true(w->n[0].last_refusal.from == w->n[2].id && w->n[0].last_refusal.err == RQ_ENOSPC && w->n[0].last_refusal.seed == 77);
}

/* --- coming and going ------------------------------------------------------- */

static void test_a_dead_member_is_noticed_at_once_and_found_again(void **state) {
        world *w = *state;
        connect_all(w);
        const uint64_t begin_us = rq_clock_mono_us();
        const uint32_t before = w->n[0].downs;
        assert_int_equal(w->n[0].refused_downs, 0);
        w->n[1].peers = peers_free(w->n[1].peers);
        RUN_UNTIL(w, w->n[0].refused_downs == 1 && w->n[2].refused_downs == 1);
        assert_true(w->n[0].down_us - begin_us < 100000);
        assert_true(w->n[0].downs - before >= 2); /* broken, then refused */
        run_ms(w, 300);
        assert_int_equal(w->n[0].refused_downs, 1); /* told once */
        const raft_message m = heartbeat(w, 0, 1);
        assert_int_equal(peers_send(w->n[0].peers, &m), RQ_EPIPE);
        assert_int_equal(peers_bulk_room(w->n[0].peers, w->n[1].id), 0);
        peers_view view;
        assert_true(peers_view_of(w->n[0].peers, w->n[1].id, &view) && !view.up);
        assert_string_equal(view.problem, "connection refused");

        char address[32];
        (void) snprintf(address, sizeof address, "127.0.0.1:%u", w->n[1].port);
        open_node(w, 1, address, &cluster);
        assert_int_equal(peers_set_members(w->n[1].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, all_up(w));
        w->n[1].peers = peers_free(w->n[1].peers);
        RUN_UNTIL(w, w->n[0].refused_downs == 2);
}

static void test_members_may_change(void **state) {
        world *w = *state;
        connect_all(w);
        membership two = w->members;
        two.count = 2;
        const uint32_t downs = w->n[0].downs;
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK);
        assert_int_equal(peers_set_members(w->n[1].peers, &two), RQ_OK);
        run_ms(w, 200);
        assert_true(up_both_ways(w, 0, 1));
        assert_int_equal(w->n[0].downs, downs); /* those that stay aren't touched */
        assert_false(peers_is_up(w->n[0].peers, w->n[2].id));
        assert_false(peers_is_up(w->n[2].peers, w->n[0].id)); /* it isn't let in any more */
        connect_all(w);
}

static void test_an_error_of_the_handler_closes(void **state) {
        world *w = *state;
        connect_all(w);
        const raft_message m = heartbeat(w, 0, 1);
        w->n[1].answer = RQ_EFULL; /* as if lost */
        assert_int_equal(peers_send(w->n[0].peers, &m), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == 1);
        run_ms(w, 20);
        assert_int_equal(w->n[0].downs, 0);
        w->n[1].answer = RQ_ECORRUPT;
        assert_int_equal(peers_send(w->n[0].peers, &m), RQ_OK);
        RUN_UNTIL(w, w->n[0].downs == 1);
        w->n[1].answer = RQ_OK;
        RUN_UNTIL(w, all_up(w));
}

static void test_a_false_sender_or_receiver_is_refused(void **state) {
        world *w = *state;
        connect_all(w);
        raft_message m = heartbeat(w, 0, 1);
        m.from = w->n[2].id;
        assert_int_equal(peers_send(w->n[0].peers, &m), RQ_OK);
        RUN_UNTIL(w, w->n[0].downs == 1);
        assert_int_equal(w->n[1].messages, 0);
        RUN_UNTIL(w, all_up(w));
        /* Node 0 takes node 2 to be at node 1's place: not even a connection comes up. */
        membership wrong = w->members;
        memcpy(wrong.members[2].raft_addr, wrong.members[1].raft_addr, sizeof wrong.members[1].raft_addr);
        assert_int_equal(peers_set_members(w->n[0].peers, &wrong), RQ_OK);
        run_ms(w, 200);
        assert_false(peers_is_up(w->n[0].peers, w->n[2].id));
        peers_view view;
        assert_true(peers_view_of(w->n[0].peers, w->n[2].id, &view));
        assert_true(strstr(view.problem, "another node") != NULL);
}

static void test_the_newer_connection_wins(void **state) {
        world *w = *state;
        connect_all(w);
        /* The same member again, as after a crash that its machine didn't survive: the old
         * connection is still there. */
        node *twin = &w->n[2];
        peers *old = twin->peers;
        open_node(w, 2, "127.0.0.1:0", &cluster);
        assert_int_equal(peers_set_members(twin->peers, &w->members), RQ_OK);
        RUN_UNTIL(w, peers_is_up(twin->peers, w->n[0].id) && peers_is_up(twin->peers, w->n[1].id));
        const raft_message m = heartbeat(w, 2, 0);
        /* What the old connection still brings isn't taken: forwards come in the order sent. */
        const driver_forward f = { .to = w->n[0].id, .term = 5, .seed = 77, .kind = RECORD_SQL, .body = rq_bytes_text("late") };
        (void) peers_send_forward(old, &f);
        assert_int_equal(peers_send(twin->peers, &m), RQ_OK);
        RUN_UNTIL(w, w->n[0].messages == 1);
        run_ms(w, 20);
        assert_int_equal(w->n[0].forwards, 0);
        (void) peers_free(old);
}

/* --- other clusters --------------------------------------------------------- */

static void test_another_cluster_is_refused(void **state) {
        world *w = *state;
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_cluster(w->n[i].peers, i == 2 ? &other_cluster : &cluster, (rq_bytes) {0}), RQ_OK);
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up_both_ways(w, 0, 1) && up_both_ways(w, 1, 0));
        run_ms(w, 300);
        assert_false(peers_is_up(w->n[0].peers, w->n[2].id));
        assert_false(peers_is_up(w->n[2].peers, w->n[0].id));
        const raft_message m = heartbeat(w, 2, 0);
        assert_int_equal(peers_send(w->n[2].peers, &m), RQ_EPIPE);
        assert_int_equal(w->n[0].messages, 0);
        peers_view view;
        assert_true(peers_view_of(w->n[0].peers, w->n[2].id, &view));
        assert_string_equal(view.problem, "it is in another cluster");
}

static void test_a_founding_is_told_until_it_is_known(void **state) {
        world *w = *state;
        static const rq_uuid none = {0};
        w->n[0].virgin = true;
        w->n[2].answer = RQ_EBUSY;
        assert_int_equal(peers_set_cluster(w->n[0].peers, &cluster, rq_bytes_text("entry 1")), RQ_OK);
        assert_int_equal(peers_set_cluster(w->n[2].peers, &none, (rq_bytes) {0}), RQ_OK);
        assert_int_equal(peers_set_members(w->n[0].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, w->n[2].founds >= 2); /* again after a refusal */
        assert_true(w->n[2].last_virgin);
        assert_int_equal(w->n[2].found_record.size, 7);
        assert_memory_equal(w->n[2].found_record.data, "entry 1", 7);
        assert_false(peers_is_up(w->n[0].peers, w->n[2].id));
        w->n[2].answer = RQ_OK;
        w->n[0].virgin = false;
        const uint32_t founds = w->n[2].founds;
        RUN_UNTIL(w, w->n[2].founds > founds);
        assert_false(w->n[2].last_virgin);
        assert_int_equal(peers_set_cluster(w->n[2].peers, &cluster, (rq_bytes) {0}), RQ_OK);
        assert_int_equal(peers_set_members(w->n[2].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up_both_ways(w, 0, 2) && up_both_ways(w, 2, 0));
}

static void test_seeds_show_who_is_there(void **state) {
        world *w = *state;
        static const rq_uuid none = {0};
        char addresses[NODES][64];
        const char *list[NODES];
        for (int i = 0; i < NODES; i++) {
                assert_int_equal(peers_set_cluster(w->n[i].peers, &none, (rq_bytes) {0}), RQ_OK);
                (void) snprintf(addresses[i], sizeof addresses[i], "localhost:%u", w->n[i].port);
                list[i] = addresses[i];
        }
        assert_int_equal(peers_set_seeds(w->n[0].peers, list, NODES), RQ_OK); /* its own among them */
        RUN_UNTIL(w, w->n[0].hellos > 0);
        run_ms(w, 100);
        bool seen[NODES] = { false };
        size_t cursor = 0;
        for (const peer_hello *h; (h = peers_next_hello(w->n[0].peers, &cursor)) != NULL;)
                for (int i = 0; i < NODES; i++)
                        seen[i] |= rq_uuid_equal(&h->disk_uuid, &w->n[i].disk_uuid);
        assert_true(!seen[0] && seen[1] && seen[2]);
        cursor = 0;
        assert_non_null(peers_next_hello(w->n[1].peers, &cursor)); /* who was called knows the caller */
        assert_int_equal(peers_set_seeds(w->n[0].peers, NULL, 0), RQ_OK);
        cursor = 0;
        assert_null(peers_next_hello(w->n[0].peers, &cursor));
        RUN_UNTIL(w, (cursor = 0, peers_next_hello(w->n[1].peers, &cursor) == NULL));
}

/* --- strangers -------------------------------------------------------------- */

static int call(const world *w, int i) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(w->n[i].port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
}

/* What it says is ignored; whether it has hung up. */
static bool hung_up(int fd) {
        uint8_t ignored[4096];
        ssize_t n;
        while ((n = recv(fd, ignored, sizeof ignored, 0)) > 0)
                ;
        return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static void say(int fd, const void *data, size_t size) { assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size); }

static void put_frame(rq_buf *out, uint16_t type, rq_bytes body, uint32_t payload_bytes) {
        uint8_t head[PEER_HEADER_BYTES];
        peer_header header = { .type = type, .payload_bytes = payload_bytes };
        peer_header_encode(head, &header, body);
        assert_int_equal(rq_buf_append(out, head, sizeof head), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, body), RQ_OK);
}

static void put_hello(const world *w, rq_buf *out, int as, const rq_uuid *cluster_id, peer_class class) {
        rq_buf body = {0};
        const peer_hello hello = { .cluster_id = *cluster_id, .disk_uuid = w->n[as].disk_uuid, .class = class, .node_id = "x", .protocol_minor = 9 };
        assert_int_equal(peer_hello_encode(&hello, &body), RQ_OK);
        put_frame(out, PEER_HELLO, rq_buf_bytes(&body), 0);
        rq_buf_done(&body);
}

static void test_garbage_is_hung_up_on(void **state) {
        world *w = *state;
        connect_all(w);
        static const char *const garbage[] = { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02", "x", "rqI1 and more of another protocol",
                                               "rqP1 but no header of it: twenty-eight bytes" };
        for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
                int fd = call(w, 0);
                say(fd, garbage[i], strlen(garbage[i]));
                RUN_UNTIL(w, hung_up(fd));
                (void) close(fd);
        }
        peers_stats stats;
        peers_get_stats(w->n[0].peers, &stats);
        assert_int_equal(stats.refused_count, 5);
        assert_true(all_up(w));
}

static void test_frames_that_may_not_be_are_hung_up_on(void **state) {
        world *w = *state;
        connect_all(w);
        uint8_t body[2 * PEER_HELLO_BYTES_MAX] = {0};
        for (int i = 0; i < 6; i++) {
                rq_buf out = {0};
                const raft_message m = heartbeat(w, 1, 0);
                const size_t size = peer_raft_encode(&m, body);
                if (i >= 2)
                        put_hello(w, &out, 1, &cluster, PEER_CONTROL);
                switch (i) {
                case 0: put_frame(&out, PEER_HELLO, rq_bytes_of(body, PEER_HELLO_BYTES_MAX + 1), 0); break; /* too large */
                case 1: put_frame(&out, peer_raft_type(m.type), rq_bytes_of(body, size), 0); break;         /* before HELLO */
                case 2: put_hello(w, &out, 1, &cluster, PEER_CONTROL); break;                              /* twice */
                case 3: put_frame(&out, peer_raft_type(m.type), rq_bytes_of(body, size), 1); break;         /* control has no payload */
                case 4: put_frame(&out, peer_raft_type(m.type), rq_bytes_of(body, size - 8), 0); break;     /* wrong size */
                default:
                        put_frame(&out, peer_raft_type(m.type), rq_bytes_of(body, size), 0);
                        out.data[out.size - 1] ^= 1;                                                       /* checksum */
                }
                int fd = call(w, 0);
                say(fd, out.data, out.size);
                RUN_UNTIL(w, hung_up(fd));
                (void) close(fd);
                rq_buf_done(&out);
        }
        assert_int_equal(w->n[0].messages, 0);
        RUN_UNTIL(w, all_up(w));
}

static void test_unknown_types_are_skipped(void **state) {
        world *w = *state;
        assert_int_equal(peers_set_members(w->n[0].peers, &w->members), RQ_OK); /* the real node 1 doesn't call */
        rq_buf out = {0};
        uint8_t body[PEER_RAFT_BYTES_MAX];
        static const uint8_t payload[100000];
        const raft_message m = heartbeat(w, 1, 0);
        const size_t size = peer_raft_encode(&m, body);
        put_hello(w, &out, 1, &cluster, PEER_CONTROL);
        put_frame(&out, 200, rq_bytes_text("of a newer build"), sizeof payload);
        assert_int_equal(rq_buf_append(&out, payload, sizeof payload), RQ_OK);
        put_frame(&out, peer_raft_type(m.type), rq_bytes_of(body, size), 0);
        int fd = call(w, 0);
        for (size_t at = 0; at < out.size;) {
                ssize_t n = send(fd, out.data + at, out.size - at < 1000 ? out.size - at : 1000, MSG_NOSIGNAL);
                assert_true(n > 0);
                at += (size_t) n;
                turn(w);
        }
        RUN_UNTIL(w, w->n[0].messages == 1);
        assert_int_equal(w->n[0].last.heartbeat.round, 18);
        (void) close(fd);
        peers_stats stats = {0};
        RUN_UNTIL(w, (peers_get_stats(w->n[0].peers, &stats), stats.skipped_count == 1));
        rq_buf_done(&out);
}

static void test_a_slow_hello_is_hung_up_on(void **state) {
        world *w = *state;
        rq_buf out = {0};
        put_hello(w, &out, 1, &cluster, PEER_CONTROL);
        int fd = call(w, 0);
        const uint64_t begin_us = rq_clock_mono_us();
        size_t at = 0;
        while (!hung_up(fd)) { /* byte by byte, as one who wants to hold it for ever */
                if (at < out.size - 1 && rq_clock_mono_us() - begin_us > at * 200000)
                        (void) send(fd, out.data + at++, 1, MSG_NOSIGNAL);
                turn(w);
                (void) usleep(1000);
                assert_true(rq_clock_mono_us() - begin_us < 10000000);
        }
        assert_true(rq_clock_mono_us() - begin_us > PEER_HELLO_WAIT_US - 500000);
        (void) close(fd);
        rq_buf_done(&out);
}

static void test_silent_connections_do_not_lock_members_out(void **state) {
        world *w = *state;
        int fds[3 * PEERS_HALF_OPEN_MAX];
        const int count = (int) (sizeof fds / sizeof fds[0]);
        for (int i = 0; i < count; i++) {
                fds[i] = call(w, 0);
                turn(w);
        }
        connect_all(w);
        int open = 0;
        for (int i = 0; i < count; i++) {
                open += !hung_up(fds[i]);
                (void) close(fds[i]);
        }
        assert_true(open <= PEERS_HALF_OPEN_MAX);
}

/* Who was told that it was removed, and stays, holds no place that a member needs, and not for long. */
static void test_who_was_told_makes_room(void **state) {
        world *w = *state;
        int fds[2 * PEERS_HALF_OPEN_MAX];
        const int count = (int) (sizeof fds / sizeof fds[0]);
        membership two = w->members;
        two.count = 2; /* without node 2 */
        w->n[0].stranger = PEERS_STRANGER_REMOVED;
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK);
        rq_buf out = {0};
        put_hello(w, &out, 2, &cluster, PEER_CONTROL);
        for (int i = 0; i < count; i++) {
                fds[i] = call(w, 0);
                say(fds[i], out.data, out.size);
                RUN_UNTIL(w, w->n[0].strangers == (uint32_t) i + 1);
        }
        assert_int_equal(peers_set_members(w->n[1].peers, &two), RQ_OK);
        RUN_UNTIL(w, up_both_ways(w, 0, 1) && up_both_ways(w, 1, 0));
        for (int i = 0; i < count; i++) {
                RUN_UNTIL(w, hung_up(fds[i]));
                (void) close(fds[i]);
        }
        rq_buf_done(&out);
}

/* Megabytes are for members: neither are they waited for, nor skipped. */
static void test_a_guest_may_not_announce_megabytes(void **state) {
        world *w = *state;
        connect_all(w);
        uint8_t body[PEER_RAFT_BYTES_MAX];
        const raft_message m = append(w, 1, 0, 1);
        const size_t size = peer_raft_encode(&m, body);
        for (int i = 0; i < 3; i++) {
                rq_buf out = {0}, text = {0};
                const peer_hello hello = { .cluster_id = cluster, .disk_uuid = w->n[1].disk_uuid, .node_id = "x", .visitor = true };
                assert_int_equal(peer_hello_encode(&hello, &text), RQ_OK);
                put_frame(&out, PEER_HELLO, rq_buf_bytes(&text), 0);
                put_frame(&out, i == 0 ? peer_raft_type(m.type) : 200, rq_bytes_of(body, size), i < 2 ? PEER_PAYLOAD_BYTES_MAX : 100);
                int fd = call(w, 0);
                say(fd, out.data, out.size);
                if (i < 2) {
                        RUN_UNTIL(w, hung_up(fd));
                } else {
                        run_ms(w, 100);
                        assert_false(hung_up(fd)); /* a newer build's */
                }
                (void) close(fd);
                rq_buf_done(&out);
                rq_buf_done(&text);
        }
        assert_true(all_up(w));
}

static void test_a_stranger_is_refused(void **state) {
        world *w = *state;
        connect_all(w);
        membership two = w->members;
        two.count = 2; /* without node 2 */
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK);
        for (int i = 0; i < 2; i++) {
                rq_buf out = {0};
                put_hello(w, &out, 2, i == 0 ? &cluster : &other_cluster, PEER_CONTROL);
                int fd = call(w, 0);
                say(fd, out.data, out.size);
                RUN_UNTIL(w, hung_up(fd));
                (void) close(fd);
                rq_buf_done(&out);
        }
}

static void test_the_port_is_taken(void **state) {
        world *w = *state;
        char address[64];
        peers *second;
        (void) snprintf(address, sizeof address, "127.0.0.1:%u", w->n[0].port);
        const peers_options options = { .loop = w->loop, .listen_addr = address, .self = { .node_id = "x" } };
        assert_int_equal(peers_new(&options, &second), RQ_OK);
        assert_int_equal(peers_listen(second), RQ_EADDRINUSE);
        second = peers_free(second);
        const peers_options far = { .loop = w->loop, .listen_addr = "192.0.2.1:4002", .self = { .node_id = "x" } };
        assert_int_equal(peers_new(&far, &second), RQ_OK);
        assert_int_equal(peers_listen(second), RQ_ECONFIG);
        second = peers_free(second);
}

/* A name that nobody knows costs nothing but a word; freeing doesn't wait for it. */
static void test_names_are_asked_elsewhere(void **state) {
        world *w = *state;
        membership wrong = w->members;
        (void) snprintf(wrong.members[2].raft_addr, sizeof wrong.members[2].raft_addr, "no-such-host.invalid:4002");
        assert_int_equal(peers_set_members(w->n[0].peers, &wrong), RQ_OK);
        assert_int_equal(peers_set_members(w->n[1].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up_both_ways(w, 0, 1));
        w->n[0].peers = peers_free(w->n[0].peers); /* perhaps while it is asked */
}

/* --- who comes from outside ------------------------------------------------- */

static void say_addresses(world *w) {
        w->says_address = true;
        for (int i = 0; i < NODES; i++) {
                (void) snprintf(w->members.members[i].raft_addr, sizeof w->members.members[i].raft_addr, "127.0.0.1:%u", w->n[i].port);
                w->n[i].peers = peers_free(w->n[i].peers);
                open_node(w, i, w->members.members[i].raft_addr, &cluster);
        }
}

static membership without(const world *w, int i) {
        membership m = w->members;
        m.members[i] = m.members[--m.count];
        return m;
}

/* Only on a visitor's connection, only when asked, and as often. */
static void test_joining_is_asked_for(void **state) {
        world *w = *state;
        char address[64];
        const rq_uuid none = {0};
        const membership two = without(w, 2);
        for (int i = 0; i < 2; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &two), RQ_OK);
        assert_int_equal(peers_set_cluster(w->n[2].peers, &none, (rq_bytes) {0}), RQ_OK);
        (void) snprintf(address, sizeof address, "127.0.0.1:%u", w->n[0].port);
        const char *seeds[] = { address };
        assert_int_equal(peers_set_seeds(w->n[2].peers, seeds, 1), RQ_OK);
        w->n[0].join_reply = (peer_join_reply) { .result = PEER_JOIN_REFUSED };
        peers_send_join(w->n[2].peers, true, rq_bytes_text("joe:secret")); /* nobody is there yet */
        RUN_UNTIL(w, w->n[2].hellos > 0 && peers_next_hello(w->n[2].peers, &(size_t) {0}) != NULL);
        peers_send_join(w->n[2].peers, true, rq_bytes_text("joe:secret"));
        peers_send_join(w->n[2].peers, true, (rq_bytes) {0}); /* one question at a time */
        RUN_UNTIL(w, w->n[2].join_replies == 1);
        assert_true(w->n[0].joins == 1 && w->n[0].last_stays && w->n[2].join_reply.result == PEER_JOIN_REFUSED);
        assert_string_equal(w->n[2].words, "an answer");
        assert_string_equal(w->n[0].shown, "joe:secret");
        w->n[0].join_reply = (peer_join_reply) { .result = PEER_JOIN_ACCEPTED, .database_id = cluster, .cluster_id = cluster, .configuration = 5 };
        peers_send_join(w->n[2].peers, false, (rq_bytes) {0});
        RUN_UNTIL(w, w->n[2].join_replies == 2);
        assert_string_equal(w->n[0].shown, "");
        assert_true(!w->n[0].last_stays && w->n[2].join_reply.configuration == 5);
        /* The leader is another one. */
        (void) snprintf(address, sizeof address, "127.0.0.1:%u", w->n[1].port);
        assert_int_equal(peers_add_seed(w->n[2].peers, address), RQ_OK);
        assert_int_equal(peers_add_seed(w->n[2].peers, address), RQ_EEXIST);
        RUN_UNTIL(w, (peers_send_join(w->n[2].peers, false, (rq_bytes) {0}), w->n[1].joins > 0));
        assert_true(all_up(w) == false && up_both_ways(w, 0, 1)); /* members notice nothing */
}

static void test_a_ping_is_answered(void **state) {
        world *w = *state;
        connect_all(w);
        assert_int_equal(peers_send_ping(w->n[0].peers, w->n[1].id, 42), RQ_OK);
        RUN_UNTIL(w, w->n[0].pong == 42);
        assert_true(w->n[0].pong_from == w->n[1].id && w->n[1].pong == 0);
        assert_int_equal(peers_send_ping(w->n[0].peers, 12345, 43), RQ_EPIPE); /* no member */
}

static void test_a_removal_is_passed_on(void **state) {
        world *w = *state;
        connect_all(w);
        assert_int_equal(peers_send_remove(w->n[0].peers, w->n[1].id, 42, "n2"), RQ_OK);
        RUN_UNTIL(w, w->n[0].remove_replies == 1);
        assert_int_equal(w->n[1].removes, 1);
        assert_string_equal(w->n[1].words, "n2");
        assert_string_equal(w->n[0].words, "no");
}

static void test_who_was_removed_is_told(void **state) {
        world *w = *state;
        const membership two = without(w, 2);
        connect_all(w);
        w->n[0].configuration = w->n[1].configuration = 77;
        w->n[0].stranger = w->n[1].stranger = PEERS_STRANGER_REMOVED;
        for (int i = 0; i < 2; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &two), RQ_OK);
        RUN_UNTIL(w, w->n[2].removed_by == 77);
        run_ms(w, 300);
        assert_true(up_both_ways(w, 0, 1) && !up_both_ways(w, 2, 0));
        /* It asks again, slowly, and is a member when it is listed again. */
        assert_true(w->n[0].strangers < 8);
        for (int i = 0; i < 2; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, all_up(w));
}

/* Neither way: its votes don't get here, and nothing of us gets there. */
static void test_an_old_copy_is_not_let_in(void **state) {
        world *w = *state;
        w->n[0].old_copy = w->n[2].disk_uuid;
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, w->n[2].old_copies_told > 0);
        RUN_UNTIL(w, up_both_ways(w, 0, 1) && up_both_ways(w, 1, 2) && up_both_ways(w, 2, 1));
        assert_true(w->n[2].told.number == 12 && w->n[2].told.nonce == 34 && w->n[2].told.led);
        run_ms(w, 300);
        assert_true(w->n[2].old_copies_told < 8); /* it asks again, slowly */
        raft_message m = heartbeat(w, 2, 0);
        (void) peers_send(w->n[2].peers, &m);
        m = heartbeat(w, 0, 2);
        assert_int_equal(peers_send(w->n[0].peers, &m), RQ_EPIPE);
        run_ms(w, 50);
        assert_true(w->n[0].messages == 0 && w->n[1].old_copies_told == 0);
        peers_view view;
        assert_true(peers_view_of(w->n[0].peers, w->n[2].id, &view) && !view.up);
        assert_non_null(strstr(view.problem, "older copy"));
}

static void test_who_has_to_wait_comes_again(void **state) {
        world *w = *state;
        peers_view view;
        w->n[0].later = w->n[2].disk_uuid;
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up_both_ways(w, 0, 1) && up_both_ways(w, 1, 2) && up_both_ways(w, 2, 1));
        RUN_UNTIL(w, peers_view_of(w->n[0].peers, w->n[2].id, &view) && strstr(view.problem, "too often") != NULL);
        assert_false(up_both_ways(w, 0, 2));
        assert_int_equal(w->n[2].old_copies_told, 0);
        w->n[0].later = (rq_uuid) {0};
        RUN_UNTIL(w, all_up(w));
}

static void test_who_knows_more_is_admitted(void **state) {
        world *w = *state;
        const membership two = without(w, 2);
        say_addresses(w);
        w->n[0].stranger = PEERS_STRANGER_ADMIT;
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK); /* hasn't heard of n2 */
        assert_int_equal(peers_set_members(w->n[1].peers, &w->members), RQ_OK);
        assert_int_equal(peers_set_members(w->n[2].peers, &w->members), RQ_OK);
        w->n[2].configuration = 9;
        RUN_UNTIL(w, w->n[0].strangers > 0);
        /* It may lead: its messages come through, and answers get there, too. */
        const raft_message m = heartbeat(w, 2, 0), back = heartbeat(w, 0, 2);
        RUN_UNTIL(w, all_up(w));
        assert_int_equal(peers_send(w->n[2].peers, &m), RQ_OK);
        assert_int_equal(peers_send(w->n[0].peers, &back), RQ_OK);
        RUN_UNTIL(w, w->n[0].heartbeats == 1 && w->n[2].heartbeats == 1);
        /* The list is set without it: what it knew is known now, and it isn't in it. */
        w->n[0].stranger = PEERS_STRANGER_REFUSE;
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK);
        run_ms(w, 100);
        assert_false(up_both_ways(w, 0, 2));
}

/* One that was removed and says that it knows more can't have anything done. */
static void test_who_is_not_listed_may_not_forward(void **state) {
        world *w = *state;
        const membership two = without(w, 2);
        say_addresses(w);
        w->n[0].stranger = PEERS_STRANGER_ADMIT;
        w->n[2].configuration = 9;
        assert_int_equal(peers_set_members(w->n[0].peers, &two), RQ_OK);
        assert_int_equal(peers_set_members(w->n[1].peers, &w->members), RQ_OK);
        assert_int_equal(peers_set_members(w->n[2].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, all_up(w));
        const driver_forward f = { .to = w->n[0].id, .term = 5, .seed = 77, .kind = RECORD_SQL, .body = rq_bytes_text("insert") };
        const uint32_t downs = w->n[2].downs;
        assert_int_equal(peers_send_forward(w->n[2].peers, &f), RQ_OK);
        RUN_UNTIL(w, w->n[2].downs > downs);
        RUN_UNTIL(w, all_up(w));
        raft_message vote = { .type = RAFT_MSG_VOTE, .from = w->n[2].id, .to = w->n[0].id, .term = 7, .vote = { .transfer = true, .campaign_term = 8 } };
        assert_int_equal(peers_send(w->n[2].peers, &vote), RQ_OK);
        RUN_UNTIL(w, w->n[0].messages == 1);
        assert_false(w->n[0].last.vote.transfer); /* it doesn't override a leader */
        raft_message now = { .type = RAFT_MSG_TIMEOUT_NOW, .from = w->n[2].id, .to = w->n[0].id, .term = 7 };
        const uint32_t before = w->n[2].downs;
        assert_int_equal(peers_send(w->n[2].peers, &now), RQ_OK);
        RUN_UNTIL(w, w->n[2].downs > before);
        assert_int_equal(w->n[0].forwards, 0);
        assert_int_equal(w->n[0].messages, 1);
}

static void test_an_absurd_term_is_hung_up_on(void **state) {
        world *w = *state;
        connect_all(w);
        raft_message messages[] = {
                { .type = RAFT_MSG_HEARTBEAT, .term = 1001 }, { .type = RAFT_MSG_VOTE, .term = 3, .vote = { .campaign_term = UINT64_MAX } },
                { .type = RAFT_MSG_VOTE, .term = 3, .vote = { .campaign_term = 3, .last_term = 5000 } },
                { .type = RAFT_MSG_VOTE_REPLY, .term = UINT64_MAX },
        };
        for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
                messages[i].from = w->n[0].id;
                messages[i].to = w->n[1].id;
                const uint32_t downs = w->n[0].downs;
                assert_int_equal(peers_send(w->n[0].peers, &messages[i]), RQ_OK);
                RUN_UNTIL(w, w->n[0].downs > downs);
                RUN_UNTIL(w, all_up(w));
        }
        assert_int_equal(w->n[1].messages, 0);
        messages[0].term = 1000;
        assert_int_equal(peers_send(w->n[0].peers, &messages[0]), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == 1);
}

/* The node's word counts, not the list's. */
static void test_a_member_that_has_moved_is_found(void **state) {
        world *w = *state;
        say_addresses(w);
        membership old = w->members;
        peers_view view;
        (void) snprintf(old.members[2].raft_addr, sizeof old.members[2].raft_addr, "127.0.0.1:1");
        assert_int_equal(peers_set_members(w->n[0].peers, &old), RQ_OK);
        assert_int_equal(peers_set_members(w->n[1].peers, &old), RQ_OK);
        assert_int_equal(peers_set_members(w->n[2].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, all_up(w));
        assert_true(peers_view_of(w->n[0].peers, w->n[2].id, &view));
        assert_string_equal(view.said_addr, w->members.members[2].raft_addr);
        /* The list follows: nothing is connected anew. */
        const uint32_t downs = w->n[0].downs;
        assert_int_equal(peers_set_members(w->n[0].peers, &w->members), RQ_OK);
        run_ms(w, 50);
        assert_true(w->n[0].downs == downs && up_both_ways(w, 0, 2));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_everybody_reaches_everybody), TEST(test_what_a_turn_sends_arrives_in_few), TEST(test_appends_carry_their_records),
                TEST(test_bulk_is_bounded_and_beside_control), TEST(test_forwards_and_refusals),
                TEST(test_a_dead_member_is_noticed_at_once_and_found_again), TEST(test_members_may_change),
                TEST(test_an_error_of_the_handler_closes), TEST(test_a_false_sender_or_receiver_is_refused),
                TEST(test_the_newer_connection_wins), TEST(test_another_cluster_is_refused),
                TEST(test_a_founding_is_told_until_it_is_known), TEST(test_seeds_show_who_is_there), TEST(test_garbage_is_hung_up_on),
                TEST(test_frames_that_may_not_be_are_hung_up_on), TEST(test_unknown_types_are_skipped), TEST(test_a_slow_hello_is_hung_up_on),
                TEST(test_silent_connections_do_not_lock_members_out), TEST(test_who_was_told_makes_room), TEST(test_a_guest_may_not_announce_megabytes),
                TEST(test_a_stranger_is_refused), TEST(test_the_port_is_taken),
                TEST(test_names_are_asked_elsewhere), TEST(test_joining_is_asked_for), TEST(test_a_removal_is_passed_on), TEST(test_a_ping_is_answered),
                TEST(test_who_was_removed_is_told), TEST(test_an_old_copy_is_not_let_in), TEST(test_who_has_to_wait_comes_again), TEST(test_who_knows_more_is_admitted), TEST(test_who_is_not_listed_may_not_forward),
                TEST(test_an_absurd_term_is_hung_up_on), TEST(test_a_member_that_has_moved_is_found),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
