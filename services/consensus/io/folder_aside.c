#include "io/folder_aside.h"

#include <stdio.h>
#include <string.h>

#include "io/identity.h"
#include "io/starts_file.h"

enum { NAME_BYTES_MAX = 300 };

typedef struct moving {
        const log_io *io;
        int dir_fd;
        bool another; /* what is on its way already is of another time */
        rq_err err;
} moving;

bool folder_aside_is_there(int dir_fd) { return rq_aside_is_there(dir_fd); }

static bool stays(const char *name) {
        return name[0] == '.' || strcmp(name, "lock") == 0 || strcmp(name, RQ_ASIDE_NAME) == 0 || strcmp(name, STARTS_NAME) == 0;
}

static void look_at_one(void *arg, const char *name) {
        moving *m = arg;
        if (!stays(name) && rq_aside_holds(m->dir_fd, name))
                m->another = true;
}

static rq_err move(const moving *m, const char *name) {
        char to[NAME_BYTES_MAX];
        if (snprintf(to, sizeof to, RQ_ASIDE_MOVING "/%s", name) >= (int) sizeof to)
                return RQ_EINVAL;
        return m->io->rename(m->io->arg, m->dir_fd, name, to) != 0 ? rq_err_from_errno(errno) : RQ_OK;
}

static void move_one(void *arg, const char *name) {
        moving *m = arg;
        if (m->err >= 0 && !stays(name) && strcmp(name, IDENTITY_NAME) != 0)
                m->err = move(m, name);
}

rq_err folder_aside_move(const log_io *io, int dir_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]) {
        /* With an identity it is whole, whatever else it has. */
        moving m = { .io = io, .dir_fd = dir_fd, .another = rq_aside_holds(dir_fd, IDENTITY_NAME) };
        if (io->list(io->arg, dir_fd, look_at_one, &m) != 0)
                return rq_err_from_errno(errno);
        rq_err r = rq_aside_begin(dir_fd, m.another);
        if (r < 0)
                return r;
        if (io->list(io->arg, dir_fd, move_one, &m) != 0)
                return rq_err_from_errno(errno);
        r = m.err < 0 ? m.err : rq_aside_sync(dir_fd);
        if (r >= 0) {
                r = move(&m, IDENTITY_NAME);
                if (r == RQ_ENOENT)
                        r = RQ_OK;
        }
        return r < 0 ? r : rq_aside_end(dir_fd, ret_place);
}
