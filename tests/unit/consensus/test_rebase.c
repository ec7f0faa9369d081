/* The log begins anew behind a snapshot: killed before each call that changes
 * something, and the formats that go with it. */
#include "own_folder.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>

#include "core/membership_history.h"
#include "io/hardstate.h"
#include "peer/peer_snapshot.h"
#include "rebase.h"

static const rq_uuid disk = { .bytes = "disk uuid 012345" };

static base_file sample(bool decided) {
        base_file b = {
                .decided = decided, .index = 500, .term = 7, .clock_us = 123456789, .database_id = test_database,
                .configuration_index = 30,
        };
        assert_int_equal(rq_buf_append(&b.configuration, "who they are", 12), RQ_OK);
        return b;
}

/* An old log of ten entries of term 3. */
static void make_folder(void) {
        const log_configurations none = {0};
        const log_place_options options = {
                .io = log_io_kernel(), .dir_fd = dir_fd, .database_id = test_database, .configurations = &none, .segment_bytes = 65536,
        };
        log_place place;
        rq_buf records = {0};
        empty_dir(dir_fd);
        assert_int_equal(hardstate_create(log_io_kernel(), dir_fd, &disk, &(hardstate) { .term = 4, .vote = 99, .commit = 9 }), RQ_OK);
        assert_int_equal(log_place_open(&options, &place), RQ_OK);
        put_records(&records, 1, 10, 3, 50);
        const log_write write = write_of(&records, 1, 10, 3, 0);
        assert_int_equal(add_and_sync(&place, &write), RQ_OK);
        log_place_close(&place);
        rq_buf_done(&records);
}

static log_recovered recover(uint64_t hint) {
        log_recovered log = {0};
        rq_buf problem = {0};
        rq_err r = log_recover(log_io_kernel(), dir_fd, &test_database, hint, &log, &problem);
        if (r < 0)
                fail_msg("recover: %s: %.*s", rq_err_text(r), (int) problem.size, (char *) problem.data);
        rq_buf_done(&problem);
        return log;
}

static hardstate hard(void) {
        hardstate_file file = { .fd = -1 };
        hardstate state;
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &state), RQ_OK);
        hardstate_close(&file);
        return state;
}

static void check_new(void) {
        const hardstate h = hard();
        log_recovered log = recover(h.commit);
        assert_int_equal(h.term, 7);
        assert_int_equal(h.vote, 0); /* of a lower term */
        assert_int_equal(h.commit, 500);
        assert_int_equal(log.base_index, 500);
        assert_int_equal(log.base_term, 7);
        assert_int_equal(log.last_index, 500);
        assert_int_equal(log.clock_us, 123456789);
        const log_configuration c = log_configurations_at(&log.configurations, 500);
        assert_int_equal(c.index, 30);
        assert_int_equal(c.body.size, 12);
        log_recovered_done(&log);
}

/* --- killed ----------------------------------------------------------------- */

static atomic_int left;

static void count_down(void) {
        if (atomic_fetch_sub(&left, 1) == 0)
                _exit(9);
}

static ssize_t k_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset) {
        count_down();
        return log_io_kernel()->pwritev(arg, fd, iov, count, offset);
}
static int k_fdatasync(void *arg, int fd) {
        count_down();
        return log_io_kernel()->fdatasync(arg, fd);
}
static int k_fsync(void *arg, int fd) {
        count_down();
        return log_io_kernel()->fsync(arg, fd);
}
static int k_rename(void *arg, int folder, const char *from, const char *to) {
        count_down();
        return log_io_kernel()->rename(arg, folder, from, to);
}
static int k_unlink(void *arg, int folder, const char *name) {
        count_down();
        return log_io_kernel()->unlink(arg, folder, name);
}

static int rebase_in_child(int steps) {
        pid_t pid = fork();
        if (pid == 0) {
                log_io io = *log_io_kernel();
                base_file base = sample(false);
                io.pwritev = k_pwritev;
                io.fdatasync = k_fdatasync;
                io.fsync = k_fsync;
                io.rename = k_rename;
                io.unlink = k_unlink;
                atomic_store(&left, steps);
                _exit(rebase_now(&io, dir_fd, dir_name, &disk, &base, 65536) == RQ_OK ? 0 : 3);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_killed_before_each_step(void **state) {
        int code = 9, old = 0, new = 0;
        (void) state;
        for (int steps = 0; code != 0; steps++) {
                base_file left_over;
                make_folder();
                base_file before = sample(false);
                assert_int_equal(base_file_store(log_io_kernel(), dir_fd, &before), RQ_OK);
                base_file_done(&before);
                code = rebase_in_child(steps);
                assert_true(code == 0 || code == 9);
                assert_int_equal(rebase_finish(log_io_kernel(), dir_fd, dir_name, &disk, 65536, &left_over), RQ_OK);
                if (left_over.configuration.size > 0) {
                        /* Not decided: the log is as it was. */
                        log_recovered log = recover(9);
                        assert_int_equal(log.last_index, 10);
                        log_recovered_done(&log);
                        assert_int_equal(hard().term, 4);
                        old++;
                } else {
                        check_new();
                        new++;
                }
                base_file_done(&left_over);
        }
        assert_true(old >= 2 && new >= 10);
}

static void test_nothing_was_begun(void **state) {
        base_file left_over;
        (void) state;
        make_folder();
        assert_int_equal(rebase_finish(log_io_kernel(), dir_fd, dir_name, &disk, 65536, &left_over), RQ_OK);
        assert_int_equal(left_over.configuration.size, 0);
        log_recovered log = recover(9);
        assert_int_equal(log.last_index, 10);
        log_recovered_done(&log);
}

static void check_golden(const char *name, const rq_buf *content) {
        int fd = open(RQ_SOURCE_DIR "/tests/golden/consensus/", O_RDONLY | O_DIRECTORY);
        rq_buf kept = {0};
        assert_true(fd >= 0);
        if (getenv("RQ_WRITE_GOLDEN") != NULL)
                assert_int_equal(log_io_replace(log_io_kernel(), fd, name, rq_buf_bytes(content)), RQ_OK);
        assert_int_equal(log_io_load(log_io_kernel(), fd, name, 4096, &kept), RQ_OK);
        assert_true(rq_bytes_equal(rq_buf_bytes(&kept), rq_buf_bytes(content)));
        rq_buf_done(&kept);
        (void) close(fd);
}

/* --- formats ---------------------------------------------------------------- */

static void test_base_file(void **state) {
        rq_buf bytes = {0};
        base_file in = sample(true), out;
        (void) state;
        assert_int_equal(base_file_encode(&in, &bytes), RQ_OK);
        assert_int_equal(base_file_decode(rq_buf_bytes(&bytes), &out), RQ_OK);
        assert_true(out.decided);
        assert_int_equal(out.index, 500);
        assert_int_equal(out.configuration_index, 30);
        assert_memory_equal(out.configuration.data, "who they are", 12);
        base_file_done(&out);
        check_golden("base.v1", &bytes);
        for (size_t size = 0; size < bytes.size; size++)
                assert_int_equal(base_file_decode(rq_bytes_of(bytes.data, size), &out), RQ_ECORRUPT);
        for (size_t i = 0; i < bytes.size; i++) {
                bytes.data[i] ^= 0x40;
                assert_int_equal(base_file_decode(rq_buf_bytes(&bytes), &out), RQ_ECORRUPT);
                bytes.data[i] ^= 0x40;
        }
        base_file_done(&in);
        rq_buf_done(&bytes);
}

static void test_frames(void **state) {
        const peer_snapshot_offer offer = {
                .from = 3, .to = 5, .term = 9, .session = 77, .disk_id = disk, .index = 500, .index_term = 7, .digest = 0xfeedbeef,
                .bytes = 1 << 20, .clock_us = 42, .configuration_index = 30, .membership_bytes = 100,
        };
        const peer_snapshot_chunk chunk = { .from = 3, .to = 5, .session = 77, .offset = 262144, .raw_bytes = 1000, .crc = 5, .packed = true };
        const peer_snapshot_reply reply = { .from = 5, .to = 3, .term = 9, .session = 77, .phase = PEER_SNAPSHOT_DONE, .offset = 1, .next = 2, .index = 500 };
        const peer_snapshot_wanted wanted = { .from = 5, .to = 3, .term = 9, .min_index = 44 };
        peer_snapshot_offer offer_out;
        peer_snapshot_chunk chunk_out;
        peer_snapshot_reply reply_out;
        peer_snapshot_wanted wanted_out;
        uint8_t o[PEER_SNAPSHOT_OFFER_BYTES], c[PEER_SNAPSHOT_CHUNK_BYTES], r[PEER_SNAPSHOT_REPLY_BYTES], w[PEER_SNAPSHOT_WANTED_BYTES];
        const uint8_t data[1200] = {0};
        (void) state;
        peer_snapshot_offer_encode(&offer, o);
        assert_int_equal(peer_snapshot_offer_decode(rq_bytes_of(o, sizeof o), rq_bytes_of(data, 300), &offer_out), RQ_OK);
        assert_memory_equal(&offer, &offer_out, sizeof offer);
        /* No state behind the membership; a configuration of later; a term of later. */
        assert_int_equal(peer_snapshot_offer_decode(rq_bytes_of(o, sizeof o), rq_bytes_of(data, 100), &offer_out), RQ_EPROTO);
        rq_put_u64(o + 88, 501);
        assert_int_equal(peer_snapshot_offer_decode(rq_bytes_of(o, sizeof o), rq_bytes_of(data, 300), &offer_out), RQ_EPROTO);
        rq_put_u64(o + 88, 30);
        rq_put_u64(o + 56, 10);
        assert_int_equal(peer_snapshot_offer_decode(rq_bytes_of(o, sizeof o), rq_bytes_of(data, 300), &offer_out), RQ_EPROTO);

        peer_snapshot_chunk_encode(&chunk, c);
        assert_int_equal(peer_snapshot_chunk_decode(rq_bytes_of(c, sizeof c), rq_bytes_of(data, 999), &chunk_out), RQ_OK);
        assert_int_equal(chunk_out.offset, 262144);
        assert_true(chunk_out.packed);
        assert_int_equal(peer_snapshot_chunk_decode(rq_bytes_of(c, sizeof c), rq_bytes_of(data, 1000), &chunk_out), RQ_EPROTO);
        rq_put_u32(c + 40, 2); /* a flag of later */
        assert_int_equal(peer_snapshot_chunk_decode(rq_bytes_of(c, sizeof c), rq_bytes_of(data, 999), &chunk_out), RQ_EPROTO);

        peer_snapshot_reply_encode(&reply, r);
        assert_int_equal(peer_snapshot_reply_decode(rq_bytes_of(r, sizeof r), &reply_out), RQ_OK);
        assert_int_equal(reply_out.index, 500);
        assert_int_equal(peer_snapshot_reply_decode(rq_bytes_of(r, sizeof r - 1), &reply_out), RQ_EPROTO);
        rq_put_u32(r + 32, 3);
        assert_int_equal(peer_snapshot_reply_decode(rq_bytes_of(r, sizeof r), &reply_out), RQ_EPROTO);

        peer_snapshot_wanted_encode(&wanted, w);
        assert_int_equal(peer_snapshot_wanted_decode(rq_bytes_of(w, sizeof w), &wanted_out), RQ_OK);
        assert_int_equal(wanted_out.min_index, 44);
}

static void test_membership_of_an_index(void **state) {
        membership_history h = {0};
        raft_index at;
        (void) state;
        assert_null(membership_history_at(&h, 5, &at));
        assert_int_equal(at, 0);
        for (raft_index i = 10; i <= 30; i += 10) {
                membership *m = calloc(1, sizeof *m);
                m->count = (uint32_t) i;
                assert_int_equal(membership_history_reserve(&h, 1), RQ_OK);
                membership_history_add(&h, i, m);
        }
        assert_null(membership_history_at(&h, 9, &at));
        assert_int_equal(at, 10);
        assert_int_equal(membership_history_at(&h, 10, &at)->count, 10);
        assert_int_equal(membership_history_at(&h, 29, &at)->count, 20);
        assert_int_equal(at, 20);
        assert_int_equal(membership_history_at(&h, 1000, &at)->count, 30);
        membership_history_done(&h);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_killed_before_each_step, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_nothing_was_begun, set_up_folder, tear_down_folder),
                cmocka_unit_test(test_base_file),
                cmocka_unit_test(test_frames),
                cmocka_unit_test(test_membership_of_an_index),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
