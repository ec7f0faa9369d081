/* Bump allocator behind protobuf-c: decoding a message allocates a struct per
 * field; from an arena that is a pointer addition, freed all at once. */
#ifndef RQ_PROTO_ARENA_H
#define RQ_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

typedef struct rq_arena rq_arena;

rq_arena *rq_arena_new(void); /* NULL: out of memory */
rq_arena *rq_arena_free(rq_arena *arena);

/* Everything allocated so far is void; keeps one block for the next use. */
void rq_arena_reset(rq_arena *arena);
void *rq_arena_alloc(rq_arena *arena, size_t size); /* NULL: out of memory */

/* For ..__unpack(); what it returns must not be freed but reset. */
ProtobufCAllocator *rq_arena_allocator(rq_arena *arena);

#endif
