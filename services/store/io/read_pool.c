#include "io/read_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"

enum {
        QUEUE_MAX        = 16384,
        IDLE_US          = 30 * 1000 * 1000,
        IDLE_EXTRA_US    = 5 * 1000 * 1000,  /* of more threads than processors: their memory is for a rush only */
        STACK_BYTES      = 64 * 1024 * 1024, /* views of views; only what is touched is there */
        THREADS_KEPT     = 1,
};

typedef struct read_worker {
        struct read_worker *next, *next_idle, *next_ended;
        read_pool *pool;
        pthread_t thread;
        pthread_cond_t changed; /* a job, credit, or the end */
        db_reader *reader;      /* set under the mutex */
        read_job *job;
        read_event *piece;      /* with room for one, which is its reader's to fill */
        uint64_t waits_since_us; /* for credit; 0: it doesn't */
        uint64_t waited_us;      /* before that, in this job */
        bool idle, lent; /* lent: the loop's thread uses its connection */
} read_worker;

struct read_pool {
        files *files;
        const applier *applier;
        rq_wake *wake;
        uint32_t threads_max, cpus;

        /* Under the mutex. */
        pthread_mutex_t mutex;
        pthread_cond_t settled; /* a thread ended, or an event came */
        read_worker *all;
        read_worker *idle;   /* the one that was busy last is on top: its caches are warm */
        read_worker *ended;
        read_job *first, *last;
        read_event *event_first, *event_last;
        read_pool_stats stats;
        bool quit;
};

/* --- events ---------------------------------------------------------------------- */

static read_event *make_event(read_job *job, read_event_kind kind, uint64_t index, rq_bytes bytes) {
        read_event *e = malloc(sizeof *e + bytes.size);
        if (e == NULL)
                return NULL;
        *e = (read_event) { .job = job, .kind = kind, .index = index, .size = bytes.size };
        if (bytes.size > 0)
                memcpy(e->bytes, bytes.data, bytes.size);
        return e;
}

/* Under the mutex. A signal that is on its way already covers this event. */
static void push(read_pool *p, read_event *e) {
        bool first = p->event_first == NULL;
        if (first)
                p->event_first = e;
        else
                p->event_last->next = e;
        p->event_last = e;
        if (first) {
                rq_wake_signal(p->wake);
                (void) pthread_cond_signal(&p->settled);
        }
}

/* --- a reader thread --------------------------------------------------------------- */

static bool wait_until(read_worker *w, uint64_t until_us) {
        const struct timespec until = rq_clock_wait_time(until_us);
        return pthread_cond_timedwait(&w->changed, &w->pool->mutex, &until) == 0;
}

/* Under the mutex: how much of size may be sent now, waiting for credit; 0:
 * none, and none will come. */
static size_t take_credit(read_worker *w, size_t size) {
        read_job *job = w->job;
        uint64_t give_up_us = 0;
        while (job->credit == 0 && !atomic_load(&job->stop)) {
                if (give_up_us == 0) {
                        w->waits_since_us = rq_clock_mono_us();
                        give_up_us = w->waits_since_us + READ_STARVED_US;
                }
                if (!wait_until(w, give_up_us) && job->credit == 0 && rq_clock_mono_us() >= give_up_us) {
                        job->starved = true;
                        atomic_store(&job->stop, true);
                }
        }
        if (give_up_us != 0) {
                w->waited_us += rq_clock_mono_us() - w->waits_since_us;
                w->waits_since_us = 0;
        }
        if (atomic_load(&job->stop))
                return 0;
        size_t n = size > READ_PIECE_BYTES_MAX ? READ_PIECE_BYTES_MAX : size;
        if (n > job->credit)
                n = (size_t) job->credit;
        job->credit -= n;
        return n;
}

/* Sends what exceeds the last piece. false: stopped, or no memory. */
static bool send_pieces(read_worker *w, uint64_t index, rq_bytes *json, bool all) {
        read_pool *p = w->pool;
        while (json->size > (all ? 0 : READ_PIECE_BYTES_MAX)) {
                (void) pthread_mutex_lock(&p->mutex);
                size_t n = take_credit(w, json->size);
                (void) pthread_mutex_unlock(&p->mutex);
                if (n == 0)
                        return false;
                read_event *e = make_event(w->job, READ_PIECE, index, rq_bytes_of(json->data, n));
                if (e == NULL)
                        return false;
                (void) pthread_mutex_lock(&p->mutex);
                push(p, e);
                (void) pthread_mutex_unlock(&p->mutex);
                *json = rq_bytes_of(json->data + n, json->size - n);
        }
        return true;
}

static void *piece_room(void *arg, size_t size) {
        read_worker *w = arg;
        if (w->piece == NULL)
                w->piece = malloc(sizeof *w->piece + READ_PIECE_BYTES_MAX);
        return w->piece != NULL && size <= READ_PIECE_BYTES_MAX ? w->piece->bytes : NULL;
}

/* One that was put in its place is sent from there, if there is credit for all of it. */
static bool send_in_place(read_worker *w, uint64_t index, rq_bytes piece) {
        read_pool *p = w->pool;
        bool covered = false;
        if (w->piece == NULL || piece.data != w->piece->bytes)
                return false;
        (void) pthread_mutex_lock(&p->mutex);
        if (w->job->credit >= piece.size && !atomic_load(&w->job->stop)) {
                read_event *e = RQ_TAKE(w->piece, NULL);
                w->job->credit -= piece.size;
                e->next = NULL;
                e->job = w->job;
                e->kind = READ_PIECE;
                e->index = index;
                e->size = piece.size;
                push(p, e);
                covered = true;
        }
        (void) pthread_mutex_unlock(&p->mutex);
        return covered;
}

static bool on_pieces(void *arg, uint64_t index, rq_bytes json) {
        return send_in_place(arg, index, json) || send_pieces(arg, index, &json, true);
}

/* The rest of an answer that is done; NULL: stopped, or no memory. */
static read_event *last_event(read_worker *w, uint64_t index) {
        rq_bytes json = db_reader_json(w->reader);
        if (!send_pieces(w, index, &json, false))
                return NULL;
        (void) pthread_mutex_lock(&w->pool->mutex);
        bool covered = w->job->credit >= json.size;
        if (covered)
                w->job->credit -= json.size;
        (void) pthread_mutex_unlock(&w->pool->mutex);
        if (!covered && !send_pieces(w, index, &json, true))
                return NULL;
        return make_event(w->job, READ_LAST, index, json);
}

static bool ensure_reader(read_worker *w) {
        if (w->reader != NULL)
                return true;
        db_reader *reader;
        rq_err r = db_reader_new(w->pool->files, w->pool->applier, &reader);
        if (r < 0) {
                (void) rq_log_error(r, "Cannot open a read connection");
                return false;
        }
        (void) pthread_mutex_lock(&w->pool->mutex);
        w->reader = reader;
        (void) pthread_mutex_unlock(&w->pool->mutex);
        return true;
}

/* The event that ends the job. */
static read_event *run_job(read_worker *w) {
        static const char no_memory[] = "out of memory", no_connection[] = "cannot open the database for reading";
        read_job *job = w->job;
        read_event *e = NULL;
        uint64_t index = 0;
        if (atomic_load(&job->stop)) /* while it was queued */
                return make_event(job, READ_STOPPED, 0, (rq_bytes) {0});
        if (!ensure_reader(w))
                return make_event(job, READ_FAILED, 0, rq_bytes_text(no_connection));
        db_reader_set_room(w->reader, piece_room);
        db_read_outcome outcome = db_reader_run(w->reader, job->query, &job->stop, on_pieces, w, &index);
        db_reader_set_room(w->reader, NULL);
        free(RQ_TAKE(w->piece, NULL));
        switch (outcome) {
        case DB_READ_DONE:
                e = last_event(w, index);
                break;
        case DB_READ_NEEDS_LOG:
                e = make_event(job, READ_NEEDS_LOG, index, (rq_bytes) {0});
                break;
        case DB_READ_FAILED:
                e = make_event(job, READ_FAILED, 0, rq_bytes_text(db_reader_problem(w->reader)));
                break;
        case DB_READ_STOPPED:
                break;
        }
        if (e == NULL) {
                bool stopped = atomic_load(&job->stop);
                read_event_kind kind = !stopped ? READ_FAILED : job->starved ? READ_STARVED : READ_STOPPED;
                e = make_event(job, kind, 0, kind == READ_FAILED ? rq_bytes_text(no_memory) : (rq_bytes) {0});
        }
        return e;
}

static read_job *take_queued(read_pool *p) {
        read_job *job = p->first;
        if (job == NULL)
                return NULL;
        p->first = job->next;
        if (p->first == NULL)
                p->last = NULL;
        job->next = NULL;
        job->queued = false;
        p->stats.queued--;
        p->stats.wait_us += rq_clock_mono_us() - job->queued_us;
        return job;
}

static void leave_idle(read_pool *p, read_worker *w) {
        read_worker **at = &p->idle;
        while (*at != w)
                at = &(*at)->next_idle;
        *at = w->next_idle;
        w->idle = false;
        p->stats.idle--;
}

/* Under the mutex. False: the thread is to end. */
static bool next_job(read_worker *w) {
        read_pool *p = w->pool;
        w->job = take_queued(p);
        if (w->job == NULL && !p->quit) {
                w->next_idle = p->idle;
                p->idle = w;
                w->idle = true;
                p->stats.idle++;
        }
        uint64_t until_us = 0;
        while (w->job == NULL && !p->quit) {
                if (p->stats.threads <= THREADS_KEPT) {
                        (void) pthread_cond_wait(&w->changed, &p->mutex);
                        continue;
                }
                if (until_us == 0)
                        until_us = rq_clock_mono_us() + (p->stats.threads > p->cpus ? IDLE_EXTRA_US : IDLE_US);
                bool woken = wait_until(w, until_us);
                if (w->lent)
                        until_us = 0;
                else if (!woken && w->job == NULL && p->stats.threads > THREADS_KEPT &&
                    rq_clock_mono_us() >= until_us) {
                        p->stats.idle_closed++;
                        break;
                }
        }
        if (w->idle)
                leave_idle(p, w);
        w->waited_us = 0;
        if (w->job != NULL)
                w->job->worker = w;
        return w->job != NULL;
}

static void *run(void *arg) {
        read_worker *w = arg;
        read_pool *p = w->pool;
        (void) pthread_setname_np(pthread_self(), "rq-reader");
        (void) ensure_reader(w);
        (void) pthread_mutex_lock(&p->mutex);
        while (next_job(w)) {
                p->stats.requests++;
                (void) pthread_mutex_unlock(&p->mutex);
                read_event *e = run_job(w);
                /* A few bytes: without them the request would never end. */
                rq_assert(e != NULL);
                (void) pthread_mutex_lock(&p->mutex);
                w->job->worker = NULL;
                w->job = NULL;
                push(p, e);
        }
        read_worker **at = &p->all;
        while (*at != w)
                at = &(*at)->next;
        *at = w->next;
        p->stats.threads--;
        w->next_ended = p->ended;
        p->ended = w;
        (void) pthread_cond_signal(&p->settled);
        (void) pthread_mutex_unlock(&p->mutex);
        return NULL;
}

/* --- the loop's side ------------------------------------------------------------------ */

static void worker_free(read_worker *w) {
        (void) db_reader_free(w->reader);
        (void) pthread_cond_destroy(&w->changed);
        free(w);
}

/* Under the mutex. */
static rq_err add_worker(read_pool *p, db_reader *reader) {
        read_worker *w = calloc(1, sizeof *w);
        if (w == NULL)
                return RQ_ENOMEM;
        w->pool = p;
        w->reader = reader;
        pthread_condattr_t condition;
        (void) pthread_condattr_init(&condition);
        (void) pthread_condattr_setclock(&condition, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&w->changed, &condition);
        (void) pthread_condattr_destroy(&condition);

        pthread_attr_t attributes;
        (void) pthread_attr_init(&attributes);
        (void) pthread_attr_setstacksize(&attributes, STACK_BYTES);
        int e = pthread_create(&w->thread, &attributes, run, w);
        (void) pthread_attr_destroy(&attributes);
        if (e != 0) {
                w->reader = NULL; /* stays the caller's */
                worker_free(w);
                return rq_err_from_errno(e);
        }
        w->next = p->all;
        p->all = w;
        p->stats.threads++;
        return RQ_OK;
}

/* Under the mutex: ends what the thread runs, or waits for. */
static void interrupt(read_worker *w) {
        if (w->job != NULL) {
                atomic_store(&w->job->stop, true);
                if (w->reader != NULL)
                        db_reader_interrupt(w->reader);
        }
        (void) pthread_cond_signal(&w->changed);
}

static void join_ended(read_pool *p) {
        (void) pthread_mutex_lock(&p->mutex);
        read_worker *w = p->ended;
        p->ended = NULL;
        (void) pthread_mutex_unlock(&p->mutex);
        for (read_worker *next; w != NULL; w = next) {
                next = w->next_ended;
                (void) pthread_join(w->thread, NULL);
                worker_free(w);
        }
}

rq_err read_pool_new(files *f, const applier *a, uint32_t threads_max, rq_wake *wake, read_pool **ret_pool) {
        rq_assert(threads_max > 0);
        db_reader *reader;
        rq_err r = db_reader_new(f, a, &reader);
        if (r < 0)
                return r;
        read_pool *p = calloc(1, sizeof *p);
        if (p == NULL) {
                (void) db_reader_free(reader);
                return RQ_ENOMEM;
        }
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        *p = (read_pool) {
                .files = f, .applier = a, .wake = wake,
                .threads_max = threads_max, .cpus = cpus > 1 ? (uint32_t) cpus : 1, .stats.threads_max = threads_max,
        };
        (void) pthread_mutex_init(&p->mutex, NULL);
        (void) pthread_cond_init(&p->settled, NULL);
        (void) pthread_mutex_lock(&p->mutex);
        r = add_worker(p, reader);
        (void) pthread_mutex_unlock(&p->mutex);
        if (r < 0) {
                (void) db_reader_free(reader);
                return read_pool_free(p), r;
        }
        *ret_pool = p;
        return RQ_OK;
}

read_pool *read_pool_free(read_pool *p) {
        if (p == NULL)
                return NULL;
        (void) pthread_mutex_lock(&p->mutex);
        p->quit = true;
        while (p->first != NULL)
                (void) take_queued(p);
        for (read_worker *w = p->all; w != NULL; w = w->next)
                interrupt(w);
        while (p->stats.threads > 0)
                (void) pthread_cond_wait(&p->settled, &p->mutex);
        (void) pthread_mutex_unlock(&p->mutex);
        join_ended(p);
        for (read_event *e = p->event_first, *next; e != NULL; e = next) {
                next = e->next;
                free(e);
        }
        (void) pthread_cond_destroy(&p->settled);
        (void) pthread_mutex_destroy(&p->mutex);
        free(p);
        return NULL;
}

void read_pool_interrupt(read_pool *p) {
        (void) pthread_mutex_lock(&p->mutex);
        for (read_job *job = p->first; job != NULL; job = job->next)
                atomic_store(&job->stop, true);
        for (read_worker *w = p->all; w != NULL; w = w->next)
                interrupt(w);
        (void) pthread_mutex_unlock(&p->mutex);
}

static bool is_busy(const read_pool *p) {
        bool busy = p->first != NULL;
        for (const read_worker *w = p->all; w != NULL && !busy; w = w->next)
                busy = w->job != NULL;
        return busy;
}

bool read_pool_settle(read_pool *p) {
        (void) pthread_mutex_lock(&p->mutex);
        while (p->event_first == NULL && is_busy(p))
                (void) pthread_cond_wait(&p->settled, &p->mutex);
        bool there = p->event_first != NULL;
        (void) pthread_mutex_unlock(&p->mutex);
        return there;
}

rq_err read_pool_submit(read_pool *p, read_job *job, bool *ret_waits) {
        rq_err r = RQ_OK;
        job->next = NULL;
        job->worker = NULL;
        job->starved = job->crowded = false;
        atomic_store(&job->stop, false);

        (void) pthread_mutex_lock(&p->mutex);
        read_worker *w = p->idle;
        while (w != NULL && w->job != NULL) /* given one, and not awake yet */
                w = w->next_idle;
        if (w != NULL) {
                w->job = job;
                job->worker = w;
                job->queued = false;
        } else if (p->stats.queued >= QUEUE_MAX) {
                r = RQ_EFULL;
        } else {
                job->queued = true;
                job->queued_us = rq_clock_mono_us();
                if (p->last != NULL)
                        p->last->next = job;
                else
                        p->first = job;
                p->last = job;
                p->stats.queued++;
                p->stats.waits++;
                /* More threads than processors only for readers that block: see tend. */
                if (p->stats.threads < p->cpus && p->stats.threads < p->threads_max)
                        (void) add_worker(p, NULL);
        }
        (void) pthread_mutex_unlock(&p->mutex);
        if (w != NULL)
                (void) pthread_cond_signal(&w->changed);
        if (r >= 0 && ret_waits != NULL)
                *ret_waits = w == NULL;
        return r;
}

bool read_pool_try(read_pool *p, const read_job *job, read_answer answer, void *arg) {
        (void) pthread_mutex_lock(&p->mutex);
        read_worker *w = p->first == NULL ? p->idle : NULL;
        while (w != NULL && w->job != NULL) /* given one, and not awake yet */
                w = w->next_idle;
        db_reader *reader = w != NULL ? w->reader : NULL;
        if (reader != NULL)
                w->lent = true;
        (void) pthread_mutex_unlock(&p->mutex);
        if (reader == NULL)
                return false;

        uint64_t index;
        size_t bytes_max = job->credit < READ_PIECE_BYTES_MAX ? (size_t) job->credit : READ_PIECE_BYTES_MAX;
        bool done = db_reader_try(reader, job->query, bytes_max, &index);
        if (done)
                answer(arg, index, db_reader_json(reader));

        (void) pthread_mutex_lock(&p->mutex);
        w->lent = false;
        p->stats.here += done;
        (void) pthread_mutex_unlock(&p->mutex);
        return done;
}

void read_pool_credit(read_pool *p, read_job *job, uint64_t bytes) {
        (void) pthread_mutex_lock(&p->mutex);
        if (__builtin_add_overflow(job->credit, bytes, &job->credit))
                job->credit = UINT64_MAX;
        if (job->worker != NULL)
                (void) pthread_cond_signal(&job->worker->changed);
        (void) pthread_mutex_unlock(&p->mutex);
}

bool read_pool_cancel(read_pool *p, read_job *job) {
        bool out = false;
        (void) pthread_mutex_lock(&p->mutex);
        if (job->queued) {
                read_job **at = &p->first, *before = NULL;
                while (*at != job) {
                        before = *at;
                        at = &before->next;
                }
                *at = job->next;
                if (p->last == job)
                        p->last = before;
                job->queued = false;
                p->stats.queued--;
                out = true;
        } else {
                atomic_store(&job->stop, true);
                if (job->worker != NULL)
                        interrupt(job->worker);
        }
        (void) pthread_mutex_unlock(&p->mutex);
        return out;
}

read_event *read_pool_take(read_pool *p) {
        (void) pthread_mutex_lock(&p->mutex);
        read_event *e = p->event_first;
        p->event_first = p->event_last = NULL;
        (void) pthread_mutex_unlock(&p->mutex);
        return e;
}

/* Under the mutex: one thread for each job that waits. */
static void make_room(read_pool *p, uint64_t now_us) {
        uint64_t waited_us = now_us - p->first->queued_us, patience_us = READ_PATIENCE_US_MIN;
        if (waited_us < READ_PATIENCE_US_MAX - READ_PATIENCE_US_MIN)
                patience_us = READ_PATIENCE_US_MAX - waited_us;
        uint32_t wanted = p->stats.queued;
        for (const read_worker *w = p->all; w != NULL && wanted > 0; w = w->next)
                if (w->job != NULL && atomic_load(&w->job->stop)) /* about to end */
                        wanted--;
        for (read_worker *w = p->all; w != NULL && wanted > 0; w = w->next) {
                if (w->job == NULL || atomic_load(&w->job->stop) || w->waits_since_us == 0 ||
                    w->waited_us + (now_us - w->waits_since_us) < patience_us)
                        continue;
                w->job->starved = w->job->crowded = true;
                atomic_store(&w->job->stop, true);
                (void) pthread_cond_signal(&w->changed);
                p->stats.crowded_out++;
                wanted--;
        }
}

bool read_pool_tend(read_pool *p) {
        join_ended(p);
        (void) pthread_mutex_lock(&p->mutex);
        bool waits = p->first != NULL;
        uint64_t now_us = rq_clock_mono_us();
        if (waits && now_us - p->first->queued_us >= READ_TEND_US) {
                if (p->stats.threads < p->threads_max)
                        (void) add_worker(p, NULL);
                else
                        make_room(p, now_us);
        }
        (void) pthread_mutex_unlock(&p->mutex);
        return waits;
}

void read_pool_stats_get(read_pool *p, read_pool_stats *ret_stats) {
        (void) pthread_mutex_lock(&p->mutex);
        *ret_stats = p->stats;
        (void) pthread_mutex_unlock(&p->mutex);
}
