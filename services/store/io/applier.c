#include "io/applier.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/applier_entry.h"
#include "io/files_io.h"
#include "io/load_staging.h"
#include "io/sql_load.h"
#include "record.h"

enum {
        BATCH_ENTRIES_MAX   = 4096,
        BATCH_TIME_US       = 20000, /* then commit, so that clients and readers see progress */
        BATCH_RECORD_BYTES  = 8 * 1024 * 1024,
};

struct applier {
        files *files;
        store_state state;
        entry_context entry;
        applier_options options;
        load_staging *staging;
        load_progress load; /* as of state */
        bool suspect;       /* the connection: an entry met a failure on it */
        _Atomic uint64_t lo; /* hi: of entry */
        struct {
                _Atomic uint64_t entries, batches, redone;
        } counters;
};

void apply_output_done(apply_output *out) {
        for (size_t i = 0; i < out->count; i++)
                rq_closep(&out->results[i].spill_fd);
        free(out->results);
        rq_buf_done(&out->json);
        *out = (apply_output) {0};
}

/* Drops the results from `count` on: their entries are undone. */
static void output_cut(apply_output *out, size_t count, size_t json_size) {
        for (size_t i = count; i < out->count; i++)
                rq_closep(&out->results[i].spill_fd);
        out->count = count;
        out->json.size = json_size;
}

static rq_err output_add(apply_output *out, const apply_result *result) {
        if (out->count == out->capacity) {
                size_t capacity = out->capacity == 0 ? 64 : out->capacity * 2;
                apply_result *results = realloc(out->results, capacity * sizeof *results);
                if (results == NULL)
                        return RQ_ENOMEM;
                out->results = results;
                out->capacity = capacity;
        }
        out->results[out->count++] = *result;
        return RQ_OK;
}

/* --- opening ------------------------------------------------------------------ */

static rq_err take_connection(applier *a, sqlite3 *db) {
        if (sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, files_foreign_keys(a->files) ? 1 : 0, NULL) != SQLITE_OK)
                return RQ_EINVAL;
        return entry_context_init(&a->entry, db, a->files, &a->options);
}

/* A failure may strike SQLite amid a virtual table's work, and roll back before
 * the table hears of it: FTS5 then goes on with counts that it has marked as read,
 * and has not. What a connection holds in memory after that is worth nothing. */
static rq_err renew_connection(applier *a) {
        sqlite3 *db;
        entry_context_done(&a->entry);
        rq_err r = files_renew_writer(a->files, &db);
        if (r >= 0)
                r = take_connection(a, db);
        if (r < 0)
                return files_io_may_pass(r);
        a->suspect = false;
        return RQ_OK;
}

rq_err applier_new(files *f, const store_state *state, const applier_options *options, applier **ret) {
        applier *a = calloc(1, sizeof *a);
        sqlite3 *db = NULL;
        if (a == NULL)
                return RQ_ENOMEM;
        a->files = f;
        a->state = *state;
        a->options = *options;
        atomic_store(&a->entry.hi, state->index);
        atomic_store(&a->lo, state->index);

        rq_err r = files_open_writer(f, &db);
        if (r >= 0)
                r = take_connection(a, db);
        if (r >= 0)
                r = load_staging_new(sqlite3_db_filename(db, "main"), &a->staging);
        if (r < 0) {
                (void) applier_free(a);
                return r;
        }
        *ret = a;
        return RQ_OK;
}

uint64_t applier_running_index(const applier *a) { return atomic_load_explicit(&a->entry.running_index, memory_order_relaxed); }
uint64_t applier_slow_us(const applier *a) { return a->options.slow_us; }

applier *applier_free(applier *a) {
        if (a == NULL)
                return NULL;
        a->staging = load_staging_free(a->staging);
        entry_context_done(&a->entry);
        free(a);
        return NULL;
}

/* --- transactions --------------------------------------------------------------- */

static int run(sqlite3_stmt *stmt) {
        (void) sqlite3_step(stmt);
        return sqlite3_reset(stmt);
}

static void roll_back(applier *a) {
        statements_forget(a->entry.statements); /* a change of schema may be undone */
        if (!sqlite3_get_autocommit(a->entry.db))
                (void) run(a->entry.rollback);
        entry_rolled_back(&a->entry);
}

static rq_err begin(applier *a) {
        return run(a->entry.begin) == SQLITE_OK ? RQ_OK : files_failure(a->files, true) ?: RQ_EIO;
}

/* On success `next` and `load` are the truth; readers learn it. A load that is open
 * holds the files back: its chunks are in no file that a start would find. */
static rq_err commit(applier *a, const store_state *next, const load_progress *load) {
        a->entry.index = next->index;
        entry_announce(&a->entry);
        if (!sqlite3_get_autocommit(a->entry.db) && entry_commit(&a->entry) != SQLITE_OK) {
                rq_err r = files_failure(a->files, true) ?: RQ_EIO;
                roll_back(a);
                atomic_store(&a->entry.hi, a->state.index);
                return r;
        }
        a->state = *next;
        if (!load->open)
                load_staging_end(a->staging);
        a->load = *load;
        files_hold(a->files, load->open);
        entry_committed(&a->entry);
        files_committed(a->files, &a->state);
        atomic_store(&a->lo, next->index);
        return RQ_OK;
}

/* --- records -------------------------------------------------------------------- */

typedef struct record {
        record_header header;
        rq_bytes body;
        size_t size;
} record;

/* The next record, if it is the one that follows `state` in the same database. */
static rq_err read_record(rq_bytes bytes, const store_state *state, record *ret) {
        record rec;
        rq_err r = record_decode(bytes, &rec.header, &rec.body);
        if (r < 0)
                return r == RQ_EAGAIN ? RQ_EPROTO : r;
        if (rec.header.index != state->index + 1)
                return RQ_EPROTO;
        if (!rq_uuid_is_zero(&state->database_id) && !rq_uuid_equal(&state->database_id, &rec.header.database_id))
                return RQ_EDIVERGED;
        if (rec.header.feature_level > RECORD_FEATURE_LEVEL)
                return RQ_EVERSION;
        bool known = rec.header.kind == RECORD_NOOP || rec.header.kind == RECORD_SQL || rec.header.kind == RECORD_BARRIER ||
                     rec.header.kind == RECORD_LOAD_CHUNK || rec.header.kind == RECORD_ABORT_GROUP;
        if (!known && (rec.header.flags & RECORD_CRITICAL) != 0)
                return RQ_EVERSION;
        rec.size = RECORD_HEADER_BYTES + rec.body.size;
        *ret = rec;
        return RQ_OK;
}

static void advance(store_state *state, const record *rec, uint64_t outcome_hash, outcome_marks *marks) {
        const bool marked = outcome_mark_is_due(rec->header.index, rec->header.clock_us, state->clock_us);
        state->index = rec->header.index;
        state->term = rec->header.term;
        state->clock_us = rec->header.clock_us;
        state->outcome_hash = rq_hash_mix(rq_hash_mix(state->outcome_hash, rec->header.index), outcome_hash);
        state->database_id = rec->header.database_id;
        if (marked)
                outcome_marks_add(marks, (outcome_mark) { .index = state->index, .hash = state->outcome_hash });
}

/* They count once their transaction is committed. */
static void keep_marks(apply_output *out, const outcome_marks *marks) {
        for (size_t i = 0; i < marks->count; i++)
                outcome_marks_add(&out->marks, marks->v[i]);
}

/* --- loads ---------------------------------------------------------------------- */

/* All chunks of a file are here. */
static rq_err replace_database(applier *a, const record *rec, char problem[static LOAD_PROBLEM_BYTES]) {
        statements_forget(a->entry.statements);
        rq_err r = load_staging_verify(a->staging, problem);
        if (r >= 0 && problem[0] == '\0') {
                entry_announce(&a->entry);
                r = load_staging_replace(a->staging, a->entry.db, problem);
        }
        atomic_store(&a->entry.schema_index, rec->header.index);
        return r;
}

/* What is answered to a chunk: proto/README.md, Loads. */
typedef enum load_answer { LOAD_WENT_ON = 0, LOAD_RAN = 'J', LOAD_REFUSED = 'R', LOAD_BAD = 'B' } load_answer;

static rq_err load_result(applier *a, const load_chunk *chunk, load_answer answer, const char *problem, uint64_t index,
                          apply_output *out, entry_outcome *outcome) {
        const char kind = (char) answer;
        size_t offset = out->json.size;
        if (answer == LOAD_RAN && json_failed(a->entry.json))
                return RQ_ENOMEM;
        rq_err r = answer != LOAD_WENT_ON ? rq_buf_append(&out->json, &kind, 1) : RQ_OK;
        if (r >= 0 && answer != LOAD_WENT_ON)
                r = rq_buf_append_bytes(&out->json, answer == LOAD_RAN ? json_bytes(a->entry.json) : rq_bytes_text(problem));
        outcome->has_result = true;
        outcome->result = (apply_result) {
                .gateway = chunk->incarnation, .request_id = chunk->request_id, .index = index,
                .offset = offset, .size = out->json.size - offset, .spill_fd = -1,
        };
        return r;
}

static rq_err use_load(applier *a, const record *rec, const load_progress *load, bool asked, char problem[static SQL_LOAD_PROBLEM_BYTES],
                       load_answer *ret_answer, uint64_t *ret_hash) {
        if (load->text) {
                *ret_answer = LOAD_RAN;
                return sql_load_run(&a->entry, &rec->header, load_staging_fd(a->staging), asked ? a->entry.json : NULL, problem, ret_hash);
        }
        rq_err r = replace_database(a, rec, problem);
        *ret_answer = problem[0] != '\0' ? LOAD_BAD : LOAD_WENT_ON;
        return r;
}

/* All of it is here: run, or become the database; or, by the operator's word, neither (entry_skipped). */
static rq_err end_load(applier *a, const record *rec, load_progress *load, bool asked, char problem[static SQL_LOAD_PROBLEM_BYTES],
                       load_answer *ret_answer, uint64_t *ret_hash) {
        load->open = false;
        const char *skipped = entry_skipped(&a->entry, rec->header.index);
        if (skipped != NULL) {
                (void) snprintf(problem, SQL_LOAD_PROBLEM_BYTES, "%s", skipped);
                *ret_answer = LOAD_REFUSED;
                return RQ_OK;
        }
        atomic_store_explicit(&a->entry.running_index, rec->header.index, memory_order_relaxed);
        rq_err r = use_load(a, rec, load, asked, problem, ret_answer, ret_hash);
        atomic_store_explicit(&a->entry.running_index, 0, memory_order_relaxed);
        return r;
}

/* What ends a load is a transaction of its own: RQ_ECANCELED if not alone. */
static rq_err apply_load(applier *a, const record *rec, bool alone, applier_wanted wanted, void *wanted_arg, apply_output *out,
                         load_progress *load, entry_outcome *outcome) {
        char problem[SQL_LOAD_PROBLEM_BYTES] = "";
        load_chunk chunk;
        rq_bytes data;
        rq_err r = load_chunk_decode(rec->body, &chunk, &data);
        if (r == RQ_EPROTO) /* made so; the same on every node */
                return RQ_OK;
        if (r < 0)
                return r;
        bool asked = wanted == NULL || wanted(wanted_arg, &chunk.incarnation);
        load_answer answer = LOAD_WENT_ON;
        if (rec->header.kind == RECORD_ABORT_GROUP) {
                load_staging_abort(load, chunk.group);
        } else if (chunk.last && !alone) {
                return RQ_ECANCELED;
        } else {
                r = load_staging_add(a->staging, load, &chunk, data, rec->header.clock_us, problem);
                if (problem[0] != '\0')
                        answer = LOAD_REFUSED;
                else if (r >= 0 && chunk.last)
                        r = end_load(a, rec, load, asked, problem, &answer, &outcome->hash);
        }
        if (r < 0)
                return r == RQ_ECORRUPT ? r : files_io_may_pass(r);
        outcome->hash = rq_hash_mix(outcome->hash, problem[0] != '\0');
        return asked ? load_result(a, &chunk, answer, problem, rec->header.index, out, outcome) : RQ_OK;
}

/* --- batches -------------------------------------------------------------------- */

/* Runs one record inside (or, alone, with) its transactions and keeps its result. */
static rq_err apply_record(applier *a, const record *rec, bool alone, applier_wanted wanted, void *wanted_arg,
                           apply_output *out, store_state *state, load_progress *load, outcome_marks *marks, bool *ret_gone) {
        entry_outcome outcome = {0};
        rq_err r = RQ_OK;
        *ret_gone = false;
        if (rec->header.kind == RECORD_LOAD_CHUNK || rec->header.kind == RECORD_ABORT_GROUP)
                r = apply_load(a, rec, alone, wanted, wanted_arg, out, load, &outcome);
        else
                load_other_entry(load, rec->header.clock_us);
        if (rec->header.kind == RECORD_SQL)
                r = entry_run(&a->entry, &rec->header, rec->body, alone, wanted, wanted_arg, out, &outcome);
        if (r == RQ_ECANCELED) { /* the transaction is gone: not an error, but not here */
                *ret_gone = true;
                return RQ_OK;
        }
        if (r < 0)
                return r;
        if (outcome.has_result) {
                r = output_add(out, &outcome.result);
                if (r < 0) {
                        rq_closep(&outcome.result.spill_fd);
                        return r;
                }
        }
        advance(state, rec, outcome.hash, marks);
        return RQ_OK;
}

/* One that can't share a transaction, with transactions of its own. */
static rq_err apply_alone(applier *a, rq_bytes records, applier_wanted wanted, void *wanted_arg,
                          apply_output *out, size_t *ret_applied, size_t *ret_bytes) {
        record rec;
        store_state next = a->state;
        outcome_marks marks;
        size_t count = out->count, json_size = out->json.size;
        bool gone;
        marks.count = 0;
        rq_err r = read_record(records, &a->state, &rec);
        if (r < 0)
                return r;
        a->entry.index = rec.header.index;
        load_progress load = a->load;
        (void) files_failure(a->files, true);
        r = apply_record(a, &rec, true, wanted, wanted_arg, out, &next, &load, &marks, &gone);
        rq_assert(!gone);
        /* Also one that no statement has told of: a virtual table may swallow an error, or tell
         * another one, and the entry would have an outcome of its own here. */
        if (r >= 0)
                r = files_failure(a->files, false);
        if (r >= 0)
                r = commit(a, &next, &load);
        if (r < 0) {
                roll_back(a);
                files_undo_commits(a->files);
                if (!files_broken(a->files))
                        atomic_store(&a->entry.hi, a->state.index);
                output_cut(out, count, json_size);
                return r;
        }
        keep_marks(out, &marks);
        *ret_applied = 1;
        *ret_bytes = rec.size;
        return RQ_OK;
}

/* As many of the records as one transaction may hold, at most `limit`; fewer if
 * may_stop_early and it takes long. When the n-th ends the transaction by itself
 * (OR ROLLBACK and the like), those before it are undone with it:
 * *ret_gone_after = n - 1, nothing is applied. */
static rq_err apply_batch(applier *a, rq_bytes records, size_t limit, bool may_stop_early,
                          applier_wanted wanted, void *wanted_arg, apply_output *out,
                          size_t *ret_applied, size_t *ret_bytes, size_t *ret_gone_after) {
        size_t count = out->count, json_size = out->json.size, applied = 0, bytes = 0;
        uint64_t until_us = rq_clock_mono_us() + BATCH_TIME_US;
        store_state next = a->state;
        load_progress load = a->load;
        outcome_marks marks;
        bool gone = false;

        marks.count = 0;
        (void) files_failure(a->files, true);
        rq_err r = begin(a);
        while (r >= 0 && applied < limit && bytes < records.size && bytes < BATCH_RECORD_BYTES) {
                record rec;
                r = read_record(rq_bytes_of(records.data + bytes, records.size - bytes), &next, &rec);
                if (r < 0 && applied > 0) {
                        r = RQ_OK; /* those before it are good; it is met again, first */
                        break;
                }
                if (r >= 0)
                        r = apply_record(a, &rec, false, wanted, wanted_arg, out, &next, &load, &marks, &gone);
                if (r < 0 || gone)
                        break;
                applied++;
                bytes += rec.size;
                if (may_stop_early && rq_clock_mono_us() > until_us)
                        break;
        }
        if (r >= 0) /* as in apply_alone(); it may also be why the transaction is gone */
                r = files_failure(a->files, false);
        if (r >= 0 && !gone)
                r = commit(a, &next, &load);
        if (r < 0 || gone) {
                roll_back(a);
                output_cut(out, count, json_size);
                *ret_gone_after = r >= 0 ? applied : SIZE_MAX;
                return r;
        }
        keep_marks(out, &marks);
        *ret_gone_after = SIZE_MAX;
        *ret_applied = applied;
        *ret_bytes = bytes;
        return RQ_OK;
}

rq_err applier_run(applier *a, rq_bytes records, applier_wanted wanted, void *wanted_arg,
                   apply_output *out, size_t *ret_applied, size_t *ret_bytes) {
        size_t applied = 0, bytes = 0, gone_after = SIZE_MAX;
        rq_err r = a->suspect ? renew_connection(a) : RQ_OK;
        if (r >= 0)
                r = apply_batch(a, records, BATCH_ENTRIES_MAX, true, wanted, wanted_arg, out, &applied, &bytes, &gone_after);
        /* Hazards 1: an outcome may not depend on the borders of batches. So first
         * those before it, as if it weren't there, then, the next time, it alone.
         * (What went well once does so again; if not, one fewer is tried.) */
        while (r >= 0 && gone_after != SIZE_MAX) {
                a->counters.redone++;
                if (gone_after > 0) {
                        r = apply_batch(a, records, gone_after, false, wanted, wanted_arg, out, &applied, &bytes, &gone_after);
                } else {
                        r = apply_alone(a, records, wanted, wanted_arg, out, &applied, &bytes);
                        break;
                }
        }
        if (r < 0) {
                a->suspect = true;
                return r;
        }
        a->counters.batches++;
        a->counters.entries += applied;
        out->state = a->state;
        out->checkpoint_index = files_checkpoint_index(a->files);
        *ret_applied = applied;
        *ret_bytes = bytes;
        return RQ_OK;
}

const store_state *applier_state(const applier *a) { return &a->state; }
uint64_t applier_hi(const applier *a) { return atomic_load(&a->entry.hi); }
uint64_t applier_lo(const applier *a) { return atomic_load(&a->lo); }
uint64_t applier_schema_index(const applier *a) { return atomic_load(&a->entry.schema_index); }

void applier_stats_get(const applier *a, applier_stats *ret_stats) {
        *ret_stats = (applier_stats) {
                .entries = atomic_load(&a->counters.entries),
                .statements = atomic_load(&a->entry.statement_count),
                .errors = atomic_load(&a->entry.error_count),
                .batches = atomic_load(&a->counters.batches),
                .batches_redone = atomic_load(&a->counters.redone),
                .transactions = atomic_load(&a->entry.transaction_count),
        };
}
