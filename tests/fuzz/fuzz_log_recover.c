/* Recovery of a segment from any bytes: no crash, no endless loop, and what it
 * accepts is consistent. The input is the file behind a header that fits, so that
 * the fuzzer needn't find a checksum first; units may be given as raw bytes, or,
 * when the first byte is odd, have their checksums put right, so that what lies
 * behind them is reached, too. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "io/log_recover.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const rq_uuid segment = { .bytes = "fuzz segment 012" }, database = { .bytes = "fuzz database 01" };

/* Makes what looks like records valid ones; index and term stay as they are. */
static void mend_records(uint8_t *records, size_t size) {
        for (size_t at = 0; at + RECORD_HEADER_BYTES <= size;) {
                uint8_t *to = records + at;
                size_t body_bytes = rq_get_u32(to + 4) & 0xfff;
                if (body_bytes > size - at - RECORD_HEADER_BYTES)
                        break;
                record_header header = {
                        .kind = to[10], .flags = to[11], .index = rq_get_u64(to + 16) & 0xff, .term = rq_get_u64(to + 24) & 0xff,
                        .clock_us = rq_get_u64(to + 32), .database_id = database,
                };
                record_header_encode(to, &header, rq_bytes_of(to + RECORD_HEADER_BYTES, body_bytes));
                at += RECORD_HEADER_BYTES + body_bytes;
        }
}

/* Makes what looks like a unit a valid one. */
static void mend(rq_buf *file) {
        uint32_t previous_crc = 0;
        for (uint64_t at = SEGMENT_DATA_AT; at + UNIT_HEADER_BYTES <= file->size;) {
                segment_unit unit = {
                        .offset = at, .durable_up_to = rq_get_u64(file->data + at + 8), .first_index = rq_get_u64(file->data + at + 16) & 0xff,
                        .record_bytes = rq_get_u32(file->data + at + 4), .record_count = rq_get_u32(file->data + at + 24),
                        .previous_crc = previous_crc,
                };
                if (unit.record_bytes > file->size - at - UNIT_HEADER_BYTES)
                        break;
                mend_records(file->data + at + UNIT_HEADER_BYTES, unit.record_bytes);
                rq_bytes records = rq_bytes_of(file->data + at + UNIT_HEADER_BYTES, unit.record_bytes);
                segment_unit_encode(file->data + at, &segment, &unit, &records, 1);
                previous_crc = unit.crc;
                at = segment_unit_end(&unit);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (size < 1 || size > 1 << 20)
                return 0;
        rq_buf file = {0}, problem = {0};
        if (rq_buf_reserve(&file, SEGMENT_DATA_AT + size) < 0)
                return 0;
        file.size = SEGMENT_DATA_AT + size - 1;
        memset(file.data, 0, SEGMENT_DATA_AT);
        memcpy(file.data + SEGMENT_DATA_AT, data + 1, size - 1);
        const segment_header header = {
                .uuid = segment, .database_id = database, .first_index = 1, .file_bytes = file.size,
        };
        segment_header_encode(file.data, &header);
        if ((data[0] & 1) != 0)
                mend(&file);

        log_recovered log = {0};
        log_catalog_init(&log.catalog, log_io_kernel(), -1);
        rq_err r = log_recover_segment(&log, rq_buf_bytes(&file), 1, (data[0] & 2) != 0 ? 3 : 0, &database, data[0] >> 2, &problem);
        if (r >= 0) {
                rq_assert(log.end_offset <= segment_align(file.size) && log.end_offset >= SEGMENT_DATA_AT);
                rq_assert((log.run_count == 0) == (log.last_index == 0));
                for (size_t i = 1; i < log.run_count; i++)
                        rq_assert(log.runs[i].first_index > log.runs[i - 1].first_index && log.runs[i].term > log.runs[i - 1].term);
        } else {
                rq_assert(problem.size > 0 || r == RQ_ENOMEM);
        }
        log_recovered_done(&log);
        rq_buf_done(&problem);
        rq_buf_done(&file);
        return 0;
}
