#include "messages.h"

#include <stdio.h>

#include "log/log.h"
#include "store.pb-c.h"

enum { BODY_BYTES_MAX = 512 };

static bool accepted(ipc_link *link, rq_err r) {
        if (r >= 0)
                return true;
        if (r != RQ_EPIPE)
                (void) rq_log_error(r, "Closing the connection to %s", ipc_role_text(ipc_link_role(link)));
        ipc_link_close(link);
        return false;
}

static void send_body(ipc_link *link, ipc_type type, uint64_t request_id, rq_bytes body) {
        (void) accepted(link, ipc_link_send(link, type, request_id, body, (rq_bytes) {0}));
}

static size_t result_body(const result_piece *piece, uint8_t *body) {
        Rq__Result message = RQ__RESULT__INIT;
        message.last = piece->last;
        message.index = piece->index;
        message.via_log = piece->via_log;
        return rq__result__pack(&message, body);
}

bool send_result_space(ipc_link *link, const result_piece *piece, size_t size, result_space *ret_space) {
        uint8_t body[BODY_BYTES_MAX], *space;
        size_t body_bytes = result_body(piece, body);
        if (!accepted(link, ipc_link_reserve(link, body_bytes, size, &space)))
                return false;
        memcpy(space, body, body_bytes);
        *ret_space = (result_space) { .json = space + body_bytes, .body_bytes = body_bytes };
        return true;
}

void send_result_written(ipc_link *link, const result_piece *piece, const result_space *space, size_t size) {
        ipc_link_commit(link, IPC_RESULT, piece->request_id, space->body_bytes, size);
}

void send_result(ipc_link *link, const result_piece *piece, rq_bytes json) {
        result_space space;
        if (!send_result_space(link, piece, json.size, &space))
                return;
        if (json.size > 0)
                memcpy(space.json, json.data, json.size);
        send_result_written(link, piece, &space, json.size);
}

void send_failed(ipc_link *link, uint64_t request_id, Rq__RequestFailed__Outcome outcome,
                 Rq__RequestFailed__Reason reason, uint64_t index, const char *text) {
        char shown[BODY_BYTES_MAX - 64];
        uint8_t body[BODY_BYTES_MAX];
        Rq__RequestFailed message = RQ__REQUEST_FAILED__INIT;
        (void) snprintf(shown, sizeof shown, "%s", text);
        message.outcome = outcome;
        message.reason = reason;
        message.index = index;
        message.text = shown;
        size_t size = rq__request_failed__pack(&message, body);
        send_body(link, IPC_REQUEST_FAILED, request_id, rq_bytes_of(body, size));
}

void send_fetch(ipc_link *link, const store_state *state, uint64_t checkpoint_index, const execution_profile *profile) {
        uint8_t body[BODY_BYTES_MAX];
        rq_uuid database_id = state->database_id;
        Rq__Fetch message = RQ__FETCH__INIT;
        message.from_index = state->index + 1;
        message.applied_term = state->term;
        message.clock_us = state->clock_us;
        message.checkpoint_index = checkpoint_index;
        message.profile = profile->digest;
        message.extensions = profile->extensions;
        message.sqlite_version = (char *) (uintptr_t) profile->sqlite_version;
        if (!rq_uuid_is_zero(&database_id))
                message.database_id = (ProtobufCBinaryData) { .data = database_id.bytes, .len = RQ_UUID_BYTES };
        size_t size = rq__fetch__pack(&message, body);
        send_body(link, IPC_FETCH, 0, rq_bytes_of(body, size));
}

void send_applied(ipc_link *link, const store_state *state, uint64_t checkpoint_index, bool disk_full, outcome_marks *marks) {
        uint8_t body[BODY_BYTES_MAX];
        Rq__OutcomeMark list[APPLIED_MARKS_MAX], *pointers[APPLIED_MARKS_MAX];
        Rq__Applied message = RQ__APPLIED__INIT;
        message.applied_index = state->index;
        message.checkpoint_index = checkpoint_index;
        message.outcome_hash = state->outcome_hash;
        message.disk_full = disk_full;
        for (; message.n_marks < marks->count && message.n_marks < APPLIED_MARKS_MAX; message.n_marks++) {
                Rq__OutcomeMark *mark = &list[message.n_marks];
                rq__outcome_mark__init(mark);
                mark->index = marks->v[message.n_marks].index;
                mark->hash = marks->v[message.n_marks].hash;
                pointers[message.n_marks] = mark;
        }
        message.marks = pointers;
        size_t size = rq__applied__pack(&message, body);
        send_body(link, IPC_APPLIED, 0, rq_bytes_of(body, size));
        outcome_marks_drop_first(marks, message.n_marks);
}
