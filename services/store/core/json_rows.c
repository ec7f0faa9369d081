#include "core/json_rows.h"

#include <stdlib.h>

#include "base/assert.h"
#include "core/json_number.h"
#include "core/json_text.h"
#include "core/json_time.h"

enum {
        INDENT = 4,
        RESULT_LEVEL = 2, /* {"results":[{ */
        KEY_LEVEL = 3,
        ROW_LEVEL = 4,
        CELL_LEVEL = 5,
        BYTE_LEVEL = 6, /* of a BLOB as array */
        SHORT_COPY = 16,
        KEPT_BYTES = 1024 * 1024, /* a larger buffer is freed when it is empty */
};

/* What stands before a cell (separator, line break, key) is the same in each
 * row and lies ready in lead. */
typedef struct column {
        size_t lead_start, lead_size;
        json_column_kind kind;
} column;

/* For associative rows: the columns that are shown, by name. */
typedef struct shown {
        const char *name;
        uint32_t index;
} shown;

struct json_writer {
        rq_buf out;
        bool failed;
        json_options options;
        uint32_t result_count;
        uint32_t key_count; /* in the result's object */

        /* Rows. */
        bool in_rows;
        uint64_t row_count;
        uint32_t column_count;
        uint32_t next_cell;
        uint32_t capacity; /* of the three arrays */
        column *columns;
        shown *shown;
        uint32_t shown_count;
        size_t *cell_ends;
        rq_buf lead; /* SHORT_COPY bytes of slack behind the last */
        rq_buf row_start, row_end, row_next;

        /* Cells that come in another order than they are shown (associative)
         * wait here for the end of their row. */
        bool reordered;
        rq_buf row;
};

json_writer *json_writer_new(void) {
        return calloc(1, sizeof(json_writer));
}

json_writer *json_writer_free(json_writer *w) {
        if (w == NULL)
                return NULL;
        rq_buf_done(&w->out);
        rq_buf_done(&w->lead);
        rq_buf_done(&w->row_start);
        rq_buf_done(&w->row_end);
        rq_buf_done(&w->row_next);
        rq_buf_done(&w->row);
        free(w->columns);
        free(w->shown);
        free(w->cell_ends);
        free(w);
        return NULL;
}

static void check(json_writer *w, rq_err r) {
        if (r < 0)
                w->failed = true;
}

static void put(json_writer *w, const char *text) {
        check(w, rq_buf_append_text(&w->out, text));
}

static void put_string(json_writer *w, const char *text) {
        check(w, json_text_append(&w->out, rq_bytes_text(text)));
}

static void break_line_in(json_writer *w, rq_buf *buf, unsigned level) {
        static const char line[] = "\n                        "; /* BYTE_LEVEL * INDENT blanks */
        _Static_assert(sizeof line - 2 == BYTE_LEVEL * INDENT, "one line for all levels");
        if (w->options.pretty)
                check(w, rq_buf_append(buf, line, 1 + level * INDENT));
}

static void break_line(json_writer *w, unsigned level) {
        break_line_in(w, &w->out, level);
}

static const char *colon(const json_writer *w) {
        return w->options.pretty ? ": " : ":";
}

static void put_integer(json_writer *w, int64_t value) {
        uint8_t text[JSON_INTEGER_ROOM];
        uint8_t *end = json_integer_put(text, value);
        check(w, rq_buf_append(&w->out, text, (size_t) (end - text)));
}

static void empty(rq_buf *buf) {
        if (buf->capacity > KEPT_BYTES)
                rq_buf_done(buf);
        buf->size = 0;
}

void json_begin(json_writer *w, const json_options *options) {
        empty(&w->out);
        empty(&w->row);
        w->failed = false;
        w->options = *options;
        w->result_count = 0;
        w->in_rows = false;
        put(w, "{");
        break_line(w, 1);
        put(w, "\"results\"");
        put(w, colon(w));
        put(w, "[");
}

static void result_begin(json_writer *w) {
        rq_assert(!w->in_rows);
        if (w->result_count++ > 0)
                put(w, ",");
        break_line(w, RESULT_LEVEL);
        put(w, "{");
        w->key_count = 0;
}

static void result_key(json_writer *w, const char *key) {
        if (w->key_count++ > 0)
                put(w, ",");
        break_line(w, KEY_LEVEL);
        put(w, "\"");
        put(w, key);
        put(w, "\"");
        put(w, colon(w));
}

static void result_end(json_writer *w) {
        if (w->key_count > 0)
                break_line(w, RESULT_LEVEL);
        put(w, "}");
}

static void put_time(json_writer *w, uint64_t elapsed_ns) {
        if (!w->options.timings || elapsed_ns == 0)
                return;
        /* As Go's Duration.Seconds, so that the digits are its digits. */
        double seconds = (double) (elapsed_ns / 1000000000) + (double) (elapsed_ns % 1000000000) / 1e9;
        uint8_t text[JSON_REAL_ROOM];
        uint8_t *end = json_real_put(text, seconds);
        result_key(w, "time");
        check(w, rq_buf_append(&w->out, text, (size_t) (end - text)));
}

void json_write_result(json_writer *w, bool inserted, int64_t last_insert_id, int64_t rows_affected,
                       uint64_t elapsed_ns) {
        result_begin(w);
        if (inserted && last_insert_id != 0) {
                result_key(w, "last_insert_id");
                put_integer(w, last_insert_id);
        }
        if (rows_affected != 0) {
                result_key(w, "rows_affected");
                put_integer(w, rows_affected);
        }
        put_time(w, elapsed_ns);
        if (w->options.associative) {
                result_key(w, "rows");
                put(w, "null");
        }
        result_end(w);
}

void json_error_result(json_writer *w, const char *text, bool of_query) {
        result_begin(w);
        if (w->options.associative && of_query) {
                result_key(w, "rows");
                put(w, "[]");
        }
        result_key(w, "error");
        put_string(w, text);
        result_end(w);
}

void json_empty_result(json_writer *w, bool of_query) {
        result_begin(w);
        if (w->options.associative) {
                result_key(w, "rows");
                put(w, of_query ? "[]" : "null");
        }
        result_end(w);
}

/* Declared types are compared lower-cased and as a whole: varchar(10) is
 * textual, int or bool have no kind of their own. */
static json_column_kind kind_of_type(const char *type) {
        static const char *const times[] = { "date", "datetime", "timestamp" };
        static const char *const texts[] = { "text", "json" };
        static const char *const text_prefixes[] = {
                "varchar", "varying character", "nchar", "native character", "nvarchar", "clob",
        };
        if (strcasecmp(type, "boolean") == 0)
                return JSON_COLUMN_BOOLEAN;
        for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
                if (strcasecmp(type, times[i]) == 0)
                        return JSON_COLUMN_TIME;
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
                if (strcasecmp(type, texts[i]) == 0)
                        return JSON_COLUMN_TEXTUAL;
        for (size_t i = 0; i < sizeof text_prefixes / sizeof text_prefixes[0]; i++)
                if (strncasecmp(type, text_prefixes[i], strlen(text_prefixes[i])) == 0)
                        return JSON_COLUMN_TEXTUAL;
        return JSON_COLUMN_PLAIN;
}

static void *grown(json_writer *w, void *array, uint32_t count, size_t element_bytes) {
        void *larger = reallocarray(array, count, element_bytes);
        if (larger == NULL)
                w->failed = true;
        return larger;
}

static bool columns_grow(json_writer *w, uint32_t count) {
        if (count <= w->capacity)
                return true;
        void *larger;
        if ((larger = grown(w, w->columns, count, sizeof *w->columns)) == NULL)
                return false;
        w->columns = larger;
        if ((larger = grown(w, w->shown, count, sizeof *w->shown)) == NULL)
                return false;
        w->shown = larger;
        if ((larger = grown(w, w->cell_ends, count, sizeof *w->cell_ends)) == NULL)
                return false;
        w->cell_ends = larger;
        w->capacity = count;
        return true;
}

static void put_type(json_writer *w, const json_column *c, const char *const *first_types, uint32_t index) {
        if (c->type == NULL) {
                put_string(w, first_types != NULL ? first_types[index] : "");
                return;
        }
        /* Lower-cased in place: ASCII letters change neither size nor escapes, but the
         * letters of an escape (\u003c) are lower case already. */
        size_t start = w->out.size;
        put_string(w, c->type);
        for (size_t i = start; i < w->out.size; i++)
                if (w->out.data[i] >= 'A' && w->out.data[i] <= 'Z')
                        w->out.data[i] |= 0x20;
}

static int shown_compare(const void *a, const void *b) {
        const shown *left = a, *right = b;
        int order = strcmp(left->name, right->name);
        if (order != 0)
                return order;
        return left->index < right->index ? -1 : left->index > right->index;
}

/* By name as Go sorts the keys of a map; of equal names the last column stays. */
static void columns_sort(json_writer *w, const json_column *columns, uint32_t count) {
        for (uint32_t i = 0; i < count; i++)
                w->shown[i] = (shown) { .name = columns[i].name, .index = i };
        if (count > 1)
                qsort(w->shown, count, sizeof *w->shown, shown_compare);

        uint32_t kept = 0;
        for (uint32_t i = 0; i < count; i++) {
                if (kept > 0 && strcmp(w->shown[kept - 1].name, w->shown[i].name) == 0)
                        kept--;
                w->shown[kept++] = w->shown[i];
        }
        w->shown_count = kept;
        w->reordered = kept != count;
        for (uint32_t i = 0; i < kept; i++)
                if (w->shown[i].index != i)
                        w->reordered = true;
}

static void lead_add(json_writer *w, uint32_t index, bool first, const char *name) {
        column *c = &w->columns[index];
        c->lead_start = w->lead.size;
        if (!first)
                check(w, rq_buf_append_text(&w->lead, ","));
        break_line_in(w, &w->lead, CELL_LEVEL);
        if (name != NULL) {
                check(w, json_text_append(&w->lead, rq_bytes_text(name)));
                check(w, rq_buf_append_text(&w->lead, colon(w)));
        }
        c->lead_size = w->lead.size - c->lead_start;
}

/* What stands around cells and rows. */
static void frames_prepare(json_writer *w, const json_column *columns) {
        bool associative = w->options.associative;
        const char *open = associative ? "{" : "[", *close = associative ? "}" : "]";

        w->lead.size = w->row_start.size = w->row_end.size = w->row_next.size = 0;
        if (associative) {
                for (uint32_t i = 0; i < w->shown_count; i++)
                        lead_add(w, w->shown[i].index, i == 0, columns[w->shown[i].index].name);
        } else {
                for (uint32_t i = 0; i < w->column_count; i++)
                        lead_add(w, i, i == 0, NULL);
        }
        check(w, rq_buf_reserve(&w->lead, SHORT_COPY));
        if (!w->failed)
                memset(w->lead.data + w->lead.size, 0, SHORT_COPY); /* copied, never shown */

        break_line_in(w, &w->row_start, ROW_LEVEL);
        check(w, rq_buf_append_text(&w->row_start, open));
        check(w, rq_buf_append_text(&w->row_next, ","));
        check(w, rq_buf_append_bytes(&w->row_next, rq_buf_bytes(&w->row_start)));
        if (w->column_count > 0)
                break_line_in(w, &w->row_end, ROW_LEVEL);
        check(w, rq_buf_append_text(&w->row_end, close));
}

void json_rows_begin(json_writer *w, const json_column *columns, uint32_t column_count,
                     const char *const *first_types) {
        result_begin(w);
        w->in_rows = true;
        w->row_count = 0;
        w->next_cell = w->column_count = column_count;
        w->reordered = false;
        if (w->failed || !columns_grow(w, column_count))
                return;

        for (uint32_t i = 0; i < column_count; i++)
                w->columns[i].kind = columns[i].type != NULL ? kind_of_type(columns[i].type) : JSON_COLUMN_PLAIN;

        uint32_t count = column_count;
        if (w->options.associative) {
                columns_sort(w, columns, column_count);
                count = w->shown_count;
        } else {
                result_key(w, "columns");
                put(w, "[");
                for (uint32_t i = 0; i < column_count; i++) {
                        if (i > 0)
                                put(w, ",");
                        break_line(w, ROW_LEVEL);
                        put_string(w, columns[i].name);
                }
                if (column_count > 0)
                        break_line(w, KEY_LEVEL);
                put(w, "]");
        }

        result_key(w, "types");
        put(w, w->options.associative ? "{" : "[");
        for (uint32_t i = 0; i < count; i++) {
                uint32_t index = w->options.associative ? w->shown[i].index : i;
                if (i > 0)
                        put(w, ",");
                break_line(w, ROW_LEVEL);
                if (w->options.associative) {
                        put_string(w, columns[index].name);
                        put(w, colon(w));
                }
                if (!w->failed)
                        put_type(w, &columns[index], first_types, index);
        }
        if (count > 0)
                break_line(w, KEY_LEVEL);
        put(w, w->options.associative ? "}" : "]");

        frames_prepare(w, columns);
}

static void row_end(json_writer *w) {
        if (w->reordered && !w->failed) {
                for (uint32_t i = 0; i < w->shown_count; i++) {
                        uint32_t index = w->shown[i].index;
                        const column *c = &w->columns[index];
                        size_t start = index > 0 ? w->cell_ends[index - 1] : 0;
                        check(w, rq_buf_append(&w->out, w->lead.data + c->lead_start, c->lead_size));
                        check(w, rq_buf_append(&w->out, w->row.data + start, w->cell_ends[index] - start));
                }
                w->row.size = 0;
        }
        check(w, rq_buf_append_bytes(&w->out, rq_buf_bytes(&w->row_end)));
}

void json_row(json_writer *w) {
        if (w->failed)
                return;
        rq_assert(w->in_rows && w->next_cell == w->column_count);
        if (w->row_count++ == 0) {
                result_key(w, w->options.associative ? "rows" : "values");
                put(w, "[");
                check(w, rq_buf_append_bytes(&w->out, rq_buf_bytes(&w->row_start)));
        } else {
                check(w, rq_buf_append_bytes(&w->out, rq_buf_bytes(&w->row_next)));
        }
        w->next_cell = 0;
        w->row.size = 0;
        if (w->column_count == 0)
                row_end(w);
}

/* Room for size bytes of the next cell, behind its lead; the caller writes it
 * and calls cell_end with its end. NULL: failed. */
static inline uint8_t *cell_begin(json_writer *w, size_t size) {
        if (__builtin_expect(w->failed, 0))
                return NULL;
        rq_assert(w->next_cell < w->column_count);
        rq_buf *to = w->reordered ? &w->row : &w->out;
        const column *c = &w->columns[w->next_cell];
        size_t lead = w->reordered ? 0 : c->lead_size;
        if (__builtin_expect(to->capacity - to->size < lead + SHORT_COPY + size, 0)) {
                check(w, rq_buf_reserve(to, lead + SHORT_COPY + size));
                if (w->failed)
                        return NULL;
        }
        uint8_t *p = to->data + to->size;
        if (w->reordered)
                return p;
        if (lead <= SHORT_COPY)
                memcpy(p, w->lead.data + c->lead_start, SHORT_COPY);
        else
                memcpy(p, w->lead.data + c->lead_start, lead);
        return p + lead;
}

static inline void cell_end(json_writer *w, const uint8_t *end) {
        rq_buf *to = w->reordered ? &w->row : &w->out;
        to->size = (size_t) (end - to->data);
        if (w->reordered)
                w->cell_ends[w->next_cell] = to->size;
        if (++w->next_cell == w->column_count)
                row_end(w);
}

/* For cells of any size: what cell_begin has written is kept, then the value is
 * appended to the buffer returned. */
static inline rq_buf *cell_buffer(json_writer *w) {
        uint8_t *p = cell_begin(w, 0);
        if (p == NULL)
                return NULL;
        rq_buf *to = w->reordered ? &w->row : &w->out;
        to->size = (size_t) (p - to->data);
        return to;
}

static inline void cell_buffer_end(json_writer *w, rq_buf *to, rq_err r) {
        check(w, r);
        if (!w->failed)
                cell_end(w, to->data + to->size);
}

static void cell_word(json_writer *w, const char *word, size_t size) {
        uint8_t *p = cell_begin(w, size);
        if (p == NULL)
                return;
        memcpy(p, word, size);
        cell_end(w, p + size);
}

void json_cell_null(json_writer *w) {
        cell_word(w, "null", 4);
}

static uint8_t *put_time_cell(uint8_t *p, uint8_t *end) {
        if (end == NULL)
                return NULL;
        *p = '"';
        *end = '"';
        return end + 1;
}

void json_cell_integer(json_writer *w, int64_t value) {
        uint8_t *p = cell_begin(w, JSON_TIME_ROOM + 2);
        if (p == NULL)
                return;
        json_column_kind kind = w->columns[w->next_cell].kind;
        uint8_t *end = NULL;

        if (kind == JSON_COLUMN_BOOLEAN) {
                memcpy(p, value > 0 ? "true" : "false", 5);
                end = p + (value > 0 ? 4 : 5);
        } else if (kind == JSON_COLUMN_TIME) {
                end = put_time_cell(p, json_time_put_integer(p + 1, value));
        }
        cell_end(w, end != NULL ? end : json_integer_put(p, value));
}

void json_cell_real(json_writer *w, double value) {
        uint8_t *p = cell_begin(w, JSON_REAL_ROOM);
        if (p != NULL)
                cell_end(w, json_real_put(p, value));
}

void json_cell_text(json_writer *w, rq_bytes value) {
        if (w->failed)
                return;
        if (w->columns[w->next_cell].kind == JSON_COLUMN_TIME) {
                uint8_t text[JSON_TIME_ROOM + 2];
                uint8_t *end = put_time_cell(text, json_time_put_text(text + 1, value));
                if (end != NULL) {
                        cell_word(w, (const char *) text, (size_t) (end - text));
                        return;
                }
        }
        rq_buf *to = cell_buffer(w);
        if (to != NULL)
                cell_buffer_end(w, to, json_text_append(to, value));
}

static rq_err byte_array_append(json_writer *w, rq_buf *to, rq_bytes bytes) {
        rq_err r = rq_buf_append_text(to, "[");
        size_t one = 4 + (w->options.pretty ? 1 + BYTE_LEVEL * INDENT : 0);
        for (size_t i = 0; i < bytes.size && r == RQ_OK; i++) {
                r = rq_buf_reserve(to, one);
                if (r < 0)
                        break;
                if (i > 0)
                        to->data[to->size++] = ',';
                break_line_in(w, to, BYTE_LEVEL);
                uint8_t *end = json_integer_put(to->data + to->size, bytes.data[i]);
                to->size = (size_t) (end - to->data);
        }
        if (bytes.size > 0)
                break_line_in(w, to, CELL_LEVEL);
        return r < 0 ? r : rq_buf_append_text(to, "]");
}

void json_cell_blob(json_writer *w, rq_bytes value) {
        rq_buf *to = cell_buffer(w);
        if (to == NULL)
                return;
        rq_err r;
        if (w->columns[w->next_cell].kind == JSON_COLUMN_TEXTUAL)
                r = json_text_append(to, value);
        else if (w->options.blob_array)
                r = byte_array_append(w, to, value);
        else
                r = json_base64_append(to, value);
        cell_buffer_end(w, to, r);
}

static void rows_close(json_writer *w) {
        rq_assert(w->in_rows);
        w->in_rows = false;
        if (w->row_count > 0) {
                break_line(w, KEY_LEVEL);
                put(w, "]");
        } else if (w->options.associative) {
                result_key(w, "rows");
                put(w, "[]");
        }
}

void json_rows_end(json_writer *w, uint64_t elapsed_ns) {
        rq_assert(w->failed || w->next_cell == w->column_count);
        rows_close(w);
        put_time(w, elapsed_ns);
        result_end(w);
}

void json_rows_failed(json_writer *w, const char *text) {
        rq_assert(w->in_rows);
        /* A row may have been left in the middle. */
        while (!w->failed && w->next_cell < w->column_count)
                json_cell_null(w);
        rows_close(w);
        result_key(w, "error");
        put_string(w, text);
        result_end(w);
}

void json_end(json_writer *w, const char *error) {
        rq_assert(!w->in_rows);
        if (w->result_count > 0)
                break_line(w, 1);
        put(w, "]");
        if (error != NULL) {
                put(w, ",");
                break_line(w, 1);
                put(w, "\"error\"");
                put(w, colon(w));
                put_string(w, error);
        }
}

rq_bytes json_bytes(const json_writer *w) {
        return rq_buf_bytes(&w->out);
}

void json_reset_bytes(json_writer *w) {
        empty(&w->out);
}

bool json_failed(const json_writer *w) {
        return w->failed;
}
