#include "core/sql_split.h"

#include <strings.h>

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }

static bool is_word(uint8_t c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || c >= 0x80;
}

/* Behind the token at `at`; beyond text.size if it isn't known to end in it. */
static size_t token_end(rq_bytes text, size_t at) {
        uint8_t c = text.data[at];
        const size_t unknown = text.size + 1;
        if (is_word(c)) {
                while (at < text.size && is_word(text.data[at]))
                        at++;
                return at < text.size ? at : unknown;
        }
        if (c == '\'' || c == '"' || c == '`' || c == '[') {
                uint8_t end = c == '[' ? ']' : c;
                const uint8_t *close = memchr(text.data + at + 1, end, text.size - at - 1);
                return close != NULL ? (size_t) (close - text.data) + 1 : unknown; /* a doubled one begins another */
        }
        if (c != '-' && c != '/')
                return at + 1;
        if (at + 1 == text.size)
                return unknown;
        if (c == '-' && text.data[at + 1] == '-') {
                const uint8_t *close = memchr(text.data + at, '\n', text.size - at);
                return close != NULL ? (size_t) (close - text.data) + 1 : unknown;
        }
        if (c == '/' && text.data[at + 1] == '*') {
                const uint8_t *close = memmem(text.data + at + 2, text.size - at - 2, "*/", 2);
                return close != NULL ? (size_t) (close - text.data) + 2 : unknown;
        }
        return at + 1;
}

static bool word_is(rq_bytes word, const char *text) {
        return word.size == strlen(text) && strncasecmp((const char *) word.data, text, word.size) == 0;
}

/* [EXPLAIN [QUERY PLAN]] CREATE [TEMP | TEMPORARY] TRIGGER */
static void judge_word(sql_split *s, rq_bytes word) {
        static const char *const before[] = { "explain", "query", "plan", "create", "temp", "temporary" };
        if (s->is_other || s->is_trigger)
                return;
        s->is_trigger = word_is(word, "trigger");
        bool may_be = s->is_trigger;
        for (size_t i = 0; i < sizeof before / sizeof before[0]; i++)
                may_be |= word_is(word, before[i]);
        s->is_other = !may_be;
}

static void note_token(sql_split *s, rq_bytes token) {
        uint8_t c = token.data[0];
        bool comment = token.size > 1 && (c == '-' || c == '/');
        if (comment || is_blank(c))
                return;
        if (is_word(c))
                judge_word(s, token);
        else if (c != ';')
                s->is_other |= !s->is_trigger;
        s->behind_end = s->behind_semicolon && word_is(token, "end");
        s->behind_semicolon = c == ';';
}

bool sql_split_next(sql_split *s, rq_bytes text, bool whole, size_t *ret_size) {
        while (s->at < text.size) {
                size_t end = token_end(text, s->at);
                if (end > text.size) {
                        if (!whole)
                                return false;
                        end = text.size;
                }
                bool ends = text.data[s->at] == ';' && (!s->is_trigger || s->behind_end);
                note_token(s, rq_bytes_of(text.data + s->at, end - s->at));
                s->at = end;
                if (!ends)
                        continue;
                *s = (sql_split) {0};
                *ret_size = end;
                return true;
        }
        if (!whole || text.size == 0)
                return false;
        *s = (sql_split) {0};
        *ret_size = text.size;
        return true;
}
