#include "core/member_change.h"

#include <stdarg.h>
#include <stdio.h>

static void refuse(member_change *change, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void refuse(member_change *change, const char *format, ...) {
        va_list args;
        va_start(args, format);
        change->verdict = MEMBER_CHANGE_REFUSED;
        (void) vsnprintf(change->text, sizeof change->text, format, args);
        va_end(args);
}

static bool is_named(const member *m, const char *node_id) { return strcmp(m->node_id, node_id) == 0; }

/* Keeps the order: nobody reads anything into it, but lists look calm so. */
static void take_out(membership *m, const bool *out) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < m->count; i++)
                if (!out[i])
                        m->members[kept++] = m->members[i];
        m->count = kept;
}

static bool is_alive(const membership *now, const bool *alive, const member *m) {
        const uint32_t place = (uint32_t) (membership_find(now, membership_raft_id(&m->disk_uuid)) - now->members);
        return alive[place];
}

/* Who of the voters to be doesn't answer, as a list for the operator; false: enough do. Members of
 * wanted are members of now. */
static bool lacks_quorum(const membership *now, const bool *alive, const membership *wanted, uint32_t *ret_voters, uint32_t *ret_alive,
                         char *silent, size_t silent_size) {
        uint32_t voters = 0, answer = 0;
        size_t at = 0;
        silent[0] = '\0';
        for (uint32_t i = 0; i < wanted->count; i++) {
                const member *m = &wanted->members[i];
                if (!m->voter)
                        continue;
                voters++;
                if (is_alive(now, alive, m)) {
                        answer++;
                } else if (at < silent_size) {
                        int size = snprintf(silent + at, silent_size - at, "%s\"%.60s\"", at > 0 ? ", " : "", m->node_id);
                        at += size > 0 ? (size_t) size : 0;
                }
        }
        *ret_voters = voters;
        *ret_alive = answer;
        return answer < voters / 2 + 1;
}

/* --- leaving ---------------------------------------------------------------- */

static void remove_places(const membership *now, const bool *alive, const bool *out, const char *node_id, member_change *change) {
        char silent[512];
        uint32_t voters, answer;
        change->verdict = MEMBER_CHANGE_WANTED;
        change->wanted = *now;
        take_out(&change->wanted, out);
        if (membership_voter_count(&change->wanted) == membership_voter_count(now))
                return; /* learners don't count */
        if (membership_voter_count(&change->wanted) == 0)
                refuse(change, "node \"%s\" is the only voter: a cluster can't be without one", node_id);
        else if (lacks_quorum(now, alive, &change->wanted, &voters, &answer, silent, sizeof silent))
                refuse(change, "without node \"%s\" the cluster would have %u voter%s, of which only %u answer%s, and lose its quorum: "
                       "bring back or remove %s first", node_id, voters, voters == 1 ? "" : "s", answer, answer == 1 ? "s" : "", silent);
}

void member_change_remove(const membership *now, const bool *alive, const char *node_id, member_change *ret_change) {
        bool out[MEMBERSHIP_COUNT_MAX] = {0}, found = false;
        ret_change->verdict = MEMBER_CHANGE_NONE;
        for (uint32_t i = 0; i < now->count; i++) {
                out[i] = is_named(&now->members[i], node_id);
                found = found || out[i];
        }
        if (found)
                remove_places(now, alive, out, node_id, ret_change);
}

void member_change_drop(const membership *now, const bool *alive, raft_id id, member_change *ret_change) {
        bool out[MEMBERSHIP_COUNT_MAX] = {0};
        const member *m = membership_find(now, id);
        ret_change->verdict = MEMBER_CHANGE_NONE;
        if (m == NULL)
                return;
        out[m - now->members] = true;
        remove_places(now, alive, out, m->node_id, ret_change);
}

/* --- joining ---------------------------------------------------------------- */

/* A member that stands in the way of who; out: those that it replaces. False: refused. */
static bool check_against(const member *m, bool answers, const member *who, bool *ret_out, member_change *change) {
        const bool same_node = is_named(m, who->node_id), same_address = strcmp(m->raft_addr, who->raft_addr) == 0;
        *ret_out = false;
        if (membership_raft_id(&m->disk_uuid) == membership_raft_id(&who->disk_uuid)) {
                refuse(change, "its disk uuid is hardly to be told from that of node \"%s\": empty its data directory and start it again", m->node_id);
        } else if (same_node && answers) {
                refuse(change, "node id \"%s\" belongs to another data directory, whose node answers at %s: give this node another -node-id, "
                       "or stop that one first", m->node_id, m->raft_addr);
        } else if (same_node && m->voter && who->stays) {
                refuse(change, "node \"%s\" is a voter; to have it back as a read replica, remove it first (DELETE /remove)", m->node_id);
        } else if (!same_node && same_address) {
                refuse(change, "node \"%s\" is a member at the same address %s: give this node another -raft-adv-addr, or remove that one first "
                       "(DELETE /remove)", m->node_id, m->raft_addr);
        } else {
                *ret_out = same_node && !m->voter;
                return true;
        }
        return false;
}

/* Voters, and those that are to become voters, without one that who replaces. */
static uint32_t voters_to_be(const membership *m, const char *but) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < m->count; i++)
                count += !m->members[i].stays && !is_named(&m->members[i], but);
        return count;
}

void member_change_join(const membership *now, const bool *alive, const member *who, member_change *ret_change) {
        bool out[MEMBERSHIP_COUNT_MAX] = {0};
        ret_change->verdict = MEMBER_CHANGE_NONE;
        for (uint32_t i = 0; i < now->count; i++) {
                const member *m = &now->members[i];
                if (!rq_uuid_equal(&m->disk_uuid, &who->disk_uuid))
                        continue;
                if (!is_named(m, who->node_id))
                        refuse(ret_change, "its data directory is that of node \"%s\"", m->node_id);
                return;
        }
        for (uint32_t i = 0; i < now->count; i++)
                if (!check_against(&now->members[i], alive[i], who, &out[i], ret_change))
                        return;
        ret_change->wanted = *now;
        take_out(&ret_change->wanted, out);
        membership *wanted = &ret_change->wanted;
        if (!who->stays && voters_to_be(wanted, who->node_id) >= RAFT_VOTERS_MAX)
                refuse(ret_change, "the cluster has %d voters, which is the most: start this node with -raft-non-voter, or remove another", RAFT_VOTERS_MAX);
        else if (wanted->count == MEMBERSHIP_COUNT_MAX)
                refuse(ret_change, "the cluster has %d members, which is the most", MEMBERSHIP_COUNT_MAX);
        if (ret_change->verdict == MEMBER_CHANGE_REFUSED)
                return;
        member *added = &wanted->members[wanted->count++];
        *added = *who;
        added->voter = added->outgoing = false;
        ret_change->verdict = MEMBER_CHANGE_WANTED;
}

void member_change_promote(const membership *now, const bool *alive, raft_id id, member_change *ret_change) {
        bool out[MEMBERSHIP_COUNT_MAX] = {0};
        char silent[512];
        uint32_t voters, answer;
        const member *m = membership_find(now, id);
        ret_change->verdict = MEMBER_CHANGE_NONE;
        if (m == NULL || m->voter || m->stays)
                return;
        for (uint32_t i = 0; i < now->count; i++)
                out[i] = &now->members[i] != m && is_named(&now->members[i], m->node_id);
        ret_change->verdict = MEMBER_CHANGE_WANTED;
        ret_change->wanted = *now;
        ret_change->wanted.members[m - now->members].voter = true;
        take_out(&ret_change->wanted, out);
        if (lacks_quorum(now, alive, &ret_change->wanted, &voters, &answer, silent, sizeof silent))
                refuse(ret_change, "with node \"%s\" as a voter only %u of %u voters would answer, not %s", m->node_id, answer, voters, silent);
}

void member_change_move(const membership *now, raft_id id, const char *raft_addr, member_change *ret_change) {
        const member *m = membership_find(now, id);
        ret_change->verdict = MEMBER_CHANGE_NONE;
        if (m == NULL || strcmp(m->raft_addr, raft_addr) == 0 || raft_addr[0] == '\0' || strlen(raft_addr) > MEMBERSHIP_ADDRESS_MAX)
                return;
        ret_change->verdict = MEMBER_CHANGE_WANTED;
        ret_change->wanted = *now;
        member *moved = &ret_change->wanted.members[m - now->members];
        memcpy(moved->raft_addr, raft_addr, strlen(raft_addr) + 1);
}
