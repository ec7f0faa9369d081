/* Memory and windows stay within what the headers say. */
#include "core/entries.h"
#include "world.h"

enum { IN_FLIGHT_MAX = 1024 };

void check_bounds(world *w, const sim_node *n) {
        const raft *r = driver_raft(n->driver);
        const raft_trail *trail = raft_trail_of(r);
        uint64_t tail = trail->last - raft_appliable_of(r);
        if (driver_memory_bytes(n->driver) > ENTRIES_BYTES + 2ull * DRIVER_PENDING_BYTES_MAX)
                world_fail(w, "bounds", "node %u holds %lu bytes of records", n->number,
                           (unsigned long) driver_memory_bytes(n->driver));
        if (tail > DRIVER_TAIL_ENTRIES_MAX)
                world_fail(w, "bounds", "node %u has %lu entries that aren't committed", n->number,
                           (unsigned long) tail);
        for (unsigned i = 0; i < w->node_count; i++) {
                raft_progress_view view;
                if (!raft_progress_of(r, w->nodes[i]->id, &view) || i == n->number)
                        continue;
                if (view.next <= view.match)
                        world_fail(w, "bounds", "node %u: next %lu isn't above match %lu of node %u", n->number,
                                   (unsigned long) view.next,
                                   (unsigned long) view.match, i);
                if (view.in_flight_messages > IN_FLIGHT_MAX || view.in_flight_bytes > 64ull * DRIVER_APPEND_BYTES_MAX)
                        world_fail(w, "bounds", "node %u: %u appends and %lu bytes on their way to node %u", n->number,
                                   view.in_flight_messages,
                                   (unsigned long) view.in_flight_bytes, i);
                if (view.match > trail->last)
                        world_fail(w, "bounds", "node %u: match %lu of node %u is behind the end of its log", n->number,
                                   (unsigned long) view.match, i);
        }
}
