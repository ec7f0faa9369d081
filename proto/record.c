#include "record.h"

#include "base/checksum.h"

enum { HEADER_CRC_AT = 100, BODY_CRC_AT = 96, CHUNK_LAST = 1 };

uint32_t record_kind_level(record_kind kind) {
        switch (kind) {
        case RECORD_NOOP:
        case RECORD_SQL:
        case RECORD_BARRIER:
        case RECORD_LOAD_CHUNK:
        case RECORD_ABORT_GROUP:
        case RECORD_CONTROL:
        case RECORD_SESSION:
        case RECORD_DIGEST:
        case RECORD_CONFIGURATION:
        case RECORD_CHANGES:
                return 1;
        }
        return UINT32_MAX;
}

void record_header_encode(uint8_t out[static RECORD_HEADER_BYTES], record_header *header, rq_bytes body) {
        header->body_bytes = (uint32_t) body.size;
        header->body_crc = rq_crc32c(0, body.data, body.size);

        rq_put_u32(out, RECORD_MAGIC);
        rq_put_u32(out + 4, header->body_bytes);
        rq_put_u16(out + 8, RECORD_VERSION);
        out[10] = header->kind;
        out[11] = header->flags;
        rq_put_u32(out + 12, header->feature_level);
        rq_put_u64(out + 16, header->index);
        rq_put_u64(out + 24, header->term);
        rq_put_u64(out + 32, header->clock_us);
        rq_put_u64(out + 40, header->seed);
        rq_put_u64(out + 48, header->step_budget);
        memcpy(out + 56, header->database_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 72, header->chunk_group);
        rq_put_u32(out + 80, header->chunk_number);
        rq_put_u32(out + 84, header->chunk_last ? CHUNK_LAST : 0);
        rq_put_u64(out + 88, header->chunk_hash);
        rq_put_u32(out + BODY_CRC_AT, header->body_crc);
        rq_put_u32(out + HEADER_CRC_AT, rq_crc32c(0, out, HEADER_CRC_AT));
}

rq_err record_header_decode(const uint8_t in[static RECORD_HEADER_BYTES], record_header *ret_header) {
        if (rq_get_u32(in) != RECORD_MAGIC || rq_get_u32(in + HEADER_CRC_AT) != rq_crc32c(0, in, HEADER_CRC_AT))
                return RQ_ECORRUPT;
        if (rq_get_u16(in + 8) != RECORD_VERSION || (in[11] & ~RECORD_CRITICAL) != 0 || (rq_get_u32(in + 84) & ~(uint32_t) CHUNK_LAST) != 0)
                return RQ_EVERSION;

        record_header header = {
                .body_bytes = rq_get_u32(in + 4),
                .kind = in[10],
                .flags = in[11],
                .feature_level = rq_get_u32(in + 12),
                .index = rq_get_u64(in + 16),
                .term = rq_get_u64(in + 24),
                .clock_us = rq_get_u64(in + 32),
                .seed = rq_get_u64(in + 40),
                .step_budget = rq_get_u64(in + 48),
                .chunk_group = rq_get_u64(in + 72),
                .chunk_number = rq_get_u32(in + 80),
                .chunk_last = rq_get_u32(in + 84) == CHUNK_LAST,
                .chunk_hash = rq_get_u64(in + 88),
                .body_crc = rq_get_u32(in + BODY_CRC_AT),
        };
        memcpy(header.database_id.bytes, in + 56, RQ_UUID_BYTES);
        if (header.body_bytes > RECORD_BODY_BYTES_MAX)
                return RQ_ETOOBIG;
        *ret_header = header;
        return RQ_OK;
}

rq_err record_decode(rq_bytes bytes, record_header *ret_header, rq_bytes *ret_body) {
        if (bytes.size < RECORD_HEADER_BYTES)
                return RQ_EAGAIN;
        record_header header;
        rq_err r = record_header_decode(bytes.data, &header);
        if (r < 0)
                return r;
        if (bytes.size - RECORD_HEADER_BYTES < header.body_bytes)
                return RQ_EAGAIN;
        rq_bytes body = rq_bytes_of(bytes.data + RECORD_HEADER_BYTES, header.body_bytes);
        if (rq_crc32c(0, body.data, body.size) != header.body_crc)
                return RQ_ECORRUPT;
        *ret_header = header;
        *ret_body = body;
        return RQ_OK;
}
