#include "io/log_writer.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "io/log_batch.h"

enum { WAIT_MS = 100 }; /* between two looks for space */

struct log_writer {
        pthread_t thread;
        bool has_thread;
        rq_wake *wake;
        log_batch batch;          /* the thread's own */

        pthread_mutex_t mutex;
        pthread_cond_t work;
        /* Under the mutex: */
        log_queue queue;
        uint64_t done;
        bool idle, stop;
        rq_err err;
        rq_buf placements;
        log_writer_stats stats;
};

static void lock(log_writer *w) { (void) pthread_mutex_lock(&w->mutex); }
static void unlock(log_writer *w) { (void) pthread_mutex_unlock(&w->mutex); }

/* Tells the loop's thread how far it is. */
static void report(log_writer *w, rq_err err, bool stalled) {
        log_place *place = &w->batch.place;
        const log_place_stats *placed = &place->stats;
        lock(w);
        if (err >= 0)
                err = rq_buf_append_bytes(&w->placements, rq_buf_bytes(&place->placements));
        place->placements.size = 0;
        if (err >= 0)
                w->done = w->batch.durable;
        if (err < 0)
                w->err = err;
        w->stats = (log_writer_stats) {
                .batches = w->batch.batches, .units = placed->units, .bytes = placed->bytes, .hard_writes = w->batch.hard_writes,
                .sync_count = placed->sync_count, .sync_us_total = placed->sync_us_total,
                .sync_us_max = placed->sync_us_max, .sync_us_last = placed->sync_us_last,
                .segments_begun = placed->segments_begun,
                .stalled = stalled, .room_bytes = log_place_room(place),
        };
        unlock(w);
        rq_wake_signal(w->wake);
}

/* False: the writer is to end. */
static bool wait_for_space(log_writer *w) {
        const struct timespec until = rq_clock_wait_time(rq_clock_mono_us() + WAIT_MS * 1000);
        lock(w);
        while (!w->stop && pthread_cond_timedwait(&w->work, &w->mutex, &until) == 0)
                ; /* new work is no new space */
        bool go_on = !w->stop;
        unlock(w);
        return go_on;
}

static bool stopping(log_writer *w) {
        lock(w);
        bool stop = w->stop;
        unlock(w);
        return stop;
}

static rq_err perform(log_writer *w, const log_queued *items, size_t count) {
        rq_err r;
        while ((r = log_batch_perform(&w->batch, items, count)) < 0) {
                if (r == RQ_EAGAIN && !stopping(w))
                        continue; /* the spare segment is being made; waiting was done there */
                if (r != RQ_EAGAIN && r != RQ_ENOSPC)
                        return r;
                if (r == RQ_EAGAIN)
                        return RQ_ECANCELED;
                report(w, RQ_OK, true);
                if (!wait_for_space(w))
                        return RQ_ECANCELED;
        }
        return RQ_OK;
}

static void *run(void *arg) {
        log_writer *w = arg;
        RQ_CLEANUP(rq_buf_done) rq_buf batch = {0};
        rq_err r = RQ_OK;
        while (r >= 0) {
                lock(w);
                while (w->queue.items.size == 0 && !w->stop) {
                        w->idle = true;
                        (void) pthread_cond_wait(&w->work, &w->mutex);
                }
                w->idle = false;
                log_queue_take(&w->queue, &batch);
                unlock(w);
                if (batch.size == 0)
                        break;

                const log_queued *items = (const log_queued *) (const void *) batch.data;
                r = perform(w, items, batch.size / sizeof *items);
                if (r != RQ_ECANCELED)
                        report(w, r, false);
        }
        return NULL;
}

rq_err log_writer_new(const log_place_options *options, hardstate_file *take_hardstate, rq_wake *wake,
                      log_writer **ret_writer) {
        hardstate_file hard = RQ_TAKE(*take_hardstate, (hardstate_file) { .fd = -1 });
        log_writer *w = calloc(1, sizeof *w);
        if (w == NULL) {
                hardstate_close(&hard);
                return RQ_ENOMEM;
        }
        w->wake = wake;
        w->batch = (log_batch) { .place = { .fd = -1 }, .hard = { .fd = -1 } };
        pthread_condattr_t monotonic;
        (void) pthread_condattr_init(&monotonic);
        (void) pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        (void) pthread_mutex_init(&w->mutex, NULL);
        (void) pthread_cond_init(&w->work, &monotonic);
        (void) pthread_condattr_destroy(&monotonic);

        rq_err r = log_batch_open(options, &hard, &w->batch);
        if (r >= 0) {
                w->stats.room_bytes = log_place_room(&w->batch.place);
                if (pthread_create(&w->thread, NULL, run, w) != 0)
                        r = RQ_ENOMEM;
        }
        if (r < 0) {
                (void) log_writer_free(w);
                return r;
        }
        w->has_thread = true;
        *ret_writer = w;
        return RQ_OK;
}

log_writer *log_writer_free(log_writer *w) {
        if (w == NULL)
                return NULL;
        if (w->has_thread) {
                lock(w);
                w->stop = true;
                (void) pthread_cond_signal(&w->work);
                unlock(w);
                (void) pthread_join(w->thread, NULL);
        }
        log_batch_close(&w->batch);
        rq_buf_done(&w->queue.items);
        rq_buf_done(&w->placements);
        (void) pthread_cond_destroy(&w->work);
        (void) pthread_mutex_destroy(&w->mutex);
        free(w);
        return NULL;
}

rq_err log_writer_submit(log_writer *w, const log_write *write, uint64_t *ret_sequence) {
        lock(w);
        rq_err r = log_queue_add(&w->queue, write, ret_sequence);
        bool wake = w->idle;
        w->idle = false;
        unlock(w);
        if (wake)
                (void) pthread_cond_signal(&w->work);
        return r;
}

void log_writer_collect(log_writer *w, log_report *ret_report) {
        ret_report->placements.size = 0;
        lock(w);
        ret_report->done = w->done;
        ret_report->err = w->err;
        rq_buf empty = ret_report->placements;
        ret_report->placements = w->placements;
        w->placements = empty;
        unlock(w);
}

rq_err log_writer_admits(log_writer *w, uint64_t record_bytes, uint64_t pending_bytes) {
        lock(w);
        rq_err err = w->err;
        bool stalled = w->stats.stalled;
        uint64_t room = w->stats.room_bytes;
        unlock(w);
        return err < 0 ? RQ_EIO : log_batch_admits(&w->batch, stalled, room, record_bytes, pending_bytes);
}

void log_writer_get_stats(log_writer *w, log_writer_stats *ret_stats) {
        lock(w);
        *ret_stats = w->stats;
        unlock(w);
        ret_stats->full = log_spare_is_full(w->batch.place.spare);
        ret_stats->spare_count = log_spare_ready(w->batch.place.spare);
}
