/* Snapshots: what becomes a store's database is what the log said at its index; the log
 * begins anew only behind a store that is durable there, with the configuration that
 * held there, and gives up nothing that is committed or that fits; "done" is said when all of
 * this is on the disk. */
#include "core/membership.h"
#include "world.h"

void check_snapshot_installed(world *w, const sim_node *n, const store_state *image) {
        const committed_entry *entry = checks_committed(w, image->applied);
        w->checks.installs++;
        if (entry == NULL || entry->term != image->term)
                world_fail(w, "install", "node %u: the snapshot of index %lu, term %lu is of no committed entry", n->number,
                           (unsigned long) image->applied, (unsigned long) image->term);
        else if (entry->chain != image->digest || entry->clock_us != image->clock_us)
                world_fail(w, "install", "node %u: the snapshot of index %lu isn't what the others had there", n->number,
                           (unsigned long) image->applied);
        else if (n->store.in.forward_only && image->applied <= n->store.now.applied)
                world_fail(w, "install", "node %u: the snapshot of index %lu takes the store back from %lu", n->number,
                           (unsigned long) image->applied, (unsigned long) n->store.now.applied);
}

static bool same_configuration(const log_recovered *log, const raft_configuration *expected) {
        membership members;
        raft_configuration found;
        const log_configuration c = log_configurations_at(&log->configurations, log->base_index);
        if (expected == NULL || c.index == 0 || membership_decode(c.body, &members) < 0)
                return false;
        membership_to_configuration(&members, &found);
        if (found.count != expected->count || found.joint != expected->joint)
                return false;
        for (uint32_t i = 0; i < found.count; i++)
                if (found.members[i].id != expected->members[i].id || found.members[i].voter != expected->members[i].voter ||
                    found.members[i].outgoing != expected->members[i].outgoing)
                        return false;
        return true;
}

/* The node's shadow is still of the log that it had. */
void check_rebased(world *w, const sim_node *n, const log_recovered *log) {
        const raft_index base = log->base_index;
        const committed_entry *entry = checks_committed(w, base);
        w->checks.rebases++;
        if (entry == NULL || entry->term != log->base_term) {
                world_fail(w, "install", "node %u: its log begins anew behind index %lu of term %lu, which isn't committed", n->number,
                           (unsigned long) base, (unsigned long) log->base_term);
                return;
        }
        if (log->last_index != base || log->clock_us != entry->clock_us)
                world_fail(w, "install", "node %u: its log has begun anew behind index %lu and isn't empty, or its clock is another", n->number,
                           (unsigned long) base);
        /* One that has lost its database since it said so gets another one. */
        if (n->store.checkpoint.applied < base && n->store.told_before < base)
                world_fail(w, "install", "node %u: its log begins anew behind index %lu, and its store's disk is at %lu", n->number,
                           (unsigned long) base, (unsigned long) n->store.checkpoint.applied);
        if (n->seen_commit >= base)
                world_fail(w, "install", "node %u: its log begins anew behind index %lu, and was known to be committed up to %lu", n->number,
                           (unsigned long) base, (unsigned long) n->seen_commit);
        if (n->durable >= base && base >= n->shadow_base && node_chain(n, base) == entry->chain)
                world_fail(w, "install", "node %u: its log begins anew behind index %lu, which it had, and gives up what follows", n->number,
                           (unsigned long) base);
        if (!same_configuration(log, checks_configuration_at(w, base)))
                world_fail(w, "install", "node %u: its log begins anew behind index %lu with another configuration than held there", n->number,
                           (unsigned long) base);
}

/* The sender goes on behind it: whatever happens now, that must fit. */
void check_snapshot_done(world *w, const sim_node *n, raft_index index) {
        const raft_trail *trail = raft_trail_of(driver_raft(n->driver));
        const committed_entry *entry = checks_committed(w, index);
        if (entry == NULL || index < trail->base_index || index > trail->last || raft_trail_term_at(trail, index) != entry->term)
                world_fail(w, "install", "node %u says that it has the snapshot of index %lu, and its log is from %lu to %lu", n->number,
                           (unsigned long) index, (unsigned long) trail->base_index, (unsigned long) trail->last);
}
