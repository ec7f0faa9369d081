/* SQLite's allocator, counted: tells an allocation that the system refused
 * from SQLITE_NOMEM that is a statement's own outcome, the same on all nodes
 * (hazard 2). One for the process, as SQLite's configuration is. */
#ifndef RQ_STORE_SQLITE_MEMORY_H
#define RQ_STORE_SQLITE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before anything else uses SQLite; again: no effect. False: too late, SQLite
 * keeps an allocator that doesn't count. Any thread. */
bool sqlite_memory_prepare(void);

/* Allocations that the system refused to the calling thread since it began. */
uint64_t sqlite_memory_failures(void);

/* From now on the calling thread may take that many bytes more than it gives
 * back; what is above is refused, which is no failure of the system. 0: no
 * limit any more. */
void sqlite_memory_limit(uint64_t bytes);
bool sqlite_memory_limit_met(void); /* since it was set last */

#endif
