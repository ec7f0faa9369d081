#include "io/log_recover.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "record.h"

enum { SEGMENT_FILE_BYTES_MAX = SEGMENT_DATA_AT + UNIT_HEADER_BYTES + RECORD_HEADER_BYTES + RECORD_BODY_BYTES_MAX + 4096 };

static void runs_done(log_run **runs) { rq_freep(runs); }

void log_recovered_done(log_recovered *log) {
        log_catalog_done(&log->catalog);
        runs_done(&log->runs);
        log_configurations_done(&log->configurations);
        *log = (log_recovered) {0};
}

static rq_err problem_at(rq_buf *problem, uint64_t first_index, uint64_t offset, rq_err err, const char *what) {
        char name[SEGMENT_NAME_BYTES];
        (void) rq_buf_printf(problem, "%s: offset %" PRIu64 ": %s", segment_name(first_index, name), offset, what);
        return err;
}

/* Entries from index on are replaced. */
static void cut_runs(log_recovered *log, uint64_t index) {
        while (log->run_count > 0 && log->runs[log->run_count - 1].first_index >= index)
                log->run_count--;
        log_configurations_cut(&log->configurations, index);
        log->last_index = index - 1;
        log->last_term = log->run_count > 0 ? log->runs[log->run_count - 1].term : log->base_term;
}

static uint64_t term_before(const log_recovered *log, uint64_t index) {
        for (size_t i = log->run_count; i > 0; i--)
                if (log->runs[i - 1].first_index < index)
                        return log->runs[i - 1].term;
        return log->base_term;
}

static rq_err add_entry(log_recovered *log, const record_header *header, uint64_t uncommitted_bytes) {
        if (log->run_count == 0 || header->term > log->last_term) {
                if (log->run_count == log->run_capacity) {
                        size_t capacity = log->run_capacity == 0 ? 16 : log->run_capacity * 2;
                        log_run *more = reallocarray(log->runs, capacity, sizeof *more);
                        if (more == NULL)
                                return RQ_ENOMEM;
                        log->runs = more;
                        log->run_capacity = capacity;
                }
                log->runs[log->run_count++] = (log_run) { .first_index = header->index, .term = header->term };
        }
        log->runs[log->run_count - 1].uncommitted_bytes += uncommitted_bytes;
        log->last_index = header->index;
        log->last_term = header->term;
        if (header->clock_us > log->clock_us)
                log->clock_us = header->clock_us;
        return RQ_OK;
}

/* The unit's checksum is right: what doesn't fit now was written so. */
static rq_err add_unit(log_recovered *log, rq_bytes records, const segment_unit *unit, uint64_t segment_first,
                       const rq_uuid *database_id, uint64_t commit_hint, rq_buf *problem) {
        if (unit->first_index <= log->last_index)
                cut_runs(log, unit->first_index);
        uint32_t count = 0;
        for (size_t at = 0; at < records.size; count++) {
                record_header header;
                rq_bytes body;
                rq_err r = record_decode(rq_bytes_of(records.data + at, records.size - at), &header, &body);
                if (r == RQ_EVERSION)
                        return problem_at(problem, segment_first, unit->offset, r, "an entry of a newer version");
                if (r < 0 || header.index != log->last_index + 1 || header.term < log->last_term || header.term == 0 ||
                    !rq_uuid_equal(&header.database_id, database_id))
                        return problem_at(problem, segment_first, unit->offset, RQ_ECORRUPT, "an entry that doesn't fit the one before it");
                if (header.kind == RECORD_CONFIGURATION && body.size > SEGMENT_CONFIGURATION_MAX)
                        return problem_at(problem, segment_first, unit->offset, RQ_ECORRUPT, "a configuration larger than one may be");
                size_t record_bytes = RECORD_HEADER_BYTES + body.size;
                r = add_entry(log, &header, header.index > commit_hint ? record_bytes : 0);
                if (r < 0)
                        return r;
                at += record_bytes;
        }
        if (count == 0 || count != unit->record_count)
                return problem_at(problem, segment_first, unit->offset, RQ_ECORRUPT, "a unit with another number of entries than it says");
        rq_err r = log_configurations_add_records(&log->configurations, records);
        if (r < 0)
                return r;
        return log_catalog_add_unit(&log->catalog, unit, log->last_index);
}

static rq_err check_segment(const log_recovered *log, const segment_header *header, uint64_t first_index,
                            const rq_uuid *database_id, rq_buf *problem) {
        if (header->first_index != first_index)
                return problem_at(problem, first_index, 0, RQ_ECORRUPT, "the name isn't that of the content");
        if (!rq_uuid_equal(&header->database_id, database_id))
                return problem_at(problem, first_index, 0, RQ_ECORRUPT, "it belongs to another cluster");
        if (!log->has_segment)
                return RQ_OK;
        if (first_index > log->last_index + 1)
                return problem_at(problem, first_index, 0, RQ_ECORRUPT, "entries before it are missing");
        const log_configuration found = log_configurations_at(&log->configurations, header->previous_index);
        if (header->previous_term != term_before(log, first_index) || header->configuration.index != found.index ||
            !rq_bytes_equal(header->configuration.body, found.body))
                return problem_at(problem, first_index, 0, RQ_ECORRUPT, "it doesn't continue the segment before it");
        return RQ_OK;
}

rq_err log_recover_segment(log_recovered *log, rq_bytes file, uint64_t first_index, uint64_t next_first_index,
                           const rq_uuid *database_id, uint64_t commit_hint, rq_buf *problem) {
        segment_header header;
        /* The header was durable before the file had its name. */
        rq_err r = segment_header_decode(file, &header);
        if (r < 0)
                return problem_at(problem, first_index, 0, r, r == RQ_EVERSION ? "written by a newer version" : "damaged header");
        r = check_segment(log, &header, first_index, database_id, problem);
        if (r < 0)
                return r;
        if (!log->has_segment) {
                log->base_index = log->last_index = header.previous_index;
                log->base_term = log->last_term = header.previous_term;
                if (header.configuration.index != 0)
                        r = log_configurations_add(&log->configurations, header.configuration.index, header.configuration.body);
                if (r < 0)
                        return r;
        } else if (first_index <= log->last_index) {
                cut_runs(log, first_index);
        }
        if (header.clock_us > log->clock_us)
                log->clock_us = header.clock_us;
        log->has_segment = true;
        log->end_crc = 0;
        log->end_offset = SEGMENT_DATA_AT;
        r = log_catalog_add_segment(&log->catalog, &header);
        if (r < 0)
                return r;

        segment_unit unit;
        while (segment_unit_decode(file, &header.uuid, log->end_offset, &unit) >= 0) {
                if (unit.previous_crc != log->end_crc)
                        break;
                if (unit.first_index > log->last_index + 1 || unit.first_index < header.first_index)
                        return problem_at(problem, first_index, unit.offset, RQ_ECORRUPT, "a unit that doesn't fit the one before it");
                r = add_unit(log, segment_unit_records(file, &unit), &unit, first_index, database_id, commit_hint, problem);
                if (r < 0)
                        return r;
                log->end_offset = segment_unit_end(&unit);
                log->end_crc = unit.crc;
        }

        segment_end end = segment_end_at(file, &header.uuid, log->end_offset);
        /* A segment was whole and durable before the next one was begun. */
        if (next_first_index != 0 && log->last_index + 1 < next_first_index)
                end = SEGMENT_END_ROTTEN;
        if (end == SEGMENT_END_ROTTEN)
                return problem_at(problem, first_index, log->end_offset, RQ_ECORRUPT, "damaged entries that were durable before");
        log->torn = end == SEGMENT_END_TORN && next_first_index == 0;
        return RQ_OK;
}

static int compare_u64(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
        return (x > y) - (x < y);
}

typedef struct listing {
        rq_buf indexes;
        rq_err err;
} listing;

static void list_one(void *arg, const char *name) {
        listing *list = arg;
        uint64_t index;
        if (list->err >= 0 && segment_name_parse(name, &index))
                list->err = rq_buf_append(&list->indexes, &index, sizeof index);
}

/* First indexes of all segments, ascending. */
static rq_err list_segments(const log_io *io, int dir_fd, rq_buf *ret_indexes) {
        listing list = {0};
        if (io->list(io->arg, dir_fd, list_one, &list) != 0)
                list.err = rq_err_from_errno(errno);
        if (list.err < 0) {
                rq_buf_done(&list.indexes);
                return list.err;
        }
        if (list.indexes.size > 0)
                qsort(list.indexes.data, list.indexes.size / sizeof(uint64_t), sizeof(uint64_t), compare_u64);
        *ret_indexes = list.indexes;
        return RQ_OK;
}

static rq_err write_zeros(const log_io *io, int fd, uint64_t from, uint64_t to) {
        static const uint8_t zeros[64 * 1024];
        while (from < to) {
                size_t size = to - from < sizeof zeros ? (size_t) (to - from) : sizeof zeros;
                rq_err r = log_io_write(io, fd, zeros, size, from);
                if (r < 0)
                        return r;
                from += size;
        }
        return RQ_OK;
}

/* Makes what was found the truth, before anything is built on it. What no fsync
 * is known to cover may be in the page cache only (after an fsync that failed
 * the kernel calls such pages clean), so it is written again. What follows a
 * torn write goes, or a later unit that ends just before it would bring it back. */
static rq_err settle(const log_io *io, int dir_fd, const log_recovered *log, rq_bytes file, uint64_t durable_up_to) {
        char name[SEGMENT_NAME_BYTES];
        uint64_t first_index = log->catalog.segments[log->catalog.segment_count - 1].header.first_index;
        RQ_CLEANUP(rq_closep) int fd = io->open(io->arg, dir_fd, segment_name(first_index, name), O_RDWR);
        if (fd < 0)
                return rq_err_from_errno(errno);
        rq_err r = RQ_OK;
        if (log->end_offset > durable_up_to)
                r = log_io_write(io, fd, file.data + durable_up_to, (size_t) (log->end_offset - durable_up_to), durable_up_to);
        if (r >= 0 && log->torn)
                r = write_zeros(io, fd, log->end_offset, file.size);
        if (r < 0)
                return r;
        return io->fdatasync(io->arg, fd) == 0 ? RQ_OK : RQ_EIO;
}

static uint64_t last_durable_up_to(const log_recovered *log, rq_bytes file) {
        const log_catalog_segment *segment = &log->catalog.segments[log->catalog.segment_count - 1];
        uint64_t offset = segment->mark_count > 0 ? segment->marks[segment->mark_count - 1].offset : SEGMENT_DATA_AT;
        uint64_t durable_up_to = SEGMENT_DATA_AT;
        segment_unit unit;
        for (; offset < log->end_offset; offset = segment_unit_end(&unit)) {
                if (segment_unit_decode(file, &segment->header.uuid, offset, &unit) < 0)
                        break;
                durable_up_to = unit.durable_up_to;
        }
        return durable_up_to;
}

rq_err log_recover(const log_io *io, int dir_fd, const rq_uuid *database_id, uint64_t commit_hint,
                   log_recovered *ret_log, rq_buf *problem) {
        RQ_CLEANUP(log_recovered_done) log_recovered log = {0};
        RQ_CLEANUP(rq_buf_done) rq_buf list = {0};
        RQ_CLEANUP(rq_buf_done) rq_buf file = {0};
        log_catalog_init(&log.catalog, io, dir_fd);

        /* The run before may have died between a rename and its sync: no promise
         * may rest on a name that a power cut takes back. */
        rq_err r = io->fsync(io->arg, dir_fd) == 0 ? list_segments(io, dir_fd, &list) : RQ_EIO;
        size_t count = list.size / sizeof(uint64_t);
        for (size_t i = 0; r >= 0 && i < count; i++) {
                char name[SEGMENT_NAME_BYTES];
                uint64_t first_index, next = 0;
                memcpy(&first_index, list.data + i * sizeof first_index, sizeof first_index);
                if (i + 1 < count)
                        memcpy(&next, list.data + (i + 1) * sizeof next, sizeof next);
                rq_buf_done(&file);
                r = log_io_load(io, dir_fd, segment_name(first_index, name), SEGMENT_FILE_BYTES_MAX, &file);
                if (r < 0)
                        (void) problem_at(problem, first_index, 0, r, "cannot be read");
                else
                        r = log_recover_segment(&log, rq_buf_bytes(&file), first_index, next, database_id, commit_hint, problem);
        }
        if (r < 0)
                return r;
        if (log.last_index < commit_hint) {
                (void) rq_buf_printf(problem, "the log ends at index %" PRIu64 ", but %" PRIu64 " was committed",
                                     log.last_index, commit_hint);
                return RQ_ECORRUPT;
        }
        if (log.has_segment)
                r = settle(io, dir_fd, &log, rq_buf_bytes(&file), last_durable_up_to(&log, rq_buf_bytes(&file)));
        if (r < 0)
                return r;
        *ret_log = RQ_TAKE(log, (log_recovered) {0});
        return RQ_OK;
}
