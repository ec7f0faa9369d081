#include "io/slow_statement.h"

#include <inttypes.h>

#include "core/sql_shape.h"
#include "log/log.h"
#include "log/log_fields.h"

void slow_statement_ran(uint64_t limit_us, uint64_t took_us, sqlite3_stmt *stmt, uint64_t index) {
        if (limit_us == 0 || took_us < limit_us)
                return;
        const char *sql = sqlite3_sql(stmt);
        char shape[SQL_SHAPE_BYTES_MAX], statement[SQL_SHAPE_BYTES_MAX + 16], duration[48], at[48];
        sql_shape(rq_bytes_text(sql != NULL ? sql : ""), shape);
        const char *fields[] = {
                RQ_MSG_SLOW_STATEMENT, rq_log_field_u64(duration, sizeof duration, RQ_FIELD_DURATION, took_us / 1000),
                rq_log_field_text(statement, sizeof statement, RQ_FIELD_STATEMENT, shape),
                index != 0 ? rq_log_field_u64(at, sizeof at, RQ_FIELD_INDEX, index) : NULL, NULL,
        };
        if (index != 0)
                rq_log_write(LOG_WARNING, fields, "A write took %" PRIu64 " ms", took_us / 1000);
        else
                rq_log_write(LOG_WARNING, fields, "A read took %" PRIu64 " ms", took_us / 1000);
}
