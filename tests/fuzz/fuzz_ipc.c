/* Bytes of a peer against common/ipc: a handler sees only whole frames that its
 * rule allows, up and down come in pairs, and nothing stays behind.
 *
 * First byte: seed of where the bytes are cut and of what handlers do. Second:
 * bit 0: what follows is (type, sizes, bytes) from which frames are made, so that
 * the fuzzer needn't find the magic number; bit 1: HELLO comes by itself, of the
 * role in the upper bits. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/rng.h"
#include "consensus.pb-c.h"
#include "ipc/ipc_link.h"
#include "log/log.h"
#include "store.pb-c.h"

enum { BODY_MAX = 256, PAYLOAD_MAX = 4096 };

static rq_loop *loop;
static rq_rng rng;
static int up_count, down_count, closed_count;
static bool may_misbehave;

/* Every message that a service decodes: its bytes come from outside. */
static rq_err decode(const ipc_frame *frame) {
        const ProtobufCMessageDescriptor *descriptor;
        switch (frame->type) {
        case IPC_PROPOSE: descriptor = &rq__propose__descriptor; break;
        case IPC_READ: descriptor = &rq__read__descriptor; break;
        case IPC_REQUEST_FAILED: descriptor = &rq__request_failed__descriptor; break;
        case IPC_NODE_STATE: descriptor = &rq__node_state__descriptor; break;
        case IPC_TRANSFER: descriptor = &rq__transfer__descriptor; break;
        case IPC_TRANSFER_DONE: descriptor = &rq__transfer_done__descriptor; break;
        case IPC_COMMITTED: descriptor = &rq__committed__descriptor; break;
        case IPC_READ_AT: descriptor = &rq__read_at__descriptor; break;
        case IPC_FETCH: descriptor = &rq__fetch__descriptor; break;
        case IPC_APPLIED: descriptor = &rq__applied__descriptor; break;
        case IPC_CREDIT: descriptor = &rq__credit__descriptor; break;
        case IPC_QUERY: descriptor = &rq__query__descriptor; break;
        default: return RQ_OK;
        }
        ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, NULL, frame->body.size, frame->body.data);
        if (message == NULL)
                return RQ_EPROTO;
        rq_assert(protobuf_c_message_get_packed_size(message) <= frame->body.size + 64 + frame->body.size / 2 * 20);
        protobuf_c_message_free_unpacked(message, NULL);
        return RQ_OK;
}

static uint8_t sum_of(rq_bytes bytes) {
        uint8_t sum = 0;
        for (size_t i = 0; i < bytes.size; i++)
                sum ^= bytes.data[i];
        return sum;
}

static rq_err on_frame(void *arg, ipc_link *link, const ipc_frame *frame) {
        (void) arg;
        rq_assert(ipc_link_is_up(link) && up_count == down_count + 1);
        rq_assert(frame->body.size <= BODY_MAX && frame->payload.size <= PAYLOAD_MAX);
        volatile uint8_t sum = (uint8_t) (sum_of(frame->body) ^ sum_of(frame->payload));
        (void) sum;
        switch (may_misbehave ? rq_rng_below(&rng, 16) : 0) {
        case 1:
                ipc_link_close(link);
                return RQ_OK;
        case 2:
                return RQ_EPROTO;
        case 3:
                return ipc_link_send(link, IPC_RESULT, frame->request_id, frame->body, frame->payload);
        default:
                return decode(frame);
        }
}

static void on_up(void *arg, ipc_link *link) {
        (void) arg;
        rq_assert(ipc_link_is_up(link));
        up_count++;
        if (may_misbehave && rq_rng_below(&rng, 16) == 0)
                ipc_link_close(link); /* no place for it, as consensus does */
}

static void on_down(void *arg, ipc_link *link) {
        (void) arg;
        rq_assert(ipc_link_was_up(link) && !ipc_link_is_up(link));
        down_count++;
}

static void on_turn_end(void *arg, ipc_link *link) {
        (void) arg;
        (void) ipc_link_send(link, IPC_STATUS, 1, (rq_bytes) {0}, rq_bytes_text("{}"));
}

static void on_closed(void *owner, ipc_link *link) {
        (void) owner;
        (void) link;
        closed_count++;
}

#define RULE(type_, from_) { .type = type_, .from = from_, .body_bytes_max = BODY_MAX, .payload_bytes_max = PAYLOAD_MAX, .handler = on_frame }
static const ipc_rule rules[] = {
        RULE(IPC_PROPOSE, IPC_GATEWAY), RULE(IPC_READ, IPC_GATEWAY), RULE(IPC_QUERY, IPC_GATEWAY), RULE(IPC_CREDIT, IPC_GATEWAY),
        RULE(IPC_REQUEST_FAILED, IPC_CONSENSUS | IPC_STORE), RULE(IPC_NODE_STATE, IPC_CONSENSUS), RULE(IPC_COMMITTED, IPC_CONSENSUS),
        RULE(IPC_TRANSFER, IPC_GATEWAY), RULE(IPC_TRANSFER_DONE, IPC_CONSENSUS),
        RULE(IPC_READ_AT, IPC_CONSENSUS), RULE(IPC_FETCH, IPC_STORE), RULE(IPC_APPLIED, IPC_STORE),
        { IPC_STATUS_GET, IPC_GATEWAY | IPC_BACKUP, 0, 0, on_frame },
};
static const ipc_handlers handlers = { .rules = rules, .rule_count = sizeof rules / sizeof rules[0], .on_up = on_up,
                                       .on_down = on_down, .on_turn_end = on_turn_end };

static void append_frame(rq_buf *out, uint16_t type, rq_bytes body, rq_bytes payload) {
        uint8_t header[IPC_HEADER_BYTES];
        const ipc_header h = { .type = type, .body_bytes = (uint32_t) body.size, .payload_bytes = (uint32_t) payload.size, .request_id = out->size };
        ipc_header_encode(header, &h);
        rq_assert(rq_buf_append(out, header, sizeof header) == RQ_OK);
        rq_assert(rq_buf_append_bytes(out, body) == RQ_OK && rq_buf_append_bytes(out, payload) == RQ_OK);
}

/* u8 type, u16 body bytes, u16 payload bytes, the bytes. */
static void append_made(rq_buf *out, const uint8_t *data, size_t size) {
        for (size_t at = 0; at + 5 <= size;) {
                size_t left = size - at - 5, body = rq_get_u16(data + at + 1) & 0x1ff, payload = rq_get_u16(data + at + 3) & 0x1fff;
                const uint8_t *p = data + at + 5;
                body = body < left ? body : left;
                payload = payload < left - body ? payload : left - body;
                append_frame(out, data[at], rq_bytes_of(p, body), rq_bytes_of(p + body, payload));
                at += 5 + body + payload;
        }
}

static void turn(int peer) {
        uint8_t ignored[65536];
        for (int i = 0; i < 3; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
        while (peer >= 0 && recv(peer, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
                ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const ipc_identity self = { .role = IPC_CONSENSUS };
        rq_buf out = {0};
        ipc_link *link;
        int pair[2];
        if (size < 2)
                return 0;
        if (loop == NULL) {
                rq_log_open("fuzz", RQ_LOG_PLAIN, LOG_EMERG);
                rq_assert(rq_loop_new(&loop) == RQ_OK);
        }
        rng = rq_rng_seeded(data[0]);
        may_misbehave = (data[0] & 1) != 0;
        up_count = down_count = closed_count = 0;
        if ((data[1] & 2) != 0) {
                uint8_t hello[1 + RQ_UUID_BYTES] = { (uint8_t) (1 << (data[1] >> 2 & 3)) };
                append_frame(&out, IPC_HELLO, rq_bytes_of(hello, sizeof hello), (rq_bytes) {0});
        }
        if ((data[1] & 1) != 0)
                append_made(&out, data + 2, size - 2);
        else
                rq_assert(rq_buf_append(&out, data + 2, size - 2) == RQ_OK);

        rq_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        rq_assert(ipc_link_new(loop, pair[0], (data[1] & 16) != 0 ? IPC_CONNECTS : IPC_ACCEPTS, &self, &handlers, on_closed, NULL, &link) == RQ_OK);
        for (size_t at = 0; at < out.size;) {
                size_t n = 1 + (size_t) rq_rng_below(&rng, rq_rng_below(&rng, 2) == 0 ? 65536 : 40);
                n = n < out.size - at ? n : out.size - at;
                ssize_t sent = send(pair[1], out.data + at, n, MSG_NOSIGNAL);
                if (sent < 0 && errno != EAGAIN)
                        break;
                at += sent > 0 ? (size_t) sent : 0;
                turn(pair[1]);
        }
        turn(pair[1]);
        (void) close(pair[1]);
        for (int i = 0; i < 8 && closed_count == 0; i++)
                turn(-1);
        rq_assert(closed_count == 1 && up_count == down_count && up_count <= 1);
        rq_buf_done(&out);
        return 0;
}
