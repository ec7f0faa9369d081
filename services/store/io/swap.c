#include "io/swap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "core/database_header.h"
#include "log/log.h"

/* A store writes whole pages, and no more than the header counts. */
static rq_err check(const uint8_t bytes[static DATABASE_HEADER_BYTES], size_t size, uint64_t file_bytes, rq_buf *problem) {
        char bad[DATABASE_HEADER_PROBLEM_BYTES];
        database_header header;
        if (!database_header_judge(bytes, size, file_bytes, &header, bad)) {
                (void) rq_buf_printf(problem, SWAP_FILE_NAME ": %s", bad);
                return RQ_ECORRUPT;
        }
        if (file_bytes == header.pages * header.page_size)
                return RQ_OK;
        (void) rq_buf_printf(problem, SWAP_FILE_NAME ": it should have %llu pages of %u bytes, and has %llu bytes",
                             (unsigned long long) header.pages, header.page_size, (unsigned long long) file_bytes);
        return RQ_ECORRUPT;
}

rq_err swap_prepare(const files_io *io, int folder_fd, database_facts *ret_facts, rq_buf *ret_problem) {
        static const uint8_t mode[DATABASE_MODE_BYTES] = { DATABASE_MODE_ROLLBACK, DATABASE_MODE_ROLLBACK };
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, SWAP_FILE_NAME, O_RDWR);
        uint8_t header[DATABASE_HEADER_BYTES];
        struct stat st;
        size_t size;
        rq_err r;
        if (fd < 0) {
                r = rq_err_from_errno(errno);
                (void) rq_buf_printf(ret_problem, SWAP_FILE_NAME ": cannot be opened: %s", rq_err_text(r));
                return r;
        }
        r = files_io_read_at(io, fd, header, sizeof header, 0, &size);
        if (r == RQ_OK && fstat(fd, &st) < 0)
                r = RQ_EIO;
        if (r == RQ_OK)
                r = check(header, size, (uint64_t) st.st_size, ret_problem);
        if (r == RQ_OK)
                r = database_file_facts(io, fd, ret_facts);
        if (r == RQ_OK && memcmp(header + DATABASE_MODE_OFFSET, mode, sizeof mode) != 0) {
                r = files_io_write_at(io, fd, mode, sizeof mode, DATABASE_MODE_OFFSET);
                if (r == RQ_OK)
                        r = database_file_facts(io, fd, ret_facts); /* page 1 is another one */
        }
        if (r == RQ_OK && (io->sync(io->context, fd) < 0 || io->sync_folder(io->context, folder_fd) < 0))
                r = RQ_EIO;
        if (r < 0 && ret_problem->size == 0)
                (void) rq_buf_printf(ret_problem, SWAP_FILE_NAME ": %s", r == RQ_ECORRUPT ? "not a whole SQLite database" : rq_err_text(r));
        return r;
}

void swap_discard(const files_io *io, int folder_fd) {
        (void) io;
        if (unlinkat(folder_fd, SWAP_FILE_NAME, 0) < 0 && errno != ENOENT)
                (void) rq_log_error(rq_err_from_errno(errno), "Cannot delete " SWAP_FILE_NAME);
}

static bool is_file(const files_io *io, int fd, const database_facts *facts) {
        database_facts found;
        return fd >= 0 && database_file_facts(io, fd, &found) == RQ_OK && database_facts_equal(&found, facts);
}

rq_err swap_finish(const files_io *io, int folder_fd, const database_facts *facts, int *database_fd) {
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, SWAP_FILE_NAME, O_RDWR);
        if (!is_file(io, fd, facts)) {
                if (!is_file(io, *database_fd, facts))
                        return RQ_EDIVERGED;
                /* The rename may be in memory alone. */
                return io->sync_folder(io->context, folder_fd) < 0 ? RQ_EIO : RQ_OK;
        }
        /* Other programs stay out before and after. */
        rq_err r = database_file_lock(fd);
        if (r < 0)
                return r;
        if (io->rename(io->context, folder_fd, SWAP_FILE_NAME, DATABASE_FILE_NAME) < 0)
                return files_io_error(errno);
        rq_closep(database_fd);
        *database_fd = RQ_TAKE(fd, -1);
        return io->sync_folder(io->context, folder_fd) < 0 ? RQ_EIO : RQ_OK;
}
