#include "core/params.h"

#include <stdio.h>

#include "config/config.h"
#include "core/percent.h"

typedef enum kind { FLAG, TEXT, DURATION, INTEGER, INDEX } kind;

/* In the order in which complaints are made: rqlite's. `present` is an offset of
 * a bool, or -1. */
static const struct param {
        const char *name;
        kind kind;
        int value, present;
} table[] = {
#define FIELD(name) (int) offsetof(params, name)
        { "timeout", DURATION, FIELD(timeout_ns), FIELD(has_timeout) },
        { "freshness", DURATION, FIELD(freshness_ns), FIELD(has_freshness) },
        { "db_timeout", DURATION, FIELD(db_timeout_ns), -1 },
        { "linearizable_timeout", DURATION, FIELD(linearizable_timeout_ns), FIELD(has_linearizable_timeout) },
        { "retries", INTEGER, FIELD(retries), -1 },
        { "trailing_logs", INTEGER, FIELD(trailing_logs), -1 },
        { "min_index", INDEX, FIELD(min_index), -1 },
        { "q", TEXT, FIELD(q), FIELD(has_q) },
        { "level", TEXT, FIELD(level), -1 },
        { "key", TEXT, FIELD(key), FIELD(has_key) },
        { "ver", TEXT, FIELD(ver), -1 },
        { "fmt", TEXT, FIELD(fmt), -1 },
        { "tables", TEXT, FIELD(tables), -1 },
        { "pretty", FLAG, FIELD(pretty), -1 },
        { "timings", FLAG, FIELD(timings), -1 },
        { "transaction", FLAG, FIELD(transaction), -1 },
        { "associative", FLAG, FIELD(associative), -1 },
        { "blob_array", FLAG, FIELD(blob_array), -1 },
        { "qualify_columns", FLAG, FIELD(qualify_columns), -1 },
        { "raft_index", FLAG, FIELD(raft_index), -1 },
        { "token", FLAG, FIELD(token), -1 },
        { "freshness_strict", FLAG, FIELD(freshness_strict), -1 },
        { "noleader", FLAG, FIELD(noleader), -1 },
        { "queue", FLAG, FIELD(queue), -1 },
        { "wait", FLAG, FIELD(wait), -1 },
        { "redirect", FLAG, FIELD(redirect), -1 },
        { "sync", FLAG, FIELD(sync), -1 },
        { "nonvoters", FLAG, FIELD(nonvoters), -1 },
        { "vacuum", FLAG, FIELD(vacuum), -1 },
        { "compress", FLAG, FIELD(compress), -1 },
#undef FIELD
};

enum { EPOCH_DIGITS = 16, TABLE_COUNT = sizeof table / sizeof table[0] };

static size_t find_param(rq_bytes name) {
        size_t i = 0;
        while (i < TABLE_COUNT && !rq_bytes_equal(name, rq_bytes_text(table[i].name)))
                i++;
        return i;
}

/* 'invalid URL escape "%zz"', the escape quoted as Go quotes a string. */
static void complain_escape(rq_bytes text, size_t at, char problem[static PARAMS_PROBLEM_BYTES]) {
        size_t used = (size_t) snprintf(problem, PARAMS_PROBLEM_BYTES, "invalid URL escape \"");
        for (size_t i = at; i < text.size && i < at + 3; i++) {
                uint8_t c = text.data[i];
                const char *form = c == '"' || c == '\\' ? "\\%c" : c >= ' ' && c < 0x7f ? "%c" : "\\x%02x";
                used += (size_t) snprintf(problem + used, PARAMS_PROBLEM_BYTES - used, form, c);
        }
        (void) snprintf(problem + used, PARAMS_PROBLEM_BYTES - used, "\"");
}

/* One "key=value", "key" or "". false: problem is set. */
static bool split_pair(char *pair, size_t size, rq_bytes values[static TABLE_COUNT], uint32_t *seen,
                       char problem[static PARAMS_PROBLEM_BYTES]) {
        const char *equals = memchr(pair, '=', size);
        size_t key_size = equals != NULL ? (size_t) (equals - pair) : size;
        size_t value_at = equals != NULL ? key_size + 1 : size, value_size = size - value_at, bad;
        char *value = pair + value_at;

        if (size == 0)
                return true;
        rq_bytes raw = rq_bytes_of(pair, key_size);
        if (percent_decode(pair, &key_size, true, &bad)) {
                raw = rq_bytes_of(value, value_size);
                if (percent_decode(value, &value_size, true, &bad)) {
                        size_t i = find_param(rq_bytes_of(pair, key_size));
                        if (i < TABLE_COUNT && (*seen & 1u << i) == 0) {
                                *seen |= 1u << i;
                                values[i] = rq_bytes_of(value, value_size);
                        }
                        return true;
                }
        }
        complain_escape(raw, bad, problem);
        return false;
}

/* Decimal with an optional sign, all of it, within int64. */
static bool read_integer(rq_bytes text, int64_t *ret_value) {
        size_t i = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+');
        bool negative = i == 1 && text.data[0] == '-';
        int64_t value = 0;
        if (i == text.size)
                return false;
        for (; i < text.size; i++) {
                int digit = text.data[i] - '0';
                if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
                    (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value)))
                        return false;
        }
        *ret_value = value;
        return true;
}

/* An index, or a token: sixteen hexadecimal digits and a point before it. */
static bool read_index(rq_bytes text, params *out, int64_t *ret_index) {
        uint64_t epoch = 0;
        if (text.size > EPOCH_DIGITS && text.data[EPOCH_DIGITS] == '.') {
                for (size_t i = 0; i < EPOCH_DIGITS; i++) {
                        const char c = (char) text.data[i];
                        const bool is_digit = c >= '0' && c <= '9';
                        if (!is_digit && (c < 'a' || c > 'f'))
                                return false;
                        epoch = epoch << 4 | (uint64_t) (is_digit ? c - '0' : c - 'a' + 10);
                }
                out->min_epoch = epoch;
                out->has_min_epoch = true;
                text = rq_bytes_of(text.data + EPOCH_DIGITS + 1, text.size - EPOCH_DIGITS - 1);
        }
        return read_integer(text, ret_index) && *ret_index >= 0;
}

static bool read_value(const struct param *p, rq_bytes text, params *out, char problem[static PARAMS_PROBLEM_BYTES]) {
        char *base = (char *) out;
        int64_t number;

        if (p->present >= 0)
                *(bool *) (void *) (base + p->present) = true;
        switch (p->kind) {
        case FLAG:
                *(bool *) (void *) (base + p->value) = true;
                return true;
        case TEXT:
                *(rq_bytes *) (void *) (base + p->value) = text;
                return true;
        case DURATION:
                if (rq_duration_parse(text, (int64_t *) (void *) (base + p->value)) == RQ_OK)
                        return true;
                (void) snprintf(problem, PARAMS_PROBLEM_BYTES, "%s is not a valid duration", p->name);
                return false;
        case INTEGER:
        case INDEX:
                if (p->kind == INTEGER ? read_integer(text, &number) : read_index(text, out, &number)) {
                        *(int64_t *) (void *) (base + p->value) = number;
                        return true;
                }
                (void) snprintf(problem, PARAMS_PROBLEM_BYTES, "%s is not a valid integer", p->name);
                return false;
        }
        return false;
}

rq_err params_parse(char *query, size_t size, params *ret_params, char problem[static PARAMS_PROBLEM_BYTES]) {
        params out = {0};
        rq_bytes values[TABLE_COUNT];
        uint32_t seen = 0;
        bool good = true;

        if (size == 0) {
                *ret_params = out;
                return RQ_OK;
        }
        _Static_assert(TABLE_COUNT <= 32, "seen has a bit for each");
        for (size_t at = 0; at < size;) {
                char *pair = query + at;
                const char *end = memchr(pair, '&', size - at);
                size_t pair_size = end != NULL ? (size_t) (end - pair) : size - at;
                at += pair_size + 1;
                /* A semicolon wins over any bad escape, the first of these over later ones. */
                if (memchr(pair, ';', pair_size) != NULL) {
                        (void) snprintf(problem, PARAMS_PROBLEM_BYTES, "invalid semicolon separator in query");
                        return RQ_EINVAL;
                }
                char ignored[PARAMS_PROBLEM_BYTES];
                good &= split_pair(pair, pair_size, values, &seen, good ? problem : ignored);
        }
        if (!good)
                return RQ_EINVAL;

        const uint32_t strict = 1u << find_param(rq_bytes_text("freshness_strict"));
        const uint32_t freshness = 1u << find_param(rq_bytes_text("freshness"));
        if ((seen & strict) != 0 && (seen & freshness) == 0) {
                (void) snprintf(problem, PARAMS_PROBLEM_BYTES, "freshness_strict requires freshness");
                return RQ_EINVAL;
        }
        for (size_t i = 0; i < TABLE_COUNT; i++)
                if ((seen & 1u << i) != 0 && !read_value(&table[i], values[i], &out, problem))
                        return RQ_EINVAL;
        if (out.has_q && out.q.size == 0) {
                (void) snprintf(problem, PARAMS_PROBLEM_BYTES, "query parameter not set");
                return RQ_EINVAL;
        }
        *ret_params = out;
        return RQ_OK;
}
