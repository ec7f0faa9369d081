/* SQLite's allocator, counted: tells an allocation that the system refused
 * from SQLITE_NOMEM that is a statement's own outcome, the same on all nodes
 * (hazard 2). One for the process, as SQLite's configuration is. */
#ifndef RQ_STORE_SQLITE_MEMORY_H
#define RQ_STORE_SQLITE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Before anything else uses SQLite; again: no effect. False: too late, SQLite
 * keeps an allocator that doesn't count. Any thread. */
bool sqlite_memory_prepare(void);

/* Allocations refused on the calling thread since it began. */
uint64_t sqlite_memory_failures(void);

#endif
