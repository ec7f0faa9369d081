/* Paths: literal, prefix or exact, nothing cleaned. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/percent.h"
#include "core/route.h"

static const route *find(const char *path) { return route_find(rq_bytes_text(path)); }

static void expect(const char *path, route_op op) {
        const route *r = find(path);
        if (r == NULL || r->op != op)
                print_error("%s\n", path);
        assert_non_null(r);
        assert_int_equal(r->op, op);
}

static void prefixes(void **state) {
        (void) state;
        expect("/db/execute", OP_EXECUTE);
        expect("/db/query", OP_QUERY);
        expect("/db/query/", OP_QUERY);
        expect("/db/queryfoo", OP_QUERY);
        expect("/db/request", OP_REQUEST);
        expect("/db/sql", OP_SQL);
        expect("/db/backup", OP_BACKUP);
        expect("/db/load", OP_LOAD);
        expect("/remove/foo", OP_REMOVE);
        expect("/statusfoo", OP_STATUS);
        expect("/nodes", OP_NODES);
        expect("/readyzfoo", OP_READYZ);
        expect("/consolefoo", OP_CONSOLE);
        expect("/console/", OP_CONSOLE);
}

static void exact_ones(void **state) {
        (void) state;
        expect("/", OP_ROOT);
        expect("", OP_ROOT);
        expect("/console", OP_CONSOLE_BARE);
        expect("/boot", OP_BOOT);
        expect("/snapshot", OP_SNAPSHOT);
        expect("/reap", OP_REAP);
        expect("/leader", OP_LEADER);
        expect("/licenses", OP_LICENSES);
        expect("/debug/vars", OP_VARS);
}

static void nothing_else(void **state) {
        static const char *const paths[] = { "/db", "/DB/query", "//db//query", "/./db/query", "/join", "/leader/", "/boot/",
                                             "/debug/vars/", "/debug/pprof", "/snapshotx", "db/query", "/db/quer", "*", "//" };
        (void) state;
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
                assert_null(find(paths[i]));
        assert_null(route_find(rq_bytes_of("/db/query", 8)));
}

static void methods(void **state) {
        (void) state;
        assert_int_equal(find("/db/execute")->methods, METHOD_POST);
        assert_int_equal(find("/db/query")->methods, METHOD_GET | METHOD_POST);
        assert_int_equal(find("/remove")->methods, METHOD_DELETE);
        assert_true((find("/debug/vars")->methods & METHOD_OTHER) != 0);
        assert_true((find("/")->methods & METHOD_POST) != 0);
}

static void expect_path(const char *from, const char *to) {
        char copy[64];
        size_t size = strlen(from);
        (void) strcpy(copy, from);
        assert_int_equal(route_decode_path(copy, &size), RQ_OK);
        assert_int_equal(size, strlen(to));
        assert_memory_equal(copy, to, size);
}

static void paths_are_percent_decoded(void **state) {
        char bad[] = "/a%zz", cut[] = "/a%2";
        size_t size = strlen(bad), at = 0;
        (void) state;
        expect_path("/db%2Fquery", "/db/query");
        expect_path("/db%2fquer%79", "/db/query");
        expect_path("/a+b", "/a+b");
        expect_path("/plain", "/plain");
        assert_int_equal(route_decode_path(bad, &size), RQ_EINVAL);
        size = strlen(cut);
        assert_false(percent_decode(cut, &size, true, &at));
        assert_int_equal(at, 2);
        assert_int_equal(size, 4);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(prefixes), cmocka_unit_test(exact_ones), cmocka_unit_test(nothing_else),
                cmocka_unit_test(methods), cmocka_unit_test(paths_are_percent_decoded),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
