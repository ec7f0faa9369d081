/* load_chunk.h: the bytes are as they are written there; what is unknown is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "load_chunk.h"

static void test_round_trip(void **state) {
        (void) state;
        uint8_t bytes[LOAD_CHUNK_HEADER_BYTES + 3];
        const load_chunk chunk = {
                .group = 0x1122334455667788, .number = 7, .last = true, .text = true, .hash = 0xabcd, .bytes = 99,
                .incarnation = { { 1, 2, 3 } }, .request_id = 42,
        };
        load_chunk back;
        rq_bytes data;
        load_chunk_encode(bytes, &chunk);
        memcpy(bytes + LOAD_CHUNK_HEADER_BYTES, "abc", 3);
        assert_int_equal(bytes[0], 0x88);
        assert_int_equal(bytes[8], 7);
        assert_int_equal(bytes[12], 3);
        assert_int_equal(bytes[16], 0xcd);
        assert_int_equal(bytes[24], 99);
        assert_int_equal(bytes[33], 2);
        assert_int_equal(bytes[48], 42);
        assert_int_equal(load_chunk_decode(rq_bytes_of(bytes, sizeof bytes), &back, &data), RQ_OK);
        assert_true(back.group == chunk.group && back.number == 7 && back.last && back.text && back.hash == 0xabcd && back.bytes == 99 &&
                    back.request_id == 42 && rq_uuid_equal(&back.incarnation, &chunk.incarnation));
        assert_true(rq_bytes_equal(data, rq_bytes_text("abc")));
}

static void test_refused(void **state) {
        (void) state;
        uint8_t bytes[LOAD_CHUNK_HEADER_BYTES];
        load_chunk back;
        rq_bytes data;
        load_chunk_encode(bytes, &(load_chunk) { .group = 1 });
        assert_int_equal(load_chunk_decode(rq_bytes_of(bytes, sizeof bytes - 1), &back, &data), RQ_EPROTO);
        assert_int_equal(load_chunk_decode(rq_bytes_of(bytes, sizeof bytes), &back, &data), RQ_OK);
        assert_int_equal(data.size, 0);
        bytes[12] = 4;
        assert_int_equal(load_chunk_decode(rq_bytes_of(bytes, sizeof bytes), &back, &data), RQ_EVERSION);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
