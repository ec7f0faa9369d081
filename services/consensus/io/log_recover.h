/* Reading the log at the start: checks every byte that was ever promised, cuts
 * a torn tail, tells rot from it (hazard 24), and leaves a log that the writer
 * can go on with. */
#ifndef RQ_CONSENSUS_IO_LOG_RECOVER_H
#define RQ_CONSENSUS_IO_LOG_RECOVER_H

#include "io/log_catalog.h"

typedef struct log_run {
        uint64_t first_index, term;
        uint64_t uncommitted_bytes; /* of its entries above the commit hint */
} log_run;

typedef struct log_recovered {
        log_catalog catalog;
        uint64_t base_index, base_term; /* before the first entry */
        uint64_t last_index, last_term;
        uint64_t clock_us;              /* of the last entry, or of the base */
        log_configurations configurations; /* of the base's header and of the entries */
        log_run *runs;
        size_t run_count, run_capacity;
        bool has_segment;               /* the last one goes on at ... */
        uint64_t end_offset;            /* ... this offset, */
        uint32_t end_crc;               /* behind a unit with this checksum */
        bool torn;                      /* an unfinished write was cut at end_offset */
} log_recovered;

/* database_id: segments of another one are refused. On RQ_ECORRUPT, problem
 * (owned by the caller) names file and offset: nothing was changed on disk.
 * Errors: RQ_ECORRUPT, RQ_EVERSION, RQ_EIO, RQ_ENOMEM. */
rq_err log_recover(const log_io *io, int dir_fd, const rq_uuid *database_id, uint64_t commit_hint,
                   log_recovered *ret_log, rq_buf *problem);
void log_recovered_done(log_recovered *log); /* not what was taken out of it */

/* The scan of one segment, from bytes alone: what log_recover() does with each
 * file. Adds its entries to log. next_first_index: of the segment behind it, 0
 * if it is the last. Errors: as above. */
rq_err log_recover_segment(log_recovered *log, rq_bytes file, uint64_t first_index, uint64_t next_first_index,
                           const rq_uuid *database_id, uint64_t commit_hint, rq_buf *problem);

#endif
