/* A folder of its own for each test of a program: dir_fd is it while the test runs. */
#ifndef RQ_TESTS_CONSENSUS_OWN_FOLDER_H
#define RQ_TESTS_CONSENSUS_OWN_FOLDER_H

#include "records.h"

static char dir_name[] = "/tmp/rq-test-log-XXXXXX";
static int dir_fd;

static inline int set_up_folder(void **state) {
        (void) state;
        (void) strcpy(dir_name + sizeof dir_name - 7, "XXXXXX");
        dir_fd = test_dir(dir_name);
        return 0;
}

static inline int tear_down_folder(void **state) {
        (void) state;
        empty_dir(dir_fd);
        (void) close(dir_fd);
        (void) rmdir(dir_name);
        return 0;
}

#endif
