#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "config/config.h"

/* Go's time.ParseDuration and Duration.String: clients and configuration files
 * written for rqlite must mean the same here. */

static const struct unit {
        const char *name;
        uint64_t ns;
} units[] = {
        { "ns", 1 },
        { "us", 1000 },
        { "\u00b5s", 1000 }, /* micro sign */
        { "\u03bcs", 1000 }, /* Greek letter mu */
        { "ms", 1000000 },
        { "s", 1000000000 },
        { "m", UINT64_C(60) * 1000000000 },
        { "h", UINT64_C(3600) * 1000000000 },
};

/* The largest magnitude on the way: that of INT64_MIN. */
#define MAGNITUDE_MAX ((uint64_t) 1 << 63)

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static const struct unit *find_unit(rq_bytes name) {
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
                if (rq_bytes_equal(name, rq_bytes_text(units[i].name)))
                        return &units[i];
        return NULL;
}

static bool parse_whole(const uint8_t **p, const uint8_t *end, uint64_t *ret_value) {
        uint64_t value = 0;
        for (; *p < end && is_digit(**p); (*p)++) {
                if (__builtin_mul_overflow(value, (uint64_t) 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t) (**p - '0'), &value) || value > MAGNITUDE_MAX)
                        return false;
        }
        *ret_value = value;
        return true;
}

/* Digits behind the point as value / scale; those that no longer fit are
 * dropped. In double, like Go: its rounding is part of the meaning. */
static void parse_fraction(const uint8_t **p, const uint8_t *end, uint64_t *ret_value, double *ret_scale) {
        uint64_t value = 0;
        double scale = 1;
        bool full = false;
        for (; *p < end && is_digit(**p); (*p)++) {
                full = full || value > (uint64_t) INT64_MAX / 10;
                if (full)
                        continue;
                value = value * 10 + (uint64_t) (**p - '0');
                scale *= 10;
        }
        *ret_value = value;
        *ret_scale = scale;
}

/* One "1.5h". */
static bool parse_term(const uint8_t **p, const uint8_t *end, uint64_t *ret_ns) {
        uint64_t whole = 0, fraction = 0, ns;
        double scale = 1;
        const uint8_t *start = *p;

        if (!parse_whole(p, end, &whole))
                return false;
        size_t digit_count = (size_t) (*p - start);
        if (*p < end && **p == '.') {
                start = ++*p;
                parse_fraction(p, end, &fraction, &scale);
                digit_count += (size_t) (*p - start);
        }
        if (digit_count == 0)
                return false;

        start = *p;
        while (*p < end && **p != '.' && !is_digit(**p))
                (*p)++;
        const struct unit *unit = find_unit(rq_bytes_of(start, (size_t) (*p - start)));
        if (unit == NULL)
                return false;

        if (__builtin_mul_overflow(whole, unit->ns, &ns))
                return false;
        if (fraction > 0 &&
            __builtin_add_overflow(ns, (uint64_t) ((double) fraction * ((double) unit->ns / scale)), &ns))
                return false;
        *ret_ns = ns;
        return ns <= MAGNITUDE_MAX;
}

rq_err rq_duration_parse(rq_bytes text, int64_t *ret_ns) {
        if (text.size == 0)
                return RQ_EINVAL;
        const uint8_t *p = text.data, *end = text.data + text.size;
        bool negative = *p == '-';
        uint64_t total = 0;

        if (*p == '-' || *p == '+')
                p++;
        if (end - p == 1 && *p == '0') { /* the one number that needs no unit */
                *ret_ns = 0;
                return RQ_OK;
        }
        if (p == end)
                return RQ_EINVAL;
        while (p < end) {
                uint64_t ns;
                if (!parse_term(&p, end, &ns) || __builtin_add_overflow(total, ns, &total) || total > MAGNITUDE_MAX)
                        return RQ_EINVAL;
        }
        if (!negative && total > (uint64_t) INT64_MAX)
                return RQ_EINVAL;
        *ret_ns = negative ? (int64_t) (0 - total) : (int64_t) total;
        return RQ_OK;
}

/* value / 10^digits without trailing zeros: "1.5", "2". Returns what snprintf does. */
static int put_decimal(char *buf, size_t size, uint64_t value, int digits) {
        uint64_t scale = 1;
        for (int i = 0; i < digits; i++)
                scale *= 10;
        uint64_t whole = value / scale, fraction = value % scale;
        if (fraction == 0)
                return snprintf(buf, size, "%llu", (unsigned long long) whole);
        while (fraction % 10 == 0) {
                fraction /= 10;
                digits--;
        }
        return snprintf(buf, size, "%llu.%0*llu", (unsigned long long) whole, digits, (unsigned long long) fraction);
}

char *rq_duration_text(int64_t ns, char *buf, size_t size) {
        rq_assert(size >= 32);
        uint64_t left = ns < 0 ? 0 - (uint64_t) ns : (uint64_t) ns;
        size_t used = 0;

        if (left == 0) {
                memcpy(buf, "0s", 3);
                return buf;
        }
        if (ns < 0)
                buf[used++] = '-';
        if (left < 1000000000u) {
                int digits = left < 1000 ? 0 : left < 1000000 ? 3 : 6;
                used += (size_t) put_decimal(buf + used, size - used, left, digits);
                (void) snprintf(buf + used, size - used, "%s", digits == 0 ? "ns" : digits == 3 ? "\u00b5s" : "ms");
                return buf;
        }

        uint64_t minutes = left / (60 * UINT64_C(1000000000));
        left %= 60 * UINT64_C(1000000000);
        if (minutes >= 60)
                used += (size_t) snprintf(buf + used, size - used, "%lluh", (unsigned long long) (minutes / 60));
        if (minutes > 0)
                used += (size_t) snprintf(buf + used, size - used, "%llum", (unsigned long long) (minutes % 60));
        used += (size_t) put_decimal(buf + used, size - used, left, 9);
        (void) snprintf(buf + used, size - used, "s");
        return buf;
}
