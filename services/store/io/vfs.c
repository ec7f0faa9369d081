#include "io/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "io/database_file.h"
#include "io/wal_seal.h"
#include "log/log.h"

/* Milliseconds from SQLite's day 0 (Julian day) to 1970. */
#define UNIX_EPOCH_MS INT64_C(210866760000000)

typedef enum file_role { ROLE_DATABASE, ROLE_WAL, ROLE_TEMP } file_role;

/* SQLite knows connections, not threads; what a read may wait for is a matter
 * of the thread that runs it. */
static _Thread_local bool hasty, delayed;
static _Thread_local uint32_t hasty_reads;

struct vfs {
        sqlite3_vfs writer, reader;
        char writer_name[32], reader_name[32];
        sqlite3_vfs *base; /* for what isn't a file: sleep, randomness, extensions */
        const files_io *io;
        int folder_fd, database_fd, wal_fd;
        wal_index *index;
        atomic_uint_fast64_t clock_us;
        atomic_int failure;
        rq_log_limit failure_log; /* the writer's thread */
        bool registered;

        /* Locks of the database file, as in https://sqlite.org/lockingv3.html */
        pthread_mutex_t mutex;
        int shared_count;
        const struct vfs_file *reserved, *pending;
};

typedef struct vfs_file {
        sqlite3_file base;
        vfs *vfs;
        file_role role;
        int fd;
        bool writer;
        int lock;
        wal_index_user user;
        wal_seal seal; /* of a WAL */
} vfs_file;

/* Failures */

static const char *verb_of(int code) {
        switch (code) {
        case SQLITE_IOERR_READ:     return "read";
        case SQLITE_IOERR_WRITE:    return "write";
        case SQLITE_IOERR_TRUNCATE: return "cut";
        case SQLITE_IOERR_FSTAT:    return "look at";
        case SQLITE_CANTOPEN:       return "make";
        default:                    return "map";
        }
}

/* Who hears of it knows neither file nor reason. It is tried again and again: a line in a while. */
static void tell(vfs_file *file, int errno_value, int code) {
        static const char *const files[] = { [ROLE_DATABASE] = DATABASE_FILE_NAME, [ROLE_WAL] = DATABASE_WAL_NAME,
                                             [ROLE_TEMP] = "a temporary file beside the database" };
        uint32_t suppressed;
        if (rq_log_allowed(&file->vfs->failure_log, &suppressed))
                rq_log_warning("The writer cannot %s %s: %s", verb_of(code), files[file->role], strerror(errno_value));
}

static int record(vfs_file *file, int errno_value, int code) {
        bool full = files_io_error(errno_value) == RQ_ENOSPC;
        int none = VFS_OK;
        if (file->writer && atomic_compare_exchange_strong(&file->vfs->failure, &none, full ? VFS_FULL : VFS_IO))
                tell(file, errno_value, code);
        return full && code == SQLITE_IOERR_WRITE ? SQLITE_FULL : code;
}

/* Of a write that failed, right after it: for what is said; errno itself decides nothing. */
static int write_errno(rq_err r) { return r != RQ_ENOSPC ? EIO : errno == EFBIG || errno == EDQUOT ? errno : ENOSPC; }

/* Files */

static int file_close(sqlite3_file *base) {
        vfs_file *file = (vfs_file *) base;
        if (file->role == ROLE_TEMP)
                (void) close(file->fd);
        return SQLITE_OK;
}

/* SQLite is to see a database in WAL mode (database_file.h). It reads these
 * bytes with page 1 or with the header. */
static void show_wal_mode(uint8_t *data, size_t size, uint64_t offset) {
        if (offset <= DATABASE_MODE_OFFSET && offset + size >= DATABASE_MODE_OFFSET + DATABASE_MODE_BYTES)
                memset(data + (DATABASE_MODE_OFFSET - offset), DATABASE_MODE_WAL, DATABASE_MODE_BYTES);
}

static bool read_cached(const vfs_file *file, void *data, size_t size, sqlite3_int64 offset) {
        const files_io *io = file->vfs->io;
        if (hasty_reads == 0 || io->pread_cached == NULL)
                return false;
        hasty_reads--;
        return io->pread_cached(io->context, file->fd, data, size, (off_t) offset) == (ssize_t) size;
}

static int file_read(sqlite3_file *base, void *data, int size, sqlite3_int64 offset) {
        vfs_file *file = (vfs_file *) base;
        size_t done = 0;
        if (hasty) {
                if (delayed || !read_cached(file, data, (size_t) size, offset)) {
                        delayed = true;
                        return SQLITE_IOERR_READ;
                }
                if (file->role == ROLE_DATABASE)
                        show_wal_mode(data, (size_t) size, (uint64_t) offset);
                return SQLITE_OK;
        }
        rq_err r;
        if (file->role == ROLE_WAL && file->writer && wal_seal_asked((size_t) size, (uint64_t) offset)) {
                r = wal_seal_sum(&file->seal, file->vfs->io, file->fd, (uint64_t) offset, data);
                return r < 0 ? record(file, write_errno(r), SQLITE_IOERR_WRITE) : SQLITE_OK;
        }
        r = files_io_read_at(file->vfs->io, file->fd, data, (size_t) size, (uint64_t) offset, &done);
        if (r < 0)
                return record(file, EIO, SQLITE_IOERR_READ);
        if (file->role == ROLE_DATABASE)
                show_wal_mode(data, done, (uint64_t) offset);
        if (done == (size_t) size)
                return SQLITE_OK;
        memset((char *) data + done, 0, (size_t) size - done);
        return SQLITE_IOERR_SHORT_READ;
}

static bool may_write(const vfs_file *file) {
        return file->role == ROLE_TEMP || (file->role == ROLE_WAL && file->writer);
}

static int file_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 offset) {
        vfs_file *file = (vfs_file *) base;
        rq_err r;
        if (!may_write(file))
                return record(file, EIO, SQLITE_IOERR_WRITE);
        r = files_io_write_at(file->vfs->io, file->fd, data, (size_t) size, (uint64_t) offset);
        if (r < 0)
                return record(file, write_errno(r), SQLITE_IOERR_WRITE);
        if (file->role == ROLE_WAL)
                wal_seal_wrote(&file->seal, (size_t) size, (uint64_t) offset);
        return SQLITE_OK;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size) {
        vfs_file *file = (vfs_file *) base;
        const files_io *io = file->vfs->io;
        if (!may_write(file))
                return record(file, EIO, SQLITE_IOERR_TRUNCATE);
        return io->truncate(io->context, file->fd, (off_t) size) < 0 ? record(file, errno, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags) {
        (void) base;
        (void) flags;
        return SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret_size) {
        vfs_file *file = (vfs_file *) base;
        struct stat st;
        if (fstat(file->fd, &st) < 0)
                return record(file, errno, SQLITE_IOERR_FSTAT);
        *ret_size = st.st_size;
        return SQLITE_OK;
}

/* Locks of the database file. WAL mode needs no more than SHARED, but SQLite
 * asks for EXCLUSIVE when it would close the last connection or leave WAL. */

static int take_lock(vfs *v, vfs_file *file, int level) {
        if (level == SQLITE_LOCK_SHARED) {
                if (v->pending != NULL)
                        return SQLITE_BUSY;
                v->shared_count++;
                file->lock = SQLITE_LOCK_SHARED;
                return SQLITE_OK;
        }
        if (v->reserved != NULL && v->reserved != file)
                return SQLITE_BUSY;
        v->reserved = file;
        if (level == SQLITE_LOCK_RESERVED) {
                file->lock = SQLITE_LOCK_RESERVED;
                return SQLITE_OK;
        }
        v->pending = file;
        file->lock = SQLITE_LOCK_PENDING;
        if (v->shared_count > 1)
                return SQLITE_BUSY;
        file->lock = SQLITE_LOCK_EXCLUSIVE;
        return SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int level) {
        vfs_file *file = (vfs_file *) base;
        vfs *v = file->vfs;
        int r = SQLITE_OK;
        if (file->role != ROLE_DATABASE || file->lock >= level)
                return SQLITE_OK;
        (void) pthread_mutex_lock(&v->mutex);
        r = take_lock(v, file, level);
        (void) pthread_mutex_unlock(&v->mutex);
        return r;
}

static int file_unlock(sqlite3_file *base, int level) {
        vfs_file *file = (vfs_file *) base;
        vfs *v = file->vfs;
        if (file->role != ROLE_DATABASE || file->lock <= level)
                return SQLITE_OK;
        (void) pthread_mutex_lock(&v->mutex);
        if (v->reserved == file)
                v->reserved = NULL;
        if (v->pending == file)
                v->pending = NULL;
        if (level == SQLITE_LOCK_NONE)
                v->shared_count--;
        file->lock = level;
        (void) pthread_mutex_unlock(&v->mutex);
        return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *base, int *ret_reserved) {
        vfs *v = ((vfs_file *) base)->vfs;
        (void) pthread_mutex_lock(&v->mutex);
        *ret_reserved = v->reserved != NULL;
        (void) pthread_mutex_unlock(&v->mutex);
        return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int op, void *argument) {
        (void) base;
        (void) op;
        (void) argument;
        return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *base) {
        (void) base;
        return 4096;
}

static int file_characteristics(sqlite3_file *base) {
        (void) base;
        return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* The wal-index */

static int file_shm_map(sqlite3_file *base, int region, int bytes, int extend, void volatile **ret_memory) {
        vfs_file *file = (vfs_file *) base;
        int r = wal_index_map(file->vfs->index, region, bytes, extend, ret_memory);
        return r == SQLITE_OK ? r : record(file, ENOMEM, r);
}

static int file_shm_lock(sqlite3_file *base, int first, int count, int flags) {
        vfs_file *file = (vfs_file *) base;
        return wal_index_lock(file->vfs->index, &file->user, first, count, flags);
}

static void file_shm_barrier(sqlite3_file *base) {
        wal_index_barrier(((vfs_file *) base)->vfs->index);
}

static int file_shm_unmap(sqlite3_file *base, int delete) {
        vfs_file *file = (vfs_file *) base;
        (void) delete;
        wal_index_leave(file->vfs->index, &file->user);
        return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
        .iVersion = 2,
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_check_reserved,
        .xFileControl = file_control,
        .xSectorSize = file_sector_size,
        .xDeviceCharacteristics = file_characteristics,
        .xShmMap = file_shm_map,
        .xShmLock = file_shm_lock,
        .xShmBarrier = file_shm_barrier,
        .xShmUnmap = file_shm_unmap,
};

/* Names */

static bool is_database(const char *name) {
        size_t length = strlen(name), own = strlen(DATABASE_FILE_NAME);
        if (length < own || strcmp(name + length - own, DATABASE_FILE_NAME) != 0)
                return false;
        return length == own || name[length - own - 1] == '/';
}

static int vfs_open(sqlite3_vfs *base, sqlite3_filename name, sqlite3_file *ret_file, int flags, int *ret_flags) {
        vfs *v = base->pAppData;
        vfs_file *file = (vfs_file *) ret_file;

        memset(file, 0, sizeof *file);
        file->vfs = v;
        file->writer = base == &v->writer;
        if (flags & SQLITE_OPEN_MAIN_DB && name != NULL && is_database(name)) {
                file->role = ROLE_DATABASE;
                file->fd = v->database_fd;
        } else if (flags & SQLITE_OPEN_WAL) {
                file->role = ROLE_WAL;
                file->fd = v->wal_fd;
                /* A WAL that it cannot write makes SQLite refuse a reader's checkpoint. */
                if (!file->writer)
                        flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
        } else if (flags & (SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_TEMP_JOURNAL | SQLITE_OPEN_SUBJOURNAL)) {
                file->role = ROLE_TEMP;
                file->fd = files_io_open_unnamed(v->io, v->folder_fd);
                if (file->fd < 0)
                        return record(file, errno, SQLITE_CANTOPEN);
        } else {
                /* A rollback journal, or another database: neither exists here. */
                return SQLITE_CANTOPEN;
        }
        if (ret_flags != NULL)
                *ret_flags = flags;
        file->base.pMethods = &methods;
        return SQLITE_OK;
}

/* Nothing is deleted through SQLite: it would do so to a WAL of an empty
 * database or when it leaves WAL mode, and both can't happen here. */
static int vfs_delete(sqlite3_vfs *base, const char *name, int sync_folder) {
        (void) base;
        (void) name;
        (void) sync_folder;
        return SQLITE_IOERR_DELETE;
}

static int vfs_access(sqlite3_vfs *base, const char *name, int flags, int *ret_found) {
        size_t length = strlen(name);
        (void) base;
        (void) flags;
        /* The WAL is always there; a journal left by another program is not ours. */
        *ret_found = is_database(name) || (length > 4 && strcmp(name + length - 4, "-wal") == 0);
        return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *base, const char *name, int size, char *ret_path) {
        (void) base;
        if (strlen(name) >= (size_t) size)
                return SQLITE_CANTOPEN;
        memcpy(ret_path, name, strlen(name) + 1);
        return SQLITE_OK;
}

/* Clock, and what the default VFS does */

static int entry_time_ms(sqlite3_vfs *base, sqlite3_int64 *ret_ms) {
        vfs *v = base->pAppData;
        *ret_ms = UNIX_EPOCH_MS + (sqlite3_int64) (atomic_load(&v->clock_us) / 1000);
        return SQLITE_OK;
}

static int entry_time(sqlite3_vfs *base, double *ret_days) {
        sqlite3_int64 ms = 0;
        (void) entry_time_ms(base, &ms);
        *ret_days = (double) ms / 86400000.0;
        return SQLITE_OK;
}

static sqlite3_vfs *base_of(sqlite3_vfs *v) {
        return ((vfs *) v->pAppData)->base;
}

static int real_time_ms(sqlite3_vfs *v, sqlite3_int64 *ret_ms) {
        return base_of(v)->xCurrentTimeInt64(base_of(v), ret_ms);
}

static int real_time(sqlite3_vfs *v, double *ret_days) {
        return base_of(v)->xCurrentTime(base_of(v), ret_days);
}

static void *library_open(sqlite3_vfs *v, const char *path) {
        return base_of(v)->xDlOpen(base_of(v), path);
}

static void library_error(sqlite3_vfs *v, int size, char *ret_text) {
        base_of(v)->xDlError(base_of(v), size, ret_text);
}

static void (*library_symbol(sqlite3_vfs *v, void *library, const char *name))(void) {
        return base_of(v)->xDlSym(base_of(v), library, name);
}

static void library_close(sqlite3_vfs *v, void *library) {
        base_of(v)->xDlClose(base_of(v), library);
}

static int randomness(sqlite3_vfs *v, int size, char *ret_bytes) {
        return base_of(v)->xRandomness(base_of(v), size, ret_bytes);
}

static int sleep_us(sqlite3_vfs *v, int us) {
        if (hasty) {
                delayed = true;
                return us;
        }
        return base_of(v)->xSleep(base_of(v), us);
}

static int last_error(sqlite3_vfs *v, int size, char *ret_text) {
        return base_of(v)->xGetLastError(base_of(v), size, ret_text);
}

static sqlite3_vfs vfs_methods(vfs *v, const char *name) {
        return (sqlite3_vfs) {
                .iVersion = 2,
                .szOsFile = sizeof(vfs_file),
                .mxPathname = v->base->mxPathname,
                .zName = name,
                .pAppData = v,
                .xOpen = vfs_open,
                .xDelete = vfs_delete,
                .xAccess = vfs_access,
                .xFullPathname = vfs_full_path,
                .xDlOpen = library_open,
                .xDlError = library_error,
                .xDlSym = library_symbol,
                .xDlClose = library_close,
                .xRandomness = randomness,
                .xSleep = sleep_us,
                .xCurrentTime = real_time,
                .xCurrentTimeInt64 = real_time_ms,
                .xGetLastError = last_error,
        };
}

/* The whole interface */

rq_err vfs_new(const files_io *io, int folder_fd, int database_fd, int wal_fd, vfs **ret_vfs) {
        vfs *v = calloc(1, sizeof *v);
        if (v == NULL)
                return RQ_ENOMEM;
        rq_assert(pthread_mutex_init(&v->mutex, NULL) == 0);
        v->io = io;
        v->failure_log = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        v->folder_fd = folder_fd;
        v->database_fd = database_fd;
        v->wal_fd = wal_fd;
        v->base = sqlite3_vfs_find(NULL);
        if (v->base == NULL || wal_index_new(&v->index) < 0) {
                vfs_free(v);
                return RQ_ENOMEM;
        }
        /* SQLite finds a VFS by name: one process may hold several of us. */
        (void) snprintf(v->writer_name, sizeof v->writer_name, "rq-writer-%p", (void *) v);
        (void) snprintf(v->reader_name, sizeof v->reader_name, "rq-reader-%p", (void *) v);
        v->writer = vfs_methods(v, v->writer_name);
        v->writer.xCurrentTime = entry_time;
        v->writer.xCurrentTimeInt64 = entry_time_ms;
        v->reader = vfs_methods(v, v->reader_name);
        v->registered = true;
        if (sqlite3_vfs_register(&v->writer, 0) != SQLITE_OK || sqlite3_vfs_register(&v->reader, 0) != SQLITE_OK) {
                vfs_free(v);
                return RQ_ENOMEM;
        }
        *ret_vfs = v;
        return RQ_OK;
}

vfs *vfs_free(vfs *v) {
        if (v == NULL)
                return NULL;
        if (v->registered) {
                (void) sqlite3_vfs_unregister(&v->writer);
                (void) sqlite3_vfs_unregister(&v->reader);
        }
        wal_index_free(v->index);
        (void) pthread_mutex_destroy(&v->mutex);
        free(v);
        return NULL;
}

const char *vfs_writer_name(const vfs *v) {
        return v->writer_name;
}

const char *vfs_reader_name(const vfs *v) {
        return v->reader_name;
}

void vfs_set_clock(vfs *v, uint64_t clock_us) {
        atomic_store(&v->clock_us, clock_us);
}

vfs_failure vfs_failed(vfs *v, bool clear) {
        return (vfs_failure) (clear ? atomic_exchange(&v->failure, VFS_OK) : atomic_load(&v->failure));
}

void vfs_hasty_begin(uint32_t reads) {
        hasty = true;
        delayed = false;
        hasty_reads = reads;
}

void vfs_hasty_end(void) { hasty = false; }

wal_index *vfs_wal_index(vfs *v) {
        return v->index;
}
