/* What a statement on the writer's connection ended with: an outcome, the same
 * on all nodes, or this machine's trouble (safety rule 7, hazards 2)? */
#ifndef RQ_STORE_SQL_OUTCOME_H
#define RQ_STORE_SQL_OUTCOME_H

#include "base/err.h"
#include "io/files.h"

/* code: sqlite3_extended_errcode() of what failed. RQ_OK: it is an outcome. That
 * needs both: no failure of storage or memory since they were last cleared,
 * whatever was said of it (virtual tables tell another code, or none), and a code that
 * statements come to by themselves. Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM,
 * RQ_ECORRUPT (the file). Writer's thread. */
rq_err sql_outcome_judge(files *f, int code);

#endif
