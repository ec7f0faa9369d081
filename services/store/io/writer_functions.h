/* SQL functions and limits whose answers come from the entry (safety rule 3,
 * hazards 3, 4, 6, 8): random(), randomblob(), changes(), total_changes(),
 * last_insert_rowid(), the step budget, the largest rowid; and those that would
 * tell one node from another, which fail. */
#ifndef RQ_STORE_WRITER_FUNCTIONS_H
#define RQ_STORE_WRITER_FUNCTIONS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"

typedef struct writer_functions {
        sqlite3 *db;
        uint64_t seed, statement_number;
        rq_rng rng;
        uint64_t steps, step_budget;   /* of the entry; budget 0: no limit */
        sqlite3_stmt *no_change;       /* changes no row: sets SQLite's changes() to 0 */
        int64_t changes;               /* of the last statement of this entry that changes rows */
        int64_t total_changes_base;    /* SQLite's count when the entry began */
        int64_t total_changes_before;  /* and when the running statement did */
        int64_t last_insert_id;        /* in this entry, before the running statement; 0: none */
        bool budget_exhausted;
        bool counting;                 /* a statement of the entry runs; not one of ours */
        bool rowid_max_used;           /* in a table without AUTOINCREMENT */
} writer_functions;

/* Registers everything on db; w must stay where it is. */
rq_err writer_functions_install(writer_functions *w, sqlite3 *db);

void writer_functions_done(writer_functions *w);

void writer_functions_begin_entry(writer_functions *w, uint64_t seed, uint64_t step_budget);
/* Before each run of a statement; also resets what SQLite counts in stmt. */
/* uses_changes: changes() is called somewhere in it. */
void writer_functions_begin_statement(writer_functions *w, sqlite3_stmt *stmt, bool uses_changes);
/* After it ran, however it ended. */
void writer_functions_end_statement(writer_functions *w);
/* Nothing is left of the entry's budget. */
void writer_functions_exhaust(writer_functions *w);
/* After one that changes rows: what changes() is from now on. */
void writer_functions_changed(writer_functions *w, int64_t changes);
/* After it: did it insert a row? Then *ret_id is its rowid. */
bool writer_functions_inserted(writer_functions *w, int64_t *ret_id);

#endif
