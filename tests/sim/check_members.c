/* Majorities of configurations that are committed one after the other intersect
 * (thesis 4.1, 4.3): every subset is tried. */
#include "base/assert.h"
#include "core/membership.h"
#include "world.h"

static bool majority(const raft_configuration *c, bool outgoing, uint64_t (*holds)(void *arg, raft_id id), void *arg) {
        uint32_t all = 0, held = 0;
        for (uint32_t i = 0; i < c->count; i++) {
                const raft_member *m = &c->members[i];
                if (!(outgoing ? m->outgoing : m->voter))
                        continue;
                all++;
                held += holds(arg, m->id) != 0;
        }
        return held > all / 2;
}

bool check_is_quorum(const raft_configuration *c, uint64_t (*holds)(void *arg, raft_id id), void *arg) {
        return majority(c, false, holds, arg) && (!c->joint || majority(c, true, holds, arg));
}

typedef struct subset { const raft_id *ids; uint32_t count, bits; } subset;

static uint64_t in_subset(void *arg, raft_id id) {
        const subset *s = arg;
        for (uint32_t i = 0; i < s->count; i++)
                if (s->ids[i] == id)
                        return s->bits >> i & 1;
        return 0;
}

static uint32_t add_ids(const raft_configuration *c, raft_id *ids, uint32_t count) {
        for (uint32_t i = 0; i < c->count; i++) {
                uint32_t k = 0;
                while (k < count && ids[k] != c->members[i].id)
                        k++;
                if (k == count)
                        ids[count++] = c->members[i].id;
        }
        return count;
}

static bool intersect(const raft_configuration *a, const raft_configuration *b) {
        raft_id ids[2 * RAFT_MEMBERS_MAX];
        uint32_t count = add_ids(b, ids, add_ids(a, ids, 0));
        rq_assert(count <= 16);
        for (uint32_t bits = 0; bits < 1u << count; bits++) {
                subset inside = { .ids = ids, .count = count, .bits = bits },
                        outside = { .ids = ids, .count = count, .bits = ~bits };
                if (check_is_quorum(a, in_subset, &inside) && check_is_quorum(b, in_subset, &outside))
                        return false;
        }
        return true;
}

static const known_configuration *find(const world *w, uint64_t chain) {
        const known_configuration *all = (const known_configuration *) (const void *) w->checks.configurations.data;
        for (size_t i = 0; i < w->checks.configurations.size / sizeof *all; i++)
                if (all[i].chain == chain)
                        return &all[i];
        return NULL;
}

void check_configuration_seen(world *w, uint64_t chain, rq_bytes body) {
        membership members;
        known_configuration new = { .chain = chain };
        if (find(w, chain) != NULL)
                return;
        if (membership_decode(body, &members) < 0) {
                world_fail(w, "members", "a configuration in a log can't be read");
                return;
        }
        membership_to_configuration(&members, &new.value);
        rq_assert(rq_buf_append(&w->checks.configurations, &new, sizeof new) >= 0);
}

void check_configuration_committed(world *w, uint64_t chain) {
        const known_configuration *before = find(w, w->checks.configuration), *now = find(w, chain);
        rq_assert(now != NULL);
        if (before != NULL && !intersect(&before->value, &now->value))
                world_fail(w, "members", "two configurations in a row have majorities without a common member");
        w->checks.configuration = chain;
}

const raft_configuration *checks_configuration(const world *w) {
        const known_configuration *known = find(w, w->checks.configuration);
        return known != NULL ? &known->value : NULL;
}

const raft_configuration *checks_configuration_at(const world *w, raft_index index) {
        for (raft_index i = index; i > 0; i--) {
                const committed_entry *entry = checks_committed(w, i);
                if (entry == NULL || entry->kind != RECORD_CONFIGURATION)
                        continue;
                const known_configuration *known = find(w, entry->chain);
                return known != NULL ? &known->value : NULL;
        }
        return NULL;
}

bool checks_is_member(const world *w, raft_id id) {
        const raft_configuration *c = checks_configuration(w);
        for (uint32_t i = 0; c != NULL && i < c->count; i++)
                if (c->members[i].id == id)
                        return true;
        return false;
}
