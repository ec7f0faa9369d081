#include "status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "io/sqlite_memory.h"
#include "snapshots.h"

/* jansson's NULL for lack of memory travels: setting NULL fails, and so does
 * dumping a NULL document; a value that is missing is only missing. */

static json_t *number(uint64_t value) { return json_integer((json_int_t) value); }

typedef struct figure { const char *name; uint64_t value; } figure;

static json_t *figures(const figure *list, size_t count) {
        json_t *o = json_object();
        for (size_t i = 0; i < count; i++)
                (void) json_object_set_new(o, list[i].name, number(list[i].value));
        return o;
}

/* "1.2 MB", as rqlite's sizes for people (powers of 1000). */
static json_t *friendly(uint64_t bytes) {
        static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
        double value = (double) bytes;
        size_t unit = 0;
        char text[32];
        while (value >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
                value /= 1000;
                unit++;
        }
        (void) snprintf(text, sizeof text, unit > 0 && value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
        return json_string(text);
}

/* The value of a pragma on the loop's own connection: figures in page 1 or in
 * memory, nothing that waits for anybody. */
static json_t *pragma(sqlite3 *db, const char *name, bool as_text) {
        char sql[64];
        sqlite3_stmt *stmt = NULL;
        json_t *value = NULL;
        (void) snprintf(sql, sizeof sql, "PRAGMA %s", name);
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
                if (as_text)
                        value = json_string((const char *) sqlite3_column_text(stmt, 0));
                else
                        value = json_integer(sqlite3_column_int64(stmt, 0));
        }
        (void) sqlite3_finalize(stmt);
        return value;
}

static json_t *mem_stats(sqlite3 *db) {
        static const char *const names[] = {
                "cache_size", "freelist_count", "hard_heap_limit", "max_page_count",
                "page_count", "page_size", "soft_heap_limit",
        };
        json_t *o = json_object();
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                (void) json_object_set_new(o, names[i], pragma(db, names[i], false));
        (void) json_object_set_new(o, "memory_used", json_integer(sqlite3_memory_used()));
        (void) json_object_set_new(o, "memory_highwater", json_integer(sqlite3_memory_highwater(0)));
        return o;
}

static json_t *compile_options(void) {
        json_t *a = json_array();
        for (int i = 0; sqlite3_compileoption_get(i) != NULL; i++)
                (void) json_array_append_new(a, json_string(sqlite3_compileoption_get(i)));
        return a;
}

static json_t *pragmas_of_reader(sqlite3 *db) {
        static const char *const names[] = {
                "busy_timeout", "foreign_keys", "journal_mode", "synchronous", "wal_autocheckpoint",
        };
        json_t *o = json_object();
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                (void) json_object_set_new(o, names[i], pragma(db, names[i], true));
        return o;
}

/* The writer's connection is its thread's; what it has set is fixed. */
static json_t *pragmas_of_writer(const store *s, json_t *reader) {
        json_t *o = json_copy(reader);
        (void) json_object_set_new(o, "foreign_keys", json_string(files_foreign_keys(s->files) ? "1" : "0"));
        (void) json_object_set_new(o, "wal_autocheckpoint", json_string("0"));
        return o;
}

/* As Go's database/sql counts them; what our pools never do is 0. */
static json_t *pool_of_readers(const read_pool_stats *p) {
        const figure list[] = {
                { "max_open_connections", p->threads_max },
                { "open_connections", p->threads },
                { "in_use", p->threads - p->idle },
                { "idle", p->idle },
                { "wait_count", p->waits },
                { "wait_duration", p->wait_us * 1000 },
                { "max_idle_closed", 0 },
                { "max_idle_time_closed", p->idle_closed },
                { "max_lifetime_closed", 0 },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

static json_t *pool_of_writer(bool busy) {
        const figure list[] = {
                { "max_open_connections", 1 },
                { "open_connections", 1 },
                { "in_use", busy ? 1 : 0 },
                { "idle", busy ? 0 : 1 },
                { "wait_count", 0 },
                { "wait_duration", 0 },
                { "max_idle_closed", 0 },
                { "max_idle_time_closed", 0 },
                { "max_lifetime_closed", 0 },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

static json_t *last_modified(const char *path) {
        struct stat st;
        struct tm utc;
        char text[64];
        if (stat(path, &st) != 0 || gmtime_r(&st.st_mtim.tv_sec, &utc) == NULL)
                return NULL;
        size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
        (void) snprintf(text + size, sizeof text - size, ".%09ldZ", st.st_mtim.tv_nsec);
        return json_string(text);
}

static json_t *extension_names(const store *s) {
        json_t *names = json_array();
        const char *name;
        uint32_t crc32c;
        for (size_t i = 0; (name = extensions_at(s->extensions, i, &crc32c)) != NULL; i++)
                (void) json_array_append_new(names, json_string(name));
        return names;
}

/* For who compares nodes: the same name must have the same sum everywhere. */
static json_t *extension_sums(const store *s) {
        json_t *sums = json_object();
        const char *name;
        uint32_t crc32c;
        char text[16];
        for (size_t i = 0; (name = extensions_at(s->extensions, i, &crc32c)) != NULL; i++) {
                (void) snprintf(text, sizeof text, "%08x", (unsigned) crc32c);
                (void) json_object_set_new(sums, name, json_string(text));
        }
        return sums;
}

static json_t *sqlite_status(store *s, const reads_stats *reading, const files_stats *sizes, bool writing) {
        const char *path = sqlite3_db_filename(s->status_db, "main");
        json_t *o = json_object(), *pragmas = json_object(), *pool = json_object();
        json_t *reader = pragmas_of_reader(s->status_db);
        (void) json_object_set_new(o, "version", json_string(sqlite3_libversion()));
        (void) json_object_set_new(o, "path", json_string(path));
        (void) json_object_set_new(o, "size", number(sizes->database_bytes));
        (void) json_object_set_new(o, "db_size", number(sizes->database_bytes));
        (void) json_object_set_new(o, "db_size_friendly", friendly(sizes->database_bytes));
        (void) json_object_set_new(o, "wal_size", number(sizes->wal_bytes));
        (void) json_object_set_new(o, "last_modified", last_modified(path));
        (void) json_object_set_new(o, "fk_constraints", json_string(files_foreign_keys(s->files) ? "enabled" : "disabled"));
        (void) json_object_set_new(o, "extensions", extension_names(s));
        (void) json_object_set_new(o, "extension_crc32c", extension_sums(s));
        (void) json_object_set_new(o, "compile_options", compile_options());
        (void) json_object_set_new(o, "mem_stats", mem_stats(s->status_db));
        (void) json_object_set_new(pool, "ro", pool_of_readers(&reading->pool));
        (void) json_object_set_new(pool, "rw", pool_of_writer(writing));
        (void) json_object_set_new(o, "conn_pool_stats", pool);
        (void) json_object_set_new(pragmas, "rw", pragmas_of_writer(s, reader));
        (void) json_object_set_new(pragmas, "ro", reader);
        (void) json_object_set_new(o, "pragmas", pragmas);
        (void) json_object_set_new(o, "transaction", json_pack("{s:b, s:b}", "ro", 0, "rw", writing ? 1 : 0));
        return o;
}

static json_t *queues(const store *s, const reads_stats *reading, const apply_status *apply) {
        results_stats writes;
        results_stats_get(s->results, &writes);
        const figure list[] = {
                { "apply_records", apply->queued_records },
                { "apply_bytes", apply->queued_bytes },
                { "reads", reading->count },
                { "reads_waiting_for_index", reading->waiting },
                { "reads_waiting_for_thread", reading->pool.queued },
                { "results_kept", writes.kept_count },
                { "results_kept_bytes", writes.kept_bytes },
                { "results_flowing", writes.flow_count },
                { "results_flowing_bytes", writes.flow_bytes },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

static json_t *counters(const store *s, const reads_stats *reading) {
        results_stats writes;
        applier_stats applied;
        results_stats_get(s->results, &writes);
        applier_stats_get(apply_thread_applier(s->writer), &applied);
        const figure list[] = {
                { "entries", applied.entries },
                { "executions", applied.statements },
                { "execution_errors", applied.errors },
                { "execute_transactions", applied.transactions },
                { "batches", applied.batches },
                { "batches_redone", applied.batches_redone },
                { "queries", reading->started },
                { "queries_refused", reading->refused },
                { "queries_cancelled", reading->cancelled },
                { "queries_failed", reading->failed },
                { "queries_starved", reading->starved },
                { "queries_crowded_out", reading->pool.crowded_out },
                { "queries_on_loop", reading->pool.here },
                { "query_memory_bytes", sqlite_memory_reads_held() },
                { "query_bytes", reading->sent_bytes },
                { "results", writes.sent },
                { "result_bytes", writes.sent_bytes },
                { "results_dropped", writes.kept_dropped },
                { "results_starved", writes.starved },
                { "results_lost", writes.refused },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

static json_t *checkpoints(const files_stats *sizes) {
        const figure list[] = {
                { "count", sizes->checkpoints },
                { "last_us", sizes->checkpoint_us_last },
                { "max_us", sizes->checkpoint_us_max },
                { "writer_held_max_us", sizes->writer_held_us_max },
                { "wal_frames", sizes->wal_frames },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

static json_t *snapshots_figures(store *s) {
        snapshots_stats n;
        snapshots_stats_get(s->snapshots, &n);
        const figure list[] = {
                { "sending", n.sending }, { "sent_bytes", n.sent_bytes }, { "installed", n.installed_count },
                { "staged_bytes", n.staging ? n.staged_bytes : 0 }, { "staging_bytes", n.staging_bytes },
        };
        return figures(list, sizeof list / sizeof list[0]);
}

char *status_json(store *s) {
        reads_stats reading;
        files_stats sizes;
        apply_status apply;
        char text[192], id[RQ_UUID_TEXT_BYTES];
        reads_stats_get(s->reads, &reading);
        files_stats_get(s->files, &sizes);
        apply_thread_status(s->writer, &apply);

        json_t *o = json_object();
        (void) json_object_set_new(o, "state", json_string(store_condition(s, text, sizeof text)));
        (void) json_object_set_new(o, "applied_index", number(s->state.index));
        (void) json_object_set_new(o, "applied_term", number(s->state.term));
        (void) json_object_set_new(o, "commit_index", number(s->commit_index));
        (void) json_object_set_new(o, "opened_index", number(s->opened_index));
        (void) json_object_set_new(o, "checkpoint_index", number(files_checkpoint_index(s->files)));
        (void) snprintf(text, sizeof text, "%016" PRIx64, s->state.outcome_hash);
        (void) json_object_set_new(o, "outcome_hash", json_string(text));
        (void) json_object_set_new(o, "database_id", json_string(rq_uuid_text(&s->state.database_id, id)));
        (void) json_object_set_new(o, "dir", json_string(rq_service_folder_path(s->service)));
        (void) json_object_set_new(o, "readers", number(reading.pool.threads));
        (void) json_object_set_new(o, "consensus_connected", json_boolean(s->consensus != NULL));
        (void) json_object_set_new(o, "queues", queues(s, &reading, &apply));
        (void) json_object_set_new(o, "counters", counters(s, &reading));
        (void) json_object_set_new(o, "checkpoints", checkpoints(&sizes));
        (void) json_object_set_new(o, "snapshots", snapshots_figures(s));
        (void) json_object_set_new(o, "sqlite3", sqlite_status(s, &reading, &sizes, apply.queued_records > 0));
        char *json = json_dumps(o, JSON_COMPACT);
        json_decref(o);
        return json;
}
