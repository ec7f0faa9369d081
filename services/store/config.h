/* The flags that the store uses, read once. */
#ifndef RQ_STORE_CONFIG_H
#define RQ_STORE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "io/files.h"

typedef struct store_config {
        uint32_t readers_max;  /* -db-max-ro-conns, within our own limit */
        uint64_t slow_us;      /* -slow-statement; 0: off */
        uint64_t read_memory_bytes; /* -max-read-memory */
        uint64_t skip_index;   /* -skip-entry; 0: none */
        files_options files;   /* -fk, -raft-snap, -raft-snap-wal-size, -raft-snap-int */
} store_config;

void store_config_read(const rq_config *config, store_config *ret_config);

#endif
