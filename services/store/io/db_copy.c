#include "io/db_copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/connection.h"
#include "io/files_io.h"
#include "io/image.h"

enum {
        PAGES_AT_A_TIME = 1024, /* between looks at the flag */
        STEPS_TO_LOOK   = 1000,
        PIECE_BYTES     = 64 * 1024,
        REPLACE_CACHE_KIB = 2048,
};

#define COPY_MARK ".copy-"

/* A copy needs no journal: a half-made one is thrown away. */
static const char pragmas_of_copy[] =
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-1024; PRAGMA secure_delete=OFF;";

static void close_database(sqlite3 **db) {
        (void) sqlite3_close(*db);
        *db = NULL;
}

static void free_text(char **text) { free(*text); }
static void free_sql(char **sql) { sqlite3_free(*sql); }

static bool is_stopped(const atomic_bool *stop) { return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed); }

/* A new file beside the database; it has its name only until SQLite has opened it. */
static rq_err make_file(const char *database, char **ret_path, int *ret_fd) {
        char *path;
        if (database == NULL || asprintf(&path, "%s" COPY_MARK "XXXXXX", database) < 0)
                return RQ_ENOMEM;
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0) {
                int e = errno;
                free(path);
                return files_io_error(e);
        }
        *ret_path = path;
        *ret_fd = fd;
        return RQ_OK;
}

void db_copy_clean(const char *database_path) {
        RQ_CLEANUP(free_text) char *folder = strdup(database_path);
        char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
        if (slash == NULL)
                return;
        *slash = '\0';
        const char *name = slash + 1;
        size_t size = strlen(name);
        DIR *dir = opendir(folder);
        if (dir == NULL)
                return;
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
                if (strncmp(entry->d_name, name, size) == 0 && strncmp(entry->d_name + size, COPY_MARK, strlen(COPY_MARK)) == 0)
                        (void) unlinkat(dirfd(dir), entry->d_name, 0);
        (void) closedir(dir);
}

static rq_err open_copy(const char *path, sqlite3 **ret_db) {
        RQ_CLEANUP(close_database) sqlite3 *db = NULL;
        int code = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
        if (code == SQLITE_OK)
                code = sqlite3_exec(db, pragmas_of_copy, NULL, NULL, NULL);
        if (code != SQLITE_OK)
                return connection_error(code);
        *ret_db = RQ_TAKE(db, NULL);
        return RQ_OK;
}

static rq_err copy_pages(sqlite3 *to, sqlite3 *from, const atomic_bool *stop) {
        sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
        if (backup == NULL)
                return connection_error(sqlite3_errcode(to));
        int code = SQLITE_OK;
        while (code == SQLITE_OK && !is_stopped(stop))
                code = sqlite3_backup_step(backup, PAGES_AT_A_TIME);
        int end = sqlite3_backup_finish(backup);
        if (code == SQLITE_OK)
                return RQ_ECANCELED;
        return connection_error(code != SQLITE_DONE ? code : end);
}

rq_err db_copy_set_journal(int fd, db_journal journal) {
        const uint8_t versions[2] = { (uint8_t) journal, (uint8_t) journal };
        struct stat st;
        if (fstat(fd, &st) < 0)
                return files_io_error(errno);
        if (st.st_size < DB_HEADER_BYTES)
                return RQ_OK; /* a database without any page */
        return files_io_write_at(&files_io_kernel, fd, versions, sizeof versions, DB_VERSIONS_AT);
}

static rq_err copy_plain(sqlite3 *from, const atomic_bool *stop, char **ret_path, int *ret_fd) {
        RQ_CLEANUP(close_database) sqlite3 *to = NULL;
        rq_err r = make_file(sqlite3_db_filename(from, "main"), ret_path, ret_fd);
        if (r >= 0)
                r = open_copy(*ret_path, &to);
        if (r >= 0)
                r = copy_pages(to, from, stop);
        /* It closes with the marks of the source, whose VFS shows it as of WAL mode. */
        if (to != NULL) {
                (void) sqlite3_close(to);
                to = NULL;
        }
        return r >= 0 ? db_copy_set_journal(*ret_fd, DB_ROLLBACK) : r;
}

/* --- into the database ---------------------------------------------------------- */

static int get_number(sqlite3 *db, const char *sql) {
        sqlite3_stmt *stmt = NULL;
        int value = -1;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
                value = sqlite3_column_int(stmt, 0);
        (void) sqlite3_finalize(stmt);
        return value;
}

/* What the content can be blamed for is the same everywhere; the rest is this machine's. */
static rq_err judge(rq_err r, sqlite3 *db, char problem[static DB_COPY_PROBLEM_BYTES]) {
        int code = sqlite3_errcode(db) & 0xff;
        if (r >= 0 || (code != SQLITE_CORRUPT && code != SQLITE_CONSTRAINT && code != SQLITE_ERROR && code != SQLITE_NOTADB && code != SQLITE_TOOBIG))
                return r;
        (void) snprintf(problem, DB_COPY_PROBLEM_BYTES, "damaged, or not readable for this version: %.150s", sqlite3_errmsg(db));
        return RQ_OK;
}

/* Of the same page size. With a small cache: pages leave for the WAL as they come. */
static rq_err replace(sqlite3 *to, const char *path) {
        RQ_CLEANUP(close_database) sqlite3 *from = NULL;
        rq_err r = open_copy(path, &from);
        if (r < 0)
                return r;
        int cache = connection_lower_cache(to, REPLACE_CACHE_KIB);
        r = copy_pages(to, from, NULL);
        connection_set_cache(to, cache);
        return r;
}

static rq_err vacuum_file(const char *path, int page_size, const char *vacuumed_path, char problem[static DB_COPY_PROBLEM_BYTES]) {
        RQ_CLEANUP(close_database) sqlite3 *db = NULL;
        RQ_CLEANUP(free_sql) char *sql = sqlite3_mprintf("PRAGMA page_size=%d; VACUUM INTO %Q", page_size, vacuumed_path);
        rq_err r = sql == NULL ? RQ_ENOMEM : open_copy(path, &db);
        if (r < 0)
                return r;
        return judge(connection_error(sqlite3_exec(db, sql, NULL, NULL, NULL)), db, problem);
}

static int page_size_of(const char *path) {
        RQ_CLEANUP(close_database) sqlite3 *db = NULL;
        return open_copy(path, &db) < 0 ? -1 : get_number(db, "PRAGMA page_size");
}

static void unlink_path(char **path) {
        if (*path != NULL)
                (void) unlink(*path);
        free_text(path);
}

/* SQLite keeps the page size of a database in WAL mode: the file gets the writer's. */
static rq_err replace_in_its_pages(sqlite3 *to, const char *path, bool vacuum, char problem[static DB_COPY_PROBLEM_BYTES]) {
        RQ_CLEANUP(unlink_path) char *other = NULL;
        RQ_CLEANUP(rq_closep) int fd = -1;
        int wanted = get_number(to, "PRAGMA page_size"), found = page_size_of(path);
        problem[0] = '\0';
        if (wanted <= 0 || found <= 0)
                return RQ_EIO;
        if (wanted == found && !vacuum)
                return replace(to, path);
        rq_err r = make_file(sqlite3_db_filename(to, "main"), &other, &fd);
        if (r >= 0)
                r = vacuum_file(path, wanted, other, problem);
        return r < 0 || problem[0] != '\0' ? r : replace(to, other);
}

rq_err db_copy_in(sqlite3 *to, const char *path, char ret_problem[static DB_COPY_PROBLEM_BYTES]) {
        return replace_in_its_pages(to, path, false, ret_problem);
}

rq_err db_copy_vacuum(sqlite3 *writer, char ret_problem[static DB_COPY_PROBLEM_BYTES]) {
        RQ_CLEANUP(unlink_path) char *path = NULL;
        RQ_CLEANUP(rq_closep) int fd = -1;
        ret_problem[0] = '\0';
        rq_err r = copy_plain(writer, NULL, &path, &fd);
        return r < 0 ? r : replace_in_its_pages(writer, path, true, ret_problem);
}

/* --- out of it ------------------------------------------------------------------ */

static int on_progress(void *arg) { return is_stopped(arg); }

/* In two steps, since VACUUM makes a transaction of its own, of which nobody
 * could say which index it saw. */
static rq_err vacuum_into(const char *path, const char *vacuumed_path, const atomic_bool *stop) {
        RQ_CLEANUP(close_database) sqlite3 *db = NULL;
        RQ_CLEANUP(free_sql) char *sql = sqlite3_mprintf("VACUUM INTO %Q", vacuumed_path);
        rq_err r = sql == NULL ? RQ_ENOMEM : open_copy(path, &db);
        if (r < 0)
                return r;
        sqlite3_progress_handler(db, STEPS_TO_LOOK, on_progress, (void *) (uintptr_t) stop);
        int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
        return (code & 0xff) == SQLITE_INTERRUPT ? RQ_ECANCELED : connection_error(code);
}

rq_err db_copy_out(sqlite3 *from, bool vacuumed, const atomic_bool *stop, int *ret_fd) {
        RQ_CLEANUP(unlink_path) char *path = NULL, *vacuumed_path = NULL;
        RQ_CLEANUP(rq_closep) int fd = -1, vacuumed_fd = -1;
        rq_err r = copy_plain(from, stop, &path, &fd);
        if (r >= 0 && vacuumed) {
                r = make_file(sqlite3_db_filename(from, "main"), &vacuumed_path, &vacuumed_fd);
                if (r >= 0)
                        r = vacuum_into(path, vacuumed_path, stop);
                if (r >= 0)
                        r = db_copy_set_journal(vacuumed_fd, DB_ROLLBACK);
        }
        if (r < 0)
                return r;
        *ret_fd = vacuumed ? RQ_TAKE(vacuumed_fd, -1) : RQ_TAKE(fd, -1);
        return RQ_OK;
}

static void mark_journal(uint8_t *piece, size_t size, uint64_t at, db_journal journal) {
        if (at == 0 && size >= DB_HEADER_BYTES)
                piece[DB_VERSIONS_AT] = piece[DB_VERSIONS_AT + 1] = (uint8_t) journal;
}

rq_err db_copy_send_file(int fd, db_journal journal, db_copy_send send, void *arg) {
        RQ_CLEANUP(rq_freep) uint8_t *piece = malloc(PIECE_BYTES);
        size_t size;
        if (piece == NULL)
                return RQ_ENOMEM;
        for (uint64_t at = 0;; at += size) {
                rq_err r = files_io_read_at(&files_io_kernel, fd, piece, PIECE_BYTES, at, &size);
                if (r < 0 || size == 0)
                        return r;
                mark_journal(piece, size, at, journal);
                if (!send(arg, rq_bytes_of(piece, size)))
                        return RQ_ECANCELED;
        }
}

rq_err db_copy_send_image(image *from, db_journal journal, db_copy_room room, db_copy_send send, void *arg) {
        RQ_CLEANUP(rq_freep) uint8_t *own = room == NULL ? malloc(PIECE_BYTES) : NULL;
        size_t size;
        for (uint64_t at = 0;; at += size) {
                uint8_t *piece = room != NULL ? room(arg, PIECE_BYTES) : own;
                if (piece == NULL)
                        return RQ_ENOMEM;
                rq_err r = image_read(from, at, piece, PIECE_BYTES, &size);
                if (r < 0 || size == 0)
                        return r;
                image_release(from, at + size);
                mark_journal(piece, size, at, journal);
                if (!send(arg, rq_bytes_of(piece, size)))
                        return RQ_ECANCELED;
        }
}
