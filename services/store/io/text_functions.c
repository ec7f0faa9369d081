#include "io/text_functions.h"

#include <stdbool.h>
#include <string.h>

enum { BYTES_PER_STEP = 64 };

/* Work inside one function call counts, too: a step for so many bytes. */
static void charge(sqlite3_context *context, uint64_t bytes) {
        uint64_t *steps = sqlite3_user_data(context);
        if (steps != NULL)
                *steps += bytes / BYTES_PER_STEP;
}

static void on_instr(sqlite3_context *context, int count, sqlite3_value **values) {
        int type = sqlite3_value_type(values[0]), wanted_type = sqlite3_value_type(values[1]);
        (void) count;
        if (type == SQLITE_NULL || wanted_type == SQLITE_NULL)
                return;
        bool text = type != SQLITE_BLOB || wanted_type != SQLITE_BLOB;
        const uint8_t *in = text ? sqlite3_value_text(values[0]) : sqlite3_value_blob(values[0]);
        const uint8_t *wanted = text ? sqlite3_value_text(values[1]) : sqlite3_value_blob(values[1]);
        size_t size = (size_t) sqlite3_value_bytes(values[0]), wanted_size = (size_t) sqlite3_value_bytes(values[1]);
        charge(context, size + wanted_size);
        if (wanted_size == 0) {
                sqlite3_result_int(context, 1);
                return;
        }
        if (in == NULL || wanted == NULL || wanted_size > size) {
                sqlite3_result_int(context, 0);
                return;
        }
        const uint8_t *found;
        if (text && (wanted[0] & 0xc0) == 0x80) /* no character begins so: only at the very start */
                found = memcmp(in, wanted, wanted_size) == 0 ? in : NULL;
        else
                found = memmem(in, size, wanted, wanted_size);
        int64_t place = 1;
        for (const uint8_t *p = in + 1; found != NULL && p <= found; p++)
                place += !text || (*p & 0xc0) != 0x80;
        sqlite3_result_int64(context, found == NULL ? 0 : place);
}

static void on_replace(sqlite3_context *context, int count, sqlite3_value **values) {
        (void) count;
        const char *in = (const char *) sqlite3_value_text(values[0]);
        const char *pattern = (const char *) sqlite3_value_text(values[1]);
        if (in == NULL || pattern == NULL)
                return;
        size_t size = (size_t) sqlite3_value_bytes(values[0]), pattern_size = (size_t) sqlite3_value_bytes(values[1]);
        if (pattern[0] == '\0') {
                sqlite3_result_value(context, values[0]);
                return;
        }
        const char *by = (const char *) sqlite3_value_text(values[2]);
        if (by == NULL)
                return;
        size_t by_size = (size_t) sqlite3_value_bytes(values[2]);
        uint64_t total = size, limit = (uint64_t) sqlite3_limit(sqlite3_context_db_handle(context), SQLITE_LIMIT_LENGTH, -1);
        const char *end = in + size, *found;
        for (const char *p = in; (found = memmem(p, (size_t) (end - p), pattern, pattern_size)) != NULL; p = found + pattern_size)
                total = total + by_size - pattern_size;
        charge(context, size + total);
        if (total > limit) {
                sqlite3_result_error_toobig(context);
                return;
        }
        char *out = sqlite3_malloc64(total + 1), *to = out;
        if (out == NULL) {
                sqlite3_result_error_nomem(context);
                return;
        }
        for (const char *p = in;; p = found + pattern_size) {
                found = memmem(p, (size_t) (end - p), pattern, pattern_size);
                size_t kept = (size_t) ((found != NULL ? found : end) - p);
                memcpy(to, p, kept);
                to += kept;
                if (found == NULL)
                        break;
                memcpy(to, by, by_size);
                to += by_size;
        }
        sqlite3_result_text64(context, out, total, sqlite3_free, SQLITE_UTF8);
}

rq_err text_functions_install(sqlite3 *db, uint64_t *steps) {
        const int flags = SQLITE_UTF8 | SQLITE_INNOCUOUS | SQLITE_DETERMINISTIC;
        if (sqlite3_create_function_v2(db, "instr", 2, flags, steps, on_instr, NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_create_function_v2(db, "replace", 3, flags, steps, on_replace, NULL, NULL, NULL) != SQLITE_OK)
                return RQ_ENOMEM;
        return RQ_OK;
}
