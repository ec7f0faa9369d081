/* The database file as bytes: its creation, what *state* records of it, and
 * what keeps other programs from changing it unseen. Knows no SQL.
 *
 * On disk the header says that the database is in rollback mode, while SQLite,
 * behind our VFS, reads that it is in WAL mode. In WAL mode another program's
 * write would leave page 1 as it is, change counter and all [seen on 3.40.1];
 * in rollback mode it counts. */
#ifndef RQ_STORE_DATABASE_FILE_H
#define RQ_STORE_DATABASE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/err.h"
#include "io/files_io.h"

#define DATABASE_FILE_NAME     "db.sqlite"
#define DATABASE_FILE_NEW_NAME "db.sqlite.new"
#define DATABASE_WAL_NAME      "db.sqlite-rqwal" /* not the name that other programs look for */

enum {
        DATABASE_MODE_OFFSET   = 18, /* of page 1: versions for writing and reading, a byte each */
        DATABASE_MODE_BYTES    = 2,
        DATABASE_MODE_ROLLBACK = 1,
        DATABASE_MODE_WAL      = 2,
};

/* Page 1 as it is on disk. */
static inline void database_page1_seal(uint8_t *page) {
        page[DATABASE_MODE_OFFSET] = page[DATABASE_MODE_OFFSET + 1] = DATABASE_MODE_ROLLBACK;
}

typedef struct database_facts {
        uint64_t bytes;
        uint32_t page_size;
        uint32_t change_counter;
        uint32_t page1_crc;
} database_facts;

/* An empty database with pages of 4096 bytes, durable. */
rq_err database_file_create(const files_io *io, int folder_fd);

/* It is one as created, untouched. Errors: RQ_EIO. */
rq_err database_file_is_new(const files_io *io, int fd, bool *ret_new);

/* Errors: RQ_ECORRUPT (no page 1), RQ_EIO, RQ_ENOMEM. */
rq_err database_file_facts(const files_io *io, int fd, database_facts *ret_facts);

bool database_facts_equal(const database_facts *a, const database_facts *b);

/* Holds SQLite's lock bytes for writing as long as fd is open, whatever other
 * descriptors are closed (an OFD lock): another program's SQLite says
 * "database is locked". Errors: RQ_EBUSY (it was there first). */
rq_err database_file_lock(int fd);

#endif
