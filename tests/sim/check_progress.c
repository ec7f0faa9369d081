/* After everything is healed: one leader that all know, a fresh write and a fresh
 * read on each node, then equal logs and stores and nobody who waits. */
#include "world.h"

static bool usable(const world *w, const sim_node *n) { return !n->broken && checks_is_member(w, n->id); }

static bool one_leader(const world *w) {
        unsigned leaders = 0;
        raft_id leader = 0;
        raft_term term = 0;
        for (unsigned i = 0; i < w->node_count; i++) {
                const sim_node *n = w->nodes[i];
                if (!usable(w, n))
                        continue;
                if (!node_runs(n) || n->stopping || !n->store.up)
                        return false;
                const raft *r = driver_raft(n->driver);
                if (leader == 0) {
                        leader = raft_leader_of(r);
                        term = raft_term_of(r);
                }
                if (raft_leader_of(r) == 0 || raft_leader_of(r) != leader || raft_term_of(r) != term)
                        return false;
                leaders += raft_role_of(r) == RAFT_LEADER;
        }
        return leaders == 1;
}

/* A fresh request of the world on each node, again and again until all have been served. */
static bool served(world *w) {
        size_t count = w->clients.requests.size / sizeof(sim_request);
        bool all = true;
        for (unsigned i = 0; i < w->node_count; i++) {
                bool written = false, read = false, asked = false;
                if (!usable(w, w->nodes[i]))
                        continue;
                for (uint64_t number = count; number > 0 && count - number < 400; number--) {
                        const sim_request *r = clients_request(w, number);
                        if (r->client != CLIENT_NONE || r->node != i)
                                continue;
                        asked |= r->state == REQUEST_PENDING;
                        written |= r->write && r->state == REQUEST_DONE;
                        read |= !r->write && r->state == REQUEST_DONE;
                }
                all &= written && read;
                if (asked || (written && read))
                        continue;
                (void) clients_ask(w, i, !written, DRIVER_READ_LINEARIZABLE, CLIENT_NONE);
        }
        return all;
}

static bool settled(const world *w) {
        const sim_node *first = NULL;
        if (w->clients.pending > 0 || checks_configuration(w)->joint)
                return false;
        for (unsigned i = 0; i < w->node_count; i++) {
                const sim_node *n = w->nodes[i];
                if (!usable(w, n))
                        continue;
                if (driver_pending_count(n->driver) > 0 || driver_read_count(n->driver) > 0 ||
                    n->store.now.applied != checks_commit(w) ||
                    n->durable != node_shadow_last(n) || n->durable != checks_commit(w))
                        return false;
                if (first != NULL && first->store.now.digest != n->store.now.digest)
                        return false;
                first = n;
        }
        return true;
}

bool check_progress(world *w) {
        unsigned broken = 0;
        for (unsigned i = 0; i < w->node_count; i++)
                broken += w->nodes[i]->broken;
        if (2 * broken >= w->node_count) {
                check_requests_at_end(w);
                return true; /* too few are left: safety was all that could be asked */
        }
        if (!one_leader(w) || !served(w))
                return false;
        w->faults.quiet = true; /* clients ask no more */
        if (!settled(w))
                return false;
        check_requests_at_end(w);
        return true;
}
