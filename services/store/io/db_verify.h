/* Is a file that somebody sent a whole, sound SQLite database that this one may
 * become? The file is hostile until this says so. The verdict is a function of
 * the bytes alone, so that it is the same on all nodes. Synchronous. */
#ifndef RQ_STORE_DB_VERIFY_H
#define RQ_STORE_DB_VERIFY_H

#include "base/bytes.h"
#include "base/err.h"

/* *ret_problem "": it is. Else one sentence says why not; the result is RQ_OK in
 * both cases, and the file is marked as of rollback mode. fd and path are of the same file. Errors: this machine's trouble (RQ_EIO, RQ_ENOMEM, RQ_ENOSPC), nothing
 * is known then. */
enum { DB_VERIFY_PROBLEM_BYTES = 256 };
rq_err db_verify(int fd, const char *path, char ret_problem[static DB_VERIFY_PROBLEM_BYTES]);

#endif
