#include "peer/peers_state.h"

#include <event2/listener.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "log/log_fields.h"

/* What a handler of the connection itself could not end. */
static void end_unwanted(peers *p) {
        for (size_t i = 0; i < p->member_count; i++)
                if (p->members[i]->out[PEER_SNAPSHOT].ends)
                        peers_out_end(&p->members[i]->out[PEER_SNAPSHOT]);
}

static void on_turn(void *arg) {
        peers *p = arg;
        end_unwanted(p);
        const peers_callbacks *callbacks = &p->o.callbacks;
        if (RQ_TAKE(p->hellos_changed, false) && callbacks->on_hello != NULL)
                callbacks->on_hello(callbacks->arg);
        callbacks->on_turn_end(callbacks->arg);
}

void peers_touch(peers *p, bool hellos) {
        p->hellos_changed |= hellos;
        rq_task_post(&p->turn);
}

bool peers_is_formed(const peers *p) { return !rq_uuid_is_zero(&p->o.self.cluster_id); }

peer_hello peers_hello_for(const peers *p, peer_class class) {
        peer_hello hello = p->o.self;
        hello.class = class;
        if (p->o.changes.configuration != NULL && peers_is_formed(p))
                hello.configuration = p->o.changes.configuration(p->o.changes.arg);
        hello.virgin = peers_is_formed(p) && p->o.callbacks.is_virgin(p->o.callbacks.arg);
        hello.protocol_minor = PEER_PROTOCOL_MINOR;
        hello.feature_level = PEER_FEATURE_LEVEL;
        return hello;
}

remote *peers_member(const peers *p, raft_id id) {
        for (size_t i = 0; i < p->member_count; i++)
                if (p->members[i]->id == id)
                        return p->members[i];
        return NULL;
}

remote *peers_member_of_disk(const peers *p, const rq_uuid *disk_uuid) {
        for (size_t i = 0; i < p->member_count; i++)
                if (rq_uuid_equal(&p->members[i]->disk_uuid, disk_uuid))
                        return p->members[i];
        return NULL;
}

void peers_update_up(peers *p, remote *r) {
        const bool up = r->out[PEER_CONTROL].up && r->in[PEER_CONTROL] != NULL;
        char peer[MEMBERSHIP_ADDRESS_MAX + 32];
        (void) p;
        if (up == r->up)
                return;
        r->up = up;
        r->since_us = rq_clock_mono_us();
        const char *fields[] = { up ? RQ_MSG_MEMBER_BACK : RQ_MSG_MEMBER_LOST, rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, r->address), NULL };
        if (up)
                rq_log_write(LOG_INFO, fields, "Connected with node \"%s\" at %s", r->node_id, r->address);
        else
                rq_log_write(LOG_WARNING, fields, "Lost node \"%s\" at %s%s%s", r->node_id, r->address, r->problem[0] != '\0' ? ": " : "", r->problem);
}

void peers_count_link(peers *p, const peer_link *link) { p->stats.skipped_count += peer_link_skipped_count(link); }

/* --- life ------------------------------------------------------------------- */

rq_err peers_new(const peers_options *options, peers **ret_peers) {
        peers *p = calloc(1, sizeof *p);
        if (p == NULL)
                return RQ_ENOMEM;
        p->o = *options;
        p->security = (peer_security) { .tls = options->tls, .transition = options->tls_transition };
        rq_list_init(&p->guests);
        rq_list_init(&p->members_in);
        p->id = membership_raft_id(&p->o.self.disk_uuid);
        p->limit_garbage = p->limit_tls = p->limit_foreign = p->limit_broken = p->limit_copy = p->limit_crowd = p->limit_accept = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        p->listen_addr = strdup(options->listen_addr);
        rq_err r = p->listen_addr == NULL ? RQ_ENOMEM : rq_task_init(&p->turn, p->o.loop, on_turn, p);
        if (r >= 0)
                r = peer_resolver_new(p->o.loop, &p->resolver);
        if (r < 0) {
                (void) peers_free(p);
                return r;
        }
        *ret_peers = p;
        return RQ_OK;
}

static remote *remote_free(peers *p, remote *r) {
        for (size_t i = 0; i < PEER_CLASSES; i++)
                peers_out_end(&r->out[i]);
        peers_in_forget(p, r);
        free(r);
        return NULL;
}

peers *peers_free(peers *p) {
        if (p == NULL)
                return NULL;
        peers_in_end(p);
        for (size_t i = 0; i < p->seed_count; i++)
                (void) remote_free(p, p->seeds[i]);
        for (size_t i = 0; i < p->member_count; i++)
                (void) remote_free(p, p->members[i]);
        p->resolver = peer_resolver_free(p->resolver);
        rq_task_done(&p->turn);
        rq_timer_done(&p->accept_again);
        rq_buf_done(&p->record);
        free(p->listen_addr);
        free(p);
        return NULL;
}

rq_err peers_listen(peers *p) { return peers_in_listen(p); }

uint16_t peers_port(const peers *p) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        if (p->listener_count == 0 || getsockname(evconnlistener_get_fd(p->listeners[0]), (struct sockaddr *) &address, &size) != 0)
                return 0;
        return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &address)->sin6_port : ((struct sockaddr_in *) &address)->sin_port);
}

static void close_everything(peers *p) {
        remote **all[] = { p->seeds, p->members };
        const size_t counts[] = { p->seed_count, p->member_count };
        for (size_t list = 0; list < 2; list++)
                for (size_t i = 0; i < counts[list]; i++)
                        for (size_t class = 0; class < PEER_CLASSES; class++)
                                peer_link_close(all[list][i]->out[class].link, RQ_ECANCELED);
        rq_list *in_lists[] = { &p->guests, &p->members_in };
        for (size_t list = 0; list < 2; list++)
                for (rq_list *node = in_lists[list]->next; node != in_lists[list]; node = node->next)
                        peer_link_close(RQ_LIST_ENTRY(node, inbound, node)->link, RQ_ECANCELED);
}

rq_err peers_set_cluster(peers *p, const rq_uuid *cluster_id, rq_bytes record) {
        rq_buf copy = {0};
        rq_err r = rq_buf_append_bytes(&copy, record);
        if (r < 0)
                return r;
        rq_buf_done(&p->record);
        p->record = copy;
        if (rq_uuid_equal(&p->o.self.cluster_id, cluster_id))
                return RQ_OK;
        p->o.self.cluster_id = *cluster_id;
        close_everything(p);
        return RQ_OK;
}

/* --- who they are ----------------------------------------------------------- */

static remote *remote_new(peers *p, const char *address, const member *of) {
        remote *r = calloc(1, sizeof *r);
        if (r == NULL)
                return NULL;
        r->problem = "";
        r->refusal_told = true; /* nothing is lost that never was */
        if (of != NULL) {
                r->id = membership_raft_id(&of->disk_uuid);
                r->disk_uuid = of->disk_uuid;
                memcpy(r->node_id, of->node_id, sizeof r->node_id);
        }
        memcpy(r->address, address, strlen(address) + 1);
        memcpy(r->listed, address, strlen(address) + 1);
        r->placed = peer_place_parse(address, &r->place);
        rq_err err = peers_out_begin(p, r, PEER_CONTROL, &r->out[PEER_CONTROL]);
        if (err >= 0 && of != NULL)
                err = peers_out_begin(p, r, PEER_BULK, &r->out[PEER_BULK]);
        if (err == RQ_EINVAL) {
                /* Configured before addresses were checked as now: it may still come to us. */
                (void) rq_log_error(err, "The address \"%s\" is not host:port", address);
                r->problem = "its address is not host:port";
                return r;
        }
        return err < 0 ? remote_free(p, r) : r;
}

rq_err peers_set_seeds(peers *p, const char *const *addresses, size_t count) {
        if (count > PEERS_SEEDS_MAX)
                return RQ_ETOOBIG;
        for (size_t i = 0; i < p->seed_count; i++)
                (void) remote_free(p, p->seeds[i]);
        p->seed_count = 0;
        for (size_t i = 0; i < count; i++) {
                remote *r = strlen(addresses[i]) > MEMBERSHIP_ADDRESS_MAX ? NULL : remote_new(p, addresses[i], NULL);
                if (r == NULL)
                        return RQ_ENOMEM;
                p->seeds[p->seed_count++] = r;
        }
        return RQ_OK;
}

rq_err peers_add_seed(peers *p, const char *address) {
        for (size_t i = 0; i < p->seed_count; i++)
                if (strcmp(p->seeds[i]->address, address) == 0)
                        return RQ_EEXIST;
        if (p->seed_count == PEERS_SEEDS_MAX || strlen(address) > MEMBERSHIP_ADDRESS_MAX)
                return RQ_ETOOBIG;
        remote *r = remote_new(p, address, NULL);
        if (r == NULL)
                return RQ_ENOMEM;
        p->seeds[p->seed_count++] = r;
        return RQ_OK;
}

/* Also one that was moved by its node's own word, which the membership has followed, or not yet. */
static remote *find_unchanged(const peers *p, const member *m) {
        remote *r = peers_member(p, membership_raft_id(&m->disk_uuid));
        const bool stays = r != NULL && strcmp(r->node_id, m->node_id) == 0 &&
                           (strcmp(r->listed, m->raft_addr) == 0 || strcmp(r->address, m->raft_addr) == 0);
        return stays ? r : NULL;
}

void peers_learn_address(peers *p, remote *r, const peer_hello *hello) {
        char peer[MEMBERSHIP_ADDRESS_MAX + 32];
        memcpy(r->said, hello->raft_addr, sizeof r->said);
        r->protocol_minor = hello->protocol_minor;
        if (r->said[0] == '\0' || strcmp(r->said, r->address) == 0 || r->out[PEER_CONTROL].up || r->out[PEER_BULK].up)
                return;
        const char *fields[] = { rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, r->said), NULL };
        rq_log_write(LOG_NOTICE, fields, "Node \"%s\" has moved from %s to %s", r->node_id, r->address, r->said);
        for (size_t i = 0; i < PEER_CLASSES; i++)
                peers_out_end(&r->out[i]);
        memcpy(r->address, r->said, sizeof r->address);
        r->placed = peer_place_parse(r->address, &r->place);
        for (size_t i = 0; i < PEER_SNAPSHOT; i++)
                if (peers_out_begin(p, r, (peer_class) i, &r->out[i]) < 0)
                        r->problem = "its address is not host:port";
}

remote *peers_admit(peers *p, const peer_hello *hello) {
        member m = { .disk_uuid = hello->disk_uuid };
        if (p->member_count == sizeof p->members / sizeof p->members[0] || hello->raft_addr[0] == '\0')
                return NULL;
        memcpy(m.node_id, hello->node_id, sizeof m.node_id);
        memcpy(m.raft_addr, hello->raft_addr, sizeof m.raft_addr);
        remote *r = remote_new(p, m.raft_addr, &m);
        if (r == NULL)
                return NULL;
        r->admitted = true;
        p->members[p->member_count++] = r;
        rq_log_info("Node \"%s\" at %s knows of members that this node doesn't know yet: listening to it", r->node_id, r->address);
        return r;
}

static bool contains(remote *const *list, size_t count, const remote *r) {
        for (size_t i = 0; i < count; i++)
                if (list[i] == r)
                        return true;
        return false;
}

rq_err peers_set_members(peers *p, const membership *members) {
        remote *list[MEMBERSHIP_COUNT_MAX];
        size_t count = 0;
        for (uint32_t i = 0; i < members->count; i++) {
                const member *m = &members->members[i];
                if (rq_uuid_equal(&m->disk_uuid, &p->o.self.disk_uuid))
                        continue;
                remote *r = find_unchanged(p, m);
                if (r == NULL)
                        r = remote_new(p, m->raft_addr, m);
                if (r != NULL) {
                        r->admitted = false;
                        memcpy(r->listed, m->raft_addr, sizeof r->listed);
                } else {
                        for (size_t k = 0; k < count; k++)
                                if (!contains(p->members, p->member_count, list[k]))
                                        (void) remote_free(p, list[k]);
                        return RQ_ENOMEM;
                }
                list[count++] = r;
        }
        for (size_t i = 0; i < p->member_count; i++)
                if (!contains(list, count, p->members[i]))
                        (void) remote_free(p, p->members[i]);
        memcpy(p->members, list, count * sizeof list[0]);
        p->member_count = count;
        return RQ_OK;
}

const peer_hello *peers_next_hello(const peers *p, size_t *cursor) {
        for (; *cursor < p->seed_count + p->guest_count; ) {
                const size_t at = (*cursor)++;
                const peer_link *link = NULL;
                if (at < p->seed_count) {
                        link = p->seeds[at]->out[PEER_CONTROL].link;
                } else {
                        const rq_list *node = p->guests.next;
                        for (size_t i = p->seed_count; i < at; i++)
                                node = node->next;
                        link = RQ_LIST_ENTRY(node, inbound, node)->link;
                }
                const peer_hello *hello = link != NULL && !peer_link_is_closing(link) ? peer_link_hello(link) : NULL;
                if (hello != NULL && !rq_uuid_equal(&hello->disk_uuid, &p->o.self.disk_uuid))
                        return hello;
        }
        return NULL;
}

/* --- sending ---------------------------------------------------------------- */

static rq_err send_frame(peers *p, raft_id to, peer_class class, uint16_t type, rq_bytes body, const rq_bytes *pieces, size_t piece_count) {
        remote *r = peers_member(p, to);
        rq_err err = RQ_EPIPE;
        if (r != NULL && r->out[class].up)
                err = peer_link_send(r->out[class].link, type, body, pieces, piece_count);
        if (err < 0) {
                p->stats.dropped_count++;
                return err;
        }
        p->stats.frames_out++;
        p->stats.bytes_out += PEER_HEADER_BYTES + body.size;
        for (size_t i = 0; i < piece_count; i++)
                p->stats.bytes_out += pieces[i].size;
        return RQ_OK;
}

rq_err peers_send(peers *p, const raft_message *message) {
        uint8_t body[PEER_RAFT_BYTES_MAX];
        const size_t size = peer_raft_encode(message, body);
        return send_frame(p, message->to, PEER_CONTROL, peer_raft_type(message->type), rq_bytes_of(body, size), NULL, 0);
}

rq_err peers_send_append(peers *p, const raft_message *message, const rq_bytes *pieces, size_t piece_count) {
        uint8_t body[PEER_RAFT_BYTES_MAX];
        rq_assert(message->type == RAFT_MSG_APPEND);
        const size_t size = peer_raft_encode(message, body);
        return send_frame(p, message->to, PEER_BULK, peer_raft_type(message->type), rq_bytes_of(body, size), pieces, piece_count);
}

rq_err peers_send_forward(peers *p, const driver_forward *forward) {
        uint8_t body[PEER_FORWARD_BYTES];
        peer_forward_encode(p->id, forward, body);
        return send_frame(p, forward->to, PEER_BULK, PEER_FORWARD, rq_bytes_of(body, sizeof body), &forward->body, 1);
}

rq_err peers_send_forward_refused(peers *p, raft_id to, raft_term term, uint64_t seed, rq_err err) {
        uint8_t body[PEER_REFUSED_BYTES];
        peer_refusal_encode(&(peer_refusal) { .from = p->id, .to = to, .term = term, .seed = seed, .err = err }, body);
        return send_frame(p, to, PEER_CONTROL, PEER_FORWARD_REFUSED, rq_bytes_of(body, sizeof body), NULL, 0);
}

rq_err peers_send_remove(peers *p, raft_id to, uint64_t number, const char *node_id) {
        uint8_t body[PEER_REMOVE_BYTES];
        const rq_bytes text = rq_bytes_text(node_id);
        peer_remove_encode(&(peer_remove) { .from = p->id, .to = to, .number = number }, body);
        return send_frame(p, to, PEER_CONTROL, PEER_REMOVE, rq_bytes_of(body, sizeof body), &text, 1);
}

rq_err peers_send_remove_reply(peers *p, const peer_remove *remove, peer_remove_result result, const char *text) {
        uint8_t body[PEER_REMOVE_REPLY_BYTES];
        const rq_bytes words = rq_bytes_of(text, strnlen(text, PEER_TEXT_MAX));
        const peer_remove_reply reply = { .is = { .from = p->id, .to = remove->from, .number = remove->number }, .result = result };
        peer_remove_reply_encode(&reply, body);
        return send_frame(p, remove->from, PEER_CONTROL, PEER_REMOVE_REPLY, rq_bytes_of(body, sizeof body), &words, 1);
}

enum { MINOR_JOIN = 2, MINOR_JOIN_CREDENTIALS = 3, MINOR_PING = 3 };

rq_err peers_send_ping(peers *p, raft_id to, uint64_t number) {
        uint8_t body[PEER_PING_BYTES];
        const remote *r = peers_member(p, to);
        if (r != NULL && r->out[PEER_CONTROL].up && r->protocol_minor < MINOR_PING)
                return RQ_EVERSION;
        peer_ping_encode(&(peer_ping) { .from = p->id, .to = to, .number = number }, body);
        return send_frame(p, to, PEER_CONTROL, PEER_PING, rq_bytes_of(body, sizeof body), NULL, 0);
}

void peers_send_join(peers *p, bool stays, rq_bytes credentials) {
        uint8_t body[PEER_JOIN_BYTES];
        peer_join_encode(stays, body);
        for (size_t i = 0; i < p->seed_count; i++) {
                remote *r = p->seeds[i];
                peer_link *link = r->out[PEER_CONTROL].link;
                const peer_hello *hello = link != NULL && !peer_link_is_closing(link) ? peer_link_hello(link) : NULL;
                if (hello == NULL || r->asked || rq_uuid_is_zero(&hello->cluster_id) || hello->protocol_minor < MINOR_JOIN)
                        continue;
                const bool shown = credentials.size > 0 && hello->protocol_minor >= MINOR_JOIN_CREDENTIALS;
                r->asked = peer_link_send(link, PEER_JOIN, rq_bytes_of(body, sizeof body), &credentials, shown ? 1 : 0) >= 0;
        }
}

/* --- snapshots -------------------------------------------------------------- */

rq_err peers_snapshot_connect(peers *p, raft_id to) {
        remote *r = peers_member(p, to);
        if (r == NULL)
                return RQ_ENOENT;
        outbound *out = &r->out[PEER_SNAPSHOT];
        if (out->dial != NULL)
                peers_out_end(out); /* of one before */
        return peers_out_begin(p, r, PEER_SNAPSHOT, out);
}

void peers_snapshot_disconnect(peers *p, raft_id to) {
        remote *r = peers_member(p, to);
        if (r == NULL || r->out[PEER_SNAPSHOT].dial == NULL)
                return;
        r->out[PEER_SNAPSHOT].ends = true;
        peers_touch(p, false);
}

rq_err peers_send_snapshot_offer(peers *p, const peer_snapshot_offer *offer, const rq_bytes pieces[static 2]) {
        uint8_t body[PEER_SNAPSHOT_OFFER_BYTES];
        peer_snapshot_offer_encode(offer, body);
        return send_frame(p, offer->to, PEER_SNAPSHOT, PEER_SNAPSHOT_OFFER, rq_bytes_of(body, sizeof body), pieces, 2);
}

rq_err peers_send_snapshot_chunk(peers *p, const peer_snapshot_chunk *chunk, rq_bytes data) {
        uint8_t body[PEER_SNAPSHOT_CHUNK_BYTES];
        peer_snapshot_chunk_encode(chunk, body);
        return send_frame(p, chunk->to, PEER_SNAPSHOT, PEER_SNAPSHOT_CHUNK, rq_bytes_of(body, sizeof body), &data, 1);
}

rq_err peers_send_snapshot_reply(peers *p, const peer_snapshot_reply *reply) {
        uint8_t body[PEER_SNAPSHOT_REPLY_BYTES];
        peer_snapshot_reply_encode(reply, body);
        return send_frame(p, reply->to, PEER_CONTROL, PEER_SNAPSHOT_REPLY, rq_bytes_of(body, sizeof body), NULL, 0);
}

rq_err peers_send_snapshot_wanted(peers *p, const peer_snapshot_wanted *wanted) {
        uint8_t body[PEER_SNAPSHOT_WANTED_BYTES];
        peer_snapshot_wanted_encode(wanted, body);
        return send_frame(p, wanted->to, PEER_CONTROL, PEER_SNAPSHOT_WANTED, rq_bytes_of(body, sizeof body), NULL, 0);
}

/* --- outcomes --------------------------------------------------------------- */

rq_err peers_send_profile(peers *p, const peer_profile *profile) {
        uint8_t body[PEER_PROFILE_BYTES];
        const rq_bytes version = rq_bytes_text(profile->sqlite_version);
        peer_profile_encode(profile, body);
        return send_frame(p, profile->to, PEER_CONTROL, PEER_PROFILE, rq_bytes_of(body, sizeof body), &version, 1);
}

rq_err peers_send_outcomes(peers *p, const peer_outcomes *outcomes) {
        uint8_t body[PEER_OUTCOMES_BYTES], marks[PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES];
        const rq_bytes payload = rq_bytes_of(marks, peer_outcomes_encode(outcomes, body, marks));
        return send_frame(p, outcomes->to, PEER_CONTROL, PEER_OUTCOMES, rq_bytes_of(body, sizeof body), &payload, 1);
}

rq_err peers_send_refuted(peers *p, const peer_refuted *refuted) {
        uint8_t body[PEER_REFUTED_BYTES];
        peer_refuted_encode(refuted, body);
        return send_frame(p, refuted->to, PEER_CONTROL, PEER_REFUTED, rq_bytes_of(body, sizeof body), NULL, 0);
}

size_t peers_bulk_room(peers *p, raft_id to) {
        remote *r = peers_member(p, to);
        if (r == NULL || !r->out[PEER_BULK].up || peer_link_is_closing(r->out[PEER_BULK].link))
                return 0; /* on_room comes when it is up */
        const size_t queued = peer_link_queued_bytes(r->out[PEER_BULK].link);
        const size_t room = queued < PEERS_BULK_WINDOW_BYTES ? PEERS_BULK_WINDOW_BYTES - queued : 0;
        if (room < PEERS_BULK_WINDOW_BYTES / 2)
                r->out[PEER_BULK].wants_room = true;
        return room;
}

/* --- looking at it ---------------------------------------------------------- */

bool peers_is_up(const peers *p, raft_id to) {
        const remote *r = peers_member(p, to);
        return r != NULL && r->out[PEER_CONTROL].up;
}

static const char *problem_of(const remote *r) {
        if (r->up)
                return "";
        if (r->problem[0] == '\0' && r->out[PEER_CONTROL].up)
                return "this node reaches it, but it does not reach this node";
        return r->problem;
}

bool peers_view_of(const peers *p, raft_id id, peers_view *ret_view) {
        const remote *r = peers_member(p, id);
        if (r == NULL)
                return false;
        *ret_view = (peers_view) {
                .id = r->id, .node_id = r->node_id, .raft_addr = r->address, .api_addr = r->api_addr, .up = r->up,
                .said_addr = r->said, .protocol_minor = r->protocol_minor, .feature_level = r->feature_level,
                .start = r->start,
                .since_us = r->since_us, .problem = problem_of(r),
        };
        for (size_t i = 0; i < PEER_CLASSES; i++)
                if (r->out[i].link != NULL)
                        ret_view->queued_bytes += peer_link_queued_bytes(r->out[i].link);
        ret_view->tls = r->out[PEER_CONTROL].link != NULL && peer_link_is_tls(r->out[PEER_CONTROL].link);
        return true;
}

uint32_t peers_rtt_us(const peers *p, raft_id id) {
        const remote *r = peers_member(p, id);
        return r != NULL && r->up ? peer_link_rtt_us(r->out[PEER_CONTROL].link) : 0;
}

void peers_get_stats(const peers *p, peers_stats *ret_stats) { *ret_stats = p->stats; }
