/* proto: the record header and the arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "arena.h"
#include "base/checksum.h"
#include "log_entry.pb-c.h"
#include "record.h"

static const char body_text[] = "entry";

static void sample(uint8_t out[static RECORD_HEADER_BYTES + sizeof body_text - 1], record_header *header) {
        *header = (record_header) {
                .kind = RECORD_SQL, .flags = RECORD_CRITICAL, .feature_level = 1, .index = 42, .term = 7,
                .clock_us = 1767225600000000u, .seed = 0x0123456789abcdefu, .step_budget = 2000000000u,
                .chunk_group = 3, .chunk_number = 4, .chunk_last = true, .chunk_hash = 5,
        };
        for (uint8_t i = 0; i < RQ_UUID_BYTES; i++)
                header->database_id.bytes[i] = (uint8_t) (0xa0 + i);
        record_header_encode(out, header, rq_bytes_text(body_text));
        memcpy(out + RECORD_HEADER_BYTES, body_text, sizeof body_text - 1);
}

static void test_record_goes_there_and_back(void **state) {
        (void) state;
        uint8_t bytes[RECORD_HEADER_BYTES + sizeof body_text - 1];
        record_header in, out;
        rq_bytes body;
        sample(bytes, &in);
        assert_int_equal(record_decode(rq_bytes_of(bytes, sizeof bytes), &out, &body), RQ_OK);
        assert_true(rq_bytes_equal(body, rq_bytes_text(body_text)));
        assert_true(out.index == in.index && out.term == in.term && out.clock_us == in.clock_us && out.seed == in.seed);
        assert_true(out.step_budget == in.step_budget && out.kind == in.kind && out.flags == in.flags);
        assert_true(out.chunk_group == 3 && out.chunk_number == 4 && out.chunk_last && out.chunk_hash == 5);
        assert_true(rq_uuid_equal(&out.database_id, &in.database_id));
}

static void test_every_flipped_bit_and_every_cut_is_seen(void **state) {
        (void) state;
        uint8_t bytes[RECORD_HEADER_BYTES + sizeof body_text - 1];
        record_header header;
        rq_bytes body;
        sample(bytes, &header);
        for (size_t i = 0; i < sizeof bytes * 8; i++) {
                bytes[i / 8] ^= (uint8_t) (1 << i % 8);
                assert_true(record_decode(rq_bytes_of(bytes, sizeof bytes), &header, &body) < 0);
                bytes[i / 8] ^= (uint8_t) (1 << i % 8);
        }
        for (size_t size = 0; size < sizeof bytes; size++)
                assert_int_equal(record_decode(rq_bytes_of(bytes, size), &header, &body), RQ_EAGAIN);
}

static void test_unknown_flags_are_a_newer_version(void **state) {
        (void) state;
        static const size_t places[] = { 11, 84, 85, 86, 87 };
        uint8_t bytes[RECORD_HEADER_BYTES + sizeof body_text - 1];
        record_header header;
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
                for (int bit = places[i] == 11 || places[i] == 84; bit < 8; bit++) {
                        sample(bytes, &header);
                        bytes[places[i]] |= (uint8_t) (1 << bit);
                        rq_put_u32(bytes + 100, rq_crc32c(0, bytes, 100));
                        assert_int_equal(record_header_decode(bytes, &header), RQ_EVERSION);
                }
}

/* What existed at level 1 stays readable for a build of level 1. */
static void test_todays_kinds_are_of_the_first_level(void **state) {
        (void) state;
        for (int kind = RECORD_NOOP; kind <= RECORD_CHANGES; kind++)
                assert_int_equal(record_kind_level((record_kind) kind), 1);
        assert_true(record_kind_level((record_kind) 0) == UINT32_MAX && record_kind_level((record_kind) 255) == UINT32_MAX);
}

/* The frozen encoding: written once by version 1, must decode for ever. */
static void test_golden_record_decodes(void **state) {
        (void) state;
        uint8_t golden[256], now[RECORD_HEADER_BYTES + sizeof body_text - 1];
        FILE *f = fopen(RQ_GOLDEN_DIR "/record-v1.bin", "rb");
        assert_non_null(f);
        size_t n = fread(golden, 1, sizeof golden, f);
        (void) fclose(f);
        record_header header;
        sample(now, &header);
        assert_int_equal(n, sizeof now);
        assert_memory_equal(golden, now, n);
}

static void test_golden_sql_entry_decodes(void **state) {
        (void) state;
        uint8_t golden[256];
        FILE *f = fopen(RQ_GOLDEN_DIR "/sql-entry-v1.bin", "rb");
        assert_non_null(f);
        size_t n = fread(golden, 1, sizeof golden, f);
        (void) fclose(f);
        rq_arena *arena = rq_arena_new();
        assert_non_null(arena);
        Rq__SqlEntry *e = rq__sql_entry__unpack(rq_arena_allocator(arena), n, golden);
        assert_non_null(e);
        assert_int_equal(e->n_statements, 1);
        assert_int_equal(e->statements[0]->n_parameters, 5);
        assert_true(e->transaction);
        assert_true(e->origin->request_id == 77);
        Rq__Parameter **p = e->statements[0]->parameters;
        assert_true(p[0]->value->integer == -5);
        assert_true(p[1]->value->real == 2.5);
        assert_int_equal(p[2]->value->kind_case, RQ__VALUE__KIND_TEXT);
        assert_int_equal(p[3]->value->kind_case, RQ__VALUE__KIND_BLOB);
        assert_int_equal(p[4]->value->kind_case, RQ__VALUE__KIND_NULL);
        assert_memory_equal(p[4]->name.data, "n", 1);
        (void) rq_arena_free(arena);
}

static void test_arena_survives_large_and_many(void **state) {
        (void) state;
        rq_arena *arena = rq_arena_new();
        assert_non_null(arena);
        for (int round = 0; round < 3; round++) {
                for (size_t i = 1; i < 2000; i++) {
                        uint8_t *p = rq_arena_alloc(arena, i);
                        assert_non_null(p);
                        assert_int_equal((uintptr_t) p % 16, 0);
                        memset(p, 0x5a, i);
                }
                assert_non_null(rq_arena_alloc(arena, 10 * 1024 * 1024));
                rq_arena_reset(arena);
        }
        assert_null(rq_arena_alloc(arena, SIZE_MAX));
        (void) rq_arena_free(arena);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_record_goes_there_and_back),
                cmocka_unit_test(test_every_flipped_bit_and_every_cut_is_seen),
                cmocka_unit_test(test_unknown_flags_are_a_newer_version),
                cmocka_unit_test(test_todays_kinds_are_of_the_first_level),
                cmocka_unit_test(test_golden_record_decodes),
                cmocka_unit_test(test_golden_sql_entry_decodes),
                cmocka_unit_test(test_arena_survives_large_and_many),
        };
        return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
