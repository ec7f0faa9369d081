#include "load_chunk.h"

enum { FLAG_LAST = 1, FLAG_TEXT = 2 };

void load_chunk_encode(uint8_t out[static LOAD_CHUNK_HEADER_BYTES], const load_chunk *chunk) {
        rq_put_u64(out, chunk->group);
        rq_put_u32(out + 8, chunk->number);
        rq_put_u32(out + 12, (chunk->last ? (uint32_t) FLAG_LAST : 0) | (chunk->text ? (uint32_t) FLAG_TEXT : 0));
        rq_put_u64(out + 16, chunk->hash);
        rq_put_u64(out + 24, chunk->bytes);
        memcpy(out + 32, chunk->incarnation.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 48, chunk->request_id);
        rq_put_u64(out + 56, 0);
}

rq_err load_chunk_decode(rq_bytes body, load_chunk *ret_chunk, rq_bytes *ret_data) {
        if (body.size < LOAD_CHUNK_HEADER_BYTES)
                return RQ_EPROTO;
        const uint8_t *p = body.data;
        uint32_t flags = rq_get_u32(p + 12);
        if ((flags & ~(uint32_t) (FLAG_LAST | FLAG_TEXT)) != 0)
                return RQ_EVERSION;
        *ret_chunk = (load_chunk) {
                .group = rq_get_u64(p), .number = rq_get_u32(p + 8),
                .last = (flags & FLAG_LAST) != 0, .text = (flags & FLAG_TEXT) != 0,
                .hash = rq_get_u64(p + 16), .bytes = rq_get_u64(p + 24), .request_id = rq_get_u64(p + 48),
        };
        memcpy(ret_chunk->incarnation.bytes, p + 32, RQ_UUID_BYTES);
        *ret_data = rq_bytes_of(p + LOAD_CHUNK_HEADER_BYTES, body.size - LOAD_CHUNK_HEADER_BYTES);
        return RQ_OK;
}
