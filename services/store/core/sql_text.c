#include "core/sql_text.h"

#include <strings.h>

typedef enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_SEMICOLON, TOKEN_OTHER } token_kind;

typedef struct token {
        token_kind kind;
        rq_bytes text; /* of a word: without quotes; of OTHER: its first byte */
} token;

static bool is_blank(uint8_t c) {
        return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

bool sql_text_is_word(uint8_t c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || c >= 0x80;
}

size_t sql_text_skip_blanks(rq_bytes sql, size_t at) {
        while (at < sql.size) {
                uint8_t c = sql.data[at], next = at + 1 < sql.size ? sql.data[at + 1] : 0;
                if (is_blank(c)) {
                        at++;
                } else if (c == '-' && next == '-') {
                        while (at < sql.size && sql.data[at] != '\n')
                                at++;
                } else if (c == '/' && next == '*') {
                        at += 2;
                        while (at < sql.size && !(sql.data[at] == '*' && at + 1 < sql.size && sql.data[at + 1] == '/'))
                                at++;
                        at = at + 2 > sql.size ? sql.size : at + 2;
                } else {
                        break;
                }
        }
        return at;
}

size_t sql_text_skip_quoted(rq_bytes sql, size_t at) {
        uint8_t end = sql.data[at] == '[' ? ']' : sql.data[at];
        for (at++; at < sql.size; at++) {
                if (sql.data[at] != end)
                        continue;
                if (end == ']' || at + 1 >= sql.size || sql.data[at + 1] != end)
                        return at + 1;
                at++;
        }
        return at;
}

static token next_token(rq_bytes sql, size_t *at) {
        size_t from = *at = sql_text_skip_blanks(sql, *at);
        if (from >= sql.size || sql.data[from] == '\0') /* where SQLite stops, too */
                return (token) { .kind = TOKEN_END };

        uint8_t c = sql.data[from];
        if (c == ';') {
                (*at)++;
                return (token) { TOKEN_SEMICOLON, rq_bytes_of(sql.data + from, 1) };
        }
        if (c == '\'' || c == '"' || c == '`' || c == '[') {
                *at = sql_text_skip_quoted(sql, from);
                size_t size = *at - from;
                return (token) { TOKEN_WORD, rq_bytes_of(sql.data + from + 1, size >= 2 ? size - 2 : 0) };
        }
        if (sql_text_is_word(c)) {
                while (*at < sql.size && sql_text_is_word(sql.data[*at]))
                        (*at)++;
                return (token) { TOKEN_WORD, rq_bytes_of(sql.data + from, *at - from) };
        }
        (*at)++;
        return (token) { TOKEN_OTHER, rq_bytes_of(sql.data + from, 1) };
}

static bool is(token t, const char *word) {
        return t.kind == TOKEN_WORD && t.text.size == strlen(word) &&
               strncasecmp((const char *) t.text.data, word, t.text.size) == 0;
}

bool sql_text_blank(rq_bytes sql) {
        size_t at = 0;
        token t;
        do
                t = next_token(sql, &at);
        while (t.kind == TOKEN_SEMICOLON);
        return t.kind == TOKEN_END;
}

static bool mentions_pragma(rq_bytes sql) {
        for (size_t i = 0; i + 6 <= sql.size; i++)
                if ((sql.data[i] | 0x20) == 'p' && strncasecmp((const char *) sql.data + i, "pragma", 6) == 0)
                        return true;
        return false;
}

/* at: behind PRAGMA. */
static bool pragma_disallowed(rq_bytes sql, size_t at) {
        static const char *const with_value[] = { "journal_mode", "wal_autocheckpoint", "synchronous", "query_only" };
        token name = next_token(sql, &at);
        token next = next_token(sql, &at);
        if (next.kind == TOKEN_OTHER && next.text.data[0] == '.') {
                name = next_token(sql, &at);
                next = next_token(sql, &at);
        }
        if (is(name, "wal_checkpoint"))
                return true;
        bool has_value = next.kind == TOKEN_OTHER && (next.text.data[0] == '=' || next.text.data[0] == '(');
        for (size_t i = 0; has_value && i < sizeof with_value / sizeof with_value[0]; i++)
                if (is(name, with_value[i]))
                        return true;
        return false;
}

bool sql_text_pragma_disallowed(rq_bytes sql) {
        if (!mentions_pragma(sql))
                return false; /* nearly every text ends here */

        bool begins = true;
        for (size_t at = 0;;) {
                token t = next_token(sql, &at);
                if (t.kind == TOKEN_END)
                        return false;
                /* EXPLAIN doesn't keep a pragma from acting when it is prepared. */
                if (begins && (is(t, "explain") || is(t, "query") || is(t, "plan")))
                        continue;
                if (begins && is(t, "pragma") && pragma_disallowed(sql, at))
                        return true;
                begins = t.kind == TOKEN_SEMICOLON;
        }
}

rq_bytes sql_text_first_word(rq_bytes sql) {
        size_t at = 0;
        token t = next_token(sql, &at);
        return t.kind == TOKEN_WORD ? t.text : (rq_bytes) {0};
}

bool sql_text_is_vacuum(rq_bytes sql, rq_bytes *ret_rest) {
        size_t at = 0;
        token t = next_token(sql, &at);
        if (t.kind != TOKEN_WORD || t.text.size != 6 || strncasecmp((const char *) t.text.data, "vacuum", 6) != 0)
                return false;
        t = next_token(sql, &at);
        if (t.kind == TOKEN_WORD && t.text.size == 4 && strncasecmp((const char *) t.text.data, "main", 4) == 0)
                t = next_token(sql, &at);
        if (t.kind != TOKEN_END && t.kind != TOKEN_SEMICOLON)
                return false;
        *ret_rest = t.kind == TOKEN_END ? (rq_bytes) {0} : rq_bytes_of(sql.data + at, sql.size - at);
        return true;
}
