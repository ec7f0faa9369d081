#include "io/hardstate.h"

#include <fcntl.h>

#include "base/checksum.h"
#include "base/cleanup.h"

enum { CRC_AT = 40 };

static uint32_t slot_crc(const uint8_t *slot, const rq_uuid *disk) {
        return rq_crc32c(rq_crc32c(0, disk->bytes, RQ_UUID_BYTES), slot, CRC_AT);
}

static void encode_slot(uint8_t *slot, const rq_uuid *disk, const hardstate *state, uint64_t generation) {
        rq_put_u32(slot, HARDSTATE_MAGIC);
        rq_put_u16(slot + 4, HARDSTATE_VERSION);
        rq_put_u16(slot + 6, state->not_a_voter ? HARDSTATE_NOT_A_VOTER : 0);
        rq_put_u64(slot + 8, generation);
        rq_put_u64(slot + 16, state->term);
        rq_put_u64(slot + 24, state->vote);
        rq_put_u64(slot + 32, state->commit);
        rq_put_u32(slot + CRC_AT, slot_crc(slot, disk));
}

rq_err hardstate_decode(rq_bytes file, const rq_uuid *disk, hardstate *ret_state, uint64_t *ret_generation) {
        hardstate newest = {0};
        uint64_t generation = 0;
        for (size_t place = 0; place < 2; place++) {
                if (file.size < place * HARDSTATE_SLOT_BYTES + HARDSTATE_RECORD_BYTES)
                        break;
                const uint8_t *slot = file.data + place * HARDSTATE_SLOT_BYTES;
                if (rq_get_u32(slot) != HARDSTATE_MAGIC || rq_get_u32(slot + CRC_AT) != slot_crc(slot, disk))
                        continue;
                /* Not skipped: the other slot holds an older vote. */
                if (rq_get_u16(slot + 4) != HARDSTATE_VERSION || (rq_get_u16(slot + 6) & ~HARDSTATE_NOT_A_VOTER) != 0)
                        return RQ_EVERSION;
                if ((rq_get_u64(slot + 8) & 1) != place)
                        continue;
                if (rq_get_u64(slot + 8) <= generation)
                        continue;
                generation = rq_get_u64(slot + 8);
                newest = (hardstate) {
                        .term = rq_get_u64(slot + 16), .vote = rq_get_u64(slot + 24), .commit = rq_get_u64(slot + 32),
                        .not_a_voter = (rq_get_u16(slot + 6) & HARDSTATE_NOT_A_VOTER) != 0,
                };
        }
        if (generation == 0)
                return RQ_ECORRUPT;
        *ret_state = newest;
        *ret_generation = generation;
        return RQ_OK;
}

rq_err hardstate_create(const log_io *io, int dir_fd, const rq_uuid *disk, const hardstate *state) {
        /* Its final size from the start: a later write needs no space. */
        uint8_t content[HARDSTATE_FILE_BYTES] = {0};
        encode_slot(content + HARDSTATE_SLOT_BYTES, disk, state, 1);
        return log_io_replace(io, dir_fd, HARDSTATE_NAME, rq_bytes_of(content, sizeof content));
}

rq_err hardstate_open(const log_io *io, int dir_fd, const rq_uuid *disk,
                      hardstate_file *ret_file, hardstate *ret_state) {
        uint8_t content[HARDSTATE_FILE_BYTES];
        size_t size;
        hardstate state;
        uint64_t generation;
        RQ_CLEANUP(rq_closep) int fd = io->open(io->arg, dir_fd, HARDSTATE_NAME, O_RDWR);
        if (fd < 0)
                return rq_err_from_errno(errno);
        rq_err r = log_io_read(io, fd, content, sizeof content, 0, &size);
        if (r < 0)
                return r;
        r = hardstate_decode(rq_bytes_of(content, size), disk, &state, &generation);
        if (r < 0)
                return r;
        /* After an fsync that failed the kernel calls its pages clean: the newer slot may be in the page
         * cache only, and a power cut would bring the older vote back. */
        hardstate_file file = { .io = io, .fd = fd, .disk = *disk, .generation = generation };
        r = hardstate_write(&file, &state);
        if (r < 0)
                return r;
        *ret_state = state;
        *ret_file = file;
        (void) RQ_TAKE(fd, -1);
        return RQ_OK;
}

void hardstate_close(hardstate_file *file) {
        if (file->io != NULL)
                rq_closep(&file->fd);
        *file = (hardstate_file) { .fd = -1 };
}

rq_err hardstate_write(hardstate_file *file, const hardstate *state) {
        uint8_t slot[HARDSTATE_RECORD_BYTES];
        uint64_t generation = file->generation + 1;
        encode_slot(slot, &file->disk, state, generation);
        rq_err r = log_io_write(file->io, file->fd, slot, sizeof slot, (generation & 1) * HARDSTATE_SLOT_BYTES);
        if (r < 0)
                return r;
        if (file->io->fdatasync(file->io->arg, file->fd) != 0)
                return RQ_EIO;
        file->generation = generation;
        return RQ_OK;
}
