#include "status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "config/config.h"
#include "divergence.h"
#include "probes.h"
#include "snapshot_in.h"
#include "snapshot_out.h"

static json_t *number(uint64_t value) {
        return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t) value);
}

static const char *role_text(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        if (c->removed)
                return "Removed"; /* a follower of nobody: it takes part in nothing */
        switch (raft_role_of(r)) {
        case RAFT_FOLLOWER: return c->not_a_voter || (!c->unformed && !raft_is_voter(r)) ? "Learner" : "Follower";
        case RAFT_PRE_CANDIDATE:
        case RAFT_CANDIDATE: return "Candidate";
        case RAFT_LEADER: return "Leader";
        }
        return "unknown";
}

static const char *stream_text(const consensus *c) {
        if (c->feed_failed)
                return "the log cannot be read";
        switch (driver_stream(c->driver)->state) {
        case STREAM_CLOSED: return "waiting for the store";
        case STREAM_OPEN: return "open";
        case STREAM_MISFIT: return "the store does not fit the log";
        }
        return "unknown";
}

static bool may_vote(const consensus *c) { return !c->not_a_voter && !c->starts.file.is_old_copy; }

/* What its outcomes depend on, as it says. */
static void add_profile(json_t *o, const divergence_view *v) {
        char text[32];
        (void) json_object_set_new(o, "sqlite_version", json_string(v->sqlite_version));
        (void) snprintf(text, sizeof text, "%08" PRIx32, v->extensions);
        (void) json_object_set_new(o, "extensions", json_string(text));
        (void) snprintf(text, sizeof text, "%016" PRIx64, v->profile);
        (void) json_object_set_new(o, "profile", json_string(text));
}

static json_t *node(const consensus *c, const member *m, const consensus_probe *probe, uint64_t now_us) {
        const raft *r = driver_raft(c->driver);
        raft_id id = membership_raft_id(&m->disk_uuid);
        bool self = id == c->raft_id;
        peers_view view = {0};
        raft_progress_view progress;
        json_t *o = json_object();
        (void) json_object_set_new(o, "id", json_string(m->node_id));
        (void) json_object_set_new(o, "addr", json_string(m->raft_addr));
        (void) json_object_set_new(o, "suffrage", json_string(m->voter && !(self && !may_vote(c)) ? "voter" : "nonvoter"));
        (void) json_object_set_new(o, "leader", json_boolean(raft_leader_of(r) == id));
        bool known = self || peers_view_of(c->peers, id, &view);
        const char *api_addr = self ? c->o.config.api_addr : known ? view.api_addr : "";
        if (api_addr[0] != '\0')
                (void) json_object_set_new(o, "api_addr", json_string(api_addr));
        const bool leads = raft_progress_of(r, id, &progress);
        if (leads)
                (void) json_object_set_new(o, "lag", number(raft_trail_of(r)->last > progress.match ? raft_trail_of(r)->last - progress.match : 0));
        bool heard = !leads || now_us - progress.contact_us < c->o.config.election_us;
        bool reachable = self || (known && view.up && heard), answered;
        uint32_t rtt_us = self ? 0 : peers_rtt_us(c->peers, id);
        if (!self && probe != NULL && probes_view(probe, id, &answered, &rtt_us))
                reachable = answered;
        (void) json_object_set_new(o, "reachable", json_boolean(reachable));
        if (!self && reachable && rtt_us > 0)
                (void) json_object_set_new(o, "time_us", number(rtt_us));
        if (!self && view.up)
                (void) json_object_set_new(o, "tls", json_boolean(view.tls));
        divergence_view compared = {0};
        if (divergence_view_of(c->divergence, id, &compared)) {
                (void) json_object_set_new(o, "outcomes", json_string(divergence_verdict_text(compared.judgement.verdict)));
                (void) json_object_set_new(o, "outcomes_index", number(compared.judgement.index));
        }
        if (compared.profile != 0)
                add_profile(o, &compared);
        if (!reachable)
                (void) json_object_set_new(o, "error", json_string(known && view.problem[0] != '\0' ? view.problem : "it does not answer"));
        return o;
}

static int by_name(const void *a, const void *b) {
        const member *x = *(const member *const *) a, *y = *(const member *const *) b;
        const int order = strcmp(x->node_id, y->node_id);
        return order != 0 ? order : (int) x->voter - (int) y->voter;
}

/* By id. Of a lost disk and the one that replaces it, only the latter, which is a learner still. */
static json_t *nodes(const consensus *c, const consensus_probe *probe) {
        const membership *m = driver_membership(c->driver, NULL);
        const member *sorted[MEMBERSHIP_COUNT_MAX];
        const uint32_t count = m == NULL ? 0 : m->count;
        json_t *list = json_array();
        uint64_t now_us = rq_clock_mono_us();
        for (uint32_t i = 0; i < count; i++)
                sorted[i] = &m->members[i];
        qsort(sorted, count, sizeof sorted[0], by_name);
        for (uint32_t i = 0; i < count; i++)
                if (i == 0 || strcmp(sorted[i - 1]->node_id, sorted[i]->node_id) != 0)
                        (void) json_array_append_new(list, node(c, sorted[i], probe, now_us));
        return list;
}

static json_t *configuration(const consensus *c) {
        const membership *m = driver_membership(c->driver, NULL);
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        (void) rq_buf_append_text(&text, "[");
        for (uint32_t i = 0; m != NULL && i < m->count; i++) {
                const member *one = &m->members[i];
                (void) rq_buf_printf(&text, "%s{Suffrage:%s ID:%s Address:%s}", i == 0 ? "" : " ",
                                     one->voter ? "Voter" : "Nonvoter", one->node_id, one->raft_addr);
        }
        (void) rq_buf_append_text(&text, "]");
        return json_stringn((const char *) text.data, text.size);
}

static const char *progress_text(raft_progress_state state) {
        switch (state) {
        case RAFT_PROBE: return "probe";
        case RAFT_STREAM: return "stream";
        case RAFT_SNAPSHOT: return "snapshot";
        }
        return "unknown";
}

/* The leader's view of each follower. */
static json_t *progress_list(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        const membership *m = driver_membership(c->driver, NULL);
        json_t *list = json_array();
        uint64_t now_us = rq_clock_mono_us();
        for (uint32_t i = 0; m != NULL && i < m->count; i++) {
                raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                raft_progress_view p;
                if (id == c->raft_id || !raft_progress_of(r, id, &p))
                        continue;
                json_t *o = json_object();
                (void) json_object_set_new(o, "id", json_string(m->members[i].node_id));
                (void) json_object_set_new(o, "state", json_string(progress_text(p.state)));
                (void) json_object_set_new(o, "match", number(p.match));
                (void) json_object_set_new(o, "next", number(p.next));
                (void) json_object_set_new(o, "in_flight_messages", number(p.in_flight_messages));
                (void) json_object_set_new(o, "in_flight_bytes", number(p.in_flight_bytes));
                if (p.contact_us != 0)
                        (void) json_object_set_new(o, "contact_us", number(now_us - p.contact_us));
                uint64_t offset, bytes;
                if (snapshot_sends_view(c->sends, id, &offset, &bytes)) {
                        (void) json_object_set_new(o, "snapshot_sent_bytes", number(offset));
                        (void) json_object_set_new(o, "snapshot_bytes", number(bytes));
                }
                (void) json_array_append_new(list, o);
        }
        return list;
}

static json_t *last_contact(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        char text[32];
        uint64_t at_us = raft_contact_us(r), now_us = rq_clock_mono_us();
        if (raft_role_of(r) == RAFT_LEADER)
                return json_string("0");
        if (at_us == 0)
                at_us = c->contact_us;
        if (at_us == 0)
                return json_string("never");
        return json_string(rq_duration_text((int64_t) (now_us - at_us) * 1000, text, sizeof text));
}

static json_t *tls_object(const consensus *c) {
        json_t *o = json_object();
        (void) json_object_set_new(o, "enabled", json_boolean(c->tls != NULL));
        if (c->tls == NULL)
                return o;
        const rq_tls_options *options = &c->o.config.tls_options;
        (void) json_object_set_new(o, "cert_file", json_string(options->cert_file));
        (void) json_object_set_new(o, "key_file", json_string(options->key_file));
        (void) json_object_set_new(o, "ca_file", json_string(options->ca_file));
        (void) json_object_set_new(o, "verify_client", json_boolean(options->verify_client));
        (void) json_object_set_new(o, "transition", json_boolean(c->o.config.tls_transition));
        (void) json_object_set_new(o, "expires_s", json_integer((json_int_t) rq_tls_expires_s(c->tls)));
        return o;
}

static json_t *peers_object(const consensus *c) {
        peers_stats s;
        peers_get_stats(c->peers, &s);
        json_t *o = json_object();
        (void) json_object_set_new(o, "frames_in", number(s.frames_in));
        (void) json_object_set_new(o, "frames_out", number(s.frames_out));
        (void) json_object_set_new(o, "bytes_in", number(s.bytes_in));
        (void) json_object_set_new(o, "bytes_out", number(s.bytes_out));
        (void) json_object_set_new(o, "refused", number(s.refused_count));
        (void) json_object_set_new(o, "skipped", number(s.skipped_count));
        (void) json_object_set_new(o, "dropped", number(s.dropped_count));
        return o;
}

static json_t *log_object(consensus *c) {
        log_writer_stats s = {0};
        if (c->writer != NULL)
                log_writer_get_stats(c->writer, &s);
        json_t *o = json_object();
        (void) json_object_set_new(o, "segments", number(c->catalog.segment_count));
        (void) json_object_set_new(o, "spare_segments", number(s.spare_count));
        (void) json_object_set_new(o, "size", number(log_catalog_bytes(&c->catalog)));
        (void) json_object_set_new(o, "batches", number(s.batches));
        (void) json_object_set_new(o, "bytes_written", number(s.bytes));
        (void) json_object_set_new(o, "fsync_count", number(s.sync_count));
        (void) json_object_set_new(o, "fsync_us_average", number(s.sync_count > 0 ? s.sync_us_total / s.sync_count : 0));
        (void) json_object_set_new(o, "fsync_us_max", number(s.sync_us_max));
        (void) json_object_set_new(o, "fsync_us_last", number(s.sync_us_last));
        (void) json_object_set_new(o, "room_bytes", number(s.room_bytes));
        (void) json_object_set_new(o, "disk_full", json_boolean(s.full || s.stalled));
        (void) json_object_set_new(o, "failed", json_boolean(c->storage_failed));
        (void) json_object_set_new(o, "unwritten_bytes", number(c->write_bytes));
        (void) json_object_set_new(o, "memory_bytes", number(driver_memory_bytes(c->driver)));
        return o;
}

static json_t *stream_object(const consensus *c) {
        const stream *s = driver_stream(c->driver);
        json_t *o = json_object();
        (void) json_object_set_new(o, "state", json_string(stream_text(c)));
        if (s->state == STREAM_MISFIT)
                (void) json_object_set_new(o, "reason", json_string(s->misfit));
        (void) json_object_set_new(o, "next_index", number(s->next));
        (void) json_object_set_new(o, "applied_index", number(s->applied));
        (void) json_object_set_new(o, "checkpoint_index", number(s->checkpoint));
        (void) json_object_set_new(o, "unacknowledged_bytes", number(s->in_flight_bytes));
        return o;
}

/* One that this node receives. */
static json_t *snapshot_object(const consensus *c) {
        uint64_t offset, bytes;
        const char *text = snapshot_receipt_view(c->receipt, &offset, &bytes);
        json_t *o = json_object();
        (void) json_object_set_new(o, "state", json_string(text[0] != '\0' ? text : "none"));
        if (text[0] != '\0') {
                (void) json_object_set_new(o, "staged_bytes", number(offset));
                (void) json_object_set_new(o, "bytes", number(bytes));
        }
        return o;
}

static json_t *queues_object(const consensus *c) {
        json_t *o = json_object();
        (void) json_object_set_new(o, "proposals", number(driver_pending_count(c->driver)));
        (void) json_object_set_new(o, "reads", number(driver_read_count(c->driver)));
        (void) json_object_set_new(o, "proposals_taken", number(c->proposals_taken));
        (void) json_object_set_new(o, "reads_taken", number(c->reads_taken));
        (void) json_object_set_new(o, "refused", number(c->requests_refused));
        (void) json_object_set_new(o, "forwarded_in", number(c->proposals_forwarded_in));
        return o;
}

static uint64_t other_voters(const consensus *c) {
        const membership *m = driver_membership(c->driver, NULL);
        uint64_t count = 0;
        for (uint32_t i = 0; m != NULL && i < m->count; i++)
                count += m->members[i].voter && membership_raft_id(&m->members[i].disk_uuid) != c->raft_id;
        return count;
}

static json_t *raft_object(consensus *c) {
        const raft *r = driver_raft(c->driver);
        const raft_trail *t = raft_trail_of(r);
        const stream *s = driver_stream(c->driver);
        char uuid[RQ_UUID_TEXT_BYTES];
        json_t *o = json_object();
        (void) json_object_set_new(o, "state", json_string(role_text(c)));
        (void) json_object_set_new(o, "term", number(raft_term_of(r)));
        (void) json_object_set_new(o, "applied_index", number(s->applied));
        (void) json_object_set_new(o, "commit_index", number(raft_commit_of(r)));
        (void) json_object_set_new(o, "last_log_index", number(t->last));
        (void) json_object_set_new(o, "last_log_term", number(raft_trail_last_term(t)));
        (void) json_object_set_new(o, "first_log_index", number(t->base_index + 1));
        (void) json_object_set_new(o, "last_snapshot_index", number(s->checkpoint));
        (void) json_object_set_new(o, "last_snapshot_term", number(raft_trail_term_at(t, s->checkpoint)));
        (void) json_object_set_new(o, "num_peers", number(other_voters(c)));
        (void) json_object_set_new(o, "fsm_pending", number(raft_commit_of(r) > s->applied ? raft_commit_of(r) - s->applied : 0));
        (void) json_object_set_new(o, "voter", json_boolean(may_vote(c)));
        (void) json_object_set_new(o, "log_size", number(log_catalog_bytes(&c->catalog)));
        (void) json_object_set_new(o, "latest_configuration", configuration(c));
        raft_index configuration_index = 0;
        (void) driver_membership(c->driver, &configuration_index);
        (void) json_object_set_new(o, "latest_configuration_index", number(configuration_index));
        (void) json_object_set_new(o, "last_contact", last_contact(c));
        (void) json_object_set_new(o, "node_id", json_string(c->identity.node_id));
        (void) json_object_set_new(o, "disk_uuid", json_string(rq_uuid_text(&c->identity.disk_uuid, uuid)));
        (void) json_object_set_new(o, "cluster_id", json_string(rq_uuid_text(&c->cluster_id, uuid)));
        (void) json_object_set_new(o, "database_id", json_string(rq_uuid_text(&c->identity.database_id, uuid)));
        (void) json_object_set_new(o, "removed", json_boolean(c->removed));
        (void) json_object_set_new(o, "old_copy", json_boolean(c->starts.file.is_old_copy));
        (void) json_object_set_new(o, "start", json_integer((json_int_t) c->starts.self.number));
        (void) json_object_set_new(o, "feature_level", number(c->levels.lowest)); /* of all members */
        (void) json_object_set_new(o, "durable_index", number(raft_durable_of(r)));
        (void) json_object_set_new(o, "entry_clock_us", number(driver_clock_us(c->driver)));
        (void) json_object_set_new(o, "log", log_object(c));
        (void) json_object_set_new(o, "stream", stream_object(c));
        (void) json_object_set_new(o, "queues", queues_object(c));
        (void) json_object_set_new(o, "snapshot", snapshot_object(c));
        (void) json_object_set_new(o, "peers", peers_object(c));
        (void) json_object_set_new(o, "tls", tls_object(c));
        if (raft_role_of(r) == RAFT_LEADER)
                (void) json_object_set_new(o, "progress", progress_list(c));
        if (c->forming != NULL)
                (void) json_object_set_new(o, "forming", json_string(forming_text(c->forming)));
        if (c->joining != NULL && c->unformed)
                (void) json_object_set_new(o, "joining", json_string(joining_text(c->joining)));
        return o;
}

/* For /debug/vars, by rqlite's names. */
static json_t *counters_object(const consensus *c) {
        json_t *o = json_object();
        (void) json_object_set_new(o, "num_joins", number(c->joins.taken_in));
        (void) json_object_set_new(o, "num_ignored_joins", number(c->joins.at_home));
        (void) json_object_set_new(o, "num_removed_before_joins", number(c->joins.moved));
        return o;
}

static json_t *cluster_object(const consensus *c) {
        peers_stats stats;
        json_t *o = json_object();
        peers_get_stats(c->peers, &stats);
        (void) json_object_set_new(o, "num_join_req", number(c->joins.asked));
        (void) json_object_set_new(o, "num_client_force_new_conn", number(stats.remade_count));
        return o;
}

rq_err status_document(consensus *c, const consensus_probe *probe, rq_buf *ret_document) {
        json_t *document = json_object();
        (void) json_object_set_new(document, "raft", raft_object(c));
        (void) json_object_set_new(document, "nodes", nodes(c, probe));
        (void) json_object_set_new(document, "counters", counters_object(c));
        (void) json_object_set_new(document, "cluster", cluster_object(c));
        char *text = json_dumps(document, JSON_COMPACT);
        json_decref(document);
        if (text == NULL)
                return RQ_ENOMEM;
        rq_err r = rq_buf_append_text(ret_document, text);
        free(text);
        return r;
}
