/* The content of a database as SQL text that makes it anew, in the format of
 * the SQLite shell's .dump with rqlite's order: tables by name with their rows,
 * then what they need as a whole (sqlite_sequence, statistics), then indexes,
 * triggers and views as they were made. Knows nothing of requests; synchronous. */
#ifndef RQ_STORE_DB_DUMP_H
#define RQ_STORE_DB_DUMP_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

typedef struct db_dump_ask {
        /* Which tables; count 0: all. What isn't there is left out. Of indexes and
         * triggers those of the same tables, of views all. */
        const rq_bytes *tables;
        size_t table_count;
        /* May block; false: no more of it. Borrowed bytes. */
        bool (*send)(void *arg, rq_bytes piece);
        void *arg;
} db_dump_ask;

/* In the caller's transaction. Errors: RQ_ECANCELED (send said so, or the
 * connection was interrupted), RQ_ENOMEM, RQ_ECORRUPT, RQ_EIO. */
rq_err db_dump(sqlite3 *db, const db_dump_ask *ask);

#endif
