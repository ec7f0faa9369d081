#include "io/apply_thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { STACK_BYTES = 256 * 1024 * 1024 }; /* views of views, and triggers; only what is touched is there */

enum {
        RETRY_US          = 500 * 1000,
        YOUNG_US          = 10 * 1000 * 1000, /* an entry's gateway may still come back */
        GATEWAYS_MAX      = 64,
        SPARE_OUTPUTS_MAX = 4,
        SPARE_JSON_BYTES_MAX = 1024 * 1024,
        MERGED_BYTES_MAX  = 1024 * 1024,      /* small batches are joined up to here */
};

/* Records as they came: one COMMITTED, or several small ones. */
typedef struct batch {
        struct batch *next;
        rq_buf records;
        size_t done_bytes;
        uint32_t count;
        uint64_t newest_clock_us;
} batch;

struct apply_thread {
        files *files;
        rq_wake *wake;
        store_state start_state;
        applier_options options;

        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t changed;

        /* Under the mutex. */
        batch *first, *last, *spare_batch;
        apply_output *out_first, *out_last, *spare_outputs;
        size_t spare_count;
        rq_uuid gateways[GATEWAYS_MAX];
        size_t gateway_count;
        apply_status status;
        bool started, finish, quit;
        rq_err start_error;
        uint64_t finish_by_us;
        bool swap_wanted, swap_over, swap_forward_only;
        store_state swap_position;
        rq_err swap_result;
        rq_buf swap_problem;

        /* The thread's own. */
        applier *applier;          /* the pointer is set before started */
        uint64_t told_checkpoint_index;
        rq_err logged_error;
        bool young;                /* of the batch at hand */
        bool checkpoint_failed;    /* nothing is applied until it works again */
};

static void batch_free(batch *b) {
        if (b == NULL)
                return;
        rq_buf_done(&b->records);
        free(b);
}

static void output_free(apply_output *out) {
        if (out == NULL)
                return;
        apply_output_done(out);
        free(out);
}

/* --- the thread -------------------------------------------------------------- */

static bool wanted(void *arg, const rq_uuid *gateway) {
        apply_thread *t = arg;
        if (t->young)
                return true;
        bool found = false;
        (void) pthread_mutex_lock(&t->mutex);
        for (size_t i = 0; i < t->gateway_count && !found; i++)
                found = rq_uuid_equal(&t->gateways[i], gateway);
        (void) pthread_mutex_unlock(&t->mutex);
        return found;
}

/* What may pass, unless a failed sync has made this process's view of the files
 * worthless. */
static bool may_retry(const apply_thread *t, rq_err r) {
        return (r == RQ_ENOSPC || r == RQ_EIO || r == RQ_ENOMEM || r == RQ_EMFILE) && !files_broken(t->files);
}

static void set_condition(apply_thread *t, apply_condition condition, rq_err error) {
        (void) pthread_mutex_lock(&t->mutex);
        t->status.condition = condition;
        t->status.error = error;
        t->status.failed_index = applier_state(t->applier)->index + 1;
        (void) pthread_mutex_unlock(&t->mutex);
        rq_wake_signal(t->wake);
}

static void on_failure(apply_thread *t, rq_err r) {
        char index[48];
        uint64_t next = applier_state(t->applier)->index + 1;
        const char *const fields[] = {
                r == RQ_ENOSPC ? RQ_MSG_DISK_FULL : RQ_MSG_APPLY_STOPPED,
                rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, next), NULL,
        };
        if (may_retry(t, r)) {
                if (t->logged_error != r)
                        (void) rq_log_error_(r, fields, "Cannot apply entry %llu; will try again until it works",
                                             (unsigned long long) next);
                t->logged_error = r;
                set_condition(t, APPLY_RETRYING, r);
                return;
        }
        (void) rq_log_error_(r, fields, "Cannot apply entry %llu; the database stays as it is before it",
                             (unsigned long long) next);
        set_condition(t, APPLY_STOPPED, r);
}

static void on_success(apply_thread *t) {
        if (t->logged_error == RQ_OK)
                return;
        rq_log_event(LOG_NOTICE, RQ_MSG_APPLY_RESUMED, "Applying again, from entry %llu on", (unsigned long long) applier_state(t->applier)->index);
        t->logged_error = RQ_OK;
        set_condition(t, APPLY_WORKING, RQ_OK);
}

/* Waits for work or the time; called with the mutex held. */
static void wait_us(apply_thread *t, uint64_t us) {
        const struct timespec until = rq_clock_wait_time(rq_clock_mono_us() + us);
        (void) pthread_cond_timedwait(&t->changed, &t->mutex, &until);
}

static apply_output *take_spare_output(apply_thread *t) {
        (void) pthread_mutex_lock(&t->mutex);
        apply_output *out = t->spare_outputs;
        if (out != NULL) {
                t->spare_outputs = out->next;
                t->spare_count--;
                out->next = NULL;
        }
        (void) pthread_mutex_unlock(&t->mutex);
        return out != NULL ? out : calloc(1, sizeof *out);
}

static void publish(apply_thread *t, apply_output *out, size_t applied, size_t bytes) {
        (void) pthread_mutex_lock(&t->mutex);
        if (t->out_last != NULL)
                t->out_last->next = out;
        else
                t->out_first = out;
        t->out_last = out;
        t->status.queued_bytes -= bytes;
        t->status.queued_records -= applied;
        (void) pthread_mutex_unlock(&t->mutex);
        rq_wake_signal(t->wake);
}

/* One transaction's worth of the batch. */
static rq_err apply_some(apply_thread *t, batch *b) {
        apply_output *out = take_spare_output(t);
        if (out == NULL)
                return RQ_ENOMEM;

        size_t applied = 0, bytes = 0;
        t->young = rq_clock_wall_us() < b->newest_clock_us + YOUNG_US;
        rq_bytes records = rq_bytes_of(b->records.data + b->done_bytes, b->records.size - b->done_bytes);
        rq_err r = applier_run(t->applier, records, wanted, t, out, &applied, &bytes);
        /* What was committed before a failure has its results, too. */
        if (r < 0 && applied == 0) {
                output_free(out);
                return r;
        }
        b->done_bytes += bytes;
        publish(t, out, applied, bytes);
        return r;
}

/* Also tells the loop when durability moved on. */
static rq_err checkpoint(apply_thread *t, bool force) {
        rq_err r = files_checkpoint(t->files, applier_state(t->applier), force);
        t->checkpoint_failed = r < 0;
        uint64_t index = files_checkpoint_index(t->files);
        if (index != t->told_checkpoint_index) {
                t->told_checkpoint_index = index;
                rq_wake_signal(t->wake);
        }
        return r;
}

static void give_back_batch(apply_thread *t, batch *b) {
        (void) pthread_mutex_lock(&t->mutex);
        t->status.queued_batches--;
        if (t->spare_batch == NULL && b->records.capacity <= MERGED_BYTES_MAX) {
                b->records.size = 0;
                t->spare_batch = b;
                b = NULL;
        }
        (void) pthread_mutex_unlock(&t->mutex);
        batch_free(b);
}

/* Until the whole batch is applied; false: it can't be, or the end has come. */
static bool apply_batch(apply_thread *t, batch *b) {
        while (b->done_bytes < b->records.size) {
                rq_err r = t->checkpoint_failed ? checkpoint(t, false) : RQ_OK;
                if (r >= 0)
                        r = apply_some(t, b);
                if (r >= 0)
                        r = checkpoint(t, false);
                if (r < 0) {
                        on_failure(t, r);
                        if (!may_retry(t, r))
                                return false;
                } else {
                        on_success(t);
                }

                (void) pthread_mutex_lock(&t->mutex);
                if (r < 0 && !t->quit && !t->finish)
                        wait_us(t, RETRY_US);
                bool go_on = !t->quit && !t->swap_wanted && !files_swapped(t->files) && !(t->finish && (r < 0 || rq_clock_mono_us() >= t->finish_by_us));
                (void) pthread_mutex_unlock(&t->mutex);
                if (!go_on)
                        return false;
        }
        return true;
}

/* Asked for by the loop. True: this thread's files are the old ones now. */
static bool swap_if_wanted(apply_thread *t) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        (void) pthread_mutex_lock(&t->mutex);
        bool wanted = t->swap_wanted;
        const store_state position = t->swap_position;
        const uint64_t above = t->swap_forward_only ? applier_state(t->applier)->index : FILES_SWAP_ANY;
        (void) pthread_mutex_unlock(&t->mutex);
        if (wanted) {
                rq_err r = files_swap(t->files, &position, above, &text);
                (void) pthread_mutex_lock(&t->mutex);
                t->swap_wanted = false;
                t->swap_over = true;
                t->swap_result = r;
                rq_buf_done(&t->swap_problem);
                t->swap_problem = RQ_TAKE(text, (rq_buf) {0});
                (void) pthread_mutex_unlock(&t->mutex);
                rq_wake_signal(t->wake);
        }
        return files_swapped(t->files);
}

/* The next batch; NULL: nothing is queued and the checkpoint wants a look, or
 * the end. */
static batch *next_batch(apply_thread *t, bool *ret_end) {
        uint32_t wait_ms = RETRY_US / 1000;
        if (!t->checkpoint_failed)
                wait_ms = files_checkpoint_wait_ms(t->files, applier_state(t->applier));
        (void) pthread_mutex_lock(&t->mutex);
        bool may_take = t->status.condition != APPLY_STOPPED;
        if (!t->quit && !t->finish && !t->swap_wanted && (t->first == NULL || !may_take)) {
                if (wait_ms == UINT32_MAX)
                        (void) pthread_cond_wait(&t->changed, &t->mutex);
                else
                        wait_us(t, (uint64_t) wait_ms * 1000);
        }
        batch *b = may_take && !t->quit && !t->swap_wanted ? t->first : NULL;
        if (b != NULL) {
                t->first = b->next;
                if (t->first == NULL)
                        t->last = NULL;
                b->next = NULL;
        }
        *ret_end = t->quit || (t->finish && b == NULL);
        (void) pthread_mutex_unlock(&t->mutex);
        return b;
}

static void put_back(apply_thread *t, batch *b) {
        (void) pthread_mutex_lock(&t->mutex);
        b->next = t->first;
        t->first = b;
        if (t->last == NULL)
                t->last = b;
        (void) pthread_mutex_unlock(&t->mutex);
}

static void idle(apply_thread *t) {
        rq_err r = checkpoint(t, false);
        if (t->status.condition == APPLY_STOPPED) /* only this thread changes it */
                return;
        if (r < 0)
                on_failure(t, r);
        else
                on_success(t);
}

static void work(apply_thread *t) {
        bool end = false;
        while (!end) {
                if (swap_if_wanted(t))
                        break;
                batch *b = next_batch(t, &end);
                if (b == NULL) {
                        idle(t);
                } else if (apply_batch(t, b)) {
                        give_back_batch(t, b);
                } else {
                        put_back(t, b);
                        (void) pthread_mutex_lock(&t->mutex);
                        end = (t->quit || t->finish) && !t->swap_wanted;
                        (void) pthread_mutex_unlock(&t->mutex);
                }
        }
}

static void *run(void *arg) {
        apply_thread *t = arg;
        (void) pthread_setname_np(pthread_self(), "rq-writer");
        applier *a = NULL;
        rq_err r = applier_new(t->files, &t->start_state, &t->options, &a);
        (void) pthread_mutex_lock(&t->mutex);
        t->applier = a;
        t->start_error = r;
        t->started = true;
        (void) pthread_cond_broadcast(&t->changed);
        (void) pthread_mutex_unlock(&t->mutex);
        if (r < 0)
                return NULL;

        work(t);
        if (files_swapped(t->files)) {
                set_condition(t, APPLY_SWAPPED, RQ_OK);
                return NULL;
        }
        (void) pthread_mutex_lock(&t->mutex);
        bool closing = t->finish && !t->quit;
        (void) pthread_mutex_unlock(&t->mutex);
        if (closing) {
                r = checkpoint(t, true);
                if (r < 0 && r != RQ_EAGAIN) /* not ready: readers; files_free tries again without them */
                        rq_log_warning("No checkpoint at the end: %s; the log has what is missing", rq_err_text(r));
        }
        set_condition(t, APPLY_ENDED, RQ_OK);
        return NULL;
}

/* --- the loop's side ----------------------------------------------------------- */

rq_err apply_thread_new(files *f, const store_state *state, const applier_options *options, rq_wake *wake,
                        apply_thread **ret_thread) {
        apply_thread *t = calloc(1, sizeof *t);
        if (t == NULL)
                return RQ_ENOMEM;
        *t = (apply_thread) {
                .files = f, .wake = wake, .start_state = *state, .options = *options,
                .told_checkpoint_index = files_checkpoint_index(f),
        };
        pthread_condattr_t attributes;
        (void) pthread_condattr_init(&attributes);
        (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void) pthread_cond_init(&t->changed, &attributes);
        (void) pthread_condattr_destroy(&attributes);
        (void) pthread_mutex_init(&t->mutex, NULL);

        pthread_attr_t thread;
        (void) pthread_attr_init(&thread);
        (void) pthread_attr_setstacksize(&thread, STACK_BYTES);
        int e = pthread_create(&t->thread, &thread, run, t);
        (void) pthread_attr_destroy(&thread);
        if (e == 0) {
                (void) pthread_mutex_lock(&t->mutex);
                while (!t->started)
                        (void) pthread_cond_wait(&t->changed, &t->mutex);
                (void) pthread_mutex_unlock(&t->mutex);
                if (t->start_error < 0)
                        (void) pthread_join(t->thread, NULL);
        }
        rq_err r = e != 0 ? rq_err_from_errno(e) : t->start_error;
        if (r < 0) {
                (void) pthread_cond_destroy(&t->changed);
                (void) pthread_mutex_destroy(&t->mutex);
                free(t);
                return r;
        }
        *ret_thread = t;
        return RQ_OK;
}

rq_err apply_thread_submit(apply_thread *t, rq_bytes records, uint32_t count, uint64_t newest_clock_us) {
        rq_err r = RQ_OK;
        (void) pthread_mutex_lock(&t->mutex);
        /* Joined to what waits already: one transaction takes more of it. */
        batch *b = t->last;
        if (b == NULL || b->done_bytes > 0 || b->records.size + records.size > MERGED_BYTES_MAX) {
                b = t->spare_batch;
                t->spare_batch = NULL;
                if (b == NULL)
                        b = calloc(1, sizeof *b);
                else
                        *b = (batch) { .records = b->records };
        }
        if (b == NULL)
                r = RQ_ENOMEM;
        else
                r = rq_buf_append_bytes(&b->records, records);
        if (r < 0) {
                if (b != t->last)
                        batch_free(b);
        } else {
                b->count += count;
                if (b->newest_clock_us < newest_clock_us)
                        b->newest_clock_us = newest_clock_us;
                if (b != t->last) {
                        if (t->last != NULL)
                                t->last->next = b;
                        else
                                t->first = b;
                        t->last = b;
                        t->status.queued_batches++;
                }
                t->status.queued_bytes += records.size;
                t->status.queued_records += count;
        }
        (void) pthread_mutex_unlock(&t->mutex);
        if (r >= 0)
                (void) pthread_cond_signal(&t->changed);
        return r;
}

apply_output *apply_thread_take(apply_thread *t) {
        (void) pthread_mutex_lock(&t->mutex);
        apply_output *out = t->out_first;
        t->out_first = t->out_last = NULL;
        (void) pthread_mutex_unlock(&t->mutex);
        return out;
}

void apply_thread_recycle(apply_thread *t, apply_output *out) {
        for (size_t i = 0; i < out->count; i++)
                rq_assert(out->results[i].spill_fd < 0);
        out->json.size = 0;
        out->count = 0;
        out->marks.count = 0;
        if (out->json.capacity <= SPARE_JSON_BYTES_MAX) {
                (void) pthread_mutex_lock(&t->mutex);
                if (t->spare_count < SPARE_OUTPUTS_MAX) {
                        out->next = t->spare_outputs;
                        t->spare_outputs = out;
                        t->spare_count++;
                        out = NULL;
                }
                (void) pthread_mutex_unlock(&t->mutex);
        }
        output_free(out);
}

void apply_thread_gateway(apply_thread *t, const rq_uuid *incarnation, bool connected) {
        (void) pthread_mutex_lock(&t->mutex);
        size_t i = 0;
        while (i < t->gateway_count && !rq_uuid_equal(&t->gateways[i], incarnation))
                i++;
        if (connected && i == t->gateway_count && i < GATEWAYS_MAX)
                t->gateways[t->gateway_count++] = *incarnation;
        else if (!connected && i < t->gateway_count)
                t->gateways[i] = t->gateways[--t->gateway_count];
        (void) pthread_mutex_unlock(&t->mutex);
}

void apply_thread_status(apply_thread *t, apply_status *ret_status) {
        (void) pthread_mutex_lock(&t->mutex);
        *ret_status = t->status;
        (void) pthread_mutex_unlock(&t->mutex);
}

void apply_thread_checkpoint(apply_thread *t) {
        files_checkpoint_soon(t->files);
        (void) pthread_cond_signal(&t->changed);
}

void apply_thread_swap(apply_thread *t, const store_state *position, bool forward_only) {
        (void) pthread_mutex_lock(&t->mutex);
        t->swap_wanted = true;
        t->swap_position = *position;
        t->swap_forward_only = forward_only;
        (void) pthread_mutex_unlock(&t->mutex);
        (void) pthread_cond_signal(&t->changed);
}

bool apply_thread_swap_result(apply_thread *t, rq_err *ret_result, rq_buf *ret_problem) {
        (void) pthread_mutex_lock(&t->mutex);
        bool over = t->swap_over;
        if (over) {
                *ret_result = t->swap_result;
                rq_buf_done(ret_problem);
                *ret_problem = RQ_TAKE(t->swap_problem, (rq_buf) {0});
        }
        t->swap_over = false;
        (void) pthread_mutex_unlock(&t->mutex);
        return over;
}

const applier *apply_thread_applier(const apply_thread *t) { return t->applier; }

void apply_thread_finish(apply_thread *t, uint64_t limit_us) {
        (void) pthread_mutex_lock(&t->mutex);
        t->finish = true;
        t->finish_by_us = rq_clock_mono_us() + limit_us;
        (void) pthread_mutex_unlock(&t->mutex);
        (void) pthread_cond_signal(&t->changed);
}

apply_thread *apply_thread_free(apply_thread *t) {
        if (t == NULL)
                return NULL;
        (void) pthread_mutex_lock(&t->mutex);
        t->quit = true;
        (void) pthread_mutex_unlock(&t->mutex);
        (void) pthread_cond_signal(&t->changed);
        (void) pthread_join(t->thread, NULL);
        (void) applier_free(t->applier);

        for (batch *b = t->first, *next; b != NULL; b = next) {
                next = b->next;
                batch_free(b);
        }
        batch_free(t->spare_batch);
        rq_buf_done(&t->swap_problem);
        apply_output *lists[] = { t->out_first, t->spare_outputs };
        for (size_t i = 0; i < 2; i++)
                for (apply_output *out = lists[i], *next; out != NULL; out = next) {
                        next = out->next;
                        output_free(out);
                }
        (void) pthread_cond_destroy(&t->changed);
        (void) pthread_mutex_destroy(&t->mutex);
        free(t);
        return NULL;
}
