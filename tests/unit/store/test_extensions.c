/* Loading extensions: what is found, what they bring, what is refused. */
#include "entries.h"

#include "io/connection.h"
#include "io/extensions.h"

#define GOOD   RQ_TEST_LIB_DIR "/rot13.so"
#define BROKEN RQ_TEST_LIB_DIR "/broken/broken.so"

static extensions *opened(const char *paths) {
        extensions *e = NULL;
        rq_buf problem = {0};
        rq_err r = extensions_open(paths, &e, &problem);
        if (r < 0)
                fail_msg("%.*s", (int) problem.size, (const char *) problem.data);
        rq_buf_done(&problem);
        return e;
}

static void assert_refused(const char *paths, const char *part) {
        extensions *e = NULL;
        rq_buf problem = {0};
        assert_int_equal(extensions_open(paths, &e, &problem), RQ_ECONFIG);
        assert_int_equal(rq_buf_append(&problem, "", 1), RQ_OK);
        if (strstr((const char *) problem.data, part) == NULL)
                fail_msg("%s isn't in %s", part, (const char *) problem.data);
        rq_buf_done(&problem);
}

static void test_files_and_folders(void **state) {
        uint32_t crc32c, again;
        (void) state;
        extensions *none = opened(""), *file = opened(GOOD), *folder = opened(RQ_TEST_LIB_DIR ",");
        assert_null(extensions_at(none, 0, &crc32c));
        assert_string_equal(extensions_at(file, 0, &crc32c), "rot13.so");
        assert_string_equal(extensions_at(folder, 0, &again), "rot13.so");
        assert_null(extensions_at(folder, 1, &again));
        assert_int_equal(crc32c, again);
        assert_true(extensions_has(file, "ROT13"));
        assert_false(extensions_has(file, "dice") || extensions_has(file, "upper") || extensions_has(none, "rot13") || extensions_has(NULL, "rot13"));
        (void) extensions_free(none);
        (void) extensions_free(file);
        (void) extensions_free(folder);
        (void) extensions_free(NULL);
}

static void test_what_is_wrong_is_said(void **state) {
        (void) state;
        assert_refused("/nothing/there.so", "/nothing/there.so: No such file");
        assert_refused(GOOD "," BROKEN, "no luck today");
        assert_refused(RQ_SOURCE_DIR "/CMakeLists.txt", "CMakeLists.txt");
        assert_refused("/dev/null", "neither a file nor a folder");
}

/* Deterministic functions in writes, all in reads, load_extension() nowhere. */
static void test_writes_may_use_what_is_deterministic(void **state) {
        (void) state;
        bench *b = bench_new();
        extensions *e = opened(GOOD);
        b->extensions = e;
        bench_open(b);
        entry(b, "CREATE TABLE t(v TEXT CHECK (rot13(v) <> 'ab'))", "INSERT INTO t VALUES(rot13('Hello'))", "INSERT INTO t VALUES('no')",
              "INSERT INTO t VALUES(dice())", "INSERT INTO t VALUES(load_extension('" GOOD "'))");
        request(b, "SELECT v FROM t");
        assert_answers(b,
                "{\"results\":[{},{\"last_insert_id\":1,\"rows_affected\":1},{\"error\":\"CHECK constraint failed: rot13(v) \\u003c\\u003e 'ab'\"},"
                "{\"error\":\"function dice is not available in a write: its result may differ between nodes\"},"
                "{\"error\":\"function load_extension is not available in a write: its result may differ between nodes\"}]\n"
                "{\"results\":[{\"columns\":[\"v\"],\"types\":[\"text\"],\"values\":[[\"Uryyb\"]]}]\n");
        sqlite3 *db;
        assert_int_equal(files_open_reader(b->files, &db), RQ_OK);
        assert_int_equal(sqlite3_exec(db, "SELECT rot13(v), dice() FROM t", NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, "SELECT load_extension('" GOOD "')", NULL, NULL, NULL), SQLITE_ERROR);
        (void) sqlite3_close(db);
        bench_free(b);
        (void) extensions_free(e);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_files_and_folders),
                cmocka_unit_test(test_what_is_wrong_is_said),
                cmocka_unit_test(test_writes_may_use_what_is_deterministic),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
