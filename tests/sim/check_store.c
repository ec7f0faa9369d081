/* Stores apply what is committed, in order, all the same: the running hash of what
 * each has applied is that of the committed log. */
#include "world.h"

void check_store_applied(world *w, const sim_node *n, const record_header *header) {
        const committed_entry *entry = checks_committed(w, header->index);
        if (entry == NULL)
                world_fail(w, "apply", "node %u: the store gets entry %lu, which isn't committed", n->number,
                           (unsigned long) header->index);
        else if (entry->chain != n->store.now.digest)
                world_fail(w, "apply", "node %u: the store's digest differs at entry %lu", n->number,
                           (unsigned long) header->index);
}

/* Reads and results that it had are lost: who waits for them isn't owed an answer. */
void check_store_died(world *w, const sim_node *n) { w->nodes[n->number]->disturbed_us = w->now_us; }
