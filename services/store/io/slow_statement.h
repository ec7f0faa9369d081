/* Tells the journal of statements that took long (-slow-statement). */
#ifndef RQ_STORE_SLOW_STATEMENT_H
#define RQ_STORE_SLOW_STATEMENT_H

#include <sqlite3.h>
#include <stdint.h>

/* limit_us 0: never. stmt: not finalized yet; its parameters are not told.
 * index: of the entry; 0: a read. Any thread. */
void slow_statement_ran(uint64_t limit_us, uint64_t took_us, sqlite3_stmt *stmt, uint64_t index);

#endif
