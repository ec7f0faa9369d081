#include "io/starts_file.h"

#include "base/checksum.h"
#include "base/cleanup.h"

enum { OLD_COPY = 1, SET_ASIDE = 2, EARLIER_AT = 40, SEEN_COUNT_AT = 104 };

rq_err starts_file_decode(rq_bytes content, starts_file *ret_file) {
        const uint8_t *in = content.data;
        if (content.size < STARTS_FIXED_BYTES + 4 || rq_get_u32(in) != STARTS_MAGIC)
                return RQ_ECORRUPT;
        if (rq_get_u32(in + content.size - 4) != rq_crc32c(0, in, content.size - 4))
                return RQ_ECORRUPT;
        const uint16_t flags = rq_get_u16(in + 6);
        const uint16_t version = rq_get_u16(in + 4);
        if (version == 0 || version > STARTS_VERSION || (flags & ~(OLD_COPY | SET_ASIDE)) != 0)
                return RQ_EVERSION;
        const size_t seen = rq_get_u32(in + SEEN_COUNT_AT), join = rq_get_u32(in + SEEN_COUNT_AT + 4);
        const size_t seen_bytes = version == 1 ? STARTS_SEEN_BYTES_V1 : STARTS_SEEN_BYTES;
        if (seen > STARTS_SEEN_MAX || join > STARTS_JOIN_MAX || content.size != STARTS_FIXED_BYTES + seen * seen_bytes + join + 4)
                return RQ_ECORRUPT;
        const uint8_t *text = in + STARTS_FIXED_BYTES + seen * seen_bytes;
        if (join > 0 && memchr(text, '\0', join) != NULL)
                return RQ_ECORRUPT;

        *ret_file = (starts_file) {
                .own = { rq_get_u64(in + 24), rq_get_u64(in + 32) }, .is_old_copy = (flags & OLD_COPY) != 0,
                .set_aside = (flags & SET_ASIDE) != 0, .seen_count = (uint32_t) seen,
        };
        memcpy(ret_file->disk_uuid.bytes, in + 8, RQ_UUID_BYTES);
        for (size_t i = 0; i < STARTS_EARLIER; i++)
                ret_file->earlier[i] = rq_get_u64(in + EARLIER_AT + 8 * i);
        for (size_t i = 0; i < seen; i++) {
                const uint8_t *one = in + STARTS_FIXED_BYTES + i * seen_bytes;
                memcpy(ret_file->seen[i].disk_uuid.bytes, one, RQ_UUID_BYTES);
                ret_file->seen[i].mark = (start_mark) { rq_get_u64(one + 16), rq_get_u64(one + 24) };
                ret_file->seen[i].level = version == 1 ? 0 : rq_get_u32(one + 32);
        }
        memcpy(ret_file->join, text, join);
        return RQ_OK;
}

rq_err starts_file_load(const log_io *io, int dir_fd, starts_file *ret_file) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        rq_err r = log_io_load(io, dir_fd, STARTS_NAME, STARTS_FILE_BYTES_MAX, &content);
        if (r == RQ_ETOOBIG)
                return RQ_ECORRUPT;
        return r < 0 ? r : starts_file_decode(rq_buf_bytes(&content), ret_file);
}

rq_err starts_file_store(const log_io *io, int dir_fd, const starts_file *file) {
        RQ_CLEANUP(rq_buf_done) rq_buf content = {0};
        const size_t join = strnlen(file->join, STARTS_JOIN_MAX);
        const size_t size = STARTS_FIXED_BYTES + (size_t) file->seen_count * STARTS_SEEN_BYTES + join + 4;
        rq_err r = rq_buf_reserve(&content, size);
        if (r < 0)
                return r;
        uint8_t *out = content.data;
        rq_put_u32(out, STARTS_MAGIC);
        rq_put_u16(out + 4, STARTS_VERSION);
        rq_put_u16(out + 6, (uint16_t) ((file->is_old_copy ? OLD_COPY : 0) | (file->set_aside ? SET_ASIDE : 0)));
        memcpy(out + 8, file->disk_uuid.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 24, file->own.number);
        rq_put_u64(out + 32, file->own.nonce);
        for (size_t i = 0; i < STARTS_EARLIER; i++)
                rq_put_u64(out + EARLIER_AT + 8 * i, file->earlier[i]);
        rq_put_u32(out + SEEN_COUNT_AT, file->seen_count);
        rq_put_u32(out + SEEN_COUNT_AT + 4, (uint32_t) join);
        for (size_t i = 0; i < file->seen_count; i++) {
                uint8_t *one = out + STARTS_FIXED_BYTES + i * STARTS_SEEN_BYTES;
                memcpy(one, file->seen[i].disk_uuid.bytes, RQ_UUID_BYTES);
                rq_put_u64(one + 16, file->seen[i].mark.number);
                rq_put_u64(one + 24, file->seen[i].mark.nonce);
                rq_put_u32(one + 32, file->seen[i].level);
                rq_put_u32(one + 36, 0);
        }
        memcpy(out + size - 4 - join, file->join, join);
        rq_put_u32(out + size - 4, rq_crc32c(0, out, size - 4));
        return log_io_replace(io, dir_fd, STARTS_NAME, rq_bytes_of(out, size));
}

rq_err starts_file_absolve(const log_io *io, int dir_fd) {
        starts_file file;
        rq_err r = starts_file_load(io, dir_fd, &file);
        if (r == RQ_ENOENT || r == RQ_ECORRUPT)
                return RQ_OK; /* the next start makes a new one */
        if (r < 0)
                return r;
        file.is_old_copy = file.set_aside = false;
        file.seen_count = 0;
        file.join[0] = '\0';
        return starts_file_store(io, dir_fd, &file);
}

void starts_begin(starts_file *file, const rq_uuid *disk_uuid, uint64_t nonce) {
        if (!rq_uuid_equal(&file->disk_uuid, disk_uuid)) {
                file->disk_uuid = *disk_uuid;
                file->own = (start_mark) {0};
                memset(file->earlier, 0, sizeof file->earlier);
                file->is_old_copy = file->set_aside = false;
        }
        memmove(file->earlier + 1, file->earlier, sizeof file->earlier - sizeof file->earlier[0]);
        file->earlier[0] = file->own.nonce;
        file->own = (start_mark) { file->own.number + 1, nonce };
}
