#include "io/image_pump.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/checksum.h"

enum { ZSTD_LEVEL = 1 }; /* more would be slower than the disk */

struct image_pump {
        image *image;
        rq_wake *wake;
        pthread_t thread;
        bool thread_runs;
        uint8_t *raw;          /* the thread's */
        ZSTD_CCtx *packer;     /* likewise */

        pthread_mutex_t mutex;
        pthread_cond_t changed;
        /* Under the mutex: */
        uint64_t next, until;
        uint64_t epoch;        /* counts the calls that have moved next */
        snapshot_chunk *first, *last;
        const char *problem;
        bool quit;
};

static void drop_ready(image_pump *p) {
        for (snapshot_chunk *c = p->first, *next; c != NULL; c = next) {
                next = c->next;
                free(c);
        }
        p->first = p->last = NULL;
}

/* --- the thread ------------------------------------------------------------- */

static snapshot_chunk *pack(image_pump *p, uint64_t offset, size_t size) {
        snapshot_chunk *c = malloc(sizeof *c + size);
        if (c == NULL)
                return NULL;
        *c = (snapshot_chunk) { .offset = offset, .raw_bytes = (uint32_t) size, .crc = rq_crc32c(0, p->raw, size) };
        size_t packed = ZSTD_compressCCtx(p->packer, c->data, size, p->raw, size, ZSTD_LEVEL);
        c->packed = !ZSTD_isError(packed) && packed < size;
        c->size = c->packed ? packed : size;
        if (!c->packed)
                memcpy(c->data, p->raw, size);
        return c;
}

static snapshot_chunk *make_chunk(image_pump *p, uint64_t offset, const char **problem) {
        size_t size = 0;
        rq_err r = image_read(p->image, offset, p->raw, SNAPSHOT_CHUNK_BYTES, &size);
        snapshot_chunk *c = r == RQ_OK ? pack(p, offset, size) : NULL;
        if (c != NULL)
                return c;
        *problem = image_problem(p->image);
        if (*problem == NULL)
                *problem = r == RQ_OK ? rq_err_text(RQ_ENOMEM) : rq_err_text(r);
        return NULL;
}

static void *run(void *arg) {
        image_pump *p = arg;
        (void) pthread_setname_np(pthread_self(), "rq-image");
        const uint64_t bytes = image_facts_of(p->image)->bytes;
        (void) pthread_mutex_lock(&p->mutex);
        while (!p->quit) {
                if (p->problem != NULL || p->next >= p->until || p->next >= bytes) {
                        (void) pthread_cond_wait(&p->changed, &p->mutex);
                        continue;
                }
                const uint64_t offset = p->next, epoch = p->epoch;
                const char *problem = NULL;
                (void) pthread_mutex_unlock(&p->mutex);
                snapshot_chunk *c = make_chunk(p, offset, &problem);
                (void) pthread_mutex_lock(&p->mutex);
                if (epoch != p->epoch) {
                        free(c); /* it went on elsewhere meanwhile */
                        continue;
                }
                p->problem = problem;
                if (c != NULL) {
                        p->next = offset + c->raw_bytes;
                        if (p->last != NULL)
                                p->last->next = c;
                        else
                                p->first = c;
                        p->last = c;
                }
                rq_wake_signal(p->wake);
        }
        (void) pthread_mutex_unlock(&p->mutex);
        return NULL;
}

/* --- the loop's side -------------------------------------------------------- */

const image_facts *image_pump_facts(const image_pump *p) { return image_facts_of(p->image); }

void image_pump_read(image_pump *p, uint64_t from, uint64_t until, uint64_t released) {
        image_release(p->image, released);
        (void) pthread_mutex_lock(&p->mutex);
        if (from != UINT64_MAX && from != p->next) {
                drop_ready(p);
                p->next = from;
                p->epoch++;
        }
        p->until = until;
        (void) pthread_cond_signal(&p->changed);
        (void) pthread_mutex_unlock(&p->mutex);
}

snapshot_chunk *image_pump_take(image_pump *p) {
        (void) pthread_mutex_lock(&p->mutex);
        snapshot_chunk *c = p->first;
        if (c != NULL)
                p->first = c->next;
        if (p->first == NULL)
                p->last = NULL;
        (void) pthread_mutex_unlock(&p->mutex);
        return c;
}

const char *image_pump_problem(image_pump *p) {
        (void) pthread_mutex_lock(&p->mutex);
        const char *problem = p->problem;
        (void) pthread_mutex_unlock(&p->mutex);
        return problem;
}

static bool start_thread(image_pump *p) {
        sigset_t all, before;
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        bool runs = pthread_create(&p->thread, NULL, run, p) == 0;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        return runs;
}

rq_err image_pump_new(image *take_image, rq_wake *wake, image_pump **ret_pump) {
        image_pump *p = calloc(1, sizeof *p);
        if (p == NULL) {
                (void) image_close(take_image);
                return RQ_ENOMEM;
        }
        *p = (image_pump) { .image = take_image, .wake = wake };
        rq_assert(pthread_mutex_init(&p->mutex, NULL) == 0 && pthread_cond_init(&p->changed, NULL) == 0);
        p->raw = malloc(SNAPSHOT_CHUNK_BYTES);
        p->packer = ZSTD_createCCtx();
        p->thread_runs = p->raw != NULL && p->packer != NULL && start_thread(p);
        if (!p->thread_runs) {
                (void) image_pump_free(p);
                return RQ_ENOMEM;
        }
        *ret_pump = p;
        return RQ_OK;
}

image_pump *image_pump_free(image_pump *p) {
        if (p == NULL)
                return NULL;
        (void) pthread_mutex_lock(&p->mutex);
        p->quit = true;
        (void) pthread_cond_signal(&p->changed);
        (void) pthread_mutex_unlock(&p->mutex);
        if (p->thread_runs)
                (void) pthread_join(p->thread, NULL);
        drop_ready(p);
        (void) image_close(p->image);
        (void) ZSTD_freeCCtx(p->packer);
        (void) pthread_cond_destroy(&p->changed);
        (void) pthread_mutex_destroy(&p->mutex);
        free(p->raw);
        free(p);
        return NULL;
}
