/* The mark that says that a database is to be put aside, also on a full disk; and
 * moving it there, as often as it takes. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/aside.h"
#include "io/database_file.h"
#include "io/state_file.h"

static char folder[64];

static int make_folder(void) {
        (void) snprintf(folder, sizeof folder, "/tmp/rq-test-aside-XXXXXX");
        assert_non_null(mkdtemp(folder));
        int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static void remove_folder(int fd) {
        static const char *const names[] = { DATABASE_FILE_NAME, STATE_FILE_NAME, ASIDE_MARK_NAME };
        int aside = openat(fd, ASIDE_FOLDER_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
                (void) unlinkat(fd, names[i], 0);
                (void) unlinkat(aside, names[i], 0);
        }
        if (aside >= 0)
                (void) close(aside);
        (void) unlinkat(fd, ASIDE_FOLDER_NAME, AT_REMOVEDIR);
        (void) close(fd);
        assert_int_equal(rmdir(folder), 0);
}

static void make_file(int folder_fd, const char *name) {
        int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void) close(fd);
}

static bool is_there(int folder_fd, const char *name) { return faccessat(folder_fd, name, F_OK, 0) == 0; }

static void test_a_mark_says_why(void **state) {
        rq_buf reason = {0};
        int fd = make_folder();
        (void) state;
        assert_false(aside_is_marked(fd, &reason));
        assert_int_equal(aside_mark(fd, rq_bytes_text("a longer reason")), RQ_OK);
        assert_int_equal(aside_mark(fd, rq_bytes_text("a reason")), RQ_OK);
        assert_true(aside_is_marked(fd, &reason));
        assert_true(rq_bytes_equal(rq_buf_bytes(&reason), rq_bytes_text("a reason")));
        rq_buf_done(&reason);
        remove_folder(fd);
}

/* Where not a byte more can be written, the words are missing: the mark counts. */
static void test_a_full_disk_keeps_no_diverged_database_in_use(void **state) {
        const struct rlimit none = { 0, RLIM_INFINITY };
        struct rlimit before;
        rq_buf reason = {0};
        int fd = make_folder();
        (void) state;
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        rq_err r = aside_mark(fd, rq_bytes_text("a reason"));
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(r, RQ_OK);
        assert_true(aside_is_marked(fd, &reason));
        assert_int_equal(reason.size, 0);
        remove_folder(fd);
}

/* After a kill amid it, what is left follows; the mark is the last to go. */
static void test_moving_goes_on_where_it_ended(void **state) {
        int fd = make_folder();
        (void) state;
        assert_false(aside_is_there(fd));
        make_file(fd, DATABASE_FILE_NAME);
        make_file(fd, STATE_FILE_NAME);
        make_file(fd, ASIDE_MARK_NAME);
        assert_int_equal(mkdirat(fd, ASIDE_FOLDER_NAME, 0750), 0);
        assert_int_equal(renameat(fd, DATABASE_FILE_NAME, fd, ASIDE_FOLDER_NAME "/" DATABASE_FILE_NAME), 0);
        assert_int_equal(aside_move(fd), RQ_OK);
        static const char *const names[] = { DATABASE_FILE_NAME, STATE_FILE_NAME, ASIDE_MARK_NAME };
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
                char path[64];
                (void) snprintf(path, sizeof path, ASIDE_FOLDER_NAME "/%s", names[i]);
                assert_false(is_there(fd, names[i]));
                assert_true(is_there(fd, path));
        }
        assert_int_equal(aside_move(fd), RQ_OK);
        assert_true(aside_is_there(fd));
        remove_folder(fd);
}

/* Something that isn't a folder is in the way: nothing is moved, and it is said. */
static void test_nothing_is_moved_to_where_it_can_not_be(void **state) {
        int fd = make_folder();
        (void) state;
        make_file(fd, DATABASE_FILE_NAME);
        make_file(fd, ASIDE_FOLDER_NAME);
        assert_true(aside_move(fd) < 0);
        assert_true(is_there(fd, DATABASE_FILE_NAME));
        assert_int_equal(unlinkat(fd, ASIDE_FOLDER_NAME, 0), 0);
        remove_folder(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_mark_says_why), cmocka_unit_test(test_a_full_disk_keeps_no_diverged_database_in_use),
                cmocka_unit_test(test_moving_goes_on_where_it_ended), cmocka_unit_test(test_nothing_is_moved_to_where_it_can_not_be),
        };
        return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
