#include "founding.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "io/log_place.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "record.h"

enum { FOUNDING_TERM = 1 }; /* of the configuration entry; nobody votes in it */

_Static_assert((int) MEMBERSHIP_BYTES_MAX <= (int) SEGMENT_CONFIGURATION_MAX, "a segment's header carries any configuration");

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

/* The identity comes after the hard state: with it the folder is founded,
 * without it nothing was ever promised. */
static rq_err found(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        if (has_segments(dir_fd))
                return refuse(dir_path, IDENTITY_NAME, "it is missing although there is a log");
        f->identity.disk_uuid = rq_uuid_random();
        f->identity.database_id = rq_uuid_random();
        (void) snprintf(f->identity.node_id, sizeof f->identity.node_id, "%s", config->node_id);
        rq_err r = hardstate_create(io, dir_fd, &f->identity.disk_uuid, &(hardstate) { .term = FOUNDING_TERM });
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
        if (rq_uuid_is_zero(&f->identity.database_id))
                return rq_log_error(RQ_ECONFIG, "%s belongs to a node that has not joined its cluster yet, which this version can't do: "
                                    "use an empty data directory", dir_path);
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
        if (r == RQ_EVERSION)
                return rq_log_error(r, "%s/%s was written by a newer version of rq, and with it perhaps a vote: start that version again",
                                    dir_path, HARDSTATE_NAME);
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/%s", dir_path, HARDSTATE_NAME);
        if (f->hardstate.not_a_voter)
                rq_log_warning("%s/%s says that this node may not vote: it doesn't lead, and takes no writes", dir_path, HARDSTATE_NAME);
        return RQ_OK;
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
        /* The log's first entry is durable before the first vote is. */
        const hardstate *h = &f->hardstate;
        if (f->log.last_index == 0 && (h->term != FOUNDING_TERM || h->vote != 0 || h->commit != 0 || h->not_a_voter))
                return refuse(dir_path, "*.log", "the log is missing, although this node has voted");
        if (f->log.torn) {
                char offset[64];
                const char *fields[] = { RQ_MSG_LOG_TORN, rq_log_field_u64(offset, sizeof offset, RQ_FIELD_OFFSET, f->log.end_offset), NULL };
                rq_log_write(LOG_NOTICE, fields, "The log's last write was not finished when the node stopped; nothing that was promised is lost. "
                             "Continuing behind index %" PRIu64, f->log.last_index);
        }
        return RQ_OK;
}

static rq_err encode_first_entry(const founding *f, const consensus_config *config, rq_buf *out) {
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        membership self = { .count = 1, .members[0] = { .disk_uuid = f->identity.disk_uuid, .voter = true } };
        if (strlen(config->raft_addr) > MEMBERSHIP_ADDRESS_MAX)
                return rq_log_error(RQ_ECONFIG, "The raft address is longer than %d bytes", MEMBERSHIP_ADDRESS_MAX);
        memcpy(self.members[0].node_id, f->identity.node_id, strlen(f->identity.node_id));
        memcpy(self.members[0].raft_addr, config->raft_addr, strlen(config->raft_addr));
        rq_err r = membership_encode(&self, &body);
        if (r >= 0)
                r = rq_buf_reserve(out, RECORD_HEADER_BYTES + body.size);
        if (r < 0)
                return r;
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = record_kind_level(RECORD_CONFIGURATION), .index = 1,
                .term = FOUNDING_TERM, .clock_us = rq_clock_wall_us(), .database_id = f->identity.database_id,
        };
        record_header_encode(out->data, &header, rq_buf_bytes(&body));
        memcpy(out->data + RECORD_HEADER_BYTES, body.data, body.size);
        out->size = RECORD_HEADER_BYTES + body.size;
        return RQ_OK;
}

static rq_err append_first_entry(const log_io *io, int dir_fd, const founding *f, rq_bytes record) {
        const log_recovered *log = &f->log;
        const uint64_t first = 1; /* of a segment that was begun and got no entry */
        const log_place_options options = {
                .io = io, .dir_fd = dir_fd, .database_id = f->identity.database_id, .configurations = &log->configurations,
                .segment_firsts = &first, .segment_count = log->catalog.segment_count,
                .end_offset = log->end_offset, .end_crc = log->end_crc,
        };
        const log_write write = {
                .first_index = 1, .last_index = 1, .last_term = FOUNDING_TERM,
                .last_clock_us = record_peek_clock_us(record.data), .records = record,
        };
        RQ_CLEANUP(log_place_close) log_place place = { .fd = -1 };
        rq_err r = log_place_open(&options, &place);
        if (r < 0)
                return r;
        while ((r = log_place_add(&place, &write)) == RQ_EAGAIN)
                ; /* the segment is being made */
        return r < 0 ? r : log_place_sync(&place);
}

/* A founder's log begins with who the members are. Also after a crash before
 * that entry was durable: nothing has happened since then. */
static rq_err begin_log(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        RQ_CLEANUP(rq_buf_done) rq_buf record = {0};
        if (f->log.last_index > 0)
                return RQ_OK;
        rq_err r = encode_first_entry(f, config, &record);
        if (r >= 0)
                r = append_first_entry(io, dir_fd, f, rq_buf_bytes(&record));
        if (r < 0)
                return rq_log_error(r, "Cannot begin the log in %s", dir_path);
        log_recovered_done(&f->log);
        return load_log(io, dir_fd, dir_path, f);
}

static rq_err check_membership(const char *dir_path, founding *f) {
        const log_configuration latest = log_configurations_at(&f->log.configurations, f->log.last_index);
        raft_id voters[MEMBERSHIP_COUNT_MAX];
        if (latest.index == 0)
                return refuse(dir_path, "*.log", "the log doesn't say who the members are");
        rq_err r = membership_decode(latest.body, &f->membership);
        if (r < 0)
                return rq_log_error(r, "Cannot read who the members are, entry %" PRIu64 " of the log in %s", latest.index, dir_path);
        f->configuration_index = latest.index;
        uint32_t count = membership_voters(&f->membership, voters);
        if (f->membership.count != 1 || count != 1 || voters[0] != membership_raft_id(&f->identity.disk_uuid))
                return rq_log_error(RQ_ECONFIG, "The cluster of %s has %" PRIu32 " members, %" PRIu32 " of them voters (entry %" PRIu64
                                    "): this version runs clusters whose only member is the node itself",
                                    dir_path, f->membership.count, count, latest.index);
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
        if (r >= 0)
                r = begin_log(io, dir_fd, dir_path, config, &f);
        if (r >= 0)
                r = check_membership(dir_path, &f);
        if (r < 0)
                return r;
        *ret_founding = RQ_TAKE(f, ((founding) { .hardstate_file = { .fd = -1 } }));
        return RQ_OK;
}
