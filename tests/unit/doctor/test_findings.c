/* doctor: what of the findings is the exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/findings.h"

static findings f;

static void the_worst_counts(void **state) {
        (void) state;
        f = (findings) {0};
        assert_int_equal(findings_worst(&f), FINDING_OK);
        assert_null(findings_first_worst(&f));
        (void) findings_add(&f, "a", FINDING_OK, "fine");
        (void) findings_add(&f, "b", FINDING_UNKNOWN, "who knows");
        assert_int_equal(findings_worst(&f), FINDING_UNKNOWN);
        (void) findings_add(&f, "c", FINDING_WARNING, "hm");
        assert_int_equal(findings_worst(&f), FINDING_WARNING);
        (void) findings_add(&f, "d", FINDING_CRITICAL, "one");
        (void) findings_add(&f, "e", FINDING_CRITICAL, "two");
        assert_int_equal(findings_worst(&f), FINDING_CRITICAL);
        assert_string_equal(findings_first_worst(&f)->name, "d");
        assert_int_equal(findings_of_state(&f, FINDING_CRITICAL), 2);
        assert_int_equal(findings_of_state(&f, FINDING_UNKNOWN), 1);
        assert_string_equal(finding_state_name(FINDING_WARNING), "WARNING");
}

static void texts_of_others_are_harmless(void **state) {
        (void) state;
        f = (findings) {0};
        finding *one = findings_add(&f, "nodes", FINDING_OK, "%s", "a\x1b[2J\nb\x7f");
        finding_remedy(one, "%s", "x\ry");
        assert_string_equal(one->text, "a?[2J?b?");
        assert_string_equal(one->remedy, "x?y");
        for (int i = 0; i < 20; i++)
                finding_value(one, "n", i);
        assert_int_equal(one->value_count, FINDING_VALUES_MAX);
        for (int i = 0; i < 2 * FINDINGS_MAX; i++)
                (void) findings_add(&f, "many", FINDING_CRITICAL, "%d", i);
        assert_int_equal(f.count, FINDINGS_MAX);
        assert_string_equal(f.list[FINDINGS_MAX - 1].text, "383");
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(the_worst_counts), cmocka_unit_test(texts_of_others_are_harmless) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
