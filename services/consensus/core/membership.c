#include "core/membership.h"

enum { HEAD_BYTES = 4, MEMBER_BYTES = 20, VOTER = 1 };

raft_id membership_raft_id(const rq_uuid *disk_uuid) { return rq_get_u64(disk_uuid->bytes) | 1; }

rq_err membership_encode(const membership *m, rq_buf *out) {
        size_t size = HEAD_BYTES;
        if (m->count == 0 || m->count > MEMBERSHIP_COUNT_MAX)
                return RQ_EINVAL;
        for (uint32_t i = 0; i < m->count; i++) {
                if (m->members[i].node_id[0] == '\0')
                        return RQ_EINVAL;
                size += MEMBER_BYTES + strlen(m->members[i].node_id) + strlen(m->members[i].raft_addr);
        }
        if (size > MEMBERSHIP_BYTES_MAX)
                return RQ_ETOOBIG;
        rq_err r = rq_buf_reserve(out, size);
        if (r < 0)
                return r;
        uint8_t *to = out->data + out->size;
        rq_put_u16(to, (uint16_t) m->count);
        rq_put_u16(to + 2, 0);
        to += HEAD_BYTES;
        for (uint32_t i = 0; i < m->count; i++) {
                const member *one = &m->members[i];
                size_t node_bytes = strlen(one->node_id), address_bytes = strlen(one->raft_addr);
                memcpy(to, one->disk_uuid.bytes, RQ_UUID_BYTES);
                to[16] = one->voter ? VOTER : 0;
                to[17] = (uint8_t) node_bytes;
                rq_put_u16(to + 18, (uint16_t) address_bytes);
                memcpy(to + MEMBER_BYTES, one->node_id, node_bytes);
                memcpy(to + MEMBER_BYTES + node_bytes, one->raft_addr, address_bytes);
                to += MEMBER_BYTES + node_bytes + address_bytes;
        }
        out->size += size;
        return RQ_OK;
}

rq_err membership_decode(rq_bytes body, membership *ret_membership) {
        membership m = {0};
        if (body.size < HEAD_BYTES || rq_get_u16(body.data + 2) != 0)
                return RQ_ECORRUPT;
        m.count = rq_get_u16(body.data);
        if (m.count == 0 || m.count > MEMBERSHIP_COUNT_MAX)
                return RQ_ECORRUPT;
        size_t at = HEAD_BYTES;
        for (uint32_t i = 0; i < m.count; i++) {
                if (body.size - at < MEMBER_BYTES)
                        return RQ_ECORRUPT;
                const uint8_t *in = body.data + at;
                size_t node_bytes = in[17], address_bytes = rq_get_u16(in + 18);
                if (node_bytes == 0 || address_bytes > MEMBERSHIP_ADDRESS_MAX ||
                    body.size - at - MEMBER_BYTES < node_bytes + address_bytes ||
                    memchr(in + MEMBER_BYTES, '\0', node_bytes + address_bytes) != NULL)
                        return RQ_ECORRUPT;
                if ((in[16] & ~VOTER) != 0)
                        return RQ_EVERSION;
                m.members[i].voter = (in[16] & VOTER) != 0;
                memcpy(m.members[i].disk_uuid.bytes, in, RQ_UUID_BYTES);
                memcpy(m.members[i].node_id, in + MEMBER_BYTES, node_bytes);
                memcpy(m.members[i].raft_addr, in + MEMBER_BYTES + node_bytes, address_bytes);
                at += MEMBER_BYTES + node_bytes + address_bytes;
        }
        if (at != body.size)
                return RQ_ECORRUPT;
        *ret_membership = m;
        return RQ_OK;
}

uint32_t membership_voters(const membership *m, raft_id ret_ids[static MEMBERSHIP_COUNT_MAX]) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < m->count; i++)
                if (m->members[i].voter)
                        ret_ids[count++] = membership_raft_id(&m->members[i].disk_uuid);
        return count;
}
