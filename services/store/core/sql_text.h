/* The little that must be known of SQL's text before SQLite sees it: tokens,
 * blanks and comments (lexical structure of sqlite.org/lang.html), nothing of
 * grammar. */
#ifndef RQ_STORE_SQL_TEXT_H
#define RQ_STORE_SQL_TEXT_H

#include <stdbool.h>

#include "base/bytes.h"

/* A letter, digit, or what else a word without quotes may have. */
bool sql_text_is_word(uint8_t c);

/* Behind the blanks and comments that begin at `at`. An unterminated comment
 * reaches to the end, as in SQLite. */
size_t sql_text_skip_blanks(rq_bytes sql, size_t at);

/* Behind the quoted text that begins at `at`, with ', ", ` or [; a doubled quote
 * stands for one. */
size_t sql_text_skip_quoted(rq_bytes sql, size_t at);

/* Nothing to run: blanks, comments, semicolons. */
bool sql_text_blank(rq_bytes sql);

/* A pragma that would take the journal, the syncs or the checkpoints out of
 * the store's hands, in any spelling and anywhere in the text (sql.md, Not
 * available in a write): journal_mode, wal_autocheckpoint, synchronous,
 * query_only with a value, wal_checkpoint in any form. */
bool sql_text_pragma_disallowed(rq_bytes sql);

/* The first word (letters and '_') of the statement, behind blanks and
 * comments; empty if it begins otherwise. Borrowed from sql. */
rq_bytes sql_text_first_word(rq_bytes sql);

/* VACUUM of this database, with nothing else said: *ret_rest is what follows it. */
bool sql_text_is_vacuum(rq_bytes sql, rq_bytes *ret_rest);

#endif
