/* Opening the data folder: a new one becomes a cluster of this node, an old one
 * is checked and its log read. Everything that can be wrong with the folder is
 * found and logged here. */
#ifndef RQ_CONSENSUS_FOUNDING_H
#define RQ_CONSENSUS_FOUNDING_H

#include "config.h"
#include "core/membership.h"
#include "io/hardstate.h"
#include "io/identity.h"
#include "io/log_recover.h"

typedef struct founding {
        identity identity;
        hardstate hardstate;
        hardstate_file hardstate_file;
        log_recovered log;
        membership membership;        /* by the latest configuration in the log, of the entry ... */
        uint64_t configuration_index;
        bool founded; /* just now */
} founding;

/* Errors, logged: RQ_ECONFIG (another node's folder), RQ_ECORRUPT (a promise may
 * be lost: this node must not vote), RQ_EVERSION (written by a newer version),
 * RQ_ENOSPC, RQ_EIO and the like. */
rq_err founding_open(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config,
                     founding *ret_founding);
void founding_done(founding *f); /* not what was taken out of it */

#endif
