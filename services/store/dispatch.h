/* The messages that the store understands, who may send them, how large they
 * may be, and which part gets them. */
#ifndef RQ_STORE_DISPATCH_H
#define RQ_STORE_DISPATCH_H

#include "ipc/ipc_link.h"
#include "service.h"

ipc_handlers dispatch_handlers(store *s);

#endif
