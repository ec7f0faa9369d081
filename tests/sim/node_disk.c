/* A node and its disk: founding, starting, dying, and the log writer's batches. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "io/hardstate.h"
#include "io/identity.h"
#include "node_parts.h"
#include "rebase.h"
#include "world.h"

enum {
        NO_SPACE_US    = 100000,
        FAILURE_US     = 500000,   /* as the service: then it starts anew */
        FOUNDING_TERM  = 1,
};

static rq_uuid random_uuid(world *w) {
        rq_uuid uuid;
        rq_put_u64(uuid.bytes, rq_rng_next(&w->rng));
        rq_put_u64(uuid.bytes + 8, rq_rng_next(&w->rng));
        return uuid;
}

sim_node *node_new(world *w, unsigned number) {
        sim_node *n = calloc(1, sizeof *n);
        rq_assert(n != NULL);
        n->number = number;
        n->disk = disk_new(&w->rng);
        rq_assert(n->disk != NULL);
        n->disk_uuid = random_uuid(w);
        n->id = membership_raft_id(&n->disk_uuid);
        n->machine_up = true;
        n->gateway = 1;
        n->clock_base_us = 1000000 + world_random(w, 1000000000);
        n->clock_ppm = 1000000 - w->tuning.drift_ppm + world_random(w, 2 * w->tuning.drift_ppm + 1);
        n->wall_offset_us = 1700000000000000 + (int64_t) world_random(w, 1000000);
        n->batch = (log_batch) { .place = { .fd = -1 }, .hard = { .fd = -1 } };
        n->timer_at_us = UINT64_MAX;
        return n;
}

static void folder_is_closed(sim_node *n) {
        if (n->shell != NULL) {
                log_configurations_done(&n->shell->c.found);
                n->shell->c.found_until = 0;
                n->shell->c.store_came = false;
        }
        log_batch_close(&n->batch);
        n->batch = (log_batch) { .place = { .fd = -1 }, .hard = { .fd = -1 } };
        log_catalog_done(&n->catalog);
        n->driver = driver_free(n->driver);
        n->queue.items.size = 0;
        n->queue.submitted = 0;
        n->items.size = n->writes.size = 0;
        n->write_bytes = 0;
        n->writing = n->stalled = n->turn_planned = false;
        n->timer_at_us = UINT64_MAX;
}

static void process_done(sim_node *n) {
        folder_is_closed(n);
        shell_end(n);
        n->storage_failed = n->stopping = n->dying = false;
}

sim_node *node_free(sim_node *n) {
        if (n == NULL)
                return NULL;
        process_done(n);
        rq_buf_done(&n->queue.items);
        rq_buf_done(&n->items);
        rq_buf_done(&n->writes);
        rq_buf_done(&n->scratch);
        rq_buf_done(&n->shadow);
        store_done(&n->store);
        n->disk = disk_free(n->disk);
        free(n);
        return NULL;
}

static void create_folder(world *w, sim_node *n) {
        const log_io *io = disk_io(n->disk);
        identity self = { .disk_uuid = n->disk_uuid, .database_id = w->database_id };
        self.node_id[0] = (char) ('0' + n->number);
        rq_assert(hardstate_create(io, 0, &n->disk_uuid, &(hardstate) { .term = FOUNDING_TERM }) >= 0);
        rq_assert(identity_store(io, 0, &self) >= 0);
        n->durable_term = FOUNDING_TERM;
        n->durable_vote = 0;
}

void node_found(world *w, sim_node *n, rq_bytes record) {
        const log_place_options options = {
                .io = disk_io(n->disk), .database_id = w->database_id, .configurations = &(log_configurations) {0},
                .segment_bytes = w->tuning.segment_bytes, .no_thread = true,
        };
        const log_write write = {
                .first_index = 1, .last_index = 1, .last_term = FOUNDING_TERM,
                .last_clock_us = record_peek_clock_us(record.data), .records = record,
        };
        create_folder(w, n);
        RQ_CLEANUP(log_place_close) log_place place = { .fd = -1 };
        rq_assert(log_place_open(&options, &place) >= 0);
        while (log_place_add(&place, &write) == RQ_EAGAIN)
                rq_assert(log_spare_make(place.spare) >= 0);
        rq_assert(log_place_sync(&place) >= 0);
        n->durable = 1;
}

member node_member(const sim_node *n) {
        member m = { .disk_uuid = n->disk_uuid };
        m.node_id[0] = (char) ('0' + n->number);
        (void) snprintf(m.raft_addr, sizeof m.raft_addr, "node%u:1", n->number);
        return m;
}

void node_prepare_joining(world *w, sim_node *n) { create_folder(w, n); }

/* --- starting ----------------------------------------------------------------- */

typedef struct folder {
        hardstate hard;
        hardstate_file hard_file;
        log_recovered log;
        const char *problem;
} folder;

static void folder_done(folder *f) {
        hardstate_close(&f->hard_file);
        log_recovered_done(&f->log);
}

/* The rules of founding.c. */
static rq_err open_folder(world *w, sim_node *n, folder *f) {
        const log_io *io = disk_io(n->disk);
        identity self;
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        base_file *base = &n->shell->c.base;
        base_file_done(base);
        rq_err r = rebase_finish(io, 0, "its folder", &n->disk_uuid, w->tuning.segment_bytes, base);
        f->problem = "a log that was being begun anew can't be";
        if (r >= 0) {
                r = identity_load(io, 0, &self);
                f->problem = "the identity is damaged";
        }
        if (r >= 0) {
                r = hardstate_open(io, 0, &self.disk_uuid, &f->hard_file, &f->hard);
                f->problem = "the hard state is damaged";
        }
        if (r >= 0) {
                r = log_recover(io, 0, &w->database_id, f->hard.commit, &f->log, &problem);
                f->problem = "the log is damaged";
        }
        if (r >= 0 && f->log.last_term > f->hard.term) {
                f->problem = "the hard state is older than the log";
                r = RQ_ECORRUPT;
        }
        return r;
}

static rq_err make_driver(world *w, sim_node *n, folder *f) {
        const log_configuration base = log_configurations_at(&f->log.configurations, f->log.base_index);
        const driver_options options = {
                .id = n->id, .learner = f->hard.not_a_voter, .term = f->hard.term, .vote = f->hard.vote,
                .commit = f->hard.commit,
                .base_index = f->log.base_index, .base_term = f->log.base_term, .base_membership = base.body,
                .base_membership_index = base.index, .last_index = f->log.last_index, .database_id = w->database_id,
                .clock_us = f->log.clock_us, .random_seed = rq_rng_next(&w->rng), .now_us = node_now_us(w, n),
                .heartbeat_us = w->tuning.heartbeat_us, .election_us = w->tuning.election_us,
                .lease_us = w->tuning.lease_us,
                .disk_stall_us = w->tuning.disk_stall_us,
        };
        rq_err r = driver_new(&options, &n->driver);
        for (size_t i = 0; r >= 0 && i < f->log.run_count; i++) {
                const log_run *run = &f->log.runs[i];
                uint64_t last = i + 1 < f->log.run_count ? run[1].first_index - 1 : f->log.last_index;
                r = driver_restore(n->driver, run->term, last, run->uncommitted_bytes);
        }
        for (size_t i = 0; r >= 0 && i < f->log.configurations.count; i++) {
                const log_configuration *c = &f->log.configurations.v[i];
                if (c->index > f->log.base_index)
                        r = driver_restore_membership(n->driver, c->index, c->body);
        }
        return r < 0 ? r : driver_restored(n->driver);
}

static rq_err open_writer(world *w, sim_node *n, folder *f) {
        uint64_t firsts[NODE_SEGMENTS_MAX];
        size_t count = f->log.catalog.segment_count;
        rq_assert(count <= NODE_SEGMENTS_MAX);
        for (size_t i = 0; i < count; i++)
                firsts[i] = f->log.catalog.segments[i].header.first_index;
        const log_place_options options = {
                .io = disk_io(n->disk), .database_id = w->database_id, .last_index = f->log.last_index,
                .last_term = f->log.last_term,
                .clock_us = f->log.clock_us, .segment_firsts = firsts, .segment_count = count,
                .configurations = &f->log.configurations,
                .end_offset = f->log.end_offset, .end_crc = f->log.end_crc, .segment_bytes = w->tuning.segment_bytes,
                .no_thread = true,
        };
        rq_err r = log_batch_open(&options, &f->hard_file, &n->batch);
        if (r >= 0)
                n->room_bytes = log_place_room(&n->batch.place);
        return r;
}

/* What the disk really holds becomes what the checkers know. */
static rq_err read_shadow(world *w, sim_node *n, const folder *f) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        raft_index next = f->log.base_index + 1;
        const committed_entry *base = checks_committed(w, f->log.base_index);
        n->shadow.size = 0;
        n->shadow_base = f->log.base_index;
        n->shadow_base_chain = base != NULL ? base->chain : 0;
        while (next <= f->log.last_index) {
                uint32_t count;
                n->scratch.size = 0;
                rq_err r = log_catalog_read(&n->catalog, next, f->log.last_index, 256 * 1024, &n->scratch, &count,
                                            &problem);
                if (r < 0)
                        return r;
                node_shadow_add(w, n, rq_buf_bytes(&n->scratch));
                next += count;
        }
        return RQ_OK;
}

static void truth_in_flight(const sim_node *n, raft_term *ret_term, raft_id *ret_vote) {
        const node_write *writes = (const node_write *) (const void *) n->writes.data;
        *ret_term = n->durable_term;
        *ret_vote = n->durable_vote;
        for (size_t i = 0; i < n->writes.size / sizeof *writes; i++)
                if (writes[i].hard) {
                        *ret_term = writes[i].term;
                        *ret_vote = writes[i].vote;
                }
}

static void refuse_to_start(world *w, sim_node *n, const char *problem) {
        world_trace(w, (trace_record) { .event = TRACE_REFUSED_TO_START, .node = (uint8_t) n->number,
                .peer = TRACE_NOBODY, .note = problem });
        if (!n->rotten)
                world_fail(w, "durability", "node %u refuses to start, and nothing was wrong with its disk: %s",
                           n->number, problem);
        process_done(n);
        if (!n->broken) {
                n->broken = true;
                faults_broke(w, n);
        }
}

/* Everything of the folder, and a driver. */
static rq_err open_all(world *w, sim_node *n, const char **ret_problem) {
        RQ_CLEANUP(folder_done) folder f = { .hard_file = { .fd = -1 } };
        raft_term term_in_flight = n->durable_term;
        raft_id vote_in_flight = n->durable_vote;
        uint64_t durable_chain = node_chain(n, n->durable);
        disk_collect(n->disk);
        truth_in_flight(n, &term_in_flight, &vote_in_flight);
        rq_err r = open_folder(w, n, &f);
        if (r >= 0) {
                r = make_driver(w, n, &f);
                f.problem = "the driver doesn't take the log";
        }
        bool rebased = r >= 0 && n->rebasing && f.log.base_index == n->rebase_index;
        if (rebased) {
                world_trace(w, (trace_record) { .event = TRACE_REBASED, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                        .index = f.log.base_index, .term = f.log.base_term });
                check_rebased(w, n, &f.log);
        }
        if (r >= 0) {
                r = open_writer(w, n, &f);
                f.problem = "the writer doesn't take the log";
                n->catalog = RQ_TAKE(f.log.catalog, (log_catalog) {0});
                n->shell->c.found = RQ_TAKE(f.log.configurations, (log_configurations) {0});
        }
        if (r >= 0)
                r = read_shadow(w, n, &f);
        *ret_problem = f.problem;
        if (r < 0)
                return r;
        world_trace(w, (trace_record) {
                .event = TRACE_INIT_STATE, .node = (uint8_t) n->number, .peer = TRACE_NOBODY, .term = f.hard.term,
                .index = f.log.last_index, .count = f.hard.commit,
        });
        n->writes.size = 0;
        check_recovered(w, n, f.hard.term, f.hard.vote, term_in_flight, vote_in_flight, f.log.last_index,
                        durable_chain, rebased);
        n->rebasing = false;
        n->durable = f.log.last_index;
        n->durable_term = f.hard.term;
        n->durable_vote = f.hard.vote;
        n->hint = f.hard.commit;
        n->hint_at_us = w->now_us;
        n->hint_wanted = n->feed_failed = false;
        n->seen_commit = f.hard.commit < n->shadow_base ? n->shadow_base : f.hard.commit;
        n->seen_role = RAFT_FOLLOWER;
        n->seen_term = f.hard.term;
        n->incarnation++;
        n->disturbed_us = w->now_us;
        shell_take_driver(n);
        return RQ_OK;
}

void node_start(world *w, sim_node *n) {
        const char *problem;
        if (n->up || n->broken || !n->machine_up)
                return;
        shell_start(w, n);
        rq_err r = open_all(w, n, &problem);
        if (r == RQ_EIO || r == RQ_ENOSPC) { /* the disk's own error: again later */
                size_t writes = n->writes.size;
                process_done(n);
                n->writes.size = writes;
                node_start_later(w, n, 20000);
                return;
        }
        if (r < 0) {
                refuse_to_start(w, n, problem);
                return;
        }
        n->up = true;
        n->up_since_us = w->now_us;
        n->effects_left = UINT32_MAX;
        net_node_started(w, n->number);
        store_linked(w, n);
        node_wake(w, n);
}

void node_close_folder(world *w, sim_node *n) {
        if (n->writing) { /* the writer's thread ends what it has begun; it may not have begun */
                const log_queued *items = (const log_queued *) (const void *) n->items.data;
                if (world_chance(w, 500))
                        (void) log_batch_perform(&n->batch, items, n->items.size / sizeof *items);
        }
        n->rebasing = true;
        n->rebase_index = n->shell->c.base.index;
        n->rebase_term = n->shell->c.base.term;
        size_t writes = n->writes.size;
        folder_is_closed(n);
        n->writes.size = writes; /* what was asked for may be on the disk */
}

rq_err node_open_folder(world *w, sim_node *n) {
        const char *problem;
        rq_err r = open_all(w, n, &problem);
        if (r < 0 && r != RQ_EIO && r != RQ_ENOSPC && !n->rotten)
                world_fail(w, "durability", "node %u can't open its folder again, and nothing was wrong with its disk: %s", n->number, problem);
        if (r < 0) {
                size_t writes = n->writes.size;
                folder_is_closed(n);
                n->writes.size = writes;
                return r;
        }
        store_linked(w, n);
        node_wake(w, n);
        return RQ_OK;
}

void node_start_later(world *w, sim_node *n, uint64_t after_us) {
        world_plan(w, after_us, (event) { .type = EVENT_START, .node = (uint8_t) n->number, .tag = n->incarnation });
}

void node_die(world *w, sim_node *n, node_death how) {
        bool machine = how == NODE_POWER_CUT;
        n->paused_until_us = 0;
        n->disturbed_us = w->now_us;
        if (n->up) {
                if (n->writing) { /* some of the batch was done */
                        disk_die_after(n->disk, (uint32_t) world_random(w, 10));
                        const log_queued *items = (const log_queued *) (const void *) n->items.data;
                        (void) log_batch_perform(&n->batch, items, n->items.size / sizeof *items);
                }
                disk_revive(n->disk);
                size_t writes = n->writes.size;
                store_consensus_down(n);
                process_done(n);
                n->writes.size = writes; /* what was asked for may be on the disk */
                n->up = false;
                n->incarnation++;
                clients_gateway_gone(w, n);
                net_node_died(w, n->number, machine);
        }
        if (!machine)
                return;
        disk_power_cut(n->disk);
        store_die(w, n, true);
}

/* --- the log writer's batches -------------------------------------------------- */

static void plan_disk(world *w, sim_node *n, uint64_t after_us) {
        world_plan(w, after_us, (event) { .type = EVENT_DISK, .node = (uint8_t) n->number, .tag = n->incarnation });
}

void node_begin_batch(world *w, sim_node *n) {
        if (n->writing || n->storage_failed || n->queue.items.size == 0)
                return;
        log_queue_take(&n->queue, &n->items);
        n->writing = true;
        uint64_t after_us = w->tuning.disk_us + world_random(w, w->tuning.disk_more_us);
        uint64_t stall_us = w->faults.stall_until_us[n->number];
        if (stall_us > w->now_us)
                after_us += stall_us - w->now_us;
        plan_disk(w, n, after_us);
}

static rq_err perform(sim_node *n) {
        const log_queued *items = (const log_queued *) (const void *) n->items.data;
        rq_err r;
        bool looked = false; /* for space, since it was last said to be full */
        while ((r = log_batch_perform(&n->batch, items, n->items.size / sizeof *items)) == RQ_EAGAIN ||
               (r == RQ_ENOSPC && !looked)) {
                looked = r == RQ_ENOSPC;
                r = log_spare_make(n->batch.place.spare);
                if (r < 0)
                        return r == RQ_ENOSPC ? r : RQ_EIO;
        }
        if (r >= 0) /* ahead, as the thread does: a full disk is noticed here */
                (void) log_spare_make(n->batch.place.spare);
        return r;
}

static rq_err learn_placements(sim_node *n) {
        rq_buf *placements = &n->batch.place.placements;
        const log_placement *p = (const log_placement *) (const void *) placements->data;
        size_t count = placements->size / sizeof *p;
        rq_err r = RQ_OK;
        for (size_t i = 0; r >= 0 && i < count; i++) {
                n->hint_wanted |= p[i].opened;
                r = p[i].opened ? log_catalog_add_segment(&n->catalog, &p[i].header)
                                : log_catalog_add_unit(&n->catalog, &p[i].unit, p[i].last_index);
        }
        placements->size = 0;
        return r;
}

/* Everything up to the sequence number is on the disk. */
static void learn_durable(world *w, sim_node *n, uint64_t sequence) {
        const node_write *writes = (const node_write *) (const void *) n->writes.data;
        size_t count = n->writes.size / sizeof *writes, done = 0;
        const node_write *newest = NULL;
        for (; done < count && writes[done].sequence <= sequence; done++) {
                const node_write *this = &writes[done];
                n->write_bytes -= this->bytes;
                if (this->acknowledges)
                        newest = this;
                if (this->hard) {
                        n->durable_term = this->term;
                        n->durable_vote = this->vote;
                }
                if (this->first != 0)
                        n->durable = this->last;
        }
        for (size_t i = done; i < count; i++) /* what is replaced in memory already */
                if (writes[i].first != 0 && writes[i].first <= n->durable)
                        n->durable = writes[i].first - 1;
        if (newest != NULL) {
                world_trace(w, (trace_record) {
                        .event = TRACE_PERSISTED, .node = (uint8_t) n->number, .peer = TRACE_NOBODY,
                        .term = newest->when_durable.accepted_term, .index = newest->when_durable.index,
                        .count = newest->when_durable.hard_term,
                });
                driver_persisted(n->driver, &newest->when_durable);
        }
        rq_buf_consume(&n->writes, done * sizeof *writes);
}

static void storage_fails(world *w, sim_node *n) {
        n->storage_failed = true;
        n->disturbed_us = w->now_us;
        world_trace(w, (trace_record) { .event = TRACE_STORAGE_FAILED, .node = (uint8_t) n->number,
                .peer = TRACE_NOBODY });
        driver_storage_failed(n->driver);
        world_plan(w, FAILURE_US, (event) { .type = EVENT_RESTART, .node = (uint8_t) n->number,
                .tag = n->incarnation });
}

void node_on_disk(world *w, sim_node *n) {
        rq_err r = perform(n);
        bool enospc = r == RQ_ENOSPC;
        n->stalled = enospc;
        if (r >= 0 || enospc) {
                r = learn_placements(n);
                n->room_bytes = log_place_room(&n->batch.place);
                learn_durable(w, n, n->batch.durable);
        }
        if (r < 0)
                storage_fails(w, n);
        else if (enospc)
                plan_disk(w, n, NO_SPACE_US);
        n->writing = r >= 0 && enospc;
        if (r >= 0)
                node_begin_batch(w, n);
        node_wake(w, n);
}

void node_space_is_back(sim_node *n) {
        if (node_runs(n) && !n->writing)
                (void) log_spare_make(n->batch.place.spare);
}

rq_err node_admit(sim_node *n, size_t body_bytes) {
        if (n->storage_failed)
                return RQ_EIO;
        return log_batch_admits(&n->batch, n->stalled, n->room_bytes, RECORD_HEADER_BYTES + body_bytes,
                                n->write_bytes + driver_staged_bytes(n->driver));
}
