/* The service as a process, between a gateway and a store: what proto/README.md
 * promises, also when one of them is killed, the disk is full or fails. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "client.h"
#include "fault_io.h"

static char dir[64];
static fault_io *faults; /* shared with the service's process */

static int set_up(void **state) {
        (void) state;
        (void) strcpy(dir, "/tmp/rq-test-service-XXXXXX");
        (void) temporary_dir(dir);
        faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        fault_io_init(faults);
        return 0;
}

static int tear_down(void **state) {
        (void) state;
        (void) munmap(faults, sizeof *faults);
        remove_dir(dir);
        return 0;
}

/* Quiet: these tests provoke what is logged as an error. */
static pid_t start(void) { return service_start(dir, &faults->io, getenv("RQ_TEST_VERBOSE") != NULL ? LOG_DEBUG : LOG_CRIT); }

static client *connect_client(void) {
        client *c = client_new(dir, true);
        assert_true(client_wait(c, &c->ready));
        return c;
}

static bool wait_failed(client *c, uint64_t id) { return client_wait(c, &c->requests[id].failed); }

static void test_write_and_read(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        assert_true(client_wait_number(c, &c->applied, 1));
        assert_int_equal(c->noops, 1);
        for (uint64_t id = 1; id <= 100; id++)
                client_propose(c, id, 8 + id * 50, 5000000);
        assert_true(client_wait_number(c, &c->applied, 101));
        for (uint64_t id = 1; id <= 100; id++)
                assert_int_equal(c->requests[id].committed_index, id + 1);

        client_read(c, 200, RQ__READ_LEVEL__LEVEL_WEAK);
        client_read(c, 201, RQ__READ_LEVEL__LEVEL_LINEARIZABLE);
        client_read(c, 202, RQ__READ_LEVEL__LEVEL_STRONG);
        client_read(c, 203, RQ__READ_LEVEL__LEVEL_STRONG);
        client_read(c, 204, RQ__READ_LEVEL__LEVEL_NONE);
        assert_true(client_wait_number(c, &c->requests[203].read_index, 1));
        assert_int_equal(c->requests[200].read_index, 101);
        assert_int_equal(c->requests[201].read_index, 101);
        assert_int_equal(c->requests[202].read_index, 102);
        assert_int_equal(c->requests[203].read_index, 102); /* one entry for both */
        assert_int_equal(c->barriers, 1);
        assert_true(wait_failed(c, 204));
        assert_int_equal(c->requests[204].reason, RQ__REQUEST_FAILED__REASON__INVALID);

        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"state\":\"Leader\""));
        assert_non_null(strstr((char *) c->status.data, "\"commit_index\":102"));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_too_large_is_refused(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        client_propose(c, 1, RECORD_BODY_BYTES_MAX + 1, 0);
        assert_true(wait_failed(c, 1));
        assert_int_equal(c->requests[1].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(c->requests[1].reason, RQ__REQUEST_FAILED__REASON__INVALID);
        client_propose(c, 2, RECORD_BODY_BYTES_MAX, 0);
        assert_true(client_wait_number(c, &c->requests[2].committed_index, 2));
        client_propose(c, 3, 100, 0);
        assert_true(client_wait_number(c, &c->requests[3].committed_index, 3));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGKILL), 128 + SIGKILL);
        /* It reads back, too. */
        pid = start();
        c = connect_client();
        assert_true(client_wait_number(c, &c->applied, 4));
        assert_int_equal(c->requests[2].committed_index, 2);
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_nothing_confirmed_is_lost_by_kills(void **state) {
        client *c = NULL;
        uint64_t id = 0, confirmed = 0;
        (void) state;
        for (int round = 0; round < 8; round++) {
                pid_t pid = start();
                if (c == NULL)
                        c = connect_client();
                assert_true(client_wait(c, &c->ready));
                uint64_t target = c->applied + 300;
                for (int i = 0; i < 400; i++)
                        client_propose(c, ++id, 100, 0);
                assert_true(client_wait_number(c, &c->applied, target)); /* the stream checks that nothing changes */
                assert_int_equal(service_kill(pid, SIGKILL), 128 + SIGKILL);
                assert_true(c->applied >= confirmed);
                confirmed = c->applied;
                client_turn(c, 20);
        }
        /* A fresh store gets all of it again. */
        pid_t pid = start();
        client *fresh = NULL;
        c = client_free(c);
        fresh = connect_client();
        assert_true(client_wait_number(fresh, &fresh->applied, confirmed));
        assert_int_equal(fresh->noops, 9);
        fresh = client_free(fresh);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_a_store_that_returns_gets_what_it_lacks(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        assert_true(client_wait_number(c, &c->applied, 1));
        c->mute = true; /* applies, and dies before it has said so */
        for (uint64_t id = 1; id <= 10; id++)
                client_propose(c, id, 100, 0);
        assert_true(client_wait_number(c, &c->applied, 11));
        client_store_restart(c);
        c->mute = false;
        for (uint64_t id = 1; id <= 10; id++) {
                assert_true(wait_failed(c, id));
                assert_int_equal(c->requests[id].outcome, RQ__REQUEST_FAILED__OUTCOME__COMMITTED);
                assert_int_equal(c->requests[id].failed_index, id + 1);
        }
        client_read(c, 50, RQ__READ_LEVEL__LEVEL_WEAK);
        assert_true(client_wait_number(c, &c->requests[50].read_index, 11));

        /* Reads wait for a store that is away. */
        c->store = ipc_listener_free(c->store);
        client_turn(c, 30);
        client_read(c, 51, RQ__READ_LEVEL__LEVEL_LINEARIZABLE);
        client_propose(c, 52, 100, 0);
        client_turn(c, 30);
        assert_int_equal(c->requests[51].read_index, 0);
        client_store_restart(c);
        assert_true(client_wait_number(c, &c->requests[51].read_index, 11));
        assert_true(client_wait_number(c, &c->requests[52].committed_index, 12));

        /* One that doesn't fit gets nothing, and it is said. */
        c->fetch_by_hand = true;
        client_store_restart(c);
        client_turn(c, 600);
        client_fetch(c, 5000, 1);
        client_turn(c, 30);
        assert_false(c->stream_open);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "does not fit"));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_the_window_bounds_what_is_unacknowledged(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        c->mute = true;
        for (uint64_t id = 1; id <= 60; id++)
                client_propose(c, id, 1024 * 1024 - 200, 0);
        assert_true(client_wait_number(c, &c->unacknowledged_bytes_max, 14 * 1024 * 1024));
        client_turn(c, 300);
        assert_true(c->applied < 60);
        assert_true(c->unacknowledged_bytes_max <= 16 * 1024 * 1024);
        c->mute = false;
        client_applied(c);
        assert_true(client_wait_number(c, &c->applied, 61)); /* also what has left the memory meanwhile */
        assert_true(c->unacknowledged_bytes_max <= 16 * 1024 * 1024);
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_a_full_disk_refuses_and_recovers(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        client_turn(c, 300); /* the spare is made */
        faults->full = true;
        c->checkpoints = false;
        uint64_t id = 1, taken = 0;
        for (; id < 2000; id++) {
                client_propose(c, id, 60000, 0);
                while (!c->requests[id].failed && c->requests[id].committed_index == 0)
                        (void) event_base_loop(rq_loop_base(c->loop), EVLOOP_ONCE);
                if (c->requests[id].failed)
                        break;
                taken++;
        }
        assert_true(taken > 200 && id < 2000);
        assert_int_equal(c->requests[id].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(c->requests[id].reason, RQ__REQUEST_FAILED__REASON__DISK_FULL);
        client_read(c, 9000, RQ__READ_LEVEL__LEVEL_LINEARIZABLE); /* reads go on */
        assert_true(client_wait_number(c, &c->requests[9000].read_index, 1));
        client_propose(c, 9001, 60000000, 0);
        assert_true(wait_failed(c, 9001));
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"disk_full\":true"));

        faults->full = false;
        client_turn(c, 800);
        client_propose(c, 9002, 60000, 0);
        assert_true(client_wait_number(c, &c->requests[9002].committed_index, 1));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_a_failed_fsync_is_never_repeated(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        client_propose(c, 1, 100, 0);
        assert_true(client_wait_number(c, &c->requests[1].committed_index, 1));
        client_turn(c, 300);
        faults->fail_syncs = true;
        faults->countdown = 0;
        client_propose(c, 2, 100, 0);
        assert_true(wait_failed(c, 2));
        assert_int_equal(c->requests[2].outcome, RQ__REQUEST_FAILED__OUTCOME__UNKNOWN);
        client_propose(c, 3, 100, 0);
        assert_true(wait_failed(c, 3));
        assert_int_equal(c->requests[3].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_false(c->ready);
        assert_int_equal(c->requests[2].committed_index, 0);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"failed\":true"));
        assert_non_null(strstr((char *) c->status.data, "\"state\":\"Follower\""));
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        pid = start();
        assert_true(client_wait(c, &c->ready));
        client_propose(c, 4, 100, 0);
        assert_true(client_wait_number(c, &c->requests[4].committed_index, 1));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_deadlines_and_a_busy_disk(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        client_turn(c, 300);
        faults->full = faults->writes_full = true; /* the writer stalls with what it was given */
        client_propose(c, 1, 100, 100000);
        assert_true(wait_failed(c, 1));
        assert_int_equal(c->requests[1].outcome, RQ__REQUEST_FAILED__OUTCOME__UNKNOWN);
        assert_int_equal(c->requests[1].reason, RQ__REQUEST_FAILED__REASON__TIMEOUT);
        client_propose(c, 2, 100, 100000);
        assert_true(wait_failed(c, 2));
        assert_int_equal(c->requests[2].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(c->requests[2].reason, RQ__REQUEST_FAILED__REASON__DISK_FULL);
        faults->full = faults->writes_full = false;
        assert_true(client_wait_number(c, &c->requests[1].committed_index, 1)); /* it did happen */
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_too_many_are_refused(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        client_turn(c, 300);
        c->mute = true; /* the store applies nothing that it says: proposals stay with us */
        uint64_t count = 20050;
        for (uint64_t id = 1; id <= count; id++)
                client_propose(c, id, 16, 0);
        assert_true(wait_failed(c, count));
        assert_int_equal(c->requests[count].outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(c->requests[count].reason, RQ__REQUEST_FAILED__REASON__OVERLOADED);
        assert_false(c->requests[19000].failed);
        c->mute = false;
        client_applied(c);
        assert_true(client_wait_number(c, &c->applied, 20001));
        client_turn(c, 20);
        client_propose(c, 30000, 16, 0);
        assert_true(client_wait_number(c, &c->requests[30000].committed_index, 1));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void test_old_segments_go_below_the_checkpoint(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        c->checkpoints = true;
        for (uint64_t id = 1; id <= 150; id++) {
                client_propose(c, id, 1000000, 0);
                assert_true(client_wait_number(c, &c->requests[id].committed_index, 1));
        }
        client_turn(c, 50);
        client_get_status(c);
        assert_null(strstr((char *) c->status.data, "\"first_log_index\":1,"));
        assert_int_equal(faccessat(c->run_dir_fd, "00000000000000000001.log", F_OK, 0), -1);
        uint64_t applied = c->applied, term = c->applied_term;
        assert_int_equal(service_kill(pid, SIGKILL), 128 + SIGKILL);
        pid = start();
        assert_true(client_wait_number(c, &c->applied, applied + 1));
        assert_true(c->applied_term > term);
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void flip(const char *name, off_t offset) {
        char path[128];
        uint8_t byte;
        (void) snprintf(path, sizeof path, "%s/%s", dir, name);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0 && pread(fd, &byte, 1, offset) == 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
        (void) close(fd);
}

static void test_rot_and_lost_votes_stop_the_start(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        for (uint64_t id = 1; id <= 20; id++) {
                client_propose(c, id, 100, 0);
                assert_true(client_wait_number(c, &c->requests[id].committed_index, 1));
        }
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        flip("00000000000000000001.log", 5000);
        assert_int_equal(service_kill(start(), 0), 3);
        flip("00000000000000000001.log", 5000);
        flip("identity", 10);
        assert_int_equal(service_kill(start(), 0), 3);
        flip("identity", 10);
        flip("hardstate", 20);
        flip("hardstate", 4096 + 20);
        assert_int_equal(service_kill(start(), 0), 3);
        flip("hardstate", 20);
        flip("hardstate", 4096 + 20);
        char from[128], to[128];
        (void) snprintf(from, sizeof from, "%s/hardstate", dir);
        (void) snprintf(to, sizeof to, "%s/away", dir);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(service_kill(start(), 0), 3);
        assert_int_equal(rename(to, from), 0);
        pid = start();
        c = connect_client();
        assert_true(client_wait_number(c, &c->applied, 22));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_write_and_read, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_too_large_is_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_nothing_confirmed_is_lost_by_kills, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_store_that_returns_gets_what_it_lacks, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_the_window_bounds_what_is_unacknowledged, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_full_disk_refuses_and_recovers, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_failed_fsync_is_never_repeated, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_deadlines_and_a_busy_disk, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_too_many_are_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_old_segments_go_below_the_checkpoint, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_rot_and_lost_votes_stop_the_start, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
