/* Sending to the store: committed entries, and reads whose index is known. */
#ifndef RQ_CONSENSUS_FEED_H
#define RQ_CONSENSUS_FEED_H

#include "service.h"

void feed_store(consensus *c);

/* A read that needs no leader, at once, while there is none and the driver takes nothing. index: what the store must have
 * applied. Errors: RQ_ENOTLEADER: the store isn't there; RQ_EFULL, RQ_ENOMEM, RQ_EPIPE. */
rq_err feed_local_read(consensus *c, request_origin from, raft_index index, uint64_t deadline_us, rq_bytes query);

#endif
