#include "io/sqlite_memory.h"

#include <pthread.h>
#include <sqlite3.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_mem_methods system_memory;
static bool counted;
static _Thread_local uint64_t failures;
static _Thread_local int64_t limit, taken; /* limit 0: none */
static _Thread_local bool limit_met;

static bool above_limit(int64_t more) {
        if (limit == 0 || taken + more <= limit)
                return false;
        limit_met = true;
        return true;
}

static void *count(void *memory, int64_t before) {
        if (memory == NULL)
                failures++;
        else if (limit != 0)
                taken += system_memory.xSize(memory) - before;
        return memory;
}

static void *counted_malloc(int size) {
        return above_limit(size) ? NULL : count(system_memory.xMalloc(size), 0);
}

static void *counted_realloc(void *memory, int size) {
        int before = limit == 0 ? 0 : system_memory.xSize(memory);
        return above_limit(size - before) ? NULL : count(system_memory.xRealloc(memory, size), before);
}

static void counted_free(void *memory) {
        if (limit != 0)
                taken -= system_memory.xSize(memory);
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
                taken = 0;
                limit_met = false;
        }
        limit = (int64_t) bytes;
}

bool sqlite_memory_limit_met(void) { return limit_met; }
