#include "founding.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "log/log.h"
#include "log/log_fields.h"

void founding_done(founding *f) {
        hardstate_close(&f->hardstate_file);
        log_recovered_done(&f->log);
}

static void close_dirp(DIR **dir) {
        if (*dir != NULL)
                (void) closedir(*dir);
}

static bool has_segments(int dir_fd) {
        RQ_CLEANUP(rq_closep) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return false;
        RQ_CLEANUP(close_dirp) DIR *dir = fdopendir(fd);
        if (dir == NULL)
                return false;
        (void) RQ_TAKE(fd, -1);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
                uint64_t index;
                if (segment_name_parse(entry->d_name, &index))
                        return true;
        }
        return false;
}

static rq_err refuse(const char *dir_path, const char *file, const char *what) {
        char field[512];
        const char *fields[] = { RQ_MSG_LOG_CORRUPT, rq_log_field_text(field, sizeof field, RQ_FIELD_FILE, file), NULL };
        return rq_log_error_(RQ_ECORRUPT, fields, "Cannot use %s/%s: %s", dir_path, file, what);
}

/* The identity comes last: with it the folder is founded, without it nothing
 * was ever promised. */
static rq_err found(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        if (has_segments(dir_fd))
                return refuse(dir_path, IDENTITY_NAME, "it is missing although there is a log");
        f->identity.disk_uuid = rq_uuid_random();
        f->identity.database_id = rq_uuid_random();
        (void) snprintf(f->identity.node_id, sizeof f->identity.node_id, "%s", config->node_id);
        rq_err r = hardstate_create(io, dir_fd, &f->identity.disk_uuid, &(hardstate) {0});
        if (r >= 0)
                r = identity_store(io, dir_fd, &f->identity);
        if (r < 0)
                return rq_log_error(r, "Cannot found a cluster in %s", dir_path);
        f->founded = true;
        return RQ_OK;
}

static rq_err load_identity(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        rq_err r = identity_load(io, dir_fd, &f->identity);
        if (r == RQ_ENOENT)
                return found(io, dir_fd, dir_path, config, f);
        if (r == RQ_ECORRUPT)
                return refuse(dir_path, IDENTITY_NAME, "it is damaged");
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/%s", dir_path, IDENTITY_NAME);
        /* A default id follows from an address and may change with it; the
         * folder's own stays. */
        if (config->node_id_given && strcmp(config->node_id, f->identity.node_id) != 0)
                return rq_log_error(RQ_ECONFIG, "%s belongs to node \"%s\": start with -node-id %s, or use an empty data directory",
                                    dir_path, f->identity.node_id, f->identity.node_id);
        return RQ_OK;
}

static rq_err load_hardstate(const log_io *io, int dir_fd, const char *dir_path, founding *f) {
        rq_err r = hardstate_open(io, dir_fd, &f->identity.disk_uuid, &f->hardstate_file, &f->hardstate);
        /* Architecture rule 8: who may have forgotten a vote doesn't vote. */
        if (r == RQ_ENOENT)
                return refuse(dir_path, HARDSTATE_NAME, "it is missing, and with it the votes of this node");
        if (r == RQ_ECORRUPT)
                return refuse(dir_path, HARDSTATE_NAME, "both copies are damaged");
        return r < 0 ? rq_log_error(r, "Cannot read %s/%s", dir_path, HARDSTATE_NAME) : RQ_OK;
}

static rq_err load_log(const log_io *io, int dir_fd, const char *dir_path, founding *f) {
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0};
        rq_err r = log_recover(io, dir_fd, &f->identity.database_id, f->hardstate.commit, &f->log, &problem);
        if (r == RQ_ECORRUPT || r == RQ_EVERSION) {
                const char *fields[] = { RQ_MSG_LOG_CORRUPT, NULL };
                return rq_log_error_(r, fields, "Cannot use the log in %s: %.*s", dir_path, (int) problem.size, (const char *) problem.data);
        }
        if (r < 0)
                return rq_log_error(r, "Cannot read the log in %s: %.*s", dir_path, (int) problem.size,
                                    problem.size > 0 ? (const char *) problem.data : "");
        if (f->log.last_term > f->hardstate.term)
                return refuse(dir_path, HARDSTATE_NAME, "it is older than the log");
        if (f->log.torn) {
                char offset[64];
                const char *fields[] = { RQ_MSG_LOG_TORN, rq_log_field_u64(offset, sizeof offset, RQ_FIELD_OFFSET, f->log.end_offset), NULL };
                rq_log_write(LOG_NOTICE, fields, "The log's last write was not finished when the node stopped; nothing that was promised is lost. "
                             "Continuing behind index %" PRIu64, f->log.last_index);
        }
        return RQ_OK;
}

rq_err founding_open(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config,
                     founding *ret_founding) {
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        rq_err r = load_identity(io, dir_fd, dir_path, config, &f);
        if (r >= 0)
                r = load_hardstate(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_log(io, dir_fd, dir_path, &f);
        if (r < 0)
                return r;
        *ret_founding = RQ_TAKE(f, ((founding) { .hardstate_file = { .fd = -1 } }));
        return RQ_OK;
}
