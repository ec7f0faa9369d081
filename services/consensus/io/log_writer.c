#include "io/log_writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/log_spare.h"
#include "record.h"

enum {
        WAIT_MS             = 100,           /* between two looks for space */
        RESERVE_BYTES       = 256 * 1024,    /* for entries that are not asked for: a new term's, barriers */
        SCARCE_RECORD_BYTES = 64 * 1024,     /* largest entry taken while space is scarce */
        UNIT_OVERHEAD_BYTES = UNIT_HEADER_BYTES + UNIT_ALIGN,
};

typedef struct queued {
        log_write write;
        uint64_t sequence; /* reported when it is durable */
} queued;

struct log_writer {
        pthread_t thread;
        bool has_thread;
        rq_wake *wake;
        log_place place;          /* the thread's own */
        hardstate_file hard;      /* likewise */
        uint64_t hard_writes, batches; /* likewise */

        pthread_mutex_t mutex;
        pthread_cond_t work;
        /* Under the mutex: */
        rq_buf queue;             /* queued */
        uint64_t submitted, done;
        bool idle, stop;
        rq_err err;
        rq_buf placements;
        log_writer_stats stats;
};

static void lock(log_writer *w) { (void) pthread_mutex_lock(&w->mutex); }
static void unlock(log_writer *w) { (void) pthread_mutex_unlock(&w->mutex); }

/* Tells the loop's thread how far it is. */
static void report(log_writer *w, uint64_t done, rq_err err, bool stalled) {
        const log_place_stats *placed = &w->place.stats;
        lock(w);
        if (err >= 0)
                err = rq_buf_append_bytes(&w->placements, rq_buf_bytes(&w->place.placements));
        w->place.placements.size = 0;
        if (err >= 0 && done > w->done)
                w->done = done;
        if (err < 0)
                w->err = err;
        w->stats = (log_writer_stats) {
                .batches = w->batches, .units = placed->units, .bytes = placed->bytes, .hard_writes = w->hard_writes,
                .sync_count = placed->sync_count, .sync_us_total = placed->sync_us_total,
                .sync_us_max = placed->sync_us_max, .sync_us_last = placed->sync_us_last,
                .segments_begun = placed->segments_begun,
                .stalled = stalled, .room_bytes = log_place_room(&w->place),
        };
        unlock(w);
        rq_wake_signal(w->wake);
}

/* False: the writer is to end. */
static bool wait_for_space(log_writer *w) {
        struct timespec until;
        (void) clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WAIT_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
                until.tv_sec++;
                until.tv_nsec -= 1000000000L;
        }
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

/* After a step that lacked space: RQ_OK, it can be tried again. durable: what
 * came before it. */
static rq_err make_way(log_writer *w, rq_err err, uint64_t durable) {
        if (err == RQ_EAGAIN) /* the spare segment is being made; waiting was done there */
                return stopping(w) ? RQ_ECANCELED : RQ_OK;
        if (err != RQ_ENOSPC)
                return err;
        report(w, log_place_is_synced(&w->place) ? durable : 0, RQ_OK, true);
        return wait_for_space(w) ? RQ_OK : RQ_ECANCELED;
}

static rq_err add(log_writer *w, const queued *q, uint64_t sequence_before) {
        rq_err r;
        while ((r = log_place_add(&w->place, &q->write)) < 0) {
                r = make_way(w, r, sequence_before);
                if (r < 0)
                        break;
        }
        return r;
}

static rq_err sync_all(log_writer *w) {
        rq_err r;
        while ((r = log_place_sync(&w->place)) < 0) {
                r = make_way(w, r, 0);
                if (r < 0)
                        break;
        }
        return r;
}

static rq_err write_hardstate(log_writer *w, const queued *batch, size_t count) {
        const hardstate *newest = NULL;
        for (size_t i = 0; i < count; i++)
                if (batch[i].write.hard)
                        newest = &batch[i].write.state;
        if (newest == NULL)
                return RQ_OK;
        uint64_t start = rq_clock_mono_us();
        rq_err r = hardstate_write(&w->hard, newest);
        log_place_count_sync(&w->place, rq_clock_mono_us() - start);
        w->hard_writes++;
        return r;
}

static rq_err perform(log_writer *w, const queued *batch, size_t count) {
        /* Before the entries: one whose term isn't in the hard state would look
         * like a vote that was lost. */
        rq_err r = write_hardstate(w, batch, count);
        for (size_t i = 0; r >= 0 && i < count; i++)
                if (batch[i].write.first_index != 0)
                        r = add(w, &batch[i], i > 0 ? batch[i - 1].sequence : 0);
        if (r >= 0)
                r = sync_all(w);
        for (size_t i = 0; r >= 0 && i < count; i++)
                if (batch[i].write.drop_first_index != 0)
                        r = log_place_drop(&w->place, batch[i].write.drop_first_index, batch[i].write.drop_bytes);
        return r;
}

static void *run(void *arg) {
        log_writer *w = arg;
        RQ_CLEANUP(rq_buf_done) rq_buf batch = {0};
        rq_err r = RQ_OK;
        while (r >= 0) {
                lock(w);
                while (w->queue.size == 0 && !w->stop) {
                        w->idle = true;
                        (void) pthread_cond_wait(&w->work, &w->mutex);
                }
                w->idle = false;
                bool end = w->queue.size == 0;
                rq_buf taken = w->queue;
                w->queue = batch;
                batch = taken;
                unlock(w);
                if (end)
                        break;

                const queued *q = (const queued *) (const void *) batch.data;
                size_t count = batch.size / sizeof *q;
                w->batches++;
                r = perform(w, q, count);
                if (r != RQ_ECANCELED)
                        report(w, q[count - 1].sequence, r, false);
                batch.size = 0;
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
        w->hard = hard;
        w->wake = wake;
        w->place.fd = -1;
        pthread_condattr_t monotonic;
        (void) pthread_condattr_init(&monotonic);
        (void) pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        (void) pthread_mutex_init(&w->mutex, NULL);
        (void) pthread_cond_init(&w->work, &monotonic);
        (void) pthread_condattr_destroy(&monotonic);

        rq_err r = log_place_open(options, &w->place);
        if (r >= 0) {
                w->stats.room_bytes = log_place_room(&w->place);
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
        log_place_close(&w->place);
        hardstate_close(&w->hard);
        rq_buf_done(&w->queue);
        rq_buf_done(&w->placements);
        (void) pthread_cond_destroy(&w->work);
        (void) pthread_mutex_destroy(&w->mutex);
        free(w);
        return NULL;
}

/* Entries that lie behind each other in memory, too, become one write: while the
 * disk is slow the queue doesn't grow with the turns of the loop. */
static bool extend_last(log_writer *w, const log_write *write) {
        if (w->queue.size == 0 || write->hard || write->drop_first_index != 0)
                return false;
        queued *last = (queued *) (void *) (w->queue.data + w->queue.size - sizeof *last);
        log_write *l = &last->write;
        if (l->hard || l->first_index == 0 || l->drop_first_index != 0 || l->last_index + 1 != write->first_index ||
            l->records.data + l->records.size != write->records.data)
                return false;
        l->last_index = write->last_index;
        l->last_term = write->last_term;
        l->last_clock_us = write->last_clock_us;
        l->records.size += write->records.size;
        last->sequence = w->submitted;
        return true;
}

rq_err log_writer_submit(log_writer *w, const log_write *write, uint64_t *ret_sequence) {
        rq_assert(write->first_index == 0 || write->records.size >= RECORD_HEADER_BYTES);
        lock(w);
        w->submitted++;
        rq_err r = RQ_OK;
        if (!extend_last(w, write)) {
                queued q = { .write = *write, .sequence = w->submitted };
                r = rq_buf_append(&w->queue, &q, sizeof q);
        }
        if (r < 0)
                w->submitted--;
        else
                *ret_sequence = w->submitted;
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
        if (err < 0)
                return RQ_EIO;
        if (record_bytes > SEGMENT_BYTES / 2) {
                int64_t space = w->place.io->free_bytes(w->place.io->arg, w->place.dir_fd);
                if (space >= 0 && (uint64_t) space < record_bytes + pending_bytes + 2 * (uint64_t) SEGMENT_BYTES)
                        return RQ_ENOSPC;
        }
        if (!stalled && !log_spare_is_full(w->place.spare))
                return RQ_OK;

        /* Only what is allocated already counts now; a segment's end is wasted
         * when the next entry doesn't fit. */
        room += log_spare_ready(w->place.spare) * (uint64_t) (SEGMENT_BYTES - SEGMENT_DATA_AT - SCARCE_RECORD_BYTES);
        uint64_t wanted = pending_bytes + record_bytes + UNIT_OVERHEAD_BYTES + RESERVE_BYTES;
        return !stalled && record_bytes <= SCARCE_RECORD_BYTES && wanted <= room ? RQ_OK : RQ_ENOSPC;
}

void log_writer_get_stats(log_writer *w, log_writer_stats *ret_stats) {
        lock(w);
        *ret_stats = w->stats;
        unlock(w);
        ret_stats->full = log_spare_is_full(w->place.spare);
        ret_stats->spare_count = log_spare_ready(w->place.spare);
}
