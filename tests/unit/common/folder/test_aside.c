/* Numbers of places, and that none is ever taken twice. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "folder/aside.h"

static char folder[64];
static int fd;

static int set_up(void **state) {
        (void) state;
        (void) snprintf(folder, sizeof folder, "/tmp/rq-test-folder-XXXXXX");
        assert_non_null(mkdtemp(folder));
        fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
        (void) st;
        (void) kind;
        (void) at;
        return remove(path);
}

static int tear_down(void **state) {
        (void) state;
        (void) close(fd);
        return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_file(const char *path) {
        int file = openat(fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        (void) close(file);
}

static bool is_there(const char *path) { return faccessat(fd, path, F_OK, 0) == 0; }

static void assert_next(const char *expected) {
        char place[RQ_ASIDE_PLACE_BYTES];
        assert_int_equal(rq_aside_begin(fd, false), RQ_OK);
        make_file(RQ_ASIDE_MOVING "/x");
        assert_true(rq_aside_holds(fd, "x"));
        assert_int_equal(rq_aside_end(fd, place), RQ_OK);
        assert_string_equal(place, expected);
        assert_false(rq_aside_holds(fd, "x"));
}

static void test_numbers_count_up(void **state) {
        (void) state;
        assert_false(rq_aside_is_there(fd));
        assert_next("aside/1");
        assert_true(rq_aside_is_there(fd));
        assert_next("aside/2");
        assert_int_equal(unlinkat(fd, "aside/1/x", 0), 0);
        assert_int_equal(unlinkat(fd, "aside/1", AT_REMOVEDIR), 0);
        assert_next("aside/3"); /* the highest is the latest, whatever was deleted */
        assert_int_equal(mkdirat(fd, "aside/9", 0700), 0);
        assert_next("aside/10");
}

/* Files of a version that had no numbers, and what somebody has put there. */
static void test_other_names_count_for_nothing(void **state) {
        static const char *const names[] = { "aside/07", "aside/-3", "aside/4 of May", "aside/99999999999999999999", "aside/db.sqlite" };
        (void) state;
        assert_int_equal(mkdirat(fd, "aside", 0700), 0);
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                make_file(names[i]);
        assert_next("aside/1");
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                assert_true(is_there(names[i]));
}

static void test_a_move_goes_on_or_another_begins(void **state) {
        (void) state;
        assert_int_equal(rq_aside_begin(fd, false), RQ_OK);
        make_file(RQ_ASIDE_MOVING "/y");
        assert_next("aside/1"); /* goes on */
        assert_true(is_there("aside/1/y") && is_there("aside/1/x"));
        assert_int_equal(rq_aside_begin(fd, false), RQ_OK);
        make_file(RQ_ASIDE_MOVING "/y");
        assert_int_equal(rq_aside_begin(fd, true), RQ_OK);
        assert_true(is_there("aside/2/y"));
        assert_next("aside/3");
        assert_false(is_there("aside/3/y"));
}

/* A link somewhere else is no place of ours. */
static void test_a_link_is_not_followed(void **state) {
        char place[RQ_ASIDE_PLACE_BYTES];
        (void) state;
        assert_int_equal(mkdirat(fd, "elsewhere", 0700), 0);
        assert_int_equal(symlinkat("elsewhere", fd, RQ_ASIDE_NAME), 0);
        assert_true(rq_aside_is_there(fd));
        assert_int_equal(rq_aside_begin(fd, false), RQ_OK);
        assert_true(rq_aside_end(fd, place) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_numbers_count_up, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_other_names_count_for_nothing, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_move_goes_on_or_another_begins, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_a_link_is_not_followed, set_up, tear_down),
        };
        return cmocka_run_group_tests_name("aside", tests, NULL, NULL);
}
