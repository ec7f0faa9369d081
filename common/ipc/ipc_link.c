#include "ipc/ipc_link.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "log/log.h"
#include "log/log_fields.h"

enum {
        READ_BYTES         = 128 * 1024,        /* asked of the kernel at a time */
        IN_IDLE_BYTES_MAX  = 256 * 1024,        /* kept between frames */
        OUT_IDLE_BYTES_MAX = 256 * 1024,
        WARM_BYTES_MAX     = 2 * 1024 * 1024,   /* kept while frames of that size are to be expected */
        WARM_TURNS         = 16,                /* so many turns without one, and they aren't */
        QUEUE_BYTES_MAX    = 128 * 1024 * 1024, /* above it a send is refused */
        TURN_READS_MAX     = 4,                 /* then other sockets get their turn */
        HELLO_INCARNATION  = 1, /* places in HELLO's body */
        HELLO_MINOR        = HELLO_INCARNATION + RQ_UUID_BYTES,
        HELLO_FEATURES     = HELLO_MINOR + 2,
};

_Static_assert(QUEUE_BYTES_MAX > IPC_HEADER_BYTES + IPC_BODY_BYTES_MAX + IPC_PAYLOAD_BYTES_MAX,
               "the largest frame fits an empty queue");

_Static_assert((int) HELLO_MINOR == (int) IPC_HELLO_BYTES_MIN && HELLO_FEATURES + 4 == (int) IPC_HELLO_BYTES, "HELLO as ipc_frame.h says");

struct ipc_link {
        int fd;
        rq_loop *loop;
        struct event *readable, *writable;
        rq_task flush, dispose;
        ipc_handlers handlers;
        void (*on_closed)(void *owner, ipc_link *link);
        void *owner, *data;
        rq_buf in, out;
        size_t out_sent;          /* bytes of out that the kernel has */
        unsigned in_warm, out_warm; /* turns that the buffer is kept, larger than an idle link's */
        size_t skip_bytes;        /* still to come of a frame of an unknown type */
        ipc_identity self, peer;
        ipc_side side;
        uint16_t peer_minor;
        uint32_t peer_features;
        uint64_t skipped_count;
        bool up, was_up, closing, wants_write;
};

const char *ipc_role_text(ipc_role role) {
        switch (role) {
        case IPC_GATEWAY: return "rq-gateway";
        case IPC_CONSENSUS: return "rq-consensus";
        case IPC_STORE: return "rq-store";
        case IPC_BACKUP: return "rq-backup";
        }
        return "unknown service";
}

static void dispose(void *arg) {
        ipc_link *link = arg;
        if (link->up) {
                link->up = false;
                link->handlers.on_down(link->handlers.arg, link);
        }
        if (link->on_closed != NULL)
                link->on_closed(link->owner, link);
        event_free(link->readable);
        event_free(link->writable);
        rq_task_done(&link->flush);
        rq_task_done(&link->dispose);
        (void) close(link->fd);
        rq_buf_done(&link->in);
        rq_buf_done(&link->out);
        free(link);
}

ipc_link *ipc_link_free(ipc_link *link) {
        if (link != NULL)
                dispose(link);
        return NULL;
}

void ipc_link_close(ipc_link *link) {
        if (link == NULL || link->closing)
                return;
        link->closing = true;
        (void) event_del(link->readable);
        (void) event_del(link->writable);
        rq_task_post(&link->dispose);
}

/* An empty buffer goes back, unless it is going to be as large again soon: one that grows anew with each piece of a load
 * costs more than copying the piece, and leaves holes in the heap. */
static void cool(rq_buf *buf, bool was_large, size_t idle_bytes_max, unsigned *warm) {
        if (was_large)
                *warm = WARM_TURNS;
        else if (*warm > 0)
                --*warm;
        if (buf->size == 0 && buf->capacity > idle_bytes_max && (*warm == 0 || buf->capacity > WARM_BYTES_MAX))
                rq_buf_done(buf);
}

static void flush(void *arg) {
        ipc_link *link = arg;
        if (link->closing)
                return;

        while (link->out_sent < link->out.size) {
                ssize_t n = send(link->fd, link->out.data + link->out_sent, link->out.size - link->out_sent,
                                 MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        break;
                if (n < 0) {
                        ipc_link_close(link);
                        return;
                }
                link->out_sent += (size_t) n;
        }

        if (link->out_sent == link->out.size) {
                bool was_large = link->out.size > OUT_IDLE_BYTES_MAX;
                link->out.size = link->out_sent = 0;
                cool(&link->out, was_large, OUT_IDLE_BYTES_MAX, &link->out_warm);
        }
        bool wants_write = link->out.size > 0;
        if (wants_write != link->wants_write) {
                link->wants_write = wants_write;
                if (wants_write)
                        (void) event_add(link->writable, NULL);
                else
                        (void) event_del(link->writable);
        }
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
        (void) fd;
        (void) what;
        flush(arg);
}

rq_err ipc_link_reserve(ipc_link *link, size_t body_bytes, size_t payload_bytes, uint8_t **ret_space) {
        if (link->closing)
                return RQ_EPIPE;
        if (body_bytes > IPC_BODY_BYTES_MAX || payload_bytes > IPC_PAYLOAD_BYTES_MAX)
                return RQ_ETOOBIG;

        size_t total = IPC_HEADER_BYTES + body_bytes + payload_bytes;
        if (link->out.size - link->out_sent + total > QUEUE_BYTES_MAX)
                return RQ_EFULL;
        /* Reclaim what was sent before growing. */
        if (link->out_sent > 0 && link->out.capacity - link->out.size < total) {
                rq_buf_consume(&link->out, link->out_sent);
                link->out_sent = 0;
        }
        rq_err r = rq_buf_reserve(&link->out, total);
        if (r < 0)
                return r;
        *ret_space = link->out.data + link->out.size + IPC_HEADER_BYTES;
        return RQ_OK;
}

void ipc_link_commit(ipc_link *link, ipc_type type, uint64_t request_id, size_t body_bytes, size_t payload_bytes) {
        rq_assert(IPC_HEADER_BYTES + body_bytes + payload_bytes <= link->out.capacity - link->out.size);
        ipc_header header = {
                .type = (uint16_t) type,
                .body_bytes = (uint32_t) body_bytes,
                .payload_bytes = (uint32_t) payload_bytes,
                .request_id = request_id,
        };
        ipc_header_encode(link->out.data + link->out.size, &header);
        link->out.size += IPC_HEADER_BYTES + body_bytes + payload_bytes;
        if (!link->wants_write)
                rq_task_post(&link->flush);
}

rq_err ipc_link_send(ipc_link *link, ipc_type type, uint64_t request_id, rq_bytes body, rq_bytes payload) {
        uint8_t *space;
        rq_err r = ipc_link_reserve(link, body.size, payload.size, &space);
        if (r < 0)
                return r;
        if (body.size > 0)
                memcpy(space, body.data, body.size);
        if (payload.size > 0)
                memcpy(space + body.size, payload.data, payload.size);
        ipc_link_commit(link, type, request_id, body.size, payload.size);
        return RQ_OK;
}

static rq_err send_hello(ipc_link *link) {
        uint8_t hello[IPC_HELLO_BYTES];
        hello[0] = (uint8_t) link->self.role;
        memcpy(hello + HELLO_INCARNATION, link->self.incarnation.bytes, RQ_UUID_BYTES);
        rq_put_u16(hello + HELLO_MINOR, IPC_PROTOCOL_MINOR);
        rq_put_u32(hello + HELLO_FEATURES, IPC_FEATURE_LEVEL);
        return ipc_link_send(link, IPC_HELLO, 0, rq_bytes_of(hello, sizeof hello), (rq_bytes) {0});
}

static rq_err on_hello(ipc_link *link, const ipc_frame *frame) {
        uint8_t role = frame->body.data[0];
        if (role != IPC_GATEWAY && role != IPC_CONSENSUS && role != IPC_STORE && role != IPC_BACKUP)
                return RQ_EPROTO;
        link->peer.role = (ipc_role) role;
        memcpy(link->peer.incarnation.bytes, frame->body.data + HELLO_INCARNATION, RQ_UUID_BYTES);
        if (frame->body.size >= HELLO_MINOR + 2)
                link->peer_minor = rq_get_u16(frame->body.data + HELLO_MINOR);
        if (frame->body.size >= HELLO_FEATURES + 4)
                link->peer_features = rq_get_u32(frame->body.data + HELLO_FEATURES);
        rq_err r = link->side == IPC_ACCEPTS ? send_hello(link) : RQ_OK;
        if (r < 0)
                return r;
        link->up = link->was_up = true;
        link->handlers.on_up(link->handlers.arg, link);
        return RQ_OK;
}

static const ipc_rule *rule_of(const ipc_link *link, uint16_t type) {
        for (size_t i = 0; i < link->handlers.rule_count; i++)
                if (link->handlers.rules[i].type == type)
                        return &link->handlers.rules[i];
        return NULL;
}

/* Of a type that this build knows, a frame at the wrong place is a fault. */
static bool type_is_known(uint16_t type) {
        switch ((ipc_type) type) {
        case IPC_HELLO:
        case IPC_STATUS_GET:
        case IPC_STATUS:
        case IPC_PROPOSE:
        case IPC_READ:
        case IPC_REQUEST_FAILED:
        case IPC_NODE_STATE:
        case IPC_TRANSFER:
        case IPC_TRANSFER_DONE:
        case IPC_REMOVE:
        case IPC_REMOVE_DONE:
        case IPC_JOIN_CREDENTIALS:
        case IPC_JOIN_CHECK:
        case IPC_JOIN_CHECKED:
        case IPC_COMMITTED:
        case IPC_READ_AT:
        case IPC_FETCH:
        case IPC_APPLIED:
        case IPC_SET_ASIDE:
        case IPC_MISFIT:
        case IPC_QUERY:
        case IPC_CREDIT:
        case IPC_CANCEL:
        case IPC_RESULT:
        case IPC_CHECKPOINT:
        case IPC_SNAPSHOT_OPEN:
        case IPC_SNAPSHOT_HEAD:
        case IPC_SNAPSHOT_READ:
        case IPC_SNAPSHOT_CHUNK:
        case IPC_SNAPSHOT_CLOSE:
        case IPC_SNAPSHOT_FAILED:
        case IPC_INSTALL_BEGIN:
        case IPC_INSTALL_CHUNK:
        case IPC_INSTALL_COMMIT:
        case IPC_INSTALL_STATE:
                return true;
        }
        return false;
}

typedef enum verdict { FRAME_HELLO, FRAME_HANDLE, FRAME_SKIP } verdict;

/* Sizes are checked before a byte of the body is waited for. */
static rq_err check_header(const ipc_link *link, const ipc_header *header, const ipc_rule **ret_rule, verdict *ret_verdict) {
        *ret_rule = NULL;
        *ret_verdict = FRAME_HELLO;
        if (!link->up)
                return header->type == IPC_HELLO && header->body_bytes >= IPC_HELLO_BYTES_MIN && header->body_bytes <= IPC_HELLO_BYTES_MAX &&
                       header->payload_bytes == 0 ? RQ_OK : RQ_EPROTO;

        const ipc_rule *rule = rule_of(link, header->type);
        *ret_verdict = rule == NULL ? FRAME_SKIP : FRAME_HANDLE;
        if (rule == NULL)
                return type_is_known(header->type) ? RQ_EPROTO : RQ_OK;
        if ((rule->from & link->peer.role) == 0)
                return RQ_EPROTO;
        if (header->body_bytes > rule->body_bytes_max || header->payload_bytes > rule->payload_bytes_max)
                return RQ_ETOOBIG;
        *ret_rule = rule;
        return RQ_OK;
}

/* Once an upgrade is over nobody says such things: worth a line, not many. */
static void log_skipped(const ipc_link *link, uint16_t type) {
        static rq_log_limit limit = { .interval_ms = 60000, .burst = 3 }; /* of the loop's thread, for all links */
        const char *peer = ipc_role_text(link->peer.role);
        char field[64];
        const char *fields[] = { rq_log_field_text(field, sizeof field, RQ_FIELD_SERVICE, peer), NULL };
        uint32_t suppressed;
        if (rq_log_allowed(&limit, &suppressed))
                rq_log_write(LOG_WARNING, fields,
                             "Skipped a message of unknown type %u from %s (protocol %u.%u, feature level %u; here %u.%u, %u); %u more not shown",
                             type, peer, IPC_VERSION, link->peer_minor, link->peer_features, IPC_VERSION, IPC_PROTOCOL_MINOR,
                             IPC_FEATURE_LEVEL, suppressed);
}

/* Handles every whole frame in the buffer. *ret_missing: bytes still to come of
 * the frame that has begun, 0 if none has. */
static rq_err take_frames(ipc_link *link, size_t *ret_missing) {
        size_t at = 0;
        rq_err r = RQ_OK;
        *ret_missing = 0;
        for (;;) {
                size_t skip = link->skip_bytes < link->in.size - at ? link->skip_bytes : link->in.size - at;
                at += skip;
                *ret_missing = link->skip_bytes -= skip;
                if (link->closing || link->in.size - at < IPC_HEADER_BYTES)
                        break;

                ipc_header header;
                const ipc_rule *rule;
                verdict what;
                r = ipc_header_decode(link->in.data + at, &header);
                if (r >= 0)
                        r = check_header(link, &header, &rule, &what);
                if (r < 0)
                        break;

                size_t total = IPC_HEADER_BYTES + (size_t) header.body_bytes + header.payload_bytes;
                if (what == FRAME_SKIP) {
                        link->skipped_count++;
                        log_skipped(link, header.type);
                        link->skip_bytes = total;
                        continue;
                }
                if (link->in.size - at < total) {
                        *ret_missing = total - (link->in.size - at);
                        break;
                }
                const uint8_t *p = link->in.data + at + IPC_HEADER_BYTES;
                ipc_frame frame = {
                        .type = header.type,
                        .request_id = header.request_id,
                        .body = rq_bytes_of(p, header.body_bytes),
                        .payload = rq_bytes_of(p + header.body_bytes, header.payload_bytes),
                };
                r = what == FRAME_HELLO ? on_hello(link, &frame) : rule->handler(link->handlers.arg, link, &frame);
                if (r < 0)
                        break;
                at += total;
        }
        rq_buf_consume(&link->in, at);
        return r;
}

/* Sparingly: a peer that breaks the rules comes back with its next connection. */
static void log_broken(const ipc_link *link, rq_err err) {
        static rq_log_limit limit = { .interval_ms = 10000, .burst = 5 }; /* of the loop's thread, for all links */
        const char *peer = link->up ? ipc_role_text(link->peer.role) : "a peer";
        char field[64];
        const char *fields[] = { RQ_MSG_LINK_BROKEN, rq_log_field_text(field, sizeof field, RQ_FIELD_SERVICE, peer), NULL };
        uint32_t suppressed;
        if (!rq_log_allowed(&limit, &suppressed))
                return;
        if (suppressed > 0)
                rq_log_write(LOG_WARNING, fields, "Closing the connection to %s: %s (and %u others before it)", peer, rq_err_text(err), suppressed);
        else
                rq_log_write(LOG_WARNING, fields, "Closing the connection to %s: %s", peer, rq_err_text(err));
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
        ipc_link *link = arg;
        bool frames = false, large = false;
        (void) what;

        for (int i = 0; i < TURN_READS_MAX && !link->closing; i++) {
                /* The buffer grows with what has come, never with what a header
                 * claims. */
                if (rq_buf_reserve(&link->in, READ_BYTES) < 0) {
                        ipc_link_close(link);
                        break;
                }
                size_t room = link->in.capacity - link->in.size;
                ssize_t n = recv(fd, link->in.data + link->in.size, room, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        break;
                if (n <= 0) {
                        ipc_link_close(link);
                        break;
                }
                link->in.size += (size_t) n;
                large |= link->in.size > IN_IDLE_BYTES_MAX;

                size_t missing;
                rq_err r = take_frames(link, &missing);
                frames = true;
                if (r < 0) {
                        log_broken(link, r);
                        ipc_link_close(link);
                        break;
                }
                if ((size_t) n < room && missing == 0)
                        break; /* all that was there */
        }
        if (frames && link->up && link->handlers.on_turn_end != NULL)
                link->handlers.on_turn_end(link->handlers.arg, link);
        if (!link->closing)
                cool(&link->in, large, IN_IDLE_BYTES_MAX, &link->in_warm);
}

rq_err ipc_link_new(rq_loop *loop, int take_fd, ipc_side side, const ipc_identity *self, const ipc_handlers *handlers,
                    void (*on_closed)(void *owner, ipc_link *link), void *owner, ipc_link **ret_link) {
        RQ_CLEANUP(rq_closep) int fd = take_fd;
        ipc_link *link = calloc(1, sizeof *link);
        if (link == NULL)
                return RQ_ENOMEM;
        link->fd = fd;
        link->loop = loop;
        link->side = side;
        link->self = *self;
        link->handlers = *handlers;
        link->on_closed = on_closed;
        link->owner = owner;
        link->readable = event_new(rq_loop_base(loop), fd, EV_READ | EV_PERSIST, on_readable, link);
        link->writable = event_new(rq_loop_base(loop), fd, EV_WRITE | EV_PERSIST, on_writable, link);
        if (link->readable == NULL || link->writable == NULL ||
            rq_task_init(&link->flush, loop, flush, link) < 0 ||
            rq_task_init(&link->dispose, loop, dispose, link) < 0 ||
            event_add(link->readable, NULL) != 0) {
                if (link->readable != NULL)
                        event_free(link->readable);
                if (link->writable != NULL)
                        event_free(link->writable);
                rq_task_done(&link->flush);
                rq_task_done(&link->dispose);
                free(link);
                return RQ_ENOMEM;
        }
        (void) RQ_TAKE(fd, -1);

        rq_err r = side == IPC_CONNECTS ? send_hello(link) : RQ_OK;
        if (r < 0) {
                ipc_link_close(link);
                return r;
        }
        *ret_link = link;
        return RQ_OK;
}

size_t ipc_link_queued_bytes(const ipc_link *link) { return link->out.size - link->out_sent; }
bool ipc_link_is_up(const ipc_link *link) { return link->up && !link->closing; }
bool ipc_link_was_up(const ipc_link *link) { return link->was_up; }
ipc_role ipc_link_role(const ipc_link *link) { return link->peer.role; }
const rq_uuid *ipc_link_incarnation(const ipc_link *link) { return &link->peer.incarnation; }
uint16_t ipc_link_protocol_minor(const ipc_link *link) { return link->peer_minor; }
uint32_t ipc_link_feature_level(const ipc_link *link) { return link->peer_features; }
uint64_t ipc_link_skipped_count(const ipc_link *link) { return link->skipped_count; }
void ipc_link_set_data(ipc_link *link, void *data) { link->data = data; }
void *ipc_link_data(const ipc_link *link) { return link->data; }
