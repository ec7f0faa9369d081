/* Folders of nodes that have joined, or were recovered: what the cluster file makes of them. */
#include "fault_io.h"
#include "founding.h"
#include "io/base_file.h"
#include "log/log.h"
#include "records.h"
#include "recovery.h"

#include <dirent.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

/* --- rqd recover -------------------------------------------------------------- */

/* As its own process: it may go on as another user. Returns the exit code. */
static int recover(const folder *d, bool yes) {
        char *argv[] = { (char[]) { "recover" }, (char *) (uintptr_t) d->data, (char[]) { "--yes" }, NULL };
        int status;
        (void) fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
                if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
                        _exit(127);
                _exit(recovery_main(yes ? 3 : 2, argv));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void set_owner(const folder *d, uid_t owner) {
        DIR *dir = fdopendir(openat(d->data_fd, "consensus", O_RDONLY | O_DIRECTORY));
        assert_non_null(dir);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
                if (strcmp(entry->d_name, "..") != 0)
                        assert_int_equal(fchownat(d->fd, entry->d_name, owner, owner, 0), 0);
        (void) closedir(dir);
}

/* Names, owners, times of changes (also of the inode) and content of all files. Returns their number. */
static size_t describe(const folder *d, rq_buf *out) {
        DIR *dir = fdopendir(openat(d->data_fd, "consensus", O_RDONLY | O_DIRECTORY));
        struct stat st;
        size_t count = 0;
        assert_non_null(dir);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
                RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
                assert_int_equal(fstatat(d->fd, entry->d_name, &st, 0), 0);
                if (strcmp(entry->d_name, "..") == 0)
                        continue;
                assert_true(rq_buf_printf(out, "%s of %d, %lld.%09ld:", entry->d_name, (int) st.st_uid, (long long) st.st_ctim.tv_sec, st.st_ctim.tv_nsec) >= 0);
                if (!S_ISREG(st.st_mode))
                        continue;
                count++;
                assert_int_equal(log_io_load(log_io_kernel(), d->fd, entry->d_name, 1 << 26, &content), RQ_OK);
                assert_int_equal(rq_buf_append_bytes(out, rq_buf_bytes(&content)), RQ_OK);
        }
        (void) closedir(dir);
        return count;
}

static void test_a_look_changes_nothing(void **state) {
        folder *d = *state;
        RQ_CLEANUP(rq_buf_done) rq_buf before = {0}, after = {0}, done = {0};
        assert_int_equal(recover(d, false), 1); /* there is no node */
        assert_int_equal(open_as(d, true), RQ_OK);
        join(d, 57);
        assert_int_equal(open_as(d, false), RQ_OK);
        founding_done(&d->f);
        d->f = (founding) { .hardstate_file = { .fd = -1 } };
        assert_true(describe(d, &before) >= 3);
        assert_int_equal(recover(d, false), 0);
        (void) describe(d, &after);
        assert_true(rq_bytes_equal(rq_buf_bytes(&before), rq_buf_bytes(&after)));
        assert_int_equal(faccessat(d->data_fd, "rqd.lock", F_OK, 0), -1);
        assert_int_equal(recover(d, true), 0);
        (void) describe(d, &done); /* else the comparison says nothing */
        assert_false(rq_bytes_equal(rq_buf_bytes(&before), rq_buf_bytes(&done)));
        assert_int_equal(open_as(d, false), RQ_OK);
        assert_true(d->f.membership.count == 1 && d->f.membership.members[0].voter);
}

static void test_nothing_is_done_beside_a_running_node(void **state) {
        folder *d = *state;
        assert_int_equal(open_as(d, true), RQ_OK);
        join(d, 57);
        int lock = openat(d->fd, "lock", O_RDWR | O_CREAT, 0600);
        assert_int_equal(flock(lock, LOCK_EX), 0);
        assert_int_equal(recover(d, false), 1);
        assert_int_equal(recover(d, true), 1);
        (void) close(lock);
        assert_int_equal(recover(d, false), 0);
        /* Half a snapshot would bring its own members. */
        const base_file base = { .index = 60, .term = 2, .configuration_index = 57, .configuration = { .data = (uint8_t[]) { 1 }, .size = 1 } };
        assert_int_equal(base_file_store(log_io_kernel(), d->fd, &base), RQ_OK);
        assert_int_equal(recover(d, true), 1);
}

/* The service's user is another one than root, who types the command. */
static void test_files_stay_their_owners(void **state) {
        enum { NOBODY = 65534 };
        folder *d = *state;
        struct stat st;
        if (geteuid() != 0)
                skip();
        assert_int_equal(open_as(d, true), RQ_OK);
        join(d, 57);
        set_owner(d, NOBODY);
        assert_int_equal(recover(d, true), 0);
        DIR *dir = fdopendir(openat(d->data_fd, "consensus", O_RDONLY | O_DIRECTORY));
        assert_non_null(dir);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
                assert_int_equal(fstatat(d->fd, entry->d_name, &st, 0), 0);
                if (strcmp(entry->d_name, "..") != 0 && st.st_uid != NOBODY)
                        fail_msg("%s belongs to user %d", entry->d_name, (int) st.st_uid);
        }
        (void) closedir(dir);
        assert_int_equal(fstatat(d->fd, CLUSTER_FILE_NAME, &st, 0), 0);
        assert_int_equal(st.st_gid, NOBODY);
}

/* What an operator has put there isn't passed over because it can't be read. */
static void test_a_peers_json_that_cannot_be_read(void **state) {
        folder *d = *state;
        int status;
        assert_int_equal(open_as(d, false), RQ_OK);
        put_peers(d, "[{\"id\":\"n1\",\"address\":\"there:7\"}]");
        if (geteuid() != 0)
                skip();
        for (int i = 0; i < 2; i++) { /* the folder, then the file */
                assert_int_equal(fchmodat(d->data_fd, i == 0 ? "raft" : "raft/peers.json", 0, 0), 0);
                pid_t pid = fork();
                if (pid == 0) /* root reads everything */
                        _exit(fchmod(d->data_fd, 0711) == 0 && setuid(65534) == 0 && recovery_by_file(log_io_kernel(), d->fd, d->data) == RQ_EACCES ? 0 : 1);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                assert_int_equal(fchmodat(d->data_fd, "raft", 0755, 0), 0);
        }
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
                cmocka_unit_test_setup_teardown(test_a_look_changes_nothing, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_nothing_is_done_beside_a_running_node, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_files_stay_their_owners, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_peers_json_that_cannot_be_read, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
