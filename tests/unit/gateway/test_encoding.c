/* Content-Encoding and Accept-Encoding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/encoding.h"

static void test_bodies(void **state) {
        (void) state;
        assert_int_equal(body_encoding_of(rq_bytes_text("")), BODY_AS_IT_IS);
        assert_int_equal(body_encoding_of(rq_bytes_text(" Identity ")), BODY_AS_IT_IS);
        assert_int_equal(body_encoding_of(rq_bytes_text("gzip")), BODY_GZIP);
        assert_int_equal(body_encoding_of(rq_bytes_text("X-GZip")), BODY_GZIP);
        assert_int_equal(body_encoding_of(rq_bytes_text("br")), BODY_UNKNOWN);
        assert_int_equal(body_encoding_of(rq_bytes_text("gzip, gzip")), BODY_UNKNOWN);
        assert_int_equal(body_encoding_of(rq_bytes_text("gzipx")), BODY_UNKNOWN);
}

static void test_answers(void **state) {
        static const struct { const char *value; bool wanted; } rows[] = {
                { "gzip", true }, { "deflate, gzip", true }, { "br;q=1.0, GZIP;q=0.5", true }, { "*", true }, { " x-gzip ; q=1", true },
                { "", false }, { "identity", false }, { "gzip;q=0", false }, { "gzip; q=0.000", false }, { "*;q=0", false },
                { "*, gzip;q=0", false }, { "gzip;q=0.001", true }, { "gzip, *;q=0", true }, { ",,;", false }, { "gz", false }, { "gzip;q=", true },
        };
        (void) state;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
                if (accepts_gzip(rq_bytes_text(rows[i].value)) != rows[i].wanted)
                        print_error("%s\n", rows[i].value);
                assert_int_equal(accepts_gzip(rq_bytes_text(rows[i].value)), rows[i].wanted);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_bodies), cmocka_unit_test(test_answers) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
