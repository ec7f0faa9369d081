#include "io/wal_copy.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "io/database_file.h"
#include "io/image.h"

/* Sorted as one number: by page, and the newest frame of a page last. */
typedef uint64_t page_frame;

static uint32_t page_of(page_frame pf) {
        return (uint32_t) (pf >> 32);
}

static uint32_t frame_of(page_frame pf) {
        return (uint32_t) pf;
}

static int compare(const void *a, const void *b) {
        page_frame x, y;
        memcpy(&x, a, sizeof x);
        memcpy(&y, b, sizeof y);
        return x < y ? -1 : x > y;
}

static uint64_t frame_offset(const wal_extent *extent, uint32_t frame) {
        return WAL_HEADER_BYTES + (uint64_t) (frame - 1) * (WAL_FRAME_HEADER_BYTES + (uint64_t) extent->page_size);
}

static uint32_t get_be32(const uint8_t *p) {
        uint32_t v;
        memcpy(&v, p, sizeof v);
        return be32toh(v);
}

/* *ret_pages: size of the database after the last frame. */
static rq_err list_frames(const files_io *io, int wal_fd, const wal_extent *extent, uint32_t from, page_frame *list,
                          uint32_t *ret_pages) {
        uint8_t head[WAL_FRAME_HEADER_BYTES];
        for (uint32_t frame = from + 1; frame <= extent->frames; frame++) {
                size_t size;
                rq_err r = files_io_read_at(io, wal_fd, head, sizeof head, frame_offset(extent, frame), &size);
                if (r < 0)
                        return r;
                if (size < sizeof head || memcmp(head + 8, extent->salts, WAL_SALTS_BYTES) != 0)
                        return RQ_ECORRUPT;
                list[frame - from - 1] = (page_frame) get_be32(head) << 32 | frame;
        }
        if (get_be32(head + 4) == 0)
                return RQ_ECORRUPT;
        *ret_pages = get_be32(head + 4);
        return RQ_OK;
}

static rq_err copy_page(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, page_frame pf, uint8_t *page) {
        size_t size;
        rq_err r = files_io_read_at(io, wal_fd, page, extent->page_size,
                                    frame_offset(extent, frame_of(pf)) + WAL_FRAME_HEADER_BYTES, &size);
        if (r < 0)
                return r;
        if (size < extent->page_size)
                return RQ_ECORRUPT;
        if (page_of(pf) == 1)
                database_page1_seal(page);
        return files_io_write_at(io, database_fd, page, extent->page_size, (uint64_t) (page_of(pf) - 1) * extent->page_size);
}

/* The size, too: pages that were freed before they were ever written are in no
 * frame, but the header of page 1 counts them. */
static rq_err fit_size(const files_io *io, int database_fd, uint64_t bytes) {
        struct stat st;
        if (fstat(database_fd, &st) < 0)
                return files_io_error(errno);
        if ((uint64_t) st.st_size == bytes)
                return RQ_OK;
        return io->truncate(io->context, database_fd, (off_t) bytes) < 0 ? files_io_error(errno) : RQ_OK;
}

rq_err wal_copy(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from) {
        return wal_copy_beside(io, wal_fd, database_fd, extent, from, NULL);
}

rq_err wal_copy_beside(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from,
                       struct image_set *images) {
        RQ_CLEANUP(rq_freep) page_frame *list = NULL;
        RQ_CLEANUP(rq_freep) uint8_t *page = NULL;
        uint32_t count = extent->frames - from, pages = 0;
        rq_err r;

        rq_assert(from < extent->frames);
        list = malloc(count * sizeof *list);
        page = malloc(extent->page_size);
        if (list == NULL || page == NULL)
                return RQ_ENOMEM;
        r = list_frames(io, wal_fd, extent, from, list, &pages);
        if (r < 0)
                return r;
        qsort(list, count, sizeof *list, compare);
        for (uint32_t i = 0; i < count; i++) {
                if (i + 1 < count && page_of(list[i + 1]) == page_of(list[i]))
                        continue;
                if (page_of(list[i]) == 0)
                        return RQ_ECORRUPT;
                if (page_of(list[i]) > pages)
                        break;
                image_set_save(images, page_of(list[i]), extent->page_size);
                r = copy_page(io, wal_fd, database_fd, extent, list[i], page);
                if (r < 0)
                        return r;
        }
        image_set_cut(images, (uint64_t) pages * extent->page_size);
        return fit_size(io, database_fd, (uint64_t) pages * extent->page_size);
}
