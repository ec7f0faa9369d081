#include "io/statement.h"

#include "base/assert.h"
#include "io/wire.h"

/* Field numbers of value.proto. */
enum {
        STATEMENT_SQL = 1, STATEMENT_PARAMETERS = 2,
        PARAMETER_NAME = 1, PARAMETER_VALUE = 2,
        VALUE_FIELD_NULL = 1, VALUE_FIELD_INTEGER = 2, VALUE_FIELD_REAL = 3, VALUE_FIELD_TEXT = 4, VALUE_FIELD_BLOB = 5,
};

/* In a run a statement is length (varint) and content; the tag, which depends on
 * where the run goes, is added by statements_copy(). */

rq_err statement_begin(rq_buf *out, size_t *ret_start) {
        rq_err r = rq_buf_reserve(out, 1);
        if (r < 0)
                return r;
        *ret_start = out->size++; /* one byte of length is enough for most */
        return RQ_OK;
}

rq_err statement_end(rq_buf *out, size_t start) {
        size_t size = out->size - start - 1, more = wire_varint_bytes(size) - 1;
        rq_err r = rq_buf_reserve(out, more);
        if (r < 0)
                return r;
        if (more > 0)
                memmove(out->data + start + 1 + more, out->data + start + 1, size);
        (void) wire_put_varint(out->data + start, size);
        out->size += more;
        return RQ_OK;
}

rq_err statement_put_sql(rq_buf *out, rq_bytes sql) {
        rq_err r = rq_buf_reserve(out, 1 + WIRE_VARINT_BYTES_MAX + sql.size);
        if (r >= 0)
                out->size = (size_t) (wire_put_bytes(out->data + out->size, STATEMENT_SQL, sql.data, sql.size) - out->data);
        return r;
}

static uint64_t zigzag(int64_t v) { return (uint64_t) v << 1 ^ (uint64_t) (v >> 63); }

/* Content of the Value message but for text and blob bytes, which follow. */
static size_t value_head(const value *v, uint8_t head[static 1 + WIRE_VARINT_BYTES_MAX]) {
        uint8_t *p = head;
        uint64_t bits;
        switch (v->kind) {
        case VALUE_NULL:
                *p++ = wire_small_tag(VALUE_FIELD_NULL, WIRE_VARINT);
                *p++ = 1;
                break;
        case VALUE_INTEGER:
                *p++ = wire_small_tag(VALUE_FIELD_INTEGER, WIRE_VARINT);
                p = wire_put_varint(p, zigzag(v->integer));
                break;
        case VALUE_REAL:
                memcpy(&bits, &v->real, sizeof bits);
                *p++ = wire_small_tag(VALUE_FIELD_REAL, WIRE_FIXED64);
                rq_put_u64(p, bits);
                p += sizeof bits;
                break;
        case VALUE_TEXT:
        case VALUE_BLOB:
                *p++ = wire_small_tag(v->kind == VALUE_TEXT ? VALUE_FIELD_TEXT : VALUE_FIELD_BLOB, WIRE_BYTES);
                p = wire_put_varint(p, v->bytes.size);
                break;
        }
        return (size_t) (p - head);
}

rq_err statement_put_parameter(rq_buf *out, rq_bytes name, const value *v) {
        uint8_t head[1 + WIRE_VARINT_BYTES_MAX];
        size_t head_size = value_head(v, head);
        size_t bytes_size = v->kind == VALUE_TEXT || v->kind == VALUE_BLOB ? v->bytes.size : 0;
        size_t value_size = head_size + bytes_size;
        size_t name_size = name.size == 0 ? 0 : 1 + wire_varint_bytes(name.size) + name.size;
        size_t size = name_size + 1 + wire_varint_bytes(value_size) + value_size;

        rq_err r = rq_buf_reserve(out, 1 + WIRE_VARINT_BYTES_MAX + size);
        if (r < 0)
                return r;
        uint8_t *p = out->data + out->size;
        *p++ = wire_small_tag(STATEMENT_PARAMETERS, WIRE_BYTES);
        p = wire_put_varint(p, size);
        p = wire_put_bytes(p, PARAMETER_NAME, name.data, name.size);
        *p++ = wire_small_tag(PARAMETER_VALUE, WIRE_BYTES);
        p = wire_put_varint(p, value_size);
        memcpy(p, head, head_size);
        p += head_size;
        if (bytes_size > 0)
                memcpy(p, v->bytes.data, bytes_size);
        out->size = (size_t) (p + bytes_size - out->data);
        return RQ_OK;
}

rq_err statement_put(rq_buf *out, rq_bytes sql) {
        size_t start;
        rq_err r = statement_begin(out, &start);
        if (r >= 0)
                r = statement_put_sql(out, sql);
        if (r >= 0)
                r = statement_end(out, start);
        return r;
}

/* The run was written by us: what does not fit is our own mistake. */
static rq_bytes next_content(rq_bytes run, size_t *at, size_t *ret_whole) {
        size_t begin = *at;
        uint64_t size;
        bool good = wire_get_varint(run, at, &size) && size <= run.size - *at;
        rq_assert(good);
        rq_bytes content = rq_bytes_of(run.data + *at, (size_t) size);
        *at += (size_t) size;
        *ret_whole = *at - begin;
        return content;
}

size_t statements_size(rq_bytes run, uint32_t field) {
        size_t tag_size = wire_varint_bytes(wire_tag(field, WIRE_BYTES)), count = 0, whole;
        for (size_t at = 0; at < run.size; count++)
                (void) next_content(run, &at, &whole);
        return run.size + count * tag_size;
}

uint8_t *statements_copy(uint8_t *p, rq_bytes run, uint32_t field) {
        for (size_t at = 0, whole; at < run.size;) {
                const uint8_t *from = run.data + at;
                (void) next_content(run, &at, &whole);
                p = wire_put_varint(p, wire_tag(field, WIRE_BYTES));
                memcpy(p, from, whole);
                p += whole;
        }
        return p;
}

bool statements_next(rq_bytes run, size_t *at, rq_bytes *ret_sql) {
        size_t whole, in = 0;
        uint32_t field;
        uint64_t number;
        rq_bytes sql;
        if (*at >= run.size)
                return false;
        rq_bytes content = next_content(run, at, &whole);
        *ret_sql = (rq_bytes) {0};
        if (content.size > 0 && wire_get_field(content, &in, &field, &number, &sql) && field == STATEMENT_SQL)
                *ret_sql = sql;
        return true;
}
