#include "joining.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "config/config.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { TEXT_BYTES_MAX = PEER_TEXT_MAX + 256, ASK_INTERVAL_US = 250000 };

struct joining {
        joining_options o;
        rq_timer ask, round;
        rq_task finish;
        bool finished, asks;
        bool awaited;                  /* since the last round: a member takes it in */
        rq_err result;
        peer_join_reply reply;
        rq_buf members;
        uint32_t rounds;
        uint64_t seen_us;              /* a cluster, first; 0: not yet */
        char *list;                    /* for log lines */
        char text[TEXT_BYTES_MAX];
        char logged[TEXT_BYTES_MAX];   /* what was said last */
};

static void finish(void *arg) {
        joining *j = arg;
        /* Either may free it. */
        if (j->result < 0)
                j->o.on_failed(j->o.arg, j->result);
        else
                j->o.on_accepted(j->o.arg, &j->reply, rq_buf_bytes(&j->members));
}

static void finish_with(joining *j, rq_err result) {
        if (j->finished)
                return;
        j->finished = true;
        j->result = result;
        rq_timer_cancel(&j->ask);
        rq_timer_cancel(&j->round);
        rq_task_post(&j->finish);
}

/* --- asking ----------------------------------------------------------------- */

static void say(joining *j, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Each state once, however often it is asked. */
static void say(joining *j, const char *format, ...) {
        va_list args;
        va_start(args, format);
        (void) vsnprintf(j->text, sizeof j->text, format, args);
        va_end(args);
        if (strcmp(j->text, j->logged) == 0)
                return;
        memcpy(j->logged, j->text, sizeof j->logged);
        rq_log_info("Joining a cluster: %s", j->text);
}

/* Who is found at the addresses must be of one cluster: to ask two would make this node a member of both. */
static bool is_one_cluster(joining *j) {
        const peer_hello *hello, *first = NULL;
        size_t cursor = 0;
        while ((hello = peers_next_hello(j->o.peers, &cursor)) != NULL) {
                if (rq_uuid_is_zero(&hello->cluster_id))
                        continue;
                if (first == NULL)
                        first = hello;
                if (!rq_uuid_equal(&first->cluster_id, &hello->cluster_id)) {
                        say(j, "node \"%s\" at %s and node \"%s\" at %s are of different clusters: -join must name nodes of one", first->node_id,
                            first->raft_addr, hello->node_id, hello->raft_addr);
                        return false;
                }
        }
        return first != NULL;
}

static void on_ask(void *arg) {
        joining *j = arg;
        const bool there = is_one_cluster(j);
        rq_bytes credentials = {0};
        const uint64_t now_us = rq_clock_mono_us();
        if (!there)
                j->seen_us = 0;
        else if (j->seen_us == 0)
                j->seen_us = now_us;
        if (there && now_us - j->seen_us >= j->o.patience_us) {
                if (j->o.credentials(j->o.arg, &credentials))
                        peers_send_join(j->o.peers, j->o.stays, credentials);
                else
                        say(j, "waiting for rq-gateway, which knows the password of -join-as");
        }
        rq_timer_set(&j->ask, ASK_INTERVAL_US);
}

static void on_round(void *arg) {
        joining *j = arg;
        j->rounds++;
        if (j->o.patience_us > 0)
                return; /* others say what is missing */
        if (j->o.attempts > 0 && j->rounds >= j->o.attempts) {
                finish_with(j, rq_log_error_event(RQ_ETIMEOUT, RQ_MSG_NOT_JOINED, "Failed to join the cluster at %s, after %" PRIu32 " attempts (-join-attempts): %s", j->list,
                                            j->rounds, j->text));
                return;
        }
        if (!j->awaited)
                rq_log_event(LOG_WARNING, RQ_MSG_NOT_JOINED, "Failed to join the cluster at %s so far, trying on: %s", j->list, j->text);
        j->awaited = false; /* unless it says so again */
        rq_timer_set(&j->round, j->o.interval_us);
}

void joining_ask(joining *j) {
        if (j->asks || j->finished)
                return;
        j->asks = true;
        rq_timer_set(&j->ask, ASK_INTERVAL_US / 10);
        rq_timer_set(&j->round, j->o.interval_us);
}

/* --- answers ---------------------------------------------------------------- */

static void take_leader(joining *j, const peer_hello *from, rq_bytes address) {
        char text[MEMBERSHIP_ADDRESS_MAX + 1];
        (void) snprintf(text, sizeof text, "%.*s", (int) address.size, address.size > 0 ? (const char *) address.data : "");
        if (address.size == 0) {
                say(j, "node \"%s\" at %s knows of no leader", from->node_id, from->raft_addr);
                return;
        }
        rq_err r = peers_add_seed(j->o.peers, text);
        if (r == RQ_OK)
                say(j, "asking the leader at %s", text);
        else if (r != RQ_EEXIST)
                say(j, "cannot ask the leader at %s: %s", text, rq_err_text(r));
}

void joining_reply(joining *j, const peer_hello *from, const peer_join_reply *reply, rq_bytes payload) {
        const int size = (int) payload.size;
        const char *words = size > 0 ? (const char *) payload.data : "";
        if (j->finished || !j->asks)
                return;
        switch (reply->result) {
        case PEER_JOIN_ACCEPTED:
                j->reply = *reply;
                j->members.size = 0;
                rq_log_event(LOG_NOTICE, RQ_MSG_MEMBERS_CHANGED, "Node \"%s\" was taken into the cluster by node \"%s\" at %s", j->o.node_id, from->node_id, from->raft_addr);
                finish_with(j, rq_buf_append_bytes(&j->members, payload));
                break;
        case PEER_JOIN_NOT_LEADER:
                take_leader(j, from, payload);
                break;
        case PEER_JOIN_WAIT:
                j->awaited = true;
                say(j, "node \"%s\" at %s is to take this node in: %.*s", from->node_id, from->raft_addr, size, words);
                break;
        case PEER_JOIN_REFUSED:
                say(j, "node \"%s\" at %s refuses this node: %.*s", from->node_id, from->raft_addr, size, words);
                break;
        }
}

/* --- life ------------------------------------------------------------------- */

rq_err joining_set_seeds(peers *p, const char *list, const char *own, size_t *ret_count) {
        char addresses[PEERS_SEEDS_MAX][RQ_ADDRESS_BYTES_MAX], address[RQ_ADDRESS_BYTES_MAX];
        const char *seeds[PEERS_SEEDS_MAX];
        size_t count = 0;
        for (size_t at = 0; rq_address_next(list, &at, address);) {
                if (address[0] == '\0' || strcmp(address, own) == 0)
                        continue;
                if (count == PEERS_SEEDS_MAX)
                        return rq_log_error(RQ_ECONFIG, "-join names more than %d addresses", PEERS_SEEDS_MAX);
                memcpy(addresses[count], address, sizeof address);
                seeds[count] = addresses[count];
                count++;
        }
        if (ret_count != NULL)
                *ret_count = count;
        return peers_set_seeds(p, seeds, count);
}

static rq_err begin(joining *j) {
        j->list = strdup(j->o.join);
        if (j->list == NULL)
                return RQ_ENOMEM;
        rq_err r = rq_timer_init(&j->ask, j->o.loop, on_ask, j);
        if (r >= 0)
                r = rq_timer_init(&j->round, j->o.loop, on_round, j);
        if (r >= 0)
                r = rq_task_init(&j->finish, j->o.loop, finish, j);
        if (r >= 0 && !j->o.has_seeds)
                r = joining_set_seeds(j->o.peers, j->o.join, j->o.raft_addr, NULL);
        return r;
}

rq_err joining_new(const joining_options *options, joining **ret_joining) {
        joining *j = calloc(1, sizeof *j);
        if (j == NULL)
                return RQ_ENOMEM;
        j->o = *options;
        rq_err r = begin(j);
        if (r < 0) {
                (void) joining_free(j);
                return r;
        }
        j->o.join = NULL;
        (void) snprintf(j->text, sizeof j->text, "no node of it answers");
        if (j->o.asks)
                joining_ask(j);
        *ret_joining = j;
        return RQ_OK;
}

joining *joining_free(joining *j) {
        if (j == NULL)
                return NULL;
        if (!j->o.has_seeds)
                (void) peers_set_seeds(j->o.peers, NULL, 0);
        if (j->ask.event != NULL)
                rq_timer_done(&j->ask);
        if (j->round.event != NULL)
                rq_timer_done(&j->round);
        rq_task_done(&j->finish);
        rq_buf_done(&j->members);
        free(j->list);
        free(j);
        return NULL;
}

const char *joining_text(const joining *j) { return j->text; }
