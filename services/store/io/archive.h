/* Shared libraries in an archive, as rqlite's -extensions-path takes them: zip (stored or deflated), or tar packed by
 * gzip. Each *.so, in whatever folder of it, becomes a file in memory. Knows nothing of SQLite. */
#ifndef RQ_STORE_ARCHIVE_H
#define RQ_STORE_ARCHIVE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"

enum { ARCHIVE_BYTES_MAX = 256 * 1024 * 1024, ARCHIVE_NAME_MAX = 255 }; /* bytes: of the archive, and of all that is unpacked of it */

/* By its first bytes. */
bool archive_is_one(rq_bytes head);

/* on_library: name without folders; fd is the callee's. What it returns below 0 ends the reading. *ret_why: a constant
 * sentence. Errors: RQ_ECORRUPT (why), RQ_ETOOBIG (why), RQ_ENOMEM, what the kernel says, on_library's. */
rq_err archive_read(rq_bytes archive, rq_err (*on_library)(void *arg, const char *name, int take_fd), void *arg, const char **ret_why);

#endif
