/* What a statement's first word tells of it. Not a parser: the store decides
 * what a statement is; a wrong hint costs a detour, never a wrong answer. */
#ifndef RQ_GATEWAY_SQL_HINT_H
#define RQ_GATEWAY_SQL_HINT_H

#include <stdbool.h>

#include "base/bytes.h"

/* May be a read: begins with SELECT, VALUES, WITH, EXPLAIN or PRAGMA, or holds
 * nothing but blanks and comments. */
bool sql_may_be_read(rq_bytes sql);

/* A pragma that would change how the database file is written. A request with
 * one is refused as a whole, before anything runs, as clients of rqlite expect;
 * other spellings of the same are refused by the store. */
bool sql_is_refused_pragma(rq_bytes sql);

#endif
