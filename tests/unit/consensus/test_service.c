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

#include "base/checksum.h"
#include "base/clock.h"
#include "client.h"
#include "fault_io.h"
#include "core/membership.h"
#include "io/hardstate.h"
#include "io/identity.h"
#include "io/log_place.h"
#include "io/log_recover.h"

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
        assert_true(client_wait_number(c, &c->applied, 2));
        assert_int_equal(c->noops, 1);
        for (uint64_t id = 1; id <= 100; id++)
                client_propose(c, id, 8 + id * 50, 5000000);
        assert_true(client_wait_number(c, &c->applied, 102));
        for (uint64_t id = 1; id <= 100; id++)
                assert_int_equal(c->requests[id].committed_index, id + 2);

        client_read(c, 200, RQ__READ_LEVEL__LEVEL_WEAK);
        client_read(c, 201, RQ__READ_LEVEL__LEVEL_LINEARIZABLE);
        client_read(c, 202, RQ__READ_LEVEL__LEVEL_STRONG);
        client_read(c, 203, RQ__READ_LEVEL__LEVEL_STRONG);
        client_read(c, 204, RQ__READ_LEVEL__LEVEL_NONE);
        assert_true(client_wait_number(c, &c->requests[203].read_index, 1));
        assert_int_equal(c->requests[200].read_index, 102);
        assert_int_equal(c->requests[201].read_index, 102);
        assert_int_equal(c->requests[202].read_index, 103);
        assert_int_equal(c->requests[203].read_index, 103); /* one entry for both */
        assert_int_equal(c->barriers, 1);
        assert_true(wait_failed(c, 204));
        assert_int_equal(c->requests[204].reason, RQ__REQUEST_FAILED__REASON__INVALID);

        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"state\":\"Leader\""));
        assert_non_null(strstr((char *) c->status.data, "\"commit_index\":103"));
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
        assert_true(client_wait_number(c, &c->applied, 5));
        assert_int_equal(c->requests[2].committed_index, 3);
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
        assert_true(client_wait_number(c, &c->applied, 2));
        c->mute = true; /* applies, and dies before it has said so */
        for (uint64_t id = 1; id <= 10; id++)
                client_propose(c, id, 100, 0);
        assert_true(client_wait_number(c, &c->applied, 12));
        client_store_restart(c);
        c->mute = false;
        for (uint64_t id = 1; id <= 10; id++) {
                assert_true(wait_failed(c, id));
                assert_int_equal(c->requests[id].outcome, RQ__REQUEST_FAILED__OUTCOME__COMMITTED);
                assert_int_equal(c->requests[id].failed_index, id + 2);
        }
        client_read(c, 50, RQ__READ_LEVEL__LEVEL_WEAK);
        assert_true(client_wait_number(c, &c->requests[50].read_index, 12));

        /* Reads wait for a store that is away. */
        c->store = ipc_listener_free(c->store);
        client_turn(c, 30);
        client_read(c, 51, RQ__READ_LEVEL__LEVEL_LINEARIZABLE);
        client_propose(c, 52, 100, 0);
        client_turn(c, 30);
        assert_int_equal(c->requests[51].read_index, 0);
        client_store_restart(c);
        assert_true(client_wait_number(c, &c->requests[51].read_index, 12));
        assert_true(client_wait_number(c, &c->requests[52].committed_index, 13));

        /* One that doesn't fit gets nothing, and it is said. */
        c->fetch_by_hand = true;
        client_store_restart(c);
        client_turn(c, 600);
        client_fetch(c, 5000, 1);
        client_turn(c, 30);
        assert_false(c->stream_open);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "does not fit"));
        assert_string_equal(c->misfit, "it has applied entries that the log doesn't have");
        rq_uuid own = c->database_id;
        c->database_id = (rq_uuid) { .bytes = "another cluster!" };
        client_fetch(c, c->applied + 1, c->applied_term);
        client_turn(c, 30);
        assert_string_equal(c->misfit, "it belongs to another cluster");
        assert_false(c->stream_open);
        c->database_id = own;
        client_fetch(c, c->applied + 1, c->applied_term);
        client_turn(c, 30);
        assert_string_equal(c->misfit, "");
        assert_true(c->stream_open);
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
        assert_true(client_wait_number(c, &c->applied, 62)); /* also what has left the memory meanwhile */
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
        assert_true(client_wait_number(c, &c->applied, 20002));
        client_turn(c, 20);
        client_propose(c, 30000, 16, 0);
        assert_true(client_wait_number(c, &c->requests[30000].committed_index, 1));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* What a segment's header says of the entry before it is what that entry says. */
static void check_segment_headers(void) {
        rq_buf problem = {0};
        log_recovered log = {0};
        identity self;
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        assert_int_equal(identity_load(log_io_kernel(), fd, &self), RQ_OK);
        assert_int_equal(log_recover(log_io_kernel(), fd, &self.database_id, 0, &log, &problem), RQ_OK);
        assert_true(log.catalog.segment_count > 1);
        for (size_t i = 1; i < log.catalog.segment_count; i++) {
                const segment_header *h = &log.catalog.segments[i].header;
                rq_buf records = {0};
                record_header before;
                rq_bytes body;
                uint32_t count;
                assert_int_equal(log_catalog_read(&log.catalog, h->previous_index, h->previous_index, 1, &records, &count, &problem), RQ_OK);
                assert_int_equal(record_decode(rq_buf_bytes(&records), &before, &body), RQ_OK);
                assert_true(h->clock_us == before.clock_us && h->previous_term == before.term);
                rq_buf_done(&records);
        }
        assert_int_equal(log.configurations.count, 1);
        log_recovered_done(&log);
        rq_buf_done(&problem);
        (void) close(fd);
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

        /* Its entry is gone, what it says isn't. */
        assert_true(client_wait(c, &c->ready));
        client_get_status(c);
        assert_null(strstr((char *) c->status.data, "\"first_log_index\":1,"));
        assert_non_null(strstr((char *) c->status.data, "\"latest_configuration_index\":1,"));
        assert_non_null(strstr((char *) c->status.data, "Voter ID:n1 Address:localhost:4002}]"));

        /* A store from below the base gets nothing, one from above what it lacks. */
        c->fetch_by_hand = true;
        c->store_link = NULL;
        client_store_restart(c);
        for (int i = 0; i < 500 && c->store_link == NULL; i++)
                client_turn(c, 10);
        assert_non_null(c->store_link);
        c->checkpoint = 0;
        client_fetch(c, 1, 0);
        client_turn(c, 30);
        assert_false(c->stream_open);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "it needs entries that the log doesn't have any more"));
        client_fetch(c, c->applied + 1, c->applied_term);
        assert_true(client_wait(c, &c->stream_open)); /* until then proposals are refused */
        client_propose(c, 200, 100, 0);
        assert_true(client_wait_number(c, &c->requests[200].committed_index, 1));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        check_segment_headers();
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
        (void) snprintf(from, sizeof from, "%s/00000000000000000001.log", dir);
        assert_int_equal(rename(from, to), 0);
        assert_int_equal(service_kill(start(), 0), 3);
        assert_int_equal(rename(to, from), 0);
        pid = start();
        c = connect_client();
        assert_true(client_wait_number(c, &c->applied, 23));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* The store wants what only the disk has, and the disk has something else. */
static void test_rot_under_a_running_service_stops_the_stream(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        for (uint64_t id = 1; id <= 12; id++) {
                client_propose(c, id, 1000000, 0);
                assert_true(client_wait_number(c, &c->requests[id].committed_index, 1));
        }
        uint64_t applied = c->applied;
        flip("00000000000000000003.log", 500000); /* the first one is small */
        c->applied = c->applied_term = c->clock_us = 0; /* a fresh store */
        client_store_restart(c);
        client_turn(c, 600);
        assert_true(c->applied <= 2);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"the log cannot be read\""));
        client_propose(c, 20, 100, 0); /* the log itself goes on */
        client_turn(c, 50);
        assert_false(c->requests[20].failed);

        flip("00000000000000000003.log", 500000);
        client_store_restart(c); /* asks anew: tried again */
        assert_true(client_wait_number(c, &c->applied, applied + 1));
        assert_true(c->requests[20].committed_index > 0);
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

static void put_hardstate(bool newer) {
        identity self;
        hardstate state;
        hardstate_file file;
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        assert_int_equal(identity_load(log_io_kernel(), fd, &self), RQ_OK);
        assert_int_equal(hardstate_open(log_io_kernel(), fd, &self.disk_uuid, &file, &state), RQ_OK);
        state.not_a_voter = true;
        assert_int_equal(hardstate_write(&file, &state), RQ_OK);
        if (newer) {
                uint8_t slot[HARDSTATE_RECORD_BYTES];
                off_t at = (off_t) (file.generation & 1) * HARDSTATE_SLOT_BYTES;
                assert_int_equal(pread(file.fd, slot, sizeof slot, at), sizeof slot);
                rq_put_u16(slot + 4, HARDSTATE_VERSION + 1);
                rq_put_u32(slot + 40, rq_crc32c(rq_crc32c(0, self.disk_uuid.bytes, RQ_UUID_BYTES), slot, 40));
                assert_int_equal(pwrite(file.fd, slot, sizeof slot, at), sizeof slot);
        }
        hardstate_close(&file);
        (void) close(fd);
}

static void test_not_a_voter_and_a_newer_hardstate(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        assert_true(client_wait_number(c, &c->applied, 2));
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        put_hardstate(false);
        for (uint64_t round = 1; round <= 2; round++) { /* and it stays so */
                for (int i = 0; i < 500 && ipc_connector_link(c->gateway) != NULL; i++)
                        client_turn(c, 10); /* the old one is gone */
                pid = start();
                for (int i = 0; i < 500 && ipc_connector_link(c->gateway) == NULL; i++)
                        client_turn(c, 10);
                assert_non_null(ipc_connector_link(c->gateway));
                client_turn(c, 200);
                assert_false(c->ready);
                client_propose(c, round, 100, 0);
                assert_true(wait_failed(c, round));
                client_get_status(c);
                assert_non_null(strstr((char *) c->status.data, "\"voter\":false"));
                assert_non_null(strstr((char *) c->status.data, "\"state\":\"Learner\",\"term\":2"));
                assert_int_equal(service_kill(pid, SIGTERM), 0);
        }
        put_hardstate(true);
        assert_int_equal(service_kill(start(), 0), 4);
        c = client_free(c);
}

static void test_a_folder_that_joined_nothing_is_refused(void **state) {
        identity self = { .disk_uuid = { .bytes = "disk uuid 012345" }, .node_id = "n1" };
        (void) state;
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        assert_int_equal(identity_store(log_io_kernel(), fd, &self), RQ_OK);
        (void) close(fd);
        assert_int_equal(service_kill(start(), 0), 5);
}

/* Founding fails at one of its syncs, and finishes with the next start. */
static void test_founding_goes_on_where_it_failed(void **state) {
        /* Hard state and identity have two each; then come the 66 of the file that
         * becomes the first segment, and those of the segment and its entry. */
        static const long places[] = { 0, 1, 2, 3, 4, 69, 70, 71, 72, 73 };
        (void) state;
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
                remove_dir(dir);
                faults->fail_syncs = true;
                faults->countdown = places[i];
                pid_t pid = start();
                client *c = client_new(dir, true);
                client_turn(c, 300);
                int code = service_kill(pid, SIGTERM);
                assert_true(code == 0 || code == 1 || code == 128 + SIGTERM);
                c = client_free(c);
                faults->countdown = -1;
                pid = start();
                c = connect_client();
                assert_true(client_wait_number(c, &c->applied, 2)); /* which checks that 1 says who the members are */
                c = client_free(c);
                assert_int_equal(service_kill(pid, SIGTERM), 0);
        }
}

/* The power went between the first segment's name and its entry. */
static void test_founding_goes_on_with_an_empty_segment(void **state) {
        const identity self = { .disk_uuid = { .bytes = "disk uuid 012345" }, .database_id = { .bytes = "database id 0123" }, .node_id = "n1" };
        const segment_header header = {
                .uuid = { .bytes = "segment uuid 012" }, .database_id = self.database_id, .first_index = 1, .file_bytes = SEGMENT_BYTES,
        };
        uint8_t block[SEGMENT_DATA_AT] = {0};
        (void) state;
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        int file = openat(fd, "00000000000000000001.log", O_CREAT | O_RDWR, 0600);
        (void) segment_header_encode(block, &header);
        assert_int_equal(ftruncate(file, SEGMENT_BYTES), 0);
        assert_int_equal(pwrite(file, block, sizeof block, 0), sizeof block);
        (void) close(file);
        assert_int_equal(identity_store(log_io_kernel(), fd, &self), RQ_OK);
        assert_int_equal(hardstate_create(log_io_kernel(), fd, &self.disk_uuid, &(hardstate) { .term = 2, .vote = 1 }), RQ_OK);
        assert_int_equal(service_kill(start(), 0), 3); /* it has voted, so there was more */
        assert_int_equal(hardstate_create(log_io_kernel(), fd, &self.disk_uuid, &(hardstate) { .term = 1 }), RQ_OK);
        pid_t pid = start();
        client *c = connect_client();
        assert_true(client_wait_number(c, &c->applied, 2));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        (void) close(fd);
}

/* The log says who the members are: here a second one, which gets the log and has no vote. */
static void test_goes_on_with_the_members_of_its_log(void **state) {
        pid_t pid = start();
        client *c = connect_client();
        (void) state;
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        identity self;
        assert_int_equal(identity_load(log_io_kernel(), fd, &self), RQ_OK);
        log_recovered log = {0};
        rq_buf problem = {0}, body = {0}, record = {0};
        assert_int_equal(log_recover(log_io_kernel(), fd, &self.database_id, 0, &log, &problem), RQ_OK);
        membership two = {
                .count = 2, .members = {
                        { .disk_uuid = self.disk_uuid, .voter = true, .node_id = "n1" },
                        { .disk_uuid = { .bytes = "other disk 01234" }, .node_id = "n2", .raft_addr = "127.0.0.1:1" },
                },
        };
        assert_int_equal(membership_encode(&two, &body), RQ_OK);
        assert_int_equal(rq_buf_reserve(&record, RECORD_HEADER_BYTES + body.size), RQ_OK);
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = 1, .index = log.last_index + 1, .term = log.last_term,
                .clock_us = log.clock_us + 1, .database_id = self.database_id,
        };
        record_header_encode(record.data, &header, rq_buf_bytes(&body));
        memcpy(record.data + RECORD_HEADER_BYTES, body.data, body.size);
        record.size = RECORD_HEADER_BYTES + body.size;
        const uint64_t first = 1;
        const log_place_options options = {
                .io = log_io_kernel(), .dir_fd = fd, .database_id = self.database_id, .last_index = log.last_index, .last_term = log.last_term,
                .clock_us = log.clock_us, .configurations = &log.configurations, .segment_firsts = &first, .segment_count = 1,
                .end_offset = log.end_offset, .end_crc = log.end_crc,
        };
        const log_write write = {
                .first_index = header.index, .last_index = header.index, .last_term = header.term, .last_clock_us = header.clock_us,
                .records = rq_buf_bytes(&record),
        };
        log_place place;
        assert_int_equal(log_place_open(&options, &place), RQ_OK);
        assert_int_equal(log_place_add(&place, &write), RQ_OK);
        assert_int_equal(log_place_sync(&place), RQ_OK);
        log_place_close(&place);
        log_recovered_done(&log);
        rq_buf_done(&body);
        rq_buf_done(&record);
        rq_buf_done(&problem);
        (void) close(fd);
        pid = start();
        c = connect_client();
        client_propose(c, 1, 10, 0);
        assert_true(client_wait_number(c, &c->requests[1].committed_index, 1));
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"id\":\"n2\",\"addr\":\"127.0.0.1:1\",\"suffrage\":\"nonvoter\",\"leader\":false"));
        assert_non_null(strstr((char *) c->status.data, "{Suffrage:Nonvoter ID:n2 Address:127.0.0.1:1}]"));
        c = client_free(c);
        assert_int_equal(service_kill(pid, SIGTERM), 0);
}

/* Whatever is asked of it: no member's version is in the way. */
static void test_a_node_in_no_cluster_has_no_leader(void **state) {
        (void) state;
        pid_t pid = service_start_at(dir, &faults->io, getenv("RQ_TEST_VERBOSE") != NULL ? LOG_DEBUG : LOG_CRIT, "127.0.0.1:0", 2);
        client *c = client_new(dir, false);
        const uint64_t end_us = rq_clock_mono_us() + 30000000;
        while (ipc_connector_link(c->gateway) == NULL && rq_clock_mono_us() < end_us)
                client_turn(c, 5);
        client_get_status(c);
        assert_non_null(strstr((char *) c->status.data, "\"feature_level\":2"));
        client_propose(c, 1, 10, 0);
        client_propose_kind(c, RECORD_LOAD_CHUNK, 2, 100, 0);
        for (uint64_t id = 1; id <= 2; id++) {
                assert_true(wait_failed(c, id));
                assert_int_equal(c->requests[id].reason, RQ__REQUEST_FAILED__REASON__NO_LEADER);
                assert_non_null(strstr(c->failed_text, "no leader"));
        }
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
                cmocka_unit_test_setup_teardown(test_rot_under_a_running_service_stops_the_stream, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_not_a_voter_and_a_newer_hardstate, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_folder_that_joined_nothing_is_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_founding_goes_on_where_it_failed, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_founding_goes_on_with_an_empty_segment, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_goes_on_with_the_members_of_its_log, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_node_in_no_cluster_has_no_leader, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
