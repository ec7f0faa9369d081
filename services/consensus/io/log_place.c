#include "io/log_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "record.h"

#define BIG_SPARE "big.tmp"

enum {
        SPARE_WAIT_MS  = 100,
        BLOCK_BYTES    = 4096,
};

static rq_err open_last(log_place *p, const log_place_options *options) {
        uint8_t block[SEGMENT_DATA_AT];
        char name[SEGMENT_NAME_BYTES];
        size_t size;
        p->fd = p->io->open(p->io->arg, p->dir_fd, segment_name(options->segment_firsts[options->segment_count - 1], name), O_RDWR);
        if (p->fd < 0)
                return rq_err_from_errno(errno);
        rq_err r = log_io_read(p->io, p->fd, block, sizeof block, 0, &size);
        if (r < 0)
                return r;
        p->offset = p->durable_up_to = options->end_offset;
        p->end_crc = options->end_crc;
        r = segment_header_decode(rq_bytes_of(block, size), &p->header);
        p->header.configuration = (log_configuration) {0};
        return r;
}

rq_err log_place_open(const log_place_options *options, log_place *ret_place) {
        RQ_CLEANUP(log_place_close) log_place p = {
                .io = options->io, .dir_fd = options->dir_fd, .database_id = options->database_id,
                .last_index = options->last_index, .last_term = options->last_term, .clock_us = options->clock_us,
                .segment_bytes = options->segment_bytes != 0 ? options->segment_bytes : SEGMENT_BYTES,
                .fd = -1,
        };
        rq_err r = rq_buf_append(&p.firsts, options->segment_firsts, options->segment_count * sizeof(uint64_t));
        if (r >= 0)
                r = log_configurations_copy(options->configurations, &p.configurations);
        if (r >= 0 && options->segment_count > 0)
                r = open_last(&p, options);
        if (r >= 0)
                r = log_spare_new(p.io, p.dir_fd, p.segment_bytes, &p.spare);
        if (r >= 0 && !options->no_thread)
                r = log_spare_start(p.spare);
        if (r < 0)
                return r;
        *ret_place = RQ_TAKE(p, (log_place) { .fd = -1 });
        return RQ_OK;
}

void log_place_close(log_place *p) {
        rq_closep(&p->fd);
        p->spare = log_spare_free(p->spare);
        rq_buf_done(&p->firsts);
        log_configurations_done(&p->configurations);
        rq_buf_done(&p->placements);
}

bool log_place_is_synced(const log_place *p) { return p->slice_count == 0 && !p->dirty; }

void log_place_count_sync(log_place *p, uint64_t us) {
        p->stats.sync_count++;
        p->stats.sync_us_last = us;
        p->stats.sync_us_total += us;
        if (us > p->stats.sync_us_max)
                p->stats.sync_us_max = us;
}

static uint64_t unit_end(const log_place *p) {
        return p->slice_count == 0 ? p->offset : p->unit.offset + UNIT_HEADER_BYTES + p->unit.record_bytes;
}

uint64_t log_place_room(const log_place *p) {
        uint64_t end = unit_end(p) + (p->slice_count == 0 ? UNIT_HEADER_BYTES : 0);
        return p->fd < 0 || end >= p->header.file_bytes ? 0 : p->header.file_bytes - end;
}

static rq_err place_unit(log_place *p) {
        log_placement placement = { .unit = p->unit, .last_index = p->last_index };
        return rq_buf_append(&p->placements, &placement, sizeof placement);
}

/* Writes the open unit. Nothing has changed if it fails for lack of space: the
 * same bytes go to the same place later, and a crash before that finds a torn
 * unit there. */
static rq_err flush_unit(log_place *p) {
        static const uint8_t zeros[UNIT_ALIGN];
        uint8_t header[UNIT_HEADER_BYTES];
        struct iovec iov[PLACE_SLICES_MAX + 2];
        int count = 0;
        if (p->slice_count == 0)
                return RQ_OK;

        p->unit.durable_up_to = p->durable_up_to;
        p->unit.previous_crc = p->end_crc;
        segment_unit_encode(header, &p->header.uuid, &p->unit, p->slices, p->slice_count);
        iov[count++] = (struct iovec) { .iov_base = header, .iov_len = sizeof header };
        for (size_t i = 0; i < p->slice_count; i++)
                iov[count++] = (struct iovec) { .iov_base = (void *) (uintptr_t) p->slices[i].data, .iov_len = p->slices[i].size };
        uint64_t end = segment_unit_end(&p->unit);
        size_t padding = (size_t) (end - (p->unit.offset + UNIT_HEADER_BYTES + p->unit.record_bytes));
        if (padding > 0)
                iov[count++] = (struct iovec) { .iov_base = (void *) (uintptr_t) zeros, .iov_len = padding };
        rq_err r = log_io_writev(p->io, p->fd, iov, count, p->unit.offset);
        if (r < 0)
                return r;
        r = place_unit(p);
        if (r < 0)
                return r;
        p->dirty = true;
        p->offset = end;
        p->end_crc = p->unit.crc;
        p->slice_count = 0;
        p->stats.units++;
        p->stats.bytes += end - p->unit.offset;
        return RQ_OK;
}

rq_err log_place_sync(log_place *p) {
        rq_err r = flush_unit(p);
        if (r < 0 || !p->dirty)
                return r;
        uint64_t start = rq_clock_mono_us();
        /* Whatever errno says, also ENOSPC: the kernel may have thrown the pages
         * away, so a second try would lie. */
        if (p->io->fdatasync(p->io->arg, p->fd) != 0)
                return RQ_EIO;
        log_place_count_sync(p, rq_clock_mono_us() - start);
        p->dirty = false;
        p->durable_up_to = p->offset;
        return RQ_OK;
}

/* An empty file for a segment of at least so many bytes. */
static rq_err take_spare(log_place *p, uint64_t file_bytes) {
        if (p->spare_name[0] != '\0')
                return RQ_OK;
        if (file_bytes <= p->segment_bytes)
                return log_spare_take(p->spare, SPARE_WAIT_MS, p->spare_name);

        RQ_CLEANUP(rq_closep) int fd = p->io->open(p->io->arg, p->dir_fd, BIG_SPARE, O_RDWR | O_CREAT | O_TRUNC);
        if (fd < 0)
                return log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
        if (p->io->fallocate(p->io->arg, fd, (off_t) file_bytes) != 0) {
                rq_err r = log_io_is_full(errno) ? RQ_ENOSPC : rq_err_from_errno(errno);
                (void) p->io->unlink(p->io->arg, p->dir_fd, BIG_SPARE); /* gives back what it got */
                return r;
        }
        if (p->io->fsync(p->io->arg, fd) != 0)
                return RQ_EIO;
        memcpy(p->spare_name, BIG_SPARE, sizeof BIG_SPARE);
        return RQ_OK;
}

/* The header is durable before the file has its name: a segment that is there is
 * a valid one, and everything before it is durable. */
static rq_err name_segment(log_place *p, int fd, const segment_header *header) {
        uint8_t block[SEGMENT_DATA_AT];
        char name[SEGMENT_NAME_BYTES];
        rq_err r = log_io_write(p->io, fd, block, segment_header_encode(block, header), 0);
        if (r < 0)
                return r;
        if (p->io->fdatasync(p->io->arg, fd) != 0)
                return RQ_EIO;
        if (p->io->rename(p->io->arg, p->dir_fd, p->spare_name, segment_name(header->first_index, name)) != 0 ||
            p->io->fsync(p->io->arg, p->dir_fd) != 0)
                return RQ_EIO;
        return RQ_OK;
}

static rq_err begin_segment(log_place *p, uint64_t record_bytes) {
        rq_err r = log_place_sync(p);
        if (r < 0)
                return r;
        uint64_t file_bytes = p->segment_bytes;
        if (record_bytes > file_bytes - SEGMENT_DATA_AT - UNIT_HEADER_BYTES) /* as one unit it has a file of its own */
                file_bytes = (SEGMENT_DATA_AT + UNIT_HEADER_BYTES + record_bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        r = take_spare(p, file_bytes);
        if (r < 0)
                return r;

        RQ_CLEANUP(rq_closep) int fd = p->io->open(p->io->arg, p->dir_fd, p->spare_name, O_RDWR);
        if (fd < 0)
                return rq_err_from_errno(errno);
        log_placement placement = { .opened = true, .header = {
                .uuid = rq_uuid_random(), .database_id = p->database_id,
                .first_index = p->last_index + 1, .previous_index = p->last_index, .previous_term = p->last_term,
                .clock_us = p->clock_us, .file_bytes = file_bytes,
                .configuration = log_configurations_at(&p->configurations, p->last_index),
        } };
        r = rq_buf_reserve(&p->firsts, sizeof(uint64_t));
        if (r >= 0)
                r = rq_buf_reserve(&p->placements, sizeof placement);
        if (r >= 0)
                r = name_segment(p, fd, &placement.header);
        if (r < 0)
                return r;
        placement.header.configuration = (log_configuration) {0};
        (void) rq_buf_append(&p->firsts, &placement.header.first_index, sizeof(uint64_t));
        (void) rq_buf_append(&p->placements, &placement, sizeof placement);

        /* A recycled file isn't in the page cache, and writing a part of a page
         * would have to read it first. */
        (void) posix_fadvise(fd, 0, (off_t) file_bytes, POSIX_FADV_WILLNEED);
        rq_closep(&p->fd);
        p->fd = RQ_TAKE(fd, -1);
        p->header = placement.header;
        p->offset = p->durable_up_to = SEGMENT_DATA_AT;
        p->end_crc = 0;
        p->spare_name[0] = '\0';
        p->stats.segments_begun++;
        return RQ_OK;
}

rq_err log_place_begin(log_place *p) { return begin_segment(p, 0); }

/* Entries from index on are replaced. Within the last segment the next unit says
 * so itself; segments that begin there or behind go, newest first, so that a
 * crash in between leaves no hole. */
static rq_err truncate_from(log_place *p, uint64_t index, uint64_t previous_term) {
        rq_err r = log_place_sync(p);
        if (r < 0)
                return r;
        while (p->firsts.size > 0) {
                uint64_t first;
                char name[SEGMENT_NAME_BYTES];
                memcpy(&first, p->firsts.data + p->firsts.size - sizeof first, sizeof first);
                if (first < index)
                        break;
                uint64_t file_bytes = p->fd >= 0 ? p->header.file_bytes : p->segment_bytes;
                rq_closep(&p->fd);
                r = log_spare_recycle(p->spare, segment_name(first, name), file_bytes);
                if (r < 0)
                        return r;
                p->firsts.size -= sizeof first;
        }
        log_configurations_cut(&p->configurations, index);
        p->last_index = index - 1;
        p->last_term = previous_term;
        return RQ_OK;
}

/* The longest run of whole records that fits room. */
static size_t fitting(rq_bytes records, uint64_t room, uint32_t *ret_count, const uint8_t **ret_last) {
        size_t size = 0;
        uint32_t count = 0;
        while (size < records.size) {
                size_t record_bytes = record_peek_bytes(records.data + size);
                if (size + record_bytes > room)
                        break;
                *ret_last = records.data + size;
                size += record_bytes;
                count++;
        }
        *ret_count = count;
        return size;
}

static void open_unit(log_place *p) {
        p->unit = (segment_unit) { .offset = p->offset, .first_index = p->last_index + 1 };
}

static void take_slice(log_place *p, rq_bytes slice, uint32_t count) {
        if (p->slice_count == 0)
                open_unit(p);
        p->slices[p->slice_count++] = slice;
        p->unit.record_bytes += (uint32_t) slice.size;
        p->unit.record_count += count;
        p->last_index += count;
}

static rq_err take_records(log_place *p, const log_write *write) {
        rq_bytes rest = rq_bytes_of(write->records.data + p->taken_bytes, write->records.size - p->taken_bytes);
        uint64_t room = log_place_room(p);
        if (rest.size <= room) {
                take_slice(p, rest, (uint32_t) (write->last_index - p->last_index));
                p->last_term = write->last_term;
                p->clock_us = write->last_clock_us > p->clock_us ? write->last_clock_us : p->clock_us;
                p->taken_bytes += rest.size;
                return RQ_OK;
        }
        uint32_t count;
        const uint8_t *last = NULL;
        size_t size = fitting(rest, room, &count, &last);
        if (count > 0) {
                take_slice(p, rq_bytes_of(rest.data, size), count);
                p->last_term = record_peek_term(last);
                p->clock_us = record_peek_clock_us(last) > p->clock_us ? record_peek_clock_us(last) : p->clock_us;
                p->taken_bytes += size;
        }
        return begin_segment(p, record_peek_bytes(rest.data + size));
}

rq_err log_place_add(log_place *p, const log_write *write) {
        rq_err r = RQ_OK;
        if (!p->taking) {
                if (write->first_index <= p->last_index)
                        r = truncate_from(p, write->first_index, write->previous_term);
                if (r < 0)
                        return r;
                rq_assert(write->first_index == p->last_index + 1);
                r = log_configurations_add_records(&p->configurations, write->records);
                if (r < 0)
                        return r;
                p->taking = true;
                p->taken_bytes = 0;
        }
        while (r >= 0 && p->taken_bytes < write->records.size) {
                if (p->slice_count == PLACE_SLICES_MAX)
                        r = flush_unit(p);
                if (r >= 0)
                        r = take_records(p, write);
        }
        if (r < 0)
                return r;
        rq_assert(p->last_index == write->last_index);
        p->taking = false;
        return RQ_OK;
}

rq_err log_place_drop(log_place *p, uint64_t first_index, uint64_t file_bytes) {
        uint64_t first;
        char name[SEGMENT_NAME_BYTES];
        if (p->firsts.size < 2 * sizeof first)
                return RQ_OK;
        memcpy(&first, p->firsts.data, sizeof first);
        if (first != first_index)
                return RQ_OK;
        rq_err r = log_spare_recycle(p->spare, segment_name(first, name), file_bytes);
        if (r < 0)
                return r;
        rq_buf_consume(&p->firsts, sizeof first);
        memcpy(&first, p->firsts.data, sizeof first);
        log_configurations_compact(&p->configurations, first - 1);
        return RQ_OK;
}
