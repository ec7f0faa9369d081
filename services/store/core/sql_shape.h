/* The shape of a statement for the log: its text without literals, comments and
 * superfluous blanks. What a client's program put into the text (a password, a
 * customer's name) must not end up in a journal. */
#ifndef RQ_STORE_SQL_SHAPE_H
#define RQ_STORE_SQL_SHAPE_H

#include "base/bytes.h"

enum { SQL_SHAPE_BYTES_MAX = 1001 }; /* with the NUL */

/* Strings, blobs and numbers become "?". So does a word in double quotes behind
 * VALUES, SET, WHERE, ON, HAVING, THEN, ELSE or LIMIT that isn't joined to another by a dot,
 * since SQLite takes it for a string if no column has that name. What doesn't fit ends in
 * "...". */
void sql_shape(rq_bytes sql, char ret_shape[static SQL_SHAPE_BYTES_MAX]);

#endif
