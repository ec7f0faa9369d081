#include "io/folder_aside.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/identity.h"
#include "io/starts_file.h"

enum { NAME_BYTES_MAX = 300 };

typedef struct moving {
        const log_io *io;
        int dir_fd;
        rq_err err;
} moving;

bool folder_aside_is_there(int dir_fd) { return faccessat(dir_fd, FOLDER_ASIDE_NAME, F_OK, 0) == 0; }

static void move_one(void *arg, const char *name) {
        moving *m = arg;
        char to[NAME_BYTES_MAX];
        const bool stays = name[0] == '.' || strcmp(name, "lock") == 0 || strcmp(name, FOLDER_ASIDE_NAME) == 0 ||
                           strcmp(name, IDENTITY_NAME) == 0 || strcmp(name, STARTS_NAME) == 0;
        if (m->err < 0 || stays)
                return;
        (void) snprintf(to, sizeof to, FOLDER_ASIDE_NAME "/%s", name);
        if (m->io->rename(m->io->arg, m->dir_fd, name, to) != 0)
                m->err = rq_err_from_errno(errno);
}

rq_err folder_aside_move(const log_io *io, int dir_fd) {
        moving m = { .io = io, .dir_fd = dir_fd };
        if (mkdirat(dir_fd, FOLDER_ASIDE_NAME, 0750) < 0 && errno != EEXIST)
                return rq_err_from_errno(errno);
        if (io->list(io->arg, dir_fd, move_one, &m) != 0)
                return rq_err_from_errno(errno);
        if (m.err < 0)
                return m.err;
        if (io->rename(io->arg, dir_fd, IDENTITY_NAME, FOLDER_ASIDE_NAME "/" IDENTITY_NAME) != 0 && errno != ENOENT)
                return rq_err_from_errno(errno);
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}
