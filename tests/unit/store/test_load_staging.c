/* Chunks of a load as the log brings them: in order, out of it, damaged, given up,
 * undone with their batch; and what becomes of the file they make. */
#include "store_test.h"

#include <string.h>

#include "base/checksum.h"
#include "io/load_staging.h"

typedef struct bed {
        char folder[64], database[96], load[112];
        int fd;
        load_staging *staging;
        load_progress progress;
        uint64_t clock_us;
        char problem[LOAD_PROBLEM_BYTES];
} bed;

static void bed_open(bed *b) {
        *b = (bed) { .clock_us = 1000 };
        place_make_folder(b->folder, sizeof b->folder, &b->fd);
        (void) snprintf(b->database, sizeof b->database, "%s/db.sqlite", b->folder);
        (void) snprintf(b->load, sizeof b->load, "%s.load", b->database);
        assert_int_equal(load_staging_new(b->database, &b->staging), RQ_OK);
}

static void bed_close(bed *b) {
        b->staging = load_staging_free(b->staging);
        assert_int_equal(access(b->load, F_OK), -1); /* nothing stays */
        place_remove_folder(b->folder, b->fd);
}

static void add(bed *b, const load_chunk *chunk, const char *data) {
        assert_int_equal(load_staging_add(b->staging, &b->progress, chunk, rq_bytes_text(data), b->clock_us, b->problem), RQ_OK);
}

static void takes(bed *b, uint64_t group, uint32_t number, const char *data) {
        add(b, &(const load_chunk) { .group = group, .number = number }, data);
        assert_string_equal(b->problem, "");
        assert_true(b->progress.open);
}

static load_chunk last(uint64_t group, uint32_t number, const char *all) {
        return (load_chunk) { .group = group, .number = number, .last = true, .bytes = strlen(all), .hash = rq_crc32c(0, all, strlen(all)) };
}

static void assert_file(const bed *b, const char *expected) {
        char text[64] = "";
        assert_int_equal(pread(load_staging_fd(b->staging), text, sizeof text - 1, 0), strlen(expected));
        assert_string_equal(text, expected);
}

static const char lost[] = "the load was given up: another one began, a part of it was lost, or it made no progress for too long";

static void test_a_load_in_order(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, 7, 0, "abc");
        takes(&b, 7, 1, "");
        takes(&b, 7, 2, "de");
        const load_chunk end = last(7, 3, "abcdef");
        add(&b, &end, "f");
        assert_string_equal(b.problem, "");
        assert_true(b.progress.open); /* until its owner has used it */
        assert_file(&b, "abcdef");
        load_staging_end(b.staging);
        assert_int_equal(load_staging_fd(b.staging), -1);
        b.progress = (load_progress) {0};
        takes(&b, 8, 0, "xy"); /* and the next one */
        assert_file(&b, "xy");
        bed_close(&b);
}

static void test_what_arrives_damaged(void **state) {
        static const char damaged[] = "the load arrived damaged: its checksum or size is another one";
        bed b;
        (void) state;
        for (int i = 0; i < 2; i++) {
                bed_open(&b);
                takes(&b, 7, 0, "abc");
                load_chunk end = last(7, 1, "abcdef");
                end.hash ^= i == 0;
                end.bytes += i == 1;
                add(&b, &end, "def");
                assert_string_equal(b.problem, damaged);
                assert_false(b.progress.open);
                bed_close(&b);
        }
}

static void test_a_lost_piece_ends_it(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, 7, 0, "abc");
        add(&b, &(const load_chunk) { .group = 7, .number = 2 }, "ghi");
        assert_string_equal(b.problem, "a part of the load was lost on its way to the log");
        assert_false(b.progress.open);
        add(&b, &(const load_chunk) { .group = 7, .number = 1 }, "def");
        assert_string_equal(b.problem, lost);
        takes(&b, 7, 0, "abc");
        add(&b, &(const load_chunk) { .group = 7, .number = 2 }, "twice the same is as bad");
        assert_false(b.progress.open);
        bed_close(&b);
}

/* The other one's chunks don't end the one that is under way, until that has stood still. */
static void test_one_at_a_time(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, 7, 0, "abc");
        b.clock_us += LOAD_YIELDS_US;
        add(&b, &(const load_chunk) { .group = 8, .number = 0 }, "xyz");
        assert_string_equal(b.problem, "another load is under way: try again when it is over");
        add(&b, &(const load_chunk) { .group = 8, .number = 1 }, "xyz");
        assert_string_equal(b.problem, lost);
        assert_true(b.progress.open && b.progress.group == 7);
        takes(&b, 7, 1, "def");
        assert_file(&b, "abcdef");
        b.clock_us += LOAD_YIELDS_US + 1;
        takes(&b, 8, 0, "xyz");
        assert_file(&b, "xyz");
        add(&b, &(const load_chunk) { .group = 7, .number = 2 }, "ghi");
        assert_string_equal(b.problem, lost);
        assert_true(b.progress.open && b.progress.group == 8);
        bed_close(&b);
}

static void test_given_up(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, 7, 0, "abc");
        load_other_entry(&b.progress, b.clock_us + LOAD_IDLE_US);
        assert_true(b.progress.open);
        load_other_entry(&b.progress, b.clock_us + LOAD_IDLE_US + 1);
        assert_false(b.progress.open);
        takes(&b, 7, 0, "abc");
        b.clock_us += LOAD_IDLE_US + 1;
        add(&b, &(const load_chunk) { .group = 7, .number = 1 }, "def");
        assert_string_equal(b.problem, lost);
        takes(&b, 9, 0, "abc");
        load_staging_abort(&b.progress, 7); /* not this one */
        assert_true(b.progress.open);
        load_staging_abort(&b.progress, 9);
        assert_false(b.progress.open);
        bed_close(&b);
}

/* A batch is rolled back, and comes again: its chunks are written to the same place. */
static void test_undone_with_its_batch(void **state) {
        bed b;
        (void) state;
        bed_open(&b);
        takes(&b, 7, 0, "abc");
        const load_progress was = b.progress;
        takes(&b, 7, 1, "defghi");
        b.progress = was;
        takes(&b, 7, 1, "DEF");
        const load_chunk end = last(7, 2, "abcDEF");
        add(&b, &end, "");
        assert_string_equal(b.problem, "");
        assert_true(b.progress.bytes == 6);
        bed_close(&b);
        bed_open(&b); /* the first chunk of all */
        takes(&b, 7, 0, "a longer one");
        b.progress = (load_progress) {0};
        takes(&b, 7, 0, "abc");
        assert_file(&b, "abc");
        bed_close(&b);
}

static void test_what_a_killed_process_left_is_deleted(void **state) {
        char copy[128];
        bed b;
        (void) state;
        bed_open(&b);
        b.staging = load_staging_free(b.staging);
        (void) snprintf(copy, sizeof copy, "%s.copy-a1b2c3", b.database);
        const char *const left[] = { b.load, copy };
        for (size_t i = 0; i < 2; i++) {
                int fd = open(left[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                assert_true(fd >= 0);
                (void) close(fd);
        }
        assert_int_equal(load_staging_new(b.database, &b.staging), RQ_OK);
        assert_int_equal(access(b.load, F_OK), -1);
        assert_int_equal(access(copy, F_OK), -1);
        bed_close(&b);
}

static void test_a_folder_that_is_gone(void **state) {
        bed b;
        load_staging *staging;
        load_progress progress = {0};
        (void) state;
        bed_open(&b);
        assert_int_equal(load_staging_new("/nonexistent/db.sqlite", &staging), RQ_OK);
        assert_true(load_staging_add(staging, &progress, &(const load_chunk) { .group = 1 }, rq_bytes_text("a"), 1, b.problem) < 0);
        assert_false(progress.open);
        staging = load_staging_free(staging);
        bed_close(&b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_load_in_order),
                cmocka_unit_test(test_what_arrives_damaged),
                cmocka_unit_test(test_a_lost_piece_ends_it),
                cmocka_unit_test(test_one_at_a_time),
                cmocka_unit_test(test_given_up),
                cmocka_unit_test(test_undone_with_its_batch),
                cmocka_unit_test(test_what_a_killed_process_left_is_deleted),
                cmocka_unit_test(test_a_folder_that_is_gone),
        };
        return cmocka_run_group_tests_name("load_staging", tests, NULL, NULL);
}
