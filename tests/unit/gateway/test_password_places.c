/* Places of passwords that wait to be checked: who gets one, and which addresses are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/password_places.h"

static size_t fill(password_claim *taken, size_t count, size_t wanted, uint64_t address, uint64_t user, bool known) {
        size_t put = 0;
        for (; put < wanted; put++) {
                const password_claim claim = { .address = address, .user = user == 0 ? 1000 * address + put : user, .known = known };
                if (!password_place_allowed(taken, count + put, &claim))
                        break;
                taken[count + put] = claim;
        }
        return put;
}

/* However many strangers come, with whatever names: some places are not for them. */
static void test_places_of_passwords(void **state) {
        password_claim taken[256];
        size_t count = 0;
        (void) state;
        assert_int_equal(fill(taken, 0, 64, 1, 0, false), PLACES_OF_STRANGER);
        for (uint64_t address = 1; address < 30; address++)
                count += fill(taken, count, 64, address, 0, false);
        assert_int_equal(count, PLACES_OF_STRANGERS);
        assert_int_equal(fill(taken, count, 16, 77, 0, true), 16);
        assert_int_equal(fill(taken, count, 64, 77, 0, true), PLACES_OF_KNOWN);
        assert_int_equal(fill(taken, 0, 64, 77, 5, true), PLACES_OF_KNOWN);
        /* One name, from everywhere: who is known is not kept out by it. */
        count = 0;
        for (uint64_t address = 1; address < 30; address++)
                count += fill(taken, count, 64, address, 5, false);
        assert_int_equal(count, PLACES_OF_USER);
        assert_int_equal(fill(taken, count, 1, 50, 6, false), 1);
        assert_int_equal(fill(taken, count, 1, 77, 5, true), 1);
}

static void test_known_addresses(void **state) {
        known_addresses *k = calloc(1, sizeof *k);
        const uint64_t now_us = 1000000, later_us = now_us + KNOWN_ADDRESS_S * UINT64_C(1000000);
        (void) state;
        assert_false(known_addresses_has(k, 0, 0)); /* an empty place is nobody's */
        assert_false(known_addresses_has(k, 5, now_us));
        known_addresses_put(k, 5, now_us);
        assert_true(known_addresses_has(k, 5, now_us));
        assert_true(known_addresses_has(k, 5, later_us - 1));
        assert_false(known_addresses_has(k, 5, later_us));
        assert_false(known_addresses_has(k, 5 + KNOWN_ADDRESS_SETS, now_us));
        /* Of those that share a place the one longest unused goes. */
        for (uint64_t i = 1; i < 20; i++) {
                known_addresses_put(k, 5 + i * KNOWN_ADDRESS_SETS, now_us + 2 * i);
                known_addresses_put(k, 5, now_us + 2 * i + 1);
        }
        assert_true(known_addresses_has(k, 5, now_us));
        assert_false(known_addresses_has(k, 5 + KNOWN_ADDRESS_SETS, now_us));
        assert_true(known_addresses_has(k, 5 + 19 * KNOWN_ADDRESS_SETS, now_us));
        free(k);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_places_of_passwords), cmocka_unit_test(test_known_addresses),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
