#include "members.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "dispatch.h"
#include "feature_level.h"
#include "folder.h"
#include "founding.h"
#include "log/log_fields.h"
#include "probes.h"
#include "removals.h"
#include "snapshot_in.h"
#include "snapshot_out.h"
#include "steering.h"

enum { PIECES_MAX = 64 };

static const raft_term TERM_LEAP_MAX = (raft_term) 1 << 32, /* a thousand elections a second, for seven weeks */
                       TERM_MAX = (raft_term) 1 << 62;

const member *members_find(const consensus *c, raft_id id) {
        const membership *m = driver_membership(c->driver, NULL);
        return m != NULL ? membership_find(m, id) : NULL;
}

/* Also in memory alone, if the disk is full: this run remembers it then. */
static void store_starts(consensus *c) {
        uint32_t more;
        rq_err r = starts_file_store(c->o.io, c->o.dir_fd, &c->starts.file);
        if (r < 0 && rq_log_allowed(&c->limit_store, &more))
                (void) rq_log_error(r, "Cannot write down what a member said of itself in %s/" STARTS_NAME, c->o.dir_path);
}

/* False: nothing new. */
static bool note_level(consensus *c, const rq_uuid *disk_uuid, uint32_t level) {
        const starts_seen *seen = starts_find(&c->starts.file, disk_uuid);
        if (level == 0 || level == (seen != NULL ? seen->level : 0))
                return false;
        starts_note_level(&c->starts.file, disk_uuid, level, driver_membership(c->driver, NULL));
        return true;
}

/* Who was listened to before it was known as a member: what it said of itself counts now. */
static bool note_said(consensus *c, const membership *m, const member *one) {
        peers_view view;
        if (!peers_view_of(c->peers, membership_raft_id(&one->disk_uuid), &view))
                return false;
        const bool is_new = starts_judge(&c->starts.file, &one->disk_uuid, &view.start) == STARTS_NEW;
        if (is_new)
                starts_note(&c->starts.file, &one->disk_uuid, &(start_mark) { view.start.number, view.start.nonce }, m);
        return note_level(c, &one->disk_uuid, view.feature_level) || is_new;
}

void members_update(consensus *c) {
        const membership *m = driver_membership(c->driver, NULL);
        bool noted = false;
        if (m != NULL && peers_set_members(c->peers, m) < 0)
                rq_log_error(RQ_ENOMEM, "Cannot connect to all members");
        for (uint32_t i = 0; m != NULL && i < m->count; i++)
                noted |= note_said(c, m, &m->members[i]);
        if (noted)
                store_starts(c);
        feature_level_update(c);
}

/* --- in --------------------------------------------------------------------- */

/* A leader counts this node in. */
static void return_to_members(consensus *c, raft_id leader) {
        const member *m = members_find(c, leader);
        rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "This node is a member of the cluster again, says node \"%s\"", m != NULL ? m->node_id : "?");
        c->removed = false;
        c->state_dirty = true;
}

static rq_err on_message(void *arg, raft_id from, const raft_message *message, rq_bytes records) {
        consensus *c = arg;
        if (c->unformed || c->storage_failed)
                return RQ_OK; /* as if it was lost */
        if (c->removed && (message->type == RAFT_MSG_APPEND || message->type == RAFT_MSG_HEARTBEAT))
                return_to_members(c, from);
        starts_take_promise(&c->starts, message, driver_membership(c->driver, NULL));
        return driver_receive(c->driver, message, records, rq_clock_mono_us());
}

static rq_err on_forward(void *arg, const driver_forward *forward) {
        consensus *c = arg;
        /* Stopping: the next leader takes it. */
        rq_err r = c->unformed || c->stopping ? RQ_ENOTLEADER : RQ_OK;
        if (r >= 0)
                r = feature_level_admit(c, forward->kind, forward->body);
        if (r >= 0)
                r = dispatch_admit(c, forward->body.size);
        if (r >= 0)
                r = driver_forwarded(c->driver, forward);
        if (r >= 0)
                c->proposals_forwarded_in++;
        else
                (void) peers_send_forward_refused(c->peers, forward->to, forward->term, forward->seed, r);
        return RQ_OK;
}

static void on_forward_refused(void *arg, raft_id from, raft_term term, uint64_t seed, rq_err err) {
        consensus *c = arg;
        if (!c->unformed)
                driver_forward_refused(c->driver, from, term, seed, err);
}

static void on_down(void *arg, raft_id id, bool refused) {
        consensus *c = arg;
        if (c->unformed)
                return;
        driver_peer_down(c->driver, id, refused);
        probes_on_down(c, id);
        consensus_wake(c);
}

static void on_room(void *arg, raft_id id) {
        (void) id;
        consensus_wake(arg);
}

static void on_turn_end(void *arg) { consensus_wake(arg); }

static void on_hello(void *arg) {
        consensus *c = arg;
        if (c->forming != NULL)
                forming_look(c->forming);
        c->state_dirty = true; /* a member's API address may be known now */
        consensus_wake(c);
}

static bool is_virgin(void *arg) {
        consensus *c = arg;
        const raft *r = driver_raft(c->driver);
        return !c->unformed && !c->joined && founding_values_are_virgin(raft_term_of(r), raft_vote_of(r), raft_trail_of(r)->last);
}

static rq_err on_found(void *arg, const peer_hello *from, bool virgin, rq_bytes record) {
        consensus *c = arg;
        if (c->forming != NULL)
                return forming_found(c->forming, from, virgin, record);
        if (c->unformed)
                return RQ_ECANCELED; /* it joins a cluster, and its leader knows it */
        switch (founding_judge(&c->identity, is_virgin(c), record, virgin)) {
        case FOUNDING_ADOPT:
                return folder_adopt_later(c, record);
        case FOUNDING_SAME:
                return RQ_OK;
        case FOUNDING_KEEP:
                return RQ_EBUSY; /* it connects again, and is told ours */
        case FOUNDING_FOREIGN:
        case FOUNDING_INVALID:
                break;
        }
        return RQ_EPROTO;
}

peers_callbacks members_callbacks(consensus *c) {
        return (peers_callbacks) {
                .on_message = on_message, .on_forward = on_forward, .on_forward_refused = on_forward_refused,
                .on_down = on_down, .on_room = on_room, .on_turn_end = on_turn_end, .on_hello = on_hello,
                .on_found = on_found, .is_virgin = is_virgin, .arg = c,
        };
}

/* --- who comes from outside --------------------------------------------------- */

static void on_join(void *arg, const peer_hello *from, const peers_join *join, peer_join_reply *ret_reply, rq_buf *ret_payload) {
        steering_join(arg, from, join, ret_reply, ret_payload);
}

static void on_join_reply(void *arg, const peer_hello *from, const peer_join_reply *reply, rq_bytes payload) {
        consensus *c = arg;
        if (c->joining != NULL)
                joining_reply(c->joining, from, reply, payload);
}

static void on_remove(void *arg, const peer_remove *remove, rq_bytes node_id) { removals_asked(arg, remove, node_id); }

static void on_remove_reply(void *arg, const peer_remove_reply *reply, rq_bytes text) { removals_replied(arg, reply, text); }

static peers_stranger on_stranger(void *arg, const peer_hello *from) { return steering_stranger(arg, from); }

/* Believed as long as no leader says otherwise: this node does nothing then that it would have to take back. */
static void on_removed(void *arg, const peer_hello *from, raft_index configuration) {
        consensus *c = arg;
        if (c->unformed || raft_role_of(driver_raft(c->driver)) == RAFT_LEADER || configuration < steering_configuration_index(c))
                return;
        if (!c->removed) {
                rq_log_event(LOG_WARNING, RQ_MSG_REMOVED, "This node \"%s\" was removed from the cluster, says node \"%s\" at %s (entry %" PRIu64 " of the log): it takes no part in it "
                               "any more. To bring it back, start it again with -join", c->identity.node_id, from->node_id, from->raft_addr, configuration);
                c->removed = c->state_dirty = true;
        }
        /* Who was removed while it ran stays out; who is started wants to be in. */
        if (c->joining != NULL && !c->was_led)
                joining_ask(c->joining);
        consensus_wake(c);
}

static void on_pong(void *arg, raft_id from, uint64_t number) { probes_on_pong(arg, from, number); }

static void on_visit(void *arg, const peer_hello *from) { steering_visit(arg, from); }

/* --- old copies of folders ---------------------------------------------------- */

/* It stays in memory, where it says no more than what this run has heard of it: whoever knows this cluster's id can come
 * with one disk uuid after the other, and is to cost neither fsyncs nor places in the file. */
static peers_start judge_stranger(const consensus *c, const peer_hello *from, start_mark *ret_known) {
        const raft_id id = membership_raft_id(&from->disk_uuid);
        peers_view view;
        if (peers_view_of(c->peers, id, &view) && view.start.number > ret_known->number)
                *ret_known = (start_mark) { view.start.number, view.start.nonce };
        const starts_verdict verdict = starts_compare(ret_known, &from->start);
        if (verdict == STARTS_OLD_COPY)
                return PEERS_START_OLD_COPY;
        if (verdict == STARTS_SAME || ret_known->number == 0 || starts_keeps_promise(&c->starts, id, &from->start))
                return PEERS_START_GOOD;
        *ret_known = starts_never;
        return PEERS_START_OLD_COPY;
}

/* What is new of a member is on disk before its connection counts. */
static peers_start judge_member(consensus *c, const peer_hello *from, start_mark *ret_known) {
        const raft_id id = membership_raft_id(&from->disk_uuid);
        const starts_seen *seen = starts_find(&c->starts.file, &from->disk_uuid);
        const starts_verdict verdict = starts_compare(ret_known, &from->start);
        const bool levels = from->feature_level != 0 && (seen == NULL || seen->level != from->feature_level);
        bool keeps = true;
        uint32_t more;
        if (verdict == STARTS_OLD_COPY)
                return PEERS_START_OLD_COPY;
        if (verdict == STARTS_SAME && !levels)
                return PEERS_START_GOOD;
        if (!starts_may_note(&c->starts, id, rq_clock_mono_us())) {
                if (rq_log_allowed(&c->limit_starts, &more))
                        rq_log_warning("Node \"%s\" at %s comes with a new start more often than once a second: it has to wait (%u more)", from->node_id, from->raft_addr, more);
                return PEERS_START_LATER;
        }
        if (verdict == STARTS_NEW) {
                keeps = starts_keeps_promise(&c->starts, id, &from->start);
                *ret_known = keeps ? (start_mark) { from->start.number, from->start.nonce } : starts_never;
                starts_note(&c->starts.file, &from->disk_uuid, ret_known, driver_membership(c->driver, NULL));
        }
        if (keeps && note_level(c, &from->disk_uuid, from->feature_level))
                feature_level_update(c);
        store_starts(c);
        return keeps ? PEERS_START_GOOD : PEERS_START_OLD_COPY;
}

static peers_start on_start(void *arg, const peer_hello *from, peer_old_copy *ret_told) {
        consensus *c = arg;
        const raft_id id = membership_raft_id(&from->disk_uuid);
        const starts_seen *seen = starts_find(&c->starts.file, &from->disk_uuid);
        start_mark known = seen != NULL ? seen->mark : (start_mark) {0};
        uint32_t more;
        const peers_start verdict = members_find(c, id) != NULL ? judge_member(c, from, &known) : judge_stranger(c, from, &known);
        if (verdict != PEERS_START_OLD_COPY)
                return verdict;
        const raft_id leader = raft_leader_of(driver_raft(c->driver));
        *ret_told = (peer_old_copy) { .number = known.number, .nonce = known.nonce, .led = leader != 0 && leader != id };
        if (rq_log_allowed(&c->limit_starts, &more))
                rq_log_event(LOG_WARNING, RQ_MSG_NOT_VOTING, "Node \"%s\" at %s comes with an older copy of its data folder, and may have forgotten what it promised: it isn't let in "
                             "before it joins again as a new node, which it does by itself once there is a leader (%u more)", from->node_id, from->raft_addr, more);
        return PEERS_START_OLD_COPY;
}

/* Where to ask to be taken in, for a node without -join: all that it knows of. */
static void list_members(const consensus *c, const peer_hello *first, char *out, size_t size) {
        const membership *m = driver_membership(c->driver, NULL);
        size_t at = (size_t) snprintf(out, size, "%s", first->raft_addr);
        for (uint32_t i = 0; m != NULL && i < m->count && at < size; i++)
                if (membership_raft_id(&m->members[i].disk_uuid) != c->raft_id && strcmp(m->members[i].raft_addr, first->raft_addr) != 0 &&
                    at + strlen(m->members[i].raft_addr) + 2 < size)
                        at += (size_t) snprintf(out + at, size - at, "%s%s", at > 0 ? "," : "", m->members[i].raft_addr);
}

/* From now on this folder's node doesn't vote. Once there is a leader, its files are set aside and it comes
 * back as a new node; until then they stay where they are, for an operator who has nothing better. */
static void on_old_copy(void *arg, const peer_hello *from, const peer_old_copy *told) {
        consensus *c = arg;
        starts_file *file = &c->starts.file;
        const start_mark known = { told->number, told->nonce };
        const bool was_old_copy = file->is_old_copy;
        if (c->unformed || c->storage_failed || c->stopping || c->starts.self.number == 0 || starts_is_ours(file, &known) ||
            (file->is_old_copy && (file->set_aside || !told->led)))
                return;
        file->is_old_copy = true;
        file->set_aside = told->led;
        list_members(c, from, file->join, sizeof file->join);
        rq_err r = starts_file_store(c->o.io, c->o.dir_fd, file);
        if (r < 0) {
                (void) rq_log_error(r, "Cannot write %s/" STARTS_NAME, c->o.dir_path);
                file->is_old_copy = was_old_copy; /* told again */
                file->set_aside = false;
                return;
        }
        rq_log_event(LOG_ERR, RQ_MSG_NOT_VOTING, "%s is an older copy of this node's data folder, says node \"%s\" at %s: what was promised since is forgotten, so this node doesn't "
                     "vote. %s", c->o.dir_path, from->node_id, from->raft_addr,
                     told->led ? "It starts anew and joins again as a new node" : "Once there is a leader, it joins again as a new node");
        consensus_start_anew(c);
}

static raft_index configuration_index(void *arg) { return steering_configuration_index(arg); }

/* Who holds nothing yet may join a cluster of any age. */
static raft_term term_max(void *arg) {
        const consensus *c = arg;
        const raft *r = driver_raft(c->driver);
        return raft_trail_of(r)->last == 0 ? TERM_MAX : raft_term_of(r) + TERM_LEAP_MAX;
}

peers_changes members_changes(consensus *c) {
        return (peers_changes) {
                .on_join = on_join, .on_join_reply = on_join_reply, .on_remove = on_remove, .on_remove_reply = on_remove_reply,
                .on_stranger = on_stranger, .on_removed = on_removed, .configuration = configuration_index,
                .on_start = on_start, .on_old_copy = on_old_copy, .term_max = term_max, .on_pong = on_pong, .on_visit = on_visit, .arg = c,
        };
}

void members_look(consensus *c) {
        if (c->unformed)
                return;
        c->was_led = c->was_led || raft_leader_of(driver_raft(c->driver)) != 0;
        if (c->joining != NULL && c->was_led && steering_is_complete(c))
                c->joining = joining_free(c->joining);
}

/* --- snapshots -------------------------------------------------------------- */

/* Of who isn't a member as far as this node knows: only if it follows it. */
static rq_err on_offer(void *arg, const peer_snapshot_offer *offer, rq_bytes payload) {
        const consensus *c = arg;
        if (members_find(c, offer->from) == NULL && raft_leader_of(driver_raft(c->driver)) != offer->from)
                return RQ_OK; /* as if it was lost */
        return snapshot_receipt_on_offer(((consensus *) arg)->receipt, offer, payload);
}

static void on_chunk(void *arg, const peer_snapshot_chunk *chunk, rq_bytes data) {
        snapshot_receipt_on_chunk(((consensus *) arg)->receipt, chunk, data);
}

static void on_reply(void *arg, const peer_snapshot_reply *reply) { snapshot_sends_on_reply(((consensus *) arg)->sends, reply); }
static void on_wanted(void *arg, const peer_snapshot_wanted *wanted) { snapshot_sends_on_wanted(((consensus *) arg)->sends, wanted); }
static void on_link(void *arg, raft_id id, bool up) { snapshot_sends_on_link(((consensus *) arg)->sends, id, up); }

peers_snapshots members_snapshots(consensus *c) {
        return (peers_snapshots) {
                .on_offer = on_offer, .on_chunk = on_chunk, .on_reply = on_reply, .on_wanted = on_wanted, .on_link = on_link, .arg = c,
        };
}

/* --- out -------------------------------------------------------------------- */

static rq_err send_from_memory(consensus *c, driver_append *append) {
        rq_bytes pieces[PIECES_MAX];
        size_t piece_count = 0, bytes = 0;
        raft_index next = append->first;
        while (next <= append->last && piece_count < PIECES_MAX && bytes < append->bytes_max) {
                raft_index last;
                rq_bytes piece = driver_entry_piece(c->driver, next, append->last, append->bytes_max - bytes, &last);
                if (piece_count > 0 && bytes + piece.size > append->bytes_max)
                        break;
                pieces[piece_count++] = piece;
                bytes += piece.size;
                next = last + 1;
        }
        uint32_t count = (uint32_t) (next - append->first);
        append->message.append.count = count;
        rq_err r = peers_send_append(c->peers, &append->message, pieces, piece_count);
        if (r >= 0)
                driver_append_sent(c->driver, append->message.to, count, bytes, rq_clock_mono_us());
        return r;
}

static rq_err send_from_disk(consensus *c, driver_append *append) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        uint32_t count;
        c->records.size = 0;
        rq_err r = log_catalog_read(&c->catalog, append->first, append->last, append->bytes_max, &c->records, &count, &problem);
        if (r < 0) {
                uint32_t suppressed;
                if (rq_log_allowed(&c->limit_store, &suppressed))
                        (void) rq_log_error_event(r, RQ_MSG_LOG_CORRUPT, "Cannot read entry %" PRIu64 " of the log for a member: %.*s", append->first,
                                            (int) problem.size, problem.size > 0 ? (const char *) problem.data : "");
                return r;
        }
        rq_bytes piece = rq_buf_bytes(&c->records);
        append->message.append.count = count;
        r = peers_send_append(c->peers, &append->message, &piece, 1);
        if (r >= 0)
                driver_append_sent(c->driver, append->message.to, count, piece.size, rq_clock_mono_us());
        if (c->records.capacity > 4 * DRIVER_APPEND_BYTES_MAX)
                rq_buf_done(&c->records);
        return r;
}

static void send_appends(consensus *c, raft_id to) {
        driver_append append;
        size_t room;
        while ((room = peers_bulk_room(c->peers, to)) > 0 && driver_next_append(c->driver, to, &append)) {
                if (append.bytes_max > room)
                        append.bytes_max = room;
                rq_err r;
                if (append.last < append.first) {
                        append.message.append.count = 0;
                        r = peers_send_append(c->peers, &append.message, NULL, 0);
                        if (r >= 0)
                                driver_append_sent(c->driver, to, 0, 0, rq_clock_mono_us());
                } else {
                        r = append.in_memory ? send_from_memory(c, &append) : send_from_disk(c, &append);
                }
                if (r < 0)
                        return; /* again when there is room, or it is back */
        }
}

void members_send(consensus *c) {
        raft_message message;
        driver_forward forward;
        if (c->unformed)
                return;
        /* What can't be queued is lost, as on any wire: the core asks again. */
        while (driver_next_message(c->driver, &message))
                (void) peers_send(c->peers, &message);
        while (driver_next_forward(c->driver, &forward)) {
                if (peers_send_forward(c->peers, &forward) < 0)
                        break;
                driver_forward_sent(c->driver, &forward);
        }
        const membership *m = driver_membership(c->driver, NULL);
        if (raft_role_of(driver_raft(c->driver)) == RAFT_LEADER && m != NULL)
                for (uint32_t i = 0; i < m->count; i++) {
                        raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                        if (id != c->raft_id)
                                send_appends(c, id);
                }
}
