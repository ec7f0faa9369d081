/* Snapshots that this node sends as leader: to members whose entries the log has
 * dropped, and to those that ask. The own store makes the chunks; here they only
 * pass from its link to the member's. docs/wire.md has the order of frames. */
#ifndef RQ_CONSENSUS_SNAPSHOT_OUT_H
#define RQ_CONSENSUS_SNAPSHOT_OUT_H

#include "ipc/ipc_link.h"
#include "peer/peer_snapshot.h"
#include "service.h"

enum { SNAPSHOT_SENDS_MAX = 2 };

typedef struct snapshot_sends snapshot_sends;

rq_err snapshot_sends_new(consensus *c, snapshot_sends **ret_sends); /* RQ_ENOMEM */
snapshot_sends *snapshot_sends_free(snapshot_sends *s);              /* NULL is fine */

/* At the end of each turn: begins what is needed, ends what isn't. */
void snapshot_sends_turn(snapshot_sends *s);
uint64_t snapshot_sends_deadline_us(const snapshot_sends *s); /* of a turn; UINT64_MAX: none */

/* Entries behind it are kept for members that are getting a snapshot, or have one and catch up with what
 * came since, as long as the log (log_bytes on disk) isn't too long for that; UINT64_MAX: none. */
raft_index snapshot_sends_held(const snapshot_sends *s, uint64_t log_bytes);

/* The own store's frames and its going. Errors: RQ_EPROTO: close the link. */
rq_err snapshot_sends_on_head(snapshot_sends *s, const ipc_frame *frame);
rq_err snapshot_sends_on_chunk(snapshot_sends *s, const ipc_frame *frame);
rq_err snapshot_sends_on_failed(snapshot_sends *s, const ipc_frame *frame);
void snapshot_sends_store_gone(snapshot_sends *s);

/* The members'. */
void snapshot_sends_on_link(snapshot_sends *s, raft_id id, bool up);
void snapshot_sends_on_reply(snapshot_sends *s, const peer_snapshot_reply *reply);
void snapshot_sends_on_wanted(snapshot_sends *s, const peer_snapshot_wanted *wanted);

/* For status: of the member; false: none is sent to it. */
bool snapshot_sends_view(const snapshot_sends *s, raft_id id, uint64_t *ret_offset, uint64_t *ret_bytes);

#endif
