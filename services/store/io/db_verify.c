#include "io/db_verify.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "core/database_header.h"
#include "io/connection.h"
#include "io/db_copy.h"
#include "io/files_io.h"

typedef struct verdict {
        char *problem; /* DB_VERIFY_PROBLEM_BYTES */
        rq_err error;  /* of the machine */
} verdict;

__attribute__((format(printf, 2, 3)))
static bool bad(verdict *v, const char *format, ...) {
        va_list args;
        va_start(args, format);
        (void) vsnprintf(v->problem, DB_VERIFY_PROBLEM_BYTES, format, args);
        va_end(args);
        return false;
}

/* --- content ------------------------------------------------------------------- */

static void close_database(sqlite3 **db) {
        (void) sqlite3_close(*db);
        *db = NULL;
}

static void finalize(sqlite3_stmt **stmt) { (void) sqlite3_finalize(*stmt); }

/* Damage is the file's; what may pass is the machine's. */
static bool failed(verdict *v, sqlite3 *db, int code) {
        switch (code & 0xff) {
        case SQLITE_NOMEM:
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_CANTOPEN:
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
        case SQLITE_PERM:
                v->error = connection_error(code);
                return false;
        default:
                return bad(v, "damaged, or not readable for this version: %s", db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
        }
}

static bool prepare(verdict *v, sqlite3 *db, const char *sql, sqlite3_stmt **ret_stmt) {
        int code = sqlite3_prepare_v2(db, sql, -1, ret_stmt, NULL);
        return code == SQLITE_OK || failed(v, db, code);
}

/* Not quick_check: it doesn't look into indexes, and a damaged one would make a later write
 * stop every node's store. */
static bool check_integrity(verdict *v, sqlite3 *db) {
        RQ_CLEANUP(finalize) sqlite3_stmt *stmt = NULL;
        if (!prepare(v, db, "PRAGMA integrity_check(1)", &stmt))
                return false;
        int code = sqlite3_step(stmt);
        if (code != SQLITE_ROW)
                return failed(v, db, code);
        const char *text = (const char *) sqlite3_column_text(stmt, 0);
        if (text == NULL || strcmp(text, "ok") != 0)
                return bad(v, "damaged: %.150s", text != NULL ? text : "it can't be checked");
        return true;
}

/* rowid: a name of it that no column of the table has. */
static bool check_table(verdict *v, sqlite3 *db, const char *table, const char *rowid) {
        RQ_CLEANUP(finalize) sqlite3_stmt *stmt = NULL;
        char *sql = sqlite3_mprintf("SELECT 1 FROM main.\"%w\" WHERE %s = 9223372036854775807", table, rowid);
        if (sql == NULL) {
                v->error = RQ_ENOMEM;
                return false;
        }
        int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
        sqlite3_free(sql);
        if (code == SQLITE_OK)
                code = sqlite3_step(stmt);
        else if ((code & 0xff) == SQLITE_ERROR)
                return true; /* a function is missing: nothing can be said */
        if (code == SQLITE_DONE)
                return true;
        if (code == SQLITE_ROW)
                return bad(v, "table %.100s has the rowid 9223372036854775807 without AUTOINCREMENT: ids after it would be random", table);
        return failed(v, db, code);
}

/* Hazard 8: SQLite draws the ids after the highest one at random. */
static bool check_rowids(verdict *v, sqlite3 *db) {
        RQ_CLEANUP(finalize) sqlite3_stmt *tables = NULL;
        if (!prepare(v, db, "SELECT l.name, (SELECT column1 FROM (VALUES('rowid'), ('_rowid_'), ('oid')) WHERE NOT EXISTS"
                            " (SELECT 1 FROM pragma_table_xinfo(l.name, 'main') AS c WHERE c.name = column1 COLLATE NOCASE) LIMIT 1)"
                            " FROM pragma_table_list AS l JOIN sqlite_schema AS s ON s.name = l.name AND s.type = 'table'"
                            " WHERE l.schema = 'main' AND l.type = 'table' AND l.wr = 0 AND s.sql NOT LIKE '%AUTOINCREMENT%'", &tables))
                return false;
        int code;
        while ((code = sqlite3_step(tables)) == SQLITE_ROW) {
                const char *name = (const char *) sqlite3_column_text(tables, 0);
                const char *rowid = (const char *) sqlite3_column_text(tables, 1);
                if (name != NULL && rowid != NULL && !check_table(v, db, name, rowid)) /* all three hidden: nothing can be said */
                        return false;
        }
        return code == SQLITE_DONE || failed(v, db, code);
}

static bool check_content(verdict *v, const char *path) {
        RQ_CLEANUP(close_database) sqlite3 *db = NULL;
        static const char pragmas[] =
                "PRAGMA cache_size=-2048; PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA temp_store=MEMORY; PRAGMA query_only=ON;";
        int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_exec(db, pragmas, NULL, NULL, NULL);
        if (code != SQLITE_OK)
                return failed(v, db, code);
        return check_integrity(v, db) && check_rowids(v, db);
}

rq_err db_verify(int fd, const char *path, char ret_problem[static DB_VERIFY_PROBLEM_BYTES]) {
        verdict v = { .problem = ret_problem };
        uint8_t bytes[DATABASE_HEADER_BYTES];
        char bad_header[DATABASE_HEADER_PROBLEM_BYTES];
        database_header header;
        struct stat st;
        size_t size;
        ret_problem[0] = '\0';
        if (fstat(fd, &st) < 0)
                return files_io_error(errno);
        rq_err r = files_io_read_at(&files_io_kernel, fd, bytes, sizeof bytes, 0, &size);
        if (r < 0)
                return r;
        if (!database_header_judge(bytes, size, (uint64_t) st.st_size, &header, bad_header)) {
                (void) bad(&v, "%s", bad_header);
        } else {
                v.error = db_copy_set_journal(fd, DB_ROLLBACK);
                if (v.error >= 0)
                        (void) check_content(&v, path);
        }
        return v.error;
}
