/* Statements (proto/value.proto) written as they are read: a list of them is a
 * run of fields, which becomes part of a SqlEntry or a Query as it is. The two
 * differ in the field's number only. */
#ifndef RQ_GATEWAY_STATEMENT_H
#define RQ_GATEWAY_STATEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { STATEMENTS_OF_ENTRY = 16, STATEMENTS_OF_QUERY = 1 }; /* field numbers */

/* Of one request, encoded: more fits neither an entry of the log nor a query.
 * JSON of the same size may be above it: an integer of two bytes takes six. */
enum {
        STATEMENTS_BYTES_MAX = 64 * 1024 * 1024,
        ELEMENTS_MAX         = 1000000, /* statements and parameters of a request together */
};
#define STATEMENTS_TOO_LARGE "statements larger than the limit (64 MiB encoded as they are sent, 1000000 statements and parameters); send fewer at a time, or use /db/load for bulk data"

typedef enum value_kind { VALUE_NULL, VALUE_INTEGER, VALUE_REAL, VALUE_TEXT, VALUE_BLOB } value_kind;

typedef struct value {
        value_kind kind;
        int64_t integer;
        double real;
        rq_bytes bytes; /* TEXT, BLOB */
} value;

/* begin, then sql, then its parameters in order, then end with what begin
 * returned. Errors: RQ_ENOMEM. */
rq_err statement_begin(rq_buf *out, size_t *ret_start);
rq_err statement_put_sql(rq_buf *out, rq_bytes sql);
rq_err statement_put_parameter(rq_buf *out, rq_bytes name, const value *v);
rq_err statement_end(rq_buf *out, size_t start);

/* All in one for a statement without parameters. */
rq_err statement_put(rq_buf *out, rq_bytes sql);

/* Size of a run written with begin and end when it is copied under a field
 * number, and the copy; returns where it ends. */
size_t statements_size(rq_bytes run, uint32_t field);
uint8_t *statements_copy(uint8_t *p, rq_bytes run, uint32_t field);

/* Walks a run: SQL of the statement at *at, which is advanced. false: the end. */
bool statements_next(rq_bytes run, size_t *at, rq_bytes *ret_sql);

#endif
