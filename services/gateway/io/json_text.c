#include "io/json_text.h"

#include <stdio.h>

#include "io/utf8.h"

static size_t put_escape(char *p, uint8_t c) {
        static const char short_forms[] = "\bb\ff\nn\rr\tt\"\"\\\\";
        for (const char *s = short_forms; *s != '\0'; s += 2)
                if (c == (uint8_t) s[0]) {
                        p[0] = '\\';
                        p[1] = s[1];
                        return 2;
                }
        return (size_t) sprintf(p, "\\u%04x", c);
}

rq_err json_put_string(rq_buf *out, rq_bytes text) {
        /* Six bytes of output for one of input is the worst. */
        rq_err r = rq_buf_reserve(out, text.size * 6 + 2);
        if (r < 0)
                return r;
        char *p = (char *) out->data + out->size;
        *p++ = '"';
        for (size_t i = 0; i < text.size;) {
                uint8_t c = text.data[i];
                size_t size = utf8_sequence(text.data + i, text.size - i);
                if (size == 0) {
                        memcpy(p, "\\ufffd", 6);
                        p += 6;
                        i++;
                } else if (size == 1) {
                        if (c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')
                                p += put_escape(p, c);
                        else
                                *p++ = (char) c;
                        i++;
                } else if (size == 3 && memcmp(text.data + i, "\xE2\x80\xA8", 2) == 0 && (text.data[i + 2] & 0xFE) == 0xA8) {
                        p += sprintf(p, "\\u202%d", text.data[i + 2] == 0xA8 ? 8 : 9);
                        i += 3;
                } else {
                        memcpy(p, text.data + i, size);
                        p += size;
                        i += size;
                }
        }
        *p++ = '"';
        out->size = (size_t) ((uint8_t *) p - out->data);
        return RQ_OK;
}

static size_t trim_zeros(const char *text, size_t size) {
        while (size > 0 && text[size - 1] == '0')
                size--;
        if (size > 0 && text[size - 1] == '.')
                size--;
        return size;
}

size_t json_seconds(uint64_t ns, char text[static JSON_SECONDS_BYTES]) {
        size_t size;
        if (ns > 0 && ns < 1000) { /* below 1e-6: one digit, point, exponent */
                int exponent = ns < 10 ? 9 : ns < 100 ? 8 : 7;
                uint64_t scale = ns < 10 ? 1 : ns < 100 ? 10 : 100;
                size = (size_t) snprintf(text, JSON_SECONDS_BYTES, "%u.%02u", (unsigned) (ns / scale),
                                         (unsigned) (ns % scale * (100 / scale)));
                size = trim_zeros(text, size);
                return size + (size_t) snprintf(text + size, JSON_SECONDS_BYTES - size, "e-%d", exponent);
        }
        size = (size_t) snprintf(text, JSON_SECONDS_BYTES, "%llu.%09u", (unsigned long long) (ns / 1000000000),
                                 (unsigned) (ns % 1000000000));
        size = trim_zeros(text, size);
        text[size] = '\0';
        return size;
}
