/* Which frames reach the database file, on a WAL made by hand. */
#include "store_test.h"

#include <string.h>

#include "io/wal_copy.h"

enum { PAGE = 512, FRAME = PAGE + WAL_FRAME_HEADER_BYTES };

typedef struct frame { uint8_t page, commit_pages, fill; } frame;

typedef struct bench {
        place *place;
        int wal_fd, database_fd;
        wal_extent extent;
} bench;

static int setup(void **state) {
        bench *b = calloc(1, sizeof *b);
        b->place = place_new();
        b->wal_fd = openat(b->place->folder_fd, "wal", O_CREAT | O_RDWR, 0600);
        b->database_fd = openat(b->place->folder_fd, "database", O_CREAT | O_RDWR, 0600);
        b->extent = (wal_extent) { .salts = { 9, 8, 7, 6, 5, 4, 3, 2 }, .page_size = PAGE };
        *state = b;
        return 0;
}

static int teardown(void **state) {
        bench *b = *state;
        (void) close(b->wal_fd);
        (void) close(b->database_fd);
        place_free(b->place);
        free(b);
        return 0;
}

static void write_frames(bench *b, const frame *frames, uint32_t count) {
        for (uint32_t i = 0; i < count; i++) {
                uint8_t bytes[FRAME] = {0};
                bytes[3] = frames[i].page;
                bytes[7] = frames[i].commit_pages;
                memcpy(bytes + 8, b->extent.salts, WAL_SALTS_BYTES);
                memset(bytes + WAL_FRAME_HEADER_BYTES, frames[i].fill, PAGE);
                assert_int_equal(pwrite(b->wal_fd, bytes, FRAME, WAL_HEADER_BYTES + (off_t) i * FRAME), FRAME);
        }
}

static rq_err copy(bench *b, uint32_t from, uint32_t to) {
        b->extent.frames = to;
        return wal_copy(&files_io_kernel, b->wal_fd, b->database_fd, &b->extent, from);
}

static void expect(const bench *b, const char *fills) {
        struct stat st;
        assert_int_equal(fstat(b->database_fd, &st), 0);
        assert_int_equal(st.st_size, strlen(fills) * PAGE);
        for (size_t i = 0; i < strlen(fills); i++) {
                uint8_t page[PAGE], wanted[PAGE];
                memset(wanted, fills[i] == '.' ? 0 : fills[i], PAGE);
                if (i == 0)
                        wanted[18] = wanted[19] = 1; /* rollback mode on disk */
                assert_int_equal(pread(b->database_fd, page, PAGE, (off_t) i * PAGE), PAGE);
                assert_memory_equal(page, wanted, PAGE);
        }
}

/* The last version up to the extent, also when a later one is in the WAL. */
static void test_last_version_up_to_the_extent(void **state) {
        bench *b = *state;
        const frame frames[] = { { 1, 0, 'a' }, { 2, 0, 'b' }, { 2, 2, 'c' }, { 1, 2, 'd' }, { 2, 2, 'e' } };
        write_frames(b, frames, 5);
        assert_int_equal(copy(b, 0, 3), RQ_OK);
        expect(b, "ac");
        assert_int_equal(copy(b, 3, 4), RQ_OK);
        expect(b, "dc");
        assert_int_equal(copy(b, 0, 5), RQ_OK);
        expect(b, "de");
}

/* The size is the commit's: pages in no frame are there, pages behind it aren't. */
static void test_size_is_that_of_the_last_commit(void **state) {
        bench *b = *state;
        const frame frames[] = { { 1, 0, 'a' }, { 3, 5, 'c' }, { 4, 0, 'd' }, { 1, 2, 'b' } };
        write_frames(b, frames, 4);
        assert_int_equal(copy(b, 0, 2), RQ_OK);
        expect(b, "a.c..");
        assert_int_equal(copy(b, 2, 4), RQ_OK);
        expect(b, "b.");
        assert_int_equal(copy(b, 0, 4), RQ_OK);
        expect(b, "b.");
}

static void test_frames_that_are_not_there(void **state) {
        bench *b = *state;
        const frame frames[] = { { 1, 1, 'a' }, { 1, 0, 'b' } };
        write_frames(b, frames, 2);
        assert_int_equal(copy(b, 0, 2), RQ_ECORRUPT); /* ends amid a transaction */
        assert_int_equal(copy(b, 0, 3), RQ_ECORRUPT);
        b->extent.salts[0]++;
        assert_int_equal(copy(b, 0, 1), RQ_ECORRUPT);
        expect(b, "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_last_version_up_to_the_extent, setup, teardown),
                cmocka_unit_test_setup_teardown(test_size_is_that_of_the_last_commit, setup, teardown),
                cmocka_unit_test_setup_teardown(test_frames_that_are_not_there, setup, teardown),
        };
        return cmocka_run_group_tests_name("wal_copy", tests, NULL, NULL);
}
