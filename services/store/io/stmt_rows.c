#include "io/stmt_rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/json_text.h"
#include "io/sqlite_memory.h"

enum { LARGE_CELL_BYTES = 16 * 1024 };

static const char *class_name(int type) {
        switch (type) {
        case SQLITE_INTEGER:
                return "integer";
        case SQLITE_FLOAT:
                return "real";
        case SQLITE_TEXT:
                return "text";
        case SQLITE_BLOB:
                return "blob";
        default:
                return "";
        }
}

/* The name as table.column, with the column's alias but the table's own name;
 * what comes from no table stays as it is. */
static const char *qualified_name(sqlite3_stmt *stmt, int i, const char *name, char **ret_owned) {
        const char *table = sqlite3_column_table_name(stmt, i);
        *ret_owned = NULL;
        if (table == NULL)
                return name;
        *ret_owned = sqlite3_mprintf("%s.%s", table, name);
        return *ret_owned;
}

/* has_row: the statement stands on its first row. Called after the first step,
 * since that may prepare the statement anew with other columns. */
static int rows_begin(sqlite3_stmt *stmt, json_writer *w, bool qualify, bool has_row, int count) {
        size_t size = (size_t) count;
        json_column *columns = calloc(size, sizeof *columns);
        const char **types = calloc(size, sizeof *types);
        char **owned = calloc(size, sizeof *owned);
        int r = columns != NULL && types != NULL && owned != NULL ? SQLITE_OK : SQLITE_NOMEM;

        for (int i = 0; r == SQLITE_OK && i < count; i++) {
                columns[i].type = sqlite3_column_decltype(stmt, i);
                columns[i].name = sqlite3_column_name(stmt, i);
                if (has_row)
                        types[i] = class_name(sqlite3_column_type(stmt, i));
                if (columns[i].name != NULL && qualify)
                        columns[i].name = qualified_name(stmt, i, columns[i].name, &owned[i]);
                if (columns[i].name == NULL)
                        r = SQLITE_NOMEM;
        }
        if (r == SQLITE_OK)
                json_rows_begin(w, columns, (uint32_t) count, has_row ? types : NULL);

        for (int i = 0; owned != NULL && i < count; i++)
                sqlite3_free(owned[i]);
        free(owned);
        free(types);
        free(columns);
        return r;
}

/* A row's large cells count to the read that they belong to until they are sent:
 * one value can be in many columns. Twice their JSON: buffers grow in steps. */
static bool claim(rq_bytes value, size_t *claimed) {
        if (value.size < LARGE_CELL_BYTES)
                return true;
        size_t bytes = 2 * json_text_room(value);
        if (!sqlite_memory_claim(bytes))
                return false;
        *claimed += bytes;
        return true;
}

/* false: no memory, to convert the value or for its JSON. */
static bool write_cell(sqlite3_stmt *stmt, json_writer *w, int i, size_t *claimed) {
        switch (sqlite3_column_type(stmt, i)) {
        case SQLITE_INTEGER:
                json_cell_integer(w, sqlite3_column_int64(stmt, i));
                return true;
        case SQLITE_FLOAT:
                json_cell_real(w, sqlite3_column_double(stmt, i));
                return true;
        case SQLITE_TEXT: {
                /* Text before bytes: the size is that of the last conversion. */
                const void *text = sqlite3_column_text(stmt, i);
                if (text == NULL)
                        return false;
                rq_bytes value = rq_bytes_of(text, (size_t) sqlite3_column_bytes(stmt, i));
                if (!claim(value, claimed))
                        return false;
                json_cell_text(w, value);
                return true;
        }
        case SQLITE_BLOB: {
                const void *blob = sqlite3_column_blob(stmt, i);
                int size = sqlite3_column_bytes(stmt, i);
                if (blob == NULL && size > 0)
                        return false;
                rq_bytes value = rq_bytes_of(blob, (size_t) size);
                if (!claim(value, claimed))
                        return false;
                json_cell_blob(w, value);
                return true;
        }
        default:
                json_cell_null(w);
                return true;
        }
}

int stmt_rows_run(sqlite3_stmt *stmt, json_writer *w, bool qualify, stmt_rows_flush flush, void *arg, bool *ret_begun) {
        uint64_t start_ns = rq_clock_mono_ns();
        bool begun = false;
        int count = 0;
        int r;

        /* RETURNING is not qualified. */
        qualify = qualify && sqlite3_stmt_readonly(stmt);
        for (;;) {
                r = sqlite3_step(stmt);
                if (r != SQLITE_ROW && r != SQLITE_DONE)
                        break;
                if (!begun) {
                        count = sqlite3_column_count(stmt);
                        if (count == 0)
                                break;
                        int begin = rows_begin(stmt, w, qualify, r == SQLITE_ROW, count);
                        if (begin != SQLITE_OK) {
                                r = begin;
                                break;
                        }
                        begun = true;
                }
                if (r == SQLITE_DONE) {
                        json_rows_end(w, rq_clock_mono_ns() - start_ns);
                        break;
                }

                json_row(w);
                bool complete = true;
                size_t claimed = 0;
                for (int i = 0; complete && i < count; i++)
                        complete = write_cell(stmt, w, i, &claimed);
                if (!complete || json_failed(w))
                        r = SQLITE_NOMEM;
                else if (flush != NULL && !flush(arg, w))
                        r = SQLITE_ABORT;
                sqlite_memory_unclaim(claimed);
                if (r != SQLITE_ROW)
                        break;
        }
        *ret_begun = begun;
        return r;
}
