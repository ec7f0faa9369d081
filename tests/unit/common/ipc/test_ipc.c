/* common/ipc: two services in one loop, and a stranger who speaks garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/rng.h"
#include "ipc/ipc_endpoint.h"
#include "log/log.h"

typedef struct side {
        ipc_identity self;
        ipc_link *link;
        uint32_t ups, downs, frames, turn_ends;
        uint64_t next_id; /* frames must come in order */
        uint64_t payload_bytes;
        uint32_t payload_crc;
} side;

typedef struct world {
        rq_loop *loop;
        char dir[64];
        int dir_fd;
        side server, client;
        ipc_listener *listener;
        ipc_connector *connector;
} world;

static void on_up(void *arg, ipc_link *link) {
        side *s = arg;
        if (s->link == NULL) /* a stranger may say HELLO, too */
                s->link = link;
        s->ups++;
}

static void on_down(void *arg, ipc_link *link) {
        side *s = arg;
        if (s->link == link)
                s->link = NULL;
        s->downs++;
}

static void on_turn_end(void *arg, ipc_link *link) {
        side *s = arg;
        (void) link;
        s->turn_ends++;
}

static rq_err on_frame(void *arg, ipc_link *link, const ipc_frame *frame) {
        side *s = arg;
        (void) link;
        assert_true(frame->request_id == s->next_id);
        s->next_id++;
        s->frames++;
        s->payload_bytes += frame->payload.size;
        for (size_t i = 0; i < frame->payload.size; i += 4096)
                assert_int_equal(frame->payload.data[i], (uint8_t) (i / 4096));
        return RQ_OK;
}

static const ipc_rule server_rules[] = {
        { IPC_PROPOSE, IPC_GATEWAY, 128, 8 * 1024 * 1024, on_frame },
        { IPC_APPLIED, IPC_STORE, 64, 0, on_frame },
};
static const ipc_rule client_rules[] = {
        { IPC_REQUEST_FAILED, IPC_CONSENSUS, 1024, 0, on_frame },
};

static void turn(world *w, uint64_t ms) {
        uint64_t end = rq_clock_mono_us() + ms * 1000;
        do
                (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK);
        while (rq_clock_mono_us() < end);
}

#define TURN_UNTIL(w, condition)                                                        \
        do {                                                                            \
                for (int i_ = 0; i_ < 5000 && !(condition); i_++)                       \
                        turn(w, 1);                                                     \
                assert_true(condition);                                                 \
        } while (0)

static void open_server(world *w) {
        w->server.self.incarnation = rq_uuid_random();
        const ipc_handlers handlers = { server_rules, 2, on_up, on_down, on_turn_end, &w->server };
        assert_int_equal(ipc_listen(w->loop, w->dir_fd, IPC_SOCKET_CONSENSUS, &w->server.self, &handlers, &w->listener), RQ_OK);
}

static int setup(void **state) {
        world *w = calloc(1, sizeof *w);
        (void) snprintf(w->dir, sizeof w->dir, "/tmp/rq-test-ipc-XXXXXX");
        if (w == NULL || mkdtemp(w->dir) == NULL || rq_loop_new(&w->loop) < 0)
                return -1;
        w->dir_fd = open(w->dir, O_DIRECTORY | O_CLOEXEC);
        w->server.self = (ipc_identity) { .role = IPC_CONSENSUS };
        w->client.self = (ipc_identity) { .role = IPC_GATEWAY, .incarnation = rq_uuid_random() };
        open_server(w);
        const ipc_handlers handlers = { client_rules, 1, on_up, on_down, NULL, &w->client };
        if (ipc_connect(w->loop, w->dir_fd, IPC_SOCKET_CONSENSUS, &w->client.self, &handlers, &w->connector) < 0)
                return -1;
        for (int i = 0; i < 1000 && w->client.link == NULL; i++)
                turn(w, 1);
        *state = w;
        return w->client.link != NULL ? 0 : -1;
}

static int teardown(void **state) {
        world *w = *state;
        w->connector = ipc_connector_free(w->connector);
        w->listener = ipc_listener_free(w->listener);
        w->loop = rq_loop_free(w->loop);
        (void) unlinkat(w->dir_fd, IPC_SOCKET_CONSENSUS, 0);
        (void) close(w->dir_fd);
        (void) rmdir(w->dir);
        free(w);
        return 0;
}

static void test_hello_names_role_and_incarnation(void **state) {
        world *w = *state;
        assert_int_equal(ipc_link_role(w->server.link), IPC_GATEWAY);
        assert_true(rq_uuid_equal(ipc_link_incarnation(w->server.link), &w->client.self.incarnation));
        assert_true(rq_uuid_equal(ipc_link_incarnation(w->client.link), &w->server.self.incarnation));
        assert_ptr_equal(ipc_connector_link(w->connector), w->client.link);
}

static void test_socket_is_for_owner_and_group(void **state) {
        world *w = *state;
        struct stat st;
        assert_int_equal(fstatat(w->dir_fd, IPC_SOCKET_CONSENSUS, &st, 0), 0);
        assert_int_equal(st.st_mode & 0777, 0660);
}

static void test_many_frames_arrive_in_order_in_few_turns(void **state) {
        world *w = *state;
        uint8_t body[16] = {0};
        for (uint64_t i = 0; i < 10000; i++)
                assert_int_equal(ipc_link_send(w->client.link, IPC_PROPOSE, i, rq_bytes_of(body, sizeof body), rq_bytes_of("", 1)), RQ_OK);
        TURN_UNTIL(w, w->server.frames == 10000);
        assert_true(w->server.turn_ends < 1000); /* gathered, not one by one */
}

static void test_a_large_payload_arrives_whole(void **state) {
        world *w = *state;
        size_t size = 8 * 1024 * 1024;
        uint8_t *payload = malloc(size);
        assert_non_null(payload);
        for (size_t i = 0; i < size; i++)
                payload[i] = (uint8_t) (i / 4096);
        for (uint64_t i = 0; i < 3; i++)
                assert_int_equal(ipc_link_send(w->client.link, IPC_PROPOSE, i, (rq_bytes) {0}, rq_bytes_of(payload, size)), RQ_OK);
        TURN_UNTIL(w, w->server.frames == 3);
        assert_true(w->server.payload_bytes == 3 * size);
        free(payload);
}

static void test_a_peer_that_does_not_read_fills_a_bounded_queue(void **state) {
        world *w = *state;
        size_t size = 8 * 1024 * 1024;
        uint8_t *payload = calloc(1, size);
        assert_non_null(payload);
        rq_err r = RQ_OK;
        for (int i = 0; i < 100 && r == RQ_OK; i++)
                r = ipc_link_send(w->client.link, IPC_PROPOSE, 0, (rq_bytes) {0}, rq_bytes_of(payload, size));
        assert_int_equal(r, RQ_EFULL);
        assert_true(ipc_link_queued_bytes(w->client.link) <= 128 * 1024 * 1024);
        free(payload);
}

static void test_a_message_of_the_wrong_service_closes_the_link(void **state) {
        world *w = *state;
        assert_int_equal(ipc_link_send(w->client.link, IPC_APPLIED, 0, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK);
        TURN_UNTIL(w, w->server.downs == 1);
        assert_int_equal(w->server.frames, 0);
        TURN_UNTIL(w, w->client.ups == 2); /* and the connector comes back */
}

static void test_a_body_above_the_rule_closes_the_link(void **state) {
        world *w = *state;
        uint8_t body[129] = {0};
        assert_int_equal(ipc_link_send(w->client.link, IPC_PROPOSE, 0, rq_bytes_of(body, sizeof body), (rq_bytes) {0}), RQ_OK);
        TURN_UNTIL(w, w->server.downs == 1);
        assert_int_equal(w->server.frames, 0);
}

/* Of a newer build: neither known here. The second is large, and comes in pieces. */
static void test_an_unknown_type_is_skipped(void **state) {
        world *w = *state;
        size_t size = IPC_PAYLOAD_BYTES_MAX;
        uint8_t *payload = calloc(1, size);
        assert_non_null(payload);
        for (int i = 0; i < 10; i++)
                assert_int_equal(ipc_link_send(w->client.link, (ipc_type) 36, 7, rq_bytes_of("abc", 3), (rq_bytes) {0}), RQ_OK);
        assert_int_equal(ipc_link_send(w->client.link, (ipc_type) 999, 7, rq_bytes_of("abc", 3), rq_bytes_of(payload, size)), RQ_OK);
        assert_int_equal(ipc_link_send(w->client.link, IPC_PROPOSE, 0, (rq_bytes) {0}, rq_bytes_of("", 1)), RQ_OK);
        TURN_UNTIL(w, w->server.frames == 1);
        assert_int_equal(ipc_link_skipped_count(w->server.link), 11);
        assert_int_equal(w->server.downs, 0);
        free(payload);
}

static void test_a_known_type_nobody_handles_here_closes_the_link(void **state) {
        world *w = *state;
        assert_int_equal(ipc_link_send(w->client.link, IPC_RESULT, 0, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK);
        TURN_UNTIL(w, w->server.downs == 1);
        TURN_UNTIL(w, w->client.ups == 2);
        assert_int_equal(ipc_link_send(w->client.link, IPC_HELLO, 0, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK); /* a second one */
        TURN_UNTIL(w, w->server.downs == 2);
}

/* What a HELLO of so many bytes makes of a link; closed: whether it was refused. */
static int stranger_says_hello(world *w, size_t size) {
        uint8_t bytes[IPC_HEADER_BYTES + 300] = {0};
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", w->dir, IPC_SOCKET_CONSENSUS);
        assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
        ipc_header_encode(bytes, &(ipc_header) { .type = IPC_HELLO, .body_bytes = (uint32_t) size });
        memset(bytes + IPC_HEADER_BYTES, 0x11, size);
        bytes[IPC_HEADER_BYTES] = IPC_STORE;
        assert_int_equal(write(fd, bytes, IPC_HEADER_BYTES + size), IPC_HEADER_BYTES + size);
        turn(w, 20);
        return fd;
}

static void test_hello_of_other_builds(void **state) {
        world *w = *state;
        assert_int_equal(ipc_link_protocol_minor(w->server.link), IPC_PROTOCOL_MINOR);
        assert_int_equal(ipc_link_feature_level(w->server.link), IPC_FEATURE_LEVEL);
        static const struct { size_t size; bool good; uint16_t minor; uint32_t features; } cases[] = {
                { 16, false, 0, 0 }, { 17, true, 0, 0 }, { 18, true, 0, 0 }, { 19, true, 0x1111, 0 }, { 22, true, 0x1111, 0 },
                { 23, true, 0x1111, 0x11111111 }, { 256, true, 0x1111, 0x11111111 }, { 257, false, 0, 0 },
        };
        ipc_link *client = w->server.link;
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                uint32_t ups = w->server.ups, downs = w->server.downs;
                w->server.link = NULL;
                int fd = stranger_says_hello(w, cases[i].size);
                assert_int_equal(w->server.ups, ups + cases[i].good);
                if (cases[i].good) {
                        assert_int_equal(ipc_link_role(w->server.link), IPC_STORE);
                        assert_int_equal(ipc_link_protocol_minor(w->server.link), cases[i].minor);
                        assert_int_equal(ipc_link_feature_level(w->server.link), cases[i].features);
                }
                (void) close(fd);
                TURN_UNTIL(w, w->server.downs == downs + cases[i].good);
        }
        w->server.link = client;
}

static void test_the_connector_finds_a_restarted_listener(void **state) {
        world *w = *state;
        w->listener = ipc_listener_free(w->listener);
        TURN_UNTIL(w, w->client.downs == 1);
        assert_null(ipc_connector_link(w->connector));
        turn(w, 50);
        open_server(w);
        TURN_UNTIL(w, w->client.ups == 2);
        assert_true(rq_uuid_equal(ipc_link_incarnation(w->client.link), &w->server.self.incarnation));
}

/* Strangers: random bytes, cut frames, headers that claim much. Nothing but
 * their own connection may suffer, and no memory be taken for what isn't there. */
static void test_strangers_cost_nothing(void **state) {
        world *w = *state;
        rq_rng rng = rq_rng_seeded(3);
        for (int round = 0; round < 300; round++) {
                int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                struct sockaddr_un address = { .sun_family = AF_UNIX };
                (void) snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", w->dir, IPC_SOCKET_CONSENSUS);
                assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);

                uint8_t bytes[256];
                for (size_t i = 0; i < sizeof bytes; i++)
                        bytes[i] = (uint8_t) rq_rng_next(&rng);
                ipc_header header = { .type = IPC_HELLO, .body_bytes = 17 };
                if (round % 3 == 1)       /* a frame before HELLO */
                        header = (ipc_header) { .type = IPC_PROPOSE, .body_bytes = 10 };
                else if (round % 3 == 2)  /* claims the most */
                        header = (ipc_header) { .type = IPC_PROPOSE, .body_bytes = IPC_BODY_BYTES_MAX, .payload_bytes = IPC_PAYLOAD_BYTES_MAX };
                if (round % 2 == 0)
                        ipc_header_encode(bytes, &header);
                if (round % 5 == 0)
                        bytes[IPC_HEADER_BYTES] = 99; /* no such role */
                assert_true(write(fd, bytes, 1 + rq_rng_below(&rng, sizeof bytes)) > 0);
                turn(w, 1);
                (void) close(fd);
                turn(w, 1);
        }
        assert_int_equal(ipc_link_send(w->client.link, IPC_PROPOSE, w->server.next_id, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK);
        uint32_t before = w->server.frames;
        TURN_UNTIL(w, w->server.frames == before + 1);
}

static void test_header_limits(void **state) {
        (void) state;
        uint8_t bytes[IPC_HEADER_BYTES];
        ipc_header header = { .type = 7, .body_bytes = 1, .payload_bytes = 2, .request_id = UINT64_MAX }, back;
        ipc_header_encode(bytes, &header);
        assert_int_equal(ipc_header_decode(bytes, &back), RQ_OK);
        assert_true(back.request_id == UINT64_MAX && back.type == 7 && back.body_bytes == 1 && back.payload_bytes == 2);
        bytes[4] = 99;
        assert_int_equal(ipc_header_decode(bytes, &back), RQ_EVERSION);
        bytes[0] ^= 1;
        assert_int_equal(ipc_header_decode(bytes, &back), RQ_EPROTO);
        header.payload_bytes = IPC_PAYLOAD_BYTES_MAX + 1;
        ipc_header_encode(bytes, &header);
        assert_int_equal(ipc_header_decode(bytes, &back), RQ_ETOOBIG);
}

int main(void) {
        rq_log_open("test_ipc", RQ_LOG_PLAIN, LOG_CRIT);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_hello_names_role_and_incarnation, setup, teardown),
                cmocka_unit_test_setup_teardown(test_socket_is_for_owner_and_group, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_frames_arrive_in_order_in_few_turns, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_large_payload_arrives_whole, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_peer_that_does_not_read_fills_a_bounded_queue, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_message_of_the_wrong_service_closes_the_link, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_body_above_the_rule_closes_the_link, setup, teardown),
                cmocka_unit_test_setup_teardown(test_an_unknown_type_is_skipped, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_known_type_nobody_handles_here_closes_the_link, setup, teardown),
                cmocka_unit_test_setup_teardown(test_hello_of_other_builds, setup, teardown),
                cmocka_unit_test_setup_teardown(test_the_connector_finds_a_restarted_listener, setup, teardown),
                cmocka_unit_test_setup_teardown(test_strangers_cost_nothing, setup, teardown),
                cmocka_unit_test(test_header_limits),
        };
        return cmocka_run_group_tests_name("ipc", tests, NULL, NULL);
}
