#include "io/aside.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "io/database_file.h"
#include "io/intent.h"
#include "io/state_file.h"

/* *state* goes last: as long as it is there, a start finds the rest missing, and
 * comes here again; without it, what is left is no database of ours. Only the mark
 * goes after it, so that nothing of what it is about is ever opened again. */
static const char *const names[] = {
        DATABASE_WAL_NAME, DATABASE_FILE_NAME "-wal", DATABASE_FILE_NAME "-journal", DATABASE_FILE_NAME, INTENT_FILE_NAME, STATE_FILE_NAME,
        ASIDE_MARK_NAME,
};

rq_err aside_mark(int folder_fd, rq_bytes reason) {
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, ASIDE_MARK_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        if (fd < 0)
                return rq_err_from_errno(errno);
        /* That it is there says all; the words are for people, and on a full disk they are left out. */
        const ssize_t written = write(fd, reason.data, reason.size);
        (void) written;
        return fsync(fd) < 0 || fsync(folder_fd) < 0 ? RQ_EIO : RQ_OK;
}

bool aside_is_marked(int folder_fd, rq_buf *ret_reason) {
        char text[512];
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, ASIDE_MARK_NAME, O_RDONLY | O_CLOEXEC);
        if (fd < 0) /* also there if it can't be read; but nothing is moved because of an error */
                return faccessat(folder_fd, ASIDE_MARK_NAME, F_OK, 0) == 0;
        const ssize_t size = read(fd, text, sizeof text);
        if (size > 0)
                (void) rq_buf_append(ret_reason, text, (size_t) size);
        return true;
}

bool aside_is_there(int folder_fd) { return rq_aside_is_there(folder_fd); }

rq_err aside_move(int folder_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]) {
        enum { COUNT = sizeof names / sizeof names[0] };
        char to[64];
        bool another = false;
        for (size_t i = 0; i < COUNT; i++)
                another = another || (faccessat(folder_fd, names[i], F_OK, 0) == 0 && rq_aside_holds(folder_fd, names[i]));
        rq_err r = rq_aside_begin(folder_fd, another);
        if (r < 0)
                return r;
        for (size_t i = 0; i < COUNT; i++) {
                (void) snprintf(to, sizeof to, RQ_ASIDE_MOVING "/%s", names[i]);
                if (renameat(folder_fd, names[i], folder_fd, to) < 0 && errno != ENOENT)
                        return rq_err_from_errno(errno);
        }
        return rq_aside_end(folder_fd, ret_place);
}
