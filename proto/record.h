/* A log record's header: the same bytes in the log, on the way to peers and to
 * the store. Readable without SQL or protobuf, so that a node that doesn't
 * know a kind can tell whether it may pass it (hazards 30).
 *
 *   0  u32 magic "rqR1"        4  u32 body_bytes
 *   8  u16 format version     10  u8 kind   11 u8 flags (bit 0: critical)
 *  12  u32 feature level: the lowest that understands this record
 *  16  u64 index              24  u64 term
 *  32  u64 clock_us           40  u64 seed
 *  48  u64 step budget        56  16 bytes database id
 *  72  u64 chunk group        80  u32 chunk number   84 u32 chunk flags (bit 0: last)
 *  88  u64 chunk hash
 *  96  u32 body CRC-32C      100  u32 CRC-32C of bytes 0..99
 * 104  body
 * All little-endian. Flag bits (also of a chunk) that this build doesn't know are
 * RQ_EVERSION: what they change can't be guessed.
 *
 * The feature level is that of the record's kind and of what its body uses,
 * record_kind_level(), never that of the build that wrote it: else an entry as
 * old as the format would stop every node that isn't upgraded yet. */
#ifndef RQ_PROTO_RECORD_H
#define RQ_PROTO_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

enum {
        RECORD_MAGIC         = 0x31527172, /* "rqR1" */
        RECORD_VERSION       = 1,
        RECORD_HEADER_BYTES  = 104,
        RECORD_BODY_BYTES_MAX = 64 * 1024 * 1024 + 64 * 1024, /* a body of 64 MiB and its frame */
        RECORD_CRITICAL      = 1, /* flag: who doesn't know the kind must stop */
        RECORD_FEATURE_LEVEL = 1, /* what this build understands */
};

/* Numbers are never reused. */
typedef enum record_kind {
        RECORD_NOOP          = 1,  /* first entry of a leader's term */
        RECORD_SQL           = 2,  /* body: SqlEntry */
        RECORD_BARRIER       = 3,  /* strong read */
        RECORD_LOAD_CHUNK    = 4,
        RECORD_ABORT_GROUP   = 5,
        RECORD_CONTROL       = 6,
        RECORD_SESSION       = 7,
        RECORD_DIGEST        = 8,
        RECORD_CONFIGURATION = 9,
        RECORD_CHANGES       = 10,
} record_kind;

typedef struct record_header {
        uint32_t body_bytes;
        uint8_t kind, flags;
        uint32_t feature_level;
        uint64_t index, term;
        uint64_t clock_us; /* strictly rising along the log: max(last + 1, wall) */
        uint64_t seed;     /* of random() in this entry */
        uint64_t step_budget;
        rq_uuid database_id;
        uint64_t chunk_group, chunk_hash;
        uint32_t chunk_number;
        bool chunk_last;
        uint32_t body_crc;
} record_header;

/* The feature level of records of this kind; of an unknown kind UINT32_MAX. A
 * new kind has the level of the build that brings it. */
uint32_t record_kind_level(record_kind kind);

/* Of an encoded record that has been checked before, without decoding it again. */
static inline record_kind record_peek_kind(const uint8_t *record) { return (record_kind) record[10]; }
static inline size_t record_peek_bytes(const uint8_t *record) { return RECORD_HEADER_BYTES + (size_t) rq_get_u32(record + 4); }
static inline uint64_t record_peek_index(const uint8_t *record) { return rq_get_u64(record + 16); }
static inline uint64_t record_peek_term(const uint8_t *record) { return rq_get_u64(record + 24); }
static inline uint64_t record_peek_seed(const uint8_t *record) { return rq_get_u64(record + 40); }
static inline uint64_t record_peek_clock_us(const uint8_t *record) { return rq_get_u64(record + 32); }

/* Fills header->body_bytes and body_crc from body and writes the header. */
void record_header_encode(uint8_t out[static RECORD_HEADER_BYTES], record_header *header, rq_bytes body);

/* Errors: RQ_ECORRUPT (magic or checksum), RQ_EVERSION (format version, or a
 * flag bit other than bit 0), RQ_ETOOBIG. */
rq_err record_header_decode(const uint8_t in[static RECORD_HEADER_BYTES], record_header *ret_header);

/* The record at the start of bytes, body checked. Borrowed from bytes.
 * Errors: as above; RQ_EAGAIN: bytes ends inside the record. */
rq_err record_decode(rq_bytes bytes, record_header *ret_header, rq_bytes *ret_body);

#endif
