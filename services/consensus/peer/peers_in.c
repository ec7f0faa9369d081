/* Connections that others make. */
#include "peer/peers_state.h"

#include <errno.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "log/log_fields.h"

enum { BACKLOG = 128, ACCEPT_AGAIN_US = 100000 };

static void set_remote(inbound *in, remote *r) {
        peers *p = in->p;
        rq_list_remove(&in->node);
        rq_list_append(r != NULL ? &p->members_in : &p->guests, &in->node);
        if (in->remote == NULL && r != NULL)
                p->guest_count--;
        in->remote = r;
}

static rq_err refuse_stranger(inbound *in, const peer_hello *hello) {
        peers *p = in->p;
        char theirs[RQ_UUID_TEXT_BYTES], ours[RQ_UUID_TEXT_BYTES];
        uint32_t more;
        if (rq_log_allowed(&p->limit_foreign, &more))
                rq_log_event(LOG_WARNING, RQ_MSG_NODE_FOREIGN, "Refused node \"%s\" from %s, which is not a member of this cluster: it belongs to cluster %s, this node to %s "
                               "(%u more)", hello->node_id, peer_link_address(in->link),
                               rq_uuid_is_zero(&hello->cluster_id) ? "none" : rq_uuid_text(&hello->cluster_id, theirs),
                               rq_uuid_text(&p->o.self.cluster_id, ours), more);
        return RQ_EACCES;
}

static void attach(inbound *in, remote *r, peer_class class) {
        const peer_hello *hello = peer_link_hello(in->link);
        inbound *older = r->in[class];
        peer_link_trust(in->link);
        r->place = in->from;
        r->placed = true;
        peers_learn_address(in->p, r, hello);
        r->feature_level = hello->feature_level;
        r->start = hello->start;
        if (older != NULL) {
                /* It has noticed what we haven't: the older one is dead. */
                older->remote->in[class] = NULL;
                peer_link_close(older->link, RQ_ECANCELED);
        }
        set_remote(in, r);
        r->in[class] = in;
        if (r->out[PEER_CONTROL].up)
                r->problem = "";
        peers_out_nudge(r);
        peers_update_up(in->p, r);
        peers_touch(in->p, false);
}

/* It is told why it isn't wanted, and closes; its place is free for others from now on. */
static rq_err dismiss_with(inbound *in, uint16_t type, rq_bytes body) {
        rq_err r = peer_link_send(in->link, type, body, NULL, 0);
        if (r >= 0)
                peer_link_dismiss(in->link);
        return r;
}

/* A member, if it is the one that this node knows. */
static rq_err let_in(inbound *in, remote *r, const peer_hello *hello) {
        const peers_changes *changes = &in->p->o.changes;
        uint8_t body[PEER_OLD_COPY_BYTES];
        peer_old_copy told;
        switch (changes->on_start != NULL ? changes->on_start(changes->arg, hello, &told) : PEERS_START_GOOD) {
        case PEERS_START_OLD_COPY:
                r->problem = PEERS_OLD_COPY_TEXT;
                peer_old_copy_encode(&told, body);
                return dismiss_with(in, PEER_OLD_COPY, rq_bytes_of(body, sizeof body));
        case PEERS_START_LATER:
                r->problem = PEERS_LATER_TEXT;
                return RQ_ECANCELED;
        case PEERS_START_GOOD:
                break;
        }
        attach(in, r, hello->class);
        return RQ_OK;
}

/* A visitor wants to join, or to know who is here. */
static rq_err receive_visitor(inbound *in, remote *r, const peer_hello *hello) {
        const peers_changes *changes = &in->p->o.changes;
        if (r != NULL) {
                if (changes->on_visit != NULL && rq_uuid_equal(&hello->cluster_id, &in->p->o.self.cluster_id))
                        changes->on_visit(changes->arg, hello);
                peers_learn_address(in->p, r, hello);
                peers_out_nudge(r); /* also so that it hears of our founding */
        }
        peers_touch(in->p, true);
        return RQ_OK;
}

/* One of our cluster that isn't a member as far as we know. */
static rq_err receive_stranger(inbound *in, const peer_hello *hello) {
        peers *p = in->p;
        uint8_t body[PEER_REMOVED_BYTES];
        remote *r;
        switch (p->o.changes.on_stranger != NULL ? p->o.changes.on_stranger(p->o.changes.arg, hello) : PEERS_STRANGER_REFUSE) {
        case PEERS_STRANGER_REMOVED:
                peer_removed_encode(p->o.changes.configuration(p->o.changes.arg), body);
                return dismiss_with(in, PEER_REMOVED, rq_bytes_of(body, sizeof body));
        case PEERS_STRANGER_ADMIT:
                r = peers_admit(p, hello);
                return r != NULL ? let_in(in, r, hello) : RQ_ECANCELED;
        case PEERS_STRANGER_REFUSE:
                break;
        }
        return RQ_ECANCELED; /* it asks again, when more is known */
}

static rq_err on_hello(void *owner, peer_link *link, const peer_hello *hello) {
        inbound *in = owner;
        peers *p = in->p;
        (void) link;
        if (rq_uuid_equal(&hello->disk_uuid, &p->o.self.disk_uuid))
                return RQ_ECANCELED; /* ourselves, or a copy: who has dialled tells */
        if (!peers_is_formed(p)) {
                peers_touch(p, true);
                return RQ_OK;
        }
        remote *r = peers_member_of_disk(p, &hello->disk_uuid);
        if (hello->visitor)
                return receive_visitor(in, r, hello);
        if (rq_uuid_equal(&hello->cluster_id, &p->o.self.cluster_id)) {
                return r != NULL ? let_in(in, r, hello) : receive_stranger(in, hello);
        }
        if (r != NULL) {
                peers_out_nudge(r); /* so that it hears of our founding */
                return RQ_OK;
        }
        /* Two founders at once: only as long as nothing has happened here. */
        if (!rq_uuid_is_zero(&hello->cluster_id) && p->o.callbacks.is_virgin(p->o.callbacks.arg))
                return RQ_OK;
        return refuse_stranger(in, hello);
}

/* --- frames ----------------------------------------------------------------- */

static bool is_believable(inbound *in, raft_term term) {
        const peers_changes *changes = &in->p->o.changes;
        if (changes->term_max == NULL || term <= changes->term_max(changes->arg))
                return true;
        in->problem = "it speaks of a term that no elections can have led to";
        return false;
}

static rq_err judged(rq_err r) { return r == RQ_ENOMEM || r == RQ_EFULL ? RQ_OK : r; }

static rq_err take_message(inbound *in, const peer_header *header, rq_bytes body, rq_bytes payload) {
        const peers_callbacks *callbacks = &in->p->o.callbacks;
        raft_message message;
        rq_err r = peer_raft_decode(header->type, body, &message);
        if (r < 0)
                return r;
        if (message.from != in->remote->id || message.to != in->p->id)
                return RQ_EPROTO;
        if (!is_believable(in, peer_raft_highest_term(&message)))
                return RQ_EPROTO;
        /* Nobody hands leadership over to who isn't a member: a live leader is protected from it. */
        if (in->remote->admitted && message.type == RAFT_MSG_VOTE)
                message.vote.transfer = false;
        return judged(callbacks->on_message(callbacks->arg, in->remote->id, &message, payload));
}

static rq_err take_forward(inbound *in, rq_bytes body, rq_bytes payload) {
        const peers_callbacks *callbacks = &in->p->o.callbacks;
        driver_forward forward;
        raft_id to;
        rq_err r = peer_forward_decode(body, &to, &forward);
        if (r < 0)
                return r;
        if (forward.to != in->remote->id || to != in->p->id)
                return RQ_EPROTO;
        forward.body = payload;
        return judged(callbacks->on_forward(callbacks->arg, &forward));
}

static rq_err take_refusal(inbound *in, rq_bytes body) {
        const peers_callbacks *callbacks = &in->p->o.callbacks;
        peer_refusal refusal;
        rq_err r = peer_refusal_decode(body, &refusal);
        if (r < 0)
                return r;
        if (refusal.from != in->remote->id || refusal.to != in->p->id)
                return RQ_EPROTO;
        callbacks->on_forward_refused(callbacks->arg, in->remote->id, refusal.term, refusal.seed, refusal.err);
        return RQ_OK;
}

static rq_err take_found(inbound *in, rq_bytes body, rq_bytes payload) {
        const peers_callbacks *callbacks = &in->p->o.callbacks;
        bool virgin;
        rq_err r = peer_found_decode(body, &virgin);
        if (r < 0 || in->remote != NULL)
                return r; /* a member of our cluster has nothing to tell */
        return callbacks->on_found(callbacks->arg, peer_link_hello(in->link), virgin, payload);
}

static rq_err take_join(inbound *in, rq_bytes body, rq_bytes credentials) {
        const peers_changes *changes = &in->p->o.changes;
        RQ_CLEANUP(rq_buf_done) rq_buf payload = {0};
        uint8_t encoded[PEER_JOIN_REPLY_BYTES];
        peer_join_reply reply = { .result = PEER_JOIN_REFUSED };
        peers_join join = { .credentials = credentials, .address = peer_link_address(in->link) };
        rq_err r = peer_join_decode(body, &join.stays);
        if (r < 0)
                return r;
        if (changes->on_join == NULL || in->remote != NULL)
                return RQ_EPROTO;
        changes->on_join(changes->arg, peer_link_hello(in->link), &join, &reply, &payload);
        peer_join_reply_encode(&reply, encoded);
        const rq_bytes piece = rq_buf_bytes(&payload);
        return peer_link_send(in->link, PEER_JOIN_REPLY, rq_bytes_of(encoded, sizeof encoded), &piece, 1);
}

static rq_err take_ping(inbound *in, rq_bytes body) {
        peer_ping ping;
        rq_err r = peer_ping_decode(body, &ping);
        if (r < 0)
                return r;
        if (ping.from != in->remote->id || ping.to != in->p->id)
                return RQ_EPROTO;
        return judged(peer_link_send(in->link, PEER_PONG, body, NULL, 0));
}

static rq_err take_remove(inbound *in, rq_bytes body, rq_bytes payload) {
        const peers_changes *changes = &in->p->o.changes;
        peer_remove remove;
        rq_err r = peer_remove_decode(body, payload, &remove);
        if (r < 0)
                return r;
        if (remove.from != in->remote->id || remove.to != in->p->id || changes->on_remove == NULL)
                return RQ_EPROTO;
        changes->on_remove(changes->arg, &remove, payload);
        return RQ_OK;
}

static rq_err take_remove_reply(inbound *in, rq_bytes body, rq_bytes payload) {
        const peers_changes *changes = &in->p->o.changes;
        peer_remove_reply reply;
        rq_err r = peer_remove_reply_decode(body, payload, &reply);
        if (r < 0)
                return r;
        if (reply.is.from != in->remote->id || reply.is.to != in->p->id || changes->on_remove_reply == NULL)
                return RQ_EPROTO;
        changes->on_remove_reply(changes->arg, &reply, payload);
        return RQ_OK;
}

static rq_err take_snapshot_frame(inbound *in, const peer_header *header, rq_bytes body, rq_bytes payload) {
        const peers_snapshots *to = &in->p->o.snapshots;
        const raft_id from = in->remote->id, self = in->p->id;
        peer_snapshot_offer offer;
        peer_snapshot_chunk chunk;
        rq_err r;
        if (header->type == PEER_SNAPSHOT_OFFER) {
                r = peer_snapshot_offer_decode(body, payload, &offer);
                if (r < 0 || offer.from != from || offer.to != self || !is_believable(in, offer.term) || !is_believable(in, offer.index_term))
                        return RQ_EPROTO;
                return to->on_offer(to->arg, &offer, payload);
        }
        r = peer_snapshot_chunk_decode(body, payload, &chunk);
        if (r < 0 || chunk.from != from || chunk.to != self)
                return RQ_EPROTO;
        to->on_chunk(to->arg, &chunk, payload);
        return RQ_OK;
}

static rq_err take_snapshot_word(inbound *in, const peer_header *header, rq_bytes body) {
        const peers_snapshots *to = &in->p->o.snapshots;
        const raft_id from = in->remote->id, self = in->p->id;
        peer_snapshot_reply reply;
        peer_snapshot_wanted wanted;
        rq_err r;
        if (header->type == PEER_SNAPSHOT_REPLY) {
                r = peer_snapshot_reply_decode(body, &reply);
                if (r < 0 || reply.from != from || reply.to != self)
                        return RQ_EPROTO;
                to->on_reply(to->arg, &reply);
                return RQ_OK;
        }
        r = peer_snapshot_wanted_decode(body, &wanted);
        if (r < 0 || wanted.from != from || wanted.to != self)
                return RQ_EPROTO;
        to->on_wanted(to->arg, &wanted);
        return RQ_OK;
}

static rq_err take_snapshot(inbound *in, const peer_header *header, rq_bytes body, rq_bytes payload) {
        const bool words = header->type == PEER_SNAPSHOT_REPLY || header->type == PEER_SNAPSHOT_WANTED;
        if (in->p->o.snapshots.on_offer == NULL)
                return RQ_EPROTO;
        return words ? take_snapshot_word(in, header, body) : take_snapshot_frame(in, header, body, payload);
}

/* Who isn't a member as far as this node knows may be a leader that it doesn't know yet: what such a one
 * has to say, and nothing by which one that was removed could make others do something. */
static bool may_be_unlisted(uint16_t type) {
        switch (type) {
        case PEER_RAFT_FIRST + RAFT_MSG_VOTE:
        case PEER_RAFT_FIRST + RAFT_MSG_VOTE_REPLY:
        case PEER_RAFT_FIRST + RAFT_MSG_APPEND:
        case PEER_RAFT_FIRST + RAFT_MSG_APPEND_REPLY:
        case PEER_RAFT_FIRST + RAFT_MSG_HEARTBEAT:
        case PEER_RAFT_FIRST + RAFT_MSG_HEARTBEAT_REPLY:
        case PEER_RAFT_FIRST + RAFT_MSG_READ_REPLY: /* it was asked */
        case PEER_FORWARD_REFUSED:                  /* likewise */
        case PEER_PROFILE:
        case PEER_OUTCOMES:
        case PEER_SNAPSHOT_OFFER:
        case PEER_SNAPSHOT_CHUNK: return true;
        default: return false;
        }
}

static rq_err take_outcomes(inbound *in, const peer_header *header, rq_bytes body, rq_bytes payload) {
        const peers_outcomes *to = &in->p->o.outcomes;
        const raft_id from = in->remote->id, self = in->p->id;
        peer_profile profile;
        peer_outcomes outcomes;
        peer_refuted refuted;
        rq_err r;
        if (to->on_outcomes == NULL)
                return RQ_EPROTO;
        if (header->type == PEER_PROFILE) {
                r = peer_profile_decode(body, payload, &profile);
                if (r < 0 || profile.from != from || profile.to != self)
                        return RQ_EPROTO;
                to->on_profile(to->arg, &profile);
        } else if (header->type == PEER_OUTCOMES) {
                r = peer_outcomes_decode(body, payload, &outcomes);
                if (r < 0 || outcomes.from != from || outcomes.to != self)
                        return RQ_EPROTO;
                to->on_outcomes(to->arg, &outcomes);
        } else {
                r = peer_refuted_decode(body, &refuted);
                if (r < 0 || refuted.from != from || refuted.to != self)
                        return RQ_EPROTO;
                to->on_refuted(to->arg, &refuted);
        }
        return RQ_OK;
}

static rq_err on_frame(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload) {
        inbound *in = owner;
        peers *p = in->p;
        (void) link;
        p->stats.frames_in++;
        p->stats.bytes_in += PEER_HEADER_BYTES + body.size + payload.size;
        peers_touch(p, false);
        if (header->type == PEER_FOUND)
                return take_found(in, body, payload);
        if (header->type == PEER_JOIN)
                return take_join(in, body, payload);
        if (in->remote == NULL)
                return RQ_EPROTO;
        if (header->type == PEER_PING)
                return take_ping(in, body);
        if (in->remote->admitted && !may_be_unlisted(header->type)) {
                in->problem = "it isn't a member as far as this node knows, and may only vote and lead";
                return RQ_EPROTO;
        }
        if (header->type == PEER_REMOVE)
                return take_remove(in, body, payload);
        if (header->type == PEER_REMOVE_REPLY)
                return take_remove_reply(in, body, payload);
        if (header->type == PEER_FORWARD)
                return take_forward(in, body, payload);
        if (header->type == PEER_FORWARD_REFUSED)
                return take_refusal(in, body);
        if (header->type >= PEER_SNAPSHOT_OFFER && header->type <= PEER_SNAPSHOT_WANTED)
                return take_snapshot(in, header, body, payload);
        if (header->type >= PEER_PROFILE && header->type <= PEER_REFUTED)
                return take_outcomes(in, header, body, payload);
        return take_message(in, header, body, payload);
}

/* --- life ------------------------------------------------------------------- */

static void on_drained(void *owner, peer_link *link) {
        (void) owner;
        (void) link;
}

static void log_end(const inbound *in, rq_err reason) {
        peers *p = in->p;
        const peer_hello *hello = peer_link_hello(in->link);
        uint32_t more;
        char peer[512];
        const char *fields[] = { rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, peer_link_address(in->link)),
                                 reason == RQ_ETLS ? RQ_MSG_CERTIFICATE_REFUSED : NULL, NULL };
        if (hello == NULL && reason != RQ_ECANCELED) {
                const char *problem = peer_link_problem(in->link);
                p->stats.refused_count++;
                if (problem[0] != '\0') {
                        if (rq_log_allowed(&p->limit_tls, &more))
                                rq_log_write(LOG_WARNING, fields, "Refused the connection from %s: %s (%u more)", peer_link_address(in->link), problem, more);
                        return;
                }
                if (rq_log_allowed(&p->limit_garbage, &more))
                        rq_log_write(LOG_WARNING, fields, "Closed a connection from %s that is no node's, or one of another version: %s (%u more)",
                                     peer_link_address(in->link), reason == RQ_OK || reason == RQ_EPIPE ? "it said nothing" : rq_err_text(reason), more);
                return;
        }
        if (reason == RQ_OK || reason == RQ_EPIPE || reason == RQ_ECANCELED || reason == RQ_EACCES) {
                p->stats.refused_count += reason == RQ_EACCES;
                return;
        }
        const char *problem = in->problem != NULL ? in->problem : peer_link_problem(in->link);
        if (rq_log_allowed(&p->limit_broken, &more))
                rq_log_write(LOG_WARNING, fields, "Closed a connection of node \"%s\" from %s: %s (%u more)", hello->node_id,
                             peer_link_address(in->link), problem[0] != '\0' ? problem : rq_err_text(reason), more);
}

/* Takes it out of all lists. */
static void forget(inbound *in) {
        remote *r = in->remote;
        rq_list_remove(&in->node);
        if (r == NULL)
                in->p->guest_count--;
        else
                for (size_t i = 0; i < PEER_CLASSES; i++)
                        if (r->in[i] == in)
                                r->in[i] = NULL;
}

static void on_end(void *owner, peer_link *link, rq_err reason) {
        inbound *in = owner;
        peers *p = in->p;
        remote *r = in->remote;
        peers_count_link(p, link);
        log_end(in, reason);
        forget(in);
        if (r != NULL) {
                if (r->problem[0] == '\0')
                        r->problem = reason == RQ_OK ? "it has closed the connection" : "the connection broke";
                peers_update_up(p, r);
        }
        peers_touch(p, r == NULL);
        free(in);
}

static bool is_known_place(const peers *p, const peer_place *place) {
        for (size_t i = 0; i < p->member_count; i++)
                if (p->members[i]->placed && peer_place_equal(&p->members[i]->place, place))
                        return true;
        for (size_t i = 0; i < p->seed_count; i++)
                if (p->seeds[i]->placed && peer_place_equal(&p->seeds[i]->place, place))
                        return true;
        return false;
}

static peer_guest describe(const inbound *in) {
        const peer_hello *hello = peer_link_hello(in->link);
        return (peer_guest) {
                .from = in->from, .known = in->known, .waits = hello != NULL && !hello->visitor,
                .done = peer_link_is_closing(in->link) || peer_link_is_dismissed(in->link),
        };
}

static void evict(inbound *in) {
        peers *p = in->p;
        uint32_t more;
        p->stats.refused_count++;
        if (!peer_link_is_closing(in->link) && !peer_link_is_dismissed(in->link) && rq_log_allowed(&p->limit_crowd, &more))
                rq_log_warning("Too many connections that are no member's (yet): that from %s gives its place to another one (%u more)",
                               peer_link_address(in->link), more);
        peers_count_link(p, in->link);
        forget(in);
        in->link = peer_link_free(in->link);
        free(in);
        peers_touch(p, true);
}

/* False: this one gets no place. */
static bool make_room(peers *p, const inbound *newcomer) {
        peer_guest guests[PEER_PLACES_MAX];
        inbound *which[PEER_PLACES_MAX];
        size_t count = 0;
        for (rq_list *node = p->guests.next; node != &p->guests && count < PEER_PLACES_MAX; node = node->next) {
                which[count] = RQ_LIST_ENTRY(node, inbound, node);
                guests[count] = describe(which[count]);
                count++;
        }
        const peer_guest one = { .from = newcomer->from, .known = newcomer->known };
        const int place = peer_places_choose(guests, count, &one);
        if (place >= 0)
                evict(which[place]);
        return place != PEER_PLACES_NONE;
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *from, int size, void *arg) {
        static const peer_link_handlers handlers = { on_hello, on_frame, on_drained, on_end };
        peers *p = arg;
        (void) listener;
        (void) size;
        inbound *in = calloc(1, sizeof *in);
        if (in != NULL) {
                in->p = p;
                in->known = peer_place_of(from, &in->from) && is_known_place(p, &in->from);
        }
        if (in == NULL || !make_room(p, in)) {
                p->stats.refused_count++;
                free(in);
                (void) close(fd);
                return;
        }
        peer_socket_prepare(fd, true);
        const peer_hello self = peers_hello_for(p, PEER_CONTROL);
        const peer_transport_options transport = { .security = &p->security, .known = in->known };
        if (peer_link_new(p->o.loop, fd, &transport, &self, &handlers, in, PEERS_CONTROL_QUEUE_BYTES, &in->link) < 0) {
                free(in);
                return;
        }
        rq_list_append(&p->guests, &in->node);
        p->guest_count++;
}

static void on_accept_again(void *arg) {
        peers *p = arg;
        for (size_t i = 0; i < p->listener_count; i++)
                (void) evconnlistener_enable(p->listeners[i]);
}

/* It stays in the kernel's queue, and the socket readable: asked again at once, it would cost all the time there is. */
static void on_accept_error(struct evconnlistener *listener, void *arg) {
        peers *p = arg;
        const int error = errno;
        uint32_t more;
        (void) evconnlistener_disable(listener);
        rq_timer_set(&p->accept_again, ACCEPT_AGAIN_US);
        if (rq_log_allowed(&p->limit_accept, &more))
                rq_log_warning("Cannot accept a connection of a node for now: %s (%" PRIu32 " more)", rq_err_text(rq_err_from_errno(error)), more);
}

/* RQ_EAGAIN: this kind of address isn't there on this machine. */
static rq_err listen_on(peers *p, const struct addrinfo *address) {
        const int on = 1;
        RQ_CLEANUP(rq_closep) int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return errno == EAFNOSUPPORT ? RQ_EAGAIN : rq_err_from_errno(errno);
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (address->ai_family == AF_INET6)
                (void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        if (bind(fd, address->ai_addr, address->ai_addrlen) != 0)
                return errno == EADDRNOTAVAIL ? RQ_EAGAIN : rq_err_from_errno(errno);
        struct evconnlistener *listener =
                evconnlistener_new(rq_loop_base(p->o.loop), on_accept, p, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
        if (listener == NULL)
                return errno == EADDRINUSE ? RQ_EADDRINUSE : RQ_ENOMEM;
        (void) RQ_TAKE(fd, -1);
        evconnlistener_set_error_cb(listener, on_accept_error);
        p->listeners[p->listener_count++] = listener;
        return RQ_OK;
}

rq_err peers_in_listen(peers *p) {
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
        struct addrinfo *list = NULL;
        if (rq_address_split(p->listen_addr, host, port) < 0)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "The Raft address %s is not host:port", p->listen_addr);
        int error = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &list);
        if (error == EAI_AGAIN) /* names may come later than we do when a machine boots: then another start helps */
                return rq_log_error(RQ_EAGAIN, "Cannot resolve the Raft address %s (%s)", p->listen_addr, gai_strerror(error));
        if (error != 0)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "Cannot resolve the Raft address %s (%s)", p->listen_addr, gai_strerror(error));
        rq_err r = p->accept_again.event != NULL ? RQ_OK : rq_timer_init(&p->accept_again, p->o.loop, on_accept_again, p);
        for (const struct addrinfo *a = list; a != NULL && r >= 0 && p->listener_count < PEERS_LISTENERS_MAX; a = a->ai_next) {
                r = listen_on(p, a);
                if (r == RQ_EAGAIN)
                        r = RQ_OK;
        }
        freeaddrinfo(list);
        if (r >= 0 && p->listener_count == 0)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "The Raft address %s is none of this machine (see -raft-addr, and -raft-adv-addr for what others see)",
                                    p->listen_addr);
        return r < 0 ? rq_log_error_event(r, RQ_MSG_CANNOT_LISTEN, "Cannot listen on the Raft address %s", p->listen_addr) : RQ_OK;
}

static void end_all(rq_list *list, const remote *of) {
        for (rq_list *node = list->next, *next; node != list; node = next) {
                inbound *in = RQ_LIST_ENTRY(node, inbound, node);
                next = node->next;
                if (of != NULL && in->remote != of)
                        continue;
                forget(in);
                peers_count_link(in->p, in->link);
                (void) peer_link_free(in->link);
                free(in);
        }
}

void peers_in_forget(peers *p, remote *r) { end_all(&p->members_in, r); }

void peers_in_end(peers *p) {
        for (size_t i = 0; i < p->listener_count; i++)
                evconnlistener_free(p->listeners[i]);
        p->listener_count = 0;
        end_all(&p->guests, NULL);
        end_all(&p->members_in, NULL);
}
