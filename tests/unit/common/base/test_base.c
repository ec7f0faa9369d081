/* common/base: buffers, map, checksums, generator. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/err.h"
#include "base/rng.h"
#include "base/table.h"

static void test_buffer_grows_and_consumes(void **state) {
        (void) state;
        rq_buf buf = {0};
        for (int i = 0; i < 1000; i++)
                assert_int_equal(rq_buf_printf(&buf, "%03d,", i), RQ_OK);
        assert_int_equal(buf.size, 4000);
        rq_buf_consume(&buf, 4);
        assert_memory_equal(buf.data, "001,", 4);
        rq_buf_consume(&buf, 99999);
        assert_int_equal(buf.size, 0);
        rq_buf_done(&buf);
}

static void test_buffer_refuses_sizes_beyond_memory(void **state) {
        (void) state;
        rq_buf buf = {0};
        assert_int_equal(rq_buf_append_text(&buf, "kept"), RQ_OK);
        assert_int_equal(rq_buf_reserve(&buf, SIZE_MAX - 2), RQ_ENOMEM);
        assert_int_equal(buf.size, 4);
        assert_memory_equal(buf.data, "kept", 4);
        rq_buf_done(&buf);
}

static void test_numbers_are_little_endian(void **state) {
        (void) state;
        uint8_t p[8];
        rq_put_u64(p, 0x0102030405060708u);
        assert_int_equal(p[0], 8);
        assert_int_equal(p[7], 1);
        assert_true(rq_get_u64(p) == 0x0102030405060708u);
        rq_put_u32(p, 0xfffefdfcu);
        assert_true(rq_get_u32(p) == 0xfffefdfcu);
        rq_put_u16(p, 0xfffe);
        assert_int_equal(rq_get_u16(p), 0xfffe);
}

static void test_crc32c_known_values(void **state) {
        (void) state;
        uint8_t zeros[32] = {0}, rising[32];
        for (int i = 0; i < 32; i++)
                rising[i] = (uint8_t) i;
        /* RFC 3720, appendix B.4 */
        assert_true(rq_crc32c(0, zeros, 32) == 0x8a9136aau);
        assert_true(rq_crc32c(0, rising, 32) == 0x46dd794eu);
        assert_true(rq_crc32c(0, "123456789", 9) == 0xe3069283u);
        /* in pieces as in one */
        assert_true(rq_crc32c(rq_crc32c(0, rising, 13), rising + 13, 19) == 0x46dd794eu);
}

/* Against a plain array: every key present or absent as it should be, through
 * collisions, growth and deletion by back-shift. */
static void test_table_follows_a_model(void **state) {
        (void) state;
        enum { KEYS = 700, STEPS = 200000 };
        static char values[KEYS];
        static uint8_t present[KEYS];
        rq_table table = {0};
        rq_rng rng = rq_rng_seeded(7);
        size_t count = 0;

        for (int i = 0; i < STEPS; i++) {
                uint64_t key = rq_rng_below(&rng, KEYS);
                if (rq_rng_below(&rng, 2) == 0) {
                        assert_int_equal(rq_table_put(&table, key, &values[key]), RQ_OK);
                        count += present[key] == 0;
                        present[key] = 1;
                } else {
                        void *removed = rq_table_remove(&table, key);
                        assert_ptr_equal(removed, present[key] ? &values[key] : NULL);
                        count -= present[key];
                        present[key] = 0;
                }
                uint64_t probe = rq_rng_below(&rng, KEYS);
                assert_ptr_equal(rq_table_get(&table, probe), present[probe] ? &values[probe] : NULL);
                assert_int_equal(table.count, count);
        }
        size_t cursor = 0, walked = 0;
        uint64_t key;
        while (rq_table_next(&table, &cursor, &key) != NULL) {
                assert_true(present[key]);
                walked++;
        }
        assert_int_equal(walked, count);
        rq_table_done(&table);
}

static void test_generator_repeats_and_stays_below(void **state) {
        (void) state;
        rq_rng a = rq_rng_seeded(1), b = rq_rng_seeded(1);
        for (int i = 0; i < 1000; i++) {
                assert_true(rq_rng_next(&a) == rq_rng_next(&b));
                assert_true(rq_rng_below(&a, 10) < 10);
                (void) rq_rng_next(&b);
        }
}

static void test_uuids_differ_and_print(void **state) {
        (void) state;
        rq_uuid a = rq_uuid_random(), b = rq_uuid_random(), zero = {0};
        char text[RQ_UUID_TEXT_BYTES];
        assert_false(rq_uuid_equal(&a, &b));
        assert_true(rq_uuid_is_zero(&zero));
        assert_int_equal(strlen(rq_uuid_text(&a, text)), 36);
        assert_int_equal(text[14], '4'); /* RFC 9562: version 4 */
}

static void test_every_error_has_a_text(void **state) {
        (void) state;
#define X(name, value, text) assert_string_equal(rq_err_text(name), text);
        RQ_ERR_MAP(X)
#undef X
        assert_string_equal(rq_err_text((rq_err) -31999), "unknown error");
        assert_int_equal(rq_err_from_errno(ENOSPC), RQ_ENOSPC);
        assert_int_equal(rq_err_from_errno(EDQUOT), RQ_ENOSPC);
        assert_int_equal(rq_err_from_errno(EFBIG), RQ_ENOSPC);
        assert_int_equal(rq_err_from_errno(EXDEV), RQ_EIO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_buffer_grows_and_consumes),
                cmocka_unit_test(test_buffer_refuses_sizes_beyond_memory),
                cmocka_unit_test(test_numbers_are_little_endian),
                cmocka_unit_test(test_crc32c_known_values),
                cmocka_unit_test(test_table_follows_a_model),
                cmocka_unit_test(test_generator_repeats_and_stays_below),
                cmocka_unit_test(test_uuids_differ_and_print),
                cmocka_unit_test(test_every_error_has_a_text),
        };
        return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
