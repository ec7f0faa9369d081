/* What happened, as records: hashed (the same seed gives the same hash), the last
 * ones kept for a report, all printed if wished. Names are those of etcd's state
 * trace where it has one. */
#ifndef RQ_SIM_TRACE_H
#define RQ_SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum trace_event {
        TRACE_INIT_STATE, TRACE_BECOME_FOLLOWER, TRACE_BECOME_PRE_CANDIDATE, TRACE_BECOME_CANDIDATE,
                TRACE_BECOME_LEADER,
        TRACE_REPLICATE, TRACE_COMMIT, TRACE_CHANGE_CONF, TRACE_PERSIST, TRACE_PERSISTED,
        TRACE_SEND_VOTE_REQUEST, TRACE_SEND_VOTE_RESPONSE, TRACE_SEND_APPEND_REQUEST, TRACE_SEND_APPEND_RESPONSE,
        TRACE_SEND_HEARTBEAT, TRACE_SEND_HEARTBEAT_RESPONSE, TRACE_SEND_TIMEOUT_NOW, TRACE_SEND_READ,
                TRACE_SEND_READ_RESPONSE, TRACE_SEND_TRANSFER,
        TRACE_SEND_FORWARD, TRACE_SEND_FORWARD_REFUSED,
        TRACE_RECEIVE_VOTE_REQUEST, TRACE_RECEIVE_VOTE_RESPONSE, TRACE_RECEIVE_APPEND_REQUEST,
                TRACE_RECEIVE_APPEND_RESPONSE,
        TRACE_RECEIVE_HEARTBEAT, TRACE_RECEIVE_HEARTBEAT_RESPONSE, TRACE_RECEIVE_TIMEOUT_NOW, TRACE_RECEIVE_READ,
        TRACE_RECEIVE_READ_RESPONSE, TRACE_RECEIVE_TRANSFER, TRACE_RECEIVE_FORWARD, TRACE_RECEIVE_FORWARD_REFUSED,
        TRACE_PEER_DOWN, TRACE_LINK_UP,
        TRACE_WRITE, TRACE_READ, TRACE_ANSWER, TRACE_RESULT, TRACE_GIVE_UP, TRACE_APPLIED, TRACE_FETCH,
                TRACE_CHECKPOINT,
        TRACE_COMPACT, TRACE_FAULT, TRACE_HEAL, TRACE_RESTART, TRACE_REFUSED_TO_START, TRACE_STORAGE_FAILED,
        TRACE_SNAPSHOT_OFFER, TRACE_SNAPSHOT_REPLY, TRACE_SNAPSHOT_WANTED, TRACE_SNAPSHOT_INSTALLED, TRACE_REBASED, TRACE_SAYS,
        TRACE_EVENT_COUNT,
} trace_event;

enum { TRACE_NOBODY = 0xff, TRACE_KEPT = 400 };

typedef struct trace_record {
        uint64_t at_us;
        uint8_t event, node, peer;
        bool flag;               /* pre, granted, rejected, ...: see trace_names */
        const char *note;        /* static; NULL: none */
        uint64_t term, index, count;
} trace_record;

typedef struct trace {
        uint64_t hash, written;
        FILE *out;               /* everything goes there too; NULL: nowhere */
        trace_record kept[TRACE_KEPT];
} trace;

void trace_add(trace *t, const trace_record *record);
void trace_print_last(const trace *t, FILE *out, unsigned count);

#endif
