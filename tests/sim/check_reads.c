/* Linearizability, by the order that the log gives: an answer's index isn't below
 * that of any answer that came before it was asked, and what a read saw is what the
 * committed log says at its index. */
#include "world.h"

static uint64_t value_at(world *w, unsigned place, raft_index index) {
        for (raft_index i = index; i > 0; i--) {
                uint64_t number = checks_committed(w, i)->request;
                if (number != 0 && clients_place(w, number) == place)
                        return number;
        }
        return 0;
}

void check_result(world *w, uint64_t number, const sim_request *r, bool counts) {
        if (r->write) {
                if (r->committed != r->index)
                        world_fail(w, "requests", "write %lu is acknowledged at %lu and committed at %lu",
                                   (unsigned long) number,
                                   (unsigned long) r->index, (unsigned long) r->committed);
                if (r->index <= r->floor)
                        world_fail(w, "linearizability",
                                   "write %lu took place at %lu, before %lu, which was answered before it was asked",
                                   (unsigned long) number, (unsigned long) r->index, (unsigned long) r->floor);
                return;
        }
        if (r->index > checks_commit(w) || value_at(w, r->place, r->index) != r->value)
                world_fail(w, "linearizability", "read %lu of register %u at index %lu sees %lu",
                           (unsigned long) number, r->place,
                           (unsigned long) r->index, (unsigned long) r->value);
        if (!counts || r->index >= r->floor)
                return;
        if (r->level == DRIVER_READ_WEAK)
                w->clients.stale_weak_reads++;
        /* A lease holds as long as clocks are no worse than it allows for, and they aren't. */
        world_fail(w, "linearizability",
                   "%s read %lu on node %u saw index %lu, but %lu had been answered before it was asked",
                   r->level == DRIVER_READ_WEAK ? "weak" : r->level == DRIVER_READ_STRONG ? "strong" : "linearizable",
                   (unsigned long) number, r->node, (unsigned long) r->index, (unsigned long) r->floor);
}
