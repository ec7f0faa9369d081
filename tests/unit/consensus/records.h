/* Records for tests of the log's files. */
#ifndef RQ_TESTS_CONSENSUS_RECORDS_H
#define RQ_TESTS_CONSENSUS_RECORDS_H

#include <stdarg.h>
#include <stdlib.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "io/log_place.h"
#include "io/log_recover.h"
#include "record.h"

static const rq_uuid test_database = { .bytes = "database id 0123" };

/* Entries first .. last of one term, bodies of body_bytes that tell their index and term. */
static inline void put_records(rq_buf *out, uint64_t first, uint64_t last, uint64_t term, size_t body_bytes) {
        for (uint64_t index = first; index <= last; index++) {
                size_t size = RECORD_HEADER_BYTES + body_bytes;
                assert_int_equal(rq_buf_reserve(out, size), RQ_OK);
                uint8_t *to = out->data + out->size;
                for (size_t i = 0; i < body_bytes; i++)
                        to[RECORD_HEADER_BYTES + i] = (uint8_t) (index * 7 + term * 31 + i);
                record_header header = {
                        .kind = RECORD_SQL, .flags = RECORD_CRITICAL, .feature_level = 1, .index = index, .term = term,
                        .clock_us = 1000 * term + index, .seed = index, .database_id = test_database,
                };
                record_header_encode(to, &header, rq_bytes_of(to + RECORD_HEADER_BYTES, body_bytes));
                out->size += size;
        }
}

/* One configuration entry. */
static inline void put_configuration(rq_buf *out, uint64_t index, uint64_t term, const char *text) {
        size_t body_bytes = strlen(text);
        assert_int_equal(rq_buf_reserve(out, RECORD_HEADER_BYTES + body_bytes), RQ_OK);
        uint8_t *to = out->data + out->size;
        memcpy(to + RECORD_HEADER_BYTES, text, body_bytes);
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = 1, .index = index, .term = term,
                .clock_us = 1000 * term + index, .database_id = test_database,
        };
        record_header_encode(to, &header, rq_bytes_of(to + RECORD_HEADER_BYTES, body_bytes));
        out->size += RECORD_HEADER_BYTES + body_bytes;
}

static inline log_write write_of(const rq_buf *records, uint64_t first, uint64_t last, uint64_t term, uint64_t previous_term) {
        return (log_write) {
                .first_index = first, .last_index = last, .previous_term = previous_term, .last_term = term,
                .last_clock_us = 1000 * term + last, .records = rq_buf_bytes(records),
        };
}

static inline int test_dir(char *template_text) {
        assert_non_null(mkdtemp(template_text));
        int fd = open(template_text, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(fd >= 0);
        return fd;
}

static inline void empty_dir(int dir_fd) {
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY);
        DIR *dir = fdopendir(fd);
        assert_non_null(dir);
        for (const struct dirent *e; (e = readdir(dir)) != NULL;)
                (void) unlinkat(dir_fd, e->d_name, 0);
        (void) closedir(dir);
}

/* Where a recovered log goes on. */
static inline log_place_options options_of(const log_io *io, int dir_fd, const log_recovered *log, uint64_t *firsts) {
        for (size_t i = 0; i < log->catalog.segment_count; i++)
                firsts[i] = log->catalog.segments[i].header.first_index;
        return (log_place_options) {
                .io = io, .dir_fd = dir_fd, .database_id = test_database, .last_index = log->last_index,
                .last_term = log->last_term, .clock_us = log->clock_us, .segment_firsts = firsts, .configurations = &log->configurations,
                .segment_count = log->catalog.segment_count, .end_offset = log->end_offset, .end_crc = log->end_crc,
        };
}

static inline rq_err add_and_sync(log_place *place, const log_write *write) {
        rq_err r;
        while ((r = log_place_add(place, write)) == RQ_EAGAIN)
                ;
        return r < 0 ? r : log_place_sync(place);
}

/* Every entry of the recovered log reads back as it was written. term_of may be NULL. */
static inline void check_readable(log_recovered *log, uint64_t first, uint64_t last, uint64_t (*term_of)(uint64_t), size_t body_bytes) {
        rq_buf got = {0}, problem = {0}, want = {0};
        for (uint64_t index = first; index <= last;) {
                uint32_t count;
                got.size = 0;
                assert_int_equal(log_catalog_read(&log->catalog, index, last, 100000, &got, &count, &problem), RQ_OK);
                assert_true(count > 0);
                want.size = 0;
                for (uint64_t i = index; i < index + count; i++)
                        put_records(&want, i, i, term_of != NULL ? term_of(i) : 1, body_bytes);
                assert_int_equal(got.size, want.size);
                assert_memory_equal(got.data, want.data, want.size);
                index += count;
        }
        rq_buf_done(&got);
        rq_buf_done(&problem);
        rq_buf_done(&want);
}

#endif
