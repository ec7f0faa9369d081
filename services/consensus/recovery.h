/* A cluster that has lost its quorum goes on with those of its members that are left. The log stays what it is;
 * only who the members are is set anew, in the cluster file (io/cluster_file.h), with a new cluster
 * id: those that were left behind are strangers from then on, and can't outvote anybody
 * (hazard 33). Nothing is written but that one file, in one piece: what is repeated finds it done.
 *
 * Two ways: "rqd recover DIR" on one node, which becomes a cluster of its own; and
 * DATA/raft/peers.json, as rqlite has it, on each survivor, the same file. */
#ifndef RQ_CONSENSUS_RECOVERY_H
#define RQ_CONSENSUS_RECOVERY_H

#include "core/membership.h"
#include "io/log_io.h"

/* "rqd recover": prints what is kept and what may be lost, and does it if told so. Returns the exit code. */
int recovery_main(int argc, char **argv);

/* Looks for ../raft/peers.json, seen from the folder, and does what it says; then it is called peers.info.
 * Errors, logged: RQ_ECONFIG (the file says what can't be), those of founding_open(). */
rq_err recovery_by_file(const log_io *io, int dir_fd, const char *dir_path);

/* The members that a peers.json names, with the disks that known has for their ids; self must be among them.
 * Errors: RQ_ECONFIG, with words in problem; RQ_ENOMEM. */
rq_err recovery_parse(rq_bytes json, const membership *known, const char *self, membership *ret_members, rq_buf *problem);

/* The same for all who recover alike from the same cluster, and another one otherwise. */
rq_uuid recovery_cluster_id(const rq_uuid *before, rq_bytes members);

#endif
