/* Format of a log segment, as bytes: header, then units, each what one write
 * brought. Knows no files and no threads. docs/disk-format.md has the picture.
 *
 * Header, in a block of its own (SEGMENT_DATA_AT bytes):
 *   0  u32 magic "rqS1"     4  u16 version    6  u16 0
 *   8  16 bytes segment uuid   24  16 bytes database id
 *  40  u64 first index     48  u64 previous index   56  u64 previous term
 *  64  u64 entry clock (us) before the first index
 *  72  u64 size of the file
 *  80  u32 n, bytes of the header    84  u32 c, bytes of the configuration
 *  88  u64 index of the configuration's entry, at or before the previous index;
 *      0: none
 *  96  c bytes configuration (core/membership.h), then what newer builds add
 *  n-4 u32 CRC-32C of everything before
 *
 * Unit, at a multiple of 8:
 *   0  u32 magic "rqU1"     4  u32 bytes of records
 *   8  u64 durable_up_to: what lies below this offset was durable before
 *  16  u64 index of its first record
 *  24  u32 records         28  u32 the first 4 bytes of the segment's uuid
 *  32  u32 CRC of the unit before it in this segment, 0 for the first
 *  36  u32 CRC-32C of uuid, offset, bytes 0..35 and the records
 *  40  records (proto/record.h), zeros to a multiple of 8
 *
 * A unit whose first index isn't above the last one replaces the log from
 * there on. Segments are recycled: what isn't valid under this uuid at this
 * offset doesn't exist. All numbers little-endian. */
#ifndef RQ_CONSENSUS_IO_LOG_SEGMENT_H
#define RQ_CONSENSUS_IO_LOG_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "io/log_configurations.h"

enum {
        SEGMENT_MAGIC         = 0x31537172, /* "rqS1" */
        SEGMENT_VERSION       = 1,
        SEGMENT_HEADER_BYTES  = 100,              /* without a configuration */
        SEGMENT_DATA_AT       = 4096,             /* a header is never larger */
        SEGMENT_CONFIGURATION_MAX = SEGMENT_DATA_AT - SEGMENT_HEADER_BYTES,
        SEGMENT_BYTES         = 16 * 1024 * 1024, /* a larger record has a segment of its own */
        SEGMENT_NAME_BYTES    = 25,               /* 20 digits, ".log", NUL */
        UNIT_MAGIC            = 0x31557172, /* "rqU1" */
        UNIT_HEADER_BYTES     = 40,
        UNIT_ALIGN            = 8,
};

typedef struct segment_header {
        rq_uuid uuid, database_id;
        uint64_t first_index, previous_index, previous_term, clock_us;
        uint64_t file_bytes;
        log_configuration configuration; /* holds at previous_index; its body is borrowed from who made the header */
} segment_header;

typedef struct segment_unit {
        uint64_t offset;        /* of its header in the file */
        uint64_t durable_up_to;
        uint64_t first_index;
        uint32_t record_count, record_bytes;
        uint32_t previous_crc, crc;
} segment_unit;

static inline uint64_t segment_align(uint64_t offset) {
        return (offset + UNIT_ALIGN - 1) & ~(uint64_t) (UNIT_ALIGN - 1);
}

/* Where the next unit begins. */
static inline uint64_t segment_unit_end(const segment_unit *unit) {
        return segment_align(unit->offset + UNIT_HEADER_BYTES + unit->record_bytes);
}

/* "00000000000000000042.log". Returns name. */
char *segment_name(uint64_t first_index, char name[static SEGMENT_NAME_BYTES]);
/* Whether it is the name of a segment. */
bool segment_name_parse(const char *name, uint64_t *ret_first_index);

/* Writes up to SEGMENT_DATA_AT bytes and returns how many. The configuration must fit
 * SEGMENT_CONFIGURATION_MAX. */
size_t segment_header_encode(uint8_t *out, const segment_header *header);
/* The configuration is borrowed from file. Errors: RQ_ECORRUPT, RQ_EVERSION. */
rq_err segment_header_decode(rq_bytes file, segment_header *ret_header);

/* The unit's header; sets unit->crc. slices: its records, borrowed. */
void segment_unit_encode(uint8_t out[static UNIT_HEADER_BYTES], const rq_uuid *segment,
                         segment_unit *unit, const rq_bytes *slices, size_t slice_count);

/* The unit at this offset of the file. Errors: RQ_ECORRUPT: there is no valid
 * one. Whether it continues the one before it is the caller's to check. */
rq_err segment_unit_decode(rq_bytes file, const rq_uuid *segment, uint64_t offset, segment_unit *ret_unit);

static inline rq_bytes segment_unit_records(rq_bytes file, const segment_unit *unit) {
        return rq_bytes_of(file.data + unit->offset + UNIT_HEADER_BYTES, unit->record_bytes);
}

/* Why no unit follows at an offset. */
typedef enum segment_end {
        SEGMENT_END_CLEAN,  /* nothing of this segment was written there */
        SEGMENT_END_TORN,   /* a write that didn't complete: cut */
        SEGMENT_END_ROTTEN, /* it was durable and is damaged */
} segment_end;

/* offset: where the sequence of valid units ends; durable_up_to: of the last
 * valid unit before it. Hazard 24: a power cut may keep later sectors of a write
 * and lose earlier ones, so valid units behind the hole only prove rot if one of
 * them says that the hole was durable when it was written. */
segment_end segment_end_at(rq_bytes file, const rq_uuid *segment, uint64_t offset);

#endif
