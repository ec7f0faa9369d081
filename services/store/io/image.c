#include "io/image.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/checksum.h"
#include "base/cleanup.h"

struct image_set {
        const files_io *io;
        int folder_fd, database_fd;
        pthread_mutex_t mutex;
        state_file state;   /* what the file is now, unless it is moving */
        bool moving;
        image *first;
        uint32_t count;
};

struct image {
        image_set *set;
        image *next;
        image_facts facts;
        bool seen;              /* by a transaction: not the file of a checkpoint */
        /* Under the set's mutex: */
        uint64_t released;      /* below it nothing is needed */
        uint8_t *saved;         /* a bit for each page that is in the side file, at its own offset */
        int side_fd;
        uint64_t side_bytes, side_bytes_max;
        const char *problem;
};

/* --- the set ---------------------------------------------------------------- */

rq_err image_set_new(const files_io *io, int folder_fd, int database_fd, const state_file *state, image_set **ret_set) {
        image_set *set = calloc(1, sizeof *set);
        if (set == NULL)
                return RQ_ENOMEM;
        *set = (image_set) { .io = io, .folder_fd = folder_fd, .database_fd = database_fd, .state = *state };
        rq_assert(pthread_mutex_init(&set->mutex, NULL) == 0);
        *ret_set = set;
        return RQ_OK;
}

image_set *image_set_free(image_set *set) {
        if (set == NULL)
                return NULL;
        rq_assert(set->first == NULL);
        (void) pthread_mutex_destroy(&set->mutex);
        free(set);
        return NULL;
}

uint32_t image_set_count(image_set *set) {
        (void) pthread_mutex_lock(&set->mutex);
        uint32_t count = set->count;
        (void) pthread_mutex_unlock(&set->mutex);
        return count;
}

/* --- opening ---------------------------------------------------------------- */

/* Of what travels with the image, and of what the file looks like: two files
 * that are the same on both count as the same. */
static rq_err digest_of(const state_file *state, uint64_t *ret_digest) {
        RQ_CLEANUP(rq_buf_done) rq_buf bytes = {0};
        state_file shared = *state;
        shared.disk_id = (rq_uuid) {0};
        shared.generation = 0;
        rq_err r = state_file_encode(&shared, &bytes);
        if (r < 0)
                return r;
        uint64_t crc = rq_crc32c(0, bytes.data, bytes.size);
        *ret_digest = rq_hash_mix(rq_hash_mix(crc, state->position.outcome_hash), state->database.page1_crc);
        return RQ_OK;
}

static uint64_t page_count(const image *i) { return (i->facts.bytes + i->facts.page_size - 1) / i->facts.page_size; }
static void mark_saved(image *i, uint64_t page) { i->saved[page / 8] |= (uint8_t) (1u << page % 8); }

static rq_err make_map(image *i) {
        i->saved = calloc((size_t) (page_count(i) / 8 + 1), 1);
        return i->saved == NULL ? RQ_ENOMEM : RQ_OK;
}

static rq_err describe(const image_set *set, image *i) {
        const state_file *state = &set->state;
        if (state->database.page_size == 0)
                return RQ_ECORRUPT;
        i->facts = (image_facts) {
                .id = { .disk_id = state->disk_id, .index = state->position.index, .term = state->position.term },
                .bytes = state->database.bytes, .page_size = state->database.page_size,
                .position = state->position, .settings = state->settings, .database = state->database,
        };
        rq_err r = digest_of(state, &i->facts.id.digest);
        if (r < 0)
                return r;
        return make_map(i);
}

static void image_freep(image **i) {
        if (*i == NULL)
                return;
        rq_closep(&(*i)->side_fd);
        free((*i)->saved);
        free(*i);
}

static void join(image_set *set, image *i) {
        i->next = set->first;
        set->first = i;
        set->count++;
}

static rq_err open_under_lock(image_set *set, image *i) {
        if (set->moving)
                return RQ_EAGAIN;
        if (set->count == IMAGES_MAX)
                return RQ_EFULL;
        rq_err r = describe(set, i);
        if (r < 0)
                return r;
        join(set, i);
        return RQ_OK;
}

static rq_err new_image(image_set *set, uint64_t side_bytes_max, image **ret_image) {
        RQ_CLEANUP(image_freep) image *i = calloc(1, sizeof *i);
        if (i == NULL)
                return RQ_ENOMEM;
        i->set = set;
        i->side_bytes_max = side_bytes_max;
        i->side_fd = files_io_open_unnamed(set->io, set->folder_fd);
        if (i->side_fd < 0)
                return files_io_error(errno);
        *ret_image = RQ_TAKE(i, NULL);
        return RQ_OK;
}

rq_err image_open(image_set *set, uint64_t side_bytes_max, image **ret_image) {
        RQ_CLEANUP(image_freep) image *i = NULL;
        rq_err e = new_image(set, side_bytes_max, &i);
        if (e < 0)
                return e;
        (void) pthread_mutex_lock(&set->mutex);
        rq_err r = open_under_lock(set, i);
        (void) pthread_mutex_unlock(&set->mutex);
        if (r < 0)
                return r;
        *ret_image = RQ_TAKE(i, NULL);
        return RQ_OK;
}

rq_err image_open_seen(image_set *set, uint64_t index, uint64_t bytes, uint32_t page_size, image **ret_image) {
        RQ_CLEANUP(image_freep) image *i = NULL;
        rq_err r = new_image(set, UINT64_MAX, &i);
        if (r < 0)
                return r;
        i->seen = true;
        i->facts = (image_facts) { .id.index = index, .bytes = bytes, .page_size = page_size };
        r = make_map(i);
        /* What is in no file reads as zeros: pages that were freed before they were ever written. */
        if (r >= 0 && set->io->truncate(set->io->context, i->side_fd, (off_t) bytes) < 0)
                r = files_io_error(errno);
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&set->mutex);
        uint32_t seen = 0;
        for (const image *other = set->first; other != NULL; other = other->next)
                seen += other->seen;
        if (set->count == IMAGES_MAX || seen >= IMAGES_SEEN_MAX)
                r = RQ_EFULL;
        else
                join(set, i);
        (void) pthread_mutex_unlock(&set->mutex);
        if (r >= 0)
                *ret_image = RQ_TAKE(i, NULL);
        return r;
}

rq_err image_put(image *i, uint32_t page, const void *data) {
        const uint32_t page_size = i->facts.page_size;
        if (page == 0 || page > page_count(i))
                return RQ_EINVAL;
        (void) pthread_mutex_lock(&i->set->mutex);
        /* What a checkpoint has saved there meanwhile is older. */
        rq_err r = i->problem != NULL ? RQ_EIO : files_io_write_at(i->set->io, i->side_fd, data, page_size, (uint64_t) (page - 1) * page_size);
        if (r >= 0)
                mark_saved(i, page - 1);
        (void) pthread_mutex_unlock(&i->set->mutex);
        return r;
}

rq_err image_settle(image *i) {
        struct stat st;
        rq_err r = RQ_OK;
        (void) pthread_mutex_lock(&i->set->mutex);
        if (i->problem != NULL)
                r = RQ_EIO;
        else if (fstat(i->set->database_fd, &st) < 0)
                r = files_io_error(errno);
        for (uint64_t page = r >= 0 ? (uint64_t) st.st_size / i->facts.page_size : UINT64_MAX; page < page_count(i); page++)
                mark_saved(i, page);
        (void) pthread_mutex_unlock(&i->set->mutex);
        return r;
}

image *image_close(image *i) {
        if (i == NULL)
                return NULL;
        image_set *set = i->set;
        (void) pthread_mutex_lock(&set->mutex);
        image **at = &set->first;
        while (*at != i)
                at = &(*at)->next;
        *at = i->next;
        set->count--;
        (void) pthread_mutex_unlock(&set->mutex);
        image_freep(&i);
        return NULL;
}

const image_facts *image_facts_of(const image *i) { return &i->facts; }

const char *image_problem(image *i) {
        (void) pthread_mutex_lock(&i->set->mutex);
        const char *problem = i->problem;
        (void) pthread_mutex_unlock(&i->set->mutex);
        return problem;
}

void image_release(image *i, uint64_t offset) {
        (void) pthread_mutex_lock(&i->set->mutex);
        if (offset > i->released)
                i->released = offset;
        (void) pthread_mutex_unlock(&i->set->mutex);
}

/* --- reading ---------------------------------------------------------------- */

static bool is_saved(const image *i, uint64_t page) { return (i->saved[page / 8] & 1u << page % 8) != 0; }

/* What was saved replaces what was read from the file, which may have changed
 * since: a page is saved before it is overwritten. there: bytes that the file had. */
static rq_err overlay(image *i, uint64_t offset, uint8_t *data, size_t size, size_t there) {
        const uint32_t page_size = i->facts.page_size;
        for (uint64_t page = offset / page_size; page * page_size < offset + size; page++) {
                uint64_t from = page * page_size, to = from + page_size;
                from = from < offset ? offset : from;
                to = to > offset + size ? offset + size : to;
                size_t got;
                if (!is_saved(i, page)) {
                        if (to - offset > there)
                                return RQ_EIO; /* the file was cut by somebody else */
                        continue;
                }
                rq_err r = files_io_read_at(i->set->io, i->side_fd, data + (from - offset), (size_t) (to - from), from, &got);
                if (r < 0 || got < to - from)
                        return r < 0 ? r : RQ_EIO;
        }
        return RQ_OK;
}

rq_err image_read(image *i, uint64_t offset, void *data, size_t size, size_t *ret_size) {
        image_set *set = i->set;
        size_t there = 0;
        if (offset > i->facts.bytes)
                return RQ_EINVAL;
        if (size > i->facts.bytes - offset)
                size = (size_t) (i->facts.bytes - offset);
        rq_err r = files_io_read_at(set->io, set->database_fd, data, size, offset, &there);
        if (r < 0)
                return r;
        (void) pthread_mutex_lock(&set->mutex);
        if (i->problem != NULL)
                r = RQ_ECANCELED;
        else if (offset < i->released)
                r = RQ_EINVAL;
        else
                r = overlay(i, offset, data, size, there);
        (void) pthread_mutex_unlock(&set->mutex);
        if (r == RQ_OK)
                *ret_size = size;
        return r;
}

/* --- the checkpoint's side -------------------------------------------------- */

void image_set_begin(image_set *set) {
        if (set == NULL)
                return;
        (void) pthread_mutex_lock(&set->mutex);
        set->moving = true;
        (void) pthread_mutex_unlock(&set->mutex);
}

void image_set_end(image_set *set, const state_file *state) {
        if (set == NULL)
                return;
        (void) pthread_mutex_lock(&set->mutex);
        set->moving = false;
        set->state = *state;
        (void) pthread_mutex_unlock(&set->mutex);
}

static void give_up(image *i, const char *problem) {
        i->problem = problem;
        /* Its space is wanted by others now. */
        (void) i->set->io->truncate(i->set->io->context, i->side_fd, 0);
}

/* page from 0; bytes: of it, which is less than a page's for no file of ours. */
static void save_page(image *i, uint64_t page, const uint8_t *data, size_t bytes) {
        const files_io *io = i->set->io;
        if (i->side_bytes + bytes > i->side_bytes_max) {
                give_up(i, "the database changes faster than the copy is taken: its side file is full");
                return;
        }
        rq_err r = files_io_write_at(io, i->side_fd, data, bytes, page * i->facts.page_size);
        if (r < 0) {
                give_up(i, r == RQ_ENOSPC ? "the disk is full" : "its side file cannot be written");
                return;
        }
        mark_saved(i, page);
        i->side_bytes += bytes;
}

static bool is_needed(const image *i, uint64_t page) {
        return i->problem == NULL && page < page_count(i) && (page + 1) * i->facts.page_size > i->released && !is_saved(i, page);
}

/* Under the mutex. */
static void save_for_all(image_set *set, uint64_t page, uint32_t page_size) {
        uint8_t *data = NULL;
        size_t got = 0;
        bool failed = false;
        for (image *i = set->first; i != NULL; i = i->next) {
                if (!is_needed(i, page))
                        continue;
                if (data == NULL) {
                        data = calloc(page_size, 1);
                        failed = data == NULL || files_io_read_at(set->io, set->database_fd, data, page_size, page * page_size, &got) < 0;
                }
                /* Behind the end of the file there may be pages that a transaction sees: image_put() knows
                 * better than these zeros. */
                if (failed || (got < page_size && !i->seen) || i->facts.page_size != page_size)
                        give_up(i, "a page that it still needs could not be kept");
                else
                        save_page(i, page, data, page_size);
        }
        free(data);
}

void image_set_save(image_set *set, uint32_t page, uint32_t page_size) {
        if (set == NULL)
                return;
        (void) pthread_mutex_lock(&set->mutex);
        if (set->first != NULL)
                save_for_all(set, page - 1, page_size);
        (void) pthread_mutex_unlock(&set->mutex);
}

void image_set_cut(image_set *set, uint64_t bytes) {
        if (set == NULL)
                return;
        (void) pthread_mutex_lock(&set->mutex);
        uint64_t end = 0;
        uint32_t page_size = 0;
        for (image *i = set->first; i != NULL; i = i->next) {
                if (i->facts.bytes > end)
                        end = i->facts.bytes;
                page_size = i->facts.page_size;
        }
        for (uint64_t page = page_size > 0 ? bytes / page_size : 0; page_size > 0 && page * page_size < end; page++)
                save_for_all(set, page, page_size);
        (void) pthread_mutex_unlock(&set->mutex);
}
