#include "io/log_segment.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/checksum.h"

enum { CONFIGURATION_AT = 96, CRC_BYTES = 4, UNIT_CRC_AT = 36 };

char *segment_name(uint64_t first_index, char name[static SEGMENT_NAME_BYTES]) {
        (void) snprintf(name, SEGMENT_NAME_BYTES, "%020" PRIu64 ".log", first_index);
        return name;
}

bool segment_name_parse(const char *name, uint64_t *ret_first_index) {
        uint64_t index = 0;
        if (strlen(name) != SEGMENT_NAME_BYTES - 1 || strcmp(name + 20, ".log") != 0)
                return false;
        for (int i = 0; i < 20; i++) {
                if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(index, 10, &index) ||
                    __builtin_add_overflow(index, (uint64_t) (name[i] - '0'), &index))
                        return false;
        }
        *ret_first_index = index;
        return true;
}

size_t segment_header_encode(uint8_t *out, const segment_header *header) {
        const log_configuration *configuration = &header->configuration;
        size_t size = SEGMENT_HEADER_BYTES + configuration->body.size;
        rq_assert(size <= SEGMENT_DATA_AT);
        rq_put_u32(out, SEGMENT_MAGIC);
        rq_put_u16(out + 4, SEGMENT_VERSION);
        rq_put_u16(out + 6, 0);
        memcpy(out + 8, header->uuid.bytes, RQ_UUID_BYTES);
        memcpy(out + 24, header->database_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 40, header->first_index);
        rq_put_u64(out + 48, header->previous_index);
        rq_put_u64(out + 56, header->previous_term);
        rq_put_u64(out + 64, header->clock_us);
        rq_put_u64(out + 72, header->file_bytes);
        rq_put_u32(out + 80, (uint32_t) size);
        rq_put_u32(out + 84, (uint32_t) configuration->body.size);
        rq_put_u64(out + 88, configuration->index);
        if (configuration->body.size > 0)
                memcpy(out + CONFIGURATION_AT, configuration->body.data, configuration->body.size);
        rq_put_u32(out + size - CRC_BYTES, rq_crc32c(0, out, size - CRC_BYTES));
        return size;
}

rq_err segment_header_decode(rq_bytes file, segment_header *ret_header) {
        const uint8_t *in = file.data;
        if (file.size < SEGMENT_HEADER_BYTES || rq_get_u32(in) != SEGMENT_MAGIC)
                return RQ_ECORRUPT;
        size_t size = rq_get_u32(in + 80);
        if (size < SEGMENT_HEADER_BYTES || size > SEGMENT_DATA_AT || size > file.size ||
            rq_get_u32(in + size - CRC_BYTES) != rq_crc32c(0, in, size - CRC_BYTES))
                return RQ_ECORRUPT;
        if (rq_get_u16(in + 4) != SEGMENT_VERSION)
                return RQ_EVERSION;
        segment_header header = {
                .first_index = rq_get_u64(in + 40),
                .previous_index = rq_get_u64(in + 48),
                .previous_term = rq_get_u64(in + 56),
                .clock_us = rq_get_u64(in + 64),
                .file_bytes = rq_get_u64(in + 72),
                .configuration = { .index = rq_get_u64(in + 88), .body = rq_bytes_of(in + CONFIGURATION_AT, rq_get_u32(in + 84)) },
        };
        memcpy(header.uuid.bytes, in + 8, RQ_UUID_BYTES);
        memcpy(header.database_id.bytes, in + 24, RQ_UUID_BYTES);
        const log_configuration *configuration = &header.configuration;
        if (header.first_index != header.previous_index + 1 || configuration->body.size > size - SEGMENT_HEADER_BYTES ||
            configuration->index > header.previous_index || (configuration->index == 0) != (configuration->body.size == 0))
                return RQ_ECORRUPT;
        *ret_header = header;
        return RQ_OK;
}

/* A unit copied from another place or another life of the file isn't valid. */
static uint32_t seed_of(const rq_uuid *segment, uint64_t offset) {
        uint8_t place[RQ_UUID_BYTES + 8];
        memcpy(place, segment->bytes, RQ_UUID_BYTES);
        rq_put_u64(place + RQ_UUID_BYTES, offset);
        return rq_crc32c(0, place, sizeof place);
}

void segment_unit_encode(uint8_t out[static UNIT_HEADER_BYTES], const rq_uuid *segment,
                         segment_unit *unit, const rq_bytes *slices, size_t slice_count) {
        rq_put_u32(out, UNIT_MAGIC);
        rq_put_u32(out + 4, unit->record_bytes);
        rq_put_u64(out + 8, unit->durable_up_to);
        rq_put_u64(out + 16, unit->first_index);
        rq_put_u32(out + 24, unit->record_count);
        memcpy(out + 28, segment->bytes, 4);
        rq_put_u32(out + 32, unit->previous_crc);
        uint32_t crc = rq_crc32c(seed_of(segment, unit->offset), out, UNIT_CRC_AT);
        for (size_t i = 0; i < slice_count; i++)
                crc = rq_crc32c(crc, slices[i].data, slices[i].size);
        rq_put_u32(out + UNIT_CRC_AT, crc);
        unit->crc = crc;
}

/* Header of a unit of this segment, whether its records are whole or not. */
static bool claims_unit(rq_bytes file, const rq_uuid *segment, uint64_t offset) {
        return offset <= file.size && file.size - offset >= UNIT_HEADER_BYTES &&
               rq_get_u32(file.data + offset) == UNIT_MAGIC && memcmp(file.data + offset + 28, segment->bytes, 4) == 0;
}

rq_err segment_unit_decode(rq_bytes file, const rq_uuid *segment, uint64_t offset, segment_unit *ret_unit) {
        if (!claims_unit(file, segment, offset))
                return RQ_ECORRUPT;
        const uint8_t *in = file.data + offset;
        segment_unit unit = {
                .offset = offset,
                .record_bytes = rq_get_u32(in + 4),
                .durable_up_to = rq_get_u64(in + 8),
                .first_index = rq_get_u64(in + 16),
                .record_count = rq_get_u32(in + 24),
                .previous_crc = rq_get_u32(in + 32),
                .crc = rq_get_u32(in + UNIT_CRC_AT),
        };
        if (unit.record_bytes > file.size - offset - UNIT_HEADER_BYTES || unit.durable_up_to > offset)
                return RQ_ECORRUPT;
        uint32_t crc = rq_crc32c(seed_of(segment, offset), in, UNIT_CRC_AT);
        if (rq_crc32c(crc, in + UNIT_HEADER_BYTES, unit.record_bytes) != unit.crc)
                return RQ_ECORRUPT;
        *ret_unit = unit;
        return RQ_OK;
}

/* Any byte that a unit of this segment may have left: a recycled segment holds
 * remains of its earlier life, a fresh one zeros. */
static bool looks_written(rq_bytes file, const rq_uuid *segment, uint64_t offset) {
        return claims_unit(file, segment, offset) ||
               (file.size > offset && file.size - offset >= 32 && memcmp(file.data + offset + 28, segment->bytes, 4) == 0);
}

segment_end segment_end_at(rq_bytes file, const rq_uuid *segment, uint64_t offset) {
        bool torn = looks_written(file, segment, offset);
        for (uint64_t at = segment_align(offset); at + UNIT_HEADER_BYTES <= file.size; at += UNIT_ALIGN) {
                segment_unit unit;
                if (!claims_unit(file, segment, at) || segment_unit_decode(file, segment, at, &unit) < 0)
                        continue;
                if (unit.durable_up_to > offset)
                        return SEGMENT_END_ROTTEN;
                torn = true;
                at = segment_unit_end(&unit) - UNIT_ALIGN;
        }
        return torn ? SEGMENT_END_TORN : SEGMENT_END_CLEAN;
}
