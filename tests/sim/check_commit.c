/* What is committed never changes; and when it is, it is on the disks of a
 * majority, by what the disks hold and not by what anybody says. */
#include "base/assert.h"
#include "world.h"

raft_index checks_commit(const world *w) { return w->checks.committed.size / sizeof(committed_entry); }

const committed_entry *checks_committed(const world *w, raft_index index) {
        if (index == 0 || index > checks_commit(w))
                return NULL;
        return (const committed_entry *) (const void *) w->checks.committed.data + (index - 1);
}

typedef struct holders { const world *w; raft_index index; uint64_t chain; } holders;

static uint64_t holds(void *arg, raft_id id) {
        const holders *h = arg;
        const sim_node *n = world_node_of(h->w, id);
        return n != NULL && n->durable >= h->index && (node_chain(n, h->index) == h->chain ||
                                                       h->index <= n->shadow_base);
}

static void on_a_majority(world *w, const sim_node *n, raft_index index) {
        const raft_configuration *c = raft_configuration_of(driver_raft(n->driver), NULL),
                *before = checks_configuration(w);
        holders h = { .w = w, .index = index, .chain = node_chain(n, index) };
        /* A change may have begun in the same turn, after the commit. */
        if ((c == NULL || !check_is_quorum(c, holds, &h)) && (before == NULL || !check_is_quorum(before, holds, &h)))
                world_fail(w, "commit", "node %u commits entry %lu, which isn't on the disks of a majority", n->number,
                           (unsigned long) index);
}

static void learn(world *w, const sim_node *n, raft_index index) {
        const shadow_entry *entry = node_shadow(n, index);
        const committed_entry new = {
                .term = entry->term, .seen_term = raft_term_of(driver_raft(n->driver)), .chain = entry->chain,
                .request = entry->request, .clock_us = entry->clock_us, .kind = entry->kind,
        };
        rq_assert(index == checks_commit(w) + 1);
        rq_assert(rq_buf_append(&w->checks.committed, &new, sizeof new) >= 0);
        if (new.request != 0)
                check_request_committed(w, index, new.request);
        if (new.kind == RECORD_CONFIGURATION)
                check_configuration_committed(w, new.chain);
}

void check_commit(world *w, const sim_node *n, raft_index from, raft_index to) {
        for (raft_index i = from; i <= to && !w->failed; i++) {
                const committed_entry *known = checks_committed(w, i);
                if (i <= n->shadow_base)
                        continue;
                if (node_shadow(n, i) == NULL) {
                        world_fail(w, "commit", "node %u commits entry %lu, which it doesn't have", n->number,
                                   (unsigned long) i);
                        return;
                }
                if (known == NULL)
                        learn(w, n, i);
                else if (known->chain != node_chain(n, i))
                        world_fail(w, "commit",
                                   "node %u commits another entry at index %lu, of term %lu instead of %lu", n->number,
                                   (unsigned long) i, (unsigned long) node_shadow(n, i)->term,
                                           (unsigned long) known->term);
                if (known == NULL && i == to)
                        on_a_majority(w, n, i);
        }
}
