/* Frames that the store sends, each with one call. A link that takes no more
 * (its peer doesn't read) is closed: all return nothing, since nobody could do
 * anything about it. */
#ifndef RQ_STORE_MESSAGES_H
#define RQ_STORE_MESSAGES_H

#include "consensus.pb-c.h"
#include "core/store_state.h"
#include "io/profile.h"
#include "outcome_marks.h"
#include "ipc/ipc_link.h"

typedef struct result_piece {
        uint64_t request_id, index;
        bool last, via_log;
} result_piece;

void send_result(ipc_link *link, const result_piece *piece, rq_bytes json);

/* Room for size bytes of JSON that the caller writes, then send_result_written.
 * NULL: the link is closed or closing. */
typedef struct result_space {
        uint8_t *json;
        size_t body_bytes;
} result_space;
bool send_result_space(ipc_link *link, const result_piece *piece, size_t size, result_space *ret_space);
void send_result_written(ipc_link *link, const result_piece *piece, const result_space *space, size_t size);

void send_failed(ipc_link *link, uint64_t request_id, Rq__RequestFailed__Outcome outcome,
                 Rq__RequestFailed__Reason reason, uint64_t index, const char *text);
void send_fetch(ipc_link *link, const store_state *state, uint64_t checkpoint_index, const execution_profile *profile);

enum { APPLIED_MARKS_MAX = 8 }; /* an older consensus takes bodies of 256 bytes */
/* Takes the marks it has sent out of the list. */
void send_applied(ipc_link *link, const store_state *state, uint64_t checkpoint_index, bool disk_full, outcome_marks *marks);

#endif
