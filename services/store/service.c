#include "service.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatch.h"
#include "io/aside.h"
#include "io/sqlite_memory.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "messages.h"
#include "snapshots.h"

enum {
        STREAM_WINDOW_BYTES = 16 * 1024 * 1024, /* proto/README.md */
        TICK_US             = 1000 * 1000,
        RUNNING_LONG_US     = 30 * 1000 * 1000, /* then twice that, and so on */
        TELL_APPLIED_US     = 5 * 1000,
        REFETCH_US          = 100 * 1000,       /* between two FETCH after a batch that didn't fit */
        STOP_APPLY_US       = 5 * 1000 * 1000,  /* for what is queued, at the end */
        STOP_READS_US       = 2 * 1000 * 1000,  /* for what is running */
        STOP_EXTEND_US      = 30 * 1000 * 1000,
};

/* --- what it says of itself ------------------------------------------------------- */

char *store_condition(store *s, char *text, size_t size) {
        apply_status status;
        apply_thread_status(s->writer, &status);
        unsigned long long index = s->state.index, next = status.failed_index, commit = s->commit_index;
        if (s->reopening)
                (void) snprintf(text, size, "replacing the database, at entry %llu", index);
        else if (s->stopping)
                (void) snprintf(text, size, "stopping, at entry %llu", index);
        else if (status.condition == APPLY_STOPPED)
                (void) snprintf(text, size, "stopped: cannot apply entry %llu: %s; reads go on", next,
                                rq_err_text(status.error));
        else if (status.condition == APPLY_RETRYING && status.error == RQ_ENOSPC)
                (void) snprintf(text, size, "stopped: disk full, at entry %llu; goes on when there is space", next);
        else if (status.condition == APPLY_RETRYING)
                (void) snprintf(text, size, "stopped: %s, at entry %llu; trying again",
                                rq_err_text(status.error), next);
        else if (s->misfit[0] != '\0')
                (void) snprintf(text, size, "serving nothing, at entry %llu: %s", index, s->misfit);
        else if (s->consensus == NULL)
                (void) snprintf(text, size, "waiting for rq-consensus, at entry %llu", index);
        else if (s->commit_index == 0)
                (void) snprintf(text, size, "waiting to learn what is committed, at entry %llu", index);
        else if (index + 1000 < commit)
                (void) snprintf(text, size, "catching up, at entry %llu of %llu", index, commit);
        else
                (void) snprintf(text, size, "applying, at entry %llu", index);
        return text;
}

static void tell_status(store *s) {
        char text[sizeof s->status];
        (void) store_condition(s, text, sizeof text);
        if (strcmp(text, s->status) == 0)
                return;
        memcpy(s->status, text, sizeof text);
        rq_service_ready(s->service, "%s", text);
}

/* --- the stream of committed records ------------------------------------------------ */

/* Only when all that was taken is applied: FETCH says what was, and consensus
 * answers for entries below it whose results it doesn't know. */
static void fetch_if_wanted(store *s) {
        apply_status status;
        if (!s->fetch_wanted || s->consensus == NULL || s->stopping || s->reopening)
                return;
        apply_thread_status(s->writer, &status);
        if (status.queued_records > 0 || applier_lo(apply_thread_applier(s->writer)) != s->state.index)
                return;
        s->fetch_wanted = false;
        s->told_checkpoint_index = files_checkpoint_index(s->files);
        s->told_disk_full = false; /* FETCH doesn't say it */
        send_fetch(s->consensus, &s->state, s->told_checkpoint_index, &s->profile);
        s->marks = s->marks_made; /* consensus may be another one */
        commit_stream_asked(&s->stream, s->state.index, s->state.term);
}

void store_fetch(store *s) {
        s->fetch_wanted = true;
        fetch_if_wanted(s);
}

static void on_refetch(void *arg) { store_fetch(arg); }

rq_err store_committed(store *s, const committed_batch *batch, uint64_t commit_index, rq_bytes records) {
        if (s->stopping || s->reopening)
                return RQ_OK;
        switch (commit_stream_judge(&s->stream, batch)) {
        case STREAM_IGNORE:
                return RQ_OK;
        case STREAM_ASK_AGAIN:
                rq_log_info("A batch behind entry %llu doesn't follow entry %llu: asking again",
                            (unsigned long long) batch->previous_index, (unsigned long long) s->stream.index);
                commit_stream_reset(&s->stream);
                s->stream.id = batch->stream_id;
                rq_timer_set(&s->refetch, REFETCH_US);
                return RQ_OK;
        case STREAM_TAKE:
                break;
        }

        uint64_t last_term, newest_clock_us;
        apply_status status;
        rq_err r = commit_stream_check(batch, records, &last_term, &newest_clock_us);
        if (r < 0)
                return r;
        apply_thread_status(s->writer, &status);
        if (status.queued_bytes > 0 && status.queued_bytes + records.size > 2 * STREAM_WINDOW_BYTES)
                return RQ_EPROTO; /* twice the window without our APPLIED */
        if (batch->count > 0) {
                r = apply_thread_submit(s->writer, records, batch->count, newest_clock_us);
                if (r < 0)
                        return r;
                commit_stream_taken(&s->stream, batch->first_index + batch->count - 1, last_term);
        }
        if (s->commit_index < commit_index)
                s->commit_index = commit_index;
        if (s->misfit[0] != '\0') {
                s->misfit[0] = '\0';
                reads_refuse(s->reads, NULL);
        }
        reads_commit_known(s->reads, commit_index);
        return RQ_OK;
}

void store_misfit(store *s, rq_bytes reason) {
        if (s->stopping || s->reopening) /* another FETCH comes */
                return;
        (void) snprintf(s->misfit, sizeof s->misfit, "this node's database does not belong to its log: %.*s", reason.size > 100 ? 100 : (int) reason.size,
                        (const char *) reason.data);
        reads_refuse(s->reads, s->misfit);
}

void store_consensus_up(store *s, ipc_link *link) {
        if (s->consensus != NULL) { /* its process is another, or it has lost the link before we did */
                snapshots_consensus_down(s->snapshots);
                ipc_link_close(s->consensus);
        }
        s->consensus = link;
        commit_stream_reset(&s->stream);
        s->fetch_wanted = true;
        fetch_if_wanted(s);
}

void store_consensus_down(store *s, ipc_link *link) {
        if (s->consensus != link)
                return;
        s->consensus = NULL;
        commit_stream_reset(&s->stream);
        snapshots_consensus_down(s->snapshots);
        rq_timer_cancel(&s->refetch);
}

static void tell_applied_soon(store *s, bool went_on);

static void tell_applied(void *arg) {
        store *s = arg;
        s->tell_pending = false;
        s->told_checkpoint_index = files_checkpoint_index(s->files);
        s->told_disk_full = s->disk_full;
        /* Before FETCH it would mean nothing to consensus. */
        if (s->consensus != NULL && s->stream.phase != STREAM_NONE)
                send_applied(s->consensus, &s->state, s->told_checkpoint_index, s->disk_full, &s->marks);
        if (s->consensus != NULL && s->marks.count > 0)
                tell_applied_soon(s, true);
}

/* Nobody waits for APPLIED, as long as the stream's window doesn't run full: it would wake consensus
 * once more for each batch. */
static void tell_applied_soon(store *s, bool went_on) {
        if (s->tell_pending ||
            (!went_on && files_checkpoint_index(s->files) == s->told_checkpoint_index && s->disk_full == s->told_disk_full))
                return;
        s->tell_pending = true;
        rq_timer_set(&s->tell, TELL_APPLIED_US);
}

/* --- gateways ----------------------------------------------------------------------------- */

void store_gateway_up(store *s, ipc_link *link) {
        gateway *gw;
        if (gateways_add(&s->gateways, link, &gw) < 0) {
                ipc_link_close(link);
                return;
        }
        apply_thread_gateway(s->writer, &gw->incarnation, true);
        results_gateway_up(s->results, gw);
}

void store_gateway_down(store *s, ipc_link *link) {
        gateway *gw = gateways_of_link(link);
        request *req;
        if (gw == NULL)
                return;
        while ((req = request_any(gw)) != NULL) {
                if (req->kind == REQUEST_READ)
                        reads_cancel(s->reads, req);
                else
                        results_cancel(s->results, req);
        }
        rq_uuid incarnation = gw->incarnation;
        gateways_remove(gw);
        if (gateways_find(&s->gateways, &incarnation) == NULL)
                apply_thread_gateway(s->writer, &incarnation, false);
}

/* --- outcomes that aren't a majority's ------------------------------------------------------ */

/* What is here may be wrong: a start finds it so noted, and nothing more is served from it. */
void store_set_aside(store *s, uint64_t index, uint64_t own_hash, uint64_t majority_hash) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        uint64_t hash;
        if (s->stopping || s->reopening || !outcome_marks_find(&s->marks_made, index, &hash) || hash != own_hash || hash == majority_hash) {
                rq_log_warning("The outcome at index %llu that a majority is said to differ from isn't this database's: it stays",
                               (unsigned long long) index);
                return;
        }
        rq_err r = rq_buf_printf(&text, "the outcomes of the log's entries up to index %llu (%016llx) are not those of a majority of the nodes "
                                 "(%016llx)", (unsigned long long) index, (unsigned long long) own_hash, (unsigned long long) majority_hash);
        if (r >= 0)
                r = aside_mark(rq_service_folder_fd(s->service), rq_buf_bytes(&text));
        if (r < 0) {
                (void) rq_log_error_event(r, RQ_MSG_DIVERGED, "The database has diverged, and that can't be noted in %s: it stays until it can",
                                          rq_service_folder_path(s->service));
                return;
        }
        char field[48];
        const char *fields[] = { RQ_MSG_DIVERGED, rq_log_field_u64(field, sizeof field, RQ_FIELD_INDEX, index), NULL };
        rq_log_write(LOG_ERR, fields, "The database has diverged: %.*s. Starting anew with an empty one, which another node fills; this one is "
                     "kept in %s/" RQ_ASIDE_NAME, (int) text.size, (const char *) text.data, rq_service_folder_path(s->service));
        rq_service_fail(s->service, RQ_EXIT_FAILURE);
}

/* --- news of the writer's thread ---------------------------------------------------------- */

static void stop_if_done(store *s) {
        if (s->stopping && s->finished && reads_count(s->reads) == 0)
                rq_task_post(&s->stopped);
}

static void on_applied(void *arg) {
        store *s = arg;
        apply_status status;
        bool went_on = false;
        for (apply_output *out = apply_thread_take(s->writer), *next; out != NULL; out = next) {
                next = out->next;
                out->next = NULL;
                results_deliver(s->results, out);
                s->state = out->state;
                for (size_t i = 0; i < out->marks.count; i++) {
                        outcome_marks_add(&s->marks, out->marks.v[i]);
                        outcome_marks_add(&s->marks_made, out->marks.v[i]);
                }
                went_on = true;
                apply_thread_recycle(s->writer, out);
        }
        apply_thread_status(s->writer, &status);
        s->disk_full = status.condition == APPLY_RETRYING && status.error == RQ_ENOSPC;
        tell_applied_soon(s, went_on);
        reads_applied(s->reads, s->state.index);
        fetch_if_wanted(s);
        snapshots_applied(s->snapshots);

        apply_thread_status(s->writer, &status);
        if (status.condition == APPLY_SWAPPED)
                store_reopen(s);
        if (status.condition != APPLY_WORKING)
                tell_status(s);
        if (status.condition == APPLY_STOPPED && files_broken(s->files)) {
                rq_log_warning("The database's files must be opened anew: restarting");
                rq_service_fail(s->service, RQ_EXIT_FAILURE);
        }
        s->finished = status.condition == APPLY_ENDED || status.condition == APPLY_SWAPPED;
        stop_if_done(s);
}

/* One that never ends can't be told from one that takes long: the operator can. */
static void watch_writer(store *s) {
        const uint64_t now_us = rq_clock_mono_us(), index = applier_running_index(apply_thread_applier(s->writer));
        if (index == 0 || index != s->running_index) {
                s->running_index = index;
                s->running_since_us = now_us;
                s->running_tell_us = RUNNING_LONG_US;
                return;
        }
        const uint64_t took_us = now_us - s->running_since_us;
        if (took_us < s->running_tell_us)
                return;
        s->running_tell_us = 2 * took_us;
        char duration[48], at[48];
        const char *fields[] = {
                RQ_MSG_SLOW_STATEMENT, rq_log_field_u64(duration, sizeof duration, RQ_FIELD_DURATION, took_us / 1000),
                rq_log_field_u64(at, sizeof at, RQ_FIELD_INDEX, index), NULL,
        };
        rq_log_write(LOG_WARNING, fields, "The write at index %" PRIu64 " has been running for %" PRIu64 " s, and all others wait for it; if it "
                     "never ends, see -skip-entry", index, took_us / 1000000);
}

static void on_tick(void *arg) {
        store *s = arg;
        if (s->writer != NULL)
                watch_writer(s);
        results_tick(s->results);
        reads_tick(s->reads);
        tell_status(s);
        if (s->stopping && rq_clock_mono_us() >= s->stop_by_us)
                reads_interrupt(s->reads);
        stop_if_done(s);
        rq_timer_set(&s->tick, s->stopping ? TICK_US / 20 : TICK_US);
}

static void on_stopped(void *arg) {
        store *s = arg;
        rq_service_stopped(s->service);
}

/* --- life ------------------------------------------------------------------------------------ */

/* True: what can't be used is out of the way, and kept. */
static bool put_aside(const char *path, int folder_fd, const rq_buf *problem) {
        const char *const fields[] = { RQ_MSG_STORE_MISMATCH, NULL };
        char place[RQ_ASIDE_PLACE_BYTES];
        rq_err r = aside_move(folder_fd, place);
        if (r < 0)
                return rq_log_error(r, "Cannot move the database in %s aside", path), false;
        (void) rq_log_error_(RQ_EDIVERGED, fields, "Cannot use the database in %s, and moved it to %s/%s: beginning with an "
                             "empty one, which the log or another node's snapshot fills. The reason: %.*s", path, path, place,
                             (int) problem->size, (const char *) problem->data);
        return true;
}

static rq_err open_extensions(store *s) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        const char *paths = rq_config_string(rq_service_config(s->service), "extensions-path");
        uint32_t crc32c;
        const char *name;
        rq_err r = extensions_open(paths, &s->extensions, &problem);
        if (r < 0)
                return rq_log_error(r, "%.*s", (int) problem.size, (const char *) problem.data);
        for (size_t i = 0; (name = extensions_at(s->extensions, i, &crc32c)) != NULL; i++)
                rq_log_info("Extension %s, CRC-32C %08x", name, (unsigned) crc32c);
        s->config.files.extensions = s->extensions;
        return RQ_OK;
}

/* Noted by store_set_aside(). */
static rq_err put_aside_if_marked(store *s) {
        RQ_CLEANUP(rq_buf_done) rq_buf reason = {0};
        const int folder_fd = rq_service_folder_fd(s->service);
        if (!aside_is_marked(folder_fd, &reason))
                return RQ_OK;
        if (reason.size == 0) /* there was no room for it */
                (void) rq_buf_append_text(&reason, "its outcomes of the log's entries are not those of a majority of the nodes");
        return put_aside(rq_service_folder_path(s->service), folder_fd, &reason) ? RQ_OK : RQ_EIO;
}

rq_err store_open_files(store *s) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        const char *path = rq_service_folder_path(s->service);
        s->marks.count = s->marks_made.count = 0;
        rq_err r = files_open_with(&s->config.files, rq_service_folder_fd(s->service), path,
                                   rq_service_run_dir_fd(s->service), &s->files, &s->state, &problem);
        if ((r == RQ_EDIVERGED || r == RQ_ECORRUPT) && put_aside(path, rq_service_folder_fd(s->service), &problem))
                r = files_open_with(&s->config.files, rq_service_folder_fd(s->service), path, rq_service_run_dir_fd(s->service),
                                    &s->files, &s->state, &problem);
        if (r >= 0) {
                s->opened_index = s->state.index;
                return RQ_OK;
        }
        bool mismatch = r == RQ_EDIVERGED || r == RQ_ECORRUPT || r == RQ_EVERSION;
        const char *const fields[] = {
                r == RQ_ENOSPC ? RQ_MSG_DISK_FULL : r == RQ_ECONFIG ? RQ_MSG_BAD_CONFIG : RQ_MSG_STORE_MISMATCH, NULL
        };
        return rq_log_error_(r, mismatch || r == RQ_ENOSPC || r == RQ_ECONFIG ? fields : NULL, "Cannot open the database in %s: %.*s",
                             path, (int) problem.size, (const char *) problem.data);
}

applier_options store_applier_options(const store *s) {
        return (applier_options) { .spill_dir_fd = rq_service_folder_fd(s->service), .slow_us = s->config.slow_us, .skip_index = s->config.skip_index };
}

static rq_err start_parts(store *s) {
        rq_loop *loop = rq_service_loop(s->service);
        const applier_options options = store_applier_options(s);
        const ipc_identity self = { .role = IPC_STORE, .incarnation = *rq_service_incarnation(s->service) };
        const ipc_handlers handlers = dispatch_handlers(s);

        rq_err r = rq_wake_init(&s->applied, loop, on_applied, s);
        if (r >= 0)
                r = rq_timer_init(&s->tick, loop, on_tick, s);
        if (r >= 0)
                r = rq_timer_init(&s->refetch, loop, on_refetch, s);
        if (r >= 0)
                r = rq_timer_init(&s->tell, loop, tell_applied, s);
        if (r >= 0)
                r = store_reopen_init(s);
        if (r >= 0)
                r = snapshots_new(s, &s->snapshots);
        if (r >= 0)
                r = rq_task_init(&s->stopped, loop, on_stopped, s);
        if (r >= 0)
                r = results_new(&s->gateways, &s->results);
        if (r >= 0)
                r = files_open_reader(s->files, &s->status_db);
        if (r >= 0)
                r = apply_thread_new(s->files, &s->state, &options, &s->applied, &s->writer);
        if (r >= 0)
                r = reads_new(loop, s->files, apply_thread_applier(s->writer), s->config.readers_max, &s->reads);
        if (r < 0)
                return rq_log_error(r, "Cannot start");
        r = ipc_listen(loop, rq_service_run_dir_fd(s->service), IPC_SOCKET_STORE, &self, &handlers, &s->listener);
        return r < 0 ? rq_log_error(r, "Cannot listen on %s", IPC_SOCKET_STORE) : RQ_OK;
}

static void store_free(void *state) {
        store *s = state;
        if (s == NULL)
                return;
        /* The links first: their end takes the requests out of everything else. */
        s->listener = ipc_listener_free(s->listener);
        s->snapshots = snapshots_free(s->snapshots);
        s->reads = reads_free(s->reads);
        s->results = results_free(s->results);
        gateways_done(&s->gateways);
        s->writer = apply_thread_free(s->writer);
        if (s->status_db != NULL)
                (void) sqlite3_close(s->status_db);
        rq_task_done(&s->stopped);
        rq_timer_done(&s->tick);
        rq_timer_done(&s->refetch);
        rq_timer_done(&s->tell);
        rq_timer_done(&s->reopen);
        if (s->applied.event != NULL)
                rq_wake_done(&s->applied);
        s->files = files_free(s->files);
        s->extensions = extensions_free(s->extensions);
        free(s);
}

static rq_err store_start(rq_service *service, void **ret_state) {
        /* 'localtime' and strftime mean UTC on every node (architecture.md, safety rule 3). */
        (void) setenv("TZ", "UTC", 1);
        tzset();
        files_prepare_process();

        store *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        s->service = service;
        gateways_init(&s->gateways);
        store_config_read(rq_service_config(service), &s->config);
        sqlite_memory_reads_max(s->config.read_memory_bytes, s->config.read_memory_bytes / 2);
        rq_err r = open_extensions(s);
        if (r >= 0)
                r = put_aside_if_marked(s);
        if (r >= 0)
                r = store_open_files(s);
        if (r >= 0)
                r = execution_profile_of(s->extensions, files_foreign_keys(s->files), &s->profile);
        if (r >= 0)
                r = start_parts(s);
        if (r < 0) {
                store_free(s);
                return r;
        }
        /* An empty database in the place of one that couldn't be used has nothing to serve by itself. */
        if (s->state.index == 0 && aside_is_there(rq_service_folder_fd(service)))
                reads_never_alone(s->reads);
        rq_timer_set(&s->tick, TICK_US);
        tell_status(s);
        *ret_state = s;
        return RQ_OK;
}

static void store_shutdown(void *state) {
        store *s = state;
        s->stopping = true;
        s->stop_by_us = rq_clock_mono_us() + STOP_READS_US;
        rq_service_extend(s->service, STOP_EXTEND_US);
        reads_stop(s->reads);
        s->finished = s->reopening; /* the writer's thread has ended */
        apply_thread_finish(s->writer, STOP_APPLY_US);
        rq_timer_set(&s->tick, TICK_US / 20);
        tell_status(s);
        stop_if_done(s);
}

/* --check-config: the extensions are there, and can be loaded. */
static rq_err store_check(const rq_config *config, char *const *argv, rq_buf *problem) {
        extensions *loaded = NULL;
        (void) argv;
        rq_err r = extensions_open(rq_config_string(config, "extensions-path"), &loaded, problem);
        (void) extensions_free(loaded);
        return r;
}

const rq_service_def store_service = {
        .name = "rq-store", .folder = "store", .start = store_start, .check = store_check, .shutdown = store_shutdown, .free = store_free,
};
