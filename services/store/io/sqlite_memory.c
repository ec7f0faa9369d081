#include "io/sqlite_memory.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

enum { SHARE_BYTES = 1024 * 1024 }; /* taken from what all may have, and given back, in steps of that */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_mem_methods system_memory;
static bool counted;
static _Atomic int64_t together_max = INT64_MAX, one_max = INT64_MAX, together;

/* The thread's. */
static _Thread_local uint64_t failures;
static _Thread_local int64_t taken;
static _Thread_local int64_t limit;   /* of taken; 0: none */
static _Thread_local bool limit_met;
static _Thread_local bool reading;
static _Thread_local int64_t share;   /* of together, that is ours */
static _Thread_local sqlite_memory_end read_met;

static bool is_counting(void) { return limit != 0 || reading; }

/* Makes our share as large as it must be; false: all together have too much. */
static bool share_covers(int64_t bytes) {
        int64_t more = bytes - SQLITE_MEMORY_READ_FREE - share;
        if (more <= 0)
                return true;
        more = (more + SHARE_BYTES - 1) / SHARE_BYTES * SHARE_BYTES;
        if (atomic_fetch_add(&together, more) + more > atomic_load(&together_max)) {
                (void) atomic_fetch_sub(&together, more);
                return false;
        }
        share += more;
        return true;
}

static void share_return(int64_t bytes) {
        (void) atomic_fetch_sub(&together, bytes);
        share -= bytes;
}

static bool may_take(int64_t more) {
        if (limit != 0 && taken + more > limit) {
                limit_met = true;
                return false;
        }
        if (!reading || more <= 0)
                return true;
        if (taken + more > atomic_load_explicit(&one_max, memory_order_relaxed)) {
                read_met = SQLITE_MEMORY_ONE_MET;
                return false;
        }
        if (!share_covers(taken + more)) {
                read_met = SQLITE_MEMORY_TOGETHER_MET;
                return false;
        }
        return true;
}

static void give_back(int64_t bytes) {
        taken -= bytes;
        int64_t spare = share - (taken > SQLITE_MEMORY_READ_FREE ? taken - SQLITE_MEMORY_READ_FREE : 0);
        if (spare > 2 * SHARE_BYTES)
                share_return((spare - SHARE_BYTES) / SHARE_BYTES * SHARE_BYTES);
}

static void *count(void *memory, int64_t before) {
        if (memory == NULL)
                failures++;
        else if (is_counting())
                taken += system_memory.xSize(memory) - before;
        return memory;
}

static void *counted_malloc(int size) {
        if (is_counting() && !may_take(size))
                return NULL;
        return count(system_memory.xMalloc(size), 0);
}

static void *counted_realloc(void *memory, int size) {
        int before = is_counting() ? system_memory.xSize(memory) : 0;
        if (is_counting() && !may_take(size - before))
                return NULL;
        return count(system_memory.xRealloc(memory, size), before);
}

static void counted_free(void *memory) {
        if (is_counting())
                give_back(system_memory.xSize(memory));
        system_memory.xFree(memory);
}

static void prepare(void) {
        sqlite3_mem_methods own;
        if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK)
                return;
        own = system_memory;
        own.xMalloc = counted_malloc;
        own.xRealloc = counted_realloc;
        own.xFree = counted_free;
        counted = sqlite3_config(SQLITE_CONFIG_MALLOC, &own) == SQLITE_OK;
}

bool sqlite_memory_prepare(void) {
        (void) pthread_once(&once, prepare);
        return counted;
}

uint64_t sqlite_memory_failures(void) {
        return failures;
}

void sqlite_memory_limit(uint64_t bytes) {
        if (bytes > 0) {
                if (!reading)
                        taken = 0;
                limit_met = false;
        }
        limit = bytes == 0 ? 0 : taken + (int64_t) bytes;
}

bool sqlite_memory_limit_met(void) { return limit_met; }

void sqlite_memory_reads_max(uint64_t together_bytes, uint64_t one_bytes) {
        atomic_store(&together_max, (int64_t) together_bytes);
        atomic_store(&one_max, (int64_t) one_bytes);
}

uint64_t sqlite_memory_reads_held(void) { return (uint64_t) atomic_load(&together); }

void sqlite_memory_read_begin(void) {
        taken = 0;
        read_met = SQLITE_MEMORY_ENOUGH;
        reading = true;
}

void sqlite_memory_read_end(void) {
        reading = false;
        share_return(share);
}

sqlite_memory_end sqlite_memory_read_met(void) { return read_met; }
void sqlite_memory_read_forgive(void) { read_met = SQLITE_MEMORY_ENOUGH; }

bool sqlite_memory_claim(size_t bytes) {
        if (!reading)
                return true;
        if (bytes > INT64_MAX / 2 || !may_take((int64_t) bytes))
                return false;
        taken += (int64_t) bytes;
        return true;
}

void sqlite_memory_unclaim(size_t bytes) {
        if (reading)
                give_back((int64_t) bytes);
}
