/* The framing of chunked bodies, however it is cut into pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/chunk_check.h"

/* In pieces of one size; returns how many bytes were taken. */
static size_t take(const char *text, size_t size, size_t piece, chunk_check_state *ret_state) {
        chunk_check c = {0};
        size_t at = 0;
        while (at < size) {
                size_t n = size - at < piece ? size - at : piece, taken = chunk_check_take(&c, rq_bytes_of((const uint8_t *) text + at, n));
                at += taken;
                if (taken < n)
                        break;
        }
        *ret_state = c.state;
        return at;
}

static void expect(const char *text, size_t taken, chunk_check_state state) {
        for (size_t piece = 1; piece <= strlen(text); piece++) {
                chunk_check_state got;
                size_t at = take(text, strlen(text), piece, &got);
                if (got != state || at != taken)
                        print_error("%s in pieces of %zu: state %d after %zu\n", text, piece, (int) got, at);
                assert_int_equal(got, state);
                assert_int_equal(at, taken);
        }
}

#define ENDS(text, rest) expect(text rest, sizeof text - 1, CHUNK_ENDED)
#define BAD(text, rest) expect(text rest, sizeof text - 1, CHUNK_BAD)

static void good_bodies(void **state) {
        (void) state;
        ENDS("\n0\r\n\r\n", "");
        ENDS("\n0\r\n\r\n", "GET / HTTP/1.1\r\n");
        ENDS("\n5\r\nhello\r\n0\r\n\r\n", "5");
        ENDS("\nA\r\n0123456789\r\n000\r\n\r\n", "");
        ENDS("\na;x=\"y\"\r\n\r\n\r\n\r\n\r\n\r\n\r\n0 ;z\r\nTrailer: x\r\nAnother: y\r\n\r\n", "x");
        expect("\n5\r\nhel", 7, CHUNK_DATA);
        expect("\n5\r\nhello", 9, CHUNK_DATA_CR);
}

static void bad_bodies(void **state) {
        (void) state;
        BAD("", "0\r\n\r\n");              /* the header's end first */
        BAD("\n", "\r\n");
        BAD("\n", ";\r\n");
        BAD("\n", "-1\r\n");
        BAD("\n0", "x5\r\n");
        BAD("\n5", "\nhello");
        BAD("\n5\r", "hello");
        BAD("\n5;a", "\nhello\r\n0\r\n\r\n"); /* another reader takes the line feed for the end of the line */
        BAD("\n5;\r", "x\r\n");
        BAD("\n5\r\nhello", "XX0\r\n\r\n");
        BAD("\n5\r\nhello", "\n0\r\n\r\n");
        BAD("\n5\r\nhello\r", "0\r\n\r\n");
        BAD("\n0\r\n", "\n");
        BAD("\n0\r\nA: b", "\n\r\n");
        BAD("\n0\r\nA: b\r", "X");
        BAD("\n0\r\n\r", "X");
        BAD("\nffffffffffffffff", "f\r\n");
}

static void nothing_follows_the_end(void **state) {
        chunk_check c = {0};
        (void) state;
        assert_int_equal(chunk_check_take(&c, rq_bytes_text("\n0\r\n\r\n")), 6);
        assert_int_equal(chunk_check_take(&c, rq_bytes_text("0\r\n\r\n")), 0);
        assert_int_equal(c.state, CHUNK_ENDED);
        c = (chunk_check) {0};
        assert_int_equal(chunk_check_take(&c, rq_bytes_text("\nx")), 1);
        assert_int_equal(chunk_check_take(&c, rq_bytes_text("0\r\n\r\n")), 0);
        assert_int_equal(c.state, CHUNK_BAD);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(good_bodies), cmocka_unit_test(bad_bodies), cmocka_unit_test(nothing_follows_the_end) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
