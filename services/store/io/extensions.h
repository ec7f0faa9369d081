/* SQLite's loadable extensions (-extensions-path): shared libraries whose
 * functions and collations statements may use. They run inside rq-store with all
 * its rights: an operator's choice, never a client's (load_extension() stays
 * refused). What an extension computes in a write must be equal on all nodes:
 * only functions that it declares SQLITE_DETERMINISTIC may be used there, and
 * the files must be the same everywhere; status shows a checksum to compare.
 * Its virtual tables are not available. Immutable once open; any thread. */
#ifndef RQ_STORE_EXTENSIONS_H
#define RQ_STORE_EXTENSIONS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

typedef struct extensions extensions;

enum { EXTENSIONS_MAX = 64, EXTENSION_BYTES_MAX = 256 * 1024 * 1024 };

/* paths: files, folders and archives (archive.h) with commas between; of a folder every *.so in it, in
 * the order of their names, of an archive in its own. Each is loaded once, to see what it brings. "" is no
 * extension. *ret_problem (the caller's): one sentence that names the file.
 * Errors: RQ_ECONFIG, RQ_ENOMEM. */
rq_err extensions_open(const char *paths, extensions **ret_extensions, rq_buf *ret_problem);
extensions *extensions_free(extensions *e); /* accepts NULL, returns NULL */

/* Into a new connection, before its authorizer; e may be NULL.
 * Errors: RQ_EIO (it could be loaded before, now it can't). */
rq_err extensions_load(const extensions *e, sqlite3 *db);

/* A deterministic function of one of them. e may be NULL. Case-insensitive. */
bool extensions_has(const extensions *e, const char *function);

/* NULL behind the last: the name of its file. */
const char *extensions_at(const extensions *e, size_t place, uint32_t *ret_crc32c);

#endif
