#include "io/wal_seal.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "io/wal_check.h"
#include "io/wal_sum.h"

enum {
        PAGE_SIZE_AT   = 8,  /* in the WAL's header */
        SALTS_AT       = 16,
        HEADER_SUM_AT  = 24,
        FRAME_SALTS_AT = 8,  /* in a frame's header */
        FRAME_SUM_AT   = 16,
        PAGE_BYTES_MIN = 512,
        PAGE_BYTES_MAX = 65536,
};

typedef struct wal_file {
        const files_io *io;
        int fd;
        uint8_t header[WAL_HEADER_BYTES];
        size_t frame_bytes;
} wal_file;

static rq_err read_all(const wal_file *w, void *data, size_t size, uint64_t offset) {
        size_t done;
        rq_err r = files_io_read_at(w->io, w->fd, data, size, offset, &done);
        return r < 0 ? r : done < size ? RQ_ECORRUPT : RQ_OK;
}

static rq_err open_wal(wal_file *w) {
        rq_err r = read_all(w, w->header, sizeof w->header, 0);
        if (r < 0)
                return r;
        uint32_t page = wal_get_be32(w->header + PAGE_SIZE_AT);
        if ((wal_get_be32(w->header) & ~1u) != WAL_MAGIC || page < PAGE_BYTES_MIN || page > PAGE_BYTES_MAX)
                return RQ_ECORRUPT;
        w->frame_bytes = WAL_FRAME_HEADER_BYTES + page;
        return RQ_OK;
}

static uint64_t offset_of(const wal_file *w, uint64_t frame) { return WAL_HEADER_BYTES + (frame - 1) * w->frame_bytes; }

/* Frames count from 1; 0: there is none at this offset. */
static uint64_t frame_at(const wal_file *w, uint64_t offset) {
        if (offset < WAL_HEADER_BYTES || (offset - WAL_HEADER_BYTES) % w->frame_bytes != 0)
                return 0;
        return (offset - WAL_HEADER_BYTES) / w->frame_bytes + 1;
}

/* Down from the last one: those without salts. Behind an undone savepoint that is all up to it. */
static rq_err first_unsealed(const wal_file *w, uint64_t last, uint64_t *ret_first, uint8_t ret_sum[static WAL_SUM_BYTES]) {
        uint64_t frame = last;
        for (; frame > 0; frame--) {
                uint8_t head[WAL_FRAME_HEADER_BYTES];
                rq_err r = read_all(w, head, sizeof head, offset_of(w, frame));
                if (r < 0)
                        return r;
                memcpy(ret_sum, head + FRAME_SUM_AT, WAL_SUM_BYTES);
                if (memcmp(head + FRAME_SALTS_AT, w->header + SALTS_AT, WAL_SALTS_BYTES) == 0)
                        break;
        }
        if (frame == 0)
                memcpy(ret_sum, w->header + HEADER_SUM_AT, WAL_SUM_BYTES);
        *ret_first = frame + 1;
        return RQ_OK;
}

/* ret_sum: of the frame before, then of the last. */
static rq_err seal(const wal_file *w, uint64_t first, uint64_t last, uint8_t ret_sum[static WAL_SUM_BYTES]) {
        RQ_CLEANUP(rq_freep) uint8_t *frame = malloc(w->frame_bytes);
        wal_sum sum = { .a = wal_get_be32(ret_sum), .b = wal_get_be32(ret_sum + 4), .big = wal_get_be32(w->header) & 1 };
        rq_err r = frame == NULL ? RQ_ENOMEM : RQ_OK;
        for (uint64_t i = first; r >= 0 && i <= last; i++) {
                r = read_all(w, frame, w->frame_bytes, offset_of(w, i));
                if (r < 0)
                        break;
                wal_sum_add(&sum, frame, FRAME_SALTS_AT);
                wal_sum_add(&sum, frame + WAL_FRAME_HEADER_BYTES, w->frame_bytes - WAL_FRAME_HEADER_BYTES);
                memcpy(frame + FRAME_SALTS_AT, w->header + SALTS_AT, WAL_SALTS_BYTES);
                wal_sum_store(&sum, frame + FRAME_SUM_AT);
                r = files_io_write_at(w->io, w->fd, frame, WAL_FRAME_HEADER_BYTES, offset_of(w, i));
        }
        wal_sum_store(&sum, ret_sum);
        return r;
}

void wal_seal_wrote(wal_seal *s, size_t size, uint64_t offset) {
        if (size == WAL_FRAME_HEADER_BYTES && offset >= WAL_HEADER_BYTES)
                s->newest = offset;
}

bool wal_seal_asked(size_t size, uint64_t offset) { return size == WAL_SUM_BYTES && offset > WAL_HEADER_BYTES; }

rq_err wal_seal_sum(const wal_seal *s, const files_io *io, int fd, uint64_t offset, uint8_t ret_sum[static WAL_SUM_BYTES]) {
        wal_file w = { .io = io, .fd = fd };
        rq_err r = open_wal(&w);
        if (r < 0)
                return r;
        /* At COMMIT, whose own frame was written last; what was remembered may lie behind it. */
        uint64_t asked = frame_at(&w, offset - FRAME_SUM_AT), newest = frame_at(&w, s->newest), first;
        if (asked == 0 || newest == 0)
                return RQ_ECORRUPT;
        uint64_t last = asked < newest ? asked : newest;
        r = first_unsealed(&w, last, &first, ret_sum);
        return r < 0 || first > last ? r : seal(&w, first, last, ret_sum);
}
