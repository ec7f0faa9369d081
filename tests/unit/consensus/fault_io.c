#include "fault_io.h"

#include <errno.h>

static bool fails(fault_io *f, bool sync) {
        if (f->fail_syncs && !sync)
                return false;
        f->calls++;
        if (atomic_load(&f->countdown) < 0 || atomic_fetch_sub(&f->countdown, 1) != 0)
                return false;
        errno = f->failure;
        return true;
}

static int fault_open(void *arg, int dir_fd, const char *name, int flags) {
        (void) arg;
        return log_io_kernel()->open(NULL, dir_fd, name, flags);
}

static ssize_t fault_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset) {
        fault_io *f = arg;
        if (f->writes_full) {
                errno = ENOSPC;
                return -1;
        }
        if (fails(f, false))
                return -1;
        return log_io_kernel()->pwritev(NULL, fd, iov, count, offset);
}

static ssize_t fault_pread(void *arg, int fd, void *data, size_t size, off_t offset) {
        (void) arg;
        return log_io_kernel()->pread(NULL, fd, data, size, offset);
}

/* Tests don't lose power: a sync that doesn't fail needs no time. */
static int fault_sync(void *arg, int fd) {
        fault_io *f = arg;
        (void) fd;
        f->syncs++;
        return fails(f, true) ? -1 : 0;
}

static int fault_fallocate(void *arg, int fd, off_t size) {
        fault_io *f = arg;
        if (f->full) {
                errno = ENOSPC;
                return -1;
        }
        return fails(f, false) ? -1 : log_io_kernel()->fallocate(NULL, fd, size);
}

static int fault_rename(void *arg, int dir_fd, const char *from, const char *to) {
        return fails(arg, false) ? -1 : log_io_kernel()->rename(NULL, dir_fd, from, to);
}

static int fault_unlink(void *arg, int dir_fd, const char *name) {
        return fails(arg, false) ? -1 : log_io_kernel()->unlink(NULL, dir_fd, name);
}

static int fault_list(void *arg, int dir_fd, log_io_name_fn each, void *each_arg) {
        (void) arg;
        return log_io_kernel()->list(NULL, dir_fd, each, each_arg);
}

static int64_t fault_free_bytes(void *arg, int dir_fd) {
        fault_io *f = arg;
        return f->full ? 0 : log_io_kernel()->free_bytes(NULL, dir_fd);
}

void fault_io_init(fault_io *f) {
        *f = (fault_io) {
                .io = {
                        .open = fault_open, .pwritev = fault_pwritev, .pread = fault_pread, .fdatasync = fault_sync,
                        .fsync = fault_sync, .fallocate = fault_fallocate, .rename = fault_rename,
                        .unlink = fault_unlink, .list = fault_list, .free_bytes = fault_free_bytes, .arg = f,
                },
                .failure = EIO,
        };
        atomic_store(&f->countdown, -1);
}
