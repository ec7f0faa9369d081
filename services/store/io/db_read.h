/* Runs one query request on a read connection, whole in one read transaction,
 * and writes its answer. Synchronous; knows neither threads nor messages. */
#ifndef RQ_STORE_DB_READ_H
#define RQ_STORE_DB_READ_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "io/applier.h"
#include "io/files.h"
#include "store.pb-c.h"

typedef struct db_reader db_reader;

/* Any thread, then one thread at a time. a: for the index that a read saw.
 * Errors: those of files_open_reader. */
rq_err db_reader_new(files *f, const applier *a, db_reader **ret_reader);
db_reader *db_reader_free(db_reader *r);

/* Called on the way when there is much JSON; borrowed bytes. May block. false:
 * stop. */
typedef bool (*db_read_send)(void *arg, uint64_t index, rq_bytes json);

typedef enum db_read_outcome {
        DB_READ_DONE,      /* the rest of the answer is in db_reader_json() */
        DB_READ_STOPPED,   /* by send or by *stop */
        DB_READ_NEEDS_LOG, /* request_mode, and a statement isn't readonly: nothing was run */
        DB_READ_FAILED,    /* db_reader_problem() says why */
} db_read_outcome;

/* Where the caller may put the next piece, so that it need not be copied: send() gets it then, from its
 * beginning. NULL: out of memory. Valid until the next call of either. */
typedef void *(*db_read_room)(void *arg, size_t size);

/* Looks at *stop now and then; db_reader_interrupt() makes that sooner.
 * *ret_index: what the read saw (an upper bound: hazard 21). */
db_read_outcome db_reader_run(db_reader *r, const Rq__Query *query, const atomic_bool *stop,
                              db_read_send send, void *arg, uint64_t *ret_index);

/* For pieces of files; NULL, as at the beginning: they are put elsewhere. */
void db_reader_set_room(db_reader *r, db_read_room room);

/* The same in no time, by a thread that may not wait: true: the whole answer, of
 * at most bytes_max, is in db_reader_json(), and *ret_index is set. False: it
 * isn't known to be quick, or wasn't after all; nothing came of it. At the
 * worst it took some DB_TRY_US. */
enum { DB_TRY_US = 200 };
bool db_reader_try(db_reader *r, const Rq__Query *query, size_t bytes_max, uint64_t *ret_index);

/* Borrowed until the next run. */
rq_bytes db_reader_json(const db_reader *r);
const char *db_reader_problem(const db_reader *r);

/* Any thread, while the reader lives: what runs now ends soon. */
void db_reader_interrupt(db_reader *r);

#endif
