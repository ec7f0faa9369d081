#include "io/log_spare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "io/log_segment.h"

#define SPARE_PREFIX "spare-"

enum {
        READY_MAX   = 4,  /* kept of what is recycled */
        MADE_AHEAD  = 1,
        RETRY_MS    = 250,
        FILL_BYTES  = 256 * 1024,
        FILL_PAUSE_US = 1000,
};

struct log_spare {
        const log_io *io;
        int dir_fd;
        uint64_t segment_bytes;
        pthread_t thread;
        bool has_thread;
        pthread_mutex_t mutex;
        pthread_cond_t work, ready;
        /* Under the mutex: */
        uint64_t serials[READY_MAX];
        uint32_t ready_count;
        uint64_t next_serial;
        rq_err trouble;   /* of the last attempt: RQ_OK, RQ_ENOSPC, RQ_EIO */
        bool stop;
        uint32_t waiting; /* in log_spare_take() */
};

static char *spare_name(uint64_t serial, char name[static SPARE_NAME_BYTES]) {
        (void) snprintf(name, SPARE_NAME_BYTES, SPARE_PREFIX "%010llu", (unsigned long long) (serial % 10000000000u));
        return name;
}

static struct timespec deadline_after(uint32_t ms) { return rq_clock_wait_time(rq_clock_mono_us() + (uint64_t) ms * 1000); }

/* False: stop. */
static bool pause_between(log_spare *s) {
        (void) pthread_mutex_lock(&s->mutex);
        bool stop = s->stop, hurry = s->waiting > 0 || !s->has_thread;
        (void) pthread_mutex_unlock(&s->mutex);
        if (!stop && !hurry)
                (void) nanosleep(&(struct timespec) { .tv_nsec = FILL_PAUSE_US * 1000L }, NULL);
        return !stop;
}

static rq_err fill(log_spare *s, int fd) {
        static const uint8_t zeros[FILL_BYTES];
        if (s->io->fallocate(s->io->arg, fd, (off_t) s->segment_bytes) != 0)
                return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
        for (uint64_t at = 0; at < s->segment_bytes; at += FILL_BYTES) {
                uint64_t left = s->segment_bytes - at;
                rq_err r = log_io_write(s->io, fd, zeros, left < FILL_BYTES ? (size_t) left : FILL_BYTES, at);
                if (r < 0)
                        return r;
                /* In small pieces, with pauses while nobody waits for it, so that
                 * the log's own fdatasync doesn't stand behind all these bytes. */
                if (s->io->fdatasync(s->io->arg, fd) != 0)
                        return log_io_is_full(errno) ? RQ_ENOSPC : RQ_EIO;
                if (!pause_between(s))
                        return RQ_ECANCELED;
        }
        return s->io->fsync(s->io->arg, fd) == 0 ? RQ_OK : RQ_EIO;
}

/* A name without ".tmp" is a whole spare. */
static rq_err make(log_spare *s, uint64_t serial) {
        char name[SPARE_NAME_BYTES], temporary[SPARE_NAME_BYTES + 4];
        (void) snprintf(temporary, sizeof temporary, "%s.tmp", spare_name(serial, name));
        RQ_CLEANUP(rq_closep) int fd = s->io->open(s->io->arg, s->dir_fd, temporary, O_RDWR | O_CREAT | O_TRUNC);
        if (fd < 0)
                return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
        rq_err r = fill(s, fd);
        if (r >= 0 && (s->io->rename(s->io->arg, s->dir_fd, temporary, name) != 0 || s->io->fsync(s->io->arg, s->dir_fd) != 0))
                r = RQ_EIO;
        if (r < 0)
                (void) s->io->unlink(s->io->arg, s->dir_fd, temporary);
        return r;
}

/* Under the mutex, which it gives up meanwhile. */
static rq_err make_ahead(log_spare *s) {
        uint64_t serial = s->next_serial++;
        (void) pthread_mutex_unlock(&s->mutex);
        rq_err r = make(s, serial);
        (void) pthread_mutex_lock(&s->mutex);
        s->trouble = r;
        if (r >= 0 && s->ready_count < READY_MAX)
                s->serials[s->ready_count++] = serial;
        (void) pthread_cond_broadcast(&s->ready);
        return r;
}

static void *run(void *arg) {
        log_spare *s = arg;
        (void) pthread_mutex_lock(&s->mutex);
        while (!s->stop) {
                if (s->ready_count >= MADE_AHEAD) {
                        s->trouble = RQ_OK;
                        (void) pthread_cond_wait(&s->work, &s->mutex);
                        continue;
                }
                if (make_ahead(s) < 0 && !s->stop) {
                        const struct timespec until = deadline_after(RETRY_MS);
                        (void) pthread_cond_timedwait(&s->work, &s->mutex, &until);
                }
        }
        (void) pthread_mutex_unlock(&s->mutex);
        return NULL;
}

rq_err log_spare_make(log_spare *s) {
        rq_err r = RQ_OK;
        (void) pthread_mutex_lock(&s->mutex);
        if (s->ready_count < MADE_AHEAD)
                r = make_ahead(s);
        else
                s->trouble = RQ_OK;
        (void) pthread_mutex_unlock(&s->mutex);
        return r;
}

/* One of another configuration may be too small, or larger than is said of it. */
static bool has_right_size(const log_spare *s, const char *name) {
        uint8_t byte;
        RQ_CLEANUP(rq_closep) int fd = s->io->open(s->io->arg, s->dir_fd, name, O_RDWR);
        return fd >= 0 && s->io->pread(s->io->arg, fd, &byte, 1, (off_t) s->segment_bytes - 1) == 1 &&
               s->io->pread(s->io->arg, fd, &byte, 1, (off_t) s->segment_bytes) == 0;
}

static void adopt_one(void *arg, const char *name) {
        log_spare *s = arg;
        char *end = NULL;
        size_t size = strlen(name);
        bool half_made = size > 4 && strcmp(name + size - 4, ".tmp") == 0;
        if (strncmp(name, SPARE_PREFIX, strlen(SPARE_PREFIX)) != 0 && !half_made)
                return;
        unsigned long long serial = half_made ? 0 : strtoull(name + strlen(SPARE_PREFIX), &end, 10);
        if (half_made || *end != '\0' || s->ready_count == READY_MAX || !has_right_size(s, name)) {
                (void) s->io->unlink(s->io->arg, s->dir_fd, name);
                return;
        }
        s->serials[s->ready_count++] = serial;
        if (serial >= s->next_serial)
                s->next_serial = serial + 1;
}

rq_err log_spare_new(const log_io *io, int dir_fd, uint64_t segment_bytes, log_spare **ret_spare) {
        log_spare *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        *s = (log_spare) { .io = io, .dir_fd = dir_fd, .segment_bytes = segment_bytes };
        pthread_condattr_t monotonic;
        (void) pthread_condattr_init(&monotonic);
        (void) pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        (void) pthread_mutex_init(&s->mutex, NULL);
        (void) pthread_cond_init(&s->work, &monotonic);
        (void) pthread_cond_init(&s->ready, &monotonic);
        (void) pthread_condattr_destroy(&monotonic);

        if (io->list(io->arg, dir_fd, adopt_one, s) != 0) {
                rq_err r = rq_err_from_errno(errno);
                (void) log_spare_free(s);
                return r;
        }
        *ret_spare = s;
        return RQ_OK;
}

rq_err log_spare_start(log_spare *s) {
        if (pthread_create(&s->thread, NULL, run, s) != 0)
                return RQ_ENOMEM;
        s->has_thread = true;
        return RQ_OK;
}

log_spare *log_spare_free(log_spare *s) {
        if (s == NULL)
                return NULL;
        if (s->has_thread) {
                (void) pthread_mutex_lock(&s->mutex);
                s->stop = true;
                (void) pthread_cond_broadcast(&s->work);
                (void) pthread_mutex_unlock(&s->mutex);
                (void) pthread_join(s->thread, NULL);
        }
        (void) pthread_cond_destroy(&s->work);
        (void) pthread_cond_destroy(&s->ready);
        (void) pthread_mutex_destroy(&s->mutex);
        free(s);
        return NULL;
}

rq_err log_spare_take(log_spare *s, uint32_t wait_ms, char ret_name[static SPARE_NAME_BYTES]) {
        rq_err r = RQ_OK;
        const struct timespec until = deadline_after(wait_ms);
        (void) pthread_mutex_lock(&s->mutex);
        s->waiting++;
        while (s->ready_count == 0 && r == RQ_OK)
                if (!s->has_thread || pthread_cond_timedwait(&s->ready, &s->mutex, &until) != 0)
                        r = s->trouble == RQ_OK ? RQ_EAGAIN : s->trouble;
        s->waiting--;
        if (s->ready_count > 0) {
                (void) spare_name(s->serials[--s->ready_count], ret_name);
                (void) pthread_cond_signal(&s->work);
                r = RQ_OK;
        }
        (void) pthread_mutex_unlock(&s->mutex);
        return r;
}

rq_err log_spare_recycle(log_spare *s, const char *name, uint64_t file_bytes) {
        char spare[SPARE_NAME_BYTES];
        (void) pthread_mutex_lock(&s->mutex);
        bool keep = s->ready_count < READY_MAX && file_bytes == s->segment_bytes;
        uint64_t serial = s->next_serial++;
        (void) pthread_mutex_unlock(&s->mutex);

        int failed = keep ? s->io->rename(s->io->arg, s->dir_fd, name, spare_name(serial, spare))
                          : s->io->unlink(s->io->arg, s->dir_fd, name);
        if (failed != 0 || s->io->fsync(s->io->arg, s->dir_fd) != 0)
                return RQ_EIO;
        (void) pthread_mutex_lock(&s->mutex);
        /* The maker may have filled the last place meanwhile. */
        bool kept = keep && s->ready_count < READY_MAX;
        if (kept)
                s->serials[s->ready_count++] = serial;
        s->trouble = s->ready_count > 0 ? RQ_OK : s->trouble;
        (void) pthread_cond_broadcast(&s->ready);
        (void) pthread_cond_signal(&s->work);
        (void) pthread_mutex_unlock(&s->mutex);
        if (keep && !kept)
                (void) s->io->unlink(s->io->arg, s->dir_fd, spare);
        return RQ_OK;
}

bool log_spare_is_full(log_spare *s) {
        (void) pthread_mutex_lock(&s->mutex);
        bool full = s->trouble == RQ_ENOSPC;
        (void) pthread_mutex_unlock(&s->mutex);
        return full;
}

uint32_t log_spare_ready(log_spare *s) {
        (void) pthread_mutex_lock(&s->mutex);
        uint32_t count = s->ready_count;
        (void) pthread_mutex_unlock(&s->mutex);
        return count;
}
