/* Messages of the hot path written straight into the link's buffer, and RESULT
 * read from its frame (proto/README.md). Rare messages use the generated code. */
#ifndef RQ_GATEWAY_MESSAGE_H
#define RQ_GATEWAY_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "ipc/ipc_link.h"
#include "load_chunk.h"

typedef struct message_render {
        bool associative, timings, pretty, blob_array, qualify_columns, raft_index;
} message_render;

typedef struct message_entry {     /* PROPOSE with a SqlEntry */
        rq_uuid incarnation;
        uint64_t request_id;
        rq_bytes node, disk_uuid;
        uint64_t timeout_us, step_budget;
        rq_bytes statements;       /* a run of io/statement.h */
        bool transaction, request_mode;
        message_render render;
        rq_bytes groups;           /* a run of message_put_group(); empty: none */
} message_entry;

typedef struct message_chunk {     /* PROPOSE with a piece of a load */
        uint64_t request_id, timeout_us, step_budget;
        bool abort;                /* ABORT_GROUP */
        load_chunk chunk;          /* its request_id is the same */
        rq_bytes data;
} message_chunk;

/* A SqlGroup of an entry: so many of its statements are one client's request.
 * Errors: RQ_ENOMEM. */
rq_err message_put_group(rq_buf *out, uint32_t statement_count, bool transaction);

typedef struct message_query {     /* the Query of READ and QUERY */
        rq_bytes statements;
        bool transaction, request_mode;
        message_render render;
        uint64_t db_timeout_us, min_index, credit_bytes, timeout_us, max_rows, max_bytes;
        uint64_t freshness_us;     /* READ only; 0: none */
        bool freshness_strict;
        bool is_backup;            /* instead of statements: */
        rq_bytes backup;           /* an encoded Backup, empty if it has the default of everything */
} message_query;

/* level: number of ReadLevel. Errors: as ipc_link_reserve(); RQ_ETOOBIG also
 * above what a record of the log holds, for reads too: the receiver refuses it. */
rq_err message_send_propose(ipc_link *link, const message_entry *entry);
rq_err message_send_chunk(ipc_link *link, const message_chunk *chunk);
rq_err message_send_read(ipc_link *link, uint64_t request_id, unsigned level, const message_query *query);
rq_err message_send_query(ipc_link *link, uint64_t request_id, const message_query *query);
rq_err message_send_credit(ipc_link *link, uint64_t request_id, uint64_t bytes);

typedef struct message_result { bool last, via_log; uint64_t index; } message_result;

/* Errors: RQ_EPROTO. */
rq_err message_result_decode(rq_bytes body, message_result *ret_result);

#endif
