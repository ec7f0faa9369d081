/* A node of three, the only one that is there, and who comes to its port: hostile nodes that know the cluster's id, or pass
 * for a member, and members of an older build. What it writes for them, and what it remembers of them. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "client.h"
#include "fault_io.h"
#include "founding.h"
#include "peer/peer_message.h"
#include "starts.h"

static const rq_uuid n1 = { .bytes = "first disk 01234" }, n2 = { .bytes = "other disk 01234" }, n3 = { .bytes = "third disk 01234" },
                     database = { .bytes = "the database 123" };
#define NOWHERE "127.0.0.1:1"
enum { ADDRESS_BYTES = 32 };
static char dir[64], address[ADDRESS_BYTES], n2_address[ADDRESS_BYTES];
static fault_io *faults; /* shared with the service's process */
static int dir_fd, port_fd, n2_fd; /* n2_fd: where the service looks for n2, if that listens */
static uint16_t port, n2_port;

static member one(const rq_uuid *disk_uuid, const char *name, const char *at) {
        member m = { .disk_uuid = *disk_uuid, .voter = true };
        (void) strcpy(m.node_id, name);
        (void) strcpy(m.raft_addr, at);
        return m;
}

static membership three(void) {
        return (membership) { .count = 3, .members = { one(&n1, "n1", NOWHERE), one(&n2, "n2", n2_address), one(&n3, "n3", NOWHERE) } };
}

/* Bound and not listening, it is nobody else's: the service may listen there all the same. */
static int reserve_port(uint16_t *ret_port, char *ret_address) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof at;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int)), 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &at, sizeof at), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *) &at, &size), 0);
        *ret_port = ntohs(at.sin_port);
        (void) snprintf(ret_address, ADDRESS_BYTES, "127.0.0.1:%u", *ret_port);
        return fd;
}

static int set_up(void **state) {
        rq_buf record = {0};
        (void) state;
        (void) strcpy(dir, "/tmp/rq-test-strangers-XXXXXX");
        (void) temporary_dir(dir);
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        fault_io_init(faults);
        port_fd = reserve_port(&port, address);
        n2_fd = reserve_port(&n2_port, n2_address);
        const membership members = three();
        const identity self = { .disk_uuid = n1, .node_id = "n1" };
        assert_int_equal(founding_encode(&members, &database, 5, &record), RQ_OK);
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_OK);
        assert_int_equal(founding_adopt(log_io_kernel(), dir_fd, dir, &self, rq_buf_bytes(&record)), RQ_OK);
        rq_buf_done(&record);
        return 0;
}

static int tear_down(void **state) {
        (void) state;
        (void) close(port_fd);
        (void) close(n2_fd);
        (void) close(dir_fd);
        (void) munmap(faults, sizeof *faults);
        remove_dir(dir);
        return 0;
}

/* --- the other side --------------------------------------------------------- */

static int call(void) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct timeval patience = { .tv_sec = 30 };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *) &to, sizeof to) == 0)
                return fd;
        (void) close(fd);
        return -1;
}

static pid_t start(void) {
        pid_t pid = service_start_at(dir, &faults->io, getenv("RQ_TEST_VERBOSE") != NULL ? LOG_DEBUG : LOG_CRIT, address, 0);
        const uint64_t end_us = rq_clock_mono_us() + 30000000;
        int fd;
        while ((fd = call()) < 0 && rq_clock_mono_us() < end_us)
                (void) usleep(5000);
        assert_true(fd >= 0);
        (void) close(fd);
        return pid;
}

static void put_frame(rq_buf *out, uint16_t type, rq_bytes body, rq_bytes payload) {
        uint8_t head[PEER_HEADER_BYTES];
        peer_header header = { .type = type, .payload_bytes = (uint32_t) payload.size };
        peer_header_encode(head, &header, body);
        assert_int_equal(rq_buf_append(out, head, sizeof head), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, body), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(out, payload), RQ_OK);
}

/* A node's nth start. */
static peer_hello hello_of(const rq_uuid *disk_uuid, uint64_t number) {
        peer_hello hello = {
                .cluster_id = database, .disk_uuid = *disk_uuid, .node_id = "x", .raft_addr = "127.0.0.1:1", .protocol_minor = PEER_PROTOCOL_MINOR,
                .feature_level = PEER_FEATURE_LEVEL, .configuration = 1000, .start = { .number = number, .nonce = 7 * number },
        };
        for (uint64_t i = 0; i < PEER_START_EARLIER && i + 1 < number; i++)
                hello.start.earlier[i] = (uint32_t) (7 * (number - 1 - i));
        return hello;
}

static void put_hello(rq_buf *out, const peer_hello *hello) {
        rq_buf body = {0};
        assert_int_equal(peer_hello_encode(hello, &body), RQ_OK);
        put_frame(out, PEER_HELLO, rq_buf_bytes(&body), (rq_bytes) {0});
        rq_buf_done(&body);
}

static void put_ping(rq_buf *out, const rq_uuid *disk_uuid) {
        uint8_t body[PEER_PING_BYTES];
        peer_ping_encode(&(peer_ping) { .from = membership_raft_id(disk_uuid), .to = membership_raft_id(&n1), .number = 5 }, body);
        put_frame(out, PEER_PING, rq_bytes_of(body, sizeof body), (rq_bytes) {0});
}

static bool receive(int fd, void *data, size_t size) { return size == 0 || recv(fd, data, size, MSG_WAITALL) == (ssize_t) size; }

/* Type of the first frame behind HELLO; 0: it has hung up. */
static uint16_t answer_to(int fd, rq_bytes said) {
        uint8_t head[PEER_HEADER_BYTES], rest[PEER_HELLO_BYTES_MAX];
        peer_header header;
        if (send(fd, said.data, said.size, MSG_NOSIGNAL) != (ssize_t) said.size)
                return 0;
        while (receive(fd, head, sizeof head)) {
                assert_int_equal(peer_header_decode(head, &header), RQ_OK);
                assert_true(header.body_bytes + header.payload_bytes <= sizeof rest);
                if (!receive(fd, rest, header.body_bytes + header.payload_bytes))
                        return 0;
                if (header.type != PEER_HELLO)
                        return header.type;
        }
        return 0;
}

/* PEER_PONG: it is let in. The connection stays if ret_fd isn't NULL. */
static uint16_t come(const peer_hello *hello, int *ret_fd) {
        rq_buf out = {0};
        int fd = call();
        assert_true(fd >= 0);
        put_hello(&out, hello);
        put_ping(&out, &hello->disk_uuid);
        const uint16_t type = answer_to(fd, rq_buf_bytes(&out));
        rq_buf_done(&out);
        if (ret_fd != NULL)
                *ret_fd = fd;
        else
                (void) close(fd);
        return type;
}

static starts_file on_disk(void) {
        starts_file file;
        assert_int_equal(starts_file_load(log_io_kernel(), dir_fd, &file), RQ_OK);
        return file;
}

static struct stat stat_of_starts(void) {
        struct stat st;
        assert_int_equal(fstatat(dir_fd, STARTS_NAME, &st, 0), 0);
        return st;
}

/* --- tests ------------------------------------------------------------------ */

/* Without a leader who knows this cluster's id and says that it knows more is listened to. */
static void test_strangers_cost_no_fsync(void **state) {
        (void) state;
        pid_t pid = start();
        peer_hello hello = hello_of(&n2, 3);
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        const struct stat written = stat_of_starts();
        const starts_file before = on_disk();
        assert_true(before.seen_count == 1 && rq_uuid_equal(&before.seen[0].disk_uuid, &n2) && before.seen[0].mark.number == 3);
        uint32_t let_in = 0;
        for (uint32_t i = 0; i < 300; i++) {
                rq_uuid fresh = { .bytes = "0123a fresh disk" };
                memcpy(fresh.bytes, &i, sizeof i);
                hello = hello_of(&fresh, 1);
                let_in += come(&hello, NULL) == PEER_PONG;
                for (uint64_t number = 2; i == 0 && number < 30; number++) { /* and one again and again */
                        hello = hello_of(&fresh, number);
                        assert_int_equal(come(&hello, NULL), PEER_PONG);
                }
        }
        assert_in_range(let_in, 1, MEMBERSHIP_COUNT_MAX + 4);
        const starts_file after = on_disk();
        assert_memory_equal(&after, &before, sizeof after);
        const struct stat now = stat_of_starts(); /* replaced as a whole, it would be another one */
        assert_true(now.st_ino == written.st_ino && memcmp(&now.st_mtim, &written.st_mtim, sizeof now.st_mtim) == 0);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* An old copy of one that isn't known as a member is found by what it said before. */
static void test_a_strangers_old_copy_is_told(void **state) {
        const rq_uuid fresh = { .bytes = "0123a fresh disk" };
        (void) state;
        pid_t pid = start();
        peer_hello hello = hello_of(&fresh, 3);
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        hello = hello_of(&fresh, 2);
        assert_int_equal(come(&hello, NULL), PEER_OLD_COPY);
        hello = hello_of(&fresh, 4);
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* Who passes for a member has its starts written, as often as a member may. */
static void test_a_member_that_starts_all_the_time_waits(void **state) {
        (void) state;
        pid_t pid = start();
        const uint64_t begin_us = rq_clock_mono_us();
        uint64_t number = 0, let_in = 0;
        do {
                peer_hello hello = hello_of(&n2, ++number);
                const uint16_t type = come(&hello, NULL);
                assert_true(type == PEER_PONG || type == 0);
                let_in += type == PEER_PONG;
                number -= type == 0; /* the same again */
        } while (rq_clock_mono_us() - begin_us < 2500000);
        const uint64_t passed_s = (rq_clock_mono_us() - begin_us) / STARTS_NOTE_INTERVAL_US + 1;
        assert_in_range(let_in, STARTS_NOTES_AT_ONCE + 1, STARTS_NOTES_AT_ONCE + passed_s);
        peer_hello hello = hello_of(&n3, 1); /* another one doesn't wait for it */
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        assert_int_equal(on_disk().seen_count, 2);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* A follower hears of a member by the log that it listened to before: what it said then counts from now on. */
static void test_who_becomes_a_member_is_written_down(void **state) {
        const rq_uuid fresh = { .bytes = "0123a fresh disk" };
        rq_buf out = {0}, encoded = {0}, record = {0};
        int stranger, leader;
        (void) state;
        pid_t pid = start();
        peer_hello hello = hello_of(&fresh, 6);
        hello.feature_level = 1;
        (void) strcpy(hello.node_id, "n4");
        assert_int_equal(come(&hello, &stranger), PEER_PONG);
        assert_int_equal(on_disk().seen_count, 0);
        hello = hello_of(&n2, 2);
        assert_int_equal(come(&hello, &leader), PEER_PONG);
        (void) close(leader);
        /* n2 leads, and appends that the stranger is a learner. */
        membership four = three();
        four.members[four.count++] = one(&fresh, "n4", NOWHERE);
        four.members[3].voter = false;
        assert_int_equal(membership_encode(&four, &encoded), RQ_OK);
        assert_int_equal(rq_buf_reserve(&record, RECORD_HEADER_BYTES + encoded.size), RQ_OK);
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = 1, .index = 2, .term = 9, .clock_us = 6, .database_id = database,
        };
        record_header_encode(record.data, &header, rq_buf_bytes(&encoded));
        memcpy(record.data + RECORD_HEADER_BYTES, encoded.data, encoded.size);
        record.size = RECORD_HEADER_BYTES + encoded.size;
        uint8_t body[PEER_RAFT_BYTES_MAX];
        const raft_message append = {
                .type = RAFT_MSG_APPEND, .from = membership_raft_id(&n2), .to = membership_raft_id(&n1), .term = 9,
                .append = { .previous_index = 1, .previous_term = FOUNDING_TERM, .count = 1, .commit = 1 },
        };
        const size_t size = peer_raft_encode(&append, body);
        hello.class = PEER_BULK;
        put_hello(&out, &hello);
        put_frame(&out, peer_raft_type(RAFT_MSG_APPEND), rq_bytes_of(body, size), rq_buf_bytes(&record));
        put_ping(&out, &n2);
        leader = call();
        assert_int_equal(answer_to(leader, rq_buf_bytes(&out)), PEER_PONG);
        starts_file file;
        const uint64_t end_us = rq_clock_mono_us() + 30000000;
        while ((file = on_disk()).seen_count < 2 && rq_clock_mono_us() < end_us)
                (void) usleep(5000);
        const starts_seen *seen = starts_find(&file, &fresh);
        assert_true(seen != NULL && seen->mark.number == 6 && seen->mark.nonce == 42 && seen->level == 1);
        assert_int_equal(starts_find(&file, &n2)->level, PEER_FEATURE_LEVEL);
        (void) close(leader);
        (void) close(stranger);
        rq_buf_done(&out);
        rq_buf_done(&encoded);
        rq_buf_done(&record);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void expect_level(client *c, const char *words) {
        const uint64_t end_us = rq_clock_mono_us() + 30000000;
        while (ipc_connector_link(c->gateway) == NULL && rq_clock_mono_us() < end_us)
                client_turn(c, 5);
        do
                client_get_status(c);
        while (strstr((char *) c->status.data, words) == NULL && rq_clock_mono_us() < end_us);
        assert_non_null(strstr((char *) c->status.data, words));
}

/* One that is away counts by what it said last, also after this node's restart; one that was never met counts as new. */
static void test_the_level_of_a_member_outlives_a_restart(void **state) {
        (void) state;
        pid_t pid = start();
        client *c = client_new(dir, false);
        expect_level(c, "\"feature_level\":2");
        peer_hello hello = hello_of(&n2, 0); /* a build so old doesn't count its starts */
        hello.feature_level = 1;
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        expect_level(c, "\"feature_level\":1");
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGKILL), 128 + SIGKILL);
        pid = start();
        c = client_new(dir, false);
        expect_level(c, "\"feature_level\":1");
        /* What it doesn't know is refused at once. */
        client_propose_kind(c, RECORD_LOAD_CHUNK, 1, 100, 60000000);
        assert_true(client_wait(c, &c->requests[1].failed));
        assert_int_equal(c->requests[1].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(c->requests[1].reason, RQ__REQUEST_FAILED__REASON__OTHER);
        assert_non_null(strstr(c->failed_text, "node \"n2\""));
        /* It comes back with this version. */
        hello = hello_of(&n2, 1);
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        expect_level(c, "\"feature_level\":2");
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* What is told of this node's own folder stays known, also when the disk is full for a while. */
static void test_an_old_copy_stays_one_on_a_full_disk(void **state) {
        rq_buf out = {0};
        uint8_t body[PEER_OLD_COPY_BYTES], byte;
        starts_file file = {0};
        (void) state;
        starts_begin(&file, &n1, 77);
        file.is_old_copy = true; /* as it was told when there was no leader */
        assert_int_equal(starts_file_store(log_io_kernel(), dir_fd, &file), RQ_OK);
        pid_t pid = start();
        assert_int_equal(listen(n2_fd, 8), 0);
        peer_hello hello = hello_of(&n2, 1);
        (void) strcpy(hello.raft_addr, n2_address);
        put_hello(&out, &hello);
        peer_old_copy_encode(&(peer_old_copy) { .number = UINT64_MAX, .led = true }, body);
        put_frame(&out, PEER_OLD_COPY, rq_bytes_of(body, sizeof body), (rq_bytes) {0});
        assert_int_equal(come(&hello, NULL), PEER_PONG); /* it is written down before the disk is full */
        atomic_store(&faults->writes_full, true);
        int fd = accept(n2_fd, NULL, NULL);
        (void) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval) { .tv_sec = 30 }, sizeof(struct timeval));
        assert_int_equal(send(fd, out.data, out.size, MSG_NOSIGNAL), out.size);
        while (recv(fd, &byte, 1, 0) == 1)
                ; /* until it hangs up */
        atomic_store(&faults->writes_full, false);
        (void) close(fd);
        hello = hello_of(&n3, 1);
        assert_int_equal(come(&hello, NULL), PEER_PONG);
        file = on_disk();
        assert_non_null(starts_find(&file, &n3));
        assert_true(file.is_old_copy);
        rq_buf_done(&out);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_strangers_cost_no_fsync, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_strangers_old_copy_is_told, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_member_that_starts_all_the_time_waits, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_who_becomes_a_member_is_written_down, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_an_old_copy_stays_one_on_a_full_disk, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_the_level_of_a_member_outlives_a_restart, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
