#include "base/table.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/checksum.h"

static size_t home_of(const rq_table *table, uint64_t key) {
        return (size_t) rq_hash_mix(0, key) & (table->capacity - 1);
}

void rq_table_done(rq_table *table) {
        free(table->slots);
        *table = (rq_table) {0};
}

static void insert(rq_table *table, uint64_t key, void *value) {
        size_t i = home_of(table, key);
        while (table->slots[i].value != NULL && table->slots[i].key != key)
                i = (i + 1) & (table->capacity - 1);
        if (table->slots[i].value == NULL)
                table->count++;
        table->slots[i] = (rq_table_slot) { .key = key, .value = value };
}

static rq_err grow(rq_table *table) {
        rq_table bigger = { .capacity = table->capacity == 0 ? 16 : table->capacity * 2 };
        bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
        if (bigger.slots == NULL)
                return RQ_ENOMEM;
        for (size_t i = 0; i < table->capacity; i++)
                if (table->slots[i].value != NULL)
                        insert(&bigger, table->slots[i].key, table->slots[i].value);
        free(table->slots);
        *table = bigger;
        return RQ_OK;
}

rq_err rq_table_put(rq_table *table, uint64_t key, void *value) {
        rq_assert(value != NULL);
        if (table->count * 4 >= table->capacity * 3) {
                rq_err r = grow(table);
                if (r < 0)
                        return r;
        }
        insert(table, key, value);
        return RQ_OK;
}

static size_t find(const rq_table *table, uint64_t key) {
        if (table->capacity == 0)
                return SIZE_MAX;
        for (size_t i = home_of(table, key); table->slots[i].value != NULL; i = (i + 1) & (table->capacity - 1))
                if (table->slots[i].key == key)
                        return i;
        return SIZE_MAX;
}

void *rq_table_get(const rq_table *table, uint64_t key) {
        size_t i = find(table, key);
        return i == SIZE_MAX ? NULL : table->slots[i].value;
}

void *rq_table_remove(rq_table *table, uint64_t key) {
        size_t hole = find(table, key);
        if (hole == SIZE_MAX)
                return NULL;

        void *value = table->slots[hole].value;
        size_t mask = table->capacity - 1;
        for (size_t i = (hole + 1) & mask; table->slots[i].value != NULL; i = (i + 1) & mask) {
                /* Knuth 6.4 algorithm R: an entry moves into the hole unless its
                 * home lies cyclically behind the hole. */
                size_t home = home_of(table, table->slots[i].key);
                if (((i - home) & mask) >= ((i - hole) & mask)) {
                        table->slots[hole] = table->slots[i];
                        hole = i;
                }
        }
        table->slots[hole] = (rq_table_slot) {0};
        table->count--;
        return value;
}

void *rq_table_next(const rq_table *table, size_t *cursor, uint64_t *ret_key) {
        while (*cursor < table->capacity) {
                const rq_table_slot *slot = &table->slots[(*cursor)++];
                if (slot->value != NULL) {
                        if (ret_key != NULL)
                                *ret_key = slot->key;
                        return slot->value;
                }
        }
        return NULL;
}
