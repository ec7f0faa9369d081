/* What TLS costs a link between nodes: CPU of both ends for a GiB of appends, plain and with TLS. In
 * one process over loopback; CPU time says the same on a busy machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/rng.h"
#include "certificates.h"
#include "log/log.h"
#include "peer/peer_link.h"

#include <netinet/in.h>
#include <sys/socket.h>

static rq_loop *loop;
static size_t got_bytes, greeted;

static rq_err on_hello(void *owner, peer_link *link, const peer_hello *hello) {
        (void) owner;
        (void) link;
        (void) hello;
        greeted++;
        return RQ_OK;
}

static rq_err on_frame(void *owner, peer_link *link, const peer_header *header, rq_bytes body, rq_bytes payload) {
        (void) owner;
        (void) link;
        (void) header;
        (void) body;
        got_bytes += payload.size;
        return RQ_OK;
}

static void on_drained(void *owner, peer_link *link) {
        (void) owner;
        (void) link;
}

static void on_end(void *owner, peer_link *link, rq_err reason) {
        (void) owner;
        (void) fprintf(stderr, "a link ended: %s %s\n", rq_err_text(reason), peer_link_problem(link));
        exit(1);
}

static double cpu_s(void) {
        struct timespec t;
        (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static void connect_pair(int pair[2]) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof address;
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        rq_assert(bind(listener, (struct sockaddr *) &address, sizeof address) == 0 && listen(listener, 1) == 0);
        rq_assert(getsockname(listener, (struct sockaddr *) &address, &size) == 0);
        pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        rq_assert(connect(pair[0], (struct sockaddr *) &address, sizeof address) == 0);
        pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        rq_assert(pair[1] >= 0 && evutil_make_socket_nonblocking(pair[0]) == 0);
        (void) close(listener);
}

static void open_links(peer_security *security, peer_link *links[2]) {
        static const peer_link_handlers handlers = { on_hello, on_frame, on_drained, on_end };
        const peer_hello self = { .disk_uuid = rq_uuid_random(), .node_id = "n" };
        const peer_transport_options dialled = { .security = security, .host = "localhost" }, accepted = { .security = security };
        int pair[2];
        connect_pair(pair);
        greeted = 0;
        rq_assert(peer_link_new(loop, pair[0], &dialled, &self, &handlers, NULL, 16 << 20, &links[0]) == RQ_OK);
        rq_assert(peer_link_new(loop, pair[1], &accepted, &self, &handlers, NULL, 16 << 20, &links[1]) == RQ_OK);
        while (greeted < 2) {
                security->handshake_from_us = 0;
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_NONBLOCK);
        }
}

static void close_links(peer_link *links[2]) {
        for (int i = 0; i < 2; i++)
                links[i] = peer_link_free(links[i]);
}

static void transfer(const char *name, peer_security *security, size_t frame_bytes, size_t total) {
        peer_link *links[2];
        uint8_t *data = calloc(1, frame_bytes);
        const rq_bytes piece = rq_bytes_of(data, frame_bytes);
        const uint8_t body[56] = {0};
        open_links(security, links);
        got_bytes = 0;
        const double begin_s = cpu_s();
        for (size_t sent = 0; got_bytes < total;) {
                while (sent < total && peer_link_send(links[0], 35, rq_bytes_of(body, sizeof body), &piece, 1) == RQ_OK)
                        sent += frame_bytes;
                (void) event_base_loop(rq_loop_base(loop), EVLOOP_ONCE);
        }
        const double took_s = cpu_s() - begin_s;
        (void) printf("%-6s appends of %7zu bytes: %5.2f s of CPU for a GiB, %6.2f us for each\n", name, frame_bytes,
                      took_s * (double) (1 << 30) / (double) total, 1e6 * took_s * (double) frame_bytes / (double) total);
        close_links(links);
        free(data);
}

int main(void) {
        char folder[] = "/tmp/rq-bench-link-XXXXXX", ca[64], cert[64], key[64], command[96];
        static const test_certificate usual = { .common_name = "node", .names = "DNS:localhost", .days = 20 };
        rq_buf problem = {0};
        peer_security plain = {0}, tls = {0};
        rq_log_open("bench", RQ_LOG_PLAIN, LOG_ERR);
        rq_assert(rq_loop_new(&loop) == RQ_OK && mkdtemp(folder) != NULL);
        (void) snprintf(ca, sizeof ca, "%s/ca", folder);
        (void) snprintf(cert, sizeof cert, "%s/cert", folder);
        (void) snprintf(key, sizeof key, "%s/key", folder);
        test_authority *authority = test_authority_new("CA");
        test_authority_write(authority, ca, false);
        test_authority_issue(authority, &usual, cert, key);
        const rq_tls_options options = { .flags = "node", .cert_file = cert, .key_file = key, .ca_file = ca, .verify_client = true };
        rq_assert(rq_tls_new(&options, &tls.tls, &problem) == RQ_OK);
        (void) snprintf(command, sizeof command, "rm -rf %s", folder);
        rq_assert(system(command) == 0);

        static const struct { size_t frame_bytes, total; } sizes[] = { { 300, 30 << 20 }, { 16 << 10, 512 << 20 }, { 1 << 20, 1024 << 20 } };
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                transfer("plain", &plain, sizes[i].frame_bytes, sizes[i].total);
                transfer("TLS", &tls, sizes[i].frame_bytes, sizes[i].total);
        }
        (void) test_authority_free(authority);
        tls.tls = rq_tls_free(tls.tls);
        loop = rq_loop_free(loop);
        return 0;
}
