#include "core/metrics.h"

#include <stddef.h>
#include <string.h>

typedef struct counter { const char *name; size_t offset; } counter;

#define X(name) { #name, offsetof(metrics, http.name) },
static const counter http_counters[] = { HTTP_COUNTERS(X) };
#undef X
#define X(name) { #name, offsetof(metrics, gateway.name) },
static const counter gateway_counters[] = { GATEWAY_COUNTERS(X) };
#undef X
#define X(name) { #name, offsetof(metrics, queue.name) },
static const counter queue_counters[] = { QUEUE_COUNTERS(X) };
#undef X

/* The place-th name in alphabetical order: the tables are short, and asked for
 * by people. */
static const char *sorted_at(const metrics *m, const counter *table, unsigned count, unsigned place, uint64_t *ret_value) {
        for (unsigned i = 0; i < count; i++) {
                unsigned smaller = 0;
                for (unsigned j = 0; j < count; j++)
                        smaller += strcmp(table[j].name, table[i].name) < 0;
                if (smaller == place) {
                        *ret_value = *(const uint64_t *) (const void *) ((const char *) m + table[i].offset);
                        return table[i].name;
                }
        }
        return NULL;
}

const char *metrics_http_at(const metrics *m, unsigned place, uint64_t *ret_value) {
        return sorted_at(m, http_counters, sizeof http_counters / sizeof http_counters[0], place, ret_value);
}

const char *metrics_gateway_at(const metrics *m, unsigned place, uint64_t *ret_value) {
        return sorted_at(m, gateway_counters, sizeof gateway_counters / sizeof gateway_counters[0], place, ret_value);
}

const char *metrics_queue_at(const metrics *m, unsigned place, uint64_t *ret_value) {
        return sorted_at(m, queue_counters, sizeof queue_counters / sizeof queue_counters[0], place, ret_value);
}
