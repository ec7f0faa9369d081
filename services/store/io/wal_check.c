#include "io/wal_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/database_file.h"
#include "io/wal_sum.h"

enum {
        CHECKED_HEADER  = 24,
        PAGE_BYTES_MIN  = 512,
        PAGE_BYTES_MAX  = 65536,
};

static wal_verdict check_header(const uint8_t *header, size_t size, const wal_extent *extent, wal_sum *sum) {
        uint32_t magic;
        if (size < WAL_HEADER_BYTES)
                return WAL_EMPTY;
        magic = wal_get_be32(header);
        if ((magic & ~1u) != WAL_MAGIC || wal_get_be32(header + 8) != extent->page_size ||
            memcmp(header + 16, extent->salts, WAL_SALTS_BYTES) != 0)
                return WAL_OTHER;
        sum->big = magic & 1;
        wal_sum_add(sum, header, CHECKED_HEADER);
        return wal_sum_is(sum, header + CHECKED_HEADER) ? WAL_GOOD : WAL_BROKEN;
}

static wal_verdict check_frame(const uint8_t *frame, const wal_extent *extent, bool last, wal_sum *sum) {
        if (memcmp(frame + 8, extent->salts, WAL_SALTS_BYTES) != 0)
                return WAL_SHORT;
        wal_sum_add(sum, frame, 8);
        wal_sum_add(sum, frame + WAL_FRAME_HEADER_BYTES, extent->page_size);
        if (!wal_sum_is(sum, frame + 16))
                return WAL_BROKEN;
        return last && wal_get_be32(frame + 4) == 0 ? WAL_BROKEN : WAL_GOOD;
}

rq_err wal_check(const files_io *io, int fd, const wal_extent *extent, uint32_t page1_frames, uint32_t page1_crc,
                 wal_report *ret_report) {
        RQ_CLEANUP(rq_freep) uint8_t *frame = NULL;
        wal_report report = {0};
        wal_sum sum = {0};
        uint8_t header[WAL_HEADER_BYTES];
        size_t size, frame_bytes = WAL_FRAME_HEADER_BYTES + (size_t) extent->page_size;
        rq_err r;

        if (extent->page_size < PAGE_BYTES_MIN || extent->page_size > PAGE_BYTES_MAX ||
            (extent->page_size & (extent->page_size - 1)) != 0) {
                ret_report->verdict = WAL_OTHER;
                return RQ_OK;
        }
        frame = malloc(frame_bytes);
        if (frame == NULL)
                return RQ_ENOMEM;
        r = files_io_read_at(io, fd, header, sizeof header, 0, &size);
        if (r < 0)
                return r;
        report.verdict = check_header(header, size, extent, &sum);
        for (uint32_t i = 1; i <= extent->frames && report.verdict == WAL_GOOD; i++) {
                report.offset = WAL_HEADER_BYTES + (uint64_t) (i - 1) * frame_bytes;
                r = files_io_read_at(io, fd, frame, frame_bytes, report.offset, &size);
                if (r < 0)
                        return r;
                report.verdict = size < frame_bytes ? WAL_SHORT : check_frame(frame, extent, i == extent->frames, &sum);
                if (i <= page1_frames && wal_get_be32(frame) == 1) {
                        report.page1_seen = true;
                        database_page1_seal(frame + WAL_FRAME_HEADER_BYTES);
                        report.page1_matches |= rq_crc32c(0, frame + WAL_FRAME_HEADER_BYTES, extent->page_size) == page1_crc;
                }
        }
        *ret_report = report;
        return RQ_OK;
}

const char *wal_verdict_text(wal_verdict verdict) {
        switch (verdict) {
        case WAL_GOOD:   return "is complete";
        case WAL_EMPTY:  return "is empty";
        case WAL_OTHER:  return "is another WAL (its salts differ)";
        case WAL_SHORT:  return "ends early";
        case WAL_BROKEN: return "fails its checksum";
        }
        return "is unknown";
}

uint64_t wal_extent_bytes(const wal_extent *extent) {
        if (extent->frames == 0)
                return 0;
        return WAL_HEADER_BYTES + (uint64_t) extent->frames * (WAL_FRAME_HEADER_BYTES + (uint64_t) extent->page_size);
}
