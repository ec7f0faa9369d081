#include "peer/peer_transport.h"

#include <event2/bufferevent.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "peer/peer_frame.h"

enum {
        READ_AHEAD_BYTES     = 256 * 1024,  /* at once, from the socket */
        HANDSHAKE_BYTES_MAX  = 64 * 1024,   /* not read any further before it is over */
        CIPHER_BYTES         = 128 * 1024,  /* encrypted before it is sent */
        DECRYPT_BYTES        = 64 * 1024,
        HANDSHAKE_SHARE      = 4,           /* of the loop's time: one part in so many */
        STRANGER_PAUSE_US    = 2000,        /* while others go first */
        PROBLEM_BYTES        = 256,
        TLS_ALERT            = 0x15,        /* first bytes of TLS records: RFC 8446, 5.1 */
        TLS_HANDSHAKE        = 0x16,
};

typedef enum transport_state { LISTENING, HANDSHAKING, OPEN, FAILED } transport_state;

struct peer_transport {
        rq_loop *loop;
        struct bufferevent *bev;
        peer_security *security;
        const peer_transport_handlers *handlers;
        void *owner;
        transport_state state;
        bool dialled, heard, met_plain, deaf;
        bool known;                 /* dialled, or accepted from where members are */
        bool waits_for_step;        /* counted in known_waiting */
        bool strange;               /* counted in strange_count */
        size_t wanted, ahead;
        /* TLS only. */
        SSL *ssl;
        BIO_METHOD *method;
        struct evbuffer *clear;     /* decrypted input */
        rq_buf cipher;              /* encrypted output on its way to the socket */
        rq_timer pace;
        bool cipher_lost;
        char problem[PROBLEM_BYTES];
};

/* Node without TLS, this is a port with it: RFC 8446, 6: fatal, insufficient_security. Its kind is told by the first byte. */
static const uint8_t no_plain_here[] = { TLS_ALERT, 3, 3, 0, 2, 2, 71 };

static struct evbuffer *raw_input(const peer_transport *t) { return bufferevent_get_input(t->bev); }

static void stop_waiting_for_step(peer_transport *t) {
        if (RQ_TAKE(t->waits_for_step, false))
                t->security->known_waiting--;
}

/* The handshake is over, one way or the other. */
static void stop_being_strange(peer_transport *t) {
        if (RQ_TAKE(t->strange, false))
                t->security->strange_count--;
}

static void fail(peer_transport *t, rq_err reason, const char *problem) {
        if (t->state == FAILED)
                return;
        stop_waiting_for_step(t);
        stop_being_strange(t);
        t->state = FAILED;
        if (problem != NULL)
                (void) snprintf(t->problem, sizeof t->problem, "%s", problem);
        t->handlers->on_end(t->owner, reason);
}

/* --- the socket -------------------------------------------------------------- */

/* A bufferevent would wait for the loop to say that the socket takes something, three system calls more. */
static rq_err push(peer_transport *t, const uint8_t *data, size_t size) {
        size_t sent = 0;
        if (peer_transport_queued_bytes(t) == 0) {
                ssize_t n = send(bufferevent_getfd(t->bev), data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                sent = n > 0 ? (size_t) n : 0; /* an error shows when the rest is written, or at reading */
        }
        if (sent < size && bufferevent_write(t->bev, data + sent, size - sent) != 0)
                return RQ_ENOMEM;
        return RQ_OK;
}

static rq_err push_cipher(peer_transport *t) {
        rq_err r = t->cipher_lost ? RQ_ENOMEM : t->cipher.size > 0 ? push(t, t->cipher.data, t->cipher.size) : RQ_OK;
        t->cipher.size = 0;
        return r;
}

/* --- what OpenSSL reads and writes -------------------------------------------- */

static int bio_read(BIO *bio, char *data, size_t size, size_t *ret_size) {
        peer_transport *t = BIO_get_data(bio);
        int n = evbuffer_remove(raw_input(t), data, size);
        BIO_clear_retry_flags(bio);
        if (n <= 0) {
                BIO_set_retry_read(bio);
                return 0;
        }
        *ret_size = (size_t) n;
        return 1;
}

static int bio_write(BIO *bio, const char *data, size_t size, size_t *ret_size) {
        peer_transport *t = BIO_get_data(bio);
        BIO_clear_retry_flags(bio);
        if (rq_buf_append(&t->cipher, data, size) < 0) {
                t->cipher_lost = true; /* half a record would never be understood */
                return 0;
        }
        *ret_size = size;
        return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
        (void) bio;
        (void) number;
        (void) pointer;
        return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static rq_err attach_bio(peer_transport *t) {
        t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "link between nodes");
        if (t->method == NULL || BIO_meth_set_read_ex(t->method, bio_read) != 1 || BIO_meth_set_write_ex(t->method, bio_write) != 1 ||
            BIO_meth_set_ctrl(t->method, bio_ctrl) != 1)
                return RQ_ENOMEM;
        BIO *bio = BIO_new(t->method);
        if (bio == NULL)
                return RQ_ENOMEM;
        BIO_set_data(bio, t);
        BIO_set_init(bio, 1);
        SSL_set_bio(t->ssl, bio, bio); /* takes it */
        return RQ_OK;
}

/* --- TLS --------------------------------------------------------------------- */

static void fail_tls(peer_transport *t) {
        char problem[PROBLEM_BYTES];
        (void) rq_tls_failure(t->ssl, problem, sizeof problem);
        (void) push_cipher(t); /* an alert that says so */
        fail(t, RQ_ETLS, problem);
}

/* Into clear, until there is enough for now. RQ_EAGAIN: all that has come is decrypted. */
static rq_err decrypt(peer_transport *t) {
        const size_t enough = t->wanted > t->ahead ? t->wanted : t->ahead;
        while (evbuffer_get_length(t->clear) < enough) {
                struct evbuffer_iovec room;
                size_t got = 0;
                if (evbuffer_reserve_space(t->clear, DECRYPT_BYTES, &room, 1) != 1)
                        return RQ_ENOMEM;
                int ok = SSL_read_ex(t->ssl, room.iov_base, room.iov_len, &got);
                room.iov_len = ok == 1 ? got : 0;
                if (evbuffer_commit_space(t->clear, &room, 1) != 0)
                        return RQ_ENOMEM;
                if (ok == 1)
                        continue;
                switch (SSL_get_error(t->ssl, ok)) {
                case SSL_ERROR_WANT_READ: return RQ_EAGAIN;
                case SSL_ERROR_ZERO_RETURN: return RQ_EPIPE;
                default: return RQ_ETLS;
                }
        }
        return RQ_OK;
}

static void take_cipher(peer_transport *t) {
        rq_err r;
        do {
                r = decrypt(t);
                if (t->state == OPEN && !t->deaf && evbuffer_get_length(t->clear) >= t->wanted)
                        t->handlers->on_readable(t->owner);
        } while (r == RQ_OK && t->state == OPEN && !t->deaf); /* deaf: nobody would drain it */
        if (t->state != OPEN || t->deaf || r == RQ_OK)
                return;
        if (r == RQ_ETLS)
                fail_tls(t);
        else if (r == RQ_EPIPE)
                fail(t, RQ_OK, NULL);
        else if (r == RQ_ENOMEM || push_cipher(t) < 0) /* an answer to an update of keys */
                fail(t, RQ_ENOMEM, NULL);
}

static void become_open(peer_transport *t) {
        stop_being_strange(t);
        t->state = OPEN;
        bufferevent_setwatermark(t->bev, EV_READ, 0, READ_AHEAD_BYTES);
        t->handlers->on_open(t->owner);
}

/* A step costs up to some milliseconds (RSA): after it others have their turn, and of them known ones the next. */
static bool may_step(peer_transport *t) {
        peer_security *s = t->security;
        const uint64_t now_us = rq_clock_mono_us();
        const bool others_first = !t->known && s->known_waiting > 0;
        if (now_us >= s->handshake_from_us && !others_first) {
                stop_waiting_for_step(t);
                return true;
        }
        if (t->known && !t->waits_for_step) {
                t->waits_for_step = true;
                s->known_waiting++;
        }
        const uint64_t wait_us = now_us < s->handshake_from_us ? s->handshake_from_us - now_us : 0;
        rq_timer_set(&t->pace, wait_us + (others_first ? STRANGER_PAUSE_US : 0));
        return false;
}

/* Who accepts without TLS says HELLO at once. */
static bool meets_plain(peer_transport *t) {
        uint8_t first;
        if (!t->dialled || t->heard || evbuffer_copyout(raw_input(t), &first, 1) != 1)
                return false;
        t->heard = true;
        t->met_plain = first == (PEER_MAGIC & 0xff);
        return t->met_plain;
}

static void step_handshake(peer_transport *t) {
        if (meets_plain(t)) {
                fail(t, RQ_EPROTO, "it speaks without TLS, which this node demands: it has no -node-cert");
                return;
        }
        if (!may_step(t))
                return;
        const uint64_t begin_us = rq_clock_mono_us();
        ERR_clear_error();
        int ok = SSL_do_handshake(t->ssl);
        const uint64_t end_us = rq_clock_mono_us();
        t->security->handshake_from_us = end_us + (end_us - begin_us) * (HANDSHAKE_SHARE - 1);
        if (ok != 1 && SSL_get_error(t->ssl, ok) != SSL_ERROR_WANT_READ) {
                fail_tls(t);
                return;
        }
        if (push_cipher(t) < 0) {
                fail(t, RQ_ENOMEM, NULL);
        } else if (ok == 1) {
                become_open(t);
                if (t->state == OPEN)
                        take_cipher(t);
        }
}

static void on_pace(void *arg) {
        peer_transport *t = arg;
        if (t->state == HANDSHAKING && !t->deaf)
                step_handshake(t);
}

static rq_err begin_tls(peer_transport *t, const char *host) {
        rq_err r = host != NULL ? rq_tls_connect(t->security->tls, host, &t->ssl) : rq_tls_accept(t->security->tls, &t->ssl);
        if (r >= 0)
                r = attach_bio(t);
        if (r >= 0)
                r = rq_timer_init(&t->pace, t->loop, on_pace, t);
        if (r >= 0)
                r = rq_buf_reserve(&t->cipher, CIPHER_BYTES / 8);
        t->clear = evbuffer_new();
        if (r >= 0 && t->clear == NULL)
                r = RQ_ENOMEM;
        t->state = HANDSHAKING;
        return r;
}

/* --- listening first ----------------------------------------------------------- */

static void judge_first_byte(peer_transport *t) {
        uint8_t first;
        if (evbuffer_copyout(raw_input(t), &first, 1) != 1)
                return;
        if (first == TLS_HANDSHAKE && !t->known && t->security->strange_count >= PEER_STRANGE_HANDSHAKES_MAX) {
                fail(t, RQ_EFULL, "too many TLS handshakes from addresses where no member is are under way");
        } else if (first == TLS_HANDSHAKE) {
                t->strange = !t->known;
                t->security->strange_count += t->strange;
                if (begin_tls(t, NULL) < 0)
                        fail(t, RQ_ENOMEM, NULL);
                else
                        step_handshake(t);
        } else if (first != (PEER_MAGIC & 0xff)) {
                fail(t, RQ_EPROTO, NULL);
        } else if (t->security->transition) {
                become_open(t);
                if (t->state == OPEN) {
                        peer_transport_want(t, t->wanted, t->ahead);
                        t->handlers->on_readable(t->owner);
                }
        } else {
                (void) push(t, no_plain_here, sizeof no_plain_here);
                fail(t, RQ_EPROTO, "it speaks without TLS, which this node demands: give it -node-cert and -node-key (on the way there: -node-tls-transition)");
        }
}

static void on_readable(struct bufferevent *bev, void *arg) {
        peer_transport *t = arg;
        (void) bev;
        switch (t->state) {
        case LISTENING: judge_first_byte(t); break;
        case HANDSHAKING: step_handshake(t); break;
        case OPEN:
                if (t->ssl != NULL)
                        take_cipher(t);
                else
                        t->handlers->on_readable(t->owner);
                break;
        case FAILED: break;
        }
}

static void on_written(struct bufferevent *bev, void *arg) {
        peer_transport *t = arg;
        (void) bev;
        if (t->state == OPEN)
                t->handlers->on_drained(t->owner);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
        peer_transport *t = arg;
        (void) bev;
        const char *problem = t->state == HANDSHAKING ? "it closed the connection during the TLS handshake" : NULL;
        if ((what & BEV_EVENT_EOF) != 0)
                fail(t, RQ_OK, problem);
        else if ((what & (BEV_EVENT_ERROR | BEV_EVENT_TIMEOUT)) != 0)
                fail(t, RQ_EPIPE, problem);
}

/* --- life ---------------------------------------------------------------------- */

peer_transport *peer_transport_free(peer_transport *t) {
        if (t == NULL)
                return NULL;
        stop_waiting_for_step(t);
        stop_being_strange(t);
        SSL_free(t->ssl); /* before what its BIO refers to */
        BIO_meth_free(t->method);
        if (t->pace.event != NULL)
                rq_timer_done(&t->pace);
        if (t->clear != NULL)
                evbuffer_free(t->clear);
        if (t->bev != NULL)
                bufferevent_free(t->bev);
        rq_buf_done(&t->cipher);
        free(t);
        return NULL;
}

static rq_err begin(peer_transport *t, const peer_transport_options *options) {
        t->state = OPEN;
        if (options == NULL || options->security->tls == NULL || (options->host != NULL && options->plain))
                return RQ_OK;
        t->security = options->security;
        t->dialled = options->host != NULL;
        t->known = t->dialled || options->known;
        if (!t->dialled) {
                t->state = LISTENING;
                return RQ_OK;
        }
        rq_err r = begin_tls(t, options->host);
        if (r >= 0)
                rq_timer_set(&t->pace, 0); /* our hello, with the next turn of the loop */
        return r;
}

rq_err peer_transport_new(rq_loop *loop, int take_fd, const peer_transport_options *options, const peer_transport_handlers *handlers,
                          void *owner, size_t drained_bytes, peer_transport **ret_transport) {
        RQ_CLEANUP(rq_closep) int fd = take_fd;
        peer_transport *t = calloc(1, sizeof *t);
        if (t == NULL)
                return RQ_ENOMEM;
        t->loop = loop;
        t->handlers = handlers;
        t->owner = owner;
        t->bev = bufferevent_socket_new(rq_loop_base(loop), fd, BEV_OPT_CLOSE_ON_FREE);
        rq_err r = t->bev == NULL ? RQ_ENOMEM : RQ_OK;
        if (r >= 0) {
                (void) RQ_TAKE(fd, -1);
                r = begin(t, options);
        }
        if (r >= 0) {
                bufferevent_setcb(t->bev, on_readable, on_written, on_event, t);
                (void) bufferevent_set_max_single_read(t->bev, READ_AHEAD_BYTES);
                (void) bufferevent_set_max_single_write(t->bev, READ_AHEAD_BYTES);
                bufferevent_setwatermark(t->bev, EV_WRITE, drained_bytes, 0);
                bufferevent_setwatermark(t->bev, EV_READ, 0, HANDSHAKE_BYTES_MAX);
                r = bufferevent_enable(t->bev, EV_READ | EV_WRITE) == 0 ? RQ_OK : RQ_ENOMEM;
        }
        if (r < 0) {
                (void) peer_transport_free(t);
                return r;
        }
        *ret_transport = t;
        return RQ_OK;
}

/* --- use ----------------------------------------------------------------------- */

bool peer_transport_is_open(const peer_transport *t) { return t->state == OPEN; }
bool peer_transport_is_tls(const peer_transport *t) { return t->state == OPEN && t->ssl != NULL; }
bool peer_transport_met_plain(const peer_transport *t) { return t->met_plain; }
struct evbuffer *peer_transport_input(peer_transport *t) { return t->ssl != NULL ? t->clear : raw_input(t); }
int peer_transport_fd(const peer_transport *t) { return bufferevent_getfd(t->bev); }
const char *peer_transport_problem(const peer_transport *t) { return t->problem; }

void peer_transport_stop_reading(peer_transport *t) {
        t->deaf = true;
        (void) bufferevent_disable(t->bev, EV_READ);
}

void peer_transport_want(peer_transport *t, size_t wanted, size_t ahead) {
        t->wanted = wanted;
        t->ahead = ahead;
        if (t->state == OPEN && t->ssl == NULL)
                bufferevent_setwatermark(t->bev, EV_READ, wanted, wanted > ahead ? wanted : ahead);
}

size_t peer_transport_queued_bytes(const peer_transport *t) { return evbuffer_get_length(bufferevent_get_output(t->bev)); }

rq_err peer_transport_send(peer_transport *t, rq_bytes bytes) {
        if (t->ssl == NULL)
                return push(t, bytes.data, bytes.size);
        for (size_t at = 0; at < bytes.size;) {
                size_t taken = 0;
                ERR_clear_error();
                if (SSL_write_ex(t->ssl, bytes.data + at, bytes.size - at, &taken) != 1) {
                        (void) rq_tls_failure(t->ssl, t->problem, sizeof t->problem);
                        return RQ_ETLS;
                }
                at += taken;
                if (t->cipher.size < CIPHER_BYTES && at < bytes.size)
                        continue;
                rq_err r = push_cipher(t);
                if (r < 0)
                        return r;
        }
        return RQ_OK;
}
