/* One SQL entry on the writer connection: its statements, savepoints, outcome
 * and answer. Part of the applier; whose transaction it runs in is applier.c's
 * business, except for an entry that runs alone. */
#ifndef RQ_STORE_APPLIER_ENTRY_H
#define RQ_STORE_APPLIER_ENTRY_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "arena.h"
#include "core/json_rows.h"
#include "io/applier.h"
#include "io/statements.h"
#include "io/files_io.h"
#include "io/writer_functions.h"
#include "record.h"

typedef struct entry_context {
        sqlite3 *db;
        files *files;
        statements *statements;
        json_writer *json;
        rq_arena *arena;
        writer_functions functions; /* what random(), changes()... answer in this entry */
        sqlite3_stmt *begin, *commit, *rollback, *savepoint, *release, *rollback_to;
        bool committing;            /* nothing else may commit */
        uint64_t index;             /* of the entry, or the last of the batch, that is committed next */
        _Atomic uint64_t hi;        /* no commit that a reader may see is of a later one */
        bool analyzed;              /* since the last COMMIT */
        uint64_t exhausted_index, exhausted_group, exhausted_statement; /* known to exceed its budget: not run again */
        transaction_stack open;     /* what the request at hand has begun itself */
        bool foreign_keys;
        const files_io *io; /* for spill files */
        size_t spill_bytes;
        int spill_dir_fd;
        uint64_t slow_us;
        uint64_t skip_index;        /* of an entry that isn't run; 0: none */
        _Atomic uint64_t running_index;
        _Atomic uint64_t schema_index; /* of the last entry that changed the schema, before it is committed */
        _Atomic uint64_t statement_count, error_count, transaction_count;
} entry_context;

/* Takes db, on which nothing else works from now on. A context that is done may be
 * made anew, for another connection: it goes on counting. */
rq_err entry_context_init(entry_context *c, sqlite3 *db, files *f, const applier_options *options);
void entry_context_done(entry_context *c);

/* SQLite's code. The only way to commit: what a statement would commit by itself,
 * since its transaction is gone, is refused; so is what a failed write or allocation
 * belongs to, told or not. */
int entry_commit(entry_context *c);

/* To readers, before anything of the entry is committed (hazards 21). entry_commit() does it; who commits
 * without it, calls it. Not earlier than needed: an entry may run for minutes before. */
void entry_announce(entry_context *c);

/* By the operator's word (hazards 3) nothing of the entry is done, on any node: why, for the client; said in the log, too.
 * NULL: it is. */
const char *entry_skipped(const entry_context *c, uint64_t index);

typedef struct entry_outcome {
        uint64_t hash;       /* over every statement's code, changes, last id */
        bool has_result;
        apply_result result; /* json went into out->json, or a spill file */
} entry_outcome;

/* After the caller's ROLLBACK: the statistics in the connection's memory are
 * those of the file again (hazards 7). */
void entry_rolled_back(entry_context *c);
void entry_committed(entry_context *c);

/* Runs the entry. alone: outside any transaction, making its own, in which a
 * statement may end the transaction; else inside the caller's.
 * Errors: RQ_ECANCELED: the caller's transaction was ended by a statement (never
 * if alone); RQ_ENOSPC, RQ_EIO, RQ_ENOMEM, RQ_ECORRUPT: environment. */
rq_err entry_run(entry_context *c, const record_header *header, rq_bytes body, bool alone,
                 applier_wanted wanted, void *wanted_arg, apply_output *out, entry_outcome *ret_outcome);

#endif
