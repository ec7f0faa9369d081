/* The store's part of /status: store.sqlite3 as rqlite has it, and our own. */
#ifndef RQ_STORE_STATUS_H
#define RQ_STORE_STATUS_H

#include "service.h"

/* {"sqlite3":{...}, ...}; freed by the caller; NULL: out of memory. */
char *status_json(store *s);

#endif
