/* Power cuts and rot, by editing the bytes of a segment (hazard 24). */
#include "fault_io.h"
#include "own_folder.h"

enum { ENTRIES_EACH = 3, UNITS = 5, BODY = 40, SECTOR = 512 };

static fault_io faults;

static int set_up(void **state) {
        fault_io_init(&faults);
        return set_up_folder(state);
}

/* A log of five units; offsets[i] is where unit i begins, the last one the end. */
static rq_buf build(uint64_t offsets[UNITS + 1], size_t body_bytes) {
        uint64_t firsts[8];
        log_recovered log = {0};
        rq_buf problem = {0}, file = {0};
        log_place place;
        assert_int_equal(log_recover(&faults.io, dir_fd, &test_database, 0, &log, &problem), RQ_OK);
        log_place_options options = options_of(&faults.io, dir_fd, &log, firsts);
        assert_int_equal(log_place_open(&options, &place), RQ_OK);
        for (uint64_t i = 0; i < UNITS; i++) {
                rq_buf records = {0};
                uint64_t first = i * ENTRIES_EACH + 1, last = first + ENTRIES_EACH - 1;
                put_records(&records, first, last, 1, body_bytes);
                log_write write = write_of(&records, first, last, 1, i > 0);
                assert_int_equal(add_and_sync(&place, &write), RQ_OK);
                offsets[i + 1] = place.offset;
                rq_buf_done(&records);
        }
        offsets[0] = SEGMENT_DATA_AT;
        log_place_close(&place);
        log_recovered_done(&log);
        assert_int_equal(log_io_load(&faults.io, dir_fd, "00000000000000000001.log", SEGMENT_BYTES, &file), RQ_OK);
        return file;
}

static rq_err scan(rq_bytes file, log_recovered *ret_log, rq_buf *problem) {
        *ret_log = (log_recovered) {0};
        log_catalog_init(&ret_log->catalog, &faults.io, dir_fd);
        problem->size = 0;
        return log_recover_segment(ret_log, file, 1, 0, &test_database, 0, problem);
}

/* A short view of the file, so that thousands of scans are quick. */
static rq_bytes view(const rq_buf *file, uint64_t end) { return rq_bytes_of(file->data, (size_t) end + 4096); }

static void test_last_unit_cut_at_every_byte(void **state) {
        uint64_t at[UNITS + 1];
        rq_buf problem = {0}, file = build(at, BODY);
        log_recovered log;
        (void) state;
        for (uint64_t cut = at[UNITS - 1]; cut < at[UNITS]; cut++) {
                rq_buf copy = {0};
                assert_int_equal(rq_buf_append(&copy, file.data, (size_t) at[UNITS] + 4096), RQ_OK);
                memset(copy.data + cut, 0, (size_t) (at[UNITS] - cut));
                assert_int_equal(scan(rq_buf_bytes(&copy), &log, &problem), RQ_OK);
                bool padding_only = cut >= at[UNITS] - 7 && log.last_index == UNITS * ENTRIES_EACH;
                if (!padding_only) {
                        assert_int_equal(log.last_index, (UNITS - 1) * ENTRIES_EACH);
                        assert_int_equal(log.end_offset, at[UNITS - 1]);
                        if (cut >= at[UNITS - 1] + 32)
                                assert_true(log.torn);
                }
                log_recovered_done(&log);
                /* The file ends there, as well. */
                assert_int_equal(scan(rq_bytes_of(file.data, (size_t) cut), &log, &problem), RQ_OK);
                assert_true(log.last_index == (UNITS - 1) * ENTRIES_EACH || cut >= at[UNITS] - 7);
                log_recovered_done(&log);
                rq_buf_done(&copy);
        }
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

static void test_every_flipped_bit_of_the_last_unit_is_torn(void **state) {
        uint64_t at[UNITS + 1];
        rq_buf problem = {0}, file = build(at, BODY);
        log_recovered log;
        (void) state;
        uint64_t end = at[UNITS - 1] + UNIT_HEADER_BYTES + ENTRIES_EACH * (RECORD_HEADER_BYTES + BODY);
        for (uint64_t byte = at[UNITS - 1]; byte < end; byte++) {
                file.data[byte] ^= (uint8_t) (1 << (byte % 8));
                assert_int_equal(scan(view(&file, at[UNITS]), &log, &problem), RQ_OK);
                assert_int_equal(log.last_index, (UNITS - 1) * ENTRIES_EACH);
                log_recovered_done(&log);
                file.data[byte] ^= (uint8_t) (1 << (byte % 8));
        }
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

static void test_every_flipped_bit_below_is_rot(void **state) {
        uint64_t at[UNITS + 1];
        rq_buf problem = {0}, file = build(at, BODY);
        log_recovered log;
        (void) state;
        for (int unit = 0; unit < UNITS - 1; unit++) {
                uint64_t end = at[unit] + UNIT_HEADER_BYTES + ENTRIES_EACH * (RECORD_HEADER_BYTES + BODY);
                char where[64];
                (void) snprintf(where, sizeof where, "00000000000000000001.log: offset %llu:", (unsigned long long) at[unit]);
                for (uint64_t byte = at[unit]; byte < end; byte++) {
                        file.data[byte] ^= (uint8_t) (1 << (byte % 8));
                        assert_int_equal(scan(view(&file, at[UNITS]), &log, &problem), RQ_ECORRUPT);
                        assert_int_equal(strncmp((char *) problem.data, where, strlen(where)), 0);
                        log_recovered_done(&log);
                        file.data[byte] ^= (uint8_t) (1 << (byte % 8));
                }
        }
        /* The header, too. */
        for (uint64_t byte = 0; byte < SEGMENT_HEADER_BYTES; byte++) {
                file.data[byte] ^= 1;
                rq_err r = scan(view(&file, at[UNITS]), &log, &problem);
                assert_true(r == RQ_ECORRUPT || r == RQ_EVERSION);
                log_recovered_done(&log);
                file.data[byte] ^= 1;
        }
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

/* A power cut keeps any subset of the sectors of the write under way: here one
 * write of three units, of which only the first durable_up_to is true. */
static void test_sectors_of_the_last_write_in_any_order(void **state) {
        uint64_t at[UNITS + 1];
        rq_buf problem = {0}, file = build(at, 500);
        log_recovered log;
        (void) state;
        const rq_uuid *uuid;
        segment_header header;
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_OK);
        uuid = &header.uuid;
        /* Rewrite the last three units as if written before one fdatasync. */
        uint32_t previous_crc = 0;
        for (int i = 0; i < UNITS; i++) {
                segment_unit unit;
                assert_int_equal(segment_unit_decode(rq_buf_bytes(&file), uuid, at[i], &unit), RQ_OK);
                unit.durable_up_to = i >= 2 ? at[2] : at[i];
                unit.previous_crc = previous_crc;
                rq_bytes records = segment_unit_records(rq_buf_bytes(&file), &unit);
                segment_unit_encode(file.data + at[i], uuid, &unit, &records, 1);
                previous_crc = unit.crc;
        }
        uint64_t first_sector = at[2] / SECTOR, sectors = (at[UNITS] + SECTOR - 1) / SECTOR - first_sector;
        rq_buf copy = {0};
        assert_int_equal(rq_buf_append(&copy, file.data, (size_t) at[UNITS] + 4096), RQ_OK);
        uint32_t seed = 1;
        for (int round = 0; round < 2000; round++) {
                memcpy(copy.data, file.data, (size_t) at[UNITS]);
                for (uint64_t s = 0; s < sectors; s++) {
                        seed = seed * 1664525 + 1013904223;
                        if ((seed >> 16) % 3 != 0)
                                continue;
                        uint64_t from = (first_sector + s) * SECTOR;
                        uint64_t skip = from < at[2] ? at[2] - from : 0; /* what was there before stays */
                        uint64_t end = from + SECTOR < at[UNITS] ? from + SECTOR : at[UNITS];
                        memset(copy.data + from + skip, (round & 1) != 0 ? 0xa5 : 0, (size_t) (end - from - skip));
                }
                assert_int_equal(scan(rq_buf_bytes(&copy), &log, &problem), RQ_OK);
                assert_true(log.last_index >= 2 * ENTRIES_EACH);
                assert_int_equal(log.last_index % ENTRIES_EACH, 0);
                log_recovered_done(&log);
        }
        rq_buf_done(&copy);
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

/* Cut behind unit 2, whose followers are still valid on disk: they must not come
 * back when a new unit ends where they begin. */
static void test_cut_units_never_come_back(void **state) {
        uint64_t at[UNITS + 1], firsts[8];
        rq_buf problem = {0}, file = build(at, BODY), records = {0};
        log_recovered log = {0};
        log_place place;
        (void) state;
        int fd = openat(dir_fd, "00000000000000000001.log", O_RDWR);
        segment_header header;
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_OK);
        segment_unit unit;
        assert_int_equal(segment_unit_decode(rq_buf_bytes(&file), &header.uuid, at[4], &unit), RQ_OK);
        unit.durable_up_to = at[3];
        rq_bytes last = segment_unit_records(rq_buf_bytes(&file), &unit);
        segment_unit_encode(file.data + at[4], &header.uuid, &unit, &last, 1);
        file.data[at[3] + 60] ^= 0xff; /* units 3 and 4 were one write; 3 is torn */
        assert_int_equal(pwrite(fd, file.data, (size_t) at[UNITS], 0), (ssize_t) at[UNITS]);
        (void) close(fd);

        assert_int_equal(log_recover(&faults.io, dir_fd, &test_database, 0, &log, &problem), RQ_OK);
        assert_true(log.torn);
        assert_int_equal(log.last_index, 3 * ENTRIES_EACH);
        log_place_options options = options_of(&faults.io, dir_fd, &log, firsts);
        assert_int_equal(log_place_open(&options, &place), RQ_OK);
        put_records(&records, 3 * ENTRIES_EACH + 1, 4 * ENTRIES_EACH, 2, BODY);
        log_write write = write_of(&records, 3 * ENTRIES_EACH + 1, 4 * ENTRIES_EACH, 2, 1);
        assert_int_equal(add_and_sync(&place, &write), RQ_OK);
        assert_int_equal(place.offset, at[4]);
        log_place_close(&place);
        log_recovered_done(&log);

        assert_int_equal(log_recover(&faults.io, dir_fd, &test_database, 0, &log, &problem), RQ_OK);
        assert_int_equal(log.last_index, 4 * ENTRIES_EACH);
        assert_int_equal(log.last_term, 2);
        assert_false(log.torn);
        log_recovered_done(&log);
        rq_buf_done(&records);
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

static void test_missing_pieces_are_told(void **state) {
        uint64_t at[UNITS + 1];
        rq_buf problem = {0}, file = build(at, BODY);
        log_recovered log = {0};
        (void) state;
        /* The log ends below what was committed. */
        assert_int_equal(log_recover(&faults.io, dir_fd, &test_database, 99, &log, &problem), RQ_ECORRUPT);
        assert_non_null(strstr((char *) problem.data, "99 was committed"));
        /* Another cluster's. */
        rq_uuid other = { .bytes = "another database" };
        problem.size = 0;
        assert_int_equal(log_recover(&faults.io, dir_fd, &other, 0, &log, &problem), RQ_ECORRUPT);
        /* A file under a wrong name, and so a hole. */
        assert_int_equal(renameat(dir_fd, "00000000000000000001.log", dir_fd, "00000000000000000005.log"), 0);
        problem.size = 0;
        assert_int_equal(log_recover(&faults.io, dir_fd, &test_database, 0, &log, &problem), RQ_ECORRUPT);
        rq_buf_done(&file);
        rq_buf_done(&problem);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_last_unit_cut_at_every_byte, set_up, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_every_flipped_bit_of_the_last_unit_is_torn, set_up, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_every_flipped_bit_below_is_rot, set_up, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_sectors_of_the_last_write_in_any_order, set_up, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_cut_units_never_come_back, set_up, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_missing_pieces_are_told, set_up, tear_down_folder),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
