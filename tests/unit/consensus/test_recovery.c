/* Folders of nodes that have joined, or were recovered: what the cluster file makes of them. */
#include "fault_io.h"
#include "founding.h"
#include "log/log.h"
#include "records.h"
#include "recovery.h"

#include <sys/stat.h>

#include "base/cleanup.h"

typedef struct folder {
        char data[64];
        int data_fd, fd;
        founding f;
} folder;

static const rq_uuid other_cluster = { .bytes = "another cluster!" };

static int set_up(void **state) {
        folder *d = calloc(1, sizeof *d);
        rq_log_open("test", RQ_LOG_PLAIN, getenv("RQ_TEST_LOG") != NULL ? LOG_DEBUG : LOG_EMERG);
        if (d == NULL)
                return -1;
        (void) strcpy(d->data, "/tmp/rq-test-recovery-XXXXXX");
        d->data_fd = test_dir(d->data);
        d->f.hardstate_file.fd = -1;
        if (mkdirat(d->data_fd, "consensus", 0700) != 0)
                return -1;
        d->fd = openat(d->data_fd, "consensus", O_RDONLY | O_DIRECTORY);
        *state = d;
        return d->fd < 0 ? -1 : 0;
}

static int tear_down(void **state) {
        folder *d = *state;
        founding_done(&d->f);
        empty_dir(d->fd);
        (void) close(d->fd);
        (void) unlinkat(d->data_fd, "consensus", AT_REMOVEDIR);
        (void) unlinkat(d->data_fd, "raft/peers.json", 0);
        (void) unlinkat(d->data_fd, "raft/peers.info", 0);
        (void) unlinkat(d->data_fd, "raft", AT_REMOVEDIR);
        (void) close(d->data_fd);
        (void) rmdir(d->data);
        free(d);
        return 0;
}

static rq_err open_as(folder *d, bool joins) {
        const consensus_config config = {
                .node_id = "n1", .raft_addr = "h:1", .api_addr = "h:2", .join = joins ? "h:9" : "", .joins = joins,
        };
        founding_done(&d->f);
        d->f = (founding) { .hardstate_file = { .fd = -1 } };
        return founding_open(log_io_kernel(), d->fd, d->data, &config, &d->f);
}

static member make(const char *node_id, const rq_uuid *disk, bool voter) {
        member m = { .disk_uuid = *disk, .voter = voter };
        (void) snprintf(m.node_id, sizeof m.node_id, "%s", node_id);
        (void) snprintf(m.raft_addr, sizeof m.raft_addr, "%s:4002", node_id);
        return m;
}

/* --- joined ----------------------------------------------------------------- */

static void join(folder *d, uint64_t index) {
        RQ_CLEANUP(rq_buf_done) rq_buf members = {0};
        membership m = { .count = 2 };
        m.members[0] = make("leader", &other_cluster, true);
        m.members[1] = make("n1", &d->f.identity.disk_uuid, false);
        assert_int_equal(membership_encode(&m, &members), RQ_OK);
        assert_int_equal(founding_join(log_io_kernel(), d->fd, d->data, &test_database, &test_database, rq_buf_bytes(&members), index), RQ_OK);
}

static void test_who_joins_has_an_empty_log(void **state) {
        folder *d = *state;
        assert_int_equal(open_as(d, true), RQ_OK);
        assert_true(d->f.unformed);
        assert_int_equal(open_as(d, false), RQ_ECONFIG); /* it was begun to join */
        assert_int_equal(open_as(d, true), RQ_OK);
        join(d, 57);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(open_as(d, i == 0), RQ_OK); /* -join is for the first time */
                assert_false(d->f.unformed);
                assert_false(founding_is_virgin(&d->f)); /* it may not take another founding */
                assert_int_equal(d->f.log.last_index, 0);
                assert_int_equal(d->f.membership.count, 2);
                assert_true(rq_uuid_equal(&d->f.cluster_id, &test_database) && d->f.cluster.index == 57);
        }
        /* It hears of terms before it gets an entry, but it can't have voted. */
        assert_int_equal(hardstate_write(&d->f.hardstate_file, &(hardstate) { .term = 9 }), RQ_OK);
        assert_int_equal(open_as(d, false), RQ_OK);
        assert_int_equal(hardstate_write(&d->f.hardstate_file, &(hardstate) { .term = 9, .vote = 5 }), RQ_OK);
        assert_int_equal(open_as(d, false), RQ_ECORRUPT);
}

static void test_a_joining_that_is_cut_short(void **state) {
        folder *d = *state;
        assert_int_equal(open_as(d, true), RQ_OK);
        const identity unformed = d->f.identity;
        join(d, 57);
        /* As if the power had gone before the identity was written. */
        assert_int_equal(identity_store(log_io_kernel(), d->fd, &unformed), RQ_OK);
        assert_int_equal(open_as(d, true), RQ_OK);
        assert_true(d->f.unformed);
        join(d, 60);
        assert_int_equal(open_as(d, true), RQ_OK);
        assert_int_equal(d->f.cluster.index, 60);
        /* Nobody joins twice. */
        RQ_CLEANUP(rq_buf_done) rq_buf members = {0};
        assert_int_equal(membership_encode(&d->f.membership, &members), RQ_OK);
        assert_int_equal(founding_join(log_io_kernel(), d->fd, d->data, &test_database, &other_cluster, rq_buf_bytes(&members), 1), RQ_ECORRUPT);
}

static void test_a_damaged_cluster_file_is_refused(void **state) {
        folder *d = *state;
        assert_int_equal(open_as(d, true), RQ_OK);
        join(d, 57);
        assert_int_equal(log_io_replace(log_io_kernel(), d->fd, CLUSTER_FILE_NAME, rq_bytes_text("rubbish")), RQ_OK);
        assert_int_equal(open_as(d, false), RQ_ECORRUPT);
}

/* --- recovered -------------------------------------------------------------- */

static void put_peers(folder *d, const char *text) {
        (void) mkdirat(d->data_fd, "raft", 0700);
        int fd = openat(d->data_fd, "raft", O_RDONLY | O_DIRECTORY);
        assert_int_equal(log_io_replace(log_io_kernel(), fd, "peers.json", rq_bytes_text(text)), RQ_OK);
        (void) close(fd);
}

static void test_peers_json(void **state) {
        folder *d = *state;
        assert_int_equal(recovery_by_file(log_io_kernel(), d->fd, d->data), RQ_OK); /* there is none */
        put_peers(d, "[{\"id\":\"n1\",\"address\":\"there:7\"}]");
        assert_int_equal(recovery_by_file(log_io_kernel(), d->fd, d->data), RQ_ENOENT); /* nothing to recover */
        assert_int_equal(open_as(d, false), RQ_OK);
        const rq_uuid before = d->f.cluster_id;
        founding_done(&d->f);
        d->f = (founding) { .hardstate_file = { .fd = -1 } };
        assert_int_equal(recovery_by_file(log_io_kernel(), d->fd, d->data), RQ_OK);
        assert_int_equal(faccessat(d->data_fd, "raft/peers.info", F_OK, 0), 0);
        assert_int_equal(faccessat(d->data_fd, "raft/peers.json", F_OK, 0), -1);
        assert_int_equal(open_as(d, false), RQ_OK);
        const rq_uuid after = d->f.cluster_id;
        assert_false(rq_uuid_equal(&before, &after));
        assert_true(rq_uuid_equal(&before, &d->f.identity.database_id)); /* the log's */
        assert_string_equal(d->f.membership.members[0].raft_addr, "there:7");
        assert_int_equal(d->f.cluster.index, d->f.log.last_index);
        /* The power goes before it is renamed: the same file again changes nothing, another one does. */
        put_peers(d, "[{\"id\":\"n1\",\"address\":\"there:7\"}]");
        assert_int_equal(recovery_by_file(log_io_kernel(), d->fd, d->data), RQ_OK);
        assert_int_equal(open_as(d, false), RQ_OK);
        assert_true(rq_uuid_equal(&d->f.cluster_id, &after));
        put_peers(d, "[{\"id\":\"n1\",\"address\":\"there:8\"}]");
        assert_int_equal(recovery_by_file(log_io_kernel(), d->fd, d->data), RQ_OK);
        assert_int_equal(open_as(d, false), RQ_OK);
        assert_false(rq_uuid_equal(&d->f.cluster_id, &after));
}

static void test_what_peers_json_may_say(void **state) {
        static const struct { const char *text, *part; } wrong[] = {
                { "", "line 1" }, { "[1]", "element 1 must be" }, { "{}", "must be an array" }, { "[]", "need at least one voter" },
                { "[{\"id\":\"n1\"}]", "element 1 must be" }, { "[{\"id\":\"n1\",\"address\":\"h\"}]", "\"h\" is not host:port" },
                { "[{\"id\":\"n1\",\"address\":\":1\"}]", "is not host:port" },
                { "[{\"id\":\"n1\",\"address\":\"h:1\",\"non_voter\":1}]", "element 1 must be" },
                { "[{\"id\":\"n1\",\"address\":\"h:1\",\"non_voter\":true}]", "need at least one voter" },
                { "[{\"id\":\"n1\",\"address\":\"h:1\"},{\"id\":\"n1\",\"address\":\"h:2\"}]", "found duplicate ID in configuration: n1" },
                { "[{\"id\":\"n1\",\"address\":\"h:1\"},{\"id\":\"zz\",\"address\":\"h:2\"}]", "node \"zz\" was not a member" },
                { "[{\"id\":\"n2\",\"address\":\"h:1\"}]", "it doesn't name this node, \"n1\"" },
        };
        membership known = { .count = 3 }, got;
        const rq_uuid disks[] = { { { 1 } }, { { 3 } }, { { 5 } } };
        (void) state;
        known.members[0] = make("n2", &disks[0], true);
        known.members[1] = make("n1", &disks[1], true);
        known.members[2] = make("n2", &disks[2], false); /* a new disk that was to replace the first */
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
                RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
                assert_int_equal(recovery_parse(rq_bytes_text(wrong[i].text), &known, "n1", &got, &problem), RQ_ECONFIG);
                if (strstr((const char *) problem.data, wrong[i].part) == NULL)
                        fail_msg("\"%s\" is not in \"%s\"", wrong[i].part, (const char *) problem.data);
        }
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0}, a = {0}, b = {0};
        const char *text = "[{\"id\":\"n2\",\"address\":\"x:1\",\"non_voter\":false},{\"id\":\"n1\",\"address\":\"y:1\",\"non_voter\":true,\"more\":1}]";
        assert_int_equal(recovery_parse(rq_bytes_text(text), &known, "n1", &got, &problem), RQ_OK);
        assert_int_equal(got.count, 2);
        assert_string_equal(got.members[0].node_id, "n1"); /* the same bytes on all */
        assert_true(!got.members[0].voter && got.members[0].stays && got.members[1].voter);
        assert_memory_equal(&got.members[1].disk_uuid, &disks[0], RQ_UUID_BYTES); /* the one that has voted */
        assert_int_equal(membership_encode(&got, &a), RQ_OK);
        text = "[{\"id\":\"n1\",\"address\":\"y:1\",\"non_voter\":true},{\"id\":\"n2\",\"address\":\"x:1\"}]";
        assert_int_equal(recovery_parse(rq_bytes_text(text), &known, "n2", &got, &problem), RQ_OK);
        assert_int_equal(membership_encode(&got, &b), RQ_OK);
        const rq_uuid x = recovery_cluster_id(&test_database, rq_buf_bytes(&a)), y = recovery_cluster_id(&test_database, rq_buf_bytes(&b)),
                      z = recovery_cluster_id(&other_cluster, rq_buf_bytes(&a));
        assert_true(rq_uuid_equal(&x, &y) && !rq_uuid_equal(&x, &z) && !rq_uuid_equal(&x, &test_database));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_who_joins_has_an_empty_log, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_joining_that_is_cut_short, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_damaged_cluster_file_is_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_peers_json, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_what_peers_json_may_say, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
