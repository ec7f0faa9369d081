/* Protobuf by hand, for what every request sends and receives: tags and
 * varints straight into the buffer that leaves, nothing allocated. Tests hold
 * each against the generated code. */
#ifndef RQ_GATEWAY_WIRE_H
#define RQ_GATEWAY_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5, WIRE_VARINT_BYTES_MAX = 10 };

static inline uint32_t wire_tag(uint32_t field, uint32_t type) { return field << 3 | type; }

/* Of a field below 16: one byte. */
static inline uint8_t wire_small_tag(uint8_t field, uint8_t type) { return (uint8_t) (field << 3 | type); }

static inline size_t wire_varint_bytes(uint64_t v) {
        size_t n = 1;
        for (; v >= 0x80; v >>= 7)
                n++;
        return n;
}

static inline uint8_t *wire_put_varint(uint8_t *p, uint64_t v) {
        for (; v >= 0x80; v >>= 7)
                *p++ = (uint8_t) (v | 0x80);
        *p++ = (uint8_t) v;
        return p;
}

/* A field of proto3 that is left out when it has its default. */
static inline uint8_t *wire_put_number(uint8_t *p, uint32_t field, uint64_t v) {
        return v == 0 ? p : wire_put_varint(wire_put_varint(p, wire_tag(field, WIRE_VARINT)), v);
}

static inline uint8_t *wire_put_bytes(uint8_t *p, uint32_t field, const void *data, size_t size) {
        if (size == 0)
                return p;
        p = wire_put_varint(wire_put_varint(p, wire_tag(field, WIRE_BYTES)), size);
        memcpy(p, data, size);
        return p + size;
}

/* A message that is there, even if it is empty. */
static inline uint8_t *wire_put_message(uint8_t *p, uint32_t field, rq_bytes message) {
        p = wire_put_varint(wire_put_varint(p, wire_tag(field, WIRE_BYTES)), message.size);
        if (message.size > 0)
                memcpy(p, message.data, message.size);
        return p + message.size;
}

/* One field at *at of bytes; advances *at. For WIRE_BYTES *ret_bytes is its
 * content, for numbers *ret_number. false: malformed, or the end. */
static inline bool wire_get_varint(rq_bytes bytes, size_t *at, uint64_t *ret_value) {
        uint64_t v = 0;
        for (unsigned shift = 0; shift < 64 && *at < bytes.size; shift += 7) {
                uint8_t c = bytes.data[(*at)++];
                v |= (uint64_t) (c & 0x7f) << shift;
                if (c < 0x80) {
                        *ret_value = v;
                        return true;
                }
        }
        return false;
}

static inline bool wire_get_field(rq_bytes bytes, size_t *at, uint32_t *ret_field, uint64_t *ret_number, rq_bytes *ret_bytes) {
        uint64_t tag, size;
        if (!wire_get_varint(bytes, at, &tag) || tag > UINT32_MAX)
                return false;
        *ret_field = (uint32_t) (tag >> 3);
        switch (tag & 7) {
        case WIRE_VARINT:
                return wire_get_varint(bytes, at, ret_number);
        case WIRE_FIXED64:
                if (bytes.size - *at < 8)
                        return false;
                *ret_number = rq_get_u64(bytes.data + *at);
                *at += 8;
                return true;
        case WIRE_FIXED32:
                if (bytes.size - *at < 4)
                        return false;
                *ret_number = rq_get_u32(bytes.data + *at);
                *at += 4;
                return true;
        case WIRE_BYTES:
                if (!wire_get_varint(bytes, at, &size) || size > bytes.size - *at)
                        return false;
                *ret_bytes = rq_bytes_of(bytes.data + *at, (size_t) size);
                *at += (size_t) size;
                return true;
        default:
                return false;
        }
}

#endif
