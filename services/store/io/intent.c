#include "io/intent.h"

#include <fcntl.h>

#include "base/checksum.h"
#include "base/cleanup.h"

/* 0 magic, 8 version, 12 CRC-32C of the rest, 16 kind, 20 size of all,
 * 24 generation, 32 disk id, 48 index, 56 term, 64 clock, 72 hash,
 * 80 feature level, 84 frames, 88 page size, 92 zero, 96 database id,
 * 112 salts, 120 epoch. Of a swap also: 128 bytes of the file, 136 change
 * counter, 140 checksum of page 1, 144 zero. */
enum {
        VERSION         = 1,
        KIND_CHECKPOINT = 1,
        KIND_SWAP       = 2,
        BODY_OFFSET     = 16,
};

static const uint8_t magic[8] = "RQINTNT";

static void encode(const intent *in, uint8_t *p, uint32_t kind, uint32_t size) {
        memset(p, 0, size);
        memcpy(p, magic, sizeof magic);
        rq_put_u32(p + 8, VERSION);
        rq_put_u32(p + 16, kind);
        rq_put_u32(p + 20, size);
        rq_put_u64(p + 24, in->generation);
        memcpy(p + 32, in->disk_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(p + 48, in->position.index);
        rq_put_u64(p + 56, in->position.term);
        rq_put_u64(p + 64, in->position.clock_us);
        rq_put_u64(p + 72, in->position.outcome_hash);
        rq_put_u32(p + 80, in->position.feature_level);
        rq_put_u32(p + 84, in->extent.frames);
        rq_put_u32(p + 88, in->extent.page_size);
        memcpy(p + 96, in->position.database_id.bytes, RQ_UUID_BYTES);
        memcpy(p + 112, in->extent.salts, WAL_SALTS_BYTES);
        rq_put_u64(p + 120, in->position.epoch);
        if (kind == KIND_SWAP) {
                rq_put_u64(p + 128, in->facts.bytes);
                rq_put_u32(p + 136, in->facts.change_counter);
                rq_put_u32(p + 140, in->facts.page1_crc);
        }
        rq_put_u32(p + 12, rq_crc32c(0, p + BODY_OFFSET, size - BODY_OFFSET));
}

void intent_encode(const intent *in, uint8_t ret_bytes[static INTENT_BYTES]) {
        encode(in, ret_bytes, KIND_CHECKPOINT, INTENT_BYTES);
}

size_t intent_encode_any(const intent *in, uint8_t ret_bytes[static INTENT_SWAP_BYTES]) {
        const uint32_t size = in->kind == INTENT_SWAP ? INTENT_SWAP_BYTES : INTENT_BYTES;
        encode(in, ret_bytes, in->kind == INTENT_SWAP ? KIND_SWAP : KIND_CHECKPOINT, size);
        return size;
}

static bool is_zero(const uint8_t *p, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (p[i] != 0)
                        return false;
        return true;
}

/* The size comes before the kind: another kind may be longer, and must not
 * look like a torn write. */
rq_err intent_decode_slot(rq_bytes bytes, intent *ret_intent) {
        const uint8_t *p = bytes.data;
        intent in = {0};
        uint32_t size;
        if (is_zero(p, INTENT_BYTES))
                return RQ_ENOENT;
        size = rq_get_u32(p + 20);
        if (memcmp(p, magic, sizeof magic) != 0 || size < INTENT_BYTES || size > bytes.size ||
            rq_get_u32(p + 12) != rq_crc32c(0, p + BODY_OFFSET, size - BODY_OFFSET))
                return RQ_ECORRUPT;
        uint32_t kind = rq_get_u32(p + 16);
        if (rq_get_u32(p + 8) != VERSION || (kind != KIND_CHECKPOINT && kind != KIND_SWAP))
                return RQ_EVERSION;
        if (kind == KIND_SWAP && size < INTENT_SWAP_BYTES)
                return RQ_ECORRUPT;
        in.generation = rq_get_u64(p + 24);
        memcpy(in.disk_id.bytes, p + 32, RQ_UUID_BYTES);
        in.position.index = rq_get_u64(p + 48);
        in.position.term = rq_get_u64(p + 56);
        in.position.clock_us = rq_get_u64(p + 64);
        in.position.outcome_hash = rq_get_u64(p + 72);
        in.position.feature_level = rq_get_u32(p + 80);
        in.extent.frames = rq_get_u32(p + 84);
        in.extent.page_size = rq_get_u32(p + 88);
        memcpy(in.position.database_id.bytes, p + 96, RQ_UUID_BYTES);
        memcpy(in.extent.salts, p + 112, WAL_SALTS_BYTES);
        in.position.epoch = rq_get_u64(p + 120);
        if (kind == KIND_SWAP) {
                in.kind = INTENT_SWAP;
                in.facts = (database_facts) {
                        .bytes = rq_get_u64(p + 128), .page_size = in.extent.page_size,
                        .change_counter = rq_get_u32(p + 136), .page1_crc = rq_get_u32(p + 140),
                };
        }
        *ret_intent = in;
        return RQ_OK;
}

rq_err intent_decode(const uint8_t bytes[static INTENT_BYTES], intent *ret_intent) {
        return intent_decode_slot(rq_bytes_of(bytes, INTENT_BYTES), ret_intent);
}

rq_err intent_create(const files_io *io, int folder_fd) {
        static const uint8_t zeros[INTENT_SLOTS * INTENT_SLOT_BYTES];
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, INTENT_FILE_NAME, O_RDWR | O_CREAT);
        rq_err r;
        if (fd < 0)
                return files_io_error(errno);
        r = files_io_write_at(io, fd, zeros, sizeof zeros, 0);
        if (r < 0)
                return r;
        return io->sync(io->context, fd) < 0 ? files_io_error(errno) : RQ_OK;
}

/* A slot that fails its checksum is a write that a power cut tore: nothing was
 * done for it, and the other slot counts. The other slot must then hold an
 * intent, or be the one that the very first generation doesn't use. */
static rq_err choose(const rq_err result[static INTENT_SLOTS], const intent slots[static INTENT_SLOTS], intent *ret_intent) {
        intent newest = {0};
        for (int i = 0; i < INTENT_SLOTS; i++) {
                if (result[i] == RQ_EVERSION)
                        return RQ_EVERSION;
                if (result[i] == RQ_OK && slots[i].generation % INTENT_SLOTS != (uint64_t) i)
                        return RQ_ECORRUPT;
                if (result[i] == RQ_OK && slots[i].generation > newest.generation)
                        newest = slots[i];
        }
        if (result[0] != RQ_ENOENT && result[1] == RQ_ENOENT)
                return RQ_ECORRUPT;
        if (result[0] == RQ_ECORRUPT && result[1] == RQ_ECORRUPT)
                return RQ_ECORRUPT;
        *ret_intent = newest;
        return RQ_OK;
}

static rq_err read_slots(const files_io *io, int fd, intent *ret_intent) {
        intent slots[INTENT_SLOTS] = {0};
        rq_err result[INTENT_SLOTS], r;
        for (uint32_t i = 0; i < INTENT_SLOTS; i++) {
                uint8_t bytes[INTENT_SLOT_BYTES];
                size_t size;
                r = files_io_read_at(io, fd, bytes, sizeof bytes, (uint64_t) i * INTENT_SLOT_BYTES, &size);
                if (r < 0)
                        return r;
                if (size < sizeof bytes)
                        return RQ_ECORRUPT;
                result[i] = intent_decode_slot(rq_bytes_of(bytes, sizeof bytes), &slots[i]);
        }
        return choose(result, slots, ret_intent);
}

rq_err intent_read(const files_io *io, int folder_fd, int *ret_fd, intent *ret_intent, rq_buf *ret_problem) {
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, INTENT_FILE_NAME, O_RDWR);
        rq_err r;
        if (fd < 0) {
                r = rq_err_from_errno(errno);
                (void) rq_buf_printf(ret_problem, "%s: cannot be opened: %s", INTENT_FILE_NAME, rq_err_text(r));
                return r;
        }
        r = read_slots(io, fd, ret_intent);
        if (r < 0) {
                (void) rq_buf_printf(ret_problem, "%s, offset 0: %s; %s", INTENT_FILE_NAME, rq_err_text(r),
                                     r == RQ_EVERSION ? "start the newer version of rq again"
                                                      : "move the store's folder aside and let the node be seeded anew");
                return r;
        }
        *ret_fd = RQ_TAKE(fd, -1);
        return RQ_OK;
}

rq_err intent_write(const files_io *io, int fd, const intent *in) {
        uint8_t bytes[INTENT_SWAP_BYTES];
        rq_err r;
        size_t size = intent_encode_any(in, bytes);
        r = files_io_write_at(io, fd, bytes, size, in->generation % INTENT_SLOTS * INTENT_SLOT_BYTES);
        if (r < 0)
                return r;
        return io->sync(io->context, fd) < 0 ? RQ_EIO : RQ_OK;
}
