/* Sending to the store: committed entries, and reads whose index is known. */
#ifndef RQ_CONSENSUS_FEED_H
#define RQ_CONSENSUS_FEED_H

#include "service.h"

void feed_store(consensus *c);

#endif
