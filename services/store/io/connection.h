/* Opens SQLite connections and gives them our settings: every pragma, limit
 * and option that could let two nodes differ is set, whatever SQLite was
 * compiled with (hazards 7, 10). */
#ifndef RQ_STORE_CONNECTION_H
#define RQ_STORE_CONNECTION_H

#include <sqlite3.h>

#include "base/err.h"

typedef enum connection_kind { CONNECTION_WRITER, CONNECTION_READER } connection_kind;

/* Errors: RQ_ENOMEM, RQ_ECORRUPT (no SQLite database), RQ_EIO. */
rq_err connection_open(const char *path, const char *vfs_name, connection_kind kind, sqlite3 **ret_db);

/* The code for a SQLite result; SQLITE_OK is RQ_OK. */
rq_err connection_error(int sqlite_code);

#endif
