/* The answer to STATUS_GET: {"raft": {...}, "nodes": [...]}, to go under "store"
 * in /status: the fields of rqlite's store.raft, then our own. */
#ifndef RQ_CONSENSUS_STATUS_H
#define RQ_CONSENSUS_STATUS_H

#include "service.h"

/* probe: what the members were asked for it, borrowed (probes.h); NULL: nothing. Errors: RQ_ENOMEM. */
rq_err status_document(consensus *c, const consensus_probe *probe, rq_buf *ret_document);

#endif
