/* What the leader knows of a member's log, and what it sends next. Probe: one
 * append at a time until it is known where the logs meet. Stream: appends follow
 * each other within a window, next is ahead of match. Snapshot: what the member
 * needs was dropped from the log. Always next > match. Source: etcd's progress;
 * thesis 10.2.1 for pipelining, 5.3 (end) for the fast back-up. */
#include <assert.h>

#include "raft/raft_state.h"

static void forget_flights(raft_peer *p) {
        p->flight_first = p->flight_count = 0;
        p->flight_bytes = 0;
        p->probe_sent = false;
        p->probe_last = 0;
        p->probe_bytes = 0;
}

static void add_flight(raft *r, raft_peer *p, raft_index last, uint64_t bytes) {
        assert(p->flight_count < r->o.window_messages);
        p->next = last + 1;
        uint32_t place = (p->flight_first + p->flight_count) % r->o.window_messages;
        p->flights[place] = (raft_flight) { .last = last, .bytes = bytes };
        p->flight_count++;
        p->flight_bytes += bytes;
}

/* It has everything before the probe: that is where the logs meet, and what came
 * with the probe is on its way to the disk there. */
static void stream(raft *r, raft_peer *p) {
        raft_index last = p->probe_last;
        uint64_t bytes = p->probe_bytes;
        forget_flights(p);
        p->state = RAFT_STREAM;
        p->progress_us = r->now_us;
        p->next = p->match + 1;
        if (last > p->match)
                add_flight(r, p, last, bytes);
}

static void probe_from(raft *r, raft_peer *p, raft_index next) {
        forget_flights(p);
        p->state = RAFT_PROBE;
        p->next = raft_max(next, p->match + 1);
        p->commit_sent = 0;
        raft_progress_check_base(r, p);
}

/* A new leader, or a new member. */
void raft_progress_begin(raft *r, raft_peer *p) {
        p->match = 0;
        p->commit_wanted = p->commit_sent = 0;
        p->since_us = r->now_us;
        p->contact_us = 0;
        p->round_confirmed = p->round_sent_us = 0;
        p->read_ticket = p->read_round = 0;
        probe_from(r, p, r->trail.last + 1);
}

void raft_progress_check_base(raft *r, raft_peer *p) {
        if (p->state == RAFT_SNAPSHOT || p->next > r->trail.base_index)
                return;
        forget_flights(p);
        p->state = RAFT_SNAPSHOT;
}

void raft_progress_link_lost(raft *r, raft_peer *p) {
        if (p->state == RAFT_STREAM)
                probe_from(r, p, p->match + 1);
        else
                forget_flights(p);
}

void raft_progress_snapshot_done(raft *r, raft_peer *p, raft_index index) {
        if (p->state == RAFT_SNAPSHOT && index >= r->trail.base_index && index <= r->trail.last)
                probe_from(r, p, index + 1);
}

void raft_progress_acknowledged(raft *r, raft_peer *p, raft_index index) {
        if (index > p->match) {
                p->match = index;
                p->progress_us = r->now_us;
        }
        while (p->flight_count > 0 && p->flights[p->flight_first].last <= p->match) {
                p->flight_bytes -= p->flights[p->flight_first].bytes;
                p->flight_first = (p->flight_first + 1) % r->o.window_messages;
                p->flight_count--;
        }
        if (p->state == RAFT_SNAPSHOT && p->match >= r->trail.base_index)
                probe_from(r, p, p->match + 1);
        if (p->state == RAFT_PROBE && index + 1 >= p->next)
                stream(r, p);
        p->next = raft_max(p->next, p->match + 1);
}

/* A rejection may be old, doubled, or of an append that has been overtaken: it is
 * believed only above match, and of a probe only if it answers the last one. */
void raft_progress_rejected(raft *r, raft_peer *p, const raft_message *m) {
        raft_index index = m->append_reply.index;
        if (index <= p->match || index >= p->next)
                return;
        if (p->state == RAFT_STREAM) {
                probe_from(r, p, p->match + 1); /* one of the stream was lost */
                return;
        }
        if (p->state != RAFT_PROBE || !p->probe_sent || index + 1 != p->next)
                return;
        raft_index hint = raft_min(m->append_reply.hint_index, index - 1);
        probe_from(r, p, raft_trail_fit(&r->trail, hint, m->append_reply.hint_term) + 1);
}

void raft_progress_heard(raft *r, raft_peer *p, raft_index index) {
        if (index > 0)
                raft_progress_acknowledged(r, p, index);
        /* It answers, and has less than was sent, and nothing has moved for a while:
         * something was lost. What isn't is merely sent twice. */
        if (p->state == RAFT_STREAM && p->next > p->match + 1 && r->now_us - p->progress_us >= r->o.election_us / 2)
                probe_from(r, p, p->match + 1);
}

static bool probe_is_due(const raft *r, const raft_peer *p) {
        return !p->probe_sent || r->now_us >= p->progress_us + 2 * r->o.heartbeat_us;
}

static bool commit_is_due(const raft *r, const raft_peer *p) {
        /* What it doesn't have yet comes with a commit index of its own; to tell it before would change nothing. */
        return p->state == RAFT_STREAM && p->commit_sent < p->commit_wanted && r->commit >= p->commit_wanted
            && p->next > p->commit_wanted;
}

static bool has_window(const raft *r, const raft_peer *p) {
        return p->flight_count < r->o.window_messages && (p->flight_count == 0 || p->flight_bytes < r->o.window_bytes);
}

bool raft_next_append(const raft *r, raft_id to, raft_message *ret_message, uint32_t *ret_count_max,
                      uint64_t *ret_bytes_max) {
        const raft_peer *p = raft_peer_of((raft *) (uintptr_t) r, to);
        if (r->role != RAFT_LEADER || p == NULL || p->state == RAFT_SNAPSHOT)
                return false;

        uint64_t waiting = r->trail.last + 1 - p->next, bytes_max = r->o.append_bytes;
        if (p->state == RAFT_PROBE) {
                if (!probe_is_due(r, p))
                        return false;
        } else {
                bool room = has_window(r, p);
                if (!room)
                        waiting = 0;
                if (waiting == 0 && !commit_is_due(r, p))
                        return false;
                if (p->flight_count > 0 && room && bytes_max > r->o.window_bytes - p->flight_bytes)
                        bytes_max = r->o.window_bytes - p->flight_bytes;
        }
        *ret_message = (raft_message) {
                .type = RAFT_MSG_APPEND, .from = r->o.id, .to = to, .term = r->term,
                .append = {
                        .previous_index = p->next - 1, .previous_term = raft_trail_term_at(&r->trail, p->next - 1),
                        .commit = r->commit,
                },
        };
        *ret_count_max = waiting > UINT32_MAX ? UINT32_MAX : (uint32_t) waiting;
        *ret_bytes_max = bytes_max;
        return true;
}

void raft_append_sent(raft *r, raft_id to, uint32_t count, uint64_t bytes, uint64_t now_us) {
        raft_peer *p = raft_peer_of(r, to);
        if (r->role != RAFT_LEADER || p == NULL || p->state == RAFT_SNAPSHOT)
                return;
        assert(p->next + count <= r->trail.last + 1);
        p->commit_sent = raft_min(r->commit, p->next - 1 + count);
        if (p->state == RAFT_PROBE) {
                p->probe_sent = true;
                p->probe_last = count == 0 ? 0 : p->next - 1 + count;
                p->probe_bytes = bytes;
                p->progress_us = now_us;
                return;
        }
        if (count == 0)
                return;
        if (p->flight_count == 0)
                p->progress_us = now_us;
        add_flight(r, p, p->next - 1 + count, bytes);
}

bool raft_progress_of(const raft *r, raft_id id, raft_progress_view *ret_view) {
        const raft_peer *p = raft_peer_of((raft *) (uintptr_t) r, id);
        if (r->role != RAFT_LEADER || p == NULL)
                return false;
        *ret_view = (raft_progress_view) {
                .state = p->state, .match = p->match, .next = p->next, .contact_us = p->contact_us,
                .in_flight_messages = p->state == RAFT_PROBE ? (p->probe_sent ? 1 : 0) : p->flight_count,
                .in_flight_bytes = p->state == RAFT_PROBE ? p->probe_bytes : p->flight_bytes,
        };
        return true;
}
