/* What SQL may use on the writer: the allow lists of the authorizer. Whatever
 * isn't listed could differ from node to node, or change the connection that
 * all entries share (hazards 5, 7, 10, 11). docs/sql.md explains. */
#ifndef RQ_STORE_ALLOWED_H
#define RQ_STORE_ALLOWED_H

#include <stdbool.h>

/* Case-insensitive. */
bool allowed_function(const char *name);
bool allowed_module(const char *name);
/* Not allowed, but only since the oldest SQLite that a node may have doesn't know it. */
bool allowed_is_newer_function(const char *name);

/* Costs no more than its arguments are long: a statement that calls only such
 * functions is cheap if it takes few steps. Case-insensitive. */
bool allowed_brief_function(const char *name);

/* NULL-terminated, for sqlite3_drop_modules. A reader also has dbstat. */
const char **allowed_modules(bool reader);

typedef enum allowed_pragma {
        PRAGMA_REFUSED,
        PRAGMA_READ,       /* without a value only */
        PRAGMA_READ_ARG,   /* its argument names what to read */
        PRAGMA_WRITE,      /* stored in the file: an ordinary write */
        PRAGMA_FOREIGN_KEYS, /* fixed by -fk */
} allowed_pragma;
allowed_pragma allowed_pragma_of(const char *name);

#endif
