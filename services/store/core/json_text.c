#include "core/json_text.h"

enum {
        ESCAPE_ROOM = 6, /* \u00XX */
        WORD = 8,
        SLACK = ESCAPE_ROOM + WORD + 1, /* behind the plain bytes: one escape, the rest of a word, the quote */
};

/* How a byte is written: as it is, '\\' and the letter, \u00XX, or by what follows. */
enum { AS_IS = 0, AS_HEX = 1, AS_MULTIBYTE = 2 };

static const uint8_t byte_class[256] = {
        [0x00] = AS_HEX, [0x01] = AS_HEX, [0x02] = AS_HEX, [0x03] = AS_HEX, [0x04] = AS_HEX, [0x05] = AS_HEX,
        [0x06] = AS_HEX, [0x07] = AS_HEX, ['\b'] = 'b',    ['\t'] = 't',    ['\n'] = 'n',    [0x0b] = AS_HEX,
        ['\f'] = 'f',    ['\r'] = 'r',    [0x0e] = AS_HEX, [0x0f] = AS_HEX, [0x10] = AS_HEX, [0x11] = AS_HEX,
        [0x12] = AS_HEX, [0x13] = AS_HEX, [0x14] = AS_HEX, [0x15] = AS_HEX, [0x16] = AS_HEX, [0x17] = AS_HEX,
        [0x18] = AS_HEX, [0x19] = AS_HEX, [0x1a] = AS_HEX, [0x1b] = AS_HEX, [0x1c] = AS_HEX, [0x1d] = AS_HEX,
        [0x1e] = AS_HEX, [0x1f] = AS_HEX, ['"'] = '"',     ['\\'] = '\\',   ['<'] = AS_HEX,  ['>'] = AS_HEX,
        ['&'] = AS_HEX,  [0x80 ... 0xff] = AS_MULTIBYTE,
};

static const uint64_t ones = 0x0101010101010101ULL;
static const uint64_t highs = 0x8080808080808080ULL;

/* The high bit of every byte that is zero; bytes above the first may err. */
static uint64_t zero_bytes(uint64_t word) {
        return (word - ones) & ~word & highs;
}

/* How many bytes at the start of a little-endian word are written as they are.
 * The borrow of zero_bytes only spoils bytes behind a true hit. */
static unsigned plain_bytes(uint64_t word) {
        uint64_t control = (word - ones * 0x20) & ~word & highs;
        /* '<' and '>' differ in one bit */
        uint64_t special = zero_bytes(word ^ ones * '"') | zero_bytes(word ^ ones * '\\') |
                           zero_bytes(word ^ ones * '&') | zero_bytes((word | ones * 2) ^ ones * '>');
        uint64_t hits = (word & highs) | control | special;
        return hits == 0 ? WORD : (unsigned) __builtin_ctzll(hits) / 8;
}

static uint64_t load_word(const uint8_t *p) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        return word;
}

/* The length of the valid UTF-8 sequence that begins at p with a byte >= 0x80, 0: none. */
static size_t sequence_size(const uint8_t *p, size_t left) {
        uint8_t first = p[0];
        uint8_t low = 0x80, high = 0xbf;
        size_t size;

        if (first < 0xc2 || first > 0xf4)
                return 0;
        if (first < 0xe0) {
                size = 2;
        } else if (first < 0xf0) {
                size = 3;
                if (first == 0xe0)
                        low = 0xa0; /* overlong */
                else if (first == 0xed)
                        high = 0x9f; /* surrogates */
        } else {
                size = 4;
                if (first == 0xf0)
                        low = 0x90; /* overlong */
                else if (first == 0xf4)
                        high = 0x8f; /* behind U+10FFFF */
        }
        if (left < size || p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < size; i++)
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
        return size;
}

static bool is_line_separator(const uint8_t *p) {
        return p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8;
}

/* Writes what stands at p and takes more than copying; returns how much of it was used. */
static size_t put_special(uint8_t **out, const uint8_t *p, size_t left) {
        static const char hex[] = "0123456789abcdef";
        uint8_t *o = *out;
        uint8_t class = byte_class[*p];

        if (class == AS_MULTIBYTE) {
                size_t size = sequence_size(p, left);
                if (size == 0) {
                        memcpy(o, "\\ufffd", 6);
                        *out = o + 6;
                        return 1;
                }
                if (size == 3 && is_line_separator(p)) {
                        memcpy(o, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
                        *out = o + 6;
                        return 3;
                }
                for (size_t i = 0; i < size; i++)
                        o[i] = p[i];
                *out = o + size;
                return size;
        }
        if (class == AS_IS) {
                o[0] = *p;
                *out = o + 1;
                return 1;
        }
        o[0] = '\\';
        if (class != AS_HEX) {
                o[1] = class;
                *out = o + 2;
                return 1;
        }
        memcpy(o + 1, "u00", 3);
        o[4] = (uint8_t) hex[*p >> 4];
        o[5] = (uint8_t) hex[*p & 15];
        *out = o + 6;
        return 1;
}

rq_err json_text_append(rq_buf *buf, rq_bytes text) {
        size_t before = buf->size;
        /* Plain text needs no more; only escapes ask again. */
        rq_err r = rq_buf_reserve(buf, text.size + SLACK + 1);
        if (r < 0)
                return r;

        const uint8_t *p = text.data;
        size_t left = text.size;
        uint8_t *o = buf->data + buf->size;
        uint8_t *limit = buf->data + buf->capacity;
        *o++ = '"';
        /* Always: limit - o >= left + SLACK. */
        while (left > 0) {
                uint64_t word;
                size_t have = left;
                if (left >= WORD) {
                        word = load_word(p);
                        memcpy(o, p, WORD);
                        have = WORD;
                } else {
                        uint8_t tail[WORD] = "aaaaaaaa";
                        size_t i = 0;
                        if (left & 4) {
                                memcpy(tail, p, 4);
                                i = 4;
                        }
                        if (left & 2) {
                                memcpy(tail + i, p + i, 2);
                                i += 2;
                        }
                        if (left & 1)
                                tail[i] = p[i];
                        word = load_word(tail);
                        memcpy(o, tail, WORD);
                }
                unsigned plain = plain_bytes(word);
                if (plain >= have) {
                        o += have;
                        p += have;
                        left -= have;
                        continue;
                }
                o += plain;
                p += plain;
                left -= plain;
                /* Specials come in runs: text that isn't ASCII. */
                do {
                        if ((size_t) (limit - o) < left + ESCAPE_ROOM + SLACK) {
                                buf->size = (size_t) (o - buf->data);
                                r = rq_buf_reserve(buf, left + ESCAPE_ROOM + SLACK);
                                if (r < 0) {
                                        buf->size = before;
                                        return r;
                                }
                                o = buf->data + buf->size;
                                limit = buf->data + buf->capacity;
                        }
                        size_t used = put_special(&o, p, left);
                        p += used;
                        left -= used;
                } while (left > 0 && byte_class[*p] != AS_IS);
        }
        *o++ = '"';
        buf->size = (size_t) (o - buf->data);
        return RQ_OK;
}

size_t json_text_room(rq_bytes text) {
        size_t room = 2;
        for (size_t i = 0; i < text.size; i++)
                room += byte_class[text.data[i]] == AS_IS ? 1 : text.data[i] >= 0x80 ? 2 : ESCAPE_ROOM;
        return room;
}

static const char base64_digits[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static uint8_t base64_digit(uint32_t value) {
        return (uint8_t) base64_digits[value & 63];
}

rq_err json_base64_append(rq_buf *buf, rq_bytes bytes) {
        if (bytes.size > SIZE_MAX / 4)
                return RQ_ENOMEM;
        rq_err r = rq_buf_reserve(buf, (bytes.size + 2) / 3 * 4 + 2);
        if (r < 0)
                return r;

        const uint8_t *p = bytes.data;
        size_t left = bytes.size;
        uint8_t *o = buf->data + buf->size;
        *o++ = '"';
        for (; left >= 3; left -= 3, p += 3, o += 4) {
                uint32_t group = (uint32_t) p[0] << 16 | (uint32_t) p[1] << 8 | p[2];
                o[0] = base64_digit(group >> 18);
                o[1] = base64_digit(group >> 12);
                o[2] = base64_digit(group >> 6);
                o[3] = base64_digit(group);
        }
        if (left > 0) {
                uint32_t group = (uint32_t) p[0] << 16 | (left > 1 ? (uint32_t) p[1] << 8 : 0);
                o[0] = base64_digit(group >> 18);
                o[1] = base64_digit(group >> 12);
                o[2] = left > 1 ? base64_digit(group >> 6) : '=';
                o[3] = '=';
                o += 4;
        }
        *o++ = '"';
        buf->size = (size_t) (o - buf->data);
        return RQ_OK;
}
