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

static rq_err read_page(const files_io *io, int wal_fd, const wal_extent *extent, page_frame pf, uint8_t *page) {
        size_t size;
        rq_err r = files_io_read_at(io, wal_fd, page, extent->page_size,
                                    frame_offset(extent, frame_of(pf)) + WAL_FRAME_HEADER_BYTES, &size);
        if (r < 0)
                return r;
        if (size < extent->page_size)
                return RQ_ECORRUPT;
        if (page_of(pf) == 1)
                database_page1_seal(page);
        return RQ_OK;
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

/* Who gets the pages. */
typedef struct target {
        rq_err (*put)(const struct target *to, uint32_t page, const uint8_t *data);
        const files_io *io;
        const wal_extent *extent;
        image_set *images;
        image *image;
        int database_fd;
} target;

static rq_err put_to_file(const target *to, uint32_t page, const uint8_t *data) {
        const uint32_t page_size = to->extent->page_size;
        image_set_save(to->images, page, page_size);
        return files_io_write_at(to->io, to->database_fd, data, page_size, (uint64_t) (page - 1) * page_size);
}

static rq_err put_to_image(const target *to, uint32_t page, const uint8_t *data) { return image_put(to->image, page, data); }

/* The newest version of each page, in the order of pages. */
static rq_err copy_newest(const target *to, int wal_fd, uint32_t from, uint32_t *ret_pages) {
        RQ_CLEANUP(rq_freep) page_frame *list = NULL;
        RQ_CLEANUP(rq_freep) uint8_t *page = NULL;
        const wal_extent *extent = to->extent;
        uint32_t count = extent->frames - from, pages = 0;
        rq_err r;

        rq_assert(from < extent->frames);
        list = malloc(count * sizeof *list);
        page = malloc(extent->page_size);
        if (list == NULL || page == NULL)
                return RQ_ENOMEM;
        r = list_frames(to->io, wal_fd, extent, from, list, &pages);
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
                r = read_page(to->io, wal_fd, extent, list[i], page);
                if (r >= 0)
                        r = to->put(to, page_of(list[i]), page);
                if (r < 0)
                        return r;
        }
        *ret_pages = pages;
        return RQ_OK;
}

rq_err wal_copy(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from) {
        return wal_copy_beside(io, wal_fd, database_fd, extent, from, NULL);
}

rq_err wal_copy_beside(const files_io *io, int wal_fd, int database_fd, const wal_extent *extent, uint32_t from,
                       struct image_set *images) {
        const target to = { .put = put_to_file, .io = io, .extent = extent, .images = images, .database_fd = database_fd };
        uint32_t pages;
        rq_err r = copy_newest(&to, wal_fd, from, &pages);
        if (r < 0)
                return r;
        image_set_cut(images, (uint64_t) pages * extent->page_size);
        return fit_size(io, database_fd, (uint64_t) pages * extent->page_size);
}

rq_err wal_copy_to_image(const files_io *io, int wal_fd, const wal_extent *extent, uint32_t from, struct image *to_image) {
        const target to = { .put = put_to_image, .io = io, .extent = extent, .image = to_image };
        uint32_t pages;
        return copy_newest(&to, wal_fd, from, &pages);
}
