#include "io/connection.h"

#include <malloc.h>
#include <stddef.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "log/log.h"

/* SQLite's own defaults, but for ATTACH (there is one database) and what one
 * request could hold the writer up with. */
static const struct { int id, value; } limits[] = {
        { SQLITE_LIMIT_LENGTH,              1000000000 },
        { SQLITE_LIMIT_SQL_LENGTH,          1000000000 },
        { SQLITE_LIMIT_COLUMN,              2000       },
        { SQLITE_LIMIT_EXPR_DEPTH,          1000       },
        { SQLITE_LIMIT_COMPOUND_SELECT,     500        },
        { SQLITE_LIMIT_VDBE_OP,             5000000    }, /* of one statement: memory */
        { SQLITE_LIMIT_FUNCTION_ARG,        127        },
        { SQLITE_LIMIT_ATTACHED,            0          },
        { SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000       }, /* time: its product with the text's length */
        { SQLITE_LIMIT_VARIABLE_NUMBER,     32766      },
        { SQLITE_LIMIT_TRIGGER_DEPTH,       1000       },
        { SQLITE_LIMIT_WORKER_THREADS,      0          },
};

static const struct { int id, value; } options[] = {
        { SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE,      1 }, /* only files' checkpoints touch the file */
        { SQLITE_DBCONFIG_ENABLE_FKEY,           0 },
        { SQLITE_DBCONFIG_ENABLE_TRIGGER,        1 },
        { SQLITE_DBCONFIG_ENABLE_VIEW,           1 },
        { SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0 }, /* takes pointers from SQL */
        { SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
        { SQLITE_DBCONFIG_ENABLE_QPSG,           0 },
        { SQLITE_DBCONFIG_TRIGGER_EQP,           0 },
        { SQLITE_DBCONFIG_DEFENSIVE,             1 }, /* virtual tables remember what they wrote into their own tables */
        { SQLITE_DBCONFIG_WRITABLE_SCHEMA,       0 },
        { SQLITE_DBCONFIG_LEGACY_ALTER_TABLE,    0 },
        { SQLITE_DBCONFIG_DQS_DML,               1 },
        { SQLITE_DBCONFIG_DQS_DDL,               0 }, /* an index on "name" breaks when a column gets that name */
        { SQLITE_DBCONFIG_LEGACY_FILE_FORMAT,    0 },
        { SQLITE_DBCONFIG_TRUSTED_SCHEMA,        1 },
};

/* journal_size_limit: a WAL that a long read let grow shrinks when it begins
 * anew. secure_delete: Debian compiles it in; it doubles writes of deletes. */
static const char pragmas_of_all[] =
        "PRAGMA mmap_size=0; PRAGMA wal_autocheckpoint=0; PRAGMA cell_size_check=ON;"
        "PRAGMA secure_delete=OFF; PRAGMA recursive_triggers=OFF; PRAGMA automatic_index=ON;"
        "PRAGMA reverse_unordered_selects=OFF; PRAGMA ignore_check_constraints=OFF; PRAGMA analysis_limit=0;"
        "PRAGMA synchronous=OFF; PRAGMA busy_timeout=5000;";
/* temp_store: what an index sorts and a statement's journal would else be in memory, whatever their size: an entry that takes
 * more of it than a node has would end every node that applies it, again and again. Files without a name, in the folder of the
 * database (vfs.c). Reads have a limit of memory (sqlite_memory.h), and are to leave the disk alone. */
static const char pragmas_of_writer[] = "PRAGMA temp_store=FILE; PRAGMA cache_size=-16384; PRAGMA journal_size_limit=67108864;";
/* A reader never commits: to it, as to busy_timeout of one writer, the numbers mean nothing; rqlite's own tests and tools know them. */
static const char pragmas_of_reader[] = "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-2048; PRAGMA query_only=ON; PRAGMA wal_autocheckpoint=1000;";

static void close_connection(sqlite3 **db) {
        (void) sqlite3_close(*db);
        *db = NULL;
}

rq_err connection_error(int sqlite_code) {
        switch (sqlite_code & 0xff) {
        case SQLITE_OK:      return RQ_OK;
        case SQLITE_NOMEM:   return RQ_ENOMEM;
        case SQLITE_FULL:    return RQ_ENOSPC;
        case SQLITE_BUSY:
        case SQLITE_LOCKED:  return RQ_EAGAIN;
        case SQLITE_NOTADB:
        case SQLITE_CORRUPT: return RQ_ECORRUPT;
        default:             return RQ_EIO;
        }
}

static int configure(sqlite3 *db, connection_kind kind) {
        int r = SQLITE_OK;
        for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
                (void) sqlite3_limit(db, limits[i].id, limits[i].value);
                if (sqlite3_limit(db, limits[i].id, -1) != limits[i].value)
                        rq_log_warning("SQLite is compiled with a lower limit (number %d) than %d: statements may fail on this node alone",
                                       limits[i].id, limits[i].value);
        }
        for (size_t i = 0; i < sizeof options / sizeof options[0] && r == SQLITE_OK; i++)
                r = sqlite3_db_config(db, options[i].id, options[i].value, NULL);
        if (r == SQLITE_OK)
                r = sqlite3_exec(db, pragmas_of_all, NULL, NULL, NULL);
        if (r == SQLITE_OK)
                r = sqlite3_exec(db, kind == CONNECTION_WRITER ? pragmas_of_writer : pragmas_of_reader, NULL, NULL, NULL);
        return r;
}

rq_err connection_open(const char *path, const char *vfs_name, connection_kind kind, sqlite3 **ret_db) {
        RQ_CLEANUP(close_connection) sqlite3 *db = NULL;
        int flags = kind == CONNECTION_WRITER ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY;
        int r = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, vfs_name);
        if (r == SQLITE_OK)
                r = configure(db, kind);
        if (r != SQLITE_OK)
                return r == SQLITE_BUSY ? RQ_EIO : connection_error(r);
        *ret_db = RQ_TAKE(db, NULL);
        return RQ_OK;
}

static int get_number(sqlite3 *db, const char *sql) {
        sqlite3_stmt *stmt = NULL;
        int value = 0;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
                value = sqlite3_column_int(stmt, 0);
        (void) sqlite3_finalize(stmt);
        return value;
}

void connection_set_cache(sqlite3 *db, int size) {
        char sql[48];
        (void) snprintf(sql, sizeof sql, "PRAGMA cache_size=%d", size);
        (void) sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int connection_lower_cache(sqlite3 *db, int kibibytes) {
        int size = get_number(db, "PRAGMA cache_size");
        int64_t bytes = size < 0 ? (int64_t) size * -1024 : (int64_t) size * get_number(db, "PRAGMA page_size");
        if (bytes > (int64_t) kibibytes * 1024)
                connection_set_cache(db, -kibibytes);
        return size;
}

int connection_cache_used(sqlite3 *db) {
        int used = 0, high;
        (void) sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_USED, &used, &high, 0);
        return used;
}

int connection_empty_cache(sqlite3 *db) {
        int code = sqlite3_db_cacheflush(db); /* without a transaction nothing has changed */
        (void) sqlite3_db_release_memory(db);
        (void) malloc_trim(0);
        return code;
}
