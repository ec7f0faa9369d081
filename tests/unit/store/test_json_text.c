/* store: strings as JSON text: escapes, UTF-8, base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <string.h>

#include "core/json_text.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return random_state;
}

/* The text in memory of exactly its size, so that the sanitizer sees a read too far. */
static void append(rq_buf *buf, const void *data, size_t size) {
        uint8_t *exact = malloc(size > 0 ? size : 1);
        if (size > 0)
                memcpy(exact, data, size);
        assert_int_equal(json_text_append(buf, rq_bytes_of(exact, size)), RQ_OK);
        free(exact);
}

static void check_text(const void *data, size_t size, const char *wanted) {
        /* At each place of a word, behind plain bytes and before them. */
        for (size_t before = 0; before < 18; before++) {
                char in[256], out[1024];
                memset(in, 'p', sizeof in);
                memcpy(in + before, data, size);
                size_t length = (size_t) snprintf(out, sizeof out, "\"%.*s%spp\"", (int) before,
                                                  "pppppppppppppppppppp", wanted);
                rq_buf buf = {0};
                append(&buf, in, before + size + 2);
                assert_int_equal(buf.size, length);
                assert_memory_equal(buf.data, out, length);
                rq_buf_done(&buf);
        }
}

#define CHECK(bytes, wanted) check_text(bytes, sizeof(bytes) - 1, wanted)

static void escapes(void **state) {
        (void) state;
        CHECK("", "");
        CHECK("plain /", "plain /");
        CHECK("\"\\", "\\\"\\\\");
        CHECK("<a>&", "\\u003ca\\u003e\\u0026");
        CHECK("\b\f\n\r\t", "\\b\\f\\n\\r\\t");
        CHECK("\x00\x01\x0b\x1f\x7f", "\\u0000\\u0001\\u000b\\u001f\x7f");
        CHECK("=?:;%'![]^", "=?:;%'![]^");
        CHECK("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xe2\x80\xa7", "\\u2028\\u2029\xe2\x80\xaa\xe2\x80\xa7");
}

static void every_single_byte(void **state) {
        (void) state;
        for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t in[1] = { (uint8_t) byte };
                char wanted[8] = { (char) byte, '\0' };
                const char *letter = byte == 0 ? NULL : strchr("\bb\ff\nn\rr\tt", (int) byte);
                if (byte >= 0x80)
                        memcpy(wanted, "\\ufffd", 7);
                else if (byte == '"' || byte == '\\')
                        (void) snprintf(wanted, sizeof wanted, "\\%c", (int) byte);
                else if (byte < 0x20 && letter != NULL)
                        (void) snprintf(wanted, sizeof wanted, "\\%c", letter[1]);
                else if (byte < 0x20 || byte == '<' || byte == '>' || byte == '&')
                        (void) snprintf(wanted, sizeof wanted, "\\u%04x", byte);
                check_text(in, 1, wanted);
        }
}

static void utf8(void **state) {
        (void) state;
        CHECK("\xc2\x80\xdf\xbf", "\xc2\x80\xdf\xbf");
        CHECK("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xef\xbf\xbf", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
                                                                              "\xef\xbf\xbd\xef\xbf\xbf");
        CHECK("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
        CHECK("\xc0\x80", "\\ufffd\\ufffd");
        CHECK("\xc1\xbf", "\\ufffd\\ufffd");
        CHECK("\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd");
        CHECK("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd");
        CHECK("\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd");
        CHECK("\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd");
        CHECK("\xf5\xff", "\\ufffd\\ufffd");
        CHECK("\xe2\x82", "\\ufffd\\ufffd"); /* cut off by a plain byte */
        CHECK("\xe2\x82\xc3\xa9", "\\ufffd\\ufffd\xc3\xa9");

        rq_buf buf = {0};
        append(&buf, "\xf0\x9f\x98", 3); /* cut off by the end */
        assert_int_equal(buf.size, 20);
        assert_memory_equal(buf.data, "\"\\ufffd\\ufffd\\ufffd\"", 20);
        rq_buf_done(&buf);
}

static void append_code_point(rq_buf *buf, uint32_t c) {
        uint8_t out[4];
        size_t n = 0;
        if (c < 0x80) {
                out[n++] = (uint8_t) c;
        } else if (c < 0x800) {
                out[n++] = (uint8_t) (0xc0 | c >> 6);
        } else if (c < 0x10000) {
                out[n++] = (uint8_t) (0xe0 | c >> 12);
                out[n++] = (uint8_t) (0x80 | (c >> 6 & 63));
        } else {
                out[n++] = (uint8_t) (0xf0 | c >> 18);
                out[n++] = (uint8_t) (0x80 | (c >> 12 & 63));
                out[n++] = (uint8_t) (0x80 | (c >> 6 & 63));
        }
        if (c >= 0x80)
                out[n++] = (uint8_t) (0x80 | (c & 63));
        assert_int_equal(rq_buf_append(buf, out, n), RQ_OK);
}

/* Strict UTF-8, by decoding and comparing the number with what its length may hold. 0: invalid. */
static size_t decode(const uint8_t *p, size_t left, uint32_t *ret) {
        static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
        if (n == 0 || n > left)
                return 0;
        uint32_t c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
        for (size_t i = 1; i < n; i++) {
                if (p[i] >> 6 != 2)
                        return 0;
                c = c << 6 | (p[i] & 63);
        }
        if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0;
        *ret = c;
        return n;
}

/* Reads a JSON string back; asserts that it is one. */
static void unescape(rq_bytes json, rq_buf *out) {
        const uint8_t *p = json.data;
        assert_true(json.size >= 2 && p[0] == '"' && p[json.size - 1] == '"');
        for (size_t i = 1; i < json.size - 1;) {
                uint32_t c = 0;
                if (p[i] != '\\') {
                        size_t n = decode(p + i, json.size - 1 - i, &c);
                        assert_true(n > 0);
                        assert_true(c >= 0x20 && c != '"' && c != '<' && c != '>' && c != '&');
                        assert_true(c != 0x2028 && c != 0x2029);
                        append_code_point(out, c);
                        i += n;
                        continue;
                }
                assert_true(i + 2 < json.size);
                static const char letters[] = "\"\"\\\\b\bf\fn\nr\rt\t";
                if (p[i + 1] == 'u') {
                        char hex[5] = {0};
                        assert_true(i + 6 < json.size);
                        memcpy(hex, p + i + 2, 4);
                        assert_int_equal(strspn(hex, "0123456789abcdef"), 4);
                        append_code_point(out, (uint32_t) strtoul(hex, NULL, 16));
                        i += 6;
                        continue;
                }
                size_t l = 0;
                while (letters[l] != '\0' && letters[l] != (char) p[i + 1])
                        l += 2;
                assert_true(letters[l] != '\0');
                append_code_point(out, (uint8_t) letters[l + 1]);
                i += 2;
        }
}

static void random_bytes(void **state) {
        (void) state;
        static const uint8_t likely[] = {
                0xe2, 0x80, 0xa8, 0xa9, 0xf0, 0x9f, 0x90, 0xc3, 0xed, 0xa0, '"', '\\', '<', 0, 'a', 'z', 0xf4, 0x8f,
        };
        for (int round = 0; round < 200000; round++) {
                uint8_t in[64];
                size_t size = next_random() % sizeof in;
                uint64_t kind = next_random() % 3;
                for (size_t i = 0; i < size; i++)
                        in[i] = kind == 0 ? (uint8_t) next_random()
                              : kind == 1 ? likely[next_random() % sizeof likely]
                              : next_random() % 16 == 0 ? (uint8_t) next_random()
                              : (uint8_t) ('a' + next_random() % 26);

                rq_buf json = {0}, back = {0}, wanted = {0};
                append(&json, in, size);
                unescape(rq_buf_bytes(&json), &back);
                for (size_t i = 0; i < size;) {
                        uint32_t c = 0xfffd;
                        size_t n = decode(in + i, size - i, &c);
                        append_code_point(&wanted, c);
                        i += n > 0 ? n : 1;
                }
                assert_true(rq_bytes_equal(rq_buf_bytes(&back), rq_buf_bytes(&wanted)));
                rq_buf_done(&json);
                rq_buf_done(&back);
                rq_buf_done(&wanted);
        }
}

/* All escapes, so that the buffer has to grow on the way. */
static void growth(void **state) {
        (void) state;
        enum { SIZE = 100000 };
        uint8_t *in = malloc(SIZE);
        memset(in, 1, SIZE);
        rq_buf buf = {0};
        append(&buf, in, SIZE);
        assert_int_equal(buf.size, 6 * SIZE + 2);
        for (size_t i = 0; i < SIZE; i++)
                assert_memory_equal(buf.data + 1 + 6 * i, "\\u0001", 6);
        rq_buf_done(&buf);
        free(in);
}

static void base64(void **state) {
        (void) state;
        static const struct { const char *in; size_t size; const char *out; } cases[] = {
                { "", 0, "\"\"" }, { "f", 1, "\"Zg==\"" }, { "fo", 2, "\"Zm8=\"" }, { "foo", 3, "\"Zm9v\"" },
                { "foob", 4, "\"Zm9vYg==\"" }, { "fooba", 5, "\"Zm9vYmE=\"" }, { "foobar", 6, "\"Zm9vYmFy\"" },
                { "\xff\xff\xfe", 3, "\"///+\"" }, { "\x00\x10\x83", 3, "\"ABCD\"" }, { "\0", 1, "\"AA==\"" },
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                rq_buf buf = {0};
                assert_int_equal(json_base64_append(&buf, rq_bytes_of(cases[i].in, cases[i].size)), RQ_OK);
                assert_int_equal(buf.size, strlen(cases[i].out));
                assert_memory_equal(buf.data, cases[i].out, buf.size);
                rq_buf_done(&buf);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(escapes),      cmocka_unit_test(every_single_byte), cmocka_unit_test(utf8),
                cmocka_unit_test(random_bytes), cmocka_unit_test(growth),            cmocka_unit_test(base64),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
