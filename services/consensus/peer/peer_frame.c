#include "peer/peer_frame.h"

#include "base/checksum.h"

enum { BODY_CRC_AT = 20, HEADER_CRC_AT = 24 };

void peer_header_encode(uint8_t out[static PEER_HEADER_BYTES], peer_header *header, rq_bytes body) {
        header->body_bytes = (uint32_t) body.size;
        header->body_crc = rq_crc32c(0, body.data, body.size);
        rq_put_u32(out, PEER_MAGIC);
        rq_put_u16(out + 4, PEER_VERSION);
        rq_put_u16(out + 6, header->type);
        rq_put_u32(out + 8, 0);
        rq_put_u32(out + 12, header->body_bytes);
        rq_put_u32(out + 16, header->payload_bytes);
        rq_put_u32(out + BODY_CRC_AT, header->body_crc);
        rq_put_u32(out + HEADER_CRC_AT, rq_crc32c(0, out, HEADER_CRC_AT));
}

rq_err peer_header_decode(const uint8_t in[static PEER_HEADER_BYTES], peer_header *ret_header) {
        if (rq_get_u32(in) != PEER_MAGIC || rq_get_u32(in + HEADER_CRC_AT) != rq_crc32c(0, in, HEADER_CRC_AT))
                return RQ_EPROTO;
        if (rq_get_u16(in + 4) != PEER_VERSION || rq_get_u32(in + 8) != 0)
                return RQ_EVERSION;
        peer_header header = {
                .type = rq_get_u16(in + 6),
                .body_bytes = rq_get_u32(in + 12),
                .payload_bytes = rq_get_u32(in + 16),
                .body_crc = rq_get_u32(in + BODY_CRC_AT),
        };
        if (header.body_bytes > PEER_BODY_BYTES_MAX || header.payload_bytes > PEER_PAYLOAD_BYTES_MAX)
                return RQ_ETOOBIG;
        *ret_header = header;
        return RQ_OK;
}
