/* SQLite's instr() and replace() take the product of their arguments' sizes, hours
 * with some megabytes, and nothing sees inside a call: no step budget, no deadline,
 * no client that hangs up. These answer the same in linear time. */
#ifndef RQ_STORE_TEXT_FUNCTIONS_H
#define RQ_STORE_TEXT_FUNCTIONS_H

#include <sqlite3.h>
#include <stdint.h>

#include "base/err.h"

/* On a connection, in place of SQLite's own. steps: counts a step of the budget for so many bytes; must outlive db;
 * NULL: nothing counts. */
rq_err text_functions_install(sqlite3 *db, uint64_t *steps);

#endif
