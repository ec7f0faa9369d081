#include "io/statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/list.h"
#include "base/table.h"
#include "core/allowed.h"
#include "core/sql_text.h"
#include "io/extensions.h"
#include "io/sqlite_memory.h"

enum {
        CACHED_COUNT_MAX     = 256,
        CACHED_TEXT_MAX      = 16 * 1024,       /* longer text is prepared each time */
        CACHED_BYTES_MAX     = 4 * 1024 * 1024, /* of text and programs */
        CACHED_PROGRAM_MAX   = 512 * 1024,      /* likewise larger programs */
        PROBLEM_BYTES        = 1024,
        PIECE_BYTES          = 16 * 1024,
        /* Views of views grow exponentially when a statement is prepared. */
        PREPARE_BYTES_MAX    = 32 * 1024 * 1024,
        PREPARE_BYTES_FACTOR = 64,              /* and for each byte of its text */
        QUICK_US             = 200,
        WANTED_MAX           = 256,
};

static const char temp_refused[] = "temporary tables, views, triggers and indexes are not replicated: use ordinary ones";
static const char change_refused[] = "attempt to change database via query operation";

/* What the authorizer saw while one statement was prepared. */
typedef struct seen {
        bool ddl, inserts, changes, uses_changes, writes_statistics, analyzes;
        bool lengthy; /* calls a function that isn't brief */
        bool asks_journal_mode; /* and sets none */
        control_kind control;
        char savepoint[SAVEPOINT_NAME_MAX + 1];
} seen;

typedef struct cached {
        rq_list by_use;   /* newest at the end */
        uint64_t key;
        size_t consumed;  /* bytes of sql that the statement is */
        sqlite3_stmt *stmt;
        seen seen;
        bool busy, listed;
        uint32_t quick_runs, wanted_runs; /* in a row; so many make it trusted */
        uint64_t ran_index;               /* the schema's that it ran with last */
        size_t memory, sql_size;
        char sql[];
} cached;

struct statements {
        sqlite3 *db;
        statements_rules rules;
        bool foreign_keys, own_tables;
        const extensions *extensions;
        rq_table by_text;
        rq_list by_use;
        size_t bytes;
        /* while preparing */
        bool preparing, refused;
        seen seen;
        char problem[PROBLEM_BYTES];
        cached *loose;    /* prepared and not cached: finalized at release */
        bool trusted_only;
        uint64_t schema_index;
        cached *last_trusted; /* since trusted_begin; NULL: the last one asked for wasn't */
};

/* --- authorizer --------------------------------------------------------------- */

__attribute__((format(printf, 2, 3)))
static int refuse(statements *s, const char *format, ...) {
        if (!s->refused) {
                va_list args;
                va_start(args, format);
                (void) vsnprintf(s->problem, sizeof s->problem, format, args);
                va_end(args);
        }
        s->refused = true;
        return SQLITE_DENY;
}

static bool is_schema_table(const char *table) {
        return strncasecmp(table, "sqlite_", 7) == 0 && strcasecmp(table, "sqlite_sequence") != 0;
}

static int on_change(statements *s, bool insert, const char *table, const char *trigger) {
        if (strncasecmp(table, "sqlite_stat", 11) == 0)
                s->seen.writes_statistics = true;
        if (trigger == NULL && !is_schema_table(table)) {
                s->seen.changes = true;
                s->seen.inserts |= insert;
        }
        return SQLITE_OK;
}

static int on_pragma(statements *s, const char *name, const char *value) {
        allowed_pragma how = allowed_pragma_of(name);
        if (s->rules == STATEMENTS_READER) {
                /* A reader's connection serves everybody: nothing may stick to it.
                 * Reading any value is harmless. */
                if (value == NULL || how == PRAGMA_READ_ARG) {
                        s->seen.asks_journal_mode = s->preparing && strcasecmp(name, "journal_mode") == 0;
                        return SQLITE_OK;
                }
                return refuse(s, "%s", change_refused);
        }
        switch (how) {
        case PRAGMA_WRITE:
        case PRAGMA_READ_ARG:
                return SQLITE_OK;
        case PRAGMA_READ:
                if (value == NULL)
                        return SQLITE_OK;
                return refuse(s, "PRAGMA %s can't be set", name);
        case PRAGMA_FOREIGN_KEYS:
                if (value == NULL)
                        return SQLITE_OK;
                bool on = strcasecmp(value, "on") == 0 || strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 ||
                          strcmp(value, "1") == 0;
                if (on == s->foreign_keys)
                        return SQLITE_OK;
                return refuse(s, "PRAGMA foreign_keys is fixed when a cluster is founded, and this one was %s -fk: found another one %s it and load the data there (/db/backup, /db/load)",
                              on ? "without" : "with", on ? "with" : "without");
        case PRAGMA_REFUSED:
                break;
        }
        if (strcasecmp(name, "defer_foreign_keys") == 0)
                return refuse(s, "PRAGMA defer_foreign_keys is not available: declare the constraint DEFERRABLE INITIALLY DEFERRED");
        if (strcasecmp(name, "writable_schema") == 0) /* what stands in sqlite3's dumps before virtual tables */
                return refuse(s, "PRAGMA writable_schema is not available in a write: instead of a dump with virtual tables (FTS, R-Tree) load the database file itself");
        return refuse(s, "PRAGMA %s is not available in a write: it is not replicated", name);
}

static int on_function(statements *s, const char *name) {
        if (s->rules == STATEMENTS_READER) {
                s->seen.lengthy |= !allowed_brief_function(name);
                if (strcasecmp(name, "load_extension") == 0 || strcasecmp(name, "fts3_tokenizer") == 0)
                        return refuse(s, "function %s is not available", name);
                return SQLITE_OK;
        }
        s->seen.uses_changes |= strcasecmp(name, "changes") == 0;
        if (allowed_function(name) || extensions_has(s->extensions, name))
                return SQLITE_OK;
        if (allowed_is_newer_function(name))
                return refuse(s, "function %s is not available in a write: SQLite 3.40, which a node may have, doesn't know it", name);
        return refuse(s, "function %s is not available in a write: its result may differ between nodes", name);
}

static int on_read(statements *s, const char *table) {
        if (s->rules == STATEMENTS_WRITER && strncasecmp(table, "pragma_", 7) == 0) {
                allowed_pragma how = allowed_pragma_of(table + 7);
                if (how != PRAGMA_READ_ARG && how != PRAGMA_WRITE)
                        return refuse(s, "%s is not available in a write: its content may differ between nodes", table);
        }
        return SQLITE_OK;
}

/* Never run as it is: the connection has savepoints of ours. */
static int on_savepoint(statements *s, const char *word, const char *name) {
        if (strlen(name) > SAVEPOINT_NAME_MAX)
                return refuse(s, "the name of a savepoint is longer than %d bytes", SAVEPOINT_NAME_MAX);
        s->seen.control = strcmp(word, "BEGIN") == 0 ? CONTROL_SAVEPOINT :
                          strcmp(word, "RELEASE") == 0 ? CONTROL_RELEASE : CONTROL_ROLLBACK_TO;
        (void) strcpy(s->seen.savepoint, name);
        return SQLITE_OK;
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *schema, const char *trigger) {
        statements *s = arg;
        /* Our own transaction control, prepared anew after a change of schema,
         * and what virtual tables run for themselves. */
        if (!s->preparing)
                return SQLITE_OK;
        switch (action) {
        case SQLITE_TRANSACTION:
                s->seen.control = strcmp(a, "BEGIN") == 0 ? CONTROL_BEGIN : strcmp(a, "COMMIT") == 0 ? CONTROL_COMMIT : CONTROL_ROLLBACK;
                return SQLITE_OK;
        case SQLITE_SAVEPOINT:
                return on_savepoint(s, a, b);
        case SQLITE_ATTACH:
                return refuse(s, "ATTACH is not available: a node has one database");
        case SQLITE_DETACH:
                return refuse(s, "DETACH is not available: a node has one database");
        case SQLITE_CREATE_TEMP_INDEX:
        case SQLITE_CREATE_TEMP_TABLE:
        case SQLITE_CREATE_TEMP_TRIGGER:
        case SQLITE_CREATE_TEMP_VIEW:
        case SQLITE_DROP_TEMP_INDEX:
        case SQLITE_DROP_TEMP_TABLE:
        case SQLITE_DROP_TEMP_TRIGGER:
        case SQLITE_DROP_TEMP_VIEW:
                return refuse(s, "%s", temp_refused);
        case SQLITE_CREATE_VTABLE:
                if (schema != NULL && strcasecmp(schema, "temp") == 0)
                        return refuse(s, "%s", temp_refused);
                if (s->rules == STATEMENTS_WRITER && !allowed_module(b))
                        return refuse(s, "virtual table module %s is not available", b);
                s->seen.ddl = true;
                return SQLITE_OK;
        case SQLITE_ANALYZE:
                s->seen.analyzes = true;
                s->seen.ddl = true;
                return SQLITE_OK;
        case SQLITE_ALTER_TABLE:
                s->seen.ddl = true;
                return SQLITE_OK;
        case SQLITE_CREATE_INDEX:
        case SQLITE_CREATE_TABLE:
        case SQLITE_CREATE_TRIGGER:
        case SQLITE_CREATE_VIEW:
        case SQLITE_DROP_INDEX:
        case SQLITE_DROP_TABLE:
        case SQLITE_DROP_TRIGGER:
        case SQLITE_DROP_VIEW:
        case SQLITE_DROP_VTABLE:
        case SQLITE_REINDEX:
                if (schema != NULL && strcasecmp(schema, "temp") == 0)
                        return refuse(s, "%s", temp_refused);
                s->seen.ddl = true;
                return SQLITE_OK;
        case SQLITE_INSERT:
        case SQLITE_UPDATE:
        case SQLITE_DELETE:
                return on_change(s, action == SQLITE_INSERT, a, trigger);
        case SQLITE_PRAGMA:
                return on_pragma(s, a, b);
        case SQLITE_FUNCTION:
                return on_function(s, b);
        case SQLITE_READ:
                return on_read(s, a);
        case SQLITE_SELECT:
        case SQLITE_RECURSIVE:
                return SQLITE_OK;
        default:
                return refuse(s, "not available");
        }
}

/* --- cache ---------------------------------------------------------------------- */

rq_err statements_new(sqlite3 *db, statements_rules rules, statements **ret) {
        statements *s = calloc(1, sizeof *s);
        if (s == NULL)
                return RQ_ENOMEM;
        *s = (statements) { .db = db, .rules = rules };
        rq_list_init(&s->by_use);
        int on = 0;
        (void) sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, -1, &on);
        s->foreign_keys = on != 0;
        /* A virtual table that isn't listed doesn't even exist. */
        if (sqlite3_drop_modules(db, allowed_modules(rules == STATEMENTS_READER)) != SQLITE_OK) {
                free(s);
                return RQ_ENOMEM;
        }
        (void) sqlite3_set_authorizer(db, authorize, s);
        *ret = s;
        return RQ_OK;
}

void statements_use(statements *s, const extensions *e) { s->extensions = e; }

static void forget(statements *s, cached *c) {
        if (c->listed) {
                (void) rq_table_remove(&s->by_text, c->key);
                rq_list_remove(&c->by_use);
                s->bytes -= c->memory;
        }
        (void) sqlite3_finalize(c->stmt);
        free(c);
}

void statements_forget(statements *s) {
        for (rq_list *at = s->by_use.next; at != &s->by_use;) {
                cached *c = RQ_LIST_ENTRY(at, cached, by_use);
                at = at->next;
                if (!c->busy)
                        forget(s, c);
        }
}

statements *statements_free(statements *s) {
        if (s == NULL)
                return NULL;
        while (!rq_list_empty(&s->by_use))
                forget(s, RQ_LIST_ENTRY(s->by_use.next, cached, by_use));
        if (s->loose != NULL)
                forget(s, s->loose);
        rq_table_done(&s->by_text);
        (void) sqlite3_set_authorizer(s->db, NULL, NULL);
        free(s);
        return NULL;
}

void statements_allow_own_tables(statements *s, bool allowed) {
        statements_forget(s); /* what was prepared by other rules */
        s->own_tables = allowed;
}

static uint64_t key_of(rq_bytes sql) {
        return (uint64_t) rq_crc32c(0, sql.data, sql.size) << 32 | (uint32_t) sql.size;
}

static cached *find(statements *s, uint64_t key, rq_bytes sql) {
        cached *c = rq_table_get(&s->by_text, key);
        if (c == NULL || c->busy || c->sql_size != sql.size || memcmp(c->sql, sql.data, sql.size) != 0)
                return NULL;
        rq_list_remove(&c->by_use);
        rq_list_append(&s->by_use, &c->by_use);
        return c;
}

static bool is_trusted(const cached *c, uint64_t schema_index) {
        return !c->seen.lengthy && c->quick_runs >= c->wanted_runs && c->ran_index >= schema_index;
}

static void make_room(statements *s, size_t bytes) {
        rq_list *at = s->by_use.next;
        while (at != &s->by_use && (s->by_text.count >= CACHED_COUNT_MAX || s->bytes + bytes > CACHED_BYTES_MAX)) {
                cached *c = RQ_LIST_ENTRY(at, cached, by_use);
                at = at->next;
                if (!c->busy)
                        forget(s, c);
        }
}

/* Keeps c if it may be kept; c stays valid either way. */
static void keep(statements *s, cached *c) {
        cached *other = rq_table_get(&s->by_text, c->key);
        size_t program = (size_t) sqlite3_stmt_status(c->stmt, SQLITE_STMTSTATUS_MEMUSED, 0);
        if (c->sql_size > CACHED_TEXT_MAX || program > CACHED_PROGRAM_MAX || (other != NULL && other->busy))
                return;
        if (other != NULL)
                forget(s, other);
        c->memory = program + c->sql_size;
        make_room(s, c->memory);
        if (rq_table_put(&s->by_text, c->key, c) < 0)
                return;
        c->listed = true;
        s->bytes += c->memory;
        rq_list_append(&s->by_use, &c->by_use);
}

static void fail(statements *s, statement *ret, int code, const char *text) {
        if (text != s->problem)
                (void) snprintf(s->problem, sizeof s->problem, "%s", text);
        ret->problem = s->problem;
        ret->code = code & 0xff;
        ret->extended_code = code;
}

/* SQLite's own words for what is refused at run time would be about its
 * transactions, which are not the client's. */
static bool refused_by_name(statements *s, rq_bytes sql, statement *ret) {
        rq_bytes word = sql_text_first_word(sql);
        if (word.size != 6 || strncasecmp((const char *) word.data, "vacuum", 6) != 0)
                return false;
        fail(s, ret, SQLITE_AUTH, s->rules == STATEMENTS_READER ? change_refused : "VACUUM INTO is not available: a client has no files, use /db/backup?vacuum");
        return true;
}

/* Virtual tables prepare statements of their own while ours is prepared, and
 * the authorizer sees those, too. */
static bool may_insert(rq_bytes sql) {
        static const char *const words[] = { "insert", "replace", "with" };
        rq_bytes word = sql_text_first_word(sql);
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
                if (word.size == strlen(words[i]) && strncasecmp((const char *) word.data, words[i], word.size) == 0)
                        return true;
        return false;
}

/* To SQLite a NUL ends the text: what is behind it would never be consumed. */
static rq_bytes rest_behind(rq_bytes sql, size_t consumed) {
        if (consumed >= sql.size || sql.data[consumed] == '\0')
                return (rq_bytes) {0};
        return rq_bytes_of(sql.data + consumed, sql.size - consumed);
}

/* SQLite copies the whole text it is given, of which a statement may be a small
 * part: it is given pieces that grow until one holds the statement's end. */
static int prepare_piecewise(statements *s, rq_bytes sql, sqlite3_stmt **ret_stmt, size_t *ret_consumed) {
        for (size_t size = PIECE_BYTES;; size *= 4) {
                bool whole = size >= sql.size;
                size_t given = whole ? sql.size : size;
                sqlite3_stmt *stmt = NULL;
                const char *tail = (const char *) sql.data;
                s->preparing = true;
                s->refused = false;
                s->seen = (seen) {0};
                sqlite_memory_limit(PREPARE_BYTES_MAX + PREPARE_BYTES_FACTOR * (uint64_t) given);
                int rc = sqlite3_prepare_v3(s->db, (const char *) sql.data, (int) given, SQLITE_PREPARE_PERSISTENT, &stmt, &tail);
                sqlite_memory_limit(0);
                s->preparing = false;
                size_t consumed = (size_t) (tail - (const char *) sql.data);
                if (whole || (rc == SQLITE_OK && stmt != NULL && consumed < given)) {
                        *ret_stmt = stmt;
                        *ret_consumed = consumed;
                        return rc;
                }
                (void) sqlite3_finalize(stmt);
        }
}

static rq_err prepare_new(statements *s, rq_bytes sql, uint64_t key, statement *ret, cached **ret_cached, rq_bytes *ret_rest) {
        if (sql.size > INT32_MAX) {
                fail(s, ret, SQLITE_TOOBIG, "statement too long");
                return RQ_OK;
        }
        if (refused_by_name(s, sql, ret))
                return RQ_OK;

        sqlite3_stmt *stmt = NULL;
        size_t consumed = 0;
        uint64_t failures = sqlite_memory_failures();
        int rc = prepare_piecewise(s, sql, &stmt, &consumed);
        if (rc != SQLITE_OK) {
                /* Without a refusal by the system it is the statement's own. */
                if (rc == SQLITE_NOMEM && sqlite_memory_failures() != failures)
                        return RQ_ENOMEM;
                if (rc == SQLITE_NOMEM)
                        fail(s, ret, SQLITE_NOMEM, "statement too complex: preparing it takes too much memory");
                else
                        fail(s, ret, s->refused ? rc : sqlite3_extended_errcode(s->db), s->refused ? s->problem : sqlite3_errmsg(s->db));
                return RQ_OK;
        }
        if (s->seen.writes_statistics && !s->seen.ddl && s->rules == STATEMENTS_WRITER && !s->own_tables) {
                (void) sqlite3_finalize(stmt);
                fail(s, ret, SQLITE_AUTH, "statistics can't be written: run ANALYZE");
                return RQ_OK;
        }

        *ret_rest = rest_behind(sql, consumed);
        if (stmt == NULL)
                return RQ_OK;

        bool remember = sql.size <= CACHED_TEXT_MAX;
        cached *c = malloc(sizeof *c + (remember ? sql.size : 0));
        if (c == NULL) {
                (void) sqlite3_finalize(stmt);
                return RQ_ENOMEM;
        }
        s->seen.inserts = s->seen.inserts && may_insert(sql);
        *c = (cached) { .key = key, .consumed = consumed, .stmt = stmt, .seen = s->seen, .wanted_runs = 1, .sql_size = sql.size };
        rq_list_init(&c->by_use);
        if (remember) {
                memcpy(c->sql, sql.data, sql.size);
                keep(s, c);
        }
        *ret_cached = c;
        return RQ_OK;
}

rq_err statements_prepare(statements *s, rq_bytes sql, statement *ret, rq_bytes *ret_rest) {
        statement st = {0};
        rq_bytes rest = {0};
        rq_assert(s->loose == NULL);

        uint64_t key = sql.size <= CACHED_TEXT_MAX ? key_of(sql) : 0;
        cached *c = sql.size <= CACHED_TEXT_MAX ? find(s, key, sql) : NULL;
        if (s->trusted_only) {
                s->last_trusted = c != NULL && is_trusted(c, s->schema_index) ? c : NULL;
                if (s->last_trusted == NULL)
                        return RQ_EAGAIN;
        }
        if (c != NULL) {
                rest = rest_behind(sql, c->consumed);
        } else {
                rq_err r = prepare_new(s, sql, key, &st, &c, &rest);
                if (r < 0)
                        return r;
        }
        if (c != NULL) {
                c->busy = true;
                if (!c->listed)
                        s->loose = c;
                st.stmt = c->stmt;
                /* For EXPLAIN, SQLite answers as for the statement behind it. */
                st.readonly = sqlite3_stmt_readonly(c->stmt) != 0 || sqlite3_stmt_isexplain(c->stmt) != 0;
                if (sqlite3_stmt_isexplain(c->stmt) == 0)
                        st.control = c->seen.control;
                st.savepoint = c->seen.savepoint;
                /* SQLite counts it as a write even where it only asks. */
                st.readonly |= st.control != CONTROL_NONE || c->seen.asks_journal_mode;
                st.brief = !c->seen.lengthy && st.control == CONTROL_NONE;
                st.uses_changes = c->seen.uses_changes;
                st.analyzes = c->seen.analyzes;
                st.changes_schema = c->seen.ddl;
                st.changes_rows = c->seen.changes && !c->seen.ddl && !st.readonly;
                st.inserts = c->seen.inserts && !c->seen.ddl;
        }
        *ret = st;
        *ret_rest = rest;
        return RQ_OK;
}

/* NULL: it is the loose one. */
static cached *listed_of(const statements *s, const statement *st) {
        for (rq_list *at = s->by_use.prev; at != &s->by_use; at = at->prev) {
                cached *c = RQ_LIST_ENTRY(at, cached, by_use);
                if (c->stmt == st->stmt)
                        return c;
        }
        return NULL;
}

void statements_release(statements *s, statement *st) {
        if (st->stmt == NULL)
                return;
        if (s->loose != NULL && s->loose->stmt == st->stmt) {
                forget(s, s->loose);
                s->loose = NULL;
        } else {
                cached *c = listed_of(s, st);
                (void) sqlite3_reset(st->stmt);
                (void) sqlite3_clear_bindings(st->stmt);
                if (c != NULL)
                        c->busy = false;
        }
        st->stmt = NULL;
}

/* --- trust ------------------------------------------------------------------------ */

void statements_ran(statements *s, const statement *st, uint64_t took_us, uint64_t index) {
        cached *c = st->brief ? listed_of(s, st) : NULL;
        if (c == NULL)
                return;
        c->ran_index = index;
        /* A slow one among many may be the machine's fault. */
        if (took_us > QUICK_US)
                c->quick_runs /= 2;
        else if (c->quick_runs < c->wanted_runs)
                c->quick_runs++;
}

void statements_trusted_begin(statements *s, uint64_t schema_index) {
        s->trusted_only = true;
        s->schema_index = schema_index;
        s->last_trusted = NULL;
}

void statements_trusted_end(statements *s, bool failed) {
        cached *c = s->last_trusted;
        s->trusted_only = false;
        s->last_trusted = NULL;
        if (c == NULL)
                return;
        if (failed) {
                c->quick_runs = 0;
                c->wanted_runs = c->wanted_runs >= WANTED_MAX / 4 ? WANTED_MAX : c->wanted_runs * 4;
        } else if (c->wanted_runs > 1) {
                c->wanted_runs--;
                c->quick_runs = c->wanted_runs;
        }
}

bool statements_is_trusted(statements *s, rq_bytes sql, uint64_t schema_index) {
        const cached *c = sql.size <= CACHED_TEXT_MAX ? find(s, key_of(sql), sql) : NULL;
        return c != NULL && is_trusted(c, schema_index);
}

bool statements_pragma_disallowed(rq_bytes sql) { return sql_text_pragma_disallowed(sql); }
bool statements_blank(rq_bytes sql) { return sql_text_blank(sql); }

/* --- binding -------------------------------------------------------------------- */

static int bind_value(sqlite3_stmt *stmt, int index, const Rq__Value *value) {
        /* SQLITE_STATIC: the request's bytes outlive the run, and release clears. */
        switch (value == NULL ? RQ__VALUE__KIND__NOT_SET : value->kind_case) {
        case RQ__VALUE__KIND_INTEGER:
                return sqlite3_bind_int64(stmt, index, value->integer);
        case RQ__VALUE__KIND_REAL:
                return sqlite3_bind_double(stmt, index, value->real);
        case RQ__VALUE__KIND_TEXT:
                return sqlite3_bind_text64(stmt, index, value->text.len > 0 ? (const char *) value->text.data : "",
                                           value->text.len, SQLITE_STATIC, SQLITE_UTF8);
        case RQ__VALUE__KIND_BLOB:
                if (value->blob.len == 0)
                        return sqlite3_bind_zeroblob(stmt, index, 0);
                return sqlite3_bind_blob64(stmt, index, value->blob.data, value->blob.len, SQLITE_STATIC);
        default:
                return sqlite3_bind_null(stmt, index);
        }
}

static bool begins_with_letter(rq_bytes name) {
        uint8_t c = name.data[0];
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static int bind_named(sqlite3_stmt *stmt, rq_bytes name, const Rq__Value *value, char problem[static BIND_PROBLEM_BYTES]) {
        char prefixed[BIND_PROBLEM_BYTES / 2];
        if (!begins_with_letter(name)) {
                (void) snprintf(problem, BIND_PROBLEM_BYTES, "name \"%.*s\" does not begin with a letter",
                                (int) (name.size > 100 ? 100 : name.size), (const char *) name.data);
                return SQLITE_OK;
        }
        if (name.size + 2 > sizeof prefixed || memchr(name.data, '\0', name.size) != NULL)
                return SQLITE_OK; /* no statement has a name like this: ignored, as unknown ones are */
        for (const char *prefix = ":@$"; *prefix != '\0'; prefix++) {
                (void) snprintf(prefixed, sizeof prefixed, "%c%.*s", *prefix, (int) name.size, (const char *) name.data);
                int index = sqlite3_bind_parameter_index(stmt, prefixed);
                int rc = index > 0 ? bind_value(stmt, index, value) : SQLITE_OK;
                if (rc != SQLITE_OK)
                        return rc;
        }
        return SQLITE_OK;
}

static rq_bytes name_of(const Rq__Parameter *p) { return rq_bytes_of(p->name.data, p->name.len); }

rq_err statements_bind(sqlite3_stmt *stmt, bind_cursor *cursor, char problem[static BIND_PROBLEM_BYTES]) {
        size_t wanted = (size_t) sqlite3_bind_parameter_count(stmt), got = cursor->count - cursor->at;
        problem[0] = '\0';
        if (got < wanted) {
                (void) snprintf(problem, BIND_PROBLEM_BYTES, "not enough args to execute query: want %zu got %zu", wanted, got);
                return RQ_OK;
        }

        /* This statement's share by position; names hold in the whole request. */
        int rc = SQLITE_OK;
        for (size_t i = 0; i < wanted && rc == SQLITE_OK; i++) {
                const Rq__Parameter *p = cursor->parameters[cursor->at + i];
                if (p->name.len == 0)
                        rc = bind_value(stmt, (int) i + 1, p->value);
        }
        for (size_t i = 0; i < cursor->count && rc == SQLITE_OK && problem[0] == '\0'; i++)
                if (cursor->parameters[i]->name.len > 0)
                        rc = bind_named(stmt, name_of(cursor->parameters[i]), cursor->parameters[i]->value, problem);
        cursor->at += wanted;
        if (rc == SQLITE_NOMEM)
                return RQ_ENOMEM;
        if (rc != SQLITE_OK && problem[0] == '\0')
                (void) snprintf(problem, BIND_PROBLEM_BYTES, "%s", sqlite3_errstr(rc));
        return RQ_OK;
}
