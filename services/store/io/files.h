/* The database file, its WAL, *state*, intents and the runtime record: opening
 * after any kind of end, connections, checkpoints at a known index. Knows
 * nothing of SQL requests or messages. Rules: architecture.md safety rule 2,
 * hazards 13-16, 19. Formats: docs/disk-format-store.md.
 *
 * Threads: files_open, files_close: the loop's. Everything with "writer" in its
 * comment: the writer's thread only. */
#ifndef RQ_STORE_FILES_H
#define RQ_STORE_FILES_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "core/store_state.h"

typedef struct files files;

struct files_io;
struct extensions;

/* {0} is what production uses. */
typedef struct files_options {
        bool foreign_keys;               /* constraints are enforced; the folder keeps what it was created with */
        uint64_t checkpoint_wal_bytes;   /* in the WAL alone: start a checkpoint; 0: 4 MiB */
        uint64_t checkpoint_entries;     /* or so many entries since the last one; 0: 8192 */
        uint32_t checkpoint_interval_ms; /* or after that time; 0: 10 s */
        uint64_t wal_bytes_max;          /* the writer is held to empty a WAL that large; 0: 64 MiB */
        uint32_t closing_wait_ms;        /* and waits for readers that long; 0: 50 ms */
        uint32_t writer_cache_pages;     /* more go to the WAL before COMMIT; 0: as many as 16 MiB hold */
        const struct files_io *io;       /* kernel calls; NULL: files_io_kernel */
        const char *boot_id;             /* NULL: the kernel's */
        const struct extensions *extensions; /* loaded into every connection; NULL: none. Outlives the files */
} files_options;

/* In main, before anything else uses SQLite: counts failed allocations, so
 * that files_failure can tell them from a statement's own SQLITE_NOMEM. Also done
 * by files_open; if that is too late, every SQLITE_NOMEM counts as failure. */
void files_prepare_process(void);

/* Recovers what is there (finishes an intent's checkpoint, or cuts the WAL to
 * the runtime record of the same boot, or drops the WAL) and opens.
 * ret_state: where the database stands. *ret_problem: one sentence for the
 * operator, with file and offset, on failure (owned by the caller).
 * Errors: RQ_ECONFIG (created with another foreign_keys), RQ_EDIVERGED (file, state, WAL don't fit one another: nothing was
 * changed or deleted), RQ_ECORRUPT, RQ_EVERSION, RQ_EBUSY (another program has
 * the database open), RQ_EIO, RQ_ENOSPC, RQ_ENOMEM. folder_fd must stay open
 * until files_free; run_dir_fd may be -1 (a crash then costs the WAL). */
rq_err files_open(int folder_fd, const char *folder_path, int run_dir_fd,
                  files **ret_files, store_state *ret_state, rq_buf *ret_problem);

rq_err files_open_with(const files_options *options, int folder_fd, const char *folder_path, int run_dir_fd,
                       files **ret_files, store_state *ret_state, rq_buf *ret_problem);

/* Closing checkpoint if the writer's connection is still open and *state*
 * can be written; then frees. Readers must be closed, the writer's statements
 * finalized; an open transaction on the writer is rolled back, and the closing
 * checkpoint left out then. */
files *files_free(files *f);

/* One writer connection and any number of readers (query_only, shared nothing
 * but the file). Pragmas, limits and db_config are set to our own values. The
 * caller closes readers with sqlite3_close. */
rq_err files_open_writer(files *f, sqlite3 **ret_db); /* owned by files */

/* Another connection in its place, the one before is closed: what virtual
 * tables and the pager hold in memory is read from the file again. No
 * transaction may be open on it, and no statement left. Forgets the failures so
 * far (files_failure). Writer. Errors: RQ_ENOMEM, RQ_EIO, RQ_ENOSPC,
 * RQ_ECORRUPT: the connection is what it was. */
rq_err files_renew_writer(files *f, sqlite3 **ret_db);
rq_err files_open_reader(files *f, sqlite3 **ret_db);
const struct extensions *files_extensions(const files *f);

/* The clock that date functions on the writer connection see (VFS clock);
 * writer. Microseconds since 1970. */
void files_set_entry_clock(files *f, uint64_t clock_us);

/* What the folder was created with. Any thread. */
bool files_foreign_keys(const files *f);

/* RQ_ENOSPC, RQ_EIO, RQ_ENOMEM: a real failure of storage or memory was recorded
 * since the last call with clear=true (hazards 2): FULL, IOERR, NOMEM are no
 * outcomes then. RQ_OK: none was. Writer. */
rq_err files_failure(files *f, bool clear);

/* After the rollback of an entry that makes several transactions, because the
 * environment failed: if some of them are committed, only opening the folder anew
 * undoes them, and files_broken is true from now on. Writer. */
void files_undo_commits(files *f);

/* After each COMMIT of the writer, before anybody is told: writes the runtime
 * record. Writer. */
void files_committed(files *f, const store_state *state);

/* While held, commits go into the WAL, but neither the runtime record nor a
 * checkpoint moves on: the next start is at the last commit before. Writer. */
void files_hold(files *f, bool held);

/* Between batches: starts or finishes a checkpoint as the WAL's size and the
 * time ask for. Copying and syncs happen on files' own thread; the writer is
 * held only when the WAL has to begin anew (files_options.wal_bytes_max).
 * force: make one at this state now (shutdown, tests). Writer.
 * No transaction or statement may be open on the writer.
 * Errors: RQ_EIO, RQ_ENOSPC: storage failed; stop applying, try again later (but
 * see files_broken). RQ_EAGAIN: with force only: readers hold it up. */
rq_err files_checkpoint(files *f, const store_state *state, bool force);

/* How long the writer may idle before it has to call files_checkpoint again;
 * UINT32_MAX: until the next commit. Writer. */
uint32_t files_checkpoint_wait_ms(const files *f, const store_state *state);

/* A sync failed, the copying broke, or half an entry is committed: nothing more
 * becomes durable until the files are freed and opened anew (the process
 * restarted). Any thread. */
bool files_broken(const files *f);

/* The staged file (swap.h) becomes the database, at this position: durable when it
 * returns, done when the files are opened anew. Until then readers read the old
 * one; nothing may be committed any more. Waits for a checkpoint under way. Writer;
 * as files_checkpoint. above: what is applied; position must be beyond it, so that nothing that
 * was applied is given up. FILES_SWAP_ANY: the database is worth nothing, and is replaced wherever it
 * is. *ret_problem: one sentence. Errors: RQ_EEXIST (position isn't beyond above), RQ_ECORRUPT (the staged
 * file is no database), RQ_ENOENT, RQ_EAGAIN (readers hold a checkpoint up), RQ_EIO, RQ_ENOSPC, RQ_ENOMEM. */
#define FILES_SWAP_ANY UINT64_MAX
rq_err files_swap(files *f, const store_state *position, uint64_t above, rq_buf *ret_problem);

/* It was done: nothing is committed to these files any more. Writer. */
bool files_swapped(const files *f);

/* Images of the database file at its last checkpoint (image.h). Any thread. */
struct image_set;
struct image_set *files_images(files *f);

/* What a reader sees, as an image that outlives its transaction: the caller calls
 * files_wal_position() between the moment the transaction is open and one at which
 * no commit had begun since (hazard 21), and files_image_seen() while it is still
 * open. index: what the transaction sees. reader: its connection. The thread of the
 * connection. Errors: RQ_EAGAIN (the WAL began anew meanwhile; or the database is of
 * an unknown shape), RQ_EFULL, RQ_ENOMEM, RQ_EIO, RQ_ENOSPC, RQ_ECORRUPT: copy it
 * otherwise. */
struct image;
struct wal_position files_wal_position(const files *f);
rq_err files_image_seen(files *f, sqlite3 *reader, const struct wal_position *seen, uint64_t index, struct image **ret_image);

/* The next files_checkpoint() begins one at its state, if there is anything that
 * isn't in the file. Any thread; the writer must be woken. */
void files_checkpoint_soon(files *f);

/* Durable without the log: may be read by any thread. */
uint64_t files_checkpoint_index(const files *f);

/* For /status: sizes in bytes, counts. Any thread. */
typedef struct files_stats {
        uint64_t database_bytes, wal_bytes, wal_frames;
        uint64_t checkpoints, checkpoint_us_last, checkpoint_us_max, writer_held_us_max;
} files_stats;
void files_stats_get(const files *f, files_stats *ret_stats);

#endif
