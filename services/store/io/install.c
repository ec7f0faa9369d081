#include "io/install.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/swap.h"

enum { SYNC_BYTES = 64 * 1024 * 1024 }; /* so that the last sync isn't that of everything */

struct install {
        const files_io *io;
        int folder_fd;
        image_id id;
        state_file state;
        rq_wake *wake;
        pthread_t thread;
        bool thread_runs;
        uint64_t expected;     /* the loop's: where the next chunk begins */
        /* The thread's: */
        int fd;
        uint64_t unsynced;
        uint8_t *raw;
        ZSTD_DCtx *unpacker;

        pthread_mutex_t mutex;
        pthread_cond_t changed;
        /* Under the mutex: */
        snapshot_chunk *first, *last;
        uint64_t queued_bytes; /* unpacked */
        uint64_t offset;
        install_phase phase;
        const char *problem;
        bool quit;
};

/* --- the thread ------------------------------------------------------------- */

static const char *problem_of(rq_err r) {
        return r == RQ_ENOSPC ? "the disk is full" : r == RQ_ECORRUPT ? "a piece of it was damaged on its way" : rq_err_text(r);
}

static rq_err write_chunk(install *i, const snapshot_chunk *c) {
        const uint8_t *raw = c->data;
        if (c->packed) {
                size_t size = ZSTD_decompressDCtx(i->unpacker, i->raw, SNAPSHOT_CHUNK_BYTES, c->data, c->size);
                if (ZSTD_isError(size) || size != c->raw_bytes)
                        return RQ_ECORRUPT;
                raw = i->raw;
        }
        if (rq_crc32c(0, raw, c->raw_bytes) != c->crc)
                return RQ_ECORRUPT;
        if (i->fd < 0)
                i->fd = i->io->open(i->io->context, i->folder_fd, SWAP_FILE_NAME, O_RDWR | O_CREAT | O_TRUNC);
        if (i->fd < 0)
                return files_io_error(errno);
        rq_err r = files_io_write_at(i->io, i->fd, raw, c->raw_bytes, c->offset);
        if (r < 0)
                return r;
        i->unsynced += c->raw_bytes;
        if (i->unsynced < SYNC_BYTES)
                return RQ_OK;
        i->unsynced = 0;
        return i->io->sync(i->io->context, i->fd) < 0 ? RQ_EIO : RQ_OK;
}

/* Whole, durable, and what was announced. */
static rq_err complete(install *i, const char **problem) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        database_facts facts;
        rq_closep(&i->fd);
        rq_err r = swap_prepare(i->io, i->folder_fd, &facts, &text);
        if (r == RQ_OK && !database_facts_equal(&facts, &i->state.database))
                r = RQ_EDIVERGED;
        *problem = r == RQ_ECORRUPT ? "what came is no whole SQLite database"
                 : r == RQ_EDIVERGED ? "what came isn't the database that was announced" : problem_of(r);
        return r;
}

static void work_on(install *i, const snapshot_chunk *c) {
        const char *problem = NULL;
        rq_err r = write_chunk(i, c);
        uint64_t end = c->offset + c->raw_bytes;
        bool last = r == RQ_OK && end == i->state.database.bytes;
        if (r < 0)
                problem = problem_of(r);
        else if (last)
                r = complete(i, &problem);
        (void) pthread_mutex_lock(&i->mutex);
        i->queued_bytes -= c->raw_bytes;
        if (r < 0) {
                i->phase = INSTALL_FAILED;
                i->problem = problem;
        } else {
                i->offset = end;
                i->phase = last ? INSTALL_STAGED : INSTALL_STAGING;
        }
        (void) pthread_mutex_unlock(&i->mutex);
        rq_wake_signal(i->wake);
}

static void *run(void *arg) {
        install *i = arg;
        (void) pthread_setname_np(pthread_self(), "rq-install");
        (void) pthread_mutex_lock(&i->mutex);
        while (!i->quit) {
                snapshot_chunk *c = i->phase == INSTALL_STAGING ? i->first : NULL;
                if (c == NULL) {
                        (void) pthread_cond_wait(&i->changed, &i->mutex);
                        continue;
                }
                i->first = c->next;
                if (i->first == NULL)
                        i->last = NULL;
                (void) pthread_mutex_unlock(&i->mutex);
                work_on(i, c);
                free(c);
                (void) pthread_mutex_lock(&i->mutex);
        }
        (void) pthread_mutex_unlock(&i->mutex);
        return NULL;
}

/* --- the loop's side -------------------------------------------------------- */

const image_id *install_id(const install *i) { return &i->id; }
const state_file *install_state(const install *i) { return &i->state; }
uint64_t install_next(const install *i) { return i->expected; }

install_phase install_phase_of(install *i, uint64_t *ret_offset, const char **ret_problem) {
        (void) pthread_mutex_lock(&i->mutex);
        install_phase phase = i->phase;
        *ret_offset = i->offset;
        *ret_problem = i->problem;
        (void) pthread_mutex_unlock(&i->mutex);
        return phase;
}

static rq_err judge(const install *i, const snapshot_chunk *c) {
        const uint64_t bytes = i->state.database.bytes;
        if (c->offset != i->expected || c->raw_bytes == 0 || c->raw_bytes > SNAPSHOT_CHUNK_BYTES || c->raw_bytes > bytes - c->offset ||
            (!c->packed && c->size != c->raw_bytes) || (c->packed && c->size >= c->raw_bytes))
                return RQ_EPROTO;
        return RQ_OK;
}

rq_err install_put(install *i, snapshot_chunk *take_chunk) {
        RQ_CLEANUP(rq_freep) snapshot_chunk *c = take_chunk;
        rq_err r = judge(i, c);
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&i->mutex);
        if (i->queued_bytes + c->raw_bytes > SNAPSHOT_WINDOW_BYTES + SNAPSHOT_CHUNK_BYTES) {
                r = RQ_EFULL;
        } else {
                i->expected += c->raw_bytes;
                i->queued_bytes += c->raw_bytes;
                c->next = NULL;
                if (i->last != NULL)
                        i->last->next = c;
                else
                        i->first = c;
                i->last = RQ_TAKE(c, NULL);
                (void) pthread_cond_signal(&i->changed);
        }
        (void) pthread_mutex_unlock(&i->mutex);
        return r;
}

static bool start_thread(install *i) {
        sigset_t all, before;
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        bool runs = pthread_create(&i->thread, NULL, run, i) == 0;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        return runs;
}

rq_err install_new(const files_io *io, int folder_fd, const image_id *id, const state_file *state, rq_wake *wake,
                   install **ret_install) {
        install *i = calloc(1, sizeof *i);
        if (i == NULL)
                return RQ_ENOMEM;
        *i = (install) { .io = io, .folder_fd = folder_fd, .id = *id, .state = *state, .wake = wake, .fd = -1 };
        rq_assert(pthread_mutex_init(&i->mutex, NULL) == 0 && pthread_cond_init(&i->changed, NULL) == 0);
        i->raw = malloc(SNAPSHOT_CHUNK_BYTES);
        i->unpacker = ZSTD_createDCtx();
        i->thread_runs = i->raw != NULL && i->unpacker != NULL && start_thread(i);
        if (!i->thread_runs) {
                (void) install_free(i);
                return RQ_ENOMEM;
        }
        *ret_install = i;
        return RQ_OK;
}

install *install_free(install *i) {
        if (i == NULL)
                return NULL;
        (void) pthread_mutex_lock(&i->mutex);
        i->quit = true;
        (void) pthread_cond_signal(&i->changed);
        (void) pthread_mutex_unlock(&i->mutex);
        if (i->thread_runs)
                (void) pthread_join(i->thread, NULL);
        for (snapshot_chunk *c = i->first, *next; c != NULL; c = next) {
                next = c->next;
                free(c);
        }
        rq_closep(&i->fd);
        (void) ZSTD_freeDCtx(i->unpacker);
        (void) pthread_cond_destroy(&i->changed);
        (void) pthread_mutex_destroy(&i->mutex);
        free(i->raw);
        free(i);
        return NULL;
}
