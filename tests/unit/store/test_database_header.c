/* The judge of a database file's first bytes: each field it looks at, good and bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/database_header.h"

typedef struct file {
        uint8_t bytes[DATABASE_HEADER_BYTES];
        uint64_t size;
} file;

static void put_be32(uint8_t *p, uint32_t v) {
        for (int i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (24 - 8 * i));
}

static file good(void) {
        file f = { .size = 3 * 4096 };
        memcpy(f.bytes, "SQLite format 3", 16);
        f.bytes[16] = 16; /* 4096 */
        f.bytes[18] = f.bytes[19] = 1;
        put_be32(f.bytes + 24, 7);
        put_be32(f.bytes + 28, 3);
        put_be32(f.bytes + 56, 1);
        put_be32(f.bytes + 92, 7);
        return f;
}

static database_header assert_taken(const file *f) {
        database_header header = {0};
        char problem[DATABASE_HEADER_PROBLEM_BYTES];
        if (!database_header_judge(f->bytes, sizeof f->bytes, f->size, &header, problem))
                fail_msg("refused: %s", problem);
        assert_string_equal(problem, "");
        return header;
}

static void assert_refused(const file *f, const char *expected) {
        database_header header = {0};
        char problem[DATABASE_HEADER_PROBLEM_BYTES];
        assert_false(database_header_judge(f->bytes, sizeof f->bytes, f->size, &header, problem));
        assert_string_equal(problem, expected);
        assert_int_equal(header.page_size, 0);
}

static void test_a_good_one(void **state) {
        file f = good();
        (void) state;
        database_header header = assert_taken(&f);
        assert_int_equal(header.page_size, 4096);
        assert_int_equal(header.pages, 3);
        f.size += 100; /* something behind it */
        assert_int_equal(assert_taken(&f).pages, 3);
        f.bytes[18] = f.bytes[19] = 2; /* WAL */
        put_be32(f.bytes + 56, 0);     /* empty */
        (void) assert_taken(&f);
}

static void test_what_is_no_database(void **state) {
        static const char no_database[] = "not a SQLite database file: it does not begin with \"SQLite format 3\"";
        char problem[DATABASE_HEADER_PROBLEM_BYTES];
        database_header header;
        file f = good();
        (void) state;
        f.bytes[15] = 'x'; /* the NUL belongs to it */
        assert_refused(&f, no_database);
        f = good();
        f.size = DATABASE_HEADER_BYTES - 1;
        assert_refused(&f, no_database);
        for (size_t size = 0; size < DATABASE_HEADER_BYTES; size++) {
                uint8_t *exact = malloc(size + 1); /* so that a sanitizer sees what is read behind it */
                assert_non_null(exact);
                uint8_t *shorter = realloc(exact, size == 0 ? 1 : size);
                memcpy(shorter, good().bytes, size);
                assert_false(database_header_judge(shorter, size, 4096, &header, problem));
                assert_string_equal(problem, no_database);
                free(shorter);
        }
}

static void test_page_sizes(void **state) {
        static const struct { uint8_t high, low; uint32_t size; } sizes[] = {
                { 2, 0, 512 }, { 4, 0, 1024 }, { 128, 0, 32768 }, { 0, 1, 65536 },
                { 0, 0, 0 }, { 1, 0, 0 }, { 2, 1, 0 }, { 3, 0, 0 }, { 255, 255, 0 }, { 0, 2, 0 },
        };
        (void) state;
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                char expected[96];
                file f = good();
                f.bytes[16] = sizes[i].high;
                f.bytes[17] = sizes[i].low;
                f.size = 3 * 65536;
                (void) snprintf(expected, sizeof expected, "damaged header: a page size of %d bytes", sizes[i].high << 8 | sizes[i].low);
                if (sizes[i].size > 0)
                        assert_int_equal(assert_taken(&f).page_size, sizes[i].size);
                else
                        assert_refused(&f, expected);
        }
}

static void test_reserved_bytes(void **state) {
        file f = good();
        (void) state;
        f.bytes[20] = 255;
        (void) assert_taken(&f);
        f.bytes[16] = 2; /* 512 */
        f.bytes[20] = 32;
        (void) assert_taken(&f);
        f.bytes[20] = 33;
        assert_refused(&f, "damaged header: 33 of the 512 bytes of a page are reserved");
}

static void test_versions(void **state) {
        (void) state;
        for (size_t at = 18; at < 20; at++) {
                file f = good();
                f.bytes[at] = 0;
                assert_refused(&f, "of a format that this version doesn't know: 0");
                f.bytes[at] = 3;
                assert_refused(&f, "of a format that this version doesn't know: 3");
        }
}

static void test_encodings(void **state) {
        file f = good();
        (void) state;
        for (uint32_t encoding = 2; encoding < 4; encoding++) {
                put_be32(f.bytes + 56, encoding);
                assert_refused(&f, "its text is UTF-16, only UTF-8 is supported: dump it as SQL and load that");
        }
        put_be32(f.bytes + 56, 4);
        assert_refused(&f, "damaged header: text encoding 4");
        put_be32(f.bytes + 56, UINT32_MAX);
        assert_refused(&f, "damaged header: text encoding 4294967295");
}

static void test_sizes(void **state) {
        file f = good();
        (void) state;
        f.size = 3 * 4096 - 1;
        assert_refused(&f, "cut off: it has 12287 bytes, its header says 12288");
        put_be32(f.bytes + 28, UINT32_MAX); /* times the page size is more than 32 bits hold */
        assert_refused(&f, "cut off: it has 12287 bytes, its header says 17592186040320");
        put_be32(f.bytes + 28, 0); /* not kept: as many as there are */
        assert_int_equal(assert_taken(&f).pages, 2);
        put_be32(f.bytes + 28, 3);
        put_be32(f.bytes + 92, 8); /* kept, but by somebody before the last who wrote */
        assert_int_equal(assert_taken(&f).pages, 2);
        f.size = 4095;
        assert_refused(&f, "cut off: it has 4095 bytes, its header says 4096");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_good_one),
                cmocka_unit_test(test_what_is_no_database),
                cmocka_unit_test(test_page_sizes),
                cmocka_unit_test(test_reserved_bytes),
                cmocka_unit_test(test_versions),
                cmocka_unit_test(test_encodings),
                cmocka_unit_test(test_sizes),
        };
        return cmocka_run_group_tests_name("database_header", tests, NULL, NULL);
}
