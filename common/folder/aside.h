/* What is set aside is kept, in a folder within the one it was in: "aside/1", "aside/2", …, one for
 * each time, the latest with the highest number. On its way there it is in "aside/moving", so that a
 * start that was cut off goes on in the same place, and no two of them are ever mixed.
 *
 *     bool another = rq_aside_holds(fd, name) for any of the names;
 *     rq_aside_begin(fd, another); rename(name, RQ_ASIDE_MOVING "/" name), …; rq_aside_end(fd, place);
 *
 * The folder is the caller's alone (service.h locks it). Errors: as rq_err_from_errno. */
#ifndef RQ_FOLDER_ASIDE_H
#define RQ_FOLDER_ASIDE_H

#include <stdbool.h>

#include "base/err.h"

#define RQ_ASIDE_NAME   "aside"
#define RQ_ASIDE_MOVING RQ_ASIDE_NAME "/moving"

enum { RQ_ASIDE_PLACE_BYTES = 32 };

/* That has happened, ever. */
bool rq_aside_is_there(int folder_fd);

/* What is on its way has such a file already: it is another one's, whose move is over. */
bool rq_aside_holds(int folder_fd, const char *name);

/* RQ_ASIDE_MOVING is there: empty, or, unless it is another one's, what a move before this one has brought. */
rq_err rq_aside_begin(int folder_fd, bool another);

/* What was brought is durable before what the caller moves next. */
rq_err rq_aside_sync(int folder_fd);

/* All is there, durably, and has its number. ret_place: "aside/3". */
rq_err rq_aside_end(int folder_fd, char ret_place[static RQ_ASIDE_PLACE_BYTES]);

#endif
