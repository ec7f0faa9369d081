/* Log matching (thesis 3.5): if two logs hold an entry of the same index and term,
 * they are equal up to it. Each entry's chain is a hash of all before it, so one
 * comparison an entry is enough. */
#include "base/assert.h"
#include "base/checksum.h"
#include "world.h"

void checks_done(checks *c) {
        rq_table_done(&c->chains);
        rq_table_done(&c->votes);
        rq_buf_done(&c->committed);
        rq_buf_done(&c->leaders);
        rq_buf_done(&c->configurations);
}

void check_appended(world *w, const sim_node *n, raft_index index) {
        const shadow_entry *entry = node_shadow(n, index), *before = node_shadow(n, index - 1);
        uint64_t key = rq_hash_mix(rq_hash_mix(0, index), entry->term);
        void *known = rq_table_get(&w->checks.chains, key);
        if (known == NULL)
                rq_assert(rq_table_put(&w->checks.chains, key, (void *) (uintptr_t) entry->chain) >= 0);
        else if ((uintptr_t) known != entry->chain)
                world_fail(w, "log matching", "node %u has another entry or another past at index %lu of term %lu",
                           n->number,
                           (unsigned long) index, (unsigned long) entry->term);
        if (before != NULL && before->term > entry->term)
                world_fail(w, "log matching", "node %u: the term falls at index %lu", n->number, (unsigned long) index);
        if (before != NULL && before->clock_us >= entry->clock_us)
                world_fail(w, "entry clock", "node %u: the clock of entry %lu isn't above that of the one before",
                           n->number, (unsigned long) index);
}
