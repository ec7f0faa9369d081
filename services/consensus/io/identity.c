#include "io/identity.h"

#include "base/checksum.h"
#include "base/cleanup.h"

enum { NODE_AT = 40 };

rq_err identity_decode(rq_bytes content, identity *ret_identity) {
        const uint8_t *in = content.data;
        if (content.size < NODE_AT + 4 || rq_get_u32(in) != IDENTITY_MAGIC)
                return RQ_ECORRUPT;
        if (rq_get_u32(in + content.size - 4) != rq_crc32c(0, in, content.size - 4))
                return RQ_ECORRUPT;
        if (rq_get_u16(in + 4) != IDENTITY_VERSION)
                return RQ_EVERSION;
        size_t node_bytes = rq_get_u16(in + 6);
        if (node_bytes != content.size - NODE_AT - 4 || node_bytes == 0 || node_bytes > IDENTITY_NODE_BYTES_MAX ||
            memchr(in + NODE_AT, '\0', node_bytes) != NULL)
                return RQ_ECORRUPT;

        identity found = {0};
        memcpy(found.disk_uuid.bytes, in + 8, RQ_UUID_BYTES);
        memcpy(found.database_id.bytes, in + 24, RQ_UUID_BYTES);
        memcpy(found.node_id, in + NODE_AT, node_bytes);
        *ret_identity = found;
        return RQ_OK;
}

rq_err identity_load(const log_io *io, int dir_fd, identity *ret_identity) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        rq_err r = log_io_load(io, dir_fd, IDENTITY_NAME, IDENTITY_BYTES_MAX, &content);
        if (r == RQ_ETOOBIG)
                return RQ_ECORRUPT;
        return r < 0 ? r : identity_decode(rq_buf_bytes(&content), ret_identity);
}

rq_err identity_store(const log_io *io, int dir_fd, const identity *self) {
        uint8_t content[IDENTITY_BYTES_MAX];
        size_t node_bytes = strlen(self->node_id);
        if (node_bytes == 0 || node_bytes > IDENTITY_NODE_BYTES_MAX)
                return RQ_EINVAL;
        rq_put_u32(content, IDENTITY_MAGIC);
        rq_put_u16(content + 4, IDENTITY_VERSION);
        rq_put_u16(content + 6, (uint16_t) node_bytes);
        memcpy(content + 8, self->disk_uuid.bytes, RQ_UUID_BYTES);
        memcpy(content + 24, self->database_id.bytes, RQ_UUID_BYTES);
        memcpy(content + NODE_AT, self->node_id, node_bytes);
        rq_put_u32(content + NODE_AT + node_bytes, rq_crc32c(0, content, NODE_AT + node_bytes));
        return log_io_replace(io, dir_fd, IDENTITY_NAME, rq_bytes_of(content, NODE_AT + node_bytes + 4));
}
