/* A few cores, wires between them and a disk for each; everything moves only when
 * the test says so. Checks after each step what must hold in any run: see watch_*. */
#ifndef RQ_TESTS_RAFT_NETWORK_H
#define RQ_TESTS_RAFT_NETWORK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "raft/raft.h"
#include "raft/raft_check.h"
#include "raft/raft_members.h"

enum { NODES = 5, LOG_MAX = 4096, BATCH = 8, WIRE_MAX = 512, WRITES_MAX = 256, RUNS = 1024, CONFIGURATIONS = 1024, TERMS_MAX = 4096 };
enum { HEARTBEAT = 100000, ELECTION = 1000000, STALL = 3000000 }; /* us */

typedef struct held { raft_term term; uint32_t bytes; int configuration; } held; /* configuration: 1-based place in the pool; 0: none */

typedef struct disk_write {
        bool hard;
        raft_term term;
        raft_id vote;
        raft_index first, last;
        raft_persisted when_durable;
        held *entries;
} disk_write;

typedef struct node {
        bool up;
        raft *raft;
        void *memory;
        raft_run runs[RUNS];
        raft_output out;
        held log[LOG_MAX];          /* as the driver holds it */
        raft_index last;
        disk_write writes[WRITES_MAX];
        uint32_t write_count;
        held disk[LOG_MAX];         /* what survives */
        raft_index disk_base, disk_last;
        raft_term disk_base_term, disk_term;
        raft_id disk_vote;
        int disk_base_configuration;
        raft_index disk_base_configuration_index;
        uint64_t read_round, ready_round, failed_round; /* the latest */
        raft_index ready_index, read_floor;
        uint64_t floor_round;
        bool learner;
} node;

typedef struct letter { raft_message message; held entries[BATCH]; } letter;

typedef struct network {
        node nodes[NODES];
        uint32_t count;
        uint64_t now_us;
        letter wire[WIRE_MAX];
        uint32_t wire_count;
        bool cut[NODES + 1][NODES + 1]; /* from, to */
        raft_configuration pool[CONFIGURATIONS];
        int pool_count;
        raft_id leaders[TERMS_MAX];     /* by term */
        raft_term committed[LOG_MAX];
        raft_index committed_last;
        uint64_t lease_us, window_messages, run_of, read_seed;
        bool follower_may_learn_commit;
        char trace[16384];
        size_t trace_size;
        bool tracing;
} network;

__attribute__((unused, format(printf, 2, 3))) static void say(network *w, const char *format, ...) {
        va_list args;
        if (!w->tracing)
                return;
        va_start(args, format);
        w->trace_size += (size_t) vsnprintf(w->trace + w->trace_size, sizeof w->trace - w->trace_size, format, args);
        va_end(args);
        assert_true(w->trace_size < sizeof w->trace);
}

__attribute__((unused)) static void expect(network *w, const char *text) {
        assert_string_equal(w->trace, text);
        w->trace_size = 0;
        w->trace[0] = '\0';
}

static node *node_of(network *w, raft_id id) { return &w->nodes[id - 1]; }

/* voters, learners: strings of digits */
__attribute__((unused)) static raft_configuration members(const char *voters, const char *learners) {
        raft_configuration c = {0};
        for (; *voters != '\0'; voters++)
                c.members[c.count++] = (raft_member) { .id = (raft_id) (*voters - '0'), .voter = true };
        for (; *learners != '\0'; learners++)
                c.members[c.count++] = (raft_member) { .id = (raft_id) (*learners - '0') };
        return c;
}

static int pooled(network *w, const raft_configuration *c) {
        for (int i = 0; i < w->pool_count; i++)
                if (memcmp(&w->pool[i], c, sizeof *c) == 0)
                        return i + 1;
        assert_true(w->pool_count < CONFIGURATIONS);
        w->pool[w->pool_count++] = *c;
        return w->pool_count;
}

static raft_options options_of(network *w, raft_id id) {
        node *n = node_of(w, id);
        return (raft_options) {
                .id = id, .learner = n->learner, .term = n->disk_term, .vote = n->disk_vote, .base_index = n->disk_base, .base_term = n->disk_base_term,
                .uncommitted_bytes_max = 10000, .tail_entries_max = 256, .now_us = w->now_us, .random_seed = id * 7919 + ++w->run_of,
                .read_round_first = (++w->read_seed) << 20, .heartbeat_us = HEARTBEAT, .election_us = ELECTION, .lease_us = w->lease_us,
                .disk_stall_us = STALL, .window_messages = w->window_messages != 0 ? (uint32_t) w->window_messages : 4,
                .window_bytes = 1000, .append_bytes = 400,
        };
}

static void start(network *w, raft_id id) {
        node *n = node_of(w, id);
        const raft_options o = options_of(w, id);
        const raft_configuration *base = n->disk_base_configuration == 0 ? NULL : &w->pool[n->disk_base_configuration - 1];
        n->memory = malloc(raft_bytes(&o));
        assert_int_equal(raft_init(n->memory, &o, base, n->disk_base_configuration_index, n->runs, RUNS, &n->raft), RQ_OK);
        for (raft_index i = n->disk_base + 1; i <= n->disk_last; i++)
                assert_int_equal(raft_restore(n->raft, n->disk[i].term, i, n->disk[i].bytes), RQ_OK);
        for (raft_index i = n->disk_base + 1; i <= n->disk_last; i++)
                if (n->disk[i].configuration != 0)
                        assert_int_equal(raft_restore_configuration(n->raft, i, &w->pool[n->disk[i].configuration - 1]), RQ_OK);
        assert_int_equal(raft_restored(n->raft), RQ_OK);
        memcpy(n->log, n->disk, sizeof n->log);
        n->last = n->disk_last;
        n->up = true;
        n->read_round = n->ready_round = n->failed_round = n->floor_round = 0;
        raft_output_reset(&n->out);
}

/* A disk with the founding configuration as entry 1, of term 1. */
__attribute__((unused)) static network *network_new(uint32_t count, const raft_configuration *c) {
        network *w = calloc(1, sizeof *w);
        w->count = count;
        w->now_us = 1000000000;
        for (raft_id id = 1; id <= count; id++) {
                node *n = node_of(w, id);
                if (c != NULL && raft_members_find(c, id) != NULL) {
                        n->disk[1] = (held) { .term = 1, .configuration = pooled(w, c) };
                        n->disk_last = 1;
                        n->disk_term = 1;
                }
        }
        return w;
}

__attribute__((unused)) static network *network_started(uint32_t count, const raft_configuration *c) {
        network *w = network_new(count, c);
        for (raft_id id = 1; id <= count; id++)
                start(w, id);
        return w;
}

static void forget_writes(node *n) {
        for (uint32_t i = 0; i < n->write_count; i++)
                free(n->writes[i].entries);
        n->write_count = 0;
}

__attribute__((unused)) static void network_free(network *w) {
        for (uint32_t i = 0; i < NODES; i++) {
                forget_writes(&w->nodes[i]);
                if (w->nodes[i].up)
                        free(w->nodes[i].memory);
        }
        free(w);
}

__attribute__((unused)) static void crash(network *w, raft_id id) {
        node *n = node_of(w, id);
        forget_writes(n);
        free(n->memory);
        n->up = false;
}

/* --- what must hold in any run ---------------------------------------------- */

static void watch_leader(network *w, raft_id id) {
        node *n = node_of(w, id);
        raft_term term = raft_term_of(n->raft);
        assert_true(term < TERMS_MAX);
        if (raft_role_of(n->raft) != RAFT_LEADER)
                return;
        assert_true(w->leaders[term] == 0 || w->leaders[term] == id); /* election safety */
        if (w->leaders[term] == 0) /* leader completeness */
                for (raft_index i = raft_trail_of(n->raft)->base_index + 1; i <= w->committed_last; i++)
                        assert_int_equal(raft_trail_term_at(raft_trail_of(n->raft), i), w->committed[i]);
        w->leaders[term] = id;
}

static void watch_commit(network *w, raft_id id) {
        node *n = node_of(w, id);
        raft_index commit = raft_commit_of(n->raft);
        for (raft_index i = raft_trail_of(n->raft)->base_index + 1; i <= commit; i++) {
                if (i > w->committed_last) {
                        w->committed_last = i;
                        w->committed[i] = n->log[i].term;
                }
                assert_int_equal(n->log[i].term, w->committed[i]); /* state machine safety */
        }
}

/* No promise that a power cut would take back. */
static void watch_promise(network *w, const raft_message *m) {
        node *n = node_of(w, m->from);
        if (m->type == RAFT_MSG_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre) {
                assert_int_equal(n->disk_term, m->vote_reply.campaign_term);
                assert_int_equal(n->disk_vote, m->to);
        }
        raft_index index = m->type == RAFT_MSG_APPEND_REPLY && !m->append_reply.rejected ? m->append_reply.index
                         : m->type == RAFT_MSG_HEARTBEAT_REPLY ? m->heartbeat_reply.index : 0;
        if (index == 0)
                return;
        assert_int_equal(n->disk_term, m->term);
        assert_true(index <= n->disk_last);
        node *leader = node_of(w, m->to);
        if (leader->up && raft_role_of(leader->raft) == RAFT_LEADER && raft_term_of(leader->raft) == m->term)
                for (raft_index i = n->disk_base + 1; i <= index; i++)
                        assert_true(i <= raft_trail_of(leader->raft)->base_index || n->disk[i].term == leader->log[i].term);
}

/* --- steps ------------------------------------------------------------------ */

static void post(network *w, const raft_message *m, const held *entries) {
        if (w->wire_count == WIRE_MAX || m->to > NODES || w->cut[m->from][m->to])
                return;
        letter *l = &w->wire[w->wire_count++];
        l->message = *m;
        for (uint32_t i = 0; m->type == RAFT_MSG_APPEND && i < m->append.count; i++)
                l->entries[i] = entries[i];
}

static const char *describe(const raft_message *m, char text[static 128]) {
        switch (m->type) {
        case RAFT_MSG_VOTE:
                (void) snprintf(text, 128, "%s%s t%d log %d^%d", m->vote.pre ? "pre-vote" : "vote", m->vote.transfer ? "!" : "", (int) m->vote.campaign_term,
                                (int) m->vote.last_index, (int) m->vote.last_term);
                break;
        case RAFT_MSG_VOTE_REPLY:
                (void) snprintf(text, 128, "%s t%d %s", m->vote_reply.pre ? "pre-vote" : "vote", (int) m->vote_reply.campaign_term, m->vote_reply.granted ? "granted" : "refused");
                break;
        case RAFT_MSG_APPEND:
                (void) snprintf(text, 128, "append t%d behind %d^%d +%d commit %d", (int) m->term, (int) m->append.previous_index,
                                (int) m->append.previous_term, (int) m->append.count, (int) m->append.commit);
                break;
        case RAFT_MSG_APPEND_REPLY:
                if (m->append_reply.rejected)
                        (void) snprintf(text, 128, "append t%d rejected %d hint %d^%d", (int) m->term, (int) m->append_reply.index,
                                        (int) m->append_reply.hint_index, (int) m->append_reply.hint_term);
                else
                        (void) snprintf(text, 128, "append t%d match %d", (int) m->term, (int) m->append_reply.index);
                break;
        case RAFT_MSG_HEARTBEAT:
                (void) snprintf(text, 128, "heartbeat t%d commit %d", (int) m->term, (int) m->heartbeat.commit);
                break;
        case RAFT_MSG_HEARTBEAT_REPLY:
                (void) snprintf(text, 128, "heartbeat t%d match %d", (int) m->term, (int) m->heartbeat_reply.index);
                break;
        case RAFT_MSG_TRANSFER:
        case RAFT_MSG_TIMEOUT_NOW:
                (void) snprintf(text, 128, "timeout-now t%d", (int) m->term);
                break;
        case RAFT_MSG_READ:
                (void) snprintf(text, 128, "%sread", m->read.weak ? "weak " : "");
                break;
        case RAFT_MSG_READ_REPLY:
                if (m->read_reply.refused)
                        (void) snprintf(text, 128, "read refused");
                else
                        (void) snprintf(text, 128, "read at %d", (int) m->read_reply.index);
                break;
        }
        return text;
}

static void take_entries(network *w, node *n, const raft_event *event, const held *event_entries) {
        raft_output *o = &n->out;
        if (o->accepted_first != 0) {
                n->last = o->accepted_first - 1;
                for (uint32_t i = o->accepted_skip; i < event->message.message->append.count; i++)
                        n->log[++n->last] = event_entries[i];
        }
        if (o->appended_index != 0) {
                n->last = o->appended_index;
                n->log[n->last] = (held) {
                        .term = o->appended_term,
                        .configuration = o->appended_configuration == NULL ? 0 : pooled(w, o->appended_configuration),
                };
        }
        for (uint32_t i = 0; i < o->proposed_count; i++) {
                n->last = o->proposed_first + i;
                n->log[n->last] = (held) { .term = raft_term_of(n->raft), .bytes = event->propose.entries[i].bytes };
        }
        assert_true(n->last < LOG_MAX - 2 * BATCH);
        assert_int_equal(n->last, raft_trail_of(n->raft)->last);
}

static void queue_write(node *n) {
        raft_output *o = &n->out;
        if (!o->persist.wanted)
                return;
        assert_true(n->write_count < WRITES_MAX);
        disk_write *d = &n->writes[n->write_count++];
        *d = (disk_write) { .hard = o->persist.hard, .term = o->persist.term, .vote = o->persist.vote, .first = o->persist.first,
                            .last = o->persist.last, .when_durable = o->persist.when_durable };
        if (d->first != 0) {
                d->entries = calloc((size_t) (d->last - d->first + 1), sizeof *d->entries);
                memcpy(d->entries, &n->log[d->first], (size_t) (d->last - d->first + 1) * sizeof *d->entries);
        }
}

static void note_reads(network *w, node *n) {
        raft_output *o = &n->out;
        if (o->reads_ready_round != 0) {
                n->ready_round = o->reads_ready_round;
                n->ready_index = o->reads_ready_index;
                if (n->floor_round != 0 && n->ready_round >= n->floor_round) { /* linearizable */
                        assert_true(n->ready_index >= n->read_floor);
                        n->floor_round = 0;
                }
                say(w, "%d reads at %d\n", (int) (n - w->nodes) + 1, (int) n->ready_index);
        }
        if (o->reads_failed_round != 0) {
                n->failed_round = o->reads_failed_round;
                if (n->failed_round >= n->floor_round)
                        n->floor_round = 0;
                say(w, "%d reads fail\n", (int) (n - w->nodes) + 1);
        }
}

static rq_err step_with(network *w, raft_id id, raft_event event, const held *event_entries) {
        static const char *const roles[] = { "follower", "pre-candidate", "candidate", "leader" };
        node *n = node_of(w, id);
        event.now_us = w->now_us;
        rq_err r = raft_step(n->raft, &event, &n->out);
        const char *broken = raft_check(n->raft);
        if (broken != NULL)
                fail_msg("node %d: %s", (int) id, broken);
        take_entries(w, n, &event, event_entries);
        queue_write(n);
        if (n->out.state_changed)
                say(w, "%d is %s of term %d%s\n", (int) id, roles[raft_role_of(n->raft)], (int) raft_term_of(n->raft),
                    raft_commit_is_current(n->raft) ? ", ready" : "");
        if (n->out.commit != 0)
                say(w, "%d commits %d\n", (int) id, (int) n->out.commit);
        note_reads(w, n);
        watch_leader(w, id);
        watch_commit(w, id);
        for (uint32_t i = 0; i < n->out.message_count; i++) {
                watch_promise(w, &n->out.messages[i]);
                post(w, &n->out.messages[i], NULL);
        }
        raft_output_reset(&n->out);
        return r;
}

static rq_err step(network *w, raft_id id, raft_event event) { return step_with(w, id, event, NULL); }

static rq_err deliver_letter(network *w, const letter *l) {
        char text[128];
        const raft_message *m = &l->message;
        raft_entry entries[BATCH];
        if (!node_of(w, m->to)->up)
                return RQ_OK;
        say(w, "%d>%d %s\n", (int) m->from, (int) m->to, describe(m, text));
        for (uint32_t i = 0; m->type == RAFT_MSG_APPEND && i < m->append.count; i++)
                entries[i] = (raft_entry) { .term = l->entries[i].term, .bytes = l->entries[i].bytes,
                                            .configuration = l->entries[i].configuration == 0 ? NULL : &w->pool[l->entries[i].configuration - 1] };
        return step_with(w, m->to, (raft_event) { .type = RAFT_EV_MESSAGE, .message = { .message = m, .entries = entries } }, l->entries);
}

static letter take_letter(network *w, uint32_t at) {
        letter l = w->wire[at];
        memmove(w->wire + at, w->wire + at + 1, (w->wire_count - at - 1) * sizeof l);
        w->wire_count--;
        return l;
}

/* The disk finishes the oldest write. */
static bool write_one(network *w, raft_id id) {
        node *n = node_of(w, id);
        if (!n->up || n->write_count == 0)
                return false;
        disk_write d = n->writes[0];
        memmove(n->writes, n->writes + 1, (n->write_count - 1) * sizeof d);
        n->write_count--;
        if (d.hard) {
                n->disk_term = d.term;
                n->disk_vote = d.vote;
        }
        if (d.first != 0) {
                for (raft_index i = d.first; i <= d.last; i++)
                        n->disk[i] = d.entries[i - d.first];
                n->disk_last = d.last > n->disk_base ? d.last : n->disk_base;
        }
        free(d.entries);
        (void) step(w, id, (raft_event) { .type = RAFT_EV_PERSISTED, .persisted = d.when_durable });
        return true;
}

/* Appends that wait, as full as they may be. */
static bool fetch_appends(network *w, raft_id from) {
        bool any = false;
        for (raft_id to = 1; to <= NODES; to++) {
                raft_message m;
                uint32_t count_max;
                uint64_t bytes_max, bytes = 0;
                node *n = node_of(w, from);
                if (!n->up || w->wire_count >= WIRE_MAX / 2 || !raft_next_append(n->raft, to, &m, &count_max, &bytes_max))
                        continue;
                const held *first = &n->log[m.append.previous_index + 1];
                for (; m.append.count < count_max && m.append.count < BATCH; m.append.count++) {
                        if (m.append.count > 0 && bytes + first[m.append.count].bytes > bytes_max)
                                break;
                        bytes += first[m.append.count].bytes;
                }
                raft_append_sent(n->raft, to, m.append.count, bytes, w->now_us);
                assert_null(raft_check(n->raft));
                post(w, &m, first);
                any = true;
        }
        return any;
}

/* Until nothing moves: disks, then messages in the order they were sent. */
__attribute__((unused)) static void settle(network *w) {
        for (int moves = 0; ; moves++) {
                bool any = false;
                assert_true(moves < 5000);
                for (raft_id id = 1; id <= w->count; id++)
                        while (write_one(w, id))
                                any = true;
                for (raft_id id = 1; id <= w->count; id++)
                        while (fetch_appends(w, id))
                                any = true;
                if (w->wire_count > 0) {
                        letter l = take_letter(w, 0);
                        assert_int_equal(deliver_letter(w, &l), RQ_OK);
                        any = true;
                }
                if (!any)
                        return;
        }
}

static void tick(network *w, raft_id id) {
        if (node_of(w, id)->up)
                (void) step(w, id, (raft_event) { .type = RAFT_EV_TICK });
}

/* Time passes, everything works at once. */
__attribute__((unused)) static void elapse(network *w, uint64_t us) {
        uint64_t end = w->now_us + us;
        settle(w);
        for (;;) {
                uint64_t next = UINT64_MAX;
                for (raft_id id = 1; id <= w->count; id++)
                        if (node_of(w, id)->up && raft_deadline_us(node_of(w, id)->raft) < next)
                                next = raft_deadline_us(node_of(w, id)->raft);
                if (next > end)
                        break;
                if (next > w->now_us)
                        w->now_us = next;
                for (raft_id id = 1; id <= w->count; id++)
                        if (node_of(w, id)->up && raft_deadline_us(node_of(w, id)->raft) <= w->now_us)
                                tick(w, id);
                settle(w);
        }
        w->now_us = end;
}

/* --- words of the tests ----------------------------------------------------- */

__attribute__((unused)) static raft_id leader_of(network *w) { /* of the highest term */
        raft_id found = 0;
        for (raft_id id = 1; id <= w->count; id++)
                if (node_of(w, id)->up && raft_role_of(node_of(w, id)->raft) == RAFT_LEADER
                    && (found == 0 || raft_term_of(node_of(w, id)->raft) > raft_term_of(node_of(w, found)->raft)))
                        found = id;
        return found;
}

__attribute__((unused)) static rq_err propose(network *w, raft_id id, uint32_t count, uint32_t bytes) {
        raft_entry entries[64];
        for (uint32_t i = 0; i < count; i++)
                entries[i] = (raft_entry) { .bytes = bytes };
        return step(w, id, (raft_event) { .type = RAFT_EV_PROPOSE, .propose = { .entries = entries, .count = count } });
}

/* Its round is noted by hand: a step's output is gone when it returns. */
__attribute__((unused)) static rq_err read_at(network *w, raft_id id, bool weak) {
        node *n = node_of(w, id);
        raft_event event = { .type = RAFT_EV_READ, .now_us = w->now_us, .read = { .weak = weak } };
        raft_index floor = w->committed_last;
        rq_err r = raft_step(n->raft, &event, &n->out);
        assert_null(raft_check(n->raft));
        if (r == RQ_OK) {
                n->read_round = n->out.read_round;
                if (n->read_round == 0) {
                        n->ready_index = n->out.read_index;
                        say(w, "%d reads at %d\n", (int) id, (int) n->ready_index);
                } else if (n->floor_round == 0 && !weak) {
                        n->floor_round = n->read_round;
                        n->read_floor = floor;
                }
        }
        note_reads(w, n);
        queue_write(n);
        for (uint32_t i = 0; i < n->out.message_count; i++)
                post(w, &n->out.messages[i], NULL);
        raft_output_reset(&n->out);
        return r;
}

__attribute__((unused)) static rq_err configure(network *w, raft_id id, raft_configuration c) {
        return step(w, id, (raft_event) { .type = RAFT_EV_CONFIGURE, .configure = &c });
}

__attribute__((unused)) static rq_err transfer(network *w, raft_id id, raft_id to) {
        return step(w, id, (raft_event) { .type = RAFT_EV_TRANSFER, .peer = { .id = to } });
}

__attribute__((unused)) static void peer_down(network *w, raft_id id, raft_id peer, bool refused) {
        (void) step(w, id, (raft_event) { .type = RAFT_EV_PEER_DOWN, .peer = { .id = peer, .refused = refused } });
}

__attribute__((unused)) static void isolate(network *w, raft_id id, bool cut) {
        for (raft_id other = 1; other <= NODES; other++)
                w->cut[id][other] = w->cut[other][id] = cut;
}

/* This node stands for election. */
__attribute__((unused)) static void stand(network *w, raft_id id) {
        for (int i = 0; i < 3 && raft_role_of(node_of(w, id)->raft) == RAFT_FOLLOWER; i++) {
                w->now_us += 2 * ELECTION; /* nobody protects anybody any more; the first time, it may have slept itself */
                tick(w, id);
        }
        assert_int_not_equal(raft_role_of(node_of(w, id)->raft), RAFT_FOLLOWER);
}

/* This node is elected by those it reaches, with no help of chance. */
__attribute__((unused)) static void elect(network *w, raft_id id) {
        for (int i = 0; i < 20 && raft_role_of(node_of(w, id)->raft) != RAFT_LEADER; i++) {
                w->now_us += 2 * ELECTION;
                tick(w, id);
                settle(w);
        }
        assert_int_equal(raft_role_of(node_of(w, id)->raft), RAFT_LEADER);
}

__attribute__((unused)) static raft_progress_view progress(network *w, raft_id leader, raft_id member) {
        raft_progress_view v = {0};
        assert_true(raft_progress_of(node_of(w, leader)->raft, member, &v));
        return v;
}

/* The snapshot that this member needs, by magic: the leader's committed log. */
__attribute__((unused)) static void ship_snapshot(network *w, raft_id leader, raft_id to) {
        node *from = node_of(w, leader), *n = node_of(w, to);
        raft_index index = raft_commit_of(from->raft), configuration_index = 0;
        int configuration = from->disk_base_configuration;
        configuration_index = from->disk_base_configuration_index;
        for (raft_index i = from->disk_base + 1; i <= index; i++)
                if (from->log[i].configuration != 0) {
                        configuration = from->log[i].configuration;
                        configuration_index = i;
                }
        while (write_one(w, to))
                ; /* a log that is replaced has no writer */
        bool keeps = raft_trail_term_at(raft_trail_of(n->raft), index) == from->log[index].term;
        raft_event event = { .type = RAFT_EV_INSTALLED, .now_us = w->now_us, .installed = {
                .index = index, .term = from->log[index].term, .configuration_index = configuration_index,
                .configuration = configuration == 0 ? NULL : &w->pool[configuration - 1] } };
        if (index <= raft_trail_of(n->raft)->base_index || from->log[index].term > raft_term_of(n->raft))
                return;
        for (raft_index i = 1; i <= index; i++)
                n->log[i] = n->disk[i] = from->log[i];
        if (!keeps) {
                n->last = n->disk_last = index;
        }
        if (n->disk_last < index)
                n->disk_last = index;
        n->disk_base = index;
        n->disk_base_term = from->log[index].term;
        n->disk_base_configuration = configuration;
        n->disk_base_configuration_index = configuration_index;
        assert_int_equal(raft_step(n->raft, &event, &n->out), RQ_OK);
        assert_null(raft_check(n->raft));
        raft_output_reset(&n->out);
        watch_commit(w, to);
        (void) step(w, leader, (raft_event) { .type = RAFT_EV_SNAPSHOT_DONE, .peer = { .id = to, .index = index } });
}

__attribute__((unused)) static rq_err compact(network *w, raft_id id, raft_index index) {
        node *n = node_of(w, id);
        raft_term term = raft_trail_term_at(raft_trail_of(n->raft), index);
        rq_err r = step(w, id, (raft_event) { .type = RAFT_EV_COMPACTED, .compacted_index = index });
        if (r < 0 || index <= n->disk_base)
                return r;
        for (raft_index i = n->disk_base + 1; i <= index; i++)
                if (n->log[i].configuration != 0) {
                        n->disk_base_configuration = n->log[i].configuration;
                        n->disk_base_configuration_index = i;
                }
        n->disk_base = index;
        n->disk_base_term = term;
        return r;
}

#endif
