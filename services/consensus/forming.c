#include "forming.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "founding.h"
#include "log/log.h"
#include "log/log_fields.h"

enum { TEXT_BYTES_MAX = 1024 };

struct forming {
        forming_options o;
        rq_task finish;
        rq_timer timeout;
        rq_err result;              /* of finish */
        bool finished;
        uint32_t count;             /* nodes there, with this one */
        char text[TEXT_BYTES_MAX];
        rq_log_limit limit;
};

/* Who is there. */
typedef struct company {
        membership members;         /* this node first */
        char problem[TEXT_BYTES_MAX]; /* "": none */
        bool cluster;               /* one of them is in a cluster: it will tell */
} company;

static void finish(void *arg) {
        forming *f = arg;
        /* Either may free it. */
        if (f->result < 0)
                f->o.on_failed(f->o.arg, f->result);
        else
                f->o.on_formed(f->o.arg);
}

static void finish_with(forming *f, rq_err result) {
        if (f->finished)
                return;
        f->finished = true;
        f->result = result;
        rq_timer_cancel(&f->timeout);
        rq_task_post(&f->finish);
}

static void on_timeout(void *arg) {
        forming *f = arg;
        finish_with(f, rq_log_error_event(RQ_ETIMEOUT, RQ_MSG_NOT_FORMED, "No cluster was formed in time (-bootstrap-expect-timeout): %s", f->text));
}

/* --- who is there ----------------------------------------------------------- */

static void complain(company *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void complain(company *c, const char *format, ...) {
        va_list args;
        if (c->problem[0] != '\0')
                return; /* one at a time */
        va_start(args, format);
        (void) vsnprintf(c->problem, sizeof c->problem, format, args);
        va_end(args);
}

/* False: it is there already, or can't be one of them. */
static bool check_distinct(company *c, const peer_hello *hello) {
        for (uint32_t i = 0; i < c->members.count; i++) {
                const member *m = &c->members.members[i];
                const bool same_node = strcmp(m->node_id, hello->node_id) == 0;
                const bool same_address = strcmp(m->raft_addr, hello->raft_addr) == 0;
                if (rq_uuid_equal(&m->disk_uuid, &hello->disk_uuid)) {
                        if (!same_node || !same_address)
                                complain(c, "node \"%s\" at %s and node \"%s\" at %s have the same disk uuid: one data directory is a copy of the "
                                         "other; a new node needs an empty one", m->node_id, m->raft_addr, hello->node_id, hello->raft_addr);
                        return false;
                }
                if (same_node)
                        complain(c, "two nodes are called \"%s\", at %s and at %s: give each its own -node-id", m->node_id, m->raft_addr,
                                 hello->raft_addr);
                else if (same_address)
                        complain(c, "nodes \"%s\" and \"%s\" both advertise %s: give each its own -raft-adv-addr", m->node_id, hello->node_id,
                                 m->raft_addr);
                else if (membership_raft_id(&m->disk_uuid) == membership_raft_id(&hello->disk_uuid))
                        complain(c, "nodes \"%s\" and \"%s\" have the same id by chance: empty the data directory of one", m->node_id, hello->node_id);
        }
        return true;
}

static void add_node(company *c, const peer_hello *hello) {
        member *m = &c->members.members[c->members.count++];
        *m = (member) { .disk_uuid = hello->disk_uuid, .voter = true };
        memcpy(m->node_id, hello->node_id, sizeof m->node_id);
        memcpy(m->raft_addr, hello->raft_addr, sizeof m->raft_addr);
}

static void look_around(const forming *f, company *c) {
        size_t cursor = 0;
        const peer_hello *hello;
        *c = (company) { .members.count = 1 };
        member *self = &c->members.members[0];
        self->disk_uuid = f->o.self.disk_uuid;
        self->voter = true;
        (void) snprintf(self->node_id, sizeof self->node_id, "%s", f->o.self.node_id);
        (void) snprintf(self->raft_addr, sizeof self->raft_addr, "%s", f->o.raft_addr);
        while ((hello = peers_next_hello(f->o.peers, &cursor)) != NULL) {
                if (!rq_uuid_is_zero(&hello->cluster_id)) {
                        c->cluster = true;
                        continue;
                }
                if (hello->expect == 0)
                        continue; /* no founder: it joins what is founded */
                if (hello->expect != f->o.expect)
                        complain(c, "node \"%s\" at %s expects %u nodes, this one %u: -bootstrap-expect must be the same", hello->node_id,
                                 hello->raft_addr, hello->expect, f->o.expect);
                if (!check_distinct(c, hello))
                        continue;
                if (c->members.count == RAFT_VOTERS_MAX)
                        complain(c, "more than %d nodes are there", RAFT_VOTERS_MAX);
                else
                        add_node(c, hello);
        }
        if (c->members.count > f->o.expect)
                complain(c, "%u nodes are there, -bootstrap-expect says %u: which of them are the cluster can't be known", c->members.count, f->o.expect);
}

/* --- founding --------------------------------------------------------------- */

static int by_disk(const void *a, const void *b) {
        return memcmp(((const member *) a)->disk_uuid.bytes, ((const member *) b)->disk_uuid.bytes, RQ_UUID_BYTES);
}

/* One that everybody finds alike, so that hardly ever two found. */
static bool is_founder(const forming *f, membership *members) {
        qsort(members->members, members->count, sizeof members->members[0], by_disk);
        return rq_uuid_equal(&members->members[0].disk_uuid, &f->o.self.disk_uuid);
}

static void found(forming *f, const membership *members) {
        RQ_CLEANUP(rq_buf_done) rq_buf record = {0};
        char cluster[RQ_UUID_TEXT_BYTES];
        const rq_uuid database_id = rq_uuid_random();
        rq_err r = founding_encode(members, &database_id, rq_clock_wall_us(), &record);
        if (r < 0)
                (void) rq_log_error(r, "Cannot found a cluster of %u nodes", members->count);
        else
                r = founding_adopt(f->o.io, f->o.dir_fd, f->o.dir_path, &f->o.self, rq_buf_bytes(&record));
        if (r >= 0)
                rq_log_event(LOG_NOTICE, RQ_MSG_FORMED, "Founded cluster %s of %u nodes", rq_uuid_text(&database_id, cluster), members->count);
        finish_with(f, r);
}

void forming_look(forming *f) {
        company c;
        char text[TEXT_BYTES_MAX];
        uint32_t more;
        if (f->finished)
                return;
        look_around(f, &c);
        f->count = c.members.count;
        if (c.problem[0] != '\0')
                (void) snprintf(text, sizeof text, "%s", c.problem);
        else if (c.cluster)
                (void) snprintf(text, sizeof text, "one of the nodes is in a cluster already, and hasn't told yet that this node belongs to it");
        else
                (void) snprintf(text, sizeof text, "%u of %u nodes are there", c.members.count, f->o.expect);
        if (strcmp(text, f->text) != 0) {
                (void) snprintf(f->text, sizeof f->text, "%s", text);
                if (c.problem[0] == '\0')
                        rq_log_info("Forming a cluster: %s", text);
        }
        if (c.problem[0] != '\0') {
                if (rq_log_allowed(&f->limit, &more))
                        (void) rq_log_error_event(RQ_ECONFIG, RQ_MSG_NOT_FORMED, "Cannot form a cluster: %s", text);
                return;
        }
        if (!c.cluster && c.members.count == f->o.expect && is_founder(f, &c.members))
                found(f, &c.members);
}

rq_err forming_found(forming *f, const peer_hello *from, bool virgin, rq_bytes record) {
        if (f->finished)
                return RQ_OK;
        switch (founding_judge(&f->o.self, true, record, virgin)) {
        case FOUNDING_ADOPT: break;
        case FOUNDING_SAME: return RQ_OK;
        case FOUNDING_INVALID: return RQ_EPROTO;
        case FOUNDING_KEEP:
        case FOUNDING_FOREIGN:
                if (rq_log_allowed(&f->limit, &(uint32_t) {0}))
                        rq_log_event(LOG_WARNING, RQ_MSG_NODE_FOREIGN, "Node \"%s\" at %s is in a cluster that this node is not a member of", from->node_id, from->raft_addr);
                return RQ_EACCES;
        }
        rq_err r = founding_adopt(f->o.io, f->o.dir_fd, f->o.dir_path, &f->o.self, record);
        if (r >= 0)
                rq_log_event(LOG_NOTICE, RQ_MSG_FORMED, "Took part in the founding by node \"%s\" at %s", from->node_id, from->raft_addr);
        finish_with(f, r);
        return RQ_OK;
}

/* --- life ------------------------------------------------------------------- */

static rq_err set_seeds(const forming *f) {
        RQ_CLEANUP(rq_freep) char *list = strdup(f->o.join);
        const char *addresses[PEERS_SEEDS_MAX];
        size_t count = 0;
        if (list == NULL)
                return RQ_ENOMEM;
        for (char *rest = list, *address; (address = strsep(&rest, ",")) != NULL;) {
                address += strspn(address, " \t");
                address[strcspn(address, " \t")] = '\0';
                if (address[0] == '\0' || strcmp(address, f->o.raft_addr) == 0)
                        continue;
                if (count == PEERS_SEEDS_MAX)
                        return rq_log_error(RQ_ECONFIG, "-join names more than %d addresses", PEERS_SEEDS_MAX);
                addresses[count++] = address;
        }
        if (count == 0)
                return rq_log_error(RQ_ECONFIG, "-bootstrap-expect %u wants -join with the addresses of all nodes", f->o.expect);
        return peers_set_seeds(f->o.peers, addresses, count);
}

rq_err forming_new(const forming_options *options, forming **ret_forming) {
        if (options->expect < 2 || options->expect > RAFT_VOTERS_MAX)
                return rq_log_error(RQ_ECONFIG, "-bootstrap-expect %u: a cluster has at most %d voters", options->expect, RAFT_VOTERS_MAX);
        forming *f = calloc(1, sizeof *f);
        if (f == NULL)
                return RQ_ENOMEM;
        f->o = *options;
        f->limit = (rq_log_limit) { .interval_ms = 10000, .burst = 1 };
        rq_err r = rq_task_init(&f->finish, f->o.loop, finish, f);
        if (r >= 0)
                r = rq_timer_init(&f->timeout, f->o.loop, on_timeout, f);
        if (r >= 0)
                r = set_seeds(f);
        if (r < 0) {
                (void) forming_free(f);
                return r;
        }
        f->o.join = NULL;
        if (f->o.timeout_us > 0)
                rq_timer_set(&f->timeout, f->o.timeout_us);
        forming_look(f);
        *ret_forming = f;
        return RQ_OK;
}

forming *forming_free(forming *f) {
        if (f == NULL)
                return NULL;
        (void) peers_set_seeds(f->o.peers, NULL, 0);
        rq_task_done(&f->finish);
        if (f->timeout.event != NULL)
                rq_timer_done(&f->timeout);
        free(f);
        return NULL;
}

const char *forming_text(const forming *f) { return f->text; }
uint32_t forming_count(const forming *f) { return f->count; }
