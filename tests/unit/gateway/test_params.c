/* Query strings: what is understood, and the words for what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/params.h"

static params parse_good(const char *query) {
        static char copy[512];
        char problem[PARAMS_PROBLEM_BYTES] = "";
        params p;
        (void) strcpy(copy, query);
        rq_err r = params_parse(copy, strlen(copy), &p, problem);
        if (r < 0)
                print_error("%s: %s\n", query, problem);
        assert_int_equal(r, RQ_OK);
        return p;
}

static void expect_problem(const char *query, const char *expected) {
        char copy[512], problem[PARAMS_PROBLEM_BYTES] = "";
        params p;
        (void) strcpy(copy, query);
        assert_int_equal(params_parse(copy, strlen(copy), &p, problem), RQ_EINVAL);
        assert_string_equal(problem, expected);
}

static void assert_text(rq_bytes bytes, const char *expected) {
        assert_int_equal(bytes.size, strlen(expected));
        assert_memory_equal(bytes.data, expected, bytes.size);
}

static void flags_are_set_by_presence(void **state) {
        (void) state;
        params p = parse_good("pretty=false&timings&raft_index=&PRETTY&unknown=1&&wait=0");
        assert_true(p.pretty && p.timings && p.raft_index && p.wait);
        assert_false(p.transaction || p.queue || p.has_q || p.has_timeout);
        p = parse_good("PRETTY&TIMEOUT=abc");
        assert_false(p.pretty);
        assert_false(p.has_timeout);
        p = parse_good("");
        assert_false(p.pretty);
}

static void values_are_decoded(void **state) {
        (void) state;
        params p = parse_good("q=SELECT+1%2b%31%00&level=none&key=a.b&ver=2&min_index=18&timeout=1m0.5s&freshness=-1s&freshness_strict");
        assert_int_equal(p.q.size, 11);
        assert_memory_equal(p.q.data, "SELECT 1+1\0", 11);
        assert_text(p.level, "none");
        assert_text(p.key, "a.b");
        assert_text(p.ver, "2");
        assert_int_equal(p.min_index, 18);
        assert_int_equal(p.timeout_ns, INT64_C(60500000000));
        assert_int_equal(p.freshness_ns, INT64_C(-1000000000));
        assert_true(p.freshness_strict);
}

static void the_first_of_several_counts(void **state) {
        (void) state;
        params p = parse_good("level=strong&level=none&timeout=1s&timeout=x");
        assert_text(p.level, "strong");
        assert_int_equal(p.timeout_ns, INT64_C(1000000000));
        p = parse_good("%70retty&q=a&q=");
        assert_true(p.pretty);
}

static void problems_have_rqlites_words_and_order(void **state) {
        (void) state;
        expect_problem("timeout=5", "timeout is not a valid duration");
        expect_problem("timeout=", "timeout is not a valid duration");
        expect_problem("timeout=5&retries=x", "timeout is not a valid duration");
        expect_problem("freshness=x&timeout=x", "timeout is not a valid duration");
        expect_problem("linearizable_timeout=x&freshness=x", "freshness is not a valid duration");
        expect_problem("db_timeout=1d&linearizable_timeout=x", "db_timeout is not a valid duration");
        expect_problem("linearizable_timeout", "linearizable_timeout is not a valid duration");
        expect_problem("retries=x&q=", "retries is not a valid integer");
        expect_problem("retries=99999999999999999999", "retries is not a valid integer");
        expect_problem("retries=0x5", "retries is not a valid integer");
        expect_problem("retries=", "retries is not a valid integer");
        expect_problem("retries=+5", "retries is not a valid integer");
        expect_problem("trailing_logs=1x&retries=x", "retries is not a valid integer");
        expect_problem("trailing_logs=1x", "trailing_logs is not a valid integer");
        expect_problem("min_index=-1", "min_index is not a valid integer");
        expect_problem("min_index=0123456789abcdef.", "min_index is not a valid integer");
        expect_problem("min_index=0123456789abcdef.-1", "min_index is not a valid integer");
        expect_problem("min_index=0123456789ABCDEF.1", "min_index is not a valid integer");
        expect_problem("min_index=123456789abcdef.1", "min_index is not a valid integer");
        expect_problem("min_index=0123456789abcdeg.1", "min_index is not a valid integer");
        params token = parse_good("min_index=0123456789abcdef.42&token");
        assert_true(token.has_min_epoch && token.min_epoch == UINT64_C(0x0123456789abcdef) && token.min_index == 42 && token.token);
        assert_false(parse_good("min_index=42").has_min_epoch);
        expect_problem("q=", "query parameter not set");
        expect_problem("q", "query parameter not set");
        expect_problem("freshness_strict", "freshness_strict requires freshness");
        expect_problem("freshness_strict&timeout=x", "freshness_strict requires freshness");
        expect_problem("q=&freshness_strict", "freshness_strict requires freshness");
        expect_problem("freshness=&freshness_strict", "freshness is not a valid duration");
        expect_problem("a=%zz", "invalid URL escape \"%zz\"");
        expect_problem("a=%", "invalid URL escape \"%\"");
        expect_problem("a=%e&b", "invalid URL escape \"%e\"");
        expect_problem("a=%\"\\", "invalid URL escape \"%\\\"\\\\\"");
        expect_problem("%zz=1&b=%yy", "invalid URL escape \"%zz\"");
        expect_problem("a;b", "invalid semicolon separator in query");
        expect_problem("a=%zz&b;c", "invalid semicolon separator in query");
        expect_problem("q=SELECT 1;", "invalid semicolon separator in query");
}

static void signs_of_integers(void **state) {
        (void) state;
        assert_int_equal(parse_good("retries=-1").retries, -1);
        assert_int_equal(parse_good("retries=%2B5").retries, 5);
        assert_true(parse_good("retries=-9223372036854775808").retries == INT64_MIN);
        expect_problem("retries=-9223372036854775809", "retries is not a valid integer");
        expect_problem("retries=-", "retries is not a valid integer");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(flags_are_set_by_presence), cmocka_unit_test(values_are_decoded),
                cmocka_unit_test(the_first_of_several_counts), cmocka_unit_test(problems_have_rqlites_words_and_order),
                cmocka_unit_test(signs_of_integers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
