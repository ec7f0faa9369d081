/* The kernel calls of the log's files, as a table: production has the kernel's,
 * tests put failures, full disks and power cuts between. Everything returns
 * what the call of that name returns, and sets errno. */
#ifndef RQ_CONSENSUS_IO_LOG_IO_H
#define RQ_CONSENSUS_IO_LOG_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/bytes.h"

typedef void (*log_io_name_fn)(void *each_arg, const char *name);

typedef struct log_io {
        int (*open)(void *arg, int dir_fd, const char *name, int flags);
        ssize_t (*pwritev)(void *arg, int fd, const struct iovec *iov, int count, off_t offset);
        ssize_t (*pread)(void *arg, int fd, void *data, size_t size, off_t offset);
        int (*fdatasync)(void *arg, int fd);
        int (*fsync)(void *arg, int fd); /* also of directories */
        int (*fallocate)(void *arg, int fd, off_t size);
        int (*rename)(void *arg, int dir_fd, const char *from, const char *to);
        int (*unlink)(void *arg, int dir_fd, const char *name);
        /* Calls each with the name of every file of the folder, which may unlink it. */
        int (*list)(void *arg, int dir_fd, log_io_name_fn each, void *each_arg);
        int64_t (*free_bytes)(void *arg, int dir_fd); /* for us, on the file system of the folder; -1 */
        void *arg;
} log_io;

const log_io *log_io_kernel(void);

/* A full file system or quota, or a limit on file sizes that is reached, as opposed to a broken disk. */
bool log_io_is_full(int errno_value);

/* All of it or an error. Errors: RQ_ENOSPC (full), RQ_EIO and the like. */
rq_err log_io_write(const log_io *io, int fd, const void *data, size_t size, uint64_t offset);
/* The vector is used up. */
rq_err log_io_writev(const log_io *io, int fd, struct iovec *iov, int count, uint64_t offset);

/* Up to size bytes, less only at the end of the file. */
rq_err log_io_read(const log_io *io, int fd, void *data, size_t size, uint64_t offset, size_t *ret_read);

/* A whole small file; RQ_ETOOBIG above size_max. Errors: RQ_ENOENT and so on. */
rq_err log_io_load(const log_io *io, int dir_fd, const char *name, size_t size_max, rq_buf *ret_content);

/* Writes the file whole or not at all: temporary name, fsync, rename, fsync of
 * the directory. Errors: RQ_ENOSPC (the file is as it was); RQ_EIO and the like:
 * never tried again, which of the two is on disk isn't known. */
rq_err log_io_replace(const log_io *io, int dir_fd, const char *name, rq_bytes content);

#endif
