#include "folder.h"

#include <inttypes.h>
#include <stdlib.h>

#include "admission.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatch.h"
#include "feature_level.h"
#include "forming.h"
#include "founding.h"
#include "io/folder_aside.h"
#include "log/log_fields.h"
#include "members.h"
#include "rebase.h"
#include "recovery.h"

enum {
        CLOCK_BACK_US = 5000000,       /* worth a warning */
        FORMING_PATIENCE_US = 2000000, /* for a founder to tell us */
};

static rq_err restore_log(consensus *c, const founding *f) {
        const log_recovered *log = &f->log;
        rq_err r = RQ_OK;
        for (size_t i = 0; r >= 0 && i < log->run_count; i++) {
                const log_run *run = &log->runs[i];
                uint64_t last = i + 1 < log->run_count ? run[1].first_index - 1 : log->last_index;
                r = driver_restore(c->driver, run->term, last, run->uncommitted_bytes);
        }
        for (size_t i = 0; r >= 0 && i < log->configurations.count; i++) {
                const log_configuration *one = &log->configurations.v[i];
                if (one->index > log->base_index)
                        r = driver_restore_membership(c->driver, one->index, one->body);
        }
        return r < 0 ? r : driver_restored(c->driver);
}

static rq_err make_driver(consensus *c, const founding *f) {
        const log_configuration base = founding_configuration_at(f, f->log.base_index);
        driver_options options = {
                .id = c->raft_id, .learner = c->not_a_voter || c->starts.file.is_old_copy,
                .term = f->hardstate.term, .vote = f->hardstate.vote, .commit = f->hardstate.commit,
                .base_index = f->log.base_index, .base_term = f->log.base_term,
                .base_membership = base.body, .base_membership_index = base.index, .members_known = c->members_known,
                .last_index = f->log.last_index, .database_id = f->identity.database_id, .clock_us = f->log.clock_us,
                .now_us = rq_clock_mono_us(),
                .heartbeat_us = c->o.config.heartbeat_us, .election_us = c->o.config.election_us,
                .lease_us = c->o.config.lease_us, .disk_stall_us = c->o.config.disk_stall_us,
        };
        rq_random_bytes(&options.random_seed, sizeof options.random_seed);
        rq_err r = driver_new(&options, &c->driver);
        if (r >= 0)
                r = restore_log(c, f);
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
                .end_offset = f->log.end_offset, .end_crc = f->log.end_crc, .segment_bytes = c->o.config.segment_bytes,
        };
        rq_err r = log_writer_new(&options, &f->hardstate_file, &c->wake, &c->writer);
        return r < 0 ? rq_log_error(r, "Cannot write the log in %s", c->o.dir_path) : RQ_OK;
}

/* What a member is was decided when it was taken in; a flag that says something else must not go unnoticed. */
static void compare_role(const consensus *c, const founding *f) {
        const member *self = membership_find(&f->membership, membership_raft_id(&c->identity.disk_uuid));
        if (f->unformed || f->founded || self == NULL || self->stays == c->o.config.stays_learner)
                return;
        rq_log_warning("Node \"%s\" is a %s, as its log says, and stays one %s -raft-non-voter, unless it was removed meanwhile: to change that, "
                       "remove it from the cluster and start it again with -join", c->identity.node_id, self->stays ? "read replica" : "voter",
                       self->stays ? "without" : "with");
}

static void say_what_was_found(const consensus *c, const founding *f) {
        char cluster[RQ_UUID_TEXT_BYTES];
        rq_log_set_node(c->identity.node_id);
        uint64_t now_us = rq_clock_wall_us();
        if (f->unformed && c->o.config.joins)
                rq_log_notice("Node \"%s\" is in no cluster yet: joining the one at %s", c->identity.node_id, c->o.config.join);
        else if (f->unformed)
                rq_log_notice("Node \"%s\" is in no cluster yet: waiting for %" PRIu32 " nodes to be there", c->identity.node_id,
                              c->o.config.bootstrap_expect);
        else if (f->founded)
                rq_log_event(LOG_NOTICE, RQ_MSG_FORMED, "Founded cluster %s of node \"%s\"", rq_uuid_text(&c->identity.database_id, cluster), c->identity.node_id);
        else
                rq_log_info("Node \"%s\" of cluster %s, log from index %" PRIu64 " to %" PRIu64 ", term %" PRIu64, c->identity.node_id,
                            rq_uuid_text(&c->cluster_id, cluster), f->log.base_index + 1, f->log.last_index, f->hardstate.term);
        compare_role(c, f);
        if (f->log.clock_us > now_us + CLOCK_BACK_US)
                rq_log_event(LOG_WARNING, RQ_MSG_CLOCK_OFF, "The clock is %" PRIu64 " s behind the last entry of the log: times in new "
                             "entries hardly advance until it has caught up", (f->log.clock_us - now_us) / 1000000);
}

/* As in rqlite: who was founded alone has data of its own, which no other cluster takes. */
static rq_err check_joins(const consensus *c, const founding *f) {
        if (!c->o.config.joins || f->unformed || c->joined || f->configuration_index > 1 || f->membership.count > 1)
                return RQ_OK;
        return rq_log_error(RQ_ECONFIG, "node is the only node in a single-node cluster, joining other clusters not supported: start it without "
                            "-join, or with an empty data directory");
}

/* What a snapshot had begun. Without an identity the folder is new. */
static rq_err finish_rebase(consensus *c) {
        identity self;
        base_file_done(&c->base);
        rq_err r = identity_load(c->o.io, c->o.dir_fd, &self);
        return r < 0 ? RQ_OK : rebase_finish(c->o.io, c->o.dir_fd, c->o.dir_path, &self.disk_uuid, c->o.config.segment_bytes, &c->base);
}

/* In each run once. What is damaged is no harm by itself: the others know this node's starts, and say so. */
static rq_err load_starts(consensus *c) {
        if (c->starts.counted)
                return RQ_OK;
        rq_err r = starts_file_load(c->o.io, c->o.dir_fd, &c->starts.file);
        if (r == RQ_ECORRUPT)
                rq_log_warning("%s/" STARTS_NAME " is damaged: what this node knew of the starts of other members is lost", c->o.dir_path);
        if (r == RQ_ECORRUPT || r == RQ_ENOENT)
                c->starts.file = (starts_file) {0};
        else if (r < 0)
                return rq_log_error(r, "Cannot read %s/" STARTS_NAME, c->o.dir_path);
        return RQ_OK;
}

/* Durable before anybody hears of it: the next start would else be taken for an old copy's. */
static void count_start(consensus *c, const founding *f) {
        starts *s = &c->starts;
        if (s->counted && rq_uuid_equal(&s->file.disk_uuid, &f->identity.disk_uuid))
                return;
        uint64_t nonce;
        do
                rq_random_bytes(&nonce, sizeof nonce);
        while ((uint32_t) nonce == 0);
        starts_begin(&s->file, &f->identity.disk_uuid, nonce);
        if (!f->unformed)
                s->file.join[0] = '\0';
        s->counted = true;
        s->self = (peer_start) { .number = s->file.own.number, .nonce = nonce, .term = f->hardstate.term, .index = f->log.last_index };
        for (size_t i = 0; i < PEER_START_EARLIER; i++)
                s->self.earlier[i] = (uint32_t) s->file.earlier[i];
        rq_err r = starts_file_store(c->o.io, c->o.dir_fd, &s->file);
        if (r < 0) {
                s->self = (peer_start) {0}; /* as a build that doesn't count */
                rq_log_warning("Cannot write %s/" STARTS_NAME " (%s): other members can't tell this run from one of an older copy of the folder", c->o.dir_path,
                               rq_err_text(r));
        }
}

static rq_err move_aside(consensus *c) {
        char place[RQ_ASIDE_PLACE_BYTES];
        rq_err r = folder_aside_move(c->o.io, c->o.dir_fd, place);
        if (r < 0)
                return rq_log_error(r, "Cannot move the files of %s aside", c->o.dir_path);
        const char *fields[] = { RQ_MSG_NOT_VOTING, NULL };
        rq_log_write(LOG_ERR, fields, "What was in %s is in %s/%s now: this node joins its cluster again as a new member, and doesn't vote "
                     "before it has caught up", c->o.dir_path, c->o.dir_path, place);
        c->o.config.joins = true;
        return RQ_OK;
}

/* An old copy of its folder, as a member has said, or what is left of one. */
static bool is_to_be_set_aside(const consensus *c) {
        identity self;
        if (c->starts.counted)
                return false; /* told in this run: the next one does it */
        const rq_err r = identity_load(c->o.io, c->o.dir_fd, &self);
        return c->starts.file.set_aside && r >= 0 && rq_uuid_equal(&self.disk_uuid, &c->starts.file.disk_uuid);
}

/* What was set aside without -join has where to go to in a file. */
static void find_others(consensus *c) {
        identity self;
        const rq_err r = identity_load(c->o.io, c->o.dir_fd, &self);
        const bool unformed = r == RQ_ENOENT || (r >= 0 && rq_uuid_is_zero(&self.database_id));
        if (c->o.config.join[0] == '\0' && unformed && folder_aside_is_there(c->o.dir_fd))
                c->o.config.join = c->starts.file.join;
        if (c->o.config.join[0] != '\0' && folder_aside_is_there(c->o.dir_fd))
                c->o.config.joins = true;
}

/* What can't be used by a voter is put aside if there is a cluster to join: as a new member, a
 * learner first. A node that knows of no other could only found another cluster. */
static rq_err open_founding(consensus *c, founding *f) {
        rq_err r = load_starts(c);
        if (r >= 0 && is_to_be_set_aside(c))
                r = move_aside(c);
        if (r < 0)
                return r;
        find_others(c);
        r = founding_open(c->o.io, c->o.dir_fd, c->o.dir_path, &c->o.config, f);
        if (r == RQ_ECORRUPT && c->o.config.join[0] != '\0') {
                r = move_aside(c);
                if (r >= 0)
                        r = founding_open(c->o.io, c->o.dir_fd, c->o.dir_path, &c->o.config, f);
        }
        if (r >= 0)
                count_start(c, f);
        return r;
}

rq_err folder_open(consensus *c) {
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        rq_err r = finish_rebase(c);
        if (r >= 0)
                r = recovery_by_file(c->o.io, c->o.dir_fd, c->o.dir_path);
        if (r >= 0)
                r = open_founding(c, &f);
        if (r < 0)
                return r;
        c->identity = f.identity;
        c->cluster_id = f.cluster_id;
        c->joined = f.cluster.members.size > 0;
        c->members_known = c->joined ? f.cluster.index : 0;
        r = check_joins(c, &f);
        if (r < 0)
                return r;
        c->unformed = f.unformed;
        c->raft_id = membership_raft_id(&f.identity.disk_uuid);
        c->not_a_voter = f.hardstate.not_a_voter;
        c->hint = f.hardstate.commit;
        say_what_was_found(c, &f);
        r = make_driver(c, &f);
        if (r >= 0)
                feature_level_update(c);
        if (r >= 0 && !f.unformed)
                r = start_writer(c, &f);
        if (r < 0)
                return r;
        c->catalog = RQ_TAKE(f.log.catalog, (log_catalog) {0});
        c->found = RQ_TAKE(f.log.configurations, (log_configurations) {0});
        c->found_members = RQ_TAKE(f.cluster.members, (rq_buf) {0});
        c->founding_record = RQ_TAKE(f.record, (rq_buf) {0});
        return RQ_OK;
}

void folder_close(consensus *c) {
        c->store = ipc_connector_free(c->store);
        c->writer = log_writer_free(c->writer);
        c->driver = driver_free(c->driver);
        log_catalog_done(&c->catalog);
        log_configurations_done(&c->found);
        rq_buf_done(&c->found_members);
        c->found_until = 0;
        c->store_came = false;
        rq_buf_done(&c->founding_record);
        rq_buf_done(&c->writes);
        rq_buf_done(&c->report.placements);
        c->report = (log_report) {0};
        c->write_bytes = 0;
}

static void fail(consensus *c) {
        if (c->o.on_failed != NULL)
                c->o.on_failed(c->o.arg);
}

static void on_formed(void *arg) {
        consensus *c = arg;
        c->joining = joining_free(c->joining);
        c->forming = forming_free(c->forming);
        folder_reopen(c);
}

static void on_forming_failed(void *arg, rq_err err) {
        consensus *c = arg;
        (void) err; /* logged */
        c->joining = joining_free(c->joining);
        c->forming = forming_free(c->forming);
        fail(c);
}

static void on_accepted(void *arg, const peer_join_reply *reply, rq_bytes members) {
        consensus *c = arg;
        rq_err r = RQ_OK;
        if (c->unformed) {
                c->forming = forming_free(c->forming);
                r = founding_join(c->o.io, c->o.dir_fd, c->o.dir_path, &reply->database_id, &reply->cluster_id, members, reply->configuration);
        }
        c->joining = joining_free(c->joining);
        if (r < 0)
                fail(c);
        else if (c->unformed)
                folder_reopen(c);
}

static void on_joining_failed(void *arg, rq_err err) {
        consensus *c = arg;
        (void) err; /* logged */
        c->joining = joining_free(c->joining);
        if (c->unformed)
                fail(c);
}

/* Also while a cluster is being formed: it may have been, by a node of this name whose data is lost. */
static rq_err begin_joining(consensus *c) {
        const bool is_new = c->unformed && c->o.config.joins;
        const joining_options options = {
                .loop = c->o.loop, .peers = c->peers, .join = c->o.config.join, .raft_addr = c->o.config.raft_addr,
                .node_id = c->identity.node_id, .attempts = is_new ? c->o.config.join_attempts : 0,
                .interval_us = c->o.config.join_interval_us, .stays = c->o.config.stays_learner,
                .asks = c->unformed, .patience_us = c->forming != NULL ? FORMING_PATIENCE_US : 0, .has_seeds = c->forming != NULL,
                .credentials = admission_credentials, .on_accepted = on_accepted, .on_failed = on_joining_failed, .arg = c,
        };
        return joining_new(&options, &c->joining);
}

static rq_err begin_forming(consensus *c) {
        const forming_options options = {
                .loop = c->o.loop, .peers = c->peers, .io = c->o.io, .dir_fd = c->o.dir_fd, .dir_path = c->o.dir_path,
                .self = c->identity, .raft_addr = c->o.config.raft_addr, .expect = c->o.config.bootstrap_expect,
                .join = c->o.config.join, .timeout_us = c->o.config.forming_timeout_us,
                .on_formed = on_formed, .on_failed = on_forming_failed, .arg = c,
        };
        return forming_new(&options, &c->forming);
}

rq_err folder_announce(consensus *c) {
        if (c->unformed) {
                rq_err r = c->o.config.joins ? RQ_OK : begin_forming(c);
                return r < 0 ? r : begin_joining(c);
        }
        rq_err r = peers_set_cluster(c->peers, &c->cluster_id, rq_buf_bytes(&c->founding_record));
        if (r < 0)
                return rq_log_error(r, "Cannot tell the other members who this node is");
        members_update(c);
        if (c->o.config.join[0] != '\0' && c->joining == NULL && begin_joining(c) < 0)
                rq_log_warning("Cannot look for members at the addresses of -join");
        const ipc_identity self = { .role = IPC_CONSENSUS, .incarnation = c->o.incarnation };
        const ipc_handlers store = dispatch_store_handlers(c);
        r = ipc_connect(c->o.loop, c->o.run_dir_fd, IPC_SOCKET_STORE, &self, &store, &c->store);
        return r < 0 ? rq_log_error(r, "Cannot connect to the store") : RQ_OK;
}

void folder_reopen(consensus *c) {
        folder_close(c);
        rq_err r = folder_open(c);
        if (r >= 0)
                r = folder_announce(c);
        if (r < 0) {
                fail(c); /* the service starts anew, and says what is wrong */
                return;
        }
        c->state_dirty = true;
        consensus_wake(c);
}

static void on_adopt(void *arg) {
        consensus *c = arg;
        RQ_CLEANUP(rq_buf_done) rq_buf record = RQ_TAKE(c->adopting, (rq_buf) {0});
        const raft *r = driver_raft(c->driver);
        if (record.size == 0 || c->joined || !founding_values_are_virgin(raft_term_of(r), raft_vote_of(r), raft_trail_of(r)->last))
                return; /* it has promised something meanwhile */
        const identity self = c->identity;
        folder_close(c);
        if (founding_adopt(c->o.io, c->o.dir_fd, c->o.dir_path, &self, rq_buf_bytes(&record)) < 0 || folder_open(c) < 0 ||
            folder_announce(c) < 0) {
                fail(c);
                return;
        }
        c->state_dirty = true;
        consensus_wake(c);
}

rq_err folder_adopt_later(consensus *c, rq_bytes record) {
        c->adopting.size = 0;
        rq_err r = rq_buf_append_bytes(&c->adopting, record);
        if (r < 0)
                return r;
        c->adopt.run = on_adopt;
        rq_task_post(&c->adopt);
        return RQ_OK;
}
