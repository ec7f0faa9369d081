/* io/gzip: there and back in any pieces, several files in a row, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "io/gzip.h"

enum { TEXT_BYTES = 300000 };

static void make_text(uint8_t text[static TEXT_BYTES]) {
        uint32_t x = 1;
        for (size_t i = 0; i < TEXT_BYTES; i++) {
                x = x * 1664525 + 1013904223;
                text[i] = (uint8_t) ('a' + (x >> 28));
        }
}

/* All of in, in pieces, with little room for output at a time. */
static rq_err run_all(gzip_way way, rq_bytes in, size_t piece_bytes, size_t room, rq_buf *out, bool *ret_done) {
        gzip *g;
        assert_int_equal(gzip_new(way, &g), RQ_OK);
        rq_err r = RQ_OK;
        *ret_done = false;
        while (r >= 0 && in.size > 0) {
                size_t n = in.size < piece_bytes ? in.size : piece_bytes;
                rq_bytes piece = rq_bytes_of(in.data, n);
                bool last = n == in.size, stuck = false;
                while (r >= 0 && !stuck) {
                        size_t before = out->size, left = piece.size;
                        r = gzip_run(g, &piece, last, out, out->size + room, ret_done);
                        stuck = out->size == before && piece.size == left;
                }
                in = rq_bytes_of(in.data + n, in.size - n);
        }
        assert_null(gzip_free(g));
        return r;
}

static void test_there_and_back(void **state) {
        (void) state;
        static uint8_t text[TEXT_BYTES];
        make_text(text);
        static const size_t pieces[] = { 7, 1000, 65536, TEXT_BYTES };
        for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
                rq_buf packed = {0}, back = {0};
                bool done;
                assert_int_equal(run_all(GZIP_DEFLATE, rq_bytes_of(text, TEXT_BYTES), pieces[i], 5000, &packed, &done), RQ_OK);
                assert_true(done);
                assert_true(packed.size < TEXT_BYTES * 3 / 4);
                /* Two files in a row, as gunzip reads them. */
                size_t one = packed.size;
                assert_int_equal(rq_buf_reserve(&packed, one), RQ_OK);
                assert_int_equal(rq_buf_append(&packed, packed.data, one), RQ_OK);
                assert_int_equal(run_all(GZIP_INFLATE, rq_buf_bytes(&packed), pieces[i], 3000, &back, &done), RQ_OK);
                assert_true(done);
                assert_int_equal(back.size, 2 * TEXT_BYTES);
                assert_memory_equal(back.data, text, TEXT_BYTES);
                assert_memory_equal(back.data + TEXT_BYTES, text, TEXT_BYTES);
                rq_buf_done(&packed);
                rq_buf_done(&back);
        }
}

static void test_damage(void **state) {
        (void) state;
        static uint8_t text[TEXT_BYTES];
        make_text(text);
        rq_buf packed = {0}, back = {0};
        bool done;
        assert_int_equal(run_all(GZIP_DEFLATE, rq_bytes_of(text, TEXT_BYTES), TEXT_BYTES, SIZE_MAX / 2, &packed, &done), RQ_OK);

        assert_int_equal(run_all(GZIP_INFLATE, rq_bytes_of(packed.data, packed.size - 4), 1000, 4000, &back, &done), RQ_OK);
        assert_false(done); /* cut off */
        packed.data[packed.size / 2] ^= 0x55;
        assert_int_equal(run_all(GZIP_INFLATE, rq_buf_bytes(&packed), 1000, 4000, &back, &done), RQ_ECORRUPT);
        assert_int_equal(run_all(GZIP_INFLATE, rq_bytes_text("no gzip at all"), 1000, 4000, &back, &done), RQ_ECORRUPT);
        rq_buf_done(&packed);
        rq_buf_done(&back);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_there_and_back),
                cmocka_unit_test(test_damage),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
