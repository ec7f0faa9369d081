/* Which message goes to which call: the tables of rules, the handlers, and the
 * frames to gateways. The only switch on who may say what. */
#ifndef RQ_CONSENSUS_DISPATCH_H
#define RQ_CONSENSUS_DISPATCH_H

#include "service.h"

/* Rules for links that come in (gateways), and for the one to the store. */
ipc_handlers dispatch_gateway_handlers(consensus *c);
ipc_handlers dispatch_store_handlers(consensus *c);

void dispatch_send_answers(consensus *c);
void dispatch_send_state(consensus *c, ipc_link *link); /* NULL: to all gateways */

#endif
