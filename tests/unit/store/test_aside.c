/* The mark that says that a database is to be put aside, also on a full disk; and
 * moving it there, as often as it takes. */
#include <fcntl.h>
#include <ftw.h>
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

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
        (void) st;
        (void) kind;
        (void) at;
        return remove(path);
}

static void remove_folder(int fd) {
        (void) close(fd);
        assert_int_equal(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
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

static void make_database(int fd, bool marked) {
        make_file(fd, DATABASE_FILE_NAME);
        make_file(fd, STATE_FILE_NAME);
        if (marked)
                make_file(fd, ASIDE_MARK_NAME);
}

static bool has(int fd, const char *place, const char *name) {
        char path[96];
        (void) snprintf(path, sizeof path, "%s/%s", place, name);
        return is_there(fd, path);
}

/* After a kill amid it, what is left follows; the mark is the last to go. */
static void test_moving_goes_on_where_it_ended(void **state) {
        static const char *const names[] = { DATABASE_FILE_NAME, STATE_FILE_NAME, ASIDE_MARK_NAME };
        char place[RQ_ASIDE_PLACE_BYTES];
        (void) state;
        for (size_t moved = 0; moved <= 3; moved++) {
                int fd = make_folder();
                assert_false(aside_is_there(fd));
                make_database(fd, true);
                assert_int_equal(rq_aside_begin(fd, false), RQ_OK);
                for (size_t i = 0; i < moved; i++) {
                        char to[96];
                        (void) snprintf(to, sizeof to, RQ_ASIDE_MOVING "/%s", names[i]);
                        assert_int_equal(renameat(fd, names[i], fd, to), 0);
                }
                assert_int_equal(aside_move(fd, place), RQ_OK);
                assert_string_equal(place, "aside/1");
                for (size_t i = 0; i < 3; i++) {
                        assert_false(is_there(fd, names[i]));
                        assert_true(has(fd, place, names[i]));
                }
                assert_true(aside_is_there(fd));
                assert_false(is_there(fd, RQ_ASIDE_MOVING));
                remove_folder(fd);
        }
}

/* What was kept stays as it was, also if a kill left it without its number. */
static void test_each_database_has_a_place_of_its_own(void **state) {
        char place[RQ_ASIDE_PLACE_BYTES];
        int fd = make_folder();
        (void) state;
        make_database(fd, true);
        make_file(fd, DATABASE_WAL_NAME);
        assert_int_equal(aside_move(fd, place), RQ_OK);
        assert_string_equal(place, "aside/1");
        make_database(fd, false);
        assert_int_equal(aside_move(fd, place), RQ_OK);
        assert_string_equal(place, "aside/2");
        assert_true(has(fd, "aside/1", ASIDE_MARK_NAME) && has(fd, "aside/1", DATABASE_WAL_NAME) && has(fd, "aside/1", DATABASE_FILE_NAME));
        assert_false(has(fd, "aside/2", ASIDE_MARK_NAME) || has(fd, "aside/2", DATABASE_WAL_NAME));
        assert_true(has(fd, "aside/2", DATABASE_FILE_NAME) && has(fd, "aside/2", STATE_FILE_NAME));

        assert_int_equal(renameat(fd, "aside/2", fd, RQ_ASIDE_MOVING), 0);
        make_database(fd, true);
        assert_int_equal(aside_move(fd, place), RQ_OK);
        assert_string_equal(place, "aside/3");
        assert_false(has(fd, "aside/2", ASIDE_MARK_NAME));
        assert_true(has(fd, "aside/2", STATE_FILE_NAME) && has(fd, "aside/3", ASIDE_MARK_NAME));
        remove_folder(fd);
}

/* Something that isn't a folder is in the way: nothing is moved, and it is said. */
static void test_nothing_is_moved_to_where_it_can_not_be(void **state) {
        int fd = make_folder();
        (void) state;
        make_file(fd, DATABASE_FILE_NAME);
        make_file(fd, RQ_ASIDE_NAME);
        char place[RQ_ASIDE_PLACE_BYTES];
        assert_true(aside_move(fd, place) < 0);
        assert_true(is_there(fd, DATABASE_FILE_NAME));
        remove_folder(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_mark_says_why), cmocka_unit_test(test_a_full_disk_keeps_no_diverged_database_in_use),
                cmocka_unit_test(test_moving_goes_on_where_it_ended), cmocka_unit_test(test_each_database_has_a_place_of_its_own),
                cmocka_unit_test(test_nothing_is_moved_to_where_it_can_not_be),
        };
        return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
