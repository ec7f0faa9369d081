/* Connections that this node makes. */
#include "peer/peers_state.h"

#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "log/log_fields.h"

enum {
        AT_ONCE_INTERVAL_US = 1000000,
        NUDGE_INTERVAL_US   = 500000, /* else two that refuse each other would do nothing else */
};

static bool is_same(const peer_hello *hello, const peer_hello *self) {
        return strcmp(hello->raft_addr, self->raft_addr) == 0 && strcmp(hello->node_id, self->node_id) == 0;
}

static rq_err found_myself(outbound *out, const peer_hello *hello) {
        peers *p = out->p;
        uint32_t more;
        if (out->remote->id == 0 && is_same(hello, &p->o.self)) {
                out->remote->myself = true;
                return RQ_ECANCELED;
        }
        out->remote->problem = "this node answers at its address, or a copy of its folder";
        /* A lost disk of this node may still be listed with this address. */
        if (!is_same(hello, &p->o.self) && rq_log_allowed(&p->limit_copy, &more))
                rq_log_event(LOG_WARNING, RQ_MSG_NODE_FOREIGN, "Node \"%s\" at %s has the disk uuid of this node \"%s\": its data directory is a copy, or the address is this "
                               "node's; a new node needs an empty directory (%u more)", hello->node_id, out->remote->address, p->o.self.node_id, more);
        return RQ_ECONFIG;
}

static rq_err tell_founding(outbound *out) {
        peers *p = out->p;
        uint8_t body[PEER_FOUND_BYTES];
        const rq_bytes record = rq_buf_bytes(&p->record);
        if (record.size == 0 || out->class != PEER_CONTROL)
                return RQ_ECANCELED; /* comes again later */
        peer_found_encode(p->o.callbacks.is_virgin(p->o.callbacks.arg), body);
        return peer_link_send(out->link, PEER_FOUND, rq_bytes_of(body, sizeof body), &record, 1);
}

/* The other side judges the founding: it may be a new node, or one that two
 * founders have told different things. */
static rq_err found_another_cluster(outbound *out, const peer_hello *hello) {
        peers *p = out->p;
        char theirs[RQ_UUID_TEXT_BYTES], ours[RQ_UUID_TEXT_BYTES];
        uint32_t more;
        const bool unformed = rq_uuid_is_zero(&hello->cluster_id);
        out->remote->problem = unformed ? "it is not in the cluster yet" : "it is in another cluster";
        if (!unformed && rq_log_allowed(&p->limit_foreign, &more))
                rq_log_event(LOG_WARNING, RQ_MSG_NODE_FOREIGN, "Node \"%s\" at %s belongs to cluster %s, this node to %s (%u more)", hello->node_id, out->remote->address,
                               rq_uuid_text(&hello->cluster_id, theirs), rq_uuid_text(&p->o.self.cluster_id, ours), more);
        return tell_founding(out);
}

static void come_up(outbound *out, const peer_hello *hello) {
        remote *r = out->remote;
        out->up = true;
        out->wants_room = false;
        if (out->class == PEER_SNAPSHOT) {
                out->p->o.snapshots.on_link(out->p->o.snapshots.arg, r->id, true);
                peers_touch(out->p, false);
                return;
        }
        if (out->class == PEER_CONTROL) {
                out->p->stats.remade_count += r->met;
                r->met = true;
        }
        r->refusal_told = false;
        r->problem = "";
        memcpy(r->api_addr, hello->api_addr, sizeof r->api_addr);
        memcpy(r->said, hello->raft_addr, sizeof r->said);
        r->protocol_minor = hello->protocol_minor;
        r->feature_level = hello->feature_level;
        r->start = hello->start;
        peers_update_up(out->p, r);
        if (out->class == PEER_BULK)
                out->p->o.callbacks.on_room(out->p->o.callbacks.arg, r->id);
        peers_touch(out->p, true);
}

/* A member that is found by a seed's address is a member like the others: its own connections are
 * what counts. */
static rq_err meet_seed(outbound *out, const peer_hello *hello) {
        peers *p = out->p;
        remote *m = peers_member_of_disk(p, &hello->disk_uuid);
        out->remote->problem = "";
        out->remote->asked = false;
        if (m != NULL && rq_uuid_equal(&hello->cluster_id, &p->o.self.cluster_id))
                peers_learn_address(p, m, hello);
        peers_touch(p, true);
        return RQ_OK;
}

static rq_err on_hello(void *owner, peer_link *link, const peer_hello *hello) {
        outbound *out = owner;
        peers *p = out->p;
        remote *r = out->remote;
        uint32_t more;
        (void) link;
        if (rq_uuid_equal(&hello->disk_uuid, &p->o.self.disk_uuid))
                return found_myself(out, hello);
        if (r->id == 0)
                return meet_seed(out, hello);
        if (!rq_uuid_equal(&hello->disk_uuid, &r->disk_uuid)) {
                r->problem = "another node, or one with an empty folder, answers at its address";
                if (rq_log_allowed(&p->limit_foreign, &more))
                        rq_log_event(LOG_WARNING, RQ_MSG_NODE_FOREIGN, "At %s node \"%s\" was expected, but a node \"%s\" with another disk uuid answers: it was replaced, or its "
                                       "data directory was lost (%u more)", r->address, r->node_id, hello->node_id, more);
                return RQ_ECONFIG;
        }
        if (!rq_uuid_equal(&hello->cluster_id, &p->o.self.cluster_id))
                return found_another_cluster(out, hello);
        peer_old_copy told; /* on the connection that it makes itself */
        switch (p->o.changes.on_start != NULL ? p->o.changes.on_start(p->o.changes.arg, hello, &told) : PEERS_START_GOOD) {
        case PEERS_START_OLD_COPY: r->problem = PEERS_OLD_COPY_TEXT; return RQ_ECONFIG;
        case PEERS_START_LATER: r->problem = PEERS_LATER_TEXT; return RQ_ECANCELED;
        case PEERS_START_GOOD: break;
        }
        come_up(out, hello);
        return RQ_OK;
}

/* Hardly anything is answered on the connection that the other side has made. */
static rq_err on_frame(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload) {
        outbound *out = owner;
        const peers_changes *changes = &out->p->o.changes;
        peer_join_reply reply;
        peer_ping ping;
        raft_index configuration;
        rq_err r = RQ_EPROTO;
        if (header->type == PEER_JOIN_REPLY && out->remote->asked) {
                out->remote->asked = false;
                r = peer_join_reply_decode(body, payload, &reply);
                if (r >= 0)
                        changes->on_join_reply(changes->arg, peer_link_hello(link), &reply, payload);
                peers_touch(out->p, false);
        } else if (header->type == PEER_PONG && out->remote->id != 0) {
                r = peer_ping_decode(body, &ping);
                if (r < 0 || ping.from != out->p->id || ping.to != out->remote->id)
                        return RQ_EPROTO;
                if (changes->on_pong != NULL)
                        changes->on_pong(changes->arg, out->remote->id, ping.number);
                peers_touch(out->p, false);
        } else if (header->type == PEER_REMOVED && changes->on_removed != NULL) {
                r = peer_removed_decode(body, &configuration);
                if (r < 0)
                        return r;
                out->remote->problem = "it says that this node is not a member any more";
                changes->on_removed(changes->arg, peer_link_hello(link), configuration);
                peers_touch(out->p, false);
                r = RQ_ECONFIG; /* again later, slowly: it may be taken in again */
        } else if (header->type == PEER_OLD_COPY && changes->on_old_copy != NULL && out->up) {
                peer_old_copy told;
                r = peer_old_copy_decode(body, &told);
                if (r < 0)
                        return r;
                out->remote->problem = "it says that this node's data folder is an older copy";
                changes->on_old_copy(changes->arg, peer_link_hello(link), &told);
                peers_touch(out->p, false);
                r = RQ_ECONFIG;
        }
        return r;
}

static void on_drained(void *owner, peer_link *link) {
        outbound *out = owner;
        (void) link;
        if (!out->up || !out->wants_room)
                return;
        out->wants_room = false;
        out->p->o.callbacks.on_room(out->p->o.callbacks.arg, out->remote->id);
        peers_touch(out->p, false);
}

/* Why it isn't up, in words that outlive the link. */
static void keep_problem(outbound *out, rq_err reason, bool was_up) {
        remote *r = out->remote;
        const char *problem = peer_link_problem(out->link);
        if (problem[0] != '\0') {
                (void) snprintf(r->problem_text, sizeof r->problem_text, "%s", problem);
                r->problem = r->problem_text;
        } else if (was_up && reason != RQ_ECONFIG) { /* which has said why */
                r->problem = reason == RQ_OK ? "it has closed the connection" : "the connection broke";
        }
}

/* A transition: where there is no TLS yet, the next attempt goes without. After each
 * connection that was up TLS is tried first again: the other side may have it by now. */
static bool change_over(outbound *out) {
        const bool was_plain = out->plain;
        out->plain = out->p->security.transition && peer_link_met_plain(out->link);
        return out->plain && !was_plain;
}

static void log_end(const outbound *out, rq_err reason) {
        peers *p = out->p;
        const char *problem = peer_link_problem(out->link);
        uint32_t more;
        char peer[MEMBERSHIP_ADDRESS_MAX + 32];
        const char *fields[] = { rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, out->remote->address),
                                 reason == RQ_ETLS ? RQ_MSG_CERTIFICATE_REFUSED : NULL, NULL };
        if (reason != RQ_OK && reason != RQ_EPIPE && reason != RQ_ECANCELED && reason != RQ_ECONFIG && rq_log_allowed(&p->limit_broken, &more))
                rq_log_write(LOG_WARNING, fields, "Closed the connection to %s: %s (%u more)", out->remote->address,
                             problem[0] != '\0' ? problem : rq_err_text(reason), more);
}

/* A process that was killed is noticed so: its machine closes the connection and
 * refuses the next one, all within a millisecond. */
static void dial_again(outbound *out, rq_err reason, bool was_up) {
        const uint64_t now_us = rq_clock_mono_us();
        if (out->remote->myself)
                return;
        if (was_up && reason != RQ_ECONFIG && (out->at_once_us == 0 || now_us - out->at_once_us >= AT_ONCE_INTERVAL_US)) {
                out->at_once_us = now_us;
                peer_dial_reset(out->dial);
                peer_dial_at_once(out->dial);
        } else {
                peer_dial_later(out->dial, reason == RQ_EPROTO || reason == RQ_ETLS || reason == RQ_EVERSION || reason == RQ_ECONFIG);
        }
}

static void on_end(void *owner, peer_link *link, rq_err reason) {
        outbound *out = owner;
        peers *p = out->p;
        const bool was_up = out->up;
        const bool goes_plain = change_over(out);
        peers_count_link(p, link);
        if (!goes_plain)
                log_end(out, reason);
        if (out->class != PEER_SNAPSHOT) /* the others tell */
                keep_problem(out, reason, was_up);
        out->link = NULL;
        out->up = false;
        if (was_up && out->class == PEER_SNAPSHOT) {
                p->o.snapshots.on_link(p->o.snapshots.arg, out->remote->id, false);
        } else if (was_up) {
                peers_update_up(p, out->remote);
                p->o.callbacks.on_down(p->o.callbacks.arg, out->remote->id, false);
        }
        if (goes_plain)
                peer_dial_at_once(out->dial);
        else
                dial_again(out, reason, was_up);
        peers_touch(p, out->remote->id == 0);
}

static void on_connected(void *owner, int fd) {
        static const peer_link_handlers handlers = { on_hello, on_frame, on_drained, on_end };
        outbound *out = owner;
        struct sockaddr_storage there;
        socklen_t there_size = sizeof there;
        if (getpeername(fd, (struct sockaddr *) &there, &there_size) == 0 && peer_place_of((struct sockaddr *) &there, &out->remote->place))
                out->remote->placed = true;
        peer_hello self = peers_hello_for(out->p, out->class);
        self.visitor = out->remote->id == 0;
        const size_t queue = out->class == PEER_BULK || out->class == PEER_SNAPSHOT ? PEERS_BULK_QUEUE_BYTES : PEERS_CONTROL_QUEUE_BYTES;
        const peer_transport_options transport = { .security = &out->p->security, .host = peer_dial_host(out->dial), .plain = out->plain };
        if (peer_link_new(out->p->o.loop, fd, &transport, &self, &handlers, out, queue, &out->link) < 0)
                peer_dial_later(out->dial, false);
}

static void on_dial_failed(void *owner, const char *problem, bool refused) {
        outbound *out = owner;
        remote *r = out->remote;
        if (out->class == PEER_SNAPSHOT)
                return; /* the others tell */
        r->problem = problem;
        if (!refused || r->id == 0 || r->refusal_told)
                return;
        r->refusal_told = true;
        out->p->o.callbacks.on_down(out->p->o.callbacks.arg, r->id, true);
        peers_touch(out->p, false);
}

rq_err peers_out_begin(peers *p, remote *r, peer_class class, outbound *out) {
        static const peer_dial_handlers handlers = { on_connected, on_dial_failed };
        *out = (outbound) { .p = p, .remote = r, .class = class };
        rq_err err = peer_dial_new(p->o.loop, p->resolver, r->address, &handlers, out, &out->dial);
        if (err >= 0)
                peer_dial_at_once(out->dial);
        return err;
}

void peers_out_end(outbound *out) {
        out->dial = peer_dial_free(out->dial);
        if (out->link != NULL)
                peers_count_link(out->p, out->link);
        out->link = peer_link_free(out->link);
        out->up = false;
}

void peers_out_nudge(remote *r) {
        const uint64_t now_us = rq_clock_mono_us();
        if (r->nudged_us != 0 && now_us - r->nudged_us < NUDGE_INTERVAL_US)
                return;
        r->nudged_us = now_us;
        for (size_t i = 0; i < PEER_CLASSES; i++)
                if (r->out[i].dial != NULL && r->out[i].link == NULL)
                        peer_dial_at_once(r->out[i].dial);
}
