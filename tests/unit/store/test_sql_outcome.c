/* Which of SQLite's codes may become an entry's outcome, and that none does once a
 * write has failed. */
#include "store_test.h"

#include <errno.h>
#include <string.h>

#include "io/database_file.h"
#include "io/sql_outcome.h"

static int wal_fd;
static bool disk_full;

static int open_file(void *context, int folder_fd, const char *name, int flags) {
        int fd = files_io_kernel.open(context, folder_fd, name, flags);
        if (strcmp(name, DATABASE_WAL_NAME) == 0)
                wal_fd = fd;
        return fd;
}

static ssize_t write_file(void *context, int fd, const void *data, size_t size, off_t offset) {
        if (disk_full && fd == wal_fd) {
                errno = ENOSPC;
                return -1;
        }
        return files_io_kernel.pwrite(context, fd, data, size, offset);
}

static const int outcomes[] = {
        SQLITE_ERROR, SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_INTERRUPT, SQLITE_TOOBIG, SQLITE_MISMATCH, SQLITE_AUTH,
        SQLITE_FULL, SQLITE_NOMEM, SQLITE_CORRUPT_VTAB, SQLITE_CORRUPT_INDEX, SQLITE_CORRUPT_SEQUENCE, SQLITE_LOCKED_VTAB, SQLITE_RANGE,
};

static const struct { int code; rq_err error; } troubles[] = {
        { SQLITE_IOERR_READ, RQ_EIO }, { SQLITE_BUSY_SNAPSHOT, RQ_EIO }, { SQLITE_CANTOPEN, RQ_EIO }, { SQLITE_PROTOCOL, RQ_EIO },
        { SQLITE_INTERNAL, RQ_EIO }, { SQLITE_CONSTRAINT_COMMITHOOK, RQ_EIO }, { 200, RQ_EIO }, { SQLITE_CORRUPT, RQ_ECORRUPT }, { SQLITE_NOTADB, RQ_ECORRUPT },
};

static void test_codes(void **state) {
        files_io io = files_io_kernel;
        place *p = place_new();
        (void) state;
        io.open = open_file;
        io.pwrite = write_file;
        p->options.io = &io;
        place_open(p);
        (void) files_failure(p->files, true);
        for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
                assert_int_equal(sql_outcome_judge(p->files, outcomes[i]), RQ_OK);
        for (size_t i = 0; i < sizeof troubles / sizeof troubles[0]; i++)
                assert_int_equal(sql_outcome_judge(p->files, troubles[i].code), troubles[i].error);

        disk_full = true;
        assert_int_not_equal(sqlite3_exec(p->writer, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
        disk_full = false;
        for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
                assert_int_equal(sql_outcome_judge(p->files, outcomes[i]), RQ_ENOSPC);

        sqlite3 *renewed; /* forgets it, and works */
        assert_int_equal(files_renew_writer(p->files, &renewed), RQ_OK);
        p->writer = renewed;
        assert_int_equal(sql_outcome_judge(p->files, SQLITE_CONSTRAINT), RQ_OK);
        entry(p, "CREATE TABLE t(x)");
        assert_int_equal(files_checkpoint(p->files, &p->at, true), RQ_OK);
        place_free(p);
}

int main(void) {
        files_prepare_process();
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_codes) };
        return cmocka_run_group_tests_name("sql_outcome", tests, NULL, NULL);
}
