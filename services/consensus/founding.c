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

/* The next ones are as the configuration says; one that is small is there sooner. */
enum { FIRST_SEGMENT_BYTES = 256 * 1024 };

_Static_assert((int) MEMBERSHIP_BYTES_MAX <= (int) SEGMENT_CONFIGURATION_MAX, "a segment's header carries any configuration");
_Static_assert((int) RECORD_HEADER_BYTES + (int) MEMBERSHIP_BYTES_MAX <= (int) FOUNDING_BYTES_MAX, "any founding fits its file");

void founding_done(founding *f) {
        hardstate_close(&f->hardstate_file);
        log_recovered_done(&f->log);
        cluster_file_done(&f->cluster);
        rq_buf_done(&f->record);
}

log_configuration founding_configuration_at(const founding *f, uint64_t index) {
        log_configuration by_log = log_configurations_at(&f->log.configurations, index);
        if (f->cluster.members.size > 0 && by_log.index <= f->cluster.index)
                by_log.body = rq_buf_bytes(&f->cluster.members);
        return by_log;
}

static void close_dirp(DIR **dir) {
        if (*dir != NULL)
                (void) closedir(*dir);
}

/* The index of any segment. RQ_ENOENT: there is none. */
static rq_err find_segment(int dir_fd, uint64_t *ret_index) {
        RQ_CLEANUP(rq_closep) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return rq_err_from_errno(errno);
        RQ_CLEANUP(close_dirp) DIR *dir = fdopendir(fd);
        if (dir == NULL)
                return RQ_ENOMEM;
        (void) RQ_TAKE(fd, -1);
        for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
                if (segment_name_parse(entry->d_name, ret_index))
                        return RQ_OK;
        return RQ_ENOENT;
}

static rq_err refuse(const char *dir_path, const char *file, const char *what) {
        char field[512];
        const char *fields[] = { RQ_MSG_LOG_CORRUPT, rq_log_field_text(field, sizeof field, RQ_FIELD_FILE, file), NULL };
        return rq_log_error_(RQ_ECORRUPT, fields, "Cannot use %s/%s: %s", dir_path, file, what);
}

/* The identity comes after the hard state: with it the folder is founded,
 * without it nothing was ever promised. */
static rq_err found_alone(const log_io *io, int dir_fd, founding *f) {
        f->identity.database_id = rq_uuid_random();
        rq_err r = hardstate_create(io, dir_fd, &f->identity.disk_uuid, &(hardstate) { .term = FOUNDING_TERM });
        if (r >= 0)
                r = identity_store(io, dir_fd, &f->identity);
        f->founded = r >= 0;
        return r;
}

static rq_err begin_folder(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        uint64_t index;
        rq_err r = find_segment(dir_fd, &index);
        if (r == RQ_OK)
                return refuse(dir_path, IDENTITY_NAME, "it is missing although there is a log");
        if (r != RQ_ENOENT)
                return rq_log_error(r, "Cannot read %s", dir_path);
        if (config->stays_learner && !config->joins)
                return rq_log_error(RQ_ECONFIG, "Cannot create a new read replica (-raft-non-voter) without a cluster to join (-join)");
        f->identity.disk_uuid = rq_uuid_random();
        (void) snprintf(f->identity.node_id, sizeof f->identity.node_id, "%s", config->node_id);
        f->unformed = config->bootstrap_expect > 1 || config->joins;
        r = f->unformed ? identity_store(io, dir_fd, &f->identity) : found_alone(io, dir_fd, f);
        return r < 0 ? rq_log_error(r, "Cannot found a cluster in %s", dir_path) : RQ_OK;
}

static rq_err load_identity(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config, founding *f) {
        rq_err r = identity_load(io, dir_fd, &f->identity);
        if (r == RQ_ENOENT)
                return begin_folder(io, dir_fd, dir_path, config, f);
        if (r == RQ_ECORRUPT)
                return refuse(dir_path, IDENTITY_NAME, "it is damaged");
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/%s", dir_path, IDENTITY_NAME);
        f->unformed = rq_uuid_is_zero(&f->identity.database_id);
        if (f->unformed && config->bootstrap_expect <= 1 && !config->joins)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "%s belongs to a node that is not in a cluster yet: start it with -join (and -bootstrap-expect) as "
                                    "before, or use an empty data directory", dir_path);
        /* A default id follows from an address and may change with it; the
         * folder's own stays. */
        if (config->node_id_given && strcmp(config->node_id, f->identity.node_id) != 0)
                return rq_log_error_event(RQ_ECONFIG, RQ_MSG_BAD_CONFIG, "%s belongs to node \"%s\": start with -node-id %s, or use an empty data directory",
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
                rq_log_event(LOG_WARNING, RQ_MSG_NOT_VOTING, "%s/%s says that this node may not vote: it doesn't lead, and takes no writes", dir_path, HARDSTATE_NAME);
        return RQ_OK;
}

static bool has_joined(const founding *f) { return f->cluster.members.size > 0; }

static rq_err load_cluster(const log_io *io, int dir_fd, const char *dir_path, founding *f) {
        rq_err r = cluster_file_load(io, dir_fd, &f->cluster);
        if (r == RQ_ENOENT)
                r = RQ_OK;
        else if (r == RQ_ECORRUPT)
                return refuse(dir_path, CLUSTER_FILE_NAME, "it is damaged");
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/%s", dir_path, CLUSTER_FILE_NAME);
        f->cluster_id = rq_uuid_is_zero(&f->cluster.cluster_id) ? f->identity.database_id : f->cluster.cluster_id;
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
        /* The log's first entry is durable before the first vote is; who has joined hears of terms before it gets
         * an entry. */
        const hardstate *h = &f->hardstate;
        if (f->log.last_index == 0 && ((h->term != FOUNDING_TERM && !has_joined(f)) || h->vote != 0 || h->commit != 0 || h->not_a_voter))
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
        membership self = { .count = 1, .members[0] = { .disk_uuid = f->identity.disk_uuid, .voter = true } };
        if (strlen(config->raft_addr) > MEMBERSHIP_ADDRESS_MAX)
                return rq_log_error(RQ_ECONFIG, "The raft address is longer than %d bytes", MEMBERSHIP_ADDRESS_MAX);
        memcpy(self.members[0].node_id, f->identity.node_id, strlen(f->identity.node_id));
        memcpy(self.members[0].raft_addr, config->raft_addr, strlen(config->raft_addr));
        return founding_encode(&self, &f->identity.database_id, rq_clock_wall_us(), out);
}

/* log: holds no entry yet, but perhaps a segment. */
static rq_err append_first_entry(const log_io *io, int dir_fd, const rq_uuid *database_id, const log_recovered *log, rq_bytes record) {
        const uint64_t first = 1; /* of a segment that was begun and got no entry */
        const log_place_options options = {
                .io = io, .dir_fd = dir_fd, .database_id = *database_id, .configurations = &log->configurations,
                .segment_firsts = &first, .segment_count = log->catalog.segment_count,
                .end_offset = log->end_offset, .end_crc = log->end_crc, .segment_bytes = FIRST_SEGMENT_BYTES,
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
        if (f->log.last_index > 0 || has_joined(f))
                return RQ_OK;
        /* Several nodes' entry comes before the identity: it can't be missing, and
         * one that says "alone" in its place would be a second cluster. */
        if (f->record.size > 0 || config->bootstrap_expect > 1)
                return refuse(dir_path, "*.log", "the log is missing");
        rq_err r = encode_first_entry(f, config, &record);
        if (r >= 0)
                r = append_first_entry(io, dir_fd, &f->identity.database_id, &f->log, rq_buf_bytes(&record));
        if (r < 0)
                return rq_log_error(r, "Cannot begin the log in %s", dir_path);
        log_recovered_done(&f->log);
        return load_log(io, dir_fd, dir_path, f);
}

static rq_err load_membership(const char *dir_path, founding *f) {
        const log_configuration latest = founding_configuration_at(f, f->log.last_index);
        if (latest.body.size == 0)
                return refuse(dir_path, "*.log", "the log doesn't say who the members are");
        rq_err r = membership_decode(latest.body, &f->membership);
        if (r < 0)
                return rq_log_error(r, "Cannot read who the members are, entry %" PRIu64 " of the log in %s", latest.index, dir_path);
        f->configuration_index = latest.index;
        return RQ_OK;
}

/* Without it this node works as ever; it only can't tell a member that has never
 * heard of the cluster. */
static rq_err load_record(const log_io *io, int dir_fd, const char *dir_path, founding *f) {
        rq_uuid database_id;
        membership members;
        rq_err r = log_io_load(io, dir_fd, FOUNDING_NAME, FOUNDING_BYTES_MAX, &f->record);
        if (r == RQ_ENOENT)
                return RQ_OK;
        if (r >= 0)
                r = founding_decode(rq_buf_bytes(&f->record), &database_id, &members);
        if (r >= 0 && !rq_uuid_equal(&database_id, &f->identity.database_id))
                r = RQ_ECORRUPT;
        if (r < 0) {
                rq_log_warning("Cannot use %s/%s: %s", dir_path, FOUNDING_NAME, rq_err_text(r));
                rq_buf_done(&f->record);
        }
        return RQ_OK;
}

/* The hard state of an unformed folder is the remains of an adoption that was cut
 * short. */
static rq_err check_unformed(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *disk_uuid) {
        hardstate_file file = { .fd = -1 };
        hardstate state;
        rq_err r = hardstate_open(io, dir_fd, disk_uuid, &file, &state);
        if (r == RQ_ENOENT)
                return RQ_OK;
        if (r < 0)
                return refuse(dir_path, HARDSTATE_NAME, "it can't be read");
        hardstate_close(&file);
        return founding_values_are_virgin(state.term, state.vote, 0) && state.commit <= 1 && !state.not_a_voter
                       ? RQ_OK : refuse(dir_path, IDENTITY_NAME, "it says that the node is in no cluster, although it has voted");
}

rq_err founding_open(const log_io *io, int dir_fd, const char *dir_path, const consensus_config *config,
                     founding *ret_founding) {
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        rq_err r = load_identity(io, dir_fd, dir_path, config, &f);
        if (r >= 0 && f.unformed) {
                r = check_unformed(io, dir_fd, dir_path, &f.identity.disk_uuid);
                if (r >= 0)
                        *ret_founding = f;
                return r;
        }
        if (r >= 0)
                r = load_cluster(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_record(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_hardstate(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_log(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = begin_log(io, dir_fd, dir_path, config, &f);
        if (r >= 0)
                r = load_membership(dir_path, &f);
        if (r < 0)
                return r;
        *ret_founding = RQ_TAKE(f, ((founding) { .hardstate_file = { .fd = -1 } }));
        return RQ_OK;
}

/* --- foundings of several nodes ---------------------------------------------- */

bool founding_is_virgin(const founding *f) {
        return !f->unformed && !has_joined(f) && !f->hardstate.not_a_voter && f->hardstate.commit <= 1 &&
               founding_values_are_virgin(f->hardstate.term, f->hardstate.vote, f->log.last_index);
}

rq_err founding_encode(const membership *members, const rq_uuid *database_id, uint64_t clock_us, rq_buf *out) {
        RQ_CLEANUP(rq_buf_done) rq_buf body = {0};
        rq_err r = membership_encode(members, &body);
        if (r >= 0)
                r = rq_buf_reserve(out, RECORD_HEADER_BYTES + body.size);
        if (r < 0)
                return r;
        record_header header = {
                .kind = RECORD_CONFIGURATION, .feature_level = record_kind_level(RECORD_CONFIGURATION), .index = 1,
                .term = FOUNDING_TERM, .clock_us = clock_us, .database_id = *database_id,
        };
        uint8_t *to = out->data + out->size;
        record_header_encode(to, &header, rq_buf_bytes(&body));
        memcpy(to + RECORD_HEADER_BYTES, body.data, body.size);
        out->size += RECORD_HEADER_BYTES + body.size;
        return RQ_OK;
}

rq_err founding_decode(rq_bytes record, rq_uuid *ret_database_id, membership *ret_members) {
        record_header header;
        membership members;
        rq_bytes body;
        rq_err r = record_decode(record, &header, &body);
        if (r >= 0 && (header.kind != RECORD_CONFIGURATION || header.index != 1 || header.term != FOUNDING_TERM ||
                       RECORD_HEADER_BYTES + body.size != record.size || rq_uuid_is_zero(&header.database_id)))
                r = RQ_ECORRUPT;
        if (r >= 0)
                r = header.feature_level > RECORD_FEATURE_LEVEL ? RQ_EVERSION : membership_decode(body, &members);
        if (r >= 0 && (members.joint || members.count > RAFT_VOTERS_MAX))
                r = RQ_ECORRUPT;
        if (r < 0)
                return r == RQ_EVERSION ? r : RQ_ECORRUPT;
        for (uint32_t i = 0; i < members.count; i++)
                for (uint32_t k = 0; k < i; k++)
                        if (membership_raft_id(&members.members[i].disk_uuid) == membership_raft_id(&members.members[k].disk_uuid))
                                return RQ_ECORRUPT;
        *ret_database_id = header.database_id;
        *ret_members = members;
        return RQ_OK;
}

static bool lists(const membership *members, const identity *self) {
        for (uint32_t i = 0; i < members->count; i++)
                if (rq_uuid_equal(&members->members[i].disk_uuid, &self->disk_uuid))
                        return members->members[i].voter && strcmp(members->members[i].node_id, self->node_id) == 0;
        return false;
}

founding_verdict founding_judge(const identity *self, bool virgin, rq_bytes record, bool teller_is_virgin) {
        rq_uuid database_id;
        membership members;
        if (founding_decode(record, &database_id, &members) < 0)
                return FOUNDING_INVALID;
        if (rq_uuid_equal(&database_id, &self->database_id))
                return FOUNDING_SAME;
        if (!lists(&members, self) || (!rq_uuid_is_zero(&self->database_id) && !virgin))
                return FOUNDING_FOREIGN;
        /* Of two that nothing has happened in, all take the same. */
        if (!rq_uuid_is_zero(&self->database_id) && teller_is_virgin &&
            memcmp(self->database_id.bytes, database_id.bytes, RQ_UUID_BYTES) < 0)
                return FOUNDING_KEEP;
        return FOUNDING_ADOPT;
}

static rq_err remove_log(const log_io *io, int dir_fd) {
        uint64_t index;
        rq_err r;
        while ((r = find_segment(dir_fd, &index)) == RQ_OK) {
                char name[SEGMENT_NAME_BYTES];
                if (io->unlink(io->arg, dir_fd, segment_name(index, name)) != 0)
                        return rq_err_from_errno(errno);
        }
        if (r != RQ_ENOENT)
                return r;
        return io->fsync(io->arg, dir_fd) == 0 ? RQ_OK : RQ_EIO;
}

/* Leaves the cluster in which it has done nothing. The identity goes first: from
 * then on the rest is remains, which count for nothing. */
static rq_err leave_virgin(const log_io *io, int dir_fd, const char *dir_path, identity *self) {
        RQ_CLEANUP(founding_done) founding f = { .identity = *self, .hardstate_file = { .fd = -1 } };
        rq_err r = load_hardstate(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_cluster(io, dir_fd, dir_path, &f);
        if (r >= 0)
                r = load_log(io, dir_fd, dir_path, &f);
        if (r >= 0 && !founding_is_virgin(&f))
                r = refuse(dir_path, IDENTITY_NAME, "the node has already taken part in another cluster");
        if (r < 0)
                return r;
        self->database_id = (rq_uuid) {0};
        r = identity_store(io, dir_fd, self);
        return r < 0 ? rq_log_error(r, "Cannot write %s/%s", dir_path, IDENTITY_NAME) : RQ_OK;
}

/* Until the identity is written nothing was promised. */
static rq_err write_founding(const log_io *io, int dir_fd, const identity *self, rq_bytes record) {
        log_recovered empty = {0};
        rq_err r = remove_log(io, dir_fd);
        if (r >= 0)
                r = cluster_file_remove(io, dir_fd); /* of a joining that was cut short */
        if (r >= 0)
                r = log_io_replace(io, dir_fd, FOUNDING_NAME, record);
        if (r >= 0)
                r = hardstate_create(io, dir_fd, &self->disk_uuid, &(hardstate) { .term = FOUNDING_TERM });
        if (r >= 0)
                r = append_first_entry(io, dir_fd, &self->database_id, &empty, record);
        if (r >= 0)
                r = identity_store(io, dir_fd, self);
        return r;
}

rq_err founding_adopt(const log_io *io, int dir_fd, const char *dir_path, const identity *self, rq_bytes record) {
        identity now;
        rq_uuid database_id;
        membership members;
        rq_err r = identity_load(io, dir_fd, &now);
        if (r < 0 || !rq_uuid_equal(&now.disk_uuid, &self->disk_uuid))
                return refuse(dir_path, IDENTITY_NAME, "it is not what it was");
        if (founding_decode(record, &database_id, &members) < 0 || !lists(&members, &now))
                return rq_log_error(RQ_EINVAL, "Cannot join a cluster whose founding doesn't list this node");
        if (rq_uuid_equal(&now.database_id, &database_id))
                return RQ_OK;
        r = rq_uuid_is_zero(&now.database_id) ? check_unformed(io, dir_fd, dir_path, &now.disk_uuid)
                                              : leave_virgin(io, dir_fd, dir_path, &now);
        if (r < 0)
                return r;
        now.database_id = database_id;
        r = write_founding(io, dir_fd, &now, record);
        return r < 0 ? rq_log_error(r, "Cannot found a cluster in %s", dir_path) : RQ_OK;
}

/* Until the identity is written nothing was promised, and the rest is remains. */
rq_err founding_join(const log_io *io, int dir_fd, const char *dir_path, const rq_uuid *database_id, const rq_uuid *cluster_id,
                     rq_bytes members, uint64_t index) {
        RQ_CLEANUP(cluster_file_done) cluster_file file = { .cluster_id = *cluster_id, .index = index };
        identity self;
        rq_err r = identity_load(io, dir_fd, &self);
        if (r < 0 || !rq_uuid_is_zero(&self.database_id))
                return refuse(dir_path, IDENTITY_NAME, "it is not what it was");
        r = check_unformed(io, dir_fd, dir_path, &self.disk_uuid);
        if (r < 0)
                return r;
        self.database_id = *database_id;
        r = remove_log(io, dir_fd);
        if (r >= 0)
                r = rq_buf_append_bytes(&file.members, members);
        if (r >= 0)
                r = cluster_file_store(io, dir_fd, &file);
        if (r >= 0)
                r = hardstate_create(io, dir_fd, &self.disk_uuid, &(hardstate) { .term = FOUNDING_TERM });
        if (r >= 0)
                r = identity_store(io, dir_fd, &self);
        return r < 0 ? rq_log_error(r, "Cannot begin as a member in %s", dir_path) : RQ_OK;
}
