#include "io/log_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { LOAD_BYTES = 64 * 1024 }; /* read at first: most files are small, whatever they may be */

static int kernel_open(void *arg, int dir_fd, const char *name, int flags) {
        (void) arg;
        return openat(dir_fd, name, flags | O_CLOEXEC, 0640);
}

static ssize_t kernel_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset) {
        (void) arg;
        return pwritev(fd, iov, count, offset);
}

static ssize_t kernel_pread(void *arg, int fd, void *data, size_t size, off_t offset) {
        (void) arg;
        return pread(fd, data, size, offset);
}

static int kernel_fdatasync(void *arg, int fd) {
        (void) arg;
        return fdatasync(fd);
}

static int kernel_fsync(void *arg, int fd) {
        (void) arg;
        return fsync(fd);
}

static int kernel_fallocate(void *arg, int fd, off_t size) {
        (void) arg;
        if (fallocate(fd, 0, 0, size) == 0)
                return 0;
        if (errno != EOPNOTSUPP)
                return -1;
        /* Not every file system has it; then writing the zeros finds out
         * whether there is room. */
        return ftruncate(fd, size);
}

static int kernel_rename(void *arg, int dir_fd, const char *from, const char *to) {
        (void) arg;
        return renameat(dir_fd, from, dir_fd, to);
}

static int kernel_unlink(void *arg, int dir_fd, const char *name) {
        (void) arg;
        return unlinkat(dir_fd, name, 0);
}

static void close_dirp(DIR **dir) {
        if (*dir != NULL)
                (void) closedir(*dir);
}

static int kernel_list(void *arg, int dir_fd, log_io_name_fn each, void *each_arg) {
        (void) arg;
        RQ_CLEANUP(rq_closep) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -1;
        RQ_CLEANUP(close_dirp) DIR *dir = fdopendir(fd);
        if (dir == NULL)
                return -1;
        (void) RQ_TAKE(fd, -1);
        errno = 0;
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0)
                each(each_arg, entry->d_name);
        return errno == 0 ? 0 : -1;
}

static int64_t kernel_free_bytes(void *arg, int dir_fd) {
        struct statvfs fs;
        (void) arg;
        if (fstatvfs(dir_fd, &fs) != 0)
                return -1;
        return (int64_t) (fs.f_bavail * fs.f_frsize);
}

const log_io *log_io_kernel(void) {
        static const log_io kernel = {
                .open = kernel_open, .pwritev = kernel_pwritev, .pread = kernel_pread,
                .fdatasync = kernel_fdatasync, .fsync = kernel_fsync, .fallocate = kernel_fallocate,
                .rename = kernel_rename, .unlink = kernel_unlink, .list = kernel_list,
                .free_bytes = kernel_free_bytes,
        };
        return &kernel;
}

bool log_io_is_full(int errno_value) { return rq_err_from_errno(errno_value) == RQ_ENOSPC; }

rq_err log_io_writev(const log_io *io, int fd, struct iovec *iov, int count, uint64_t offset) {
        while (count > 0) {
                ssize_t n = io->pwritev(io->arg, fd, iov, count, (off_t) offset);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
                if (n == 0)
                        return RQ_EIO;
                offset += (uint64_t) n;
                for (size_t left = (size_t) n; left > 0 || (count > 0 && iov->iov_len == 0);) {
                        if (left < iov->iov_len) {
                                iov->iov_base = (char *) iov->iov_base + left;
                                iov->iov_len -= left;
                                break;
                        }
                        left -= iov->iov_len;
                        iov++;
                        count--;
                }
        }
        return RQ_OK;
}

rq_err log_io_write(const log_io *io, int fd, const void *data, size_t size, uint64_t offset) {
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = size };
        return size == 0 ? RQ_OK : log_io_writev(io, fd, &iov, 1, offset);
}

rq_err log_io_read(const log_io *io, int fd, void *data, size_t size, uint64_t offset, size_t *ret_read) {
        size_t done = 0;
        while (done < size) {
                ssize_t n = io->pread(io->arg, fd, (char *) data + done, size - done, (off_t) (offset + done));
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return rq_err_from_errno(errno);
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        *ret_read = done;
        return RQ_OK;
}

rq_err log_io_load(const log_io *io, int dir_fd, const char *name, size_t size_max, rq_buf *ret_content) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        RQ_CLEANUP(rq_closep) int fd = io->open(io->arg, dir_fd, name, O_RDONLY);
        if (fd < 0)
                return rq_err_from_errno(errno);
        for (size_t piece = LOAD_BYTES; content.size <= size_max; piece = content.size) { /* doubles */
                size_t got = 0;
                if (piece > size_max + 1 - content.size)
                        piece = size_max + 1 - content.size;
                rq_err r = rq_buf_reserve(&content, piece);
                if (r >= 0)
                        r = log_io_read(io, fd, content.data + content.size, piece, content.size, &got);
                if (r < 0)
                        return r;
                content.size += got;
                if (got < piece)
                        break;
        }
        if (content.size > size_max)
                return RQ_ETOOBIG;
        *ret_content = RQ_TAKE(content, (rq_buf) {0});
        return RQ_OK;
}

rq_err log_io_replace(const log_io *io, int dir_fd, const char *name, rq_bytes content) {
        char temporary[64];
        (void) snprintf(temporary, sizeof temporary, "%s.tmp", name);
        RQ_CLEANUP(rq_closep) int fd = io->open(io->arg, dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC);
        if (fd < 0)
                return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
        rq_err r = log_io_write(io, fd, content.data, content.size, 0);
        if (r < 0)
                return r;
        if (io->fsync(io->arg, fd) != 0 || io->rename(io->arg, dir_fd, temporary, name) != 0)
                return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
        /* From here on another attempt could not tell whether the first one is on
         * disk, so a full disk is no different from a broken one. */
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}
