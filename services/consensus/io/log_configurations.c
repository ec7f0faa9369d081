#include "io/log_configurations.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "record.h"

void log_configurations_done(log_configurations *c) {
        log_configurations_cut(c, 0);
        free(c->v);
        *c = (log_configurations) {0};
}

static void forget(log_configuration *configuration) { free((void *) (uintptr_t) configuration->body.data); }

rq_err log_configurations_add(log_configurations *c, uint64_t index, rq_bytes body) {
        log_configurations_cut(c, index);
        if (c->count == c->capacity) {
                size_t capacity = c->capacity == 0 ? 4 : c->capacity * 2;
                log_configuration *more = reallocarray(c->v, capacity, sizeof *more);
                if (more == NULL)
                        return RQ_ENOMEM;
                c->v = more;
                c->capacity = capacity;
        }
        uint8_t *copy = malloc(body.size + 1);
        if (copy == NULL)
                return RQ_ENOMEM;
        if (body.size > 0)
                memcpy(copy, body.data, body.size);
        c->v[c->count++] = (log_configuration) { .index = index, .body = rq_bytes_of(copy, body.size) };
        return RQ_OK;
}

rq_err log_configurations_add_records(log_configurations *c, rq_bytes records) {
        for (size_t at = 0, size; at < records.size; at += size) {
                const uint8_t *record = records.data + at;
                size = record_peek_bytes(record);
                if (record_peek_kind(record) != RECORD_CONFIGURATION)
                        continue;
                rq_err r = log_configurations_add(c, record_peek_index(record),
                                                  rq_bytes_of(record + RECORD_HEADER_BYTES, size - RECORD_HEADER_BYTES));
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}

rq_err log_configurations_copy(const log_configurations *from, log_configurations *ret_copy) {
        RQ_CLEANUP(log_configurations_done) log_configurations copy = {0};
        for (size_t i = 0; i < from->count; i++) {
                rq_err r = log_configurations_add(&copy, from->v[i].index, from->v[i].body);
                if (r < 0)
                        return r;
        }
        *ret_copy = RQ_TAKE(copy, (log_configurations) {0});
        return RQ_OK;
}

void log_configurations_cut(log_configurations *c, uint64_t index) {
        while (c->count > 0 && c->v[c->count - 1].index >= index)
                forget(&c->v[--c->count]);
}

void log_configurations_compact(log_configurations *c, uint64_t index) {
        size_t gone = 0;
        while (gone + 1 < c->count && c->v[gone + 1].index <= index)
                forget(&c->v[gone++]);
        if (gone > 0)
                memmove(c->v, c->v + gone, (c->count - gone) * sizeof *c->v);
        c->count -= gone;
}

log_configuration log_configurations_at(const log_configurations *c, uint64_t index) {
        for (size_t i = c->count; i > 0; i--)
                if (c->v[i - 1].index <= index)
                        return c->v[i - 1];
        return (log_configuration) {0};
}
