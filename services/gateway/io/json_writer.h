/* Writes a small JSON document, compact or with an indent of four blanks, in
 * the form of Go's encoder. Errors are kept: asked for once, at the end. */
#ifndef RQ_GATEWAY_JSON_WRITER_H
#define RQ_GATEWAY_JSON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

typedef struct json_writer {
        rq_buf *out;
        bool pretty;
        unsigned depth;
        bool has_members; /* of the innermost object or array */
        rq_err err;
} json_writer;

static inline json_writer json_writer_of(rq_buf *out, bool pretty) {
        return (json_writer) { .out = out, .pretty = pretty };
}

/* key: NULL in an array and at the top. */
void writer_open(json_writer *w, const char *key, char bracket);   /* '{' or '[' */
void writer_close(json_writer *w, char bracket);                   /* '}' or ']' */
void writer_string(json_writer *w, const char *key, rq_bytes value);
void writer_text(json_writer *w, const char *key, const char *value);
void writer_bool(json_writer *w, const char *key, bool value);
void writer_raw(json_writer *w, const char *key, const char *value); /* a number, as text */

#endif
