/* Bytes of a stranger against a link that demands TLS: raw ones, a handshake that is disturbed, and a
 * client that has finished its handshake and speaks nonsense then. Whatever comes, HELLO
 * is handled only through TLS (or plain, in transition), and every link ends.
 *
 * First byte: bit 0: transition; bit 1: a client makes a handshake; bit 2: its bytes are disturbed at the places and
 * by the values of the rest; else the rest is said, raw or through TLS. */
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "certificates.h"
#include "log/log.h"
#include "peer/peer_link.h"

static rq_loop *loop;
static rq_tls *server_tls, *client_tls;
static int hello_count, end_count;
static bool may_be_plain, client_is_through;

static rq_err on_hello(void *owner, peer_link *link, const peer_hello *hello) {
        (void) owner;
        rq_assert(hello_count == 0 && hello->node_id[0] != '\0');
        rq_assert(peer_link_is_tls(link) ? client_is_through : may_be_plain);
        hello_count++;
        return RQ_OK;
}

static rq_err on_frame(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload) {
        (void) owner;
        (void) link;
        rq_assert(hello_count == 1 && body.size == header->body_bytes && payload.size == header->payload_bytes);
        return RQ_OK;
}

static void on_drained(void *owner, peer_link *link) {
        (void) owner;
        (void) link;
}

static void on_end(void *owner, peer_link *link, rq_err reason) {
        (void) owner;
        (void) reason;
        rq_assert(peer_link_problem(link) != NULL);
        end_count++;
}

static void prepare(void) {
        char folder[] = "/tmp/rq-fuzz-tls-XXXXXX", ca[64], cert[64], key[64], command[96];
        static const test_certificate usual = { .common_name = "node", .names = "DNS:localhost", .days = 20 };
        rq_buf problem = {0};
        rq_log_open("fuzz", RQ_LOG_PLAIN, LOG_EMERG);
        rq_assert(rq_loop_new(&loop) == RQ_OK && mkdtemp(folder) != NULL);
        (void) snprintf(ca, sizeof ca, "%s/ca", folder);
        (void) snprintf(cert, sizeof cert, "%s/cert", folder);
        (void) snprintf(key, sizeof key, "%s/key", folder);
        test_authority *authority = test_authority_new("CA");
        test_authority_write(authority, ca, false);
        test_authority_issue(authority, &usual, cert, key);
        rq_tls_options options = { .flags = "node", .cert_file = cert, .key_file = key, .ca_file = ca, .verify_client = true };
        rq_assert(rq_tls_new(&options, &server_tls, &problem) == RQ_OK);
        options.no_verify = true;
        rq_assert(rq_tls_new(&options, &client_tls, &problem) == RQ_OK);
        (void) test_authority_free(authority);
        (void) snprintf(command, sizeof command, "rm -rf %s", folder);
        rq_assert(system(command) == 0);
}

static void turn(peer_security *security) {
        security->handshake_from_us = 0; /* pauses are no matter of bytes */
        for (int i = 0; i < 3; i++)
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
}

static void drop_answers(int fd) {
        uint8_t ignored[65536];
        while (recv(fd, ignored, sizeof ignored, MSG_DONTWAIT) > 0)
                ;
}

static void say(int fd, const uint8_t *data, size_t size, peer_security *security) {
        for (size_t at = 0; at < size && end_count == 0;) {
                const size_t n = size - at < 3000 ? size - at : 3000;
                ssize_t sent = send(fd, data + at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (sent < 0 && errno != EAGAIN)
                        return;
                at += sent > 0 ? (size_t) sent : 0;
                turn(security);
                drop_answers(fd);
        }
}

/* A client over memory, so that its bytes can be disturbed on their way: pairs of (place, value). */
static void shake(int fd, const uint8_t *rest, size_t rest_size, bool disturb, peer_security *security) {
        SSL *ssl = NULL;
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        size_t passed = 0;
        bool said = false;
        rq_assert(rq_tls_connect(client_tls, "localhost", &ssl) == RQ_OK && in != NULL && out != NULL);
        SSL_set_bio(ssl, in, out);
        for (int round = 0; round < 12 && end_count == 0; round++) {
                uint8_t bytes[65536];
                ERR_clear_error();
                if (SSL_do_handshake(ssl) == 1 && !said) {
                        client_is_through = true;
                        if (!disturb && rest_size > 0)
                                (void) SSL_write(ssl, rest, (int) rest_size);
                        said = true;
                }
                int n = BIO_read(out, bytes, sizeof bytes);
                for (size_t i = 0; disturb && n > 0 && i + 2 < rest_size; i += 3) {
                        const size_t place = rq_get_u16(rest + i);
                        if (place >= passed && place < passed + (size_t) n)
                                bytes[place - passed] ^= rest[i + 2];
                }
                if (n > 0) {
                        passed += (size_t) n;
                        ssize_t sent = send(fd, bytes, (size_t) n, MSG_NOSIGNAL | MSG_DONTWAIT);
                        (void) sent;
                }
                turn(security);
                ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
                if (got > 0)
                        (void) BIO_write(in, bytes, (int) got);
        }
        SSL_free(ssl);
        ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const peer_hello self = { .disk_uuid = { .bytes = "our own disk's!" }, .node_id = "self" };
        static const peer_link_handlers handlers = { on_hello, on_frame, on_drained, on_end };
        peer_link *link;
        int pair[2];
        if (size < 1)
                return 0;
        if (loop == NULL)
                prepare();
        peer_security security = { .tls = server_tls, .transition = (data[0] & 1) != 0 };
        const peer_transport_options transport = { .security = &security };
        may_be_plain = security.transition;
        client_is_through = false;
        hello_count = end_count = 0;
        rq_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
        rq_assert(peer_link_new(loop, pair[0], &transport, &self, &handlers, NULL, 1 << 20, &link) == RQ_OK);
        if ((data[0] & 2) != 0)
                shake(pair[1], data + 1, size - 1, (data[0] & 4) != 0, &security);
        else
                say(pair[1], data + 1, size - 1, &security);
        turn(&security);
        (void) close(pair[1]);
        for (int i = 0; i < 20 && end_count == 0; i++)
                turn(&security);
        rq_assert(end_count == 1);
        return 0;
}
