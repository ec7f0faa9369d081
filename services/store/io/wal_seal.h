/* Gives frames of the WAL their salts and checksums that SQLite has forgotten.
 *
 * A transaction that is larger than the cache writes frames before its COMMIT. When
 * it writes a page a second time, it overwrites that page's frame, remembers
 * the lowest frame so treated, leaves out salts and checksums from then on (zeros), and
 * adds them at COMMIT, from the lowest one on. But when a savepoint, or a
 * statement that failed, is undone, the place to write at goes back, and the lowest frame stays what
 * it was (sqlite3WalSavepointUndo, 3.40.1): frames that are written next, below
 * it, are never treated. SQLite itself doesn't notice as long as it runs. A recovery would end the WAL
 * there, and lose all commits behind; our checkpoints would take it for damaged.
 *
 * Treating begins with a read that nothing else does: eight bytes, the checksum of
 * the frame before the lowest. That is the moment to do what is missing, and to
 * answer with the checksum that comes of it. The writer's thread. */
#ifndef RQ_STORE_WAL_SEAL_H
#define RQ_STORE_WAL_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "io/files_io.h"

enum { WAL_SUM_BYTES = 8 };

/* Of one connection's WAL. {0}: nothing was written yet. */
typedef struct wal_seal { uint64_t newest; /* offset of the frame whose header was written last */ } wal_seal;

/* After each write. */
void wal_seal_wrote(wal_seal *s, size_t size, uint64_t offset);

/* Is a read that one? (The checksum of the WAL's own header is never missing.) */
bool wal_seal_asked(size_t size, uint64_t offset);

/* Then instead of it. Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, RQ_ECORRUPT (not in a frame of this WAL). */
rq_err wal_seal_sum(const wal_seal *s, const files_io *io, int fd, uint64_t offset, uint8_t ret_sum[static WAL_SUM_BYTES]);

#endif
