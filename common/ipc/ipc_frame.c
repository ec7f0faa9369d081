#include "ipc/ipc_frame.h"

void ipc_header_encode(uint8_t out[static IPC_HEADER_BYTES], const ipc_header *header) {
        rq_put_u32(out, IPC_MAGIC);
        rq_put_u16(out + 4, IPC_VERSION);
        rq_put_u16(out + 6, header->type);
        rq_put_u32(out + 8, header->body_bytes);
        rq_put_u32(out + 12, header->payload_bytes);
        rq_put_u64(out + 16, header->request_id);
}

rq_err ipc_header_decode(const uint8_t in[static IPC_HEADER_BYTES], ipc_header *ret_header) {
        if (rq_get_u32(in) != IPC_MAGIC)
                return RQ_EPROTO;
        if (rq_get_u16(in + 4) != IPC_VERSION)
                return RQ_EVERSION;

        ipc_header header = {
                .type = rq_get_u16(in + 6),
                .body_bytes = rq_get_u32(in + 8),
                .payload_bytes = rq_get_u32(in + 12),
                .request_id = rq_get_u64(in + 16),
        };
        if (header.body_bytes > IPC_BODY_BYTES_MAX || header.payload_bytes > IPC_PAYLOAD_BYTES_MAX)
                return RQ_ETOOBIG;
        *ret_header = header;
        return RQ_OK;
}
