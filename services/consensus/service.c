#include "service.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/compaction.h"
#include "dispatch.h"
#include "feed.h"
#include "founding.h"
#include "log/log_fields.h"

enum {
        HINT_INTERVAL_US = 1000000,
        STOP_WAIT_US     = 3000000,
        FAILURE_WAIT_US  = 500000,   /* for the answers to go out */
        TIMER_US_MIN     = 1000,
        CLOCK_BACK_US    = 5000000,  /* worth a warning */
};

consensus_gateway *consensus_gateway_of(consensus *c, uint32_t number) {
        for (int i = 0; i < CONSENSUS_GATEWAYS_MAX; i++)
                if (c->gateways[i].link != NULL && c->gateways[i].number == number)
                        return &c->gateways[i];
        return NULL;
}

/* What is certainly committed and can certainly be found again. */
uint64_t consensus_commit_hint(const consensus *c) {
        raft_index commit = raft_commit_of(driver_raft(c->driver)), durable = raft_durable_of(driver_raft(c->driver));
        return commit < durable ? commit : durable;
}

static void storage_failed(consensus *c, rq_err err) {
        if (c->storage_failed)
                return;
        c->storage_failed = true;
        driver_storage_failed(c->driver);
        const char *fields[] = { RQ_FIELD_ERROR "=log", NULL };
        (void) rq_log_error_(err, fields, "The log in %s failed: nothing more is acknowledged, and the service starts anew", c->o.dir_path);
        /* A sync that failed can't be repeated; the log is read again instead. */
        rq_timer_set(&c->failure, FAILURE_WAIT_US);
}

static void on_failure_told(void *arg) {
        consensus *c = arg;
        if (c->o.on_failed != NULL)
                c->o.on_failed(c->o.arg);
}

/* --- to and from the log writer --------------------------------------------- */

static rq_err submit(consensus *c, const log_write *write, bool acknowledges, const raft_persisted *when_durable) {
        consensus_write w = { .bytes = write->records.size, .acknowledges = acknowledges };
        if (when_durable != NULL)
                w.when_durable = *when_durable;
        rq_err r = rq_buf_reserve(&c->writes, sizeof w);
        if (r >= 0)
                r = log_writer_submit(c->writer, write, &w.sequence);
        if (r < 0)
                return r;
        (void) rq_buf_append(&c->writes, &w, sizeof w);
        c->write_bytes += w.bytes;
        return RQ_OK;
}

static log_write hard_write(consensus *c, raft_term term, raft_id vote) {
        c->hint = consensus_commit_hint(c);
        c->hint_at_us = rq_clock_mono_us();
        c->hint_wanted = false;
        return (log_write) { .hard = true, .state = {
                .term = term, .vote = vote, .commit = c->hint, .not_a_voter = c->not_a_voter,
        } };
}

/* Entries that lie behind each other go in one piece; the last piece carries the
 * confirmation, since the writer keeps the order. */
static rq_err hand_over(consensus *c, const driver_plan *plan) {
        log_write hard = {0};
        if (plan->hard)
                hard = hard_write(c, plan->term, plan->vote);
        if (plan->first == 0)
                return submit(c, &hard, true, &plan->when_durable);

        const raft_trail *trail = raft_trail_of(driver_raft(c->driver));
        raft_index next = plan->first;
        raft_term previous_term = plan->previous_term;
        while (next <= plan->last) {
                log_write write = next == plan->first ? hard : (log_write) {0};
                write.first_index = next;
                write.previous_term = previous_term;
                write.records = driver_entry_piece(c->driver, next, plan->last, SIZE_MAX, &write.last_index);
                /* The entries' own, which are a leader's of long ago when they
                 * came from one: they become the base of a segment. */
                raft_index last;
                rq_bytes last_record = driver_entry_piece(c->driver, write.last_index, write.last_index, SIZE_MAX, &last);
                write.last_term = previous_term = raft_trail_term_at(trail, write.last_index);
                write.last_clock_us = record_peek_clock_us(last_record.data);
                next = write.last_index + 1;
                rq_err r = submit(c, &write, next > plan->last, &plan->when_durable);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

static rq_err learn_placements(consensus *c) {
        const log_placement *p = (const log_placement *) (const void *) c->report.placements.data;
        size_t count = c->report.placements.size / sizeof *p;
        for (size_t i = 0; i < count; i++) {
                c->hint_wanted |= p[i].opened;
                rq_err r = p[i].opened ? log_catalog_add_segment(&c->catalog, &p[i].header)
                                       : log_catalog_add_unit(&c->catalog, &p[i].unit, p[i].last_index);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

static void on_wake(void *arg) {
        consensus *c = arg;
        log_writer_collect(c->writer, &c->report);
        rq_err r = learn_placements(c);

        const consensus_write *w = (const consensus_write *) (const void *) c->writes.data;
        size_t count = c->writes.size / sizeof *w, done = 0;
        const consensus_write *newest = NULL;
        for (; done < count && w[done].sequence <= c->report.done; done++) {
                c->write_bytes -= w[done].bytes;
                if (w[done].acknowledges)
                        newest = &w[done];
        }
        if (newest != NULL)
                driver_persisted(c->driver, &newest->when_durable);
        rq_buf_consume(&c->writes, done * sizeof *w);
        if (c->report.err < 0 || r < 0)
                storage_failed(c, r < 0 ? r : c->report.err);
        consensus_turn(c);
}

/* --- the turn --------------------------------------------------------------- */

static void compact(consensus *c) {
        uint64_t checkpoint = driver_stream(c->driver)->checkpoint;
        log_catalog *catalog = &c->catalog;
        /* Two below the last: nothing to look at in most turns. */
        if (catalog->segment_count <= COMPACTION_KEEP_SEGMENTS + 1 ||
            catalog->segments[COMPACTION_KEEP_SEGMENTS].last_index > checkpoint || c->storage_failed)
                return;
        RQ_CLEANUP(rq_freep) uint64_t *lasts = calloc(catalog->segment_count, sizeof *lasts);
        if (lasts == NULL)
                return;
        for (size_t i = 0; i < catalog->segment_count; i++)
                lasts[i] = catalog->segments[i].last_index;
        size_t drop = compaction_count(lasts, catalog->segment_count, checkpoint);
        for (; drop > 0; drop--) {
                const log_catalog_segment *oldest = &catalog->segments[0];
                log_write write = { .drop_first_index = oldest->header.first_index, .drop_bytes = oldest->header.file_bytes };
                if (submit(c, &write, false, NULL) < 0)
                        return;
                driver_compacted(c->driver, oldest->last_index);
                log_catalog_drop_oldest(catalog);
                c->hint_wanted = true;
        }
}

/* The hint lets a restart notice that the log has lost its end. Seldom, since it
 * costs an fsync. */
static void write_hint(consensus *c, bool now) {
        if (c->storage_failed || consensus_commit_hint(c) <= c->hint ||
            (!now && (!c->hint_wanted || rq_clock_mono_us() - c->hint_at_us < HINT_INTERVAL_US)))
                return;
        const raft *r = driver_raft(c->driver);
        log_write write = hard_write(c, raft_term_of(r), raft_vote_of(r));
        (void) submit(c, &write, false, NULL);
}

static void log_state(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        char term[64], node[IDENTITY_NODE_BYTES_MAX + 16];
        const char *fields[] = {
                RQ_MSG_LEADER_ELECTED, rq_log_field_u64(term, sizeof term, RQ_FIELD_TERM, raft_term_of(r)),
                rq_log_field_text(node, sizeof node, RQ_FIELD_NODE, c->identity.node_id), NULL,
        };
        if (raft_commit_is_current(r))
                rq_log_write(LOG_NOTICE, fields, "Leader of term %" PRIu64 ", log committed up to index %" PRIu64,
                             raft_term_of(r), raft_commit_of(r));
}

static void set_timer(consensus *c) {
        uint64_t due_us = driver_deadline_us(c->driver);
        if (c->stopping && c->stop_deadline_us < due_us)
                due_us = c->stop_deadline_us;
        if (due_us >= c->timer_due_us)
                return; /* a timer that fires early costs less than setting it each turn */
        uint64_t now_us = rq_clock_mono_us();
        uint64_t after_us = due_us > now_us + TIMER_US_MIN ? due_us - now_us : TIMER_US_MIN;
        c->timer_due_us = now_us + after_us;
        rq_timer_set(&c->timer, after_us);
}

static void finish_stop(consensus *c) {
        if (!c->stopping || c->o.on_stopped == NULL)
                return;
        bool late = rq_clock_mono_us() >= c->stop_deadline_us;
        if (c->writes.size == 0)
                write_hint(c, true);
        if (c->writes.size > 0 && !late && !c->storage_failed)
                return;
        void (*on_stopped)(void *arg) = c->o.on_stopped;
        c->o.on_stopped = NULL;
        on_stopped(c->o.arg);
}

void consensus_turn(consensus *c) {
        driver_plan plan;
        compact(c);
        driver_turn(c->driver, rq_clock_mono_us(), rq_clock_wall_us(), &plan);
        if (plan.persist && !c->storage_failed) {
                rq_err r = hand_over(c, &plan);
                if (r < 0)
                        storage_failed(c, r);
        }
        feed_store(c);
        dispatch_send_answers(c);
        if (plan.state_changed) {
                dispatch_send_state(c, NULL);
                log_state(c);
        }
        write_hint(c, false);
        finish_stop(c);
        set_timer(c);
}

static void on_timer(void *arg) {
        consensus *c = arg;
        c->timer_due_us = UINT64_MAX;
        consensus_turn(c);
}

/* --- life ------------------------------------------------------------------- */

static rq_err restore_driver(consensus *c, const founding *f) {
        raft_id voters[MEMBERSHIP_COUNT_MAX];
        driver_options options = {
                .id = c->raft_id, .voters = voters, .voter_count = membership_voters(&c->membership, voters),
                .learner = c->not_a_voter, .term = f->hardstate.term, .vote = f->hardstate.vote, .commit = f->hardstate.commit,
                .base_index = f->log.base_index, .base_term = f->log.base_term, .last_index = f->log.last_index,
                .database_id = f->identity.database_id, .clock_us = f->log.clock_us,
        };
        rq_random_bytes(&options.random_seed, sizeof options.random_seed);
        rq_err r = driver_new(&options, &c->driver);
        for (size_t i = 0; r >= 0 && i < f->log.run_count; i++) {
                const log_run *run = &f->log.runs[i];
                uint64_t last = i + 1 < f->log.run_count ? run[1].first_index - 1 : f->log.last_index;
                r = driver_restore(c->driver, run->term, last, run->uncommitted_bytes);
        }
        if (r >= 0)
                r = driver_restored(c->driver);
        return r < 0 ? rq_log_error(r, "Cannot begin with the log in %s", c->o.dir_path) : RQ_OK;
}

static rq_err start_writer(consensus *c, founding *f) {
        size_t count = f->log.catalog.segment_count;
        RQ_CLEANUP(rq_freep) uint64_t *firsts = calloc(count + 1, sizeof *firsts);
        if (firsts == NULL)
                return RQ_ENOMEM;
        for (size_t i = 0; i < count; i++)
                firsts[i] = f->log.catalog.segments[i].header.first_index;
        log_place_options options = {
                .io = c->o.io, .dir_fd = c->o.dir_fd, .database_id = f->identity.database_id,
                .last_index = f->log.last_index, .last_term = f->log.last_term, .clock_us = f->log.clock_us,
                .segment_firsts = firsts, .segment_count = count, .configurations = &f->log.configurations,
                .end_offset = f->log.end_offset, .end_crc = f->log.end_crc,
        };
        rq_err r = log_writer_new(&options, &f->hardstate_file, &c->wake, &c->writer);
        return r < 0 ? rq_log_error(r, "Cannot write the log in %s", c->o.dir_path) : RQ_OK;
}

static void say_what_was_found(const consensus *c, const founding *f) {
        char cluster[RQ_UUID_TEXT_BYTES];
        uint64_t now_us = rq_clock_wall_us();
        if (f->founded)
                rq_log_notice("Founded cluster %s of node \"%s\"", rq_uuid_text(&c->identity.database_id, cluster), c->identity.node_id);
        else
                rq_log_info("Node \"%s\", log from index %" PRIu64 " to %" PRIu64 ", term %" PRIu64, c->identity.node_id,
                            f->log.base_index + 1, f->log.last_index, f->hardstate.term);
        if (f->log.clock_us > now_us + CLOCK_BACK_US)
                rq_log_warning("The clock is %" PRIu64 " s behind the last entry of the log: times in new entries hardly "
                               "advance until it has caught up", (f->log.clock_us - now_us) / 1000000);
}

static rq_err open_folder(consensus *c) {
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        rq_err r = founding_open(c->o.io, c->o.dir_fd, c->o.dir_path, &c->o.config, &f);
        if (r < 0)
                return r;
        c->identity = f.identity;
        c->membership = f.membership;
        c->configuration_index = f.configuration_index;
        c->raft_id = membership_raft_id(&f.identity.disk_uuid);
        c->not_a_voter = f.hardstate.not_a_voter;
        c->hint = f.hardstate.commit;
        say_what_was_found(c, &f);
        r = restore_driver(c, &f);
        if (r >= 0)
                r = start_writer(c, &f);
        if (r < 0)
                return r;
        c->catalog = RQ_TAKE(f.log.catalog, (log_catalog) {0});
        return RQ_OK;
}

static rq_err open_sockets(consensus *c) {
        const ipc_identity self = { .role = IPC_CONSENSUS, .incarnation = c->o.incarnation };
        const ipc_handlers gateways = dispatch_gateway_handlers(c), store = dispatch_store_handlers(c);
        rq_err r = ipc_listen(c->o.loop, c->o.run_dir_fd, IPC_SOCKET_CONSENSUS, &self, &gateways, &c->listener);
        if (r < 0)
                return rq_log_error(r, "Cannot listen on %s", IPC_SOCKET_CONSENSUS);
        r = ipc_connect(c->o.loop, c->o.run_dir_fd, IPC_SOCKET_STORE, &self, &store, &c->store);
        return r < 0 ? rq_log_error(r, "Cannot connect to the store") : RQ_OK;
}

rq_err consensus_new(const consensus_options *options, consensus **ret_consensus) {
        consensus *c = calloc(1, sizeof *c);
        if (c == NULL)
                return RQ_ENOMEM;
        c->o = *options;
        c->timer_due_us = UINT64_MAX;
        c->wake.fd = -1;
        c->limit_full = c->limit_store = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        c->arena = rq_arena_new();
        rq_err r = c->arena == NULL ? RQ_ENOMEM : RQ_OK;
        if (r >= 0)
                r = rq_wake_init(&c->wake, c->o.loop, on_wake, c);
        if (r >= 0)
                r = rq_timer_init(&c->timer, c->o.loop, on_timer, c);
        if (r >= 0)
                r = rq_timer_init(&c->failure, c->o.loop, on_failure_told, c);
        if (r >= 0)
                r = open_folder(c);
        if (r >= 0)
                r = open_sockets(c);
        if (r < 0) {
                (void) consensus_free(c);
                return r;
        }
        consensus_turn(c); /* a lone voter campaigns at once */
        *ret_consensus = c;
        return RQ_OK;
}

void consensus_stop(consensus *c) {
        c->stopping = true;
        c->stop_deadline_us = rq_clock_mono_us() + STOP_WAIT_US;
        driver_stop(c->driver);
        consensus_turn(c);
}

consensus *consensus_free(consensus *c) {
        if (c == NULL)
                return NULL;
        c->listener = ipc_listener_free(c->listener);
        c->store = ipc_connector_free(c->store);
        c->writer = log_writer_free(c->writer);
        if (c->timer.event != NULL)
                rq_timer_done(&c->timer);
        if (c->failure.event != NULL)
                rq_timer_done(&c->failure);
        rq_wake_done(&c->wake);
        log_catalog_done(&c->catalog);
        c->driver = driver_free(c->driver);
        if (c->arena != NULL)
                c->arena = rq_arena_free(c->arena);
        rq_buf_done(&c->records);
        rq_buf_done(&c->body);
        rq_buf_done(&c->writes);
        rq_buf_done(&c->report.placements);
        free(c);
        return NULL;
}
