/* Two SQLite VFSes over one database file and its WAL: "writer" and "reader".
 * They do the same, but that the writer's clock is the entry clock, that only
 * the writer may write, and that only the writer's failures are recorded.
 * SQLite writes the WAL and never the database file (safety rule 2): a write
 * there fails, and is recorded.
 *
 * All connections share the descriptors given to vfs_new, so none is ever
 * closed under another one's locks (hazard 15); locks and the wal-index live
 * in memory (hazard 16); xSync does nothing, syncs are the caller's. The WAL is
 * whatever file wal_fd is, whatever name SQLite has for it. Knows nothing of
 * checkpoints or intents. Thread-safe where connections are. */
#ifndef RQ_STORE_VFS_H
#define RQ_STORE_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/files_io.h"
#include "io/wal_index.h"

typedef struct vfs vfs;

typedef enum vfs_failure { VFS_OK, VFS_FULL, VFS_IO } vfs_failure;

/* Descriptors and io: borrowed until vfs_free. Registers with SQLite.
 * Errors: RQ_ENOMEM. */
rq_err vfs_new(const files_io *io, int folder_fd, int database_fd, int wal_fd, vfs **ret_vfs);

/* All connections must be closed. */
vfs *vfs_free(vfs *v);

/* For sqlite3_open_v2, with DATABASE_FILE_NAME behind any folder as file name. */
const char *vfs_writer_name(const vfs *v);
const char *vfs_reader_name(const vfs *v);

/* Microseconds since 1970, for the writer's date functions. */
void vfs_set_clock(vfs *v, uint64_t clock_us);

/* The first failure of the writer's files since it was last cleared. */
vfs_failure vfs_failed(vfs *v, bool clear);

/* Until the end, the calling thread waits for nothing: it may read that many
 * times from files, only what the kernel has in memory, and doesn't sleep.
 * What would need more fails with SQLITE_IOERR or SQLITE_BUSY. */
void vfs_hasty_begin(uint32_t reads);
void vfs_hasty_end(void);

wal_index *vfs_wal_index(vfs *v);

#endif
