#include "peer/peer_message.h"

#include "peer/peer_outcomes.h"
#include "peer/peer_snapshot.h"

enum {
        RAFT_HEAD_BYTES = 24,                   /* from, to, term */
        FLAG_0 = 1, FLAG_1 = 2,
        HELLO_VIRGIN = 1, HELLO_VISITOR = 2, HELLO_CONFIGURATION_BYTES = 8, HELLO_START_BYTES = 32 + 4 * PEER_START_EARLIER,
        HELLO_TAIL_BYTES = HELLO_CONFIGURATION_BYTES + HELLO_START_BYTES,
        OLD_COPY_LED = 1,
        JOIN_STAYS = 1,
        FOUND_VIRGIN = 1,
        FOUND_RECORD_BYTES_MAX = RECORD_HEADER_BYTES + MEMBERSHIP_BYTES_MAX,
};

/* Exact sizes of the bodies of Raft's messages; 0: no such type. */
static size_t raft_body_bytes(unsigned type) {
        switch (type) {
        case RAFT_MSG_VOTE: return RAFT_HEAD_BYTES + 32;
        case RAFT_MSG_VOTE_REPLY: return RAFT_HEAD_BYTES + 16;
        case RAFT_MSG_APPEND: return RAFT_HEAD_BYTES + 32;
        case RAFT_MSG_APPEND_REPLY: return RAFT_HEAD_BYTES + 32;
        case RAFT_MSG_HEARTBEAT: return RAFT_HEAD_BYTES + 16;
        case RAFT_MSG_HEARTBEAT_REPLY: return RAFT_HEAD_BYTES + 16;
        case RAFT_MSG_TIMEOUT_NOW: return RAFT_HEAD_BYTES;
        case RAFT_MSG_READ: return RAFT_HEAD_BYTES + 16;
        case RAFT_MSG_READ_REPLY: return RAFT_HEAD_BYTES + 24;
        case RAFT_MSG_TRANSFER: return RAFT_HEAD_BYTES + 8;
        default: return 0;
        }
}

bool peer_type_limits(uint16_t type, uint32_t *ret_body_bytes_max, uint32_t *ret_payload_bytes_max) {
        uint32_t body = 0, payload = 0;
        switch (type) {
        case PEER_HELLO: body = PEER_HELLO_BYTES_MAX; break;
        case PEER_FOUND: body = PEER_FOUND_BYTES; payload = FOUND_RECORD_BYTES_MAX; break;
        case PEER_FORWARD: body = PEER_FORWARD_BYTES; payload = RECORD_BODY_BYTES_MAX; break;
        case PEER_FORWARD_REFUSED: body = PEER_REFUSED_BYTES; break;
        case PEER_JOIN: body = PEER_JOIN_BYTES; payload = PEER_JOIN_CREDENTIALS_MAX; break;
        case PEER_JOIN_REPLY: body = PEER_JOIN_REPLY_BYTES; payload = MEMBERSHIP_BYTES_MAX; break;
        case PEER_REMOVE: body = PEER_REMOVE_BYTES; payload = MEMBERSHIP_NODE_MAX; break;
        case PEER_REMOVE_REPLY: body = PEER_REMOVE_REPLY_BYTES; payload = PEER_TEXT_MAX; break;
        case PEER_REMOVED: body = PEER_REMOVED_BYTES; break;
        case PEER_PING:
        case PEER_PONG: body = PEER_PING_BYTES; break;
        case PEER_OLD_COPY: body = PEER_OLD_COPY_BYTES; break;
        case PEER_PROFILE: body = PEER_PROFILE_BYTES; payload = OUTCOMES_VERSION_MAX; break;
        case PEER_OUTCOMES: body = PEER_OUTCOMES_BYTES; payload = PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES; break;
        case PEER_REFUTED: body = PEER_REFUTED_BYTES; break;
        case PEER_SNAPSHOT_OFFER: body = PEER_SNAPSHOT_OFFER_BYTES; payload = MEMBERSHIP_BYTES_MAX + PEER_SNAPSHOT_STATE_MAX; break;
        case PEER_SNAPSHOT_CHUNK: body = PEER_SNAPSHOT_CHUNK_BYTES; payload = PEER_SNAPSHOT_DATA_MAX; break;
        case PEER_SNAPSHOT_REPLY: body = PEER_SNAPSHOT_REPLY_BYTES; break;
        case PEER_SNAPSHOT_WANTED: body = PEER_SNAPSHOT_WANTED_BYTES; break;
        case PEER_RAFT_FIRST + RAFT_MSG_APPEND: payload = PEER_PAYLOAD_BYTES_MAX; break;
        default: break;
        }
        if (type >= PEER_RAFT_FIRST && type <= PEER_RAFT_LAST)
                body = (uint32_t) raft_body_bytes((unsigned) type - PEER_RAFT_FIRST);
        if (body == 0)
                return false;
        *ret_body_bytes_max = body;
        *ret_payload_bytes_max = payload;
        return true;
}

/* --- HELLO and FOUND -------------------------------------------------------- */

static void put_start(uint8_t *out, const peer_start *start) {
        rq_put_u64(out, start->number);
        rq_put_u64(out + 8, start->nonce);
        rq_put_u64(out + 16, start->term);
        rq_put_u64(out + 24, start->index);
        for (size_t i = 0; i < PEER_START_EARLIER; i++)
                rq_put_u32(out + 32 + 4 * i, start->earlier[i]);
}

static void get_start(const uint8_t *in, peer_start *ret_start) {
        *ret_start = (peer_start) { rq_get_u64(in), rq_get_u64(in + 8), rq_get_u64(in + 16), rq_get_u64(in + 24), {0} };
        for (size_t i = 0; i < PEER_START_EARLIER; i++)
                ret_start->earlier[i] = rq_get_u32(in + 32 + 4 * i);
}

rq_err peer_hello_encode(const peer_hello *hello, rq_buf *out) {
        const size_t node = strlen(hello->node_id), address = strlen(hello->raft_addr), api = strlen(hello->api_addr);
        const size_t size = PEER_HELLO_FIXED_BYTES + node + address + api + HELLO_TAIL_BYTES;
        rq_err r = rq_buf_reserve(out, size);
        if (r < 0)
                return r;
        uint8_t *to = out->data + out->size;
        memcpy(to, hello->cluster_id.bytes, RQ_UUID_BYTES);
        memcpy(to + 16, hello->disk_uuid.bytes, RQ_UUID_BYTES);
        to[32] = (uint8_t) hello->class;
        to[33] = (uint8_t) ((hello->virgin ? HELLO_VIRGIN : 0) | (hello->visitor ? HELLO_VISITOR : 0));
        rq_put_u16(to + 34, hello->expect);
        rq_put_u16(to + 36, hello->protocol_minor);
        rq_put_u16(to + 38, 0);
        rq_put_u32(to + 40, hello->feature_level);
        rq_put_u16(to + 44, (uint16_t) node);
        rq_put_u16(to + 46, (uint16_t) address);
        rq_put_u16(to + 48, (uint16_t) api);
        rq_put_u16(to + 50, 0);
        memcpy(to + PEER_HELLO_FIXED_BYTES, hello->node_id, node);
        memcpy(to + PEER_HELLO_FIXED_BYTES + node, hello->raft_addr, address);
        memcpy(to + PEER_HELLO_FIXED_BYTES + node + address, hello->api_addr, api);
        uint8_t *tail = to + size - HELLO_TAIL_BYTES;
        rq_put_u64(tail, hello->configuration);
        put_start(tail + HELLO_CONFIGURATION_BYTES, &hello->start);
        out->size += size;
        return RQ_OK;
}

/* They are logged and shown: control characters would let a stranger write what
 * he likes into a terminal. */
static bool is_text(const uint8_t *text, size_t size) {
        for (size_t i = 0; i < size; i++)
                if (text[i] < 0x20 || text[i] == 0x7f)
                        return false;
        return true;
}

rq_err peer_hello_decode(rq_bytes body, peer_hello *ret_hello) {
        const uint8_t *in = body.data;
        if (body.size < PEER_HELLO_FIXED_BYTES)
                return RQ_EPROTO;
        const size_t node = rq_get_u16(in + 44), address = rq_get_u16(in + 46), api = rq_get_u16(in + 48);
        /* Flags and fields that aren't known are a newer build's, and may be ignored. */
        if (node == 0 || node > MEMBERSHIP_NODE_MAX || address > MEMBERSHIP_ADDRESS_MAX || api > PEER_API_ADDRESS_MAX ||
            body.size - PEER_HELLO_FIXED_BYTES < node + address + api || in[32] >= PEER_CLASSES ||
            !is_text(in + PEER_HELLO_FIXED_BYTES, node + address + api))
                return RQ_EPROTO;
        peer_hello hello = {
                .class = (peer_class) in[32],
                .virgin = (in[33] & HELLO_VIRGIN) != 0,
                .visitor = (in[33] & HELLO_VISITOR) != 0,
                .expect = rq_get_u16(in + 34),
                .protocol_minor = rq_get_u16(in + 36),
                .feature_level = rq_get_u32(in + 40),
        };
        memcpy(hello.cluster_id.bytes, in, RQ_UUID_BYTES);
        memcpy(hello.disk_uuid.bytes, in + 16, RQ_UUID_BYTES);
        if (rq_uuid_is_zero(&hello.disk_uuid))
                return RQ_EPROTO;
        memcpy(hello.node_id, in + PEER_HELLO_FIXED_BYTES, node);
        memcpy(hello.raft_addr, in + PEER_HELLO_FIXED_BYTES + node, address);
        memcpy(hello.api_addr, in + PEER_HELLO_FIXED_BYTES + node + address, api);
        const size_t tail = PEER_HELLO_FIXED_BYTES + node + address + api;
        if (body.size - tail >= HELLO_CONFIGURATION_BYTES) /* since minor 2 */
                hello.configuration = rq_get_u64(in + tail);
        if (body.size - tail >= HELLO_TAIL_BYTES) /* since minor 3 */
                get_start(in + tail + HELLO_CONFIGURATION_BYTES, &hello.start);
        *ret_hello = hello;
        return RQ_OK;
}

void peer_found_encode(bool virgin, uint8_t out[static PEER_FOUND_BYTES]) {
        rq_put_u32(out, virgin ? FOUND_VIRGIN : 0);
        rq_put_u32(out + 4, 0);
}

rq_err peer_found_decode(rq_bytes body, bool *ret_virgin) {
        if (body.size != PEER_FOUND_BYTES || (rq_get_u32(body.data) & ~(uint32_t) FOUND_VIRGIN) != 0)
                return RQ_EPROTO;
        *ret_virgin = rq_get_u32(body.data) == FOUND_VIRGIN;
        return RQ_OK;
}

/* --- Raft ------------------------------------------------------------------- */

uint16_t peer_raft_type(raft_message_type type) { return (uint16_t) (PEER_RAFT_FIRST + (unsigned) type); }

static void put_head(uint8_t *out, raft_id from, raft_id to, raft_term term) {
        rq_put_u64(out, from);
        rq_put_u64(out + 8, to);
        rq_put_u64(out + 16, term);
}

static void put_flags(uint8_t *out, bool flag_0, bool flag_1) {
        rq_put_u32(out, (flag_0 ? FLAG_0 : 0) | (flag_1 ? FLAG_1 : 0));
        rq_put_u32(out + 4, 0);
}

static void encode_vote(const raft_message *m, uint8_t *p) {
        if (m->type == RAFT_MSG_VOTE_REPLY) {
                put_flags(p, m->vote_reply.pre, m->vote_reply.granted);
                rq_put_u64(p + 8, m->vote_reply.campaign_term);
                return;
        }
        put_flags(p, m->vote.pre, m->vote.transfer);
        rq_put_u64(p + 8, m->vote.campaign_term);
        rq_put_u64(p + 16, m->vote.last_index);
        rq_put_u64(p + 24, m->vote.last_term);
}

static void encode_append(const raft_message *m, uint8_t *p) {
        if (m->type == RAFT_MSG_APPEND_REPLY) {
                put_flags(p, m->append_reply.rejected, false);
                rq_put_u64(p + 8, m->append_reply.index);
                rq_put_u64(p + 16, m->append_reply.hint_index);
                rq_put_u64(p + 24, m->append_reply.hint_term);
                return;
        }
        rq_put_u64(p, m->append.previous_index);
        rq_put_u64(p + 8, m->append.previous_term);
        rq_put_u32(p + 16, m->append.count);
        rq_put_u32(p + 20, 0);
        rq_put_u64(p + 24, m->append.commit);
}

static void encode_read(const raft_message *m, uint8_t *p) {
        if (m->type == RAFT_MSG_READ) {
                put_flags(p, m->read.weak, false);
                rq_put_u64(p + 8, m->read.round);
                return;
        }
        put_flags(p, m->read_reply.refused, false);
        rq_put_u64(p + 8, m->read_reply.round);
        rq_put_u64(p + 16, m->read_reply.index);
}

size_t peer_raft_encode(const raft_message *m, uint8_t out[static PEER_RAFT_BYTES_MAX]) {
        uint8_t *p = out + RAFT_HEAD_BYTES;
        put_head(out, m->from, m->to, m->term);
        switch (m->type) {
        case RAFT_MSG_VOTE:
        case RAFT_MSG_VOTE_REPLY: encode_vote(m, p); break;
        case RAFT_MSG_APPEND:
        case RAFT_MSG_APPEND_REPLY: encode_append(m, p); break;
        case RAFT_MSG_HEARTBEAT:
                rq_put_u64(p, m->heartbeat.commit);
                rq_put_u64(p + 8, m->heartbeat.round);
                break;
        case RAFT_MSG_HEARTBEAT_REPLY:
                rq_put_u64(p, m->heartbeat_reply.round);
                rq_put_u64(p + 8, m->heartbeat_reply.index);
                break;
        case RAFT_MSG_READ:
        case RAFT_MSG_READ_REPLY: encode_read(m, p); break;
        case RAFT_MSG_TRANSFER: rq_put_u64(p, m->transfer.target); break;
        case RAFT_MSG_TIMEOUT_NOW: break;
        }
        return raft_body_bytes(m->type);
}

raft_term peer_raft_highest_term(const raft_message *m) {
        raft_term terms[3] = { m->term, 0, 0 }, highest = 0;
        switch (m->type) {
        case RAFT_MSG_VOTE:
                terms[1] = m->vote.campaign_term;
                terms[2] = m->vote.last_term;
                break;
        case RAFT_MSG_VOTE_REPLY: terms[1] = m->vote_reply.campaign_term; break;
        case RAFT_MSG_APPEND: terms[1] = m->append.previous_term; break;
        case RAFT_MSG_APPEND_REPLY: terms[1] = m->append_reply.hint_term; break;
        default: break;
        }
        for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++)
                highest = terms[i] > highest ? terms[i] : highest;
        return highest;
}

static rq_err get_flags(const uint8_t *in, uint32_t known, bool *ret_flag_0, bool *ret_flag_1) {
        const uint32_t flags = rq_get_u32(in);
        if ((flags & ~known) != 0 || rq_get_u32(in + 4) != 0)
                return RQ_EPROTO;
        *ret_flag_0 = (flags & FLAG_0) != 0;
        if (ret_flag_1 != NULL)
                *ret_flag_1 = (flags & FLAG_1) != 0;
        return RQ_OK;
}

static rq_err decode_vote(raft_message *m, const uint8_t *p) {
        if (m->type == RAFT_MSG_VOTE_REPLY) {
                m->vote_reply.campaign_term = rq_get_u64(p + 8);
                return get_flags(p, FLAG_0 | FLAG_1, &m->vote_reply.pre, &m->vote_reply.granted);
        }
        m->vote.campaign_term = rq_get_u64(p + 8);
        m->vote.last_index = rq_get_u64(p + 16);
        m->vote.last_term = rq_get_u64(p + 24);
        return get_flags(p, FLAG_0 | FLAG_1, &m->vote.pre, &m->vote.transfer);
}

static rq_err decode_append(raft_message *m, const uint8_t *p) {
        if (m->type == RAFT_MSG_APPEND_REPLY) {
                m->append_reply.index = rq_get_u64(p + 8);
                m->append_reply.hint_index = rq_get_u64(p + 16);
                m->append_reply.hint_term = rq_get_u64(p + 24);
                return get_flags(p, FLAG_0, &m->append_reply.rejected, NULL);
        }
        m->append.previous_index = rq_get_u64(p);
        m->append.previous_term = rq_get_u64(p + 8);
        m->append.count = rq_get_u32(p + 16);
        m->append.commit = rq_get_u64(p + 24);
        return rq_get_u32(p + 20) == 0 ? RQ_OK : RQ_EPROTO;
}

static rq_err decode_read(raft_message *m, const uint8_t *p) {
        if (m->type == RAFT_MSG_READ) {
                m->read.round = rq_get_u64(p + 8);
                return get_flags(p, FLAG_0, &m->read.weak, NULL);
        }
        m->read_reply.round = rq_get_u64(p + 8);
        m->read_reply.index = rq_get_u64(p + 16);
        return get_flags(p, FLAG_0, &m->read_reply.refused, NULL);
}

rq_err peer_raft_decode(uint16_t type, rq_bytes body, raft_message *ret_message) {
        raft_message m = {0};
        rq_err r = RQ_OK;
        if (type < PEER_RAFT_FIRST || type > PEER_RAFT_LAST)
                return RQ_EPROTO;
        const size_t size = raft_body_bytes((unsigned) type - PEER_RAFT_FIRST);
        if (size == 0 || body.size != size)
                return RQ_EPROTO;
        m.type = (raft_message_type) (type - PEER_RAFT_FIRST);
        m.from = rq_get_u64(body.data);
        m.to = rq_get_u64(body.data + 8);
        m.term = rq_get_u64(body.data + 16);
        const uint8_t *p = body.data + RAFT_HEAD_BYTES;
        switch (m.type) {
        case RAFT_MSG_VOTE:
        case RAFT_MSG_VOTE_REPLY: r = decode_vote(&m, p); break;
        case RAFT_MSG_APPEND:
        case RAFT_MSG_APPEND_REPLY: r = decode_append(&m, p); break;
        case RAFT_MSG_HEARTBEAT:
                m.heartbeat.commit = rq_get_u64(p);
                m.heartbeat.round = rq_get_u64(p + 8);
                break;
        case RAFT_MSG_HEARTBEAT_REPLY:
                m.heartbeat_reply.round = rq_get_u64(p);
                m.heartbeat_reply.index = rq_get_u64(p + 8);
                break;
        case RAFT_MSG_READ:
        case RAFT_MSG_READ_REPLY: r = decode_read(&m, p); break;
        case RAFT_MSG_TRANSFER: m.transfer.target = rq_get_u64(p); break;
        case RAFT_MSG_TIMEOUT_NOW: break;
        }
        if (r >= 0)
                *ret_message = m;
        return r;
}

/* --- forwards --------------------------------------------------------------- */

/* Stable numbers for what means: nothing has happened. */
static const struct { uint32_t number; rq_err err; } reasons[] = {
        { 1, RQ_ENOTLEADER }, { 2, RQ_EFULL }, { 3, RQ_ENOSPC }, { 4, RQ_ETOOBIG },
        { 5, RQ_ENOMEM }, { 6, RQ_ECANCELED }, { 7, RQ_EIO }, { 8, RQ_EINVAL },
};
enum { REASON_UNKNOWN = 6 };

static uint32_t reason_of(rq_err err) {
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
                if (reasons[i].err == err)
                        return reasons[i].number;
        return REASON_UNKNOWN;
}

static rq_err err_of(uint32_t reason) {
        for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
                if (reasons[i].number == reason)
                        return reasons[i].err;
        return RQ_ECANCELED; /* a newer build's */
}

void peer_forward_encode(raft_id from, const driver_forward *forward, uint8_t out[static PEER_FORWARD_BYTES]) {
        put_head(out, from, forward->to, forward->term);
        rq_put_u64(out + 24, forward->seed);
        rq_put_u64(out + 32, forward->step_budget);
        rq_put_u32(out + 40, forward->kind);
        rq_put_u32(out + 44, 0);
}

rq_err peer_forward_decode(rq_bytes body, raft_id *ret_to, driver_forward *ret_forward) {
        const uint8_t *in = body.data;
        if (body.size != PEER_FORWARD_BYTES || rq_get_u32(in + 40) > UINT8_MAX || rq_get_u32(in + 44) != 0)
                return RQ_EPROTO;
        *ret_to = rq_get_u64(in + 8);
        *ret_forward = (driver_forward) {
                .to = rq_get_u64(in), .term = rq_get_u64(in + 16), .seed = rq_get_u64(in + 24),
                .step_budget = rq_get_u64(in + 32), .kind = (uint8_t) rq_get_u32(in + 40),
        };
        return RQ_OK;
}

void peer_refusal_encode(const peer_refusal *refusal, uint8_t out[static PEER_REFUSED_BYTES]) {
        put_head(out, refusal->from, refusal->to, refusal->term);
        rq_put_u64(out + 24, refusal->seed);
        rq_put_u32(out + 32, reason_of(refusal->err));
        rq_put_u32(out + 36, 0);
}

rq_err peer_refusal_decode(rq_bytes body, peer_refusal *ret_refusal) {
        const uint8_t *in = body.data;
        if (body.size != PEER_REFUSED_BYTES || rq_get_u32(in + 36) != 0)
                return RQ_EPROTO;
        *ret_refusal = (peer_refusal) {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .term = rq_get_u64(in + 16),
                .seed = rq_get_u64(in + 24), .err = err_of(rq_get_u32(in + 32)),
        };
        return RQ_OK;
}

/* --- joining and leaving ---------------------------------------------------- */

void peer_join_encode(bool stays, uint8_t out[static PEER_JOIN_BYTES]) {
        rq_put_u32(out, stays ? JOIN_STAYS : 0);
        rq_put_u32(out + 4, 0);
}

rq_err peer_join_decode(rq_bytes body, bool *ret_stays) {
        if (body.size != PEER_JOIN_BYTES || (rq_get_u32(body.data) & ~(uint32_t) JOIN_STAYS) != 0)
                return RQ_EPROTO;
        *ret_stays = rq_get_u32(body.data) == JOIN_STAYS;
        return RQ_OK;
}

void peer_join_reply_encode(const peer_join_reply *reply, uint8_t out[static PEER_JOIN_REPLY_BYTES]) {
        rq_put_u32(out, (uint32_t) reply->result);
        rq_put_u32(out + 4, 0);
        memcpy(out + 8, reply->database_id.bytes, RQ_UUID_BYTES);
        memcpy(out + 8 + RQ_UUID_BYTES, reply->cluster_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 40, reply->configuration);
}

rq_err peer_join_reply_decode(rq_bytes body, rq_bytes payload, peer_join_reply *ret_reply) {
        if (body.size != PEER_JOIN_REPLY_BYTES)
                return RQ_EPROTO;
        const uint32_t result = rq_get_u32(body.data);
        if (result < PEER_JOIN_ACCEPTED || result > PEER_JOIN_REFUSED)
                return RQ_EPROTO;
        if (result != PEER_JOIN_ACCEPTED && (payload.size > PEER_TEXT_MAX || !is_text(payload.data, payload.size)))
                return RQ_EPROTO;
        *ret_reply = (peer_join_reply) { .result = (peer_join_result) result, .configuration = rq_get_u64(body.data + 40) };
        memcpy(ret_reply->database_id.bytes, body.data + 8, RQ_UUID_BYTES);
        memcpy(ret_reply->cluster_id.bytes, body.data + 8 + RQ_UUID_BYTES, RQ_UUID_BYTES);
        const bool known = !rq_uuid_is_zero(&ret_reply->database_id) && !rq_uuid_is_zero(&ret_reply->cluster_id);
        return result == PEER_JOIN_ACCEPTED && !known ? RQ_EPROTO : RQ_OK;
}

void peer_remove_encode(const peer_remove *remove, uint8_t out[static PEER_REMOVE_BYTES]) {
        rq_put_u64(out, remove->from);
        rq_put_u64(out + 8, remove->to);
        rq_put_u64(out + 16, remove->number);
}

static peer_remove remove_of(const uint8_t *in) {
        return (peer_remove) { .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .number = rq_get_u64(in + 16) };
}

rq_err peer_remove_decode(rq_bytes body, rq_bytes payload, peer_remove *ret_remove) {
        if (body.size != PEER_REMOVE_BYTES || payload.size == 0 || payload.size > MEMBERSHIP_NODE_MAX || !is_text(payload.data, payload.size))
                return RQ_EPROTO;
        *ret_remove = remove_of(body.data);
        return RQ_OK;
}

void peer_remove_reply_encode(const peer_remove_reply *reply, uint8_t out[static PEER_REMOVE_REPLY_BYTES]) {
        peer_remove_encode(&reply->is, out);
        rq_put_u32(out + PEER_REMOVE_BYTES, (uint32_t) reply->result);
        rq_put_u32(out + PEER_REMOVE_BYTES + 4, 0);
}

rq_err peer_remove_reply_decode(rq_bytes body, rq_bytes payload, peer_remove_reply *ret_reply) {
        if (body.size != PEER_REMOVE_REPLY_BYTES || payload.size > PEER_TEXT_MAX || !is_text(payload.data, payload.size))
                return RQ_EPROTO;
        const uint32_t result = rq_get_u32(body.data + PEER_REMOVE_BYTES);
        if (result < PEER_REMOVE_DONE || result > PEER_REMOVE_NOT_LEADER)
                return RQ_EPROTO;
        *ret_reply = (peer_remove_reply) { .is = remove_of(body.data), .result = (peer_remove_result) result };
        return RQ_OK;
}

void peer_removed_encode(raft_index configuration, uint8_t out[static PEER_REMOVED_BYTES]) { rq_put_u64(out, configuration); }

rq_err peer_removed_decode(rq_bytes body, raft_index *ret_configuration) {
        if (body.size != PEER_REMOVED_BYTES)
                return RQ_EPROTO;
        *ret_configuration = rq_get_u64(body.data);
        return RQ_OK;
}

void peer_ping_encode(const peer_ping *ping, uint8_t out[static PEER_PING_BYTES]) {
        rq_put_u64(out, ping->from);
        rq_put_u64(out + 8, ping->to);
        rq_put_u64(out + 16, ping->number);
}

rq_err peer_ping_decode(rq_bytes body, peer_ping *ret_ping) {
        if (body.size != PEER_PING_BYTES)
                return RQ_EPROTO;
        *ret_ping = (peer_ping) { .from = rq_get_u64(body.data), .to = rq_get_u64(body.data + 8), .number = rq_get_u64(body.data + 16) };
        return RQ_OK;
}

void peer_old_copy_encode(const peer_old_copy *old, uint8_t out[static PEER_OLD_COPY_BYTES]) {
        rq_put_u64(out, old->number);
        rq_put_u64(out + 8, old->nonce);
        rq_put_u32(out + 16, old->led ? OLD_COPY_LED : 0);
        rq_put_u32(out + 20, 0);
}

rq_err peer_old_copy_decode(rq_bytes body, peer_old_copy *ret_old) {
        if (body.size != PEER_OLD_COPY_BYTES || (rq_get_u32(body.data + 16) & ~(uint32_t) OLD_COPY_LED) != 0 || rq_get_u32(body.data + 20) != 0)
                return RQ_EPROTO;
        *ret_old = (peer_old_copy) { rq_get_u64(body.data), rq_get_u64(body.data + 8), rq_get_u32(body.data + 16) == OLD_COPY_LED };
        return ret_old->number == 0 ? RQ_EPROTO : RQ_OK;
}
