/* Opening the files anew while the service goes on: after files_swap(), which
 * leaves the rest to recovery (io/swap.h). */
#include "service.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "snapshots.h"

enum {
        POLL_US       = 2 * 1000,
        READS_WAIT_US = 2 * 1000 * 1000, /* for reads that run; then they are interrupted */
};

static void close_all(store *s) {
        reads_close(s->reads);
        snapshots_files_close(s->snapshots);
        if (s->status_db != NULL)
                (void) sqlite3_close(s->status_db);
        s->status_db = NULL;
        s->writer = apply_thread_free(s->writer);
        s->files = files_free(s->files);
}

static rq_err open_all(store *s) {
        const applier_options options = store_applier_options(s);
        rq_err r = store_open_files(s);
        if (r >= 0)
                r = files_open_reader(s->files, &s->status_db);
        if (r >= 0)
                r = apply_thread_new(s->files, &s->state, &options, &s->applied, &s->writer);
        if (r >= 0)
                r = reads_open(s->reads, s->files, apply_thread_applier(s->writer));
        for (rq_list *node = s->gateways.all.next; r >= 0 && node != &s->gateways.all; node = node->next)
                apply_thread_gateway(s->writer, &RQ_LIST_ENTRY(node, gateway, node)->incarnation, true);
        return r;
}

static void on_reopen(void *arg) {
        store *s = arg;
        if (s->stopping)
                return;
        if (reads_running(s->reads) > 0 && rq_clock_mono_us() < s->reopen_by_us) {
                rq_timer_set(&s->reopen, POLL_US);
                return;
        }
        const uint64_t began_us = rq_clock_mono_us();
        close_all(s);
        rq_err r = open_all(s);
        if (r < 0) {
                (void) rq_log_error(r, "The database's files cannot be opened anew: restarting");
                rq_service_fail(s->service, RQ_EXIT_FAILURE);
                return;
        }
        s->reopening = false;
        s->told_checkpoint_index = files_checkpoint_index(s->files);
        char index[48];
        const char *fields[] = { RQ_MSG_DATABASE_REPLACED, rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, s->state.index), NULL };
        rq_log_write(LOG_NOTICE, fields, "The database was replaced, at index %llu; %llu us without reads", (unsigned long long) s->state.index,
                     (unsigned long long) (rq_clock_mono_us() - began_us));
        snapshots_files_open(s->snapshots);
        store_fetch(s);
}

rq_err store_reopen_init(store *s) { return rq_timer_init(&s->reopen, rq_service_loop(s->service), on_reopen, s); }

void store_reopen(store *s) {
        if (s->reopening || s->stopping)
                return;
        s->reopening = true;
        s->reopen_by_us = rq_clock_mono_us() + READS_WAIT_US;
        commit_stream_reset(&s->stream);
        reads_pause(s->reads);
        rq_timer_set(&s->reopen, 0);
}
