#include "io/db_read.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "core/json_rows.h"
#include "core/sql_text.h"
#include "io/db_copy.h"
#include "io/db_dump.h"
#include "io/image.h"
#include "io/statements.h"
#include "io/sqlite_memory.h"
#include "io/slow_statement.h"
#include "io/stmt_rows.h"
#include "io/text_functions.h"
#include "io/vfs.h"
#include "io/wal_index.h"

enum {
        FLUSH_BYTES   = 32 * 1024, /* then a piece is sent */
        STEPS_TO_LOOK = 1000,      /* VDBE steps between looks at the clock and the flag */

        TRY_STEPS_TO_LOOK  = 100,
        TRY_FILE_READS_MAX = 32,         /* each some microseconds, from the kernel's memory */
        TRY_BYTES_MAX      = 256 * 1024, /* of memory; functions take time in proportion */
        TRY_QUERY_BYTES_MAX = 16 * 1024, /* of parameters; likewise */
        TRY_STATEMENTS_MAX = 4,
        BACKUP_TABLES_MAX  = 1000,
        EXACT_US           = 5 * 1000 * 1000,
        EXACT_PAUSE_US     = 50,
        TRY_SLOW_US        = 2 * DB_TRY_US, /* not tried again at once, though it succeeded */
};

static const char change_refused[] = "attempt to change database via query operation";
static const char timed_out_text[] = "query timeout";

struct db_reader {
        files *files;
        sqlite3 *db;
        const applier *applier;
        statements *statements;
        sqlite3_stmt *snapshot; /* while it stands on its row, the read transaction is open */
        json_writer *json;
        char problem[256];

        /* of the run at hand */
        const Rq__Query *query;
        const atomic_bool *stop;
        uint64_t deadline_us, index;
        db_read_send send;
        void *send_arg;
        db_read_room room;
        bool gave_up; /* send said stop, or memory is out */
        uint64_t rows, bytes_sent;
        transaction_stack open; /* of the request: they change nothing, all is one read transaction */
        char late_problem[MOVE_PROBLEM_BYTES]; /* of one behind a text's rows */
        uint64_t send_us; /* of the statement's time, spent waiting for its reader */
        const char *over; /* the answer is larger than the request allows */
        wal_position seen; /* of a backup: where the WAL stood when the transaction began */

        uint64_t schema_index; /* the schema in memory is at least that of this index */
        bool trying;
        uint64_t try_until_us;
};

static bool is_stopped(const db_reader *r) { return atomic_load_explicit(r->stop, memory_order_relaxed); }
static bool is_late(const db_reader *r) { return r->deadline_us != UINT64_MAX && rq_clock_mono_us() >= r->deadline_us; }

static int on_progress(void *arg) {
        const db_reader *r = arg;
        if (r->trying)
                return rq_clock_mono_us() >= r->try_until_us;
        /* An aggregate that found no memory says so only at its end. */
        return r->stop != NULL && (is_stopped(r) || is_late(r) || sqlite_memory_read_met() != SQLITE_MEMORY_ENOUGH);
}

rq_err db_reader_new(files *f, const applier *a, db_reader **ret_reader) {
        db_reader *r = calloc(1, sizeof *r);
        if (r == NULL)
                return RQ_ENOMEM;
        r->files = f;
        r->applier = a;
        r->deadline_us = UINT64_MAX;
        rq_err e = files_open_reader(f, &r->db);
        if (e == RQ_OK)
                e = text_functions_install(r->db, NULL);
        if (e == RQ_OK)
                e = statements_new(r->db, STATEMENTS_READER, &r->statements);
        if (e == RQ_OK && (r->json = json_writer_new()) == NULL)
                e = RQ_ENOMEM;
        /* Always has one row, so that it stays open, and with it the read
         * transaction, until it is reset: no BEGIN and COMMIT are needed. */
        if (e == RQ_OK && sqlite3_prepare_v3(r->db, "SELECT EXISTS (SELECT 1 FROM sqlite_schema)", -1,
                                             SQLITE_PREPARE_PERSISTENT, &r->snapshot, NULL) != SQLITE_OK)
                e = sqlite3_errcode(r->db) == SQLITE_NOMEM ? RQ_ENOMEM : RQ_EIO;
        if (e < 0) {
                (void) db_reader_free(r);
                return e;
        }
        sqlite3_progress_handler(r->db, STEPS_TO_LOOK, on_progress, r);
        *ret_reader = r;
        return RQ_OK;
}

db_reader *db_reader_free(db_reader *r) {
        if (r == NULL)
                return NULL;
        (void) sqlite3_finalize(r->snapshot);
        (void) statements_free(r->statements);
        (void) json_writer_free(r->json);
        if (r->db != NULL)
                (void) sqlite3_close(r->db);
        free(r);
        return NULL;
}

rq_bytes db_reader_json(const db_reader *r) { return json_bytes(r->json); }
const char *db_reader_problem(const db_reader *r) { return r->problem; }
void db_reader_set_room(db_reader *r, db_read_room room) { r->room = room; }
void db_reader_interrupt(db_reader *r) { sqlite3_interrupt(r->db); }

static rq_bytes sql_of(const Rq__Statement *s) { return rq_bytes_of(s->sql.data, s->sql.len); }

/* --- before anything runs ------------------------------------------------------ */

static bool has_disallowed_pragma(const Rq__Query *q) {
        for (size_t i = 0; i < q->n_statements; i++)
                if (statements_pragma_disallowed(sql_of(q->statements[i])))
                        return true;
        return false;
}

typedef struct scan {
        bool changes;      /* one isn't readonly, or is refused to readers */
        size_t rows_at;    /* number of the last one that has columns; SIZE_MAX: none */
} scan;

/* Looks at all statements of a text up to the first that can't be prepared. */
static rq_err scan_text(db_reader *r, rq_bytes sql, scan *ret_scan) {
        scan s = { .rows_at = SIZE_MAX };
        for (size_t i = 0; sql.size > 0 && !s.changes; i++) {
                statement st;
                rq_err e = statements_prepare(r->statements, sql, &st, &sql);
                if (e < 0)
                        return e;
                if (st.problem != NULL) {
                        s.changes = st.code == SQLITE_AUTH;
                        s.rows_at = SIZE_MAX; /* the answer will be the error */
                        break;
                }
                if (st.stmt != NULL) {
                        s.changes = !st.readonly;
                        if (sqlite3_column_count(st.stmt) > 0)
                                s.rows_at = i;
                }
                statements_release(r->statements, &st);
        }
        *ret_scan = s;
        return RQ_OK;
}

static rq_err needs_log(db_reader *r, bool *ret_needed) {
        bool needed = false;
        for (size_t i = 0; i < r->query->n_statements && !needed; i++) {
                scan s;
                rq_err e = scan_text(r, sql_of(r->query->statements[i]), &s);
                if (e < 0)
                        return e;
                needed = s.changes;
        }
        *ret_needed = needed;
        return RQ_OK;
}

/* --- running ------------------------------------------------------------------- */

static bool on_piece(void *arg, json_writer *w) {
        db_reader *r = arg;
        rq_bytes bytes = json_bytes(w);
        if (json_failed(w)) {
                r->gave_up = true;
        } else if (bytes.size >= FLUSH_BYTES) {
                uint64_t begun_us = rq_clock_mono_us();
                r->bytes_sent += bytes.size;
                r->gave_up = !r->send(r->send_arg, r->index, bytes);
                r->send_us += rq_clock_mono_us() - begun_us;
                json_reset_bytes(w);
        }
        return !r->gave_up;
}

static bool on_row(void *arg, json_writer *w) {
        db_reader *r = arg;
        const Rq__Query *q = r->query;
        r->rows++;
        if (q->max_rows > 0 && r->rows > q->max_rows)
                r->over = "the answer has more rows than -max-answer-rows allows: use LIMIT";
        else if (q->max_bytes > 0 && r->bytes_sent + json_bytes(w).size > q->max_bytes)
                r->over = "the answer is larger than -max-answer-size allows: use LIMIT";
        return r->over == NULL && on_piece(r, w);
}

static const char *memory_text(void) {
        switch (sqlite_memory_read_met()) {
        case SQLITE_MEMORY_ONE_MET:
                return "the read needs more memory than half of -max-read-memory: use LIMIT, an index for its ORDER BY or GROUP BY, or smaller values";
        case SQLITE_MEMORY_TOGETHER_MET:
                return "the reads under way need more memory than -max-read-memory: try again, or let them sort, group and join less";
        case SQLITE_MEMORY_ENOUGH:
                break;
        }
        return NULL;
}

/* SQLite interrupts for the deadline only while it works long. */
static const char *error_text(db_reader *r, int code) {
        const char *memory = (code & 0xff) == SQLITE_NOMEM || (code & 0xff) == SQLITE_INTERRUPT ? memory_text() : NULL;
        if (r->over != NULL || memory != NULL)
                return r->over != NULL ? r->over : memory;
        return (code & 0xff) == SQLITE_INTERRUPT ? timed_out_text : sqlite3_errmsg(r->db);
}

/* An error found before running is shown the same with and without rows on
 * /db/request (http-api.md, Answers). */
static void prepare_error(db_reader *r, const char *text) { json_error_result(r->json, text, !r->query->request_mode); }

/* BEGIN and its like: nothing to do, but they must be in order. */
static bool run_control(db_reader *r, const statement *st, bool *ret_slot) {
        char problem[MOVE_PROBLEM_BYTES];
        transaction_move move = transaction_stack_move(&r->open, st->control, st->savepoint, problem);
        bool good = problem[0] == '\0';
        if (good)
                transaction_stack_moved(&r->open, &move, st->savepoint);
        else if (*ret_slot)
                (void) snprintf(r->late_problem, sizeof r->late_problem, "%s", problem);
        else
                json_error_result(r->json, problem, true);
        *ret_slot |= !good;
        return good;
}

/* One of a text's statements. *ret_slot: it wrote the text's result. False:
 * the text ends here. */
static bool run_statement(db_reader *r, statement *st, bind_cursor *cursor, bool answer_rows, bool *ret_slot) {
        char problem[BIND_PROBLEM_BYTES];
        if (st->control != CONTROL_NONE)
                return run_control(r, st, ret_slot);
        if (*ret_slot)
                return true; /* behind the rows: nothing that would be seen */
        *ret_slot = true;
        if (!st->readonly) {
                prepare_error(r, change_refused);
                return false;
        }
        if (statements_bind(st->stmt, cursor, problem) < 0)
                (void) snprintf(problem, sizeof problem, "out of memory");
        if (problem[0] != '\0') {
                json_error_result(r->json, problem, true);
                return false;
        }

        int code;
        bool begun = false;
        uint64_t start_us = rq_clock_mono_us(), took_us;
        r->send_us = 0;
        sqlite_memory_read_forgive();
        if (answer_rows) {
                bool qualify = r->query->render != NULL && r->query->render->qualify_columns;
                code = stmt_rows_run(st->stmt, r->json, qualify, on_row, r, &begun);
        } else {
                do
                        code = sqlite3_step(st->stmt);
                while (code == SQLITE_ROW);
        }
        took_us = rq_clock_mono_us() - start_us;
        if (r->trying)
                r->gave_up |= code != SQLITE_DONE;
        else
                statements_ran(r->statements, st, took_us, r->schema_index);
        slow_statement_ran(applier_slow_us(r->applier), took_us - r->send_us, st->stmt, 0);
        if (code == SQLITE_DONE) {
                *ret_slot = answer_rows;
                return true;
        }
        if (r->gave_up)
                return false;
        if (begun)
                json_rows_failed(r->json, error_text(r, code));
        else
                json_error_result(r->json, error_text(r, code), true);
        return false;
}

/* All statements of a text; the rows of the last one that has some are the
 * text's result, and what follows it has nothing to do. */
static rq_err run_text(db_reader *r, const Rq__Statement *in) {
        rq_bytes rest = sql_of(in);
        bind_cursor cursor = { .parameters = in->parameters, .count = in->n_parameters };
        size_t rows_at = 0;
        bool go_on = true, slot = false;

        if (rest.size == 0)
                return RQ_OK;
        if (is_late(r)) {
                json_error_result(r->json, timed_out_text, true);
                return RQ_OK;
        }
        for (size_t i = 0; rest.size > 0 && go_on && (!slot || r->open.open); i++) {
                statement st;
                rq_bytes sql = rest;
                rq_err e = statements_prepare(r->statements, sql, &st, &rest);
                if (e < 0)
                        return e;
                if (st.problem != NULL) {
                        prepare_error(r, st.problem);
                        return RQ_OK;
                }
                if (i == 0 && st.stmt != NULL && !sql_text_blank(rest)) {
                        scan s;
                        statements_release(r->statements, &st);
                        e = scan_text(r, sql, &s);
                        if (e >= 0)
                                e = statements_prepare(r->statements, sql, &st, &rest);
                        if (e < 0)
                                return e;
                        rows_at = s.rows_at;
                }
                if (st.stmt != NULL) {
                        bool answer_rows = i == rows_at && sqlite3_column_count(st.stmt) > 0;
                        go_on = run_statement(r, &st, &cursor, answer_rows, &slot);
                        statements_release(r->statements, &st);
                }
        }
        if (!slot)
                json_empty_result(r->json, true);
        return RQ_OK;
}

static db_read_outcome fail(db_reader *r, const char *text) {
        (void) snprintf(r->problem, sizeof r->problem, "%s", text);
        return DB_READ_FAILED;
}

/* --- copies of all of it -------------------------------------------------------- */

static bool send_bytes(void *arg, rq_bytes piece) {
        db_reader *r = arg;
        r->gave_up = !r->send(r->send_arg, r->index, piece);
        return !r->gave_up;
}

static rq_err dump_all(db_reader *r, const Rq__Backup *backup) {
        rq_bytes tables[BACKUP_TABLES_MAX];
        if (backup->n_tables > BACKUP_TABLES_MAX)
                return RQ_ETOOBIG;
        for (size_t i = 0; i < backup->n_tables; i++)
                tables[i] = rq_bytes_of(backup->tables[i].data, backup->tables[i].len);
        const db_dump_ask ask = { .tables = tables, .table_count = backup->n_tables, .send = send_bytes, .arg = r };
        return db_dump(r->db, &ask);
}

static void close_image(image **i) { *i = image_close(*i); }

static void *piece_room(void *arg, size_t size) {
        const db_reader *r = arg;
        return r->room(r->send_arg, size);
}

/* As it is, from the file: nothing is copied before it is sent, and the transaction ends at once. */
static rq_err send_image(db_reader *r, image *opened, db_journal journal) {
        RQ_CLEANUP(close_image) image *i = opened;
        (void) sqlite3_reset(r->snapshot);
        rq_err e = db_copy_send_image(i, journal, r->room != NULL ? piece_room : NULL, send_bytes, r);
        const char *problem = e == RQ_ECANCELED && !r->gave_up ? image_problem(i) : NULL;
        if (problem != NULL)
                (void) snprintf(r->problem, sizeof r->problem, "the backup failed: %s", problem);
        return e;
}

/* Otherwise the copy is made at the disk's pace and the transaction ended, so that a slow
 * client doesn't hold checkpoints back (hazard 20). */
static rq_err copy_all(db_reader *r, const Rq__Backup *backup) {
        RQ_CLEANUP(rq_closep) int fd = -1;
        const bool vacuumed = backup->format == RQ__BACKUP__FORMAT__VACUUM;
        const db_journal journal = backup->format == RQ__BACKUP__FORMAT__BINARY ? DB_WAL : DB_ROLLBACK;
        image *i;
        if (!vacuumed && files_image_seen(r->files, r->db, &r->seen, r->index, &i) == RQ_OK)
                return send_image(r, i, journal);
        rq_err e = db_copy_out(r->db, vacuumed, r->stop, &fd);
        if (e < 0)
                return e;
        (void) sqlite3_reset(r->snapshot);
        return db_copy_send_file(fd, journal, send_bytes, r);
}

static db_read_outcome back_up(db_reader *r) {
        const Rq__Backup *backup = r->query->backup;
        rq_err e;
        json_reset_bytes(r->json); /* the answer isn't JSON */
        r->problem[0] = '\0';
        if (backup->format == RQ__BACKUP__FORMAT__SQL)
                e = dump_all(r, backup);
        else if (backup->format <= RQ__BACKUP__FORMAT__VACUUM)
                e = copy_all(r, backup);
        else
                return fail(r, "a kind of backup that this version doesn't know");
        if (e == RQ_OK)
                return DB_READ_DONE;
        if (is_stopped(r) || r->gave_up)
                return DB_READ_STOPPED;
        if (r->problem[0] == '\0')
                (void) snprintf(r->problem, sizeof r->problem, "the backup failed: %s", rq_err_text(e));
        return DB_READ_FAILED;
}

/* --- all in one transaction ------------------------------------------------------ */

static db_read_outcome run_in_snapshot(db_reader *r) {
        bool needed = false;
        if (r->query->backup != NULL)
                return back_up(r);
        if (r->query->request_mode && needs_log(r, &needed) < 0)
                return fail(r, "out of memory");
        if (needed)
                return DB_READ_NEEDS_LOG;
        transaction_stack_begin(&r->open, false);
        r->late_problem[0] = '\0';
        for (size_t i = 0; i < r->query->n_statements && r->over == NULL; i++) {
                /* Many small results are sent on the way, too. */
                if (run_text(r, r->query->statements[i]) < 0 || json_failed(r->json))
                        return fail(r, "out of memory");
                if (is_stopped(r) || r->gave_up || !on_piece(r, r->json))
                        return DB_READ_STOPPED;
        }
        json_end(r->json, r->late_problem[0] != '\0' ? r->late_problem : r->open.open ? transaction_left_open : NULL);
        return json_failed(r->json) ? fail(r, "out of memory") : DB_READ_DONE;
}

static bool begin_snapshot(db_reader *r) { return sqlite3_step(r->snapshot) == SQLITE_ROW; }

/* Begins again until no commit was under way meanwhile: then the transaction sees
 * one index, not at most one (hazard 21). */
static bool begin_exactly(db_reader *r) {
        for (uint64_t until_us = rq_clock_mono_us() + EXACT_US; rq_clock_mono_us() < until_us && !is_stopped(r);) {
                (void) sqlite3_reset(r->snapshot);
                uint64_t index = applier_lo(r->applier);
                if (!begin_snapshot(r))
                        return false;
                r->seen = files_wal_position(r->files);
                if (applier_hi(r->applier) == index)
                        return true;
                (void) usleep(EXACT_PAUSE_US);
        }
        return false;
}

db_read_outcome db_reader_run(db_reader *r, const Rq__Query *query, const atomic_bool *stop,
                              db_read_send send, void *arg, uint64_t *ret_index) {
        const Rq__Render *render = query->render;
        const json_options options = {
                .associative = render != NULL && render->associative, .timings = render != NULL && render->timings,
                .pretty = render != NULL && render->pretty, .blob_array = render != NULL && render->blob_array,
        };
        uint64_t applied_index = applier_lo(r->applier);
        r->query = query;
        r->send = send;
        r->send_arg = arg;
        r->deadline_us = query->db_timeout_us == 0 ? UINT64_MAX : rq_clock_mono_us() + query->db_timeout_us;
        r->stop = stop;
        r->gave_up = false;
        r->rows = r->bytes_sent = 0;
        r->over = NULL;

        json_begin(r->json, &options);
        sqlite_memory_read_begin();
        db_read_outcome outcome;
        if (has_disallowed_pragma(query)) {
                r->index = applier_lo(r->applier);
                json_end(r->json, "disallowed pragma");
                outcome = json_failed(r->json) ? fail(r, "out of memory") : DB_READ_DONE;
        } else if (!begin_snapshot(r)) {
                outcome = is_stopped(r) ? DB_READ_STOPPED : fail(r, sqlite3_errmsg(r->db));
        } else if (query->backup != NULL && !begin_exactly(r)) {
                outcome = is_stopped(r) ? DB_READ_STOPPED : fail(r, "no moment between two writes was found for the backup, try again");
        } else {
                /* What could be seen was about to be committed before now: hazard 21. */
                r->index = applier_hi(r->applier);
                if (!r->trying)
                        r->schema_index = applied_index;
                outcome = run_in_snapshot(r);
        }
        (void) sqlite3_reset(r->snapshot);
        sqlite_memory_read_end();
        r->stop = NULL;
        if (outcome == DB_READ_DONE || outcome == DB_READ_NEEDS_LOG)
                *ret_index = r->index;
        return outcome;
}

/* --- in no time ------------------------------------------------------------------ */

static bool is_small(const Rq__Query *q) {
        size_t bytes = 0;
        if (q->n_statements == 0 || q->n_statements > TRY_STATEMENTS_MAX)
                return false;
        for (size_t i = 0; i < q->n_statements; i++)
                for (size_t k = 0; k < q->statements[i]->n_parameters; k++) {
                        const Rq__Value *v = q->statements[i]->parameters[k]->value;
                        if (v != NULL && v->kind_case == RQ__VALUE__KIND_TEXT)
                                bytes += v->text.len;
                        else if (v != NULL && v->kind_case == RQ__VALUE__KIND_BLOB)
                                bytes += v->blob.len;
                        bytes += sizeof *v;
                }
        return bytes <= TRY_QUERY_BYTES_MAX;
}

static bool send_nothing(void *arg, uint64_t index, rq_bytes json) {
        (void) arg;
        (void) index;
        (void) json;
        return false;
}

bool db_reader_try(db_reader *r, const Rq__Query *query, size_t bytes_max, uint64_t *ret_index) {
        static const atomic_bool never = false;
        uint64_t schema_index = applier_schema_index(r->applier), index;
        /* A schema that has changed is read again, and every statement prepared
         * again, by a thread that has the time. */
        if (schema_index > r->schema_index || !is_small(query) ||
            !statements_is_trusted(r->statements, sql_of(query->statements[0]), schema_index))
                return false;

        uint64_t start_us = rq_clock_mono_us();
        r->trying = true;
        r->try_until_us = start_us + DB_TRY_US;
        sqlite3_progress_handler(r->db, TRY_STEPS_TO_LOOK, on_progress, r);
        statements_trusted_begin(r->statements, schema_index);
        sqlite_memory_limit(TRY_BYTES_MAX);
        vfs_hasty_begin(TRY_FILE_READS_MAX);
        db_read_outcome outcome = db_reader_run(r, query, &never, send_nothing, NULL, &index);
        vfs_hasty_end();
        sqlite_memory_limit(0);
        sqlite3_progress_handler(r->db, STEPS_TO_LOOK, on_progress, r);
        r->trying = false;

        bool done = outcome == DB_READ_DONE && r->over == NULL && db_reader_json(r).size <= bytes_max;
        statements_trusted_end(r->statements, !done || rq_clock_mono_us() - start_us > TRY_SLOW_US);
        if (done)
                *ret_index = index;
        return done;
}
