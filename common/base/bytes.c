#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool rq_bytes_equal(rq_bytes a, rq_bytes b) {
        return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

void rq_buf_done(rq_buf *buf) {
        free(buf->data);
        *buf = (rq_buf) {0};
}

rq_err rq_buf_reserve(rq_buf *buf, size_t more) {
        if (more <= buf->capacity - buf->size)
                return RQ_OK;
        if (more > SIZE_MAX / 2 - buf->size)
                return RQ_ENOMEM;

        size_t wanted = buf->size + more;
        size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
        while (capacity < wanted)
                capacity += capacity / 2 + 64;

        uint8_t *data = realloc(buf->data, capacity);
        if (data == NULL)
                return RQ_ENOMEM;
        buf->data = data;
        buf->capacity = capacity;
        return RQ_OK;
}

rq_err rq_buf_append(rq_buf *buf, const void *data, size_t size) {
        rq_err r = rq_buf_reserve(buf, size);
        if (r < 0)
                return r;
        if (size > 0)
                memcpy(buf->data + buf->size, data, size);
        buf->size += size;
        return RQ_OK;
}

rq_err rq_buf_append_bytes(rq_buf *buf, rq_bytes bytes) {
        return rq_buf_append(buf, bytes.data, bytes.size);
}

rq_err rq_buf_append_text(rq_buf *buf, const char *text) {
        return rq_buf_append(buf, text, strlen(text));
}

rq_err rq_buf_printf(rq_buf *buf, const char *format, ...) {
        va_list args;
        va_start(args, format);
        int needed = vsnprintf(NULL, 0, format, args);
        va_end(args);
        if (needed < 0)
                return RQ_EINVAL;

        rq_err r = rq_buf_reserve(buf, (size_t) needed + 1);
        if (r < 0)
                return r;
        va_start(args, format);
        (void) vsnprintf((char *) buf->data + buf->size, (size_t) needed + 1, format, args);
        va_end(args);
        buf->size += (size_t) needed;
        return RQ_OK;
}

void rq_buf_consume(rq_buf *buf, size_t count) {
        if (count >= buf->size) {
                buf->size = 0;
                return;
        }
        memmove(buf->data, buf->data + count, buf->size - count);
        buf->size -= count;
}
