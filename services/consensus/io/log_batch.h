/* What the log writer does, without its thread: writes that wait gather in a queue,
 * and all of it that is there is performed as one batch: hard state, entries, one
 * sync, then what may be dropped. The thread is log_writer.h; the simulator
 * performs the same batches in its own time. Knows no rules of Raft. */
#ifndef RQ_CONSENSUS_IO_LOG_BATCH_H
#define RQ_CONSENSUS_IO_LOG_BATCH_H

#include "io/log_place.h"

typedef struct log_queued {
        log_write write;
        uint64_t sequence;        /* reported when it is durable */
} log_queued;

typedef struct log_queue {
        rq_buf items;             /* log_queued, oldest first */
        uint64_t submitted;       /* sequence numbers count up from 1 */
} log_queue;

/* Entries that lie behind each other in memory, too, become one write: while the
 * disk is slow the queue doesn't grow with the turns of the loop. Errors: RQ_ENOMEM. */
rq_err log_queue_add(log_queue *queue, const log_write *write, uint64_t *ret_sequence);
/* All that wait go to batch; what that held before is forgotten. */
void log_queue_take(log_queue *queue, rq_buf *batch);

typedef struct log_batch {
        log_place place;
        hardstate_file hard;
        uint64_t durable;         /* sequence number up to which everything is durable */
        uint64_t hard_writes, batches;
        int step;                 /* of the batch under way */
        size_t at;
} log_batch;

/* Takes the hard state file, also on an error. Errors: those of log_place_open(). */
rq_err log_batch_open(const log_place_options *options, hardstate_file *take_hardstate, log_batch *ret_batch);
void log_batch_close(log_batch *batch);

/* Errors: RQ_EAGAIN (a spare segment is being made), RQ_ENOSPC: it is called again
 * with the same batch; any other: the log must not be written any more. */
rq_err log_batch_perform(log_batch *batch, const log_queued *items, size_t count);

/* Whether an entry of record_bytes should be accepted while pending_bytes are on
 * their way: room_bytes is log_place_room() at the last report, stalled: it waits
 * for space. Any thread. Errors: RQ_ENOSPC. */
rq_err log_batch_admits(const log_batch *batch, bool stalled, uint64_t room_bytes, uint64_t record_bytes,
                        uint64_t pending_bytes);

#endif
