/* *base*: from where the log is to begin anew, when another node's snapshot takes
 * the place of entries that this log doesn't have. Written before the store
 * replaces its database, and once more before the log is touched, so that every
 * start knows how far it got. Knows no rules of Raft.
 *
 *   0 u32 magic "rqB1"   4 u16 version   6 u16 flags (bit 0: decided)
 *   8 u64 index  16 u64 term  24 u64 entry clock at index (us)
 *  32 16 bytes database id   48 u64 index of the configuration's entry
 *  56 u32 bytes of the configuration   60 the configuration (core/membership.h)
 *   then u32 CRC-32C of everything before */
#ifndef RQ_CONSENSUS_IO_BASE_FILE_H
#define RQ_CONSENSUS_IO_BASE_FILE_H

#include <stdbool.h>

#include "base/rng.h"
#include "io/log_io.h"

#define BASE_FILE_NAME "base"

enum {
        BASE_FILE_MAGIC       = 0x31427172, /* "rqB1" */
        BASE_FILE_VERSION     = 1,
        BASE_FILE_FIXED_BYTES = 60,
        BASE_FILE_DECIDED     = 1, /* flag: the store is durable at index */
};

typedef struct base_file {
        bool decided;
        uint64_t index, term, clock_us;
        rq_uuid database_id;
        uint64_t configuration_index;
        rq_buf configuration; /* empty: there is no such file */
} base_file;

void base_file_done(base_file *b);

/* RQ_OK also if there is none. Errors: RQ_ECORRUPT, RQ_EVERSION, RQ_EIO, RQ_ENOMEM. */
rq_err base_file_load(const log_io *io, int dir_fd, base_file *ret_base);

/* Durable on return. Errors: RQ_ENOSPC (as before), RQ_EIO and the like. */
rq_err base_file_store(const log_io *io, int dir_fd, const base_file *b);
rq_err base_file_remove(const log_io *io, int dir_fd);

/* Errors: RQ_ECORRUPT, RQ_EVERSION, RQ_ENOMEM. */
rq_err base_file_encode(const base_file *b, rq_buf *out);
rq_err base_file_decode(rq_bytes content, base_file *ret_base);

#endif
