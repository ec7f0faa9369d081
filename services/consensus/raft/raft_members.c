#include "raft/raft_members.h"

#include <stddef.h>

bool raft_members_are_valid(const raft_configuration *c) {
        uint32_t voters = 0, outgoing = 0;
        if (c->count == 0 || c->count > RAFT_MEMBERS_MAX)
                return false;
        for (uint32_t i = 0; i < c->count; i++) {
                const raft_member *m = &c->members[i];
                if (m->id == 0 || (m->outgoing && !c->joint))
                        return false;
                for (uint32_t j = 0; j < i; j++)
                        if (c->members[j].id == m->id)
                                return false;
                voters += m->voter ? 1 : 0;
                outgoing += m->outgoing ? 1 : 0;
        }
        return voters >= 1 && voters <= RAFT_VOTERS_MAX && outgoing <= RAFT_VOTERS_MAX && (!c->joint || outgoing >= 1);
}

const raft_member *raft_members_find(const raft_configuration *c, raft_id id) {
        for (uint32_t i = 0; i < c->count; i++)
                if (c->members[i].id == id)
                        return &c->members[i];
        return NULL;
}

bool raft_members_has_voter(const raft_configuration *c, raft_id id) {
        const raft_member *m = c == NULL ? NULL : raft_members_find(c, id);
        return m != NULL && (m->voter || m->outgoing);
}

static uint32_t voters_missing(const raft_configuration *of, const raft_configuration *in) {
        uint32_t missing = 0;
        for (uint32_t i = 0; i < of->count; i++)
                if (of->members[i].voter && !raft_members_has_voter(in, of->members[i].id))
                        missing++;
        return missing;
}

uint32_t raft_members_difference(const raft_configuration *a, const raft_configuration *b) {
        return voters_missing(a, b) + voters_missing(b, a);
}

bool raft_members_join(const raft_configuration *from, const raft_configuration *to, raft_configuration *ret_joint) {
        raft_configuration joint = *to;
        joint.joint = true;
        for (uint32_t i = 0; i < joint.count; i++) {
                raft_member *m = &joint.members[i];
                m->outgoing = raft_members_has_voter(from, m->id);
                if (m->outgoing && !m->voter)
                        return false;
        }
        for (uint32_t i = 0; i < from->count; i++) {
                const raft_member *m = &from->members[i];
                if (!m->voter || raft_members_find(to, m->id) != NULL)
                        continue;
                if (joint.count == RAFT_MEMBERS_MAX)
                        return false;
                joint.members[joint.count++] = (raft_member) { .id = m->id, .outgoing = true };
        }
        *ret_joint = joint;
        return true;
}

void raft_members_leave(const raft_configuration *joint, raft_configuration *ret_final) {
        raft_configuration final = {0};
        for (uint32_t i = 0; i < joint->count; i++) {
                const raft_member *m = &joint->members[i];
                if (m->voter || !m->outgoing)
                        final.members[final.count++] = (raft_member) { .id = m->id, .voter = m->voter };
        }
        *ret_final = final;
}
