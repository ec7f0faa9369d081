/* store: documents as clients get them: keys, order, forms, pretty. Expectations are what rqlite 10 answers
 * but where docs decided otherwise (BLOBs of expressions, dates that are none, infinity). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "core/json_rows.h"

static json_writer *begin(json_options options) {
        json_writer *w = json_writer_new();
        assert_non_null(w);
        json_begin(w, &options);
        return w;
}

static void check_bytes(const json_writer *w, const char *wanted) {
        rq_bytes got = json_bytes(w);
        assert_false(json_failed(w));
        if (got.size != strlen(wanted) || memcmp(got.data, wanted, got.size) != 0)
                fail_msg("got    %.*s\nwanted %s", (int) got.size, (const char *) got.data, wanted);
}

static void check_end(json_writer *w, const char *wanted) {
        json_end(w, NULL);
        check_bytes(w, wanted);
        json_writer_free(w);
}

static void two_rows(json_writer *w, uint64_t elapsed_ns) {
        static const json_column columns[] = { { "b", "INTEGER" }, { "a", NULL } };
        static const char *const types[] = { "integer", "text" };
        json_rows_begin(w, columns, 2, types);
        json_row(w);
        json_cell_integer(w, 1);
        json_cell_text(w, rq_bytes_text("x"));
        json_row(w);
        json_cell_null(w);
        json_cell_real(w, 2.5);
        json_rows_end(w, elapsed_ns);
}

static void no_rows(json_writer *w, uint64_t elapsed_ns) {
        static const json_column columns[] = { { "a", "Text" }, { "1", NULL } };
        json_rows_begin(w, columns, 2, NULL);
        json_rows_end(w, elapsed_ns);
}

static void rows_default(void **state) {
        (void) state;
        json_writer *w = begin((json_options) {0});
        two_rows(w, 5);
        no_rows(w, 5);
        check_end(w, "{\"results\":[{\"columns\":[\"b\",\"a\"],\"types\":[\"integer\",\"text\"],"
                     "\"values\":[[1,\"x\"],[null,2.5]]},{\"columns\":[\"a\",\"1\"],\"types\":[\"text\",\"\"]}]");
}

static void rows_associative(void **state) {
        (void) state;
        json_writer *w = begin((json_options) { .associative = true, .timings = true });
        two_rows(w, 51400000);
        no_rows(w, 631);
        check_end(w, "{\"results\":[{\"types\":{\"a\":\"text\",\"b\":\"integer\"},\"rows\":[{\"a\":\"x\",\"b\":1},"
                     "{\"a\":2.5,\"b\":null}],\"time\":0.0514},{\"types\":{\"1\":\"\",\"a\":\"text\"},\"rows\":[],"
                     "\"time\":6.31e-7}]");
}

static void duplicate_names(void **state) {
        (void) state;
        static const json_column columns[] = {
                { "z", NULL }, { "a", "REAL" }, { "z", "boolean" }, { "a", NULL }, { "B", NULL },
        };
        static const char *const types[] = { "integer", "integer", "integer", "integer", "integer" };
        for (int associative = 0; associative < 2; associative++) {
                json_writer *w = begin((json_options) { .associative = associative });
                json_rows_begin(w, columns, 5, types);
                for (int row = 0; row < 2; row++) {
                        json_row(w);
                        for (int i = 1; i <= 5; i++)
                                json_cell_integer(w, i * (row + 1));
                }
                json_rows_end(w, 0);
                check_end(w, associative ? "{\"results\":[{\"types\":{\"B\":\"integer\",\"a\":\"integer\","
                                           "\"z\":\"boolean\"},\"rows\":[{\"B\":5,\"a\":4,\"z\":true},"
                                           "{\"B\":10,\"a\":8,\"z\":true}]}]"
                                         : "{\"results\":[{\"columns\":[\"z\",\"a\",\"z\",\"a\",\"B\"],"
                                           "\"types\":[\"integer\",\"real\",\"boolean\",\"integer\",\"integer\"],"
                                           "\"values\":[[1,2,true,4,5],[2,4,true,8,10]]}]");
        }
}

static void writes_and_errors(void **state) {
        (void) state;
        for (int associative = 0; associative < 2; associative++) {
                json_writer *w = begin((json_options) { .associative = associative });
                json_write_result(w, true, 17, 1, 9);
                json_write_result(w, false, 17, 3, 9);
                json_write_result(w, true, 0, 0, 9);
                json_error_result(w, "near \"x\"", true);
                json_error_result(w, "a<b", false);
                json_empty_result(w, true);
                json_empty_result(w, false);
                check_end(w, associative ? "{\"results\":[{\"last_insert_id\":17,\"rows_affected\":1,"
                                           "\"rows\":null},{\"rows_affected\":3,\"rows\":null},{\"rows\":null},"
                                           "{\"rows\":[],\"error\":\"near \\\"x\\\"\"},{\"error\":\"a\\u003cb\"},"
                                           "{\"rows\":[]},{\"rows\":null}]"
                                         : "{\"results\":[{\"last_insert_id\":17,\"rows_affected\":1},"
                                           "{\"rows_affected\":3},{},{\"error\":\"near \\\"x\\\"\"},"
                                           "{\"error\":\"a\\u003cb\"},{},{}]");
        }
        json_writer *w = begin((json_options) { .timings = true, .associative = true });
        json_write_result(w, true, 17, 1, 1500000000);
        json_write_result(w, true, 17, 1, 0);
        check_end(w, "{\"results\":[{\"last_insert_id\":17,\"rows_affected\":1,\"time\":1.5,\"rows\":null},"
                     "{\"last_insert_id\":17,\"rows_affected\":1,\"rows\":null}]");
}

static void top_level(void **state) {
        (void) state;
        check_end(begin((json_options) {0}), "{\"results\":[]");
        check_end(begin((json_options) { .pretty = true }), "{\n    \"results\": []");

        json_writer *w = begin((json_options) {0});
        json_end(w, "disallowed pragma");
        check_bytes(w, "{\"results\":[],\"error\":\"disallowed pragma\"");
        /* used again: nothing is left over */
        json_begin(w, &(json_options) { .pretty = true });
        json_empty_result(w, false);
        json_end(w, "stale read");
        check_bytes(w, "{\n    \"results\": [\n        {}\n    ],\n    \"error\": \"stale read\"");
        json_writer_free(w);
}

static void pretty(void **state) {
        (void) state;
        json_writer *w = begin((json_options) { .pretty = true, .timings = true, .blob_array = true });
        two_rows(w, 141010);
        no_rows(w, 17276);
        json_rows_begin(w, &(json_column) { "x", "BLOB" }, 1, NULL);
        json_row(w);
        json_cell_blob(w, rq_bytes_text("\1\377"));
        json_row(w);
        json_cell_blob(w, rq_bytes_of(NULL, 0));
        json_rows_end(w, 0);
        check_end(w, "{\n    \"results\": [\n        {\n            \"columns\": [\n                \"b\",\n"
                     "                \"a\"\n            ],\n            \"types\": [\n"
                     "                \"integer\",\n                \"text\"\n            ],\n"
                     "            \"values\": [\n                [\n                    1,\n"
                     "                    \"x\"\n                ],\n                [\n                    null,\n"
                     "                    2.5\n                ]\n            ],\n"
                     "            \"time\": 0.00014101\n        },\n        {\n            \"columns\": [\n"
                     "                \"a\",\n                \"1\"\n            ],\n            \"types\": [\n"
                     "                \"text\",\n                \"\"\n            ],\n"
                     "            \"time\": 0.000017276\n        },\n        {\n            \"columns\": [\n"
                     "                \"x\"\n            ],\n            \"types\": [\n                \"blob\"\n"
                     "            ],\n            \"values\": [\n                [\n                    [\n"
                     "                        1,\n                        255\n                    ]\n"
                     "                ],\n                [\n                    []\n                ]\n"
                     "            ]\n        }\n    ]");

        w = begin((json_options) { .pretty = true, .associative = true });
        two_rows(w, 0);
        no_rows(w, 0);
        json_write_result(w, true, 1, 1, 0);
        check_end(w, "{\n    \"results\": [\n        {\n            \"types\": {\n"
                     "                \"a\": \"text\",\n                \"b\": \"integer\"\n            },\n"
                     "            \"rows\": [\n                {\n                    \"a\": \"x\",\n"
                     "                    \"b\": 1\n                },\n                {\n"
                     "                    \"a\": 2.5,\n                    \"b\": null\n                }\n"
                     "            ]\n        },\n        {\n            \"types\": {\n"
                     "                \"1\": \"\",\n                \"a\": \"text\"\n            },\n"
                     "            \"rows\": []\n        },\n        {\n            \"last_insert_id\": 1,\n"
                     "            \"rows_affected\": 1,\n            \"rows\": null\n        }\n    ]");
}

static void rows_that_fail(void **state) {
        (void) state;
        for (int associative = 0; associative < 2; associative++) {
                json_writer *w = begin((json_options) { .associative = associative, .timings = true });
                json_rows_begin(w, &(json_column) { "a", NULL }, 1, NULL);
                json_row(w);
                json_cell_integer(w, 1);
                json_rows_failed(w, "interrupted");
                /* in the middle of a row */
                json_rows_begin(w, (json_column[2]) { { "a", NULL }, { "b", NULL } }, 2, NULL);
                json_row(w);
                json_cell_integer(w, 1);
                json_rows_failed(w, "interrupted");
                json_rows_begin(w, &(json_column) { "a", NULL }, 1, NULL);
                json_rows_failed(w, "interrupted");
                check_end(w, associative ? "{\"results\":[{\"types\":{\"a\":\"\"},\"rows\":[{\"a\":1}],"
                                           "\"error\":\"interrupted\"},{\"types\":{\"a\":\"\",\"b\":\"\"},"
                                           "\"rows\":[{\"a\":1,\"b\":null}],\"error\":\"interrupted\"},"
                                           "{\"types\":{\"a\":\"\"},\"rows\":[],\"error\":\"interrupted\"}]"
                                         : "{\"results\":[{\"columns\":[\"a\"],\"types\":[\"\"],\"values\":[[1]],"
                                           "\"error\":\"interrupted\"},{\"columns\":[\"a\",\"b\"],"
                                           "\"types\":[\"\",\"\"],\"values\":[[1,null]],\"error\":\"interrupted\"},"
                                           "{\"columns\":[\"a\"],\"types\":[\"\"],\"error\":\"interrupted\"}]");
        }
}

/* One cell of a column with a declared type, without what surrounds it. */
static void check_cell(const char *type, bool blob_array, void (*write)(json_writer *), const char *wanted) {
        json_writer *w = begin((json_options) { .blob_array = blob_array });
        json_rows_begin(w, &(json_column) { "c", type }, 1, (const char *const[1]) { "text" });
        json_reset_bytes(w);
        json_row(w);
        write(w);
        char all[256];
        (void) snprintf(all, sizeof all, ",\"values\":[[%s]", wanted);
        check_bytes(w, all);
        json_writer_free(w);
}

static void put_five(json_writer *w) { json_cell_integer(w, 5); }
static void put_zero(json_writer *w) { json_cell_integer(w, 0); }
static void put_negative(json_writer *w) { json_cell_integer(w, -5); }
static void put_lowest(json_writer *w) { json_cell_integer(w, INT64_MIN); }
static void put_1e12(json_writer *w) { json_cell_integer(w, 1000000000000); }
static void put_real(json_writer *w) { json_cell_real(w, 1.5); }
static void put_infinity(json_writer *w) { json_cell_real(w, -INFINITY); }
static void put_day(json_writer *w) { json_cell_text(w, rq_bytes_text("2024-01-02")); }
static void put_no_day(json_writer *w) { json_cell_text(w, rq_bytes_text("not a <date>")); }
static void put_blob(json_writer *w) { json_cell_blob(w, rq_bytes_text("AB\377")); }
static void put_null(json_writer *w) { json_cell_null(w); }

static void cells_by_type(void **state) {
        (void) state;
        check_cell("BOOLEAN", false, put_five, "true");
        check_cell("boolean", false, put_zero, "false");
        check_cell("boolean", false, put_negative, "false");
        check_cell("boolean", false, put_real, "1.5");
        check_cell("boolean", false, put_day, "\"2024-01-02\"");
        check_cell("bool", false, put_five, "5");
        check_cell("time", false, put_five, "5");
        check_cell("INTEGER", false, put_lowest, "-9223372036854775808");
        static const char *const times[] = { "DATE", "DateTime", "timestamp" };
        for (int i = 0; i < 3; i++) {
                check_cell(times[i], false, put_five, "\"1970-01-01T00:00:05Z\"");
                check_cell(times[i], false, put_1e12, "1000000000000");
                check_cell(times[i], false, put_lowest, "-9223372036854775808");
                check_cell(times[i], false, put_real, "1.5");
                check_cell(times[i], false, put_day, "\"2024-01-02T00:00:00Z\"");
                check_cell(times[i], false, put_no_day, "\"not a \\u003cdate\\u003e\"");
                check_cell(times[i], false, put_blob, "\"QUL/\"");
                check_cell(times[i], true, put_blob, "[65,66,255]");
                check_cell(times[i], false, put_null, "null");
        }
        check_cell("time", false, put_day, "\"2024-01-02\"");
        check_cell("datetime(3)", false, put_day, "\"2024-01-02\"");
        static const char *const texts[] = {
                "text", "TEXT", "json", "varchar", "VARCHAR(10)", "varying character(5)", "nchar(5)",
                        "native character(5)",
                "nvarchar(5)", "clob", "CLOB(9)",
        };
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
                check_cell(texts[i], false, put_blob, "\"AB\\ufffd\"");
                check_cell(texts[i], true, put_blob, "\"AB\\ufffd\"");
        }
        static const char *const others[] = { "blob", "integer", "char(5)", "boolean", "jsonb", "text(5)", "", NULL };
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
                check_cell(others[i], false, put_blob, "\"QUL/\"");
                check_cell(others[i], true, put_blob, "[65,66,255]");
        }
        check_cell("real", false, put_infinity, "null");
}

/* Any cut between calls gives the same document. */
static void pieces(void **state) {
        (void) state;
        for (int associative = 0; associative < 2; associative++)
                for (int cut = 0; cut < 2; cut++) {
                        static rq_buf documents[2];
                        json_writer *w = begin((json_options) { .associative = associative });
                        json_rows_begin(w, (json_column[2]) { { "b", NULL }, { "a", NULL } }, 2, NULL);
                        for (int i = 0; i < 1000; i++) {
                                json_row(w);
                                json_cell_integer(w, i);
                                if (cut) {
                                        (void) rq_buf_append_bytes(&documents[cut], json_bytes(w));
                                        json_reset_bytes(w);
                                }
                                json_cell_text(w, rq_bytes_of("a long text with some \" in it", (size_t) i % 28));
                                if (cut) {
                                        (void) rq_buf_append_bytes(&documents[cut], json_bytes(w));
                                        json_reset_bytes(w);
                                }
                        }
                        json_rows_end(w, 0);
                        json_end(w, NULL);
                        (void) rq_buf_append_bytes(&documents[cut], json_bytes(w));
                        json_writer_free(w);
                        if (cut) {
                                assert_true(documents[0].size > 10000);
                                assert_true(rq_bytes_equal(rq_buf_bytes(&documents[0]), rq_buf_bytes(&documents[1])));
                                rq_buf_done(&documents[0]);
                                rq_buf_done(&documents[1]);
                        }
                }
}

static void names_and_types_escaped(void **state) {
        (void) state;
        json_writer *w = begin((json_options) {0});
        json_rows_begin(w, &(json_column) { "A<b\"", "Foo<Type>\\N" }, 1, NULL);
        json_rows_end(w, 0);
        check_end(w, "{\"results\":[{\"columns\":[\"A\\u003cb\\\"\"],\"types\":[\"foo\\u003ctype\\u003e\\\\n\"]}]");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rows_default),      cmocka_unit_test(rows_associative),
                        cmocka_unit_test(duplicate_names),
                cmocka_unit_test(writes_and_errors), cmocka_unit_test(top_level),        cmocka_unit_test(pretty),
                cmocka_unit_test(rows_that_fail),    cmocka_unit_test(cells_by_type),    cmocka_unit_test(pieces),
                cmocka_unit_test(names_and_types_escaped),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
