/* What to do with a snapshot of another node, judged anew at each of its stages: it takes
 * minutes to come over, and this node may get ahead of it meanwhile. What is committed
 * here is never given up for it. Pure. */
#ifndef RQ_CONSENSUS_SNAPSHOT_VERDICT_H
#define RQ_CONSENSUS_SNAPSHOT_VERDICT_H

#include <stdbool.h>

#include "raft/raft_types.h"

typedef enum snapshot_stage {
        SNAPSHOT_OFFERED,   /* by its sender */
        SNAPSHOT_STAGED,    /* complete, and nothing has changed yet */
        SNAPSHOT_INSTALLED, /* it is the store's database; the log is as before */
} snapshot_stage;

typedef enum snapshot_verdict {
        SNAPSHOT_WELCOME,    /* go on; SNAPSHOT_INSTALLED: the log begins anew behind it */
        SNAPSHOT_NOT_NEEDED, /* this node has it all; the sender may go on behind it */
        SNAPSHOT_OF_NO_USE,  /* not this one, or not now */
} snapshot_verdict;

typedef struct snapshot_facts {
        raft_index index;    /* of the snapshot */
        raft_index commit;   /* of this node's log */
        bool has;            /* the log has the snapshot's last entry, and what follows it */
        bool misfit, open;   /* the store doesn't fit the log; it does, and is fed from it */
} snapshot_facts;

snapshot_verdict snapshot_judge(const snapshot_facts *facts, snapshot_stage stage);

#endif
