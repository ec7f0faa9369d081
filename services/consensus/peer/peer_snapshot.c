#include "peer/peer_snapshot.h"

enum { CHUNK_PACKED = 1 };

void peer_snapshot_offer_encode(const peer_snapshot_offer *offer, uint8_t out[static PEER_SNAPSHOT_OFFER_BYTES]) {
        memset(out, 0, PEER_SNAPSHOT_OFFER_BYTES);
        rq_put_u64(out, offer->from);
        rq_put_u64(out + 8, offer->to);
        rq_put_u64(out + 16, offer->term);
        rq_put_u64(out + 24, offer->session);
        memcpy(out + 32, offer->disk_id.bytes, RQ_UUID_BYTES);
        rq_put_u64(out + 48, offer->index);
        rq_put_u64(out + 56, offer->index_term);
        rq_put_u64(out + 64, offer->digest);
        rq_put_u64(out + 72, offer->bytes);
        rq_put_u64(out + 80, offer->clock_us);
        rq_put_u64(out + 88, offer->configuration_index);
        rq_put_u32(out + 96, offer->membership_bytes);
}

rq_err peer_snapshot_offer_decode(rq_bytes body, rq_bytes payload, peer_snapshot_offer *ret_offer) {
        const uint8_t *in = body.data;
        if (body.size != PEER_SNAPSHOT_OFFER_BYTES)
                return RQ_EPROTO;
        peer_snapshot_offer offer = {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .term = rq_get_u64(in + 16), .session = rq_get_u64(in + 24),
                .index = rq_get_u64(in + 48), .index_term = rq_get_u64(in + 56), .digest = rq_get_u64(in + 64),
                .bytes = rq_get_u64(in + 72), .clock_us = rq_get_u64(in + 80), .configuration_index = rq_get_u64(in + 88),
                .membership_bytes = rq_get_u32(in + 96),
        };
        memcpy(offer.disk_id.bytes, in + 32, RQ_UUID_BYTES);
        if (offer.session == 0 || offer.index == 0 || offer.index_term == 0 || offer.index_term > offer.term || offer.bytes == 0 ||
            offer.configuration_index == 0 || offer.configuration_index > offer.index || offer.membership_bytes == 0 ||
            offer.membership_bytes > MEMBERSHIP_BYTES_MAX || offer.membership_bytes >= payload.size)
                return RQ_EPROTO;
        *ret_offer = offer;
        return RQ_OK;
}

void peer_snapshot_chunk_encode(const peer_snapshot_chunk *chunk, uint8_t out[static PEER_SNAPSHOT_CHUNK_BYTES]) {
        memset(out, 0, PEER_SNAPSHOT_CHUNK_BYTES);
        rq_put_u64(out, chunk->from);
        rq_put_u64(out + 8, chunk->to);
        rq_put_u64(out + 16, chunk->session);
        rq_put_u64(out + 24, chunk->offset);
        rq_put_u32(out + 32, chunk->raw_bytes);
        rq_put_u32(out + 36, chunk->crc);
        rq_put_u32(out + 40, chunk->packed ? CHUNK_PACKED : 0);
}

rq_err peer_snapshot_chunk_decode(rq_bytes body, rq_bytes payload, peer_snapshot_chunk *ret_chunk) {
        const uint8_t *in = body.data;
        if (body.size != PEER_SNAPSHOT_CHUNK_BYTES)
                return RQ_EPROTO;
        const uint32_t flags = rq_get_u32(in + 40);
        const peer_snapshot_chunk chunk = {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .session = rq_get_u64(in + 16), .offset = rq_get_u64(in + 24),
                .raw_bytes = rq_get_u32(in + 32), .crc = rq_get_u32(in + 36), .packed = (flags & CHUNK_PACKED) != 0,
        };
        if ((flags & ~(uint32_t) CHUNK_PACKED) != 0 || chunk.raw_bytes == 0 || chunk.raw_bytes > PEER_SNAPSHOT_DATA_MAX ||
            payload.size == 0 || (chunk.packed ? payload.size >= chunk.raw_bytes : payload.size != chunk.raw_bytes))
                return RQ_EPROTO;
        *ret_chunk = chunk;
        return RQ_OK;
}

void peer_snapshot_reply_encode(const peer_snapshot_reply *reply, uint8_t out[static PEER_SNAPSHOT_REPLY_BYTES]) {
        memset(out, 0, PEER_SNAPSHOT_REPLY_BYTES);
        rq_put_u64(out, reply->from);
        rq_put_u64(out + 8, reply->to);
        rq_put_u64(out + 16, reply->term);
        rq_put_u64(out + 24, reply->session);
        rq_put_u32(out + 32, (uint32_t) reply->phase);
        rq_put_u64(out + 40, reply->offset);
        rq_put_u64(out + 48, reply->next);
        rq_put_u64(out + 56, reply->index);
}

rq_err peer_snapshot_reply_decode(rq_bytes body, peer_snapshot_reply *ret_reply) {
        const uint8_t *in = body.data;
        if (body.size != PEER_SNAPSHOT_REPLY_BYTES)
                return RQ_EPROTO;
        const uint32_t phase = rq_get_u32(in + 32);
        const peer_snapshot_reply reply = {
                .from = rq_get_u64(in), .to = rq_get_u64(in + 8), .term = rq_get_u64(in + 16), .session = rq_get_u64(in + 24),
                .phase = (peer_snapshot_phase) phase, .offset = rq_get_u64(in + 40), .next = rq_get_u64(in + 48),
                .index = rq_get_u64(in + 56),
        };
        if (phase > PEER_SNAPSHOT_FAILED || reply.session == 0)
                return RQ_EPROTO;
        *ret_reply = reply;
        return RQ_OK;
}

void peer_snapshot_wanted_encode(const peer_snapshot_wanted *wanted, uint8_t out[static PEER_SNAPSHOT_WANTED_BYTES]) {
        rq_put_u64(out, wanted->from);
        rq_put_u64(out + 8, wanted->to);
        rq_put_u64(out + 16, wanted->term);
        rq_put_u64(out + 24, wanted->min_index);
}

rq_err peer_snapshot_wanted_decode(rq_bytes body, peer_snapshot_wanted *ret_wanted) {
        if (body.size != PEER_SNAPSHOT_WANTED_BYTES)
                return RQ_EPROTO;
        *ret_wanted = (peer_snapshot_wanted) {
                .from = rq_get_u64(body.data), .to = rq_get_u64(body.data + 8), .term = rq_get_u64(body.data + 16),
                .min_index = rq_get_u64(body.data + 24),
        };
        return RQ_OK;
}
