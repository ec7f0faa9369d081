#include "condition.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "members.h"

enum { SYNC_ENTRIES = 1000 }; /* so far behind the commit index a member still counts as in sync */

/* Members, other than this one, that the leader has heard lately and that have (nearly) all. */
static uint32_t peers_in_sync(const consensus *c, const membership *m) {
        const raft *r = driver_raft(c->driver);
        uint64_t now_us = rq_clock_mono_us();
        uint32_t count = 0;
        for (uint32_t i = 0; i < m->count; i++) {
                raft_id id = membership_raft_id(&m->members[i].disk_uuid);
                raft_progress_view p;
                if (id == c->raft_id || !raft_progress_of(r, id, &p))
                        continue;
                count += p.contact_us != 0 && now_us - p.contact_us < c->o.config.election_us &&
                         p.match + SYNC_ENTRIES >= raft_commit_of(r);
        }
        return count;
}

const char *consensus_condition(const consensus *c, char text[static CONDITION_BYTES]) {
        const raft *r = driver_raft(c->driver);
        const membership *m = driver_membership(c->driver, NULL);
        const member *leader = members_find(c, raft_leader_of(r));
        uint32_t count = m != NULL ? m->count : 0;
        uint64_t term = raft_term_of(r), index = raft_commit_of(r);
        if (c->storage_failed)
                (void) snprintf(text, CONDITION_BYTES, "the log's disk failed, starting anew");
        else if (c->stopping)
                (void) snprintf(text, CONDITION_BYTES, "stopping%s", c->handing_over ? ", handing leadership over" : "");
        else if (c->removed)
                (void) snprintf(text, CONDITION_BYTES, "removed from the cluster, term %" PRIu64 ", index %" PRIu64, term, index);
        else if (c->unformed && c->o.config.joins)
                (void) snprintf(text, CONDITION_BYTES, "in no cluster yet: joining the one at %.200s", c->o.config.join);
        else if (c->unformed)
                (void) snprintf(text, CONDITION_BYTES, "in no cluster yet: waiting for %" PRIu32 " nodes to be there", c->o.config.bootstrap_expect);
        else if (raft_role_of(r) == RAFT_LEADER && count > 1)
                (void) snprintf(text, CONDITION_BYTES, "leader of %" PRIu32 ", term %" PRIu64 ", index %" PRIu64 ", %" PRIu32 " of %" PRIu32 " peers in sync",
                                count, term, index, peers_in_sync(c, m), count - 1);
        else if (raft_role_of(r) == RAFT_LEADER)
                (void) snprintf(text, CONDITION_BYTES, "leader of 1, term %" PRIu64 ", index %" PRIu64, term, index);
        else if (leader != NULL)
                (void) snprintf(text, CONDITION_BYTES, "follower of %s, one of %" PRIu32 ", term %" PRIu64 ", index %" PRIu64,
                                leader->node_id, count, term, index);
        else
                (void) snprintf(text, CONDITION_BYTES, "no leader, one of %" PRIu32 ", term %" PRIu64 ", index %" PRIu64, count, term, index);
        return text;
}
