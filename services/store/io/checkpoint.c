#include "io/checkpoint.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "io/image.h"
#include "io/wal_copy.h"
#include "log/log.h"

enum {
        POLL_MS        = 5,          /* between looks at a checkpoint under way */
        RETRY_US       = 250 * 1000, /* after a full disk */
        READER_POLL_US = 1000,
};

/* What the thread is to do. Changed by the writer's thread while none is posted. */
typedef struct task {
        intent intent;  /* of the generation of *state*: only the index moved */
        uint32_t from;  /* frames that are in the file already */
        uint64_t began_us;
} task;

struct checkpoint {
        checkpoint_setup setup; /* .state: the one on disk; the writer's thread */
        uint64_t generation;

        /* The writer's thread */
        task task;
        bool posted, closing, swapped;
        uint64_t finished_us, retry_us;
        uint64_t closing_above_bytes; /* no closing one while the WAL is smaller */
        rq_err told;                  /* last error, which was logged */

        /* Between the two threads, under mutex */
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        pthread_t thread;
        bool thread_runs, quit, todo, done;
        rq_err result;
        state_file result_state;

        atomic_bool broken, soon;
        atomic_uint_fast64_t index, count, us_last, us_max;
};

/* The thread */

/* A sync that failed has dropped what it should have written: those pages are
 * clean now, and the next sync would lie. Nothing may rely on it ever again. */
static rq_err lost(checkpoint *c, rq_err r) {
        atomic_store(&c->broken, true);
        runtime_record_kill(c->setup.record);
        return r;
}

static rq_err sync_file(checkpoint *c, int fd) {
        const files_io *io = c->setup.io;
        return io->sync(io->context, fd) < 0 ? lost(c, files_io_error(errno)) : RQ_OK;
}

static bool is_quitting(checkpoint *c) {
        bool quit;
        (void) pthread_mutex_lock(&c->mutex);
        quit = c->quit;
        (void) pthread_mutex_unlock(&c->mutex);
        return quit;
}

/* Who reads an older state takes from the file what the frames would change. */
static rq_err await_older_readers(checkpoint *c) {
        while (wal_index_copy_limit(c->setup.index) < c->task.intent.extent.frames) {
                if (is_quitting(c))
                        return RQ_ECANCELED;
                (void) usleep(READER_POLL_US);
        }
        return RQ_OK;
}

static rq_err move_frames(checkpoint *c) {
        const checkpoint_setup *s = &c->setup;
        const intent *in = &c->task.intent;
        rq_err r = sync_file(c, s->wal_fd);
        if (r < 0)
                return r;
        r = intent_write(s->io, s->intent_fd, in);
        if (r < 0)
                return r == RQ_ENOSPC ? r : lost(c, r);
        r = await_older_readers(c);
        if (r < 0)
                return r;
        image_set_begin(s->images);
        r = wal_copy_beside(s->io, s->wal_fd, s->database_fd, &in->extent, c->task.from, s->images);
        if (r < 0)
                return r == RQ_ENOSPC || r == RQ_ENOMEM ? r : lost(c, r);
        return sync_file(c, s->database_fd);
}

static rq_err run_task(checkpoint *c, state_file *state) {
        const checkpoint_setup *s = &c->setup;
        const intent *in = &c->task.intent;
        rq_err r = in->generation == state->generation ? RQ_OK : move_frames(c);
        if (r < 0)
                return r;
        r = database_file_facts(s->io, s->database_fd, &state->database);
        if (r < 0)
                return r;
        state->position = in->position;
        state->generation = in->generation;
        r = state_file_write(s->io, s->folder_fd, state);
        if (r == RQ_OK)
                image_set_end(s->images, state);
        return r == RQ_OK || r == RQ_ENOSPC || r == RQ_ENOMEM ? r : lost(c, r);
}

static void *thread_main(void *argument) {
        checkpoint *c = argument;
        (void) pthread_mutex_lock(&c->mutex);
        while (!c->quit) {
                state_file state;
                rq_err r;
                if (!c->todo) {
                        (void) pthread_cond_wait(&c->changed, &c->mutex);
                        continue;
                }
                c->todo = false;
                state = c->setup.state;
                (void) pthread_mutex_unlock(&c->mutex);
                r = run_task(c, &state);
                (void) pthread_mutex_lock(&c->mutex);
                c->done = true;
                c->result = r;
                c->result_state = state;
                (void) pthread_cond_broadcast(&c->changed);
        }
        (void) pthread_mutex_unlock(&c->mutex);
        return NULL;
}

static void post(checkpoint *c) {
        (void) pthread_mutex_lock(&c->mutex);
        c->todo = true;
        c->done = false;
        (void) pthread_cond_broadcast(&c->changed);
        (void) pthread_mutex_unlock(&c->mutex);
        c->posted = true;
}

/* RQ_EAGAIN: still under way. With wait: when only readers hold it up, and that
 * for longer than a closing checkpoint may take. */
static rq_err collect(checkpoint *c, bool wait, state_file *ret_state) {
        uint64_t until_us = 0;
        rq_err r = RQ_EAGAIN;
        (void) pthread_mutex_lock(&c->mutex);
        while (wait && !c->done) {
                uint64_t now_us = rq_clock_mono_us();
                const struct timespec poll = rq_clock_wait_time(now_us + READER_POLL_US);
                bool held_up = wal_index_copy_limit(c->setup.index) < c->task.intent.extent.frames;
                if (!held_up)
                        until_us = 0;
                else if (until_us == 0)
                        until_us = now_us + c->setup.limits.closing_wait_us;
                else if (now_us >= until_us)
                        break;
                (void) pthread_cond_timedwait(&c->changed, &c->mutex, &poll);
        }
        if (c->done) {
                r = c->result;
                *ret_state = c->result_state;
                c->posted = false;
        }
        (void) pthread_mutex_unlock(&c->mutex);
        return r;
}

/* Beginning */

static bool position_equal(const store_state *a, const store_state *b) {
        return a->index == b->index && a->term == b->term && a->clock_us == b->clock_us && a->outcome_hash == b->outcome_hash &&
               a->feature_level == b->feature_level && rq_uuid_equal(&a->database_id, &b->database_id) && a->epoch == b->epoch;
}

static uint64_t frames_bytes(const wal_position *at, uint32_t frames) {
        const wal_extent extent = { .frames = frames, .page_size = at->page_size };
        return wal_extent_bytes(&extent);
}

/* The WAL is too large. Most of it is moved beside the writer first, so that it
 * waits for little; if it writes faster than that, for all. Readers may have made
 * the waiting vain: not again before the WAL has grown by a quarter. */
static bool must_close(checkpoint *c, const wal_position *at) {
        const checkpoint_limits *limits = &c->setup.limits;
        uint64_t all = frames_bytes(at, at->frames), rest = frames_bytes(at, at->frames - at->copied);
        if (all < limits->wal_bytes_max)
                c->closing_above_bytes = limits->wal_bytes_max;
        return rest > 0 && all >= c->closing_above_bytes && (rest <= limits->wal_bytes || all >= 2 * limits->wal_bytes_max);
}

/* Done what could be done, or readers hold it up. */
static void closing_over(checkpoint *c) {
        wal_position at = wal_index_position(c->setup.index);
        c->closing_above_bytes = frames_bytes(&at, at.frames) + c->setup.limits.wal_bytes_max / 4;
}

static bool want(checkpoint *c, const wal_position *at, const store_state *state, bool force) {
        const checkpoint_limits *limits = &c->setup.limits;
        uint64_t rest = frames_bytes(at, at->frames - at->copied);
        bool anything = rest > 0 || !position_equal(state, &c->setup.state.position);

        c->closing = force;
        if (force)
                return anything;
        if (must_close(c, at)) {
                c->closing = true;
                return true;
        }
        if (rest >= limits->wal_bytes || (atomic_exchange(&c->soon, false) && anything))
                return true;
        return anything && (state->index - c->setup.state.position.index >= limits->entries ||
                            rq_clock_mono_us() - c->finished_us >= limits->interval_us);
}

static void begin(checkpoint *c, const wal_position *at, const store_state *state) {
        c->task = (task) {
                .intent = {
                        .generation = c->setup.state.generation,
                        .disk_id = c->setup.state.disk_id,
                        .position = *state,
                        .extent = { .frames = at->frames, .page_size = at->page_size },
                },
                .from = at->copied,
                .began_us = rq_clock_mono_us(),
        };
        memcpy(c->task.intent.extent.salts, at->salts, WAL_SALTS_BYTES);
        if (at->frames > at->copied)
                c->task.intent.generation = ++c->generation;
        else
                c->task.intent.extent.frames = 0; /* the file stays: readers don't matter */
        post(c);
}

/* Ending */

/* A closing checkpoint is for the WAL to begin anew, which readers prevent as
 * long as they read from it. */
static void await_readers_in_wal(checkpoint *c) {
        uint64_t until_us = rq_clock_mono_us() + c->setup.limits.closing_wait_us;
        while (wal_index_held(c->setup.index) && rq_clock_mono_us() < until_us)
                (void) usleep(READER_POLL_US / 2);
}

static void finish(checkpoint *c, const state_file *state) {
        uint64_t now_us = rq_clock_mono_us(), took_us = now_us - c->task.began_us;
        if (state->generation != c->setup.state.generation)
                wal_index_set_copied(c->setup.index, c->task.intent.extent.frames);
        c->setup.state = *state;
        c->finished_us = now_us;
        c->told = RQ_OK;
        atomic_store(&c->index, state->position.index);
        atomic_store(&c->us_last, took_us);
        if (took_us > atomic_load(&c->us_max))
                atomic_store(&c->us_max, took_us);
        (void) atomic_fetch_add(&c->count, 1);
        rq_log_debug("Checkpoint at index %" PRIu64 ": frames %u to %u, %" PRIu64 " us%s", state->position.index, c->task.from + 1,
                     c->task.intent.extent.frames, took_us, c->closing ? ", writer held" : "");
        if (c->closing && c->task.intent.extent.frames == wal_index_position(c->setup.index).frames) {
                await_readers_in_wal(c);
                closing_over(c);
        }
}

/* Begins or ends one. RQ_EAGAIN: under way. RQ_ENOENT: nothing to do. */
static rq_err advance(checkpoint *c, const store_state *state, bool force) {
        wal_position at = wal_index_position(c->setup.index);
        state_file done;
        rq_err r;
        if (c->posted) {
                c->closing = must_close(c, &at);
        } else {
                if (c->told < 0)
                        post(c); /* what failed for want of space, again */
                else if (want(c, &at, state, force))
                        begin(c, &at, state);
                else
                        return RQ_ENOENT;
        }
        r = collect(c, force || c->closing, &done);
        if (r == RQ_OK)
                finish(c, &done);
        else if (r == RQ_EAGAIN && c->closing)
                closing_over(c);
        return r;
}

static rq_err tell_once(checkpoint *c, rq_err r) {
        c->retry_us = rq_clock_mono_us() + RETRY_US;
        if (r == c->told)
                return r;
        c->told = r;
        return rq_log_error(r, "Checkpoint of %s to index %" PRIu64 " failed%s", c->setup.database_path,
                            c->task.intent.position.index, checkpoint_broken(c) ? "; the files have to be opened anew" : "");
}

rq_err checkpoint_step(checkpoint *c, const store_state *state, bool force) {
        rq_err r;
        if (c->swapped)
                return RQ_OK;
        if (checkpoint_broken(c))
                return tell_once(c, RQ_EIO);
        if (c->told < 0 && !force && rq_clock_mono_us() < c->retry_us)
                return c->told;
        do
                r = advance(c, state, force);
        while (r == RQ_OK);
        if (r == RQ_ENOENT || (r == RQ_EAGAIN && !force))
                return RQ_OK;
        return r == RQ_EAGAIN ? r : tell_once(c, checkpoint_broken(c) ? RQ_EIO : r);
}

/* The database is replaced by the next start; what the WAL holds by then is of no
 * use, so nothing may be moved any more. */
rq_err checkpoint_swap(checkpoint *c, const store_state *position, const database_facts *facts) {
        state_file done;
        rq_err r = RQ_OK;
        if (checkpoint_broken(c))
                return RQ_EIO;
        if (c->posted) {
                r = collect(c, true, &done);
                if (r == RQ_OK)
                        finish(c, &done);
                else if (r == RQ_EAGAIN || checkpoint_broken(c))
                        return r;
                c->told = RQ_OK;
        }
        const intent in = {
                .kind = INTENT_SWAP,
                .generation = ++c->generation,
                .disk_id = c->setup.state.disk_id,
                .position = *position,
                .extent = { .page_size = facts->page_size },
                .facts = *facts,
        };
        r = intent_write(c->setup.io, c->setup.intent_fd, &in);
        if (r < 0)
                return r == RQ_ENOSPC ? r : lost(c, r);
        c->swapped = true;
        runtime_record_kill(c->setup.record);
        return RQ_OK;
}

void checkpoint_soon(checkpoint *c) { atomic_store(&c->soon, true); }

/* The rest */

uint32_t checkpoint_wait_ms(const checkpoint *c, const store_state *state) {
        uint64_t interval_us = c->setup.limits.interval_us, passed_us = rq_clock_mono_us() - c->finished_us;
        wal_position at;
        if (checkpoint_broken(c) || c->swapped)
                return UINT32_MAX;
        if (c->told < 0)
                return RETRY_US / 1000;
        if (c->posted)
                return POLL_MS;
        at = wal_index_position(c->setup.index);
        if (at.frames == at.copied && position_equal(state, &c->setup.state.position))
                return UINT32_MAX;
        return passed_us >= interval_us || atomic_load(&c->soon) ? POLL_MS : (uint32_t) ((interval_us - passed_us) / 1000 + 1);
}

bool checkpoint_broken(const checkpoint *c) {
        return atomic_load(&c->broken);
}

const state_file *checkpoint_state(const checkpoint *c) {
        return &c->setup.state;
}

uint64_t checkpoint_index(const checkpoint *c) {
        return atomic_load(&c->index);
}

checkpoint_counts checkpoint_counts_get(const checkpoint *c) {
        return (checkpoint_counts) {
                .count = atomic_load(&c->count), .us_last = atomic_load(&c->us_last), .us_max = atomic_load(&c->us_max)
        };
}

static void init_sync(checkpoint *c) {
        pthread_condattr_t attributes;
        rq_assert(pthread_mutex_init(&c->mutex, NULL) == 0 && pthread_condattr_init(&attributes) == 0);
        rq_assert(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
        rq_assert(pthread_cond_init(&c->changed, &attributes) == 0);
        (void) pthread_condattr_destroy(&attributes);
}

rq_err checkpoint_new(const checkpoint_setup *setup, checkpoint **ret_checkpoint) {
        checkpoint *c = calloc(1, sizeof *c);
        sigset_t all, before;
        if (c == NULL)
                return RQ_ENOMEM;
        c->setup = *setup;
        c->generation = setup->generation > setup->state.generation ? setup->generation : setup->state.generation;
        c->finished_us = rq_clock_mono_us();
        c->closing_above_bytes = setup->limits.wal_bytes_max;
        atomic_store(&c->index, setup->state.position.index);
        init_sync(c);
        /* Signals are the loop's. */
        (void) sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &before);
        c->thread_runs = pthread_create(&c->thread, NULL, thread_main, c) == 0;
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (!c->thread_runs) {
                checkpoint_free(c);
                return RQ_ENOMEM;
        }
        *ret_checkpoint = c;
        return RQ_OK;
}

checkpoint *checkpoint_free(checkpoint *c) {
        if (c == NULL)
                return NULL;
        if (c->thread_runs) {
                (void) pthread_mutex_lock(&c->mutex);
                c->quit = true;
                (void) pthread_cond_broadcast(&c->changed);
                (void) pthread_mutex_unlock(&c->mutex);
                (void) pthread_join(c->thread, NULL);
        }
        (void) pthread_cond_destroy(&c->changed);
        (void) pthread_mutex_destroy(&c->mutex);
        free(c);
        return NULL;
}
