/* Counters for /debug/vars, by the names that monitoring of rqlite knows where
 * the thing counted exists here. Plain numbers of one thread. */
#ifndef RQ_GATEWAY_METRICS_H
#define RQ_GATEWAY_METRICS_H

#include <stdint.h>

#define HTTP_COUNTERS(X)                                                        \
        X(executions) X(execute_stmts_rx) X(queries) X(query_stmts_rx)          \
        X(requests) X(request_stmts_rx) X(sql_analyze) X(leader_not_found)      \
        X(num_readyz) X(num_status) X(backups) X(loads) X(boot)                 \
        X(queued_executions) X(queued_executions_ok)                            \
        X(queued_executions_failed) X(queued_executions_wait)                   \
        X(queued_executions_wait_timeout) X(queued_executions_no_leader)        \
        X(queued_executions_unknown_error) X(queued_executions_num_stmts_rx)    \
        X(queued_executions_num_stmts_tx) X(queued_executions_retried)          \
        X(user_snapshots) X(user_reaps) X(ui)                                   \
        X(auth_ok) X(auth_fail)

#define GATEWAY_COUNTERS(X)                                                     \
        X(connections_accepted) X(connections_open) X(connections_evicted)      \
        X(tls_handshakes) X(tls_failed)                                         \
        X(requests_received) X(requests_in_flight) X(requests_refused_inflight) \
        X(bad_requests) X(header_limit) X(body_limit) X(slow_clients)           \
        X(clients_gone) X(reads_cancelled) X(reads_sent_again)                  \
        X(reads_moved_to_log) X(answers_4xx) X(answers_5xx) X(answers_unknown)  \
        X(answers_cut) X(deadlines_passed) X(results_unclaimed)                 \
        X(link_consensus_up) X(link_store_up) X(body_bytes_received)            \
        X(result_bytes_sent)

/* The queue of writes. timeout: batches that were sent for the time that had
 * passed; flush: for a mark, a hand-over or the end. */
#define QUEUE_COUNTERS(X) X(objects_rx) X(objects_tx) X(batches) X(num_timeout) X(num_flush) X(parked) X(refused)

typedef struct metrics {
#define X(name) uint64_t name;
        struct { HTTP_COUNTERS(X) } http;
        struct { GATEWAY_COUNTERS(X) } gateway;
        struct { QUEUE_COUNTERS(X) } queue;
#undef X
} metrics;

/* Walks the counters of a group in the order of their names; NULL at the end. */
const char *metrics_http_at(const metrics *m, unsigned place, uint64_t *ret_value);
const char *metrics_gateway_at(const metrics *m, unsigned place, uint64_t *ret_value);
const char *metrics_queue_at(const metrics *m, unsigned place, uint64_t *ret_value);

#endif
