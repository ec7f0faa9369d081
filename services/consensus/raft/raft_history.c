/* Configurations in the log. One is in use from the moment it is appended (thesis
 * 4.1), so one that may be truncated needs the one before it. Whoever proposed a
 * configuration had committed the one before: of those in one log only the newest can
 * be rolled back, known to be committed or not. */
#include <assert.h>
#include <string.h>

#include "raft/raft_members.h"
#include "raft/raft_quorum.h"
#include "raft/raft_state.h"

const raft_configuration *raft_configuration_in_use(const raft *r) {
        return r->history_count == 0 ? NULL : &r->history[r->history_count - 1].configuration;
}

raft_peer *raft_peer_of(raft *r, raft_id id) {
        for (uint32_t i = 0; id != 0 && i < RAFT_MEMBERS_MAX; i++)
                if (r->peers[i].id == id)
                        return &r->peers[i];
        return NULL;
}

static raft_peer *free_place(raft *r) {
        uint32_t i = 0;
        while (r->peers[i].id != 0)
                i++;
        assert(i < RAFT_MEMBERS_MAX);
        return &r->peers[i];
}

static void follow_configuration(raft *r) {
        const raft_configuration *c = raft_configuration_in_use(r);
        for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++) {
                raft_peer *p = &r->peers[i];
                if (p->id != 0 && (c == NULL || raft_members_find(c, p->id) == NULL))
                        *p = (raft_peer) { .flights = p->flights };
        }
        for (uint32_t i = 0; c != NULL && i < c->count; i++) {
                raft_id id = c->members[i].id;
                if (id == r->o.id || raft_peer_of(r, id) != NULL)
                        continue;
                raft_peer *p = free_place(r);
                p->id = id;
                raft_progress_begin(r, p);
        }
        if (r->out != NULL)
                r->out->configuration_changed = true;
}

/* How many at the front are no longer needed once commit is reached. */
static uint32_t settled(const raft *r, raft_index commit) {
        uint32_t gone = 0;
        while (gone + 1 < r->history_count && r->history[gone + 1].index <= commit)
                gone++;
        return gone;
}

static void drop_front(raft *r, uint32_t gone) {
        if (gone == 0)
                return;
        memmove(r->history, r->history + gone, (r->history_count - gone) * sizeof *r->history);
        r->history_count -= gone;
}

void raft_history_add(raft *r, raft_index index, const raft_configuration *c) {
        if (r->history_count == RAFT_HISTORY_MAX)
                drop_front(r, 1);
        r->history[r->history_count].index = index;
        r->history[r->history_count].configuration = *c;
        r->history_count++;
        follow_configuration(r);
}

void raft_history_truncate(raft *r, raft_index last) {
        uint32_t before = r->history_count;
        while (r->history_count > 0 && r->history[r->history_count - 1].index > last)
                r->history_count--;
        if (r->history_count != before)
                follow_configuration(r);
}

void raft_history_committed(raft *r) {
        drop_front(r, settled(r, r->commit));
}

void raft_history_installed(raft *r, raft_index index, const raft_configuration *c) {
        uint32_t gone = 0;
        while (gone < r->history_count && r->history[gone].index <= index)
                gone++;
        drop_front(r, gone);
        if (c != NULL && r->history_count < RAFT_HISTORY_MAX) {
                memmove(r->history + 1, r->history, r->history_count * sizeof *r->history);
                r->history[0].index = index;
                r->history[0].configuration = *c;
                r->history_count++;
        }
        follow_configuration(r);
}

static uint64_t measured(const raft *r, const raft_peer *p, raft_measure measure) {
        switch (measure) {
        case RAFT_MEASURE_GRANTED:
                return p->granted ? 1 : 0;
        case RAFT_MEASURE_NOT_REFUSED:
                return p->granted || !p->answered ? 1 : 0;
        case RAFT_MEASURE_MATCH:
                return p->match;
        case RAFT_MEASURE_ROUND:
                return p->round_confirmed;
        case RAFT_MEASURE_ROUND_SENT:
                return p->round_sent_us;
        case RAFT_MEASURE_CONTACT:
                return raft_max(p->contact_us, raft_max(p->since_us, r->grace_us));
        }
        return 0;
}

uint64_t raft_majority(const raft *r, raft_measure measure, uint64_t own) {
        const raft_configuration *c = raft_configuration_in_use(r);
        uint64_t values[RAFT_MEMBERS_MAX] = {0};
        if (c == NULL)
                return 0;
        for (uint32_t i = 0; i < c->count; i++) {
                if (c->members[i].id == r->o.id) {
                        values[i] = own;
                        continue;
                }
                for (uint32_t j = 0; j < RAFT_MEMBERS_MAX; j++)
                        if (r->peers[j].id == c->members[i].id)
                                values[i] = measured(r, &r->peers[j], measure);
        }
        return raft_quorum_reached_in(c, values);
}

bool raft_is_alone(const raft *r) {
        const raft_configuration *c = raft_configuration_in_use(r);
        for (uint32_t i = 0; c != NULL && i < c->count; i++)
                if (c->members[i].id != r->o.id && (c->members[i].voter || c->members[i].outgoing))
                        return false;
        return raft_members_has_voter(c, r->o.id);
}
