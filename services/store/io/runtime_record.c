#include "io/runtime_record.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/cleanup.h"
#include "io/files_io.h"

/* 0 magic, 8 version, 12 CRC-32C of bytes 16 to 175, 16 sequence, 24 boot id as
 * text (40), 64 disk id, 80 salts, 88 frames, 92 page size, 96 generation,
 * 104 index, 112 term, 120 clock, 128 hash, 136 feature level, 140 zero,
 * 144 database id, 160 epoch, 168 zero. Behind the slots' records, at 4088 of
 * the page and under no checksum: kept for the index of the entry that is being
 * tried alone (hazard 3), one plain store before it runs; 0 now. */
enum {
        VERSION      = 1,
        SLOTS        = 2,
        SLOT_BYTES   = 2048,
        RECORD_BYTES = 176,
        CRC_OFFSET   = 12,
        BODY_OFFSET  = 16,
};

static const uint8_t magic[8] = "RQRUNTM";

struct runtime_record {
        uint8_t *slots; /* mapped */
        uint64_t sequence;
        atomic_bool dead;
        char boot_id[BOOT_ID_TEXT_BYTES];
};

static rq_err read_boot_id(char *ret_id) {
        RQ_CLEANUP(rq_closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, ret_id, BOOT_ID_TEXT_BYTES - 1) != BOOT_ID_TEXT_BYTES - 1)
                return RQ_EIO;
        ret_id[BOOT_ID_TEXT_BYTES - 1] = '\0';
        return RQ_OK;
}

/* The sequence of a slot that is whole, or 0. */
static uint64_t sequence_of(const uint8_t *slot) {
        if (memcmp(slot, magic, sizeof magic) != 0 || rq_get_u32(slot + 8) != VERSION ||
            rq_get_u32(slot + CRC_OFFSET) != rq_crc32c(0, slot + BODY_OFFSET, RECORD_BYTES - BODY_OFFSET))
                return 0;
        return rq_get_u64(slot + 16);
}

static const uint8_t *newest(const runtime_record *record) {
        const uint8_t *a = record->slots, *b = record->slots + SLOT_BYTES;
        uint64_t of_a = sequence_of(a), of_b = sequence_of(b);
        if (of_a == 0 && of_b == 0)
                return NULL;
        return of_a > of_b ? a : b;
}

runtime_record *runtime_record_free(runtime_record *record) {
        if (record == NULL)
                return NULL;
        if (record->slots != NULL)
                (void) munmap(record->slots, (size_t) SLOTS * SLOT_BYTES);
        free(record);
        return NULL;
}

static void freep(runtime_record **record) {
        *record = runtime_record_free(*record);
}

rq_err runtime_record_open(int run_folder_fd, const char *boot_id, runtime_record **ret_record) {
        RQ_CLEANUP(freep) runtime_record *record = calloc(1, sizeof *record);
        RQ_CLEANUP(rq_closep) int fd = -1;
        const uint8_t *slot;
        void *memory;
        rq_err r;

        if (record == NULL)
                return RQ_ENOMEM;
        if (boot_id != NULL) {
                (void) strncpy(record->boot_id, boot_id, sizeof record->boot_id - 1);
        } else {
                r = read_boot_id(record->boot_id);
                if (r < 0)
                        return r;
        }
        fd = openat(run_folder_fd, RUNTIME_RECORD_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
        if (fd < 0)
                return files_io_error(errno);
        /* Without memory behind it, a store into the mapping would be a SIGBUS. */
        r = files_io_error(posix_fallocate(fd, 0, (off_t) SLOTS * SLOT_BYTES));
        if (r < 0)
                return r;
        memory = mmap(NULL, (size_t) SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (memory == MAP_FAILED)
                return files_io_error(errno);
        record->slots = memory;
        slot = newest(record);
        record->sequence = slot != NULL ? rq_get_u64(slot + 16) : 0;
        *ret_record = RQ_TAKE(record, NULL);
        return RQ_OK;
}

bool runtime_record_get(const runtime_record *record, runtime_state *ret_state) {
        runtime_state state = {0};
        const uint8_t *p = record != NULL ? newest(record) : NULL;
        if (p == NULL || strncmp((const char *) p + 24, record->boot_id, BOOT_ID_TEXT_BYTES) != 0)
                return false;
        memcpy(state.disk_id.bytes, p + 64, RQ_UUID_BYTES);
        memcpy(state.extent.salts, p + 80, WAL_SALTS_BYTES);
        state.extent.frames = rq_get_u32(p + 88);
        state.extent.page_size = rq_get_u32(p + 92);
        state.generation = rq_get_u64(p + 96);
        state.position.index = rq_get_u64(p + 104);
        state.position.term = rq_get_u64(p + 112);
        state.position.clock_us = rq_get_u64(p + 120);
        state.position.outcome_hash = rq_get_u64(p + 128);
        state.position.feature_level = rq_get_u32(p + 136);
        memcpy(state.position.database_id.bytes, p + 144, RQ_UUID_BYTES);
        state.position.epoch = rq_get_u64(p + 160);
        *ret_state = state;
        return true;
}

/* The older slot first: the newer one alone still means what it says, the
 * older one alone would be a step back. */
static void clear(runtime_record *record) {
        const uint8_t *last = newest(record);
        size_t first = last == record->slots ? 1 : 0;
        memset(record->slots + first * SLOT_BYTES, 0, SLOT_BYTES);
        atomic_signal_fence(memory_order_seq_cst);
        memset(record->slots + (1 - first) * SLOT_BYTES, 0, SLOT_BYTES);
        atomic_signal_fence(memory_order_seq_cst);
}

void runtime_record_put(runtime_record *record, const runtime_state *state) {
        uint8_t bytes[RECORD_BYTES] = {0}, *slot;
        if (record == NULL || atomic_load(&record->dead))
                return;
        record->sequence++;
        memcpy(bytes, magic, sizeof magic);
        rq_put_u32(bytes + 8, VERSION);
        rq_put_u64(bytes + 16, record->sequence);
        memcpy(bytes + 24, record->boot_id, BOOT_ID_TEXT_BYTES);
        memcpy(bytes + 64, state->disk_id.bytes, RQ_UUID_BYTES);
        memcpy(bytes + 80, state->extent.salts, WAL_SALTS_BYTES);
        rq_put_u32(bytes + 88, state->extent.frames);
        rq_put_u32(bytes + 92, state->extent.page_size);
        rq_put_u64(bytes + 96, state->generation);
        rq_put_u64(bytes + 104, state->position.index);
        rq_put_u64(bytes + 112, state->position.term);
        rq_put_u64(bytes + 120, state->position.clock_us);
        rq_put_u64(bytes + 128, state->position.outcome_hash);
        rq_put_u32(bytes + 136, state->position.feature_level);
        memcpy(bytes + 144, state->position.database_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(bytes + 160, state->position.epoch);
        rq_put_u32(bytes + CRC_OFFSET, rq_crc32c(0, bytes + BODY_OFFSET, RECORD_BYTES - BODY_OFFSET));

        /* The slot is void from the first store to the last: the checksum goes
         * first and comes last. The order of the instructions is all that counts
         * (a kill comes between two of them), so it is a fence for the compiler. */
        slot = record->slots + record->sequence % SLOTS * SLOT_BYTES;
        memset(slot, 0, BODY_OFFSET);
        atomic_signal_fence(memory_order_seq_cst);
        memcpy(slot + BODY_OFFSET, bytes + BODY_OFFSET, RECORD_BYTES - BODY_OFFSET);
        atomic_signal_fence(memory_order_seq_cst);
        memcpy(slot, bytes, BODY_OFFSET);
        atomic_signal_fence(memory_order_seq_cst);
        if (atomic_load(&record->dead))
                clear(record);
}

void runtime_record_clear(runtime_record *record) {
        if (record != NULL)
                clear(record);
}

void runtime_record_kill(runtime_record *record) {
        if (record == NULL)
                return;
        atomic_store(&record->dead, true);
        clear(record);
}
