#include "recovery.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "config/config.h"
#include "founding.h"
#include "io/base_file.h"
#include "io/read_only_io.h"
#include "io/starts_file.h"
#include "log/log.h"
#include "log/log_fields.h"
#include "service/service.h"

#define PEERS_FOLDER "../raft"
#define PEERS_NAME "peers.json"
#define PEERS_DONE_NAME "peers.info"

enum { PEERS_BYTES_MAX = 256 * 1024 };

/* --- what is to be ---------------------------------------------------------- */

/* FNV-1a, 64 bits: no secret is kept by it, two recoveries are told apart. */
static uint64_t hash(uint64_t begin, rq_bytes bytes) {
        uint64_t h = begin;
        for (size_t i = 0; i < bytes.size; i++)
                h = (h ^ bytes.data[i]) * UINT64_C(0x100000001b3);
        return h;
}

rq_uuid recovery_cluster_id(const rq_uuid *before, rq_bytes members) {
        const uint64_t begins[] = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x9ae16a3b2f90404f) };
        rq_uuid id;
        for (size_t i = 0; i < 2; i++)
                rq_put_u64(id.bytes + 8 * i, hash(hash(begins[i], rq_bytes_of(before->bytes, RQ_UUID_BYTES)), members));
        id.bytes[0] |= 1; /* not zero */
        return id;
}

static int by_node(const void *a, const void *b) { return strcmp(((const member *) a)->node_id, ((const member *) b)->node_id); }

static rq_err wrong(rq_buf *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));

static rq_err wrong(rq_buf *problem, const char *format, ...) {
        char text[1024];
        va_list args;
        va_start(args, format);
        (void) vsnprintf(text, sizeof text, format, args);
        va_end(args);
        return rq_buf_append(problem, text, strlen(text) + 1) < 0 ? RQ_ENOMEM : RQ_ECONFIG;
}

static const member *find_node(const membership *members, const char *node_id) {
        const member *found = NULL;
        for (uint32_t i = 0; i < members->count; i++) /* of a disk and the one that replaces it: who has voted */
                if (strcmp(members->members[i].node_id, node_id) == 0 && (found == NULL || members->members[i].voter))
                        found = &members->members[i];
        return found;
}

static rq_err parse_one(json_t *one, size_t place, const membership *known, membership *members, rq_buf *problem) {
        const char *id = json_string_value(json_object_get(one, "id")), *address = json_string_value(json_object_get(one, "address"));
        char host[RQ_HOST_BYTES_MAX], port[RQ_PORT_BYTES_MAX];
        json_t *non_voter = json_object_get(one, "non_voter");
        if (id == NULL || address == NULL || (non_voter != NULL && !json_is_boolean(non_voter)))
                return wrong(problem, "element %zu must be {\"id\": TEXT, \"address\": \"HOST:PORT\", \"non_voter\": false}", place + 1);
        if (rq_address_split(address, host, port) < 0 || host[0] == '\0' || strlen(address) > MEMBERSHIP_ADDRESS_MAX)
                return wrong(problem, "element %zu: \"%.200s\" is not host:port", place + 1, address);
        if (find_node(members, id) != NULL)
                return wrong(problem, "found duplicate ID in configuration: %.200s", id);
        const member *found = find_node(known, id);
        if (found == NULL)
                return wrong(problem, "node \"%.200s\" was not a member of this cluster as far as this node knows: leave it out, and let it join "
                             "afterwards with an empty data directory", id);
        member *m = &members->members[members->count++];
        *m = *found;
        m->outgoing = false;
        m->voter = !json_is_true(non_voter);
        m->stays = !m->voter;
        memcpy(m->raft_addr, address, strlen(address) + 1);
        return RQ_OK;
}

rq_err recovery_parse(rq_bytes text, const membership *known, const char *self, membership *ret_members, rq_buf *problem) {
        json_error_t error;
        membership members = {0};
        json_t *list = json_loadb((const char *) text.data, text.size, JSON_REJECT_DUPLICATES, &error), *one;
        size_t i;
        rq_err r = RQ_OK;
        if (!json_is_array(list))
                r = list == NULL ? wrong(problem, "line %d: %s", error.line, error.text) : wrong(problem, "it must be an array");
        else if (json_array_size(list) > MEMBERSHIP_COUNT_MAX)
                r = wrong(problem, "it names more than %d nodes", MEMBERSHIP_COUNT_MAX);
        if (r >= 0)
                json_array_foreach(list, i, one)
                        if (r >= 0)
                                r = parse_one(one, i, known, &members, problem);
        json_decref(list);
        if (r < 0)
                return r;
        const uint32_t voters = membership_voter_count(&members);
        if (voters == 0 || voters > RAFT_VOTERS_MAX)
                return wrong(problem, "need at least one voter in configuration, and at most %d", RAFT_VOTERS_MAX);
        if (find_node(&members, self) == NULL)
                return wrong(problem, "it doesn't name this node, \"%s\"", self);
        /* All survivors are to come to the same bytes. */
        qsort(members.members, members.count, sizeof members.members[0], by_node);
        *ret_members = members;
        return RQ_OK;
}

/* --- doing it --------------------------------------------------------------- */

static rq_err open_folder(const log_io *io, int dir_fd, const char *dir_path, founding *ret_founding) {
        /* Whatever isn't there is not to be made. */
        const consensus_config config = { .node_id = "", .raft_addr = "", .bootstrap_expect = 2, .join = "", .segment_bytes = SEGMENT_BYTES };
        identity self;
        rq_err r = identity_load(io, dir_fd, &self);
        if (r == RQ_ENOENT)
                return rq_log_error(r, "Cannot recover: %s holds no node", dir_path);
        if (r >= 0 && rq_uuid_is_zero(&self.database_id))
                return rq_log_error(RQ_ECONFIG, "Cannot recover: the node in %s was never in a cluster", dir_path);
        r = founding_open(io, dir_fd, dir_path, &config, ret_founding); /* says what is damaged */
        if (r >= 0 && ret_founding->hardstate.not_a_voter) {
                founding_done(ret_founding);
                return rq_log_error(RQ_ECORRUPT, "Cannot recover: the node in %s may have lost what it has promised; recover another one", dir_path);
        }
        return r;
}

static rq_err store(const log_io *io, int dir_fd, const char *dir_path, const founding *f, const rq_uuid *cluster_id, rq_bytes members) {
        RQ_CLEANUP(cluster_file_done) cluster_file file = { .cluster_id = *cluster_id, .previous_id = f->cluster_id, .index = f->log.last_index };
        rq_err r = starts_file_absolve(io, dir_fd); /* first: without the rest it is told again what it was */
        if (r < 0)
                return rq_log_error(r, "Cannot write %s/" STARTS_NAME, dir_path);
        r = rq_buf_append_bytes(&file.members, members);
        if (r >= 0)
                r = cluster_file_store(io, dir_fd, &file);
        return r < 0 ? rq_log_error(r, "Cannot write %s/%s", dir_path, CLUSTER_FILE_NAME) : RQ_OK;
}

/* A crash between the file and its renaming: the same again changes nothing. */
static bool is_done(const founding *f, rq_bytes members) {
        if (rq_uuid_is_zero(&f->cluster.previous_id) || f->cluster.members.size != members.size ||
            memcmp(f->cluster.members.data, members.data, members.size) != 0)
                return false;
        const rq_uuid id = recovery_cluster_id(&f->cluster.previous_id, members);
        return rq_uuid_equal(&id, &f->cluster.cluster_id);
}

static rq_err by_text(const log_io *io, int dir_fd, const char *dir_path, rq_bytes text) {
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        RQ_CLEANUP(rq_buf_done) rq_buf problem = {0}, encoded = {0};
        membership members;
        char uuid[RQ_UUID_TEXT_BYTES];
        rq_err r = open_folder(io, dir_fd, dir_path, &f);
        if (r < 0)
                return r;
        r = recovery_parse(text, &f.membership, f.identity.node_id, &members, &problem);
        if (r < 0)
                return rq_log_error(r, "Cannot recover by raft/" PEERS_NAME ": %s", problem.size > 0 ? (const char *) problem.data : rq_err_text(r));
        r = membership_encode(&members, &encoded);
        if (r < 0)
                return rq_log_error(r, "Cannot recover by raft/" PEERS_NAME ": names and addresses are too long");
        if (is_done(&f, rq_buf_bytes(&encoded)))
                return RQ_OK;
        const rq_uuid id = recovery_cluster_id(&f.cluster_id, rq_buf_bytes(&encoded));
        r = store(io, dir_fd, dir_path, &f, &id, rq_buf_bytes(&encoded));
        if (r >= 0)
                rq_log_warning("Node recovered successfully using raft/" PEERS_NAME ": cluster %s of %u members, log up to index %" PRIu64
                               "; what other nodes have acknowledged after that is lost", rq_uuid_text(&id, uuid), members.count, f.log.last_index);
        return r;
}

rq_err recovery_by_file(const log_io *io, int dir_fd, const char *dir_path) {
        RQ_CLEANUP(rq_closep) int folder = openat(dir_fd, PEERS_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        RQ_CLEANUP(rq_buf_done) rq_buf text = {0};
        if (folder < 0 && errno == ENOENT)
                return RQ_OK;
        /* Going on without it would be another cluster than the operator asked for. */
        if (folder < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot look for raft/" PEERS_NAME " (give the folder to the user of this service: chown)");
        rq_err r = log_io_load(io, folder, PEERS_NAME, PEERS_BYTES_MAX, &text);
        if (r == RQ_ENOENT)
                return RQ_OK;
        if (r < 0)
                return rq_log_error(r, "Cannot read raft/" PEERS_NAME "%s", r == RQ_EACCES ? " (give it to the user of this service: chown)" : "");
        rq_log_notice("Attempting node recovery using raft/" PEERS_NAME);
        r = by_text(io, dir_fd, dir_path, rq_buf_bytes(&text));
        if (r < 0)
                return r;
        if (io->rename(io->arg, folder, PEERS_NAME, PEERS_DONE_NAME) != 0 || io->fsync(io->arg, folder) != 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot rename raft/" PEERS_NAME " to " PEERS_DONE_NAME ": do it by hand");
        return RQ_OK;
}

/* --- rqd recover ------------------------------------------------------------ */

static void print_time(uint64_t clock_us) {
        const time_t seconds = (time_t) (clock_us / 1000000);
        struct tm tm;
        char text[64];
        if (clock_us == 0 || gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
                (void) snprintf(text, sizeof text, "unknown");
        printf("%s", text);
}

static void print_members(const membership *members) {
        for (uint32_t i = 0; i < members->count; i++) {
                const member *m = &members->members[i];
                printf("    %s at %s, %s\n", m->node_id, m->raft_addr, m->voter ? "voter" : "not a voter");
        }
}

static void print_plan(const founding *f, long long db_bytes, bool done) {
        char uuid[RQ_UUID_TEXT_BYTES];
        printf("Node \"%s\" of cluster %s\n\nKept:\n", f->identity.node_id, rq_uuid_text(&f->cluster_id, uuid));
        printf("  the log up to index %" PRIu64 ", term %" PRIu64 ", last written at ", f->log.last_index, f->log.last_term);
        print_time(f->log.clock_us);
        printf("\n    known to be committed: up to index %" PRIu64 "; what follows is kept, too, acknowledged or not\n", f->hardstate.commit);
        if (db_bytes >= 0)
                printf("  the database file, %lld bytes; it applies the log as it starts\n", db_bytes);
        printf("\nMay be lost:\n  what other members have acknowledged and this node never got: everything after index %" PRIu64 ".\n"
               "  If another member that is left has a higher index (run this there), recover that one instead.\n\nMembers so far:\n", f->log.last_index);
        print_members(&f->membership);
        if (done)
                return;
        printf("\nAfterwards:\n    %s alone, in a cluster of another id. The other members can't take part in it any more: empty their data\n"
               "    directories, then start them with -join and the address of this node.\n", f->identity.node_id);
}

/* What the snapshot brings, also who the members are, counts above what would be written here. */
static rq_err refuse_half_a_snapshot(const log_io *io, int dir_fd, const char *dir_path) {
        RQ_CLEANUP(base_file_done) base_file base = {0};
        rq_err r = base_file_load(io, dir_fd, &base);
        if (r < 0)
                return rq_log_error(r, "Cannot read %s/" BASE_FILE_NAME, dir_path);
        return base.index == 0 ? RQ_OK
             : rq_log_error(RQ_EAGAIN, "Cannot recover: the node stopped while it took a snapshot from another member. Start it once, so that it is taken "
                            "or given up, stop it, and run this again");
}

static rq_err recover_alone(int dir_fd, const char *dir_path, long long db_bytes, bool yes) {
        const log_io *io = yes ? log_io_kernel() : log_io_read_only();
        RQ_CLEANUP(founding_done) founding f = { .hardstate_file = { .fd = -1 } };
        RQ_CLEANUP(rq_buf_done) rq_buf encoded = {0};
        char uuid[RQ_UUID_TEXT_BYTES];
        rq_err r = refuse_half_a_snapshot(io, dir_fd, dir_path);
        if (r >= 0)
                r = open_folder(io, dir_fd, dir_path, &f);
        if (r < 0)
                return r;
        const member *self = membership_find(&f.membership, membership_raft_id(&f.identity.disk_uuid));
        const bool done = f.membership.count == 1 && self != NULL && self->voter;
        print_plan(&f, db_bytes, done);
        if (done) {
                printf("\nNothing to do: this node is the only member already. Start it.\n");
                return RQ_OK;
        }
        membership alone = { .count = 1 };
        if (self != NULL)
                alone.members[0] = *self;
        else
                return rq_log_error(RQ_ECONFIG, "Cannot recover: node \"%s\" was removed from the cluster before; recover a member", f.identity.node_id);
        alone.members[0].voter = true;
        alone.members[0].outgoing = alone.members[0].stays = false;
        if (!yes) {
                printf("\nNothing was changed. To do it: rqd recover --yes ...\n");
                return RQ_OK;
        }
        r = membership_encode(&alone, &encoded);
        const rq_uuid id = rq_uuid_random();
        if (r >= 0)
                r = store(io, dir_fd, dir_path, &f, &id, rq_buf_bytes(&encoded));
        if (r >= 0)
                printf("\nDone: cluster %s. Start the node as before (its -bootstrap-expect and -join count for nothing now).\n", rq_uuid_text(&id, uuid));
        return r;
}

static int usage(const char *problem) {
        (void) fprintf(stderr, "rqd recover: %s\nUsage: rqd recover [--yes] DATA_DIR\n"
                       "  Shows what a cluster of this node alone would keep, and with --yes makes it one. The node must be stopped.\n", problem);
        return RQ_EXIT_CONFIG;
}

/* What root made here the service, which isn't root, couldn't open any more. */
static rq_err become_owner(int dir_fd, const char *dir_path) {
        struct stat st;
        if (fstat(dir_fd, &st) != 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot look at %s", dir_path);
        if (geteuid() != 0 || st.st_uid == 0)
                return RQ_OK;
        if (setgroups(0, NULL) != 0 || setgid(st.st_gid) != 0 || setuid(st.st_uid) != 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot go on as the owner of %s, user %lu: run this as that user", dir_path,
                                    (unsigned long) st.st_uid);
        return RQ_OK;
}

/* Made by whoever runs there; where it isn't, nobody does, and looking makes none. */
static rq_err lock_if_there(int folder_fd, const char *name, const char *path, int *ret_fd) {
        RQ_CLEANUP(rq_closep) int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT)
                return RQ_OK;
        if (fd < 0)
                return rq_log_error(rq_err_from_errno(errno), "Cannot open %s/%s", path, name);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0)
                return errno == EWOULDBLOCK ? rq_log_error_event(RQ_EBUSY, RQ_MSG_FOLDER_IN_USE, "Cannot recover while a node runs there: %s", path)
                                            : rq_log_error(rq_err_from_errno(errno), "Cannot lock %s/%s", path, name);
        *ret_fd = RQ_TAKE(fd, -1);
        return RQ_OK;
}

static int cannot_open(const char *data_dir, const char *path) {
        (void) (errno == ENOENT ? rq_log_error(RQ_ENOENT, "Cannot recover: %s holds no node", data_dir)
                                : rq_log_error(rq_err_from_errno(errno), "Cannot recover: %s can't be opened by this user (try root, or the owner of the data)", path));
        return RQ_EXIT_FAILURE;
}

static int run(const char *data_dir, bool yes) {
        RQ_CLEANUP(rq_closep) int data_fd = -1, dir_fd = -1, launcher_lock = -1, lock = -1;
        char path[4096];
        struct stat db;
        data_fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (data_fd < 0)
                return cannot_open(data_dir, data_dir);
        (void) snprintf(path, sizeof path, "%s/consensus", data_dir);
        dir_fd = openat(data_fd, "consensus", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return cannot_open(data_dir, path);
        /* Both: a running node would never hear of it, and write on. As whoever this is now: rqd and the service may
         * be two users, and so is the owner of the database. */
        if (lock_if_there(data_fd, "rqd.lock", data_dir, &launcher_lock) < 0 || lock_if_there(dir_fd, "lock", path, &lock) < 0)
                return RQ_EXIT_FAILURE;
        const long long db_bytes = fstatat(data_fd, "store/db.sqlite", &db, 0) == 0 ? (long long) db.st_size : -1;
        if (become_owner(dir_fd, path) < 0)
                return RQ_EXIT_FAILURE;
        return recover_alone(dir_fd, path, db_bytes, yes) < 0 ? RQ_EXIT_FAILURE : 0;
}

int recovery_main(int argc, char **argv) {
        const char *data_dir = NULL;
        bool yes = false;
        rq_log_open("rqd recover", RQ_LOG_PLAIN, LOG_INFO);
        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--yes") == 0 || strcmp(argv[i], "-yes") == 0)
                        yes = true;
                else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
                        return usage("the loss of a quorum"), 0;
                else if (argv[i][0] == '-' || data_dir != NULL)
                        return usage(argv[i][0] == '-' ? "no such flag" : "one data directory is enough");
                else
                        data_dir = argv[i];
        }
        if (data_dir == NULL)
                return usage("which data directory?");
        return run(data_dir, yes);
}
