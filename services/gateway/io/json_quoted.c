#include "io/json_quoted.h"

#include "io/utf8.h"

enum { ESCAPE_NONE = 0, ESCAPE_BEGUN = 1, ESCAPE_HEX_LAST = 2, ESCAPE_HEX_FIRST = 5 };

void json_quoted_begin(json_quoted *s) {
        rq_buf text = s->text;
        text.size = 0;
        *s = (json_quoted) { .text = text };
}

rq_bytes json_quoted_value(const json_quoted *s) { return s->in_text ? rq_buf_bytes(&s->text) : s->direct; }

void json_quoted_done(json_quoted *s) { rq_buf_done(&s->text); }

static size_t plain_run(rq_bytes piece) {
        size_t n = 0;
        while (n < piece.size && piece.data[n] != '"' && piece.data[n] != '\\' && piece.data[n] >= ' ')
                n++;
        return n;
}

static rq_err append_replacement(json_quoted *s) { return rq_buf_append(&s->text, UTF8_REPLACEMENT, 3); }

/* Anything but the partner ends the wait of a high surrogate. */
static rq_err give_up_high(json_quoted *s) {
        if (s->high == 0)
                return RQ_OK;
        s->high = 0;
        return append_replacement(s);
}

static rq_err append_code_point(json_quoted *s, uint32_t c) {
        uint8_t b[4];
        if (c < 0x80) {
                b[0] = (uint8_t) c;
                return rq_buf_append(&s->text, b, 1);
        }
        if (c < 0x800) {
                b[0] = (uint8_t) (0xC0 | c >> 6);
                b[1] = (uint8_t) (0x80 | (c & 0x3F));
                return rq_buf_append(&s->text, b, 2);
        }
        if (c < 0x10000) {
                b[0] = (uint8_t) (0xE0 | c >> 12);
                b[1] = (uint8_t) (0x80 | (c >> 6 & 0x3F));
                b[2] = (uint8_t) (0x80 | (c & 0x3F));
                return rq_buf_append(&s->text, b, 3);
        }
        b[0] = (uint8_t) (0xF0 | c >> 18);
        b[1] = (uint8_t) (0x80 | (c >> 12 & 0x3F));
        b[2] = (uint8_t) (0x80 | (c >> 6 & 0x3F));
        b[3] = (uint8_t) (0x80 | (c & 0x3F));
        return rq_buf_append(&s->text, b, 4);
}

static rq_err end_unit(json_quoted *s) {
        uint32_t unit = s->unit;
        bool is_low = unit >= 0xDC00 && unit < 0xE000;
        if (s->high != 0 && is_low) {
                uint32_t c = 0x10000 + ((s->high - 0xD800u) << 10) + (unit - 0xDC00u);
                s->high = 0;
                return append_code_point(s, c);
        }
        rq_err r = give_up_high(s);
        if (r < 0)
                return r;
        if (unit >= 0xD800 && unit < 0xDC00) {
                s->high = s->unit;
                return RQ_OK;
        }
        return is_low ? append_replacement(s) : append_code_point(s, unit);
}

static int hex_digit(uint8_t c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte behind a backslash. *ret_good false: no valid escape. */
static rq_err escape_byte(json_quoted *s, uint8_t c, bool *ret_good) {
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        *ret_good = true;
        if (s->escape != ESCAPE_BEGUN) {
                int digit = hex_digit(c);
                *ret_good = digit >= 0;
                s->unit = (uint16_t) (s->unit << 4 | (digit & 15));
                s->escape = s->escape == ESCAPE_HEX_LAST ? ESCAPE_NONE : (uint8_t) (s->escape - 1);
                return s->escape == ESCAPE_NONE && *ret_good ? end_unit(s) : RQ_OK;
        }
        if (c == 'u') {
                s->escape = ESCAPE_HEX_FIRST;
                s->unit = 0;
                return RQ_OK;
        }
        const char *at = c != '\0' ? strchr(from, c) : NULL;
        *ret_good = at != NULL;
        s->escape = ESCAPE_NONE;
        if (at == NULL)
                return RQ_OK;
        rq_err r = give_up_high(s);
        return r < 0 ? r : rq_buf_append(&s->text, &to[at - from], 1);
}

/* Plain bytes, then a quote, a backslash, a control character, or the end. */
static rq_err take_run(json_quoted *s, rq_bytes piece, size_t *used, json_quoted_state *state) {
        rq_bytes rest = rq_bytes_of(piece.data + *used, piece.size - *used);
        size_t n = plain_run(rest);
        bool closed = n < rest.size && rest.data[n] == '"';
        if (closed && !s->in_text) {
                s->direct = rq_bytes_of(rest.data, n);
                *used += n;
                *state = JSON_QUOTED_CLOSED;
                return RQ_OK;
        }
        s->in_text = true;
        rq_err r = n > 0 || closed ? give_up_high(s) : RQ_OK;
        if (r >= 0)
                r = rq_buf_append(&s->text, rest.data, n);
        *used += n;
        if (r < 0 || n == rest.size)
                return r;
        if (closed) {
                *state = JSON_QUOTED_CLOSED;
        } else if (rest.data[n] == '\\') {
                s->escape = ESCAPE_BEGUN;
                ++*used;
        } else {
                *state = JSON_QUOTED_BAD;
        }
        return RQ_OK;
}

rq_err json_quoted_feed(json_quoted *s, rq_bytes piece, size_t *ret_used, json_quoted_state *ret_state) {
        json_quoted_state state = JSON_QUOTED_OPEN;
        size_t used = 0;
        rq_err r = RQ_OK;
        while (r >= 0 && used < piece.size && state == JSON_QUOTED_OPEN) {
                if (s->escape == ESCAPE_NONE) {
                        r = take_run(s, piece, &used, &state);
                } else {
                        bool good;
                        r = escape_byte(s, piece.data[used++], &good);
                        if (!good)
                                state = JSON_QUOTED_BAD;
                }
        }
        *ret_used = used;
        *ret_state = state;
        return r;
}
