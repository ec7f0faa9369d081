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
void dispatch_send_state(consensus *c, ipc_link *link); /* NULL: to all gateways */

#endif
