/* Borrowed slice (rq_bytes) and owned growing buffer (rq_buf). Knows nothing
 * of what the bytes mean. */
#ifndef RQ_BASE_BYTES_H
#define RQ_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"

/* Borrowed: valid as long as whoever owns the bytes says. */
typedef struct rq_bytes {
        const uint8_t *data;
        size_t size;
} rq_bytes;

/* Owned; {0} is an empty buffer. data may move when it grows. */
typedef struct rq_buf {
        uint8_t *data;
        size_t size;
        size_t capacity;
} rq_buf;

static inline rq_bytes rq_bytes_of(const void *data, size_t size) {
        return (rq_bytes) { .data = data, .size = size };
}

static inline rq_bytes rq_bytes_text(const char *text) {
        return rq_bytes_of(text, strlen(text));
}

static inline rq_bytes rq_buf_bytes(const rq_buf *buf) {
        return rq_bytes_of(buf->data, buf->size);
}

bool rq_bytes_equal(rq_bytes a, rq_bytes b);

/* Frees; the buffer is empty and usable afterwards. */
void rq_buf_done(rq_buf *buf);

/* Room for more bytes behind size. Errors: RQ_ENOMEM (nothing changed). */
rq_err rq_buf_reserve(rq_buf *buf, size_t more);

/* Errors of all appends: RQ_ENOMEM (nothing changed). */
rq_err rq_buf_append(rq_buf *buf, const void *data, size_t size);
rq_err rq_buf_append_bytes(rq_buf *buf, rq_bytes bytes);
rq_err rq_buf_append_text(rq_buf *buf, const char *text);
rq_err rq_buf_printf(rq_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Forget the first count bytes (moves the rest to the front). */
void rq_buf_consume(rq_buf *buf, size_t count);

/* Little-endian numbers, the byte order of all our formats. */
static inline void rq_put_u16(uint8_t *p, uint16_t v) {
        p[0] = (uint8_t) v;
        p[1] = (uint8_t) (v >> 8);
}

static inline void rq_put_u32(uint8_t *p, uint32_t v) {
        for (int i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (8 * i));
}

static inline void rq_put_u64(uint8_t *p, uint64_t v) {
        for (int i = 0; i < 8; i++)
                p[i] = (uint8_t) (v >> (8 * i));
}

static inline uint16_t rq_get_u16(const uint8_t *p) {
        return (uint16_t) (p[0] | p[1] << 8);
}

static inline uint32_t rq_get_u32(const uint8_t *p) {
        uint32_t v = 0;
        for (int i = 3; i >= 0; i--)
                v = v << 8 | p[i];
        return v;
}

static inline uint64_t rq_get_u64(const uint8_t *p) {
        uint64_t v = 0;
        for (int i = 7; i >= 0; i--)
                v = v << 8 | p[i];
        return v;
}

#endif
