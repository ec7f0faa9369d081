/* Authorization headers that were found good lately, by a keyed hash of their bytes: what
 * a request costs that comes again. Holds no password. Emptied whenever the users change. */
#ifndef RQ_GATEWAY_ACCESS_CACHE_H
#define RQ_GATEWAY_ACCESS_CACHE_H

#include <stdbool.h>

#include "base/keyed_hash.h"

enum { ACCESS_CACHE_SETS = 256, ACCESS_CACHE_WAYS = 4 };

typedef struct access_cache {
        struct access_cache_entry { rq_hash128 hash; uint32_t may, used; } entries[ACCESS_CACHE_SETS][ACCESS_CACHE_WAYS];
        uint32_t clock;
} access_cache; /* all zero: empty */

/* may: the permissions that were stored with it. */
bool access_cache_find(access_cache *cache, rq_hash128 hash, uint32_t *ret_may);
void access_cache_put(access_cache *cache, rq_hash128 hash, uint32_t may);
void access_cache_clear(access_cache *cache);

#endif
