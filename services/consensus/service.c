#include "service.h"

#include <inttypes.h>
#include <stdlib.h>

#include "admission.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/compaction.h"
#include "dispatch.h"
#include "divergence.h"
#include "feed.h"
#include "folder.h"
#include "forming.h"
#include "log/log_fields.h"
#include "members.h"
#include "snapshot_in.h"
#include "snapshot_out.h"
#include "probes.h"
#include "removals.h"
#include "steering.h"

enum {
        HINT_INTERVAL_US = 1000000,
        STOP_WAIT_US     = 3000000,
        FAILURE_WAIT_US  = 500000,   /* for the answers to go out */
        HAND_OVER_WAIT_US = 1000000, /* for another leader, when stopping */
        FULL_HAND_OVER_US = 60000000, /* from one offer because of a full disk to the next */
        LEAVE_WAIT_US    = 6000000,  /* to be removed, when stopping; the launcher waits 10 s */
        TIMER_US_MIN     = 1000,
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

void consensus_start_anew(consensus *c) {
        c->storage_failed = true;
        driver_storage_failed(c->driver);
        rq_timer_set(&c->failure, FAILURE_WAIT_US);
}

static void storage_failed(consensus *c, rq_err err) {
        if (c->storage_failed)
                return;
        const char *fields[] = { RQ_MSG_SYNC_FAILED, RQ_FIELD_ERROR "=log", NULL };
        (void) rq_log_error_(err, fields, "The log in %s failed: nothing more is acknowledged, and the service starts anew", c->o.dir_path);
        /* A sync that failed can't be repeated; the log is read again instead. */
        consensus_start_anew(c);
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
        if (c->writer == NULL)
                return; /* of one that is gone */
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
        consensus_wake(c);
}

/* --- the turn --------------------------------------------------------------- */

/* Up to where nobody needs the log any more: a leader knows how far each member is, the
 * others keep what they have, all of them up to a limit on disk. Who needs more gets a
 * snapshot; the leader keeps what comes behind that. */
static uint64_t released_index(const consensus *c) {
        uint64_t released = driver_stream(c->driver)->checkpoint;
        const raft *r = driver_raft(c->driver);
        const membership *m = driver_membership(c->driver, NULL);
        const raft_index held = snapshot_sends_held(c->sends, log_catalog_bytes(&c->catalog));
        if (held < released)
                released = held;
        if (m == NULL || m->count < 2 || log_catalog_bytes(&c->catalog) > c->o.config.log_kept_bytes)
                return released;
        if (raft_role_of(r) != RAFT_LEADER)
                return 0;
        for (uint32_t i = 0; i < m->count; i++) {
                raft_progress_view p;
                if (raft_progress_of(r, membership_raft_id(&m->members[i].disk_uuid), &p) && p.match < released)
                        released = p.match;
        }
        return released;
}

static void compact(consensus *c) {
        log_catalog *catalog = &c->catalog;
        /* Two below the last: nothing to look at in most turns. */
        if (catalog->segment_count <= COMPACTION_KEEP_SEGMENTS + 1 || c->storage_failed ||
            catalog->segments[COMPACTION_KEEP_SEGMENTS].last_index > driver_stream(c->driver)->checkpoint)
                return;
        uint64_t checkpoint = released_index(c);
        if (catalog->segments[COMPACTION_KEEP_SEGMENTS].last_index > checkpoint)
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
        if (c->storage_failed || c->writer == NULL || consensus_commit_hint(c) <= c->hint ||
            (!now && (!c->hint_wanted || rq_clock_mono_us() - c->hint_at_us < HINT_INTERVAL_US)))
                return;
        const raft *r = driver_raft(c->driver);
        log_write write = hard_write(c, raft_term_of(r), raft_vote_of(r));
        (void) submit(c, &write, false, NULL);
}

/* One line for each leader, on every node; and one when there is none. */
static void log_state(consensus *c) {
        const raft *r = driver_raft(c->driver);
        raft_id leader = raft_leader_of(r);
        raft_term term_now = raft_term_of(r);
        bool leads = leader == c->raft_id;
        leaderless_set(&c->leaderless, leader != 0 || c->unformed || c->removed || c->stopping);
        if ((leader == c->said_leader && (leader == 0 || term_now == c->said_term)) || (leads && !raft_commit_is_current(r)))
                return;
        const member *m = members_find(c, leader);
        char term[64], node[IDENTITY_NODE_BYTES_MAX + 16];
        const char *fields[] = {
                leader != 0 ? RQ_MSG_LEADER_ELECTED : RQ_MSG_LEADER_LOST, rq_log_field_u64(term, sizeof term, RQ_FIELD_TERM, term_now),
                rq_log_field_text(node, sizeof node, RQ_FIELD_LEADER, leads ? c->identity.node_id : m != NULL ? m->node_id : ""), NULL,
        };
        c->said_leader = leader;
        c->said_term = term_now;
        if (leads)
                rq_log_write(LOG_NOTICE, fields, "Leader of term %" PRIu64 ", log committed up to index %" PRIu64, term_now, raft_commit_of(r));
        else if (leader != 0)
                rq_log_write(LOG_NOTICE, fields, "Node \"%s\" leads in term %" PRIu64, m != NULL ? m->node_id : "?", term_now);
        else
                rq_log_write(LOG_NOTICE, fields, "No leader is known, term %" PRIu64, term_now);
}

static void set_timer(consensus *c) {
        uint64_t due_us = driver_deadline_us(c->driver);
        if (c->stopping && c->stop_deadline_us < due_us)
                due_us = c->stop_deadline_us;
        if (c->feed_due_us != 0 && c->feed_due_us < due_us)
                due_us = c->feed_due_us;
        if (c->handing_over && c->hand_over_deadline_us < due_us)
                due_us = c->hand_over_deadline_us;
        for (size_t i = 0; i < CONSENSUS_TRANSFERS_MAX; i++)
                if (c->transfers[i].pending && c->transfers[i].deadline_us < due_us)
                        due_us = c->transfers[i].deadline_us;
        const uint64_t probes_due_us = probes_deadline_us(c);
        if (probes_due_us < due_us)
                due_us = probes_due_us;
        const uint64_t removals_due_us = removals_deadline_us(c);
        if (removals_due_us < due_us)
                due_us = removals_due_us;
        const uint64_t snapshot_due_us = snapshot_sends_deadline_us(c->sends), receipt_due_us = snapshot_receipt_deadline_us(c->receipt);
        if (snapshot_due_us < due_us)
                due_us = snapshot_due_us;
        if (receipt_due_us < due_us)
                due_us = receipt_due_us;
        const uint64_t divergence_due_us = divergence_deadline_us(c->divergence);
        if (divergence_due_us < due_us)
                due_us = divergence_due_us;
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
        uint64_t now_us = rq_clock_mono_us();
        bool late = now_us >= c->stop_deadline_us;
        if (c->leaving && !late)
                return;
        /* Who waits here for a write gets its answer from the next leader's commit. */
        if (c->handing_over && now_us < c->hand_over_deadline_us &&
            (raft_role_of(driver_raft(c->driver)) == RAFT_LEADER || driver_pending_count(c->driver) > 0))
                return;
        c->handing_over = false;
        if (c->writes.size == 0)
                write_hint(c, true);
        if (c->writes.size > 0 && !late && !c->storage_failed)
                return;
        void (*on_stopped)(void *arg) = c->o.on_stopped;
        c->o.on_stopped = NULL;
        on_stopped(c->o.arg);
}

/* Others may have space. Offered once, until this node has had space again: if all are
 * full, the role goes round once and stays. */
static void hand_over_if_full(consensus *c) {
        const uint64_t now_us = rq_clock_mono_us();
        if (!c->disk_full && !c->store_full) {
                c->full_handled = c->full_handled && now_us - c->full_handled_us < FULL_HAND_OVER_US;
                return;
        }
        if (c->full_handled || c->stopping || raft_role_of(driver_raft(c->driver)) != RAFT_LEADER)
                return;
        c->full_handled = true;
        c->full_handled_us = now_us;
        if (driver_transfer(c->driver, 0) >= 0)
                rq_log_notice("The disk is full: offering leadership to another node");
}

/* The core forgets it with the leader; freshness (dispatch.c) and status want it when there is none any more. */
static void note_contact(consensus *c) {
        const uint64_t contact_us = raft_contact_us(driver_raft(c->driver));
        if (contact_us > c->contact_us)
                c->contact_us = contact_us;
}

static void turn(consensus *c) {
        driver_plan plan;
        note_contact(c); /* before the core's clock goes on, by which a leader may be lost */
        compact(c);
        hand_over_if_full(c);
        steering_turn(c);
        removals_turn(c);
        driver_turn(c->driver, rq_clock_mono_us(), rq_clock_wall_us(), &plan);
        /* In parallel with our own disk (thesis 10.2.1): what promises something
         * waits in the core until it is durable. */
        members_send(c);
        if (plan.persist && !c->storage_failed) {
                rq_err r = hand_over(c, &plan);
                if (r < 0)
                        storage_failed(c, r);
        }
        if (plan.membership_changed) {
                members_update(c);
                c->state_dirty = true;
        }
        members_look(c);
        feed_store(c);
        dispatch_send_answers(c);
        if (plan.state_changed || c->state_dirty) {
                c->state_dirty = false;
                dispatch_send_state(c, NULL);
                log_state(c);
        }
        dispatch_send_transfers(c);
        probes_turn(c);
        snapshot_sends_turn(c->sends);
        snapshot_receipt_turn(c->receipt);
        divergence_turn(c->divergence);
        write_hint(c, false);
        finish_stop(c);
        set_timer(c);
}

void consensus_wake(consensus *c) { rq_task_post(&c->turn); }

static void on_timer(void *arg) {
        consensus *c = arg;
        c->timer_due_us = UINT64_MAX;
        turn(c);
}

/* --- life ------------------------------------------------------------------- */

static rq_err open_tls(consensus *c) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        char text[4096];
        rq_err r = consensus_config_tls(&c->o.config, &c->tls, &problem);
        if (r == RQ_ECONFIG)
                return rq_log_error(r, "TLS between nodes: %.*s", (int) problem.size, problem.size > 0 ? (const char *) problem.data : "");
        if (r >= 0 && c->tls != NULL)
                r = rq_tls_watch_new(c->o.loop, c->tls, "TLS between nodes", NULL, NULL, &c->tls_watch);
        if (r < 0)
                return rq_log_error(r, "Cannot prepare TLS between nodes");
        if (c->tls != NULL)
                rq_log_info("Enabling node-to-node encryption with %s%s", rq_tls_describe(c->tls, text, sizeof text),
                            c->o.config.tls_transition ? "; nodes without it are let in, too (-node-tls-transition)" : "");
        return RQ_OK;
}

void consensus_reload(consensus *c) {
        if (c->tls_watch != NULL)
                rq_tls_watch_now(c->tls_watch);
}

static void warn_of_passwords(const consensus *c) {
        if (c->o.config.joins_as_user && c->o.config.joins && c->unformed && c->tls == NULL)
                rq_log_warning("-join-as: the password goes over the network unencrypted, to whoever answers at the addresses of -join; use TLS between nodes (-node-cert)");
}

static rq_err open_peers(consensus *c) {
        peers_options options = {
                .loop = c->o.loop, .listen_addr = c->o.config.raft_listen_addr, .callbacks = members_callbacks(c), .snapshots = members_snapshots(c),
                .outcomes = divergence_peers(c),
                .tls = c->tls, .tls_transition = c->o.config.tls_transition,
                .changes = members_changes(c),
                .self = {
                        .cluster_id = c->cluster_id, .disk_uuid = c->identity.disk_uuid,
                        .expect = c->unformed && !c->o.config.joins ? (uint16_t) c->o.config.bootstrap_expect : 0,
                },
        };
        (void) snprintf(options.self.node_id, sizeof options.self.node_id, "%s", c->identity.node_id);
        (void) snprintf(options.self.raft_addr, sizeof options.self.raft_addr, "%s", c->o.config.raft_addr);
        (void) snprintf(options.self.api_addr, sizeof options.self.api_addr, "%s", c->o.config.api_addr);
        options.self.start = c->starts.self;
        rq_err r = peers_new(&options, &c->peers);
        if (r < 0)
                return rq_log_error(r, "Cannot prepare the connections to other nodes");
        return peers_listen(c->peers); /* logs */
}

static rq_err open_sockets(consensus *c) {
        const ipc_identity self = { .role = IPC_CONSENSUS, .incarnation = c->o.incarnation };
        const ipc_handlers gateways = dispatch_gateway_handlers(c);
        rq_err r = ipc_listen(c->o.loop, c->o.run_dir_fd, IPC_SOCKET_CONSENSUS, &self, &gateways, &c->listener);
        return r < 0 ? rq_log_error(r, "Cannot listen on %s", IPC_SOCKET_CONSENSUS) : RQ_OK;
}

static void on_turn(void *arg) { turn(arg); }

rq_err consensus_new(const consensus_options *options, consensus **ret_consensus) {
        consensus *c = calloc(1, sizeof *c);
        if (c == NULL)
                return RQ_ENOMEM;
        c->o = *options;
        c->timer_due_us = UINT64_MAX;
        c->wake.fd = -1;
        c->steering.limit = c->limit_full = c->limit_store = c->limit_starts = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        admission_init(&c->admission);
        c->arena = rq_arena_new();
        rq_err r = c->arena == NULL ? RQ_ENOMEM : RQ_OK;
        if (r >= 0)
                r = rq_wake_init(&c->wake, c->o.loop, on_wake, c);
        if (r >= 0)
                r = rq_timer_init(&c->timer, c->o.loop, on_timer, c);
        if (r >= 0)
                r = rq_timer_init(&c->failure, c->o.loop, on_failure_told, c);
        if (r >= 0)
                r = leaderless_init(&c->leaderless, c->o.loop);
        if (r >= 0)
                r = rq_task_init(&c->turn, c->o.loop, on_turn, c);
        if (r >= 0)
                r = rq_task_init(&c->adopt, c->o.loop, on_turn, c);
        if (r >= 0)
                r = snapshot_sends_new(c, &c->sends);
        if (r >= 0)
                r = snapshot_receipt_new(c, &c->receipt);
        if (r >= 0)
                r = divergence_new(c, &c->divergence);
        if (r >= 0)
                r = open_tls(c); /* before a folder is founded with a configuration that is no good */
        if (r >= 0)
                r = folder_open(c);
        if (r >= 0)
                r = open_peers(c);
        if (r >= 0)
                r = open_sockets(c);
        if (r >= 0)
                r = folder_announce(c);
        if (r < 0) {
                (void) consensus_free(c);
                return r;
        }
        warn_of_passwords(c);
        leaderless_set(&c->leaderless, c->unformed);
        turn(c); /* a lone voter campaigns at once */
        *ret_consensus = c;
        return RQ_OK;
}

void consensus_stop(consensus *c) {
        uint64_t now_us = rq_clock_mono_us();
        c->stopping = true;
        c->stop_deadline_us = now_us + STOP_WAIT_US;
        driver_stop(c->driver);
        const membership *members = driver_membership(c->driver, NULL);
        if (c->o.config.leaves && !c->unformed && members != NULL && members->count > 1) {
                c->stop_deadline_us = now_us + LEAVE_WAIT_US;
                removals_leave(c, c->stop_deadline_us);
        }
        bool leads = raft_role_of(driver_raft(c->driver)) == RAFT_LEADER;
        if (c->o.config.step_down && leads && driver_transfer(c->driver, 0) >= 0) {
                c->handing_over = true;
                c->hand_over_deadline_us = now_us + HAND_OVER_WAIT_US;
        }
        consensus_wake(c);
}

consensus *consensus_free(consensus *c) {
        if (c == NULL)
                return NULL;
        c->joining = joining_free(c->joining);
        c->forming = forming_free(c->forming);
        c->listener = ipc_listener_free(c->listener);
        folder_close(c);
        c->peers = peers_free(c->peers);
        c->tls_watch = rq_tls_watch_free(c->tls_watch);
        c->tls = rq_tls_free(c->tls);
        c->sends = snapshot_sends_free(c->sends);
        c->receipt = snapshot_receipt_free(c->receipt);
        c->divergence = divergence_free(c->divergence);
        base_file_done(&c->base);
        if (c->timer.event != NULL)
                rq_timer_done(&c->timer);
        if (c->failure.event != NULL)
                rq_timer_done(&c->failure);
        leaderless_done(&c->leaderless);
        rq_task_done(&c->turn);
        rq_task_done(&c->adopt);
        rq_wake_done(&c->wake);
        if (c->arena != NULL)
                c->arena = rq_arena_free(c->arena);
        rq_buf_done(&c->records);
        rq_buf_done(&c->body);
        rq_buf_done(&c->adopting);
        admission_done(&c->admission);
        free(c);
        return NULL;
}
