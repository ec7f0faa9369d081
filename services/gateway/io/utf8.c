#include "io/utf8.h"

size_t utf8_sequence(const uint8_t *p, size_t n) {
        uint8_t c = p[0];
        size_t size = c < 0x80 ? 1 : c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
        if (size <= 1 || size > n)
                return size > n ? 0 : size;
        /* Table 3-7 of the Unicode standard: what the second byte may be. */
        uint8_t low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
        uint8_t high = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (p[1] < low || p[1] > high)
                return 0;
        for (size_t i = 2; i < size; i++)
                if ((p[i] & 0xC0) != 0x80)
                        return 0;
        return size;
}

size_t utf8_valid_prefix(rq_bytes text) {
        size_t at = 0;
        while (at < text.size) {
                uint64_t word;
                if (text.size - at >= sizeof word) {
                        memcpy(&word, text.data + at, sizeof word);
                        if ((word & UINT64_C(0x8080808080808080)) == 0) {
                                at += sizeof word;
                                continue;
                        }
                }
                size_t size = utf8_sequence(text.data + at, text.size - at);
                if (size == 0)
                        return at;
                at += size;
        }
        return at;
}

rq_err utf8_append_clean(rq_buf *out, rq_bytes text) {
        rq_err r = RQ_OK;
        while (r >= 0) {
                size_t valid = utf8_valid_prefix(text);
                r = rq_buf_append(out, text.data, valid);
                if (r < 0 || valid == text.size)
                        return r;
                r = rq_buf_append_text(out, UTF8_REPLACEMENT);
                text = rq_bytes_of(text.data + valid + 1, text.size - valid - 1);
        }
        return r;
}
