/* Which message goes to which call: the tables of rules, the handlers, and the
 * frames to gateways. The only switch on who may say what. */
#ifndef RQ_CONSENSUS_DISPATCH_H
#define RQ_CONSENSUS_DISPATCH_H

#include "service.h"

/* Rules for links that come in (gateways), and for the one to the store. */
ipc_handlers dispatch_gateway_handlers(consensus *c);
ipc_handlers dispatch_store_handlers(consensus *c);

/* Whether a write of this size may be taken: by the store, and by our disk if
 * this node leads. Errors: nothing has happened. RQ_EDIVERGED, RQ_ENOSPC, RQ_EIO. */
rq_err dispatch_admit(consensus *c, size_t body_bytes);

void dispatch_send_answers(consensus *c);
void dispatch_send_transfers(consensus *c); /* those that are over */

/* Of RemoveDone. */
typedef enum rq_remove_outcome {
        REMOVE_OUTCOME_REFUSED, REMOVE_OUTCOME_DONE, REMOVE_OUTCOME_NO_LEADER, REMOVE_OUTCOME_TIMEOUT,
} rq_remove_outcome;
void dispatch_send_removed(consensus *c, uint32_t gateway, uint64_t request_id, rq_remove_outcome outcome, const char *text);
void dispatch_send_state(consensus *c, ipc_link *link); /* NULL: to all gateways */

#endif
