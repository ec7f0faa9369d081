/* Builds log records and runs them through an applier on a folder of its own:
 * what the applier's tests share. */
#ifndef RQ_TEST_ENTRIES_H
#define RQ_TEST_ENTRIES_H

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/applier.h"
#include "log_entry.pb-c.h"
#include "record.h"

typedef struct bench {
        char dir[64];
        int dir_fd;
        bool foreign_keys;
        const struct files_io *io; /* NULL: the kernel's */
        size_t spill_bytes;        /* 0: the default */
        uint64_t skip_index;       /* 0: none */
        uint32_t writer_cache_pages; /* 0: the default */
        const struct extensions *extensions; /* NULL: none */
        files *files;
        applier *applier;
        apply_output out;
        uint64_t next_index;
        uint64_t clock_us;
        uint64_t step_budget;
        rq_buf records; /* queued by entry() */
        size_t queued;
} bench;

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        (void) st;
        (void) flag;
        (void) ftw;
        return remove(path);
}

static inline void bench_open(bench *b) {
        rq_buf problem = {0};
        store_state state;
        const files_options options = {
                .foreign_keys = b->foreign_keys, .io = b->io, .extensions = b->extensions, .writer_cache_pages = b->writer_cache_pages,
        };
        rq_err r = files_open_with(&options, b->dir_fd, b->dir, b->dir_fd, &b->files, &state, &problem);
        if (r < 0)
                fail_msg("files_open: %.*s", (int) problem.size, (const char *) problem.data);
        rq_buf_done(&problem);
        const applier_options applying = { .io = b->io, .spill_dir_fd = b->dir_fd, .spill_bytes = b->spill_bytes, .skip_index = b->skip_index };
        assert_int_equal(applier_new(b->files, &state, &applying, &b->applier), RQ_OK);
        b->next_index = state.index + 1;
}

static inline void bench_close(bench *b) {
        b->applier = applier_free(b->applier);
        b->files = files_free(b->files);
}

static inline bench *bench_new(void) {
        bench *b = calloc(1, sizeof *b);
        assert_non_null(b);
        (void) snprintf(b->dir, sizeof b->dir, "/tmp/rq-test-store-XXXXXX");
        assert_non_null(mkdtemp(b->dir));
        b->dir_fd = open(b->dir, O_DIRECTORY | O_CLOEXEC);
        b->clock_us = 1767225600000000u;
        return b;
}

static inline void bench_free(bench *b) {
        if (b->files != NULL)
                bench_close(b);
        apply_output_done(&b->out);
        rq_buf_done(&b->records);
        (void) close(b->dir_fd);
        (void) nftw(b->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        free(b);
}

/* What an entry is made of; sql: texts, NULL-terminated. */
typedef struct request {
        const char *sql[12];
        bool transaction, request_mode, qualify;
        int64_t argument; /* bound to every ? when has_argument */
        bool has_argument;
        struct { uint32_t statements; bool transaction; } groups[4]; /* up to the first of 0 */
} request;

static inline void queue_kind(bench *b, uint8_t kind, uint8_t flags, rq_bytes body) {
        uint8_t header_bytes[RECORD_HEADER_BYTES];
        record_header header = {
                .kind = kind, .flags = flags, .feature_level = 1, .index = b->next_index, .term = 1,
                .clock_us = b->clock_us, .seed = 0x5eed0000u + b->next_index, .step_budget = b->step_budget,
                .database_id = { { 1 } },
        };
        record_header_encode(header_bytes, &header, body);
        assert_int_equal(rq_buf_append(&b->records, header_bytes, sizeof header_bytes), RQ_OK);
        assert_int_equal(rq_buf_append_bytes(&b->records, body), RQ_OK);
        b->next_index++;
        b->clock_us += 1000;
        b->queued++;
}

static inline void entry_of(bench *b, const request *q) {
        Rq__Statement statements[12], *pointers[12];
        Rq__Parameter parameter = RQ__PARAMETER__INIT, *parameters[1] = { &parameter };
        Rq__Value value = RQ__VALUE__INIT;
        value.kind_case = RQ__VALUE__KIND_INTEGER;
        value.integer = q->argument;
        parameter.value = &value;
        uint8_t incarnation[RQ_UUID_BYTES] = { 9 };
        Rq__Origin origin = RQ__ORIGIN__INIT;
        origin.incarnation = (ProtobufCBinaryData) { sizeof incarnation, incarnation };
        origin.request_id = b->next_index;
        Rq__SqlEntry e = RQ__SQL_ENTRY__INIT;
        e.origin = &origin;
        Rq__Render render = RQ__RENDER__INIT;
        render.qualify_columns = q->qualify;
        e.render = q->qualify ? &render : NULL;
        e.statements = pointers;
        e.transaction = q->transaction;
        e.mode = q->request_mode ? RQ__SQL_MODE__SQL_REQUEST : RQ__SQL_MODE__SQL_EXECUTE;
        for (; q->sql[e.n_statements] != NULL; e.n_statements++) {
                Rq__Statement *s = &statements[e.n_statements];
                rq__statement__init(s);
                s->sql = (ProtobufCBinaryData) { strlen(q->sql[e.n_statements]), (uint8_t *) (uintptr_t) q->sql[e.n_statements] };
                if (q->has_argument) {
                        s->n_parameters = 1;
                        s->parameters = parameters;
                }
                pointers[e.n_statements] = s;
        }
        Rq__SqlGroup groups[4], *group_pointers[4];
        for (; e.n_groups < 4 && q->groups[e.n_groups].statements > 0; e.n_groups++) {
                rq__sql_group__init(&groups[e.n_groups]);
                groups[e.n_groups].statements = q->groups[e.n_groups].statements;
                groups[e.n_groups].transaction = q->groups[e.n_groups].transaction;
                group_pointers[e.n_groups] = &groups[e.n_groups];
        }
        e.groups = group_pointers;
        size_t size = rq__sql_entry__get_packed_size(&e);
        uint8_t *body = malloc(size + 1);
        assert_non_null(body);
        (void) rq__sql_entry__pack(&e, body);
        queue_kind(b, RECORD_SQL, RECORD_CRITICAL, rq_bytes_of(body, size));
        free(body);
}

#define entry(b, ...) entry_of(b, &(const request) { .sql = { __VA_ARGS__, NULL } })
#define transaction(b, ...) entry_of(b, &(const request) { .sql = { __VA_ARGS__, NULL }, .transaction = true })
#define request(b, ...) entry_of(b, &(const request) { .sql = { __VA_ARGS__, NULL }, .request_mode = true })

/* Applies what is queued, at most batch entries given at a time (0: all). */
static inline rq_err run_queued(bench *b, size_t batch) {
        rq_err r = RQ_OK;
        size_t at = 0;
        while (r >= 0 && at < b->records.size) {
                size_t end = at;
                for (size_t n = 0; end < b->records.size && (batch == 0 || n < batch); n++) {
                        record_header header;
                        assert_int_equal(record_header_decode(b->records.data + end, &header), RQ_OK);
                        end += RECORD_HEADER_BYTES + header.body_bytes;
                }
                size_t applied, bytes;
                r = applier_run(b->applier, rq_bytes_of(b->records.data + at, end - at), NULL, NULL, &b->out, &applied, &bytes);
                if (r >= 0) {
                        assert_true(applied > 0);
                        at += bytes;
                        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), false), RQ_OK);
                }
        }
        b->records.size = 0;
        b->queued = 0;
        return r;
}

/* The answers so far as one text, one line each; caller frees. Clears them. */
static inline char *answers(bench *b) {
        rq_buf text = {0};
        for (size_t i = 0; i < b->out.count; i++) {
                const apply_result *result = &b->out.results[i];
                if (result->spill_fd >= 0)
                        assert_int_equal(rq_buf_printf(&text, "spilled %zu", result->size), RQ_OK);
                else
                        assert_int_equal(rq_buf_append(&text, b->out.json.data + result->offset, result->size), RQ_OK);
                assert_int_equal(rq_buf_append_text(&text, "\n"), RQ_OK);
        }
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        apply_output_done(&b->out);
        return (char *) text.data;
}

#define assert_answers(b, expected)                              \
        do {                                                     \
                assert_int_equal(run_queued(b, 0), RQ_OK);       \
                char *got_ = answers(b);                         \
                assert_string_equal(got_, expected);             \
                free(got_);                                      \
        } while (0)

/* Every table's content, in rowid order, through a reader; caller frees. */
static inline char *content(bench *b) {
        sqlite3 *db;
        sqlite3_stmt *tables, *rows;
        rq_buf text = {0};
        assert_int_equal(files_open_reader(b->files, &db), RQ_OK);
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
                                                " ORDER BY name", -1, &tables, NULL), SQLITE_OK);
        while (sqlite3_step(tables) == SQLITE_ROW) {
                const char *name = (const char *) sqlite3_column_text(tables, 0);
                char *sql = sqlite3_mprintf("SELECT * FROM \"%w\"", name);
                assert_int_equal(rq_buf_printf(&text, "%s %s\n", name, (const char *) sqlite3_column_text(tables, 1)), RQ_OK);
                assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &rows, NULL), SQLITE_OK);
                while (sqlite3_step(rows) == SQLITE_ROW) {
                        for (int i = 0; i < sqlite3_column_count(rows); i++) {
                                const void *bytes = sqlite3_column_blob(rows, i);
                                int size = sqlite3_column_bytes(rows, i);
                                assert_int_equal(rq_buf_printf(&text, "%d:", sqlite3_column_type(rows, i)), RQ_OK);
                                for (int k = 0; k < size; k++)
                                        assert_int_equal(rq_buf_printf(&text, "%02x", ((const uint8_t *) bytes)[k]), RQ_OK);
                                assert_int_equal(rq_buf_append_text(&text, i + 1 < sqlite3_column_count(rows) ? "|" : "\n"), RQ_OK);
                        }
                }
                (void) sqlite3_finalize(rows);
                sqlite3_free(sql);
        }
        (void) sqlite3_finalize(tables);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        assert_int_equal(rq_buf_append(&text, "", 1), RQ_OK);
        return (char *) text.data;
}

#endif
