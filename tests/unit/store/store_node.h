/* A real rq-store process between a fake rq-consensus, which has a log and
 * answers FETCH from it, and a fake rq-gateway, which gathers answers. */
#ifndef RQ_TEST_STORE_NODE_H
#define RQ_TEST_STORE_NODE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/table.h"
#include "consensus.pb-c.h"
#include "ipc/ipc_endpoint.h"
#include "log_entry.pb-c.h"
#include "outcome_marks.h"
#include "record.h"
#include "store.pb-c.h"

typedef struct node_answer {
        rq_buf text;
        uint64_t index;
        uint32_t pieces;
        size_t largest;
        bool done, failed, via_log;
        Rq__RequestFailed__Outcome outcome;
        Rq__RequestFailed__Reason reason;
} node_answer;

typedef struct node {
        char dir[64];
        int run_dir_fd;
        pid_t pid;
        const char *flag;       /* one more for the next process; NULL: none */
        rq_loop *loop;
        ipc_connector *consensus, *gateway;
        ipc_identity gateway_self;

        /* The fake consensus. */
        rq_buf log;             /* records from index 1 on */
        size_t *ends;           /* of record i + 1 */
        uint64_t last_index, commit_index, sent_index;
        rq_uuid stream_id, database_id;
        bool mute;              /* FETCH isn't answered */
        uint32_t fetches;
        uint64_t fetched_from, fetched_term, fetched_checkpoint;
        bool fetched_fresh;
        uint64_t applied, checkpoint, outcome_hash;
        uint64_t profile;
        char sqlite_version[32];
        outcome_marks marks;    /* as told, since its last FETCH */

        /* The fake gateway. */
        rq_table answers;
        uint64_t next_id;
        uint64_t auto_credit;   /* given back as pieces come */
        rq_buf status;
        uint32_t frames;
} node;

static inline void node_turn(node *n) { (void) event_base_loop(rq_loop_base(n->loop), EVLOOP_NONBLOCK); }

static inline void node_run(node *n, uint64_t ms) {
        uint64_t end_us = rq_clock_mono_us() + ms * 1000;
        do {
                node_turn(n);
                (void) usleep(100);
        } while (rq_clock_mono_us() < end_us);
}

#define NODE_UNTIL(n, condition)                                          \
        do {                                                              \
                uint64_t give_up_us_ = rq_clock_mono_us() + 30000000;     \
                while (!(condition) && rq_clock_mono_us() < give_up_us_)  \
                        node_run(n, 0);                                   \
                assert_true(condition);                                   \
        } while (0)

/* --- consensus -------------------------------------------------------------------- */

static inline rq_bytes node_records(const node *n, uint64_t first, uint64_t last) {
        size_t from = first > 1 ? n->ends[first - 2] : 0;
        size_t to = last > 0 ? n->ends[last - 1] : 0;
        return first > last ? (rq_bytes) {0} : rq_bytes_of(n->log.data + from, to - from);
}

/* Entries first..last as a batch that says it follows `previous`. */
static inline void node_send_batch(node *n, uint64_t first, uint64_t last, uint64_t previous) {
        uint8_t body[256];
        Rq__Committed m = RQ__COMMITTED__INIT;
        m.stream_id = (ProtobufCBinaryData) { RQ_UUID_BYTES, n->stream_id.bytes };
        m.first_index = first;
        m.previous_index = previous;
        m.previous_term = previous > 0 ? 1 : 0;
        m.count = first > last ? 0 : (uint32_t) (last - first + 1);
        m.commit_index = n->commit_index;
        size_t size = rq__committed__pack(&m, body);
        ipc_link *link = ipc_connector_link(n->consensus);
        assert_non_null(link);
        assert_int_equal(ipc_link_send(link, IPC_COMMITTED, 0, rq_bytes_of(body, size), node_records(n, first, last)), RQ_OK);
}

static inline void node_feed(node *n) {
        node_send_batch(n, n->sent_index + 1, n->commit_index, n->sent_index);
        n->sent_index = n->commit_index;
}

static inline rq_err node_on_fetch(void *arg, ipc_link *link, const ipc_frame *frame) {
        node *n = arg;
        (void) link;
        Rq__Fetch *m = rq__fetch__unpack(NULL, frame->body.size, frame->body.data);
        assert_non_null(m);
        n->fetches++;
        n->fetched_from = m->from_index;
        n->fetched_term = m->applied_term;
        n->fetched_checkpoint = m->checkpoint_index;
        n->fetched_fresh = m->database_id.len == 0;
        n->profile = m->profile;
        (void) snprintf(n->sqlite_version, sizeof n->sqlite_version, "%s", m->sqlite_version);
        n->marks.count = 0;
        rq__fetch__free_unpacked(m, NULL);
        n->stream_id = rq_uuid_random();
        n->sent_index = n->fetched_from - 1;
        if (!n->mute)
                node_feed(n);
        return RQ_OK;
}

static inline rq_err node_on_applied(void *arg, ipc_link *link, const ipc_frame *frame) {
        node *n = arg;
        (void) link;
        Rq__Applied *m = rq__applied__unpack(NULL, frame->body.size, frame->body.data);
        assert_non_null(m);
        assert_true(m->applied_index >= n->applied && m->checkpoint_index >= n->checkpoint);
        n->applied = m->applied_index;
        n->checkpoint = m->checkpoint_index;
        n->outcome_hash = m->outcome_hash;
        for (size_t i = 0; i < m->n_marks; i++)
                outcome_marks_add(&n->marks, (outcome_mark) { m->marks[i]->index, m->marks[i]->hash });
        rq__applied__free_unpacked(m, NULL);
        return RQ_OK;
}

static inline void node_log(node *n, uint8_t kind, rq_bytes body, uint64_t clock_us) {
        uint8_t bytes[RECORD_HEADER_BYTES];
        record_header header = {
                .kind = kind, .flags = RECORD_CRITICAL, .feature_level = 1, .index = n->last_index + 1, .term = 1,
                .clock_us = clock_us, .seed = 42, .database_id = n->database_id,
        };
        record_header_encode(bytes, &header, body);
        assert_int_equal(rq_buf_append(&n->log, bytes, sizeof bytes), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(&n->log, body), RQ_OK);
        n->ends = realloc(n->ends, (n->last_index + 1) * sizeof *n->ends);
        assert_non_null(n->ends);
        n->ends[n->last_index++] = n->log.size;
}

/* Appends a write of this gateway to the log; its request's id. */
static inline uint64_t node_append(node *n, const char *sql, Rq__SqlMode mode) {
        Rq__Statement statement = RQ__STATEMENT__INIT, *statements[] = { &statement };
        Rq__Origin origin = RQ__ORIGIN__INIT;
        Rq__SqlEntry e = RQ__SQL_ENTRY__INIT;
        statement.sql = (ProtobufCBinaryData) { strlen(sql), (uint8_t *) (uintptr_t) sql };
        origin.incarnation = (ProtobufCBinaryData) { RQ_UUID_BYTES, n->gateway_self.incarnation.bytes };
        origin.request_id = ++n->next_id;
        e.origin = &origin;
        e.statements = statements;
        e.n_statements = 1;
        e.mode = mode;
        uint8_t *body = malloc(rq__sql_entry__get_packed_size(&e));
        assert_non_null(body);
        size_t size = rq__sql_entry__pack(&e, body);
        node_log(n, RECORD_SQL, rq_bytes_of(body, size), rq_clock_wall_us());
        free(body);
        return origin.request_id;
}

static inline void node_commit(node *n) {
        n->commit_index = n->last_index;
        node_feed(n);
}

static inline uint64_t node_write(node *n, const char *sql) {
        uint64_t id = node_append(n, sql, RQ__SQL_MODE__SQL_EXECUTE);
        node_commit(n);
        return id;
}

/* --- gateway ------------------------------------------------------------------------ */

static inline node_answer *node_answer_of(node *n, uint64_t id) {
        node_answer *a = rq_table_get(&n->answers, id);
        if (a == NULL) {
                a = calloc(1, sizeof *a);
                assert_non_null(a);
                assert_int_equal(rq_table_put(&n->answers, id, a), RQ_OK);
        }
        return a;
}

static inline void node_credit(node *n, uint64_t id, uint64_t bytes) {
        uint8_t body[32];
        Rq__Credit m = RQ__CREDIT__INIT;
        m.bytes = bytes;
        size_t size = rq__credit__pack(&m, body);
        assert_int_equal(ipc_link_send(ipc_connector_link(n->gateway), IPC_CREDIT, id, rq_bytes_of(body, size), (rq_bytes) {0}), RQ_OK);
}

static inline rq_err node_on_result(void *arg, ipc_link *link, const ipc_frame *frame) {
        node *n = arg;
        node_answer *a = node_answer_of(n, frame->request_id);
        (void) link;
        Rq__Result *m = rq__result__unpack(NULL, frame->body.size, frame->body.data);
        assert_non_null(m);
        assert_false(a->done);
        assert_int_equal(rq_buf_append_bytes(&a->text, frame->payload), RQ_OK);
        a->index = m->index;
        a->via_log = m->via_log;
        a->pieces++;
        if (frame->payload.size > a->largest)
                a->largest = frame->payload.size;
        a->done = m->last;
        rq__result__free_unpacked(m, NULL);
        n->frames++;
        if (n->auto_credit > 0 && !a->done && frame->payload.size > 0)
                node_credit(n, frame->request_id, frame->payload.size);
        return RQ_OK;
}

static inline rq_err node_on_failed(void *arg, ipc_link *link, const ipc_frame *frame) {
        node_answer *a = node_answer_of(arg, frame->request_id);
        (void) link;
        Rq__RequestFailed *m = rq__request_failed__unpack(NULL, frame->body.size, frame->body.data);
        assert_non_null(m);
        assert_false(a->done);
        a->done = a->failed = true;
        a->outcome = m->outcome;
        a->reason = m->reason;
        a->index = m->index;
        rq__request_failed__free_unpacked(m, NULL);
        return RQ_OK;
}

static inline rq_err node_on_status(void *arg, ipc_link *link, const ipc_frame *frame) {
        node *n = arg;
        (void) link;
        n->status.size = 0;
        assert_int_equal(rq_buf_append_bytes(&n->status, frame->payload), RQ_OK);
        assert_int_equal(rq_buf_append(&n->status, "", 1), RQ_OK);
        return RQ_OK;
}

typedef struct node_read {
        const char *sql;
        uint64_t min_index, credit, timeout_us, db_timeout_us;
        bool request_mode;
        bool at;               /* READ_AT from consensus, with index */
        uint64_t index;
} node_read;

static inline uint64_t node_ask(node *n, const node_read *in) {
        Rq__Statement statement = RQ__STATEMENT__INIT, *statements[] = { &statement };
        Rq__Query q = RQ__QUERY__INIT;
        statement.sql = (ProtobufCBinaryData) { strlen(in->sql), (uint8_t *) (uintptr_t) in->sql };
        q.statements = statements;
        q.n_statements = 1;
        q.min_index = in->min_index;
        q.credit_bytes = in->credit > 0 ? in->credit : 256 * 1024;
        q.timeout_us = in->timeout_us;
        q.db_timeout_us = in->db_timeout_us;
        q.request_mode = in->request_mode;
        uint8_t packed[4096], body[64];
        assert_true(rq__query__get_packed_size(&q) <= sizeof packed);
        rq_bytes payload = rq_bytes_of(packed, rq__query__pack(&q, packed));
        uint64_t id = ++n->next_id;
        (void) node_answer_of(n, id);
        if (!in->at) {
                assert_int_equal(ipc_link_send(ipc_connector_link(n->gateway), IPC_QUERY, id, (rq_bytes) {0}, payload), RQ_OK);
                return id;
        }
        Rq__ReadAt m = RQ__READ_AT__INIT;
        m.index = in->index;
        m.gateway = (ProtobufCBinaryData) { RQ_UUID_BYTES, n->gateway_self.incarnation.bytes };
        m.timeout_us = in->timeout_us;
        size_t size = rq__read_at__pack(&m, body);
        assert_int_equal(ipc_link_send(ipc_connector_link(n->consensus), IPC_READ_AT, id, rq_bytes_of(body, size), payload), RQ_OK);
        return id;
}

#define node_query(n, ...) node_ask(n, &(const node_read) { .sql = __VA_ARGS__ })

static inline node_answer *node_wait(node *n, uint64_t id) {
        node_answer *a = node_answer_of(n, id);
        NODE_UNTIL(n, a->done);
        return a;
}

static inline void node_assert_text(node *n, uint64_t id, const char *expected) {
        node_answer *a = node_wait(n, id);
        assert_false(a->failed);
        if (a->text.size != strlen(expected) || memcmp(a->text.data, expected, a->text.size) != 0)
                fail_msg("got %.*s, expected %s", (int) a->text.size, (const char *) a->text.data, expected);
}

static inline void node_assert_refused(node *n, uint64_t id, Rq__RequestFailed__Reason reason) {
        node_answer *a = node_wait(n, id);
        assert_true(a->failed);
        assert_int_equal(a->outcome, RQ__REQUEST_FAILED__OUTCOME__REFUSED);
        assert_int_equal(a->reason, reason);
}

static inline void node_cancel(node *n, uint64_t id) {
        assert_int_equal(ipc_link_send(ipc_connector_link(n->gateway), IPC_CANCEL, id, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK);
}

/* The status document as text, until the next call. */
static inline const char *node_status(node *n) {
        n->status.size = 0;
        assert_int_equal(ipc_link_send(ipc_connector_link(n->gateway), IPC_STATUS_GET, 1, (rq_bytes) {0}, (rq_bytes) {0}), RQ_OK);
        NODE_UNTIL(n, n->status.size > 0);
        return (const char *) n->status.data;
}

/* --- the process and its peers -------------------------------------------------------- */

static inline void node_nothing(void *arg, ipc_link *link) {
        (void) arg;
        (void) link;
}

static inline void node_connect_consensus(node *n) {
        static const ipc_rule rules[] = {
                { IPC_FETCH, IPC_STORE, 256, 0, node_on_fetch },
                { IPC_APPLIED, IPC_STORE, 256, 0, node_on_applied },
        };
        const ipc_handlers handlers = { .rules = rules, .rule_count = 2, .on_up = node_nothing, .on_down = node_nothing, .arg = n };
        const ipc_identity self = { .role = IPC_CONSENSUS, .incarnation = rq_uuid_random() };
        assert_int_equal(ipc_connect(n->loop, n->run_dir_fd, IPC_SOCKET_STORE, &self, &handlers, &n->consensus), RQ_OK);
}

static inline void node_connect_gateway(node *n) {
        static const ipc_rule rules[] = {
                { IPC_RESULT, IPC_STORE, 256, 1024 * 1024, node_on_result },
                { IPC_REQUEST_FAILED, IPC_STORE, 1024, 0, node_on_failed },
                { IPC_STATUS, IPC_STORE, 256, 1024 * 1024, node_on_status },
        };
        const ipc_handlers handlers = { .rules = rules, .rule_count = 3, .on_up = node_nothing, .on_down = node_nothing, .arg = n };
        assert_int_equal(ipc_connect(n->loop, n->run_dir_fd, IPC_SOCKET_STORE, &n->gateway_self, &handlers, &n->gateway), RQ_OK);
        NODE_UNTIL(n, ipc_connector_link(n->gateway) != NULL);
}

static inline void node_spawn(node *n) {
        n->pid = fork();
        assert_true(n->pid >= 0);
        if (n->pid > 0)
                return;
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void) signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes stands for a full disk */
        (void) execl(RQ_BIN_DIR "/rq-store", "rq-store", "-log-level=warning", n->flag != NULL ? n->flag : "-fk=false", n->dir, (char *) NULL);
        _exit(127);
}

static inline int node_reap(node *n) {
        int status = 0;
        for (int i = 0; i < 60000 && waitpid(n->pid, &status, WNOHANG) == 0; i++)
                node_run(n, 1);
        n->pid = 0;
        return status;
}

static inline void node_kill(node *n) {
        assert_int_equal(kill(n->pid, SIGKILL), 0);
        (void) node_reap(n);
        n->applied = n->checkpoint = 0; /* of the next run */
}

/* The exit code. */
static inline int node_stop(node *n) {
        assert_int_equal(kill(n->pid, SIGTERM), 0);
        int status = node_reap(n);
        n->applied = n->checkpoint = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int node_setup_alone(void **state) {
        node *n = calloc(1, sizeof *n);
        assert_non_null(n);
        char run_dir[80];
        (void) snprintf(n->dir, sizeof n->dir, "/tmp/rq-test-node-XXXXXX");
        assert_non_null(mkdtemp(n->dir));
        (void) snprintf(run_dir, sizeof run_dir, "%s/run", n->dir);
        assert_int_equal(mkdir(run_dir, 0700), 0);
        n->run_dir_fd = open(run_dir, O_DIRECTORY | O_CLOEXEC);
        n->gateway_self = (ipc_identity) { .role = IPC_GATEWAY, .incarnation = rq_uuid_random() };
        n->database_id = rq_uuid_random();
        assert_int_equal(rq_loop_new(&n->loop), RQ_OK);
        *state = n;
        return 0;
}

static inline int node_setup(void **state) {
        (void) node_setup_alone(state);
        node *n = *state;
        node_spawn(n);
        node_connect_gateway(n);
        node_connect_consensus(n);
        NODE_UNTIL(n, n->fetches == 1);
        return 0;
}

static inline int node_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        (void) st;
        (void) flag;
        (void) ftw;
        return remove(path);
}

static inline int node_teardown(void **state) {
        node *n = *state;
        if (n->pid > 0)
                node_kill(n);
        n->consensus = ipc_connector_free(n->consensus);
        n->gateway = ipc_connector_free(n->gateway);
        n->loop = rq_loop_free(n->loop);
        uint64_t id;
        size_t cursor = 0;
        for (node_answer *a; (a = rq_table_next(&n->answers, &cursor, &id)) != NULL; free(a))
                rq_buf_done(&a->text);
        rq_table_done(&n->answers);
        rq_buf_done(&n->log);
        rq_buf_done(&n->status);
        free(n->ends);
        (void) close(n->run_dir_fd);
        (void) nftw(n->dir, node_remove_one, 8, FTW_DEPTH | FTW_PHYS);
        free(n);
        return 0;
}

#endif
