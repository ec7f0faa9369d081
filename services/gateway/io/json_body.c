#include "io/json_body.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_parse.h>

#include "core/sql_hint.h"
#include "io/json_pool.h"
#include "io/json_quoted.h"
#include "io/statement.h"
#include "io/utf8.h"

enum {
        DEPTH_MAX          = 10000,     /* of nesting; deeper is no JSON to us */
        NUMBER_BYTES       = 64,        /* longer literals take the slow way */
        NUMBER_BYTES_MAX   = 4096,      /* longer ones are no JSON to us: the parser starts anew with every piece */
        IDLE_BYTES_MAX     = 64 * 1024, /* of scratch kept between bodies */
        FEW_KEYS           = 8,
};

#define INVALID_JSON    "invalid JSON body"
#define INVALID_REQUEST "invalid request"

/* Where the value that comes next stands. A deeper level exists only inside
 * something that is wrong already. */
typedef enum place {
        AT_TOP,        /* before the one array */
        IN_LIST,       /* of statements */
        IN_STATEMENT,  /* ["sql", param...] */
        IN_OBJECT,     /* named parameters */
        IN_BYTES,      /* an array of bytes, positional or named */
} place;

/* A named parameter of the object being read. */
typedef struct named { uint64_t hash; size_t at, size, name_size; bool dropped; } named;

struct json_body {
        yajl_handle parser;
        json_quoted string;            /* the parser sees "" for each: io/json_quoted.h */
        bool in_string;
        bool after_string;             /* its closing quote is what comes next */
        size_t number_bytes;           /* of a literal cut by the end of a piece */
        rq_buf *out;

        place place, before_bytes;
        unsigned depth;
        size_t statement_start, object_start;
        uint32_t elements;             /* of the statement, so far */
        uint32_t values;               /* statements and parameters, of the body */
        bool complete;                 /* the array is closed: the rest is ignored */
        rq_err err;

        json_body_result result;
        /* First thing wrong in the statement being read. Told only when the
         * statement is complete: if it is no JSON, that is what is told. */
        char pending[JSON_BODY_PROBLEM_BYTES];

        rq_buf name, bytes, scratch;
        named *named;
        size_t named_count, named_capacity;

        json_pool pool;
};

/* --- saying what is wrong --------------------------------------------------- */

static int stop(json_body *b, const char *problem) {
        if (b->result.problem[0] == '\0')
                (void) snprintf(b->result.problem, sizeof b->result.problem, "%s", problem);
        return 0;
}

static int fail(json_body *b, rq_err err) {
        b->err = err;
        return 0;
}

/* A wrong value: at once in the list itself, at its end in a statement. */
static int wrong(json_body *b, const char *problem) {
        if (b->place == AT_TOP || b->place == IN_LIST)
                return stop(b, problem);
        if (b->pending[0] == '\0')
                (void) snprintf(b->pending, sizeof b->pending, "%s", problem);
        return 1;
}

static int wrong_type(json_body *b, const char *type, size_t size) {
        char text[JSON_BODY_PROBLEM_BYTES];
        (void) snprintf(text, sizeof text, "unsupported type %.*s", (int) (size > 100 ? 100 : size), type);
        return wrong(b, text);
}

/* Is this value one that is not looked at, or the first of a statement, which
 * must be its SQL? true: *ret is what the callback returns. */
static bool is_misplaced(json_body *b, const char *type, int *ret) {
        if (b->pending[0] != '\0')
                *ret = 1;
        else if (b->place == AT_TOP || b->place == IN_LIST || (b->place == IN_STATEMENT && b->elements == 0))
                *ret = wrong(b, INVALID_REQUEST);
        else if (b->place == IN_BYTES)
                *ret = wrong_type(b, type, strlen(type));
        else
                return false;
        b->elements++;
        return true;
}

/* --- statements ------------------------------------------------------------- */

static rq_err clean(json_body *b, rq_bytes *text) {
        if (utf8_valid_prefix(*text) == text->size)
                return RQ_OK;
        b->scratch.size = 0;
        rq_err r = utf8_append_clean(&b->scratch, *text);
        *text = rq_buf_bytes(&b->scratch);
        return r;
}

/* Before what would go above the limit is copied. */
static rq_err check_room(const json_body *b, size_t more) {
        return more > STATEMENTS_BYTES_MAX || b->out->size > STATEMENTS_BYTES_MAX - more ? RQ_ETOOBIG : RQ_OK;
}

/* Each costs the store far more memory than its bytes. */
static rq_err count_element(json_body *b) { return ++b->values > ELEMENTS_MAX ? RQ_ETOOBIG : RQ_OK; }

static int put_sql(json_body *b, rq_bytes sql) {
        rq_err r = clean(b, &sql);
        if (r >= 0)
                r = count_element(b);
        if (r >= 0)
                r = check_room(b, sql.size);
        if (r >= 0)
                r = statement_put_sql(b->out, sql);
        if (r < 0)
                return fail(b, r);
        b->result.all_may_be_read &= sql_may_be_read(sql);
        b->result.refused_pragma |= sql_is_refused_pragma(sql);
        b->result.statement_count++;
        return 1;
}

static int begin_statement(json_body *b) {
        rq_err r = statement_begin(b->out, &b->statement_start);
        return r < 0 ? fail(b, r) : 1;
}

static int end_statement(json_body *b) {
        rq_err r = statement_end(b->out, b->statement_start);
        return r < 0 ? fail(b, r) : 1;
}

static uint64_t hash_name(rq_bytes name) {
        uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
        for (size_t i = 0; i < name.size; i++)
                hash = (hash ^ name.data[i]) * UINT64_C(1099511628211);
        return hash;
}

static rq_err remember_named(json_body *b, size_t at) {
        if (b->named_count == b->named_capacity) {
                size_t capacity = b->named_capacity == 0 ? FEW_KEYS : b->named_capacity * 2;
                named *grown = reallocarray(b->named, capacity, sizeof *grown);
                if (grown == NULL)
                        return RQ_ENOMEM;
                b->named = grown;
                b->named_capacity = capacity;
        }
        b->named[b->named_count++] = (named) {
                .hash = hash_name(rq_buf_bytes(&b->name)), .at = at, .size = b->out->size - at, .name_size = b->name.size,
        };
        return RQ_OK;
}

static int put_value(json_body *b, const value *v) {
        bool has_name = b->place == IN_OBJECT;
        size_t at = b->out->size;
        rq_err r = count_element(b);
        if (r >= 0)
                r = check_room(b, v->bytes.size);
        if (r >= 0)
                r = statement_put_parameter(b->out, has_name ? rq_buf_bytes(&b->name) : (rq_bytes) {0}, v);
        if (r >= 0 && has_name)
                r = remember_named(b, at);
        if (r < 0)
                return fail(b, r);
        b->elements++;
        return 1;
}

/* --- the same key twice in an object: the last one counts ------------------- */

static int by_hash_and_place(const void *a, const void *b) {
        const named *x = a, *y = b;
        if (x->hash != y->hash)
                return x->hash < y->hash ? -1 : 1;
        return x->at < y->at ? -1 : x->at > y->at;
}

static int by_place(const void *a, const void *b) {
        const named *x = a, *y = b;
        return x->at < y->at ? -1 : x->at > y->at;
}

/* Both names stand in what was written: behind tag and length of the parameter,
 * then tag and length of the name. */
static bool same_name(const json_body *b, const named *x, const named *y) {
        if (x->hash != y->hash || x->name_size != y->name_size)
                return false;
        rq_bytes run = rq_buf_bytes(b->out);
        const named *pair[2] = { x, y };
        const uint8_t *names[2];
        for (int i = 0; i < 2; i++) {
                const uint8_t *p = run.data + pair[i]->at + 1;
                for (int varint = 0; varint < 2; varint++) {
                        while (*p++ >= 0x80)
                                ;
                        p += varint == 0; /* tag of the name */
                }
                names[i] = p;
        }
        return x->name_size == 0 || memcmp(names[0], names[1], x->name_size) == 0;
}

static void drop_marked(json_body *b) {
        size_t to = b->object_start;
        qsort(b->named, b->named_count, sizeof *b->named, by_place);
        for (size_t i = 0; i < b->named_count; i++) {
                if (b->named[i].dropped)
                        continue;
                memmove(b->out->data + to, b->out->data + b->named[i].at, b->named[i].size);
                to += b->named[i].size;
        }
        b->out->size = to;
}

static void end_object(json_body *b) {
        bool any = false;
        if (b->named_count <= FEW_KEYS) {
                for (size_t i = 0; i < b->named_count; i++)
                        for (size_t j = i + 1; j < b->named_count && !b->named[i].dropped; j++)
                                any |= b->named[i].dropped = same_name(b, &b->named[i], &b->named[j]);
        } else {
                qsort(b->named, b->named_count, sizeof *b->named, by_hash_and_place);
                for (size_t i = 0; i + 1 < b->named_count; i++)
                        any |= b->named[i].dropped = same_name(b, &b->named[i], &b->named[i + 1]);
        }
        if (any)
                drop_marked(b);
}

/* --- callbacks of the parser: 0 stops it ------------------------------------ */

static int on_null(void *arg) {
        json_body *b = arg;
        int r;
        return is_misplaced(b, "<nil>", &r) ? r : put_value(b, &(value) { .kind = VALUE_NULL });
}

static int on_boolean(void *arg, int set) {
        json_body *b = arg;
        int r;
        return is_misplaced(b, "bool", &r) ? r : put_value(b, &(value) { .kind = VALUE_INTEGER, .integer = set });
}

/* An integer literal within int64. */
static bool read_integer(const char *text, size_t size, int64_t *ret_value) {
        bool negative = text[0] == '-';
        int64_t v = 0;
        for (size_t i = negative; i < size; i++) {
                int digit = text[i] - '0';
                if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
                    (negative ? __builtin_sub_overflow(v, digit, &v) : __builtin_add_overflow(v, digit, &v)))
                        return false;
        }
        *ret_value = v;
        return true;
}

static rq_err read_real(json_body *b, const char *text, size_t size, double *ret_value) {
        char small[NUMBER_BYTES], *copy = small;
        if (size >= sizeof small) {
                b->scratch.size = 0;
                rq_err r = rq_buf_reserve(&b->scratch, size + 1);
                if (r < 0)
                        return r;
                copy = (char *) b->scratch.data;
        }
        memcpy(copy, text, size);
        copy[size] = '\0';
        *ret_value = strtod(copy, NULL);
        return RQ_OK;
}

static int put_byte(json_body *b, const char *text, size_t size) {
        int64_t v;
        if (!read_integer(text, size, &v) || v < 0 || v > 255)
                return wrong_type(b, text, size);
        uint8_t byte = (uint8_t) v;
        rq_err r = rq_buf_append(&b->bytes, &byte, 1);
        return r < 0 ? fail(b, r) : 1;
}

static int on_number(void *arg, const char *text, size_t size) {
        json_body *b = arg;
        if (size > NUMBER_BYTES_MAX)
                return stop(b, INVALID_JSON);
        value v = { .kind = VALUE_INTEGER };
        int stopped;
        if (b->place == IN_BYTES && b->pending[0] == '\0')
                return put_byte(b, text, size);
        if (is_misplaced(b, "", &stopped))
                return stopped;
        if (read_integer(text, size, &v.integer))
                return put_value(b, &v);

        v.kind = VALUE_REAL;
        rq_err r = read_real(b, text, size, &v.real);
        if (r < 0)
                return fail(b, r);
        if (isinf(v.real)) {
                char problem[JSON_BODY_PROBLEM_BYTES];
                (void) snprintf(problem, sizeof problem, "invalid number %.*s", (int) (size > 100 ? 100 : size), text);
                return wrong(b, problem);
        }
        return put_value(b, &v);
}

static int hex_digit(uint8_t c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_blank(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A string that is x'HEX', blanks around it allowed, is a BLOB. Decoded into
 * b->bytes. */
static bool read_hex_blob(json_body *b, rq_bytes s) {
        while (s.size > 0 && is_blank(s.data[0]))
                s = rq_bytes_of(s.data + 1, s.size - 1);
        if (s.size < 3 || (s.data[0] | 0x20) != 'x' || s.data[1] != '\'')
                return false;
        while (is_blank(s.data[s.size - 1]))
                s.size--;
        if (s.size < 3 || s.data[s.size - 1] != '\'' || (s.size - 3) % 2 != 0)
                return false;

        b->bytes.size = 0;
        if (rq_buf_reserve(&b->bytes, s.size / 2) < 0) {
                b->err = RQ_ENOMEM;
                return false;
        }
        for (size_t i = 2; i + 1 < s.size; i += 2) {
                int high = hex_digit(s.data[i]), low = hex_digit(s.data[i + 1]);
                if (high < 0 || low < 0)
                        return false;
                b->bytes.data[b->bytes.size++] = (uint8_t) (high << 4 | low);
        }
        return true;
}

static int put_text(json_body *b, rq_bytes text) {
        if (read_hex_blob(b, text))
                return put_value(b, &(value) { .kind = VALUE_BLOB, .bytes = rq_buf_bytes(&b->bytes) });
        if (b->err < 0)
                return 0;
        rq_err r = clean(b, &text);
        if (r < 0)
                return fail(b, r);
        return put_value(b, &(value) { .kind = VALUE_TEXT, .bytes = text });
}

static int on_string(void *arg, const unsigned char *data, size_t size) {
        json_body *b = arg;
        rq_bytes text = json_quoted_value(&b->string);
        int r;
        (void) data;
        (void) size;
        if (b->place == IN_LIST)
                return begin_statement(b) && put_sql(b, text) && end_statement(b);
        if (b->place == IN_STATEMENT && b->elements == 0 && b->pending[0] == '\0') {
                b->elements++;
                return put_sql(b, text);
        }
        return is_misplaced(b, "string", &r) ? r : put_text(b, text);
}

static int on_key(void *arg, const unsigned char *data, size_t size) {
        json_body *b = arg;
        (void) data;
        (void) size;
        if (b->place != IN_OBJECT)
                return 1;
        rq_bytes name = json_quoted_value(&b->string);
        rq_err r = clean(b, &name);
        b->name.size = 0;
        if (r >= 0)
                r = rq_buf_append_bytes(&b->name, name);
        return r < 0 ? fail(b, r) : 1;
}

/* One level deeper. false: too deep. */
static bool enter(json_body *b) {
        if (++b->depth <= DEPTH_MAX)
                return true;
        (void) stop(b, INVALID_JSON);
        return false;
}

static int on_open_object(void *arg) {
        json_body *b = arg;
        int r;
        if (!enter(b))
                return 0;
        if (b->place == IN_STATEMENT && b->elements > 0 && b->pending[0] == '\0') {
                b->place = IN_OBJECT;
                b->named_count = 0;
                b->object_start = b->out->size;
                return 1;
        }
        if (b->place == IN_OBJECT && b->pending[0] == '\0')
                return wrong_type(b, "map[string]interface {}", 23);
        return is_misplaced(b, "map[string]interface {}", &r) ? r : 1;
}

static int on_open_array(void *arg) {
        json_body *b = arg;
        int r;
        if (!enter(b))
                return 0;
        if (b->place == AT_TOP) {
                b->place = IN_LIST;
                return 1;
        }
        if (b->place == IN_LIST) {
                b->place = IN_STATEMENT;
                b->elements = 0;
                return begin_statement(b);
        }
        if (is_misplaced(b, "[]interface {}", &r))
                return r;
        b->before_bytes = b->place;
        b->place = IN_BYTES;
        b->bytes.size = 0;
        return 1;
}

/* Levels of what is well-formed: list 1, statement 2, object or bytes 3, bytes
 * in an object 4. A close above the current one belongs to something wrong. */
static int on_close_object(void *arg) {
        json_body *b = arg;
        b->depth--;
        if (b->place == IN_OBJECT && b->depth == 2) {
                b->place = IN_STATEMENT;
                if (b->pending[0] == '\0')
                        end_object(b);
        }
        return 1;
}

static int on_close_array(void *arg) {
        json_body *b = arg;
        b->depth--;
        if (b->depth == 0) {
                b->complete = true;
                return 0;
        }
        if (b->depth == 1) {
                b->place = IN_LIST;
                if (b->pending[0] != '\0')
                        return stop(b, b->pending);
                if (b->elements == 0)
                        return stop(b, INVALID_REQUEST);
                return end_statement(b);
        }
        if (b->place == IN_BYTES && b->depth == (b->before_bytes == IN_OBJECT ? 3u : 2u)) {
                b->place = b->before_bytes;
                if (b->pending[0] == '\0')
                        return put_value(b, &(value) { .kind = VALUE_BLOB, .bytes = rq_buf_bytes(&b->bytes) });
        }
        return 1;
}

static const yajl_callbacks callbacks = {
        .yajl_null = on_null,
        .yajl_boolean = on_boolean,
        .yajl_number = on_number,
        .yajl_string = on_string,
        .yajl_start_map = on_open_object,
        .yajl_map_key = on_key,
        .yajl_end_map = on_close_object,
        .yajl_start_array = on_open_array,
        .yajl_end_array = on_close_array,
};

/* --- one body --------------------------------------------------------------- */

static bool is_over(const json_body *b) { return b->complete || b->err < 0 || b->result.problem[0] != '\0'; }

static bool is_of_number(uint8_t c) {
        return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

/* All but the inside of strings: up to and with the quote that opens one. */
static size_t parse_structure(json_body *b, rq_bytes piece) {
        size_t skip = b->after_string ? 1 : 0;
        const uint8_t *quote = memchr(piece.data + skip, '"', piece.size - skip);
        size_t size = quote != NULL ? (size_t) (quote - piece.data) + 1 : piece.size, number = 0;
        b->after_string = false;
        while (number < size && is_of_number(piece.data[size - 1 - number]))
                number++;
        b->number_bytes = number == size ? b->number_bytes + number : number;
        if (b->number_bytes > NUMBER_BYTES_MAX || yajl_parse(b->parser, piece.data, size) == yajl_status_error)
                (void) stop(b, INVALID_JSON);
        b->in_string = quote != NULL;
        if (b->in_string) /* the one before was handed over just now */
                json_quoted_begin(&b->string);
        return size;
}

static size_t parse_string(json_body *b, rq_bytes piece) {
        json_quoted_state state;
        size_t used;
        rq_err r = json_quoted_feed(&b->string, piece, &used, &state);
        if (r < 0)
                (void) fail(b, r);
        else if (state == JSON_QUOTED_BAD)
                (void) stop(b, INVALID_JSON);
        b->in_string = state == JSON_QUOTED_OPEN;
        b->after_string = state == JSON_QUOTED_CLOSED;
        return used;
}

static void drop_parser(json_body *b) {
        if (b->parser != NULL)
                yajl_free(b->parser);
        b->parser = NULL;
}

rq_err json_body_new(json_body **ret_body) {
        json_body *b = calloc(1, sizeof *b);
        if (b == NULL)
                return RQ_ENOMEM;
        *ret_body = b;
        return RQ_OK;
}

json_body *json_body_free(json_body *b) {
        if (b == NULL)
                return NULL;
        drop_parser(b);
        rq_buf_done(&b->name);
        rq_buf_done(&b->bytes);
        rq_buf_done(&b->scratch);
        json_quoted_done(&b->string);
        free(b->named);
        free(b);
        return NULL;
}

rq_err json_body_begin(json_body *b, rq_buf *out) {
        json_body_abandon(b);
        yajl_alloc_funcs allocator = json_pool_begin(&b->pool);
        b->out = out;
        b->place = AT_TOP;
        b->depth = 0;
        b->values = 0;
        b->elements = 0;
        b->complete = false;
        b->err = RQ_OK;
        b->pending[0] = '\0';
        b->result = (json_body_result) { .all_may_be_read = true };
        b->in_string = b->after_string = false;
        b->number_bytes = 0;
        b->parser = yajl_alloc(&callbacks, &allocator, b);
        if (b->parser == NULL)
                return RQ_ENOMEM;
        (void) yajl_config(b->parser, yajl_allow_trailing_garbage, 1);
        return RQ_OK;
}

rq_err json_body_feed(json_body *b, rq_bytes piece) {
        while (piece.size > 0 && !is_over(b)) {
                size_t used = b->in_string ? parse_string(b, piece) : parse_structure(b, piece);
                piece = rq_bytes_of(piece.data + used, piece.size - used);
        }
        return b->err;
}

rq_err json_body_end(json_body *b, json_body_result *ret_result) {
        if (!is_over(b) && !b->in_string && yajl_complete_parse(b->parser) == yajl_status_error)
                (void) stop(b, INVALID_JSON);
        if (!is_over(b))
                (void) stop(b, INVALID_JSON); /* ended early */
        if (b->complete && b->result.statement_count == 0 && b->result.problem[0] == '\0')
                (void) stop(b, JSON_BODY_NO_STATEMENTS);
        rq_err r = b->err;
        if (r >= 0)
                *ret_result = b->result;
        json_body_abandon(b);
        return r;
}

void json_body_abandon(json_body *b) {
        drop_parser(b);
        if (b->name.capacity > IDLE_BYTES_MAX)
                rq_buf_done(&b->name);
        if (b->bytes.capacity > IDLE_BYTES_MAX)
                rq_buf_done(&b->bytes);
        if (b->scratch.capacity > IDLE_BYTES_MAX)
                rq_buf_done(&b->scratch);
        if (b->string.text.capacity > IDLE_BYTES_MAX)
                json_quoted_done(&b->string);
        if (b->named_capacity > IDLE_BYTES_MAX / sizeof *b->named) {
                free(b->named);
                b->named = NULL;
                b->named_capacity = 0;
        }
        b->out = NULL;
}
