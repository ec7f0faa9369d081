#include "io/message.h"

#include "io/statement.h"
#include "io/wire.h"
#include "record.h"

enum {
        FIXED_BYTES_MAX = 128, /* numbers and flags of any message here, with tags */
};

_Static_assert((int) STATEMENTS_BYTES_MAX < (int) RECORD_BODY_BYTES_MAX && (int) RECORD_BODY_BYTES_MAX <= (int) IPC_PAYLOAD_BYTES_MAX,
               "what the parser lets pass fits a record, and a record fits a frame");

static rq_err reserve(ipc_link *link, size_t body_bytes, size_t payload_bytes, uint8_t **ret_space) {
        if (payload_bytes > RECORD_BODY_BYTES_MAX)
                return RQ_ETOOBIG;
        return ipc_link_reserve(link, body_bytes, payload_bytes, ret_space);
}

/* --- fields of both Query and SqlEntry -------------------------------------- */

static size_t render_size(const message_render *r) {
        return 2u * ((unsigned) r->associative + r->timings + r->pretty + r->blob_array + r->qualify_columns + r->raft_index);
}

/* An empty Render is left out: the receiver's default. */
static uint8_t *put_render(uint8_t *p, uint32_t field, const message_render *r) {
        size_t size = render_size(r);
        if (size == 0)
                return p;
        p = wire_put_varint(p, wire_tag(field, WIRE_BYTES));
        p = wire_put_varint(p, size);
        p = wire_put_number(p, 1, r->associative);
        p = wire_put_number(p, 2, r->timings);
        p = wire_put_number(p, 3, r->pretty);
        p = wire_put_number(p, 4, r->blob_array);
        p = wire_put_number(p, 5, r->qualify_columns);
        return wire_put_number(p, 6, r->raft_index);
}

/* --- PROPOSE ---------------------------------------------------------------- */

static size_t origin_size(const message_entry *e) {
        return 2 + RQ_UUID_BYTES + 1 + wire_varint_bytes(e->request_id) +
               (e->node.size == 0 ? 0 : 1 + wire_varint_bytes(e->node.size) + e->node.size) +
               (e->disk_uuid.size == 0 ? 0 : 1 + wire_varint_bytes(e->disk_uuid.size) + e->disk_uuid.size);
}

static uint8_t *put_origin(uint8_t *p, const message_entry *e) {
        p = wire_put_varint(p, wire_tag(1, WIRE_BYTES));
        p = wire_put_varint(p, origin_size(e));
        p = wire_put_bytes(p, 1, e->incarnation.bytes, RQ_UUID_BYTES);
        p = wire_put_number(p, 2, e->request_id);
        p = wire_put_bytes(p, 3, e->node.data, e->node.size);
        return wire_put_bytes(p, 4, e->disk_uuid.data, e->disk_uuid.size);
}

/* SqlGroup: statements 1, transaction 2. */
rq_err message_put_group(rq_buf *out, uint32_t statement_count, bool transaction) {
        uint8_t field[3 + 2 * (1 + WIRE_VARINT_BYTES_MAX)], *size = wire_put_varint(field, wire_tag(20, WIRE_BYTES)), *p = size + 1;
        p = wire_put_number(p, 1, statement_count);
        p = wire_put_number(p, 2, transaction);
        *size = (uint8_t) (p - size - 1);
        return rq_buf_append(out, field, (size_t) (p - field));
}

/* Propose: kind 1, timeout_us 2, step_budget 3. SqlEntry: origin 1, statements 16, transaction 17, mode 18, render 19,
 * groups 20. */
rq_err message_send_propose(ipc_link *link, const message_entry *e) {
        size_t room = FIXED_BYTES_MAX + origin_size(e) + statements_size(e->statements, STATEMENTS_OF_ENTRY) + e->groups.size;
        uint8_t *body;
        rq_err r = reserve(link, FIXED_BYTES_MAX, room, &body);
        if (r < 0)
                return r;

        uint8_t *p = wire_put_number(body, 1, RECORD_SQL);
        p = wire_put_number(p, 2, e->timeout_us);
        p = wire_put_number(p, 3, e->step_budget);
        uint8_t *payload = p;
        p = put_origin(p, e);
        p = statements_copy(p, e->statements, STATEMENTS_OF_ENTRY);
        p = wire_put_number(p, 17, e->transaction);
        p = wire_put_number(p, 18, e->request_mode);
        p = put_render(p, 19, &e->render);
        if (e->groups.size > 0)
                p = (uint8_t *) memcpy(p, e->groups.data, e->groups.size) + e->groups.size;
        ipc_link_commit(link, IPC_PROPOSE, e->request_id, (size_t) (payload - body), (size_t) (p - payload));
        return RQ_OK;
}

rq_err message_send_chunk(ipc_link *link, const message_chunk *c) {
        uint8_t *body;
        rq_err r = reserve(link, FIXED_BYTES_MAX, LOAD_CHUNK_HEADER_BYTES + c->data.size, &body);
        if (r < 0)
                return r;
        uint8_t *p = wire_put_number(body, 1, c->abort ? RECORD_ABORT_GROUP : RECORD_LOAD_CHUNK);
        p = wire_put_number(p, 2, c->timeout_us);
        p = wire_put_number(p, 3, c->step_budget);
        load_chunk_encode(p, &c->chunk);
        if (c->data.size > 0)
                memcpy(p + LOAD_CHUNK_HEADER_BYTES, c->data.data, c->data.size);
        ipc_link_commit(link, IPC_PROPOSE, c->request_id, (size_t) (p - body), LOAD_CHUNK_HEADER_BYTES + c->data.size);
        return RQ_OK;
}

/* --- READ, QUERY ------------------------------------------------------------ */

static size_t query_room(const message_query *q) {
        return FIXED_BYTES_MAX + statements_size(q->statements, STATEMENTS_OF_QUERY) + q->backup.size + 2 * WIRE_VARINT_BYTES_MAX;
}

/* Query: statements 1, transaction 2, render 3, db_timeout_us 4, request_mode 5, min_index 6, credit_bytes 7, timeout_us 8,
 * max_rows 9, max_bytes 10, backup 11. */
static uint8_t *put_query(uint8_t *p, const message_query *q) {
        p = statements_copy(p, q->statements, STATEMENTS_OF_QUERY);
        p = wire_put_number(p, 2, q->transaction);
        p = put_render(p, 3, &q->render);
        p = wire_put_number(p, 4, q->db_timeout_us);
        p = wire_put_number(p, 5, q->request_mode);
        p = wire_put_number(p, 6, q->min_index);
        p = wire_put_number(p, 7, q->credit_bytes);
        p = wire_put_number(p, 9, q->max_rows);
        p = wire_put_number(p, 10, q->max_bytes);
        if (q->is_backup)
                p = wire_put_message(p, 11, q->backup);
        return wire_put_number(p, 8, q->timeout_us);
}

/* Read: level 1, timeout_us 2, min_index 3, freshness_us 4, freshness_strict 5. */
rq_err message_send_read(ipc_link *link, uint64_t request_id, unsigned level, const message_query *q) {
        uint8_t *body;
        rq_err r = reserve(link, FIXED_BYTES_MAX, query_room(q), &body);
        if (r < 0)
                return r;
        uint8_t *p = wire_put_number(body, 1, level);
        p = wire_put_number(p, 2, q->timeout_us);
        p = wire_put_number(p, 3, q->min_index);
        p = wire_put_number(p, 4, q->freshness_us);
        p = wire_put_number(p, 5, q->freshness_strict);
        uint8_t *payload = p;
        p = put_query(p, q);
        ipc_link_commit(link, IPC_READ, request_id, (size_t) (payload - body), (size_t) (p - payload));
        return RQ_OK;
}

rq_err message_send_query(ipc_link *link, uint64_t request_id, const message_query *q) {
        uint8_t *payload;
        rq_err r = reserve(link, 0, query_room(q), &payload);
        if (r < 0)
                return r;
        ipc_link_commit(link, IPC_QUERY, request_id, 0, (size_t) (put_query(payload, q) - payload));
        return RQ_OK;
}

rq_err message_send_credit(ipc_link *link, uint64_t request_id, uint64_t bytes) {
        uint8_t *body;
        rq_err r = ipc_link_reserve(link, 1 + WIRE_VARINT_BYTES_MAX, 0, &body);
        if (r < 0)
                return r;
        ipc_link_commit(link, IPC_CREDIT, request_id, (size_t) (wire_put_number(body, 1, bytes) - body), 0);
        return RQ_OK;
}

/* --- RESULT: last 1, index 2, via_log 3 ------------------------------------- */

rq_err message_result_decode(rq_bytes body, message_result *ret_result) {
        message_result result = {0};
        for (size_t at = 0; at < body.size;) {
                uint32_t field;
                uint64_t number = 0;
                rq_bytes ignored;
                if (!wire_get_field(body, &at, &field, &number, &ignored))
                        return RQ_EPROTO;
                switch (field) {
                case 1: result.last = number != 0; break;
                case 2: result.index = number; break;
                case 3: result.via_log = number != 0; break;
                default: break; /* of a newer version */
                }
        }
        *ret_result = result;
        return RQ_OK;
}
