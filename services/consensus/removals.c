#include "removals.h"

#include <stdio.h>

#include "base/clock.h"
#include "dispatch.h"
#include "log/log_fields.h"
#include "steering.h"

enum { ASK_INTERVAL_US = 100000 };

static void end(consensus *c, consensus_removal *one, rq_remove_outcome outcome, const char *text) {
        const bool own = one->gateway == 0;
        one->pending = false;
        if (!own) {
                dispatch_send_removed(c, one->gateway, one->request_id, outcome, text);
                return;
        }
        c->leaving = false;
        if (outcome == REMOVE_OUTCOME_DONE)
                rq_log_event(LOG_NOTICE, RQ_MSG_REMOVED, "This node has left the cluster (-raft-cluster-remove-shutdown)");
        else
                (void) rq_log_error(RQ_ETIMEOUT, "This node stops without having left the cluster: %s", text[0] != '\0' ? text : "no leader has answered in time");
}

static consensus_removal *place_for(consensus *c) {
        for (size_t i = 0; i < CONSENSUS_REMOVALS_MAX; i++)
                if (!c->removals[i].pending)
                        return &c->removals[i];
        return NULL;
}

static bool add(consensus *c, uint32_t gateway, uint64_t request_id, const char *node_id, uint64_t deadline_us) {
        consensus_removal *one = place_for(c);
        if (one == NULL)
                return false;
        *one = (consensus_removal) { .gateway = gateway, .request_id = request_id, .deadline_us = deadline_us, .number = ++c->removal_number, .pending = true };
        (void) snprintf(one->node_id, sizeof one->node_id, "%s", node_id);
        consensus_wake(c);
        return true;
}

void removals_add(consensus *c, uint32_t gateway, uint64_t request_id, const char *node_id, uint64_t deadline_us) {
        if (raft_leader_of(driver_raft(c->driver)) == 0)
                dispatch_send_removed(c, gateway, request_id, REMOVE_OUTCOME_NO_LEADER, "");
        else if (!add(c, gateway, request_id, node_id, deadline_us))
                dispatch_send_removed(c, gateway, request_id, REMOVE_OUTCOME_REFUSED, "too many of these requests at a time");
}

void removals_leave(consensus *c, uint64_t deadline_us) { c->leaving = add(c, 0, 0, c->identity.node_id, deadline_us); }

static void ask(consensus *c, consensus_removal *one, uint64_t now_us) {
        const raft_id leader = raft_leader_of(driver_raft(c->driver));
        char text[PEER_TEXT_MAX];
        peers_view view;
        one->ask_us = now_us + ASK_INTERVAL_US;
        if (c->removed && strcmp(one->node_id, c->identity.node_id) == 0) {
                end(c, one, REMOVE_OUTCOME_DONE, "");
        } else if (leader == c->raft_id) {
                const peer_remove_result result = steering_remove(c, one->node_id, text, sizeof text);
                if (result == PEER_REMOVE_DONE)
                        end(c, one, REMOVE_OUTCOME_DONE, "");
                else if (result == PEER_REMOVE_REFUSED)
                        end(c, one, REMOVE_OUTCOME_REFUSED, text);
        } else if (leader != 0 && peers_view_of(c->peers, leader, &view)) {
                if (view.up && view.protocol_minor < 2)
                        end(c, one, REMOVE_OUTCOME_REFUSED, "the leader is of an older version, which can't");
                else
                        (void) peers_send_remove(c->peers, leader, one->number, one->node_id); /* again soon */
        }
}

void removals_turn(consensus *c) {
        uint64_t now_us = 0;
        for (size_t i = 0; i < CONSENSUS_REMOVALS_MAX; i++) {
                consensus_removal *one = &c->removals[i];
                if (!one->pending)
                        continue;
                if (now_us == 0)
                        now_us = rq_clock_mono_us();
                if (now_us >= one->deadline_us)
                        end(c, one, REMOVE_OUTCOME_TIMEOUT, "");
                else if (now_us >= one->ask_us)
                        ask(c, one, now_us);
        }
}

uint64_t removals_deadline_us(const consensus *c) {
        uint64_t due_us = UINT64_MAX;
        for (size_t i = 0; i < CONSENSUS_REMOVALS_MAX; i++) {
                const consensus_removal *one = &c->removals[i];
                const uint64_t next_us = one->ask_us < one->deadline_us ? one->ask_us : one->deadline_us;
                if (one->pending && next_us < due_us)
                        due_us = next_us;
        }
        return due_us;
}

void removals_asked(consensus *c, const peer_remove *remove, rq_bytes node_id) {
        char id[MEMBERSHIP_NODE_MAX + 1], text[PEER_TEXT_MAX];
        (void) snprintf(id, sizeof id, "%.*s", (int) node_id.size, (const char *) node_id.data);
        const peer_remove_result result = steering_remove(c, id, text, sizeof text);
        (void) peers_send_remove_reply(c->peers, remove, result, text);
}

void removals_replied(consensus *c, const peer_remove_reply *reply, rq_bytes text) {
        char words[PEER_TEXT_MAX + 1];
        for (size_t i = 0; i < CONSENSUS_REMOVALS_MAX; i++) {
                consensus_removal *one = &c->removals[i];
                if (!one->pending || one->number != reply->is.number)
                        continue;
                (void) snprintf(words, sizeof words, "%.*s", (int) text.size, text.size > 0 ? (const char *) text.data : "");
                if (reply->result == PEER_REMOVE_DONE)
                        end(c, one, REMOVE_OUTCOME_DONE, "");
                else if (reply->result == PEER_REMOVE_REFUSED)
                        end(c, one, REMOVE_OUTCOME_REFUSED, words);
        }
}
