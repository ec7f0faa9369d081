/* Whole databases as files of their own: a copy of what a connection sees, and
 * the other way round. Copies are unlinked files beside the database: they need
 * its size of disk for a while, and end with their descriptor. Knows nothing of
 * requests or records. Synchronous; any thread, a connection's own at a time. */
#ifndef RQ_STORE_DB_COPY_H
#define RQ_STORE_DB_COPY_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"

/* Of a SQLite file: at 18 which kinds of journal its readers and writers must know. */
enum { DB_HEADER_BYTES = 100, DB_VERSIONS_AT = 18 };
typedef enum db_journal { DB_ROLLBACK = 1, DB_WAL = 2 } db_journal;

/* The content that `from` sees in the transaction that is open on it (if none
 * is, in one of its own). vacuumed: without free pages, in order; rowids stay
 * (hazard 9). *stop (may be NULL) ends it soon with RQ_ECANCELED.
 * Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, RQ_ECORRUPT. */
rq_err db_copy_out(sqlite3 *from, bool vacuumed, const atomic_bool *stop, int *ret_fd);

/* The bytes of such a file in pieces, with another mark of its journal. send may
 * block; false: no more of it (RQ_ECANCELED). Errors: RQ_EIO. */
typedef bool (*db_copy_send)(void *arg, rq_bytes piece);
rq_err db_copy_send_file(int fd, db_journal journal, db_copy_send send, void *arg);

/* The same of an image (io/image.h), whose pages are released as they are sent. room: where each
 * piece is put before it is sent, NULL: out of memory; or NULL, for a place of our own.
 * Errors: also image_read()'s, RQ_ENOMEM. */
struct image;
typedef void *(*db_copy_room)(void *arg, size_t size);
rq_err db_copy_send_image(struct image *from, db_journal journal, db_copy_room room, db_copy_send send, void *arg);

/* The other way: the database in the file at path, of whatever page size, becomes all
 * that the writer's has, in one transaction that this makes: readers see what was there
 * until it is committed, and a crash before that leaves it. Nothing may be open on `to`. *ret_problem:
 * "", or why it can't be (nothing has changed, result RQ_OK). The file must be sound
 * (io/db_verify.h). Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM: nothing has changed. */
enum { DB_COPY_PROBLEM_BYTES = 256 };
rq_err db_copy_in(sqlite3 *to, const char *path, char ret_problem[static DB_COPY_PROBLEM_BYTES]);

/* VACUUM of the writer's database by a vacuumed copy that replaces it, likewise. */
rq_err db_copy_vacuum(sqlite3 *writer, char ret_problem[static DB_COPY_PROBLEM_BYTES]);

/* Deletes the files that a killed process has left beside the database; none may be in use. */
void db_copy_clean(const char *database_path);

/* The mark of the journal, in place. Errors: RQ_EIO, RQ_ENOSPC. */
rq_err db_copy_set_journal(int fd, db_journal journal);

#endif
