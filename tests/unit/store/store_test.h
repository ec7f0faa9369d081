/* What the tests of the store's files share: a data and a runtime folder that
 * vanish with the test, and an opened database. */
#ifndef RQ_TEST_STORE_TEST_H
#define RQ_TEST_STORE_TEST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/files.h"
#include "io/files_io.h"

typedef struct place {
        char folder[64], run[64];
        int folder_fd, run_fd;
        files_options options;
        files *files;
        sqlite3 *writer;
        store_state at;
        rq_buf problem;
} place;

static inline void place_make_folder(char *ret_path, size_t size, int *ret_fd) {
        const char *base = getenv("TMPDIR");
        (void) snprintf(ret_path, size, "%s/rq-store-XXXXXX", base != NULL ? base : "/tmp");
        assert_non_null(mkdtemp(ret_path));
        *ret_fd = open(ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(*ret_fd >= 0);
}

static inline void place_remove_folder(const char *path, int fd) {
        DIR *dir = opendir(path);
        struct dirent *entry;
        assert_non_null(dir);
        while ((entry = readdir(dir)) != NULL)
                if (entry->d_name[0] != '.')
                        assert_int_equal(unlinkat(fd, entry->d_name, 0), 0);
        (void) closedir(dir);
        (void) close(fd);
        assert_int_equal(rmdir(path), 0);
}

static inline place *place_new(void) {
        place *p = calloc(1, sizeof *p);
        place_make_folder(p->folder, sizeof p->folder, &p->folder_fd);
        place_make_folder(p->run, sizeof p->run, &p->run_fd);
        return p;
}

static inline rq_err place_try_open(place *p) {
        rq_err r = files_open_with(&p->options, p->folder_fd, p->folder, p->run_fd, &p->files, &p->at, &p->problem);
        if (r == RQ_OK)
                assert_int_equal(files_open_writer(p->files, &p->writer), RQ_OK);
        return r;
}

static inline void place_open(place *p) {
        if (place_try_open(p) != RQ_OK)
                fail_msg("%.*s", (int) p->problem.size, (const char *) p->problem.data);
}

static inline void place_close(place *p) {
        p->files = files_free(p->files);
        p->writer = NULL;
}

static inline void place_free(place *p) {
        place_close(p);
        rq_buf_done(&p->problem);
        place_remove_folder(p->folder, p->folder_fd);
        place_remove_folder(p->run, p->run_fd);
        free(p);
}

static inline void sql(sqlite3 *db, const char *text) {
        char *error = NULL;
        if (sqlite3_exec(db, text, NULL, NULL, &error) != SQLITE_OK)
                fail_msg("%s: %s", text, error);
}

static inline int64_t number(sqlite3 *db, const char *text) {
        sqlite3_stmt *s;
        int64_t n;
        assert_int_equal(sqlite3_prepare_v2(db, text, -1, &s, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(s), SQLITE_ROW);
        n = sqlite3_column_int64(s, 0);
        (void) sqlite3_finalize(s);
        return n;
}

/* One entry: applied, committed, told. */
static inline void entry(place *p, const char *text) {
        sql(p->writer, text);
        p->at.index++;
        files_committed(p->files, &p->at);
}

#endif
