/* What a voter can't use any more: each time to a place of its own, the identity last. */
#include <ftw.h>
#include <sys/stat.h>

#include "fault_io.h"
#include "io/folder_aside.h"
#include "io/identity.h"
#include "io/starts_file.h"
#include "own_folder.h"

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
        (void) st;
        (void) kind;
        (void) at;
        return remove(path);
}

static int tear_down(void **state) {
        (void) state;
        (void) close(dir_fd);
        return nftw(dir_name, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_file(const char *name) {
        int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        (void) close(fd);
}

static bool is_there(const char *path) { return faccessat(dir_fd, path, F_OK, 0) == 0; }

static void make_log(const char *segment) {
        make_file(segment);
        make_file("hardstate");
        make_file(IDENTITY_NAME);
        make_file(STARTS_NAME);
        make_file("lock");
}

static void test_two_folders_are_not_mixed(void **state) {
        char place[RQ_ASIDE_PLACE_BYTES];
        (void) state;
        assert_false(folder_aside_is_there(dir_fd));
        make_log("log-1");
        assert_int_equal(folder_aside_move(log_io_kernel(), dir_fd, place), RQ_OK);
        assert_string_equal(place, "aside/1");
        assert_true(folder_aside_is_there(dir_fd));
        assert_true(is_there(STARTS_NAME) && is_there("lock"));
        assert_false(is_there("log-1") || is_there("hardstate") || is_there(IDENTITY_NAME));
        make_log("log-2");
        assert_int_equal(folder_aside_move(log_io_kernel(), dir_fd, place), RQ_OK);
        assert_string_equal(place, "aside/2");
        assert_true(is_there("aside/1/log-1") && is_there("aside/1/hardstate") && is_there("aside/1/" IDENTITY_NAME));
        assert_true(is_there("aside/2/log-2") && is_there("aside/2/hardstate") && is_there("aside/2/" IDENTITY_NAME));
        assert_false(is_there("aside/1/log-2") || is_there("aside/2/log-1"));
}

/* Killed before the identity is moved: the rest follows. Killed behind it: it is whole, and another begins. */
static void test_a_kill_amid_it(void **state) {
        char place[RQ_ASIDE_PLACE_BYTES];
        (void) state;
        make_log("log-1");
        assert_int_equal(rq_aside_begin(dir_fd, false), RQ_OK);
        assert_int_equal(renameat(dir_fd, "log-1", dir_fd, RQ_ASIDE_MOVING "/log-1"), 0);
        assert_int_equal(folder_aside_move(log_io_kernel(), dir_fd, place), RQ_OK);
        assert_string_equal(place, "aside/1");
        assert_true(is_there("aside/1/log-1") && is_there("aside/1/hardstate") && is_there("aside/1/" IDENTITY_NAME));

        assert_int_equal(renameat(dir_fd, place, dir_fd, RQ_ASIDE_MOVING), 0);
        make_file("log-2"); /* nothing of a name that is there already */
        assert_int_equal(folder_aside_move(log_io_kernel(), dir_fd, place), RQ_OK);
        assert_string_equal(place, "aside/2");
        assert_true(is_there("aside/1/" IDENTITY_NAME) && is_there("aside/2/log-2"));
        assert_false(is_there("aside/1/log-2"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_two_folders_are_not_mixed, set_up_folder, tear_down),
                cmocka_unit_test_setup_teardown(test_a_kill_amid_it, set_up_folder, tear_down),
        };
        return cmocka_run_group_tests_name("folder_aside", tests, NULL, NULL);
}
