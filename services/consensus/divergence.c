#include "divergence.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/rng.h"
#include "consensus.pb-c.h"
#include "log/log_fields.h"
#include "members.h"

enum {
        LOOK_US        = 1000 * 1000,
        UNDECIDED_US   = 10 * 1000 * 1000,       /* then it is told: a mark may be on its way */
        TRANSFER_US    = 10 * 1000 * 1000,       /* from one attempt to the next */
        ASK_STORE_US   = 5 * 1000 * 1000,
        ANEW_US        = 15 * 60 * 1000 * 1000,  /* for one member to begin anew, before another one may */
        AGAIN_US       = 10 * 60 * 1000 * 1000,  /* from one beginning anew to the next, doubled each time, */
        AGAIN_DOUBLED  = 7,                      /* up to this often: some 21 hours */
        PEER_MINOR     = 3,
        IPC_MINOR      = 5,
};

/* What another member was told, and what was said of it. */
typedef struct told {
        raft_id id;                 /* 0: free */
        uint64_t since_us;          /* of the connection that it was told on */
        uint64_t profile, generation;
        raft_index index;           /* of the last mark */
        uint64_t logged_profile;
        outcomes_verdict logged;
        uint64_t undecided_us;      /* since when; 0: it isn't */
} told;

struct divergence {
        consensus *c;
        outcomes_table outcomes;
        told told[MEMBERSHIP_COUNT_MAX]; /* this node among them */
        peer_profile profile;       /* of our store; digest 0: not known */
        uint64_t generation;        /* of our marks; 0: none yet */
        uint64_t next_us;
        raft_id anew;               /* who is to begin anew, says this leader; 0: nobody */
        uint64_t anew_us, transfer_us;
        raft_index asked_index;     /* our own store was asked to; 0: no */
        uint64_t asked_us;
        uint32_t begun_count;       /* how often it did, in this run */
        uint64_t begun_us;
};

rq_err divergence_new(consensus *c, divergence **ret_divergence) {
        divergence *d = calloc(1, sizeof *d);
        if (d == NULL)
                return RQ_ENOMEM;
        d->c = c;
        *ret_divergence = d;
        return RQ_OK;
}

divergence *divergence_free(divergence *d) {
        free(d);
        return NULL;
}

/* --- who is there ----------------------------------------------------------- */

static outcomes_member *member_of(divergence *d, raft_id id) {
        outcomes_member *m = outcomes_find(&d->outcomes, id);
        const membership *now = m == NULL && !d->c->unformed ? driver_membership(d->c->driver, NULL) : NULL;
        if (now == NULL)
                return m;
        outcomes_set_members(&d->outcomes, now);
        return outcomes_find(&d->outcomes, id);
}

static told *told_of(divergence *d, raft_id id) {
        told *unused = NULL;
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                told *t = &d->told[i];
                if (t->id == id)
                        return t;
                if (unused == NULL && outcomes_find(&d->outcomes, t->id) == NULL) /* free, or of one that has left */
                        unused = t;
        }
        if (unused != NULL)
                *unused = (told) { .id = id };
        return unused;
}

static const char *name_of(const consensus *c, raft_id id) {
        const member *m = members_find(c, id);
        return m != NULL ? m->node_id : "?";
}

/* --- our own store ---------------------------------------------------------- */

static outcomes_member *myself(divergence *d) {
        outcomes_member *m = member_of(d, d->c->raft_id);
        if (m != NULL && d->generation != 0) {
                m->profile = d->profile.digest;
                m->extensions = d->profile.extensions;
                memcpy(m->sqlite_version, d->profile.sqlite_version, sizeof m->sqlite_version);
                if (m->generation != d->generation)
                        outcomes_take(m, d->generation, NULL, 0);
        }
        return m;
}

void divergence_on_fetch(divergence *d, raft_index index, const peer_profile *profile) {
        if (d->asked_index != 0 && index < d->asked_index) {
                d->begun_count++;
                d->begun_us = rq_clock_mono_us();
        }
        d->asked_index = 0;
        d->profile = *profile;
        do
                rq_random_bytes(&d->generation, sizeof d->generation);
        while (d->generation == 0);
        (void) myself(d);
}

void divergence_on_marks(divergence *d, const outcome_mark *marks, size_t count) {
        outcomes_member *m = myself(d);
        if (m != NULL && d->generation != 0)
                outcomes_take(m, d->generation, marks, count);
}

/* --- from the others -------------------------------------------------------- */

static void log_profile(divergence *d, const outcomes_member *m) {
        const consensus *c = d->c;
        told *t = told_of(d, m->id);
        char peer[MEMBERSHIP_NODE_MAX + 32];
        if (t == NULL || d->profile.digest == 0 || m->profile == 0 || t->logged_profile == m->profile)
                return;
        t->logged_profile = m->profile;
        if (m->profile == d->profile.digest)
                return;
        const char *name = name_of(c, m->id), *advice = "writes may have other results there. Install the same on all nodes, one after the other";
        const char *fields[] = { RQ_MSG_PROFILES_DIFFER, rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, name), NULL };
        if (strcmp(m->sqlite_version, d->profile.sqlite_version) != 0)
                rq_log_write(LOG_WARNING, fields, "Node \"%s\" has SQLite %s, this node %s: %s", name, m->sqlite_version, d->profile.sqlite_version, advice);
        else if (m->extensions != d->profile.extensions)
                rq_log_write(LOG_WARNING, fields, "Node \"%s\" has other extensions than this node (-extensions-path; checksum %08" PRIx32 ", here %08" PRIx32 "): %s",
                             name, m->extensions, d->profile.extensions, advice);
        else
                rq_log_write(LOG_WARNING, fields, "Node \"%s\" has another build of SQLite %s than this node, another processor, or another -fk: %s", name,
                             m->sqlite_version, advice);
}

static void on_profile(void *arg, const peer_profile *profile) {
        divergence *d = ((consensus *) arg)->divergence;
        outcomes_member *m = member_of(d, profile->from);
        if (m == NULL)
                return;
        m->profile = profile->digest;
        m->extensions = profile->extensions;
        memcpy(m->sqlite_version, profile->sqlite_version, sizeof m->sqlite_version);
        log_profile(d, m);
}

static void on_outcomes(void *arg, const peer_outcomes *said) {
        outcomes_member *m = member_of(((consensus *) arg)->divergence, said->from);
        if (m != NULL)
                outcomes_take(m, said->generation, said->marks, said->count);
}

/* A node that diverges again and again won't be helped by this. */
static bool may_begin(const divergence *d, uint64_t now_us) {
        const uint32_t doubled = d->begun_count < AGAIN_DOUBLED ? d->begun_count : AGAIN_DOUBLED;
        return d->begun_count == 0 || now_us - d->begun_us >= (uint64_t) AGAIN_US << (doubled - 1);
}

/* Not because the leader says so: because all that the others have said says so, too. */
static void on_refuted(void *arg, const peer_refuted *said) {
        consensus *c = arg;
        divergence *d = c->divergence;
        const raft *r = driver_raft(c->driver);
        ipc_link *store = c->store != NULL ? ipc_connector_link(c->store) : NULL;
        const uint64_t now_us = rq_clock_mono_us();
        uint8_t packed[64];
        if (c->unformed || c->stopping || said->from != raft_leader_of(r) || said->term != raft_term_of(r) ||
            !outcomes_confirms(&d->outcomes, c->raft_id, said->from, said->index, said->own, said->majority))
                return;
        if (store == NULL || ipc_link_protocol_minor(store) < IPC_MINOR || !may_begin(d, now_us) ||
            (d->asked_index != 0 && now_us - d->asked_us < ASK_STORE_US))
                return;
        Rq__SetAside body = RQ__SET_ASIDE__INIT;
        body.index = said->index;
        body.own_hash = said->own;
        body.majority_hash = said->majority;
        rq_assert(rq__set_aside__get_packed_size(&body) <= sizeof packed);
        const size_t size = rq__set_aside__pack(&body, packed);
        if (ipc_link_send(store, IPC_SET_ASIDE, 0, rq_bytes_of(packed, size), (rq_bytes) {0}) < 0)
                return;
        d->asked_index = said->index;
        d->asked_us = now_us;
}

peers_outcomes divergence_peers(consensus *c) {
        return (peers_outcomes) { .on_profile = on_profile, .on_outcomes = on_outcomes, .on_refuted = on_refuted, .arg = c };
}

/* --- to the others ---------------------------------------------------------- */

/* False: it can't be told now. */
static bool reach(divergence *d, raft_id id, told **ret_told) {
        peers_view view;
        told *t = told_of(d, id);
        if (t == NULL || !peers_view_of(d->c->peers, id, &view) || !view.up || view.protocol_minor < PEER_MINOR)
                return false;
        if (t->since_us != view.since_us) { /* it may be another process */
                t->since_us = view.since_us;
                t->profile = t->generation = t->index = 0;
        }
        *ret_told = t;
        return true;
}

static void tell_marks(divergence *d, told *t, const outcome_marks *marks) {
        peer_outcomes message = { .from = d->c->raft_id, .to = t->id, .generation = d->generation };
        size_t i = 0;
        if (t->generation != d->generation)
                t->index = 0;
        t->generation = d->generation;
        while (i < marks->count && marks->v[i].index <= t->index)
                i++;
        while (i < marks->count) {
                for (message.count = 0; i < marks->count && message.count < PEER_OUTCOMES_MARKS_MAX; i++)
                        message.marks[message.count++] = marks->v[i];
                if (peers_send_outcomes(d->c->peers, &message) < 0)
                        return; /* again at the next look */
                t->index = message.marks[message.count - 1].index;
        }
}

static void tell(divergence *d, raft_id id, const outcomes_member *self) {
        told *t;
        if (d->generation == 0 || d->profile.digest == 0 || !reach(d, id, &t))
                return;
        if (t->profile != d->profile.digest) {
                peer_profile profile = d->profile;
                profile.from = d->c->raft_id;
                profile.to = id;
                if (peers_send_profile(d->c->peers, &profile) < 0)
                        return;
                t->profile = d->profile.digest;
        }
        tell_marks(d, t, &self->marks);
}

/* --- what is said of it ----------------------------------------------------- */

static void log_verdict(divergence *d, told *t, const outcomes_judgement *j) {
        const consensus *c = d->c;
        const bool self = t->id == c->raft_id;
        char peer[MEMBERSHIP_NODE_MAX + 32], index[48];
        const char *fields[] = { RQ_MSG_DIVERGED, rq_log_field_text(peer, sizeof peer, RQ_FIELD_PEER, name_of(c, t->id)),
                                 rq_log_field_u64(index, sizeof index, RQ_FIELD_INDEX, j->index), NULL };
        if (j->verdict == OUTCOMES_DIFFERENT && !outcomes_is_refuted(j))
                rq_log_write(LOG_ERR, fields, "Node \"%s\"%s has other outcomes of the log's entries up to index %" PRIu64 " than a majority of the nodes (%016" PRIx64 ", not %016" PRIx64
                             "), but not the same SQLite, extensions, -fk and kind of processor as these: make them equal, then it is seeded anew by itself",
                             name_of(c, t->id), self ? " (this one)" : "", j->index, j->own, j->majority);
        else if (j->verdict == OUTCOMES_DIFFERENT)
                rq_log_write(LOG_ERR, fields, "Node \"%s\"%s has other outcomes of the log's entries up to index %" PRIu64 " than a majority of the nodes (%016" PRIx64 ", not %016" PRIx64
                             "): its database is to be kept aside, and seeded anew", name_of(c, t->id), self ? " (this one)" : "", j->index, j->own, j->majority);
        else if (j->verdict == OUTCOMES_UNDECIDED)
                rq_log_write(LOG_ERR, fields, "The nodes have different outcomes of the log's entries up to index %" PRIu64 ", node \"%s\"%s %016" PRIx64 ", and no majority agrees: "
                             "nothing is done about it. Compare the databases, and remove the nodes whose is wrong", j->index, name_of(c, t->id),
                             self ? " (this one)" : "", j->own);
        else
                rq_log_write(LOG_NOTICE, fields, "Node \"%s\"%s has the outcomes of a majority of the nodes again, at index %" PRIu64, name_of(c, t->id),
                             self ? " (this one)" : "", j->index);
}

/* One line for each change. Not knowing is no news: so it is between beginning anew and the next mark. */
static void say(divergence *d, raft_id id, uint64_t now_us) {
        const outcomes_judgement j = outcomes_judge(&d->outcomes, id);
        told *t = told_of(d, id);
        if (t == NULL || j.verdict == OUTCOMES_UNKNOWN)
                return;
        if (j.verdict != OUTCOMES_UNDECIDED)
                t->undecided_us = 0;
        else if (t->undecided_us == 0)
                t->undecided_us = now_us;
        if (j.verdict == t->logged || (j.verdict == OUTCOMES_UNDECIDED && now_us - t->undecided_us < UNDECIDED_US))
                return;
        if (j.verdict != OUTCOMES_EQUAL || t->logged != OUTCOMES_UNKNOWN)
                log_verdict(d, t, &j);
        t->logged = j.verdict;
}

/* --- the leader ------------------------------------------------------------- */

/* A leader without the outcomes of the majority: one that has them is to lead. */
static void hand_over(divergence *d, const outcomes_judgement *j, uint64_t now_us) {
        consensus *c = d->c;
        peers_view view;
        if (d->transfer_us != 0 && now_us - d->transfer_us < TRANSFER_US)
                return;
        d->transfer_us = now_us;
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                const outcomes_member *m = &d->outcomes.members[i];
                if (m->id == 0 || !m->voter || m->id == c->raft_id || !outcomes_has(&d->outcomes, m->id, j->index, j->majority) ||
                    !peers_view_of(c->peers, m->id, &view) || !view.up || driver_transfer(c->driver, m->id) < 0)
                        continue;
                rq_log_event(LOG_WARNING, RQ_MSG_DIVERGED, "This node leads, but its outcomes are not those of a majority: handing leadership over to node \"%s\"",
                             name_of(c, m->id));
                consensus_wake(c);
                return;
        }
}

/* Whoever was told to begin anew has the first word, until it is equal again. */
static bool is_busy(divergence *d, uint64_t now_us) {
        if (d->anew == 0 || outcomes_find(&d->outcomes, d->anew) == NULL || now_us - d->anew_us >= ANEW_US)
                return false;
        return outcomes_judge(&d->outcomes, d->anew).verdict != OUTCOMES_EQUAL;
}

static void refute(divergence *d, raft_id id, uint64_t now_us) {
        consensus *c = d->c;
        const outcomes_judgement j = outcomes_judge(&d->outcomes, id);
        told *t;
        if (id == c->raft_id || !outcomes_is_refuted(&j) || !outcomes_has(&d->outcomes, c->raft_id, j.index, j.majority) || !reach(d, id, &t))
                return;
        if (d->anew != id && is_busy(d, now_us))
                return;
        if (d->anew != id)
                d->anew_us = now_us;
        d->anew = id;
        const peer_refuted message = {
                .from = c->raft_id, .to = id, .term = raft_term_of(driver_raft(c->driver)), .index = j.index, .own = j.own, .majority = j.majority,
        };
        (void) peers_send_refuted(c->peers, &message);
}

static void lead(divergence *d, const membership *now, uint64_t now_us) {
        const consensus *c = d->c;
        const raft *r = driver_raft(c->driver);
        if (raft_role_of(r) != RAFT_LEADER || !raft_commit_is_current(r) || raft_transfer_is_under_way(r) || now->joint) {
                d->anew = 0;
                return;
        }
        const outcomes_judgement own = outcomes_judge(&d->outcomes, c->raft_id);
        if (own.verdict == OUTCOMES_DIFFERENT) {
                hand_over(d, &own, now_us);
                return;
        }
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++)
                if (d->outcomes.members[i].id != 0)
                        refute(d, d->outcomes.members[i].id, now_us);
}

/* --- the turn --------------------------------------------------------------- */

static const membership *others(const divergence *d) {
        const consensus *c = d->c;
        const membership *now = c->unformed || c->stopping || c->removed ? NULL : driver_membership(c->driver, NULL);
        return now != NULL && now->count > 1 ? now : NULL;
}

uint64_t divergence_deadline_us(const divergence *d) { return others(d) != NULL ? d->next_us : UINT64_MAX; }

void divergence_turn(divergence *d) {
        const membership *now = others(d);
        const uint64_t now_us = rq_clock_mono_us();
        if (now == NULL || now_us < d->next_us)
                return;
        d->next_us = now_us + LOOK_US;
        outcomes_set_members(&d->outcomes, now);
        const outcomes_member *self = myself(d);
        if (self == NULL)
                return;
        for (size_t i = 0; i < MEMBERSHIP_COUNT_MAX; i++) {
                const outcomes_member *m = &d->outcomes.members[i];
                if (m->id == 0)
                        continue;
                if (m != self) {
                        tell(d, m->id, self);
                        log_profile(d, m);
                }
                say(d, m->id, now_us);
        }
        lead(d, now, now_us);
}

/* --- status ----------------------------------------------------------------- */

bool divergence_view_of(const divergence *d, raft_id id, divergence_view *ret_view) {
        const outcomes_member *m = outcomes_find((outcomes_table *) (uintptr_t) &d->outcomes, id);
        if (m == NULL)
                return false;
        *ret_view = (divergence_view) {
                .judgement = outcomes_judge(&d->outcomes, id), .profile = m->profile, .extensions = m->extensions, .sqlite_version = m->sqlite_version,
        };
        return true;
}

const char *divergence_verdict_text(outcomes_verdict verdict) {
        switch (verdict) {
        case OUTCOMES_UNKNOWN: return "unknown";
        case OUTCOMES_EQUAL: return "equal";
        case OUTCOMES_DIFFERENT: return "different";
        case OUTCOMES_UNDECIDED: return "undecided";
        }
        return "unknown";
}
