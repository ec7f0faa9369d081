/* Messages written by hand, over a real link, against the generated code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/socket.h>

#include "consensus.pb-c.h"
#include "io/message.h"
#include "io/statement.h"
#include "log_entry.pb-c.h"
#include "record.h"
#include "store.pb-c.h"

typedef struct side { ipc_link *link; bool up; uint16_t type; uint64_t id; rq_buf body, payload; } side;

static rq_loop *loop;
static side near_side, far_side;

static void on_up(void *arg, ipc_link *link) {
        (void) link;
        ((side *) arg)->up = true;
}

static void on_down(void *arg, ipc_link *link) {
        (void) link;
        ((side *) arg)->up = false;
}

static rq_err on_frame(void *arg, ipc_link *link, const ipc_frame *frame) {
        side *s = arg;
        (void) link;
        s->type = frame->type;
        s->id = frame->request_id;
        s->body.size = s->payload.size = 0;
        assert_int_equal(rq_buf_append_bytes(&s->body, frame->body), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(&s->payload, frame->payload), RQ_OK);
        return RQ_OK;
}

static void turn(void) {
        for (int i = 0; i < 10; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
}

static const ipc_rule rules[] = {
        { IPC_PROPOSE, IPC_GATEWAY, 1024, 1 << 20, on_frame }, { IPC_READ, IPC_GATEWAY, 1024, 1 << 20, on_frame },
        { IPC_QUERY, IPC_GATEWAY, 0, 1 << 20, on_frame },      { IPC_CREDIT, IPC_GATEWAY, 1024, 0, on_frame },
};

static void open_link(int fd, ipc_side which, side *s) {
        const ipc_identity self = { .role = IPC_GATEWAY };
        const ipc_handlers handlers = { .rules = rules, .rule_count = sizeof rules / sizeof rules[0], .on_up = on_up, .on_down = on_down, .arg = s };
        assert_int_equal(ipc_link_new(loop, fd, which, &self, &handlers, NULL, NULL, &s->link), RQ_OK);
}

static int open_links(void **state) {
        int pair[2];
        (void) state;
        if (rq_loop_new(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
                return -1;
        open_link(pair[0], IPC_CONNECTS, &near_side);
        open_link(pair[1], IPC_ACCEPTS, &far_side);
        turn();
        return near_side.up && far_side.up ? 0 : -1;
}

static int close_links(void **state) {
        (void) state;
        ipc_link_close(near_side.link);
        ipc_link_close(far_side.link);
        turn();
        rq_buf_done(&far_side.body);
        rq_buf_done(&far_side.payload);
        (void) rq_loop_free(loop);
        return 0;
}

/* Both must be what the generated code writes for what it has read. */
#define ASSERT_CANONICAL(message, prefix, buf)                                   \
        do {                                                                     \
                uint8_t *again_ = malloc((buf).size + 1);                        \
                assert_int_equal(prefix##__get_packed_size(message), (buf).size); \
                assert_int_equal(prefix##__pack(message, again_), (buf).size);   \
                assert_memory_equal(again_, (buf).data, (buf).size);             \
                free(again_);                                                    \
        } while (0)

static rq_buf statements(void) {
        rq_buf run = {0};
        size_t start;
        char *large = calloc(1, 70000);
        memset(large, 'L', 70000);
        assert_int_equal(statement_begin(&run, &start), RQ_OK);
        assert_int_equal(statement_put_sql(&run, rq_bytes_text("INSERT ?")), RQ_OK);
        assert_int_equal(statement_put_parameter(&run, rq_bytes_text("name"), &(value) { .kind = VALUE_INTEGER, .integer = INT64_MIN }), RQ_OK);
        assert_int_equal(statement_put_parameter(&run, (rq_bytes) {0}, &(value) { .kind = VALUE_TEXT, .bytes = rq_bytes_of(large, 70000) }), RQ_OK);
        assert_int_equal(statement_end(&run, start), RQ_OK);
        assert_int_equal(statement_put(&run, rq_bytes_text("SELECT 1")), RQ_OK);
        assert_int_equal(statement_put(&run, rq_bytes_text("")), RQ_OK);
        free(large);
        return run;
}

static void propose(void **state) {
        (void) state;
        rq_buf run = statements();
        message_entry entry = {
                .request_id = UINT64_C(0x123456789a), .node = rq_bytes_text("node one"), .disk_uuid = rq_bytes_of("0123456789abcdef", 16),
                .timeout_us = 30000000, .step_budget = UINT64_C(5000000000), .statements = rq_buf_bytes(&run),
                .transaction = true, .request_mode = true, .render = { .timings = true, .raft_index = true },
        };
        memset(entry.incarnation.bytes, 7, RQ_UUID_BYTES);
        assert_int_equal(message_send_propose(near_side.link, &entry), RQ_OK);
        turn();
        assert_int_equal(far_side.type, IPC_PROPOSE);
        assert_int_equal(far_side.id, entry.request_id);
        Rq__Propose *p = rq__propose__unpack(NULL, far_side.body.size, far_side.body.data);
        Rq__SqlEntry *e = rq__sql_entry__unpack(NULL, far_side.payload.size, far_side.payload.data);
        assert_true(p != NULL && e != NULL);
        ASSERT_CANONICAL(p, rq__propose, far_side.body);
        ASSERT_CANONICAL(e, rq__sql_entry, far_side.payload);
        assert_int_equal(p->kind, 2);
        assert_int_equal(p->timeout_us, 30000000);
        assert_true(p->step_budget == UINT64_C(5000000000));
        assert_true(e->origin->request_id == entry.request_id);
        assert_int_equal(e->origin->incarnation.len, RQ_UUID_BYTES);
        assert_int_equal(e->origin->node.len, 8);
        assert_int_equal(e->origin->disk_uuid.len, 16);
        assert_int_equal(e->n_statements, 3);
        assert_true(e->transaction && e->mode == RQ__SQL_MODE__SQL_REQUEST && e->render->timings && e->render->raft_index && !e->render->pretty);
        rq__propose__free_unpacked(p, NULL);
        rq__sql_entry__free_unpacked(e, NULL);

        /* The least there can be. */
        entry = (message_entry) { .request_id = 1 };
        memset(entry.incarnation.bytes, 1, RQ_UUID_BYTES);
        assert_int_equal(message_send_propose(near_side.link, &entry), RQ_OK);
        turn();
        e = rq__sql_entry__unpack(NULL, far_side.payload.size, far_side.payload.data);
        ASSERT_CANONICAL(e, rq__sql_entry, far_side.payload);
        assert_null(e->render);
        rq__sql_entry__free_unpacked(e, NULL);
        rq_buf_done(&run);
}

static void read_and_query(void **state) {
        (void) state;
        rq_buf run = statements();
        message_query query = {
                .statements = rq_buf_bytes(&run), .transaction = true, .request_mode = true,
                .render = { true, true, true, true, true, true }, .db_timeout_us = 5, .min_index = UINT64_MAX, .credit_bytes = 262144, .timeout_us = 17,
        };
        assert_int_equal(message_send_read(near_side.link, 9, RQ__READ_LEVEL__LEVEL_STRONG, &query), RQ_OK);
        turn();
        assert_int_equal(far_side.type, IPC_READ);
        Rq__Read *r = rq__read__unpack(NULL, far_side.body.size, far_side.body.data);
        Rq__Query *q = rq__query__unpack(NULL, far_side.payload.size, far_side.payload.data);
        assert_true(r != NULL && q != NULL);
        ASSERT_CANONICAL(r, rq__read, far_side.body);
        ASSERT_CANONICAL(q, rq__query, far_side.payload);
        assert_int_equal(r->level, RQ__READ_LEVEL__LEVEL_STRONG);
        assert_int_equal(r->timeout_us, 17);
        assert_true(r->min_index == UINT64_MAX && q->min_index == UINT64_MAX);
        assert_true(q->transaction && q->request_mode && q->render->associative && q->render->raft_index);
        assert_int_equal(q->db_timeout_us, 5);
        assert_int_equal(q->credit_bytes, 262144);
        assert_int_equal(q->n_statements, 3);
        rq__read__free_unpacked(r, NULL);
        rq__query__free_unpacked(q, NULL);

        query = (message_query) { .timeout_us = 1, .freshness_us = UINT64_C(5000000000), .freshness_strict = true };
        assert_int_equal(message_send_read(near_side.link, 9, RQ__READ_LEVEL__LEVEL_LINEARIZABLE, &query), RQ_OK);
        turn();
        r = rq__read__unpack(NULL, far_side.body.size, far_side.body.data);
        assert_non_null(r);
        ASSERT_CANONICAL(r, rq__read, far_side.body);
        assert_true(r->freshness_us == UINT64_C(5000000000) && r->freshness_strict);
        rq__read__free_unpacked(r, NULL);

        query = (message_query) {0};
        assert_int_equal(message_send_query(near_side.link, 10, &query), RQ_OK);
        turn();
        assert_int_equal(far_side.type, IPC_QUERY);
        assert_int_equal(far_side.payload.size, 0);
        assert_int_equal(message_send_credit(near_side.link, 11, 300), RQ_OK);
        turn();
        Rq__Credit *c = rq__credit__unpack(NULL, far_side.body.size, far_side.body.data);
        assert_int_equal(c->bytes, 300);
        rq__credit__free_unpacked(c, NULL);
        rq_buf_done(&run);
}

/* More than any receiver takes would break the link, again and again. */
static void too_large_is_refused_here(void **state) {
        (void) state;
        rq_buf run = {0};
        char *sql = calloc(1, RECORD_BODY_BYTES_MAX);
        assert_int_equal(statement_put(&run, rq_bytes_of(sql, RECORD_BODY_BYTES_MAX)), RQ_OK);
        const message_query query = { .statements = rq_buf_bytes(&run) };
        const message_entry entry = { .request_id = 1, .statements = rq_buf_bytes(&run) };
        assert_int_equal(message_send_query(near_side.link, 1, &query), RQ_ETOOBIG);
        assert_int_equal(message_send_read(near_side.link, 1, 1, &query), RQ_ETOOBIG);
        assert_int_equal(message_send_propose(near_side.link, &entry), RQ_ETOOBIG);
        assert_int_equal(ipc_link_queued_bytes(near_side.link), 0);
        free(sql);
        rq_buf_done(&run);
}

/* The levels' numbers are passed as they are. */
static void levels_have_the_same_numbers(void **state) {
        (void) state;
        assert_int_equal(RQ__READ_LEVEL__LEVEL_NONE, 0);
        assert_int_equal(RQ__READ_LEVEL__LEVEL_WEAK, 1);
        assert_int_equal(RQ__READ_LEVEL__LEVEL_LINEARIZABLE, 2);
        assert_int_equal(RQ__READ_LEVEL__LEVEL_STRONG, 3);
        assert_int_equal(RQ__REQUEST_FAILED__OUTCOME__COMMITTED, 3);
        assert_int_equal(RQ__REQUEST_FAILED__REASON__STORE_FAILED, 10);
        assert_int_equal(RQ__REQUEST_FAILED__REASON__NEEDS_LOG, 8);
}

static void results(void **state) {
        Rq__Result result = RQ__RESULT__INIT;
        uint8_t bytes[64];
        message_result out;
        (void) state;
        result.last = true;
        result.index = UINT64_C(9007199254740993);
        result.via_log = true;
        size_t size = rq__result__pack(&result, bytes);
        assert_int_equal(message_result_decode(rq_bytes_of(bytes, size), &out), RQ_OK);
        assert_true(out.last && out.via_log && out.index == result.index);
        for (size_t n = 1; n < size; n++) /* cut inside a field */
                if (message_result_decode(rq_bytes_of(bytes, n), &out) == RQ_OK)
                        assert_true(n == 2 || n == size - 2);
        assert_int_equal(message_result_decode((rq_bytes) {0}, &out), RQ_OK);
        assert_false(out.last);
        /* Fields of a newer version are passed over. */
        static const uint8_t newer[] = { 0x08, 1, 0x52, 2, 'a', 'b', 0x59, 1, 2, 3, 4, 5, 6, 7, 8, 0x65, 1, 2, 3, 4, 0x10, 5 };
        assert_int_equal(message_result_decode(rq_bytes_of(newer, sizeof newer), &out), RQ_OK);
        assert_true(out.last && out.index == 5);
        static const uint8_t bad[] = { 0x52, 0x7f, 'a' };
        assert_int_equal(message_result_decode(rq_bytes_of(bad, sizeof bad), &out), RQ_EPROTO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(propose), cmocka_unit_test(read_and_query), cmocka_unit_test(too_large_is_refused_here), cmocka_unit_test(levels_have_the_same_numbers), cmocka_unit_test(results),
        };
        return cmocka_run_group_tests(tests, open_links, close_links);
}
