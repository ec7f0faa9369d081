/* The wal-index's locks, as os_unix.c has them, and the database's. */
#include "store_test.h"

#include <string.h>

#include "io/wal_index.h"

enum { SHARED = SQLITE_SHM_LOCK | SQLITE_SHM_SHARED, EXCLUSIVE = SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE,
       NOT_SHARED = SQLITE_SHM_UNLOCK | SQLITE_SHM_SHARED, NOT_EXCLUSIVE = SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE };

static void test_locks(void **state) {
        wal_index *w;
        wal_index_user a = {0}, b = {0};
        (void) state;
        assert_int_equal(wal_index_new(&w), RQ_OK);
        assert_int_equal(wal_index_lock(w, &a, 3, 1, SHARED), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &a, 3, 1, SHARED), SQLITE_OK); /* once held, held once */
        assert_int_equal(wal_index_lock(w, &b, 3, 1, SHARED), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &b, 0, 4, EXCLUSIVE), SQLITE_BUSY); /* all or none */
        assert_int_equal(wal_index_lock(w, &a, 0, 3, EXCLUSIVE), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &b, 2, 1, SHARED), SQLITE_BUSY);
        assert_int_equal(wal_index_lock(w, &a, 0, 3, NOT_EXCLUSIVE), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &a, 3, 1, NOT_SHARED), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &a, 3, 1, EXCLUSIVE), SQLITE_BUSY); /* b reads */
        assert_int_equal(wal_index_lock(w, &b, 3, 1, NOT_SHARED), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &a, 3, 1, EXCLUSIVE), SQLITE_OK);
        assert_int_equal(wal_index_lock(w, &b, 4, 4, EXCLUSIVE), SQLITE_OK);
        wal_index_leave(w, &a);
        wal_index_leave(w, &b);
        assert_int_equal(a.shared | a.exclusive | b.shared | b.exclusive, 0);
        assert_int_equal(wal_index_lock(w, &b, 0, 8, EXCLUSIVE), SQLITE_OK);
        wal_index_leave(w, &b);
        wal_index_free(w);
}

static void test_memory(void **state) {
        wal_index *w;
        void volatile *first, *again, *second;
        (void) state;
        assert_int_equal(wal_index_new(&w), RQ_OK);
        assert_int_equal(wal_index_map(w, 0, 32768, 0, &first), SQLITE_OK);
        assert_null((void *) first);
        assert_int_equal(wal_index_map(w, 0, 32768, 1, &first), SQLITE_OK);
        assert_int_equal(wal_index_map(w, 3, 32768, 1, &second), SQLITE_OK);
        assert_int_equal(wal_index_map(w, 0, 32768, 0, &again), SQLITE_OK);
        assert_ptr_equal((void *) first, (void *) again);
        assert_int_equal(wal_index_map(w, 0, 4096, 1, &first), SQLITE_IOERR_SHMMAP);
        assert_false(wal_index_known(w));
        wal_index_free(w);
}

/* Against SQLite itself: what it writes is where we read it. */
static void test_position_is_sqlites(void **state) {
        place *p = place_new();
        uint8_t salts[8];
        files_stats stats;
        int fd;
        (void) state;
        place_open(p);
        entry(p, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
        files_stats_get(p->files, &stats);
        fd = openat(p->folder_fd, "db.sqlite-rqwal", O_RDONLY);
        assert_int_equal(pread(fd, salts, 8, 16), 8);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, stats.wal_bytes);
        assert_int_equal((uint64_t) st.st_size, 32 + stats.wal_frames * 4120);
        assert_int_equal(stats.database_bytes, 8192);
        (void) close(fd);
        place_free(p);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_locks),
                cmocka_unit_test(test_memory),
                cmocka_unit_test(test_position_is_sqlites),
        };
        files_prepare_process();
        return cmocka_run_group_tests_name("wal_index", tests, NULL, NULL);
}
