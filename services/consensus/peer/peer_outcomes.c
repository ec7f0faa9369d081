#include "peer/peer_outcomes.h"

#include <string.h>

static void put_head(uint8_t *out, raft_id from, raft_id to) {
        rq_put_u64(out, from);
        rq_put_u64(out + 8, to);
}

void peer_profile_encode(const peer_profile *profile, uint8_t out[static PEER_PROFILE_BYTES]) {
        put_head(out, profile->from, profile->to);
        rq_put_u64(out + 16, profile->digest);
        rq_put_u32(out + 24, profile->extensions);
        rq_put_u32(out + 28, 0);
}

rq_err peer_profile_decode(rq_bytes body, rq_bytes payload, peer_profile *ret_profile) {
        const uint8_t *in = body.data;
        if (body.size != PEER_PROFILE_BYTES || payload.size == 0 || payload.size > OUTCOMES_VERSION_MAX)
                return RQ_EPROTO;
        for (size_t i = 0; i < payload.size; i++)
                if (payload.data[i] <= ' ' || payload.data[i] > '~') /* it goes to the journal */
                        return RQ_EPROTO;
        *ret_profile = (peer_profile) {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .digest = rq_get_u64(in + 16), .extensions = rq_get_u32(in + 24),
        };
        memcpy(ret_profile->sqlite_version, payload.data, payload.size);
        return ret_profile->digest != 0 ? RQ_OK : RQ_EPROTO;
}

size_t peer_outcomes_encode(const peer_outcomes *outcomes, uint8_t out[static PEER_OUTCOMES_BYTES],
                            uint8_t payload[static PEER_OUTCOMES_MARKS_MAX * PEER_OUTCOMES_MARK_BYTES]) {
        put_head(out, outcomes->from, outcomes->to);
        rq_put_u64(out + 16, outcomes->generation);
        rq_put_u32(out + 24, outcomes->count);
        rq_put_u32(out + 28, 0);
        for (uint32_t i = 0; i < outcomes->count; i++) {
                rq_put_u64(payload + i * PEER_OUTCOMES_MARK_BYTES, outcomes->marks[i].index);
                rq_put_u64(payload + i * PEER_OUTCOMES_MARK_BYTES + 8, outcomes->marks[i].hash);
        }
        return outcomes->count * PEER_OUTCOMES_MARK_BYTES;
}

rq_err peer_outcomes_decode(rq_bytes body, rq_bytes payload, peer_outcomes *ret_outcomes) {
        const uint8_t *in = body.data;
        uint64_t previous = 0;
        if (body.size != PEER_OUTCOMES_BYTES)
                return RQ_EPROTO;
        const uint32_t count = rq_get_u32(in + 24);
        if (count == 0 || count > PEER_OUTCOMES_MARKS_MAX || payload.size != count * PEER_OUTCOMES_MARK_BYTES)
                return RQ_EPROTO;
        ret_outcomes->from = rq_get_u64(in);
        ret_outcomes->to = rq_get_u64(in + 8);
        ret_outcomes->generation = rq_get_u64(in + 16);
        ret_outcomes->count = count;
        for (uint32_t i = 0; i < count; i++) {
                const uint8_t *at = payload.data + i * PEER_OUTCOMES_MARK_BYTES;
                ret_outcomes->marks[i] = (outcome_mark) { .index = rq_get_u64(at), .hash = rq_get_u64(at + 8) };
                if (ret_outcomes->marks[i].index <= previous)
                        return RQ_EPROTO;
                previous = ret_outcomes->marks[i].index;
        }
        return RQ_OK;
}

void peer_refuted_encode(const peer_refuted *refuted, uint8_t out[static PEER_REFUTED_BYTES]) {
        put_head(out, refuted->from, refuted->to);
        rq_put_u64(out + 16, refuted->term);
        rq_put_u64(out + 24, refuted->index);
        rq_put_u64(out + 32, refuted->own);
        rq_put_u64(out + 40, refuted->majority);
}

rq_err peer_refuted_decode(rq_bytes body, peer_refuted *ret_refuted) {
        const uint8_t *in = body.data;
        if (body.size != PEER_REFUTED_BYTES)
                return RQ_EPROTO;
        *ret_refuted = (peer_refuted) {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .term = rq_get_u64(in + 16),
                .index = rq_get_u64(in + 24), .own = rq_get_u64(in + 32), .majority = rq_get_u64(in + 40),
        };
        return RQ_OK;
}
