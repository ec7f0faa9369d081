/* Where on disk each entry of the log lies, and reading it back: a mark for
 * some units of each segment; between marks one walks from record to record.
 * Belongs to the loop's thread: the log writer reports what it has placed. */
#ifndef RQ_CONSENSUS_IO_LOG_CATALOG_H
#define RQ_CONSENSUS_IO_LOG_CATALOG_H

#include "io/log_io.h"
#include "io/log_segment.h"

typedef struct log_mark {
        uint64_t index, offset; /* a unit, and the index of its first record */
} log_mark;

typedef struct log_catalog_segment {
        segment_header header;  /* without its configuration */
        uint64_t last_index, end_offset;
        int fd;                 /* -1 until it is read */
        log_mark *marks;
        size_t mark_count, mark_capacity;
} log_catalog_segment;

typedef struct log_catalog {
        const log_io *io;
        int dir_fd;
        log_catalog_segment *segments; /* ascending; contiguous */
        size_t segment_count, segment_capacity;
        rq_buf window;          /* of the file that is being read */
        struct {                /* where the last read ended */
                uint64_t segment_first, index, offset, unit_left;
        } cursor;
} log_catalog;

void log_catalog_init(log_catalog *catalog, const log_io *io, int dir_fd);
void log_catalog_done(log_catalog *catalog);

/* A new last segment. Entries from its first index on are gone from the ones
 * before it. Errors: RQ_ENOMEM (nothing changed). */
rq_err log_catalog_add_segment(log_catalog *catalog, const segment_header *header);

/* A unit of the last segment with entries up to last_index; what the log had
 * from the unit's first index on is replaced. Errors: RQ_ENOMEM (changed, but
 * entries of the unit can't be found). */
rq_err log_catalog_add_unit(log_catalog *catalog, const segment_unit *unit, uint64_t last_index);

/* Forgets the oldest segment, which must not be the last one. */
void log_catalog_drop_oldest(log_catalog *catalog);

uint64_t log_catalog_bytes(const log_catalog *catalog); /* of all files */

/* Appends records from first_index on, up to last_index and to bytes_max, but at
 * least one; both indexes must be in the log. On RQ_ECORRUPT, problem names file
 * and offset. Errors: RQ_ENOENT (not in the log), RQ_ECORRUPT, RQ_ENOMEM, RQ_EIO. */
rq_err log_catalog_read(log_catalog *catalog, uint64_t first_index, uint64_t last_index, size_t bytes_max,
                        rq_buf *records, uint32_t *ret_count, rq_buf *problem);

#endif
