/* The wal-index of one database in heap memory, with its eight locks, shared
 * by all connections of one process: what os_unix.c does with an mmap'ed -shm
 * file and POSIX locks, so that no other program can take part (hazard 16).
 * Offsets and lock numbers are those of https://sqlite.org/walformat.html,
 * section 2. Functions that return int return SQLite codes. Thread-safe. */
#ifndef RQ_STORE_WAL_INDEX_H
#define RQ_STORE_WAL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct wal_index wal_index;

/* What one connection holds: bit n is lock n. {0} holds nothing. */
typedef struct wal_index_user { uint16_t shared, exclusive; } wal_index_user;

/* Where the WAL stands: last committed frame and what identifies the WAL. */
typedef struct wal_position {
        uint32_t frames;
        uint32_t copied;    /* frames that are in the database file */
        uint32_t pages;     /* size of the database as of that frame */
        uint32_t page_size;
        uint8_t salts[8];   /* as in the WAL's header; meaningless with 0 frames */
} wal_position;

rq_err wal_index_new(wal_index **ret_index);
wal_index *wal_index_free(wal_index *w);

/* For sqlite3_io_methods. */
int wal_index_map(wal_index *w, int region, int region_bytes, int extend, void volatile **ret_memory);
int wal_index_lock(wal_index *w, wal_index_user *user, int first, int count, int flags);
void wal_index_barrier(wal_index *w);
void wal_index_leave(wal_index *w, wal_index_user *user);

/* Forgets everything; no connection may be open. */
void wal_index_reset(wal_index *w);

/* The writer's thread, between transactions; another thread sees what was true at
 * some time while it called only if no commit began and the WAL wasn't begun anew
 * meanwhile, of which it has to make sure. */
wal_position wal_index_position(wal_index *w);

/* The last frame that may be copied into the database file now: readers of an
 * older state hold up what is behind. Once it has been at or above a committed
 * frame it stays there for that frame: a new reader reads at the WAL's end, and
 * SQLite looks again after it has its lock. */
uint32_t wal_index_copy_limit(wal_index *w);

/* A reader holds frames of the WAL, so that it can't restart. */
bool wal_index_held(wal_index *w);

/* Tells SQLite that the first frames are in the database file (nBackfill). Once
 * that is all of them and no reader holds the WAL, the next commit begins it
 * anew. The writer's thread, between transactions. */
void wal_index_set_copied(wal_index *w, uint32_t frames);

/* SQLite keeps its index as this file expects it. After the first use. */
bool wal_index_known(wal_index *w);

#endif
