/* One connection between two services: frames in, checked against a table of
 * rules; frames out, gathered during a turn of the loop and sent with one
 * write at its end. Belongs to the loop's thread.
 *
 * A peer that breaks a rule is logged and its connection closed; that is never
 * fatal, since services of different versions meet during an upgrade. A frame
 * whose type this build doesn't know is no fault: it is skipped, without memory
 * for it, and counted. */
#ifndef RQ_IPC_LINK_H
#define RQ_IPC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "ipc/ipc_frame.h"
#include "loop/loop.h"

typedef struct ipc_link ipc_link;

/* Who may say what, how large, and who handles it. An error from a handler
 * closes the link (RQ_EPROTO and the like: the peer's fault). */
typedef struct ipc_rule {
        uint16_t type;
        uint8_t from; /* ipc_role bits */
        uint32_t body_bytes_max, payload_bytes_max;
        rq_err (*handler)(void *arg, ipc_link *link, const ipc_frame *frame);
} ipc_rule;

typedef struct ipc_handlers {
        const ipc_rule *rules;
        size_t rule_count;
        void (*on_up)(void *arg, ipc_link *link);       /* HELLO exchanged */
        void (*on_down)(void *arg, ipc_link *link);     /* was up, is no more; freed after return */
        void (*on_turn_end)(void *arg, ipc_link *link); /* all frames of one wake-up handled; may be NULL */
        void *arg;
} ipc_handlers;

/* What HELLO says of the sender. */
typedef struct ipc_identity {
        ipc_role role;
        rq_uuid incarnation;
} ipc_identity;

/* Who speaks first. The accepting side answers HELLO with HELLO: so where a link
 * is up for the one that connects, it is up for the other, too, and what is
 * said about it on other links finds it there. */
typedef enum ipc_side { IPC_CONNECTS, IPC_ACCEPTS } ipc_side;

/* Takes the connected, non-blocking fd. on_closed: called once, when the link
 * is about to be freed, up or not. */
rq_err ipc_link_new(rq_loop *loop, int take_fd, ipc_side side, const ipc_identity *self, const ipc_handlers *handlers,
                    void (*on_closed)(void *owner, ipc_link *link), void *owner, ipc_link **ret_link);

/* Frees at the end of the turn; calls on_down if it was up. Accepts NULL. */
void ipc_link_close(ipc_link *link);

/* The same at once: not from a handler of this link. Accepts NULL, returns it. */
ipc_link *ipc_link_free(ipc_link *link);

/* Queue a frame; both parts are copied. Errors: RQ_EFULL (too much is queued:
 * the peer doesn't read), RQ_EPIPE (closing), RQ_ENOMEM. */
rq_err ipc_link_send(ipc_link *link, ipc_type type, uint64_t request_id, rq_bytes body, rq_bytes payload);

/* The same in two steps for a payload that the caller writes in place: reserve
 * returns where the body and payload go, valid until the next call on the
 * link; commit sends what was written. */
rq_err ipc_link_reserve(ipc_link *link, size_t body_bytes, size_t payload_bytes, uint8_t **ret_space);
void ipc_link_commit(ipc_link *link, ipc_type type, uint64_t request_id, size_t body_bytes, size_t payload_bytes);

size_t ipc_link_queued_bytes(const ipc_link *link);
bool ipc_link_is_up(const ipc_link *link);  /* HELLO exchanged, not closing */
bool ipc_link_was_up(const ipc_link *link); /* HELLO was exchanged at some time */
ipc_role ipc_link_role(const ipc_link *link);
const rq_uuid *ipc_link_incarnation(const ipc_link *link);
uint16_t ipc_link_protocol_minor(const ipc_link *link);  /* of the peer; 0: it didn't say */
uint32_t ipc_link_feature_level(const ipc_link *link);   /* likewise */
uint64_t ipc_link_skipped_count(const ipc_link *link);   /* frames of unknown types */

/* A place for the service's own state of this link; NULL at first. */
void ipc_link_set_data(ipc_link *link, void *data);
void *ipc_link_data(const ipc_link *link);

const char *ipc_role_text(ipc_role role);

#endif
