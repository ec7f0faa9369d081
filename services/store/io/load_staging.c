#include "io/load_staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/db_copy.h"
#include "io/db_verify.h"
#include "io/files_io.h"
#include "log/log.h"

struct load_staging {
        char *path;
        int fd; /* -1: no file */
        rq_log_limit log;
};

/* Who hears of it knows neither file nor reason. It is tried again and again: a line in a while. */
static rq_err trouble(load_staging *s, const char *verb, int errno_value) {
        uint32_t suppressed;
        if (rq_log_allowed(&s->log, &suppressed))
                rq_log_warning("The writer cannot %s %s: %s", verb, s->path, strerror(errno_value));
        return files_io_error(errno_value);
}

rq_err load_staging_new(const char *database_path, load_staging **ret_staging) {
        load_staging *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        s->fd = -1;
        s->log = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        if (asprintf(&s->path, "%s.load", database_path) < 0) {
                free(s);
                return RQ_ENOMEM;
        }
        (void) unlink(s->path);
        db_copy_clean(database_path);
        *ret_staging = s;
        return RQ_OK;
}

static void drop_file(load_staging *s) {
        if (s->fd < 0)
                return;
        rq_closep(&s->fd);
        (void) unlink(s->path);
}

load_staging *load_staging_free(load_staging *s) {
        if (s == NULL)
                return NULL;
        drop_file(s);
        free(s->path);
        free(s);
        return NULL;
}

static void expire(load_progress *p, uint64_t clock_us) {
        if (p->open && clock_us > p->clock_us + LOAD_IDLE_US)
                p->open = false;
}

void load_other_entry(load_progress *p, uint64_t clock_us) { expire(p, clock_us); }

/* The file may be there from a batch that was undone. */
static rq_err begin(load_staging *s) {
        if (s->fd < 0)
                s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (s->fd < 0)
                return trouble(s, "make", errno);
        return ftruncate(s->fd, 0) < 0 ? trouble(s, "empty", errno) : RQ_OK;
}

static bool is_whole(const load_progress *p, const load_chunk *chunk) { return chunk->bytes == p->bytes && chunk->hash == p->crc; }

static const char *why_refused(const load_progress *p, const load_chunk *chunk) {
        if (chunk->number == 0)
                return p->open && p->group != chunk->group ? "another load is under way: try again when it is over" : NULL;
        if (!p->open || p->group != chunk->group)
                return "the load was given up: another one began, a part of it was lost, or it made no progress for too long";
        return p->next_number != chunk->number ? "a part of the load was lost on its way to the log" : NULL;
}

rq_err load_staging_add(load_staging *s, load_progress *p, const load_chunk *chunk, rq_bytes data, uint64_t clock_us,
                        char ret_problem[static LOAD_PROBLEM_BYTES]) {
        expire(p, clock_us);
        if (p->open && chunk->number == 0 && p->group != chunk->group && clock_us > p->clock_us + LOAD_YIELDS_US)
                p->open = false;
        const char *refused = why_refused(p, chunk);
        ret_problem[0] = '\0';
        if (refused != NULL) {
                (void) snprintf(ret_problem, LOAD_PROBLEM_BYTES, "%s", refused);
                if (p->open && p->group == chunk->group)
                        p->open = false;
                return RQ_OK;
        }
        if (chunk->number == 0) {
                rq_err r = begin(s);
                if (r < 0)
                        return r;
                *p = (load_progress) { .open = true, .text = chunk->text, .group = chunk->group };
        }
        rq_err r = files_io_write_at(&files_io_kernel, s->fd, data.data, data.size, p->bytes);
        if (r < 0)
                return trouble(s, "write", r == RQ_ENOSPC ? ENOSPC : EIO);
        p->bytes += data.size;
        p->crc = rq_crc32c(p->crc, data.data, data.size);
        p->next_number++;
        p->clock_us = clock_us;
        if (chunk->last && !is_whole(p, chunk)) {
                (void) snprintf(ret_problem, LOAD_PROBLEM_BYTES, "the load arrived damaged: its checksum or size is another one");
                p->open = false;
        }
        return RQ_OK;
}

void load_staging_abort(load_progress *p, uint64_t group) {
        if (p->open && p->group == group)
                p->open = false;
}

rq_err load_staging_verify(load_staging *s, char ret_problem[static LOAD_PROBLEM_BYTES]) {
        char problem[DB_VERIFY_PROBLEM_BYTES];
        rq_err r = db_verify(s->fd, s->path, problem);
        if (r >= 0)
                (void) snprintf(ret_problem, LOAD_PROBLEM_BYTES, "%s", problem);
        return r;
}

rq_err load_staging_replace(load_staging *s, sqlite3 *writer, char ret_problem[static LOAD_PROBLEM_BYTES]) {
        char problem[DB_COPY_PROBLEM_BYTES];
        rq_err r = db_copy_in(writer, s->path, problem);
        if (r >= 0)
                (void) snprintf(ret_problem, LOAD_PROBLEM_BYTES, "%s", problem);
        return r;
}

int load_staging_fd(const load_staging *s) { return s->fd; }
void load_staging_end(load_staging *s) { drop_file(s); }
