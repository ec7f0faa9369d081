/* Body of the records that bring a whole database, or SQL of any size, a piece each:
 * RECORD_LOAD_CHUNK and RECORD_ABORT_GROUP. Fixed, so that the leader can copy what the record's header
 * has of it (record.h) without knowing what it is.
 *
 *   0  u64 group: random, of one load     8  u32 number: 0, 1, 2…
 *  12  u32 flags (1: last, 2: text)   16  u64 hash, 24 u64 bytes: of all data of the group, with last; else 0
 *  32  16 bytes incarnation              48  u64 request id: of the gateway that waits
 *  56  u64 zero
 *  64  data: the next bytes; of ABORT_GROUP none
 * All little-endian. The hash is the CRC-32C of the data, in the lower half.
 *
 * The data is a SQLite file that replaces the database, or, text, SQL that is run
 * as a whole or not at all, at the last chunk. Flags that this build doesn't know
 * are RQ_EVERSION. */
#ifndef RQ_PROTO_LOAD_CHUNK_H
#define RQ_PROTO_LOAD_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/rng.h"

enum {
        LOAD_CHUNK_HEADER_BYTES = 64,
        LOAD_CHUNK_DATA_BYTES   = 1024 * 1024, /* what senders put into one; receivers take what a record holds */
};

typedef struct load_chunk {
        uint64_t group;
        uint32_t number;
        bool last, text;
        uint64_t hash, bytes;
        rq_uuid incarnation;
        uint64_t request_id;
} load_chunk;

void load_chunk_encode(uint8_t out[static LOAD_CHUNK_HEADER_BYTES], const load_chunk *chunk);

/* *ret_data is borrowed from body. Errors: RQ_EPROTO (too short), RQ_EVERSION. */
rq_err load_chunk_decode(rq_bytes body, load_chunk *ret_chunk, rq_bytes *ret_data);

#endif
