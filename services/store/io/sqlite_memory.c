#include "io/sqlite_memory.h"

#include <pthread.h>
#include <sqlite3.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static sqlite3_mem_methods system_memory;
static bool counted;
static _Thread_local uint64_t failures;

static void *count(void *memory) {
        if (memory == NULL)
                failures++;
        return memory;
}

static void *counted_malloc(int size) {
        return count(system_memory.xMalloc(size));
}

static void *counted_realloc(void *memory, int size) {
        return count(system_memory.xRealloc(memory, size));
}

static void prepare(void) {
        sqlite3_mem_methods own;
        if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &system_memory) != SQLITE_OK)
                return;
        own = system_memory;
        own.xMalloc = counted_malloc;
        own.xRealloc = counted_realloc;
        counted = sqlite3_config(SQLITE_CONFIG_MALLOC, &own) == SQLITE_OK;
}

bool sqlite_memory_prepare(void) {
        (void) pthread_once(&once, prepare);
        return counted;
}

uint64_t sqlite_memory_failures(void) {
        return failures;
}
