#include "config.h"

/* Each reader is a thread with a connection and up to 2 MiB of cache. */
enum { READERS_MAX = 256 };

void store_config_read(const rq_config *config, store_config *ret_config) {
        int64_t readers = rq_config_int(config, "db-max-ro-conns");
        int64_t wal_bytes = rq_config_int(config, "raft-snap-wal-size");
        int64_t interval_ms = rq_config_duration_us(config, "raft-snap-int") / 1000;
        *ret_config = (store_config) {
                .readers_max = readers <= 0 || readers > READERS_MAX ? READERS_MAX : (uint32_t) readers,
                .slow_us = (uint64_t) rq_config_duration_us(config, "slow-statement"),
                .skip_index = (uint64_t) rq_config_int(config, "skip-entry"),
                .read_memory_bytes = (uint64_t) rq_config_int(config, "max-read-memory"),
                .files = {
                        .foreign_keys = rq_config_bool(config, "fk"),
                        .checkpoint_entries = (uint64_t) rq_config_int(config, "raft-snap"),
                        .checkpoint_wal_bytes = wal_bytes == 0 ? UINT64_MAX : (uint64_t) wal_bytes,
                        .checkpoint_interval_ms = interval_ms >= UINT32_MAX ? UINT32_MAX - 1 : (uint32_t) interval_ms,
                },
        };
}
