/* Steps a statement and writes its rows with core/json_rows. */
#ifndef RQ_STORE_STMT_ROWS_H
#define RQ_STORE_STMT_ROWS_H

#include <sqlite3.h>
#include <stdbool.h>

#include "core/json_rows.h"

/* Called after each row; may send and reset the writer's bytes. false: stop
 * (the client is gone); the rows are left unfinished. */
typedef bool (*stmt_rows_flush)(void *arg, json_writer *w);

/* Runs stmt to its end (SQLITE_DONE) or error and returns SQLite's code
 * (SQLITE_ABORT if flush said stop). Rows are written if there are columns; the object is
 * complete on SQLITE_DONE (json_rows_end). On error: if nothing of the rows was begun, *ret_begun is false
 * and the caller writes the error result; else it calls json_rows_failed.
 * qualify: names as table.column (http-api.md, Query parameters). flush may be NULL. */
int stmt_rows_run(sqlite3_stmt *stmt, json_writer *w, bool qualify, stmt_rows_flush flush, void *arg, bool *ret_begun);

#endif
