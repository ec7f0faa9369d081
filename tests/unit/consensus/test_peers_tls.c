/* Links between nodes with TLS: who comes up with whom, in which words the others don't, and that a
 * stranger's handshakes hold nobody up. */
#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "certificates.h"
#include "log/log.h"
#include "peer/peer_link.h"
#include "peer/peers.h"

enum { NODES = 2 };

typedef enum node_kind { PLAIN, TRANSITION, TLS, FOREIGN, KINDS } node_kind; /* FOREIGN: TLS of another authority */

typedef struct node {
        peers *peers;
        rq_tls *tls;
        rq_uuid disk_uuid;
        raft_id id;
        uint16_t port;
        uint32_t messages;
        rq_buf records;
} node;

typedef struct world {
        rq_loop *loop;
        node n[NODES];
        membership members;
} world;

static const rq_uuid cluster = { .bytes = "the cluster's id" };
static char folder[] = "/tmp/rq-test-peers-tls-XXXXXX";
static test_authority *authority, *stranger;
static char ca[64], cert[64], key[64], other_ca[64], other_cert[64], other_key[64];

static rq_err on_message(void *arg, raft_id from, const raft_message *message, rq_bytes records) {
        node *n = arg;
        (void) from;
        (void) message;
        n->messages++;
        assert_int_equal(rq_buf_append_bytes(&n->records, records), RQ_OK);
        return RQ_OK;
}

static rq_err on_forward(void *arg, const driver_forward *forward) {
        (void) arg;
        (void) forward;
        return RQ_OK;
}

static void on_forward_refused(void *arg, raft_id from, raft_term term, uint64_t seed, rq_err err) {
        (void) arg;
        (void) from;
        (void) term;
        (void) seed;
        (void) err;
}

static void on_down(void *arg, raft_id id, bool refused) {
        (void) arg;
        (void) id;
        (void) refused;
}

static void on_room(void *arg, raft_id id) {
        (void) arg;
        (void) id;
}

static void on_turn_end(void *arg) { (void) arg; }
static bool is_virgin(void *arg) {
        (void) arg;
        return false;
}

static rq_err on_found(void *arg, const peer_hello *from, bool virgin, rq_bytes record) {
        (void) arg;
        (void) from;
        (void) virgin;
        (void) record;
        return RQ_OK;
}

#define RUN_UNTIL(w, condition)                                                                  \
        do {                                                                                     \
                const uint64_t end_us_ = rq_clock_mono_us() + 20000000;                          \
                while (!(condition) && rq_clock_mono_us() < end_us_)                             \
                        (void) event_base_loop(rq_loop_base((w)->loop), EVLOOP_NONBLOCK);        \
                assert_true(condition);                                                          \
        } while (0)

static rq_tls *tls_of(node_kind kind, bool mutual) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_tls *tls = NULL;
        const rq_tls_options options = {
                .flags = "node", .cert_file = kind == FOREIGN ? other_cert : cert, .key_file = kind == FOREIGN ? other_key : key,
                .ca_file = kind == FOREIGN ? other_ca : ca, .verify_client = mutual,
        };
        if (kind != PLAIN)
                assert_int_equal(rq_tls_new(&options, &tls, &problem), RQ_OK);
        return tls;
}

static void open_node(world *w, int i, node_kind kind, bool mutual) {
        node *n = &w->n[i];
        n->tls = tls_of(kind, mutual);
        peers_options options = {
                .loop = w->loop, .listen_addr = "127.0.0.1:0", .tls = n->tls, .tls_transition = kind == TRANSITION,
                .self = { .cluster_id = cluster, .disk_uuid = n->disk_uuid },
                .callbacks = { on_message, on_forward, on_forward_refused, on_down, on_room, on_turn_end, NULL, on_found, is_virgin, n },
        };
        (void) snprintf(options.self.node_id, sizeof options.self.node_id, "n%d", i);
        assert_int_equal(peers_new(&options, &n->peers), RQ_OK);
        assert_int_equal(peers_listen(n->peers), RQ_OK);
        n->port = peers_port(n->peers);
        member *m = &w->members.members[i];
        *m = (member) { .disk_uuid = n->disk_uuid, .voter = true };
        (void) snprintf(m->node_id, sizeof m->node_id, "n%d", i);
        (void) snprintf(m->raft_addr, sizeof m->raft_addr, "%s:%u", i == 0 ? "127.0.0.1" : "localhost", n->port);
}

static void close_node(world *w, int i) {
        w->n[i].peers = peers_free(w->n[i].peers);
        w->n[i].tls = rq_tls_free(w->n[i].tls);
}

static void open_both(world *w, node_kind first, node_kind second, bool mutual) {
        open_node(w, 0, first, mutual);
        open_node(w, 1, second, mutual);
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
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
        }
        *state = w;
        return 0;
}

static int tear_down(void **state) {
        world *w = *state;
        for (int i = 0; i < NODES; i++) {
                close_node(w, i);
                rq_buf_done(&w->n[i].records);
        }
        w->loop = rq_loop_free(w->loop);
        free(w);
        return 0;
}

static peers_view view_of(const world *w, int i) {
        peers_view view = {0};
        assert_true(peers_view_of(w->n[i].peers, w->n[1 - i].id, &view));
        return view;
}

static bool up(const world *w) {
        return view_of(w, 0).up && view_of(w, 1).up && peers_bulk_room(w->n[0].peers, w->n[1].id) > 0 && peers_bulk_room(w->n[1].peers, w->n[0].id) > 0;
}

static raft_message heartbeat(const world *w, int from) {
        return (raft_message) { .type = RAFT_MSG_HEARTBEAT, .from = w->n[from].id, .to = w->n[1 - from].id, .term = 3, .heartbeat = { 17, 18 } };
}

static raft_message append(const world *w, int from) {
        return (raft_message) { .type = RAFT_MSG_APPEND, .from = w->n[from].id, .to = w->n[1 - from].id, .term = 3, .append = { .count = 1 } };
}

/* --- tests ----------------------------------------------------------------------- */

static void test_nodes_talk(void **state) {
        world *w = *state;
        open_both(w, TLS, TLS, true);
        RUN_UNTIL(w, up(w));
        assert_true(view_of(w, 0).tls && view_of(w, 1).tls);
        for (int i = 0; i < NODES; i++) {
                const raft_message m = heartbeat(w, i);
                assert_int_equal(peers_send(w->n[i].peers, &m), RQ_OK);
                RUN_UNTIL(w, w->n[1 - i].messages == 1);
        }
}

static void test_megabytes_and_a_window(void **state) {
        world *w = *state;
        open_both(w, TLS, TLS, false);
        RUN_UNTIL(w, up(w));
        rq_buf big = {0};
        const size_t size = 3000000;
        assert_int_equal(rq_buf_reserve(&big, size), RQ_OK);
        for (big.size = 0; big.size < size; big.size++)
                big.data[big.size] = (uint8_t) (big.size * 7 + (big.size >> 9));
        const rq_bytes piece = rq_buf_bytes(&big);
        const raft_message a = append(w, 0), h = heartbeat(w, 0);
        uint32_t sent = 0;
        while (peers_bulk_room(w->n[0].peers, w->n[1].id) > 0) {
                assert_int_equal(peers_send_append(w->n[0].peers, &a, &piece, 1), RQ_OK);
                sent++;
        }
        assert_int_equal(sent, 3);
        assert_int_equal(peers_send(w->n[0].peers, &h), RQ_OK);
        RUN_UNTIL(w, w->n[1].messages == sent + 1);
        assert_int_equal(w->n[1].records.size, sent * size);
        for (uint32_t i = 0; i < sent; i++)
                assert_memory_equal(w->n[1].records.data + i * size, big.data, size);
        RUN_UNTIL(w, peers_bulk_room(w->n[0].peers, w->n[1].id) == PEERS_BULK_WINDOW_BYTES);
        rq_buf_done(&big);
}

/* Every kind with every other, in both roles. */
static void test_who_comes_up_with_whom(void **state) {
        world *w = *state;
        static const char *const outcome[KINDS][KINDS] = {
                /* with:        plain    transition  TLS                    foreign */
                [PLAIN]      = { "plain", "plain",    "it speaks TLS",       "it speaks TLS" },
                [TRANSITION] = { "plain", "TLS",      "TLS",                 "not trusted" },
                [TLS]        = { "speaks without TLS", "TLS", "TLS",         "not trusted" },
                [FOREIGN]    = { "speaks without TLS", "not trusted", "not trusted", "TLS" },
        };
        for (node_kind a = PLAIN; a < KINDS; a++)
                for (node_kind b = PLAIN; b < KINDS; b++) {
                        const char *expected = outcome[a][b];
                        open_both(w, a, b, false);
                        if (strcmp(expected, "plain") == 0 || strcmp(expected, "TLS") == 0) {
                                RUN_UNTIL(w, up(w));
                                assert_int_equal(view_of(w, 0).tls, strcmp(expected, "TLS") == 0);
                                assert_int_equal(view_of(w, 1).tls, strcmp(expected, "TLS") == 0);
                        } else {
                                RUN_UNTIL(w, strstr(view_of(w, 0).problem, expected) != NULL);
                                assert_false(up(w));
                        }
                        close_node(w, 0);
                        close_node(w, 1);
                }
}

static void test_a_node_without_a_certificate_is_told(void **state) {
        world *w = *state;
        open_node(w, 0, TLS, true);
        /* One that believes in us, but that we don't believe. */
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        const rq_tls_options options = { .flags = "node", .cert_file = other_cert, .key_file = other_key, .ca_file = ca };
        assert_int_equal(rq_tls_new(&options, &w->n[1].tls, &problem), RQ_OK);
        const peers_options o = {
                .loop = w->loop, .listen_addr = "127.0.0.1:0", .tls = w->n[1].tls,
                .self = { .cluster_id = cluster, .disk_uuid = w->n[1].disk_uuid, .node_id = "n1" },
                .callbacks = { on_message, on_forward, on_forward_refused, on_down, on_room, on_turn_end, NULL, on_found, is_virgin, &w->n[1] },
        };
        assert_int_equal(peers_new(&o, &w->n[1].peers), RQ_OK);
        w->members.count = 1;
        assert_int_equal(peers_set_members(w->n[1].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, strstr(view_of(w, 1).problem, "doesn't trust this node's certificate") != NULL);
        peers_stats stats;
        peers_get_stats(w->n[0].peers, &stats);
        assert_true(stats.refused_count > 0);
}

/* The first comes back with TLS: the link changes over without help. */
static void test_a_transition_ends_with_tls(void **state) {
        world *w = *state;
        open_both(w, TRANSITION, PLAIN, false);
        RUN_UNTIL(w, up(w));
        assert_false(view_of(w, 0).tls);
        close_node(w, 1);
        open_node(w, 1, TRANSITION, false);
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up(w) && view_of(w, 0).tls && view_of(w, 1).tls);
}

/* last: of the address that it comes from, 127.0.0.x; members are at 1. */
static int call_from(const world *w, int i, uint32_t last) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(w->n[i].port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl((INADDR_LOOPBACK & ~0xffu) + last) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (const struct sockaddr *) &own, sizeof own), 0);
        assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
        (void) fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
}

static bool hung_up(int fd) {
        uint8_t ignored[4096];
        ssize_t n;
        while ((n = recv(fd, ignored, sizeof ignored, 0)) > 0)
                ;
        return n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static int call(const world *w, int i) { return call_from(w, i, 1); }

/* A port with TLS says nothing to who says nothing, and an alert to a node without. */
static void test_strangers_on_a_port_with_tls(void **state) {
        world *w = *state;
        open_both(w, TLS, TLS, true);
        RUN_UNTIL(w, up(w));
        static const struct { const char *data; size_t size; } said[] = {
                { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27 }, { "\x16\x03\x01\x00\x05hello", 10 }, { "\x16\x03\x01\xff\xff\xff\xff\xff\xff\xff", 10 },
                { "\x80\x2e\x01\x03\x01", 5 }, { "SSH-2.0-x\r\n", 11 }, { "\0\0\0\0", 4 }, { "\x15\x03\x03\x00\x02\x02\x28", 7 },
        };
        for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
                int fd = call(w, 0);
                assert_int_equal(send(fd, said[i].data, said[i].size, MSG_NOSIGNAL), said[i].size);
                RUN_UNTIL(w, hung_up(fd));
                (void) close(fd);
        }
        int fd = call(w, 0);
        uint8_t alert[8] = {0};
        ssize_t n = -1;
        assert_int_equal(send(fd, "rqP1", 4, MSG_NOSIGNAL), 4);
        RUN_UNTIL(w, (n = n > 0 ? n : recv(fd, alert, sizeof alert, 0)) > 0);
        assert_int_equal(n, 7);
        assert_memory_equal(alert, "\x15\x03\x03\x00\x02\x02\x47", 7);
        RUN_UNTIL(w, hung_up(fd));
        (void) close(fd);
        assert_true(up(w));
}

/* A handshake as it should be, then nonsense, and much of it: the link ends, the loop goes on. */
static void test_nonsense_through_tls(void **state) {
        world *w = *state;
        uint8_t nonsense[8192], ignored[4096];
        open_both(w, TLS, TLS, false);
        RUN_UNTIL(w, up(w));
        for (int with_magic = 0; with_magic < 2; with_magic++) {
                SSL *ssl = NULL;
                int fd = call(w, 0), r = 0;
                memset(nonsense, 'x', sizeof nonsense);
                if (with_magic)
                        memcpy(nonsense, "rqP1", 4);
                assert_int_equal(rq_tls_connect(w->n[1].tls, "127.0.0.1", &ssl), RQ_OK);
                assert_int_equal(SSL_set_fd(ssl, fd), 1);
                RUN_UNTIL(w, (r = r == 1 ? 1 : SSL_do_handshake(ssl)) == 1);
                assert_int_equal(SSL_write(ssl, nonsense, sizeof nonsense), sizeof nonsense);
                RUN_UNTIL(w, (r = SSL_read(ssl, ignored, sizeof ignored)) <= 0 && SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ);
                SSL_free(ssl);
                (void) close(fd);
        }
        assert_true(up(w));
}

/* Half a handshake each, many of them: what members say is still heard, and they are ended. */
static void test_half_open_handshakes_hold_nobody_up(void **state) {
        world *w = *state;
        static const char half[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        int fds[100];
        open_both(w, TLS, TLS, true);
        RUN_UNTIL(w, up(w));
        for (size_t i = 0; i < 100; i++) {
                fds[i] = call(w, 0);
                (void) send(fds[i], half, sizeof half - 1, MSG_NOSIGNAL);
                (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK);
        }
        for (uint32_t k = 0; k < 50; k++) {
                const raft_message m = heartbeat(w, 1);
                assert_int_equal(peers_send(w->n[1].peers, &m), RQ_OK);
                RUN_UNTIL(w, w->n[0].messages == k + 1);
        }
        for (size_t i = 0; i < 100; i++) {
                RUN_UNTIL(w, hung_up(fds[i]));
                (void) close(fds[i]);
        }
        assert_true(up(w));
}

/* From where no member is: only some at a time, whatever the number of addresses; and a member that comes meanwhile is let in at once. */
static void test_handshakes_of_strangers_are_few(void **state) {
        world *w = *state;
        static const char half[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
        enum { COUNT = 8 * PEERS_HALF_OPEN_MAX };
        static int fds[COUNT];
        open_both(w, TLS, TLS, true);
        RUN_UNTIL(w, up(w));
        close_node(w, 1);
        const uint64_t begin_us = rq_clock_mono_us();
        for (uint32_t i = 0; i < COUNT; i++) {
                fds[i] = call_from(w, 0, 2 + i % 200);
                (void) send(fds[i], half, sizeof half - 1, MSG_NOSIGNAL);
                for (int k = 0; k < 3; k++)
                        (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK);
        }
        uint32_t open = 0;
        for (uint32_t i = 0; i < COUNT; i++)
                open += !hung_up(fds[i]);
        const bool early = rq_clock_mono_us() - begin_us < PEER_HELLO_WAIT_US; /* else they are ended for being late */
        assert_true(!early || open > 0);
        assert_true(open <= PEER_STRANGE_HANDSHAKES_MAX);
        open_node(w, 1, TLS, true);
        for (int i = 0; i < NODES; i++)
                assert_int_equal(peers_set_members(w->n[i].peers, &w->members), RQ_OK);
        RUN_UNTIL(w, up(w));
        for (uint32_t i = 0; i < COUNT; i++) {
                RUN_UNTIL(w, hung_up(fds[i]));
                (void) close(fds[i]);
        }
        /* Their places are free again. */
        int fd = call_from(w, 0, 9);
        (void) send(fd, half, sizeof half - 1, MSG_NOSIGNAL);
        for (int i = 0; i < 50; i++) {
                (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK);
                (void) usleep(1000);
        }
        assert_false(hung_up(fd));
        (void) close(fd);
}

/* --- files ------------------------------------------------------------------------- */

static int make_files(void **state) {
        (void) state;
        static const test_certificate usual = { .common_name = "node", .names = "DNS:localhost, IP:127.0.0.1", .days = 20 };
        if (mkdtemp(folder) == NULL)
                return -1;
        const struct { char *path; const char *name; } files[] = {
                { ca, "ca" }, { cert, "cert" }, { key, "key" }, { other_ca, "other-ca" }, { other_cert, "other" }, { other_key, "other-key" },
        };
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
                (void) snprintf(files[i].path, 64, "%s/%s.pem", folder, files[i].name);
        authority = test_authority_new("Test CA");
        stranger = test_authority_new("Another CA");
        test_authority_write(authority, ca, false);
        test_authority_write(stranger, other_ca, false);
        test_authority_issue(authority, &usual, cert, key);
        test_authority_issue(stranger, &usual, other_cert, other_key);
        return 0;
}

static int remove_files(void **state) {
        char command[128];
        (void) state;
        authority = test_authority_free(authority);
        stranger = test_authority_free(stranger);
        (void) snprintf(command, sizeof command, "rm -rf %s", folder);
        return system(command);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_nodes_talk), TEST(test_megabytes_and_a_window), TEST(test_who_comes_up_with_whom),
                TEST(test_a_node_without_a_certificate_is_told), TEST(test_a_transition_ends_with_tls), TEST(test_strangers_on_a_port_with_tls),
                TEST(test_nonsense_through_tls), TEST(test_half_open_handshakes_hold_nobody_up), TEST(test_handshakes_of_strangers_are_few),
        };
        return cmocka_run_group_tests(tests, make_files, remove_files);
}
