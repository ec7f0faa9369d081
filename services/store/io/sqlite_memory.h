/* SQLite's allocator, counted: tells an allocation that the system refused
 * from SQLITE_NOMEM that is a statement's own outcome, the same on all nodes
 * (hazard 2), and bounds what reads take, so that they leave some to the writer
 * (hazard 29). One for the process, as SQLite's configuration is.
 *
 * Counts are the calling thread's: what it takes less what it gives back. */
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
 * such limit any more. May lie within a read. */
void sqlite_memory_limit(uint64_t bytes);
bool sqlite_memory_limit_met(void); /* since it was set last */

/* What all reads of the process may hold together, and one of them. */
void sqlite_memory_reads_max(uint64_t together, uint64_t one);
uint64_t sqlite_memory_reads_held(void); /* any thread */

/* Of each read: isn't counted to what all hold. More than a connection's page
 * cache, so that small reads go on while large ones are refused. */
enum { SQLITE_MEMORY_READ_FREE = 3 * 1024 * 1024 };

typedef enum sqlite_memory_end {
        SQLITE_MEMORY_ENOUGH,
        SQLITE_MEMORY_ONE_MET,      /* something was refused: above the limit of one */
        SQLITE_MEMORY_TOGETHER_MET, /* all reads together had too much */
} sqlite_memory_end;

/* A read of the calling thread. */
void sqlite_memory_read_begin(void);
void sqlite_memory_read_end(void);
sqlite_memory_end sqlite_memory_read_met(void); /* since it began, or the next call */
void sqlite_memory_read_forgive(void);

/* Memory that isn't SQLite's, counted to the read. False: refused, not counted.
 * Outside a read: true. */
bool sqlite_memory_claim(size_t bytes);
void sqlite_memory_unclaim(size_t bytes);

#endif
