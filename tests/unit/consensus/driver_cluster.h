/* Several drivers in one process for tests: links, disks, stores and the clock are
 * the test's. A disk keeps what it was handed by reference until it confirms it, as
 * the log writer does. */
#ifndef RQ_TESTS_CONSENSUS_DRIVER_CLUSTER_H
#define RQ_TESTS_CONSENSUS_DRIVER_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/driver.h"

enum {
        CLUSTER_NODES_MAX = 5, CLUSTER_LOG_MAX = 1 << 17, CLUSTER_PIECES_MAX = 256,
        HEARTBEAT_US = 10000, ELECTION_US = 100000,
};

typedef struct pending_write {
        struct pending_write *next;
        raft_persisted when_durable;
        raft_index first;
        rq_bytes pieces[CLUSTER_PIECES_MAX];
        size_t piece_count;
} pending_write;

typedef struct cluster_node {
        driver *d;
        raft_id id;
        rq_buf disk[CLUSTER_LOG_MAX]; /* by index; one record each */
        raft_index disk_last;
        pending_write *writes;        /* oldest first */
        bool disk_hangs;
        rq_buf applied;               /* records, in order */
        raft_index applied_index;
} cluster_node;

typedef enum packet_kind { PACKET_MESSAGE, PACKET_FORWARD, PACKET_REFUSED } packet_kind;

typedef struct packet {
        struct packet *next;
        packet_kind kind;
        int from, to;
        raft_message message;
        driver_forward forward;
        rq_err err;
        rq_buf bytes;
} packet;

typedef struct cluster {
        int count;
        uint64_t now_us;
        cluster_node *nodes;
        bool cut[CLUSTER_NODES_MAX][CLUSTER_NODES_MAX]; /* from, to */
        bool appends_lost;
        rq_err refuse_forwards;       /* RQ_OK: don't */
        packet *first, **end;
        uint32_t forward_count;       /* writes, once for each time one was sent */
        uint32_t barrier_count;       /* likewise, of barriers */
        uint32_t disk_read_count;
        driver_forward last_forward;  /* without its body */
} cluster;

static const rq_uuid cluster_database = { .bytes = "a database id 1" };

static inline rq_uuid disk_of(int i) { return (rq_uuid) { .bytes = { (uint8_t) (2 * i + 1), 'd', 'i', 's', 'k' } }; }

static inline membership members_upto(int count) {
        membership m = { .count = (uint32_t) count };
        for (int i = 0; i < count; i++) {
                m.members[i] = (member) { .disk_uuid = disk_of(i), .voter = true };
                (void) snprintf(m.members[i].node_id, sizeof m.members[i].node_id, "n%d", i + 1);
                (void) snprintf(m.members[i].raft_addr, sizeof m.members[i].raft_addr, "host%d:4002", i + 1);
        }
        return m;
}

static inline void start_node(cluster *c, int i, int member_count) {
        cluster_node *n = &c->nodes[i];
        rq_uuid disk = disk_of(i);
        rq_buf body = {0};
        membership m = members_upto(member_count);
        n->id = membership_raft_id(&disk);
        if (member_count > 0)
                assert_int_equal(membership_encode(&m, &body), RQ_OK);
        const driver_options o = {
                .id = n->id, .database_id = cluster_database, .random_seed = 77 + (uint64_t) i, .now_us = c->now_us,
                .base_membership = rq_buf_bytes(&body), .heartbeat_us = HEARTBEAT_US, .election_us = ELECTION_US,
                .disk_stall_us = 100 * ELECTION_US,
        };
        assert_int_equal(driver_new(&o, &n->d), RQ_OK);
        assert_int_equal(driver_restored(n->d), RQ_OK);
        rq_buf_done(&body);
        const stream_fetch fetch = { .from = 1 };
        const rq_uuid stream_id = { .bytes = "stream" };
        assert_int_equal(driver_fetch(n->d, &fetch, &stream_id), RQ_OK);
}

/* The first member_count of count nodes are members. */
static inline cluster *cluster_new(int count, int member_count) {
        cluster *c = calloc(1, sizeof *c);
        assert_non_null(c);
        c->nodes = calloc((size_t) count, sizeof *c->nodes);
        assert_non_null(c->nodes);
        c->count = count;
        c->now_us = 1000000;
        c->end = &c->first;
        for (int i = 0; i < count; i++)
                start_node(c, i, i < member_count ? member_count : 0);
        return c;
}

static inline void free_write(cluster_node *n) {
        pending_write *w = n->writes;
        n->writes = w->next;
        free(w);
}

static inline void cluster_free(cluster *c) {
        for (packet *p = c->first, *next; p != NULL; p = next) {
                next = p->next;
                rq_buf_done(&p->bytes);
                free(p);
        }
        for (int i = 0; i < c->count; i++) {
                cluster_node *n = &c->nodes[i];
                while (n->writes != NULL)
                        free_write(n);
                n->d = driver_free(n->d);
                for (raft_index k = 0; k < CLUSTER_LOG_MAX; k++)
                        rq_buf_done(&n->disk[k]);
                rq_buf_done(&n->applied);
        }
        free(c->nodes);
        free(c);
}

static inline int node_of(const cluster *c, raft_id id) {
        for (int i = 0; i < c->count; i++)
                if (c->nodes[i].id == id)
                        return i;
        return -1;
}

static inline packet *post(cluster *c, packet_kind kind, int from, raft_id to) {
        packet *p = calloc(1, sizeof *p);
        assert_non_null(p);
        p->kind = kind;
        p->from = from;
        p->to = node_of(c, to);
        assert_true(p->to >= 0);
        *c->end = p;
        c->end = &p->next;
        return p;
}

/* --- the disk --------------------------------------------------------------- */

static inline void hand_over(cluster_node *n, const driver_plan *plan) {
        pending_write *w = calloc(1, sizeof *w), **at = &n->writes;
        assert_non_null(w);
        w->when_durable = plan->when_durable;
        w->first = plan->first;
        for (raft_index next = plan->first, last; plan->first != 0 && next <= plan->last; next = last + 1) {
                assert_true(w->piece_count < CLUSTER_PIECES_MAX);
                w->pieces[w->piece_count++] = driver_entry_piece(n->d, next, plan->last, SIZE_MAX, &last);
        }
        while (*at != NULL)
                at = &(*at)->next;
        *at = w;
}

static inline void confirm_one(cluster_node *n) {
        pending_write *w = n->writes;
        raft_index index = w->first;
        for (size_t i = 0; i < w->piece_count; i++)
                for (size_t at = 0, size; at < w->pieces[i].size; at += size, index++) {
                        record_header header;
                        rq_bytes body;
                        assert_true(index < CLUSTER_LOG_MAX);
                        assert_int_equal(record_decode(rq_bytes_of(w->pieces[i].data + at, w->pieces[i].size - at), &header, &body), RQ_OK);
                        assert_true(header.index == index);
                        size = RECORD_HEADER_BYTES + body.size;
                        n->disk[index].size = 0;
                        assert_int_equal(rq_buf_append(&n->disk[index], w->pieces[i].data + at, size), RQ_OK);
                }
        if (w->first != 0)
                n->disk_last = index - 1;
        driver_persisted(n->d, &w->when_durable);
        free_write(n);
}

/* Entries from memory or disk, up to bytes_max but for the first; returns how many. */
static inline uint32_t collect(cluster *c, cluster_node *n, raft_index first, raft_index last, uint64_t bytes_max, bool in_memory, rq_buf *out) {
        raft_index next = first;
        if (!in_memory && first <= last) {
                assert_true(last <= n->disk_last);
                c->disk_read_count++;
        }
        while (next <= last) {
                raft_index to = next;
                rq_bytes piece;
                if (in_memory) {
                        piece = driver_entry_piece(n->d, next, last, bytes_max - out->size, &to);
                } else {
                        assert_true(next <= n->disk_last);
                        piece = rq_buf_bytes(&n->disk[next]);
                }
                if (out->size > 0 && out->size + piece.size > bytes_max)
                        break;
                assert_int_equal(rq_buf_append_bytes(out, piece), RQ_OK);
                next = to + 1;
                if (out->size >= bytes_max)
                        break;
        }
        return (uint32_t) (next - first);
}

/* --- a turn ----------------------------------------------------------------- */

static inline void send_all(cluster *c, int i) {
        cluster_node *n = &c->nodes[i];
        raft_message m;
        while (driver_next_message(n->d, &m))
                post(c, PACKET_MESSAGE, i, m.to)->message = m;
        for (int to = 0; to < c->count; to++) {
                driver_append a;
                while (to != i && driver_next_append(n->d, c->nodes[to].id, &a)) {
                        packet *p = post(c, PACKET_MESSAGE, i, c->nodes[to].id);
                        uint32_t count = collect(c, n, a.first, a.last, a.bytes_max, a.in_memory, &p->bytes);
                        p->message = a.message;
                        p->message.append.count = count;
                        driver_append_sent(n->d, c->nodes[to].id, count, p->bytes.size, c->now_us);
                }
        }
        driver_forward f;
        while (driver_next_forward(n->d, &f)) {
                packet *p = post(c, PACKET_FORWARD, i, f.to);
                p->forward = f;
                assert_int_equal(rq_buf_append_bytes(&p->bytes, f.body), RQ_OK);
                driver_forward_sent(n->d, &f);
                if (f.kind == RECORD_BARRIER)
                        c->barrier_count++;
                else
                        c->forward_count++;
                c->last_forward = f;
        }
}

static inline void feed(cluster *c, cluster_node *n) {
        driver_batch b;
        while (driver_next_batch(n->d, &b)) {
                rq_buf records = {0};
                uint32_t count = collect(c, n, b.first, b.last, b.bytes_max, b.in_memory, &records);
                assert_true(driver_batch_fits(n->d, records.size));
                assert_int_equal(rq_buf_append_bytes(&n->applied, rq_buf_bytes(&records)), RQ_OK);
                driver_batch_sent(n->d, count, records.size);
                n->applied_index = b.first + count - 1;
                rq_buf_done(&records);
                if (count > 0)
                        assert_int_equal(driver_applied(n->d, n->applied_index, 0), RQ_OK);
        }
}

static inline bool turn_node(cluster *c, int i) {
        cluster_node *n = &c->nodes[i];
        driver_plan plan;
        /* Their wall clocks are seconds apart. */
        driver_turn(n->d, c->now_us, 1767225600000000u + c->now_us - 5000000u * (uint64_t) i, &plan);
        if (plan.persist)
                hand_over(n, &plan);
        send_all(c, i);
        feed(c, n);
        bool busy = n->writes != NULL && !n->disk_hangs;
        while (n->writes != NULL && !n->disk_hangs)
                confirm_one(n);
        return busy;
}

static inline void deliver(cluster *c, packet *p) {
        driver *d = c->nodes[p->to].d;
        if (p->kind == PACKET_MESSAGE) {
                assert_int_equal(driver_receive(d, &p->message, rq_buf_bytes(&p->bytes), c->now_us), RQ_OK);
        } else if (p->kind == PACKET_FORWARD) {
                driver_forward f = p->forward;
                f.to = c->nodes[p->from].id;
                f.body = rq_buf_bytes(&p->bytes);
                rq_err r = c->refuse_forwards < 0 ? c->refuse_forwards : driver_forwarded(d, &f);
                if (r < 0) {
                        packet *back = post(c, PACKET_REFUSED, p->to, c->nodes[p->from].id);
                        back->forward = p->forward;
                        back->err = r;
                }
        } else {
                driver_forward_refused(d, c->nodes[p->from].id, p->forward.term, p->forward.seed, p->err);
        }
}

static inline void deliver_all(cluster *c) {
        packet *p = c->first;
        c->first = NULL;
        c->end = &c->first;
        for (packet *next; p != NULL; p = next) {
                next = p->next;
                bool lost = c->cut[p->from][p->to] ||
                            (c->appends_lost && p->kind == PACKET_MESSAGE && p->message.type == RAFT_MSG_APPEND);
                if (!lost)
                        deliver(c, p);
                rq_buf_done(&p->bytes);
                free(p);
        }
}

/* Until nobody has anything to say at this time. */
static inline void settle(cluster *c) {
        bool busy = true;
        while (busy) {
                c->now_us += 10;
                busy = false;
                for (int i = 0; i < c->count; i++)
                        busy |= turn_node(c, i);
                busy |= c->first != NULL;
                deliver_all(c);
        }
}

static inline void elapse(cluster *c, uint64_t us) {
        for (uint64_t end_us = c->now_us + us; c->now_us < end_us;) {
                settle(c);
                c->now_us += HEARTBEAT_US / 4;
        }
        settle(c);
}

/* The one who leads the highest term; -1: nobody. */
static inline int leader_of(const cluster *c) {
        int best = -1;
        for (int i = 0; i < c->count; i++) {
                const raft *r = driver_raft(c->nodes[i].d);
                if (raft_role_of(r) == RAFT_LEADER && (best < 0 || raft_term_of(r) > raft_term_of(driver_raft(c->nodes[best].d))))
                        best = i;
        }
        return best;
}

static inline int elect(cluster *c) {
        for (int tries = 0; tries < 200; tries++) {
                elapse(c, HEARTBEAT_US);
                int leader = leader_of(c);
                if (leader >= 0 && raft_commit_is_current(driver_raft(c->nodes[leader].d)))
                        return leader;
        }
        fail_msg("no leader");
        return -1;
}

static inline void isolate(cluster *c, int i, bool cut) {
        for (int k = 0; k < c->count; k++)
                c->cut[i][k] = c->cut[k][i] = cut && k != i;
}

static inline void cut_all(cluster *c, bool cut) {
        for (int i = 0; i < c->count; i++)
                for (int k = 0; k < c->count; k++)
                        c->cut[i][k] = cut && i != k;
}

static inline void join(cluster *c, int a, int b) { c->cut[a][b] = c->cut[b][a] = false; }

/* Entry clocks rise strictly along what a store has applied (hazard 12). */
static inline void check_clocks(const cluster *c, int i) {
        const rq_buf *all = &c->nodes[i].applied;
        uint64_t clock_us = 0;
        for (size_t at = 0; at < all->size; at += record_peek_bytes(all->data + at)) {
                assert_true(record_peek_clock_us(all->data + at) > clock_us);
                clock_us = record_peek_clock_us(all->data + at);
        }
}

static inline rq_err propose_until(cluster *c, int i, uint64_t request_id, const char *body, uint64_t deadline_us) {
        const driver_proposal p = { .from = { .gateway = 1, .request_id = request_id }, .deadline_us = deadline_us, .kind = RECORD_SQL, .step_budget = 7 };
        return driver_propose(c->nodes[i].d, &p, rq_bytes_text(body));
}

static inline rq_err propose(cluster *c, int i, uint64_t request_id, const char *body) {
        return propose_until(c, i, request_id, body, UINT64_MAX);
}

/* How often a node's store has applied a statement. */
static inline int applied_times(const cluster *c, int i, const char *text) {
        const rq_buf *all = &c->nodes[i].applied;
        int times = 0;
        for (size_t at = 0; at < all->size;) {
                record_header header;
                rq_bytes body;
                assert_int_equal(record_decode(rq_bytes_of(all->data + at, all->size - at), &header, &body), RQ_OK);
                times += rq_bytes_equal(body, rq_bytes_text(text)) && header.kind == RECORD_SQL;
                at += RECORD_HEADER_BYTES + body.size;
        }
        return times;
}

static inline void check_equal(const cluster *c, int a, int b) {
        assert_int_equal(c->nodes[a].applied.size, c->nodes[b].applied.size);
        assert_memory_equal(c->nodes[a].applied.data, c->nodes[b].applied.data, c->nodes[a].applied.size);
}

static inline answers *answers_of(const cluster *c, int i) { return driver_answers(c->nodes[i].d); }

#endif
