#include "core/access_cache.h"

static struct access_cache_entry *set_of(access_cache *cache, rq_hash128 hash) { return cache->entries[hash.low % ACCESS_CACHE_SETS]; }

/* used 0 marks a free place: the clock never shows it. */
static uint32_t tick(access_cache *cache) {
        if (++cache->clock == 0)
                cache->clock = 1;
        return cache->clock;
}

bool access_cache_find(access_cache *cache, rq_hash128 hash, uint32_t *ret_may) {
        struct access_cache_entry *set = set_of(cache, hash);
        for (int i = 0; i < ACCESS_CACHE_WAYS; i++) {
                if (set[i].used == 0 || !rq_hash128_equal(set[i].hash, hash))
                        continue;
                set[i].used = tick(cache);
                *ret_may = set[i].may;
                return true;
        }
        return false;
}

void access_cache_put(access_cache *cache, rq_hash128 hash, uint32_t may) {
        struct access_cache_entry *set = set_of(cache, hash), *place = &set[0];
        for (int i = 0; i < ACCESS_CACHE_WAYS; i++) {
                if (set[i].used != 0 && rq_hash128_equal(set[i].hash, hash)) {
                        place = &set[i];
                        break;
                }
                if (set[i].used < place->used)
                        place = &set[i];
        }
        *place = (struct access_cache_entry) { .hash = hash, .may = may, .used = tick(cache) };
}

void access_cache_clear(access_cache *cache) { *cache = (access_cache) {0}; }
