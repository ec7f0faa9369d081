/* A piece of a database on its way to another node, as it is queued between the
 * threads of the store. Unpacked it has SNAPSHOT_CHUNK_BYTES, the last one fewer. */
#ifndef RQ_STORE_SNAPSHOT_CHUNK_H
#define RQ_STORE_SNAPSHOT_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        SNAPSHOT_CHUNK_BYTES  = 256 * 1024,
        /* Unacknowledged, from store to store: what is queued on the whole way. */
        SNAPSHOT_WINDOW_BYTES = 8 * 1024 * 1024,
};

typedef struct snapshot_chunk {
        struct snapshot_chunk *next;
        uint64_t offset;     /* in the database file */
        uint32_t raw_bytes;  /* unpacked */
        uint32_t crc;        /* CRC-32C of the unpacked bytes */
        bool packed;         /* by zstd */
        size_t size;         /* of data */
        uint8_t data[];
} snapshot_chunk;

#endif
