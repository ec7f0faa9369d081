#include "status.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/cleanup.h"

static json_t *number(uint64_t value) {
        return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t) value);
}

static const char *role_text(raft_role role) {
        switch (role) {
        case RAFT_FOLLOWER: return "Follower";
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

static json_t *nodes(const consensus *c) {
        json_t *self = json_object(), *list = json_array();
        (void) json_object_set_new(self, "id", json_string(c->identity.node_id));
        (void) json_object_set_new(self, "addr", json_string(c->o.config.raft_addr));
        (void) json_object_set_new(self, "api_addr", json_string(c->o.config.api_addr));
        (void) json_object_set_new(self, "suffrage", json_string(c->not_a_voter ? "nonvoter" : "voter"));
        (void) json_array_append_new(list, self);
        return list;
}

static json_t *configuration(const consensus *c) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        for (uint32_t i = 0; i < c->membership.count; i++) {
                const member *m = &c->membership.members[i];
                (void) rq_buf_printf(&text, "%s{Suffrage:%s ID:%s Address:%s}", i == 0 ? "[" : " ",
                                     m->voter ? "Voter" : "Nonvoter", m->node_id, m->raft_addr);
        }
        (void) rq_buf_append_text(&text, "]");
        return json_stringn((const char *) text.data, text.size);
}

static json_t *log_object(consensus *c) {
        log_writer_stats s;
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

static json_t *queues_object(const consensus *c) {
        json_t *o = json_object();
        (void) json_object_set_new(o, "proposals", number(driver_pending_count(c->driver)));
        (void) json_object_set_new(o, "reads", number(driver_read_count(c->driver)));
        (void) json_object_set_new(o, "proposals_taken", number(c->proposals_taken));
        (void) json_object_set_new(o, "reads_taken", number(c->reads_taken));
        (void) json_object_set_new(o, "refused", number(c->requests_refused));
        return o;
}

static json_t *raft_object(consensus *c) {
        const raft *r = driver_raft(c->driver);
        const raft_trail *t = raft_trail_of(r);
        const stream *s = driver_stream(c->driver);
        char uuid[RQ_UUID_TEXT_BYTES];
        json_t *o = json_object();
        (void) json_object_set_new(o, "state", json_string(role_text(raft_role_of(r))));
        (void) json_object_set_new(o, "term", number(raft_term_of(r)));
        (void) json_object_set_new(o, "applied_index", number(s->applied));
        (void) json_object_set_new(o, "commit_index", number(raft_commit_of(r)));
        (void) json_object_set_new(o, "last_log_index", number(t->last));
        (void) json_object_set_new(o, "last_log_term", number(raft_trail_last_term(t)));
        (void) json_object_set_new(o, "first_log_index", number(t->base_index + 1));
        (void) json_object_set_new(o, "last_snapshot_index", number(s->checkpoint));
        (void) json_object_set_new(o, "last_snapshot_term", number(raft_trail_term_at(t, s->checkpoint)));
        (void) json_object_set_new(o, "num_peers", number(raft_voter_count(r) - 1));
        (void) json_object_set_new(o, "fsm_pending", number(raft_commit_of(r) > s->applied ? raft_commit_of(r) - s->applied : 0));
        (void) json_object_set_new(o, "voter", json_boolean(!c->not_a_voter));
        (void) json_object_set_new(o, "log_size", number(log_catalog_bytes(&c->catalog)));
        (void) json_object_set_new(o, "latest_configuration", configuration(c));
        (void) json_object_set_new(o, "latest_configuration_index", number(c->configuration_index));
        (void) json_object_set_new(o, "node_id", json_string(c->identity.node_id));
        (void) json_object_set_new(o, "disk_uuid", json_string(rq_uuid_text(&c->identity.disk_uuid, uuid)));
        (void) json_object_set_new(o, "cluster_id", json_string(rq_uuid_text(&c->identity.database_id, uuid)));
        (void) json_object_set_new(o, "durable_index", number(raft_durable_of(r)));
        (void) json_object_set_new(o, "entry_clock_us", number(driver_clock_us(c->driver)));
        (void) json_object_set_new(o, "log", log_object(c));
        (void) json_object_set_new(o, "stream", stream_object(c));
        (void) json_object_set_new(o, "queues", queues_object(c));

        return o;
}

rq_err status_document(consensus *c, rq_buf *ret_document) {
        json_t *document = json_object();
        (void) json_object_set_new(document, "raft", raft_object(c));
        (void) json_object_set_new(document, "nodes", nodes(c));
        char *text = json_dumps(document, JSON_COMPACT);
        json_decref(document);
        if (text == NULL)
                return RQ_ENOMEM;
        rq_err r = rq_buf_append_text(ret_document, text);
        free(text);
        return r;
}
