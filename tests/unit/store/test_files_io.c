/* Files without a name, also where the file system doesn't know them: for what a
 * write sorts, for what undoes it, for answers that don't fit into memory, and
 * for images. */
#include "entries.h"

#include <errno.h>
#include <sys/stat.h>

#include "io/files_io.h"
#include "io/image.h"

static bool knows_unnamed;
static int taken; /* opens that meet a file of that name first */

static int open_file(void *context, int folder_fd, const char *name, int flags) {
        if ((flags & O_TMPFILE) == O_TMPFILE && !knows_unnamed) {
                errno = EOPNOTSUPP;
                return -1;
        }
        if ((flags & O_EXCL) != 0 && taken > 0) {
                taken--;
                const int other = files_io_kernel.open(context, folder_fd, name, O_CREAT | O_RDWR);
                assert_true(other >= 0);
                (void) close(other);
        }
        return files_io_kernel.open(context, folder_fd, name, flags);
}

static files_io make_io(void) {
        files_io io = files_io_kernel;
        io.open = open_file;
        return io;
}

static bool is_unnamed(int fd) {
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        return st.st_nlink == 0;
}

static void test_no_name_stays(void **state) {
        const files_io io = make_io();
        bench *b = bench_new();
        (void) state;
        for (int i = 0; i < 2; i++) {
                knows_unnamed = i == 0;
                taken = i == 0 ? 0 : 3; /* another thread's, or what a kill has left */
                int fds[2];
                for (int k = 0; k < 2; k++) {
                        fds[k] = files_io_open_unnamed(&io, b->dir_fd);
                        assert_true(fds[k] >= 0 && is_unnamed(fds[k]));
                        assert_int_equal(files_io_write_at(&io, fds[k], k == 0 ? "a" : "b", 1, 0), RQ_OK);
                }
                char byte;
                assert_int_equal(pread(fds[0], &byte, 1, 0), 1);
                assert_int_equal(byte, 'a');
                (void) close(fds[0]);
                (void) close(fds[1]);
        }
        taken = 1000000; /* never free: an error in the end */
        errno = 0;
        assert_int_equal(files_io_open_unnamed(&io, b->dir_fd), -1);
        assert_int_equal(errno, EEXIST);
        taken = 0;
        assert_int_equal(files_io_open_unnamed(&io, -1), -1);
        assert_int_equal(errno, EBADF);
        bench_free(b);
}

/* A kill between two calls leaves the file with its name. */
static void test_writes_and_images_need_none(void **state) {
        const files_io io = make_io();
        image *copy;
        bench *b = bench_new();
        (void) state;
        knows_unnamed = false;
        b->io = &io;
        b->spill_bytes = 100;
        b->writer_cache_pages = 10;
        bench_open(b);
        taken = 1;
        entry(b, "CREATE TABLE t(k UNIQUE, v)");
        entry(b, "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) SELECT i, zeroblob(900) FROM n");
        entry(b, "UPDATE t SET k = k + 1000, v = randomblob(900) WHERE k < 300", "UPDATE t SET k = 1001 WHERE k > 350"); /* the second is undone */
        assert_int_equal(run_queued(b, 0), RQ_OK);
        apply_output_done(&b->out);
        taken = 1;
        entry(b, "UPDATE t SET v = '' WHERE k < 1020 RETURNING k, 'some text'");
        assert_answers(b, "spilled 2261\n");
        assert_int_equal(files_checkpoint(b->files, applier_state(b->applier), true), RQ_OK);
        taken = 1;
        assert_int_equal(image_open(files_images(b->files), IMAGE_SIDE_BYTES_DEFAULT, &copy), RQ_OK);
        (void) image_close(copy);
        bench_close(b);
        assert_int_equal(faccessat(b->dir_fd, "unnamed", F_OK, 0), -1);
        bench_free(b);
}

static void test_what_may_pass(void **state) {
        (void) state;
        assert_int_equal(files_io_may_pass(RQ_ENOSPC), RQ_ENOSPC);
        assert_int_equal(files_io_may_pass(RQ_ENOMEM), RQ_ENOMEM);
        assert_int_equal(files_io_may_pass(RQ_EMFILE), RQ_EMFILE);
        assert_int_equal(files_io_may_pass(RQ_EACCES), RQ_EIO);
        assert_int_equal(files_io_may_pass(RQ_EAGAIN), RQ_EIO);
        assert_int_equal(files_io_may_pass(RQ_EIO), RQ_EIO);
}

int main(void) {
        files_prepare_process();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_no_name_stays), cmocka_unit_test(test_writes_and_images_need_none), cmocka_unit_test(test_what_may_pass),
        };
        return cmocka_run_group_tests_name("files_io", tests, NULL, NULL);
}
