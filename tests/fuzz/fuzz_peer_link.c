/* Bytes of a stranger against a link between members: a handler sees whole
 * frames within the limits of their types only, HELLO first and once, and every
 * link ends.
 *
 * First byte: seed of where the bytes are cut and of what handlers do. Second: bit 0: what follows
 * is (type, sizes, bytes) from which frames with right checksums are made; bit 1: HELLO comes by itself. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "log/log.h"
#include "peer/peer_link.h"

static rq_loop *loop;
static rq_rng rng;
static int hello_count, end_count;
static bool may_misbehave, trusted;

static rq_err on_hello(void *owner, peer_link *link, const peer_hello *hello) {
        (void) owner;
        rq_assert(hello_count == 0 && peer_link_hello(link) == hello && hello->node_id[0] != '\0');
        hello_count++;
        trusted = rq_rng_below(&rng, 2) == 0;
        if (trusted)
                peer_link_trust(link);
        return may_misbehave && rq_rng_below(&rng, 16) == 0 ? RQ_EACCES : RQ_OK;
}

static rq_err on_frame(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload) {
        uint32_t body_max, payload_max;
        volatile uint8_t sum = 0;
        (void) owner;
        rq_assert(hello_count == 1 && end_count == 0 && !peer_link_is_closing(link));
        rq_assert(peer_type_limits(header->type, &body_max, &payload_max) && header->type != PEER_HELLO);
        rq_assert(body.size == header->body_bytes && body.size <= body_max && payload.size == header->payload_bytes && payload.size <= payload_max);
        rq_assert(!peer_link_is_dismissed(link) && (trusted || body.size + payload.size <= PEER_GUEST_BYTES_MAX));
        for (size_t i = 0; i < body.size + payload.size; i++)
                sum ^= body.data[i];
        (void) sum;
        switch (may_misbehave ? rq_rng_below(&rng, 16) : 0) {
        case 1: peer_link_close(link, RQ_ECANCELED); return RQ_OK;
        case 2: return RQ_EPROTO;
        case 5: peer_link_dismiss(link); return RQ_OK;
        case 3: return RQ_EAGAIN;
        case 4: return peer_link_send(link, header->type, body, &payload, 1) == RQ_ENOMEM ? RQ_ENOMEM : RQ_OK;
        default: return RQ_OK;
        }
}

static void on_drained(void *owner, peer_link *link) {
        (void) owner;
        rq_assert(!peer_link_is_closing(link));
}

static void on_end(void *owner, peer_link *link, rq_err reason) {
        (void) owner;
        (void) link;
        (void) reason;
        end_count++;
}

static void append_frame(rq_buf *out, uint16_t type, rq_bytes body, rq_bytes payload) {
        uint8_t head[PEER_HEADER_BYTES];
        peer_header header = { .type = type, .payload_bytes = (uint32_t) payload.size };
        peer_header_encode(head, &header, body);
        rq_assert(rq_buf_append(out, head, sizeof head) == RQ_OK);
        rq_assert(rq_buf_append_bytes(out, body) == RQ_OK && rq_buf_append_bytes(out, payload) == RQ_OK);
}

/* u8 type, u8 body bytes, u16 payload bytes, the bytes. */
static void append_made(rq_buf *out, const uint8_t *data, size_t size) {
        for (size_t at = 0; at + 4 <= size;) {
                size_t left = size - at - 4, body = data[at + 1], payload = rq_get_u16(data + at + 2) & 0x3fff;
                const uint8_t *p = data + at + 4;
                body = body < left ? body : left;
                payload = payload < left - body ? payload : left - body;
                append_frame(out, data[at], rq_bytes_of(p, body), rq_bytes_of(p + body, payload));
                at += 4 + body + payload;
        }
}

static void turn(int peer) {
        uint8_t ignored[65536];
        for (int i = 0; i < 3; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
        while (peer >= 0 && recv(peer, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
                ;
}

static void append_hello(rq_buf *out) {
        static const peer_hello hello = { .disk_uuid = { .bytes = "disk uuid 01234" }, .node_id = "n" };
        rq_buf body = {0};
        rq_assert(peer_hello_encode(&hello, &body) == RQ_OK);
        append_frame(out, PEER_HELLO, rq_buf_bytes(&body), (rq_bytes) {0});
        rq_buf_done(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const peer_hello self = { .disk_uuid = { .bytes = "our own disk's!" }, .node_id = "self" };
        static const peer_link_handlers handlers = { on_hello, on_frame, on_drained, on_end };
        rq_buf out = {0};
        peer_link *link;
        int pair[2];
        if (size < 2)
                return 0;
        if (loop == NULL) {
                rq_log_open("fuzz", RQ_LOG_PLAIN, LOG_EMERG);
                rq_assert(rq_loop_new(&loop) == RQ_OK);
        }
        rng = rq_rng_seeded(data[0]);
        may_misbehave = (data[0] & 1) != 0;
        hello_count = end_count = 0;
        trusted = false;
        if ((data[1] & 2) != 0)
                append_hello(&out);
        if ((data[1] & 1) != 0)
                append_made(&out, data + 2, size - 2);
        else
                rq_assert(rq_buf_append(&out, data + 2, size - 2) == RQ_OK);

        rq_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        rq_assert(peer_link_new(loop, pair[0], NULL, &self, &handlers, NULL, 1 << 20, &link) == RQ_OK);
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
        for (int i = 0; i < 8 && end_count == 0; i++)
                turn(-1);
        rq_assert(end_count == 1);
        rq_buf_done(&out);
        return 0;
}
