/* Each request is answered, once, with the truth: what is acknowledged is in the
 * committed log exactly once, what is refused or dropped never. */
#include "world.h"

enum { SETTLING_US = 3000000 };

void check_request_committed(world *w, raft_index index, uint64_t number) {
        sim_request *r = clients_request(w, number);
        if (r->committed != 0)
                world_fail(w, "requests", "write %lu is in the log twice, at %lu and %lu", (unsigned long) number,
                           (unsigned long) r->committed,
                           (unsigned long) index);
        else if (r->state == REQUEST_REFUSED || r->state == REQUEST_DROPPED)
                world_fail(w, "requests", "write %lu was said not to have happened and is committed at %lu",
                           (unsigned long) number, (unsigned long) index);
        r->committed = index;
}

void check_answer(world *w, uint64_t number, const sim_request *r, const answer *a) {
        if ((a->outcome == OUTCOME_REFUSED || a->outcome == OUTCOME_DROPPED) && r->committed != 0)
                world_fail(w, "requests", "write %lu, committed at %lu, is said not to have happened",
                           (unsigned long) number, (unsigned long) r->committed);
        if (a->outcome == OUTCOME_COMMITTED && (r->committed == 0 || r->committed != a->index))
                world_fail(w, "requests", "write %lu is said to be committed at %lu, and isn't", (unsigned long) number,
                           (unsigned long) a->index);
        if (!r->write && a->outcome != OUTCOME_REFUSED)
                world_fail(w, "requests", "read %lu gets an outcome of a write", (unsigned long) number);
}

void check_second_answer(world *w, uint64_t number, const sim_request *r) {
        /* Results still come for whom nobody waits any more. */
        if (r->state == REQUEST_DONE || r->state == REQUEST_REFUSED || r->state == REQUEST_DROPPED)
                world_fail(w, "requests", "request %lu is answered twice", (unsigned long) number);
}

/* Its deadline is over since long. Node and store have run all the time? */
void check_overdue(world *w, uint64_t number, const sim_request *r) {
        const sim_node *n = w->nodes[r->node];
        if (!node_runs(n) || n->disturbed_us >= r->invoked_us || !n->store.up || r->committed != 0)
                return;
        /* In the store it waits for an index that the node may not get for a while: also what a disk did when
         * everything was healed takes its time, and so does a snapshot. */
        if (r->passed_on && (!w->healed || w->tuning.snapshots || r->invoked_us < w->faults.healed_us + SETTLING_US))
                return;
        world_fail(w, "requests", "request %lu on node %u, asked at %lu us, was never answered", (unsigned long) number,
                   n->number,
                   (unsigned long) r->invoked_us);
}

void check_requests_at_end(world *w) {
        size_t count = w->clients.requests.size / sizeof(sim_request);
        for (uint64_t number = 1; number <= count && !w->failed; number++) {
                const sim_request *r = clients_request(w, number);
                if (r->write && r->state == REQUEST_DONE && r->committed == 0)
                        world_fail(w, "requests", "write %lu was acknowledged and isn't in the log",
                                   (unsigned long) number);
        }
}
