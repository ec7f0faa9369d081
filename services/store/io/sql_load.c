#include "io/sql_load.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/checksum.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/sql_split.h"
#include "core/sql_text.h"
#include "io/connection.h"
#include "io/sql_outcome.h"

enum {
        READ_BYTES       = 64 * 1024,
        /* All processes together are to take no more than 32 MiB for a load; consensus has 10 to 13 of them. */
        CACHE_KIB        = 10 * 1024,
        SCHEMA_CACHE_KIB = 5 * 1024, /* while an index is made: what it sorts is as much again */
};

typedef struct sql_load {
        entry_context *c;
        uint64_t step_budget;
        char *problem;     /* SQL_LOAD_PROBLEM_BYTES; "": none */
        rq_err error;      /* environment */
        uint64_t hash;
        bool inserted, statistics;
        int64_t last_id, changes;
} sql_load;

static void fail(sql_load *l, const char *text) {
        if (l->problem[0] == '\0')
                (void) snprintf(l->problem, SQL_LOAD_PROBLEM_BYTES, "%s", text);
}

static bool goes_on(const sql_load *l) { return l->error >= 0 && l->problem[0] == '\0'; }

/* A statement that failed, or the machine? */
static void judge(sql_load *l, int code, const char *text) {
        rq_err trouble = sql_outcome_judge(l->c->files, code);
        if (trouble < 0)
                l->error = trouble;
        else
                fail(l, text);
}

static void judge_last(sql_load *l) { judge(l, sqlite3_extended_errcode(l->c->db), sqlite3_errmsg(l->c->db)); }

static bool begin(sql_load *l) {
        if (sqlite3_exec(l->c->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK)
                return true;
        judge_last(l);
        return false;
}

/* --- one statement --------------------------------------------------------------- */

static bool word_is(rq_bytes word, const char *text) {
        return word.size == strlen(text) && strncasecmp((const char *) word.data, text, word.size) == 0;
}

/* What the text says of transactions is what happens anyway. */
static bool is_idle(rq_bytes sql) {
        rq_bytes word = sql_text_first_word(sql);
        if (word_is(word, "begin") || word_is(word, "commit") || word_is(word, "end"))
                return true;
        if (!word_is(word, "pragma"))
                return false;
        rq_bytes name = sql_text_first_word(rq_bytes_of(word.data + word.size, sql.size - (size_t) (word.data + word.size - sql.data)));
        return word_is(name, "foreign_keys") || word_is(name, "defer_foreign_keys");
}

static void run_prepared(sql_load *l, statement *st) {
        entry_context *c = l->c;
        int code;
        c->functions.steps = 0; /* the budget is each statement's */
        writer_functions_begin_statement(&c->functions, st->stmt, st->uses_changes);
        do
                code = sqlite3_step(st->stmt);
        while (code == SQLITE_ROW);
        writer_functions_end_statement(&c->functions);
        if (code != SQLITE_DONE && c->functions.budget_exhausted)
                judge(l, SQLITE_INTERRUPT, "statement exceeded the step budget of a write (-write-step-budget)");
        else if (code != SQLITE_DONE)
                judge_last(l);
        else if (c->functions.rowid_max_used)
                fail(l, "rowid 9223372036854775807 needs a table with AUTOINCREMENT: ids after it would be random");
        l->changes = code == SQLITE_DONE && st->changes_rows ? sqlite3_changes64(c->db) : 0;
        if (st->changes_rows)
                writer_functions_changed(&c->functions, l->changes);
        l->inserted = writer_functions_inserted(&c->functions, &l->last_id) && st->inserts;
        if (sqlite3_get_autocommit(c->db) != 0 && goes_on(l))
                fail(l, "the statement ended the transaction of the load");
        c->analyzed |= st->analyzes;
}

/* An index is made in three steps: its table is read once, what it is of is sorted in pieces as large as the cache may be, and
 * written in order. Only the middle one gains by memory, and a little of it does: the pages that rows came in with
 * make room first. */
static void run_change_of_schema(sql_load *l, statement *st) {
        sqlite3 *db = l->c->db;
        int code = connection_cache_used(db) > SCHEMA_CACHE_KIB * 1024 ? connection_empty_cache(db) : SQLITE_OK;
        if (code != SQLITE_OK && code != SQLITE_BUSY) { /* busy: a page is in use, and stays */
                rq_err trouble = sql_outcome_judge(l->c->files, code);
                l->error = trouble < 0 ? trouble : RQ_EIO; /* nothing that a statement came to */
                return;
        }
        int cache = connection_lower_cache(db, SCHEMA_CACHE_KIB);
        run_prepared(l, st);
        connection_set_cache(db, cache);
}

/* A statement, and what may stand behind it on the same line. */
static void run_sql(sql_load *l, rq_bytes sql) {
        entry_context *c = l->c;
        if (sql.size > 0 && memchr(sql.data, 0, sql.size) != NULL) { /* SQLite would end there, and forget the rest */
                fail(l, "the text has a NUL byte");
                return;
        }
        while (goes_on(l) && !sql_text_blank(sql)) {
                statement st;
                rq_bytes rest;
                if (is_idle(sql))
                        return;
                if (sql_text_is_vacuum(sql, &rest)) {
                        fail(l, "VACUUM is not available in a load, which is done as a whole: send it to /db/execute afterwards");
                        return;
                }
                rq_err r = statements_prepare(c->statements, sql, &st, &sql);
                if (r < 0) {
                        l->error = r;
                        return;
                }
                if (st.problem != NULL) {
                        judge(l, st.extended_code, st.problem);
                        return;
                }
                if (st.control != CONTROL_NONE) {
                        fail(l, "ROLLBACK, SAVEPOINT and RELEASE are not available in a load: it is done as a whole or not at all");
                        statements_release(c->statements, &st);
                        return;
                }
                if (st.stmt == NULL)
                        continue;
                bool changes_schema = st.changes_schema;
                if (changes_schema)
                        run_change_of_schema(l, &st);
                else
                        run_prepared(l, &st);
                statements_release(c->statements, &st);
                if (changes_schema)
                        statements_forget(c->statements);
                l->hash = rq_hash_mix(rq_hash_mix(l->hash, (uint64_t) l->changes), l->inserted ? (uint64_t) l->last_id : 0);
        }
}

/* --- the text -------------------------------------------------------------------- */

/* Reads in growing pieces: a long literal is looked at from its beginning each time. */
static void run_text(sql_load *l, int fd) {
        static const char too_long[] = "a statement of the load is larger than the limit of 64 MiB";
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        sql_split split = {0};
        uint64_t at = 0;
        bool whole = false;
        while (goes_on(l)) {
                size_t size, done = 0, end;
                while (goes_on(l) && sql_split_next(&split, rq_bytes_of(text.data + done, text.size - done), whole, &end)) {
                        if (end > SQL_LOAD_STATEMENT_BYTES_MAX)
                                fail(l, too_long);
                        else
                                run_sql(l, rq_bytes_of(text.data + done, end));
                        done += end;
                }
                if (done > 0)
                        rq_buf_consume(&text, done);
                if (whole)
                        return;
                if (text.size > SQL_LOAD_STATEMENT_BYTES_MAX) {
                        fail(l, too_long);
                        return;
                }
                size_t wanted = text.size / 2 > READ_BYTES ? text.size / 2 : READ_BYTES;
                rq_err r = rq_buf_reserve(&text, wanted);
                if (r >= 0)
                        r = files_io_read_at(l->c->io, fd, text.data + text.size, wanted, at, &size);
                if (r < 0) {
                        l->error = r == RQ_ENOMEM ? r : RQ_EIO;
                        return;
                }
                text.size += size;
                at += size;
                whole = size < wanted;
        }
}

static void check_foreign_keys(sql_load *l) {
        sqlite3_stmt *violations = NULL;
        if (!l->c->foreign_keys)
                return;
        int code = sqlite3_prepare_v2(l->c->db, "PRAGMA foreign_key_check", -1, &violations, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_step(violations);
        if (code == SQLITE_ROW)
                fail(l, "FOREIGN KEY constraint failed");
        else if (code != SQLITE_DONE)
                judge_last(l);
        (void) sqlite3_finalize(violations);
}

/* A dump's tables come in any order: its children may be there before their parents. */
static void enforce_foreign_keys(const entry_context *c, bool enforced) {
        if (c->foreign_keys)
                (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_ENABLE_FKEY, enforced ? 1 : 0, NULL);
}

static void set_trust(entry_context *c, bool trusted) {
        (void) sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, trusted ? 0 : 1, NULL);
        statements_allow_own_tables(c->statements, trusted);
}

static void answer_result(const sql_load *l, json_writer *answer, uint64_t started_ns) {
        static const json_options plain = {0};
        json_begin(answer, &plain);
        if (l->problem[0] != '\0')
                json_error_result(answer, l->problem, false);
        else
                json_write_result(answer, l->inserted, l->last_id, l->changes, rq_clock_mono_ns() - started_ns);
        json_end(answer, NULL);
}

rq_err sql_load_run(entry_context *c, const record_header *header, int fd, json_writer *answer,
                    char ret_problem[static SQL_LOAD_PROBLEM_BYTES], uint64_t *ret_hash) {
        sql_load l = { .c = c, .problem = ret_problem };
        uint64_t started_ns = rq_clock_mono_ns();
        ret_problem[0] = '\0';
        files_set_entry_clock(c->files, header->clock_us);
        writer_functions_begin_entry(&c->functions, header->seed, header->step_budget);
        set_trust(c, true);
        enforce_foreign_keys(c, false);
        int cache = connection_lower_cache(c->db, CACHE_KIB);
        if (begin(&l))
                run_text(&l, fd);
        if (goes_on(&l))
                check_foreign_keys(&l);
        statements_forget(c->statements);
        atomic_store(&c->schema_index, header->index);
        if (goes_on(&l) && entry_commit(c) != SQLITE_OK)
                judge_last(&l);
        if (!goes_on(&l) && !sqlite3_get_autocommit(c->db))
                (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
        enforce_foreign_keys(c, true);
        set_trust(c, false);
        connection_set_cache(c->db, cache);
        (void) connection_empty_cache(c->db); /* full of what nobody may ask for; its memory is as good as lost to others */
        c->analyzed = true; /* statistics may have been written: what is in memory is read again */
        entry_rolled_back(c);
        if (l.error < 0)
                return l.error;
        if (answer != NULL)
                answer_result(&l, answer, started_ns);
        *ret_hash = rq_hash_mix(l.hash, ret_problem[0] != '\0');
        return RQ_OK;
}
