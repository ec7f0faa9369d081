/* What an entry asks of the members' builds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "feature_level.h"
#include "log_entry.pb-c.h"
#include "record.h"

static void arena_freep(rq_arena **arena) { *arena = rq_arena_free(*arena); }

static uint32_t needed_by(const char *first, const char *second, bool grouped) {
        RQ_CLEANUP(arena_freep) rq_arena *arena = rq_arena_new();
        uint8_t packed[1024];
        const char *texts[] = { first, second };
        Rq__Statement statements[2], *list[2];
        Rq__SqlGroup group = RQ__SQL_GROUP__INIT, *groups[] = { &group };
        Rq__SqlEntry entry = RQ__SQL_ENTRY__INIT;
        for (size_t i = 0; i < 2; i++) {
                rq__statement__init(&statements[i]);
                statements[i].sql = (ProtobufCBinaryData) { .data = (uint8_t *) (uintptr_t) texts[i], .len = strlen(texts[i]) };
                list[i] = &statements[i];
        }
        entry.n_statements = 2;
        entry.statements = list;
        entry.n_groups = grouped ? 1 : 0;
        entry.groups = groups;
        assert_non_null(arena);
        assert_true(rq__sql_entry__get_packed_size(&entry) <= sizeof packed);
        size_t size = rq__sql_entry__pack(&entry, packed);
        return feature_level_needed(RECORD_SQL, rq_bytes_of(packed, size), arena);
}

static void sql_is_as_old_as_the_format(void **state) {
        (void) state;
        assert_int_equal(needed_by("INSERT INTO t VALUES(1)", "SELECT * FROM beginnings", false), 1);
        assert_int_equal(needed_by("UPDATE t SET begin_ = 1, \"savepoints\" = 2", "", false), 1);
        assert_int_equal(needed_by("DELETE FROM t", "SELECT xbegin FROM t", false), 1);
}

static void groups_and_transactions_are_newer(void **state) {
        (void) state;
        assert_int_equal(needed_by("INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(2)", true), 2);
        assert_int_equal(needed_by("SELECT 1", "begin", false), 2);
        assert_int_equal(needed_by("BEGIN IMMEDIATE; INSERT INTO t VALUES(1); COMMIT", "SELECT 1", false), 2);
        assert_int_equal(needed_by("/**/savepoint s", "SELECT 1", false), 2);
        assert_int_equal(needed_by("SELECT 1;BEGIN;", "SELECT 1", false), 2);
}

static void loads_are_newer(void **state) {
        RQ_CLEANUP(arena_freep) rq_arena *arena = rq_arena_new();
        (void) state;
        assert_int_equal(feature_level_needed(RECORD_LOAD_CHUNK, (rq_bytes) {0}, arena), 2);
        assert_int_equal(feature_level_needed(RECORD_ABORT_GROUP, (rq_bytes) {0}, arena), 2);
        assert_int_equal(feature_level_needed(RECORD_BARRIER, (rq_bytes) {0}, arena), 1);
        /* Rubbish is the store's to judge. */
        assert_int_equal(feature_level_needed(RECORD_SQL, rq_bytes_text("\xff\xff\xff"), arena), 1);
}

/* HELLO says no less than what this build puts into the log. */
static void this_build_says_what_it_writes(void **state) {
        (void) state;
        assert_true((int) PEER_FEATURE_LEVEL >= (int) FEATURE_LEVEL_LOADS_AND_GROUPS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(sql_is_as_old_as_the_format), cmocka_unit_test(groups_and_transactions_are_newer),
                cmocka_unit_test(loads_are_newer), cmocka_unit_test(this_build_says_what_it_writes),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
