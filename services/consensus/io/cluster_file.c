#include "io/cluster_file.h"

#include <errno.h>

#include "base/checksum.h"
#include "base/cleanup.h"

enum { MEMBERS_AT = 48 };

void cluster_file_done(cluster_file *file) { rq_buf_done(&file->members); }

rq_err cluster_file_decode(rq_bytes content, cluster_file *ret_file) {
        const uint8_t *in = content.data;
        if (content.size < MEMBERS_AT + 4 || rq_get_u32(in) != CLUSTER_FILE_MAGIC)
                return RQ_ECORRUPT;
        if (rq_get_u32(in + content.size - 4) != rq_crc32c(0, in, content.size - 4))
                return RQ_ECORRUPT;
        if (rq_get_u16(in + 4) != CLUSTER_FILE_VERSION)
                return RQ_EVERSION;
        const size_t members = rq_get_u16(in + 6);
        cluster_file file = { .index = rq_get_u64(in + 40) };
        memcpy(file.cluster_id.bytes, in + 8, RQ_UUID_BYTES);
        memcpy(file.previous_id.bytes, in + 24, RQ_UUID_BYTES);
        if (members != content.size - MEMBERS_AT - 4 || members > CLUSTER_FILE_MEMBERS_MAX || rq_uuid_is_zero(&file.cluster_id))
                return RQ_ECORRUPT;
        rq_err r = rq_buf_append(&file.members, in + MEMBERS_AT, members);
        if (r >= 0)
                *ret_file = file;
        return r;
}

rq_err cluster_file_load(const log_io *io, int dir_fd, cluster_file *ret_file) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        rq_err r = log_io_load(io, dir_fd, CLUSTER_FILE_NAME, CLUSTER_FILE_BYTES_MAX, &content);
        if (r == RQ_ETOOBIG)
                return RQ_ECORRUPT;
        return r < 0 ? r : cluster_file_decode(rq_buf_bytes(&content), ret_file);
}

rq_err cluster_file_store(const log_io *io, int dir_fd, const cluster_file *file) {
        uint8_t content[CLUSTER_FILE_BYTES_MAX];
        const size_t members = file->members.size;
        if (members > CLUSTER_FILE_MEMBERS_MAX)
                return RQ_ETOOBIG;
        rq_put_u32(content, CLUSTER_FILE_MAGIC);
        rq_put_u16(content + 4, CLUSTER_FILE_VERSION);
        rq_put_u16(content + 6, (uint16_t) members);
        memcpy(content + 8, file->cluster_id.bytes, RQ_UUID_BYTES);
        memcpy(content + 24, file->previous_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(content + 40, file->index);
        if (members > 0)
                memcpy(content + MEMBERS_AT, file->members.data, members);
        rq_put_u32(content + MEMBERS_AT + members, rq_crc32c(0, content, MEMBERS_AT + members));
        return log_io_replace(io, dir_fd, CLUSTER_FILE_NAME, rq_bytes_of(content, MEMBERS_AT + members + 4));
}

rq_err cluster_file_remove(const log_io *io, int dir_fd) {
        if (io->unlink(io->arg, dir_fd, CLUSTER_FILE_NAME) != 0 && errno != ENOENT)
                return rq_err_from_errno(errno);
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}
