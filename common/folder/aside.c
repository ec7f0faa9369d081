#include "folder/aside.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

enum { PATH_BYTES = 300 };

static void close_dirp(DIR **dir) {
        if (*dir != NULL)
                (void) closedir(*dir);
}

bool rq_aside_is_there(int folder_fd) { return faccessat(folder_fd, RQ_ASIDE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0; }

bool rq_aside_holds(int folder_fd, const char *name) {
        char path[PATH_BYTES];
        const int size = snprintf(path, sizeof path, RQ_ASIDE_MOVING "/%s", name);
        return size > 0 && (size_t) size < sizeof path && faccessat(folder_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static rq_err sync_folder(int folder_fd, const char *name) {
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 || fsync(fd) < 0 ? rq_err_from_errno(errno) : RQ_OK;
}

static rq_err make_folder(int folder_fd, const char *name) {
        return mkdirat(folder_fd, name, 0750) < 0 && errno != EEXIST ? rq_err_from_errno(errno) : RQ_OK;
}

/* 0: no number of ours. */
static unsigned long number_of(const char *name) {
        char *end;
        if (name[0] < '1' || name[0] > '9' || strlen(name) > 9)
                return 0;
        const unsigned long number = strtoul(name, &end, 10);
        return *end == '\0' ? number : 0;
}

/* Not the first that is free: somebody may have deleted an older one, and the highest is the latest. */
static rq_err highest_number(int folder_fd, unsigned long *ret_number) {
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, RQ_ASIDE_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return rq_err_from_errno(errno);
        RQ_CLEANUP(close_dirp) DIR *dir = fdopendir(fd);
        if (dir == NULL)
                return rq_err_from_errno(errno);
        (void) RQ_TAKE(fd, -1); /* closed with dir */
        unsigned long highest = 0;
        errno = 0;
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL; errno = 0)
                if (number_of(entry->d_name) > highest)
                        highest = number_of(entry->d_name);
        if (errno != 0)
                return rq_err_from_errno(errno);
        *ret_number = highest;
        return RQ_OK;
}

rq_err rq_aside_begin(int folder_fd, bool another) {
        char place[RQ_ASIDE_PLACE_BYTES];
        rq_err r = make_folder(folder_fd, RQ_ASIDE_NAME);
        if (r >= 0 && another)
                r = rq_aside_end(folder_fd, place);
        return r < 0 ? r : make_folder(folder_fd, RQ_ASIDE_MOVING);
}

rq_err rq_aside_sync(int folder_fd) {
        rq_err r = sync_folder(folder_fd, RQ_ASIDE_MOVING);
        if (r >= 0)
                r = sync_folder(folder_fd, RQ_ASIDE_NAME);
        return r >= 0 && fsync(folder_fd) < 0 ? rq_err_from_errno(errno) : r;
}

rq_err rq_aside_end(int folder_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]) {
        char place[RQ_ASIDE_PLACE_BYTES];
        unsigned long highest = 0;
        rq_err r = rq_aside_sync(folder_fd);
        if (r >= 0)
                r = highest_number(folder_fd, &highest);
        if (r < 0)
                return r;
        (void) snprintf(place, sizeof place, RQ_ASIDE_NAME "/%lu", highest + 1);
        if (renameat(folder_fd, RQ_ASIDE_MOVING, folder_fd, place) < 0) /* never over a folder that has something */
                return rq_err_from_errno(errno);
        r = sync_folder(folder_fd, RQ_ASIDE_NAME);
        if (r < 0)
                return r;
        memcpy(ret_place, place, sizeof place);
        return RQ_OK;
}
