#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum {
        SECTOR_BYTES = 512,
        NAME_BYTES   = 40,
        FD_BASE      = 1 << 28, /* no descriptor of the kernel */
};

/* Written and not known to be durable; durable holds what is on the disk. */
typedef struct dirty_sector {
        uint32_t number;
        bool lost;               /* a sync failed: the kernel believes it is clean */
        uint8_t durable[SECTOR_BYTES];
} dirty_sector;

typedef struct file {
        uint8_t *data;
        size_t size, capacity;   /* capacity: whole sectors */
        dirty_sector *dirty;
        size_t dirty_count, dirty_capacity;
        uint32_t *dirty_place;   /* of each sector: 1 + index in dirty, 0: clean */
        size_t place_capacity;
        bool named;
} file;

typedef struct directory_name { char name[NAME_BYTES]; int inode; } directory_name;
/* What a name was before a change that isn't durable; changes of one call share its number. */
typedef struct name_change { char name[NAME_BYTES]; int inode; uint32_t call; } name_change;

struct disk {
        log_io io;
        rq_rng *rng;
        file *files;
        int file_count;
        directory_name *names;
        size_t name_count, name_capacity;
        name_change *changes;
        size_t change_count, change_capacity;
        uint32_t call_number;
        uint32_t effects_left;   /* UINT32_MAX: no end */
        bool full, fail_sync, fail_write;
};

static int failed(int errno_value) {
        errno = errno_value;
        return -1;
}

/* False: the machine is dead. */
static bool effect(disk *d) {
        if (d->effects_left == 0)
                return false;
        if (d->effects_left != UINT32_MAX)
                d->effects_left--;
        return true;
}

static void *grown(void *memory, size_t bytes) {
        void *more = realloc(memory, bytes);
        rq_assert(more != NULL);
        return more;
}

static void file_done(file *f) {
        free(f->data);
        free(f->dirty);
        free(f->dirty_place);
        *f = (file) {0};
}

static void file_reserve(file *f, size_t size) {
        if (size <= f->capacity)
                return;
        size_t sectors = (size + SECTOR_BYTES - 1) / SECTOR_BYTES;
        if (sectors * SECTOR_BYTES < 2 * f->capacity)
                sectors = 2 * f->capacity / SECTOR_BYTES;
        f->data = grown(f->data, sectors * SECTOR_BYTES);
        memset(f->data + f->capacity, 0, sectors * SECTOR_BYTES - f->capacity);
        f->capacity = sectors * SECTOR_BYTES;
        f->dirty_place = grown(f->dirty_place, sectors * sizeof *f->dirty_place);
        memset(f->dirty_place + f->place_capacity, 0, (sectors - f->place_capacity) * sizeof *f->dirty_place);
        f->place_capacity = sectors;
}

static void mark_dirty(file *f, size_t offset, size_t size) {
        for (size_t sector = offset / SECTOR_BYTES; size > 0 &&
             sector <= (offset + size - 1) / SECTOR_BYTES; sector++) {
                if (f->dirty_place[sector] != 0) {
                        f->dirty[f->dirty_place[sector] - 1].lost = false;
                        continue;
                }
                if (f->dirty_count == f->dirty_capacity) {
                        f->dirty_capacity = f->dirty_capacity == 0 ? 16 : 2 * f->dirty_capacity;
                        f->dirty = grown(f->dirty, f->dirty_capacity * sizeof *f->dirty);
                }
                dirty_sector *dirty = &f->dirty[f->dirty_count++];
                dirty->number = (uint32_t) sector;
                dirty->lost = false;
                memcpy(dirty->durable, f->data + sector * SECTOR_BYTES, SECTOR_BYTES);
                f->dirty_place[sector] = (uint32_t) f->dirty_count;
        }
}

static void file_sync(file *f) {
        size_t kept = 0;
        for (size_t i = 0; i < f->dirty_count; i++) {
                uint32_t number = f->dirty[i].number;
                if (!f->dirty[i].lost) {
                        f->dirty_place[number] = 0;
                        continue;
                }
                f->dirty[kept] = f->dirty[i];
                f->dirty_place[number] = (uint32_t) ++kept;
        }
        f->dirty_count = kept;
}

static file *file_of(disk *d, int fd) {
        int inode = fd - FD_BASE;
        return inode >= 0 && inode < d->file_count && d->files[inode].place_capacity > 0 ? &d->files[inode] : NULL;
}

static directory_name *find_name(disk *d, const char *name) {
        for (size_t i = 0; i < d->name_count; i++)
                if (strcmp(d->names[i].name, name) == 0)
                        return &d->names[i];
        return NULL;
}

static void set_name(disk *d, const char *name, int inode) {
        directory_name *found = find_name(d, name);
        if (inode < 0) {
                if (found != NULL)
                        *found = d->names[--d->name_count];
                return;
        }
        if (found == NULL) {
                rq_assert(strlen(name) < NAME_BYTES);
                if (d->name_count == d->name_capacity) {
                        d->name_capacity = d->name_capacity == 0 ? 32 : 2 * d->name_capacity;
                        d->names = grown(d->names, d->name_capacity * sizeof *d->names);
                }
                found = &d->names[d->name_count++];
                (void) strcpy(found->name, name);
        }
        found->inode = inode;
}

static void change_name(disk *d, const char *name, int inode) {
        const directory_name *found = find_name(d, name);
        if (d->change_count == d->change_capacity) {
                d->change_capacity = d->change_capacity == 0 ? 32 : 2 * d->change_capacity;
                d->changes = grown(d->changes, d->change_capacity * sizeof *d->changes);
        }
        name_change *change = &d->changes[d->change_count++];
        (void) strcpy(change->name, name);
        change->inode = found != NULL ? found->inode : -1;
        change->call = d->call_number;
        set_name(d, name, inode);
}

static int disk_open(void *arg, int dir_fd, const char *name, int flags) {
        disk *d = arg;
        (void) dir_fd;
        const directory_name *found = find_name(d, name);
        if (found != NULL) {
                file *f = &d->files[found->inode];
                if ((flags & O_TRUNC) != 0) {
                        if (!effect(d))
                                return failed(EIO);
                        memset(f->data, 0, f->size);
                        f->size = f->dirty_count = 0;
                        memset(f->dirty_place, 0, f->place_capacity * sizeof *f->dirty_place);
                }
                return FD_BASE + found->inode;
        }
        if ((flags & O_CREAT) == 0)
                return failed(ENOENT);
        if (d->full)
                return failed(ENOSPC);
        if (!effect(d))
                return failed(EIO);
        int inode = 0;
        while (inode < d->file_count && d->files[inode].place_capacity > 0)
                inode++;
        if (inode == d->file_count) {
                d->file_count = inode + 1;
                d->files = grown(d->files, (size_t) d->file_count * sizeof *d->files);
        }
        d->files[inode] = (file) {0};
        file_reserve(&d->files[inode], 1);
        d->call_number++;
        change_name(d, name, inode);
        return FD_BASE + inode;
}

static ssize_t disk_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset) {
        disk *d = arg;
        file *f = file_of(d, fd);
        size_t size = 0, done = 0;
        if (f == NULL)
                return failed(EBADF);
        if (d->fail_write || d->effects_left == 0) {
                d->fail_write = false;
                return failed(EIO);
        }
        for (int i = 0; i < count; i++)
                size += iov[i].iov_len;
        if (d->full && (size_t) offset + size > f->size)
                return failed(ENOSPC);
        if (d->effects_left == 1) /* dies in the middle of it */
                size = (size_t) rq_rng_below(d->rng, size + 1);
        (void) effect(d);
        file_reserve(f, (size_t) offset + size);
        mark_dirty(f, (size_t) offset, size);
        for (int i = 0; i < count && done < size; i++) {
                size_t piece = iov[i].iov_len < size - done ? iov[i].iov_len : size - done;
                if (piece > 0)
                        memcpy(f->data + (size_t) offset + done, iov[i].iov_base, piece);
                done += piece;
        }
        if ((size_t) offset + done > f->size)
                f->size = (size_t) offset + done;
        return d->effects_left == 0 ? failed(EIO) : (ssize_t) done;
}

static ssize_t disk_pread(void *arg, int fd, void *data, size_t size, off_t offset) {
        disk *d = arg;
        const file *f = file_of(d, fd);
        if (f == NULL)
                return failed(EBADF);
        if ((size_t) offset >= f->size)
                return 0;
        if (size > f->size - (size_t) offset)
                size = f->size - (size_t) offset;
        memcpy(data, f->data + offset, size);
        return (ssize_t) size;
}

static int sync_file(disk *d, int fd) {
        file *f = file_of(d, fd);
        if (f == NULL)
                return failed(EBADF);
        if (d->fail_sync) {
                d->fail_sync = false;
                for (size_t i = 0; i < f->dirty_count; i++)
                        f->dirty[i].lost = rq_rng_below(d->rng, 2) == 0;
                return failed(EIO);
        }
        if (!effect(d))
                return failed(EIO);
        file_sync(f);
        return 0;
}

static int disk_fdatasync(void *arg, int fd) { return sync_file(arg, fd); }

static int disk_fsync(void *arg, int fd) {
        disk *d = arg;
        if (fd >= FD_BASE)
                return sync_file(d, fd);
        if (!effect(d)) /* the folder */
                return failed(EIO);
        d->change_count = 0;
        return 0;
}

static int disk_fallocate(void *arg, int fd, off_t size) {
        disk *d = arg;
        file *f = file_of(d, fd);
        if (f == NULL)
                return failed(EBADF);
        if (d->full)
                return failed(ENOSPC);
        if (!effect(d))
                return failed(EIO);
        file_reserve(f, (size_t) size);
        if (f->size < (size_t) size)
                f->size = (size_t) size;
        return 0;
}

static int disk_rename(void *arg, int dir_fd, const char *from, const char *to) {
        disk *d = arg;
        (void) dir_fd;
        const directory_name *found = find_name(d, from);
        if (found == NULL)
                return failed(ENOENT);
        if (!effect(d))
                return failed(EIO);
        int inode = found->inode;
        d->call_number++;
        change_name(d, to, inode);
        change_name(d, from, -1);
        return 0;
}

static int disk_unlink(void *arg, int dir_fd, const char *name) {
        disk *d = arg;
        (void) dir_fd;
        if (find_name(d, name) == NULL)
                return failed(ENOENT);
        if (!effect(d))
                return failed(EIO);
        d->call_number++;
        change_name(d, name, -1);
        return 0;
}

static int disk_list(void *arg, int dir_fd, log_io_name_fn each, void *each_arg) {
        disk *d = arg;
        (void) dir_fd;
        size_t count = d->name_count;
        directory_name *names = grown(NULL, (count + 1) * sizeof *names); /* each may change them */
        memcpy(names, d->names, count * sizeof *names);
        for (size_t i = 0; i < count; i++)
                each(each_arg, names[i].name);
        free(names);
        return 0;
}

static int64_t disk_free_bytes(void *arg, int dir_fd) {
        const disk *d = arg;
        (void) dir_fd;
        return d->full ? 0 : (int64_t) 1 << 40;
}

disk *disk_new(rq_rng *rng) {
        disk *d = calloc(1, sizeof *d);
        if (d == NULL)
                return NULL;
        d->rng = rng;
        d->effects_left = UINT32_MAX;
        d->io = (log_io) {
                .open = disk_open, .pwritev = disk_pwritev, .pread = disk_pread, .fdatasync = disk_fdatasync,
                .fsync = disk_fsync,
                .fallocate = disk_fallocate, .rename = disk_rename, .unlink = disk_unlink, .list = disk_list,
                .free_bytes = disk_free_bytes, .arg = d,
        };
        return d;
}

disk *disk_free(disk *d) {
        if (d == NULL)
                return NULL;
        for (int i = 0; i < d->file_count; i++)
                file_done(&d->files[i]);
        free(d->files);
        free(d->names);
        free(d->changes);
        free(d);
        return NULL;
}

const log_io *disk_io(disk *d) { return &d->io; }
void disk_die_after(disk *d, uint32_t effects) { d->effects_left = effects; }
bool disk_is_dead(const disk *d) { return d->effects_left == 0; }
void disk_revive(disk *d) { d->effects_left = UINT32_MAX; }
void disk_set_full(disk *d, bool full) { d->full = full; }
void disk_fail_next_sync(disk *d) { d->fail_sync = true; }
void disk_fail_next_write(disk *d) { d->fail_write = true; }

/* odds: of 4 that a sector's new content has got to the disk. */
static void lose_sectors(disk *d, file *f, uint64_t odds) {
        for (size_t i = 0; i < f->dirty_count; i++) {
                const dirty_sector *dirty = &f->dirty[i];
                if (dirty->lost || rq_rng_below(d->rng, 4) >= odds)
                        memcpy(f->data + (size_t) dirty->number * SECTOR_BYTES, dirty->durable, SECTOR_BYTES);
                f->dirty_place[dirty->number] = 0;
        }
        f->dirty_count = 0;
}

void disk_power_cut(disk *d) {
        uint64_t odds = rq_rng_below(d->rng, 5);
        for (int i = 0; i < d->file_count; i++)
                lose_sectors(d, &d->files[i], odds);
        uint32_t calls = d->change_count == 0 ? 0 : d->call_number - d->changes[0].call + 1;
        uint32_t last_kept = d->call_number - (uint32_t) rq_rng_below(d->rng, calls + 1);
        while (d->change_count > 0 && d->changes[d->change_count - 1].call > last_kept) {
                const name_change *change = &d->changes[--d->change_count];
                set_name(d, change->name, change->inode);
        }
        d->change_count = 0;
}

void disk_collect(disk *d) {
        for (int i = 0; i < d->file_count; i++)
                d->files[i].named = false;
        for (size_t i = 0; i < d->name_count; i++)
                d->files[d->names[i].inode].named = true;
        for (size_t i = 0; i < d->change_count; i++)
                if (d->changes[i].inode >= 0)
                        d->files[d->changes[i].inode].named = true;
        for (int i = 0; i < d->file_count; i++)
                if (!d->files[i].named)
                        file_done(&d->files[i]);
}

void disk_wipe(disk *d) {
        d->name_count = d->change_count = 0;
        disk_collect(d);
}

static bool is_segment(const directory_name *name) { return name->name[0] >= '0' && name->name[0] <= '9'; }

bool disk_rot(disk *d) {
        const directory_name *last = NULL, *chosen = NULL;
        uint64_t seen = 0;
        for (size_t i = 0; i < d->name_count; i++)
                if (is_segment(&d->names[i]) && (last == NULL || strcmp(d->names[i].name, last->name) > 0))
                        last = &d->names[i];
        for (size_t i = 0; i < d->name_count; i++)
                if (is_segment(&d->names[i]) && &d->names[i] != last && rq_rng_below(d->rng, ++seen) == 0)
                        chosen = &d->names[i];
        if (chosen == NULL)
                return false;
        file *f = &d->files[chosen->inode];
        f->data[rq_rng_below(d->rng, f->size)] ^= (uint8_t) (1u << rq_rng_below(d->rng, 8));
        return true;
}

uint64_t disk_bytes(const disk *d) {
        uint64_t bytes = 0;
        for (int i = 0; i < d->file_count; i++)
                bytes += d->files[i].size;
        return bytes;
}
