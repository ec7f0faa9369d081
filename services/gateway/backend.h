/* A request on its way to consensus or the store, and its answer on the way
 * back. The rules for what may be sent again: a read as long as nothing of its
 * answer was passed on; a write never. */
#ifndef RQ_GATEWAY_BACKEND_H
#define RQ_GATEWAY_BACKEND_H

#include "base/bytes.h"
#include "core/failure.h"
#include "exchange.h"
#include "io/message.h"

/* Sends ex->statements the way that ex->way says, now or when the link is up.
 * The answer, whatever it is, goes to the client. */
void backend_start(exchange *ex);

/* A read of ours: done is called once with the whole (small) result. */
void backend_start_internal(exchange *ex, exchange_way way, read_level level, const char *sql, exchange_done *done);

/* Writes of ours, in groups, or a piece of a load (ex->load): likewise, done is told
 * what came of it (failed_how, failed_for). */
void backend_start_batch(exchange *ex, exchange_done *done);

/* From the links. */
void backend_on_result(exchange *ex, const message_result *result, rq_bytes piece);
void backend_on_failed(exchange *ex, const failure *f);
void backend_consensus_ready(gateway *gw);   /* up, and it has said who it is */
void backend_consensus_down(gateway *gw);
void backend_store_up(gateway *gw);
void backend_store_down(gateway *gw);

/* From the connection and the clock. */
void backend_on_drained(exchange *ex);
void backend_on_gone(exchange *ex);
void backend_on_deadline(exchange *ex);

/* Nobody waits for this result any more. */
void backend_cancel(gateway *gw, uint64_t request_id);

#endif
