/* The kernel calls that change or make durable what is in the store's folder,
 * as one table: production has files_io_kernel, crash tests one that counts,
 * records and kills. Calls behave like the system calls of the same name
 * (negative with errno set), but are never interrupted. */
#ifndef RQ_STORE_FILES_IO_H
#define RQ_STORE_FILES_IO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/err.h"

typedef struct files_io {
        void *context;
        /* flags as for openat(2); new files get mode 0640. */
        int (*open)(void *context, int folder_fd, const char *name, int flags);
        ssize_t (*pread)(void *context, int fd, void *data, size_t size, off_t offset);
        /* Only what needs no disk; may be NULL: nothing does. */
        ssize_t (*pread_cached)(void *context, int fd, void *data, size_t size, off_t offset);
        ssize_t (*pwrite)(void *context, int fd, const void *data, size_t size, off_t offset);
        int (*truncate)(void *context, int fd, off_t size);
        int (*sync)(void *context, int fd);        /* content and size of a file */
        int (*sync_folder)(void *context, int fd); /* names in a folder */
        int (*rename)(void *context, int folder_fd, const char *from, const char *to);
} files_io;

extern const files_io files_io_kernel;

/* All of it or an error. files_io_read_at: *ret_size is less than size at the
 * end of the file. Errors: RQ_ENOSPC, RQ_EIO, and what errno names. */
rq_err files_io_write_at(const files_io *io, int fd, const void *data, size_t size, uint64_t offset);
rq_err files_io_read_at(const files_io *io, int fd, void *data, size_t size, uint64_t offset, size_t *ret_size);

/* A new content under name: written beside it, synced, renamed, folder synced.
 * Errors: RQ_ENOSPC: nothing was changed, may be tried again. RQ_EIO: unknown
 * what the disk has; a later sync proves nothing. */
rq_err files_io_replace(const files_io *io, int folder_fd, const char *name, const char *new_name, rq_bytes content);

/* A new file for reading and writing that has no name, so that nothing is left of it however the process
 * ends. On a file system that doesn't know such files (some overlays) it has one for a moment. -1 with
 * errno set. Any thread. */
int files_io_open_unnamed(const files_io *io, int folder_fd);

/* RQ_ENOSPC for a full disk, a quota or a limit on file sizes that is reached, else as rq_err_from_errno. */
rq_err files_io_error(int errno_value);

/* For trouble of this machine while an entry is applied: RQ_ENOSPC, RQ_ENOMEM and RQ_EMFILE stay, anything else
 * becomes RQ_EIO. Whatever it is (no descriptor left, a file system that has become read-only, a file that
 * another program holds), it may pass: never a reason to stop applying for good. */
rq_err files_io_may_pass(rq_err trouble);

#endif
