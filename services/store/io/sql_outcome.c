#include "io/sql_outcome.h"

#include <sqlite3.h>

/* Codes that are missing here say something of files, locks or SQLite itself. */
static bool is_of_statements(int code) {
        switch (code & 0xff) {
        case SQLITE_ERROR:
        case SQLITE_PERM:
        case SQLITE_ABORT:
        case SQLITE_LOCKED:    /* by a statement of the same connection */
        case SQLITE_NOMEM:     /* more than a limit of ours allows, and not */
        case SQLITE_FULL:      /* what the system refused: ids used up */
        case SQLITE_READONLY:
        case SQLITE_INTERRUPT: /* the step budget */
        case SQLITE_NOTFOUND:
        case SQLITE_EMPTY:
        case SQLITE_SCHEMA:
        case SQLITE_TOOBIG:
        case SQLITE_MISMATCH:
        case SQLITE_MISUSE:
        case SQLITE_AUTH:
        case SQLITE_FORMAT:
        case SQLITE_RANGE:
                return true;
        case SQLITE_CONSTRAINT:
                return code != SQLITE_CONSTRAINT_COMMITHOOK; /* applier_entry.c refused it */
        case SQLITE_CORRUPT:
                /* What statements can make of a virtual table, an index on an
                 * expression, or sqlite_sequence. */
                return code == SQLITE_CORRUPT_VTAB || code == SQLITE_CORRUPT_INDEX || code == SQLITE_CORRUPT_SEQUENCE;
        default:
                return false;
        }
}

rq_err sql_outcome_judge(files *f, int code) {
        rq_err failure = files_failure(f, false);
        if (failure < 0)
                return failure;
        if (is_of_statements(code))
                return RQ_OK;
        return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ? RQ_ECORRUPT : RQ_EIO;
}
