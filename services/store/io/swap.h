/* Replacing the whole database by a staged file (hazard 17): a snapshot that came
 * from another node, a binary load, a VACUUM. The same steps finish it at once
 * and after a crash:
 *
 *   staged file complete and synced -> intent {swap, position, facts of the file},
 *   synced -> rename over the database -> sync folder -> WAL emptied -> *state*
 *
 * How to do one:
 *  1. Write the new database to SWAP_FILE_NAME in the store's folder (one at a
 *     time; whoever stages owns the name until it is done). A crash before step 2
 *     leaves a file that the next start deletes.
 *  2. On the writer's thread, no transaction or statement open: files_swap(). From
 *     its success on, the old files take no commit and no checkpoint; readers are
 *     still served from them.
 *  3. The loop ends readers and writer, frees the files and opens them anew:
 *     recovery does the rest, so that there is one way only. store_reopen() in
 *     service.h does all of that; a writer's thread gets there by ending with the
 *     condition APPLY_SWAPPED (apply_thread.h).
 * On failure of step 2 nothing has changed. */
#ifndef RQ_STORE_SWAP_H
#define RQ_STORE_SWAP_H

#include "base/bytes.h"
#include "base/err.h"
#include "io/database_file.h"
#include "io/files_io.h"

#define SWAP_FILE_NAME "db.sqlite.swap"

/* Looks at a staged file: a whole SQLite database (core/database_header.h), and as large as its
 * header says. Puts page 1 into rollback mode, as it is on disk, and syncs file
 * and folder. The content behind page 1 isn't looked at. *ret_problem: one
 * sentence. Errors: RQ_ECORRUPT (no such database), RQ_ENOENT, RQ_EIO, RQ_ENOSPC,
 * RQ_ENOMEM. */
rq_err swap_prepare(const files_io *io, int folder_fd, database_facts *ret_facts, rq_buf *ret_problem);

/* Deletes a staged file that no intent names. Errors are logged. */
void swap_discard(const files_io *io, int folder_fd);

/* The staged file, or, if it is renamed already, the database itself is the file
 * with these facts: renames if need be, and syncs the folder. database_fd: open for
 * DATABASE_FILE_NAME, is replaced by one of the new file if it was renamed now.
 * Errors: RQ_EDIVERGED (neither is), RQ_EIO. */
rq_err swap_finish(const files_io *io, int folder_fd, const database_facts *facts, int *database_fd);

#endif
