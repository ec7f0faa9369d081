#include "io/json_pool.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct head { _Alignas(JSON_POOL_ALIGN) size_t size; } head;

static bool is_inside(const json_pool *pool, const void *p) {
        return (const unsigned char *) p >= pool->bytes && (const unsigned char *) p < pool->bytes + JSON_POOL_BYTES;
}

static void *pool_malloc(void *arg, size_t size) {
        json_pool *pool = arg;
        size_t rounded = (size + JSON_POOL_ALIGN - 1) & ~(size_t) (JSON_POOL_ALIGN - 1);
        size_t left = JSON_POOL_BYTES - pool->used;
        if (rounded < size || left < sizeof(head) || rounded > left - sizeof(head))
                return malloc(size);
        head *h = (head *) (void *) (pool->bytes + pool->used);
        h->size = rounded;
        pool->used += sizeof *h + rounded;
        return h + 1;
}

static void pool_free(void *arg, void *p) {
        if (!is_inside(arg, p))
                free(p);
}

static void *pool_realloc(void *arg, void *p, size_t size) {
        if (p == NULL)
                return pool_malloc(arg, size);
        if (!is_inside(arg, p))
                return realloc(p, size);
        size_t had = ((head *) p - 1)->size;
        if (size <= had)
                return p;
        void *moved = malloc(size); /* what grows, grows again */
        if (moved != NULL)
                memcpy(moved, p, had);
        return moved;
}

yajl_alloc_funcs json_pool_begin(json_pool *pool) {
        pool->used = 0;
        return (yajl_alloc_funcs) { .malloc = pool_malloc, .realloc = pool_realloc, .free = pool_free, .ctx = pool };
}
