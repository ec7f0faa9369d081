/* SQL of any size from a file, run on the writer's connection in one transaction: all
 * of it is done, or nothing. The outcome is a function of text, record and
 * database, like that of an entry (applier_entry.h). Holds one statement of the
 * text at a time.
 *
 * What dumps begin and end with is for a database of one's own, and has no effect here: BEGIN,
 * COMMIT, END, PRAGMA foreign_keys. Foreign keys, where they are enforced, are checked
 * at the end, of all tables, and their actions (ON DELETE CASCADE) don't run. Statistics (sqlite_stat1) and the tables of virtual tables can be
 * written, since a dump holds them. */
#ifndef RQ_STORE_SQL_LOAD_H
#define RQ_STORE_SQL_LOAD_H

#include <stdbool.h>

#include "io/applier_entry.h"
#include "record.h"

enum {
        SQL_LOAD_STATEMENT_BYTES_MAX = 64 * 1024 * 1024,
        SQL_LOAD_PROBLEM_BYTES       = 512,
};

/* No transaction is open, before and after. *ret_problem "": done. *ret_hash goes into
 * the entry's outcome. answer, if not NULL: gets the JSON of one result, that of
 * the last statement. Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, RQ_ECORRUPT:
 * environment, nothing is done. */
rq_err sql_load_run(entry_context *c, const record_header *header, int fd, json_writer *answer,
                    char ret_problem[static SQL_LOAD_PROBLEM_BYTES], uint64_t *ret_hash);

#endif
