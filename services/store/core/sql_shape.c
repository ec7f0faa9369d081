#include "core/sql_shape.h"

#include <stdbool.h>
#include <strings.h>

#include "core/sql_text.h"

static const char more[] = "...";

typedef struct shape {
        char *out;
        size_t used;
        bool full;
        bool values; /* a word in double quotes may be a string here */
} shape;

/* All or nothing, so that no literal shows by half. */
static void put(shape *s, const uint8_t *text, size_t size) {
        if (s->full)
                return;
        if (s->used + size + sizeof more > SQL_SHAPE_BYTES_MAX) {
                memcpy(s->out + s->used, more, sizeof more - 1);
                s->used += sizeof more - 1;
                s->full = true;
                return;
        }
        memcpy(s->out + s->used, text, size);
        s->used += size;
}

static void put_mark(shape *s) { put(s, (const uint8_t *) "?", 1); }

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static bool is_any(rq_bytes word, const char *const *words, size_t count) {
        for (size_t i = 0; i < count; i++)
                if (word.size == strlen(words[i]) && strncasecmp((const char *) word.data, words[i], word.size) == 0)
                        return true;
        return false;
}

static void note_word(shape *s, rq_bytes word) {
        static const char *const begin[] = { "values", "set", "where", "on", "having", "then", "else", "limit" };
        static const char *const end[] = { "select", "from", "into", "returning", "order", "group", "by", "join" };
        if (is_any(word, begin, sizeof begin / sizeof begin[0]))
                s->values = true;
        else if (is_any(word, end, sizeof end / sizeof end[0]))
                s->values = false;
}

static uint8_t at_or_nul(rq_bytes sql, size_t at) { return at < sql.size ? sql.data[at] : 0; }

/* Behind the number at `at`: 12, 0x1f, 1_000, 1.5, .5e-3. */
static size_t skip_number(rq_bytes sql, size_t at) {
        bool hex = sql.data[at] == '0' && (at_or_nul(sql, at + 1) | 0x20) == 'x';
        for (; at < sql.size; at++) {
                uint8_t c = sql.data[at];
                bool sign = (c == '+' || c == '-') && !hex && (sql.data[at - 1] | 0x20) == 'e';
                if (!sql_text_is_word(c) && c != '.' && !sign)
                        break;
        }
        return at;
}

static size_t take_word(shape *s, rq_bytes sql, size_t at) {
        size_t from = at;
        while (at < sql.size && sql_text_is_word(sql.data[at]))
                at++;
        rq_bytes word = rq_bytes_of(sql.data + from, at - from);
        if (word.size == 1 && (word.data[0] | 0x20) == 'x' && at_or_nul(sql, at) == '\'') {
                put_mark(s);
                return sql_text_skip_quoted(sql, at);
        }
        note_word(s, word);
        put(s, word.data, word.size);
        return at;
}

static size_t take_quoted(shape *s, rq_bytes sql, size_t at) {
        size_t end = sql_text_skip_quoted(sql, at);
        bool dotted = at_or_nul(sql, end) == '.' || (at > 0 && sql.data[at - 1] == '.');
        if (sql.data[at] == '\'' || (sql.data[at] == '"' && s->values && !dotted))
                put_mark(s);
        else
                put(s, sql.data + at, end - at);
        return end;
}

/* What begins at `at`, which is no blank. Returns what is behind it. */
static size_t take(shape *s, rq_bytes sql, size_t at) {
        uint8_t c = sql.data[at];
        if (c == '\'' || c == '"' || c == '`' || c == '[')
                return take_quoted(s, sql, at);
        if (is_digit(c) || (c == '.' && is_digit(at_or_nul(sql, at + 1)))) {
                put_mark(s);
                return skip_number(sql, at + (c == '.'));
        }
        if (c == '?') { /* ?5 */
                put_mark(s);
                for (at++; at < sql.size && is_digit(sql.data[at]);)
                        at++;
                return at;
        }
        if (sql_text_is_word(c))
                return take_word(s, sql, at);
        s->values = s->values && c != ';';
        put(s, &c, 1);
        return at + 1;
}

void sql_shape(rq_bytes sql, char ret_shape[static SQL_SHAPE_BYTES_MAX]) {
        shape s = { .out = ret_shape };
        for (size_t at = 0; !s.full;) {
                size_t next = sql_text_skip_blanks(sql, at);
                if (next >= sql.size || sql.data[next] == '\0')
                        break;
                if (next > at && s.used > 0)
                        put(&s, (const uint8_t *) " ", 1);
                at = take(&s, sql, next);
        }
        ret_shape[s.used] = '\0';
}
