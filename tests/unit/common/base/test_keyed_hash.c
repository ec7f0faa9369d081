/* SipHash-2-4-128 against the vectors of its authors (vectors_sip128). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/keyed_hash.h"

/* Key 00 01 … 0f; message 00 01 … of so many bytes. */
static const struct { size_t size; uint8_t hash[16]; } vectors[] = {
        { 0, { 0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93 } },
        { 1, { 0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45 } },
        { 15, { 0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf, 0xc3, 0xd9 } },
};

static void test_vectors(void **state) {
        const rq_hash_key key = { .low = UINT64_C(0x0706050403020100), .high = UINT64_C(0x0f0e0d0c0b0a0908) };
        uint8_t message[64], got[16];
        (void) state;
        for (size_t i = 0; i < sizeof message; i++)
                message[i] = (uint8_t) i;
        for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
                rq_hash128 hash = rq_keyed_hash(&key, rq_bytes_of(message, vectors[i].size));
                rq_put_u64(got, hash.low);
                rq_put_u64(got + 8, hash.high);
                assert_memory_equal(got, vectors[i].hash, sizeof got);
        }
}

static void test_key_matters(void **state) {
        const rq_hash_key a = { .low = 1 }, b = { .high = 1 };
        (void) state;
        assert_false(rq_hash128_equal(rq_keyed_hash(&a, rq_bytes_text("x")), rq_keyed_hash(&b, rq_bytes_text("x"))));
        assert_true(rq_hash128_equal(rq_keyed_hash(&a, rq_bytes_text("x")), rq_keyed_hash(&a, rq_bytes_text("x"))));
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors), cmocka_unit_test(test_key_matters) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
