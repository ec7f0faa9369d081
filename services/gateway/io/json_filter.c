#include "io/json_filter.h"

enum { ESCAPE_BYTES = 6, PAIR_BYTES = 12 };

typedef enum verdict { VERDICT_PASS, VERDICT_REPLACE, VERDICT_MORE } verdict;

void json_filter_init(json_filter *filter, bool (*emit)(void *arg, rq_bytes piece), void *arg) {
        *filter = (json_filter) { .emit = emit, .arg = arg };
}

static int hex_digit(uint8_t c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Is p[0..n) the beginning of \uXXXX? With 6 bytes *ret_unit is its value. */
static bool is_unit(const uint8_t *p, size_t n, unsigned *ret_unit) {
        unsigned unit = 0;
        for (size_t i = 0; i < n && i < ESCAPE_BYTES; i++) {
                if (i < 2) {
                        if (p[i] != (i == 0 ? '\\' : 'u'))
                                return false;
                        continue;
                }
                int digit = hex_digit(p[i]);
                if (digit < 0)
                        return false;
                unit = unit << 4 | (unsigned) digit;
        }
        *ret_unit = unit;
        return true;
}

static bool is_high(unsigned unit) { return unit >= 0xD800 && unit < 0xDC00; }
static bool is_low(unsigned unit) { return unit >= 0xDC00 && unit < 0xE000; }

/* What to do with the escape at p, of which n bytes are there. PASS: the first
 * *ret_size bytes go on as they are; REPLACE: the first 6 become \ufffd. */
static verdict judge(const uint8_t *p, size_t n, size_t *ret_size) {
        unsigned unit, partner;
        *ret_size = 2; /* \n and the like, also two backslashes */
        if (n < 2)
                return VERDICT_MORE;
        if (!is_unit(p, n, &unit))
                return VERDICT_PASS;
        if (n < ESCAPE_BYTES)
                return VERDICT_MORE;
        *ret_size = ESCAPE_BYTES;
        if (is_low(unit))
                return VERDICT_REPLACE;
        if (!is_high(unit))
                return VERDICT_PASS;
        if (!is_unit(p + ESCAPE_BYTES, n - ESCAPE_BYTES, &partner))
                return VERDICT_REPLACE;
        if (n < PAIR_BYTES)
                return VERDICT_MORE;
        *ret_size = is_low(partner) ? PAIR_BYTES : ESCAPE_BYTES;
        return is_low(partner) ? VERDICT_PASS : VERDICT_REPLACE;
}

static bool emit(json_filter *filter, const void *data, size_t size) {
        return size == 0 || filter->emit(filter->arg, rq_bytes_of(data, size));
}

/* What was held, with bytes of the new piece until it is decided. Takes bytes
 * off *piece. */
static bool finish_held(json_filter *filter, rq_bytes *piece) {
        while (filter->held_size > 0) {
                size_t size;
                switch (judge(filter->held, filter->held_size, &size)) {
                case VERDICT_MORE:
                        if (piece->size == 0)
                                return true;
                        filter->held[filter->held_size++] = *piece->data;
                        *piece = rq_bytes_of(piece->data + 1, piece->size - 1);
                        continue;
                case VERDICT_REPLACE:
                        if (!emit(filter, "\\ufffd", ESCAPE_BYTES))
                                return false;
                        break;
                case VERDICT_PASS:
                        if (!emit(filter, filter->held, size))
                                return false;
                        break;
                }
                filter->held_size -= size;
                memmove(filter->held, filter->held + size, filter->held_size);
                if (filter->held_size > 0 && filter->held[0] != '\\') {
                        /* The tail of a lone high surrogate: plain bytes, at most up
                         * to the next escape, which is looked at with the rest. */
                        const uint8_t *next = memchr(filter->held, '\\', filter->held_size);
                        size_t plain = next == NULL ? filter->held_size : (size_t) (next - filter->held);
                        if (!emit(filter, filter->held, plain))
                                return false;
                        filter->held_size -= plain;
                        memmove(filter->held, filter->held + plain, filter->held_size);
                }
        }
        return true;
}

bool json_filter_feed(json_filter *filter, rq_bytes piece) {
        if (filter->held_size > 0 && !finish_held(filter, &piece))
                return false;

        /* The run from `start` on goes on in one piece, as long as all escapes in
         * it are harmless. */
        const uint8_t *start = piece.data, *p = start, *end = start + piece.size;
        while (p < end && (p = memchr(p, '\\', (size_t) (end - p))) != NULL) {
                size_t size;
                verdict v = judge(p, (size_t) (end - p), &size);
                if (v == VERDICT_PASS) {
                        p += size;
                        continue;
                }
                if (!emit(filter, start, (size_t) (p - start)))
                        return false;
                if (v == VERDICT_MORE) {
                        filter->held_size = (size_t) (end - p);
                        memcpy(filter->held, p, filter->held_size);
                        return true;
                }
                if (!emit(filter, "\\ufffd", ESCAPE_BYTES))
                        return false;
                start = p += ESCAPE_BYTES;
        }
        return start == end || emit(filter, start, (size_t) (end - start));
}

bool json_filter_end(json_filter *filter) {
        size_t size = filter->held_size;
        filter->held_size = 0;
        return emit(filter, filter->held, size);
}
