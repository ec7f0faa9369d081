#include "io/db_dump.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "core/real_digits.h"
#include "io/connection.h"

enum {
        FLUSH_BYTES      = 60 * 1024, /* then a piece is sent */
        NUMBER_BYTES_MAX = 64,
        COLUMNS_MAX      = 2000,
        NAME_BYTES_MAX   = 1024,
};

typedef struct dump {
        sqlite3 *db;
        const db_dump_ask *ask;
        rq_buf text;
        rq_err error;
} dump;

static void finalize(sqlite3_stmt **stmt) { (void) sqlite3_finalize(*stmt); }
static void free_sql(char **sql) { sqlite3_free(*sql); }

/* --- text ---------------------------------------------------------------------- */

static void fail(dump *d, rq_err r) {
        if (d->error >= 0)
                d->error = r;
}

static void fail_sql(dump *d, int code) {
        fail(d, (code & 0xff) == SQLITE_INTERRUPT ? RQ_ECANCELED : connection_error(code));
}

static void flush(dump *d, size_t above) {
        if (d->error < 0 || d->text.size <= above)
                return;
        if (!d->ask->send(d->ask->arg, rq_buf_bytes(&d->text)))
                fail(d, RQ_ECANCELED);
        d->text.size = 0;
}

static bool has_room(dump *d, size_t size) {
        if (d->error >= 0 && size > d->text.capacity - d->text.size && rq_buf_reserve(&d->text, size) < 0)
                fail(d, RQ_ENOMEM);
        return d->error >= 0;
}

static inline void put(dump *d, const void *data, size_t size) {
        if (!has_room(d, size))
                return;
        memcpy(d->text.data + d->text.size, data, size);
        d->text.size += size;
}

static void put_text(dump *d, const char *text) { put(d, text, strlen(text)); }

/* With each quote in it doubled. */
static void put_quoted(dump *d, const char *data, size_t size, char quote) {
        put(d, &quote, 1);
        while (size > 0) {
                const char *at = memchr(data, quote, size);
                size_t n = at != NULL ? (size_t) (at - data) + 1 : size;
                put(d, data, n);
                if (at != NULL)
                        put(d, &quote, 1);
                data += n;
                size -= n;
        }
        put(d, &quote, 1);
}

static void put_hex(dump *d, const uint8_t *data, size_t size) {
        static const char digits[] = "0123456789ABCDEF";
        put_text(d, "X'");
        if (!has_room(d, 2 * size))
                return;
        uint8_t *to = d->text.data + d->text.size;
        for (size_t i = 0; i < size; i++) {
                *to++ = (uint8_t) digits[data[i] >> 4];
                *to++ = (uint8_t) digits[data[i] & 15];
        }
        d->text.size += 2 * size;
        put_text(d, "'");
}

static void put_integer(dump *d, int64_t v) {
        char digits[NUMBER_BYTES_MAX], *p = digits + sizeof digits;
        uint64_t rest = v < 0 ? 0 - (uint64_t) v : (uint64_t) v;
        do
                *--p = (char) ('0' + rest % 10);
        while ((rest /= 10) > 0);
        if (v < 0)
                *--p = '-';
        put(d, p, (size_t) (digits + sizeof digits - p));
}

/* As quote() does it, but that what is infinite can be read again. */
static void put_real(dump *d, double v) {
        char number[NUMBER_BYTES_MAX];
        if (isinf(v)) {
                put_text(d, v > 0 ? "1e999" : "-1e999");
                return;
        }
        if (v == 0 && signbit(v)) {
                put_text(d, "-0.0");
                return;
        }
        double size = fabs(v);
        if (real_digits_possible(size)) {
                real_digits digits;
                if (!real_digits_round(size, 15, &digits))
                        (void) real_digits_round(size, 17, &digits);
                number[0] = '-';
                const uint8_t *end = real_digits_put((uint8_t *) number + 1, &digits, true);
                const char *begin = v < 0 ? number : number + 1;
                put(d, begin, (size_t) ((const char *) end - begin));
                return;
        }
        (void) sqlite3_snprintf(sizeof number, number, "%!.15g", v);
        if (strtod(number, NULL) != v) { /* SQLite's own digits aren't exact, these are */
                (void) snprintf(number, sizeof number, "%.17g", v);
                if (strpbrk(number, ".e") == NULL)
                        (void) strcat(number, ".0");
        }
        put_text(d, number);
}

/* A NUL would end the text for whoever reads it. */
static void put_string(dump *d, const char *text, size_t size) {
        if (size > 0 && memchr(text, 0, size) != NULL) {
                put_text(d, "CAST(");
                put_hex(d, (const uint8_t *) text, size);
                put_text(d, " AS TEXT)");
        } else {
                put_quoted(d, text, size, '\'');
        }
}

static void put_value(dump *d, sqlite3_stmt *row, int i) {
        switch (sqlite3_column_type(row, i)) {
        case SQLITE_INTEGER:
                put_integer(d, sqlite3_column_int64(row, i));
                return;
        case SQLITE_FLOAT:
                put_real(d, sqlite3_column_double(row, i));
                return;
        case SQLITE_TEXT: {
                const char *text = (const char *) sqlite3_column_text(row, i);
                if (text == NULL)
                        fail(d, RQ_ENOMEM);
                else
                        put_string(d, text, (size_t) sqlite3_column_bytes(row, i));
                return;
        }
        case SQLITE_BLOB:
                put_hex(d, sqlite3_column_blob(row, i), (size_t) sqlite3_column_bytes(row, i));
                return;
        default:
                put_text(d, "NULL");
        }
}

/* --- rows ---------------------------------------------------------------------- */

static sqlite3_stmt *prepare(dump *d, const char *sql) {
        sqlite3_stmt *stmt = NULL;
        int code = d->error < 0 ? SQLITE_OK : sqlite3_prepare_v2(d->db, sql, -1, &stmt, NULL);
        if (code != SQLITE_OK)
                fail_sql(d, code);
        return stmt;
}

static bool next_row(dump *d, sqlite3_stmt *stmt) {
        if (d->error < 0 || stmt == NULL)
                return false;
        int code = sqlite3_step(stmt);
        if (code != SQLITE_ROW && code != SQLITE_DONE)
                fail_sql(d, code);
        return code == SQLITE_ROW;
}

/* SELECT of the columns that an INSERT without a list of columns fills: generated
 * ones are left out. The order is the table's own. */
static char *select_of(dump *d, const char *table) {
        RQ_CLEANUP(free_sql) char *columns_sql = sqlite3_mprintf("SELECT name FROM pragma_table_info(%Q)", table);
        RQ_CLEANUP(finalize) sqlite3_stmt *columns = columns_sql != NULL ? prepare(d, columns_sql) : NULL;
        sqlite3_str *sql = sqlite3_str_new(d->db);
        int count = 0;
        while (next_row(d, columns) && count < COLUMNS_MAX)
                sqlite3_str_appendf(sql, "%s\"%w\"", count++ == 0 ? "SELECT " : ",", (const char *) sqlite3_column_text(columns, 0));
        sqlite3_str_appendf(sql, " FROM \"%w\"", table);
        if (columns_sql == NULL || sqlite3_str_errcode(sql) != SQLITE_OK)
                fail(d, RQ_ENOMEM);
        char *text = sqlite3_str_finish(sql);
        if (count > 0)
                return text;
        sqlite3_free(text);
        return NULL;
}

static void put_rows(dump *d, const char *table) {
        RQ_CLEANUP(free_sql) char *sql = select_of(d, table);
        RQ_CLEANUP(finalize) sqlite3_stmt *rows = sql != NULL ? prepare(d, sql) : NULL;
        int count = rows != NULL ? sqlite3_column_count(rows) : 0;

        RQ_CLEANUP(free_sql) char *head = sqlite3_mprintf("INSERT INTO \"%w\" VALUES(", table);
        size_t head_size = head != NULL ? strlen(head) : 0;
        if (head == NULL)
                fail(d, RQ_ENOMEM);
        while (next_row(d, rows)) {
                put(d, head, head_size);
                for (int i = 0; i < count; i++) {
                        if (i > 0)
                                put(d, ",", 1);
                        put_value(d, rows, i);
                }
                put(d, ");\n", 3);
                flush(d, FLUSH_BYTES);
        }
}

/* --- schema -------------------------------------------------------------------- */

static bool is_asked_for(const dump *d, const char *table) {
        const db_dump_ask *ask = d->ask;
        for (size_t i = 0; i < ask->table_count; i++)
                if (ask->tables[i].size == strlen(table) && strncasecmp(table, (const char *) ask->tables[i].data, ask->tables[i].size) == 0)
                        return true;
        return ask->table_count == 0;
}

/* A virtual table called x keeps what it holds in tables called x_… */
static bool owner_is_asked_for(const dump *d, const char *shadow) {
        char owner[NAME_BYTES_MAX];
        const char *end = strrchr(shadow, '_');
        size_t size = end != NULL ? (size_t) (end - shadow) : 0;
        if (size == 0 || size >= sizeof owner)
                return d->ask->table_count == 0;
        memcpy(owner, shadow, size);
        owner[size] = '\0';
        return is_asked_for(d, owner);
}

static bool is_sqlites(const char *name) { return strncasecmp(name, "sqlite_", 7) == 0; }

/* Virtual tables keep what they hold in tables of their own, which CREATE
 * VIRTUAL TABLE makes with something in them. */
static bool is_shadow(dump *d, const char *table) {
        RQ_CLEANUP(finalize) sqlite3_stmt *stmt = prepare(d, "SELECT 1 FROM pragma_table_list(?1) WHERE schema = 'main' AND type = 'shadow'");
        if (stmt != NULL)
                (void) sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
        return next_row(d, stmt);
}

static bool is_virtual(const char *sql) { return strncasecmp(sql, "CREATE VIRTUAL TABLE", 20) == 0; }

static void put_table(dump *d, const char *name, const char *sql, bool shadow) {
        if (shadow) {
                put_text(d, "DELETE FROM ");
                put_quoted(d, name, strlen(name), '"');
        } else {
                put_text(d, sql);
        }
        put_text(d, ";\n");
        if (!is_virtual(sql))
                put_rows(d, name);
}

/* shadows: those, else all others. */
static void put_tables(dump *d, bool shadows) {
        RQ_CLEANUP(finalize) sqlite3_stmt *tables =
                prepare(d, "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql NOT NULL ORDER BY name");
        while (next_row(d, tables)) {
                const char *name = (const char *) sqlite3_column_text(tables, 0);
                const char *sql = (const char *) sqlite3_column_text(tables, 1);
                if (name == NULL || sql == NULL)
                        fail(d, RQ_ENOMEM);
                else if (!is_sqlites(name) && is_shadow(d, name) == shadows &&
                         (is_asked_for(d, name) || (shadows && owner_is_asked_for(d, name))))
                        put_table(d, name, sql, shadows);
        }
}

/* Behind all tables: sqlite_sequence is there once a table with AUTOINCREMENT is. */
static void put_sqlites_own(dump *d) {
        static const struct { const char *name, *before; } own[] = {
                { "sqlite_sequence", "DELETE FROM \"sqlite_sequence\";\n" },
                { "sqlite_stat1", "ANALYZE \"sqlite_master\";\n" },
                { "sqlite_stat4", "" },
        };
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
                RQ_CLEANUP(finalize) sqlite3_stmt *there = prepare(d, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1");
                if (there != NULL)
                        (void) sqlite3_bind_text(there, 1, own[i].name, -1, SQLITE_STATIC);
                if (!is_asked_for(d, own[i].name) || !next_row(d, there))
                        continue;
                put_text(d, own[i].before);
                put_rows(d, own[i].name);
        }
}

static void put_others(dump *d) {
        RQ_CLEANUP(finalize) sqlite3_stmt *others =
                prepare(d, "SELECT sql, tbl_name, type FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view') AND sql NOT NULL");
        while (next_row(d, others)) {
                const char *sql = (const char *) sqlite3_column_text(others, 0);
                const char *table = (const char *) sqlite3_column_text(others, 1), *type = (const char *) sqlite3_column_text(others, 2);
                if (sql == NULL || table == NULL || type == NULL) {
                        fail(d, RQ_ENOMEM);
                } else if (strcmp(type, "view") == 0 || is_asked_for(d, table)) {
                        put_text(d, sql);
                        put_text(d, ";\n");
                        flush(d, FLUSH_BYTES);
                }
        }
}

rq_err db_dump(sqlite3 *db, const db_dump_ask *ask) {
        dump d = { .db = db, .ask = ask };
        put_text(&d, "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n");
        put_tables(&d, false);
        put_tables(&d, true);
        put_sqlites_own(&d);
        put_others(&d);
        put_text(&d, "COMMIT;\n");
        flush(&d, 0);
        rq_buf_done(&d.text);
        return d.error;
}
