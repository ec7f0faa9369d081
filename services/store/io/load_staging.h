/* A load on its way: the file that its chunks make, and what is known of it. One
 * at a time. Nothing of it outlives the process: while one is open, the store
 * makes no checkpoint and tells its runtime record nothing (files_hold), so that
 * a start goes back to before the first chunk, and the log brings all of them again
 * (docs/decisions/0010). Writer's thread. */
#ifndef RQ_STORE_LOAD_STAGING_H
#define RQ_STORE_LOAD_STAGING_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "load_chunk.h"

/* Value semantics: a batch that is undone goes back to its copy of before; bytes
 * written meanwhile are written again at the same place. */
typedef struct load_progress {
        bool open, text;
        uint64_t group;
        uint32_t next_number;
        uint64_t bytes, clock_us; /* so far; entry clock of the newest chunk */
        uint32_t crc;
} load_progress;

/* Without a chunk for so long by the entry clock, a load is given up. */
#define LOAD_IDLE_US (UINT64_C(600) * 1000 * 1000)
/* and much sooner if another one begins: its gateway may be gone. */
#define LOAD_YIELDS_US (UINT64_C(15) * 1000 * 1000)

typedef struct load_staging load_staging;

/* database_path: its folder is where files are made; what an earlier run left
 * there is deleted. Errors: RQ_ENOMEM. */
rq_err load_staging_new(const char *database_path, load_staging **ret_staging);
load_staging *load_staging_free(load_staging *s);

/* An entry of another kind, with this entry clock, is applied. */
void load_other_entry(load_progress *p, uint64_t clock_us);

/* A chunk. *ret_problem "": it is part of the file now (with chunk->last: all is there
 * and is what was sent; what it is for is next, then load_staging_end()). Else it isn't, the load is
 * over if it was this one, and the text says why. Errors: RQ_ENOSPC, RQ_EIO. */
enum { LOAD_PROBLEM_BYTES = 320 };
rq_err load_staging_add(load_staging *s, load_progress *p, const load_chunk *chunk, rq_bytes data, uint64_t clock_us,
                        char ret_problem[static LOAD_PROBLEM_BYTES]);
void load_staging_abort(load_progress *p, uint64_t group);

/* Is the whole file a sound database? If not, *ret_problem says why. Errors: RQ_EIO, RQ_ENOMEM and the like. */
rq_err load_staging_verify(load_staging *s, char ret_problem[static LOAD_PROBLEM_BYTES]);

/* The whole file, which is sound, becomes the content of the writer's database, in one
 * transaction of its own, or, *ret_problem says why, nothing does. Errors:
 * RQ_ENOSPC, RQ_EIO, RQ_ENOMEM and the like: nothing has happened. */
rq_err load_staging_replace(load_staging *s, sqlite3 *writer, char ret_problem[static LOAD_PROBLEM_BYTES]);

/* The file as it came, for SQL. Borrowed. */
int load_staging_fd(const load_staging *s);

/* The load is over, one way or the other, and that is committed. */
void load_staging_end(load_staging *s);

#endif
