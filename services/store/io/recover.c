#include "io/recover.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "io/swap.h"
#include "io/wal_copy.h"
#include "log/log.h"
#include "log/log_fields.h"

#define ADVICE "move the store's folder aside and let the node be seeded anew"

/* What the steps of one recovery share. */
typedef struct recover_context {
        const files_io *io;
        int folder_fd;
        const char *folder_path;
        runtime_record *record;
        const store_settings *settings;
        rq_buf *problem;
        recovery found;
        database_facts facts;
        bool pending; /* found.last was begun and not finished */
} recover_context;

void recovery_done(recovery *r) {
        rq_closep(&r->database_fd);
        rq_closep(&r->wal_fd);
        rq_closep(&r->intent_fd);
        *r = RECOVERY_EMPTY;
}

static void context_done(recover_context *c) {
        recovery_done(&c->found);
}

const char *recover_way_text(recover_way way) {
        switch (way) {
        case RECOVER_FRESH:  return "created a new database";
        case RECOVER_RECORD: return "went on with the write-ahead log of this boot";
        case RECOVER_INTENT: return "finished a checkpoint that had begun";
        case RECOVER_SWAP:   return "finished the replacement of the database file";
        case RECOVER_STATE:  return "took the database file at its last checkpoint";
        }
        return "unknown";
}

/* One sentence for the operator, then the code. */
#define problem(c, err, format, ...) \
        ((void) rq_buf_printf((c)->problem, "%s/" format, (c)->folder_path, ##__VA_ARGS__), (err))

static int open_file(const recover_context *c, const char *name, int flags) {
        return c->io->open(c->io->context, c->folder_fd, name, flags);
}

/* Deciding: nothing below changes anything. */

/* What another program leaves when it is killed amid a write. The database
 * file doesn't have it yet, but the next outsider would put it there. */
static rq_err check_foreign(recover_context *c, const char *name) {
        struct stat st;
        if (fstatat(c->folder_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size == 0)
                return RQ_OK;
        return problem(c, RQ_EDIVERGED,
                       "%s: another program was writing to the database; move this file away if what it wrote isn't wanted, "
                       "or write it through rq", name);
}

static rq_err check_matches_state(recover_context *c) {
        const database_facts *is = &c->facts, *was = &c->found.state.database;
        if (database_facts_equal(is, was))
                return RQ_OK;
        return problem(c, RQ_EDIVERGED,
                       DATABASE_FILE_NAME ", offset 0: changed by another program since the checkpoint at index %" PRIu64
                       " (bytes %" PRIu64 ", was %" PRIu64 "; change counter %u, was %u; checksum of page 1 %08x, was %08x); " ADVICE,
                       c->found.state.position.index, is->bytes, was->bytes, is->change_counter, was->change_counter,
                       is->page1_crc, was->page1_crc);
}

/* Amid a checkpoint page 1 is the old one or one from the WAL. */
static rq_err check_page1(recover_context *c, const wal_report *report, bool may_be_torn) {
        if (c->facts.page1_crc == c->found.state.database.page1_crc || report->page1_matches)
                return RQ_OK;
        if (report->page1_seen && may_be_torn)
                return RQ_OK;
        return problem(c, RQ_EDIVERGED,
                       DATABASE_FILE_NAME ", offset 0: changed by another program while the checkpoint to index %" PRIu64
                       " was unfinished; " ADVICE, c->found.last.position.index);
}

/* The WAL fits the record of this boot. False also when there is no record.
 * Errors: RQ_EIO, RQ_ENOMEM, RQ_EDIVERGED (the database file doesn't fit). */
static rq_err try_record(recover_context *c, bool *ret_fits) {
        const state_file *state = &c->found.state;
        const intent *last = &c->found.last;
        runtime_state at;
        wal_report report = {0};
        rq_err r;

        *ret_fits = false;
        if (!runtime_record_get(c->record, &at) || !rq_uuid_equal(&at.disk_id, &state->disk_id) ||
            at.position.index < state->position.index)
                return RQ_OK;
        if (at.extent.frames == 0) {
                /* The file alone: what was applied since *state* changed nothing in it. */
                if (c->pending || at.generation != state->generation)
                        return RQ_OK;
        } else {
                if (c->pending && (memcmp(at.extent.salts, last->extent.salts, WAL_SALTS_BYTES) != 0 ||
                                   at.extent.frames < last->extent.frames))
                        return RQ_OK;
                if (c->found.wal_fd < 0)
                        return RQ_OK;
                r = wal_check(c->io, c->found.wal_fd, &at.extent, c->pending ? last->extent.frames : 0, c->facts.page1_crc,
                              &report);
                if (r < 0)
                        return r;
                if (report.verdict != WAL_GOOD) {
                        rq_log_info("%s/%s, offset %" PRIu64 ": %s, so the record of this boot (index %" PRIu64 ") isn't used",
                                    c->folder_path, DATABASE_WAL_NAME, report.offset, wal_verdict_text(report.verdict),
                                    at.position.index);
                        return RQ_OK;
                }
        }
        r = c->pending ? check_page1(c, &report, false) : check_matches_state(c);
        if (r < 0)
                return r;
        c->found.way = RECOVER_RECORD;
        c->found.position = at.position;
        c->found.keep = at.extent;
        *ret_fits = true;
        return RQ_OK;
}

static rq_err check_intent(recover_context *c) {
        const intent *last = &c->found.last;
        wal_report report = {0};
        rq_err r;
        if (c->found.wal_fd < 0)
                return problem(c, RQ_EDIVERGED,
                               DATABASE_WAL_NAME ": missing, but intent says that a checkpoint to index %" PRIu64
                               " had begun; " ADVICE, last->position.index);
        r = wal_check(c->io, c->found.wal_fd, &last->extent, last->extent.frames, c->facts.page1_crc, &report);
        if (r < 0)
                return problem(c, r, DATABASE_WAL_NAME ": cannot be read: %s", rq_err_text(r));
        if (report.verdict != WAL_GOOD)
                return problem(c, RQ_EDIVERGED,
                               DATABASE_WAL_NAME ", offset %" PRIu64 ": %s, but intent says that a checkpoint of %u frames to index %" PRIu64
                               " had begun; " ADVICE, report.offset, wal_verdict_text(report.verdict), last->extent.frames,
                               last->position.index);
        r = check_page1(c, &report, true);
        if (r < 0)
                return r;
        c->found.way = RECOVER_INTENT;
        c->found.position = last->position;
        c->found.keep = last->extent;
        return RQ_OK;
}

static rq_err read_intent(recover_context *c) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        const state_file *state = &c->found.state;
        const intent *last = &c->found.last;
        rq_err r = intent_read(c->io, c->folder_fd, &c->found.intent_fd, &c->found.last, &text);
        if (r < 0)
                return problem(c, r == RQ_ENOENT ? RQ_EDIVERGED : r, "%.*s", (int) text.size, (const char *) text.data);
        if (last->generation == 0)
                return RQ_OK;
        if (!rq_uuid_equal(&last->disk_id, &state->disk_id))
                return problem(c, RQ_EDIVERGED, INTENT_FILE_NAME ", offset %d: belongs to another folder than state; " ADVICE,
                               (int) (last->generation % INTENT_SLOTS * INTENT_SLOT_BYTES + 32));
        c->pending = last->generation > state->generation;
        if (c->pending && last->kind == INTENT_CHECKPOINT && last->position.index < state->position.index)
                return problem(c, RQ_EDIVERGED, INTENT_FILE_NAME ": index %" PRIu64 " is below that of state, %" PRIu64 "; " ADVICE,
                               last->position.index, state->position.index);
        return RQ_OK;
}

static rq_err open_database(recover_context *c) {
        rq_err r;
        c->found.database_fd = open_file(c, DATABASE_FILE_NAME, O_RDWR);
        if (c->found.database_fd < 0)
                return rq_err_from_errno(errno);
        r = database_file_lock(c->found.database_fd);
        if (r == RQ_EBUSY)
                return problem(c, r, DATABASE_FILE_NAME ": open in another program; end that first");
        if (r < 0)
                return problem(c, r, DATABASE_FILE_NAME ": cannot be locked: %s", rq_err_text(r));
        return RQ_OK;
}

static rq_err decide(recover_context *c) {
        bool fits = false;
        rq_err r = open_database(c);
        if (r == RQ_ENOENT)
                return problem(c, RQ_EDIVERGED, DATABASE_FILE_NAME ": missing, but there is a state; " ADVICE);
        if (r < 0)
                return c->problem->size > 0 ? r : problem(c, r, DATABASE_FILE_NAME ": cannot be opened: %s", rq_err_text(r));
        r = check_foreign(c, DATABASE_FILE_NAME "-wal");
        if (r == RQ_OK)
                r = check_foreign(c, DATABASE_FILE_NAME "-journal");
        if (r == RQ_OK)
                r = read_intent(c);
        if (r < 0)
                return r;
        if (c->pending && c->found.last.kind == INTENT_SWAP) {
                c->found.way = RECOVER_SWAP;
                c->found.position = c->found.last.position;
                return RQ_OK;
        }
        r = database_file_facts(c->io, c->found.database_fd, &c->facts);
        if (r < 0)
                return problem(c, r == RQ_ECORRUPT ? RQ_EDIVERGED : r, DATABASE_FILE_NAME ", offset 0: %s; " ADVICE, rq_err_text(r));
        c->found.wal_fd = open_file(c, DATABASE_WAL_NAME, O_RDWR);
        if (c->found.wal_fd < 0 && errno != ENOENT)
                return problem(c, rq_err_from_errno(errno), DATABASE_WAL_NAME ": cannot be opened: %s", strerror(errno));
        r = try_record(c, &fits);
        if (r < 0)
                return c->problem->size > 0 ? r : problem(c, r, DATABASE_WAL_NAME ": cannot be read: %s", rq_err_text(r));
        if (fits)
                return RQ_OK;
        if (c->pending)
                return check_intent(c);
        c->found.way = RECOVER_STATE;
        c->found.position = c->found.state.position;
        return check_matches_state(c);
}

/* An entry that is applied again must come to what it came to the first time,
 * and that was answered. */
static rq_err check_settings(recover_context *c) {
        bool was = c->found.state.settings.foreign_keys;
        if (was == c->settings->foreign_keys)
                return RQ_OK;
        return problem(c, RQ_ECONFIG,
                       STATE_FILE_NAME ": the database was created with -fk=%s, and this start says -fk=%s: what has been answered "
                       "would be undone; start with -fk=%s, or use an empty data directory", was ? "true" : "false",
                       was ? "false" : "true", was ? "true" : "false");
}

/* Without *state* nothing may be here that is worth anything: at most what a
 * creation leaves that was cut short. */
static rq_err decide_fresh(recover_context *c) {
        struct stat st;
        bool is_new = false;
        rq_err r = open_database(c);
        c->found.way = RECOVER_FRESH;
        if (r == RQ_ENOENT)
                return RQ_OK;
        if (r < 0)
                return c->problem->size > 0 ? r : problem(c, r, DATABASE_FILE_NAME ": cannot be opened: %s", rq_err_text(r));
        r = database_file_is_new(c->io, c->found.database_fd, &is_new);
        if (r < 0)
                return problem(c, r, DATABASE_FILE_NAME ": cannot be read: %s", rq_err_text(r));
        if (!is_new || (fstatat(c->folder_fd, DATABASE_WAL_NAME, &st, 0) == 0 && st.st_size > 0))
                return problem(c, RQ_EDIVERGED, "state: missing, but " DATABASE_FILE_NAME " isn't empty; " ADVICE);
        return RQ_OK;
}

/* Doing */

static rq_err open_wal(recover_context *c) {
        if (c->found.wal_fd >= 0)
                return RQ_OK;
        c->found.wal_fd = open_file(c, DATABASE_WAL_NAME, O_RDWR | O_CREAT);
        if (c->found.wal_fd < 0)
                return files_io_error(errno);
        /* An intent's WAL must not vanish with its name. */
        return c->io->sync_folder(c->io->context, c->folder_fd) < 0 ? files_io_error(errno) : RQ_OK;
}

static rq_err cut_wal(recover_context *c) {
        struct stat st;
        uint64_t bytes = wal_extent_bytes(&c->found.keep);
        if (fstat(c->found.wal_fd, &st) < 0)
                return files_io_error(errno);
        if ((uint64_t) st.st_size == bytes)
                return RQ_OK;
        return c->io->truncate(c->io->context, c->found.wal_fd, (off_t) bytes) < 0 ? files_io_error(errno) : RQ_OK;
}

static rq_err create(recover_context *c) {
        rq_err r;
        rq_closep(&c->found.database_fd);
        r = intent_create(c->io, c->folder_fd);
        if (r == RQ_OK)
                r = database_file_create(c->io, c->folder_fd); /* syncs the folder, with the intent's name in it */
        if (r == RQ_OK)
                r = open_database(c);
        if (r == RQ_OK)
                r = intent_read(c->io, c->folder_fd, &c->found.intent_fd, &c->found.last, c->problem);
        if (r == RQ_OK)
                r = database_file_facts(c->io, c->found.database_fd, &c->found.state.database);
        if (r == RQ_OK)
                r = open_wal(c);
        if (r < 0)
                return r;
        c->found.state.disk_id = rq_uuid_random();
        c->found.state.settings = *c->settings;
        c->found.position = c->found.state.position;
        return state_file_write(c->io, c->folder_fd, &c->found.state);
}

/* What was read may be in the page cache alone, if a sync failed before the
 * restart: written again before the old WAL, which would be needed without
 * it, goes. */
static rq_err make_durable(recover_context *c) {
        rq_err r = RQ_OK;
        if (c->found.way == RECOVER_INTENT || c->found.way == RECOVER_SWAP)
                return intent_write(c->io, c->found.intent_fd, &c->found.last);
        if (c->found.way == RECOVER_STATE)
                r = state_file_write(c->io, c->folder_fd, &c->found.state);
        if (r == RQ_ENOSPC) {
                rq_log_event(LOG_WARNING, RQ_MSG_DISK_FULL, "No space to write %s/" STATE_FILE_NAME " again; going on with the one that is there", c->folder_path);
                return RQ_OK;
        }
        return r;
}

/* What the checkpoint that had begun would have done next. */
static rq_err finish_checkpoint(recover_context *c) {
        recovery *f = &c->found;
        rq_err r = wal_copy(c->io, f->wal_fd, f->database_fd, &f->keep, 0);
        if (r < 0)
                return r;
        if (c->io->sync(c->io->context, f->database_fd) < 0)
                return files_io_error(errno);
        r = database_file_facts(c->io, f->database_fd, &f->state.database);
        if (r < 0)
                return r;
        f->state.position = f->last.position;
        f->state.generation = f->last.generation;
        r = state_file_write(c->io, c->folder_fd, &f->state);
        if (r < 0)
                return r;
        f->keep = (wal_extent) {0};
        return cut_wal(c);
}

/* The intent is durable, and the file was before it: the rest of swap.h. The WAL
 * belongs to the old file. */
static rq_err finish_swap(recover_context *c) {
        recovery *f = &c->found;
        rq_err r = swap_finish(c->io, c->folder_fd, &f->last.facts, &f->database_fd);
        if (r == RQ_EDIVERGED)
                return problem(c, r, SWAP_FILE_NAME ": missing or damaged, but intent says that it replaces the database, at index %" PRIu64
                               "; " ADVICE, f->last.position.index);
        if (r == RQ_OK)
                r = open_wal(c);
        if (r == RQ_OK)
                r = cut_wal(c);
        if (r < 0)
                return r;
        f->state.database = f->last.facts;
        f->state.position = f->last.position;
        f->state.generation = f->last.generation;
        return state_file_write(c->io, c->folder_fd, &f->state);
}

static rq_err perform(recover_context *c) {
        rq_err r;
        if (c->found.way == RECOVER_FRESH)
                return create(c);
        if (c->found.way != RECOVER_RECORD)
                runtime_record_clear(c->record);
        r = make_durable(c);
        if (r == RQ_OK && c->found.way == RECOVER_SWAP)
                return finish_swap(c);
        swap_discard(c->io, c->folder_fd); /* no intent names it */
        if (r == RQ_OK)
                r = open_wal(c);
        if (r == RQ_OK)
                r = cut_wal(c);
        if (r == RQ_OK && c->found.way == RECOVER_INTENT)
                r = finish_checkpoint(c);
        return r;
}

rq_err recover(const files_io *io, int folder_fd, const char *folder_path, runtime_record *record,
               const store_settings *settings, recovery *ret_recovery, rq_buf *ret_problem) {
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        RQ_CLEANUP(context_done) recover_context c = {
                .io = io, .folder_fd = folder_fd, .folder_path = folder_path, .record = record, .settings = settings,
                .problem = ret_problem,
                .found = RECOVERY_EMPTY
        };
        rq_err r = state_file_read(io, folder_fd, &c.found.state, &text);
        if (r == RQ_ENOENT)
                r = decide_fresh(&c);
        else if (r < 0)
                return problem(&c, r, "%.*s", (int) text.size, (const char *) text.data);
        else if ((r = check_settings(&c)) == RQ_OK)
                r = decide(&c);
        if (r < 0)
                return r;
        r = perform(&c);
        if (r < 0)
                return c.problem->size > 0 ? r : problem(&c, r, "db.sqlite: cannot prepare the database's files: %s", rq_err_text(r));
        *ret_recovery = c.found;
        c.found = RECOVERY_EMPTY;
        return RQ_OK;
}
