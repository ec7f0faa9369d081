#include "core/membership.h"

enum { HEAD_BYTES = 4, MEMBER_BYTES = 20, JOINT = 1, VOTER = 1, OUTGOING = 2, STAYS = 4 };

raft_id membership_raft_id(const rq_uuid *disk_uuid) { return rq_get_u64(disk_uuid->bytes) | 1; }

static rq_err encoded_bytes(const membership *m, size_t *ret_bytes) {
        size_t size = HEAD_BYTES;
        if (m->count == 0 || m->count > MEMBERSHIP_COUNT_MAX)
                return RQ_EINVAL;
        for (uint32_t i = 0; i < m->count; i++) {
                const member *one = &m->members[i];
                if (one->node_id[0] == '\0' || (one->outgoing && !m->joint) || (one->voter && one->stays))
                        return RQ_EINVAL;
                size += MEMBER_BYTES + strlen(one->node_id) + strlen(one->raft_addr);
        }
        *ret_bytes = size;
        return size > MEMBERSHIP_BYTES_MAX ? RQ_ETOOBIG : RQ_OK;
}

rq_err membership_encode(const membership *m, rq_buf *out) {
        size_t size = 0;
        rq_err r = encoded_bytes(m, &size);
        if (r >= 0)
                r = rq_buf_reserve(out, size);
        if (r < 0)
                return r;
        uint8_t *to = out->data + out->size;
        rq_put_u16(to, (uint16_t) m->count);
        rq_put_u16(to + 2, m->joint ? JOINT : 0);
        to += HEAD_BYTES;
        for (uint32_t i = 0; i < m->count; i++) {
                const member *one = &m->members[i];
                size_t node_bytes = strlen(one->node_id), address_bytes = strlen(one->raft_addr);
                memcpy(to, one->disk_uuid.bytes, RQ_UUID_BYTES);
                to[16] = (uint8_t) ((one->voter ? VOTER : 0) | (one->outgoing ? OUTGOING : 0) | (one->stays ? STAYS : 0));
                to[17] = (uint8_t) node_bytes;
                rq_put_u16(to + 18, (uint16_t) address_bytes);
                memcpy(to + MEMBER_BYTES, one->node_id, node_bytes);
                memcpy(to + MEMBER_BYTES + node_bytes, one->raft_addr, address_bytes);
                to += MEMBER_BYTES + node_bytes + address_bytes;
        }
        out->size += size;
        return RQ_OK;
}

static rq_err decode_member(rq_bytes in, bool joint, member *ret_member, size_t *ret_bytes) {
        if (in.size < MEMBER_BYTES)
                return RQ_ECORRUPT;
        uint8_t flags = in.data[16];
        size_t node_bytes = in.data[17], address_bytes = rq_get_u16(in.data + 18);
        if (node_bytes == 0 || address_bytes > MEMBERSHIP_ADDRESS_MAX ||
            in.size - MEMBER_BYTES < node_bytes + address_bytes ||
            memchr(in.data + MEMBER_BYTES, '\0', node_bytes + address_bytes) != NULL)
                return RQ_ECORRUPT;
        if ((flags & ~(VOTER | OUTGOING | STAYS)) != 0)
                return RQ_EVERSION;
        if (((flags & OUTGOING) != 0 && !joint) || ((flags & VOTER) != 0 && (flags & STAYS) != 0))
                return RQ_ECORRUPT;
        ret_member->voter = (flags & VOTER) != 0;
        ret_member->outgoing = (flags & OUTGOING) != 0;
        ret_member->stays = (flags & STAYS) != 0;
        memcpy(ret_member->disk_uuid.bytes, in.data, RQ_UUID_BYTES);
        memcpy(ret_member->node_id, in.data + MEMBER_BYTES, node_bytes);
        memcpy(ret_member->raft_addr, in.data + MEMBER_BYTES + node_bytes, address_bytes);
        *ret_bytes = MEMBER_BYTES + node_bytes + address_bytes;
        return RQ_OK;
}

rq_err membership_decode(rq_bytes body, membership *ret_membership) {
        membership m = {0};
        if (body.size < HEAD_BYTES)
                return RQ_ECORRUPT;
        uint16_t flags = rq_get_u16(body.data + 2);
        m.count = rq_get_u16(body.data);
        if ((flags & ~JOINT) != 0)
                return RQ_EVERSION;
        if (m.count == 0 || m.count > MEMBERSHIP_COUNT_MAX)
                return RQ_ECORRUPT;
        m.joint = (flags & JOINT) != 0;
        size_t at = HEAD_BYTES;
        for (uint32_t i = 0; i < m.count; i++) {
                size_t bytes = 0;
                rq_err r = decode_member(rq_bytes_of(body.data + at, body.size - at), m.joint, &m.members[i], &bytes);
                if (r < 0)
                        return r;
                at += bytes;
        }
        if (at != body.size)
                return RQ_ECORRUPT;
        *ret_membership = m;
        return RQ_OK;
}

uint32_t membership_voter_count(const membership *m) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < m->count; i++)
                count += m->members[i].voter;
        return count;
}

const member *membership_find(const membership *m, raft_id id) {
        for (uint32_t i = 0; i < m->count; i++)
                if (membership_raft_id(&m->members[i].disk_uuid) == id)
                        return &m->members[i];
        return NULL;
}

void membership_to_configuration(const membership *m, raft_configuration *ret_configuration) {
        *ret_configuration = (raft_configuration) { .count = m->count, .joint = m->joint };
        for (uint32_t i = 0; i < m->count; i++)
                ret_configuration->members[i] = (raft_member) {
                        .id = membership_raft_id(&m->members[i].disk_uuid),
                        .voter = m->members[i].voter, .outgoing = m->members[i].outgoing,
                };
}

rq_err membership_of_configuration(const raft_configuration *configuration, const membership *known,
                                   const membership *also_known, membership *ret_membership) {
        for (uint32_t i = 0; i < configuration->count; i++)
                if (membership_find(known, configuration->members[i].id) == NULL &&
                    (also_known == NULL || membership_find(also_known, configuration->members[i].id) == NULL))
                        return RQ_ENOENT;
        *ret_membership = (membership) { .count = configuration->count, .joint = configuration->joint };
        for (uint32_t i = 0; i < configuration->count; i++) {
                const raft_member *wanted = &configuration->members[i];
                const member *found = membership_find(known, wanted->id);
                if (found == NULL)
                        found = membership_find(also_known, wanted->id);
                ret_membership->members[i] = *found;
                ret_membership->members[i].voter = wanted->voter;
                ret_membership->members[i].outgoing = wanted->outgoing;
                ret_membership->members[i].stays = found->stays && !wanted->voter;
        }
        return RQ_OK;
}
