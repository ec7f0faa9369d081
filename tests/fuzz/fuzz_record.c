/* What the log says against the store: record headers, SqlEntry, the scans of
 * SQL's text, preparing and binding. Bodies come from other nodes and old logs; what
 * they hold is a client's.
 *
 * First byte, bit 0: what looks like a record is made a valid one, so that the
 * fuzzer needn't find checksums. Bit 1: the rest is an SqlEntry, without a record. */
#include <sqlite3.h>
#include <stdlib.h>

#include "arena.h"
#include "base/assert.h"
#include "core/sql_text.h"
#include "io/statements.h"
#include "log_entry.pb-c.h"
#include "record.h"

enum { TEXT_BYTES_MAX = 4096, STATEMENTS_MAX = 8 };

static sqlite3 *db;
static statements *cache;
static rq_arena *arena;

static void open_database(void) {
        rq_assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
        rq_assert(sqlite3_exec(db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b TEXT); CREATE VIEW v AS SELECT a FROM t", NULL, NULL, NULL) == SQLITE_OK);
        (void) sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 100);
        rq_assert(statements_new(db, STATEMENTS_WRITER, &cache) == RQ_OK);
        rq_assert((arena = rq_arena_new()) != NULL);
}

/* Prepared, bound, not run: what running does is SQLite's. */
static void prepare_text(const Rq__Statement *text) {
        rq_bytes rest = rq_bytes_of(text->sql.data, text->sql.len);
        bind_cursor cursor = { text->parameters, text->n_parameters, 0 };
        for (int i = 0; i < STATEMENTS_MAX && rest.size > 0; i++) {
                char problem[BIND_PROBLEM_BYTES];
                statement st;
                size_t before = rest.size;
                rq_assert(statements_prepare(cache, rest, &st, &rest) == RQ_OK);
                if (st.problem != NULL) {
                        rq_assert(st.stmt == NULL && st.problem[0] != '\0');
                        return;
                }
                rq_assert(rest.size < before);
                if (st.stmt == NULL)
                        continue;
                rq_assert(statements_bind(st.stmt, &cursor, problem) == RQ_OK);
                rq_assert(cursor.at <= cursor.count && strnlen(problem, sizeof problem) < sizeof problem);
                bool failed = problem[0] != '\0';
                statements_release(cache, &st);
                if (failed)
                        return;
        }
}

static void fuzz_entry(rq_bytes body) {
        rq_arena_reset(arena);
        Rq__SqlEntry *entry = rq__sql_entry__unpack(rq_arena_allocator(arena), body.size, body.data);
        if (entry == NULL)
                return;
        for (size_t i = 0; i < entry->n_statements; i++) {
                const Rq__Statement *text = entry->statements[i];
                rq_bytes sql = rq_bytes_of(text->sql.data, text->sql.len);
                bool blank = statements_blank(sql);
                rq_assert(blank == sql_text_blank(sql));
                (void) statements_pragma_disallowed(sql);
                rq_bytes word = sql_text_first_word(sql);
                rq_assert(word.size <= sql.size && (!blank || word.size == 0));
                if (sql.size <= TEXT_BYTES_MAX)
                        prepare_text(text);
        }

        /* Not decoded again: libprotobuf-c takes an unknown field 0 if its tag has
         * two bytes, and writes it with one, which it doesn't take. We never encode
         * what we have decoded. */
        size_t size = rq__sql_entry__get_packed_size(entry);
        uint8_t *packed = malloc(size + 1);
        rq_assert(packed != NULL && rq__sql_entry__pack(entry, packed) == size);
        free(packed);
}

static void mend_records(uint8_t *bytes, size_t size) {
        for (size_t at = 0; at + RECORD_HEADER_BYTES <= size;) {
                uint8_t *to = bytes + at;
                size_t left = size - at - RECORD_HEADER_BYTES, body_bytes = rq_get_u32(to + 4) & 0xfff;
                body_bytes = body_bytes < left ? body_bytes : left;
                record_header header = {
                        .kind = to[10], .flags = to[11], .feature_level = to[12], .index = rq_get_u64(to + 16), .term = rq_get_u64(to + 24),
                        .clock_us = rq_get_u64(to + 32), .seed = rq_get_u64(to + 40), .step_budget = rq_get_u64(to + 48),
                        .chunk_group = rq_get_u64(to + 72), .chunk_number = rq_get_u32(to + 80), .chunk_last = (to[84] & 1) != 0,
                };
                record_header_encode(to, &header, rq_bytes_of(to + RECORD_HEADER_BYTES, body_bytes));
                at += RECORD_HEADER_BYTES + body_bytes;
        }
}

static void fuzz_records(rq_bytes bytes, bool mended) {
        while (bytes.size > 0) {
                record_header header, again;
                rq_bytes body;
                uint8_t encoded[RECORD_HEADER_BYTES];
                rq_err r = record_decode(bytes, &header, &body);
                rq_assert(r == RQ_OK || r == RQ_ECORRUPT || r == RQ_EVERSION || r == RQ_ETOOBIG || r == RQ_EAGAIN);
                rq_assert(!mended || r != RQ_ECORRUPT);
                if (r < 0)
                        return;
                rq_assert(body.data == bytes.data + RECORD_HEADER_BYTES && body.size == header.body_bytes);
                again = header;
                record_header_encode(encoded, &again, body);
                rq_assert(record_header_decode(encoded, &again) == RQ_OK && again.index == header.index && again.body_crc == header.body_crc);
                if (header.kind == RECORD_SQL)
                        fuzz_entry(body);
                bytes = rq_bytes_of(body.data + body.size, bytes.size - RECORD_HEADER_BYTES - body.size);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1)
                return 0;
        if (db == NULL)
                open_database();
        uint8_t *copy = malloc(size);
        rq_assert(copy != NULL);
        memcpy(copy, data + 1, size - 1);
        if ((data[0] & 2) != 0) {
                fuzz_entry(rq_bytes_of(copy, size - 1));
        } else {
                if ((data[0] & 1) != 0)
                        mend_records(copy, size - 1);
                fuzz_records(rq_bytes_of(copy, size - 1), (data[0] & 1) != 0);
        }
        free(copy);
        return 0;
}
