#include "arena.h"

#include <stdlib.h>

enum { BLOCK_BYTES = 32 * 1024, ALIGN = 16 };

typedef struct block {
        struct block *next;
        size_t size, used;
        _Alignas(ALIGN) unsigned char bytes[];
} block;

struct rq_arena {
        ProtobufCAllocator allocator;
        block *blocks; /* newest first; the last one is kept by reset */
};

static void *allocator_alloc(void *data, size_t size) { return rq_arena_alloc(data, size); }

static void allocator_free(void *data, void *pointer) {
        (void) data;
        (void) pointer;
}

static block *block_new(size_t size) {
        block *b = malloc(sizeof *b + size);
        if (b != NULL)
                *b = (block) { .size = size };
        return b;
}

rq_arena *rq_arena_new(void) {
        rq_arena *arena = calloc(1, sizeof *arena);
        if (arena == NULL)
                return NULL;
        arena->allocator = (ProtobufCAllocator) {
                .alloc = allocator_alloc, .free = allocator_free, .allocator_data = arena,
        };
        arena->blocks = block_new(BLOCK_BYTES);
        return arena->blocks == NULL ? rq_arena_free(arena) : arena;
}

rq_arena *rq_arena_free(rq_arena *arena) {
        if (arena == NULL)
                return NULL;
        for (block *b = arena->blocks, *next; b != NULL; b = next) {
                next = b->next;
                free(b);
        }
        free(arena);
        return NULL;
}

void rq_arena_reset(rq_arena *arena) {
        while (arena->blocks->next != NULL) {
                block *next = arena->blocks->next;
                free(arena->blocks);
                arena->blocks = next;
        }
        arena->blocks->used = 0;
}

void *rq_arena_alloc(rq_arena *arena, size_t size) {
        size_t rounded = (size + ALIGN - 1) & ~(size_t) (ALIGN - 1);
        if (rounded < size)
                return NULL;
        if (arena->blocks->size - arena->blocks->used < rounded) {
                block *b = block_new(rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES);
                if (b == NULL)
                        return NULL;
                b->next = arena->blocks;
                arena->blocks = b;
        }
        void *p = arena->blocks->bytes + arena->blocks->used;
        arena->blocks->used += rounded;
        return p;
}

ProtobufCAllocator *rq_arena_allocator(rq_arena *arena) { return &arena->allocator; }
