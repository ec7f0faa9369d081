#include "io/log_catalog.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "record.h"

enum {
        MARK_BYTES   = 64 * 1024,  /* at most one mark in so many bytes, but for replaced entries */
        WINDOW_BYTES = 256 * 1024,
};

void log_catalog_init(log_catalog *catalog, const log_io *io, int dir_fd) {
        *catalog = (log_catalog) { .io = io, .dir_fd = dir_fd };
}

static void segment_done(log_catalog_segment *segment) {
        if (segment->fd >= 0)
                (void) close(segment->fd);
        free(segment->marks);
}

void log_catalog_done(log_catalog *catalog) {
        for (size_t i = 0; i < catalog->segment_count; i++)
                segment_done(&catalog->segments[i]);
        free(catalog->segments);
        rq_buf_done(&catalog->window);
        *catalog = (log_catalog) {0};
}

static void cut_from(log_catalog_segment *segment, uint64_t index) {
        if (segment->last_index >= index)
                segment->last_index = index - 1;
        while (segment->mark_count > 0 && segment->marks[segment->mark_count - 1].index >= index)
                segment->mark_count--;
}

rq_err log_catalog_add_segment(log_catalog *catalog, const segment_header *header) {
        if (catalog->segment_count == catalog->segment_capacity) {
                size_t capacity = catalog->segment_capacity == 0 ? 8 : catalog->segment_capacity * 2;
                log_catalog_segment *more = reallocarray(catalog->segments, capacity, sizeof *more);
                if (more == NULL)
                        return RQ_ENOMEM;
                catalog->segments = more;
                catalog->segment_capacity = capacity;
        }
        while (catalog->segment_count > 0 &&
               catalog->segments[catalog->segment_count - 1].header.first_index >= header->first_index)
                segment_done(&catalog->segments[--catalog->segment_count]);
        if (catalog->segment_count > 0)
                cut_from(&catalog->segments[catalog->segment_count - 1], header->first_index);
        catalog->cursor.segment_first = 0;
        catalog->segments[catalog->segment_count++] = (log_catalog_segment) {
                .header = *header, .last_index = header->previous_index, .end_offset = SEGMENT_DATA_AT, .fd = -1,
        };
        catalog->segments[catalog->segment_count - 1].header.configuration = (log_configuration) {0};
        return RQ_OK;
}

rq_err log_catalog_add_unit(log_catalog *catalog, const segment_unit *unit, uint64_t last_index) {
        rq_assert(catalog->segment_count > 0);
        log_catalog_segment *segment = &catalog->segments[catalog->segment_count - 1];
        bool replaces = unit->first_index <= segment->last_index;
        if (replaces) {
                cut_from(segment, unit->first_index);
                catalog->cursor.segment_first = 0;
        }
        segment->last_index = last_index;
        segment->end_offset = segment_unit_end(unit);

        /* A replacing unit needs its mark: a walk from an earlier one would run
         * into what was replaced. The first of a segment is where walks begin. */
        if (!replaces && segment->mark_count > 0 &&
            unit->offset - segment->marks[segment->mark_count - 1].offset < MARK_BYTES)
                return RQ_OK;
        if (segment->mark_count == segment->mark_capacity) {
                size_t capacity = segment->mark_capacity == 0 ? 16 : segment->mark_capacity * 2;
                log_mark *more = reallocarray(segment->marks, capacity, sizeof *more);
                if (more == NULL)
                        return replaces || segment->mark_count == 0 ? RQ_ENOMEM : RQ_OK;
                segment->marks = more;
                segment->mark_capacity = capacity;
        }
        segment->marks[segment->mark_count++] = (log_mark) { .index = unit->first_index, .offset = unit->offset };
        return RQ_OK;
}

void log_catalog_drop_oldest(log_catalog *catalog) {
        rq_assert(catalog->segment_count > 1);
        segment_done(&catalog->segments[0]);
        catalog->segment_count--;
        memmove(catalog->segments, catalog->segments + 1, catalog->segment_count * sizeof *catalog->segments);
}

uint64_t log_catalog_bytes(const log_catalog *catalog) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < catalog->segment_count; i++)
                bytes += catalog->segments[i].header.file_bytes;
        return bytes;
}

static log_catalog_segment *segment_of(const log_catalog *catalog, uint64_t index) {
        for (size_t i = catalog->segment_count; i > 0; i--) {
                log_catalog_segment *segment = &catalog->segments[i - 1];
                if (segment->header.first_index <= index)
                        return index <= segment->last_index ? segment : NULL;
        }
        return NULL;
}

/* A walk over the records of one segment. */
typedef struct walk {
        log_catalog *catalog;
        log_catalog_segment *segment;
        size_t mark;               /* the last one at or below index */
        uint64_t index, offset;    /* of the next record, or of a unit's header before it */
        uint64_t unit_left;        /* bytes of records left in the unit; 0: a header comes */
        uint64_t window_offset;
        rq_buf *problem;
} walk;

static rq_err corrupt(const walk *w, const char *what) {
        char name[SEGMENT_NAME_BYTES];
        (void) rq_buf_printf(w->problem, "%s: offset %" PRIu64 ": %s",
                             segment_name(w->segment->header.first_index, name), w->offset, what);
        return RQ_ECORRUPT;
}

/* size bytes at the walk's offset, through the window. */
static rq_err peek(walk *w, size_t size, const uint8_t **ret_data) {
        rq_buf *window = &w->catalog->window;
        if (w->offset < w->window_offset || w->offset + size > w->window_offset + window->size) {
                window->size = 0;
                rq_err r = rq_buf_reserve(window, size > WINDOW_BYTES ? size : WINDOW_BYTES);
                if (r < 0)
                        return r;
                r = log_io_read(w->catalog->io, w->segment->fd, window->data,
                                size > WINDOW_BYTES ? size : WINDOW_BYTES, w->offset, &window->size);
                if (r < 0)
                        return r;
                w->window_offset = w->offset;
                if (window->size < size)
                        return corrupt(w, "the file ends inside of an entry");
        }
        *ret_data = window->data + (w->offset - w->window_offset);
        return RQ_OK;
}

static rq_err walk_begin(walk *w, uint64_t index) {
        log_catalog_segment *segment = w->segment;
        if (segment->fd < 0) {
                char name[SEGMENT_NAME_BYTES];
                segment->fd = w->catalog->io->open(w->catalog->io->arg, w->catalog->dir_fd,
                                                   segment_name(segment->header.first_index, name), O_RDONLY);
                if (segment->fd < 0)
                        return rq_err_from_errno(errno);
        }
        size_t low = 0, high = segment->mark_count;
        while (high - low > 1) {
                size_t middle = low + (high - low) / 2;
                if (segment->marks[middle].index <= index)
                        low = middle;
                else
                        high = middle;
        }
        if (segment->mark_count == 0)
                return RQ_ENOENT;
        w->mark = low;
        w->index = segment->marks[low].index;
        w->offset = segment->marks[low].offset;
        w->unit_left = 0;

        /* Going on where the last read ended costs no walk. At a mark itself the
         * mark is right: the cursor may stand in what the marked unit replaced. */
        typeof(w->catalog->cursor) *cursor = &w->catalog->cursor;
        if (cursor->segment_first == segment->header.first_index && cursor->index <= index && cursor->index > w->index) {
                w->index = cursor->index;
                w->offset = cursor->offset;
                w->unit_left = cursor->unit_left;
        }
        return RQ_OK;
}

/* The header of the record at the walk's index. */
static rq_err walk_record(walk *w, record_header *ret_header) {
        const log_catalog_segment *segment = w->segment;
        const uint8_t *data;
        rq_err r;
        if (w->mark + 1 < segment->mark_count && segment->marks[w->mark + 1].index == w->index) {
                w->mark++;
                w->offset = segment->marks[w->mark].offset;
                w->unit_left = 0;
        }
        if (w->unit_left == 0) {
                w->offset = segment_align(w->offset);
                r = peek(w, UNIT_HEADER_BYTES, &data);
                if (r < 0)
                        return r;
                if (rq_get_u32(data) != UNIT_MAGIC || rq_get_u64(data + 16) != w->index)
                        return corrupt(w, "no unit of entries where one was written");
                w->unit_left = rq_get_u32(data + 4);
                w->offset += UNIT_HEADER_BYTES;
        }
        r = peek(w, RECORD_HEADER_BYTES, &data);
        if (r < 0)
                return r;
        r = record_header_decode(data, ret_header);
        if (r < 0 || ret_header->index != w->index ||
            RECORD_HEADER_BYTES + (uint64_t) ret_header->body_bytes > w->unit_left)
                return corrupt(w, "damaged header of an entry");
        return RQ_OK;
}

static void walk_next(walk *w, uint64_t record_bytes) {
        w->index++;
        w->offset += record_bytes;
        w->unit_left -= record_bytes;
}

static rq_err read_record(walk *w, size_t record_bytes, rq_buf *records) {
        record_header header;
        rq_bytes body;
        rq_err r = rq_buf_reserve(records, record_bytes);
        if (r < 0)
                return r;
        uint8_t *to = records->data + records->size;
        if (record_bytes <= WINDOW_BYTES) {
                const uint8_t *data;
                r = peek(w, record_bytes, &data);
                if (r < 0)
                        return r;
                memcpy(to, data, record_bytes);
        } else {
                size_t got;
                r = log_io_read(w->catalog->io, w->segment->fd, to, record_bytes, w->offset, &got);
                if (r < 0)
                        return r;
                if (got < record_bytes)
                        return corrupt(w, "the file ends inside of an entry");
        }
        if (record_decode(rq_bytes_of(to, record_bytes), &header, &body) < 0)
                return corrupt(w, "an entry failed its checksum");
        records->size += record_bytes;
        return RQ_OK;
}

static rq_err read_segment(walk *w, uint64_t first_index, uint64_t last_index, size_t end_size,
                           rq_buf *records, uint32_t *count) {
        rq_err r = walk_begin(w, first_index);
        if (r < 0)
                return r;
        while (w->index <= last_index && w->index <= w->segment->last_index) {
                record_header header;
                r = walk_record(w, &header);
                if (r < 0)
                        return r;
                size_t record_bytes = RECORD_HEADER_BYTES + (size_t) header.body_bytes;
                if (w->index >= first_index) {
                        if (*count > 0 && records->size + record_bytes > end_size)
                                break;
                        r = read_record(w, record_bytes, records);
                        if (r < 0)
                                return r;
                        ++*count;
                }
                walk_next(w, record_bytes);
        }
        w->catalog->cursor = (typeof(w->catalog->cursor)) {
                .segment_first = w->segment->header.first_index, .index = w->index,
                .offset = w->offset, .unit_left = w->unit_left,
        };
        return RQ_OK;
}

rq_err log_catalog_read(log_catalog *catalog, uint64_t first_index, uint64_t last_index, size_t bytes_max,
                        rq_buf *records, uint32_t *ret_count, rq_buf *problem) {
        uint32_t count = 0;
        size_t size_before = records->size;
        while (first_index + count <= last_index && (count == 0 || records->size - size_before < bytes_max)) {
                uint32_t before = count;
                walk w = { .catalog = catalog, .segment = segment_of(catalog, first_index + count), .problem = problem };
                if (w.segment == NULL)
                        return RQ_ENOENT;
                catalog->window.size = 0;
                rq_err r = read_segment(&w, first_index + count, last_index, size_before + bytes_max, records, &count);
                if (r < 0) {
                        records->size = size_before;
                        return r;
                }
                if (count == before)
                        break; /* the next one doesn't fit any more */
        }
        if (catalog->window.capacity > 4 * WINDOW_BYTES)
                rq_buf_done(&catalog->window);
        *ret_count = count;
        return RQ_OK;
}
