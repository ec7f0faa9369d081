/* A files_io over real files that counts every effect, knows what of it would
 * survive a power cut, and ends the process before the n-th: by a plain death
 * (what the kernel was given stays) or by a power cut (writes since the last
 * sync are lost, kept or torn by sectors of 512 bytes; names since the last
 * sync of the folder are lost from some point on). What a power cut would leave is
 * written to the image folder; after a plain death, or at the end, the image is
 * what is durable for certain, and the next crash_disk knows from it what of the
 * folder isn't. For tests in a forked child. */
#ifndef RQ_TEST_CRASH_DISK_H
#define RQ_TEST_CRASH_DISK_H

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rng.h"
#include "io/files_io.h"

enum { CRASH_EXIT = 99, DISK_FILES_MAX = 256, DISK_NAMES_MAX = 16, DISK_SECTOR = 512 };

typedef struct disk_op {
        struct disk_op *next;
        bool truncate;
        uint64_t offset; /* or the new size */
        size_t size;
        uint8_t data[];
} disk_op;

typedef struct disk_file {
        ino_t inode;
        uint8_t *durable;
        uint64_t size;
        disk_op *first, **last; /* since the last sync */
} disk_file;

typedef struct disk_name { char name[32]; disk_file *file; } disk_name;

typedef struct crash_disk {
        files_io io;
        pthread_mutex_t mutex;
        uint64_t effects, crash_at; /* 0: never */
        bool power;
        rq_rng rng;
        int folder_fd, image_fd;
        disk_file files[DISK_FILES_MAX];
        size_t file_count;
        disk_name names[DISK_NAMES_MAX], pending[DISK_NAMES_MAX]; /* pending: file NULL removes the name */
        size_t name_count, pending_count;
} crash_disk;

static disk_file *disk_find(crash_disk *d, ino_t inode) {
        for (size_t i = 0; i < d->file_count; i++)
                if (d->files[i].inode == inode)
                        return &d->files[i];
        return NULL;
}

static disk_file *disk_of(crash_disk *d, int fd) {
        struct stat st;
        assert(fstat(fd, &st) == 0);
        return disk_find(d, st.st_ino);
}

static void disk_apply(uint8_t **content, uint64_t *size, const disk_op *op, rq_rng *torn) {
        uint64_t end = op->truncate ? op->offset : op->offset + op->size;
        if (op->truncate ? end != *size : end > *size) {
                *content = realloc(*content, end + 1);
                if (end > *size)
                        memset(*content + *size, 0, end - *size);
                *size = end;
        }
        if (op->truncate)
                return;
        for (size_t done = 0, n; done < op->size; done += n) {
                uint64_t at = op->offset + done;
                n = DISK_SECTOR - at % DISK_SECTOR;
                if (n > op->size - done)
                        n = op->size - done;
                if (torn == NULL || rq_rng_below(torn, 2) == 0)
                        memcpy(*content + at, op->data + done, n);
        }
}

static void disk_forget(disk_file *f) {
        while (f->first != NULL) {
                disk_op *op = f->first;
                f->first = op->next;
                free(op);
        }
        f->last = &f->first;
}

static void disk_add(disk_file *f, bool truncate, const void *data, size_t size, uint64_t offset) {
        disk_op *op = calloc(1, sizeof *op + size);
        op->truncate = truncate;
        op->offset = offset;
        op->size = size;
        if (size > 0)
                memcpy(op->data, data, size);
        *f->last = op;
        f->last = &op->next;
}

static disk_file *disk_new_file(crash_disk *d, int fd) {
        disk_file *f = disk_of(d, fd);
        struct stat st;
        if (f != NULL)
                f->inode = 0; /* the number is used again */
        assert(d->file_count < DISK_FILES_MAX && fstat(fd, &st) == 0);
        f = &d->files[d->file_count++];
        *f = (disk_file) { .inode = st.st_ino };
        f->last = &f->first;
        return f;
}

static void disk_set_name(disk_name *names, size_t *count, const char *name, disk_file *file) {
        assert(*count < DISK_NAMES_MAX && strlen(name) < sizeof names->name);
        strcpy(names[*count].name, name);
        names[(*count)++].file = file;
}

static void disk_apply_name(crash_disk *d, const disk_name *change) {
        for (size_t i = 0; i < d->name_count; i++)
                if (strcmp(d->names[i].name, change->name) == 0) {
                        d->names[i] = d->names[--d->name_count];
                        break;
                }
        if (change->file != NULL)
                disk_set_name(d->names, &d->name_count, change->name, change->file);
}

static const char *const disk_known_names[] = {
        "db.sqlite", "db.sqlite.new", "db.sqlite-rqwal", "intent", "state", "state.new", NULL
};

static void disk_write_image(crash_disk *d, bool power) {
        size_t kept = power ? rq_rng_below(&d->rng, d->pending_count + 1) : 0;
        for (const char *const *name = disk_known_names; *name != NULL; name++)
                (void) unlinkat(d->image_fd, *name, 0);
        for (size_t i = 0; i < kept; i++)
                disk_apply_name(d, &d->pending[i]);
        for (size_t i = 0; i < d->name_count; i++) {
                disk_file *f = d->names[i].file;
                uint8_t *content = malloc(f->size + 1);
                uint64_t size = f->size, fate = power ? rq_rng_below(&d->rng, 4) : 0;
                int fd = openat(d->image_fd, d->names[i].name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
                if (size > 0)
                        memcpy(content, f->durable, size);
                for (disk_op *op = f->first; op != NULL; op = op->next) {
                        if (fate == 0 || (op->truncate && fate != 1 && rq_rng_below(&d->rng, 2) == 0))
                                continue; /* nothing reached the disk, or not this */
                        disk_apply(&content, &size, op, fate == 1 ? NULL : &d->rng);
                }
                assert(fd >= 0 && pwrite(fd, content, size, 0) == (ssize_t) size);
                (void) close(fd);
                free(content);
        }
}

/* Locks the mutex. */
static crash_disk *disk_effect(void *context) {
        crash_disk *d = context;
        (void) pthread_mutex_lock(&d->mutex);
        if (++d->effects != d->crash_at)
                return d;
        disk_write_image(d, d->power);
        _exit(CRASH_EXIT);
}

static int disk_done(crash_disk *d, int result) {
        (void) pthread_mutex_unlock(&d->mutex);
        return result;
}

static int disk_open(void *context, int folder_fd, const char *name, int flags) {
        struct stat st;
        bool exists = fstatat(folder_fd, name, &st, 0) == 0;
        crash_disk *d;
        int fd;
        if (strcmp(name, ".") == 0 || (flags & (O_CREAT | O_TRUNC)) == 0 || (exists && (flags & O_TRUNC) == 0))
                return files_io_kernel.open(NULL, folder_fd, name, flags);
        d = disk_effect(context);
        fd = files_io_kernel.open(NULL, folder_fd, name, flags);
        if (fd >= 0 && exists)
                disk_add(disk_of(d, fd), true, NULL, 0, 0);
        else if (fd >= 0)
                disk_set_name(d->pending, &d->pending_count, name, disk_new_file(d, fd));
        return disk_done(d, fd);
}

static ssize_t disk_pread(void *context, int fd, void *data, size_t size, off_t offset) {
        (void) context;
        return files_io_kernel.pread(NULL, fd, data, size, offset);
}

static ssize_t disk_pwrite(void *context, int fd, const void *data, size_t size, off_t offset) {
        crash_disk *d = disk_effect(context);
        disk_file *f = disk_of(d, fd);
        ssize_t n = files_io_kernel.pwrite(NULL, fd, data, size, offset);
        if (n > 0 && f != NULL)
                disk_add(f, false, data, (size_t) n, (uint64_t) offset);
        (void) disk_done(d, 0);
        return n;
}

static int disk_truncate(void *context, int fd, off_t size) {
        crash_disk *d = disk_effect(context);
        disk_file *f = disk_of(d, fd);
        int r = files_io_kernel.truncate(NULL, fd, size);
        if (r == 0 && f != NULL)
                disk_add(f, true, NULL, 0, (uint64_t) size);
        return disk_done(d, r);
}

static int disk_sync(void *context, int fd) {
        crash_disk *d = disk_effect(context);
        disk_file *f = disk_of(d, fd);
        for (disk_op *op = f->first; op != NULL; op = op->next)
                disk_apply(&f->durable, &f->size, op, NULL);
        disk_forget(f);
        return disk_done(d, 0);
}

static int disk_sync_folder(void *context, int fd) {
        crash_disk *d = disk_effect(context);
        (void) fd;
        for (size_t i = 0; i < d->pending_count; i++)
                disk_apply_name(d, &d->pending[i]);
        d->pending_count = 0;
        return disk_done(d, 0);
}

static int disk_rename(void *context, int folder_fd, const char *from, const char *to) {
        crash_disk *d = disk_effect(context);
        struct stat st;
        int r;
        assert(fstatat(folder_fd, from, &st, 0) == 0);
        r = files_io_kernel.rename(NULL, folder_fd, from, to);
        if (r == 0) {
                disk_set_name(d->pending, &d->pending_count, to, disk_find(d, st.st_ino));
                disk_set_name(d->pending, &d->pending_count, from, NULL);
        }
        return disk_done(d, r);
}

static uint8_t *disk_content(int folder_fd, const char *name, struct stat *ret_st) {
        int fd = openat(folder_fd, name, O_RDONLY);
        uint8_t *content;
        if (fd < 0)
                return NULL;
        assert(fstat(fd, ret_st) == 0);
        content = malloc((size_t) ret_st->st_size + 1);
        assert(pread(fd, content, (size_t) ret_st->st_size, 0) == ret_st->st_size);
        (void) close(fd);
        return content;
}

static disk_file *disk_add_file(crash_disk *d, ino_t inode, uint8_t *durable, uint64_t size) {
        disk_file *f = &d->files[d->file_count++];
        assert(d->file_count <= DISK_FILES_MAX);
        *f = (disk_file) { .inode = inode, .durable = durable, .size = size };
        f->last = &f->first;
        return f;
}

/* What an earlier process left: durable is what the image has. What differs in
 * the folder was written and not synced, or, for the files that are only ever
 * replaced, synced and renamed without a sync of the folder. */
static void disk_load(crash_disk *d, const char *name) {
        struct stat now = {0}, was = {0};
        uint8_t *content = disk_content(d->folder_fd, name, &now), *durable = disk_content(d->image_fd, name, &was);
        bool replaced = strcmp(name, "state") == 0 || (strcmp(name, "db.sqlite") == 0 && durable == NULL);
        disk_file *f;

        if (content == NULL && durable == NULL)
                return;
        if (durable != NULL)
                disk_set_name(d->names, &d->name_count, name,
                              disk_add_file(d, content != NULL && !replaced ? now.st_ino : 0, durable, (uint64_t) was.st_size));
        if (content == NULL) {
                disk_set_name(d->pending, &d->pending_count, name, NULL);
        } else if (replaced) {
                disk_set_name(d->pending, &d->pending_count, name, disk_add_file(d, now.st_ino, content, (uint64_t) now.st_size));
        } else {
                f = disk_find(d, now.st_ino);
                if (f == NULL) {
                        f = disk_add_file(d, now.st_ino, NULL, 0);
                        disk_set_name(d->pending, &d->pending_count, name, f);
                }
                disk_add(f, true, NULL, 0, (uint64_t) now.st_size);
                disk_add(f, false, content, (size_t) now.st_size, 0);
                free(content);
        }
}

static void disk_init(crash_disk *d, uint64_t seed, uint64_t crash_at, bool power, int folder_fd, int image_fd) {
        *d = (crash_disk) {
                .io = { .context = d, .open = disk_open, .pread = disk_pread, .pwrite = disk_pwrite, .truncate = disk_truncate,
                        .sync = disk_sync, .sync_folder = disk_sync_folder, .rename = disk_rename },
                .crash_at = crash_at, .power = power, .rng = rq_rng_seeded(seed), .folder_fd = folder_fd, .image_fd = image_fd,
        };
        (void) pthread_mutex_init(&d->mutex, NULL);
        for (const char *const *name = disk_known_names; *name != NULL; name++)
                disk_load(d, *name);
}

#endif
