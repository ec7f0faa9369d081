#include "io/extensions.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/archive.h"

typedef struct extension {
        char *path;
        const char *name;   /* in path, or unpacked_name */
        char *unpacked_name;
        int fd;             /* of one that was unpacked into memory, which path names; else -1 */
        uint32_t crc32c;
} extension;

struct extensions {
        extension files[EXTENSIONS_MAX];
        size_t count;
        char **functions; /* deterministic ones, of all */
        size_t function_count;
};

static void close_db(sqlite3 **db) { (void) sqlite3_close(*db); }

static rq_err complain(rq_buf *problem, const char *path, const char *text) {
        problem->size = 0;
        (void) rq_buf_printf(problem, "-extensions-path: %s: %s", path, text);
        return RQ_ECONFIG;
}

/* --- files ------------------------------------------------------------------ */

static rq_err checksum(const char *path, uint32_t *ret_crc32c, rq_buf *problem) {
        RQ_CLEANUP(rq_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t piece[16 * 1024];
        uint32_t crc = 0;
        ssize_t n;
        if (fd < 0)
                return complain(problem, path, strerror(errno));
        for (size_t total = 0; (n = read(fd, piece, sizeof piece)) > 0; total += (size_t) n) {
                if (total > EXTENSION_BYTES_MAX)
                        return complain(problem, path, "too large for a shared library");
                crc = rq_crc32c(crc, piece, (size_t) n);
        }
        if (n < 0)
                return complain(problem, path, strerror(errno));
        *ret_crc32c = crc;
        return RQ_OK;
}

static rq_err add_file(extensions *e, const char *path, rq_buf *problem) {
        extension *file = &e->files[e->count];
        if (e->count == EXTENSIONS_MAX)
                return complain(problem, path, "too many extensions (at most 64)");
        rq_err r = checksum(path, &file->crc32c, problem);
        if (r < 0)
                return r;
        file->fd = -1;
        file->path = strdup(path);
        if (file->path == NULL)
                return RQ_ENOMEM;
        const char *slash = strrchr(file->path, '/');
        file->name = slash != NULL ? slash + 1 : file->path;
        e->count++;
        return RQ_OK;
}

/* --- archives --------------------------------------------------------------- */

typedef struct unpacking { extensions *e; const char *archive; rq_buf *problem; } unpacking;

static rq_err add_unpacked(void *arg, const char *name, int take_fd) {
        unpacking *u = arg;
        RQ_CLEANUP(rq_closep) int fd = take_fd;
        char path[64];
        (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        rq_err r = add_file(u->e, path, u->problem);
        if (r < 0)
                return r;
        extension *file = &u->e->files[u->e->count - 1];
        file->fd = RQ_TAKE(fd, -1);
        file->unpacked_name = strdup(name);
        file->name = file->unpacked_name;
        return file->name != NULL ? RQ_OK : RQ_ENOMEM;
}

static rq_err read_all(int fd, size_t size, rq_buf *out) {
        rq_err r = rq_buf_reserve(out, size);
        while (r >= 0 && out->size < size) {
                const ssize_t n = read(fd, out->data + out->size, size - out->size);
                if (n <= 0)
                        return n < 0 ? rq_err_from_errno(errno) : RQ_ECORRUPT;
                out->size += (size_t) n;
        }
        return r;
}

/* *ret_is_one false: no archive, nothing was done. */
static rq_err add_archive(extensions *e, const char *path, size_t size, bool *ret_is_one, rq_buf *problem) {
        RQ_CLEANUP(rq_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        RQ_CLEANUP(rq_buf_done) rq_buf archive = {0};
        unpacking u = { e, path, problem };
        uint8_t head[4];
        const char *why = "";
        const size_t before = e->count;
        if (fd < 0)
                return complain(problem, path, strerror(errno));
        const ssize_t n = pread(fd, head, sizeof head, 0);
        *ret_is_one = n > 0 && archive_is_one(rq_bytes_of(head, (size_t) n));
        if (!*ret_is_one)
                return RQ_OK;
        if (size > ARCHIVE_BYTES_MAX)
                return complain(problem, path, "larger than 256 MiB");
        rq_err r = read_all(fd, size, &archive);
        if (r >= 0)
                r = archive_read(rq_buf_bytes(&archive), add_unpacked, &u, &why);
        if (r == RQ_ECONFIG || r == RQ_ENOMEM)
                return r; /* said, but for the latter */
        if (r < 0)
                return complain(problem, path, why[0] != '\0' ? why : rq_err_text(r));
        return e->count > before ? RQ_OK : complain(problem, path, "there is no *.so in it");
}

/* --- paths ------------------------------------------------------------------ */

static int is_library(const struct dirent *entry) {
        size_t size = strlen(entry->d_name);
        return size > 3 && strcmp(entry->d_name + size - 3, ".so") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static rq_err add_folder(extensions *e, const char *path, rq_buf *problem) {
        struct dirent **entries = NULL;
        char file[4096];
        int count = scandir(path, &entries, is_library, by_name);
        rq_err r = count < 0 ? complain(problem, path, strerror(errno)) : RQ_OK;
        for (int i = 0; i < count; i++) {
                if (r >= 0 && snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name) >= (int) sizeof file)
                        r = complain(problem, path, "the path is too long");
                if (r >= 0)
                        r = add_file(e, file, problem);
                free(entries[i]);
        }
        free(entries);
        return r;
}

static rq_err add_path(extensions *e, const char *path, rq_buf *problem) {
        struct stat st;
        if (stat(path, &st) != 0)
                return complain(problem, path, strerror(errno));
        if (S_ISDIR(st.st_mode))
                return add_folder(e, path, problem);
        if (!S_ISREG(st.st_mode))
                return complain(problem, path, "neither a file nor a folder");
        bool is_archive = false;
        rq_err r = add_archive(e, path, (size_t) st.st_size, &is_archive, problem);
        return r < 0 || is_archive ? r : add_file(e, path, problem);
}

/* --- functions -------------------------------------------------------------- */

/* Names of functions, each behind a '/' and in lower case: "/abs/acos/.../". */
static rq_err list_functions(sqlite3 *db, const char *sql, rq_buf *out) {
        sqlite3_stmt *stmt;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
                return RQ_ENOMEM;
        rq_err r = rq_buf_append_text(out, "/");
        while (r >= 0 && sqlite3_step(stmt) == SQLITE_ROW)
                r = rq_buf_printf(out, "%s/", (const char *) sqlite3_column_text(stmt, 0));
        (void) sqlite3_finalize(stmt);
        return r < 0 ? r : rq_buf_append(out, "", 1);
}

static rq_err keep_function(extensions *e, const char *name) {
        char **functions = reallocarray(e->functions, e->function_count + 1, sizeof *functions);
        if (functions == NULL)
                return RQ_ENOMEM;
        e->functions = functions;
        functions[e->function_count] = strdup(name);
        return functions[e->function_count++] != NULL ? RQ_OK : RQ_ENOMEM;
}

/* What is there now and wasn't before, if every form of it is deterministic. */
static rq_err keep_functions(extensions *e, const char *before, const char *now) {
        char name[256];
        rq_err r = RQ_OK;
        for (const char *at = now + 1, *end; r >= 0 && (end = strchr(at, '/')) != NULL; at = end + 1) {
                int size = snprintf(name, sizeof name, "/%.*s/", (int) (end - at), at);
                if (size >= (int) sizeof name || strstr(before, name) != NULL)
                        continue;
                name[size - 1] = '\0';
                r = keep_function(e, name + 1);
        }
        return r;
}

enum { ENTRY_BYTES = 300 };

/* As SQLite makes it of a file's name: "libFoo-1.so" has sqlite3_foo_init. */
static const char *entry_point(const char *name, char entry[static ENTRY_BYTES]) {
        size_t n = (size_t) snprintf(entry, ENTRY_BYTES, "sqlite3_");
        for (const char *p = strncasecmp(name, "lib", 3) == 0 ? name + 3 : name; *p != '\0' && *p != '.' && n < ENTRY_BYTES - 8; p++)
                if (isascii(*p) && isalpha((unsigned char) *p))
                        entry[n++] = (char) tolower((unsigned char) *p);
        (void) snprintf(entry + n, ENTRY_BYTES - n, "_init");
        return entry;
}

static rq_err load(sqlite3 *db, const extension *file, rq_buf *problem) {
        char *text = NULL;
        int rc = sqlite3_load_extension(db, file->path, NULL, &text);
        if (rc != SQLITE_OK && file->fd >= 0) { /* its path doesn't say how its entry is called */
                char entry[ENTRY_BYTES];
                sqlite3_free(text);
                text = NULL;
                rc = sqlite3_load_extension(db, file->path, entry_point(file->name, entry), &text);
        }
        if (rc == SQLITE_OK)
                return RQ_OK;
        rq_err r = problem != NULL ? complain(problem, file->fd >= 0 ? file->name : file->path, text != NULL ? text : sqlite3_errstr(rc)) : RQ_EIO;
        sqlite3_free(text);
        return r;
}

static rq_err learn(extensions *e, rq_buf *problem) {
        static const char all[] = "SELECT DISTINCT lower(name) FROM pragma_function_list";
        static const char deterministic[] = /* SQLITE_DETERMINISTIC is 0x800 */
                "SELECT lower(name) FROM pragma_function_list GROUP BY lower(name) HAVING min(flags & 2048) > 0";
        RQ_CLEANUP(close_db) sqlite3 *db = NULL;
        RQ_CLEANUP(rq_buf_done) rq_buf before = {0}, now = {0};
        if (sqlite3_open(":memory:", &db) != SQLITE_OK)
                return RQ_ENOMEM;
        rq_err r = list_functions(db, all, &before);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
        for (size_t i = 0; i < e->count && r >= 0; i++)
                r = load(db, &e->files[i], problem);
        if (r >= 0)
                r = list_functions(db, deterministic, &now);
        return r < 0 ? r : keep_functions(e, (const char *) before.data, (const char *) now.data);
}

/* --- life ------------------------------------------------------------------- */

rq_err extensions_open(const char *paths, extensions **ret_extensions, rq_buf *ret_problem) {
        extensions *e = calloc(1, sizeof *e);
        RQ_CLEANUP(rq_freep) char *copy = strdup(paths);
        rq_err r = e == NULL || copy == NULL ? RQ_ENOMEM : RQ_OK;
        char *rest = copy, *path;
        while (r >= 0 && (path = strsep(&rest, ",")) != NULL)
                if (path[0] != '\0')
                        r = add_path(e, path, ret_problem);
        if (r >= 0 && e->count > 0)
                r = learn(e, ret_problem);
        if (r < 0) {
                (void) extensions_free(e);
                return r;
        }
        *ret_extensions = e;
        return RQ_OK;
}

extensions *extensions_free(extensions *e) {
        if (e == NULL)
                return NULL;
        for (size_t i = 0; i < e->count; i++) {
                free(e->files[i].path);
                free(e->files[i].unpacked_name);
                if (e->files[i].fd >= 0)
                        (void) close(e->files[i].fd);
        }
        for (size_t i = 0; i < e->function_count; i++)
                free(e->functions[i]);
        free(e->functions);
        free(e);
        return NULL;
}

rq_err extensions_load(const extensions *e, sqlite3 *db) {
        rq_err r = RQ_OK;
        if (e == NULL || e->count == 0)
                return RQ_OK;
        /* From C only, and only for this moment: SQL never may. */
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
        for (size_t i = 0; i < e->count && r >= 0; i++)
                r = load(db, &e->files[i], NULL);
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
        return r;
}

bool extensions_has(const extensions *e, const char *function) {
        for (size_t i = 0; e != NULL && i < e->function_count; i++)
                if (strcasecmp(e->functions[i], function) == 0)
                        return true;
        return false;
}

const char *extensions_at(const extensions *e, size_t place, uint32_t *ret_crc32c) {
        if (e == NULL || place >= e->count)
                return NULL;
        *ret_crc32c = e->files[place].crc32c;
        return e->files[place].name;
}
