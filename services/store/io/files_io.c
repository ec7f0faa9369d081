#include "io/files_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"

static int kernel_open(void *context, int folder_fd, const char *name, int flags) {
        (void) context;
        int fd;
        do
                fd = openat(folder_fd, name, flags | O_CLOEXEC, 0640);
        while (fd < 0 && errno == EINTR);
        return fd;
}

static ssize_t kernel_pread(void *context, int fd, void *data, size_t size, off_t offset) {
        (void) context;
        ssize_t n;
        do
                n = pread(fd, data, size, offset);
        while (n < 0 && errno == EINTR);
        return n;
}

/* A file system that can't tell (tmpfs) fails with EOPNOTSUPP. */
static ssize_t kernel_pread_cached(void *context, int fd, void *data, size_t size, off_t offset) {
        const struct iovec to = { .iov_base = data, .iov_len = size };
        (void) context;
        return preadv2(fd, &to, 1, offset, RWF_NOWAIT);
}

static ssize_t kernel_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        (void) context;
        ssize_t n;
        do
                n = pwrite(fd, data, size, offset);
        while (n < 0 && errno == EINTR);
        return n;
}

static int kernel_truncate(void *context, int fd, off_t size) {
        (void) context;
        int r;
        do
                r = ftruncate(fd, size);
        while (r < 0 && errno == EINTR);
        return r;
}

/* EINTR from a sync is passed on: it says nothing of what is durable. */
static int kernel_sync(void *context, int fd) {
        (void) context;
        return fdatasync(fd);
}

static int kernel_sync_folder(void *context, int fd) {
        (void) context;
        return fsync(fd);
}

static int kernel_rename(void *context, int folder_fd, const char *from, const char *to) {
        (void) context;
        return renameat(folder_fd, from, folder_fd, to);
}

const files_io files_io_kernel = {
        .open = kernel_open,
        .pread = kernel_pread,
        .pread_cached = kernel_pread_cached,
        .pwrite = kernel_pwrite,
        .truncate = kernel_truncate,
        .sync = kernel_sync,
        .sync_folder = kernel_sync_folder,
        .rename = kernel_rename,
};

int files_io_open_unnamed(const files_io *io, int folder_fd) {
        static const char name[] = "unnamed";
        enum { TRIES = 100 };
        int fd = io->open(io->context, folder_fd, ".", O_TMPFILE | O_RDWR);
        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
                return fd;
        /* There may be one that a kill has left, or another thread's, which is about to lose its name. */
        for (int i = 0; i < TRIES && (fd < 0 && (i == 0 || errno == EEXIST)); i++) {
                (void) unlinkat(folder_fd, name, 0);
                fd = io->open(io->context, folder_fd, name, O_CREAT | O_EXCL | O_RDWR);
        }
        if (fd >= 0)
                (void) unlinkat(folder_fd, name, 0);
        return fd;
}

rq_err files_io_may_pass(rq_err trouble) { return trouble == RQ_ENOSPC || trouble == RQ_ENOMEM || trouble == RQ_EMFILE ? trouble : RQ_EIO; }

rq_err files_io_error(int errno_value) {
        return rq_err_from_errno(errno_value);
}

rq_err files_io_write_at(const files_io *io, int fd, const void *data, size_t size, uint64_t offset) {
        const uint8_t *p = data;
        while (size > 0) {
                ssize_t n = io->pwrite(io->context, fd, p, size, (off_t) offset);
                if (n < 0)
                        return files_io_error(errno);
                if (n == 0)
                        return RQ_ENOSPC;
                p += n;
                size -= (size_t) n;
                offset += (uint64_t) n;
        }
        return RQ_OK;
}

rq_err files_io_read_at(const files_io *io, int fd, void *data, size_t size, uint64_t offset, size_t *ret_size) {
        uint8_t *p = data;
        size_t done = 0;
        while (done < size) {
                ssize_t n = io->pread(io->context, fd, p + done, size - done, (off_t) (offset + done));
                if (n < 0)
                        return files_io_error(errno);
                if (n == 0)
                        break;
                done += (size_t) n;
        }
        *ret_size = done;
        return RQ_OK;
}

rq_err files_io_replace(const files_io *io, int folder_fd, const char *name, const char *new_name, rq_bytes content) {
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, new_name, O_RDWR | O_CREAT | O_TRUNC);
        rq_err r;
        if (fd < 0)
                return files_io_error(errno);
        r = files_io_write_at(io, fd, content.data, content.size, 0);
        if (r < 0)
                return r;
        if (io->sync(io->context, fd) < 0)
                return files_io_error(errno);
        if (io->rename(io->context, folder_fd, new_name, name) < 0)
                return files_io_error(errno);
        /* From here on another attempt could not tell whether the first one is
         * on disk, so a full disk is no different from a broken one. */
        return io->sync_folder(io->context, folder_fd) < 0 ? RQ_EIO : RQ_OK;
}
