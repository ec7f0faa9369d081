/* Placing, recovering and reading back: segments' ends, replaced entries, large
 * ones, a full disk, and every call failing once. */
#include "fault_io.h"
#include <errno.h>

#include "own_folder.h"

static log_recovered recover(const log_io *io, uint64_t hint) {
        log_recovered log = {0};
        rq_buf problem = {0};
        rq_err r = log_recover(io, dir_fd, &test_database, hint, &log, &problem);
        if (r < 0)
                fail_msg("recover: %s: %.*s", rq_err_text(r), (int) problem.size, (char *) problem.data);
        rq_buf_done(&problem);
        return log;
}

/* segment_bytes: of new segments, 0: those of production. */
static log_place open_with(const log_io *io, uint64_t segment_bytes) {
        uint64_t firsts[64];
        log_recovered log = recover(io, 0);
        log_place_options options = options_of(io, dir_fd, &log, firsts);
        options.segment_bytes = segment_bytes;
        log_place place;
        assert_int_equal(log_place_open(&options, &place), RQ_OK);
        log_recovered_done(&log);
        return place;
}

static log_place open_at_end(const log_io *io) { return open_with(io, 0); }

static void append(log_place *place, uint64_t first, uint64_t last, uint64_t term, uint64_t previous_term, size_t body_bytes) {
        rq_buf records = {0};
        put_records(&records, first, last, term, body_bytes);
        log_write write = write_of(&records, first, last, term, previous_term);
        assert_int_equal(add_and_sync(place, &write), RQ_OK);
        rq_buf_done(&records);
}

static void test_entries_survive_reopening(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        for (uint64_t round = 0; round < 5; round++) {
                log_place place = open_at_end(&f.io);
                append(&place, round * 20 + 1, round * 20 + 7, 1, 1, 100);
                append(&place, round * 20 + 8, round * 20 + 20, 1, 1, 100);
                log_place_close(&place);
                log_recovered log = recover(&f.io, 0);
                assert_int_equal(log.last_index, round * 20 + 20);
                assert_int_equal(log.run_count, 1);
                assert_int_equal(log.clock_us, 1000 + log.last_index);
                assert_false(log.torn);
                check_readable(&log, 1, log.last_index, NULL, 100);
                log_recovered_done(&log);
        }
}

static void test_segments_end_and_begin(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        log_place place = open_at_end(&f.io);
        for (uint64_t i = 0; i < 40; i++) /* 40 MB: three segments, borders inside of writes */
                append(&place, i * 1000 + 1, i * 1000 + 1000, 1, i > 0, 900);
        assert_int_equal(place.stats.segments_begun, 3);
        log_place_close(&place);
        log_recovered log = recover(&f.io, 39000);
        assert_int_equal(log.last_index, 40000);
        assert_int_equal(log.catalog.segment_count, 3);
        assert_int_equal(log.runs[0].uncommitted_bytes, 1000 * 1004);
        check_readable(&log, 1, 40000, NULL, 900);
        check_readable(&log, 39990, 40000, NULL, 900);
        check_readable(&log, 12345, 20000, NULL, 900);

        /* Drop the first: the base survives in the next header. */
        place = open_at_end(&f.io);
        uint64_t second = log.catalog.segments[1].header.first_index;
        assert_int_equal(log_place_drop(&place, 1, SEGMENT_BYTES), RQ_OK);
        log_place_close(&place);
        log_recovered_done(&log);
        log = recover(&f.io, 39000);
        assert_int_equal(log.base_index, second - 1);
        assert_int_equal(log.base_term, 1);
        assert_int_equal(log.runs[0].first_index, second);
        check_readable(&log, second, 40000, NULL, 900);
        log_recovered_done(&log);
}

static void test_large_records_have_segments_of_their_own(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        log_place place = open_at_end(&f.io);
        append(&place, 1, 3, 1, 0, 50);
        append(&place, 4, 4, 1, 1, 30 * 1024 * 1024);
        append(&place, 5, 6, 1, 1, 50);
        append(&place, 7, 7, 1, 1, SEGMENT_BYTES - SEGMENT_DATA_AT - UNIT_HEADER_BYTES - RECORD_HEADER_BYTES); /* exactly */
        append(&place, 8, 8, 1, 1, SEGMENT_BYTES - SEGMENT_DATA_AT - UNIT_HEADER_BYTES - RECORD_HEADER_BYTES + 1);
        log_place_close(&place);
        log_recovered log = recover(&f.io, 8);
        assert_int_equal(log.last_index, 8);
        assert_int_equal(log.catalog.segment_count, 4); /* 5 and 6 fit behind 4, up to the end of its last block */
        check_readable(&log, 4, 4, NULL, 30 * 1024 * 1024);
        check_readable(&log, 5, 6, NULL, 50);
        check_readable(&log, 7, 7, NULL, SEGMENT_BYTES - SEGMENT_DATA_AT - UNIT_HEADER_BYTES - RECORD_HEADER_BYTES);
        log_recovered_done(&log);
}

static uint64_t term_after_two_cuts(uint64_t index) { return index < 15 ? 1 : index < 17 ? 2 : 3; }
static uint64_t term_after_deep_cut(uint64_t index) { return index < 5 ? 1 : 4; }

static void test_replaced_entries_are_gone(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        log_place place = open_at_end(&f.io);
        append(&place, 1, 20, 1, 0, 64);
        append(&place, 15, 18, 2, 1, 64);
        append(&place, 17, 30, 3, 2, 64);
        log_place_close(&place);
        log_recovered log = recover(&f.io, 14);
        assert_int_equal(log.last_index, 30);
        assert_int_equal(log.run_count, 3);
        assert_int_equal(log.runs[1].first_index, 15);
        assert_int_equal(log.runs[2].first_index, 17);
        for (uint64_t from = 1; from <= 30; from++)
                check_readable(&log, from, 30, term_after_two_cuts, 64);
        log_recovered_done(&log);

        /* Across a segment's beginning: the later segments go. */
        place = open_at_end(&f.io);
        append(&place, 31, 31, 3, 3, SEGMENT_BYTES - 5000);
        append(&place, 32, 34, 3, 3, 8);
        assert_int_equal(place.firsts.size / sizeof(uint64_t), 2);
        append(&place, 31, 33, 4, 3, 64); /* 31 began the second */
        append(&place, 5, 40, 4, 1, 64);
        log_place_close(&place);
        log = recover(&f.io, 4);
        assert_int_equal(log.last_index, 40);
        check_readable(&log, 1, 40, term_after_deep_cut, 64);
        check_readable(&log, 30, 40, term_after_deep_cut, 64);
        log_recovered_done(&log);
}

static void configure(log_place *place, uint64_t index, uint64_t term, const char *text) {
        rq_buf record = {0};
        put_configuration(&record, index, term, text);
        log_write write = write_of(&record, index, index, term, term - 1);
        assert_int_equal(add_and_sync(place, &write), RQ_OK);
        rq_buf_done(&record);
}

static void expect_configuration(const log_recovered *log, uint64_t at_index, uint64_t index, const char *text) {
        log_configuration c = log_configurations_at(&log->configurations, at_index);
        assert_int_equal(c.index, index);
        assert_true(rq_bytes_equal(c.body, rq_bytes_text(text)));
}

/* Hazard 17: who the members are survives the entry that said it; and one that is
 * replaced gives way to the one before. */
static void test_configurations_survive_compaction_and_are_replaced(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        enum { BIG = SEGMENT_BYTES - 4300 }; /* fits behind nothing */
        (void) state;
        fault_io_init(&f);
        log_place place = open_at_end(&f.io);
        configure(&place, 1, 1, "one");
        append(&place, 2, 2, 1, 1, BIG);
        configure(&place, 3, 1, "two");
        append(&place, 4, 4, 1, 1, BIG);
        append(&place, 5, 5, 1, 1, BIG);
        assert_int_equal(place.stats.segments_begun, 5);
        assert_int_equal(log_place_drop(&place, 1, SEGMENT_BYTES), RQ_OK);
        log_place_close(&place);
        log_recovered log = recover(&f.io, 5);
        assert_int_equal(log.base_index, 1);
        assert_int_equal(log.configurations.count, 2);
        expect_configuration(&log, 2, 1, "one");
        expect_configuration(&log, 5, 3, "two");
        log_recovered_done(&log);

        place = open_at_end(&f.io); /* another life, the same headers */
        append(&place, 6, 6, 1, 1, BIG);
        assert_int_equal(log_place_drop(&place, 2, SEGMENT_BYTES), RQ_OK);
        assert_int_equal(log_place_drop(&place, 3, SEGMENT_BYTES), RQ_OK);
        assert_int_equal(log_place_drop(&place, 4, SEGMENT_BYTES), RQ_OK);
        assert_int_equal(place.configurations.count, 1);
        configure(&place, 7, 1, "three");
        configure(&place, 7, 2, "four");
        log_place_close(&place);
        log = recover(&f.io, 6);
        assert_int_equal(log.base_index, 4);
        assert_int_equal(log.configurations.count, 2);
        expect_configuration(&log, 6, 3, "two");
        expect_configuration(&log, 7, 7, "four");
        log_recovered_done(&log);

        place = open_at_end(&f.io);
        append(&place, 7, 7, 3, 1, BIG); /* replaces it, and begins a segment */
        log_place_close(&place);
        log = recover(&f.io, 6);
        assert_int_equal(log.last_index, 7);
        assert_int_equal(log.configurations.count, 1);
        expect_configuration(&log, 7, 3, "two");
        log_recovered_done(&log);
}

static void test_full_disk_stalls_and_recovers(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        log_place place = open_at_end(&f.io);
        append(&place, 1, 1, 1, 0, 50);
        while (log_spare_ready(place.spare) == 0)
                (void) usleep(1000);
        f.full = true;
        append(&place, 2, 2, 1, 1, SEGMENT_BYTES - 4400); /* takes the last spare */

        rq_buf records = {0};
        put_records(&records, 3, 3, 1, SEGMENT_BYTES - 4400);
        log_write write = write_of(&records, 3, 3, 1, 1);
        rq_err r;
        while ((r = log_place_add(&place, &write)) == RQ_EAGAIN)
                ;
        assert_int_equal(r, RQ_ENOSPC);
        assert_true(log_place_is_synced(&place));
        assert_int_equal(log_place_add(&place, &write), RQ_ENOSPC);
        f.full = false;
        while ((r = log_place_add(&place, &write)) == RQ_ENOSPC || r == RQ_EAGAIN)
                ;
        assert_int_equal(r, RQ_OK);
        assert_int_equal(log_place_sync(&place), RQ_OK);

        /* Also where writing in place needs space. */
        rq_buf more = {0};
        put_records(&more, 4, 9, 1, 50);
        log_write small = write_of(&more, 4, 9, 1, 1);
        f.writes_full = true;
        while ((r = log_place_add(&place, &small)) == RQ_EAGAIN)
                ;
        r = r < 0 ? r : log_place_sync(&place);
        assert_int_equal(r, RQ_ENOSPC);
        f.writes_full = false;
        while ((r = add_and_sync(&place, &small)) == RQ_ENOSPC)
                ;
        assert_int_equal(r, RQ_OK);
        log_place_close(&place);
        log_recovered log = recover(&f.io, 9);
        assert_int_equal(log.last_index, 9);
        check_readable(&log, 3, 3, NULL, SEGMENT_BYTES - 4400);
        check_readable(&log, 4, 9, NULL, 50);
        log_recovered_done(&log);
        rq_buf_done(&records);
        rq_buf_done(&more);
}

/* Segments become spares: making them anew each time would take minutes. */
static void recycle_all(void) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY), serial = 0;
        DIR *dir = fdopendir(fd);
        assert_non_null(dir);
        for (const struct dirent *e; (e = readdir(dir)) != NULL;) {
                uint64_t index;
                char name[32];
                if (!segment_name_parse(e->d_name, &index))
                        continue;
                (void) snprintf(name, sizeof name, "spare-%010d", 900000 + serial++);
                assert_int_equal(renameat(dir_fd, e->d_name, dir_fd, name), 0);
        }
        (void) closedir(dir);
}

/* What was confirmed is there after any failure, and the log can go on. Segments are small: the calls are the
 * same ones, and what is written is not what takes the time. */
static void test_every_call_fails_once(void **state) {
        enum { SMALL_BYTES = 1024 * 1024 };
        (void) state;
        bool reached_end = false;
        for (long n = 0; !reached_end; n++) {
                static fault_io f;
                fault_io_init(&f);
                recycle_all();
                log_place place = open_with(&f.io, SMALL_BYTES);
                while (log_spare_ready(place.spare) == 0)
                        (void) usleep(200); /* making spares has its own test: they are retried */
                f.countdown = n;
                f.failure = n % 2 == 0 ? EIO : EROFS;
                uint64_t confirmed = 0, tried = 0;
                rq_err r = RQ_OK;
                for (uint64_t i = 0; r >= 0 && i < 6; i++) {
                        size_t body = i == 3 ? SMALL_BYTES - 5000 : 300; /* begins a second and a third segment */
                        rq_buf records = {0};
                        put_records(&records, i + 1, i + 1, 1, body);
                        log_write write = write_of(&records, i + 1, i + 1, 1, i > 0);
                        tried = i + 1;
                        r = add_and_sync(&place, &write);
                        if (r >= 0)
                                confirmed = tried;
                        rq_buf_done(&records);
                }
                reached_end = r >= 0 && atomic_load(&f.countdown) >= 0;
                f.countdown = -1;
                log_place_close(&place);
                log_recovered log = recover(&f.io, confirmed);
                assert_true(log.last_index >= confirmed && log.last_index <= tried);
                log_recovered_done(&log);
                place = open_with(&f.io, SMALL_BYTES);
                append(&place, place.last_index + 1, place.last_index + 3, 1, place.last_term, 300);
                log_place_close(&place);
                log = recover(&f.io, confirmed);
                log_recovered_done(&log);
                assert_true(n < 500);
        }
}

static void test_half_made_spares_are_removed(void **state) {
        static fault_io f; /* outlives a thread that a failed test leaves behind */
        (void) state;
        fault_io_init(&f);
        int fd = openat(dir_fd, "spare-0000000007.tmp", O_CREAT | O_WRONLY, 0600);
        (void) close(fd);
        fd = openat(dir_fd, "spare-0000000003", O_CREAT | O_WRONLY, 0600);
        assert_int_equal(ftruncate(fd, SEGMENT_BYTES), 0);
        (void) close(fd);
        log_place place = open_at_end(&f.io);
        assert_int_equal(faccessat(dir_fd, "spare-0000000007.tmp", F_OK, 0), -1);
        assert_true(log_spare_ready(place.spare) >= 1);
        append(&place, 1, 1, 1, 0, 10);
        assert_int_equal(faccessat(dir_fd, "spare-0000000003", F_OK, 0), -1);
        log_place_close(&place);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_entries_survive_reopening, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_segments_end_and_begin, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_large_records_have_segments_of_their_own, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_replaced_entries_are_gone, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_configurations_survive_compaction_and_are_replaced, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_full_disk_stalls_and_recovers, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_every_call_fails_once, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_half_made_spares_are_removed, set_up_folder, tear_down_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
