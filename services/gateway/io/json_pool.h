/* Memory for the JSON parser's own few small objects of one body, so that a
 * small request allocates nothing. What doesn't fit comes from malloc. */
#ifndef RQ_GATEWAY_JSON_POOL_H
#define RQ_GATEWAY_JSON_POOL_H

#include <stddef.h>
#include <yajl/yajl_common.h>

enum { JSON_POOL_BYTES = 4096, JSON_POOL_ALIGN = 16 };

typedef struct json_pool {
        size_t used;
        _Alignas(JSON_POOL_ALIGN) unsigned char bytes[JSON_POOL_BYTES];
} json_pool;

/* Everything given out before is void. The functions point into pool. */
yajl_alloc_funcs json_pool_begin(json_pool *pool);

#endif
