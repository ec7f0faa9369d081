#include "io/writer_functions.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "io/text_functions.h"

enum {
        STEPS_PER_CALL = 1000, /* VDBE steps between two looks at the budget */
        RANDOMBLOB_BYTES_MAX = 1000000000,
};

/* No statement leaves this rowid behind unless it inserts exactly it. */
#define NOTHING_INSERTED INT64_MIN

static writer_functions *self(sqlite3_context *context) { return sqlite3_user_data(context); }

static void on_random(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        (void) values;
        sqlite3_result_int64(context, (int64_t) rq_rng_next(&self(context)->rng));
}

static void on_randomblob(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        int64_t size = sqlite3_value_int64(values[0]);
        if (size < 1)
                size = 1; /* as SQLite's own */
        if (size > RANDOMBLOB_BYTES_MAX) {
                sqlite3_result_error_toobig(context);
                return;
        }
        uint8_t *bytes = sqlite3_malloc64((sqlite3_uint64) size);
        if (bytes == NULL) {
                sqlite3_result_error_nomem(context);
                return;
        }
        for (int64_t i = 0; i < size; i++)
                bytes[i] = (uint8_t) (rq_rng_next(&self(context)->rng) >> 24);
        sqlite3_result_blob64(context, bytes, (sqlite3_uint64) size, sqlite3_free);
}

static int64_t total_changes(const writer_functions *w) {
        return sqlite3_total_changes64(w->db) - w->total_changes_base;
}

static void on_changes(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        (void) values;
        /* SQLite's number can be of an earlier entry, or of a full-text table's
         * own statements, until a trigger of this statement changes a row. */
        writer_functions *w = self(context);
        bool untouched = sqlite3_total_changes64(w->db) == w->total_changes_before;
        sqlite3_result_int64(context, untouched ? w->changes : sqlite3_changes64(w->db));
}

static void on_total_changes(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        (void) values;
        sqlite3_result_int64(context, total_changes(self(context)));
}

static void on_last_insert_rowid(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        (void) values;
        writer_functions *w = self(context);
        int64_t id = sqlite3_last_insert_rowid(w->db);
        sqlite3_result_int64(context, id == NOTHING_INSERTED ? w->last_insert_id : id);
}

static void on_local(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        (void) values;
        sqlite3_result_error(context, "not available in a write: its result may differ between nodes", -1);
}

static int on_progress(void *arg) {
        writer_functions *w = arg;
        if (!w->counting)
                return 0; /* our own savepoints, and what they make virtual tables do, must not be interrupted */
        w->steps += STEPS_PER_CALL;
        if (w->step_budget == 0 || w->steps <= w->step_budget)
                return 0;
        w->budget_exhausted = true;
        return 1;
}

static bool has_autoincrement(sqlite3 *db, const char *table) {
        /* The rowid's own column, if it has one, carries the flag. */
        sqlite3_stmt *stmt = NULL;
        bool found = false;
        if (sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?) WHERE pk = 1", -1, &stmt, NULL) == SQLITE_OK) {
                (void) sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
                int autoincrement = 0;
                if (sqlite3_step(stmt) == SQLITE_ROW &&
                    sqlite3_table_column_metadata(db, "main", table, (const char *) sqlite3_column_text(stmt, 0),
                                                  NULL, NULL, NULL, NULL, &autoincrement) == SQLITE_OK)
                        found = autoincrement != 0;
        }
        (void) sqlite3_finalize(stmt);
        return found;
}

/* Hazards 8: behind the largest rowid SQLite draws ids from its own random
 * source, which differs between nodes. */
static void on_update(void *arg, int operation, const char *schema, const char *table, sqlite3_int64 rowid) {
        writer_functions *w = arg;
        (void) schema;
        if (rowid == INT64_MAX && operation != SQLITE_DELETE && !has_autoincrement(w->db, table))
                w->rowid_max_used = true;
}

rq_err writer_functions_install(writer_functions *w, sqlite3 *db) {
        static const struct {
                const char *name;
                int arguments;
                void (*call)(sqlite3_context *, int, sqlite3_value **);
        } functions[] = {
                { "random", 0, on_random },
                { "randomblob", 1, on_randomblob },
                { "changes", 0, on_changes },
                { "total_changes", 0, on_total_changes },
                { "last_insert_rowid", 0, on_last_insert_rowid },
                { "sqlite_version", 0, on_local },
                { "sqlite_source_id", 0, on_local },
                { "sqlite_compileoption_get", 1, on_local },
                { "sqlite_compileoption_used", 1, on_local },
                { "fts5_source_id", 0, on_local },
                { "load_extension", 1, on_local },
                { "load_extension", 2, on_local },
        };
        *w = (writer_functions) { .db = db };
        for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++)
                /* INNOCUOUS: usable in defaults, triggers and views. Not
                 * DETERMINISTIC: SQLite would compute random() once (hazards 8). */
                if (sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments,
                                               SQLITE_UTF8 | SQLITE_INNOCUOUS, w, functions[i].call, NULL, NULL, NULL) != SQLITE_OK)
                        return RQ_ENOMEM;
        rq_err r = text_functions_install(db, &w->steps);
        if (r < 0)
                return r;
        /* A name that nobody gives a table. It holds nothing, ever. */
        if (sqlite3_exec(db, "CREATE TEMP TABLE \"rq:nothing\"(x)", NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_prepare_v3(db, "DELETE FROM temp.\"rq:nothing\" WHERE x = 0", -1, SQLITE_PREPARE_PERSISTENT,
                               &w->no_change, NULL) != SQLITE_OK)
                return RQ_ENOMEM;
        sqlite3_progress_handler(db, STEPS_PER_CALL, on_progress, w);
        (void) sqlite3_update_hook(db, on_update, w);
        return RQ_OK;
}

void writer_functions_begin_entry(writer_functions *w, uint64_t seed, uint64_t step_budget) {
        w->seed = seed;
        w->statement_number = 0;
        w->steps = 0;
        w->step_budget = step_budget;
        w->budget_exhausted = false;
        w->rowid_max_used = false;
        w->last_insert_id = 0;
        w->changes = 0;
}

void writer_functions_changed(writer_functions *w, int64_t changes) { w->changes = changes; }

void writer_functions_done(writer_functions *w) {
        (void) sqlite3_finalize(w->no_change);
        w->no_change = NULL;
}

void writer_functions_begin_statement(writer_functions *w, sqlite3_stmt *stmt, bool uses_changes) {
        if (uses_changes && sqlite3_changes64(w->db) != w->changes) {
                (void) sqlite3_step(w->no_change);
                (void) sqlite3_reset(w->no_change);
        }
        /* Not at the entry's begin: its first savepoint lets full-text tables
         * write what an earlier entry gave them. */
        w->total_changes_before = sqlite3_total_changes64(w->db);
        if (w->statement_number == 0)
                w->total_changes_base = w->total_changes_before;
        w->rng = rq_rng_seeded(rq_hash_mix(rq_hash_mix(0, w->seed), w->statement_number++));
        /* A statement from the cache remembers how many steps it took in its
         * life, and SQLite counts on from there. */
        (void) sqlite3_stmt_status(stmt, SQLITE_STMTSTATUS_VM_STEP, 1);
        sqlite3_set_last_insert_rowid(w->db, NOTHING_INSERTED);
        w->rowid_max_used = false;
        w->counting = true;
}

void writer_functions_end_statement(writer_functions *w) { w->counting = false; }

void writer_functions_exhaust(writer_functions *w) {
        w->counting = false;
        w->budget_exhausted = true;
        w->steps = w->step_budget + 1;
}

bool writer_functions_inserted(writer_functions *w, int64_t *ret_id) {
        int64_t id = sqlite3_last_insert_rowid(w->db);
        if (id == NOTHING_INSERTED)
                return false;
        w->last_insert_id = id;
        *ret_id = id;
        return true;
}
