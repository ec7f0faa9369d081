/* Read levels, hints from SQL, answers to failures, deadlines, counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/consistency.h"
#include "core/failure.h"
#include "core/metrics.h"
#include "core/sql_hint.h"
#include "core/wheel.h"

static read_level level(const char *text) { return read_level_of(rq_bytes_text(text)); }

static void levels(void **state) {
        (void) state;
        assert_int_equal(level("none"), READ_NONE);
        assert_int_equal(level("NoNe"), READ_NONE);
        assert_int_equal(level("strong"), READ_STRONG);
        assert_int_equal(level("linearizable"), READ_LINEARIZABLE);
        assert_int_equal(level("auto"), READ_AUTO);
        assert_int_equal(level(""), READ_WEAK);
        assert_int_equal(level("stronger"), READ_WEAK);
}

static void levels_resolve_by_role(void **state) {
        (void) state;
        assert_int_equal(read_level_resolve(READ_AUTO, false, ROLE_LEADER), READ_WEAK);
        assert_int_equal(read_level_resolve(READ_AUTO, false, ROLE_LEARNER), READ_NONE);
        assert_int_equal(read_level_resolve(READ_NONE, false, ROLE_FOLLOWER), READ_NONE);
        assert_int_equal(read_level_resolve(READ_NONE, true, ROLE_LEADER), READ_LINEARIZABLE);
        assert_int_equal(read_level_resolve(READ_NONE, true, ROLE_FOLLOWER), READ_LINEARIZABLE);
        assert_int_equal(read_level_resolve(READ_AUTO, true, ROLE_LEARNER), READ_LINEARIZABLE);
        assert_int_equal(read_level_resolve(READ_STRONG, true, ROLE_FOLLOWER), READ_STRONG);
}

static bool reads(const char *sql) { return sql_may_be_read(rq_bytes_text(sql)); }

static void first_words(void **state) {
        (void) state;
        assert_true(reads("SELECT 1") && reads(" \n\tselect 1") && reads("VALUES(1)") && reads("WITH x AS (SELECT 1) SELECT 1"));
        assert_true(reads("EXPLAIN DELETE FROM x") && reads("pragma table_info(x)") && reads("") && reads("-- only this"));
        assert_true(reads("/* a */ -- b\n;; SELECT 1") && reads("/* open"));
        assert_false(reads("INSERT INTO x VALUES(1)") || reads("selects") || reads("/**/DELETE FROM x") || reads("BEGIN") || reads("(SELECT 1)"));
}

static bool refused(const char *sql) { return sql_is_refused_pragma(rq_bytes_text(sql)); }

static void refused_pragmas(void **state) {
        (void) state;
        assert_true(refused("PRAGMA journal_mode=DELETE") && refused("  pragma main.journal_mode = wal") && refused("PRAGMA wal_checkpoint"));
        assert_true(refused("PRAGMA wal_checkpoint(TRUNCATE)") && refused("PRAGMA synchronous=OFF") && refused("PRAGMA query_only=1"));
        assert_true(refused("PRAGMA wal_autocheckpoint = 0"));
        assert_false(refused("PRAGMA journal_mode") || refused("PRAGMA foreign_keys=ON") || refused("SELECT 'PRAGMA journal_mode=x'"));
        assert_false(refused("PRAGMA") || refused("") || refused("PRAGMA main."));
}

static failure_answer answer(bool write, failure_outcome outcome, failure_reason reason, const char *text) {
        failure_answer a;
        failure f = { .outcome = outcome, .reason = reason, .text = rq_bytes_text(text), .index = 12, .write = write };
        failure_answer_of(&f, &a);
        return a;
}

static void failures_tell_whether_something_happened(void **state) {
        (void) state;
        failure_answer a = answer(true, FAILED_REFUSED, FAILED_NO_LEADER, "x");
        assert_int_equal(a.status, 503);
        assert_string_equal(a.text, "leader not found");
        a = answer(true, FAILED_REFUSED, FAILED_OVERLOADED, "queue");
        assert_int_equal(a.status, 503);
        assert_int_equal(a.retry_after_s, 1);
        assert_non_null(strstr(a.text, "nothing was done"));
        a = answer(true, FAILED_REFUSED, FAILED_DISK_FULL, "");
        assert_int_equal(a.status, 503);
        assert_true(a.retry_after_s > 0 && a.server_error);
        a = answer(false, FAILED_REFUSED, FAILED_STALE, "");
        assert_int_equal(a.status, 200);
        assert_string_equal(a.text, "{\"results\":[],\"error\":\"stale read\"}");
        a = answer(true, FAILED_UNKNOWN, FAILED_TIMEOUT, "");
        assert_int_equal(a.status, 504);
        assert_non_null(strstr(a.text, "unknown"));
        assert_int_equal(a.retry_after_s, 0);
        a = answer(false, FAILED_UNKNOWN, FAILED_TIMEOUT, "");
        assert_int_equal(a.status, 504);
        assert_null(strstr(a.text, "unknown"));
        a = answer(true, FAILED_COMMITTED, FAILED_OTHER, "");
        assert_int_equal(a.status, 500);
        assert_string_equal(a.text, "committed at index 12, but the result is lost; do not send it again");
        a = answer(true, FAILED_DROPPED, FAILED_OTHER, "");
        assert_int_equal(a.status, 503);
        assert_int_equal(a.retry_after_s, 1);
        a = answer(true, FAILED_REFUSED, FAILED_INVALID, "too large");
        assert_int_equal(a.status, 400);
        assert_non_null(strstr(a.text, "too large"));
        a = answer(true, FAILED_UNKNOWN, FAILED_NO_LEADER, "");
        assert_int_equal(a.status, 504); /* sent, and the leader lost: not "nothing happened" */
}

static void every_failure_has_an_answer(void **state) {
        (void) state;
        for (int write = 0; write < 2; write++)
                for (int o = FAILED_REFUSED; o <= FAILED_COMMITTED; o++)
                        for (int r = FAILED_OTHER; r <= FAILED_STORE_FAILED; r++) {
                                failure_answer a = answer(write, (failure_outcome) o, (failure_reason) r, "w");
                                assert_true(a.status >= 200 && a.status < 600 && a.text[0] != '\0');
                                /* 503 invites to send it again: only if nothing happened. */
                                if (write && (o == FAILED_UNKNOWN || o == FAILED_COMMITTED))
                                        assert_true(a.status == 504 || a.status == 500);
                        }
}

static void deadlines_fire_once_and_not_early(void **state) {
        (void) state;
        static wheel w;
        enum { COUNT = 5000, TICK = 10 };
        static wheel_entry entries[COUNT];
        static bool fired[COUNT];
        wheel_init(&w, TICK, 1000000);
        for (int i = 0; i < COUNT; i++)
                wheel_set(&w, &entries[i], 1000000 + (uint64_t) i * 7);
        for (int i = 0; i < COUNT; i += 10)
                wheel_cancel(&w, &entries[i]);
        wheel_cancel(&w, &entries[0]);
        for (uint64_t now = 1000000; now < 1000000 + COUNT * 7 + 3 * TICK; now += 13) {
                wheel_entry *e;
                while ((e = wheel_expired(&w, now)) != NULL) {
                        long i = e - entries;
                        assert_true(e->deadline_us <= now && !fired[i] && i % 10 != 0);
                        assert_true(now - e->deadline_us <= 2 * TICK + 13);
                        fired[i] = true;
                }
        }
        assert_int_equal(w.count, 0);
        for (int i = 0; i < COUNT; i++)
                assert_int_equal(fired[i], i % 10 != 0);
}

static void deadlines_survive_a_long_pause_and_the_past(void **state) {
        (void) state;
        static wheel w;
        static wheel_entry a, b, far;
        wheel_init(&w, 10, 1000);
        wheel_set(&w, &a, 5);      /* already past */
        wheel_set(&w, &b, 2000);
        wheel_set(&w, &far, 1000 + 10 * WHEEL_SLOTS * 3);
        assert_ptr_equal(wheel_expired(&w, 1020), &a);
        assert_null(wheel_expired(&w, 1020));
        assert_ptr_equal(wheel_expired(&w, 1000 + 10 * WHEEL_SLOTS * 2), &b);
        assert_null(wheel_expired(&w, 1000 + 10 * WHEEL_SLOTS * 2));
        assert_ptr_equal(wheel_expired(&w, 1000 + 10 * WHEEL_SLOTS * 9), &far);
        assert_int_equal(w.count, 0);
        wheel_set(&w, &a, 1000 + 10 * WHEEL_SLOTS * 9 + 50);
        assert_null(wheel_expired(&w, 1000 + 10 * WHEEL_SLOTS * 9 + 40));
        assert_ptr_equal(wheel_expired(&w, 1000 + 10 * WHEEL_SLOTS * 9 + 70), &a);
}

static void counters_are_listed_in_order(void **state) {
        (void) state;
        metrics m = { .http.executions = 5, .gateway.slow_clients = 2 };
        const char *name, *before = "";
        uint64_t value;
        unsigned count = 0;
        bool found = false;
        for (; (name = metrics_http_at(&m, count, &value)) != NULL; count++) {
                assert_true(strcmp(before, name) < 0);
                before = name;
                if (strcmp(name, "executions") == 0) {
                        assert_int_equal(value, 5);
                        found = true;
                }
        }
        assert_true(found && count > 10);
        assert_non_null(metrics_gateway_at(&m, 0, &value));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(levels), cmocka_unit_test(levels_resolve_by_role), cmocka_unit_test(first_words),
                cmocka_unit_test(refused_pragmas), cmocka_unit_test(failures_tell_whether_something_happened),
                cmocka_unit_test(every_failure_has_an_answer), cmocka_unit_test(deadlines_fire_once_and_not_early),
                cmocka_unit_test(deadlines_survive_a_long_pause_and_the_past), cmocka_unit_test(counters_are_listed_in_order),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
