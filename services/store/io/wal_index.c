#include "io/wal_index.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum {
        LOCKS        = SQLITE_SHM_NLOCK,
        LOCK_READ    = 3, /* WAL_READ_LOCK(0): readers of the database file alone */
        READ_MARKS   = 5,
        REGION_BYTES = 32 * 1024,

        OFFSET_PAGE_SIZE = 14, /* of the first WalIndexHdr */
        OFFSET_FRAMES    = 16,
        OFFSET_PAGES     = 20,
        OFFSET_SALTS     = 32,
        OFFSET_COPIED    = 96,  /* nBackfill of WalCkptInfo, behind two headers */
        OFFSET_MARKS     = 100, /* its aReadMark */
        OFFSET_TRIED     = 128, /* its nBackfillAttempted */

        INDEX_VERSION = 3007000,
};

_Static_assert(LOCKS == LOCK_READ + READ_MARKS, "locks are write, checkpoint, recover, and one a mark");

struct wal_index {
        pthread_mutex_t mutex;
        void **regions;
        int region_count;
        atomic_uint barriers;
        int held[LOCKS]; /* > 0: that many share it; -1: exclusive */
};

rq_err wal_index_new(wal_index **ret_index) {
        wal_index *w = calloc(1, sizeof *w);
        if (w == NULL)
                return RQ_ENOMEM;
        rq_assert(pthread_mutex_init(&w->mutex, NULL) == 0);
        *ret_index = w;
        return RQ_OK;
}

void wal_index_reset(wal_index *w) {
        for (int i = 0; i < LOCKS; i++)
                rq_assert(w->held[i] == 0);
        for (int i = 0; i < w->region_count; i++)
                free(w->regions[i]);
        free(w->regions);
        w->regions = NULL;
        w->region_count = 0;
}

wal_index *wal_index_free(wal_index *w) {
        if (w == NULL)
                return NULL;
        wal_index_reset(w);
        (void) pthread_mutex_destroy(&w->mutex);
        free(w);
        return NULL;
}

static int grow(wal_index *w, int count) {
        void **regions = realloc(w->regions, (size_t) count * sizeof *regions);
        if (regions == NULL)
                return SQLITE_NOMEM;
        w->regions = regions;
        while (w->region_count < count) {
                void *memory = calloc(1, REGION_BYTES);
                if (memory == NULL)
                        return SQLITE_NOMEM;
                w->regions[w->region_count++] = memory;
        }
        return SQLITE_OK;
}

int wal_index_map(wal_index *w, int region, int region_bytes, int extend, void volatile **ret_memory) {
        int r = SQLITE_OK;
        if (region_bytes != REGION_BYTES || region < 0)
                return SQLITE_IOERR_SHMMAP;
        (void) pthread_mutex_lock(&w->mutex);
        if (region >= w->region_count && extend)
                r = grow(w, region + 1);
        *ret_memory = region < w->region_count ? w->regions[region] : NULL;
        (void) pthread_mutex_unlock(&w->mutex);
        return r;
}

static void unlock(wal_index *w, wal_index_user *user, uint16_t mask) {
        for (int i = 0; i < LOCKS; i++) {
                uint16_t bit = (uint16_t) (1u << i);
                if ((mask & bit) == 0)
                        continue;
                if (user->exclusive & bit)
                        w->held[i] = 0;
                else if (user->shared & bit)
                        w->held[i]--;
        }
        user->shared &= (uint16_t) ~mask;
        user->exclusive &= (uint16_t) ~mask;
}

static int lock_shared(wal_index *w, wal_index_user *user, int slot, uint16_t mask) {
        if (user->shared & mask)
                return SQLITE_OK;
        if (w->held[slot] < 0)
                return SQLITE_BUSY;
        w->held[slot]++;
        user->shared |= mask;
        return SQLITE_OK;
}

static int lock_exclusive(wal_index *w, wal_index_user *user, int first, int count, uint16_t mask) {
        for (int i = first; i < first + count; i++)
                if (w->held[i] != 0 && (user->exclusive & 1u << i) == 0)
                        return SQLITE_BUSY;
        for (int i = first; i < first + count; i++)
                w->held[i] = -1;
        user->exclusive |= mask;
        return SQLITE_OK;
}

int wal_index_lock(wal_index *w, wal_index_user *user, int first, int count, int flags) {
        uint16_t mask = (uint16_t) ((1u << (first + count)) - (1u << first));
        int r = SQLITE_OK;

        rq_assert(first >= 0 && count >= 1 && first + count <= LOCKS);
        (void) pthread_mutex_lock(&w->mutex);
        if (flags & SQLITE_SHM_UNLOCK)
                unlock(w, user, mask);
        else if (flags & SQLITE_SHM_SHARED)
                r = lock_shared(w, user, first, mask);
        else
                r = lock_exclusive(w, user, first, count, mask);
        (void) pthread_mutex_unlock(&w->mutex);
        return r;
}

void wal_index_leave(wal_index *w, wal_index_user *user) {
        (void) pthread_mutex_lock(&w->mutex);
        unlock(w, user, (1u << LOCKS) - 1);
        (void) pthread_mutex_unlock(&w->mutex);
}

void wal_index_barrier(wal_index *w) {
        /* A full barrier, and the mutex as in os_unix.c: it orders what a caller
         * without atomics wrote against every other user of the index. */
        (void) atomic_fetch_add(&w->barriers, 1);
        (void) pthread_mutex_lock(&w->mutex);
        (void) pthread_mutex_unlock(&w->mutex);
}

static uint32_t load(const wal_index *w, size_t offset) {
        return __atomic_load_n((const uint32_t *) ((const char *) w->regions[0] + offset), __ATOMIC_RELAXED);
}

static void store(wal_index *w, size_t offset, uint32_t value) {
        __atomic_store_n((uint32_t *) ((char *) w->regions[0] + offset), value, __ATOMIC_SEQ_CST);
}

wal_position wal_index_position(wal_index *w) {
        wal_position position = {0};
        (void) pthread_mutex_lock(&w->mutex);
        if (w->region_count > 0) {
                const uint8_t *header = w->regions[0];
                uint16_t page_size;
                memcpy(&page_size, header + OFFSET_PAGE_SIZE, sizeof page_size);
                position.page_size = (page_size & 0xfe00u) + ((page_size & 1u) << 16);
                position.frames = load(w, OFFSET_FRAMES);
                position.copied = load(w, OFFSET_COPIED);
                position.pages = load(w, OFFSET_PAGES);
                memcpy(position.salts, header + OFFSET_SALTS, sizeof position.salts);
        }
        (void) pthread_mutex_unlock(&w->mutex);
        return position;
}

uint32_t wal_index_copy_limit(wal_index *w) {
        uint32_t limit = UINT32_MAX;
        (void) pthread_mutex_lock(&w->mutex);
        for (size_t i = 0; i < READ_MARKS && w->region_count > 0; i++) {
                if (w->held[LOCK_READ + i] == 0)
                        continue;
                /* Who reads the file alone forbids any copying into it. */
                uint32_t mark = i == 0 ? 0 : load(w, OFFSET_MARKS + i * sizeof(uint32_t));
                if (mark < limit)
                        limit = mark;
        }
        (void) pthread_mutex_unlock(&w->mutex);
        return limit;
}

bool wal_index_held(wal_index *w) {
        bool held = false;
        (void) pthread_mutex_lock(&w->mutex);
        for (int i = 1; i < READ_MARKS; i++)
                held |= w->held[LOCK_READ + i] != 0;
        (void) pthread_mutex_unlock(&w->mutex);
        return held;
}

void wal_index_set_copied(wal_index *w, uint32_t frames) {
        (void) pthread_mutex_lock(&w->mutex);
        rq_assert(frames <= load(w, OFFSET_FRAMES) && frames >= load(w, OFFSET_COPIED));
        /* In SQLite's order: what was tried is never below what was done. */
        store(w, OFFSET_TRIED, frames);
        store(w, OFFSET_COPIED, frames);
        (void) pthread_mutex_unlock(&w->mutex);
}

bool wal_index_known(wal_index *w) {
        bool known;
        (void) pthread_mutex_lock(&w->mutex);
        known = w->region_count > 0 && load(w, 0) == INDEX_VERSION;
        (void) pthread_mutex_unlock(&w->mutex);
        return known;
}
