#include "io/profile.h"

#include <stdio.h>
#include <string.h>

#include "base/checksum.h"

#if defined(__x86_64__)
#define MACHINE "x86_64"
#elif defined(__aarch64__)
#define MACHINE "aarch64"
#elif defined(__riscv)
#define MACHINE "riscv"
#else
#define MACHINE "other"
#endif

/* Sums are what differs between builds of a C library or with and without fused
 * multiply-add; each function alone, since one may be missing. */
static const char *const probes[] = {
        "sum(x)", "avg(x)", "sum(x * x)", "sum(sqrt(x))", "sum(sin(x))", "sum(cos(x))", "sum(tan(x))", "sum(exp(x / 40))",
        "sum(ln(x))", "sum(log10(x))", "sum(log2(x))", "sum(pow(x, 1.7))", "sum(atan2(x, 3))", "sum(asin(x / 100))", "sum(sinh(x / 40))",
        "group_concat(x * 1e300)", "group_concat(round(x, 1))", "sum(julianday('2026-01-01', x || ' days'))",
};

static uint64_t mix_bytes(uint64_t hash, const void *data, size_t size) {
        return rq_hash_mix(rq_hash_mix(hash, size), rq_crc32c(0, data, size));
}

static uint64_t mix_text(uint64_t hash, const char *text) { return mix_bytes(hash, text, strlen(text)); }

static uint64_t mix_value(uint64_t hash, sqlite3_stmt *stmt) {
        if (sqlite3_column_type(stmt, 0) == SQLITE_FLOAT) {
                const double value = sqlite3_column_double(stmt, 0);
                return mix_bytes(hash, &value, sizeof value);
        }
        const unsigned char *text = sqlite3_column_text(stmt, 0);
        return mix_text(hash, text != NULL ? (const char *) text : "");
}

static uint64_t mix_probe(uint64_t hash, sqlite3 *db, const char *probe) {
        char sql[256];
        sqlite3_stmt *stmt = NULL;
        (void) snprintf(sql, sizeof sql, "WITH RECURSIVE c(x) AS (SELECT 0.1 UNION ALL SELECT x + 0.37 FROM c LIMIT 200) SELECT %s FROM c", probe);
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
                hash = mix_value(hash, stmt);
        else
                hash = rq_hash_mix(hash, (uint64_t) sqlite3_errcode(db)); /* no such function in this build */
        (void) sqlite3_finalize(stmt);
        return hash;
}

static uint32_t extensions_sum(const extensions *e) {
        uint64_t hash = 0;
        const char *name;
        uint32_t crc32c;
        for (size_t i = 0; (name = extensions_at(e, i, &crc32c)) != NULL; i++)
                hash = rq_hash_mix(mix_text(hash, name), crc32c);
        const uint32_t sum = (uint32_t) (hash ^ hash >> 32);
        return hash != 0 && sum == 0 ? 1 : sum;
}

rq_err execution_profile_of(const extensions *e, bool foreign_keys, execution_profile *ret_profile) {
        sqlite3 *db = NULL;
        execution_profile p = { .extensions = extensions_sum(e) };
        const char *option;
        if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY, NULL) != SQLITE_OK) {
                (void) sqlite3_close(db);
                return RQ_ENOMEM;
        }
        (void) snprintf(p.sqlite_version, sizeof p.sqlite_version, "%s", sqlite3_libversion());
        p.digest = mix_text(mix_text(0, sqlite3_sourceid()), MACHINE);
        for (int i = 0; (option = sqlite3_compileoption_get(i)) != NULL; i++)
                if (strncmp(option, "COMPILER=", 9) != 0) /* what the compiler has made of it, the probes tell */
                        p.digest = mix_text(p.digest, option);
        for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
                p.digest = mix_probe(p.digest, db, probes[i]);
        (void) sqlite3_close(db);
        p.digest = rq_hash_mix(rq_hash_mix(p.digest, p.extensions), foreign_keys);
        p.digest += p.digest == 0;
        *ret_profile = p;
        return RQ_OK;
}
