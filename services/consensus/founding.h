/* Opening the data folder: an old one is checked and its log read; a new one
 * becomes a cluster of this node, or waits in no cluster until it is formed
 * (forming.h). Everything that can be wrong with the folder is found and logged here.
 *
 * A founding is entry 1: RECORD_CONFIGURATION of term FOUNDING_TERM, the same bytes on all
 * members. A node is virgin as long as it holds nothing else: no vote, no later
 * term, no further entry. It has promised nothing to anyone then, and may still
 * take another founding. */
#ifndef RQ_CONSENSUS_FOUNDING_H
#define RQ_CONSENSUS_FOUNDING_H

#include "config.h"
#include "core/membership.h"
#include "io/cluster_file.h"
#include "io/hardstate.h"
#include "io/identity.h"
#include "io/log_recover.h"

#define FOUNDING_NAME "founding" /* file: entry 1, kept for members that haven't heard of it when the log has dropped it */

enum {
        FOUNDING_TERM      = 1, /* of entry 1; nobody votes in it */
        FOUNDING_BYTES_MAX = 8192,
};

typedef struct founding {
        identity identity;
        rq_uuid cluster_id;           /* the database id, unless a recovery has made another one */
        cluster_file cluster;         /* members: see there; empty: as the log says */
        bool unformed;                /* in no cluster yet: only the identity is there, without a database id */
        hardstate hardstate;
        hardstate_file hardstate_file;
        log_recovered log;
        membership membership;        /* by the latest configuration in the log, of the entry ... */
        uint64_t configuration_index;
        rq_buf record;                /* entry 1; empty: not known any more */
        bool founded; /* just now */
} founding;

/* An empty folder founds a cluster of this node alone, if config says so
 * (-bootstrap-expect 0 or 1 and no cluster to join), else it becomes unformed.
 * Errors, logged: RQ_ECONFIG (another node's folder), RQ_ECORRUPT (a promise may
 * be lost: this node must not vote), RQ_EVERSION (written by a newer version),
 * RQ_ENOSPC, RQ_EIO and the like. */
rq_err founding_open(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config,
                     founding *ret_founding);
/* The configuration that holds at index: by the log, or by what the cluster file says instead. */
log_configuration founding_configuration_at(const founding *f, uint64_t index);
void founding_done(founding *f); /* not what was taken out of it */

/* Of a folder's content; of a running node it is the caller's to say by the core's term,
 * vote and last index (founding_values_are_virgin()). */
bool founding_is_virgin(const founding *f);
static inline bool founding_values_are_virgin(uint64_t term, uint64_t vote, uint64_t last_index) {
        return term == FOUNDING_TERM && vote == 0 && last_index <= 1;
}

/* Entry 1 of a new database with these members. Appends. Errors: RQ_EINVAL,
 * RQ_ETOOBIG, RQ_ENOMEM. */
rq_err founding_encode(const membership *members, const rq_uuid *database_id, uint64_t clock_us, rq_buf *out);

/* Errors: RQ_ECORRUPT, RQ_EVERSION: not a founding. */
rq_err founding_decode(rq_bytes record, rq_uuid *ret_database_id, membership *ret_members);

/* What to do with a founding that somebody tells. virgin: this node (an unformed
 * one is). Pure. */
typedef enum founding_verdict {
        FOUNDING_ADOPT,
        FOUNDING_SAME,     /* we are in that cluster */
        FOUNDING_KEEP,     /* ours counts: both are virgin, and its database id is the smaller one. The other side takes ours */
        FOUNDING_FOREIGN,  /* another cluster, or a founding that doesn't list us */
        FOUNDING_INVALID,  /* no founding at all */
} founding_verdict;
founding_verdict founding_judge(const identity *self, bool virgin, rq_bytes record, bool teller_is_virgin);

/* Writes a founding into the folder, which is unformed, or virgin in another
 * cluster; nothing of it may be open (log writer, hard state). Any crash leaves a folder that
 * is virgin in one of both clusters, or unformed. Then open the folder again.
 * Errors, logged: RQ_ECORRUPT (the folder isn't virgin), RQ_EINVAL (the record doesn't list
 * this node), RQ_ENOSPC, RQ_EIO and the like. */
rq_err founding_adopt(const log_io *io, int dir_fd, const char *dir_path, const identity *self, rq_bytes record);

/* Makes an unformed folder that of a member which has joined: with an empty log. members: encoded, of the
 * configuration entry at index. Errors: as above. */
rq_err founding_join(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *database_id, const rq_uuid *cluster_id,
                     rq_bytes members, uint64_t index);

#endif
