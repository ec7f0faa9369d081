/* A database that can't be used is kept, out of the way: its files go to a folder
 * beside them, so that the node can begin with an empty one and be seeded anew,
 * and somebody can look at what happened. Each time they get a place of their own; who looked deletes it. */
#ifndef RQ_STORE_ASIDE_H
#define RQ_STORE_ASIDE_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "folder/aside.h"

#define ASIDE_MARK_NAME   "diverged"

/* Notes that what is here is to be moved aside at the next start, and why; durable
 * on return; on a full disk without the reason. Errors: RQ_EIO, RQ_ENOSPC and the like: it may be noted all the same. */
rq_err aside_mark(int folder_fd, rq_bytes reason);
/* ret_reason: appended, as far as it can be read. */
bool aside_is_marked(int folder_fd, rq_buf *ret_reason);

bool aside_is_there(int folder_fd);

/* Moves what there is of the database's files. May be repeated after a crash amid
 * it. Nothing of them may be open. ret_place: where they are, "aside/2". Errors: RQ_EIO and the like. */
rq_err aside_move(int folder_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]);

#endif
