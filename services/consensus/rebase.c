#include "rebase.h"

#include <inttypes.h>

#include "base/cleanup.h"
#include "io/hardstate.h"
#include "io/log_place.h"
#include "log/log.h"

static rq_err raise_hardstate(const log_io *io, int dir_fd, const rq_uuid *disk_uuid, const base_file *base) {
        hardstate_file file = { .fd = -1 };
        hardstate state;
        rq_err r = hardstate_open(io, dir_fd, disk_uuid, &file, &state);
        if (r < 0)
                return r;
        if (state.term < base->term) {
                state.term = base->term;
                state.vote = 0;
        }
        /* What was known to be committed beyond it comes again; it is not this log's any more. */
        state.commit = base->index;
        r = hardstate_write(&file, &state);
        hardstate_close(&file);
        return r;
}

typedef struct removal {
        const log_io *io;
        int dir_fd;
        rq_err err;
} removal;

static void remove_segment(void *arg, const char *name) {
        removal *x = arg;
        uint64_t index;
        if (x->err >= 0 && segment_name_parse(name, &index) && x->io->unlink(x->io->arg, x->dir_fd, name) != 0)
                x->err = rq_err_from_errno(errno);
}

static rq_err remove_log(const log_io *io, int dir_fd) {
        removal x = { .io = io, .dir_fd = dir_fd };
        if (io->list(io->arg, dir_fd, remove_segment, &x) != 0)
                return rq_err_from_errno(errno);
        if (x.err < 0)
                return x.err;
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}

static rq_err begin_log(const log_io *io, int dir_fd, const base_file *base, uint64_t segment_bytes) {
        RQ_CLEANUP(log_configurations_done) log_configurations configurations = {0};
        RQ_CLEANUP(log_place_close) log_place place = { .fd = -1 };
        rq_err r = log_configurations_add(&configurations, base->configuration_index, rq_buf_bytes(&base->configuration));
        if (r < 0)
                return r;
        const log_place_options options = {
                .io = io, .dir_fd = dir_fd, .database_id = base->database_id, .last_index = base->index, .last_term = base->term,
                .clock_us = base->clock_us, .configurations = &configurations, .segment_bytes = segment_bytes,
                .no_thread = true,
        };
        r = log_place_open(&options, &place);
        if (r < 0)
                return r;
        while ((r = log_place_begin(&place)) == RQ_EAGAIN && (r = log_spare_make(place.spare)) >= 0)
                ;
        return r;
}

static rq_err perform(const log_io *io, int dir_fd, const rq_uuid *disk_uuid, const base_file *base, uint64_t segment_bytes) {
        rq_err r = raise_hardstate(io, dir_fd, disk_uuid, base);
        if (r >= 0)
                r = remove_log(io, dir_fd);
        if (r >= 0)
                r = begin_log(io, dir_fd, base, segment_bytes);
        if (r >= 0)
                r = base_file_remove(io, dir_fd);
        return r;
}

rq_err rebase_now(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *disk_uuid, base_file *base,
                  uint64_t segment_bytes) {
        base->decided = true;
        rq_err r = base_file_store(io, dir_fd, base);
        if (r >= 0)
                r = perform(io, dir_fd, disk_uuid, base, segment_bytes);
        if (r < 0)
                return rq_log_error(r, "Cannot begin the log in %s anew behind index %" PRIu64, dir_path, base->index);
        rq_log_notice("The log begins anew behind index %" PRIu64 ", where the snapshot of another node ends", base->index);
        return RQ_OK;
}

rq_err rebase_finish(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *disk_uuid, uint64_t segment_bytes,
                     base_file *ret_base) {
        RQ_CLEANUP(base_file_done) base_file base = {0};
        rq_err r = base_file_load(io, dir_fd, &base);
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/" BASE_FILE_NAME, dir_path);
        if (base.decided)
                return rebase_now(io, dir_fd, dir_path, disk_uuid, &base, segment_bytes);
        *ret_base = RQ_TAKE(base, (base_file) {0});
        return RQ_OK;
}
