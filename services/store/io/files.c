#include "io/files.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "io/checkpoint.h"
#include "io/connection.h"
#include "io/extensions.h"
#include "io/files_io.h"
#include "io/image.h"
#include "io/recover.h"
#include "io/runtime_record.h"
#include "io/sqlite_memory.h"
#include "io/swap.h"
#include "io/vfs.h"
#include "io/wal_copy.h"
#include "log/log.h"

enum {
        DEFAULT_WAL_BYTES        = 4 * 1024 * 1024,
        DEFAULT_ENTRIES          = 8192,
        DEFAULT_INTERVAL_MS      = 10 * 1000,
        DEFAULT_WAL_BYTES_MAX    = 64 * 1024 * 1024,
        DEFAULT_CLOSING_WAIT_MS  = 50,
};

struct files {
        const files_io *io;
        const extensions *extensions;
        char *database_path;
        runtime_record *record;
        recovery found;
        vfs *vfs;
        image_set *images;
        checkpoint *checkpoint;
        sqlite3 *writer;
        uint32_t writer_cache_pages;
        int folder_fd;
        bool swapped;        /* by an intent: this object is for reading only */

        /* The writer's thread */
        runtime_state published; /* what the runtime record says, also without one */
        bool opened;             /* published means something */
        bool held;               /* nothing is published: files_hold() */
        wal_extent named;        /* the last commit that the caller has named, held or not */
        bool memory_counted;
        atomic_bool half_applied; /* the WAL holds commits that nobody may build upon */
        uint64_t memory_failures; /* of the writer's thread, when last cleared */

        atomic_uint_fast64_t database_bytes, wal_bytes, wal_frames, writer_held_us_max;
};

void files_prepare_process(void) {
        (void) sqlite_memory_prepare();
}

/* Opening */

static checkpoint_limits limits_of(const files_options *o) {
        return (checkpoint_limits) {
                .wal_bytes = o->checkpoint_wal_bytes > 0 ? o->checkpoint_wal_bytes : DEFAULT_WAL_BYTES,
                .entries = o->checkpoint_entries > 0 ? o->checkpoint_entries : DEFAULT_ENTRIES,
                .interval_us = UINT64_C(1000) * (o->checkpoint_interval_ms > 0 ? o->checkpoint_interval_ms : DEFAULT_INTERVAL_MS),
                .wal_bytes_max = o->wal_bytes_max > 0 ? o->wal_bytes_max : DEFAULT_WAL_BYTES_MAX,
                .closing_wait_us = UINT64_C(1000) * (o->closing_wait_ms > 0 ? o->closing_wait_ms : DEFAULT_CLOSING_WAIT_MS),
        };
}

static void open_record(files *f, int run_dir_fd, const char *boot_id) {
        rq_err r;
        if (run_dir_fd < 0)
                return;
        r = runtime_record_open(run_dir_fd, boot_id, &f->record);
        if (r < 0)
                (void) rq_log_error(r, "Cannot open %s in the runtime folder; after a crash the store will replay from its checkpoint",
                                    RUNTIME_RECORD_NAME);
}

static rq_err open_checkpoint(files *f, const files_options *options, int folder_fd) {
        rq_err r = image_set_new(f->io, folder_fd, f->found.database_fd, &f->found.state, &f->images);
        if (r < 0)
                return r;
        checkpoint_setup setup = {
                .limits = limits_of(options),
                .io = f->io,
                .folder_fd = folder_fd,
                .database_fd = f->found.database_fd,
                .wal_fd = f->found.wal_fd,
                .intent_fd = f->found.intent_fd,
                .database_path = f->database_path,
                .index = vfs_wal_index(f->vfs),
                .record = f->record,
                .images = f->images,
                .state = f->found.state,
                .generation = f->found.last.generation,
        };
        return checkpoint_new(&setup, &f->checkpoint);
}

static void close_connection(sqlite3 **db) { (void) sqlite3_close(*db); }

/* A connection for writing that has read the database once. */
static rq_err connect_writer(const files *f, sqlite3 **ret_db) {
        RQ_CLEANUP(close_connection) sqlite3 *db = NULL;
        char cache[48];
        rq_err r = connection_open(f->database_path, vfs_writer_name(f->vfs), CONNECTION_WRITER, &db);
        if (r >= 0)
                r = extensions_load(f->extensions, db);
        (void) snprintf(cache, sizeof cache, "PRAGMA cache_size=%" PRIu32, f->writer_cache_pages);
        if (r >= 0 && f->writer_cache_pages > 0)
                r = connection_error(sqlite3_exec(db, cache, NULL, NULL, NULL));
        if (r >= 0)
                r = connection_error(sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL));
        if (r < 0)
                return r;
        *ret_db = RQ_TAKE(db, NULL);
        return RQ_OK;
}

/* SQLite recovers the WAL as it was left; it must find what was announced. */
static rq_err open_database(files *f) {
        wal_index *index = vfs_wal_index(f->vfs);
        rq_err r = connect_writer(f, &f->writer);
        if (r < 0)
                return r;
        if (!wal_index_known(index))
                return RQ_EVERSION;
        return wal_index_position(index).frames == f->found.keep.frames ? RQ_OK : RQ_EDIVERGED;
}

static void files_freep(files **f) {
        *f = files_free(*f);
}

static void update_sizes(files *f, const wal_position *at) {
        const wal_extent extent = { .frames = at->frames, .page_size = at->page_size };
        atomic_store(&f->wal_frames, at->frames);
        atomic_store(&f->wal_bytes, wal_extent_bytes(&extent));
        if (at->pages > 0)
                atomic_store(&f->database_bytes, (uint64_t) at->pages * at->page_size);
}

static void publish(files *f, const store_state *state) {
        wal_position at = wal_index_position(vfs_wal_index(f->vfs));
        const state_file *on_disk = checkpoint_state(f->checkpoint);
        f->published = (runtime_state) {
                .position = *state,
                .extent = { .frames = at.frames, .page_size = at.page_size },
                .generation = on_disk->generation,
                .disk_id = on_disk->disk_id,
        };
        if (at.frames > 0)
                memcpy(f->published.extent.salts, at.salts, WAL_SALTS_BYTES);
        f->named = f->published.extent;
        runtime_record_put(f->record, &f->published);
        update_sizes(f, &at);
}

static rq_err open_parts(files *f, const files_options *options, int folder_fd, const char *folder_path, rq_buf *problem) {
        const store_settings settings = { .foreign_keys = options->foreign_keys };
        uint64_t began_us = rq_clock_mono_us();
        rq_err r = recover(f->io, folder_fd, folder_path, f->record, &settings, &f->found, problem);
        if (r < 0)
                return r;
        r = vfs_new(f->io, folder_fd, f->found.database_fd, f->found.wal_fd, &f->vfs);
        if (r == RQ_OK)
                r = open_checkpoint(f, options, folder_fd);
        if (r == RQ_OK)
                r = open_database(f);
        if (r < 0) {
                (void) rq_buf_printf(problem, "%s: cannot be opened: %s", f->database_path, rq_err_text(r));
                return r;
        }
        atomic_store(&f->database_bytes, f->found.state.database.bytes);
        vfs_set_clock(f->vfs, f->found.position.clock_us);
        publish(f, &f->found.position);
        f->opened = true;
        rq_log_info("Opened %s at index %" PRIu64 ": %s (checkpoint at index %" PRIu64 ", %u frames in the WAL) in %" PRIu64 " us",
                    f->database_path, f->found.position.index, recover_way_text(f->found.way), checkpoint_index(f->checkpoint),
                    f->found.keep.frames, rq_clock_mono_us() - began_us);
        return RQ_OK;
}

rq_err files_open_with(const files_options *options, int folder_fd, const char *folder_path, int run_dir_fd,
                       files **ret_files, store_state *ret_state, rq_buf *ret_problem) {
        RQ_CLEANUP(files_freep) files *f = calloc(1, sizeof *f);
        rq_err r;
        if (f == NULL)
                return RQ_ENOMEM;
        f->extensions = options->extensions;
        f->writer_cache_pages = options->writer_cache_pages;
        f->io = options->io != NULL ? options->io : &files_io_kernel;
        f->found = RECOVERY_EMPTY;
        f->folder_fd = folder_fd;
        f->memory_counted = sqlite_memory_prepare();
        if (!f->memory_counted)
                rq_log_warning("SQLite was used before its allocator could be counted");
        if (asprintf(&f->database_path, "%s/%s", folder_path, DATABASE_FILE_NAME) < 0) {
                f->database_path = NULL;
                return RQ_ENOMEM;
        }
        rq_buf_done(ret_problem);
        open_record(f, run_dir_fd, options->boot_id);
        r = open_parts(f, options, folder_fd, folder_path, ret_problem);
        if (r < 0)
                return r;
        *ret_state = f->found.position;
        *ret_files = RQ_TAKE(f, NULL);
        return RQ_OK;
}

rq_err files_open(int folder_fd, const char *folder_path, int run_dir_fd, files **ret_files, store_state *ret_state,
                  rq_buf *ret_problem) {
        const files_options defaults = {0};
        return files_open_with(&defaults, folder_fd, folder_path, run_dir_fd, ret_files, ret_state, ret_problem);
}

/* Closing */

static bool is_at(const wal_extent *extent, const wal_position *at) {
        return at->frames == extent->frames && (at->frames == 0 || memcmp(at->salts, extent->salts, WAL_SALTS_BYTES) == 0);
}

/* Only at a commit that the caller has named: otherwise *state* would call the
 * file by another index than it has. */
static bool may_close(const files *f) {
        wal_position at;
        if (f->writer == NULL || !f->opened || f->swapped || !sqlite3_get_autocommit(f->writer))
                return false;
        at = wal_index_position(vfs_wal_index(f->vfs));
        return is_at(&f->published.extent, &at);
}

/* The WAL has done its work: without it the next start has nothing to check. */
static void empty_wal(files *f) {
        wal_position at = wal_index_position(vfs_wal_index(f->vfs));
        if (at.frames != at.copied || f->io->truncate(f->io->context, f->found.wal_fd, 0) < 0)
                return;
        f->published.extent = (wal_extent) {0};
        f->published.generation = checkpoint_state(f->checkpoint)->generation;
        runtime_record_put(f->record, &f->published);
}

/* A statement left behind would keep the connection, and with it the VFS. They
 * can't be finalized here: those that sqlite3_next_stmt knows may belong to a
 * virtual table, which finalizes its own. */
static void close_writer(files *f) {
        int rc = sqlite3_close(f->writer);
        rq_assert(rc == SQLITE_OK);
        f->writer = NULL;
}

files *files_free(files *f) {
        if (f == NULL)
                return NULL;
        if (f->checkpoint != NULL && may_close(f) &&
            checkpoint_step(f->checkpoint, &f->published.position, true) == RQ_OK) {
                rq_log_info("Closed %s at index %" PRIu64, f->database_path, f->published.position.index);
                empty_wal(f);
        }
        checkpoint_free(f->checkpoint);
        f->images = image_set_free(f->images);
        close_writer(f);
        vfs_free(f->vfs);
        recovery_done(&f->found);
        runtime_record_free(f->record);
        free(f->database_path);
        free(f);
        return NULL;
}

/* Connections */

rq_err files_open_writer(files *f, sqlite3 **ret_db) {
        f->memory_failures = sqlite_memory_failures();
        *ret_db = f->writer;
        return RQ_OK;
}

/* The new one first: with none at all nothing could be closed or checkpointed. */
rq_err files_renew_writer(files *f, sqlite3 **ret_db) {
        sqlite3 *db;
        rq_assert(sqlite3_get_autocommit(f->writer));
        rq_err r = connect_writer(f, &db);
        if (r < 0)
                return r;
        close_writer(f);
        f->writer = db;
        (void) files_failure(f, true);
        *ret_db = db;
        return RQ_OK;
}

rq_err files_open_reader(files *f, sqlite3 **ret_db) {
        RQ_CLEANUP(close_connection) sqlite3 *db = NULL;
        rq_err r = connection_open(f->database_path, vfs_reader_name(f->vfs), CONNECTION_READER, &db);
        if (r >= 0)
                r = extensions_load(f->extensions, db);
        if (r < 0)
                return r;
        *ret_db = RQ_TAKE(db, NULL);
        return RQ_OK;
}

const extensions *files_extensions(const files *f) { return f->extensions; }

void files_set_entry_clock(files *f, uint64_t clock_us) {
        vfs_set_clock(f->vfs, clock_us);
}

bool files_foreign_keys(const files *f) {
        return f->found.state.settings.foreign_keys;
}

rq_err files_failure(files *f, bool clear) {
        vfs_failure storage = vfs_failed(f->vfs, clear);
        uint64_t memory = sqlite_memory_failures();
        bool no_memory = f->memory_counted ? memory != f->memory_failures
                                           : (sqlite3_errcode(f->writer) & 0xff) == SQLITE_NOMEM;
        if (clear)
                f->memory_failures = memory;
        if (storage == VFS_IO)
                return RQ_EIO;
        if (storage == VFS_FULL)
                return RQ_ENOSPC;
        return no_memory ? RQ_ENOMEM : RQ_OK;
}

/* Commits and checkpoints */

void files_hold(files *f, bool held) { f->held = held; }

void files_committed(files *f, const store_state *state) {
        if (!f->held) {
                publish(f, state);
                return;
        }
        wal_position at = wal_index_position(vfs_wal_index(f->vfs));
        f->named = (wal_extent) { .frames = at.frames, .page_size = at.page_size };
        memcpy(f->named.salts, at.salts, WAL_SALTS_BYTES);
        update_sizes(f, &at);
}

/* The runtime record still names the commit before: the next start cuts the WAL
 * there. An empty WAL has begun anew, and nothing was committed to it. */
void files_undo_commits(files *f) {
        wal_position at = wal_index_position(vfs_wal_index(f->vfs));
        if (at.frames > 0 && !is_at(&f->named, &at))
                atomic_store(&f->half_applied, true);
}

rq_err files_checkpoint(files *f, const store_state *state, bool force) {
        uint64_t began_us = rq_clock_mono_us(), held_us;
        rq_err r;
        if (atomic_load(&f->half_applied))
                return RQ_EIO;
        if (f->held || f->swapped)
                return RQ_OK;
        /* The record must reach as far as an intent: recovery by it would cut
         * off frames that are in the file. */
        publish(f, state);
        r = checkpoint_step(f->checkpoint, state, force);
        held_us = rq_clock_mono_us() - began_us;
        if (held_us > atomic_load(&f->writer_held_us_max))
                atomic_store(&f->writer_held_us_max, held_us);
        return r;
}

rq_err files_swap(files *f, const store_state *position, uint64_t above, rq_buf *ret_problem) {
        database_facts facts;
        /* Also what only a checkpoint knows of. */
        const uint64_t on_disk = checkpoint_state(f->checkpoint)->position.index;
        if (above != FILES_SWAP_ANY && position->index <= (above > on_disk ? above : on_disk)) {
                (void) rq_buf_printf(ret_problem, "the database is at index %llu already, and doesn't go back to %llu",
                                     (unsigned long long) (above > on_disk ? above : on_disk), (unsigned long long) position->index);
                return RQ_EEXIST;
        }
        if (atomic_load(&f->half_applied) || checkpoint_broken(f->checkpoint))
                return RQ_EIO;
        rq_assert(!f->swapped && sqlite3_get_autocommit(f->writer));
        rq_err r = swap_prepare(f->io, f->folder_fd, &facts, ret_problem);
        if (r < 0)
                return r;
        r = checkpoint_swap(f->checkpoint, position, &facts);
        if (r < 0)
                (void) rq_buf_printf(ret_problem, SWAP_FILE_NAME ": cannot become the database: %s", rq_err_text(r));
        else
                f->swapped = true;
        return r;
}

wal_position files_wal_position(const files *f) { return wal_index_position(vfs_wal_index(f->vfs)); }

static uint64_t ask_number(sqlite3 *db, const char *sql) {
        sqlite3_stmt *stmt = NULL;
        uint64_t value = 0;
        if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
                value = (uint64_t) sqlite3_column_int64(stmt, 0);
        (void) sqlite3_finalize(stmt);
        return value;
}

/* Frames up to `seen` stay in the WAL while the transaction is open, unless it reads
 * the file alone: then all of them are in the file, and the WAL may begin anew, which
 * changes the salts. */
static bool is_still_there(const files *f, const wal_position *seen) {
        const wal_position now = files_wal_position(f);
        return now.frames >= seen->frames && memcmp(now.salts, seen->salts, sizeof now.salts) == 0;
}

static void close_image(image **i) { *i = image_close(*i); }

rq_err files_image_seen(files *f, sqlite3 *reader, const wal_position *seen, uint64_t index, image **ret_image) {
        RQ_CLEANUP(close_image) image *i = NULL;
        const uint64_t pages = ask_number(reader, "PRAGMA page_count"), page_size = ask_number(reader, "PRAGMA page_size");
        if (pages == 0 || page_size == 0 || page_size > UINT32_MAX || (seen->frames > 0 && seen->page_size != page_size))
                return RQ_EAGAIN;
        rq_err r = image_open_seen(f->images, index, pages * page_size, (uint32_t) page_size, &i);
        if (r >= 0 && seen->frames > seen->copied) {
                wal_extent extent = { .frames = seen->frames, .page_size = seen->page_size };
                memcpy(extent.salts, seen->salts, WAL_SALTS_BYTES);
                r = wal_copy_to_image(f->io, f->found.wal_fd, &extent, seen->copied, i);
                if (r >= 0 && !is_still_there(f, seen))
                        r = RQ_EAGAIN;
        }
        if (r >= 0)
                r = image_settle(i);
        if (r >= 0)
                *ret_image = RQ_TAKE(i, NULL);
        return r;
}

bool files_swapped(const files *f) { return f->swapped; }
image_set *files_images(files *f) { return f->images; }
void files_checkpoint_soon(files *f) { checkpoint_soon(f->checkpoint); }

uint32_t files_checkpoint_wait_ms(const files *f, const store_state *state) {
        return f->held ? UINT32_MAX : checkpoint_wait_ms(f->checkpoint, state);
}

bool files_broken(const files *f) {
        return atomic_load(&f->half_applied) || checkpoint_broken(f->checkpoint);
}

uint64_t files_checkpoint_index(const files *f) {
        return checkpoint_index(f->checkpoint);
}

void files_stats_get(const files *f, files_stats *ret_stats) {
        checkpoint_counts counts = checkpoint_counts_get(f->checkpoint);
        *ret_stats = (files_stats) {
                .database_bytes = atomic_load(&f->database_bytes),
                .wal_bytes = atomic_load(&f->wal_bytes),
                .wal_frames = atomic_load(&f->wal_frames),
                .checkpoints = counts.count,
                .checkpoint_us_last = counts.us_last,
                .checkpoint_us_max = counts.us_max,
                .writer_held_us_max = atomic_load(&f->writer_held_us_max),
        };
}
