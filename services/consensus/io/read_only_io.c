#include "io/read_only_io.h"

#include <errno.h>
#include <fcntl.h>

static int refuse(void) {
        errno = EROFS;
        return -1;
}

static int open_to_read(void *arg, int dir_fd, const char *name, int flags) {
        (void) arg;
        if ((flags & (O_CREAT | O_TRUNC)) != 0)
                return refuse();
        const log_io *kernel = log_io_kernel();
        return kernel->open(kernel->arg, dir_fd, name, (flags & ~O_ACCMODE) | O_RDONLY);
}

static ssize_t leave_as_it_is(void *arg, int fd, const struct iovec *iov, int count, off_t offset) {
        ssize_t size = 0;
        (void) arg;
        (void) fd;
        (void) offset;
        for (int i = 0; i < count; i++)
                size += (ssize_t) iov[i].iov_len;
        return size;
}

static ssize_t read_at(void *arg, int fd, void *data, size_t size, off_t offset) {
        (void) arg;
        return log_io_kernel()->pread(NULL, fd, data, size, offset);
}

static int no_sync(void *arg, int fd) {
        (void) arg;
        (void) fd;
        return 0;
}

static int no_allocation(void *arg, int fd, off_t size) {
        (void) arg;
        (void) fd;
        (void) size;
        return refuse();
}

static int no_renaming(void *arg, int dir_fd, const char *from, const char *to) {
        (void) arg;
        (void) dir_fd;
        (void) from;
        (void) to;
        return refuse();
}

static int no_deleting(void *arg, int dir_fd, const char *name) {
        (void) arg;
        (void) dir_fd;
        (void) name;
        return refuse();
}

static int list(void *arg, int dir_fd, log_io_name_fn each, void *each_arg) {
        (void) arg;
        return log_io_kernel()->list(NULL, dir_fd, each, each_arg);
}

static int64_t free_bytes(void *arg, int dir_fd) {
        (void) arg;
        return log_io_kernel()->free_bytes(NULL, dir_fd);
}

const log_io *log_io_read_only(void) {
        static const log_io read_only = {
                .open = open_to_read, .pwritev = leave_as_it_is, .pread = read_at, .fdatasync = no_sync, .fsync = no_sync,
                .fallocate = no_allocation, .rename = no_renaming, .unlink = no_deleting, .list = list, .free_bytes = free_bytes,
        };
        return &read_only;
}
