/* state, intent and runtime record: frozen bytes, damage, versions. With
 * RQ_GOLDEN_WRITE set, missing golden samples are written. */
#include "store_test.h"

#include <signal.h>
#include <sys/wait.h>

#include "base/checksum.h"
#include "io/intent.h"
#include "io/runtime_record.h"
#include "io/state_file.h"

static rq_uuid uuid_from(uint8_t first) {
        rq_uuid uuid;
        for (uint8_t i = 0; i < RQ_UUID_BYTES; i++)
                uuid.bytes[i] = (uint8_t) (first + i);
        return uuid;
}

static store_state sample_position(void) {
        return (store_state) {
                .index = 0x1122334455667788, .term = 42, .clock_us = UINT64_C(1700000000123456), .outcome_hash = 0xfedcba9876543210,
                .feature_level = 3, .database_id = uuid_from(0xa0), .epoch = 0x0102030405060708
        };
}

static state_file sample_state(void) {
        return (state_file) {
                .position = sample_position(), .generation = 77, .disk_id = uuid_from(0x10), .settings.foreign_keys = true,
                .database = { .bytes = 40960, .page_size = 4096, .change_counter = 5, .page1_crc = 0xcafebabe }
        };
}

static wal_extent sample_extent(void) {
        return (wal_extent) { .salts = { 1, 2, 3, 4, 5, 6, 7, 8 }, .frames = 1019, .page_size = 4096 };
}

static intent sample_intent(void) {
        return (intent) { .generation = 77, .disk_id = uuid_from(0x10), .position = sample_position(), .extent = sample_extent() };
}

static void check_golden(const char *name, const void *bytes, size_t size) {
        char path[512];
        uint8_t golden[8192];
        FILE *f;
        size_t n;
        (void) snprintf(path, sizeof path, "%s/%s", RQ_GOLDEN_DIR, name);
        if (getenv("RQ_GOLDEN_WRITE") != NULL && access(path, F_OK) != 0) {
                f = fopen(path, "wb");
                assert_non_null(f);
                assert_int_equal(fwrite(bytes, 1, size, f), size);
                (void) fclose(f);
        }
        f = fopen(path, "rb");
        if (f == NULL)
                fail_msg("no %s", path);
        n = fread(golden, 1, sizeof golden, f);
        (void) fclose(f);
        assert_int_equal(n, size);
        assert_memory_equal(golden, bytes, size);
}

static void assert_state_equal(const state_file *a, const state_file *b) {
        assert_memory_equal(&a->position.database_id, &b->position.database_id, RQ_UUID_BYTES);
        assert_int_equal(a->position.index, b->position.index);
        assert_int_equal(a->position.term, b->position.term);
        assert_int_equal(a->position.clock_us, b->position.clock_us);
        assert_int_equal(a->position.outcome_hash, b->position.outcome_hash);
        assert_int_equal(a->position.feature_level, b->position.feature_level);
        assert_int_equal(a->position.epoch, b->position.epoch);
        assert_int_equal(a->settings.foreign_keys, b->settings.foreign_keys);
        assert_int_equal(a->generation, b->generation);
        assert_memory_equal(&a->disk_id, &b->disk_id, RQ_UUID_BYTES);
        assert_true(database_facts_equal(&a->database, &b->database));
}

static void test_state_golden(void **state) {
        state_file in = sample_state(), out;
        rq_buf bytes = {0};
        size_t offset;
        (void) state;
        assert_int_equal(state_file_encode(&in, &bytes), RQ_OK);
        check_golden("state-v1.bin", bytes.data, bytes.size);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_OK);
        assert_state_equal(&in, &out);
        rq_buf_done(&bytes);
}

static void test_state_damage(void **state) {
        state_file in = sample_state(), out;
        rq_buf bytes = {0};
        size_t offset;
        (void) state;
        assert_int_equal(state_file_encode(&in, &bytes), RQ_OK);
        for (size_t bit = 0; bit < bytes.size * 8; bit++) {
                bytes.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
                assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_ECORRUPT);
                bytes.data[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
        for (size_t size = 0; size < bytes.size; size++)
                assert_int_equal(state_file_decode(rq_bytes_of(bytes.data, size), &out, &offset), RQ_ECORRUPT);
        rq_buf_done(&bytes);
}

static void reseal(rq_buf *bytes) {
        rq_put_u32(bytes->data + 12, (uint32_t) bytes->size);
        rq_put_u32(bytes->data + bytes->size - 4, rq_crc32c(0, bytes->data, bytes->size - 4));
}

/* A later version may add sections: skipped, unless they say they must not be. */
static void test_state_of_later_versions(void **state) {
        state_file in = sample_state(), out;
        rq_buf bytes = {0};
        uint8_t section[16 + 8 + 4] = {0};
        size_t offset, at;
        (void) state;
        assert_int_equal(state_file_encode(&in, &bytes), RQ_OK);
        at = bytes.size - 4;
        bytes.size -= 4;
        rq_put_u32(section, 900);
        rq_put_u32(section + 8, 5); /* padded to 8 */
        assert_int_equal(rq_buf_append(&bytes, section, sizeof section), RQ_OK);
        reseal(&bytes);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_OK);
        assert_state_equal(&in, &out);

        rq_put_u32(bytes.data + at + 4, 1);
        reseal(&bytes);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_EVERSION);
        assert_int_equal(offset, at);

        rq_put_u32(bytes.data + at + 8, 0xfffffff0); /* a size beyond the end */
        reseal(&bytes);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_ECORRUPT);

        /* A setting that changes outcomes in a way unknown here. */
        assert_int_equal(rq_get_u32(bytes.data + at - 8), 1);
        bytes.data[at - 8] |= 2;
        rq_put_u32(bytes.data + at + 4, 0);
        rq_put_u32(bytes.data + at + 8, 5);
        reseal(&bytes);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_EVERSION);
        assert_int_equal(offset, at - 24);

        rq_put_u32(bytes.data + 8, 2);
        reseal(&bytes);
        assert_int_equal(state_file_decode(rq_buf_bytes(&bytes), &out, &offset), RQ_EVERSION);
        assert_int_equal(offset, 8);
        rq_buf_done(&bytes);
}

static void test_intent_golden_and_damage(void **state) {
        uint8_t bytes[INTENT_BYTES], zeros[INTENT_BYTES] = {0};
        intent in = sample_intent(), out;
        (void) state;
        intent_encode(&in, bytes);
        check_golden("intent-v1.bin", bytes, sizeof bytes);
        assert_int_equal(intent_decode(bytes, &out), RQ_OK);
        assert_int_equal(out.generation, 77);
        assert_int_equal(out.position.index, in.position.index);
        assert_memory_equal(out.position.database_id.bytes, in.position.database_id.bytes, RQ_UUID_BYTES);
        assert_memory_equal(&out.extent, &in.extent, sizeof in.extent);
        assert_int_equal(intent_decode(zeros, &out), RQ_ENOENT);
        for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
                bytes[bit / 8] ^= (uint8_t) (1u << bit % 8);
                assert_int_not_equal(intent_decode(bytes, &out), RQ_OK);
                bytes[bit / 8] ^= (uint8_t) (1u << bit % 8);
        }
}

static rq_err read_newest(const place *p, intent *ret_intent) {
        rq_buf problem = {0};
        int fd = -1;
        rq_err r = intent_read(&files_io_kernel, p->folder_fd, &fd, ret_intent, &problem);
        assert_int_equal(r < 0, problem.size > 0);
        if (r == RQ_OK)
                (void) close(fd);
        rq_buf_done(&problem);
        return r;
}

/* Of a replacement of the file. */
static void test_swap_intent_golden(void **state) {
        uint8_t bytes[INTENT_SWAP_BYTES];
        intent in = sample_intent(), out;
        (void) state;
        in.kind = INTENT_SWAP;
        in.extent = (wal_extent) { .page_size = 4096 };
        in.facts = (database_facts) { .bytes = 1 << 20, .page_size = 4096, .change_counter = 77, .page1_crc = 0xdeadbeef };
        assert_int_equal(intent_encode_any(&in, bytes), sizeof bytes);
        check_golden("intent-swap-v1.bin", bytes, sizeof bytes);
        assert_int_equal(intent_decode_slot(rq_bytes_of(bytes, sizeof bytes), &out), RQ_OK);
        assert_int_equal(out.kind, INTENT_SWAP);
        assert_true(database_facts_equal(&in.facts, &out.facts));
        assert_int_equal(out.position.index, in.position.index);
        for (size_t i = 16; i < sizeof bytes; i++) {
                bytes[i] ^= 1;
                assert_true(intent_decode_slot(rq_bytes_of(bytes, sizeof bytes), &out) < 0);
                bytes[i] ^= 1;
        }
}

/* A kind of a later version is refused, however long: taken for a torn write it
 * would be forgotten. */
static void test_intent_of_later_versions(void **state) {
        place *p = *state;
        intent in = sample_intent(), out;
        uint8_t bytes[INTENT_SLOT_BYTES] = {0};
        assert_int_equal(intent_create(&files_io_kernel, p->folder_fd), RQ_OK);
        int fd = openat(p->folder_fd, INTENT_FILE_NAME, O_RDWR);
        for (uint32_t size = INTENT_BYTES; size <= INTENT_SLOT_BYTES; size += (INTENT_SLOT_BYTES - INTENT_BYTES) / 4) {
                for (uint32_t kind = 1; kind <= 3; kind += 2) {
                        intent_encode(&in, bytes);
                        memset(bytes + INTENT_BYTES, 'n', sizeof bytes - INTENT_BYTES); /* a file's name, say */
                        rq_put_u32(bytes + 16, kind);
                        rq_put_u32(bytes + 20, size);
                        rq_put_u32(bytes + 12, rq_crc32c(0, bytes + 16, size - 16));
                        assert_int_equal(pwrite(fd, bytes, sizeof bytes, INTENT_SLOT_BYTES), sizeof bytes);
                        assert_int_equal(read_newest(p, &out), kind == 1 ? RQ_OK : RQ_EVERSION);
                }
                assert_int_equal(out.generation, 77);
                if (size < INTENT_SLOT_BYTES)
                        continue;
                rq_put_u32(bytes + 20, size + 1); /* beyond the slot: torn */
                assert_int_equal(pwrite(fd, bytes, sizeof bytes, INTENT_SLOT_BYTES), sizeof bytes);
                assert_int_equal(read_newest(p, &out), RQ_OK);
                assert_int_equal(out.generation, 0);
        }
        (void) close(fd);
}

/* A torn write of one slot leaves the other; more than that is damage. */
static void test_intent_slots(void **state) {
        place *p = *state;
        intent in = sample_intent(), out;
        int fd;
        assert_int_equal(read_newest(p, &out), RQ_ENOENT);
        assert_int_equal(intent_create(&files_io_kernel, p->folder_fd), RQ_OK);
        assert_int_equal(read_newest(p, &out), RQ_OK);
        assert_int_equal(out.generation, 0);
        fd = openat(p->folder_fd, INTENT_FILE_NAME, O_RDWR);
        for (in.generation = 1; in.generation <= 5; in.generation++) {
                off_t torn = (off_t) ((in.generation + 1) % INTENT_SLOTS * INTENT_SLOT_BYTES);
                assert_int_equal(intent_write(&files_io_kernel, fd, &in), RQ_OK);
                assert_int_equal(read_newest(p, &out), RQ_OK);
                assert_int_equal(out.generation, in.generation);
                assert_int_equal(pwrite(fd, "torn", 4, torn + 30), 4);
                assert_int_equal(read_newest(p, &out), RQ_OK);
                assert_int_equal(out.generation, in.generation);
        }
        assert_int_equal(pwrite(fd, "rot", 3, 30), 3);
        assert_int_equal(pwrite(fd, "rot", 3, INTENT_SLOT_BYTES + 30), 3);
        assert_int_equal(read_newest(p, &out), RQ_ECORRUPT);
        (void) close(fd);
}

static void test_runtime_record(void **state) {
        place *p = *state;
        runtime_record *r;
        runtime_state in = { .position = sample_position(), .extent = sample_extent(), .generation = 77, .disk_id = uuid_from(0x10) }, out;
        uint8_t bytes[4096];
        int fd;
        assert_int_equal(runtime_record_open(p->run_fd, "boot-1", &r), RQ_OK);
        assert_false(runtime_record_get(r, &out));
        runtime_record_put(r, &in);
        fd = openat(p->run_fd, RUNTIME_RECORD_NAME, O_RDWR);
        assert_int_equal(pread(fd, bytes, sizeof bytes, 0), sizeof bytes);
        check_golden("runtime-v1.bin", bytes, sizeof bytes);
        in.position.index++;
        runtime_record_put(r, &in);
        assert_true(runtime_record_get(r, &out));
        assert_int_equal(out.position.index, in.position.index);
        assert_memory_equal(&out.extent, &in.extent, sizeof in.extent);
        r = runtime_record_free(r);

        assert_int_equal(runtime_record_open(p->run_fd, "boot-2", &r), RQ_OK);
        assert_false(runtime_record_get(r, &out));
        r = runtime_record_free(r);
        assert_int_equal(runtime_record_open(p->run_fd, "boot-1", &r), RQ_OK);
        assert_true(runtime_record_get(r, &out));
        assert_int_equal(pwrite(fd, "x", 1, 100), 1); /* amid the newer slot: the older one counts */
        assert_true(runtime_record_get(r, &out));
        assert_int_equal(out.position.index, in.position.index - 1);
        runtime_record_kill(r);
        assert_false(runtime_record_get(r, &out));
        runtime_record_put(r, &in);
        assert_false(runtime_record_get(r, &out));
        runtime_record_free(r);
        runtime_record_put(NULL, &in);
        (void) close(fd);
}

/* kill -9 at any instruction: what is found is a record that was put, and no
 * older than the one whose put had returned. */
static void test_runtime_record_survives_kill(void **state) {
        place *p = *state;
        for (int i = 0; i < 60; i++) {
                int out[2], status;
                uint64_t told = 0, seen;
                runtime_record *r;
                runtime_state at;
                pid_t child;
                assert_int_equal(pipe(out), 0);
                child = fork();
                if (child == 0) {
                        runtime_state in = { .disk_id = uuid_from(0x10) };
                        if (runtime_record_open(p->run_fd, "boot", &r) != RQ_OK)
                                _exit(1);
                        for (uint64_t n = 1;; n++) {
                                in.position.index = n;
                                in.position.term = in.position.clock_us = in.position.outcome_hash = in.generation = n;
                                runtime_record_put(r, &in);
                                if (n % 64 == 1 && write(out[1], &n, sizeof n) != sizeof n)
                                        _exit(1);
                        }
                }
                (void) close(out[1]);
                assert_int_equal(read(out[0], &told, sizeof told), sizeof told);
                (void) usleep((useconds_t) (i * 37 % 900));
                (void) kill(child, SIGKILL);
                assert_int_equal(waitpid(child, &status, 0), child);
                while (read(out[0], &seen, sizeof seen) == sizeof seen)
                        told = seen;
                (void) close(out[0]);
                assert_int_equal(runtime_record_open(p->run_fd, "boot", &r), RQ_OK);
                assert_true(runtime_record_get(r, &at));
                assert_true(at.position.index >= told);
                assert_int_equal(at.position.index, at.position.outcome_hash);
                assert_int_equal(at.position.index, at.generation);
                runtime_record_clear(r);
                runtime_record_free(r);
        }
}

static int setup(void **state) {
        *state = place_new();
        return 0;
}

static int teardown(void **state) {
        place_free(*state);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_state_golden),
                cmocka_unit_test(test_state_damage),
                cmocka_unit_test(test_state_of_later_versions),
                cmocka_unit_test(test_intent_golden_and_damage),
                cmocka_unit_test(test_swap_intent_golden),
                cmocka_unit_test_setup_teardown(test_intent_of_later_versions, setup, teardown),
                cmocka_unit_test_setup_teardown(test_intent_slots, setup, teardown),
                cmocka_unit_test_setup_teardown(test_runtime_record, setup, teardown),
                cmocka_unit_test_setup_teardown(test_runtime_record_survives_kill, setup, teardown),
        };
        return cmocka_run_group_tests_name("store_formats", tests, NULL, NULL);
}
