/* Where a statement ends in text that comes piece by piece: what sqlite3_complete()
 * knows of SQL (quotes, comments, the body of a trigger), but looking at each
 * byte once. */
#ifndef RQ_STORE_SQL_SPLIT_H
#define RQ_STORE_SQL_SPLIT_H

#include <stdbool.h>

#include "base/bytes.h"

/* Of the statement that is being looked at. {0}: none yet. */
typedef struct sql_split {
        size_t at;          /* bytes of it that were looked at */
        bool is_other;      /* it isn't */
        bool is_trigger;
        bool behind_semicolon, behind_end; /* of a trigger: the last tokens */
} sql_split;

/* text: from the statement's beginning on, more of it than the last time.
 * whole: nothing follows. True: its end, behind the semicolon or at the text's, is
 * at *ret_size, and *s is {0} again. False: more is needed; if whole, text is
 * empty. */
bool sql_split_next(sql_split *s, rq_bytes text, bool whole, size_t *ret_size);

#endif
