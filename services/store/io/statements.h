/* Statements of one connection: a cache of prepared ones by SQL text (LRU,
 * bounded), what the authorizer learned when each was prepared, and binding of
 * a client's parameters. One thread uses one cache. */
#ifndef RQ_STORE_STATEMENTS_H
#define RQ_STORE_STATEMENTS_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/bytes.h"
#include "base/err.h"
#include "core/transaction_stack.h"
#include "value.pb-c.h"

typedef struct statements statements;

/* Which rules the authorizer applies (docs/sql.md). */
typedef enum statements_rules {
        STATEMENTS_WRITER, /* allow list: equal on all nodes */
        STATEMENTS_READER, /* may not change anything, or the connection's state */
} statements_rules;

struct extensions;

/* Installs the authorizer and, on a writer, the deterministic functions'
 * allow list on db; db outlives it. Errors: RQ_ENOMEM. */
rq_err statements_new(sqlite3 *db, statements_rules rules, statements **ret);
/* Their deterministic functions may be used in writes, too. NULL: none; outlives s. */
void statements_use(statements *s, const struct extensions *e);
statements *statements_free(statements *s); /* finalizes all; before sqlite3_close */

typedef struct statement {
        sqlite3_stmt *stmt;   /* NULL: nothing to run (blank or comment) */
        bool readonly;        /* changes nothing, or only EXPLAINs */
        bool inserts;         /* INSERT or REPLACE at the top level */
        bool changes_rows;    /* INSERT, UPDATE, DELETE; false: DDL and others, 0 changes */
        bool uses_changes;    /* calls changes() */
        bool analyzes;        /* ANALYZE */
        bool changes_schema;  /* DDL, ANALYZE, REINDEX */
        bool brief;           /* calls only functions that are (core/allowed.h) */
        control_kind control; /* BEGIN, SAVEPOINT...: not to be stepped, the caller does what it means */
        const char *savepoint; /* its name, else ""; borrowed as stmt is */
        const char *problem;  /* prepare failed: text for the client, valid until the next call; stmt is NULL */
        int code;             /* then SQLite's primary code (SQLITE_AUTH: refused by our rules) */
        int extended_code;    /* and the one with its details */
} statement;

/* The first statement of sql; *ret_rest is what follows it, up to the first
 * NUL, which ends the text. The statement is borrowed until
 * statements_release(), which resets it and clears bindings. A real lack of
 * memory is RQ_ENOMEM; everything a client can cause is in ret->problem with
 * RQ_OK. */
rq_err statements_prepare(statements *s, rq_bytes sql, statement *ret, rq_bytes *ret_rest);
void statements_release(statements *s, statement *st);

/* What running it took and which index the connection's schema had then: makes
 * it trusted, or not. Between prepare and release. */
void statements_ran(statements *s, const statement *st, uint64_t took_us, uint64_t index);

/* While on, statements_prepare finds only trusted statements, else fails with
 * RQ_EAGAIN: those that are prepared, were quick when they ran last, and ran
 * with the schema of schema_index. Off again: failed says that one of them
 * wasn't quick this time; it must be quick the oftener to be trusted anew. */
void statements_trusted_begin(statements *s, uint64_t schema_index);
void statements_trusted_end(statements *s, bool failed);
bool statements_is_trusted(statements *s, rq_bytes sql, uint64_t schema_index);

/* Drops every prepared statement: the schema changed, or was rolled back. (A
 * cached one would be prepared anew by SQLite itself, past our rules.) */
void statements_forget(statements *s);

/* A dump's text may write what is otherwise refused: statistics. */
void statements_allow_own_tables(statements *s, bool allowed);

/* "disallowed pragma" (sql.md, Not available in a write): journal_mode =, wal_autocheckpoint =,
 * wal_checkpoint, synchronous =, query_only = in any spelling, anywhere in the
 * text: the whole request is refused. Pure text scan. */
bool statements_pragma_disallowed(rq_bytes sql);

/* Nothing to run in sql: blanks, comments, semicolons. Pure text scan. */
bool statements_blank(rq_bytes sql);

/* Binding: http-api.md, Request bodies. parameters from *at on belong to what is left of
 * the request's statement; *at advances by what this one consumed. *ret_problem
 * is "" or a text for the client. */
typedef struct bind_cursor {
        Rq__Parameter **parameters;
        size_t count, at;
} bind_cursor;
enum { BIND_PROBLEM_BYTES = 256 };
rq_err statements_bind(sqlite3_stmt *stmt, bind_cursor *cursor, char problem[static BIND_PROBLEM_BYTES]);

#endif
