/* Reads a WAL by its format (https://sqlite.org/fileformat2.html, section 4)
 * and tells whether its first frames are what an intent or a runtime record
 * says. Changes nothing. */
#ifndef RQ_STORE_WAL_CHECK_H
#define RQ_STORE_WAL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/files_io.h"

enum { WAL_HEADER_BYTES = 32, WAL_FRAME_HEADER_BYTES = 24, WAL_SALTS_BYTES = 8 };

/* The first frames of the WAL with these salts; ends with a commit. */
typedef struct wal_extent {
        uint8_t salts[WAL_SALTS_BYTES];
        uint32_t frames;
        uint32_t page_size;
} wal_extent;

typedef enum wal_verdict {
        WAL_GOOD,
        WAL_EMPTY,    /* no header */
        WAL_OTHER,    /* other salts or page size: another WAL, or begun anew */
        WAL_SHORT,    /* ends before the last frame */
        WAL_BROKEN,   /* a checksum fails, or the last frame is no commit */
} wal_verdict;

typedef struct wal_report {
        wal_verdict verdict;
        uint64_t offset;     /* where it stopped to fit */
        bool page1_seen;     /* page 1 is in the first page1_frames frames, */
        bool page1_matches;  /* at least once with the checksum (as it is on disk) asked for */
} wal_report;

/* Errors: RQ_EIO, RQ_ENOMEM. A WAL that doesn't fit is a verdict. */
rq_err wal_check(const files_io *io, int fd, const wal_extent *extent, uint32_t page1_frames, uint32_t page1_crc,
                 wal_report *ret_report);

/* "ends early", … for messages. */
const char *wal_verdict_text(wal_verdict verdict);

uint64_t wal_extent_bytes(const wal_extent *extent);

#endif
