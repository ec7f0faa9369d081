/* The parts of access control: Basic credentials, the cache, and what slows guessing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/access_cache.h"
#include "core/attempts.h"
#include "core/basic_auth.h"
#include "core/route.h"

static void expect_credentials(const char *header, const char *user, const char *password) {
        basic_auth auth;
        bool parsed = basic_auth_parse(rq_bytes_text(header), &auth);
        if (user == NULL) {
                assert_false(parsed);
                return;
        }
        assert_true(parsed);
        assert_true(rq_bytes_equal(auth.user, rq_bytes_text(user)));
        assert_true(rq_bytes_equal(auth.password, rq_bytes_text(password)));
}

static void test_credentials(void **state) {
        (void) state;
        expect_credentials("Basic Ym9iOnMzY3JldA==", "bob", "s3cret");
        expect_credentials("basic  Ym9iOnMzY3JldA== ", "bob", "s3cret");
        expect_credentials("BASIC Ym9iOnMzY3JldA", "bob", "s3cret");
        expect_credentials("Basic Ym9iOg==", "bob", "");
        expect_credentials("Basic OnA=", "", "p");
        expect_credentials("Basic Ym9iOmE6Yg==", "bob", "a:b");
        expect_credentials("Basic Ym9i", NULL, NULL); /* no colon */
        expect_credentials("Basic ", NULL, NULL);
        expect_credentials("Basic", NULL, NULL);
        expect_credentials("", NULL, NULL);
        expect_credentials("Bearer Ym9iOnMzY3JldA==", NULL, NULL);
        expect_credentials("Basic Ym9iOnMzY3JldA===", NULL, NULL);
        expect_credentials("Basic Ym9i!nMzY3JldA==", NULL, NULL);
        expect_credentials("Basic Y", NULL, NULL);
}

static void test_long_credentials(void **state) {
        char header[2048] = "Basic ";
        (void) state;
        memset(header + 6, 'O', 1024); /* "9" "8" ... no colon needed: too long comes first */
        expect_credentials(header, NULL, NULL);
        memset(header + 6, 'O', 1400);
        expect_credentials(header, NULL, NULL);
}

static void test_cache(void **state) {
        access_cache *cache = calloc(1, sizeof *cache);
        uint32_t may = 0;
        (void) state;
        assert_false(access_cache_find(cache, (rq_hash128) {0}, &may)); /* an empty place is nobody's */
        access_cache_put(cache, (rq_hash128) { 7, 8 }, 3);
        assert_true(access_cache_find(cache, (rq_hash128) { 7, 8 }, &may));
        assert_int_equal(may, 3);
        assert_false(access_cache_find(cache, (rq_hash128) { 7, 9 }, &may));
        access_cache_put(cache, (rq_hash128) { 7, 8 }, 4);
        assert_true(access_cache_find(cache, (rq_hash128) { 7, 8 }, &may));
        assert_int_equal(may, 4);

        /* Strangers push out the longest unused, not who comes all the time. */
        for (uint64_t i = 1; i < 20; i++) {
                access_cache_put(cache, (rq_hash128) { 7 + i * ACCESS_CACHE_SETS, 1 }, 1);
                assert_true(access_cache_find(cache, (rq_hash128) { 7, 8 }, &may));
        }
        assert_false(access_cache_find(cache, (rq_hash128) { 7 + ACCESS_CACHE_SETS, 1 }, &may));
        access_cache_clear(cache);
        assert_false(access_cache_find(cache, (rq_hash128) { 7, 8 }, &may));
        free(cache);
}

static void test_attempts(void **state) {
        const attempts_rate rate = { .burst = 3, .interval_ms = 1000 };
        attempts *a = calloc(1, sizeof *a);
        uint64_t now_us = 1000000000;
        (void) state;
        for (int i = 0; i < 3; i++)
                assert_int_equal(attempts_take(a, 5, rate, now_us), 0);
        assert_int_equal(attempts_take(a, 5, rate, now_us), 1000);
        assert_int_equal(attempts_take(a, 6, rate, now_us), 0); /* another one is free */
        assert_int_equal(attempts_take(a, 5, rate, now_us + 400000), 600);
        assert_int_equal(attempts_take(a, 5, rate, now_us + 1000000), 0);
        assert_int_equal(attempts_take(a, 5, rate, now_us + 1000000), 1000);
        attempts_give_back(a, 5, rate);
        assert_int_equal(attempts_take(a, 5, rate, now_us + 1000000), 0);
        now_us += 60000000; /* and all is forgotten */
        for (int i = 0; i < 3; i++)
                assert_int_equal(attempts_take(a, 5, rate, now_us), 0);
        assert_true(attempts_take(a, 5, rate, now_us) > 0);
        free(a);
}

/* Strangers that share its place don't free one that is slowed. */
static void test_attempts_are_bounded(void **state) {
        const attempts_rate rate = { .burst = 3, .interval_ms = 1000 };
        attempts *a = calloc(1, sizeof *a);
        uint64_t now_us = 1000000000;
        (void) state;
        for (int i = 0; i < 3; i++)
                assert_int_equal(attempts_take(a, 5, rate, now_us), 0);
        for (uint64_t i = 1; i < 1000; i++)
                assert_int_equal(attempts_take(a, 5 + i * ATTEMPTS_SETS, rate, now_us), 0);
        assert_true(attempts_take(a, 5, rate, now_us) > 0);
        free(a);
}

/* Giving back what was not taken makes no more room than there is. */
static void test_attempts_given_back_too_often(void **state) {
        const attempts_rate rate = { .burst = 3, .interval_ms = 1000 };
        attempts *a = calloc(1, sizeof *a);
        uint64_t now_us = 1000000000;
        (void) state;
        assert_int_equal(attempts_take(a, 5, rate, now_us), 0);
        for (int i = 0; i < 10; i++)
                attempts_give_back(a, 5, rate);
        attempts_give_back(a, 6, rate); /* never seen */
        for (int i = 0; i < 3; i++)
                assert_int_equal(attempts_take(a, 5, rate, now_us), 0);
        assert_true(attempts_take(a, 5, rate, now_us) > 0);
        free(a);
}

/* The clock of uses comes round: nothing is lost or found by it. */
static void test_cache_for_ever(void **state) {
        access_cache *cache = calloc(1, sizeof *cache);
        uint32_t may = 0;
        (void) state;
        cache->clock = UINT32_MAX - 1;
        access_cache_put(cache, (rq_hash128) { 7, 8 }, 3);
        access_cache_put(cache, (rq_hash128) { 7 + ACCESS_CACHE_SETS, 8 }, 4);
        assert_true(access_cache_find(cache, (rq_hash128) { 7, 8 }, &may) && may == 3);
        assert_true(access_cache_find(cache, (rq_hash128) { 7 + ACCESS_CACHE_SETS, 8 }, &may) && may == 4);
        assert_false(access_cache_find(cache, (rq_hash128) {0}, &may));
        free(cache);
}

/* Whatever bytes a header holds, nothing is read or written outside. */
static void test_any_header(void **state) {
        uint32_t seed = 12345;
        (void) state;
        for (int round = 0; round < 20000; round++) {
                uint8_t *header = malloc(1200);
                basic_auth auth;
                size_t size = (seed = seed * 1664525 + 1013904223) >> 16;
                size %= round % 2 == 0 ? 40 : 1200;
                for (size_t i = 0; i < size; i++) {
                        seed = seed * 1664525 + 1013904223;
                        header[i] = round % 3 == 0 ? (uint8_t) (seed >> 24) : (uint8_t) "ABab01+/=: "[(seed >> 24) % 11];
                }
                if (size >= 6 && round % 4 != 0)
                        memcpy(header, "Basic ", 6);
                uint8_t *exact = malloc(size + 1);
                memcpy(exact, header, size);
                exact[size] = '\0';
                if (basic_auth_parse(rq_bytes_of(exact, size), &auth)) {
                        assert_true(auth.user.data == auth.text && auth.user.size + auth.password.size < sizeof auth.text);
                        assert_null(memchr(auth.user.data, ':', auth.user.size));
                }
                free(exact);
                free(header);
        }
}

/* Every route says who may: nothing is open by being forgotten. */
static void test_every_route_has_a_permission(void **state) {
        static const struct { const char *path; rq_permissions needs; } rows[] = {
                { "/db/execute", RQ_MAY_EXECUTE }, { "/db/query", RQ_MAY_QUERY }, { "/db/request", RQ_MAY_QUERY | RQ_MAY_EXECUTE },
                { "/db/sql", RQ_MAY_QUERY }, { "/db/backup", RQ_MAY_BACKUP }, { "/db/load", RQ_MAY_LOAD }, { "/boot", RQ_MAY_LOAD },
                { "/remove", RQ_MAY_REMOVE }, { "/snapshot", RQ_MAY_SNAPSHOT }, { "/reap", RQ_MAY_SNAPSHOT }, { "/leader", RQ_MAY_LEADER_OPS },
                { "/status", RQ_MAY_STATUS }, { "/nodes", RQ_MAY_STATUS }, { "/debug/vars", RQ_MAY_STATUS }, { "/licenses", RQ_MAY_STATUS },
                { "/readyz", RQ_MAY_READY }, { "/console/", RQ_MAY_UI }, { "/console", ROUTE_OPEN }, { "/", ROUTE_OPEN }, { "", ROUTE_OPEN },
        };
        const route *r;
        (void) state;
        for (size_t i = 0; (r = route_at(i)) != NULL; i++) {
                bool known = false;
                if (r->needs == ROUTE_OPEN) /* pages that only lead elsewhere */
                        assert_true(r->op == OP_ROOT || r->op == OP_CONSOLE_BARE);
                else
                        assert_true(r->needs != 0 && (r->needs & RQ_MAY_ALL) == 0);
                for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
                        known = known || route_find(rq_bytes_text(rows[k].path)) == r;
                if (!known)
                        print_error("%s: say here who may\n", r->path);
                assert_true(known);
        }
        for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++)
                assert_int_equal(route_find(rq_bytes_text(rows[k].path))->needs, rows[k].needs);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_credentials), cmocka_unit_test(test_long_credentials), cmocka_unit_test(test_cache),
                cmocka_unit_test(test_attempts), cmocka_unit_test(test_attempts_are_bounded),
                cmocka_unit_test(test_attempts_given_back_too_often), cmocka_unit_test(test_cache_for_ever),
                cmocka_unit_test(test_any_header), cmocka_unit_test(test_every_route_has_a_permission),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
