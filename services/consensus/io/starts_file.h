/* *starts*: how often this folder's node was started, and the starts of others that this
 * node has seen. A folder that is put back from an old copy has forgotten what its node
 * promised since: by its starts the others tell it from the one that they know (decision 0015).
 *
 *   0 u32 magic "rqS1"   4 u16 version   6 u16 flags (bit 0: is an old copy; bit 1: to be set aside)
 *   8 16 bytes disk uuid, whose starts these are
 *  24 u64 number of the latest start, u64 its nonce
 *  40 8 × u64 nonces of the starts before it, the latest first; 0: none
 * 104 u32 s, of others: 108 u32 a, bytes of addresses
 * 112 s × (16 bytes disk uuid, u64 number, u64 nonce, u32 feature level, u32 0), a bytes
 *   addresses, then u32 CRC-32C of everything before. Version 1 has no feature levels. */
#ifndef RQ_CONSENSUS_IO_STARTS_FILE_H
#define RQ_CONSENSUS_IO_STARTS_FILE_H

#include <stdbool.h>

#include "base/rng.h"
#include "io/log_io.h"

#define STARTS_NAME "starts"

enum {
        STARTS_MAGIC         = 0x31537172, /* "rqS1" */
        STARTS_VERSION       = 2,
        STARTS_FIXED_BYTES   = 112,
        STARTS_EARLIER       = 8,
        STARTS_SEEN_MAX      = 128,
        STARTS_SEEN_BYTES    = 40,
        STARTS_SEEN_BYTES_V1 = 32,
        STARTS_JOIN_MAX      = 8192,
        STARTS_FILE_BYTES_MAX = STARTS_FIXED_BYTES + STARTS_SEEN_MAX * STARTS_SEEN_BYTES + STARTS_JOIN_MAX + 4,
};

/* One start of one disk's node. number 0: none, or of a build that doesn't count. */
typedef struct start_mark { uint64_t number, nonce; } start_mark;

typedef struct starts_seen {
        rq_uuid disk_uuid;
        start_mark mark;
        uint32_t level;        /* the feature level that it said last; 0: not known */
} starts_seen;

typedef struct starts_file {
        rq_uuid disk_uuid;
        start_mark own;
        uint64_t earlier[STARTS_EARLIER];
        bool is_old_copy;      /* a member has said so: this folder's node doesn't vote */
        bool set_aside;        /* and there is a leader, to come back to as a new node */
        uint32_t seen_count;
        starts_seen seen[STARTS_SEEN_MAX]; /* in the order in which they were first seen */
        char join[STARTS_JOIN_MAX + 1];    /* where there are members; "": not needed */
} starts_file;

/* Errors: RQ_ENOENT, RQ_ECORRUPT, RQ_EVERSION, RQ_EIO, RQ_ENOMEM. */
rq_err starts_file_load(const log_io *io, int dir_fd, starts_file *ret_file);
rq_err starts_file_decode(rq_bytes content, starts_file *ret_file);
/* Durable on return. Errors: RQ_ENOSPC, RQ_EIO, RQ_ENOMEM and the like. */
rq_err starts_file_store(const log_io *io, int dir_fd, const starts_file *file);

/* After a recovery nothing that was known before counts: what this folder has is what the cluster has. Also if there
 * is no such file. Errors: as above. */
rq_err starts_file_absolve(const log_io *io, int dir_fd);

/* One more start of this disk's node; flags and starts of another disk are forgotten. */
void starts_begin(starts_file *file, const rq_uuid *disk_uuid, uint64_t nonce);

#endif
