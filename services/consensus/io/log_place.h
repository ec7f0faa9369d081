/* Putting entries into segments: units, the end of a segment, replacing what
 * was written, dropping what isn't needed. Blocks; used by the log writer's
 * thread alone. Knows no queue and no thread.
 *
 * Calls that return RQ_ENOSPC or RQ_EAGAIN have done what they could and are
 * called again with the same arguments when there may be space. After any other
 * error the log must not be written any more. */
#ifndef RQ_CONSENSUS_IO_LOG_PLACE_H
#define RQ_CONSENSUS_IO_LOG_PLACE_H

#include "io/hardstate.h"
#include "io/log_segment.h"
#include "io/log_spare.h"

typedef struct log_place_options {
        const log_io *io;        /* outlives the placer */
        int dir_fd;              /* likewise */
        rq_uuid database_id;
        uint64_t last_index, last_term, clock_us; /* where the log ends */
        const log_configurations *configurations; /* of the log; copied */
        const uint64_t *segment_firsts;           /* of all segments, ascending; copied */
        size_t segment_count;
        uint64_t end_offset;     /* in the last segment */
        uint32_t end_crc;
        uint64_t segment_bytes;  /* of a new segment; 0: SEGMENT_BYTES. A smaller one gives a test more of them */
        bool no_thread;          /* who has no threads calls log_spare_make() after RQ_EAGAIN */
} log_place_options;

/* Everything of it is durable when its sequence number is reported. */
typedef struct log_write {
        bool hard;                /* write this hard state */
        hardstate state;
        uint64_t first_index, last_index; /* entries; 0: none. At or below the end of the log: replaces it from there on */
        uint64_t previous_term;   /* of the entry before first_index */
        uint64_t last_term, last_clock_us; /* of the last entry */
        rq_bytes records;         /* borrowed until it is reported */
        uint64_t drop_first_index, drop_bytes; /* this segment isn't needed any more; 0: none */
} log_write;

/* What the catalog must learn, in order. */
typedef struct log_placement {
        bool opened;              /* a new segment, else a unit */
        segment_header header;    /* without its configuration */
        segment_unit unit;
        uint64_t last_index;      /* of the unit */
} log_placement;

typedef struct log_place_stats {
        uint64_t units, bytes;
        uint64_t sync_count, sync_us_total, sync_us_max, sync_us_last;
        uint64_t segments_begun;
} log_place_stats;

enum { PLACE_SLICES_MAX = 256 };

typedef struct log_place {
        const log_io *io;
        int dir_fd;
        rq_uuid database_id;
        uint64_t segment_bytes;
        log_spare *spare;
        rq_buf firsts;            /* u64: first index of each segment */
        log_configurations configurations;
        uint64_t last_index, last_term, clock_us; /* of what was added */

        int fd;                   /* of the last segment, -1: none */
        segment_header header;
        uint64_t offset;          /* where the next unit begins */
        uint64_t durable_up_to;
        uint32_t end_crc;
        bool dirty;               /* written and not synced */
        char spare_name[SPARE_NAME_BYTES]; /* taken, not yet a segment; empty: none */

        segment_unit unit;        /* open: gathers slices */
        rq_bytes slices[PLACE_SLICES_MAX];
        size_t slice_count;
        size_t taken_bytes;       /* of the write under way */
        bool taking;

        rq_buf placements;        /* log_placement: for the catalog */
        log_place_stats stats;
} log_place;

/* Goes on at the end of the log. Errors: RQ_ENOMEM, RQ_EIO and the like. */
rq_err log_place_open(const log_place_options *options, log_place *ret_place);
void log_place_close(log_place *place);

/* Adds the write's entries; they may still be in memory only. A configuration
 * must fit SEGMENT_CONFIGURATION_MAX. Errors: see above. */
rq_err log_place_add(log_place *place, const log_write *write);

/* Everything added is durable on return. */
rq_err log_place_sync(log_place *place);
bool log_place_is_synced(const log_place *place);

/* The next entry begins a segment of its own; also without one: the log's base is then
 * where the options say that it ends. Errors: see above. */
rq_err log_place_begin(log_place *place);

/* Gives back the oldest segment. */
rq_err log_place_drop(log_place *place, uint64_t first_index, uint64_t file_bytes);

uint64_t log_place_room(const log_place *place); /* left in the last segment */
void log_place_count_sync(log_place *place, uint64_t us);

#endif
