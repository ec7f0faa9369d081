/* Formats of the data folder: hard state, identity, segment. The golden samples
 * are frozen: their bytes must be readable for ever. With RQ_WRITE_GOLDEN=1 they
 * are written, which is right once in the life of a version. */
#include <errno.h>

#include "base/checksum.h"
#include "fault_io.h"
#include "io/cluster_file.h"
#include "io/identity.h"
#include "own_folder.h"

#define GOLDEN RQ_SOURCE_DIR "/tests/golden/consensus/"

static const rq_uuid disk = { .bytes = "disk uuid 012345" }, other_disk = { .bytes = "other disk 01234" };
static const rq_uuid segment_uuid = { .bytes = "segment uuid 012" };

static rq_buf golden(const char *name, const rq_buf *content) {
        rq_buf found = {0};
        int fd = open(GOLDEN, O_RDONLY | O_DIRECTORY);
        assert_true(fd >= 0);
        if (getenv("RQ_WRITE_GOLDEN") != NULL)
                assert_int_equal(log_io_replace(log_io_kernel(), fd, name, rq_buf_bytes(content)), RQ_OK);
        assert_int_equal(log_io_load(log_io_kernel(), fd, name, 1 << 20, &found), RQ_OK);
        (void) close(fd);
        return found;
}

static rq_buf load(const char *name) {
        rq_buf content = {0};
        assert_int_equal(log_io_load(log_io_kernel(), dir_fd, name, 1 << 20, &content), RQ_OK);
        return content;
}

static void save(const char *name, const rq_buf *content) {
        assert_int_equal(log_io_replace(log_io_kernel(), dir_fd, name, rq_buf_bytes(content)), RQ_OK);
}

static void test_hardstate_alternates(void **state) {
        hardstate_file file;
        hardstate found;
        (void) state;
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_ENOENT);
        assert_int_equal(hardstate_create(log_io_kernel(), dir_fd, &disk, &(hardstate) { .term = 1 }), RQ_OK);
        for (uint64_t i = 1; i < 10; i++) {
                assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_OK);
                assert_true(found.term == i && file.generation == 2 * i); /* opening writes it once more */
                assert_int_equal(hardstate_write(&file, &(hardstate) { .term = i + 1, .vote = 7, .commit = i }), RQ_OK);
                hardstate_close(&file);
        }
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &other_disk, &file, &found), RQ_ECORRUPT);
}

/* Every write of a slot torn at every byte: the state before or the one after. */
static void test_a_torn_hardstate_is_the_one_before(void **state) {
        hardstate_file file;
        hardstate found;
        (void) state;
        assert_int_equal(hardstate_create(log_io_kernel(), dir_fd, &disk, &(hardstate) { .term = 1 }), RQ_OK);
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_OK);
        rq_buf before = {0};
        for (uint64_t term = 2; term < 6; term++) {
                before = load(HARDSTATE_NAME);
                assert_int_equal(hardstate_write(&file, &(hardstate) { .term = term, .vote = term }), RQ_OK);
                rq_buf after = load(HARDSTATE_NAME);
                size_t slot = (file.generation & 1) * HARDSTATE_SLOT_BYTES;
                for (size_t cut = 0; cut <= HARDSTATE_RECORD_BYTES; cut++) {
                        uint64_t generation;
                        rq_buf torn = {0};
                        assert_int_equal(rq_buf_append_bytes(&torn, rq_buf_bytes(&before)), RQ_OK);
                        memcpy(torn.data + slot, after.data + slot, cut);
                        assert_int_equal(hardstate_decode(rq_buf_bytes(&torn), &disk, &found, &generation), RQ_OK);
                        assert_true(found.term == (cut < HARDSTATE_RECORD_BYTES ? term - 1 : term) ||
                                    memcmp(torn.data + slot, after.data + slot, HARDSTATE_RECORD_BYTES) == 0);
                        rq_buf_done(&torn);
                }
                rq_buf_done(&before);
                rq_buf_done(&after);
        }
        hardstate_close(&file);
        /* Both gone: no guess. */
        before = load(HARDSTATE_NAME);
        before.data[20] ^= 1;
        before.data[HARDSTATE_SLOT_BYTES + 20] ^= 1;
        save(HARDSTATE_NAME, &before);
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_ECORRUPT);
        rq_buf_done(&before);
}

static void set_slot(rq_buf *file, size_t place, size_t offset, uint16_t value) {
        uint8_t *slot = file->data + place * HARDSTATE_SLOT_BYTES;
        rq_put_u16(slot + offset, value);
        rq_put_u32(slot + 40, rq_crc32c(rq_crc32c(0, disk.bytes, RQ_UUID_BYTES), slot, 40));
}

/* A newer version has voted here: its slot is no torn one, the older vote beside
 * it would be a second one. */
static void test_a_slot_of_a_newer_version_is_never_passed_over(void **state) {
        hardstate_file file;
        hardstate found;
        uint64_t generation;
        (void) state;
        assert_int_equal(hardstate_create(log_io_kernel(), dir_fd, &disk, &(hardstate) { .term = 4, .vote = 9 }), RQ_OK);
        assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_OK);
        assert_int_equal(hardstate_write(&file, &(hardstate) { .term = 5, .vote = 7, .not_a_voter = true }), RQ_OK);
        hardstate_close(&file);
        rq_buf content = load(HARDSTATE_NAME);
        assert_int_equal(hardstate_decode(rq_buf_bytes(&content), &disk, &found, &generation), RQ_OK);
        assert_true(found.term == 5 && found.not_a_voter);
        for (size_t place = 0; place < 2; place++) {
                set_slot(&content, place, 4, HARDSTATE_VERSION + 1);
                assert_int_equal(hardstate_decode(rq_buf_bytes(&content), &disk, &found, &generation), RQ_EVERSION);
                save(HARDSTATE_NAME, &content);
                assert_int_equal(hardstate_open(log_io_kernel(), dir_fd, &disk, &file, &found), RQ_EVERSION);
                set_slot(&content, place, 4, HARDSTATE_VERSION);
                set_slot(&content, place, 6, 2);
                assert_int_equal(hardstate_decode(rq_buf_bytes(&content), &disk, &found, &generation), RQ_EVERSION);
                set_slot(&content, place, 6, 0);
        }
        /* Torn, on the other hand, is torn, whatever version it names. */
        rq_put_u16(content.data + (generation & 1) * HARDSTATE_SLOT_BYTES + 4, HARDSTATE_VERSION + 1);
        assert_int_equal(hardstate_decode(rq_buf_bytes(&content), &disk, &found, &generation), RQ_OK);
        assert_int_equal(found.term, 4);
        rq_buf_done(&content);
}

static void test_a_replaced_file_fails_for_good_with_its_folder(void **state) {
        static fault_io f;
        (void) state;
        fault_io_init(&f);
        f.failure = ENOSPC;
        f.fail_syncs = true;
        f.countdown = 0; /* the file: it is as it was */
        assert_int_equal(log_io_replace(&f.io, dir_fd, "x", rq_bytes_text("one")), RQ_ENOSPC);
        f.countdown = 1; /* the folder: it may be either */
        assert_int_equal(log_io_replace(&f.io, dir_fd, "x", rq_bytes_text("two")), RQ_EIO);
}

static void test_identity(void **state) {
        identity self = { .disk_uuid = disk, .database_id = test_database, .node_id = "node \xc3\xa4" }, found;
        (void) state;
        assert_int_equal(identity_load(log_io_kernel(), dir_fd, &found), RQ_ENOENT);
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_OK);
        assert_int_equal(identity_load(log_io_kernel(), dir_fd, &found), RQ_OK);
        assert_memory_equal(&found, &self, sizeof self);
        rq_buf content = load(IDENTITY_NAME);
        for (size_t i = 0; i < content.size; i++) {
                content.data[i] ^= 4;
                assert_true(identity_decode(rq_buf_bytes(&content), &found) < 0);
                content.data[i] ^= 4;
                assert_true(identity_decode(rq_bytes_of(content.data, i), &found) < 0);
        }
        memset(self.node_id, 'x', IDENTITY_NODE_BYTES_MAX);
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_OK);
        assert_int_equal(identity_load(log_io_kernel(), dir_fd, &found), RQ_OK);
        /* Not a member of a cluster yet. */
        self.database_id = (rq_uuid) {0};
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_OK);
        assert_int_equal(identity_load(log_io_kernel(), dir_fd, &found), RQ_OK);
        assert_true(rq_uuid_is_zero(&found.database_id));
        self.node_id[0] = '\0';
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_EINVAL);
        rq_buf_done(&content);
}

static void test_golden_identity(void **state) {
        identity self = { .disk_uuid = disk, .database_id = test_database, .node_id = "node-1" }, found;
        (void) state;
        assert_int_equal(identity_store(log_io_kernel(), dir_fd, &self), RQ_OK);
        rq_buf written = load(IDENTITY_NAME), frozen = golden("identity.v1", &written);
        assert_int_equal(identity_decode(rq_buf_bytes(&frozen), &found), RQ_OK);
        assert_memory_equal(&found, &self, sizeof self);
        assert_int_equal(written.size, frozen.size);
        assert_memory_equal(written.data, frozen.data, frozen.size);
        rq_buf_done(&written);
        rq_buf_done(&frozen);
}

static void test_golden_cluster(void **state) {
        cluster_file file = { .cluster_id = test_database, .previous_id = disk, .index = 57 }, found = {0};
        (void) state;
        assert_int_equal(cluster_file_load(log_io_kernel(), dir_fd, &found), RQ_ENOENT);
        assert_int_equal(rq_buf_append_text(&file.members, "members"), RQ_OK);
        assert_int_equal(cluster_file_store(log_io_kernel(), dir_fd, &file), RQ_OK);
        rq_buf written = load(CLUSTER_FILE_NAME), frozen = golden("cluster.v1", &written);
        assert_int_equal(cluster_file_decode(rq_buf_bytes(&frozen), &found), RQ_OK);
        assert_true(rq_uuid_equal(&found.cluster_id, &test_database) && rq_uuid_equal(&found.previous_id, &disk) && found.index == 57);
        assert_int_equal(found.members.size, 7);
        assert_int_equal(written.size, frozen.size);
        assert_memory_equal(written.data, frozen.data, frozen.size);
        cluster_file_done(&found);
        for (size_t i = 0; i < written.size; i++) {
                written.data[i] ^= 1;
                assert_int_equal(cluster_file_decode(rq_buf_bytes(&written), &found), RQ_ECORRUPT);
                assert_int_equal(cluster_file_decode(rq_bytes_of(frozen.data, i), &found), RQ_ECORRUPT);
                written.data[i] ^= 1;
        }
        assert_int_equal(cluster_file_remove(log_io_kernel(), dir_fd), RQ_OK);
        assert_int_equal(cluster_file_remove(log_io_kernel(), dir_fd), RQ_OK);
        assert_int_equal(cluster_file_load(log_io_kernel(), dir_fd, &found), RQ_ENOENT);
        cluster_file_done(&file);
        rq_buf_done(&written);
        rq_buf_done(&frozen);
}

static void test_golden_hardstate(void **state) {
        hardstate_file file;
        hardstate found;
        uint64_t generation;
        (void) state;
        assert_int_equal(hardstate_create(log_io_kernel(), dir_fd, &disk, &(hardstate) { .term = 4, .vote = 9, .commit = 100 }), RQ_OK);
        file = (hardstate_file) { .io = log_io_kernel(), .fd = openat(dir_fd, HARDSTATE_NAME, O_RDWR), .disk = disk, .generation = 1 };
        assert_int_equal(hardstate_write(&file, &(hardstate) { .term = 5, .vote = 7, .commit = 1000 }), RQ_OK);
        hardstate_close(&file);
        rq_buf written = load(HARDSTATE_NAME), frozen = golden("hardstate.v1", &written);
        assert_int_equal(hardstate_decode(rq_buf_bytes(&frozen), &disk, &found, &generation), RQ_OK);
        assert_true(found.term == 5 && found.vote == 7 && found.commit == 1000 && generation == 2);
        assert_int_equal(written.size, frozen.size);
        assert_memory_equal(written.data, frozen.data, frozen.size);
        rq_buf_done(&written);
        rq_buf_done(&frozen);
}

/* Three units: entries 11-13 of term 2; 14-15 of term 2; 15-16 of term 3, which replaces one. */
static rq_buf sample_segment(void) {
        static const struct { uint64_t first, last, term, durable_up_to; } units[] = {
                { 11, 13, 2, 4096 }, { 14, 15, 2, 4600 }, { 15, 16, 3, 4600 },
        };
        rq_buf file = {0};
        assert_int_equal(rq_buf_reserve(&file, 8192), RQ_OK);
        memset(file.data, 0, 8192);
        file.size = 8192;
        const segment_header header = {
                .uuid = segment_uuid, .database_id = test_database, .first_index = 11, .previous_index = 10,
                .previous_term = 2, .clock_us = 2010, .file_bytes = 8192,
                .configuration = { .index = 7, .body = rq_bytes_text("who the members are") },
        };
        segment_header_encode(file.data, &header);
        uint64_t offset = SEGMENT_DATA_AT;
        uint32_t crc = 0;
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
                rq_buf records = {0};
                put_records(&records, units[i].first, units[i].last, units[i].term, 33);
                segment_unit unit = {
                        .offset = offset, .durable_up_to = units[i].durable_up_to < offset ? units[i].durable_up_to : offset,
                        .first_index = units[i].first, .record_bytes = (uint32_t) records.size,
                        .record_count = (uint32_t) (units[i].last - units[i].first + 1), .previous_crc = crc,
                };
                rq_bytes slice = rq_buf_bytes(&records);
                segment_unit_encode(file.data + offset, &segment_uuid, &unit, &slice, 1);
                memcpy(file.data + offset + UNIT_HEADER_BYTES, records.data, records.size);
                crc = unit.crc;
                offset = segment_unit_end(&unit);
                rq_buf_done(&records);
        }
        return file;
}

static uint64_t term_of_sample(uint64_t index) { return index < 15 ? 2 : 3; }

static void test_golden_segment(void **state) {
        rq_buf written = sample_segment(), frozen = golden("segment.v1", &written), problem = {0};
        log_recovered log = {0};
        (void) state;
        log_catalog_init(&log.catalog, log_io_kernel(), dir_fd);
        assert_int_equal(written.size, frozen.size);
        assert_memory_equal(written.data, frozen.data, frozen.size);
        save("00000000000000000011.log", &frozen);
        assert_int_equal(log_recover_segment(&log, rq_buf_bytes(&frozen), 11, 0, &test_database, 12, &problem), RQ_OK);
        assert_true(log.base_index == 10 && log.base_term == 2 && log.last_index == 16 && log.last_term == 3);
        assert_int_equal(log.run_count, 2);
        assert_int_equal(log.runs[1].first_index, 15);
        assert_int_equal(log.clock_us, 3016);
        assert_int_equal(log.configurations.count, 1);
        assert_int_equal(log.configurations.v[0].index, 7);
        assert_true(rq_bytes_equal(log.configurations.v[0].body, rq_bytes_text("who the members are")));
        assert_false(log.torn);
        check_readable(&log, 11, 16, term_of_sample, 33);
        check_readable(&log, 15, 16, term_of_sample, 33);
        log_recovered_done(&log);
        rq_buf_done(&written);
        rq_buf_done(&frozen);
}

static void put_header_crc(rq_buf *file) {
        size_t size = rq_get_u32(file->data + 80);
        rq_put_u32(file->data + size - 4, rq_crc32c(0, file->data, size - 4));
}

static void test_segment_headers(void **state) {
        rq_buf file = sample_segment();
        segment_header header;
        (void) state;
        size_t size = SEGMENT_HEADER_BYTES + strlen("who the members are");
        for (size_t i = 0; i < size * 8; i++) {
                file.data[i / 8] ^= (uint8_t) (1 << i % 8);
                assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_ECORRUPT);
                file.data[i / 8] ^= (uint8_t) (1 << i % 8);
        }
        for (size_t i = 0; i < size; i++)
                assert_int_equal(segment_header_decode(rq_bytes_of(file.data, i), &header), RQ_ECORRUPT);

        /* A newer build may add something behind the configuration. */
        rq_put_u32(file.data + 80, 1000);
        put_header_crc(&file);
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_OK);
        assert_true(rq_bytes_equal(header.configuration.body, rq_bytes_text("who the members are")));
        file.data[500] ^= 1;
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_ECORRUPT);
        file.data[500] ^= 1;
        rq_put_u32(file.data + 84, 1000 - SEGMENT_HEADER_BYTES + 1); /* more than there is */
        put_header_crc(&file);
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_ECORRUPT);
        rq_put_u32(file.data + 84, 19);
        rq_put_u64(file.data + 88, 11); /* not before the segment */
        put_header_crc(&file);
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_ECORRUPT);
        rq_put_u64(file.data + 88, 10);
        rq_put_u16(file.data + 4, SEGMENT_VERSION + 1);
        put_header_crc(&file);
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_EVERSION);
        rq_buf_done(&file);
}

/* A recycled file keeps units of its earlier life: they don't exist any more. */
static void test_remains_of_another_life_are_nothing(void **state) {
        rq_buf file = sample_segment(), problem = {0};
        log_recovered log = {0};
        (void) state;
        segment_header header;
        assert_int_equal(segment_header_decode(rq_buf_bytes(&file), &header), RQ_OK);
        header.uuid = other_disk;
        segment_header_encode(file.data, &header);
        log_catalog_init(&log.catalog, log_io_kernel(), dir_fd);
        assert_int_equal(log_recover_segment(&log, rq_buf_bytes(&file), 11, 0, &test_database, 0, &problem), RQ_OK);
        assert_int_equal(log.last_index, 10);
        assert_false(log.torn);
        log_recovered_done(&log);
        rq_buf_done(&file);
}

static void test_names(void **state) {
        char name[SEGMENT_NAME_BYTES];
        uint64_t index = 5;
        (void) state;
        assert_string_equal(segment_name(42, name), "00000000000000000042.log");
        assert_true(segment_name_parse(name, &index) && index == 42);
        assert_string_equal(segment_name(UINT64_MAX, name), "18446744073709551615.log");
        assert_true(segment_name_parse(name, &index) && index == UINT64_MAX);
        assert_false(segment_name_parse("18446744073709551616.log", &index));
        assert_false(segment_name_parse("0000000000000000004x.log", &index));
        assert_false(segment_name_parse("spare-0000000001", &index));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_hardstate_alternates, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_a_torn_hardstate_is_the_one_before, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_a_slot_of_a_newer_version_is_never_passed_over, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_a_replaced_file_fails_for_good_with_its_folder, set_up_folder, tear_down_folder),
                cmocka_unit_test(test_segment_headers),
                cmocka_unit_test_setup_teardown(test_identity, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_golden_identity, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_golden_cluster, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_golden_hardstate, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_golden_segment, set_up_folder, tear_down_folder),
                cmocka_unit_test_setup_teardown(test_remains_of_another_life_are_nothing, set_up_folder, tear_down_folder),
                cmocka_unit_test(test_names),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
