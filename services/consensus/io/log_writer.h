/* The log on disk, written by a thread of its own: takes everything that
 * waits, writes it with one write and one fdatasync, reports it, and finds the
 * next batch gathered meanwhile. Knows no rules of Raft.
 *
 * A disk that is full stalls it until there is space again; log_writer_admits()
 * lets the caller refuse before that happens. A write or fsync that failed is
 * never repeated: the writer reports the failure and does nothing any more. */
#ifndef RQ_CONSENSUS_IO_LOG_WRITER_H
#define RQ_CONSENSUS_IO_LOG_WRITER_H

#include "io/log_place.h"
#include "loop/loop.h"

typedef struct log_writer log_writer;

typedef struct log_report {
        uint64_t done;            /* sequence number up to which everything is durable */
        rq_err err;               /* below 0: nothing more will be */
        rq_buf placements;        /* log_placement; the caller's to keep for the next call */
} log_report;

typedef struct log_writer_stats {
        uint64_t batches, units, bytes;
        uint64_t sync_count, sync_us_total, sync_us_max, sync_us_last;
        uint64_t segments_begun;
        uint64_t hard_writes;
        bool stalled;             /* waits for space */
        bool full;                /* no spare segment can be made */
        uint32_t spare_count;
        uint64_t room_bytes;      /* in what is allocated already */
} log_writer_stats;

/* Takes the hard state file. wake: signalled whenever there is a report.
 * Errors: RQ_ENOMEM, RQ_EIO and the like. */
rq_err log_writer_new(const log_place_options *options, hardstate_file *take_hardstate, rq_wake *wake,
                      log_writer **ret_writer);

/* Waits for what is under way, unless it waits for space. Accepts NULL. */
log_writer *log_writer_free(log_writer *writer);

/* Sequence numbers count up from 1 with each call. Errors: RQ_ENOMEM. */
rq_err log_writer_submit(log_writer *writer, const log_write *write, uint64_t *ret_sequence);

/* What has happened since the last call. */
void log_writer_collect(log_writer *writer, log_report *report);

/* Whether an entry of record_bytes should be accepted while pending_bytes are
 * on their way. Errors: RQ_ENOSPC, RQ_EIO (the writer has failed). */
rq_err log_writer_admits(log_writer *writer, uint64_t record_bytes, uint64_t pending_bytes);

void log_writer_get_stats(log_writer *writer, log_writer_stats *ret_stats);

#endif
