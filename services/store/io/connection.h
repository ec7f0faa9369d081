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

/* How much the page cache may hold, and a sort beside it as much again: pages, or
 * kibibytes if negative, as in PRAGMA cache_size. */
void connection_set_cache(sqlite3 *db, int size);
/* To so many kibibytes, if it is larger. Returns what connection_set_cache() takes to have it as it was. */
int connection_lower_cache(sqlite3 *db, int kibibytes);
/* In bytes. */
int connection_cache_used(sqlite3 *db);
/* Pages that changed go to the WAL, the memory of all that aren't in use back to the system.
 * Not within a statement. SQLite's code. */
int connection_empty_cache(sqlite3 *db);

#endif
