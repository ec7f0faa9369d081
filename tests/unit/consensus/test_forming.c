/* New nodes become one cluster: several in one process, each with a folder of its
 * own; also when they are killed in between, or two found at once. */
#include "fault_io.h"
#include "forming.h"
#include "founding.h"
#include "log/log.h"
#include "records.h"

#include "base/clock.h"
#include "base/cleanup.h"

enum { NODES = 4, EXPECT = 3 };

/* What the service does with them, without a log. */
typedef struct node {
        struct world *w;
        char dir[64], name[32], address[64], join[256];
        int dir_fd;
        consensus_config config;
        peers *peers;
        forming *forming;
        founding f;
        bool open, touched;      /* touched: no longer virgin */
        rq_err failed;
        rq_buf adopting;
        rq_task adopt;
        uint32_t refused;
} node;

typedef struct world {
        rq_loop *loop;
        node n[NODES];
} world;

static void open_folder(node *n);

static rq_err on_message(void *arg, raft_id from, const raft_message *message, rq_bytes records) {
        (void) arg; (void) from; (void) message; (void) records;
        return RQ_OK;
}

static rq_err on_forward(void *arg, const driver_forward *forward) {
        (void) arg; (void) forward;
        return RQ_OK;
}

static void on_forward_refused(void *arg, raft_id from, raft_term term, uint64_t seed, rq_err err) {
        (void) arg; (void) from; (void) term; (void) seed; (void) err;
}

static void on_down(void *arg, raft_id id, bool refused) { (void) arg; (void) id; (void) refused; }
static void on_room(void *arg, raft_id id) { (void) arg; (void) id; }
static void on_turn_end(void *arg) { (void) arg; }

static void on_hello(void *arg) {
        node *n = arg;
        if (n->forming != NULL)
                forming_look(n->forming);
}

static bool is_virgin(void *arg) {
        const node *n = arg;
        return !n->touched && founding_is_virgin(&n->f);
}

static rq_err on_found(void *arg, const peer_hello *from, bool virgin, rq_bytes record) {
        node *n = arg;
        if (n->forming != NULL)
                return forming_found(n->forming, from, virgin, record);
        switch (founding_judge(&n->f.identity, is_virgin(n), record, virgin)) {
        case FOUNDING_ADOPT:
                n->adopting.size = 0;
                assert_int_equal(rq_buf_append_bytes(&n->adopting, record), RQ_OK);
                rq_task_post(&n->adopt);
                return RQ_OK;
        case FOUNDING_SAME: return RQ_OK;
        default: n->refused++; return RQ_EACCES;
        }
}

static void close_folder(node *n) {
        founding_done(&n->f);
        n->f = (founding) { .hardstate_file = { .fd = -1 } };
}

static void on_adopt(void *arg) {
        node *n = arg;
        const identity self = n->f.identity;
        close_folder(n);
        assert_int_equal(founding_adopt(log_io_kernel(), n->dir_fd, n->dir, &self, rq_buf_bytes(&n->adopting)), RQ_OK);
        open_folder(n);
}

static void on_formed(void *arg) {
        node *n = arg;
        n->forming = forming_free(n->forming);
        close_folder(n);
        open_folder(n);
        assert_false(n->f.unformed);
}

static void on_failed(void *arg, rq_err err) {
        node *n = arg;
        n->forming = forming_free(n->forming);
        n->failed = err;
}

static void begin_forming(node *n, uint64_t timeout_us) {
        const forming_options options = {
                .loop = n->w->loop, .peers = n->peers, .io = log_io_kernel(), .dir_fd = n->dir_fd, .dir_path = n->dir, .self = n->f.identity,
                .raft_addr = n->address, .expect = n->config.bootstrap_expect, .join = n->join, .timeout_us = timeout_us,
                .on_formed = on_formed, .on_failed = on_failed, .arg = n,
        };
        assert_int_equal(forming_new(&options, &n->forming), RQ_OK);
}

static void open_folder(node *n) {
        n->config = (consensus_config) {
                .node_id = n->name, .raft_addr = n->address, .api_addr = "localhost:1", .bootstrap_expect = n->config.bootstrap_expect,
        };
        assert_int_equal(founding_open(log_io_kernel(), n->dir_fd, n->dir, &n->config, &n->f), RQ_OK);
        if (n->peers == NULL || n->f.unformed)
                return;
        assert_int_equal(peers_set_cluster(n->peers, &n->f.identity.database_id, rq_buf_bytes(&n->f.record)), RQ_OK);
        assert_int_equal(peers_set_members(n->peers, &n->f.membership), RQ_OK);
}

/* As a process does. */
static void start(node *n) {
        open_folder(n);
        peers_options options = {
                .loop = n->w->loop, .listen_addr = n->address,
                .self = { .disk_uuid = n->f.identity.disk_uuid, .expect = (uint16_t) n->config.bootstrap_expect },
                .callbacks = { on_message, on_forward, on_forward_refused, on_down, on_room, on_turn_end, on_hello, on_found, is_virgin, n },
        };
        (void) snprintf(options.self.node_id, sizeof options.self.node_id, "%s", n->f.identity.node_id);
        (void) snprintf(options.self.raft_addr, sizeof options.self.raft_addr, "%s", n->address);
        assert_int_equal(peers_new(&options, &n->peers), RQ_OK);
        assert_int_equal(peers_listen(n->peers), RQ_OK);
        if (n->f.unformed) {
                begin_forming(n, 0);
                return;
        }
        assert_int_equal(peers_set_cluster(n->peers, &n->f.identity.database_id, rq_buf_bytes(&n->f.record)), RQ_OK);
        assert_int_equal(peers_set_members(n->peers, &n->f.membership), RQ_OK);
}

static void stop(node *n) {
        n->forming = forming_free(n->forming);
        n->peers = peers_free(n->peers);
        close_folder(n);
        n->touched = false;
}

static int set_up(void **state) {
        world *w = calloc(1, sizeof *w);
        uint16_t port = (uint16_t) (20000 + getpid() % 10000); /* of each node from here on; free ones are looked for */
        if (w == NULL || rq_loop_new(&w->loop) < 0)
                return -1;
        rq_log_open("test", RQ_LOG_PLAIN, getenv("RQ_TEST_LOG") != NULL ? LOG_DEBUG : LOG_EMERG);
        for (int i = 0; i < NODES; i++) {
                node *n = &w->n[i];
                n->w = w;
                n->f.hardstate_file.fd = -1;
                n->config.bootstrap_expect = EXPECT;
                (void) strcpy(n->dir, "/tmp/rq-test-forming-XXXXXX");
                n->dir_fd = test_dir(n->dir);
                (void) snprintf(n->name, sizeof n->name, "n%d", i);
                if (rq_task_init(&n->adopt, w->loop, on_adopt, n) < 0)
                        return -1;
                for (peers *probe = NULL; probe == NULL; port++) {
                        (void) snprintf(n->address, sizeof n->address, "127.0.0.1:%u", port);
                        const peers_options options = { .loop = w->loop, .listen_addr = n->address };
                        assert_int_equal(peers_new(&options, &probe), RQ_OK);
                        const rq_err r = peers_listen(probe);
                        (void) peers_free(probe);
                        probe = r < 0 ? NULL : (peers *) 1;
                }
        }
        char join[sizeof w->n[0].join];
        (void) snprintf(join, sizeof join, "%s, %s,%s", w->n[0].address, w->n[1].address, w->n[2].address);
        for (int i = 0; i < NODES; i++)
                memcpy(w->n[i].join, join, sizeof join);
        *state = w;
        return 0;
}

static int tear_down(void **state) {
        world *w = *state;
        for (int i = 0; i < NODES; i++) {
                node *n = &w->n[i];
                stop(n);
                rq_task_done(&n->adopt);
                rq_buf_done(&n->adopting);
                empty_dir(n->dir_fd);
                (void) close(n->dir_fd);
                (void) rmdir(n->dir);
        }
        w->loop = rq_loop_free(w->loop);
        free(w);
        return 0;
}

static void run_ms(world *w, uint64_t ms) {
        const uint64_t end_us = rq_clock_mono_us() + ms * 1000;
        do {
                (void) event_base_loop(rq_loop_base(w->loop), EVLOOP_NONBLOCK);
                (void) usleep(200);
        } while (rq_clock_mono_us() < end_us);
}

#define RUN_UNTIL(w, condition)                                                                  \
        do {                                                                                     \
                const uint64_t end_us_ = rq_clock_mono_us() + 60000000;                          \
                while (!(condition) && rq_clock_mono_us() < end_us_)                             \
                        run_ms(w, 1);                                                            \
                assert_true(condition);                                                          \
        } while (0)

static bool connected(const world *w, int i, int k) {
        peers_view view;
        return peers_view_of(w->n[i].peers, membership_raft_id(&w->n[k].f.identity.disk_uuid), &view) && view.up;
}

/* The first count nodes are one cluster, and connected. */
static bool is_cluster(const world *w, int count) {
        for (int i = 0; i < count; i++)
                for (int k = 0; k < count; k++)
                        if (w->n[i].f.unformed || !rq_uuid_equal(&w->n[i].f.identity.database_id, &w->n[k].f.identity.database_id) ||
                            (i != k && !connected(w, i, k)))
                                return false;
        return true;
}

static void check_cluster(const world *w) {
        for (int i = 0; i < EXPECT; i++) {
                const founding *f = &w->n[i].f;
                assert_int_equal(f->membership.count, EXPECT);
                assert_int_equal(f->log.last_index, 1);
                assert_int_equal(f->log.last_term, FOUNDING_TERM);
                assert_int_equal(f->configuration_index, 1);
                assert_true(founding_is_virgin(f));
                assert_int_equal(f->record.size, w->n[0].f.record.size);
                assert_memory_equal(f->record.data, w->n[0].f.record.data, f->record.size); /* the same bytes everywhere */
                bool listed = false;
                for (uint32_t k = 0; k < f->membership.count; k++) {
                        const member *m = &f->membership.members[k];
                        assert_true(m->voter);
                        if (rq_uuid_equal(&m->disk_uuid, &f->identity.disk_uuid)) {
                                listed = true;
                                assert_string_equal(m->node_id, w->n[i].name);
                                assert_string_equal(m->raft_addr, w->n[i].address);
                        }
                }
                assert_true(listed);
        }
}

/* --- the way it should be --------------------------------------------------- */

static void test_three_nodes_become_a_cluster(void **state) {
        world *w = *state;
        for (int i = 0; i < EXPECT; i++)
                start(&w->n[i]);
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        check_cluster(w);
        /* And stay one, whatever their flags say then. */
        const rq_uuid before = w->n[0].f.identity.database_id;
        for (int i = 0; i < EXPECT; i++)
                stop(&w->n[i]);
        for (int i = 0; i < EXPECT; i++) {
                w->n[i].config.bootstrap_expect = 0;
                w->n[i].join[0] = '\0';
                start(&w->n[i]);
        }
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        check_cluster(w);
        assert_true(rq_uuid_equal(&before, &w->n[0].f.identity.database_id));
}

static void test_nothing_is_founded_until_all_are_there(void **state) {
        world *w = *state;
        start(&w->n[0]);
        start(&w->n[1]);
        RUN_UNTIL(w, forming_count(w->n[0].forming) == 2 && forming_count(w->n[1].forming) == 2);
        run_ms(w, 200);
        assert_true(w->n[0].f.unformed && w->n[1].f.unformed);
        assert_string_equal(forming_text(w->n[0].forming), "2 of 3 nodes are there");
        /* One goes, and comes back as the same. */
        const rq_uuid disk = w->n[1].f.identity.disk_uuid;
        stop(&w->n[1]);
        RUN_UNTIL(w, forming_count(w->n[0].forming) == 1);
        start(&w->n[1]);
        assert_true(rq_uuid_equal(&disk, &w->n[1].f.identity.disk_uuid));
        start(&w->n[2]);
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        check_cluster(w);
}

static void test_one_that_missed_it_is_told_later(void **state) {
        world *w = *state;
        rq_buf record = {0};
        rq_uuid database = rq_uuid_random();
        membership members = { .count = EXPECT };
        for (int i = 0; i < EXPECT; i++) {
                start(&w->n[i]);
                member *m = &members.members[i];
                *m = (member) { .disk_uuid = w->n[i].f.identity.disk_uuid, .voter = true };
                (void) strcpy(m->node_id, w->n[i].name);
                (void) strcpy(m->raft_addr, w->n[i].address);
                stop(&w->n[i]);
        }
        assert_int_equal(founding_encode(&members, &database, 5, &record), RQ_OK);
        /* The founder died when only it knew; it has even voted since then. */
        assert_int_equal(founding_adopt(log_io_kernel(), w->n[1].dir_fd, w->n[1].dir, &(identity) { .disk_uuid = members.members[1].disk_uuid },
                                        rq_buf_bytes(&record)), RQ_OK);
        start(&w->n[1]);
        w->n[1].touched = true;
        start(&w->n[0]);
        start(&w->n[2]);
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        assert_true(rq_uuid_equal(&database, &w->n[0].f.identity.database_id));
        check_cluster(w);
        rq_buf_done(&record);
}

/* --- what an operator may do wrong ------------------------------------------ */

static void test_two_nodes_of_one_name(void **state) {
        world *w = *state;
        (void) strcpy(w->n[2].name, "n1");
        for (int i = 0; i < EXPECT; i++)
                start(&w->n[i]);
        RUN_UNTIL(w, strstr(forming_text(w->n[0].forming), "two nodes are called \"n1\"") != NULL);
        run_ms(w, 200);
        for (int i = 0; i < EXPECT; i++)
                assert_true(w->n[i].f.unformed);
}

static void test_a_copied_folder(void **state) {
        world *w = *state;
        start(&w->n[0]);
        start(&w->n[1]);
        stop(&w->n[1]);
        identity copy;
        assert_int_equal(identity_load(log_io_kernel(), w->n[1].dir_fd, &copy), RQ_OK);
        (void) strcpy(copy.node_id, "n2");
        assert_int_equal(identity_store(log_io_kernel(), w->n[2].dir_fd, &copy), RQ_OK);
        start(&w->n[1]);
        start(&w->n[2]);
        RUN_UNTIL(w, strstr(forming_text(w->n[0].forming), "same disk uuid") != NULL);
        run_ms(w, 200);
        assert_true(w->n[0].f.unformed && w->n[1].f.unformed && w->n[2].f.unformed);
}

static void test_different_expectations(void **state) {
        world *w = *state;
        w->n[2].config.bootstrap_expect = 2;
        for (int i = 0; i < EXPECT; i++)
                start(&w->n[i]);
        RUN_UNTIL(w, w->n[0].forming != NULL && strstr(forming_text(w->n[0].forming), "-bootstrap-expect must be the same") != NULL);
        RUN_UNTIL(w, w->n[2].forming != NULL && strstr(forming_text(w->n[2].forming), "-bootstrap-expect") != NULL);
        run_ms(w, 200);
        for (int i = 0; i < EXPECT; i++)
                assert_true(w->n[i].f.unformed);
}

static void test_too_many_nodes(void **state) {
        world *w = *state;
        for (int i = 0; i < NODES; i++)
                start(&w->n[i]);
        /* The fourth calls the three; either they were quicker, or nobody founds. */
        run_ms(w, 500);
        assert_true(w->n[3].f.unformed);
        if (!w->n[0].f.unformed)
                RUN_UNTIL(w, is_cluster(w, EXPECT));
}

static void test_it_is_given_up(void **state) {
        world *w = *state;
        start(&w->n[0]);
        w->n[0].forming = forming_free(w->n[0].forming);
        begin_forming(&w->n[0], 50000);
        RUN_UNTIL(w, w->n[0].failed != RQ_OK);
        assert_int_equal(w->n[0].failed, RQ_ETIMEOUT);
        assert_null(w->n[0].forming);
}

/* --- two founders ----------------------------------------------------------- */

typedef struct two_foundings {
        membership members;
        rq_uuid ids[2];
        rq_buf records[2];
} two_foundings;

/* All nodes have an identity; then node 0 and node 1 found, each for itself. */
static void found_twice(world *w, two_foundings *t) {
        *t = (two_foundings) { .members.count = EXPECT };
        for (int i = 0; i < EXPECT; i++) {
                open_folder(&w->n[i]);
                member *m = &t->members.members[i];
                *m = (member) { .disk_uuid = w->n[i].f.identity.disk_uuid, .voter = true };
                (void) strcpy(m->node_id, w->n[i].name);
                (void) strcpy(m->raft_addr, w->n[i].address);
                close_folder(&w->n[i]);
        }
        for (int i = 0; i < 2; i++) {
                t->ids[i] = rq_uuid_random();
                t->ids[i].bytes[0] = (uint8_t) (i + 1); /* the first is the smaller one */
                assert_int_equal(founding_encode(&t->members, &t->ids[i], 1000 + (uint64_t) i, &t->records[i]), RQ_OK);
                const identity self = { .disk_uuid = t->members.members[i].disk_uuid };
                assert_int_equal(founding_adopt(log_io_kernel(), w->n[i].dir_fd, w->n[i].dir, &self, rq_buf_bytes(&t->records[i])), RQ_OK);
        }
}

static void test_of_two_virgin_foundings_the_smaller_wins(void **state) {
        world *w = *state;
        two_foundings t;
        found_twice(w, &t);
        for (int i = 0; i < EXPECT; i++)
                start(&w->n[i]);
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        assert_true(rq_uuid_equal(&w->n[1].f.identity.database_id, &t.ids[0]));
        check_cluster(w);
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

static void test_a_founding_in_use_wins(void **state) {
        world *w = *state;
        two_foundings t;
        found_twice(w, &t);
        for (int i = 0; i < 2; i++)
                start(&w->n[i]);
        w->n[1].touched = true; /* it has voted */
        start(&w->n[2]);
        RUN_UNTIL(w, is_cluster(w, EXPECT));
        assert_true(rq_uuid_equal(&w->n[0].f.identity.database_id, &t.ids[1]));
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

static void test_two_foundings_in_use_stay_apart(void **state) {
        world *w = *state;
        two_foundings t;
        found_twice(w, &t);
        for (int i = 0; i < 2; i++) {
                start(&w->n[i]);
                w->n[i].touched = true;
        }
        RUN_UNTIL(w, w->n[0].refused > 0 && w->n[1].refused > 0);
        run_ms(w, 300);
        assert_true(rq_uuid_equal(&w->n[0].f.identity.database_id, &t.ids[0]));
        assert_true(rq_uuid_equal(&w->n[1].f.identity.database_id, &t.ids[1]));
        assert_false(peers_is_up(w->n[0].peers, membership_raft_id(&w->n[1].f.identity.disk_uuid)));
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

/* --- the folder ------------------------------------------------------------- */

static void test_a_crash_at_any_step_of_an_adoption(void **state) {
        world *w = *state;
        two_foundings t;
        fault_io faults;
        found_twice(w, &t);
        node *n = &w->n[2]; /* from no cluster into the first, then into the second */
        int failures = 0;
        for (int step = 0; step < 2; step++) {
                rq_err r = RQ_EIO;
                for (long at = 0; r < 0; at++) {
                        fault_io_init(&faults);
                        atomic_store(&faults.countdown, at);
                        const identity self = { .disk_uuid = t.members.members[2].disk_uuid };
                        r = founding_adopt(&faults.io, n->dir_fd, n->dir, &self, rq_buf_bytes(&t.records[step]));
                        failures += r < 0;
                        if (at >= 4 && at < 16)
                                at++; /* these only fill the new segment, 1 MiB each */
                        open_folder(n); /* whatever is there can be opened, and has promised nothing */
                        assert_true(n->f.unformed || founding_is_virgin(&n->f));
                        if (r >= 0)
                                assert_true(!n->f.unformed && rq_uuid_equal(&n->f.identity.database_id, &t.ids[step]));
                        else if (!n->f.unformed)
                                assert_true(rq_uuid_equal(&n->f.identity.database_id, &t.ids[0]) ||
                                            rq_uuid_equal(&n->f.identity.database_id, &t.ids[1]));
                        close_folder(n);
                }
        }
        assert_true(failures > 15);
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

static void test_who_has_voted_adopts_nothing(void **state) {
        world *w = *state;
        two_foundings t;
        found_twice(w, &t);
        node *n = &w->n[0];
        open_folder(n);
        assert_int_equal(hardstate_write(&n->f.hardstate_file, &(hardstate) { .term = 2, .vote = 7 }), RQ_OK);
        close_folder(n);
        const identity self = { .disk_uuid = t.members.members[0].disk_uuid };
        assert_int_equal(founding_adopt(log_io_kernel(), n->dir_fd, n->dir, &self, rq_buf_bytes(&t.records[1])), RQ_ECORRUPT);
        open_folder(n);
        assert_true(rq_uuid_equal(&n->f.identity.database_id, &t.ids[0]) && n->f.hardstate.vote == 7 && !founding_is_virgin(&n->f));
        close_folder(n);
        /* Nor one whose identity says that it is in no cluster. */
        n = &w->n[2];
        const rq_uuid disk = t.members.members[2].disk_uuid;
        assert_int_equal(hardstate_create(log_io_kernel(), n->dir_fd, &disk, &(hardstate) { .term = 3 }), RQ_OK);
        assert_int_equal(founding_adopt(log_io_kernel(), n->dir_fd, n->dir, &(identity) { .disk_uuid = disk }, rq_buf_bytes(&t.records[1])), RQ_ECORRUPT);
        assert_int_equal(founding_open(log_io_kernel(), n->dir_fd, n->dir, &n->config, &n->f), RQ_ECORRUPT);
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

static void test_folders_that_are_refused(void **state) {
        world *w = *state;
        two_foundings t;
        founding f;
        found_twice(w, &t);
        consensus_config config = { .node_id = "n2", .raft_addr = "localhost:1", .api_addr = "localhost:2" };
        /* In no cluster, and nobody says which it is to form. */
        assert_int_equal(founding_open(log_io_kernel(), w->n[2].dir_fd, w->n[2].dir, &config, &f), RQ_ECONFIG);
        /* One of several has lost its log: it mustn't found a cluster of its own. */
        assert_int_equal(unlinkat(w->n[1].dir_fd, "00000000000000000001.log", 0), 0);
        assert_int_equal(founding_open(log_io_kernel(), w->n[1].dir_fd, w->n[1].dir, &config, &f), RQ_ECORRUPT);
        /* Without the copy of entry 1 a node works as ever. */
        assert_int_equal(unlinkat(w->n[0].dir_fd, FOUNDING_NAME, 0), 0);
        open_folder(&w->n[0]);
        assert_true(w->n[0].f.record.size == 0 && w->n[0].f.membership.count == EXPECT);
        rq_buf_done(&t.records[0]);
        rq_buf_done(&t.records[1]);
}

static void test_alone_as_ever(void **state) {
        world *w = *state;
        for (uint32_t expect = 0; expect < 2; expect++) {
                node *n = &w->n[expect];
                n->config.bootstrap_expect = expect;
                open_folder(n);
                assert_true(n->f.founded && !n->f.unformed && n->f.membership.count == 1 && n->f.log.last_index == 1 && n->f.record.size == 0);
                close_folder(n);
                open_folder(n);
                assert_true(!n->f.founded && n->f.membership.count == 1);
        }
}

static void test_judging(void **state) {
        (void) state;
        const rq_uuid small = { .bytes = { 1 } }, middle = { .bytes = { 2 } }, large = { .bytes = { 3 } };
        membership members = { .count = 2 };
        members.members[0] = (member) { .disk_uuid = { .bytes = { 7, 1 } }, .voter = true, .node_id = "a" };
        members.members[1] = (member) { .disk_uuid = { .bytes = { 8, 1 } }, .voter = true, .node_id = "b" };
        RQ_CLEANUP(rq_buf_done) rq_buf record = {0};
        assert_int_equal(founding_encode(&members, &middle, 1, &record), RQ_OK);
        const rq_bytes bytes = rq_buf_bytes(&record);
        identity self = { .disk_uuid = members.members[0].disk_uuid, .node_id = "a" };
        static const struct { int id; bool virgin, teller_virgin; founding_verdict want; } cases[] = {
                { 0, true, true, FOUNDING_ADOPT }, { 0, true, false, FOUNDING_ADOPT }, { 2, true, true, FOUNDING_SAME },
                { 2, false, false, FOUNDING_SAME }, { 1, true, true, FOUNDING_KEEP }, { 1, true, false, FOUNDING_ADOPT },
                { 3, true, true, FOUNDING_ADOPT }, { 3, true, false, FOUNDING_ADOPT }, { 1, false, true, FOUNDING_FOREIGN },
                { 3, false, true, FOUNDING_FOREIGN }, { 3, false, false, FOUNDING_FOREIGN },
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                self.database_id = (const rq_uuid[]) { { .bytes = {0} }, small, middle, large }[cases[i].id];
                assert_int_equal(founding_judge(&self, cases[i].virgin, bytes, cases[i].teller_virgin), cases[i].want);
        }
        self.database_id = (rq_uuid) {0};
        (void) strcpy(self.node_id, "c"); /* the disk is listed under another name */
        assert_int_equal(founding_judge(&self, true, bytes, false), FOUNDING_FOREIGN);
        (void) strcpy(self.node_id, "a");
        self.disk_uuid.bytes[5] = 1;
        assert_int_equal(founding_judge(&self, true, bytes, false), FOUNDING_FOREIGN);
        for (size_t size = 0; size < bytes.size; size++)
                assert_int_equal(founding_judge(&self, true, rq_bytes_of(bytes.data, size), false), FOUNDING_INVALID);
        record.data[RECORD_HEADER_BYTES + 5] ^= 1;
        assert_int_equal(founding_judge(&self, true, bytes, false), FOUNDING_INVALID);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        const struct CMUnitTest tests[] = {
                TEST(test_three_nodes_become_a_cluster), TEST(test_nothing_is_founded_until_all_are_there),
                TEST(test_one_that_missed_it_is_told_later), TEST(test_two_nodes_of_one_name), TEST(test_a_copied_folder),
                TEST(test_different_expectations), TEST(test_too_many_nodes), TEST(test_it_is_given_up),
                TEST(test_of_two_virgin_foundings_the_smaller_wins), TEST(test_a_founding_in_use_wins),
                TEST(test_two_foundings_in_use_stay_apart), TEST(test_a_crash_at_any_step_of_an_adoption),
                TEST(test_who_has_voted_adopts_nothing), TEST(test_folders_that_are_refused), TEST(test_alone_as_ever),
                cmocka_unit_test(test_judging),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
