#include "io/applier_entry.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/slow_statement.h"
#include "io/sql_outcome.h"
#include "core/sql_text.h"
#include "io/db_copy.h"
#include "io/stmt_rows.h"
#include "log/log.h"
#include "log_entry.pb-c.h"

enum { SPILL_BYTES_DEFAULT = 1024 * 1024 };

enum { FIRST_PROBLEM_BYTES = 512 };

/* What happens to one entry while it runs. A group is one client's request: all
 * of the entry, or one of its groups. */
typedef struct run {
        entry_context *c;
        const Rq__SqlEntry *entry;
        json_writer *json;   /* NULL: nobody waits for the answer, or not for those of statements */
        bool alone;
        size_t group;        /* number of the one at hand, */
        size_t first, count; /* and its statements */
        bool transaction;    /* all of the group or nothing */
        char *first_problem; /* of the group; NULL: not asked for. FIRST_PROBLEM_BYTES */
        uint64_t hash;
        int spill_fd;
        size_t spilled;
        rq_err error;        /* environment: the entry has no outcome */
        bool gone;           /* a statement ended the transaction */
        uint64_t index;      /* of the record */
        const char *problem; /* of the request as a whole: the end of a unit failed */
        bool failed;         /* a statement failed: with `transaction`, the end */
        bool schema_changed; /* nothing prepared in this entry may outlive it */
} run;

/* What a single statement came to. */
typedef struct step_result {
        int code;            /* SQLite's primary code; SQLITE_DONE: well */
        const char *problem; /* text for the client */
        bool rows_begun, rows_done;
        uint64_t elapsed_ns;
} step_result;

static rq_err prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret) {
        return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL) == SQLITE_OK ? RQ_OK : RQ_ENOMEM;
}

/* Not 0: rolled back instead. */
static int on_commit(void *arg) {
        const entry_context *c = arg;
        return !c->committing || files_failure(c->files, false) < 0;
}

void entry_announce(entry_context *c) { atomic_store(&c->hi, c->index); }

int entry_commit(entry_context *c) {
        entry_announce(c);
        c->committing = true;
        (void) sqlite3_step(c->commit);
        c->committing = false;
        return sqlite3_reset(c->commit);
}

rq_err entry_context_init(entry_context *c, sqlite3 *db, files *f, const applier_options *options) {
        c->db = db;
        c->files = f;
        c->foreign_keys = files_foreign_keys(f);
        c->io = options->io != NULL ? options->io : &files_io_kernel;
        c->spill_bytes = options->spill_bytes > 0 ? options->spill_bytes : SPILL_BYTES_DEFAULT;
        c->spill_dir_fd = options->spill_dir_fd;
        c->slow_us = options->slow_us;
        c->skip_index = options->skip_index;
        c->analyzed = false;
        rq_err r = writer_functions_install(&c->functions, db);
        (void) sqlite3_commit_hook(db, on_commit, c);
        if (r >= 0)
                r = prepare(db, "BEGIN", &c->begin);
        if (r >= 0)
                r = prepare(db, "COMMIT", &c->commit);
        if (r >= 0)
                r = prepare(db, "ROLLBACK", &c->rollback);
        if (r >= 0)
                r = prepare(db, "SAVEPOINT unit", &c->savepoint);
        if (r >= 0)
                r = prepare(db, "RELEASE unit", &c->release);
        if (r >= 0)
                r = prepare(db, "ROLLBACK TO unit", &c->rollback_to);
        if (r >= 0)
                r = statements_new(db, STATEMENTS_WRITER, &c->statements);
        if (r < 0)
                return r;
        statements_use(c->statements, files_extensions(f));
        c->json = json_writer_new();
        c->arena = rq_arena_new();
        return c->json == NULL || c->arena == NULL ? RQ_ENOMEM : RQ_OK;
}

void entry_context_done(entry_context *c) {
        if (c->db != NULL)
                (void) sqlite3_commit_hook(c->db, NULL, NULL);
        c->db = NULL;
        c->statements = statements_free(c->statements);
        writer_functions_done(&c->functions);
        sqlite3_stmt **own[] = { &c->begin, &c->commit, &c->rollback, &c->savepoint, &c->release, &c->rollback_to };
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
                (void) sqlite3_finalize(*own[i]);
                *own[i] = NULL;
        }
        c->json = json_writer_free(c->json);
        c->arena = rq_arena_free(c->arena);
}

/* --- units: what is undone together --------------------------------------------- */

/* Then r->error says which, or what was wrong before. */
static bool is_environment(run *r, int code) {
        rq_err trouble = sql_outcome_judge(r->c->files, code);
        if (r->error >= 0)
                r->error = trouble;
        return trouble < 0;
}

/* False: it failed. What full-text tables hold back is written at the end of a
 * unit and may find its own tables broken: that is an outcome. */
static bool control_ended(run *r, int code) {
        if (code == SQLITE_OK)
                return true;
        (void) is_environment(r, sqlite3_extended_errcode(r->c->db));
        return false;
}

static bool control(run *r, sqlite3_stmt *stmt) {
        (void) sqlite3_step(stmt);
        return control_ended(r, sqlite3_reset(stmt));
}

/* False: nothing may run, since it would be in nobody's transaction. In a
 * transaction with others, what they left to full-text tables may be why. */
static bool unit_begin(run *r) {
        if ((!r->alone || control(r, r->c->begin)) && control(r, r->c->savepoint))
                return true;
        if (r->error >= 0 && r->alone)
                r->error = RQ_EIO;
        r->gone = r->error >= 0;
        return false;
}

/* The planner's statistics are read with the schema, and a rollback leaves
 * them as ANALYZE had set them. A change of schema that is undone makes SQLite
 * read all of it anew. */
static void reload_schema(entry_context *c) {
        bool own = sqlite3_get_autocommit(c->db) != 0;
        (void) sqlite3_exec(c->db, own ? "BEGIN" : "SAVEPOINT reload", NULL, NULL, NULL);
        (void) sqlite3_exec(c->db, "CREATE TABLE \"rq:reload\"(x)", NULL, NULL, NULL);
        (void) sqlite3_exec(c->db, own ? "ROLLBACK" : "ROLLBACK TO reload", NULL, NULL, NULL);
        if (!own)
                (void) sqlite3_exec(c->db, "RELEASE reload", NULL, NULL, NULL);
}

void entry_committed(entry_context *c) { c->analyzed = false; }

void entry_rolled_back(entry_context *c) {
        if (c->analyzed)
                reload_schema(c);
        c->analyzed = false;
}

/* keep: what the unit did stays. False: it doesn't; if that wasn't asked for,
 * its end failed, or it had ended before. */
static bool unit_end(run *r, bool keep) {
        entry_context *c = r->c;
        if (r->gone && !r->alone)
                return false; /* the whole batch is undone */
        bool kept = keep && !r->gone;
        if (!sqlite3_get_autocommit(c->db)) {
                if (!keep)
                        (void) control(r, c->rollback_to);
                if (!control(r, c->release) || (r->alone && !control_ended(r, entry_commit(c)))) {
                        kept = false;
                        r->gone = true;
                        if (!r->alone)
                                return false;
                        (void) control(r, c->rollback);
                }
        }
        r->gone = false; /* alone: the statement undid its own unit, and that was all */
        if (!kept && c->analyzed)
                reload_schema(c);
        return kept;
}

/* Hazards 5: a violation that one unit leaves could be healed by the next one,
 * or land on it. SQLite would look only at the batch's COMMIT. */
static bool foreign_keys_open(const entry_context *c) {
        int open = 0, high = 0;
        if (!c->foreign_keys)
                return false;
        (void) sqlite3_db_status(c->db, SQLITE_DBSTATUS_DEFERRED_FKS, &open, &high, 0);
        return open != 0;
}

/* --- statements ----------------------------------------------------------------- */

static bool spill(void *arg, json_writer *w) {
        run *r = arg;
        const files_io *io = r->c->io;
        rq_bytes bytes = json_bytes(w);
        rq_err e;
        if (bytes.size < r->c->spill_bytes)
                return true;
        if (r->spill_fd < 0) {
                r->spill_fd = files_io_open_unnamed(io, r->c->spill_dir_fd);
                if (r->spill_fd < 0) {
                        r->error = files_io_may_pass(files_io_error(errno));
                        return false;
                }
        }
        e = files_io_write_at(io, r->spill_fd, bytes.data, bytes.size, r->spilled);
        if (e < 0) {
                r->error = files_io_may_pass(e);
                return false;
        }
        r->spilled += bytes.size;
        json_reset_bytes(w);
        return true;
}

static int step_to_end(sqlite3_stmt *stmt) {
        int rc;
        do
                rc = sqlite3_step(stmt);
        while (rc == SQLITE_ROW);
        return rc;
}

static bool answers_rows(const run *r, const statement *st) {
        if (sqlite3_column_count(st->stmt) == 0)
                return false;
        return r->entry->mode == RQ__SQL_MODE__SQL_REQUEST || !st->readonly;
}

static const char budget_text[] = "statement exceeded the step budget of a write (-write-step-budget)";

static void step(run *r, statement *st, bool show_rows, step_result *ret) {
        entry_context *c = r->c;
        uint64_t started = rq_clock_mono_ns();
        int rc;
        writer_functions_begin_statement(&c->functions, st->stmt, st->uses_changes);
        if (c->exhausted_index == r->index && c->exhausted_group == r->group &&
            c->exhausted_statement == c->functions.statement_number) {
                /* It ended the batch's transaction by that; alone it would take
                 * as long again, to the same end. */
                writer_functions_exhaust(&c->functions);
                ret->code = SQLITE_INTERRUPT;
                ret->problem = budget_text;
                return;
        }
        if (r->json != NULL && show_rows && answers_rows(r, st)) {
                bool qualify = r->entry->render != NULL && r->entry->render->qualify_columns;
                rc = stmt_rows_run(st->stmt, r->json, qualify, spill, r, &ret->rows_begun);
                ret->rows_done = rc == SQLITE_DONE;
        } else {
                rc = step_to_end(st->stmt);
        }
        writer_functions_end_statement(&c->functions);
        ret->elapsed_ns = rq_clock_mono_ns() - started;
        slow_statement_ran(c->slow_us, ret->elapsed_ns / 1000, st->stmt, r->index);
        ret->code = rc == SQLITE_DONE ? SQLITE_DONE : rc & 0xff;
        if (rc == SQLITE_DONE)
                return;
        int said = sqlite3_extended_errcode(c->db);
        if (r->error >= 0 && (said == SQLITE_ROW || said == SQLITE_OK))
                r->error = RQ_ENOMEM; /* not the statement's: there was no room for its answer, which others don't make */
        if (r->error < 0 || is_environment(r, said))
                return;
        ret->problem = sqlite3_errmsg(c->db);
        if (ret->code == SQLITE_INTERRUPT && c->functions.budget_exhausted) {
                ret->problem = budget_text;
                c->exhausted_index = r->index;
                c->exhausted_group = r->group;
                c->exhausted_statement = c->functions.statement_number;
        }
}

static void count_outcome(run *r, int code, int64_t changes, int64_t last_id) {
        r->hash = rq_hash_mix(r->hash, (uint64_t) (uint32_t) code);
        r->hash = rq_hash_mix(r->hash, (uint64_t) changes);
        r->hash = rq_hash_mix(r->hash, (uint64_t) last_id);
}

static void note_problem(run *r, const char *problem) {
        if (r->first_problem != NULL && r->first_problem[0] == '\0')
                (void) snprintf(r->first_problem, FIRST_PROBLEM_BYTES, "%s", problem);
}

static void answer_problem(run *r, const step_result *result, const char *problem, bool of_query) {
        note_problem(r, problem);
        if (r->json == NULL)
                return;
        if (result != NULL && result->rows_begun && !result->rows_done)
                json_rows_failed(r->json, problem);
        else if (result == NULL || !result->rows_begun)
                json_error_result(r->json, problem, of_query);
}

static const char unit_text[] = "what the request changed could not be kept: a virtual table's own tables are broken";

/* --- transactions of the request's own: BEGIN, SAVEPOINT... ------------------------ */

/* A savepoint of ours stands for each of the request's, which may have any name. */
static bool at_savepoint(run *r, const char *words, uint32_t number) {
        char sql[64];
        (void) snprintf(sql, sizeof sql, "%s \"rq:%u\"", words, (unsigned) number);
        int rc = sqlite3_exec(r->c->db, sql, NULL, NULL, NULL);
        if (rc != SQLITE_OK)
                (void) is_environment(r, sqlite3_extended_errcode(r->c->db));
        return rc == SQLITE_OK;
}

static void undo_to_savepoint(run *r, uint32_t number) {
        (void) at_savepoint(r, "ROLLBACK TO", number);
        if (r->c->analyzed)
                reload_schema(r->c);
}

/* Ends what the request has open. Returns a problem, or NULL. */
static const char *end_open(run *r, bool keep, int *ret_code) {
        *ret_code = SQLITE_DONE;
        if (keep && foreign_keys_open(r->c)) { /* and it stays open, as SQLite has it */
                *ret_code = SQLITE_CONSTRAINT;
                return "FOREIGN KEY constraint failed";
        }
        if (unit_end(r, keep) || !keep || r->error < 0)
                return NULL;
        *ret_code = SQLITE_ERROR;
        return unit_text;
}

/* Around each statement of such a transaction: what fails by SQLite's rules is
 * undone by SQLite, what fails by ours by this. */
enum { SAVEPOINT_OF_STATEMENT = 0 };

static void end_statement(run *r, bool keep) {
        if (sqlite3_get_autocommit(r->c->db))
                return; /* it has ended all of it */
        if (!keep)
                undo_to_savepoint(r, SAVEPOINT_OF_STATEMENT);
        (void) at_savepoint(r, "RELEASE", SAVEPOINT_OF_STATEMENT);
}

/* Returns a problem, or NULL: done. */
static const char *carry_out(run *r, const transaction_move *move, int *ret_code) {
        *ret_code = SQLITE_DONE;
        if (move->closes)
                return end_open(r, !move->undoes, ret_code);
        if (move->opens && !unit_begin(r))
                return unit_text;
        if (move->kind == CONTROL_SAVEPOINT)
                (void) at_savepoint(r, "SAVEPOINT", move->savepoint);
        else if (move->kind == CONTROL_RELEASE)
                (void) at_savepoint(r, "RELEASE", move->savepoint);
        else if (move->kind == CONTROL_ROLLBACK_TO)
                undo_to_savepoint(r, move->savepoint);
        return NULL;
}

/* As run_statement(), for one that controls transactions. */
static bool run_control(run *r, statement *st, bool last) {
        entry_context *c = r->c;
        char said[MOVE_PROBLEM_BYTES];
        int code = SQLITE_ERROR;
        transaction_move move = transaction_stack_move(&c->open, st->control, st->savepoint, said);
        const char *problem = said[0] != '\0' ? said : carry_out(r, &move, &code);

        atomic_fetch_add_explicit(&c->statement_count, 1, memory_order_relaxed);
        if (problem == NULL)
                transaction_stack_moved(&c->open, &move, st->savepoint);
        statements_release(c->statements, st);
        if (r->error < 0 || (r->gone && !r->alone))
                return false;
        count_outcome(r, code, 0, 0);
        if (problem != NULL) {
                answer_problem(r, NULL, problem, false);
                r->failed = true;
        } else if (r->json != NULL && last) {
                json_empty_result(r->json, false);
        }
        return problem == NULL;
}

/* At the end of the request. Returns a problem, or NULL. */
static const char *end_left_open(run *r) {
        int code;
        if (!r->c->open.open || r->error < 0 || (r->gone && !r->alone))
                return NULL;
        (void) end_open(r, false, &code);
        transaction_stack_ended(&r->c->open);
        count_outcome(r, SQLITE_MISUSE, 0, 0);
        r->failed = true;
        return transaction_left_open;
}

/* A statement has ended the transaction that the request had begun; it runs
 * alone, so nobody else's is concerned, and the next one stands for itself. */
static void lose_open(run *r) {
        transaction_stack_ended(&r->c->open);
        r->gone = false;
        if (r->c->analyzed)
                reload_schema(r->c);
}

/* --- statements of the request ------------------------------------------------------ */

/* Runs one statement as (part of) a unit and writes its answer if it is the
 * last of its text. Returns false if the text ends here. */
static bool run_statement(run *r, statement *st, bind_cursor *cursor, bool last) {
        entry_context *c = r->c;
        bool in_open = c->open.open, own_unit = !r->transaction && !in_open, against_rules = false;
        char bind_problem[BIND_PROBLEM_BYTES];
        step_result result = { .code = SQLITE_DONE };
        int64_t changes = 0, last_id = 0;
        bool inserted = false;

        atomic_fetch_add_explicit(&c->statement_count, 1, memory_order_relaxed);
        rq_err e = statements_bind(st->stmt, cursor, bind_problem);
        if (e < 0) {
                r->error = e;
                return false;
        }
        if (bind_problem[0] != '\0') {
                result.problem = bind_problem;
                result.code = SQLITE_ERROR;
        } else {
                if (own_unit && !unit_begin(r))
                        return false;
                if (in_open)
                        (void) at_savepoint(r, "SAVEPOINT", SAVEPOINT_OF_STATEMENT);
                if (r->error >= 0)
                        step(r, st, last, &result);
                if (r->error < 0)
                        return false;
                if (result.code == SQLITE_DONE && st->changes_rows)
                        changes = sqlite3_changes64(c->db);
                if (st->changes_rows)
                        writer_functions_changed(&c->functions, changes);
                inserted = writer_functions_inserted(&c->functions, &last_id) && st->inserts;
                r->gone = sqlite3_get_autocommit(c->db) != 0;
                if (result.problem == NULL && c->functions.rowid_max_used) {
                        result.problem = "rowid 9223372036854775807 needs a table with AUTOINCREMENT: ids after it would be random";
                        result.code = SQLITE_FULL;
                        against_rules = true;
                }
                if (result.problem == NULL && own_unit && foreign_keys_open(c)) {
                        result.problem = "FOREIGN KEY constraint failed";
                        result.code = SQLITE_CONSTRAINT;
                }
                if (r->gone && !r->alone)
                        return false;
        }

        bool of_query = r->entry->mode == RQ__SQL_MODE__SQL_REQUEST && st->readonly;
        bool failed = result.problem != NULL, ran = bind_problem[0] == '\0';
        if (failed) /* before the release: the text belongs to the statement */
                answer_problem(r, &result, result.problem, of_query);
        c->analyzed |= st->analyzes;
        statements_release(c->statements, st);
        if (in_open && ran)
                end_statement(r, !against_rules);
        if (own_unit && ran && !unit_end(r, !failed) && !failed) {
                if (r->error < 0 || r->gone)
                        return false;
                failed = true;
                result.code = SQLITE_ERROR;
                if (result.rows_done)
                        r->problem = unit_text;
                else
                        answer_problem(r, &result, unit_text, of_query);
        }
        if (r->gone && in_open)
                lose_open(r);
        count_outcome(r, result.code, failed ? 0 : changes, failed || !inserted ? 0 : last_id);
        if (!failed && r->json != NULL && last && !result.rows_done)
                json_write_result(r->json, inserted, last_id, changes, result.elapsed_ns);
        r->failed |= failed;
        return !failed && r->error >= 0;
}

/* Never in place, which would give rows other ids than on a node that got the
 * database by a copy (hazard 9): a vacuumed copy replaces the database, in a
 * transaction of its own. False: the text ends here. */
static bool run_vacuum(run *r, bool in_transaction, bool last) {
        char problem[DB_COPY_PROBLEM_BYTES] = "cannot VACUUM from within a transaction";
        if (!in_transaction && !r->alone) {
                r->gone = true; /* the batch's transaction is in the way */
                return false;
        }
        if (!in_transaction) {
                statements_forget(r->c->statements);
                entry_announce(r->c);
                rq_err e = db_copy_vacuum(r->c->db, problem);
                r->error = e < 0 && e != RQ_ECORRUPT ? files_io_may_pass(e) : e;
                atomic_store(&r->c->schema_index, r->index);
                if (r->error < 0)
                        return false;
        }
        bool failed = problem[0] != '\0';
        count_outcome(r, failed ? SQLITE_ERROR : SQLITE_DONE, 0, 0);
        if (failed)
                answer_problem(r, NULL, problem, false);
        else if (r->json != NULL && last)
                json_empty_result(r->json, false);
        r->failed |= failed;
        return !failed;
}

/* One statement of the request: a text that may hold several. */
static void run_text(run *r, const Rq__Statement *text) {
        entry_context *c = r->c;
        rq_bytes rest = rq_bytes_of(text->sql.data, text->sql.len);
        bind_cursor cursor = { text->parameters, text->n_parameters, 0 };
        bool any = false, go_on = true;

        if (rest.size == 0)
                return; /* no slot among the results (http-api.md, Request bodies) */
        while (go_on && rest.size > 0) {
                statement st;
                if (sql_text_is_vacuum(rest, &rest)) {
                        any = true;
                        go_on = run_vacuum(r, r->transaction || c->open.open, statements_blank(rest));
                        continue;
                }
                rq_err e = statements_prepare(c->statements, rest, &st, &rest);
                if (e < 0) {
                        r->error = e;
                        return;
                }
                if (st.problem != NULL) {
                        if (is_environment(r, st.extended_code))
                                return;
                        count_outcome(r, st.code, 0, 0);
                        answer_problem(r, NULL, st.problem, false);
                        r->failed = true;
                        any = true;
                        break;
                }
                if (st.stmt == NULL)
                        continue;
                any = true;
                if (st.changes_schema)
                        atomic_store(&c->schema_index, r->index);
                r->schema_changed |= st.changes_schema;
                bool last = statements_blank(rest);
                go_on = st.control != CONTROL_NONE ? run_control(r, &st, last) : run_statement(r, &st, &cursor, last);
                statements_release(c->statements, &st);
                if (r->schema_changed)
                        statements_forget(c->statements);
        }
        if (!any && r->json != NULL)
                json_empty_result(r->json, false);
        if (r->failed)
                atomic_fetch_add_explicit(&c->error_count, 1, memory_order_relaxed);
}

static void run_texts(run *r) {
        bool to_the_end = !r->transaction;
        for (size_t i = 0; i < r->count && r->error >= 0 && !r->gone && (to_the_end || !r->failed); i++)
                run_text(r, r->entry->statements[r->first + i]);
}

static const char *run_transaction(run *r) {
        const char *problem = NULL;
        atomic_fetch_add_explicit(&r->c->transaction_count, 1, memory_order_relaxed);
        if (unit_begin(r))
                run_texts(r);
        if (r->error < 0)
                return NULL;
        if (!r->failed && !r->gone && foreign_keys_open(r->c)) {
                problem = "FOREIGN KEY constraint failed";
                count_outcome(r, SQLITE_CONSTRAINT, 0, 0);
                r->failed = true;
        }
        if ((!r->gone || r->alone) && !unit_end(r, !r->failed) && !r->failed && r->error >= 0 && !r->gone) {
                problem = unit_text;
                count_outcome(r, SQLITE_ERROR, 0, 0);
                r->failed = true;
        }
        return problem;
}

/* --- groups: one client's request each ------------------------------------------------ */

static bool disallowed(const run *r) {
        for (size_t i = r->first; i < r->first + r->count; i++) {
                const Rq__Statement *text = r->entry->statements[i];
                if (statements_pragma_disallowed(rq_bytes_of(text->sql.data, text->sql.len)))
                        return true;
        }
        return false;
}

/* Returns a problem of the group as a whole, or NULL. */
static const char *run_group(run *r) {
        transaction_stack_begin(&r->c->open, r->transaction);
        r->failed = false;
        r->problem = NULL;
        if (disallowed(r)) {
                count_outcome(r, SQLITE_AUTH, 0, 0);
                return "disallowed pragma";
        }
        if (r->transaction)
                return run_transaction(r);
        run_texts(r);
        const char *problem = end_left_open(r);
        return problem != NULL ? problem : r->problem;
}

/* Do the groups share all statements among them? It was made so; the same on
 * every node. */
static bool groups_fit(const Rq__SqlEntry *entry) {
        uint64_t count = 0;
        for (size_t i = 0; i < entry->n_groups; i++)
                count += entry->groups[i]->statements;
        return entry->n_groups == 0 || count == entry->n_statements;
}

/* Several requests: the answer has a result for each. answer: NULL: nobody waits. */
static void run_groups(run *r, const record_header *header, json_writer *answer) {
        char first_problem[FIRST_PROBLEM_BYTES];
        r->first_problem = first_problem;
        for (; r->group < r->entry->n_groups && r->error >= 0 && !r->gone; r->group++) {
                const Rq__SqlGroup *group = r->entry->groups[r->group];
                uint64_t seed = r->group == 0 ? header->seed : rq_hash_mix(header->seed, r->group);
                first_problem[0] = '\0';
                r->count = group->statements;
                r->transaction = group->transaction;
                writer_functions_begin_entry(&r->c->functions, seed, header->step_budget);
                const char *problem = run_group(r);
                if (problem != NULL)
                        note_problem(r, problem);
                if (answer != NULL && first_problem[0] != '\0')
                        json_error_result(answer, first_problem, false);
                else if (answer != NULL)
                        json_empty_result(answer, false);
                r->first += r->count;
        }
        r->first_problem = NULL;
}

const char *entry_skipped(const entry_context *c, uint64_t index) {
        if (index != c->skip_index)
                return NULL;
        rq_log_warning("The write at index %" PRIu64 " is not done, as -skip-entry says", index);
        return "not done: the operator has skipped this write (-skip-entry)";
}

/* Returns the request's problem, or NULL: each group has it. */
static const char *skip(run *r, const char *skipped, json_writer *answer) {
        count_outcome(r, SQLITE_INTERRUPT, 0, 0);
        if (r->entry->n_groups == 0)
                return skipped;
        for (size_t i = 0; i < r->entry->n_groups && answer != NULL; i++)
                json_error_result(answer, skipped, false);
        return NULL;
}

/* --- entries -------------------------------------------------------------------- */

static bool origin_of(const Rq__SqlEntry *entry, rq_uuid *ret_gateway) {
        if (entry->origin == NULL || entry->origin->incarnation.len != RQ_UUID_BYTES)
                return false;
        memcpy(ret_gateway->bytes, entry->origin->incarnation.data, RQ_UUID_BYTES);
        return true;
}

static void begin_answer(const run *r, json_writer *json) {
        static const Rq__Render plain = RQ__RENDER__INIT;
        const Rq__Render *render = r->entry->render != NULL ? r->entry->render : &plain;
        const json_options options = {
                .associative = render->associative, .timings = render->timings,
                .pretty = render->pretty, .blob_array = render->blob_array,
        };
        json_begin(json, &options);
}

/* Moves the answer from the writer to the batch's output, or to the end of its
 * spill file. */
static rq_err keep_answer(run *r, json_writer *json, apply_output *out, apply_result *result) {
        if (r->spill_fd >= 0) {
                size_t limit = r->c->spill_bytes;
                r->c->spill_bytes = 0; /* whatever is left */
                (void) spill(r, json);
                r->c->spill_bytes = limit;
                if (r->error < 0)
                        return r->error;
                result->size = r->spilled;
                result->spill_fd = RQ_TAKE(r->spill_fd, -1);
                return RQ_OK;
        }
        rq_bytes bytes = json_bytes(json);
        result->offset = out->json.size;
        result->size = bytes.size;
        result->spill_fd = -1;
        return rq_buf_append_bytes(&out->json, bytes);
}

rq_err entry_run(entry_context *c, const record_header *header, rq_bytes body, bool alone,
                 applier_wanted wanted, void *wanted_arg, apply_output *out, entry_outcome *ret_outcome) {
        rq_arena_reset(c->arena);
        Rq__SqlEntry *entry = rq__sql_entry__unpack(rq_arena_allocator(c->arena), body.size, body.data);
        if (entry == NULL || !groups_fit(entry)) {
                /* Its checksum is right, so it was made so; the same on every node. */
                *ret_outcome = (entry_outcome) { .hash = rq_hash_mix(0, SQLITE_FORMAT) };
                return RQ_OK;
        }

        entry_outcome outcome = {0};
        bool asked = origin_of(entry, &outcome.result.gateway) &&
                     (wanted == NULL || wanted(wanted_arg, &outcome.result.gateway));
        bool grouped = entry->n_groups > 0;
        run r = {
                .c = c, .entry = entry, .json = asked && !grouped ? c->json : NULL, .alone = alone, .spill_fd = -1,
                .index = header->index, .count = entry->n_statements, .transaction = entry->transaction,
        };
        const char *problem = NULL;

        files_set_entry_clock(c->files, header->clock_us);
        if (asked)
                begin_answer(&r, c->json);
        atomic_store_explicit(&c->running_index, header->index, memory_order_relaxed);
        const char *skipped = entry_skipped(c, header->index);
        if (skipped != NULL) {
                problem = skip(&r, skipped, asked ? c->json : NULL);
        } else if (grouped) {
                run_groups(&r, header, asked ? c->json : NULL);
        } else {
                writer_functions_begin_entry(&c->functions, header->seed, header->step_budget);
                problem = run_group(&r);
        }

        atomic_store_explicit(&c->running_index, 0, memory_order_relaxed);
        if (r.schema_changed)
                statements_forget(c->statements);
        rq_err e = r.error < 0 ? r.error : r.gone && !alone ? RQ_ECANCELED : RQ_OK;
        if (e >= 0 && asked) {
                json_end(c->json, problem);
                e = json_failed(c->json) ? RQ_ENOMEM : keep_answer(&r, c->json, out, &outcome.result);
        }
        rq_closep(&r.spill_fd);
        if (e < 0)
                return e;
        outcome.has_result = asked;
        outcome.result.request_id = asked ? entry->origin->request_id : 0;
        outcome.result.index = header->index;
        outcome.hash = r.hash;
        *ret_outcome = outcome;
        return RQ_OK;
}
