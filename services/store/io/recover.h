/* What the store's folder holds after any kind of end, and what to do with it.
 * Decides by reading alone; what doesn't fit is reported and left as it is
 * (hazards 13, 16). Then does it; SQLite is not needed for it. */
#ifndef RQ_STORE_RECOVER_H
#define RQ_STORE_RECOVER_H

#include "base/bytes.h"
#include "base/err.h"
#include "io/files_io.h"
#include "io/intent.h"
#include "io/runtime_record.h"
#include "io/state_file.h"

typedef enum recover_way {
        RECOVER_FRESH,  /* an empty folder: made a database of index 0 */
        RECOVER_RECORD, /* same boot: the WAL up to the runtime record */
        RECOVER_INTENT, /* a checkpoint had begun: to be finished from the WAL */
        RECOVER_STATE,  /* the file alone, without the WAL */
        RECOVER_SWAP,   /* another file had begun to take its place (swap.h): finished, without the WAL */
} recover_way;

typedef struct recovery {
        recover_way way;
        int database_fd, wal_fd, intent_fd; /* database_fd holds the lock against other programs */
        state_file state;         /* as on disk */
        intent last;              /* newest on disk; generation 0: none */
        store_state position;     /* where file and WAL together stand */
        wal_extent keep;          /* what the WAL holds now */
} recovery;

#define RECOVERY_EMPTY ((recovery) { .database_fd = -1, .wal_fd = -1, .intent_fd = -1 })

/* folder_path: for messages. record: may be NULL. settings: of a new folder; one
 * that was created with others is RQ_ECONFIG. Errors: as files_open; nothing has
 * been changed or deleted then, but for RQ_EIO, RQ_ENOSPC. */
rq_err recover(const files_io *io, int folder_fd, const char *folder_path, runtime_record *record,
               const store_settings *settings, recovery *ret_recovery, rq_buf *ret_problem);

/* Closes what is open; r is RECOVERY_EMPTY afterwards. */
void recovery_done(recovery *r);

const char *recover_way_text(recover_way way);

#endif
