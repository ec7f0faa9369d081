/* A snapshot that this node receives: the store stages it and makes it the
 * database, then the log begins anew behind it, then the sender is told (hazard
 * 17). Also asks the leader for one when the store doesn't fit the log. */
#ifndef RQ_CONSENSUS_SNAPSHOT_IN_H
#define RQ_CONSENSUS_SNAPSHOT_IN_H

#include "ipc/ipc_link.h"
#include "peer/peer_snapshot.h"
#include "service.h"

typedef struct snapshot_receipt snapshot_receipt;

rq_err snapshot_receipt_new(consensus *c, snapshot_receipt **ret_receipt); /* RQ_ENOMEM */
snapshot_receipt *snapshot_receipt_free(snapshot_receipt *s);              /* NULL is fine */

/* At the end of each turn. */
void snapshot_receipt_turn(snapshot_receipt *s);
uint64_t snapshot_receipt_deadline_us(const snapshot_receipt *s);

/* The own store's frames. Errors: RQ_EPROTO: close the link. */
rq_err snapshot_receipt_on_state(snapshot_receipt *s, const ipc_frame *frame);
void snapshot_receipt_store_gone(snapshot_receipt *s);

/* It has said where it stands. True: where a snapshot has ended, now or before a crash,
 * and the log follows at the end of the turn; its FETCH comes again then. */
bool snapshot_receipt_on_fetch(snapshot_receipt *s, raft_index applied, raft_term term);

/* The members' frames. Errors: RQ_EPROTO: close the link. */
rq_err snapshot_receipt_on_offer(snapshot_receipt *s, const peer_snapshot_offer *offer, rq_bytes payload);
void snapshot_receipt_on_chunk(snapshot_receipt *s, const peer_snapshot_chunk *chunk, rq_bytes data);

/* For status: "" if none is under way. Static text. */
const char *snapshot_receipt_view(const snapshot_receipt *s, uint64_t *ret_offset, uint64_t *ret_bytes);

#endif
