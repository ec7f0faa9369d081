#include "steering.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "admission.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "core/member_change.h"
#include "log/log_fields.h"
#include "members.h"

enum { LOOK_INTERVAL_US = 20000, ROUNDS_WARN = 10 };

/* --- what is known ---------------------------------------------------------- */

raft_index steering_configuration_index(const consensus *c) {
        raft_index index = 0;
        (void) driver_membership(c->driver, &index);
        return index > c->members_known ? index : c->members_known;
}

static bool is_leader(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        return c->forming == NULL && !c->unformed && raft_role_of(r) == RAFT_LEADER && !raft_transfer_is_under_way(r);
}

/* Decided and over: the only state in which something else may be proposed. */
static const membership *settled(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        raft_index index;
        const membership *now = driver_membership(c->driver, &index);
        return now != NULL && !now->joint && index <= raft_commit_of(r) && raft_commit_is_current(r) ? now : NULL;
}

static bool is_alive(const consensus *c, const member *m, uint64_t now_us) {
        const raft_id id = membership_raft_id(&m->disk_uuid);
        raft_progress_view progress;
        peers_view view;
        if (id == c->raft_id)
                return true;
        return peers_view_of(c->peers, id, &view) && view.up && raft_progress_of(driver_raft(c->driver), id, &progress) &&
               progress.contact_us != 0 && now_us - progress.contact_us < c->o.config.election_us;
}

static void look_around(const consensus *c, const membership *now, bool alive[static MEMBERSHIP_COUNT_MAX]) {
        const uint64_t now_us = rq_clock_mono_us();
        for (uint32_t i = 0; i < now->count; i++)
                alive[i] = is_alive(c, &now->members[i], now_us);
}

bool steering_is_complete(const consensus *c) {
        const membership *now = driver_membership(c->driver, NULL);
        peers_view view;
        if (now == NULL || c->removed)
                return false;
        for (uint32_t i = 0; i < now->count; i++) {
                const raft_id id = membership_raft_id(&now->members[i].disk_uuid);
                if (id != c->raft_id && !(peers_view_of(c->peers, id, &view) && view.up))
                        return false;
        }
        return true;
}

/* It needs nobody else then: what it doesn't know of the members yet, its leader tells it. */
static bool has_a_leader(const consensus *c) {
        const raft *r = driver_raft(c->driver);
        const uint64_t contact_us = raft_contact_us(r);
        return raft_leader_of(r) != 0 && contact_us != 0 && rq_clock_mono_us() - contact_us < c->o.config.election_us;
}

peers_stranger steering_stranger(const consensus *c, const peer_hello *from) {
        const raft *r = driver_raft(c->driver);
        raft_index index = 0;
        if (c->unformed || c->removed || driver_membership(c->driver, &index) == NULL)
                return PEERS_STRANGER_REFUSE;
        if (from->configuration == UINT64_MAX)
                return PEERS_STRANGER_REFUSE; /* no entry can be there */
        if (from->configuration > steering_configuration_index(c))
                return has_a_leader(c) ? PEERS_STRANGER_REFUSE : PEERS_STRANGER_ADMIT;
        /* What isn't committed may still be taken back: it asks again. */
        return raft_commit_is_known(r) && index <= raft_commit_of(r) ? PEERS_STRANGER_REMOVED : PEERS_STRANGER_REFUSE;
}

/* --- joining ---------------------------------------------------------------- */

static void reply_with(peer_join_reply *reply, rq_buf *payload, peer_join_result result, const char *text) {
        reply->result = result;
        (void) rq_buf_append(payload, text, strnlen(text, PEER_TEXT_MAX)); /* without memory: no words */
}

/* Who was just taken in looks around once, as every member does that starts; and connections are made anew. */
static bool is_new_run(consensus_joins *joins, const peer_hello *from) {
        const raft_id id = membership_raft_id(&from->disk_uuid);
        size_t place = 0;
        while (place < MEMBERSHIP_COUNT_MAX && joins->runs[place].id != id)
                place++;
        if (place < MEMBERSHIP_COUNT_MAX && joins->runs[place].nonce == from->start.nonce)
                return false;
        if (place == MEMBERSHIP_COUNT_MAX)
                place = joins->next++ % MEMBERSHIP_COUNT_MAX;
        joins->runs[place].id = id;
        joins->runs[place].nonce = from->start.nonce;
        return true;
}

static void accept_member(consensus *c, const peer_hello *from, const membership *now, peer_join_reply *reply, rq_buf *payload) {
        if (membership_encode(now, payload) < 0) {
                reply_with(reply, payload, PEER_JOIN_WAIT, "the leader is out of memory");
                return;
        }
        *reply = (peer_join_reply) {
                .result = PEER_JOIN_ACCEPTED, .database_id = c->identity.database_id, .cluster_id = c->cluster_id,
                .configuration = steering_configuration_index(c),
        };
        if (is_new_run(&c->joins, from)) {
                c->joins.asked++;
                c->joins.taken_in++;
        }
}

void steering_visit(consensus *c, const peer_hello *from) {
        const raft_id id = membership_raft_id(&from->disk_uuid);
        const member *m = members_find(c, id);
        if (!is_leader(c) || m == NULL || !is_new_run(&c->joins, from))
                return;
        c->joins.asked++;
        if (strcmp(m->raft_addr, from->raft_addr) == 0)
                c->joins.at_home++;
        else
                c->joins.moved++;
}

/* What doesn't depend on who the members are. False: answered. */
static bool check_newcomer(const consensus *c, const peer_hello *from, peer_join_reply *reply, rq_buf *payload) {
        char text[PEER_TEXT_MAX], uuid[RQ_UUID_TEXT_BYTES];
        if (!rq_uuid_is_zero(&from->cluster_id) && !rq_uuid_equal(&from->cluster_id, &c->cluster_id)) {
                (void) snprintf(text, sizeof text, "its data directory belongs to cluster %s: only one with an empty directory can join another",
                                rq_uuid_text(&from->cluster_id, uuid));
                reply_with(reply, payload, PEER_JOIN_REFUSED, text);
                return false;
        }
        if (from->raft_addr[0] == '\0') {
                reply_with(reply, payload, PEER_JOIN_REFUSED, "it doesn't say where it can be reached (-raft-adv-addr)");
                return false;
        }
        if (from->feature_level < c->levels.lowest) { /* there may be entries in the log that it doesn't know */
                reply_with(reply, payload, PEER_JOIN_REFUSED, "its version is too old for this cluster");
                return false;
        }
        return true;
}

static void take_in(consensus *c, const peer_hello *from, const membership *now, bool stays, peer_join_reply *reply, rq_buf *payload) {
        RQ_CLEANUP(rq_freep) member_change *change = calloc(1, sizeof *change);
        bool alive[MEMBERSHIP_COUNT_MAX];
        member who = { .disk_uuid = from->disk_uuid, .stays = stays };
        memcpy(who.node_id, from->node_id, sizeof who.node_id);
        memcpy(who.raft_addr, from->raft_addr, sizeof who.raft_addr);
        reply->result = PEER_JOIN_WAIT;
        if (change == NULL)
                return;
        look_around(c, now, alive);
        member_change_join(now, alive, &who, change);
        if (change->verdict == MEMBER_CHANGE_NONE) {
                accept_member(c, from, now, reply, payload);
                return;
        }
        rq_err r = change->verdict == MEMBER_CHANGE_REFUSED ? RQ_EACCES : driver_configure(c->driver, &change->wanted);
        if (r == RQ_ETOOBIG || r == RQ_EINVAL)
                reply_with(reply, payload, PEER_JOIN_REFUSED, "the names and addresses of so many members don't fit a log entry");
        else if (r == RQ_EACCES)
                reply_with(reply, payload, PEER_JOIN_REFUSED, change->text);
        else
                reply_with(reply, payload, PEER_JOIN_WAIT, "it is being added");
        if (r >= 0)
                rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" at %s joins as a %s", who.node_id, who.raft_addr, stays ? "read replica" : "learner, to become a voter");
        consensus_wake(c);
}

/* False: answered. Asked again with each question, so that nothing of a change of the users has to be followed. */
static bool check_user(consensus *c, const peer_hello *from, const peers_join *join, peer_join_reply *reply, rq_buf *payload) {
        const char *why;
        switch (admission_ask(c, from, join, &why)) {
        case ADMISSION_GRANTED: return true;
        case ADMISSION_LATER: reply_with(reply, payload, PEER_JOIN_WAIT, why); return false;
        case ADMISSION_DENIED: break;
        }
        reply_with(reply, payload, PEER_JOIN_REFUSED, why);
        return false;
}

void steering_join(consensus *c, const peer_hello *from, const peers_join *join, peer_join_reply *ret_reply, rq_buf *ret_payload) {
        *ret_reply = (peer_join_reply) { .result = PEER_JOIN_NOT_LEADER };
        if (c->unformed || c->stopping)
                return;
        if (!check_newcomer(c, from, ret_reply, ret_payload))
                return;
        if (!is_leader(c)) {
                const raft_id leader = raft_leader_of(driver_raft(c->driver));
                peers_view view;
                if (leader != 0 && leader != c->raft_id && peers_view_of(c->peers, leader, &view))
                        reply_with(ret_reply, ret_payload, PEER_JOIN_NOT_LEADER, view.said_addr[0] != '\0' ? view.said_addr : view.raft_addr);
                return;
        }
        if (!check_user(c, from, join, ret_reply, ret_payload))
                return;
        const membership *now = settled(c);
        if (now == NULL)
                reply_with(ret_reply, ret_payload, PEER_JOIN_WAIT, "another change of the members is under way");
        else
                take_in(c, from, now, join->stays, ret_reply, ret_payload);
}

/* --- leaving ---------------------------------------------------------------- */

peer_remove_result steering_remove(consensus *c, const char *node_id, char *text, size_t text_size) {
        RQ_CLEANUP(rq_freep) member_change *change = calloc(1, sizeof *change);
        bool alive[MEMBERSHIP_COUNT_MAX];
        text[0] = '\0';
        if (!is_leader(c))
                return raft_role_of(driver_raft(c->driver)) == RAFT_LEADER ? PEER_REMOVE_WAIT : PEER_REMOVE_NOT_LEADER;
        const membership *now = settled(c);
        if (now == NULL || change == NULL)
                return PEER_REMOVE_WAIT;
        look_around(c, now, alive);
        member_change_remove(now, alive, node_id, change);
        if (change->verdict == MEMBER_CHANGE_NONE)
                return PEER_REMOVE_DONE;
        if (change->verdict == MEMBER_CHANGE_REFUSED) {
                (void) snprintf(text, text_size, "%s", change->text);
                return PEER_REMOVE_REFUSED;
        }
        if (strcmp(node_id, c->identity.node_id) == 0) {
                /* Somebody else is to lead first: it removes this node, and writes hardly stop. */
                if (driver_transfer(c->driver, 0) >= 0)
                        consensus_wake(c);
                return PEER_REMOVE_WAIT;
        }
        if (driver_configure(c->driver, &change->wanted) >= 0)
                rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" is being removed from the cluster", node_id);
        consensus_wake(c);
        return PEER_REMOVE_WAIT;
}

/* --- by itself -------------------------------------------------------------- */

static bool propose(consensus *c, const membership *wanted) {
        rq_err r = driver_configure(c->driver, wanted);
        consensus_wake(c);
        return r >= 0;
}

/* The members after a recovery stand in a file of this node only: into the log with them. */
static bool settle_recovery(consensus *c, const membership *now) {
        raft_index index;
        (void) driver_membership(c->driver, &index);
        if (c->members_known == 0 || index > c->members_known)
                return false;
        if (propose(c, now))
                rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "The members after the recovery become part of the log");
        return true;
}

static bool follow_addresses(consensus *c, const membership *now, member_change *change) {
        for (uint32_t i = 0; i < now->count; i++) {
                const member *m = &now->members[i];
                const raft_id id = membership_raft_id(&m->disk_uuid);
                peers_view view = {0};
                if (id != c->raft_id && !(peers_view_of(c->peers, id, &view) && view.up))
                        continue;
                member_change_move(now, id, id == c->raft_id ? c->o.config.raft_addr : view.said_addr, change);
                if (change->verdict != MEMBER_CHANGE_WANTED)
                        continue;
                if (propose(c, &change->wanted))
                        rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" has moved from %s to %s", m->node_id, m->raft_addr, id == c->raft_id ? c->o.config.raft_addr : view.said_addr);
                return true;
        }
        return false;
}

static bool promote(consensus *c, const membership *now, const bool *alive, uint64_t now_us, member_change *change) {
        const raft *r = driver_raft(c->driver);
        const raft_index last = raft_trail_of(r)->last;
        for (uint32_t i = 0; i < now->count; i++) {
                const member *m = &now->members[i];
                const raft_id id = membership_raft_id(&m->disk_uuid);
                raft_progress_view progress;
                uint32_t more;
                if (m->voter || m->stays || !alive[i] || !raft_progress_of(r, id, &progress))
                        continue;
                const uint32_t before = catch_up_rounds(&c->steering.catch_up, id);
                if (!catch_up_look(&c->steering.catch_up, id, progress.match, last, now_us, c->o.config.election_us)) {
                        const uint32_t rounds = catch_up_rounds(&c->steering.catch_up, id);
                        if (rounds != before && rounds > ROUNDS_WARN && rq_log_allowed(&c->steering.limit, &more))
                                rq_log_warning("Node \"%s\" doesn't catch up: it is no voter after %u rounds, each of which took more than "
                                               "-raft-heartbeat-timeout (%u more)", m->node_id, rounds - 1, more);
                        continue;
                }
                member_change_promote(now, alive, id, change);
                if (change->verdict == MEMBER_CHANGE_WANTED && propose(c, &change->wanted)) {
                        rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" at %s has caught up and becomes a voter", m->node_id, m->raft_addr);
                        return true;
                }
        }
        return false;
}

/* Another leader's watch begins anew: it hasn't waited yet; and so it does with a member that is added, or answers. */
static void watch(consensus *c, const membership *now, const bool *alive, uint64_t now_us, uint64_t silent_us[static MEMBERSHIP_COUNT_MAX]) {
        consensus_steering *s = &c->steering, before = *s;
        s->silent_count = 0;
        for (uint32_t i = 0; i < now->count; i++) {
                const raft_id id = membership_raft_id(&now->members[i].disk_uuid);
                uint64_t since_us = now_us;
                silent_us[i] = 0;
                if (alive[i])
                        continue;
                for (uint32_t k = 0; k < before.silent_count; k++)
                        if (before.silent[k].id == id)
                                since_us = before.silent[k].since_us;
                s->silent[s->silent_count].id = id;
                s->silent[s->silent_count++].since_us = since_us;
                silent_us[i] = now_us - since_us;
        }
}

static bool reap(consensus *c, const membership *now, const bool *alive, uint64_t now_us, member_change *change) {
        uint64_t silent_us[MEMBERSHIP_COUNT_MAX];
        watch(c, now, alive, now_us, silent_us);
        for (uint32_t i = 0; i < now->count; i++) {
                const member *m = &now->members[i];
                const raft_id id = membership_raft_id(&m->disk_uuid);
                const uint64_t limit_us = m->voter ? c->o.config.reap_voter_us : c->o.config.reap_learner_us;
                uint32_t more;
                if (limit_us == 0 || alive[i] || silent_us[i] < limit_us)
                        continue;
                member_change_drop(now, alive, id, change);
                if (change->verdict == MEMBER_CHANGE_REFUSED && rq_log_allowed(&c->steering.limit, &more))
                        rq_log_warning("Node \"%s\" should be reaped, but: %s (%u more)", m->node_id, change->text, more);
                if (change->verdict == MEMBER_CHANGE_WANTED && propose(c, &change->wanted)) {
                        rq_log_event(LOG_WARNING, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" at %s was silent for %" PRIu64 " s and is removed "
                                     "(-raft-reap-%snode-timeout)", m->node_id, m->raft_addr, silent_us[i] / 1000000, m->voter ? "" : "read-only-");
                        return true;
                }
        }
        return false;
}

static void look(consensus *c, const membership *now, uint64_t now_us) {
        RQ_CLEANUP(rq_freep) member_change *change = calloc(1, sizeof *change);
        bool alive[MEMBERSHIP_COUNT_MAX];
        if (change == NULL)
                return;
        look_around(c, now, alive);
        (void) (settle_recovery(c, now) || follow_addresses(c, now, change) || promote(c, now, alive, now_us, change) ||
                reap(c, now, alive, now_us, change));
}

void steering_turn(consensus *c) {
        const uint64_t now_us = rq_clock_mono_us();
        const raft_term term = raft_term_of(driver_raft(c->driver));
        if (!is_leader(c) || c->stopping || now_us < c->steering.next_us)
                return;
        if (term != c->steering.term) {
                c->steering.term = term;
                c->steering.silent_count = 0;
                c->steering.catch_up = (catch_up) {0};
        }
        c->steering.next_us = now_us + LOOK_INTERVAL_US;
        const membership *now = settled(c);
        if (now != NULL)
                look(c, now, now_us);
}
