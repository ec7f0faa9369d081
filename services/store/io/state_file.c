#include "io/state_file.h"

#include <fcntl.h>

#include "base/checksum.h"
#include "base/cleanup.h"

/* 0 magic, 8 version, 12 size of all, 16 sections, last 4 bytes CRC-32C.
 * Section: 0 tag, 4 flags, 8 size of data, 12 zero, 16 data, padded to 8. */
enum {
        VERSION          = 1,
        HEADER_BYTES     = 16,
        SECTION_BYTES    = 16,
        CRC_BYTES        = 4,
        SECTION_CRITICAL = 1,

        SECTION_POSITION = 1, /* index, term, clock, hash, feature level, zero, database id, epoch */
        SECTION_FOLDER   = 2, /* disk id, generation, the file's bytes, page size, change counter, checksum of page 1, zero */
        SECTION_SETTINGS = 3, /* flags, zero */

        POSITION_BYTES = 64,
        FOLDER_BYTES   = 48,
        SETTINGS_BYTES = 8,

        SETTING_FOREIGN_KEYS = 1,
        SETTINGS_KNOWN       = SETTING_FOREIGN_KEYS,
};

static const uint8_t magic[8] = "RQSTATE";

static rq_err append_section(rq_buf *bytes, uint32_t tag, const void *data, size_t size) {
        static const uint8_t zeros[8];
        uint8_t head[SECTION_BYTES] = {0};
        rq_err r;
        rq_put_u32(head, tag);
        rq_put_u32(head + 4, SECTION_CRITICAL);
        rq_put_u32(head + 8, (uint32_t) size);
        r = rq_buf_append(bytes, head, sizeof head);
        if (r < 0)
                return r;
        r = rq_buf_append(bytes, data, size);
        if (r < 0)
                return r;
        return rq_buf_append(bytes, zeros, -size & 7);
}

static void put_position(uint8_t *p, const store_state *position) {
        rq_put_u64(p, position->index);
        rq_put_u64(p + 8, position->term);
        rq_put_u64(p + 16, position->clock_us);
        rq_put_u64(p + 24, position->outcome_hash);
        rq_put_u32(p + 32, position->feature_level);
        memcpy(p + 40, position->database_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(p + 56, position->epoch);
}

static void get_position(const uint8_t *p, store_state *position) {
        position->index = rq_get_u64(p);
        position->term = rq_get_u64(p + 8);
        position->clock_us = rq_get_u64(p + 16);
        position->outcome_hash = rq_get_u64(p + 24);
        position->feature_level = rq_get_u32(p + 32);
        memcpy(position->database_id.bytes, p + 40, RQ_UUID_BYTES);
        position->epoch = rq_get_u64(p + 56);
}

static void put_folder(uint8_t *p, const state_file *state) {
        memcpy(p, state->disk_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(p + 16, state->generation);
        rq_put_u64(p + 24, state->database.bytes);
        rq_put_u32(p + 32, state->database.page_size);
        rq_put_u32(p + 36, state->database.change_counter);
        rq_put_u32(p + 40, state->database.page1_crc);
}

static void get_folder(const uint8_t *p, state_file *state) {
        memcpy(state->disk_id.bytes, p, RQ_UUID_BYTES);
        state->generation = rq_get_u64(p + 16);
        state->database.bytes = rq_get_u64(p + 24);
        state->database.page_size = rq_get_u32(p + 32);
        state->database.change_counter = rq_get_u32(p + 36);
        state->database.page1_crc = rq_get_u32(p + 40);
}

rq_err state_file_encode(const state_file *state, rq_buf *ret_bytes) {
        RQ_CLEANUP(rq_buf_done) rq_buf bytes = {0};
        uint8_t head[HEADER_BYTES] = {0}, position[POSITION_BYTES] = {0}, folder[FOLDER_BYTES] = {0};
        uint8_t settings[SETTINGS_BYTES] = {0}, crc[CRC_BYTES];
        rq_err r;

        memcpy(head, magic, sizeof magic);
        rq_put_u32(head + 8, VERSION);
        put_position(position, &state->position);
        put_folder(folder, state);
        rq_put_u32(settings, state->settings.foreign_keys ? SETTING_FOREIGN_KEYS : 0);
        r = rq_buf_append(&bytes, head, sizeof head);
        if (r == RQ_OK)
                r = append_section(&bytes, SECTION_POSITION, position, sizeof position);
        if (r == RQ_OK)
                r = append_section(&bytes, SECTION_FOLDER, folder, sizeof folder);
        if (r == RQ_OK)
                r = append_section(&bytes, SECTION_SETTINGS, settings, sizeof settings);
        if (r < 0)
                return r;
        if (bytes.size + CRC_BYTES > STATE_FILE_BYTES_MAX)
                return RQ_ETOOBIG;
        rq_put_u32(bytes.data + 12, (uint32_t) (bytes.size + CRC_BYTES));
        rq_put_u32(crc, rq_crc32c(0, bytes.data, bytes.size));
        r = rq_buf_append(&bytes, crc, sizeof crc);
        if (r < 0)
                return r;
        *ret_bytes = RQ_TAKE(bytes, (rq_buf) {0});
        return RQ_OK;
}

/* A section may grow at its end: more data than we know is fine. */
static rq_err decode_section(uint32_t tag, uint32_t flags, rq_bytes data, state_file *state, uint32_t *seen) {
        static const size_t size_min[] = {
                [SECTION_POSITION] = POSITION_BYTES, [SECTION_FOLDER] = FOLDER_BYTES, [SECTION_SETTINGS] = SETTINGS_BYTES
        };
        if (tag == 0 || tag >= sizeof size_min / sizeof size_min[0])
                return flags & SECTION_CRITICAL ? RQ_EVERSION : RQ_OK;
        if (data.size < size_min[tag] || (*seen & 1u << tag))
                return RQ_ECORRUPT;
        *seen |= 1u << tag;
        if (tag == SECTION_POSITION) {
                get_position(data.data, &state->position);
        } else if (tag == SECTION_FOLDER) {
                get_folder(data.data, state);
        } else {
                uint32_t settings = rq_get_u32(data.data);
                if ((settings & ~(uint32_t) SETTINGS_KNOWN) != 0)
                        return RQ_EVERSION;
                state->settings.foreign_keys = (settings & SETTING_FOREIGN_KEYS) != 0;
        }
        return RQ_OK;
}

static rq_err decode_sections(rq_bytes bytes, state_file *state, size_t *offset) {
        const uint32_t needed = 1u << SECTION_POSITION | 1u << SECTION_FOLDER | 1u << SECTION_SETTINGS;
        size_t end = bytes.size - CRC_BYTES;
        uint32_t seen = 0;
        while (*offset < end) {
                const uint8_t *head = bytes.data + *offset;
                size_t size, padded;
                rq_err r;
                if (end - *offset < SECTION_BYTES)
                        return RQ_ECORRUPT;
                size = rq_get_u32(head + 8);
                padded = size + (-size & 7u);
                if (padded > end - *offset - SECTION_BYTES)
                        return RQ_ECORRUPT;
                r = decode_section(rq_get_u32(head), rq_get_u32(head + 4), rq_bytes_of(head + SECTION_BYTES, size), state, &seen);
                if (r < 0)
                        return r;
                *offset += SECTION_BYTES + padded;
        }
        return *offset == end && seen == needed ? RQ_OK : RQ_ECORRUPT;
}

rq_err state_file_decode(rq_bytes bytes, state_file *ret_state, size_t *ret_offset) {
        state_file state = {0};
        size_t offset = 0;
        rq_err r = RQ_OK;

        if (bytes.size < HEADER_BYTES + CRC_BYTES || memcmp(bytes.data, magic, sizeof magic) != 0) {
                r = RQ_ECORRUPT;
        } else if (rq_get_u32(bytes.data + 12) != bytes.size ||
                   rq_get_u32(bytes.data + bytes.size - CRC_BYTES) != rq_crc32c(0, bytes.data, bytes.size - CRC_BYTES)) {
                offset = bytes.size - CRC_BYTES;
                r = RQ_ECORRUPT;
        } else if (rq_get_u32(bytes.data + 8) != VERSION) {
                offset = 8;
                r = RQ_EVERSION;
        } else {
                offset = HEADER_BYTES;
                r = decode_sections(bytes, &state, &offset);
        }
        if (r < 0) {
                *ret_offset = offset;
                return r;
        }
        *ret_state = state;
        return RQ_OK;
}

static rq_err read_all(const files_io *io, int folder_fd, rq_buf *ret_bytes) {
        RQ_CLEANUP(rq_closep) int fd = io->open(io->context, folder_fd, STATE_FILE_NAME, O_RDONLY);
        RQ_CLEANUP(rq_buf_done) rq_buf bytes = {0};
        size_t size = 0;
        rq_err r;
        if (fd < 0)
                return rq_err_from_errno(errno);
        do {
                r = rq_buf_reserve(&bytes, 4096);
                if (r < 0)
                        return r;
                r = files_io_read_at(io, fd, bytes.data + bytes.size, 4096, bytes.size, &size);
                if (r < 0)
                        return r;
                bytes.size += size;
        } while (size > 0 && bytes.size <= STATE_FILE_BYTES_MAX);
        *ret_bytes = RQ_TAKE(bytes, (rq_buf) {0});
        return RQ_OK;
}

rq_err state_file_read(const files_io *io, int folder_fd, state_file *ret_state, rq_buf *ret_problem) {
        RQ_CLEANUP(rq_buf_done) rq_buf bytes = {0};
        size_t offset = 0;
        rq_err r = read_all(io, folder_fd, &bytes);
        if (r == RQ_ENOENT)
                return r;
        if (r < 0) {
                (void) rq_buf_printf(ret_problem, "%s: cannot be read: %s", STATE_FILE_NAME, rq_err_text(r));
                return r;
        }
        r = state_file_decode(rq_buf_bytes(&bytes), ret_state, &offset);
        if (r == RQ_EVERSION)
                (void) rq_buf_printf(ret_problem, "%s, offset %zu: written by a newer version of rq; start that version again",
                                     STATE_FILE_NAME, offset);
        else if (r < 0)
                (void) rq_buf_printf(ret_problem,
                                     "%s, offset %zu: damaged; move the store's folder aside and let the node be seeded anew",
                                     STATE_FILE_NAME, offset);
        return r;
}

rq_err state_file_write(const files_io *io, int folder_fd, const state_file *state) {
        RQ_CLEANUP(rq_buf_done) rq_buf bytes = {0};
        rq_err r = state_file_encode(state, &bytes);
        if (r < 0)
                return r;
        return files_io_replace(io, folder_fd, STATE_FILE_NAME, STATE_FILE_NEW_NAME, rq_buf_bytes(&bytes));
}
