/* Deadlines: silence of a leader, silence of a majority, a disk that hangs, and
 * our own sleep. */
#include "raft/raft_state.h"

/* Alone it doesn't matter: nobody else could lead, and what is committed can be read. */
static uint64_t stall_deadline(const raft *r) {
        return r->unconfirmed && !raft_is_alone(r) ? r->unconfirmed_us + r->o.disk_stall_us : UINT64_MAX;
}

bool raft_disk_is_stalled(const raft *r) { return r->now_us >= stall_deadline(r); }

/* When a majority was last heard, by the time that was heard of the slowest in it. */
uint64_t raft_quorum_contact_us(const raft *r) {
        return raft_majority(r, RAFT_MEASURE_CONTACT, r->now_us);
}

static bool has_peers(const raft *r) {
        const raft_configuration *c = raft_configuration_in_use(r);
        return c != NULL && (c->count > 1 || c->members[0].id != r->o.id);
}

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t leader_deadline(const raft *r) {
        uint64_t deadline = UINT64_MAX;
        if (has_peers(r))
                deadline = r->heartbeat_deadline_us;
        if (!raft_is_alone(r))
                deadline = earlier(deadline, raft_quorum_contact_us(r) + r->o.election_us);
        if (r->transfer_to != 0)
                deadline = earlier(deadline, r->transfer_deadline_us);
        return deadline;
}

static bool stands(const raft *r) { return r->role == RAFT_PRE_CANDIDATE || r->role == RAFT_CANDIDATE; }

static uint64_t follower_deadline(const raft *r) {
        bool may = raft_may_campaign(r);
        if (may && raft_is_alone(r)) {
                /* A lone voter has nobody to wait for; as candidate only its disk. One that
                 * is elected and had no room for its no-op tries again. */
                return r->role == RAFT_FOLLOWER || raft_is_elected(r) ? 0 : UINT64_MAX;
        }
        if (raft_is_elected(r))
                return 0;
        uint64_t deadline = UINT64_MAX;
        if (may || r->leader != 0 || stands(r))
                deadline = r->election_deadline_us;
        if (stands(r))
                deadline = earlier(deadline, r->resend_us);
        if (r->asked_round != 0)
                deadline = earlier(deadline, r->asked_us + r->o.election_us);
        return deadline;
}

uint64_t raft_deadline_us(const raft *r) {
        if (r->storage_failed)
                return UINT64_MAX;
        uint64_t deadline = r->role == RAFT_LEADER ? leader_deadline(r) : follower_deadline(r);
        return r->role == RAFT_FOLLOWER ? deadline : earlier(deadline, stall_deadline(r));
}

/* We were stopped ourselves, or the whole machine was: others may have spoken
 * meanwhile, and what they said is still to be read. Not twice in a row: a node
 * that is always late would else never do anything. */
static bool forgives_lateness(raft *r, uint64_t deadline_us) {
        bool late = deadline_us != 0 && r->now_us > deadline_us && r->now_us - deadline_us > r->o.heartbeat_us;
        bool forgiven = late && !r->lateness_forgiven;
        r->lateness_forgiven = forgiven;
        return forgiven;
}

static void tick_leader(raft *r, bool late) {
        if (late)
                r->grace_us = r->now_us;
        if (!raft_is_alone(r) && r->now_us >= raft_quorum_contact_us(r) + r->o.election_us) {
                raft_follow(r, r->term, 0); /* check-quorum: thesis 6.2 */
                return;
        }
        if (r->transfer_to != 0 && r->now_us >= r->transfer_deadline_us)
                raft_transfer_expire(r);
        if (r->role == RAFT_LEADER && has_peers(r) && r->now_us >= r->heartbeat_deadline_us) {
                raft_round_begin(r, true);
                if (r->transfer_to != 0)
                        raft_transfer_continue(r, true);
        }
}

static void tick_follower(raft *r, bool late) {
        if (r->asked_round != 0 && r->now_us >= r->asked_us + r->o.election_us)
                raft_read_fail(r);
        if (r->role == RAFT_FOLLOWER && raft_is_alone(r)) {
                if (raft_may_campaign(r))
                        raft_campaign(r);
                return;
        }
        if (r->now_us < r->election_deadline_us || raft_is_alone(r)) {
                if (stands(r))
                        raft_campaign_continue(r);
        } else if (late) {
                r->election_deadline_us = r->now_us + r->election_timeout_us;
        } else if (raft_may_campaign(r)) {
                raft_campaign(r);
        } else {
                raft_follow(r, r->term, 0); /* whoever led is gone */
                r->election_deadline_us = r->now_us + r->election_timeout_us;
        }
}

void raft_tick(raft *r) {
        uint64_t deadline = raft_deadline_us(r);
        if (r->storage_failed || r->now_us < deadline)
                return;
        bool late = forgives_lateness(r, deadline);
        /* Heartbeats don't need the disk: a leader whose disk hangs would keep its
         * place and commit nothing. */
        if (r->role != RAFT_FOLLOWER && raft_disk_is_stalled(r))
                raft_follow(r, r->term, 0);
        else if (r->role == RAFT_LEADER)
                tick_leader(r, late);
        else
                tick_follower(r, late);
}

uint64_t raft_contact_us(const raft *r) {
        if (r->role == RAFT_LEADER)
                return raft_majority(r, RAFT_MEASURE_ROUND_SENT, r->now_us);
        return r->leader != 0 ? r->leader_contact_us : 0;
}
