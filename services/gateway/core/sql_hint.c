#include "core/sql_hint.h"

#include <strings.h>

static bool is_blank(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static bool is_word(uint8_t c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80;
}

static rq_bytes skip(rq_bytes s, size_t n) { return rq_bytes_of(s.data + n, s.size - n); }

static rq_bytes skip_blanks(rq_bytes s) {
        size_t n = 0;
        while (n < s.size && is_blank(s.data[n]))
                n++;
        return skip(s, n);
}

/* Blanks, comments and empty statements. */
static rq_bytes skip_nothing(rq_bytes s) {
        for (;;) {
                s = skip_blanks(s);
                if (s.size >= 1 && s.data[0] == ';') {
                        s = skip(s, 1);
                } else if (s.size >= 2 && s.data[0] == '-' && s.data[1] == '-') {
                        const uint8_t *end = memchr(s.data, '\n', s.size);
                        s = end == NULL ? skip(s, s.size) : skip(s, (size_t) (end - s.data) + 1);
                } else if (s.size >= 2 && s.data[0] == '/' && s.data[1] == '*') {
                        const uint8_t *end = memmem(s.data + 2, s.size - 2, "*/", 2);
                        s = end == NULL ? skip(s, s.size) : skip(s, (size_t) (end - s.data) + 2);
                } else {
                        return s;
                }
        }
}

/* Takes the word at the start. */
static rq_bytes take_word(rq_bytes *s) {
        size_t n = 0;
        while (n < s->size && is_word(s->data[n]))
                n++;
        rq_bytes word = rq_bytes_of(s->data, n);
        *s = skip(*s, n);
        return word;
}

static bool word_is(rq_bytes word, const char *text) {
        return word.size == strlen(text) && strncasecmp((const char *) word.data, text, word.size) == 0;
}

bool sql_may_be_read(rq_bytes sql) {
        rq_bytes rest = skip_nothing(sql);
        if (rest.size == 0)
                return true;
        rq_bytes word = take_word(&rest);
        return word_is(word, "select") || word_is(word, "values") || word_is(word, "with") || word_is(word, "explain") ||
               word_is(word, "pragma");
}

bool sql_is_refused_pragma(rq_bytes sql) {
        static const struct { const char *name; bool any_form; } refused[] = {
                { "journal_mode", false }, { "wal_autocheckpoint", false }, { "wal_checkpoint", true },
                { "synchronous", false }, { "query_only", false },
        };
        rq_bytes rest = skip_blanks(sql);
        if (!word_is(take_word(&rest), "pragma"))
                return false;
        rest = skip_blanks(rest);
        rq_bytes name = take_word(&rest);
        if (rest.size > 0 && rest.data[0] == '.') { /* that was the schema */
                rest = skip(rest, 1);
                name = take_word(&rest);
        }
        rest = skip_blanks(rest);
        for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
                if (word_is(name, refused[i].name))
                        return refused[i].any_form || (rest.size > 0 && rest.data[0] == '=');
        return false;
}
