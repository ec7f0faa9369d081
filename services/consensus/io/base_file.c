#include "io/base_file.h"

#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/log_segment.h"

void base_file_done(base_file *b) {
        rq_buf_done(&b->configuration);
        *b = (base_file) {0};
}

rq_err base_file_encode(const base_file *b, rq_buf *out) {
        uint8_t fixed[BASE_FILE_FIXED_BYTES] = {0}, crc[4];
        size_t begin = out->size;
        rq_put_u32(fixed, BASE_FILE_MAGIC);
        rq_put_u16(fixed + 4, BASE_FILE_VERSION);
        rq_put_u16(fixed + 6, b->decided ? BASE_FILE_DECIDED : 0);
        rq_put_u64(fixed + 8, b->index);
        rq_put_u64(fixed + 16, b->term);
        rq_put_u64(fixed + 24, b->clock_us);
        memcpy(fixed + 32, b->database_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(fixed + 48, b->configuration_index);
        rq_put_u32(fixed + 56, (uint32_t) b->configuration.size);
        rq_err r = rq_buf_reserve(out, sizeof fixed + b->configuration.size + sizeof crc);
        if (r < 0)
                return r;
        (void) rq_buf_append(out, fixed, sizeof fixed);
        (void) rq_buf_append_bytes(out, rq_buf_bytes(&b->configuration));
        rq_put_u32(crc, rq_crc32c(0, out->data + begin, out->size - begin));
        return rq_buf_append(out, crc, sizeof crc);
}

rq_err base_file_decode(rq_bytes content, base_file *ret_base) {
        const uint8_t *in = content.data;
        if (content.size < BASE_FILE_FIXED_BYTES + 4 || rq_get_u32(in) != BASE_FILE_MAGIC ||
            rq_get_u32(in + content.size - 4) != rq_crc32c(0, in, content.size - 4))
                return RQ_ECORRUPT;
        if (rq_get_u16(in + 4) != BASE_FILE_VERSION || (rq_get_u16(in + 6) & ~BASE_FILE_DECIDED) != 0)
                return RQ_EVERSION;
        const uint32_t bytes = rq_get_u32(in + 56);
        base_file b = {
                .decided = (rq_get_u16(in + 6) & BASE_FILE_DECIDED) != 0, .index = rq_get_u64(in + 8), .term = rq_get_u64(in + 16),
                .clock_us = rq_get_u64(in + 24), .configuration_index = rq_get_u64(in + 48),
        };
        memcpy(b.database_id.bytes, in + 32, RQ_UUID_BYTES);
        if (bytes == 0 || bytes > SEGMENT_CONFIGURATION_MAX || content.size != BASE_FILE_FIXED_BYTES + (size_t) bytes + 4 ||
            b.index == 0 || b.configuration_index == 0 || b.configuration_index > b.index)
                return RQ_ECORRUPT;
        rq_err r = rq_buf_append(&b.configuration, in + BASE_FILE_FIXED_BYTES, bytes);
        if (r >= 0)
                *ret_base = b;
        return r;
}

rq_err base_file_load(const log_io *io, int dir_fd, base_file *ret_base) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        *ret_base = (base_file) {0};
        rq_err r = log_io_load(io, dir_fd, BASE_FILE_NAME, BASE_FILE_FIXED_BYTES + SEGMENT_CONFIGURATION_MAX + 4, &content);
        if (r == RQ_ENOENT)
                return RQ_OK;
        if (r == RQ_ETOOBIG)
                return RQ_ECORRUPT;
        return r < 0 ? r : base_file_decode(rq_buf_bytes(&content), ret_base);
}

rq_err base_file_store(const log_io *io, int dir_fd, const base_file *b) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        rq_err r = base_file_encode(b, &content);
        return r < 0 ? r : log_io_replace(io, dir_fd, BASE_FILE_NAME, rq_buf_bytes(&content));
}

rq_err base_file_remove(const log_io *io, int dir_fd) {
        if (io->unlink(io->arg, dir_fd, BASE_FILE_NAME) != 0)
                return errno == ENOENT ? RQ_OK : rq_err_from_errno(errno);
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}
