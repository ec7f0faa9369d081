/* Term, vote and commit hint: what Raft must not forget. Two checksummed slots
 * in blocks of their own, written alternately, each with a generation; a write
 * that is torn leaves the other one. The checksum is seeded with the disk's
 * uuid, so that another node's file is no vote of ours. Knows no rules of Raft.
 *
 * Slot g & 1, at 0 and at HARDSTATE_SLOT_BYTES:
 *   0 u32 magic "rqH1"   4 u16 version   6 u16 flags (bit 0: not a voter)
 *   8 u64 generation   16 u64 term   24 u64 vote   32 u64 commit hint
 *  40 u32 CRC-32C (uuid, bytes 0..39)
 * Magic, version and checksum stand there in every version, so that a newer
 * slot is never taken for a torn one: its vote would be forgotten. */
#ifndef RQ_CONSENSUS_IO_HARDSTATE_H
#define RQ_CONSENSUS_IO_HARDSTATE_H

#include "base/rng.h"
#include "io/log_io.h"

#define HARDSTATE_NAME "hardstate"

enum {
        HARDSTATE_MAGIC        = 0x31487172, /* "rqH1" */
        HARDSTATE_VERSION      = 1,
        HARDSTATE_SLOT_BYTES   = 4096,
        HARDSTATE_RECORD_BYTES = 44,
        HARDSTATE_FILE_BYTES   = 2 * HARDSTATE_SLOT_BYTES,
        HARDSTATE_NOT_A_VOTER  = 1, /* flag */
};

typedef struct hardstate {
        uint64_t term;
        uint64_t vote;   /* raft_id, 0: none in this term */
        uint64_t commit; /* at least so far the log is committed */
        bool not_a_voter; /* architecture rule 8: neither campaigns nor votes */
} hardstate;

typedef struct hardstate_file {
        const log_io *io;
        int fd;
        rq_uuid disk;
        uint64_t generation; /* of the last one written */
} hardstate_file;

/* A new file with this state. Errors: RQ_ENOSPC, RQ_EIO and the like. */
rq_err hardstate_create(const log_io *io, int dir_fd, const rq_uuid *disk, const hardstate *state);

/* What is found is durable on return, also if the process before died of a sync that failed: it is
 * written again. Errors: RQ_ENOENT; RQ_ECORRUPT: no slot is valid, a vote may be forgotten;
 * RQ_EVERSION: a newer version has written one of them; RQ_EIO and the like. */
rq_err hardstate_open(const log_io *io, int dir_fd, const rq_uuid *disk,
                      hardstate_file *ret_file, hardstate *ret_state);
void hardstate_close(hardstate_file *file);

/* Durable on return. After an error the file must not be written again. */
rq_err hardstate_write(hardstate_file *file, const hardstate *state);

/* The newer valid one of two slots. Errors: RQ_ECORRUPT; RQ_EVERSION: a valid
 * slot is of another version or has unknown flags, whatever the other one says. */
rq_err hardstate_decode(rq_bytes file, const rq_uuid *disk, hardstate *ret_state, uint64_t *ret_generation);

#endif
