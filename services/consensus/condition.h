/* What the service manager's STATUS says of this node, in an operator's words. */
#ifndef RQ_CONSENSUS_CONDITION_H
#define RQ_CONSENSUS_CONDITION_H

#include <stddef.h>

#include "service.h"

enum { CONDITION_BYTES = 384 };

/* "leader of 3, term 7, index 123456, 2 peers in sync". Returns text. */
const char *consensus_condition(const consensus *c, char text[static CONDITION_BYTES]);

#endif
