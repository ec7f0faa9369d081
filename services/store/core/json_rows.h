/* Writes results as the JSON that clients get (docs/http-api.md), once, into a
 * buffer that the caller empties when it likes. Knows values, not statements:
 * io/stmt_rows.c feeds it from SQLite.
 *
 * The document goes: json_begin, then for each statement either one of
 * json_write_result, json_error_result, json_empty_result, or json_rows_begin,
 * json_row + json_cell_*..., json_rows_end; then json_end. Errors: only lack of
 * memory; it is sticky, json_failed() tells, and what was written is void. */
#ifndef RQ_STORE_JSON_ROWS_H
#define RQ_STORE_JSON_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef struct json_options {
        bool associative, timings, pretty, blob_array;
} json_options;

/* How a column's cells are shown, from its declared type (lower-cased). */
typedef enum json_column_kind {
        JSON_COLUMN_PLAIN,
        JSON_COLUMN_BOOLEAN,  /* boolean: INTEGER as true/false */
        JSON_COLUMN_TIME,     /* date, datetime, timestamp: RFC 3339 */
        JSON_COLUMN_TEXTUAL,  /* text, json, varchar...: a BLOB is shown as string */
} json_column_kind;

typedef struct json_column {
        const char *name;      /* borrowed until json_rows_end */
        const char *type;      /* declared type, any case; NULL: none, inferred from the first row */
} json_column;

typedef struct json_writer json_writer;

json_writer *json_writer_new(void);                    /* NULL: out of memory */
json_writer *json_writer_free(json_writer *w);

/* Starts a document; what was in the buffer is dropped. */
void json_begin(json_writer *w, const json_options *options);

/* A statement that changed something, or nothing ({}). inserted: last_insert_id
 * is shown. In associative form "rows":null is shown last.
 * elapsed_ns is shown with timings. */
void json_write_result(json_writer *w, bool inserted, int64_t last_insert_id, int64_t rows_affected, uint64_t elapsed_ns);
/* {"error":...}; of_query: in associative form {"rows":[],"error":...}. */
void json_error_result(json_writer *w, const char *text, bool of_query);
/* {} ; in associative form {"rows":[]} (of_query) or {"rows":null}. */
void json_empty_result(json_writer *w, bool of_query);

/* Rows. first_types: storage class names of the first row's cells ("integer",
 * "real", "text", "blob", "" for NULL), for columns without a declared type;
 * NULL: there are no rows. Arrays of column_count. */
void json_rows_begin(json_writer *w, const json_column *columns, uint32_t column_count, const char *const *first_types);
void json_row(json_writer *w); /* begins the next row; its cells follow in column order */
void json_cell_null(json_writer *w);
void json_cell_integer(json_writer *w, int64_t value);
void json_cell_real(json_writer *w, double value);
void json_cell_text(json_writer *w, rq_bytes value);
void json_cell_blob(json_writer *w, rq_bytes value);
void json_rows_end(json_writer *w, uint64_t elapsed_ns);
/* Ends the rows of a statement that failed on the way: "error" after what was
 * written, in the same object. */
void json_rows_failed(json_writer *w, const char *text);

/* Ends "results"; error: the top-level error or NULL. The closing brace is the
 * gateway's (proto/README.md, Results). */
void json_end(json_writer *w, const char *error);

/* What has been written since json_begin or the last json_reset_bytes; the
 * caller may send it and reset at any time between calls. */
rq_bytes json_bytes(const json_writer *w);
void json_reset_bytes(json_writer *w);
bool json_failed(const json_writer *w);

#endif
