/* Stands in for consensus and store behind a gateway, on the real links: both
 * sockets in one loop, answers by the first word of the first statement. For
 * tests only; one place per program, so all is static.
 *
 *   INSERT ...       {"results":[{"last_insert_id":N,"rows_affected":1}]
 *   SELECT ...       {"results":[{"columns":["1"],"types":["integer"],"values":[[1]]}]
 *   BIG n            n pieces of 32 KiB, as far as credits go
 *   FAIL o r text    REQUEST_FAILED with outcome o, reason r
 *   HANG             nothing
 *   RAW json         json, as it is
 *   GROUPS n         n pieces of 32 KiB: a good result, and one with a long error
 *   WRITES           a read of it answers NEEDS_LOG; through the log as INSERT
 *   HALF             one piece, then nothing
 *   DROP_CONSENSUS, DROP_STORE   closes that link instead of answering, once
 *   DROPS            closes the link to the store every time
 *
 * A transfer is answered by the name of who is to lead: see fake_on_transfer(). */
#ifndef RQ_TESTS_FAKE_NODE_H
#define RQ_TESTS_FAKE_NODE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consensus.pb-c.h"
#include "ipc/ipc_endpoint.h"
#include "load_chunk.h"
#include "log_entry.pb-c.h"
#include "record.h"
#include "store.pb-c.h"

enum { FAKE_PIECE_BYTES = 32 * 1024, FAKE_STREAMS_MAX = 256 };

typedef struct fake_stream { uint64_t id, credit; unsigned pieces_left; bool used, began, groups; } fake_stream;

typedef struct fake_node {
        rq_loop *loop;
        ipc_listener *consensus, *store;
        ipc_link *consensus_link, *store_link;
        fake_stream streams[FAKE_STREAMS_MAX];
        uint64_t index, proposes, reads, queries, cancels, sent_bytes, max_uncredited;
        bool no_leader, not_ready, catching_up, mute, dropped;
        uint64_t states_sent;
        bool follows, reads_fail;      /* n2 of three leads, at 127.0.0.1:4101 and :4102; what asks it, fails */
        uint64_t transfers, last_freshness_us;
        uint64_t removes;
        unsigned removes_refused;      /* so many are told that there is no leader */
        uint64_t loaded_bytes;
        bool last_freshness_strict, last_wait;
        uint64_t last_budget, last_timeout_us, last_min_index, last_level;
        int last_backup;               /* Backup.Format of the last query; -1: it was none */
        char last_tables[128];         /* and its tables, a comma behind each */
        size_t last_statement_count, last_parameter_count;
} fake_node;

static inline void fake_result(fake_node *f, uint64_t id, bool last, bool via_log, const char *json, size_t size) {
        Rq__Result result = RQ__RESULT__INIT;
        uint8_t body[64];
        result.last = last;
        result.index = ++f->index;
        result.via_log = via_log;
        size_t body_size = rq__result__pack(&result, body);
        if (f->store_link != NULL)
                (void) ipc_link_send(f->store_link, IPC_RESULT, id, rq_bytes_of(body, body_size), rq_bytes_of(json, size));
}

static inline void fake_failed(ipc_link *link, uint64_t id, unsigned outcome, unsigned reason, const char *text) {
        Rq__RequestFailed failed = RQ__REQUEST_FAILED__INIT;
        uint8_t body[1024];
        failed.outcome = (Rq__RequestFailed__Outcome) outcome;
        failed.reason = (Rq__RequestFailed__Reason) reason;
        failed.index = outcome == 3 ? 77 : 0;
        failed.text = (char *) (uintptr_t) text;
        size_t size = rq__request_failed__pack(&failed, body);
        (void) ipc_link_send(link, IPC_REQUEST_FAILED, id, rq_bytes_of(body, size), (rq_bytes) {0});
}

static inline void fake_stream_go(fake_node *f, fake_stream *s) {
        static char piece[FAKE_PIECE_BYTES];
        const char *begin = s->groups ? "{\"results\":[{},{\"error\":\"" : "{\"results\":[{\"x\":\"yyyy";
        memset(piece, 'x', sizeof piece);
        while (s->used && s->credit >= sizeof piece) {
                bool last = --s->pieces_left == 0;
                memset(piece, 'y', strlen(begin));
                if (!s->began)
                        memcpy(piece, begin, strlen(begin));
                if (last)
                        memcpy(piece + sizeof piece - 3, "\"}]", 3);
                s->began = true;
                s->credit -= sizeof piece;
                f->sent_bytes += sizeof piece;
                s->used = !last;
                fake_result(f, s->id, last, false, piece, sizeof piece);
        }
}

static inline void fake_start_stream(fake_node *f, uint64_t id, unsigned pieces, uint64_t credit, bool groups) {
        for (int i = 0; i < FAKE_STREAMS_MAX; i++)
                if (!f->streams[i].used) {
                        f->streams[i] = (fake_stream) { .id = id, .credit = credit, .pieces_left = pieces, .used = true, .groups = groups };
                        fake_stream_go(f, &f->streams[i]);
                        return;
                }
}

static inline void fake_answer(fake_node *f, ipc_link *link, uint64_t id, const char *sql, bool via_log, bool request_mode, uint64_t credit) {
        static const char select[] = "{\"results\":[{\"columns\":[\"1\"],\"types\":[\"integer\"],\"values\":[[1]]}]";
        char json[128];
        unsigned a, b;
        int n;
        if (strncmp(sql, "BIG ", 4) == 0) {
                fake_start_stream(f, id, (unsigned) atoi(sql + 4), credit, false);
        } else if (strncmp(sql, "GROUPS ", 7) == 0) {
                fake_start_stream(f, id, (unsigned) atoi(sql + 7), credit, true);
        } else if (strncmp(sql, "RAW ", 4) == 0) {
                fake_result(f, id, true, via_log, sql + 4, strlen(sql + 4));
        } else if (strncmp(sql, "SELECT", 6) == 0 && !via_log) {
                fake_result(f, id, true, false, select, sizeof select - 1);
        } else if (sscanf(sql, "FAIL %u %u %n", &a, &b, &n) == 2) {
                fake_failed(link, id, a, b, sql + n);
        } else if (strncmp(sql, "HANG", 4) == 0) {
                return;
        } else if (strncmp(sql, "HALF", 4) == 0) {
                fake_result(f, id, false, false, select, sizeof select - 1);
        } else if (strncmp(sql, "DROP_", 5) == 0 && !f->dropped) {
                f->dropped = true;
                ipc_link_close(sql[5] == 'S' ? f->store_link : f->consensus_link);
        } else if (strncmp(sql, "DROPS", 5) == 0) {
                ipc_link_close(f->store_link);
        } else if (!via_log && request_mode) {
                fake_failed(link, id, 0, 8, "");
        } else {
                n = snprintf(json, sizeof json, "{\"results\":[{\"last_insert_id\":%llu,\"rows_affected\":1}]", (unsigned long long) f->index);
                fake_result(f, id, true, via_log, json, (size_t) n);
        }
}

static inline void fake_sql(char out[static 256], Rq__Statement **statements, size_t count) {
        size_t n = count > 0 ? statements[0]->sql.len : 0;
        n = n < 255 ? n : 255;
        if (n > 0)
                memcpy(out, statements[0]->sql.data, n);
        out[n] = '\0';
}

/* A piece of a load, or its end: taken. */
static inline rq_err fake_on_chunk(fake_node *f, const ipc_frame *frame) {
        load_chunk chunk;
        rq_bytes data;
        if (load_chunk_decode(frame->payload, &chunk, &data) < 0)
                abort();
        f->loaded_bytes += data.size;
        fake_result(f, frame->request_id, true, true, "", 0);
        return RQ_OK;
}

static inline rq_err fake_on_propose(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        char sql[256];
        Rq__Propose *propose = rq__propose__unpack(NULL, frame->body.size, frame->body.data);
        f->proposes++;
        if (propose != NULL && propose->kind == RECORD_LOAD_CHUNK) {
                rq__propose__free_unpacked(propose, NULL);
                return fake_on_chunk(f, frame);
        }
        Rq__SqlEntry *entry = rq__sql_entry__unpack(NULL, frame->payload.size, frame->payload.data);
        if (propose == NULL || entry == NULL || propose->kind != 2 || entry->origin == NULL || entry->origin->request_id != frame->request_id)
                abort();
        f->last_budget = propose->step_budget;
        f->last_timeout_us = propose->timeout_us;
        f->last_statement_count = entry->n_statements;
        f->last_parameter_count = entry->n_statements > 0 ? entry->statements[0]->n_parameters : 0;
        fake_sql(sql, entry->statements, entry->n_statements);
        rq__propose__free_unpacked(propose, NULL);
        rq__sql_entry__free_unpacked(entry, NULL);
        if (f->mute)
                return RQ_OK;
        if (f->no_leader)
                fake_failed(link, frame->request_id, 0, 1, "");
        else
                fake_answer(f, link, frame->request_id, sql, true, false, 256 * 1024);
        return RQ_OK;
}

static inline rq_err fake_on_query(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        char sql[256];
        Rq__Query *query = rq__query__unpack(NULL, frame->payload.size, frame->payload.data);
        if (query == NULL)
                abort();
        if (frame->type == IPC_READ) {
                Rq__Read *read = rq__read__unpack(NULL, frame->body.size, frame->body.data);
                f->reads++;
                f->last_level = read->level;
                f->last_timeout_us = read->timeout_us;
                f->last_freshness_us = read->freshness_us;
                f->last_freshness_strict = read->freshness_strict;
                rq__read__free_unpacked(read, NULL);
        } else {
                f->queries++;
                f->last_timeout_us = query->timeout_us;
        }
        f->last_min_index = query->min_index;
        f->last_backup = query->backup != NULL ? (int) query->backup->format : -1;
        f->last_tables[0] = '\0';
        for (size_t i = 0; query->backup != NULL && i < query->backup->n_tables; i++) {
                const ProtobufCBinaryData *name = &query->backup->tables[i];
                size_t used = strlen(f->last_tables);
                (void) snprintf(f->last_tables + used, sizeof f->last_tables - used, "%.*s,", (int) name->len, (const char *) name->data);
        }
        fake_sql(sql, query->statements, query->n_statements);
        uint64_t credit = query->credit_bytes;
        bool request_mode = query->request_mode;
        rq__query__free_unpacked(query, NULL);
        if (f->mute)
                return RQ_OK;
        if ((f->no_leader || f->reads_fail) && frame->type == IPC_READ)
                fake_failed(link, frame->request_id, 0, 1, "");
        else
                fake_answer(f, link, frame->request_id, sql, false, request_mode, credit);
        return RQ_OK;
}

static inline rq_err fake_on_credit(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        (void) link;
        Rq__Credit *credit = rq__credit__unpack(NULL, frame->body.size, frame->body.data);
        for (int i = 0; i < FAKE_STREAMS_MAX; i++)
                if (f->streams[i].used && f->streams[i].id == frame->request_id) {
                        f->streams[i].credit += credit->bytes;
                        fake_stream_go(f, &f->streams[i]);
                        break;
                }
        rq__credit__free_unpacked(credit, NULL);
        return RQ_OK;
}

static inline rq_err fake_on_cancel(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        (void) link;
        f->cancels++;
        for (int i = 0; i < FAKE_STREAMS_MAX; i++)
                if (f->streams[i].id == frame->request_id)
                        f->streams[i].used = false;
        return RQ_OK;
}

static inline rq_err fake_on_status(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        static const char three[] = "{\"nodes\":["
                "{\"id\":\"n1\",\"addr\":\"127.0.0.1:4002\",\"api_addr\":\"other:1\",\"suffrage\":\"voter\",\"reachable\":false},"
                "{\"id\":\"n2\",\"addr\":\"127.0.0.1:4102\",\"api_addr\":\"127.0.0.1:4101\",\"suffrage\":\"voter\",\"leader\":true,"
                "\"reachable\":true,\"time_us\":1500},"
                "{\"id\":\"n3\",\"addr\":\"127.0.0.1:4202\",\"api_addr\":\"127.0.0.1:4201\",\"suffrage\":\"voter\",\"reachable\":false,"
                "\"error\":\"connection refused\"},"
                "{\"id\":\"n4\",\"addr\":\"127.0.0.1:4302\",\"api_addr\":\"127.0.0.1:4301\",\"suffrage\":\"nonvoter\",\"reachable\":true}],"
                "\"raft\":{\"state\":\"Follower\"}}";
        static const char consensus[] = "{\"nodes\":[{\"id\":\"n1\",\"addr\":\"127.0.0.1:4002\",\"suffrage\":\"voter\"}],"
                "\"raft\":{\"state\":\"Leader\",\"term\":9223372036854775807,\"commit_index\":9007199254740993}}";
        static const char store[] = "{\"applied_index\":7,\"applied_term\":2,\"sqlite3\":{\"version\":\"3.40.1\"},\"counters\":{\"executions\":3}}";
        const char *text = link != f->consensus_link ? store : f->follows ? three : consensus;
        if (!f->mute)
                (void) ipc_link_send(link, IPC_STATUS, frame->request_id, (rq_bytes) {0}, rq_bytes_text(text));
        return RQ_OK;
}

static inline void fake_send_node_state(fake_node *f) {
        Rq__NodeState state = RQ__NODE_STATE__INIT;
        static uint8_t uuid[16] = { 1, 2, 3 };
        uint8_t body[512];
        state.node_id = (char *) (uintptr_t) "n1";
        state.disk_uuid = (ProtobufCBinaryData) { .data = uuid, .len = sizeof uuid };
        state.cluster_id = (ProtobufCBinaryData) { .data = uuid, .len = sizeof uuid };
        state.role = f->no_leader || f->follows ? RQ__NODE_STATE__ROLE__FOLLOWER : RQ__NODE_STATE__ROLE__LEADER;
        state.leader_id = (char *) (uintptr_t) (f->no_leader ? "" : f->follows ? "n2" : "n1");
        state.leader_raft_addr = (char *) (uintptr_t) (f->no_leader ? "" : f->follows ? "127.0.0.1:4102" : "127.0.0.1:4002");
        state.leader_api_addr = (char *) (uintptr_t) (f->no_leader ? "" : f->follows ? "127.0.0.1:4101" : "127.0.0.1:4001");
        state.ready = !f->no_leader && !f->not_ready;
        state.catching_up = f->catching_up;
        state.term = ++f->states_sent; /* so that a test knows when it has come */
        size_t size = rq__node_state__pack(&state, body);
        if (f->consensus_link != NULL)
                (void) ipc_link_send(f->consensus_link, IPC_NODE_STATE, 0, rq_bytes_of(body, size), (rq_bytes) {0});
}

/* "" is nobody (alone) or taken; "stop" is refused by another frame, "gone" costs
 * the link, "hang" is never answered. */
static inline rq_err fake_on_transfer(void *arg, ipc_link *link, const ipc_frame *frame) {
        static const char *const names[] = { "no", "n3", "nobody leads", "not me", "zz", "n1", "", "n4", "slow" };
        fake_node *f = arg;
        Rq__Transfer *transfer = rq__transfer__unpack(NULL, frame->body.size, frame->body.data);
        Rq__TransferDone done = RQ__TRANSFER_DONE__INIT;
        uint8_t body[256];
        if (transfer == NULL || transfer->timeout_us == 0)
                abort();
        f->transfers++;
        f->last_wait = transfer->wait;
        char name[64];
        (void) snprintf(name, sizeof name, "%s", transfer->node_id);
        rq__transfer__free_unpacked(transfer, NULL);
        if (strcmp(name, "stop") == 0)
                fake_failed(link, frame->request_id, 0, 7, "");
        else if (strcmp(name, "gone") == 0)
                ipc_link_close(link);
        for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
                if (strcmp(name, names[i]) != 0)
                        continue;
                done.outcome = (Rq__TransferDone__Outcome) (name[0] == '\0' && f->follows ? 1 : i);
                done.text = (char *) (uintptr_t) (i == 0 ? "the log is stuck" : "");
                size_t size = rq__transfer_done__pack(&done, body);
                (void) ipc_link_send(link, IPC_TRANSFER_DONE, frame->request_id, rq_bytes_of(body, size), (rq_bytes) {0});
        }
        return RQ_OK;
}

static inline rq_err fake_on_remove(void *arg, ipc_link *link, const ipc_frame *frame) {
        fake_node *f = arg;
        Rq__RemoveDone done = RQ__REMOVE_DONE__INIT;
        uint8_t body[16];
        const bool refused = f->removes_refused > 0;
        f->removes++;
        f->removes_refused -= refused;
        done.outcome = refused ? RQ__REMOVE_DONE__OUTCOME__NO_LEADER : RQ__REMOVE_DONE__OUTCOME__DONE;
        const size_t size = rq__remove_done__pack(&done, body);
        (void) ipc_link_send(link, IPC_REMOVE_DONE, frame->request_id, rq_bytes_of(body, size), (rq_bytes) {0});
        return RQ_OK;
}

static inline void fake_consensus_up(void *arg, ipc_link *link) {
        fake_node *f = arg;
        f->consensus_link = link;
        fake_send_node_state(f);
}

static inline void fake_consensus_down(void *arg, ipc_link *link) {
        fake_node *f = arg;
        if (f->consensus_link == link)
                f->consensus_link = NULL;
}

static inline void fake_store_up(void *arg, ipc_link *link) { ((fake_node *) arg)->store_link = link; }

static inline void fake_store_down(void *arg, ipc_link *link) {
        fake_node *f = arg;
        if (f->store_link == link)
                f->store_link = NULL;
        memset(f->streams, 0, sizeof f->streams);
}

#define FAKE_ANY IPC_BODY_BYTES_MAX, IPC_PAYLOAD_BYTES_MAX
static const ipc_rule fake_rules[] = {
        { IPC_PROPOSE, IPC_GATEWAY, FAKE_ANY, fake_on_propose }, { IPC_READ, IPC_GATEWAY, FAKE_ANY, fake_on_query },
        { IPC_QUERY, IPC_GATEWAY, FAKE_ANY, fake_on_query },     { IPC_CREDIT, IPC_GATEWAY, FAKE_ANY, fake_on_credit },
        { IPC_CANCEL, IPC_GATEWAY, FAKE_ANY, fake_on_cancel },   { IPC_STATUS_GET, IPC_GATEWAY, FAKE_ANY, fake_on_status },
        { IPC_TRANSFER, IPC_GATEWAY, FAKE_ANY, fake_on_transfer }, { IPC_REMOVE, IPC_GATEWAY, FAKE_ANY, fake_on_remove },
};

static inline rq_err fake_open_consensus(fake_node *f, int run_dir_fd) {
        const ipc_identity self = { .role = IPC_CONSENSUS, .incarnation = rq_uuid_random() };
        const ipc_handlers handlers = { .rules = fake_rules, .rule_count = sizeof fake_rules / sizeof fake_rules[0],
                                        .on_up = fake_consensus_up, .on_down = fake_consensus_down, .arg = f };
        return ipc_listen(f->loop, run_dir_fd, IPC_SOCKET_CONSENSUS, &self, &handlers, &f->consensus);
}

static inline rq_err fake_open_store(fake_node *f, int run_dir_fd) {
        const ipc_identity self = { .role = IPC_STORE, .incarnation = rq_uuid_random() };
        const ipc_handlers handlers = { .rules = fake_rules, .rule_count = sizeof fake_rules / sizeof fake_rules[0],
                                        .on_up = fake_store_up, .on_down = fake_store_down, .arg = f };
        return ipc_listen(f->loop, run_dir_fd, IPC_SOCKET_STORE, &self, &handlers, &f->store);
}

#endif
